//! The ground that the GICv5 drivers stand on: what `gicv5-phys` and `gicv5-hyp` do alike with an IRS exists once, here.
//!
//! | module | holds |
//! |---|---|
//! | [`domain`] | the platform and the constants of one interrupt domain |
//! | [`probe`] | what a driver asks of an IRS before anything else |
//! | [`command`] | what an IRS is asked to do, and why a command failed |
//! | [`command_port`] | one command at a time for each status register, with patience; the unknown command |
//! | [`turn`] | something that one caller at a time may do |
//! | [`drive`] | futures without an executor |
//! | [`lease`] | memory that an IRS may touch, and the proofs that return it |
//! | [`levels`] | two-level tables: a level-2 table is absent, named or mapped |
//! | [`slots`] | records found by number without a lock, in chunks |
//! | [`ids`] | which IDs are in use |
//! | [`heap`] | heap memory that may be refused |
//!
//! The executable model knows nothing of this crate, so that a driver and its judge cannot share a mistake.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod command;
pub mod command_port;
pub mod domain;
pub mod drive;
pub mod heap;
pub mod ids;
pub mod lease;
pub mod levels;
pub mod probe;
pub mod slots;
pub mod turn;
