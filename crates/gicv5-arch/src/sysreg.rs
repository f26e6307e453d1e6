//! The system registers of the CPU interface.
//!
//! `ICC_*` registers belong to the physical domains, `ICH_*` are the hypervisor's view of the virtual interface, and
//! `ICV_*` is what a guest reaches when it uses the `ICC_*` names from EL1 (so they have no encoding of their own). All
//! are 64 bits wide. Layouts that several registers share are declared once: `APR`, `PCR`, `HPPIR` and `PPI_*`.
//!
//! Of these only the `PCR`s synchronise themselves (SYN-6): what software writes to any other acts, for certain, only
//! after an ISB.

// The types carry the names of the specification, so that a search for a register finds everything about it.
#![allow(non_camel_case_types)]

use core::fmt;

use arbitrary_int::{u1, u2, u4, u6, u24};

use crate::id::reports_interrupt;
use crate::layout::{FieldInfo, layout, newtype_field, values};
use crate::register::{Access, Register};
use crate::values::{Domain, HandlingMode, RoutingMode};
use crate::{ActivePriorities, Iaffid, IntType, Ppi, PpiBank, Priority, VmId, VpeId};

/// One bit for each PPI of a bank.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PpiSet(u64);

impl PpiSet {
    /// No PPI.
    pub const EMPTY: PpiSet = PpiSet(0);

    /// Makes the set from the bits of a field.
    #[must_use]
    pub const fn new_with_raw_value(bits: u64) -> PpiSet {
        PpiSet(bits)
    }

    /// The bits as they stand in a field.
    #[must_use]
    pub const fn raw_value(self) -> u64 {
        self.0
    }

    /// True if the set, read from a register of the PPI's own bank, has the PPI's bit.
    #[must_use]
    pub const fn contains(self, ppi: Ppi) -> bool {
        self.0 & ppi.mask() != 0
    }

    /// The set with the PPI's bit set.
    #[must_use]
    pub const fn with(self, ppi: Ppi) -> PpiSet {
        PpiSet(self.0 | ppi.mask())
    }

    /// The set with the PPI's bit clear.
    #[must_use]
    pub const fn without(self, ppi: Ppi) -> PpiSet {
        PpiSet(self.0 & !ppi.mask())
    }

    /// The PPIs of the set, lowest first, if it was read from a register of this bank.
    pub fn iter(self, bank: PpiBank) -> impl Iterator<Item = Ppi> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            // 64 zeros is an empty set; any other count is a bit number.
            let bit = u6::try_new(rest.trailing_zeros() as u8).ok()?;
            rest &= rest - 1;
            Some(bank.ppi(bit))
        })
    }
}

newtype_field!(PpiSet: u64, element 1);

impl fmt::Debug for PpiSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// Two bits for each of 32 PPIs: the domain each is assigned to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PpiDomains(u64);

impl PpiDomains {
    /// Makes the row from the bits of a field.
    #[must_use]
    pub const fn new_with_raw_value(bits: u64) -> PpiDomains {
        PpiDomains(bits)
    }

    /// The bits as they stand in a field.
    #[must_use]
    pub const fn raw_value(self) -> u64 {
        self.0
    }

    /// The domain of a PPI, if this is the register that covers it ([`SysReg::icc_ppi_domainr`]).
    #[must_use]
    pub const fn domain(self, ppi: Ppi) -> Domain {
        Domain::new_with_raw_value(u2::new((self.0 >> (ppi.id() % 32 * 2) & 3) as u8))
    }

    /// The row with the domain of a PPI changed.
    #[must_use]
    pub const fn with_domain(self, ppi: Ppi, domain: Domain) -> PpiDomains {
        let shift = ppi.id() % 32 * 2;
        PpiDomains(self.0 & !(3 << shift) | (domain.raw_value().value() as u64) << shift)
    }
}

newtype_field!(PpiDomains: u64, element 2);

impl fmt::Debug for PpiDomains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

values! {
    /// Number of implemented priority bits (ICC_IDR0_EL1.PRI_BITS, stored minus one).
    CpuPriBits: u4, exhaustive = false {
        /// 4 bits.
        Four = 3 => "4 bits",
        /// 5 bits.
        Five = 4 => "5 bits",
    }
}

impl CpuPriBits {
    /// The number of bits, 4 or 5.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.raw_value().value() as u32 + 1
    }
}

values! {
    /// Number of implemented interrupt ID bits (ICC_IDR0_EL1.ID_BITS). Not a count: compare only after decoding (GEN-11).
    CpuIdBits: u4, exhaustive = false {
        /// 16 bits.
        Bits16 = 0 => "16 bits",
        /// 24 bits.
        Bits24 = 1 => "24 bits",
    }
}

impl CpuIdBits {
    /// The number of bits, 16 or 24.
    #[must_use]
    pub const fn count(self) -> u32 {
        match self {
            CpuIdBits::Bits16 => 16,
            CpuIdBits::Bits24 => 24,
        }
    }
}

values! {
    /// Whether a PE has the GICv3 virtual CPU interface as well.
    GcieLegacy: u4, exhaustive = false {
        /// It has not.
        Absent = 0 => "no GICv3 virtual CPU interface",
        /// It has.
        Present = 1 => "present",
    }
}

values! {
    /// Whether a PE has the GICv5 CPU interface.
    Gcie: u4, exhaustive = false {
        /// It has not.
        NotImplemented = 0 => "not implemented",
        /// It has.
        Implemented = 1 => "implemented",
    }
}

layout! {
    /// Active priorities of a domain.
    APR: u64 {
        /// Bit n is set while priority n is active.
        [31:0] P p: ActivePriorities;
    }
}

layout! {
    /// Priority mask of a domain. The one kind of register that synchronises itself (SYN-6).
    PCR: u64 {
        /// Interrupts numerically at or below this value can be signalled; 31 lets all through (PRI-3).
        [4:0] PRIORITY priority: Priority;
    }
}

layout! {
    /// Highest priority pending interrupt of a domain (HPPI-9).
    HPPIR: u64 {
        /// Whether TYPE and ID are valid. 0: nothing of sufficient priority is pending.
        [32] HPPIV hppiv: bool;
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IntType>;
        /// The ID of the interrupt, within its type.
        [23:0] ID id: u24;
    }
}

reports_interrupt!(HPPIR: hppiv with_hppiv);

layout! {
    /// Handling mode of each PPI of a bank. Fixed in hardware (PPI-3).
    PPI_HMR: u64 {
        /// 1 for level, 0 for edge.
        [63:0] HM hm: PpiSet;
    }
}

layout! {
    /// Enables of the PPIs of a bank.
    PPI_ENABLER: u64 {
        /// One bit for each PPI.
        [63:0] EN en: PpiSet;
    }
}

