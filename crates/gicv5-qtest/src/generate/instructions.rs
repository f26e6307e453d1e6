//! Scenes with instructions: a PE that executes, and the interrupts that it names.

use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::SysReg;

use super::Generator;
use crate::layout::offset;
use crate::operation::{Operation, Width};

/// The interrupts that instructions name: LPIs and SPIs by INTID, PPIs by their IDs. Every one has priorities of its own,
/// [`PRIORITY_STEP`] apart, so that no two are ever equally urgent: between those a machine may choose (HPPI-4).
pub(super) const LPIS: [u32; 5] = [1, 2, 3, 500, 1030];
pub(super) const EXECUTED_SPIS: u32 = 4;
/// One edge PPI and two level PPIs without a device behind them.
pub(super) const PPIS: [u32; 3] = [3, 9, 28];
pub(super) const PRIORITY_STEP: u64 = 12;
/// The registers with the priorities of PPIs 0 to 31.
const PRIORITYRS: [SysReg; 4] = [
    SysReg::ICC_PPI_PRIORITYR0_EL1,
    SysReg::ICC_PPI_PRIORITYR1_EL1,
    SysReg::ICC_PPI_PRIORITYR2_EL1,
    SysReg::ICC_PPI_PRIORITYR3_EL1,
];

/// The INTID of an interrupt by its number: LPIs first, then SPIs.
pub(super) fn interrupt(number: usize) -> u64 {
    match LPIS.get(number) {
        Some(&lpi) => 2 << 29 | u64::from(lpi),
        None => 3 << 29 | number.saturating_sub(LPIS.len()) as u64,
    }
}

impl Generator {
    fn gic(&mut self, insn: GicInsn, xt: u64) {
        self.out.push(Operation::Gic { insn, xt });
    }

    fn msr(&mut self, register: SysReg, value: u64) {
        self.out.push(Operation::WriteSysreg { register, value });
    }

    fn mrs(&mut self, register: SysReg) {
        self.out.push(Operation::ReadSysreg { register });
    }

    /// A priority that no other interrupt than number `number` ever has.
    fn priority(&mut self, number: usize) -> u64 {
        number as u64 + PRIORITY_STEP * self.random.below(2)
    }

    /// What makes the PE and the IRS take part, from reset.
    pub(super) fn set_up(&mut self) {
        for (n, ppi) in PPIS.into_iter().enumerate() {
            let priority = self.priority(LPIS.len() + EXECUTED_SPIS as usize + n);
            let register = PRIORITYRS.get(ppi as usize / 8).copied().unwrap_or(SysReg::ICC_PPI_PRIORITYR0_EL1);
            self.msr(register, priority << (ppi % 8 * 8));
        }
        self.msr(SysReg::ICC_PPI_ENABLER0_EL1, PPIS.iter().fold(0, |bits, ppi| bits | 1 << ppi));
        self.write(offset::CR0, Width::W32, 1);
        self.read(offset::CR0, Width::W32);
        for number in LPIS.len()..LPIS.len() + EXECUTED_SPIS as usize {
            self.set_priority(number);
        }
        self.msr(SysReg::ICC_PCR_EL1, 31);
        self.msr(SysReg::ICC_CR0_EL1, 1);
    }

    fn set_priority(&mut self, number: usize) {
        let xt = self.priority(number) << 35 | interrupt(number);
        self.gic(GicInsn::GIC_CDPRI, xt);
    }

    /// LPIs of a new IST have priority 0 (IST-24), all of them.
    pub(super) fn set_up_lpis(&mut self) {
        for number in 0..LPIS.len() {
            self.set_priority(number);
        }
    }

