//! The traits of gicv5-hal on a real AArch64 PE, for the images of this package.
//!
//! [`pe`] executes instructions, [`memory`] and [`frames`] access memory and registers by address, and [`heap`] hands a static to
//! the allocator.
#![no_std]

pub mod frames;
pub mod heap;
pub mod host;
pub mod memory;
pub mod pe;
