//! What random tests need: numbers from a seed, and the shortest sequence that still fails.
//!
//! A failure report names a seed, and that seed must give the same run with every later version of every library. This
//! crate therefore contains the generator instead of depending on one, and depends on no other crate.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod rng;
#[cfg(feature = "alloc")]
mod shrink;

pub use rng::Rng;
#[cfg(feature = "alloc")]
pub use shrink::shrink;
