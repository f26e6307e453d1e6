//! What a PE's CPU interface is like, who executes on it, what becomes of what they execute, and what they are signalled.

use gicv5_arch::sysreg::{CpuIdBits, CpuPriBits, GcieLegacy, PpiSet};
use gicv5_arch::{Iaffid, IntId, Ppi, Priority};

/// What a PE's CPU interface is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuConfig {
    /// The PE's affinity ID.
    pub iaffid: Iaffid,
    /// Number of priority bits.
    pub pri_bits: CpuPriBits,
    /// Number of interrupt ID bits.
    pub id_bits: CpuIdBits,
    /// The PPIs that are implemented, by bank.
    pub ppis: [PpiSet; 2],
    /// Those of them that are edge-handled. PPI 3 is, and no other architected one but perhaps 24 (PPI-3).
    pub edge_ppis: [PpiSet; 2],
    /// Whether guests can have a GICv3 virtual CPU interface instead. The model does not have that interface; it has what
    /// a hypervisor needs to switch between the two, ICH_VCTLR_EL2.V3. Where it is absent V3 reads as zero.
    pub legacy: GcieLegacy,
}

impl CpuConfig {
    /// A PE with five priority bits, 24 ID bits, and the PPIs that the architecture numbers (PPI-2), but for 25, which comes
    /// with the legacy feature only (PPI-26).
    #[must_use]
    pub fn new(iaffid: Iaffid) -> CpuConfig {
        let ppis = Ppi::ARCHITECTED.iter().fold(PpiSet::EMPTY, |set, (ppi, ..)| set.with(*ppi)).without(Ppi::GICMNT);
        CpuConfig {
            iaffid,
            pri_bits: CpuPriBits::Five,
            id_bits: CpuIdBits::Bits24,
            ppis: [ppis, PpiSet::EMPTY],
            edge_ppis: [PpiSet::EMPTY.with(Ppi::SW_PPI), PpiSet::EMPTY],
            legacy: GcieLegacy::Absent,
        }
    }

    pub(crate) fn has_legacy(&self) -> bool {
        self.legacy == GcieLegacy::Present
    }
}

/// Who executes on a PE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Level {
    /// The host, at EL2: its current domain is the physical one (GEN-5).
    Host,
    /// The kernel of a host whose hypervisor alone is at EL2 (nVHE), at EL1 with HCR_EL2.IMO=0: its current domain is the
    /// physical one too (GEN-5), but nothing of EL2 is in its reach (GEN-6).
    Kernel,
    /// A guest, at EL1 with HCR_EL2.IMO=1: its current domain is the virtual one, unless ICH_VCTLR_EL2.V3=1 (GEN-5).
    Guest,
}

/// What becomes of an access or an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Fate {
    /// It executes.
    Executes,
    /// It traps to EL2, by one of ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, ICH_HFGITR_EL2 (INS-20).
    Traps,
    /// It is UNDEFINED at the exception level it is made from.
    Undefined,
}

/// What competes at a PE: its most urgent PPI, and the interrupt that it would acknowledge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Contenders {
    /// The most urgent of the PPIs that are pending, enabled and not active (HPPI-3).
    pub ppi: Option<(Ppi, Priority)>,
    /// The most urgent interrupt of sufficient priority, PPI or not (HPPI-9).
    pub hppi: Option<(IntId, Priority)>,
}

/// What a PE's interrupt outputs show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Signals {
    /// An interrupt of the current domain is signalled.
    pub irq: bool,
    /// An interrupt of another domain is signalled. With one domain there is none.
    pub fiq: bool,
    /// The signalled interrupt is an NMI: it has priority 0 and SCTLR.NMI is 1 (INS-2, HPPI-8).
    pub nmi: bool,
}
