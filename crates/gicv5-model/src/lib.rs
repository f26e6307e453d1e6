//! An executable model of the GICv5 hardware.
//!
//! The model is a strict peer of the software that drives it. It answers as the architecture says an implementation
//! answers, as late as the architecture lets it; it keeps what it owns to itself; and where software breaks a rule it
//! goes on and reports a [`Violation`](violation::Violation) with the rule's id. A missing barrier, a missing clean, memory
//! freed too early: each shows as a wrong result or as a violation, on a laptop.
//!
//! So far there is the physical side of the Non-secure domain: IRSs with their SPIs, the physical LPI IST, the CPU interfaces
//! with their PPIs, memory and caches. Of the virtual side there is what the IRS does by itself: VM table, VMs, VPEs, virtual
//! ISTs, doorbells, assigned SPIs, save. The CPU interface at EL2 is missing, so that no VPE can be made resident and no
//! guest can run; `GIC VDPEND` is the only instruction of its domain. There is no ITS, no 1-of-N routing, no other domain.
//!
//! ```
//! use gicv5_arch::sysreg::{ICC_CR0_EL1, SysReg};
//! use gicv5_arch::{Priority, Spi, irs::IRS_CR0};
//! use gicv5_hal::{IrsExt, IrsIndex, Pe};
//! use gicv5_model::{Machine, config::MachineConfig, violation::PeIndex};
//!
//! let machine = Machine::new(MachineConfig::new(1, 64))?;
//! let cpu = machine.pe(PeIndex(0)).expect("there is one PE");
//! let pe = Pe::new(&cpu);
//!
//! // The IRS and the CPU interface are switched on.
//! machine.write(IrsIndex(0), IRS_CR0::ZERO.with_irsen(true));
//! while !machine.read::<IRS_CR0>(IrsIndex(0)).idle() {}
//! pe.write(ICC_CR0_EL1::ZERO.with_en(true));
//! pe.write_raw(SysReg::ICC_PCR_EL1, 31);
//! pe.isb();
//!
//! // A wire rises, and the interrupt is taken.
//! let spi = Spi::new(42)?;
//! pe.cden(spi.into());
//! pe.gsb_sys();
//! machine.set_spi_wire(spi, true);
//! assert!(machine.signals(PeIndex(0)).irq);
//! assert_eq!(pe.cdia().int_id(), Some(spi.into()));
//! assert!(machine.take_violations().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

pub mod clock;
pub mod config;
mod cpu;
pub mod event;
pub mod fault;
mod interrupts;
mod irs;
mod ist_memory;
mod machine;
pub mod memory;
pub mod report;
pub mod rng;
mod swerr;
mod switches;
mod table_memory;
pub mod violation;
mod virt;

pub use config::Tie;
pub use cpu::{CpuConfig, Signals};
pub use machine::{CPU_1, Machine, MachineState, ModelPe};
