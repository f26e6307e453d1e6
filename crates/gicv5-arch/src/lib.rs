//! The GICv5 architecture as types.
//!
//! Everything here is a fact about the hardware, and nothing here does anything: registers, table entries and
//! instruction operands are bit fields with typed accessors; identifiers and addresses are types that cannot be mixed
//! up; sizes and alignments are functions that refuse what cannot be. The crate is `no_std`, needs no allocator, has no
//! `unsafe` code, and almost all of it is `const`.
//!
//! | module | holds |
//! |---|---|
//! | (root) | [`IntId`], [`Ppi`], [`Lpi`], [`Spi`], [`VmId`], [`VpeId`], [`Iaffid`], [`Priority`], [`PhysAddr`] |
//! | [`irs`] | the registers of the IRS frames, and which status register completes which write |
//! | [`sysreg`] | the system registers of the CPU interface |
//! | [`insn`] | the GIC instructions and their operands |
//! | [`entry`] | the entries of the tables in memory |
//! | [`values`] | enumerations that several of them share |
//! | [`layout`], [`register`] | how layouts are declared and described |
//!
//! Names are the specification's. Every fact is checked against `facts/registers.toml`, in both directions, by the
//! crate's tests; encodings are checked against an assembler as well.
//!
//! ```
//! use gicv5_arch::irs::{IRS_VMAP_VMR, IrsReg};
//! use gicv5_arch::values::MapAction;
//! use gicv5_arch::VmId;
//!
//! // Make VM 7 valid: the value to write, and where to see that it is done (VM-1, GEN-16).
//! let command = IRS_VMAP_VMR::ZERO.with_m(true).with_u(MapAction::MakeValid).with_vm_id(VmId::new(7));
//! assert_eq!(command.raw_value(), 0x8000_0000_0000_0007);
//! let status = IrsReg::IRS_VMAP_VMR.status().unwrap();
//! assert_eq!(status.register, IrsReg::IRS_VMT_STATUSR);
//! ```
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
#[macro_use]
extern crate std;

mod address;
pub mod entry;
pub mod geometry;
mod id;
pub mod insn;
pub mod irs;
pub mod layout;
mod priority;
pub mod register;
pub mod sysreg;
pub mod values;

pub use address::{Addr51_12, Addr55_3, Addr55_6, Addr55_12, AddressError, FieldAddr, PhysAddr};
pub use id::{
    Iaffid, IdOutOfRange, IntId, IntType, IrsIntId, IrsIntType, Lpi, NotAnIntId, NotAnIrsIntId, Ppi, PpiBank,
    PpiHandling, Spi, VmId, VpeId,
};
pub use priority::{ActivePriorities, Priority, PriorityOutOfRange, Urgency};
