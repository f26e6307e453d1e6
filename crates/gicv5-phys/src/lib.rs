//! The physical GICv5 driver: what a host needs before it can run anything, VMs included.
//!
//! It brings up the IRSs of one interrupt domain and the CPU interfaces of its PEs, gives the IRSs the memory for the state
//! of the LPIs, hands LPIs out, takes interrupts and passes them on, and takes everything down again. It is `no_std`, has no
//! `unsafe` code, and reaches hardware and host only through the traits of [`gicv5_hal`]; an LPI of this driver is what
//! a hypervisor's doorbells are made of ([`HostLpis`](gicv5_hal::HostLpis)).
//!
//! # Example
//!
//! On the executable model; on other hardware only `Lab` is different. The host is up, takes one LPI and one IPI, and goes
//! down again.
//!
//! ```
//! use gicv5_hal::{Cookie, HostLpis, IrsIndex, Lock, Locks, Pe, Platform, Route};
//! use gicv5_model::{Machine, ModelPe, PeIndex, config::MachineConfig};
//! use gicv5_phys::{Config, IpiKind, Phys, Source};
//!
//! // The host: its parts, and its kind of lock.
//! struct Lab {
//!     machine: Machine,
//!     pe: ModelPe,
//! }
//!
//! impl Platform for Lab {
//!     type Irs = Machine;
//!     type Memory = Machine;
//!     type CurrentPe = ModelPe;
//!     type Wait = Machine;
//!     type Locks = Mutexes;
//!
//!     fn irs(&self) -> &Machine { &self.machine }
//!     fn memory(&self) -> &Machine { &self.machine }
//!     fn current_pe(&self) -> &ModelPe { &self.pe }
//!     fn wait(&self) -> &Machine { &self.machine }
//! }
//!
//! struct Mutexes;
//! struct Mutex<T>(std::sync::Mutex<T>);
//!
//! impl Locks for Mutexes {
//!     type Mutex<T: Send> = Mutex<T>;
//! }
//!
//! impl<T: Send> Lock<T> for Mutex<T> {
//!     fn new(value: T) -> Self { Mutex(std::sync::Mutex::new(value)) }
//!     fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R { f(&mut self.0.lock().unwrap()) }
//! }
//!
//! let machine = Machine::new(MachineConfig::new(1, 32))?;
//! let cpu = machine.pe(PeIndex(0)).ok_or("there is one PE")?;
//!
//! // Look at the hardware, bring up the IRS, then the PE.
//! let irss = [IrsIndex(0)];
//! let config = Config { ipi_kinds: 1, ..Config::new(&irss, 100) };
//! let phys = Phys::new(Lab { machine: machine.clone(), pe: cpu.clone() }, &config)?;
//! phys.bring_up()?;
//! let pe = Pe::new(&cpu);
//! let this_pe = phys.bring_up_pe(&pe)?;
//!
//! // An LPI whose handler will get 42, and an IPI to the PE itself.
//! let lpi = phys.allocate(Cookie(42))?;
//! phys.route(&lpi, Route::ThisPe);
//! phys.enable(&lpi);
//! phys.set_pending(&pe, lpi.lpi())?;
//! phys.send_ipi(&pe, this_pe, IpiKind(0))?;
//!
//! // The interrupt handler. Each interrupt is given back, to be deactivated now.
//! assert!(machine.signals(PeIndex(0)).irq);
//! let mut sources = Vec::new();
//! phys.take_interrupts(&pe, 64, |_, active| {
//!     sources.push(active.source());
//!     Some(active)
//! });
//! assert!(sources.contains(&Source::Lpi(lpi.lpi(), Cookie(42))));
//! assert!(sources.contains(&Source::Ipi(IpiKind(0))));
//!
//! // Everything goes back: no handler has the cookie any more, no IRS the memory.
//! phys.release(lpi)?;
//! phys.bring_down_pe(&pe)?;
//! phys.tear_down()?;
//! assert_eq!(phys.holdings().table_bytes, 0);
//! assert!(machine.take_violations().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Theory of operation
//!
//! **A domain** has one or more IRSs, which share one physical IST (GEN-13). [`Phys::new`] reads their ID registers and
//! refuses what cannot be; [`Phys::bring_up`] writes memory attributes while no table is valid (GEN-20), makes the IST valid
//! and enables the IRSs. Which IRSs must be told the base of the IST is not said anywhere: by default the driver tells
//! each one that does not already report the very same base as valid, which is right if the registers are one for the
//! domain, and right if each IRS has its own ([`IstProgramming`]).
//!
//! **Writes that take time** are preceded and followed by a wait for the status register that belongs to them
//! (GEN-16, GEN-18), bounded by [`Config::timeout`]. No lock is held meanwhile: the registers of one status register are owned
//! by a token, so that select, wait, program, wait stays one sequence (GEN-15). A caller that finds the token taken waits as
//! long as its owners get on, and so does a PE that comes up while others do. A write that has not finished in
//! time is *unknown*, not failed (LIFE-10). The error says so, the registers it belongs to refuse further commands at once
//! until the hardware says that it is idle, and nothing the command names is freed.
//!
//! **Memory** that an IRS may touch cannot be freed: the driver's own code has it only as a lease, which turns back into
//! memory against a proof that every IRS has completed the withdrawal of the IST. A two-level IST starts with its level-1
//! table alone; level-2 ISTs are installed when the first LPI behind them is allocated, and leave with the whole
//! (IST-20). Bring-up that fails and tear-down run the same code, from whatever was reached, any number of times. If
//! hardware does not answer, the driver stays [`Phase::Partial`] and holds what it must; [`Phys::holdings`] says what,
//! [`Phys::reclaim`] looks whether the answer has come.
//!
//! **Taking interrupts** is acknowledge, GSB ACK, ISB, priority drop, handler, deactivate (SYN-3); the handler may keep the
//! [`Active`] interrupt and deactivate it later, from a thread, on another PE. The cookie of an LPI is found without a lock.
//! Release of an LPI returns only when no handler has its cookie any more, on any PE, and no event can come after it
//! (DB-25): it closes a gate that counts handlers, disables the LPI, drains the events the IRSs have accepted, and waits
//! until the LPI is inactive and the gate is empty.
//!
//! **When a call has taken effect** stands in `docs/effects.md`, call by call: the instructions of all of them but deactivation
//! are complete when they return (SYN-1).
//!
//! **A hypervisor** comes up after the driver and goes down before it: [`Phys::tear_down`] refuses to go under a VM table, and
//! [`Phys::bring_down_pe`] under a vCPU if [`Config::el2`] lets it look. A take-over of the tables of an earlier one begins on
//! every PE, by `gicv5_hyp::reset_pe` (RES-23).
//!
//! # What may be called from where
//!
//! | | waits for hardware | takes a lock | allocates | from interrupt handlers |
//! |---|---|---|---|---|
//! | [`Phys::new`] | no | no | yes | no |
//! | [`Phys::bring_up`], [`tear_down`](Phys::tear_down), [`reclaim`](Phys::reclaim) | yes | yes | yes | no |
//! | [`Phys::bring_up_pe`], [`bring_down_pe`](Phys::bring_down_pe), [`pe_is_gone`](Phys::pe_is_gone) | yes | yes | yes | no |
//! | [`HostLpis::allocate`](gicv5_hal::HostLpis::allocate) | yes | yes | yes | no |
//! | [`HostLpis::release`](gicv5_hal::HostLpis::release) | yes, and for handlers | yes | no | no |
//! | [`Phys::abandon`], [`holdings`](Phys::holdings), [`phase`](Phys::phase) | no | yes | no | no |
//! | [`HostLpis::enable`](gicv5_hal::HostLpis::enable), [`route`](gicv5_hal::HostLpis::route), [`lpi`](gicv5_hal::HostLpis::lpi) | no | no | no | yes |
//! | [`Phys::enable_interrupt`], [`disable_interrupt`](Phys::disable_interrupt), [`set_priority`](Phys::set_priority), ... by number | no | no | no | yes, but [`configuration`](Phys::configuration) |
//! | [`Phys::set_trigger`], [`trigger`](Phys::trigger), [`resample`](Phys::resample) | yes | yes | no | no |
//! | [`Phys::send_ipi`], [`send_ipis`](Phys::send_ipis) | no | no | no | yes |
//! | [`Phys::take_interrupts`], [`acknowledge`](Phys::acknowledge), [`deactivate`](Phys::deactivate), and for NMIs | no | no | no | that is where they belong |
//! | everything in [`ppi`] | no | no | no | with interrupts off |
//!
//! # Heap
//!
//! [`Platform::may_allocate`](gicv5_hal::Platform::may_allocate) is asked before each allocation, and a refusal is an ordinary
//! error.
//!
//! # Not supported
//!
//! 1-of-N routing (everything is targeted), ITS and IWB, MPAM and MEC, the EL3 domain's assignment of SPIs and PPIs, and
//! reading software error reports.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, loom))]
extern crate std;

mod config;
mod driver;
mod interrupts;
mod ipi;
mod lpi;
mod machine;
mod pe;
pub mod ppi;
mod probe;
mod spi;
mod sync;

pub use config::{Config, El2, IstProgramming, LiveTables, memory_attributes};
pub use driver::bring_up::{BringUpCause, BringUpError, TearDownError};
pub use driver::phys::{Holdings, Phase, Phys};
pub use gicv5_irs::command::{Command, CommandError, CommandErrorKind, Fault, Place, TableEntry};
pub use gicv5_irs::lease::TableError;
pub use interrupts::by_number::{Configuration, Unreachable};
pub use interrupts::take::{Acknowledged, Active, Source, WrongPe};
pub use ipi::send::IpiError;
pub use ipi::word::{IpiKind, PeIndex};
pub use lpi::supply::OwnedLpi;
pub use pe::bring_up::PeError;
pub use probe::ProbeError;
pub use spi::SpiError;
