//! What the tests speak of: the lab, what they need and expect, the cast, and the architecture's everyday types.

pub(super) use gicv5_arch::entry::L2_ISTE;
pub(super) use gicv5_arch::insn::GicInsn;
pub(super) use gicv5_arch::irs::IrsReg;
pub(super) use gicv5_arch::sysreg::{HPPIR, ICC_ICSR_EL1, ICH_VCTLR_EL2, PPI_PRIORITYR, SysReg};
pub(super) use gicv5_arch::values::{HandlingMode, L2Size, MapAction, TriggerMode};
pub(super) use gicv5_arch::{Iaffid, IntId, IrsIntId, IrsIntType, Lpi, Ppi, PpiBank, Priority, Spi};
pub(super) use gicv5_hal::{Irs, IrsExt};

pub(super) use crate::bench::Bench;
pub(super) use crate::features::Need;
pub(super) use crate::lab::{FRAME, Lab, TableBlock, acknowledge};
pub(super) use crate::outcome::{Failure, Outcome, Value, expect};
pub(super) use crate::profile::Profile;
pub(super) use crate::virt::{DOORBELLS, INTERRUPTS, OTHER, VM, VPES, VirtualIst, Vm, VmTable, preset, vlpi, vspi};
