//! Work as a guest, and what the host sets for it.

use gicv5_arch::layout::fields_mask;
use gicv5_arch::sysreg::{
    ICC_ICSR_EL1, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, ICH_VMCR_EL2, PPI_PRIORITYR, SysReg,
};
use gicv5_arch::{IntId, Ppi};

use crate::bench::{Bench, BenchPe};
use crate::lab::Lab;
use crate::lab::instructions::{acknowledge_raw, config};
use crate::lab::signals::{end_handling, expect_drop, expect_interrupt};
use crate::outcome::{Failure, Outcome, expect};

impl<B: Bench> Lab<'_, B> {
    /// Runs something on a PE as a guest: at EL1, in the virtual interrupt domain (GEN-5), where nothing traps.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn as_guest(&self, pe: usize, work: impl Fn(&BenchPe<'_, B>) -> u64 + Sync) -> Result<u64, Failure> {
        let bench = self.bench();
        self.let_nothing_trap(pe)?;
        self.on(pe, |pe| {
            let mut answer = 0;
            bench.as_guest(pe, &mut |guest| answer = work(guest));
            answer
        })
    }

    /// Executes one instruction or access as the kernel of an nVHE host on PE 0, where nothing traps. Returns whether it
    /// executed.
    ///
    /// # Errors
    ///
    /// As for [`as_guest`](Self::as_guest).
    pub fn as_kernel(&self, work: impl Fn(&BenchPe<'_, B>) + Sync) -> Result<bool, Failure> {
        let bench = self.bench();
        self.let_nothing_trap(0)?;
        self.on(0, |pe| u64::from(bench.as_kernel(pe, &mut |kernel| work(kernel)))).map(|executed| executed != 0)
    }

    /// Lets EL1 do on a PE whatever it may do by itself.
    fn let_nothing_trap(&self, pe: usize) -> Result<(), Failure> {
        self.run_on(pe, |pe| {
            pe.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
            pe.isb();
        })?;
        for (register, fields) in [
            (SysReg::ICH_HFGRTR_EL2, ICH_HFGRTR_EL2::FIELDS),
            (SysReg::ICH_HFGWTR_EL2, ICH_HFGWTR_EL2::FIELDS),
            (SysReg::ICH_HFGITR_EL2, ICH_HFGITR_EL2::FIELDS),
        ] {
            let mask = fields_mask(fields);
            expect("what does not trap", mask, self.on(pe, |pe| pe.read_raw(register))? & mask)?;
        }
        Ok(())
    }

    /// Has the guest on a PE acknowledge, and wants it to get this.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn expect_guest_takes(&self, pe: usize, id: Option<IntId>) -> Outcome {
        expect_interrupt("GICR CDIA of the guest", id, self.as_guest(pe, acknowledge_raw)?)
    }

    /// Has the guest on a PE drop its priority and deactivate, and wants both to have happened (INS-4, INS-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn guest_finishes(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        let id = id.into();
        expect_drop(self.as_guest(pe, |guest| end_handling(guest, id))?)?;
        let may_be_active = |config: ICC_ICSR_EL1| u64::from(config.f() || config.active());
        let active = self.as_guest(pe, |guest| match id {
            IntId::Ppi(ppi) => guest.read_raw(SysReg::icc_ppi_sactiver(ppi.bank())) & ppi.mask(),
            IntId::Lpi(lpi) => may_be_active(config(guest, lpi.into())),
            IntId::Spi(spi) => may_be_active(config(guest, spi.into())),
        })?;
        expect("the guest's interrupt is active", false, active != 0)
    }

    /// Gives a virtual PPI of PE 0 a priority and enables it.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn virtual_ppi(&self, ppi: Ppi, priority: u32) -> Outcome {
        let register = SysReg::ich_ppi_priorityr(ppi.priority_register());
        let row = PPI_PRIORITYR::new_with_raw_value(self.sysreg(register));
        let row = row.with_priority(ppi, self.priority(priority)).raw_value();
        self.set_sysreg(register, row);
        expect("ICH_PPI_PRIORITYR<n>_EL2", row, self.sysreg(register))?;
        let enabler = SysReg::ich_ppi_enabler(ppi.bank());
        let enabled = self.sysreg(enabler) | ppi.mask();
        self.set_sysreg(enabler, enabled);
        expect("ICH_PPI_ENABLER<n>_EL2", enabled, self.sysreg(enabler))
    }

    /// Sets the guest's enable and mask on PE 0 (PRI-9).
    pub fn set_virtual_mask(&self, enable: bool, mask: u32) {
        self.pe.write(ICH_VMCR_EL2::ZERO.with_en(enable).with_vpmr(self.priority(mask)));
        self.pe.isb();
    }
}
