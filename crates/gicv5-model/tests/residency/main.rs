//! The CPU interface at EL2: residency, guests, virtual PPIs, doorbells of a VPE that leaves. One story for each rule.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]
#![allow(clippy::indexing_slicing, reason = "the same")]

mod afterwards;
#[path = "../bench/mod.rs"]
mod bench;
mod context;
mod doorbells;
mod events;
mod guest;
mod ppi;
#[path = "../random/mod.rs"]
mod random;
mod reference;
mod registers;
