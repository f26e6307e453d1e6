//! Floor 1: the words that all others speak.
//!
//! Values and what they are called: nothing here owns any of a machine's state, and nothing knows a floor above.

pub mod clock;
pub mod config;
pub mod event;
pub mod report;
mod switches;
pub mod violation;
