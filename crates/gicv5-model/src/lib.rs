//! An executable model of the GICv5 hardware.
//!
//! The model is a strict peer of the software that drives it. It answers as the architecture says an implementation
//! answers, as late as the architecture lets it; it keeps what it owns to itself; and where software breaks a rule it
//! goes on and reports a [`Violation`](violation::Violation) with the rule's id. A missing barrier, a missing clean, memory
//! freed too early: each shows as a wrong result or as a violation, on a laptop.
//!
//! There is the Non-secure domain. The physical side: IRSs with their SPIs, the physical LPI IST, the CPU interfaces
//! with their PPIs, memory and caches. The virtual side: VM table, VMs, VPEs, virtual ISTs, doorbells, assigned SPIs, save
//! in the IRS; residency, the virtual CPU interface and its control from EL2 in the PEs. [`Machine::pe`] is the host on a PE,
//! [`ModelPe::guest`] the guest. There is no ITS, no 1-of-N routing, no other domain, no GICv3 interface for guests, no nested
//! virtualisation.
//!
//! A VM made valid by hand, and the doorbell of its sleeping VPE:
//!
//! ```
//! use gicv5_arch::entry::{L2_ISTE, L2_VMTE};
//! use gicv5_arch::geometry::{DescriptorGeometry, IstGeometry, VmTableGeometry, VpeTableGeometry};
//! use gicv5_arch::irs::{IRS_VMAP_VMR, IRS_VMAP_VPER};
//! use gicv5_arch::{IrsIntType, Lpi, VmId, VpeId, values::IstSize};
//! use gicv5_hal::{Cookie, HostLpis};
//! use gicv5_model::{Machine, ModelHost, PeIndex, config::MachineConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let machine = Machine::new(MachineConfig::new(1, 0).with_virtualisation())?;
//! let host = ModelHost::start(&machine, 0..64)?;
//! let (vm, vpe) = (VmId::new(3), VpeId::new(0));
//!
//! // The VM table, and what belongs to VM 3: a VPE table, the descriptor of its VPE, an IST for its LPIs.
//! let vmt = host.table(VmTableGeometry::linear(8)?)?;
//! let vpet = host.table(VpeTableGeometry::for_highest(vpe))?;
//! let vped = host.table(DescriptorGeometry::new(7)?)?;
//! let ist = host.table(IstGeometry::linear(14, IstSize::Bytes4)?)?;
//! let vmte = L2_VMTE::ZERO
//!     .with_vpet(vpet.vmte_word()?)
//!     .with_ist(IrsIntType::Lpi, ist.vmte_word()?.with_ist_valid(true));
//! host.store(&vmt, 3 * L2_VMTE::BYTES, &vmte.raw_value());
//! host.store(&vpet, 0, &[vped.vpete()?.raw_value()]);
//! host.store(&ist, 0, &[L2_ISTE::ZERO.with_enable(true).raw_value().into()]);
//!
//! // The IRS takes them.
//! host.give_vm_table(&vmt)?;
//! host.command(IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(vm))?;
//! host.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(vm).with_vpe_id(vpe))?;
//!
//! // The VPE sleeps; an interrupt for it rings.
//! let doorbell = host.allocate(Cookie(42))?;
//! host.enable(&doorbell);
//! host.ask_for_doorbell(vm, vpe, &doorbell)?;
//! host.inject(vm, Lpi::new(0)?.into());
//! assert_eq!(host.take_interrupts(PeIndex(0), |taken| assert_eq!(taken.cookie, Some(Cookie(42)))), 1);
//! assert!(machine.take_violations().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! - *To put a library on it that is written over `gicv5-hal`*: [`ModelHost`] is its
//!   [`Platform`](gicv5_hal::Platform) and its supply of LPIs. [`Machine`], a handle that is cheap to clone, is its registers,
//!   its memory and its clock; [`ModelPe`] is what it executes instructions on.
//! - *To put software on it that is not written over `gicv5-hal`*: [`Machine::on_pe`] for accesses to registers of an IRS,
//!   [`Machine::physical_memory`] for memory, [`ModelPe::execute`] for instruction words, and [`ModelLpis`] for books about its LPIs.
//! - *To see what it did wrong*: [`Machine::take_violations`]; [`Machine::listen`] tells at once. To see whether it cleaned up: [`account`]. To see all that
//!   happened: [`Machine::observe`], and [`event`].
//! - *To let something go wrong*: [`fault`].
//! - *To be sure of other hardware too*: [`config`] has what the ID registers report, the memory's coherency and how early it
//!   acts, and a switch for everything that the rules leave open; [`Switches::pairs`](config::Switches::pairs) yields the few
//!   settings in which any two positions meet.
//! - *To be sure that no VM can tell what another does*: [`isolation`].
//! - *To write a test by hand*: [`hand`], as above.
#![deny(unsafe_code)]

mod cpu;
mod engine;
mod handles;
mod instruments;
pub mod memory;
mod parts;
mod words;

pub use engine::state::MachineState;
pub use handles::machine::Machine;
pub use handles::pe::ModelPe;
pub use handles::physical_memory::PhysicalMemory;
pub use instruments::host::ModelHost;
pub use instruments::lpis::ModelLpis;
pub use instruments::{account, hand, host, isolation, lpis, meddle};
pub use words::cpu::{Contenders, CpuConfig, Fate, Level, Signals};
pub use words::ids::{BlockId, PeIndex, RegisterName};
pub use words::owner::{Owner, StructureKind, StructureRules};
pub use words::{clock, config, event, fault, report, rules, violation};
