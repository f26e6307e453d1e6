//! The virtual CPU interface, as EL2 controls it.

use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::{ICH_CONTEXTR_EL2, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, ICH_VCTLR_EL2, Trap};
use gicv5_arch::{VmId, VpeId};

use super::interface::{Bits, Interface};
use super::registers::{PpiRow, Register, Side};
use crate::words::cpu::CpuConfig;

/// What the checker remembers about software at EL2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Remembered {
    /// V of the last write of ICH_CONTEXTR_EL2, if no context synchronisation has followed it (RES-1, RES-14).
    context_written: Option<bool>,
    /// V3 was written, and no context synchronisation has followed (RES-15).
    v3_written: bool,
    /// A VPE was made resident, and the guest has not run since (RES-15).
    not_entered: bool,
    since_entry: SinceEntry,
}

/// What has happened since the guest was last entered that it must not meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SinceEntry {
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
    pub(super) context: ICH_CONTEXTR_EL2,
    /// The VPE that is resident, as far as the PE knows (RES-23).
    pub(super) resident: Option<(VmId, VpeId)>,
    pub(super) vctlr: ICH_VCTLR_EL2,
    pub(super) dvi: Bits,
    pub(super) hvi: Bits,
    pub(super) hfgrtr: ICH_HFGRTR_EL2,
    pub(super) hfgwtr: ICH_HFGWTR_EL2,
    pub(super) hfgitr: ICH_HFGITR_EL2,
    remembered: Remembered,
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

    #[inline]
    pub(crate) fn context(&self) -> ICH_CONTEXTR_EL2 {
        self.context
    }

    /// The VPE that is resident, as far as the PE knows (RES-23).
    #[inline]
    pub(crate) fn resident(&self) -> Option<(VmId, VpeId)> {
        self.resident
    }

    /// A write of ICH_CONTEXTR_EL2 has acted, or failed to: what the register reads, and which VPE is resident.
    pub(crate) fn set_context(&mut self, context: ICH_CONTEXTR_EL2, resident: Option<(VmId, VpeId)>, failed: bool) {
        self.context = context;
        self.resident = resident;
        self.remembered.since_entry.failed = failed;
        self.remembered.not_entered &= !failed;
    }

    /// The VPE that is resident, if one is, is about to leave.
    pub(crate) fn note_leaving(&mut self) {
        if self.resident.is_some() {
            self.remembered.since_entry.stale_dvi = self.dvi.map(|bank| bank != 0);
        }
    }

    /// The VPE that is resident leaves.
    pub(crate) fn leave(&mut self) {
        self.resident = None;
    }

    /// Takes note of a write that waits to act. Returns what is wrong with its moment, if something is (RES-15). `vctlr` is
    /// ICH_VCTLR_EL2 as software reads it.
    pub(crate) fn note_write(&mut self, register: Register, value: u64, vctlr: ICH_VCTLR_EL2) -> Option<&'static str> {
        let remembered = &mut self.remembered;
        match register {
            Register::Vctlr if vctlr.v3() && value & 2 == 0 => remembered.v3_written = true,
            Register::Vmcr if remembered.v3_written => {
                return Some("is written while V3=0 has no ISB after it, so that it may have the GICv3 layout");
            }
            Register::Vmcr | Register::Apr(Side::Virtual) if remembered.not_entered => {
                return Some(
                    "is written after the VPE was made resident, so that its first interrupt may be judged by the old value",
                );
            }
            Register::Contextr => {
                let v = ICH_CONTEXTR_EL2::new_with_raw_value(value).v();
                remembered.context_written = Some(v);
                remembered.not_entered = v;
                if v && vctlr.v3() {
                    return Some("makes a VPE resident while V3=1");
                } else if v && remembered.v3_written {
                    return Some("makes a VPE resident while V3=0 has no ISB after it");
                }
            }
            Register::Dvir(n) => {
                if let Some(stale) = remembered.since_entry.stale_dvi.get_mut(n) {
                    *stale = false;
                }
            }
            _ => {}
        }
        None
    }

    /// V of the last write of ICH_CONTEXTR_EL2, if no context synchronisation has followed it (RES-1, RES-14).
    pub(crate) fn context_written(&self) -> Option<bool> {
        self.remembered.context_written
    }

    /// The context has been synchronised.
    pub(crate) fn note_synchronisation(&mut self) {
        self.remembered.context_written = None;
        self.remembered.v3_written = false;
    }

    /// The guest is entered.
    pub(crate) fn note_entry(&mut self) -> SinceEntry {
        self.remembered.not_entered = false;
        std::mem::take(&mut self.remembered.since_entry)
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
