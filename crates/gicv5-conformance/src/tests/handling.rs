//! Edge and level, pending while active, enable and disable.

use super::prelude::*;

group! { "handling";
    /// A level interrupt stays pending when it is acknowledged.
    fn level_stays_pending(lab) rules["ISM-4"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pe.cdhm(spi.into(), HandlingMode::Level);
        lab.pend_and_take(spi)?;
        lab.expect_pending(spi, true)?;
        lab.expect_active(spi, true)
    }

    /// A level interrupt that is still pending is signalled again when it is deactivated.
    fn level_comes_back(lab) rules["ISM-4", "ISM-7"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pe.cdhm(spi.into(), HandlingMode::Level);
        lab.pend(spi)?;
        for _ in 0..3 {
            lab.take(spi)?;
            lab.expect_silence(0)?;
            lab.finish(spi)?;
        }
        lab.expect_signal(0)
    }

    /// An edge that comes while the interrupt is active makes it pending and active.
    fn edge_while_active_is_kept(lab) rules["ISM-3", "ISM-1"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend_and_take(spi)?;
        lab.pend(spi)?;
        lab.expect_pending(spi, true)?;
        lab.expect_active(spi, true)
    }

    /// An active interrupt is not signalled, even if it is pending and no priority is active.
    fn active_interrupt_is_not_signalled(lab) rules["ISM-7", "HPPI-1"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend_and_take(spi)?;
        lab.pe.cdeoi();
        lab.pend(spi)?;
        lab.expect_silence(0)
    }

    /// An interrupt that became pending while it was active is signalled after its deactivation, once.
    fn pending_and_active_comes_back_once(lab) rules["ISM-3", "ISM-7"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend_and_take(spi)?;
        lab.pend(spi)?;
        lab.finish(spi)?;
        lab.handle(spi)?;
        lab.expect_silence(0)
    }

    /// A change of the handling mode decides what the next acknowledge does.
    fn handling_mode_decides_at_the_acknowledge(lab) rules["SPI-7", "ISM-10"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pe.cdhm(spi.into(), HandlingMode::Level);
        expect("HM is level", true, lab.config(spi)?.hm() == HandlingMode::Level)?;
        lab.pend(spi)?;
        lab.set_handling(spi, HandlingMode::Edge);
        lab.take(spi)?;
        lab.expect_pending(spi, false)
    }

    /// An interrupt that is pending and disabled is not signalled, and keeps its state.
    fn disabled_interrupt_waits(lab) rules["ISM-9", "HPPI-1"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.start()?;
        lab.pe.cdpri(spi.into(), lab.priority(8));
        lab.pe.cdaff(spi.into(), lab.iaffid(0));
        expect("Priority", 8, lab.config(spi)?.priority().number())?;
        lab.pend(spi)?;
        lab.expect_silence(0)?;
        lab.expect_pending(spi, true)
    }

    /// Enabling a pending interrupt signals it, without a GSB.
    fn enabling_signals_what_is_pending(lab) rules["ISM-9", "SYN-4"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.start()?;
        lab.pe.cdpri(spi.into(), lab.priority(8));
        lab.pe.cdaff(spi.into(), lab.iaffid(0));
        lab.pend(spi)?;
        lab.pe.cden(spi.into());
        lab.take(spi)
    }

    /// Disabling a signalled interrupt takes the signal away, certainly after a GSB.
    fn disabling_recalls(lab) rules["INS-10", "SYN-4", "HPPI-6"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.signal(spi)?;
        lab.disable(spi);
        lab.expect_silence(0)?;
        lab.expect_pending(spi, true)
    }

    /// An interrupt that is disabled while it is active stays active.
    fn disabling_leaves_active_alone(lab) rules["ISM-1", "ISM-6"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend_and_take(spi)?;
        lab.disable(spi);
        lab.expect_active(spi, true)
    }

    /// Clearing Pending takes the signal away.
    fn clearing_pending_recalls(lab) rules["INS-9", "HPPI-6"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.signal(spi)?;
        lab.clear_pending(spi);
        lab.expect_silence(0)
    }

    /// The CPU interface signals nothing while it is disabled, and what waits when it is enabled.
    fn cpu_interface_can_be_switched_off(lab) rules["PRI-8"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.signal(spi)?;
        lab.set_sysreg(SysReg::ICC_CR0_EL1, 0);
        lab.expect_silence(0)?;
        lab.start_pe(0)?;
        lab.take(spi)
    }

    /// Deactivating one interrupt leaves another active.
    fn deactivation_is_of_one_interrupt(lab) rules["INS-5"] needs[Need::Spis(2)] {
        let (one, other) = (lab.spi()?, lab.spi()?);
        lab.start()?;
        for spi in [one, other] {
            lab.ready(spi, 8)?;
            lab.pend_and_take(spi)?;
            lab.pe.cdeoi();
        }
        lab.deactivate(one);
        lab.expect_active(one, false)?;
        lab.expect_active(other, true)
    }

    /// Interrupts can be deactivated in any order.
    fn deactivation_order_is_free(lab) rules["INS-6", "INS-5"] needs[Need::Spis(3)] {
        let spis = [lab.spi()?, lab.spi()?, lab.spi()?];
        lab.start()?;
        for spi in spis {
            lab.ready(spi, 8)?;
            lab.pend_and_take(spi)?;
            lab.pe.cdeoi();
        }
        let [first, second, third] = spis;
        for spi in [second, first, third] {
            lab.deactivate(spi);
            lab.expect_active(spi, false)?;
            lab.pend_and_take(spi)?;
            lab.pe.cdeoi();
        }
        expect("ICC_APR_EL1", 0, lab.sysreg(SysReg::ICC_APR_EL1))
    }
}
