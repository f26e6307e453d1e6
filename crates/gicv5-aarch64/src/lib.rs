//! The traits of gicv5-hal on a real AArch64 PE, for hypervisors and kernels that run at EL2 or EL1 and embed gicv5-phys or
//! gicv5-hyp.
//!
//! | trait | type |
//! |---|---|
//! | [`Irs`](gicv5_hal::Irs) | [`Frames`]: the frames of the IRSs, by address |
//! | [`TableMemory`](gicv5_hal::TableMemory) | `TableRam`: a piece of RAM with an allocator; for an own memory manager `Caches` has the cache maintenance and the barriers |
//! | [`PeOps`](gicv5_hal::PeOps), [`CurrentPe`](gicv5_hal::CurrentPe) | `ThisPe`: all registers and instructions of gicv5-arch |
//! | [`Wait`](gicv5_hal::Wait) | `Counter`: the architected counter; `YIELD` or `WFE` between polls |
//! | [`Locks`](gicv5_hal::Locks) | `SpinLocks`: spin locks that mask interrupts |
//! | [`Platform`](gicv5_hal::Platform) | `Hardware`: all of these in one value |
//!
//! Beside them `masked` runs a closure with interrupts masked. [`HostLpis`](gicv5_hal::HostLpis) is gicv5-phys's.
//!
//! What needs assembly exists where the target is AArch64 only: on another host this page is short, and the names above that are no
//! links are not there. `cargo doc --target aarch64-unknown-none-softfloat` shows them.
//!
//! # Example
//!
//! A [`Platform`](gicv5_hal::Platform) for `Phys::new` and `Host::new`. The bare-metal build compiles it.
//!
//! ```ignore
#![doc = include_str!("example.rs")]
//! ```
//!
//! # What must be set up before
//!
//! - The frames are mapped as device memory (Device-nGnRE or stricter), the RAM for tables as Normal write-back cacheable memory of the
//!   shareability that IRS_CR1.SH gets. The drivers' memory attributes must agree with it (COH-11).
//! - At EL2: EL3 gives EL2 the GIC's registers. Interrupts go to EL2: HCR_EL2.IMO and FMO, or HCR_EL2.TGE. HCR_EL2.AMO
//!   for SErrors.
//! - At EL1: ICH_HFGRTR_EL2, ICH_HFGWTR_EL2 and ICH_HFGITR_EL2 let EL1 through to what it uses, if EL2 exists. A hypervisor for guests
//!   chooses them for itself, as gicv5-hyp does not.
//! - CNTHCTL_EL2.EL1PCTEN is 1 if the code runs at EL1; CNTFRQ_EL0 is set by firmware.
//! - Vectors are there, and a PE's interrupts are masked until the driver has brought it up.
//!
//! # What is safe
//!
//! The constructors over hardware (`Frames::new`, `TableRam::new`, `ThisPe::new`) are `unsafe`, each with what its caller must know.
//! Methods are safe, because all that follows from them lies in what the constructors' callers have promised. An access outside of a frame or
//! a block, or one that is not aligned, is ignored and reads 0.
//!
//! # What has been tested, and what has not
//!
//! On QEMU 11.1 at EL1, with one IRS, coherent and not as far as an emulator without caches tells the difference: the conformance suite and
//! both drivers run over these types (`platform/bare-metal`). Its EL2 has no GICv5, so that there the crate compiles, and no more. It has
//! run on no silicon. What computes (frames, lines, pages, time) has tests on the host.
#![no_std]
// On a host that is not AArch64, what uses these computations is absent.
#![cfg_attr(not(target_arch = "aarch64"), allow(dead_code))]

#[cfg(target_arch = "aarch64")]
extern crate self as gicv5_aarch64;

mod frames;
#[cfg(target_arch = "aarch64")]
mod hardware;
mod lines;
mod pages;
mod time;

pub use frames::{Frames, IrsFrames};
#[cfg(target_arch = "aarch64")]
pub use hardware::*;
