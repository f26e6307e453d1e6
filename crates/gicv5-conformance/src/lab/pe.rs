//! The CPU interface of a PE.

use gicv5_arch::Priority;
use gicv5_arch::sysreg::{ICC_CR0_EL1, SysReg};

use crate::bench::Bench;
use crate::lab::Lab;
use crate::outcome::{Outcome, expect};

impl<B: Bench> Lab<'_, B> {
    /// Enables the IRS and PE 0's CPU interface, with a mask that lets everything through.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn start(&self) -> Outcome {
        self.irs_enable(true)?;
        self.start_pe(0)
    }

    /// Enables the CPU interface of a PE, with a mask that lets everything through.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn start_pe(&self, pe: usize) -> Outcome {
        let read = self.on(pe, |pe| {
            pe.write_raw(SysReg::ICC_PCR_EL1, Priority::LEAST_URGENT.number().into());
            pe.write(ICC_CR0_EL1::ZERO.with_en(true));
            pe.isb();
            pe.read_raw(SysReg::ICC_PCR_EL1) << 1 | u64::from(pe.read::<ICC_CR0_EL1>().en())
        })?;
        expect("ICC_CR0_EL1.EN", true, read & 1 != 0)?;
        // Priorities may have fewer bits than the mask (PRI-2).
        let fewest = 31 >> (5 - self.features.priority_bits()) << (5 - self.features.priority_bits());
        expect("ICC_PCR_EL1 lets everything through", true, read >> 1 >= fewest)
    }

    /// Sets the priority mask of PE 0 (PRI-3), as far as its bits go (PRI-2).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn mask(&self, priority: u32) -> Outcome {
        let bits = self.features.icc_idr0.pri_bits().map_or(5, |bits| bits.count());
        let kept = self.priority(priority).keep_high_bits(bits);
        self.set_sysreg(SysReg::ICC_PCR_EL1, priority.into());
        expect("ICC_PCR_EL1", kept.number().into(), self.sysreg(SysReg::ICC_PCR_EL1))
    }

    /// Reads a register of PE 0.
    #[must_use]
    pub fn sysreg(&self, register: SysReg) -> u64 {
        self.pe.read_raw(register)
    }

    /// Writes a register of PE 0, and synchronises (SYN-5).
    pub fn set_sysreg(&self, register: SysReg, value: u64) {
        self.pe.write_raw(register, value);
        self.pe.isb();
    }

    /// Completes everything PE 0 has started (SYN-1, SYN-2).
    pub fn sync(&self) {
        self.pe.gsb_sys();
        self.pe.isb();
    }
}
