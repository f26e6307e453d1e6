use super::*;
use crate::words::cpu::{Fate, Level};
use gicv5_arch::Iaffid;
use gicv5_arch::sysreg::{CpuPriBits, PPI_PRIORITYR, PpiSet, SysReg};
use gicv5_arch::{Lpi, PpiBank, Spi};

fn priority(number: u32) -> Priority {
    Priority::new(number).unwrap()
}

/// Only what a host has without virtualisation.
impl Cpu {
    fn host(config: CpuConfig) -> Cpu {
        Cpu::new(config, &Switches::default(), false)
    }

    fn get(&self, name: SysReg) -> Result<u64, Undefined> {
        match self.fate_of_read(Level::Host, name) {
            Fate::Executes => Ok(self.read(self.register(Level::Host, name)?)),
            _ => Err(Undefined),
        }
    }

    fn set(&mut self, name: SysReg, value: u64) -> Result<(), Undefined> {
        match self.fate_of_write(Level::Host, name) {
            Fate::Executes if name.is_self_synchronising() => self.apply(self.register(Level::Host, name)?, value),
            Fate::Executes => self.write(self.register(Level::Host, name)?, value),
            _ => return Err(Undefined),
        }
        Ok(())
    }

    fn synchronise(&mut self) {
        while let Some((register, value)) = self.next_unsynchronised() {
            self.apply(register, value);
        }
    }

    fn take(&mut self, which: Acknowledge) -> Option<IntId> {
        self.acknowledge(HOST, which).map(|(id, _)| id)
    }
}

const HOST: Side = Side::Physical;

fn cpu() -> Cpu {
    let mut cpu = Cpu::host(CpuConfig::new(Iaffid::new(0)));
    cpu.set(SysReg::ICC_CR0_EL1, 1).unwrap();
    cpu.set(SysReg::ICC_PCR_EL1, 31).unwrap();
    cpu.synchronise();
    cpu
}

fn enable(cpu: &mut Cpu, ppi: Ppi, at: Priority) {
    let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
    let value = PPI_PRIORITYR::new_with_raw_value(cpu.get(register).unwrap()).with_priority(ppi, at);
    cpu.set(register, value.raw_value()).unwrap();
    let enables = SysReg::icc_ppi_enabler(ppi.bank());
    cpu.set(enables, cpu.get(enables).unwrap() | ppi.mask()).unwrap();
    cpu.synchronise();
}

fn lpi(id: u32, at: u32) -> Option<(IrsIntId, Priority)> {
    Some((IrsIntId::Lpi(Lpi::new(id).unwrap()), priority(at)))
}

#[test]
fn a_write_acts_only_after_an_isb_but_is_read_back_at_once() {
    let mut cpu = cpu();
    cpu.offer(HOST, lpi(1, 5));
    cpu.set(SysReg::ICC_CR0_EL1, 0).unwrap();
    assert_eq!(cpu.get(SysReg::ICC_CR0_EL1), Ok(0));
    assert!(cpu.signals(HOST).irq, "SYN-6");
    cpu.synchronise();
    assert!(!cpu.signals(HOST).irq, "PRI-8");
}

#[test]
fn the_mask_synchronises_itself_and_lets_its_own_priority_through() {
    let mut cpu = cpu();
    cpu.offer(HOST, lpi(1, 5));
    cpu.set(SysReg::ICC_PCR_EL1, 4).unwrap();
    assert!(!cpu.signals(HOST).irq, "PRI-3");
    cpu.set(SysReg::ICC_PCR_EL1, 5).unwrap();
    assert!(cpu.signals(HOST).irq, "PRI-3");
}

#[test]
fn an_equally_urgent_interrupt_does_not_preempt() {
    let mut cpu = cpu();
    cpu.offer(HOST, lpi(1, 5));
    assert_eq!(cpu.take(Acknowledge::Ordinary), Some(IntId::Lpi(Lpi::new(1).unwrap())));
    cpu.offer(HOST, lpi(2, 5));
    assert!(!cpu.signals(HOST).irq, "PRI-4");
    assert_eq!(cpu.take(Acknowledge::Ordinary), None, "INS-1");
    cpu.offer(HOST, lpi(3, 4));
    assert!(cpu.signals(HOST).irq);
    cpu.offer(HOST, lpi(2, 5));
    cpu.drop_priority(HOST);
    assert!(cpu.signals(HOST).irq);
}

#[test]
fn an_nmi_is_taken_by_one_instruction_and_everything_else_by_the_other() {
    let mut cpu = cpu();
    cpu.set_nmi(HOST, true);
    cpu.offer(HOST, lpi(1, 0));
    assert!(cpu.signals(HOST).nmi);
    assert_eq!(cpu.take(Acknowledge::Ordinary), None, "INS-2");
    assert!(cpu.take(Acknowledge::Nmi).is_some(), "INS-2");
    cpu.drop_priority(HOST);
    cpu.offer(HOST, lpi(2, 1));
    assert!(!cpu.signals(HOST).nmi);
    assert_eq!(cpu.take(Acknowledge::Nmi), None, "INS-2");
    assert!(cpu.take(Acknowledge::Ordinary).is_some(), "INS-2");
}

