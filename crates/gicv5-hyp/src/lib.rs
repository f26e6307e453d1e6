//! Virtual machines on GICv5: the VM table, VMs, their virtual PEs, virtual interrupt state tables and doorbells.
//!
//! It is `no_std`, has no `unsafe` code, and reaches hardware and hypervisor only through the traits of [`gicv5_hal`] and
//! [`Hypervisor`]. The physical side must be up: the memory attributes of the IRS written (GEN-20), a physical IST with
//! LPIs for the doorbells (LPI-3). `gicv5-phys` does that, and supplies the LPIs.
//!
//! # Theory of operation
//!
//! **A host** has one VM table, which the IRS walks. [`Host::new`] reads the ID registers and refuses what cannot be;
//! [`Host::bring_up`] hands the table over. It is sized by [`Config::vms`]; with two levels, a level-2 table comes with the
//! first VM that needs it and stays until the whole table goes (VMT-16).
//!
//! **A VM** is a handle, [`Vm`], that [`Host::new_vm`] makes out of nothing. [`Vm::init`] sets the hardware up: VM ID,
//! a doorbell for each vCPU, descriptors and tables, the VM valid, each VPE valid with its settings (VPE-10, VPE-11), the SPI IST.
//! [`Vm::create_lpi_ist`] follows when the guest wants LPIs (IST-29). [`Vm::tear_down`] takes it all back, and init may be
//! called again. What runs vCPUs takes `&Vm`, from many threads; what makes and unmakes the VM takes `&mut Vm`.
//!
//! **Commands** take time, and are futures inside: each operation that gives some has a form that is driven step by step
//! (`start_init`, ...), whose polls look once at a status register and never wait for it, and a blocking one that pauses with
//! [`gicv5_hal::Wait`] in between. A command sequence owns the registers of its status register by a token; no lock is held
//! and interrupts need not be off. A future may be dropped anywhere.
//!
//! **A command that has not finished in time is unknown**, not failed (LIFE-10). Until the hardware says that it is idle,
//! operations that need the same status register fail at once, with an error that names the command in flight; vCPUs are
//! loaded and put, doorbells ring, interrupts are injected as before.
//!
//! **Memory** that the IRS may touch is lent, and comes back only against a proof that a completed command has made: of the VM
//! invalid, of the IST invalid, of the whole VM table withdrawn. A proof names the VM and its generation.
//!
//! **There is one teardown.** A failed init, [`Vm::tear_down`], [`Host::reap`] and [`Host::reclaim`] run the same code, from
//! whatever was reached, any number of times; it allocates nothing. What the hardware does not confirm to have let go is
//! quarantined with the host, and nothing else: memory that was lent, the VM ID, a doorbell that an unknown command names.
//! [`Host::holdings`] says what; [`Host::reclaim`], which each init begins with, finishes the job when the hardware has
//! answered. Dropping a [`Vm`] touches no hardware: the VM is an orphan until [`Host::reap`].
//!
//! # What may be called from where
//!
//! | | waits for hardware | takes a lock | allocates | from interrupt handlers |
//! |---|---|---|---|---|
//! | [`Host::new`] | no | no | yes | no |
//! | [`Host::bring_up`], [`Vm::init`], [`Vm::create_lpi_ist`] | yes | yes | yes | no |
//! | [`Vm::tear_down`], [`Vm::remove_lpi_ist`], [`Host::reap`], [`reclaim`](Host::reclaim), [`shut_down`](Host::shut_down) | yes | yes | no | no |
//! | [`Vm::reset_vcpu`] | yes | yes | no | no |
//! | dropping a [`Vm`] or a [`VmReference`], [`Host::holdings`], [`phase`](Host::phase), [`vm_limit`](Host::vm_limit) | no | yes | no | no |
//! | [`Vm::refer`] | no | yes | yes | no |
//! | [`Vm::load`], [`put`](Vm::put), [`idle`](Vm::idle), [`has_pending`](Vm::has_pending) | no | no | no | with the PE's token |
//! | [`Vm::inject`], [`Vm::set_ppi`], [`Vm::set_guest_irs`] | no | no | no | yes |
//! | [`Host::doorbell`], [`counters`](Host::counters) | no | no | no | that is where it belongs |
//!
//! What waits also frees memory, and to release a doorbell it may wait for the handlers that have its cookie: not with a lock
//! held that one of them takes. The step-by-step forms do so inside a poll.
//!
//! # Errors
//!
//! Each family of operations has one type. It says what was to be done, which register or table entry says otherwise and with
//! which value, [whose fault](Fault) it is, and [what became of the VM](Fate). Running out of VM IDs, doorbells or memory is an
//! ordinary error. Nothing a guest, a caller or the hardware does makes the library panic, and it never prints.
//!
//! # Not supported
//!
//! Nested virtualisation, the registers of the IRS that the guest sees, direct injection of PPIs, virtual 1-of-N routing, save
//! and restore, memory encryption contexts, a VM table in more than one IRS (GEN-14).
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
