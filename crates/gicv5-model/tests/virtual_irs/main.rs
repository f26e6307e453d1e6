//! The IRS's virtual side, driven by hand through the hal: VM table, VMs, VPEs, virtual ISTs, doorbells, assigned SPIs.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]
#![allow(clippy::indexing_slicing, reason = "the same")]

#[path = "../bench/mod.rs"]
mod bench;
mod errors;
mod faults;
mod owed;
mod stories;
mod switches;
mod tables;
mod under_way;
mod validity;
mod write_back;
