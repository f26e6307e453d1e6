//! Floor 6: instruments for tests, which use a machine through its handle.

pub mod account;
mod fault_points;
pub mod hand;
pub mod host;
pub mod isolation;
pub mod lpis;
pub mod meddle;
