//! The CPU interface of one PE: its PPIs, and the choice of what to signal.
//!
//! The IRS offers a PE one candidate; the CPU interface weighs it against its own PPIs and applies enable, mask and
//! running priority to the winner (HPPI-3). Nothing here knows where the candidate came from.

use arbitrary_int::u4;
use gicv5_arch::layout::fields_mask;
use gicv5_arch::sysreg::{
    CpuIdBits, CpuPriBits, GcieLegacy, ICC_CR0_EL1, ICC_ICSR_EL1, ICC_IDR0_EL1, PCR, PPI_PRIORITYR, PpiSet, SysReg,
};
use gicv5_arch::{ActivePriorities, Iaffid, IntId, IrsIntId, Ppi, PpiBank, Priority};

use crate::config::Tie;

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
        }
    }
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

/// Which acknowledge instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Acknowledge {
    /// `GICR CDIA`: anything but an NMI.
    Ordinary,
    /// `GICR CDNMIA`: an NMI and nothing else.
    Nmi,
}

/// One bit for each PPI, both banks.
type Bits = [u64; 2];

fn test(bits: &Bits, ppi: Ppi) -> bool {
    bits.get(ppi.bank().index()).is_some_and(|bank| bank & ppi.mask() != 0)
}

fn assign(bits: &mut Bits, ppi: Ppi, value: bool) {
    if let Some(bank) = bits.get_mut(ppi.bank().index()) {
        *bank = if value { *bank | ppi.mask() } else { *bank & !ppi.mask() };
    }
}

/// The PPIs of one PE and one domain (PPI-6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ppis {
    implemented: Bits,
    edge: Bits,
    /// The wires that are high.
    wires: Bits,
    pending: Bits,
    active: Bits,
    enabled: Bits,
    priority: [Priority; Ppi::COUNT],
}

impl Ppis {
    fn new(config: &CpuConfig) -> Ppis {
        let implemented = config.ppis.map(PpiSet::raw_value);
        let edge = config.edge_ppis.map(PpiSet::raw_value);
        Ppis {
            implemented,
            edge: [edge[0] & implemented[0], edge[1] & implemented[1]],
            wires: [0; 2],
            pending: [0; 2],
            active: [0; 2],
            enabled: [0; 2],
            priority: [Priority::MOST_URGENT; Ppi::COUNT],
        }
    }

    /// The wire of a PPI changed. A level PPI is pending as long as it is high, an edge PPI from its rise on (PPI-4).
    fn wire(&mut self, ppi: Ppi, high: bool) {
        let rises = high && !test(&self.wires, ppi);
        if !test(&self.implemented, ppi) {
            return;
        }
        assign(&mut self.wires, ppi, high);
        if !test(&self.edge, ppi) {
            assign(&mut self.pending, ppi, high);
        } else if rises {
            assign(&mut self.pending, ppi, true);
        }
    }

    /// The most urgent PPI that is pending, enabled and not active; of equals the one with the lowest number.
    fn best(&self) -> Option<(Ppi, Priority)> {
        let mut best: Option<(Ppi, Priority)> = None;
        for bank in PpiBank::ALL {
            let n = bank.index();
            let (Some(pending), Some(enabled), Some(active)) =
                (self.pending.get(n), self.enabled.get(n), self.active.get(n))
            else {
                continue;
            };
            for ppi in PpiSet::new_with_raw_value(pending & enabled & !active).iter(bank) {
                let Some(&priority) = self.priority.get(ppi.id() as usize) else { continue };
                if best.is_none_or(|(_, found)| priority.is_more_urgent_than(found)) {
                    best = Some((ppi, priority));
                }
            }
        }
        best
    }

    fn acknowledge(&mut self, ppi: Ppi) {
        assign(&mut self.active, ppi, true);
        if test(&self.edge, ppi) {
            assign(&mut self.pending, ppi, false);
        }
    }
}

/// The CPU interface of one PE, in the one physical domain there is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cpu {
    config: CpuConfig,
    enabled: bool,
    mask: Priority,
    active: ActivePriorities,
    icsr: ICC_ICSR_EL1,
    ppis: Ppis,
    /// SCTLR.NMI of the PE.
    nmi: bool,
    /// What the IRS offers.
    offered: Option<(IrsIntId, Priority)>,
    tie: Tie,
    /// Writes to registers that do not synchronise themselves, in order, that no ISB has followed yet (SYN-5, SYN-6).
    unsynchronised: Vec<(SysReg, u64)>,
}

