//! An executable model of the GICv5 hardware.
//!
//! Not there yet: the crate holds a place in the workspace.

pub mod clock;
pub mod event;
pub mod fault;
pub mod memory;
pub mod report;
pub mod rng;
pub mod violation;
