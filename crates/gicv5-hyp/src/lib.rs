//! Virtual machines on GICv5: the VM table, VMs, their virtual PEs, virtual interrupt state tables and doorbells.
//!
//! It is `no_std`, has no `unsafe` code, and reaches hardware and hypervisor only through the traits of [`gicv5_hal`] and
//! [`Hypervisor`]. The physical side must be up: the memory attributes of the IRS written (GEN-20), a physical IST with
//! LPIs for the doorbells (LPI-3).
#![no_std]
#![forbid(unsafe_code)]
// Not everything that is declared is used yet.
#![allow(dead_code, unused_imports)]

extern crate alloc;
#[cfg(any(test, loom))]
extern crate std;

use gicv5_hal::{HostLpis, Locks, Platform, TableMemory};

mod doorbell;
mod host;
mod ppi;
mod record;
mod run;
mod sync;
mod vm;

pub use doorbell::{DoorbellError, DoorbellMask, Wake};
pub use host::Host;
pub use ppi::PpiMask;
pub use record::VmState;
pub use run::{Idle, InjectError, Pending, PpiError, RunError};
pub use vm::{VcpuIndex, Vm};

/// All that the library needs of the hypervisor that it is a part of.
pub trait Hypervisor: Platform {
    /// The supply of LPIs for doorbells.
    type Lpis: HostLpis;

    /// The supply of LPIs for doorbells.
    fn lpis(&self) -> &Self::Lpis;
}

/// A block of the hypervisor's table memory.
pub(crate) type BlockOf<H> = <<H as Platform>::Memory as TableMemory>::Block;

/// The hypervisor's lock around a value.
pub(crate) type MutexOf<H, T> = <<H as Platform>::Locks as Locks>::Mutex<T>;

/// An LPI of the hypervisor's.
pub(crate) type LpiOf<H> = <<H as Hypervisor>::Lpis as HostLpis>::Lpi;

/// There is no memory for the library's own records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

/// A boxed slice of `len` values, or an error instead of an abort.
pub(crate) fn boxed_slice<T>(len: usize, value: impl FnMut() -> T) -> Result<alloc::boxed::Box<[T]>, OutOfMemory> {
    let mut values = alloc::vec::Vec::new();
    values.try_reserve_exact(len).map_err(|_| OutOfMemory)?;
    values.resize_with(len, value);
    Ok(values.into_boxed_slice())
}