/// A register that a PE does not have, or not at this exception level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Undefined;

impl Cpu {
    pub(crate) fn new(config: CpuConfig, tie: Tie) -> Cpu {
        Cpu {
            config,
            enabled: false,
            mask: Priority::MOST_URGENT,
            active: ActivePriorities::default(),
            icsr: ICC_ICSR_EL1::ZERO,
            ppis: Ppis::new(&config),
            nmi: false,
            offered: None,
            tie,
            unsynchronised: Vec::new(),
        }
    }

    pub(crate) fn config(&self) -> &CpuConfig {
        &self.config
    }

    pub(crate) fn offered(&self) -> Option<(IrsIntId, Priority)> {
        self.offered
    }

    /// The IRS offers another candidate, or recalls the one it had offered.
    pub(crate) fn offer(&mut self, candidate: Option<(IrsIntId, Priority)>) {
        self.offered = candidate;
    }

    /// SCTLR.NMI of the PE.
    pub(crate) fn set_nmi(&mut self, nmi: bool) {
        self.nmi = nmi;
    }

    pub(crate) fn ppi_wire(&mut self, ppi: Ppi, high: bool) {
        self.ppis.wire(ppi, high);
    }

    /// The most urgent PPI that could be taken.
    pub(crate) fn ppi_candidate(&self) -> Option<(Ppi, Priority)> {
        self.ppis.best()
    }

    /// The most urgent of the PPIs and the IRS's candidate, whether or not it may be signalled.
    pub(crate) fn most_urgent(&self) -> Option<(IntId, Priority)> {
        let ppi = self.ppis.best().map(|(ppi, priority)| (IntId::Ppi(ppi), priority));
        let irs = self.offered.map(|(id, priority)| (IntId::from(id), priority));
        match (ppi, irs) {
            (Some(ppi), Some(irs)) => Some(match self.tie {
                _ if ppi.1.is_more_urgent_than(irs.1) => ppi,
                _ if irs.1.is_more_urgent_than(ppi.1) => irs,
                Tie::Ppi => ppi,
                Tie::Irs => irs,
            }),
            (ppi, irs) => ppi.or(irs),
        }
    }

    /// The HPPI of sufficient priority (PRI-3, PRI-4, PRI-8).
    pub(crate) fn hppi(&self) -> Option<(IntId, Priority)> {
        self.most_urgent().filter(|(_, priority)| {
            self.enabled && priority.passes(self.mask) && priority.preempts(self.active.running())
        })
    }

    fn is_nmi(&self, priority: Priority) -> bool {
        self.nmi && priority == Priority::MOST_URGENT
    }

    pub(crate) fn signals(&self) -> Signals {
        match self.hppi() {
            Some((_, priority)) => Signals { irq: true, fiq: false, nmi: self.is_nmi(priority) },
            None => Signals::default(),
        }
    }

    /// What an acknowledge takes: the interrupt and its priority; the active priority is set and a PPI activated. The
    /// caller tells the IRS about an LPI or SPI (INS-3).
    pub(crate) fn acknowledge(&mut self, which: Acknowledge) -> Option<IntId> {
        let (id, priority) = self.hppi()?;
        // Neither instruction takes what is the other's (INS-2).
        if self.is_nmi(priority) != (which == Acknowledge::Nmi) {
            return None;
        }
        self.active = self.active.activate(priority);
        match id {
            IntId::Ppi(ppi) => self.ppis.acknowledge(ppi),
            // The candidate is taken: the IRS offers another when it has seen the acknowledge.
            IntId::Lpi(_) | IntId::Spi(_) => self.offered = None,
        }
        Some(id)
    }

    /// The running priority drops (PRI-6).
    pub(crate) fn drop_priority(&mut self) {
        self.active = self.active.drop_running();
    }

    /// A PPI is deactivated; one that is not implemented is ignored (PPI-5).
    pub(crate) fn deactivate_ppi(&mut self, ppi: Ppi) {
        assign(&mut self.ppis.active, ppi, false);
    }

    /// The answer to a read-configuration arrives.
    pub(crate) fn set_icsr(&mut self, icsr: ICC_ICSR_EL1) {
        self.icsr = icsr;
    }