layout! {
    /// Active bits of the PPIs of a bank: written to the `CACTIVER` register a 1 clears, to the `SACTIVER` register a 1
    /// sets; both read the active bits.
    PPI_ACTIVER: u64 {
        /// One bit for each PPI.
        [63:0] Active active: PpiSet;
    }
}

layout! {
    /// Pending bits of the PPIs of a bank: written to the `CPENDR` register a 1 clears, to the `SPENDR` register a 1 sets;
    /// both read the pending bits. Writes affect only edge PPIs (PPI-4).
    PPI_PENDR: u64 {
        /// One bit for each PPI.
        [63:0] Pend pend: PpiSet;
    }
}

layout! {
    /// Priorities of eight PPIs: register n covers PPI 8n to 8n+7 (PPI-1).
    PPI_PRIORITYR: u64 {
        /// Priority of PPI 8n+7.
        [60:56] PRIORITY7 priority7: Priority;
        /// Priority of PPI 8n+6.
        [52:48] PRIORITY6 priority6: Priority;
        /// Priority of PPI 8n+5.
        [44:40] PRIORITY5 priority5: Priority;
        /// Priority of PPI 8n+4.
        [36:32] PRIORITY4 priority4: Priority;
        /// Priority of PPI 8n+3.
        [28:24] PRIORITY3 priority3: Priority;
        /// Priority of PPI 8n+2.
        [20:16] PRIORITY2 priority2: Priority;
        /// Priority of PPI 8n+1.
        [12:8] PRIORITY1 priority1: Priority;
        /// Priority of PPI 8n.
        [4:0] PRIORITY0 priority0: Priority;
    }
}

impl PPI_PRIORITYR {
    /// The priority of a PPI, if this is the register that covers it ([`Ppi::priority_register`]).
    #[must_use]
    pub const fn priority(self, ppi: Ppi) -> Priority {
        let shift = ppi.priority_slot().value() as u32 * 8;
        Priority::new_with_raw_value(arbitrary_int::u5::new((self.raw_value() >> shift & 0x1f) as u8))
    }

    /// The register with the priority of a PPI changed.
    #[must_use]
    pub const fn with_priority(self, ppi: Ppi, priority: Priority) -> PPI_PRIORITYR {
        let shift = ppi.priority_slot().value() as u32 * 8;
        let cleared = self.raw_value() & !(0x1f << shift);
        PPI_PRIORITYR::new_with_raw_value(cleared | (priority.number() as u64) << shift)
    }
}

layout! {
    /// Directly injected PPIs of a bank: the virtual pending bit is the physical one (PPI-7).
    ICH_PPI_DVIR: u64 {
        /// One bit for each PPI. It acts only if the physical PPI is assigned to the current physical domain (PPI-9).
        [63:0] DVI dvi: PpiSet;
    }
}

layout! {
    /// Virtual pending bits of the PPIs of a bank.
    ICH_PPI_PENDR: u64 {
        /// One bit for each PPI. For a directly injected PPI hardware supplies the value (PPI-7).
        [63:0] PEND pend: PpiSet;
    }
}

layout! {
    /// Virtual active bits of the PPIs of a bank.
    ICH_PPI_ACTIVER: u64 {
        /// One bit for each PPI.
        [63:0] ACTIVE active: PpiSet;
    }
}

layout! {
    /// PPIs of a bank that the guest sees as unimplemented (PPI-27).
    ICH_PPI_HVIR: u64 {
        /// One bit for each PPI; 1 hides it.
        [63:0] HVI hvi: PpiSet;
    }
}

layout! {
    /// Domains of 32 PPIs: register n covers PPI 32n to 32n+31.
    ICC_PPI_DOMAINR: u64 {
        /// Two bits for each PPI.
        [63:0] DOMAIN domain: PpiDomains;
    }
}

layout! {
    /// Enables interrupt delivery to this PE in the current physical domain.
    ICC_CR0_EL1: u64 {
        /// Purpose not in the public sources.
        [38] PID pid: bool;
        /// Purpose not in the public sources.
        [37:32] IPPT ippt: u6;
        /// Read-only; purpose not in the public sources.
        [2] LINK_IDLE link_idle: bool;
        /// Purpose not in the public sources.
        [1] LINK link: bool;
        /// Whether interrupts are signalled; while 0 the domain has no HPPI (PRI-8).
        [0] EN en: bool;
    }
}

layout! {
    /// Enables interrupt delivery in the EL3 domain.
    ICC_CR0_EL3: u64 {
        /// Purpose not in the public sources.
        [33:32] PID pid: u2;
        /// Purpose not in the public sources.
        [2] LINK_IDLE link_idle: bool;
        /// Purpose not in the public sources.
        [1] LINK link: bool;
        /// Whether interrupts are signalled.
        [0] EN en: bool;
    }
}

layout! {
    /// Virtual interrupt delivery enable.
    ICV_CR0_EL1: u64 {
        /// Purpose not in the public sources.
        [2] LINK_IDLE link_idle: bool;
        /// Purpose not in the public sources.
        [1] LINK link: bool;
        /// Whether virtual interrupts are signalled: the same state as ICH_VMCR_EL2.EN (PRI-9).
        [0] EN en: bool;
    }
}

layout! {
    /// Highest active priority. Removed from the architecture; some assemblers still know it.
    ICC_HAPR_EL1: u64 {
        /// The priority, 0xff when idle.
        [7:0] PRIORITY priority: u8;
    }
}

layout! {
    /// CPU interface capabilities.
    ICC_IDR0_EL1: u64 {
        /// Whether the GICv3 virtual CPU interface is there as well.
        [11:8] GCIE_LEGACY gcie_legacy: Option<GcieLegacy>;
        /// Number of priority bits, stored minus one.
        [7:4] PRI_BITS pri_bits: Option<CpuPriBits>;
        /// Number of interrupt ID bits, encoded.
        [3:0] ID_BITS id_bits: Option<CpuIdBits>;
    }
}

layout! {
    /// System register enable of GICv3, as EL1 sees it. With FEAT_GCIE every bit reads as one and ignores writes (GEN-25).
    ICC_SRE_EL1: u64 {
        /// IRQ bypass is disabled.
        [2] DIB dib: bool;
        /// FIQ bypass is disabled.
        [1] DFB dfb: bool;
        /// System registers are in use.
        [0] SRE sre: bool;
    }
}

layout! {
    /// System register enable of GICv3, as EL2 sees it. With FEAT_GCIE every bit reads as one and ignores writes (GEN-25).
    ICC_SRE_EL2: u64 {
        /// EL1 reaches ICC_SRE_EL1 without a trap.
        [3] Enable enable: bool;
        /// IRQ bypass is disabled.
        [2] DIB dib: bool;
        /// FIQ bypass is disabled.
        [1] DFB dfb: bool;
        /// System registers are in use.
        [0] SRE sre: bool;
    }
}

