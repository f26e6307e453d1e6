//! Virtual machines on GICv5: the VM table, VMs, their virtual PEs, virtual interrupt state tables and doorbells.
//!
//! It is `no_std`, has no `unsafe` code, and reaches hardware and hypervisor only through the traits of [`gicv5_hal`] and
//! [`Hypervisor`]. The physical side must be up: the memory attributes of the IRS written (GEN-20), a physical IST with
//! LPIs for the doorbells (LPI-3). `gicv5-phys` does that, and supplies the LPIs.
//!
//! # Example
//!
//! On the executable model; elsewhere only the platform and the LPIs are different. A VM with two vCPUs: the first runs, the second has nothing to do
//! and sleeps, an interrupt comes for it, its doorbell wakes it, and it takes the interrupt.
//!
//! ```
//! use gicv5_arch::irs::{IRS_IDR3, IRS_IDR4};
//! use gicv5_arch::sysreg::{ICC_CR0_EL1, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, SysReg};
//! use gicv5_arch::values::BitsMinusOne;
//! use gicv5_arch::{IntId, Spi, VpeId};
//! use gicv5_hal::{IrsIndex, Pe};
//! use gicv5_hyp::{Config, Host, Idle, Pending, VcpuIndex, VmSpec, Wake, WithLpis};
//! use gicv5_model::{Machine, ModelHost, PeIndex, config::MachineConfig};
//!
//! // Hardware with 2^8 VM IDs and 2^8 VPE IDs, whose physical side is up.
//! let mut machine = MachineConfig::new(2, 64);
//! let irs = &mut machine.irses[0];
//! irs.idr0 = irs.idr0.with_virt(true);
//! irs.idr3 = IRS_IDR3::ZERO.with_vm_id_bits(arbitrary_int::u5::new(8));
//! irs.idr4 = IRS_IDR4::ZERO
//!     .with_vpe_id_bits(BitsMinusOne::from_count(8).ok_or("8 bits are possible")?)
//!     .with_vped_sz(arbitrary_int::u6::new(7));
//! let machine = Machine::new(machine)?;
//! let physical = ModelHost::start(&machine, 0..256)?;
//!
//! // A host for 10 VMs with 20 vCPUs in all, and a VM with two of them and 32 SPIs.
//! let hypervisor = WithLpis { platform: physical.clone(), lpis: physical.clone() };
//! let host = Host::new(hypervisor, &Config::new(IrsIndex(0), 10, 20))?;
//! host.bring_up()?;
//! let (first, second) = (VcpuIndex(0), VcpuIndex(1));
//! let mut vm = host.new_vm();
//! vm.init(&VmSpec { spis: 32, ..VmSpec::new(&[VpeId::new(0), VpeId::new(1)]) })?;
//!
//! // Each vCPU on a PE of its own. What traps is the hypervisor's to decide; here nothing does.
//! let cpus = [0, 1].map(|n| machine.pe(PeIndex(n)).expect("there are two PEs"));
//! let pes = [Pe::new(&cpus[0]), Pe::new(&cpus[1])];
//! for pe in &pes {
//!     pe.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
//!     pe.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
//!     pe.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
//!     pe.isb();
//! }
//! vm.load(&pes[0], first)?;
//! vm.load(&pes[1], second)?;
//!
//! // The guests enable their interrupts. SPI 3 goes to the second vCPU, which has nothing to do then.
//! let guests = cpus.each_ref().map(|cpu| cpu.guest());
//! let guests = [Pe::new(&guests[0]), Pe::new(&guests[1])];
//! for guest in &guests {
//!     guest.write(ICC_CR0_EL1::ZERO.with_en(true));
//!     guest.write_raw(SysReg::ICC_PCR_EL1, 31);
//!     guest.isb();
//! }
//! let spi = Spi::new(3)?;
//! guests[0].cdaff(spi.into(), VpeId::new(1).into());
//! guests[0].cden(spi.into());
//! guests[0].gsb_sys();
//! assert_eq!(vm.idle(&pes[1], second)?, Idle::Sleep);
//!
//! // A device of the VM raises the SPI, from anywhere. The doorbell rings where the vCPU went to sleep.
//! vm.inject(&pes[0], IntId::Spi(spi), Pending::Set)?;
//! let mut woken = Vec::new();
//! physical.take_interrupts(PeIndex(1), |taken| woken.extend(taken.cookie.and_then(|cookie| host.doorbell(cookie))));
//! assert_eq!(woken, [Wake { vm: vm.id().ok_or("it has an ID")?, vpe: VpeId::new(1) }]);
//!
//! // Its thread wakes up, loads it, and the guest takes the interrupt.
//! assert!(vm.has_pending(second)?);
//! vm.load(&pes[1], second)?;
//! assert_eq!(guests[1].cdia().int_id(), Some(IntId::Spi(spi)));
//! guests[1].gsb_ack();
//! guests[1].isb();
//! guests[1].cdeoi();
//! guests[1].cddi(IntId::Spi(spi));
//!
//! // Everything goes back.
//! vm.put(&pes[0], first)?;
//! vm.put(&pes[1], second)?;
//! vm.tear_down()?;
//! host.shut_down()?;
//! assert_eq!(host.holdings().table_bytes, 0);
//! assert!(machine.take_violations().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
//! [`gicv5_hal::Wait`] in between. A future that has completed is pending if it is polled again. A command sequence owns the registers of its status register by a token; no lock is held
//! and interrupts need not be off. A future may be dropped or forgotten anywhere; a command that it had given has the rest of its
//! time all the same, in which the next operation waits for it, and takes its port over if the future never returns it. What brings
//! the host up, shuts it down or tears down VMs without a handle goes on with the next caller in the same way.
//!
//! **A command that has not finished in time is unknown**, not failed (LIFE-10). Until the hardware says that it is idle,
//! operations that need the same status register fail at once, with an error that names the command in flight; vCPUs are
//! loaded and put, doorbells ring, interrupts are injected as before.
//!
//! **Several IRSs** of a domain walk the same tables (GEN-13). [`Config::others`] names them: tables are made such that the
//! weakest of them can walk them, published for the one that sees least of the caches, and IRSs that cannot share tables are
//! refused. Commands go through one IRS, and so does the VM table if that is enough; an IRS that does not know the table then
//! is given the same (GEN-14, open question 13).
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
//! # What the hypervisor does around it
//!
//! **A vCPU's thread** calls [`Vm::load`] on the PE it is on, enters the guest as often as it likes, and calls [`Vm::put`]
//! before it leaves the PE or lets another vCPU have it. When the guest waits for an interrupt, the thread calls
//! [`Vm::idle`] instead, and sleeps if that says so; whoever wakes it has it look at [`Vm::has_pending`] and load again.
//! Between the last look and the sleep a wake may come, as with any sleep: the thread announces that it is about to sleep,
//! looks once more, and sleeps, and a wake ends an announced sleep.
//!
//! **The interrupt handler** passes the cookie of each LPI that it takes to [`Host::doorbell`], after the acknowledge, GSB ACK
//! and ISB and before the deactivation, and wakes the vCPU that it is told. Doorbells have the priority that the supply of
//! LPIs gives them; if that does not pass the PE's mask, nobody wakes up.
//!
//! **Devices** call [`Vm::inject`] for SPIs and LPIs, from anywhere, without a kick. A PPI is one vCPU's:
//! [`Vm::set_ppi`] keeps it until the vCPU is loaded, so that a vCPU that runs must be put and loaded for it.
//!
//! Cookies of doorbells have bits 63 to 56 zero: a host that hands out LPIs for purposes of its own gives those cookies with
//! one of these bits set, and keeps them from [`Host::doorbell`].
//!
//! **Each PE, once**: [`reset_pe`] leaves nothing of what ran there before, a resident VPE above all, and the `ICH_HFG*` registers hold what guests may do: a bit that is 0 traps, and all are 0 at reset (INS-20). A
//! guest's reads of `ICC_IAFFIDR_EL1` and `ICC_IDR0_EL1` must trap and be answered with the VPE's ID and what the guest shall
//! see, because the registers say what the PE is; so must its accesses to PPIs that it shall not have, which are kept disabled
//! and of which no state is kept.
//!
//! **Around each entry**: HCR_EL2.IMO is 1 while the guest runs, or its instructions act on the host's own interrupts (GEN-5).
//! The library owns `ICH_VCTLR_EL2`, `ICH_VMCR_EL2`, `ICH_APR_EL2`, `ICH_CONTEXTR_EL2` and the `ICH_PPI_*` registers,
//! and `ICC_ICSR_EL1` while a vCPU is loaded: host code that asks for an interrupt's configuration then puts that back as it
//! was (INS-14).
//!
//! **A VM that dies** ([`Fate::Dead`], [`RunError::ResidencyFault`]) is known to whoever gets the error: it puts or wakes all
//! vCPUs of the VM, and tears it down.
//!
//! **A PE that goes out** first loses its vCPUs, by put or idle; then [`Vm::move_doorbells`] routes the doorbells of those that
//! sleep there to another PE. A PE that is gone, without having been asked, is reported by [`Vm::pe_is_gone`] for each VM and
//! [`Host::pe_is_gone`], which name the vCPUs to wake.
//!
//! **The order** of coming up is the physical side, every PE, the host; of going down, the reverse. Where one can tell, the
//! wrong order is refused. A take-over of tables of earlier software begins with [`reset_pe`] on every PE (RES-23).
//!
//! **A guest's level-sensitive PPI**, a timer's for instance, is the hypervisor's to follow: [`Vm::set_ppi`] when the line
//! rises and when it falls. A [reset](Vm::reset_vcpu) of the vCPU keeps the level.
//!
//! **The guest's own IRS** is emulated by the hypervisor, which says by [`Vm::set_guest_irs`] whether it is on.
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
//! | [`Vm::load`], [`put`](Vm::put), [`idle`](Vm::idle) | no | no | no | with the PE's interrupts off, see below |
//! | [`Vm::has_pending`], [`Vm::move_doorbells`], [`Vm::pe_is_gone`], [`reset_pe`] | no | no | no | yes |
//! | [`Host::evict`], [`Host::pe_is_gone`] | no | yes | no | no |
//! | [`Vm::inject`], [`Vm::injecting`], [`Vm::set_ppi`], [`Vm::set_guest_irs`] | no | no | no | yes |
//! | [`Host::doorbell`], [`counters`](Host::counters) | no | no | no | that is where it belongs |
//!
//! **Load, put and idle** change the virtual CPU interface of their PE in several steps. Nothing else may load or put a vCPU on
//! that PE between the first and the last of them, so that their caller has the PE's interrupts off if an interrupt handler
//! there does so too. The library cannot notice: the handler's load finds no VPE resident, and the registers that the thread
//! has restored are the handler's vCPU's from then on (RES-15).
//!
//! **When a call has taken effect** stands in `docs/effects.md`, call by call: the instructions of all of them but
//! [`Vm::injecting`] are complete when they return (SYN-1).
//!
//! What waits also frees memory, and to release a doorbell it may wait for the handlers that have its cookie: not with a lock
//! held that one of them takes. The step-by-step forms do so inside a poll.
//!
//! # Locks
//!
//! | lock | of | what is done while it is held |
//! |---|---|---|
//! | the VM table | the host | one entry is edited: 6 loads, stores and barriers at most, 12 with maintenance for an IRS that does not see the caches |
//! | the books | the host | the lowest free VM ID is looked for, 64 at a time; a list is walked that grows with the VMs without a handle ([`Host::reap`], [`reclaim`](Host::reclaim), [`shut_down`](Host::shut_down), [`holdings`](Host::holdings)) or with the references to VMs ([`Vm::refer`], teardown); a PE's residency is ended ([`Host::evict`]) |
//! | two ports | the host | the token changes hands; a command is noted before it is written |
//! | free doorbells | the host | a slot is taken or given back |
//! | ISTs | each VM | an IST is put down or picked up |
//!
//! None is held while a register of an IRS is accessed, hardware waited for, the supply of LPIs called, or memory of either kind
//! allocated or given back; and none while another is taken, but that of the ISTs by [`Host::holdings`]. Instructions are
//! counted in `BENCHMARKS.md`. A command sequence is long, and holds none: it owns a port by the token.
//!
//! # Heap
//!
//! [`Platform::may_allocate`](gicv5_hal::Platform::may_allocate) is asked before each allocation, and one that fails all the same is an error like any other. A VM
//! with one vCPU takes less than 512 bytes, with both ISTs and where a handle of a block takes 24 bytes: about 140 bytes for each
//! vCPU and 8 for each eight PPIs that its guest sees, about 200 for the VM and 56 for each IST. Beside that there are the
//! handles of VPE descriptors and level-2 ISTs, 8 bytes for each doorbell, and a bit for each VM ID.
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
//! and restore, memory encryption contexts, PEs whose virtual PPIs differ.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, loom))]
extern crate std;

