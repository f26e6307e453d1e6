//! Putting everything back after a test, and checking that it is.

use core::sync::atomic::{AtomicU64, Ordering};

use gicv5_arch::irs::{IRS_CR1, IRS_SPI_SELR, IrsReg};
use gicv5_arch::sysreg::{ICC_ICSR_EL1, SysReg};
use gicv5_arch::values::{HandlingMode, TriggerMode};
use gicv5_arch::{Iaffid, IrsIntId, PpiBank, Priority, Spi};
use gicv5_hal::{Pe, PeOps, TableMemory};

use crate::bench::Bench;
use crate::lab::instructions::{acknowledge, drop_and_deactivate};
use crate::lab::virt::residency::quiesce_virtual;
use crate::lab::{Lab, MAX_PES, MAX_SPIS};
use crate::outcome::{Failure, Outcome, Value};
use crate::survey::{IrsState, PeState, pe_registers};

impl<B: Bench> Lab<'_, B> {
    /// Puts the machine into the state that every test starts from: nothing enabled, nothing pending, nothing active,
    /// no IST. What cannot be put back by the instructions that are for it is put back by taking it.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn put_back(&self) -> Outcome {
        if self.features.wired_spi.is_some() {
            self.bench.drive_spi(false);
        }
        for n in 0..self.pes() {
            let (bench, virt) = (self.bench, self.features.virt);
            self.run_on(n, |pe| {
                if bench.has_timers() {
                    bench.drive_timer(pe, gicv5_arch::Ppi::CNTV, false);
                    bench.drive_timer(pe, gicv5_arch::Ppi::CNTP, false);
                }
                if bench.has_nmi() {
                    bench.set_nmi(pe, false);
                    bench.set_guest_nmi(pe, false);
                }
                quiesce(pe);
                if virt {
                    quiesce_virtual(pe);
                }
            })?;
        }
        if self.features.virt {
            // Everything behind the VM table becomes invalid with it (VMT-6).
            self.withdraw_vm_table()?;
        }
        // Without an IST no LPI stands in the way of what follows.
        self.withdraw()?;
        for spi in self.spis.take().into_iter().flatten() {
            self.put_back_spi(spi)?;
        }
        self.irs_enable(false)?;
        self.attributes.set(false);
        if let Some(cr1) = self.found_irs.get(IrsReg::IRS_CR1) {
            self.write_raw(IrsReg::IRS_CR1, cr1)?;
        }
        if let Some(cfgr) = self.found_irs.get(IrsReg::IRS_IST_CFGR) {
            self.write_raw(IrsReg::IRS_IST_CFGR, cfgr)?;
        }
        if let Some(cfgr) = self.found_irs.get(IrsReg::IRS_VMT_CFGR).filter(|_| self.features.virt) {
            self.write_raw(IrsReg::IRS_VMT_CFGR, cfgr)?;
        }
        // No IST and no VM table is valid any more, so no IRS knows any of this memory (LPI-1, VMT-7).
        let blocks = self.blocks.try_borrow_mut();
        for place in blocks.map_err(|_| Failure::Exhausted { what: "table memory" })?.iter_mut() {
            if let Some(block) = place.take() {
                self.bench.memory().free(block);
            }
        }
        Ok(())
    }

    fn put_back_spi(&self, spi: Spi) -> Outcome {
        let id = IrsIntId::Spi(spi);
        if self.features.virt {
            self.assign(spi, None)?;
        }
        self.trigger(spi, TriggerMode::Edge)?;
        self.pe.cdhm(id, HandlingMode::Edge);
        self.pe.cdpend(id, false);
        self.pe.cddi(spi.into());
        self.pe.cdpri(id, Priority::MOST_URGENT);
        self.sync();
        // Whoever ignores the clearing of Pending leaves one way to get rid of it. Another SPI that is as urgent may come first.
        for _ in 0..MAX_SPIS {
            if self.ability.get().clears_pending || !self.config(spi)?.pending() {
                break;
            }
            self.irs_enable(true)?;
            self.ready(spi, 0)?;
            self.start_pe(0)?;
            self.until(|| self.bench.signals(self.pe).irq);
            if let Some(id) = acknowledge(self.pe) {
                drop_and_deactivate(self.pe, id);
            }
            quiesce(self.pe);
        }
        self.pe.cddis(id);
        self.pe.cdaff(id, Iaffid::new(0));
        self.sync();
        let left = self.config(spi)?;
        let mut expected = ICC_ICSR_EL1::ZERO;
        if !self.ability.get().disables {
            expected = expected.with_enabled(left.enabled());
        }
        if left == expected {
            return Ok(());
        }
        Err(left_behind("ICC_ICSR_EL1 of an SPI", expected.raw_value(), left.raw_value()))
    }

    /// Looks what can be put back of an SPI by the instructions that are for it. What cannot is a failure of the tests about those
    /// instructions, and of no others.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy), [`Failure::Stopped`](crate::Failure::Stopped).
    pub(crate) fn try_ability(&self) -> Outcome {
        let mut ability = self.ability.get();
        self.write(self.attributes())?;
        ability.keeps_attributes = self.read::<IRS_CR1>() == self.attributes();
        self.ability.set(ability);
        let Ok(spi) = self.spi() else { return self.put_back() };
        self.select(spi)?;
        ability.shows_selection = self.read::<IRS_SPI_SELR>().id() == spi;
        self.ready(spi, 0)?;
        self.pend(spi)?;
        self.pe.cddis(spi.into());
        self.pe.cdpend(spi.into(), false);
        let left = self.config(spi)?;
        ability.disables = !left.enabled();
        ability.clears_pending = !left.pending();
        self.ability.set(ability);
        self.put_back()
    }

    /// Compares with the state that every test starts from.
    ///
    /// # Errors
    ///
    /// [`Failure::LeftBehind`](crate::Failure::LeftBehind).
    pub fn check_put_back(&self, pes: &[Option<PeState>; MAX_PES], irs: &IrsState) -> Outcome {
        for (n, before) in pes.iter().enumerate() {
            let Some(before) = before else { continue };
            if let Some((register, before, after)) = before.difference(&self.pe_state(n)?) {
                return Err(left_behind(register.name(), before, after));
            }
        }
        match irs.difference(&IrsState::read(self.bench)) {
            Some((register, before, after)) => Err(left_behind(register.name(), before, after)),
            None => Ok(()),
        }
    }

    /// The state of a PE's registers.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn pe_state(&self, pe: usize) -> Result<PeState, Failure> {
        if pe == 0 {
            return Ok(PeState::read(self.pe, self.features.virt));
        }
        let words = [const { AtomicU64::new(0) }; 64];
        let virt = self.features.virt;
        self.on(pe, |pe| {
            for (word, register) in words.iter().zip(pe_registers(virt)) {
                word.store(pe.read_raw(register), Ordering::Relaxed);
            }
            0
        })?;
        Ok(PeState::of(|n| words.get(n).map_or(0, |word| word.load(Ordering::Relaxed))))
    }
}

fn left_behind(what: &'static str, before: u64, after: u64) -> Failure {
    Failure::LeftBehind { what, expected: Value::Number(before), actual: Value::Number(after) }
}

/// Switches a CPU interface off and makes all of its PPIs disabled, inactive and, where software can, not pending.
fn quiesce<P: PeOps + ?Sized>(pe: &Pe<'_, P>) {
    for bank in PpiBank::ALL {
        pe.write_raw(SysReg::icc_ppi_enabler(bank), 0);
        pe.write_raw(SysReg::icc_ppi_cactiver(bank), u64::MAX);
        pe.write_raw(SysReg::icc_ppi_cpendr(bank), u64::MAX);
    }
    for n in 0..16 {
        pe.write_raw(SysReg::icc_ppi_priorityr(arbitrary_int::u4::new(n)), 0);
    }
    pe.write_raw(SysReg::ICC_CR0_EL1, 0);
    pe.write_raw(SysReg::ICC_PCR_EL1, 0);
    pe.write_raw(SysReg::ICC_APR_EL1, 0);
    pe.isb();
    pe.gsb_sys();
}