layout! {
    /// Result of the last read-configuration instruction. One register for host and guest (INS-14); read it after an ISB
    /// and look at F first (INS-12). Its bits are not those of an IST entry (INS-13).
    ICC_ICSR_EL1: u64 {
        /// The target.
        [47:32] IAFFID iaffid: Iaffid;
        /// The priority.
        [15:11] Priority priority: Priority;
        /// The handling mode.
        [5] HM hm: HandlingMode;
        /// Whether the interrupt is active.
        [4] Active active: bool;
        /// The routing mode.
        [3] IRM irm: RoutingMode;
        /// Whether the interrupt is pending.
        [2] Pending pending: bool;
        /// Whether the interrupt is enabled.
        [1] Enabled enabled: bool;
        /// 1: the request failed and the other fields mean nothing.
        [0] F f: bool;
    }
}

layout! {
    /// Affinity ID of this PE.
    ICC_IAFFIDR_EL1: u64 {
        /// The affinity ID.
        [15:0] IAFFID iaffid: Iaffid;
    }
}

layout! {
    /// Which domains have a pending interrupt that could be signalled.
    ICC_DOMHPPIR_EL3: u64 {
        /// The EL3 domain has one.
        [3] P_HPPI p_hppi: bool;
        /// The Realm domain has one.
        [2] RL_HPPI rl_hppi: bool;
        /// The Secure domain has one.
        [1] S_HPPI s_hppi: bool;
        /// The Non-secure domain has one.
        [0] NS_HPPI ns_hppi: bool;
    }
}

values! {
    /// Whether a guest's access traps to the hypervisor. The polarity of the `ICH_HFG*` registers: 0 traps (INS-20).
    Trap: u1, exhaustive = true {
        /// Traps to EL2.
        Trapped = 0 => "traps to EL2",
        /// Does not trap.
        NotTrapped = 1 => "does not trap",
    }
}

layout! {
    /// Fine-grained traps of guest register reads.
    ICH_HFGRTR_EL2: u64 {
        /// Reads of ICC_PPI_CACTIVER and ICC_PPI_SACTIVER.
        [20] ICC_PPI_ACTIVERn_EL1 icc_ppi_activer: Trap;
        /// Reads of ICC_PPI_PRIORITYR.
        [19] ICC_PPI_PRIORITYRn_EL1 icc_ppi_priorityr: Trap;
        /// Reads of ICC_PPI_CPENDR and ICC_PPI_SPENDR.
        [18] ICC_PPI_PENDRn_EL1 icc_ppi_pendr: Trap;
        /// Reads of ICC_PPI_ENABLER.
        [17] ICC_PPI_ENABLERn_EL1 icc_ppi_enabler: Trap;
        /// Reads of ICC_PPI_HMR.
        [16] ICC_PPI_HMRn_EL1 icc_ppi_hmr: Trap;
        /// Reads of ICC_IAFFIDR_EL1.
        [7] ICC_IAFFIDR_EL1 icc_iaffidr_el1: Trap;
        /// Reads of ICC_ICSR_EL1.
        [6] ICC_ICSR_EL1 icc_icsr_el1: Trap;
        /// Reads of ICC_PCR_EL1.
        [5] ICC_PCR_EL1 icc_pcr_el1: Trap;
        /// Reads of ICC_HPPIR_EL1.
        [4] ICC_HPPIR_EL1 icc_hppir_el1: Trap;
        /// Reads as one; held ICC_HAPR_EL1 before that register was removed.
        [3] RES1 res1: bool;
        /// Reads of ICC_CR0_EL1.
        [2] ICC_CR0_EL1 icc_cr0_el1: Trap;
        /// Reads of ICC_IDR0_EL1.
        [1] ICC_IDRn_EL1 icc_idr: Trap;
        /// Reads of ICC_APR_EL1.
        [0] ICC_APR_EL1 icc_apr_el1: Trap;
    }
}

layout! {
    /// Fine-grained traps of guest register writes.
    ICH_HFGWTR_EL2: u64 {
        /// Writes of ICC_PPI_CACTIVER and ICC_PPI_SACTIVER.
        [20] ICC_PPI_ACTIVERn_EL1 icc_ppi_activer: Trap;
        /// Writes of ICC_PPI_PRIORITYR.
        [19] ICC_PPI_PRIORITYRn_EL1 icc_ppi_priorityr: Trap;
        /// Writes of ICC_PPI_CPENDR and ICC_PPI_SPENDR.
        [18] ICC_PPI_PENDRn_EL1 icc_ppi_pendr: Trap;
        /// Writes of ICC_PPI_ENABLER.
        [17] ICC_PPI_ENABLERn_EL1 icc_ppi_enabler: Trap;
        /// Writes of ICC_ICSR_EL1.
        [6] ICC_ICSR_EL1 icc_icsr_el1: Trap;
        /// Writes of ICC_PCR_EL1.
        [5] ICC_PCR_EL1 icc_pcr_el1: Trap;
        /// Writes of ICC_CR0_EL1.
        [2] ICC_CR0_EL1 icc_cr0_el1: Trap;
        /// Writes of ICC_APR_EL1.
        [0] ICC_APR_EL1 icc_apr_el1: Trap;
    }
}

layout! {
    /// Fine-grained traps of guest GIC instructions.
    ICH_HFGITR_EL2: u64 {
        /// GICR CDNMIA.
        [10] GICRCDNMIA gicrcdnmia: Trap;
        /// GICR CDIA.
        [9] GICRCDIA gicrcdia: Trap;
        /// GIC CDDI.
        [8] GICCDDI giccddi: Trap;
        /// GIC CDEOI.
        [7] GICCDEOI giccdeoi: Trap;
        /// GIC CDHM.
        [6] GICCDHM giccdhm: Trap;
        /// GIC CDRCFG.
        [5] GICCDRCFG giccdrcfg: Trap;
        /// GIC CDPEND.
        [4] GICCDPEND giccdpend: Trap;
        /// GIC CDAFF.
        [3] GICCDAFF giccdaff: Trap;
        /// GIC CDPRI.
        [2] GICCDPRI giccdpri: Trap;
        /// GIC CDDIS.
        [1] GICCDDIS giccddis: Trap;
        /// GIC CDEN.
        [0] GICCDEN giccden: Trap;
    }
}

layout! {
    /// Virtual CPU interface control.
    ICH_VCTLR_EL2: u64 {
        /// 1: the guest has the legacy GICv3 interface, and native instructions and registers are UNDEFINED at EL1 (INS-21).
        [1] V3 v3: bool;
        /// Whether the virtual interface is on.
        [0] EN en: bool;
    }
}

