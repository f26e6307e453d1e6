//! Virtual machines on GICv5: the VM table, VMs, their virtual PEs, virtual interrupt state tables and doorbells.
//!
//! It is `no_std`, has no `unsafe` code, and reaches hardware and hypervisor only through the traits of [`gicv5_hal`] and
//! [`Hypervisor`]. The physical side must be up: the memory attributes of the IRS written (GEN-20), a physical IST with
//! LPIs for the doorbells (LPI-3).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, loom))]
extern crate std;

use gicv5_hal::{HostLpis, Locks, Platform, TableMemory};

mod boxed;
mod command;
mod config;
mod doorbell;
mod error;
mod host;
mod ids;
mod ist;
mod memory;
mod ppi;
mod probe;
mod record;
mod run;
mod sync;
mod table;
mod teardown;
mod vm;
mod vpe;

pub use command::{Command, CommandError, Place};
pub use config::{Config, LiveTable};
pub use doorbell::{DoorbellError, DoorbellMask, Wake};
pub use error::{Fate, Fault};
pub use host::{BringUpCause, BringUpError, Counters, Holdings, Host, Phase, ReclaimError, ShutDownError};
pub use ist::{IstCause, IstError};
pub use memory::TableError;
pub use ppi::PpiMask;
pub use probe::ProbeError;
pub use record::VmState;
pub use run::{Idle, InjectError, Pending, PpiError, RunError};
pub use teardown::{TearDownCause, TearDownError};
pub use vm::{
    InitCause, InitError, Nesting, NotLive, ReferenceError, ResetCause, ResetError, VcpuIndex, Vm, VmReference, VmSpec,
};

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
