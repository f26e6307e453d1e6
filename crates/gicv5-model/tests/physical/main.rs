//! The physical side of the model, as software and the outside world see it: its rules, one story each.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]
#![allow(clippy::indexing_slicing, reason = "the same")]

#[path = "../bench/mod.rs"]
mod bench;
mod checker;
mod claims;
mod configuration;
mod cpu;
mod frames;
mod interrupts;
#[path = "../random/mod.rs"]
mod random;
mod reference;
mod registers;
mod tables;
