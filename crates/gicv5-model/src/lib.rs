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
//! use gicv5_arch::entry::{L2_ISTE, L2_VMTE, VPETE};
//! use gicv5_arch::geometry::{DescriptorGeometry, Footprint, IstGeometry, VmTableGeometry, VpeTableGeometry};
//! use gicv5_arch::irs::*;
//! use gicv5_arch::{IrsIntId, Lpi, PhysAddr, Priority, VmId, VpeId, values::IstSize};
//! use gicv5_hal::{Block, BlockLayout, Cookie, HostLpis, IrsExt, IrsIndex, TableMemory};
//! use gicv5_model::{Machine, ModelHost, config::MachineConfig, violation::PeIndex};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let machine = Machine::new(MachineConfig::new(1, 0).with_virtualisation())?;
//! let host = ModelHost::start(&machine, 0..64)?;
//! let (vm, vpe, offset) = (VmId::new(3), VpeId::new(0), 3 * L2_VMTE::BYTES);
//!
//! // The VM table, and what belongs to VM 3: a VPE table, the descriptor of its VPE, an IST for its LPIs.
//! let block = |of: Footprint| machine.allocate(BlockLayout::for_footprint(of, PhysAddr::highest(48)).expect("it fits"));
//! let (vmt, vpet) = (VmTableGeometry::linear(8)?, VpeTableGeometry::for_highest(vpe));
//! let (vped, ist) = (DescriptorGeometry::new(7)?, IstGeometry::linear(14, IstSize::Bytes4)?);
//! let (vmt_at, vpet_at) = (block(vmt.base())?, block(vpet.footprint())?);
//! let (vped_at, ist_at) = (block(vped.footprint())?, block(ist.base())?);
//! machine.store64(&vmt_at, offset + 8, vpet.vmte_word(vpet_at.address())?.raw_value());
//! machine.store64(&vmt_at, offset + 16, ist.vmte_word(ist_at.address())?.with_ist_valid(true).raw_value());
//! machine.store64(&vpet_at, 0, VPETE::ZERO.with_vped_addr(vped.footprint().place(vped_at.address())?).raw_value());
//! machine.store32(&ist_at, 0, L2_ISTE::ZERO.with_enable(true).raw_value());
//! machine.barrier();
//!
//! // The IRS takes them.
//! machine.write(IrsIndex(0), vmt.cfgr());
//! host.command(IRS_VMT_BASER::ZERO.with_addr(vmt.base().place(vmt_at.address())?).with_valid(true))?;
//! host.command(IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(vm))?;
//! host.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(vm).with_vpe_id(vpe))?;
//!
//! // The VPE sleeps; an interrupt for it rings.
//! let lpi = host.allocate(Cookie(42))?;
//! host.enable(&lpi);
//! host.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe))?;
//! host.command(IRS_VPE_DBR::ZERO.with_dbv(true).with_req_db(true).with_dbpm(Priority::new(31)?).with_intid(host.lpi(&lpi)))?;
//! host.on_pe(PeIndex(0), |pe| {
//!     pe.vdpend(vm, IrsIntId::Lpi(Lpi::new(0).expect("a number")), true);
//!     pe.gsb_sys();
//! });
//! let taken = host.take_interrupts(PeIndex(0), |taken| assert_eq!(taken.cookie, Some(Cookie(42))));
//! assert_eq!(taken, 1);
//! assert!(machine.take_violations().is_empty());
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

pub mod account;
pub mod clock;
pub mod config;
mod cpu;
pub mod event;
pub mod fault;
pub mod host;
mod id_map;
mod interrupts;
mod irs;
pub mod isolation;
mod ist_memory;
mod machine;
pub mod memory;
pub mod report;
mod residency;
pub mod rng;
mod swerr;
mod switches;
mod table_memory;
pub mod violation;
mod virt;

pub use config::Tie;
pub use cpu::{CpuConfig, Fate, Level, Signals};
pub use host::ModelHost;
pub use machine::{CPU_1, CPU_2, Machine, MachineState, ModelPe};