#[test]
fn a_level_ppi_stays_pending_while_its_wire_is_high_and_software_cannot_change_that() {
    let mut cpu = cpu();
    enable(&mut cpu, Ppi::CNTV, priority(3));
    cpu.ppi_wire(Ppi::CNTV, true);
    cpu.set(SysReg::ICC_PPI_CPENDR0_EL1, u64::MAX).unwrap();
    cpu.synchronise();
    assert_eq!(cpu.take(Acknowledge::Ordinary), Some(IntId::Ppi(Ppi::CNTV)), "PPI-4");
    cpu.drop_priority(HOST);
    assert!(!cpu.signals(HOST).irq, "active (ISM-7)");
    cpu.deactivate_ppi(HOST, Ppi::CNTV);
    assert!(cpu.signals(HOST).irq, "the wire is still high (ISM-4)");
    cpu.ppi_wire(Ppi::CNTV, false);
    assert!(!cpu.signals(HOST).irq);
    cpu.set(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::CNTV.mask()).unwrap();
    cpu.synchronise();
    assert!(!cpu.signals(HOST).irq, "PPI-4");
}

#[test]
fn the_software_ppi_is_an_edge() {
    let mut cpu = cpu();
    enable(&mut cpu, Ppi::SW_PPI, priority(3));
    cpu.set(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask()).unwrap();
    cpu.synchronise();
    assert_eq!(cpu.take(Acknowledge::Ordinary), Some(IntId::Ppi(Ppi::SW_PPI)));
    assert_eq!(cpu.get(SysReg::ICC_PPI_SPENDR0_EL1), Ok(0), "ISM-3");
    cpu.set(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask()).unwrap();
    cpu.synchronise();
    cpu.drop_priority(HOST);
    assert!(!cpu.signals(HOST).irq, "pending and active (ISM-3)");
    cpu.deactivate_ppi(HOST, Ppi::SW_PPI);
    assert!(cpu.signals(HOST).irq, "ISM-7");
}

#[test]
fn every_implemented_ppi_number_works_in_both_banks() {
    let mut config = CpuConfig::new(Iaffid::new(0));
    config.ppis = [PpiSet::new_with_raw_value(u64::MAX); 2];
    config.edge_ppis = [PpiSet::EMPTY.with(Ppi::SW_PPI), PpiSet::new_with_raw_value(u64::MAX)];
    let mut cpu = Cpu::host(config);
    cpu.set(SysReg::ICC_CR0_EL1, 1).unwrap();
    cpu.set(SysReg::ICC_PCR_EL1, 31).unwrap();
    for id in 0..128 {
        let ppi = Ppi::new(id).unwrap();
        enable(&mut cpu, ppi, priority(id % 31));
        cpu.ppi_wire(ppi, true);
        assert_eq!(cpu.hppi(HOST), Some((IntId::Ppi(ppi), priority(id % 31))), "{ppi} (PPI-1, hazard 3)");
        assert_eq!(cpu.take(Acknowledge::Ordinary), Some(IntId::Ppi(ppi)));
        cpu.drop_priority(HOST);
        cpu.ppi_wire(ppi, false);
        cpu.deactivate_ppi(HOST, ppi);
        assert_eq!(cpu.hppi(HOST), None, "{ppi}");
    }
}

#[test]
fn an_unimplemented_ppi_reads_as_zero_and_ignores_writes() {
    let mut cpu = cpu();
    for bank in PpiBank::ALL {
        for register in [SysReg::icc_ppi_enabler(bank), SysReg::icc_ppi_sactiver(bank), SysReg::icc_ppi_spendr(bank)] {
            cpu.set(register, u64::MAX).unwrap();
            cpu.synchronise();
            let implemented = CpuConfig::new(Iaffid::new(0)).ppis[bank.index()].raw_value();
            assert_eq!(cpu.get(register).unwrap() & !implemented, 0, "{register} (PPI-5)");
        }
    }
    cpu.ppi_wire(Ppi::new(40).unwrap(), true);
    assert_eq!(cpu.get(SysReg::ICC_PPI_SPENDR0_EL1).unwrap() & 1 << 40, 0);
    cpu.set(SysReg::ICC_PPI_PRIORITYR5_EL1, u64::MAX).unwrap();
    cpu.synchronise();
    assert_eq!(cpu.get(SysReg::ICC_PPI_PRIORITYR5_EL1), Ok(0));
}

#[test]
fn a_tie_between_a_ppi_and_the_candidate_goes_either_way_as_chosen() {
    for (tie, expected) in [(Tie::Ppi, IntId::Ppi(Ppi::SW_PPI)), (Tie::Irs, IntId::Spi(Spi::new(9).unwrap()))] {
        let mut cpu = cpu();
        cpu.tie = tie;
        enable(&mut cpu, Ppi::SW_PPI, priority(7));
        cpu.set(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask()).unwrap();
        cpu.synchronise();
        cpu.offer(HOST, Some((IrsIntId::Spi(Spi::new(9).unwrap()), priority(7))));
        assert_eq!(cpu.hppi(HOST).map(|(id, _)| id), Some(expected), "HPPI-4");
    }
}

#[test]
fn four_priority_bits_drop_the_lowest() {
    let mut config = CpuConfig::new(Iaffid::new(0));
    config.pri_bits = CpuPriBits::Four;
    let mut cpu = Cpu::host(config);
    cpu.set(SysReg::ICC_PCR_EL1, 31).unwrap();
    assert_eq!(cpu.get(SysReg::ICC_PCR_EL1), Ok(30), "PRI-2");
}

#[test]
fn registers_of_other_levels_and_read_only_registers_are_undefined() {
    let mut cpu = cpu();
    for register in [SysReg::ICC_PCR_EL3, SysReg::ICC_HAPR_EL1, SysReg::ICC_CR0_EL3] {
        assert_eq!(cpu.get(register), Err(Undefined));
        assert_eq!(cpu.set(register, 0), Err(Undefined));
    }
    assert_eq!(cpu.set(SysReg::ICC_IDR0_EL1, 0), Err(Undefined));
    assert_eq!(cpu.set(SysReg::ICC_PPI_HMR0_EL1, 0), Err(Undefined));
}
