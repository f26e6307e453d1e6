//! VMs, as a hypervisor makes them, for the tests of the virtual half.
//!
//! A [`World`] is the usual beginning: an IRS with a VM table, a VM with two VPEs and both of its ISTs. Nothing of it is
//! taken down by a test: the runner ends every residency and makes the VM table invalid, which makes everything behind it
//! invalid (VMT-6), before it frees the memory.

mod cast;
mod doorbells;
mod guests;
mod interrupts;
mod ists;
pub(super) mod residency;
mod status;
mod tables;
mod world;

pub use cast::{DOORBELLS, INTERRUPTS, OTHER, VM, VPES, preset, vlpi, vspi};
pub use ists::VirtualIst;
pub use tables::{Vm, VmTable};
pub use world::World;