layout! {
    /// Makes a VPE resident on this PE, or the resident one non-resident. Its write needs an ISB (RES-14), after which F
    /// tells whether it worked (RES-1).
    ICH_CONTEXTR_EL2: u64 {
        /// Whether a VPE is resident.
        [63] V v: bool;
        /// 1: the last change failed and no VPE is resident (RES-2).
        [62] F f: bool;
        /// 1: virtual LPIs and SPIs take no part in selection on this PE; virtual PPIs still do (RES-12).
        [61] IRICHPPIDIS irichppidis: bool;
        /// Doorbell request, looked at only when V goes to 0 (DB-11).
        [60] DB db: bool;
        /// Doorbell priority mask, looked at together with DB.
        [59:55] DBPM dbpm: Priority;
        /// The VPE.
        [47:32] VPE vpe: VpeId;
        /// The VM.
        [15:0] VM vm: VmId;
    }
}

layout! {
    /// Virtual mask and enable in the GICv5 layout. GICv3 has another layout for the same register; ICH_VCTLR_EL2.V3
    /// chooses (RES-15).
    ICH_VMCR_EL2: u64 {
        /// The guest's priority mask, ICV_PCR_EL1 (PRI-9).
        [31:27] VPMR vpmr: Priority;
        /// The guest's enable, ICV_CR0_EL1.EN (PRI-9).
        [0] EN en: bool;
    }
}

layout! {
    /// PE features. Only the field that announces the GICv5 CPU interface is here; the rest belongs to the PE's own
    /// architecture.
    ID_AA64PFR2_EL1: u64 {
        /// Whether the PE has the GICv5 CPU interface.
        [15:12] GCIE gcie: Option<Gcie>;
    }
}

/// Where an instruction finds a system register: the fields of MRS and MSR. The fields of a system instruction, with op0 1, are the
/// same ones ([`GicInsn::with_encoding`](crate::insn::GicInsn::with_encoding)).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SysRegEncoding {
    /// 2 or 3; 1 for an instruction.
    pub op0: u8,
    /// 0 to 7.
    pub op1: u8,
    /// 0 to 15.
    pub crn: u8,
    /// 0 to 15.
    pub crm: u8,
    /// 0 to 7.
    pub op2: u8,
}

impl SysRegEncoding {
    /// The encoding in an MRS or MSR (register) instruction word.
    #[must_use]
    pub const fn of_word(word: u32) -> SysRegEncoding {
        SysRegEncoding {
            op0: 2 + (word >> 19 & 1) as u8,
            op1: (word >> 16 & 7) as u8,
            crn: (word >> 12 & 15) as u8,
            crm: (word >> 8 & 15) as u8,
            op2: (word >> 5 & 7) as u8,
        }
    }

    const fn bits(self) -> u32 {
        (self.op0 as u32 & 1) << 19
            | (self.op1 as u32 & 7) << 16
            | (self.crn as u32 & 15) << 12
            | (self.crm as u32 & 15) << 8
            | (self.op2 as u32 & 7) << 5
    }

    /// The word of `mrs Xt, <register>`; t is 0 to 31, higher bits are ignored.
    #[must_use]
    pub const fn mrs(self, t: u32) -> u32 {
        0xd530_0000 | self.bits() | t & 31
    }

    /// The word of `msr <register>, Xt`; t is 0 to 31, higher bits are ignored.
    #[must_use]
    pub const fn msr(self, t: u32) -> u32 {
        0xd510_0000 | self.bits() | t & 31
    }
}

impl fmt::Display for SysRegEncoding {
    /// The generic name that assemblers accept, `S3_4_C12_C11_6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S{}_{}_C{}_C{}_{}", self.op0, self.op1, self.crn, self.crm, self.op2)
    }
}

impl fmt::Debug for SysRegEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How software reaches a system register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reached {
    /// By this encoding.
    By(SysRegEncoding),
    /// By the name of this register, when the access is made from EL1 of a guest.
    Via(SysReg),
    /// The encoding is in no public source.
    Unknown,
}

/// A system register, as the table of all of them describes it.
#[derive(Clone, Copy, Debug)]
pub struct SysRegInfo {
    /// The name in the specification.
    pub name: &'static str,
    /// How software reaches it.
    pub reached: Reached,
    /// How software may access it.
    pub access: Access,
    /// The layout, from the highest bit down.
    pub fields: &'static [FieldInfo],
}