    /// A few instructions.
    pub(super) fn instructions(&mut self) {
        let number = self.random.below(LPIS.len() as u64 + u64::from(EXECUTED_SPIS)) as usize;
        let id = interrupt(number);
        let is_lpi = number < LPIS.len();
        match self.random.below(20) {
            0 => self.gic(GicInsn::GIC_CDEN, id),
            // QEMU 11.1 takes a disable of an SPI for an enable, and a clear of its pending state for a set.
            1 if is_lpi => self.gic(GicInsn::GIC_CDDIS, id),
            1 => self.gic(GicInsn::GIC_CDEN, id),
            2..5 => {
                let pending = u64::from(!is_lpi || self.random.chance(3, 4));
                self.gic(GicInsn::GIC_CDPEND, pending << 32 | id);
            }
            5 => self.set_priority(number),
            6 => {
                let target = if self.random.chance(2, 3) { 0 } else { self.random.below(6) };
                self.gic(GicInsn::GIC_CDAFF, target << 32 | id);
            }
            7 => {
                let mode = self.random.below(2);
                self.gic(GicInsn::GIC_CDHM, mode << 32 | id);
            }
            8..11 => {
                self.mrs(SysReg::ICC_HPPIR_EL1);
                self.gic(GicInsn::GICR_CDIA, 0);
                if self.random.chance(3, 4) {
                    self.gic(GicInsn::GIC_CDEOI, 0);
                }
                if self.random.chance(1, 2) {
                    self.gic(GicInsn::GIC_CDDI, id);
                }
            }
            11 => self.gic(GicInsn::GIC_CDDI, id),
            12 => {
                self.gic(GicInsn::GIC_CDRCFG, id);
                self.mrs(SysReg::ICC_ICSR_EL1);
            }
            13 => self.ppi(),
            14 => self.cpu_interface(),
            15 => self.unreachable(),
            _ => self.life(),
        }
    }

    /// A whole life of an interrupt: it becomes pending, is acknowledged, dropped and deactivated, and may become pending
    /// or be deactivated in between; most others are out of the way.
    fn life(&mut self) {
        for _ in 0..3 {
            self.gic(GicInsn::GIC_CDEOI, 0);
        }
        if self.random.chance(1, 2) {
            self.write(offset::CR0, Width::W32, 1);
            self.msr(SysReg::ICC_PCR_EL1, 31);
            self.msr(SysReg::ICC_CR0_EL1, 1);
        }
        let others = LPIS.len() + EXECUTED_SPIS as usize;
        let number = self.random.below((others + PPIS.len()) as u64) as usize;
        let ppi = number.checked_sub(others).and_then(|n| PPIS.get(n)).copied();
        let id = ppi.map_or(interrupt(number), |ppi| 1 << 29 | u64::from(ppi));
        match ppi {
            Some(ppi) => {
                self.msr(SysReg::ICC_PPI_ENABLER0_EL1, 1 << ppi);
                self.msr(SysReg::ICC_PPI_SPENDR0_EL1, 1 << ppi);
            }
            None => {
                self.gic(GicInsn::GIC_CDAFF, id);
                self.gic(GicInsn::GIC_CDEN, id);
                let mode = self.random.below(2);
                self.gic(GicInsn::GIC_CDHM, mode << 32 | id);
                self.gic(GicInsn::GIC_CDPEND, 1 << 32 | id);
            }
        }
        for _ in 0..3 + self.random.below(6) {
            match self.random.below(8) {
                0..3 => self.gic(GicInsn::GICR_CDIA, 0),
                3 => self.gic(GicInsn::GIC_CDEOI, 0),
                4 | 5 => self.gic(GicInsn::GIC_CDDI, id),
                6 => match ppi {
                    Some(ppi) => self.msr(SysReg::ICC_PPI_SPENDR0_EL1, 1 << ppi),
                    None => self.gic(GicInsn::GIC_CDPEND, 1 << 32 | id),
                },
                _ => self.mrs(SysReg::ICC_HPPIR_EL1),
            }
            match ppi {
                Some(_) => {
                    self.mrs(SysReg::ICC_PPI_SPENDR0_EL1);
                    self.mrs(SysReg::ICC_PPI_SACTIVER0_EL1);
                }
                None => {
                    self.gic(GicInsn::GIC_CDRCFG, id);
                    self.mrs(SysReg::ICC_ICSR_EL1);
                }
            }
        }
    }

