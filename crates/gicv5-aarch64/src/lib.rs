//! The traits of gicv5-hal on a real AArch64 PE.
//!
//! [`pe`] executes instructions, [`memory`] and [`frames`] access memory and registers by address, and [`host`] is what the
//! drivers want of a host.
#![no_std]
#![cfg(target_arch = "aarch64")]

pub mod frames;
pub mod host;
pub mod memory;
pub mod pe;
