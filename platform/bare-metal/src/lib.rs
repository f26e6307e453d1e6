//! What both images of this package use: [`pe`] executes instructions, and [`heap`] hands a static to the allocator.
#![no_std]

pub mod heap;
pub mod pe;