    fn ppi(&mut self) {
        let n = self.random.below(PPIS.len() as u64) as usize;
        let ppi = PPIS.get(n).copied().unwrap_or(3);
        let bit = 1 << ppi;
        match self.random.below(8) {
            0..3 => self.msr(SysReg::ICC_PPI_SPENDR0_EL1, bit),
            3 => self.msr(SysReg::ICC_PPI_CPENDR0_EL1, bit),
            4 => self.msr(SysReg::ICC_PPI_SACTIVER0_EL1, bit),
            5 => self.msr(SysReg::ICC_PPI_CACTIVER0_EL1, bit),
            6 => {
                let enabled = PPIS.iter().filter(|_| self.random.chance(3, 4)).fold(0, |bits, ppi| bits | 1 << ppi);
                self.msr(SysReg::ICC_PPI_ENABLER0_EL1, enabled);
            }
            _ => self.gic(GicInsn::GIC_CDDI, 1 << 29 | u64::from(ppi)),
        }
        for register in [SysReg::ICC_PPI_SPENDR0_EL1, SysReg::ICC_PPI_CACTIVER0_EL1, SysReg::ICC_PPI_ENABLER0_EL1] {
            self.mrs(register);
        }
    }

    fn cpu_interface(&mut self) {
        match self.random.below(6) {
            0 => {
                let enable = self.random.below(2);
                self.msr(SysReg::ICC_CR0_EL1, enable);
            }
            1..4 => {
                let mask = if self.random.chance(1, 2) { 31 } else { self.random.below(32) };
                self.msr(SysReg::ICC_PCR_EL1, mask);
            }
            4 => self.gic(GicInsn::GIC_CDEOI, 0),
            _ => self.gic(GicInsn::GICR_CDNMIA, 0),
        }
        for register in [SysReg::ICC_APR_EL1, SysReg::ICC_PCR_EL1, SysReg::ICC_HPPIR_EL1] {
            self.mrs(register);
        }
    }

    /// Instructions on what is no LPI or SPI that could be reached: they do nothing (INS-11).
    fn unreachable(&mut self) {
        let id = *self
            .random
            .pick(&[
                0x4000_4000,
                0x40ff_ffff,
                0x6000_0100,
                0x6000_ffff,
                0x2000_0003,
                0x0000_0001,
                0x8000_0001,
                0xe000_0001,
            ])
            .unwrap_or(&0);
        let insn = *self
            .random
            .pick(&[GicInsn::GIC_CDEN, GicInsn::GIC_CDPRI, GicInsn::GIC_CDAFF, GicInsn::GIC_CDPEND, GicInsn::GIC_CDHM])
            .unwrap_or(&GicInsn::GIC_CDEN);
        let high = self.random.below(0x1_0000) << 32;
        self.gic(insn, high | id);
        self.gic(GicInsn::GIC_CDRCFG, id);
        self.mrs(SysReg::ICC_ICSR_EL1);
    }

    /// Reads the state of all interrupts and of the PE.
    pub(super) fn survey_instructions(&mut self) {
        for number in 0..LPIS.len() + EXECUTED_SPIS as usize {
            let id = interrupt(number);
            self.gic(GicInsn::GIC_CDRCFG, id);
            self.mrs(SysReg::ICC_ICSR_EL1);
        }
        for register in [
            SysReg::ICC_APR_EL1,
            SysReg::ICC_PCR_EL1,
            SysReg::ICC_HPPIR_EL1,
            SysReg::ICC_IAFFIDR_EL1,
            SysReg::ICC_PPI_ENABLER0_EL1,
            SysReg::ICC_PPI_SPENDR0_EL1,
            SysReg::ICC_PPI_SACTIVER0_EL1,
            SysReg::ICC_PPI_HMR0_EL1,
        ] {
            self.mrs(register);
        }
    }
}
