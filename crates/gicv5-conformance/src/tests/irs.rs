//! Switching the IRS off and on.

use super::prelude::*;

group! { "irs";
    /// A disabled IRS forwards nothing.
    fn disabled_irs_is_silent(lab) rules["GEN-21"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.start_pe(0)?;
        lab.ready(spi, 8)?;
        lab.pend(spi)?;
        lab.expect_idle()
    }

    /// Enabling the IRS signals what is pending already.
    fn enabling_signals_what_is_pending(lab) rules["GEN-21", "HPPI-2"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.start_pe(0)?;
        lab.ready(spi, 8)?;
        lab.pend(spi)?;
        lab.expect_silence(0)?;
        lab.irs_enable(true)?;
        lab.take(spi)
    }

    /// Disabling the IRS recalls what it had forwarded, and loses nothing.
    fn disabling_recalls(lab) rules["GEN-21"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.signal(spi)?;
        lab.irs_enable(false)?;
        lab.expect_silence(0)?;
        lab.expect_pending(spi, true)?;
        lab.irs_enable(true)?;
        lab.take(spi)
    }

    /// The write of IRS_CR0 enables the IRS: nobody has to read the register.
    fn enabling_needs_no_read(lab) rules["GEN-21"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.start_pe(0)?;
        lab.ready(spi, 8)?;
        lab.pend(spi)?;
        lab.irs().write32(FRAME, IrsReg::IRS_CR0.offset(), 1);
        lab.expect_signal(0)
    }

    /// The write of IRS_CR0 disables the IRS: nobody has to read the register.
    fn disabling_needs_no_read(lab) rules["GEN-21"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.signal(spi)?;
        lab.irs().write32(FRAME, IrsReg::IRS_CR0.offset(), 0);
        lab.expect_silence(0)
    }

    /// What becomes pending while the IRS is disabled is forwarded later.
    fn pending_is_kept_while_disabled(lab) rules["GEN-21", "ISM-12"] needs[Need::Spis(2)] {
        let (one, other) = (lab.spi()?, lab.spi()?);
        lab.start()?;
        lab.ready(one, 8)?;
        lab.ready(other, 16)?;
        lab.irs_enable(false)?;
        lab.pend(other)?;
        lab.pend(one)?;
        lab.expect_silence(0)?;
        lab.irs_enable(true)?;
        lab.expect_best(0, one)?;
        lab.handle(one)?;
        lab.take(other)
    }

    /// Interrupts are configured while the IRS is disabled, and keep their configuration when it is switched.
    fn configuration_survives_switching(lab) rules["GEN-21"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.ready(spi, 16)?;
        let before = lab.config(spi)?.raw_value();
        lab.irs_enable(true)?;
        lab.irs_enable(false)?;
        expect("ICC_ICSR_EL1", before, lab.config(spi)?.raw_value())
    }

    /// An interrupt that is active when the IRS is disabled stays active.
    fn active_survives_switching(lab) rules["GEN-21", "ISM-6"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend_and_take(spi)?;
        lab.irs_enable(false)?;
        lab.expect_active(spi, true)?;
        lab.irs_enable(true)?;
        lab.expect_active(spi, true)
    }

    /// PPIs do not need the IRS.
    fn ppis_do_not_need_the_irs(lab) rules["HPPI-3", "GEN-21"] needs[] {
        use gicv5_arch::Ppi;
        use gicv5_arch::sysreg::SysReg;
        lab.start_pe(0)?;
        lab.set_sysreg(SysReg::ICC_PPI_ENABLER0_EL1, Ppi::SW_PPI.mask());
        lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask());
        lab.take(Ppi::SW_PPI)
    }

    /// Of an IST that is withdrawn while the IRS is disabled nothing is signalled when it is enabled again.
    fn ist_withdrawn_while_disabled_is_gone(lab) rules["GEN-21", "LPI-1"] needs[Need::Lpis] {
        let lpi = lab.ready_lpi(5, 8)?;
        lab.signal(lpi)?;
        lab.irs_enable(false)?;
        lab.withdraw()?;
        lab.irs_enable(true)?;
        lab.expect_idle()
    }

    /// What becomes pending, disabled and moved while the IRS is disabled counts when it is enabled.
    fn changes_while_disabled_count(lab) rules["GEN-21", "HPPI-2"] needs[Need::Spis(2), Need::Lpis] {
        lab.linear_ist()?;
        let (spi, lpi) = (lab.spi()?, lab.lpi(5)?);
        lab.start()?;
        lab.ready(spi, 8)?;
        lab.ready(lpi, 4)?;
        lab.pend(lpi)?;
        lab.pend(spi)?;
        lab.irs_enable(false)?;
        lab.pe.cddis(lpi.into());
        lab.set_priority(spi, 16);
        lab.irs_enable(true)?;
        lab.take(spi)?;
        expect("the running priority", 1 << 16, lab.sysreg(gicv5_arch::sysreg::SysReg::ICC_APR_EL1))
    }
}
