//! Floor 1: the words that all others speak.
//!
//! Values and what they are called: nothing here owns any of a machine's state, and nothing knows a floor above.

mod basis;
pub mod clock;
pub mod config;
pub(crate) mod cpu;
pub mod event;
pub mod fault;
pub(crate) mod ids;
mod memory_config;
pub(crate) mod owner;
pub mod report;
pub mod rules;
mod switches;
pub mod violation;