    /// Reads a register. A write before it in program order is seen, synchronised or not.
    pub(crate) fn read(&self, register: SysReg) -> Result<u64, Undefined> {
        if self.unsynchronised.is_empty() {
            return self.read_synchronised(register);
        }
        let mut ahead = self.clone();
        ahead.synchronise();
        // What the PE computes, it computes from what has been synchronised.
        match register {
            SysReg::ICC_HPPIR_EL1 => self.read_synchronised(register),
            _ => ahead.read_synchronised(register),
        }
    }

    fn read_synchronised(&self, register: SysReg) -> Result<u64, Undefined> {
        use gicv5_arch::sysreg::{APR, Gcie, HPPIR, ICC_IAFFIDR_EL1, ID_AA64PFR2_EL1};
        if let Some((row, n)) = PpiRow::of(register) {
            return Ok(self.read_ppis(row, n));
        }
        Ok(match register {
            SysReg::ICC_APR_EL1 => APR::ZERO.with_p(self.active).raw_value(),
            SysReg::ICC_CR0_EL1 => ICC_CR0_EL1::ZERO.with_en(self.enabled).raw_value(),
            SysReg::ICC_PCR_EL1 => PCR::ZERO.with_priority(self.mask).raw_value(),
            SysReg::ICC_HPPIR_EL1 => HPPIR::reporting(self.hppi().map(|(id, _)| id)).raw_value(),
            SysReg::ICC_ICSR_EL1 => self.icsr.raw_value(),
            SysReg::ICC_IAFFIDR_EL1 => ICC_IAFFIDR_EL1::ZERO.with_iaffid(self.config.iaffid).raw_value(),
            SysReg::ICC_IDR0_EL1 => ICC_IDR0_EL1::ZERO
                .with_gcie_legacy(GcieLegacy::Absent)
                .with_pri_bits(self.config.pri_bits)
                .with_id_bits(self.config.id_bits)
                .raw_value(),
            SysReg::ID_AA64PFR2_EL1 => ID_AA64PFR2_EL1::ZERO.with_gcie(Gcie::Implemented).raw_value(),
            _ => return Err(Undefined),
        })
    }

    fn read_ppis(&self, row: PpiRow, n: usize) -> u64 {
        let bank = |bits: &Bits| bits.get(n).copied().unwrap_or(0);
        match row {
            PpiRow::HandlingMode => bank(&self.ppis.implemented) & !bank(&self.ppis.edge),
            PpiRow::Enable => bank(&self.ppis.enabled),
            PpiRow::ClearActive | PpiRow::SetActive => bank(&self.ppis.active),
            PpiRow::ClearPending | PpiRow::SetPending => bank(&self.ppis.pending),
            PpiRow::Priority => self
                .ppis_of(n)
                .fold(PPI_PRIORITYR::ZERO, |value, (ppi, &priority)| value.with_priority(ppi, priority))
                .raw_value(),
        }
    }

    /// The PPIs whose priorities are in the priority register with this index.
    fn ppis_of(&self, n: usize) -> impl Iterator<Item = (Ppi, &Priority)> {
        (n * 8..n * 8 + 8).filter_map(|id| Some((Ppi::new(id as u32).ok()?, self.ppis.priority.get(id)?)))
    }

    /// Writes a register. It acts when it is synchronised: at once for a mask, at the next ISB for the rest.
    pub(crate) fn write(&mut self, register: SysReg, value: u64) -> Result<(), Undefined> {
        if register.is_self_synchronising() {
            return self.apply(register, value);
        }
        // Nobody but the hardware writes these; the write itself is UNDEFINED.
        if register.info().access == gicv5_arch::register::Access::RO || self.read_synchronised(register).is_err() {
            return Err(Undefined);
        }
        self.unsynchronised.push((register, value));
        Ok(())
    }

    /// An ISB: every write before it acts.
    pub(crate) fn synchronise(&mut self) {
        for (register, value) in std::mem::take(&mut self.unsynchronised) {
            // Only registers that exist were taken.
            let _ = self.apply(register, value);
        }
    }

    fn apply(&mut self, register: SysReg, value: u64) -> Result<(), Undefined> {
        if let Some((row, n)) = PpiRow::of(register) {
            self.write_ppis(row, n, value);
            return Ok(());
        }
        match register {
            SysReg::ICC_APR_EL1 => self.active = ActivePriorities::new_with_raw_value(value as u32),
            SysReg::ICC_CR0_EL1 => self.enabled = ICC_CR0_EL1::new_with_raw_value(value).en(),
            SysReg::ICC_PCR_EL1 => self.mask = self.kept(PCR::new_with_raw_value(value).priority()),
            SysReg::ICC_ICSR_EL1 => self.icsr = ICC_ICSR_EL1::new_with_raw_value(value & ICSR_FIELDS),
            _ => return Err(Undefined),
        }
        Ok(())
    }

