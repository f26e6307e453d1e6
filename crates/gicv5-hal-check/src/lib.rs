//! Checks that an implementation of the traits of `gicv5-hal` keeps their promises.
//!
//! An embedder runs it once over its own types, on the machine, before anything relies on them. Each check returns at the first
//! promise that it sees broken, as [`Broken`]: which [`Promise`] of which [trait](HalTrait), and what was seen.
//!
//! | check | of | leaves behind |
//! |---|---|---|
//! | [`irs`] | [`Irs`](gicv5_hal::Irs) | nothing; writes to read-only registers alone |
//! | [`table_memory`] | [`TableMemory`](gicv5_hal::TableMemory) | nothing; takes a megabyte at most, tells no IRS about it |
//! | [`current_pe`] | [`CurrentPe`](gicv5_hal::CurrentPe) | nothing |
//! | [`pe_ops`] | [`PeOps`](gicv5_hal::PeOps) | nothing; ICC_CR0_EL1.EN is 0 meanwhile |
//! | [`wait()`] | [`Wait`](gicv5_hal::Wait) | nothing |
//! | [`locks`] | [`Locks`](gicv5_hal::Locks) | nothing |
//! | [`platform`] | all of these, in this order | |
//! | [`host_lpis`] | [`HostLpis`](gicv5_hal::HostLpis) | nothing; the physical side must be up |
//!
//! Nobody else may use table memory, LPIs or the interrupt controller meanwhile: then fewer blocks or LPIs the second time are
//! a leak, and not somebody else's.
//!
//! # What no software can see
//!
//! A check that passes says nothing about these. They are the embedder's to review:
//!
//! - that memory is what the IRS sees at that address, and zero there, too; that `publish` and `acquire` have a clean, an
//!   invalidate and the barriers where they belong: the PE that stored sees its own stores without any (COH-1, COH-2, SYN-10);
//! - that barriers order, and that accesses to frames are neither repeated nor merged;
//! - that nobody else has the memory of a block; that no other line of the host's shares one with it (COH-6);
//! - that nothing interrupts or moves the code that [`on_this_pe`](gicv5_hal::CurrentPe::on_this_pe) lends a PE to, unless the PE
//!   changes while the check looks;
//! - that a lock can be taken where an interrupt handler runs, and exclusion between PEs that the caller does not supply;
//! - that the cookie of an LPI comes back with its interrupt, and that a release waits for handlers.
//!
//! # Example
//!
//! ```
//! use gicv5_hal_check::{host_lpis, platform};
//! use gicv5_model::config::MachineConfig;
//! use gicv5_model::{Machine, ModelHost};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let machine = Machine::new(MachineConfig::new(2, 0))?;
//! let host = ModelHost::start(&machine, 0..64)?;
//! // How to have something done by several PEs at once: here, by threads.
//! let at_once = |work: &(dyn Fn() + Sync)| {
//!     std::thread::scope(|threads| {
//!         threads.spawn(work);
//!         threads.spawn(work);
//!     });
//! };
//! platform(&host, machine.irs_count(), &at_once)?;
//! host_lpis(&host, &host, 100)?;
//! # Ok(())
//! # }
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod irs;
mod locks;
mod lpis;
mod memory;
mod pe;
mod platform;
mod promise;
mod wait;

pub use irs::irs;
pub use locks::{AtOnce, locks};
pub use lpis::host_lpis;
pub use memory::table_memory;
pub use pe::{current_pe, pe_ops};
pub use platform::platform;
pub use promise::{Broken, HalTrait, Promise};
pub use wait::wait;
