//! The virtual CPU interface, as EL2 controls it.

use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::{ICH_CONTEXTR_EL2, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, ICH_VCTLR_EL2, Trap};
use gicv5_arch::{VmId, VpeId};

use super::interface::{Bits, Interface};
use super::registers::{PpiRow, Register};
use crate::words::cpu::CpuConfig;

/// What the checker remembers about software at EL2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Remembered {
    /// V of the last write of ICH_CONTEXTR_EL2, if no context synchronisation has followed it (RES-1, RES-14).
    pub(crate) context_written: Option<bool>,
    /// V3 was written, and no context synchronisation has followed (RES-15).
    pub(crate) v3_written: bool,
    /// A VPE was made resident, and the guest has not run since (RES-15).
    pub(crate) not_entered: bool,
    /// The last request to make a VPE resident failed (RES-19).
    pub(crate) failed: bool,
    /// Banks in which PPIs are injected directly that were meant for a VPE that has left (PPI-13).
    pub(crate) stale_dvi: [bool; 2],
}

/// The virtual CPU interface of a PE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VirtualCpu {
    pub(super) interface: Interface,
    /// ICH_CONTEXTR_EL2 as it reads.
    pub(crate) context: ICH_CONTEXTR_EL2,
    /// The VPE that is resident, as far as the PE knows (RES-23).
    pub(crate) resident: Option<(VmId, VpeId)>,
    pub(crate) vctlr: ICH_VCTLR_EL2,
    pub(super) dvi: Bits,
    pub(super) hvi: Bits,
    pub(super) hfgrtr: ICH_HFGRTR_EL2,
    pub(super) hfgwtr: ICH_HFGWTR_EL2,
    pub(super) hfgitr: ICH_HFGITR_EL2,
    pub(crate) remembered: Remembered,
}

impl VirtualCpu {
    /// At reset: off, and everything traps. V3 is UNKNOWN where it exists, and here it is 1.
    pub(super) fn new(config: &CpuConfig) -> VirtualCpu {
        VirtualCpu {
            interface: Interface::new(config),
            context: ICH_CONTEXTR_EL2::ZERO,
            resident: None,
            vctlr: ICH_VCTLR_EL2::ZERO.with_v3(config.has_legacy()),
            dvi: [0; 2],
            hvi: [0; 2],
            hfgrtr: ICH_HFGRTR_EL2::ZERO.with_res1(true),
            hfgwtr: ICH_HFGWTR_EL2::ZERO,
            hfgitr: ICH_HFGITR_EL2::ZERO,
            remembered: Remembered::default(),
        }
    }

    /// Whether a PPI of a bank is injected directly.
    pub(crate) fn injects_directly(&self, n: usize) -> bool {
        self.dvi.get(n).is_some_and(|bank| *bank != 0)
    }

    /// Whether the guest's read of a register traps.
    pub(super) fn traps_read(&self, register: Register) -> bool {
        let trap = match register {
            Register::Apr(_) => self.hfgrtr.icc_apr_el1(),
            Register::Cr0(_) => self.hfgrtr.icc_cr0_el1(),
            Register::Pcr(_) => self.hfgrtr.icc_pcr_el1(),
            Register::Hppir(_) => self.hfgrtr.icc_hppir_el1(),
            Register::Icsr => self.hfgrtr.icc_icsr_el1(),
            Register::Iaffidr => self.hfgrtr.icc_iaffidr_el1(),
            Register::Idr0 => self.hfgrtr.icc_idr(),
            Register::Ppi(_, row, _) => match row {
                PpiRow::HandlingMode => self.hfgrtr.icc_ppi_hmr(),
                PpiRow::Enable => self.hfgrtr.icc_ppi_enabler(),
                PpiRow::ClearActive | PpiRow::SetActive | PpiRow::Active => self.hfgrtr.icc_ppi_activer(),
                PpiRow::ClearPending | PpiRow::SetPending | PpiRow::Pending => self.hfgrtr.icc_ppi_pendr(),
                PpiRow::Priority => self.hfgrtr.icc_ppi_priorityr(),
            },
            _ => Trap::NotTrapped,
        };
        trap == Trap::Trapped
    }

    /// Whether the guest's write of a register traps.
    pub(super) fn traps_write(&self, register: Register) -> bool {
        let trap = match register {
            Register::Apr(_) => self.hfgwtr.icc_apr_el1(),
            Register::Cr0(_) => self.hfgwtr.icc_cr0_el1(),
            Register::Pcr(_) => self.hfgwtr.icc_pcr_el1(),
            Register::Icsr => self.hfgwtr.icc_icsr_el1(),
            Register::Ppi(_, row, _) => match row {
                PpiRow::Enable => self.hfgwtr.icc_ppi_enabler(),
                PpiRow::ClearActive | PpiRow::SetActive | PpiRow::Active => self.hfgwtr.icc_ppi_activer(),
                PpiRow::ClearPending | PpiRow::SetPending | PpiRow::Pending => self.hfgwtr.icc_ppi_pendr(),
                PpiRow::Priority => self.hfgwtr.icc_ppi_priorityr(),
                PpiRow::HandlingMode => Trap::NotTrapped,
            },
            _ => Trap::NotTrapped,
        };
        trap == Trap::Trapped
    }

    /// Whether the guest's instruction traps (INS-20).
    pub(super) fn traps_insn(&self, insn: GicInsn) -> bool {
        let trap = match insn {
            GicInsn::GICR_CDNMIA => self.hfgitr.gicrcdnmia(),
            GicInsn::GICR_CDIA => self.hfgitr.gicrcdia(),
            GicInsn::GIC_CDDI => self.hfgitr.giccddi(),
            GicInsn::GIC_CDEOI => self.hfgitr.giccdeoi(),
            GicInsn::GIC_CDHM => self.hfgitr.giccdhm(),
            GicInsn::GIC_CDRCFG => self.hfgitr.giccdrcfg(),
            GicInsn::GIC_CDPEND => self.hfgitr.giccdpend(),
            GicInsn::GIC_CDAFF => self.hfgitr.giccdaff(),
            GicInsn::GIC_CDPRI => self.hfgitr.giccdpri(),
            GicInsn::GIC_CDDIS => self.hfgitr.giccddis(),
            GicInsn::GIC_CDEN => self.hfgitr.giccden(),
            _ => Trap::NotTrapped,
        };
        trap == Trap::Trapped
    }
}
