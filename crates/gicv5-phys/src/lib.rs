//! The physical GICv5 driver.
//!
//! Not there yet: the crate holds a place in the workspace.
#![no_std]
#![forbid(unsafe_code)]