/// Declares the list of system registers; their layouts are declared above, once each.
macro_rules! sysregs {
    ($($(#[$meta:meta])* $name:ident $place:tt $access:ident: $layout:ident;)*) => {
        /// A system register of the CPU interface.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SysReg {
            $(
                $(#[$meta])*
                ///
                #[doc = concat!("Layout: [`", stringify!($layout), "`]. Access: ", stringify!($access), ".")]
                $name,
            )*
        }

        impl SysReg {
            /// Every register.
            pub const ALL: &'static [SysReg] = &[$(SysReg::$name),*];

            /// Name, place, access and layout.
            #[must_use]
            pub const fn info(self) -> &'static SysRegInfo {
                match self {
                    $(SysReg::$name => &SysRegInfo {
                        name: stringify!($name),
                        reached: sysregs!(@place $place),
                        access: Access::$access,
                        fields: $layout::FIELDS,
                    },)*
                }
            }
        }
    };
    (@place ($op0:literal $op1:literal $crn:literal $crm:literal $op2:literal)) => {
        Reached::By(SysRegEncoding { op0: $op0, op1: $op1, crn: $crn, crm: $crm, op2: $op2 })
    };
    (@place [via $name:ident]) => {
        Reached::Via(SysReg::$name)
    };
    (@place unknown) => {
        Reached::Unknown
    };
}

sysregs! {
    /// Active priorities of the current physical domain.
    ICC_APR_EL1 (3 1 12 0 0) RW: APR;
    /// Enables interrupt delivery to this PE in the current physical domain.
    ICC_CR0_EL1 (3 1 12 0 1) RW: ICC_CR0_EL1;
    /// Priority mask of the current physical domain. Self-synchronising.
    ICC_PCR_EL1 (3 1 12 0 2) RW: PCR;
    /// Highest active priority. Removed from the architecture.
    ICC_HAPR_EL1 (3 1 12 0 3) RO: ICC_HAPR_EL1;
    /// Handling mode of each PPI.
    ICC_PPI_HMR0_EL1 (3 0 12 10 0) RO: PPI_HMR;
    /// Handling mode of each PPI.
    ICC_PPI_HMR1_EL1 (3 0 12 10 1) RO: PPI_HMR;
    /// CPU interface capabilities.
    ICC_IDR0_EL1 (3 0 12 10 2) RO: ICC_IDR0_EL1;
    /// Highest priority pending interrupt of the current physical domain.
    ICC_HPPIR_EL1 (3 0 12 10 3) RO: HPPIR;
    /// Result of the last read-configuration instruction.
    ICC_ICSR_EL1 (3 0 12 10 4) RW: ICC_ICSR_EL1;
    /// System register enable of GICv3, as EL1 sees it: all ones.
    ICC_SRE_EL1 (3 0 12 12 5) RW: ICC_SRE_EL1;
    /// System register enable of GICv3, as EL2 sees it: all ones.
    ICC_SRE_EL2 (3 4 12 9 5) RW: ICC_SRE_EL2;
    /// Affinity ID of this PE.
    ICC_IAFFIDR_EL1 (3 0 12 10 5) RO: ICC_IAFFIDR_EL1;
    /// PPI enables.
    ICC_PPI_ENABLER0_EL1 (3 0 12 10 6) RW: PPI_ENABLER;
    /// PPI enables.
    ICC_PPI_ENABLER1_EL1 (3 0 12 10 7) RW: PPI_ENABLER;
    /// Clears PPI active bits; reads return the active bits.
    ICC_PPI_CACTIVER0_EL1 (3 0 12 13 0) RW: PPI_ACTIVER;
    /// Clears PPI active bits; reads return the active bits.
    ICC_PPI_CACTIVER1_EL1 (3 0 12 13 1) RW: PPI_ACTIVER;
    /// Sets PPI active bits; reads return the active bits.
    ICC_PPI_SACTIVER0_EL1 (3 0 12 13 2) RW: PPI_ACTIVER;
    /// Sets PPI active bits; reads return the active bits.
    ICC_PPI_SACTIVER1_EL1 (3 0 12 13 3) RW: PPI_ACTIVER;
    /// Clears PPI pending bits; reads return the pending bits.
    ICC_PPI_CPENDR0_EL1 (3 0 12 13 4) RW: PPI_PENDR;
    /// Clears PPI pending bits; reads return the pending bits.
    ICC_PPI_CPENDR1_EL1 (3 0 12 13 5) RW: PPI_PENDR;
    /// Sets PPI pending bits; reads return the pending bits.
    ICC_PPI_SPENDR0_EL1 (3 0 12 13 6) RW: PPI_PENDR;
    /// Sets PPI pending bits; reads return the pending bits.
    ICC_PPI_SPENDR1_EL1 (3 0 12 13 7) RW: PPI_PENDR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR0_EL1 (3 0 12 14 0) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR1_EL1 (3 0 12 14 1) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR2_EL1 (3 0 12 14 2) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR3_EL1 (3 0 12 14 3) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR4_EL1 (3 0 12 14 4) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR5_EL1 (3 0 12 14 5) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR6_EL1 (3 0 12 14 6) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR7_EL1 (3 0 12 14 7) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR8_EL1 (3 0 12 15 0) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR9_EL1 (3 0 12 15 1) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR10_EL1 (3 0 12 15 2) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR11_EL1 (3 0 12 15 3) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR12_EL1 (3 0 12 15 4) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR13_EL1 (3 0 12 15 5) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR14_EL1 (3 0 12 15 6) RW: PPI_PRIORITYR;
    /// PPI priorities, eight per register.
    ICC_PPI_PRIORITYR15_EL1 (3 0 12 15 7) RW: PPI_PRIORITYR;
    /// Active priorities of the EL3 domain.
    ICC_APR_EL3 (3 6 12 8 0) RW: APR;
    /// Priority mask of the EL3 domain. Self-synchronising.
    ICC_PCR_EL3 (3 6 12 8 1) RW: PCR;
    /// Which domains have a signallable pending interrupt.
    ICC_DOMHPPIR_EL3 (3 6 12 8 2) RO: ICC_DOMHPPIR_EL3;
    /// Domain of each PPI, two bits per PPI.
    ICC_PPI_DOMAINR0_EL3 (3 6 12 8 4) RW: ICC_PPI_DOMAINR;
    /// Domain of each PPI, two bits per PPI.
    ICC_PPI_DOMAINR1_EL3 (3 6 12 8 5) RW: ICC_PPI_DOMAINR;
    /// Domain of each PPI, two bits per PPI.
    ICC_PPI_DOMAINR2_EL3 (3 6 12 8 6) RW: ICC_PPI_DOMAINR;
    /// Domain of each PPI, two bits per PPI.
    ICC_PPI_DOMAINR3_EL3 (3 6 12 8 7) RW: ICC_PPI_DOMAINR;
    /// Enables interrupt delivery in the EL3 domain.
    ICC_CR0_EL3 (3 6 12 9 0) RW: ICC_CR0_EL3;
    /// Highest priority pending interrupt of the EL3 domain.
    ICC_HPPIR_EL3 (3 6 12 9 1) RO: HPPIR;
    /// Active priorities of the resident VPE.
    ICV_APR_EL1 [via ICC_APR_EL1] RW: APR;
    /// Virtual interrupt delivery enable.
    ICV_CR0_EL1 [via ICC_CR0_EL1] RW: ICV_CR0_EL1;
    /// Virtual priority mask. Self-synchronising.
    ICV_PCR_EL1 [via ICC_PCR_EL1] RW: PCR;
    /// Highest priority pending virtual interrupt.
    ICV_HPPIR_EL1 [via ICC_HPPIR_EL1] RO: HPPIR;
    /// Handling mode of the virtual PPIs.
    ICV_PPI_HMR0_EL1 [via ICC_PPI_HMR0_EL1] RO: PPI_HMR;
    /// Virtual PPI enables.
    ICV_PPI_ENABLER0_EL1 [via ICC_PPI_ENABLER0_EL1] RW: PPI_ENABLER;
    /// Clears virtual PPI active bits.
    ICV_PPI_CACTIVER0_EL1 [via ICC_PPI_CACTIVER0_EL1] RW: PPI_ACTIVER;
    /// Sets virtual PPI active bits.
    ICV_PPI_SACTIVER0_EL1 [via ICC_PPI_SACTIVER0_EL1] RW: PPI_ACTIVER;
    /// Clears virtual PPI pending bits.
    ICV_PPI_CPENDR0_EL1 [via ICC_PPI_CPENDR0_EL1] RW: PPI_PENDR;
    /// Sets virtual PPI pending bits.
    ICV_PPI_SPENDR0_EL1 [via ICC_PPI_SPENDR0_EL1] RW: PPI_PENDR;
    /// Handling mode of the virtual PPIs.
    ICV_PPI_HMR1_EL1 [via ICC_PPI_HMR1_EL1] RO: PPI_HMR;
    /// Virtual PPI enables.
    ICV_PPI_ENABLER1_EL1 [via ICC_PPI_ENABLER1_EL1] RW: PPI_ENABLER;
    /// Clears virtual PPI active bits.
    ICV_PPI_CACTIVER1_EL1 [via ICC_PPI_CACTIVER1_EL1] RW: PPI_ACTIVER;
    /// Sets virtual PPI active bits.
    ICV_PPI_SACTIVER1_EL1 [via ICC_PPI_SACTIVER1_EL1] RW: PPI_ACTIVER;
    /// Clears virtual PPI pending bits.
    ICV_PPI_CPENDR1_EL1 [via ICC_PPI_CPENDR1_EL1] RW: PPI_PENDR;
    /// Sets virtual PPI pending bits.
    ICV_PPI_SPENDR1_EL1 [via ICC_PPI_SPENDR1_EL1] RW: PPI_PENDR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR0_EL1 [via ICC_PPI_PRIORITYR0_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR1_EL1 [via ICC_PPI_PRIORITYR1_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR2_EL1 [via ICC_PPI_PRIORITYR2_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR3_EL1 [via ICC_PPI_PRIORITYR3_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR4_EL1 [via ICC_PPI_PRIORITYR4_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR5_EL1 [via ICC_PPI_PRIORITYR5_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR6_EL1 [via ICC_PPI_PRIORITYR6_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR7_EL1 [via ICC_PPI_PRIORITYR7_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR8_EL1 [via ICC_PPI_PRIORITYR8_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR9_EL1 [via ICC_PPI_PRIORITYR9_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR10_EL1 [via ICC_PPI_PRIORITYR10_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR11_EL1 [via ICC_PPI_PRIORITYR11_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR12_EL1 [via ICC_PPI_PRIORITYR12_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR13_EL1 [via ICC_PPI_PRIORITYR13_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR14_EL1 [via ICC_PPI_PRIORITYR14_EL1] RW: PPI_PRIORITYR;
    /// Virtual PPI priorities, eight per register.
    ICV_PPI_PRIORITYR15_EL1 [via ICC_PPI_PRIORITYR15_EL1] RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual active priorities.
    ICH_APR_EL2 (3 4 12 8 4) RW: APR;
    /// Highest priority pending virtual interrupt, as the hypervisor sees it.
    ICH_HPPIR_EL2 (3 4 12 8 5) RO: HPPIR;
    /// Fine-grained traps of guest register reads. 0 traps, 1 does not.
    ICH_HFGRTR_EL2 (3 4 12 9 4) RW: ICH_HFGRTR_EL2;
    /// Fine-grained traps of guest register writes. 0 traps, 1 does not.
    ICH_HFGWTR_EL2 (3 4 12 9 6) RW: ICH_HFGWTR_EL2;
    /// Fine-grained traps of guest GIC instructions. 0 traps, 1 does not.
    ICH_HFGITR_EL2 (3 4 12 9 7) RW: ICH_HFGITR_EL2;
    /// Direct injection of a physical PPI's pending state into the virtual PPI of the same number.
    ICH_PPI_DVIR0_EL2 (3 4 12 10 0) RW: ICH_PPI_DVIR;
    /// Direct injection of a physical PPI's pending state into the virtual PPI of the same number.
    ICH_PPI_DVIR1_EL2 (3 4 12 10 1) RW: ICH_PPI_DVIR;
    /// Hypervisor view of the virtual PPI enables.
    ICH_PPI_ENABLER0_EL2 (3 4 12 10 2) RW: PPI_ENABLER;
    /// Hypervisor view of the virtual PPI enables.
    ICH_PPI_ENABLER1_EL2 (3 4 12 10 3) RW: PPI_ENABLER;
    /// Hypervisor view of the virtual PPI pending bits.
    ICH_PPI_PENDR0_EL2 (3 4 12 10 4) RW: ICH_PPI_PENDR;
    /// Hypervisor view of the virtual PPI pending bits.
    ICH_PPI_PENDR1_EL2 (3 4 12 10 5) RW: ICH_PPI_PENDR;
    /// Hypervisor view of the virtual PPI active bits.
    ICH_PPI_ACTIVER0_EL2 (3 4 12 10 6) RW: ICH_PPI_ACTIVER;
    /// Hypervisor view of the virtual PPI active bits.
    ICH_PPI_ACTIVER1_EL2 (3 4 12 10 7) RW: ICH_PPI_ACTIVER;
    /// Hides virtual PPIs from the guest, which then sees them as zero and write-ignored.
    ICH_PPI_HVIR0_EL2 unknown RW: ICH_PPI_HVIR;
    /// Hides virtual PPIs from the guest, which then sees them as zero and write-ignored.
    ICH_PPI_HVIR1_EL2 unknown RW: ICH_PPI_HVIR;
    /// Virtual CPU interface control.
    ICH_VCTLR_EL2 (3 4 12 11 4) RW: ICH_VCTLR_EL2;
    /// Makes a VPE resident on this PE, or not.
    ICH_CONTEXTR_EL2 (3 4 12 11 6) RW: ICH_CONTEXTR_EL2;
    /// Virtual mask and enable, GICv5 layout.
    ICH_VMCR_EL2 (3 4 12 11 7) RW: ICH_VMCR_EL2;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR0_EL2 (3 4 12 14 0) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR1_EL2 (3 4 12 14 1) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR2_EL2 (3 4 12 14 2) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR3_EL2 (3 4 12 14 3) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR4_EL2 (3 4 12 14 4) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR5_EL2 (3 4 12 14 5) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR6_EL2 (3 4 12 14 6) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR7_EL2 (3 4 12 14 7) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR8_EL2 (3 4 12 15 0) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR9_EL2 (3 4 12 15 1) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR10_EL2 (3 4 12 15 2) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR11_EL2 (3 4 12 15 3) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR12_EL2 (3 4 12 15 4) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR13_EL2 (3 4 12 15 5) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR14_EL2 (3 4 12 15 6) RW: PPI_PRIORITYR;
    /// Hypervisor view of the virtual PPI priorities.
    ICH_PPI_PRIORITYR15_EL2 (3 4 12 15 7) RW: PPI_PRIORITYR;
    /// PE feature register that announces the GICv5 CPU interface (only that field listed).
    ID_AA64PFR2_EL1 (3 0 0 4 2) RO: ID_AA64PFR2_EL1;
}

impl SysReg {
    /// The name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The encoding that reaches the register; `None` if no public source has it. For an `ICV_*` register it is that of the
    /// `ICC_*` register of the same name, and reaches it only from a guest.
    #[must_use]
    pub const fn encoding(self) -> Option<SysRegEncoding> {
        match self.info().reached {
            Reached::By(encoding) => Some(encoding),
            Reached::Via(physical) => match physical.info().reached {
                Reached::By(encoding) => Some(encoding),
                _ => None,
            },
            Reached::Unknown => None,
        }
    }

    /// The register with this encoding. `ICV_*` registers share theirs with `ICC_*`, which is what this returns.
    #[must_use]
    pub const fn with_encoding(encoding: SysRegEncoding) -> Option<SysReg> {
        let mut rest = SysReg::ALL;
        while let [register, others @ ..] = rest {
            // All of these have op0 3, which leaves `bits` to tell them apart.
            if let Reached::By(own) = register.info().reached
                && own.op0 == encoding.op0
                && own.bits() == encoding.bits()
            {
                return Some(*register);
            }
            rest = others;
        }
        None
    }

    /// The register that holds a PPI's domain: number ID / 32, two bits for each PPI.
    #[must_use]
    pub const fn icc_ppi_domainr(ppi: Ppi) -> SysReg {
        match ppi.id() / 32 {
            0 => SysReg::ICC_PPI_DOMAINR0_EL3,
            1 => SysReg::ICC_PPI_DOMAINR1_EL3,
            2 => SysReg::ICC_PPI_DOMAINR2_EL3,
            _ => SysReg::ICC_PPI_DOMAINR3_EL3,
        }
    }

    /// True if a write acts without an ISB (SYN-6).
    #[must_use]
    pub const fn is_self_synchronising(self) -> bool {
        matches!(self, SysReg::ICC_PCR_EL1 | SysReg::ICC_PCR_EL3 | SysReg::ICV_PCR_EL1)
    }
}

impl fmt::Debug for SysReg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for SysReg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Declares which layout types belong to one register alone.
macro_rules! sole_registers {
    ($($name:ident),*) => {$(
        impl Register for $name {
            type Reg = SysReg;
            const REG: SysReg = SysReg::$name;
            fn from_bits(bits: u64) -> $name {
                $name::new_with_raw_value(bits)
            }
            fn to_bits(self) -> u64 {
                self.raw_value()
            }
        }
    )*};
}

sole_registers!(
    ICC_CR0_EL1,
    ICC_CR0_EL3,
    ICV_CR0_EL1,
    ICC_HAPR_EL1,
    ICC_IDR0_EL1,
    ICC_SRE_EL1,
    ICC_SRE_EL2,
    ICC_ICSR_EL1,
    ICC_IAFFIDR_EL1,
    ICC_DOMHPPIR_EL3,
    ICH_HFGRTR_EL2,
    ICH_HFGWTR_EL2,
    ICH_HFGITR_EL2,
    ICH_VCTLR_EL2,
    ICH_CONTEXTR_EL2,
    ICH_VMCR_EL2,
    ID_AA64PFR2_EL1
);

/// Declares the lookup of one register out of a row that the PPIs share.
macro_rules! ppi_families {
    (bank: $($(#[$meta:meta])* $fn:ident $zero:ident $one:ident;)*) => {
        impl SysReg {
            $(
                $(#[$meta])*
                #[must_use]
                pub const fn $fn(bank: PpiBank) -> SysReg {
                    match bank {
                        PpiBank::Architected => SysReg::$zero,
                        PpiBank::ImplementationDefined => SysReg::$one,
                    }
                }
            )*
        }
    };
    (priority: $($(#[$meta:meta])* $fn:ident $($register:ident)*;)*) => {
        impl SysReg {
            $(
                $(#[$meta])*
                #[must_use]
                pub const fn $fn(index: u4) -> SysReg {
                    const ROW: [SysReg; 16] = [$(SysReg::$register),*];
                    // An index of four bits is below 16.
                    #[allow(clippy::indexing_slicing)]
                    ROW[index.value() as usize]
                }
            )*
        }
    };
}

ppi_families! { bank:
    /// The handling-mode register of a bank.
    icc_ppi_hmr ICC_PPI_HMR0_EL1 ICC_PPI_HMR1_EL1;
    /// The enable register of a bank.
    icc_ppi_enabler ICC_PPI_ENABLER0_EL1 ICC_PPI_ENABLER1_EL1;
    /// The clear-active register of a bank.
    icc_ppi_cactiver ICC_PPI_CACTIVER0_EL1 ICC_PPI_CACTIVER1_EL1;
    /// The set-active register of a bank.
    icc_ppi_sactiver ICC_PPI_SACTIVER0_EL1 ICC_PPI_SACTIVER1_EL1;
    /// The clear-pending register of a bank.
    icc_ppi_cpendr ICC_PPI_CPENDR0_EL1 ICC_PPI_CPENDR1_EL1;
    /// The set-pending register of a bank.
    icc_ppi_spendr ICC_PPI_SPENDR0_EL1 ICC_PPI_SPENDR1_EL1;
    /// The direct-injection register of a bank.
    ich_ppi_dvir ICH_PPI_DVIR0_EL2 ICH_PPI_DVIR1_EL2;
    /// The virtual enable register of a bank.
    ich_ppi_enabler ICH_PPI_ENABLER0_EL2 ICH_PPI_ENABLER1_EL2;
    /// The virtual pending register of a bank.
    ich_ppi_pendr ICH_PPI_PENDR0_EL2 ICH_PPI_PENDR1_EL2;
    /// The virtual active register of a bank.
    ich_ppi_activer ICH_PPI_ACTIVER0_EL2 ICH_PPI_ACTIVER1_EL2;
    /// The register of a bank that hides virtual PPIs. Its encoding is in no public source ([`Reached::Unknown`]).
    ich_ppi_hvir ICH_PPI_HVIR0_EL2 ICH_PPI_HVIR1_EL2;
}

ppi_families! { priority:
    /// The priority register with this index ([`Ppi::priority_register`]).
    icc_ppi_priorityr
        ICC_PPI_PRIORITYR0_EL1 ICC_PPI_PRIORITYR1_EL1 ICC_PPI_PRIORITYR2_EL1 ICC_PPI_PRIORITYR3_EL1
        ICC_PPI_PRIORITYR4_EL1 ICC_PPI_PRIORITYR5_EL1 ICC_PPI_PRIORITYR6_EL1 ICC_PPI_PRIORITYR7_EL1
        ICC_PPI_PRIORITYR8_EL1 ICC_PPI_PRIORITYR9_EL1 ICC_PPI_PRIORITYR10_EL1 ICC_PPI_PRIORITYR11_EL1
        ICC_PPI_PRIORITYR12_EL1 ICC_PPI_PRIORITYR13_EL1 ICC_PPI_PRIORITYR14_EL1 ICC_PPI_PRIORITYR15_EL1;
    /// The virtual priority register with this index ([`Ppi::priority_register`]).
    ich_ppi_priorityr
        ICH_PPI_PRIORITYR0_EL2 ICH_PPI_PRIORITYR1_EL2 ICH_PPI_PRIORITYR2_EL2 ICH_PPI_PRIORITYR3_EL2
        ICH_PPI_PRIORITYR4_EL2 ICH_PPI_PRIORITYR5_EL2 ICH_PPI_PRIORITYR6_EL2 ICH_PPI_PRIORITYR7_EL2
        ICH_PPI_PRIORITYR8_EL2 ICH_PPI_PRIORITYR9_EL2 ICH_PPI_PRIORITYR10_EL2 ICH_PPI_PRIORITYR11_EL2
        ICH_PPI_PRIORITYR12_EL2 ICH_PPI_PRIORITYR13_EL2 ICH_PPI_PRIORITYR14_EL2 ICH_PPI_PRIORITYR15_EL2;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irs::IRS_VPE_HPPIR;
    use crate::{IntId, Lpi, PpiHandling};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn ppi() -> impl Strategy<Value = Ppi> {
        (0u32..128).prop_map(|id| Ppi::new(id).unwrap())
    }

    proptest! {
        #[test]
        fn a_set_read_from_a_bank_lists_the_ppis_of_that_bank(bits: u64, ppi in ppi()) {
            let set = PpiSet::new_with_raw_value(bits);
            let listed: Vec<_> = set.iter(ppi.bank()).collect();
            prop_assert!(listed.is_sorted());
            prop_assert_eq!(listed.len(), bits.count_ones() as usize);
            prop_assert!(listed.iter().all(|listed| listed.bank() == ppi.bank()));
            prop_assert_eq!(listed.contains(&ppi), set.contains(ppi));
            prop_assert!(set.with(ppi).contains(ppi) && !set.without(ppi).contains(ppi));
            prop_assert_eq!(set.with(ppi).without(ppi).raw_value(), bits & !ppi.mask());
            let rebuilt = listed.into_iter().fold(PpiSet::EMPTY, PpiSet::with);
            prop_assert_eq!(rebuilt, set);
        }

        #[test]
        fn a_change_of_domain_touches_one_ppi(bits: u64, changed in ppi(), other in ppi(), domain in 0u8..4) {
            let row = PpiDomains::new_with_raw_value(bits);
            let domain = Domain::new_with_raw_value(u2::new(domain));
            let after = row.with_domain(changed, domain);
            prop_assert_eq!(after.domain(changed), domain);
            if other.id() % 32 != changed.id() % 32 {
                prop_assert_eq!(after.domain(other), row.domain(other));
            }
            prop_assert_eq!(after.with_domain(changed, row.domain(changed)), row);
        }

        #[test]
        fn a_change_of_priority_touches_one_ppi(bits: u64, ppi in ppi(), number in 0u32..32) {
            let register = PPI_PRIORITYR::new_with_raw_value(bits);
            let priority = Priority::new(number).unwrap();
            let after = register.with_priority(ppi, priority);
            let named = |register: PPI_PRIORITYR| [
                register.priority0(), register.priority1(), register.priority2(), register.priority3(),
                register.priority4(), register.priority5(), register.priority6(), register.priority7(),
            ];
            for (slot, (was, is)) in named(register).into_iter().zip(named(after)).enumerate() {
                let expected = if slot == usize::from(ppi.priority_slot().value()) { priority } else { was };
                prop_assert_eq!(is, expected, "slot {} (PPI-1)", slot);
            }
            prop_assert_eq!(after.priority(ppi), priority);
            prop_assert_eq!(after.with_priority(ppi, register.priority(ppi)), register);
        }
    }

    #[test]
    fn a_pending_interrupt_is_reported_whole_or_not_at_all() {
        for int_id in [Ppi::CNTV.into(), IntId::from(Lpi::MAX)] {
            let register = HPPIR::reporting(Some(int_id));
            assert_eq!(register.raw_value(), 1 << 32 | u64::from(int_id.raw()), "HPPI-9");
            assert_eq!(register.int_id(), Some(int_id));
            assert_eq!(register.with_hppiv(false).int_id(), None);
            let of_a_vpe = IRS_VPE_HPPIR::reporting(Some(int_id));
            assert_eq!(of_a_vpe.raw_value(), register.raw_value(), "VPE-16");
            assert_eq!(of_a_vpe.int_id(), Some(int_id));
        }
        assert_eq!(HPPIR::reporting(None).raw_value(), 0);
        assert_eq!(HPPIR::new_with_raw_value(1 << 32 | 5).int_id(), None, "type 0 is reserved (GEN-1)");
        assert_eq!(HPPIR::new_with_raw_value(1 << 32 | 1 << 29 | 128).int_id(), None, "there is no PPI 128 (PPI-1)");
    }

    #[test]
    fn widths_of_a_cpu_interface_are_decoded_to_numbers_of_bits() {
        for value in [CpuPriBits::Four, CpuPriBits::Five] {
            assert_eq!(value.meaning(), format!("{} bits", value.count()));
        }
        for value in [CpuIdBits::Bits16, CpuIdBits::Bits24] {
            assert_eq!(value.meaning(), format!("{} bits", value.count()), "GEN-11");
        }
    }

    #[test]
    fn a_guest_register_is_reached_by_its_twin_s_name_and_found_as_its_twin() {
        let physical = SysReg::ICC_PCR_EL1;
        assert_eq!(SysReg::ICV_PCR_EL1.encoding(), physical.encoding());
        assert_eq!(physical.encoding().and_then(SysReg::with_encoding), Some(physical));
        assert_eq!(SysReg::ICH_PPI_HVIR0_EL2.encoding(), None);
    }

    #[test]
    fn a_handling_mode_register_can_be_filled_from_what_the_architecture_says() {
        let bank = PpiBank::Architected;
        let all = PpiSet::new_with_raw_value(u64::MAX);
        let level = all
            .iter(bank)
            .filter(|ppi| ppi.handling() == PpiHandling::Architected(HandlingMode::Level))
            .fold(PpiSet::EMPTY, PpiSet::with);
        assert!(level.contains(Ppi::CNTV) && !level.contains(Ppi::SW_PPI) && !level.contains(Ppi::CTIIRQ));
        assert_eq!(format!("{:?}", PPI_HMR::ZERO.with_hm(level).hm()), "0xfffffffffefffff7");
    }

    #[test]
    fn rows_of_ppis_print_as_their_bits() {
        assert_eq!(format!("{:?}", PpiSet::EMPTY.with(Ppi::SW_PPI)), "0x0000000000000008");
        assert_eq!(format!("{:?}", PpiDomains::new_with_raw_value(1 << 63)), "0x8000000000000000");
    }
}
