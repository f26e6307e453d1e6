//! LPIs and SPIs: which of them a test has, and their configuration.

use gicv5_arch::insn::{GicInsn, IntIdOperand};
use gicv5_arch::sysreg::ICC_ICSR_EL1;
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{IntId, IrsIntId, Lpi, Spi};

use crate::bench::Bench;
use crate::lab::Lab;
use crate::lab::instructions::{ask, config};
use crate::outcome::{Failure, Outcome, expect};

impl<B: Bench> Lab<'_, B> {
    /// An SPI as after reset that no test has used: disabled, idle, priority 0.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted).
    pub fn spi(&self) -> Result<Spi, Failure> {
        let base = self.features.idr7.spi_base().id();
        let count = self.features.idr6.spi_irs_range().value();
        // Once through all of them: those that have been put back can be had again when the others are used up.
        for _ in 0..count {
            let id = match self.next_spi.get().checked_sub(1).filter(|id| *id >= base) {
                Some(id) => id,
                None => base.saturating_add(count).saturating_sub(1),
            };
            self.next_spi.set(id);
            let Ok(spi) = Spi::new(id) else { continue };
            let config = config(self.pe, spi.into());
            let idle = !config.f() && !config.enabled() && !config.pending() && !config.active();
            if idle && Some(spi) != self.features.wired_spi && !self.spis.get().contains(&Some(spi)) {
                self.will_use(spi)?;
                return Ok(spi);
            }
            // It is passed over if it says so twice: an answer that did not come is no reason.
            let again = crate::lab::instructions::config(self.pe, spi.into());
            let is_same = config.f() == again.f() && (config.f() || config == again);
            expect("ICC_ICSR_EL1 says the same twice", true, is_same)?;
        }
        Err(Failure::Exhausted { what: "unused SPI" })
    }

    /// The SPI whose wire the bench drives.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted) if there is none.
    pub fn wire(&self) -> Result<Spi, Failure> {
        let spi = self.features.wired_spi.ok_or(Failure::Exhausted { what: "SPI with a wire" })?;
        self.will_use(spi)?;
        Ok(spi)
    }

    /// Notes an SPI that has to be put back.
    pub(crate) fn will_use(&self, spi: Spi) -> Outcome {
        let mut spis = self.spis.get();
        let place = spis.iter_mut().find(|place| place.is_none_or(|known| known == spi));
        *place.ok_or(Failure::Exhausted { what: "room to note SPIs" })? = Some(spi);
        self.spis.set(spis);
        Ok(())
    }

    /// Asks for the configuration of an LPI or SPI that can be reached (INS-12).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal) if it cannot.
    pub fn config(&self, id: impl Into<IrsIntId>) -> Result<ICC_ICSR_EL1, Failure> {
        let config = config(self.pe, id.into());
        expect("ICC_ICSR_EL1.F", false, config.f())?;
        Ok(config)
    }

    /// Wants `GIC CDRCFG` to find an interrupt or not (INS-11).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_reachable(&self, id: impl Into<IrsIntId>, reachable: bool) -> Outcome {
        let operand = IntIdOperand::naming(id.into()).raw_value();
        // What was there before says the opposite, so that an answer that does not come is none.
        let answer = ask(self.pe, GicInsn::GIC_CDRCFG, operand, ICC_ICSR_EL1::ZERO.with_f(reachable));
        expect("ICC_ICSR_EL1.F", !reachable, answer.f())
    }

    /// Wants an LPI or SPI to be pending or not.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_pending(&self, id: impl Into<IrsIntId>, pending: bool) -> Outcome {
        expect("ICC_ICSR_EL1.Pending", pending, self.config(id)?.pending())
    }

    /// Wants an LPI or SPI to be active or not.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_active(&self, id: impl Into<IrsIntId>, active: bool) -> Outcome {
        expect("ICC_ICSR_EL1.Active", active, self.config(id)?.active())
    }

    /// Gives an LPI or SPI a priority, routes it to PE 0 and enables it, and wants that to have happened and nothing else.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn ready(&self, id: impl Into<IrsIntId>, priority: u32) -> Outcome {
        self.ready_on(0, id, priority)
    }

    /// An unused SPI of a priority, ready on PE 0, with the IRS and the CPU interface enabled.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn ready_spi(&self, priority: u32) -> Result<Spi, Failure> {
        let spi = self.spi()?;
        self.start()?;
        self.ready(spi, priority)?;
        Ok(spi)
    }

    /// An LPI of a new linear IST, in the same state.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn ready_lpi(&self, id: u32, priority: u32) -> Result<Lpi, Failure> {
        self.linear_ist()?;
        let lpi = self.lpi(id)?;
        self.start()?;
        self.ready(lpi, priority)?;
        Ok(lpi)
    }

    /// The same, routed to another PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn ready_on(&self, pe: usize, id: impl Into<IrsIntId>, priority: u32) -> Outcome {
        let (id, priority, target) = (id.into(), self.priority(priority), self.iaffid(pe));
        let before = self.config(id)?;
        self.pe.cdpri(id, priority);
        self.pe.cdaff(id, target);
        self.pe.cden(id);
        // The IRS may have fewer bits of priority (PRI-2).
        let kept = priority.keep_high_bits(self.features.idr1.pri_bits().map_or(5, |bits| bits.count()));
        let expected = before.with_priority(kept).with_iaffid(target).with_enabled(true);
        expect("ICC_ICSR_EL1", expected.raw_value(), self.config(id)?.raw_value())
    }

    /// Makes an LPI or SPI pending, and wants that to have happened.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn pend(&self, id: impl Into<IrsIntId>) -> Outcome {
        let id = id.into();
        let before = self.config(id)?;
        self.pe.cdpend(id, true);
        // What becomes of the handling mode is a matter of the tests about it (INS-9).
        let after = self.config(id)?.with_hm(before.hm());
        expect("ICC_ICSR_EL1", before.with_pending(true).raw_value(), after.raw_value())
    }

    /// Disables an LPI or SPI.
    pub fn disable(&self, id: impl Into<IrsIntId>) {
        self.pe.cddis(id.into());
        self.sync();
    }

    /// Clears Pending of an LPI or SPI.
    pub fn clear_pending(&self, id: impl Into<IrsIntId>) {
        self.pe.cdpend(id.into(), false);
        self.sync();
    }

    /// Gives an LPI or SPI another priority.
    pub fn set_priority(&self, id: impl Into<IrsIntId>, priority: u32) {
        self.pe.cdpri(id.into(), self.priority(priority));
        self.sync();
    }

    /// Routes an LPI or SPI to a PE.
    pub fn set_target(&self, id: impl Into<IrsIntId>, pe: usize) {
        self.pe.cdaff(id.into(), self.iaffid(pe));
        self.sync();
    }

    /// Sets the handling mode of an LPI or SPI.
    pub fn set_handling(&self, id: impl Into<IrsIntId>, mode: HandlingMode) {
        self.pe.cdhm(id.into(), mode);
        self.sync();
    }

    /// Deactivates an interrupt.
    pub fn deactivate(&self, id: impl Into<IntId>) {
        self.pe.cddi(id.into());
        self.sync();
    }
}