pub(crate) use gicv5_irs::domain::{BlockOf, MutexOf};

mod config;
mod doorbell;
mod error;
mod host;
mod hypervisor;
mod ids;
mod machine;
mod probe;
mod sync;
mod tables;
mod vcpu;
mod vm;

pub use config::{Config, LiveTable};
pub use doorbell::error::DoorbellError;
pub use doorbell::mask::DoorbellMask;
pub use doorbell::wake::Wake;
pub use error::Fate;
pub use gicv5_irs::command::{Command, CommandError, CommandErrorKind, Fault, Place, TableEntry};
pub use gicv5_irs::lease::TableError;
pub use host::books::Phase;
pub use host::bring_up::{BringUpCause, BringUpError, ShutDownError};
pub use host::holdings::{Counters, Holdings};
pub use host::host::Host;
pub use host::quarantine::ReclaimError;
pub use hypervisor::{Hypervisor, WithLpis};
pub use ids::VcpuIndex;
pub use probe::ProbeError;
pub use vcpu::error::{InjectError, PpiError, RunError};
pub use vcpu::pe::{EvictError, PeIsGoneError, reset_pe};
pub use vcpu::ppi::PpiMask;
pub use vcpu::reset::{ResetCause, ResetError};
pub use vcpu::run::{Idle, Injecting, Pending};
pub use vm::handle::Vm;
pub use vm::init::{InitCause, InitError, Nesting, VmSpec};
pub use vm::ist::{IstCause, IstError};
pub use vm::reference::{ReferenceError, VmReference};
pub use vm::state::VmState;
pub use vm::tear_down::{TearDownCause, TearDownError};