    fn write_ppis(&mut self, row: PpiRow, n: usize, value: u64) {
        let ppis = &mut self.ppis;
        let implemented = ppis.implemented.get(n).copied().unwrap_or(0);
        let edge = ppis.edge.get(n).copied().unwrap_or(0);
        // An unimplemented PPI ignores writes (PPI-5); a level PPI's pending bit is its wire's (PPI-4).
        let (bits, set, clear) = match row {
            PpiRow::HandlingMode => return,
            PpiRow::Enable => (&mut ppis.enabled, value & implemented, !value),
            PpiRow::ClearActive => (&mut ppis.active, 0, value),
            PpiRow::SetActive => (&mut ppis.active, value & implemented, 0),
            PpiRow::ClearPending => (&mut ppis.pending, 0, value & edge),
            PpiRow::SetPending => (&mut ppis.pending, value & edge, 0),
            PpiRow::Priority => return self.write_priorities(n, PPI_PRIORITYR::new_with_raw_value(value)),
        };
        if let Some(bank) = bits.get_mut(n) {
            *bank = *bank & !clear | set;
        }
    }

    fn write_priorities(&mut self, n: usize, value: PPI_PRIORITYR) {
        for id in n * 8..n * 8 + 8 {
            let Ok(ppi) = Ppi::new(id as u32) else { continue };
            let kept = self.kept(value.priority(ppi));
            if test(&self.ppis.implemented, ppi)
                && let Some(priority) = self.ppis.priority.get_mut(id)
            {
                *priority = kept;
            }
        }
    }

    /// A priority as far as the implemented bits hold it (PRI-2).
    fn kept(&self, priority: Priority) -> Priority {
        priority.keep_high_bits(self.config.pri_bits.count())
    }
}

const ICSR_FIELDS: u64 = fields_mask(ICC_ICSR_EL1::FIELDS);

/// The rows of registers that the PPIs share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PpiRow {
    HandlingMode,
    Enable,
    ClearActive,
    SetActive,
    ClearPending,
    SetPending,
    Priority,
}

