//! Acknowledge and the HPPI register.

use core::time::Duration;

use super::prelude::*;

group! { "acknowledge";
    /// With nothing pending an acknowledge returns zero.
    fn nothing_pending_returns_zero(lab) rules["INS-1"] needs[] {
        lab.start()?;
        expect("GICR CDIA", 0, lab.pe.gic(GicInsn::GICR_CDIA, 0))?;
        expect("ICC_APR_EL1", 0, lab.sysreg(SysReg::ICC_APR_EL1))
    }

    /// An acknowledge that finds nothing of sufficient priority changes nothing.
    fn masked_interrupt_is_not_taken(lab) rules["INS-1", "PRI-3"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.start()?;
        lab.mask(7)?;
        lab.ready(spi, 8)?;
        lab.pend(spi)?;
        expect("GICR CDIA", 0, lab.pe.gic(GicInsn::GICR_CDIA, 0))?;
        lab.pe.gsb_ack();
        expect("ICC_APR_EL1", 0, lab.sysreg(SysReg::ICC_APR_EL1))?;
        lab.expect_pending(spi, true)?;
        lab.expect_active(spi, false)
    }

    /// CDIA is refused on a CPU interface that is disabled.
    fn disabled_cpu_interface_takes_nothing(lab) rules["PRI-8", "INS-1"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend(spi)?;
        lab.set_sysreg(SysReg::ICC_CR0_EL1, 0);
        lab.expect_idle()?;
        lab.expect_pending(spi, true)
    }

    /// The HPPI register names what an acknowledge would take, and reading it takes nothing.
    fn hppi_register_names_the_next(lab) rules["HPPI-9"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.signal(spi)?;
        for _ in 0..2 {
            let named = HPPIR::new_with_raw_value(lab.sysreg(SysReg::ICC_HPPIR_EL1)).int_id();
            expect("ICC_HPPIR_EL1", Some(spi.into()), named)?;
        }
        lab.expect_active(spi, false)?;
        lab.take(spi)
    }

    /// The HPPI register is empty while the only pending interrupt is masked.
    fn hppi_register_respects_the_mask(lab) rules["HPPI-9", "PRI-3"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.start()?;
        lab.mask(7)?;
        lab.ready(spi, 8)?;
        lab.pend(spi)?;
        lab.expect_silence(0)
    }

    /// An acknowledge of an edge sets Active and clears Pending.
    fn edge_becomes_active_and_not_pending(lab) rules["ISM-3", "INS-3"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend_and_take(spi)?;
        lab.expect_active(spi, true)?;
        lab.expect_pending(spi, false)
    }

    /// An acknowledge sets the bit of its priority in the active priorities.
    fn active_priority_is_set(lab) rules["PRI-6", "PRI-5"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(24)?;
        lab.pend_and_take(spi)?;
        expect("ICC_APR_EL1", 1 << 24, lab.sysreg(SysReg::ICC_APR_EL1))
    }

    /// Each interrupt is taken once.
    fn one_pend_is_taken_once(lab) rules["ISM-3", "ISM-5"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend(spi)?;
        lab.pend_and_take(spi)?;
        lab.finish(spi)?;
        lab.expect_idle()
    }

    /// Without NMIs the NMI acknowledge takes nothing, whatever the priority.
    fn nmi_acknowledge_takes_no_ordinary_interrupt(lab) rules["INS-2"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.signal(spi)?;
        expect("GICR CDNMIA", None, lab.pe.cdnmia().int_id())?;
        lab.take(spi)
    }

    /// Priority 0 is an ordinary interrupt while SCTLR.NMI is 0.
    fn priority_zero_is_ordinary_without_nmi(lab) rules["INS-2", "HPPI-8"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(0)?;
        lab.signal(spi)?;
        expect("GICR CDNMIA", None, lab.pe.cdnmia().int_id())?;
        expect("GICR CDIA", Some(spi.into()), acknowledge(lab.pe))
    }

    /// A signalled interrupt is taken as an IRQ exception.
    fn signalled_interrupt_is_taken_as_an_exception(lab) rules["INS-22", "HPPI-8"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend(spi)?;
        let came = lab.bench().wait_for_interrupt(lab.pe, Duration::from_millis(200));
        expect("an IRQ exception came", true, came)?;
        expect("an FIQ is signalled", false, lab.bench().signals(lab.pe).fiq)?;
        lab.take(spi)
    }

    /// With nothing signalled no exception comes.
    fn silence_brings_no_exception(lab) rules["HPPI-9"] needs[] {
        lab.start()?;
        let came = lab.bench().wait_for_interrupt(lab.pe, Duration::from_micros(200));
        expect("an IRQ exception came", false, came)
    }

    /// The signal goes away with the acknowledge of the only pending interrupt.
    fn signal_falls_with_the_acknowledge(lab) rules["SYN-1", "PRI-6"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend_and_take(spi)?;
        lab.expect_silence(0)
    }

    /// Without NMIs an interrupt of priority 0 comes as an IRQ exception like any other.
    fn priority_zero_is_taken_as_an_exception(lab) rules["HPPI-8", "INS-22"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(0)?;
        lab.pend(spi)?;
        let came = lab.bench().wait_for_interrupt(lab.pe, Duration::from_millis(200));
        expect("an IRQ exception came", true, came)?;
        expect("GICR CDIA", Some(spi.into()), acknowledge(lab.pe))
    }
}