impl PpiRow {
    /// The row a register belongs to, and its index in it.
    fn of(register: SysReg) -> Option<(PpiRow, usize)> {
        for bank in PpiBank::ALL {
            let rows = [
                (SysReg::icc_ppi_hmr(bank), PpiRow::HandlingMode),
                (SysReg::icc_ppi_enabler(bank), PpiRow::Enable),
                (SysReg::icc_ppi_cactiver(bank), PpiRow::ClearActive),
                (SysReg::icc_ppi_sactiver(bank), PpiRow::SetActive),
                (SysReg::icc_ppi_cpendr(bank), PpiRow::ClearPending),
                (SysReg::icc_ppi_spendr(bank), PpiRow::SetPending),
            ];
            if let Some((_, row)) = rows.into_iter().find(|(candidate, _)| *candidate == register) {
                return Some((row, bank.index()));
            }
        }
        (0..16).find(|n| SysReg::icc_ppi_priorityr(u4::new(*n)) == register).map(|n| (PpiRow::Priority, usize::from(n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gicv5_arch::{Lpi, Spi};

    fn priority(number: u32) -> Priority {
        Priority::new(number).unwrap()
    }

    fn cpu() -> Cpu {
        let mut cpu = Cpu::new(CpuConfig::new(Iaffid::new(0)), Tie::Ppi);
        cpu.write(SysReg::ICC_CR0_EL1, 1).unwrap();
        cpu.write(SysReg::ICC_PCR_EL1, 31).unwrap();
        cpu.synchronise();
        cpu
    }

    fn enable(cpu: &mut Cpu, ppi: Ppi, at: Priority) {
        let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
        let value = PPI_PRIORITYR::new_with_raw_value(cpu.read(register).unwrap()).with_priority(ppi, at);
        cpu.write(register, value.raw_value()).unwrap();
        let enables = SysReg::icc_ppi_enabler(ppi.bank());
        cpu.write(enables, cpu.read(enables).unwrap() | ppi.mask()).unwrap();
        cpu.synchronise();
    }

    fn lpi(id: u32, at: u32) -> Option<(IrsIntId, Priority)> {
        Some((IrsIntId::Lpi(Lpi::new(id).unwrap()), priority(at)))
    }

    #[test]
    fn a_write_acts_only_after_an_isb_but_is_read_back_at_once() {
        let mut cpu = cpu();
        cpu.offer(lpi(1, 5));
        cpu.write(SysReg::ICC_CR0_EL1, 0).unwrap();
        assert_eq!(cpu.read(SysReg::ICC_CR0_EL1), Ok(0));
        assert!(cpu.signals().irq, "SYN-6");
        cpu.synchronise();
        assert!(!cpu.signals().irq, "PRI-8");
    }

    #[test]
    fn the_mask_synchronises_itself_and_lets_its_own_priority_through() {
        let mut cpu = cpu();
        cpu.offer(lpi(1, 5));
        cpu.write(SysReg::ICC_PCR_EL1, 4).unwrap();
        assert!(!cpu.signals().irq, "PRI-3");
        cpu.write(SysReg::ICC_PCR_EL1, 5).unwrap();
        assert!(cpu.signals().irq, "PRI-3");
    }

    #[test]
    fn an_equally_urgent_interrupt_does_not_preempt() {
        let mut cpu = cpu();
        cpu.offer(lpi(1, 5));
        assert_eq!(cpu.acknowledge(Acknowledge::Ordinary), Some(IntId::Lpi(Lpi::new(1).unwrap())));
        cpu.offer(lpi(2, 5));
        assert!(!cpu.signals().irq, "PRI-4");
        assert_eq!(cpu.acknowledge(Acknowledge::Ordinary), None, "INS-1");
        cpu.offer(lpi(3, 4));
        assert!(cpu.signals().irq);
        cpu.offer(lpi(2, 5));
        cpu.drop_priority();
        assert!(cpu.signals().irq);
    }

    #[test]
    fn an_nmi_is_taken_by_one_instruction_and_everything_else_by_the_other() {
        let mut cpu = cpu();
        cpu.set_nmi(true);
        cpu.offer(lpi(1, 0));
        assert!(cpu.signals().nmi);
        assert_eq!(cpu.acknowledge(Acknowledge::Ordinary), None, "INS-2");
        assert!(cpu.acknowledge(Acknowledge::Nmi).is_some(), "INS-2");
        cpu.drop_priority();
        cpu.offer(lpi(2, 1));
        assert!(!cpu.signals().nmi);
        assert_eq!(cpu.acknowledge(Acknowledge::Nmi), None, "INS-2");
        assert!(cpu.acknowledge(Acknowledge::Ordinary).is_some(), "INS-2");
    }

    #[test]
    fn a_level_ppi_stays_pending_while_its_wire_is_high_and_software_cannot_change_that() {
        let mut cpu = cpu();
        enable(&mut cpu, Ppi::CNTV, priority(3));
        cpu.ppi_wire(Ppi::CNTV, true);
        cpu.write(SysReg::ICC_PPI_CPENDR0_EL1, u64::MAX).unwrap();
        cpu.synchronise();
        assert_eq!(cpu.acknowledge(Acknowledge::Ordinary), Some(IntId::Ppi(Ppi::CNTV)), "PPI-4");
        cpu.drop_priority();
        assert!(!cpu.signals().irq, "active (ISM-7)");
        cpu.deactivate_ppi(Ppi::CNTV);
        assert!(cpu.signals().irq, "the wire is still high (ISM-4)");
        cpu.ppi_wire(Ppi::CNTV, false);
        assert!(!cpu.signals().irq);
        cpu.write(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::CNTV.mask()).unwrap();
        cpu.synchronise();
        assert!(!cpu.signals().irq, "PPI-4");
    }

    #[test]
    fn the_software_ppi_is_an_edge() {
        let mut cpu = cpu();
        enable(&mut cpu, Ppi::SW_PPI, priority(3));
        cpu.write(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask()).unwrap();
        cpu.synchronise();
        assert_eq!(cpu.acknowledge(Acknowledge::Ordinary), Some(IntId::Ppi(Ppi::SW_PPI)));
        assert_eq!(cpu.read(SysReg::ICC_PPI_SPENDR0_EL1), Ok(0), "ISM-3");
        cpu.write(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask()).unwrap();
        cpu.synchronise();
        cpu.drop_priority();
        assert!(!cpu.signals().irq, "pending and active (ISM-3)");
        cpu.deactivate_ppi(Ppi::SW_PPI);
        assert!(cpu.signals().irq, "ISM-7");
    }

    #[test]
    fn every_implemented_ppi_number_works_in_both_banks() {
        let mut config = CpuConfig::new(Iaffid::new(0));
        config.ppis = [PpiSet::new_with_raw_value(u64::MAX); 2];
        config.edge_ppis = [PpiSet::EMPTY.with(Ppi::SW_PPI), PpiSet::new_with_raw_value(u64::MAX)];
        let mut cpu = Cpu::new(config, Tie::Ppi);
        cpu.write(SysReg::ICC_CR0_EL1, 1).unwrap();
        cpu.write(SysReg::ICC_PCR_EL1, 31).unwrap();
        for id in 0..128 {
            let ppi = Ppi::new(id).unwrap();
            enable(&mut cpu, ppi, priority(id % 31));
            cpu.ppi_wire(ppi, true);
            assert_eq!(cpu.hppi(), Some((IntId::Ppi(ppi), priority(id % 31))), "{ppi} (PPI-1, hazard 3)");
            assert_eq!(cpu.acknowledge(Acknowledge::Ordinary), Some(IntId::Ppi(ppi)));
            cpu.drop_priority();
            cpu.ppi_wire(ppi, false);
            cpu.deactivate_ppi(ppi);
            assert_eq!(cpu.hppi(), None, "{ppi}");
        }
    }

    #[test]
    fn an_unimplemented_ppi_reads_as_zero_and_ignores_writes() {
        let mut cpu = cpu();
        for bank in PpiBank::ALL {
            for register in
                [SysReg::icc_ppi_enabler(bank), SysReg::icc_ppi_sactiver(bank), SysReg::icc_ppi_spendr(bank)]
            {
                cpu.write(register, u64::MAX).unwrap();
                cpu.synchronise();
                let implemented = CpuConfig::new(Iaffid::new(0)).ppis[bank.index()].raw_value();
                assert_eq!(cpu.read(register).unwrap() & !implemented, 0, "{register} (PPI-5)");
            }
        }
        cpu.ppi_wire(Ppi::new(40).unwrap(), true);
        assert_eq!(cpu.read(SysReg::ICC_PPI_SPENDR0_EL1).unwrap() & 1 << 40, 0);
        cpu.write(SysReg::ICC_PPI_PRIORITYR5_EL1, u64::MAX).unwrap();
        cpu.synchronise();
        assert_eq!(cpu.read(SysReg::ICC_PPI_PRIORITYR5_EL1), Ok(0));
    }

    #[test]
    fn a_tie_between_a_ppi_and_the_candidate_goes_either_way_as_chosen() {
        for (tie, expected) in [(Tie::Ppi, IntId::Ppi(Ppi::SW_PPI)), (Tie::Irs, IntId::Spi(Spi::new(9).unwrap()))] {
            let mut cpu = cpu();
            cpu.tie = tie;
            enable(&mut cpu, Ppi::SW_PPI, priority(7));
            cpu.write(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask()).unwrap();
            cpu.synchronise();
            cpu.offer(Some((IrsIntId::Spi(Spi::new(9).unwrap()), priority(7))));
            assert_eq!(cpu.hppi().map(|(id, _)| id), Some(expected), "HPPI-4");
        }
    }

    #[test]
    fn four_priority_bits_drop_the_lowest() {
        let mut config = CpuConfig::new(Iaffid::new(0));
        config.pri_bits = CpuPriBits::Four;
        let mut cpu = Cpu::new(config, Tie::Ppi);
        cpu.write(SysReg::ICC_PCR_EL1, 31).unwrap();
        assert_eq!(cpu.read(SysReg::ICC_PCR_EL1), Ok(30), "PRI-2");
    }

    #[test]
    fn registers_of_other_levels_and_read_only_registers_are_undefined() {
        let mut cpu = cpu();
        for register in [SysReg::ICC_PCR_EL3, SysReg::ICC_HAPR_EL1, SysReg::ICC_CR0_EL3] {
            assert_eq!(cpu.read(register), Err(Undefined));
            assert_eq!(cpu.write(register, 0), Err(Undefined));
        }
        assert_eq!(cpu.write(SysReg::ICC_IDR0_EL1, 0), Err(Undefined));
        assert_eq!(cpu.write(SysReg::ICC_PPI_HMR0_EL1, 0), Err(Undefined));
    }
}
