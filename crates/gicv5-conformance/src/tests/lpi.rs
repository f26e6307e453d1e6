//! LPIs: the same machine as SPIs, with its state in memory.

use gicv5_arch::irs::{IRS_SETLPIR, SetLpiReg};
use gicv5_arch::values::RoutingMode;
use gicv5_hal::Frame;

use super::prelude::*;
use crate::features::IRS;

group! { "lpi";
    /// An LPI is pended, taken, dropped and deactivated.
    fn lpi_is_taken(lab) rules["ISM-3", "ISM-8", "SYN-3"] needs[Need::Lpis] {
        let lpi = lab.ready_lpi(21, 8)?;
        lab.pend_and_take(lpi)?;
        lab.expect_active(lpi, true)?;
        lab.expect_pending(lpi, false)?;
        lab.finish(lpi)?;
        lab.expect_active(lpi, false)?;
        lab.expect_silence(0)
    }

    /// An LPI that becomes pending while it is active is not signalled before it is deactivated.
    fn lpi_does_not_retrigger_while_active(lab) rules["ISM-8", "ISM-7"] needs[Need::Lpis] {
        let lpi = lab.ready_lpi(21, 8)?;
        lab.pend_and_take(lpi)?;
        lab.pe.cdeoi();
        lab.pend(lpi)?;
        lab.expect_silence(0)?;
        lab.deactivate(lpi);
        lab.take(lpi)
    }

    /// Disabling a signalled LPI takes the signal away.
    fn disabling_an_lpi_recalls(lab) rules["INS-10", "SYN-4"] needs[Need::Lpis] {
        let lpi = lab.ready_lpi(21, 8)?;
        lab.signal(lpi)?;
        lab.disable(lpi);
        lab.expect_silence(0)?;
        lab.expect_pending(lpi, true)?;
        lab.pe.cden(lpi.into());
        lab.take(lpi)
    }

    /// Clearing Pending of a signalled LPI takes the signal away for good.
    fn clearing_pending_of_an_lpi_recalls(lab) rules["INS-9", "HPPI-6"] needs[Need::Lpis] {
        let lpi = lab.ready_lpi(21, 8)?;
        lab.signal(lpi)?;
        lab.clear_pending(lpi);
        lab.expect_silence(0)?;
        lab.expect_pending(lpi, false)
    }

    /// A level LPI stays pending until it is cleared.
    fn level_lpi_stays_pending(lab) rules["ISM-4", "ISM-8"] needs[Need::Lpis] {
        let lpi = lab.ready_lpi(21, 8)?;
        lab.pe.cdhm(lpi.into(), HandlingMode::Level);
        lab.pend_and_take(lpi)?;
        lab.finish(lpi)?;
        lab.take(lpi)?;
        lab.pe.cdpend(lpi.into(), false);
        lab.finish(lpi)?;
        lab.expect_silence(0)
    }

    /// LPIs and SPIs compete by priority.
    fn lpis_and_spis_compete(lab) rules["HPPI-1", "GEN-2"] needs[Need::Lpis, Need::Spis(2)] {
        lab.linear_ist()?;
        let (lpi, urgent, late) = (lab.lpi(21)?, lab.spi()?, lab.spi()?);
        lab.ready(lpi, 16)?;
        lab.ready(urgent, 8)?;
        lab.ready(late, 24)?;
        lab.pend(late)?;
        lab.pend(lpi)?;
        lab.pend(urgent)?;
        lab.start()?;
        lab.expect_best(0, urgent)?;
        lab.handle(urgent)?;
        lab.expect_best(0, lpi)?;
        lab.handle(lpi)?;
        lab.take(late)
    }

    /// The mask is inclusive for LPIs too.
    fn mask_is_inclusive_for_lpis(lab) rules["PRI-3"] needs[Need::Lpis] {
        let lpi = lab.ready_lpi(21, 16)?;
        lab.mask(8)?;
        lab.pend(lpi)?;
        lab.expect_silence(0)?;
        lab.mask(16)?;
        lab.take(lpi)
    }

    /// A hundred LPIs that are pending together are each taken once.
    fn each_of_many_is_taken_once(lab) rules["ISM-3", "HPPI-1"] needs[Need::Lpis] {
        const COUNT: u32 = 100;
        lab.linear_ist()?;
        for id in 0..COUNT {
            let lpi = lab.lpi(id * 7)?;
            lab.ready(lpi, id % 32)?;
            lab.pend(lpi)?;
        }
        lab.start()?;
        let mut seen = [0_u8; COUNT as usize];
        for _ in 0..COUNT {
            lab.expect_signal(0)?;
            let taken = acknowledge(lab.pe);
            let index = taken.map_or(u32::MAX, |id| id.id() / 7) as usize;
            match (seen.get_mut(index), taken) {
                (Some(count), Some(id)) => {
                    *count += 1;
                    lab.finish(id)?;
                }
                _ => return expect("an LPI that was pended", true, false),
            }
        }
        expect("every LPI was taken once", true, seen.iter().all(|count| *count == 1))?;
        lab.expect_silence(0)
    }

    /// The last LPI of the IST works like the first.
    fn last_lpi_is_taken(lab) rules["IST-12", "IST-27"] needs[Need::Lpis] {
        let (ist, _) = lab.linear_ist()?;
        let lpi = lab.lpi((1 << ist.id_bits()) - 1)?;
        lab.start()?;
        lab.ready(lpi, 8)?;
        lab.pend_and_take(lpi)?;
        expect("ICC_APR_EL1", 1 << 8, lab.sysreg(SysReg::ICC_APR_EL1))
    }

    /// Neighbours in the table do not disturb each other.
    fn neighbours_are_independent(lab) rules["IST-25", "IST-12"] needs[Need::Lpis] {
        lab.linear_ist()?;
        lab.ready(lab.lpi(20)?, 8)?;
        lab.ready(lab.lpi(22)?, 24)?;
        lab.pend(lab.lpi(21)?)?;
        let config = lab.config(lab.lpi(21)?)?;
        expect("Enabled", false, config.enabled())?;
        expect("Priority", 0_u8, config.priority().number())?;
        lab.expect_pending(lab.lpi(20)?, false)?;
        lab.expect_pending(lab.lpi(22)?, false)
    }

    /// A write to the SETLPI frame makes the LPI pending as an edge.
    fn setlpi_frame_pends(lab) rules["LPI-4", "ISM-2"] needs[Need::Lpis, Need::SetLpi] {
        let lpi = lab.ready_lpi(21, 8)?;
        lab.pe.cdhm(lpi.into(), HandlingMode::Level);
        expect("HM is level", true, lab.config(lpi)?.hm() == HandlingMode::Level)?;
        lab.irs().write_set_lpi(IRS, IRS_SETLPIR::ZERO.with_id(lpi));
        lab.take(lpi)?;
        expect("HM is level", false, lab.config(lpi)?.hm() == HandlingMode::Level)?;
        lab.expect_pending(lpi, false)
    }

    /// A write to the SETLPI frame that names an LPI beyond the IST is dropped.
    fn setlpi_of_an_unreachable_lpi_is_dropped(lab) rules["LPI-4", "ISM-12"] needs[Need::Lpis, Need::SetLpi] {
        lab.linear_ist()?;
        lab.start()?;
        lab.irs().write_set_lpi(IRS, IRS_SETLPIR::new_with_raw_value(0xff_ffff));
        lab.expect_idle()
    }

    /// Without IRS_IDR0.SETLPI a write where the frame would be does nothing.
    fn missing_setlpi_frame_ignores_writes(lab) rules["LPI-5"] needs[Need::Lpis, Need::NoSetLpi] {
        let lpi = lab.ready_lpi(21, 8)?;
        lab.irs().write32(Frame::set_lpi(IRS), SetLpiReg::IRS_SETLPIR.offset(), lpi.id());
        lab.expect_silence(0)?;
        lab.expect_pending(lpi, false)
    }

    /// Without 1-of-N routing the routing mode in an entry means nothing: the LPI goes to its target.
    fn routing_mode_of_an_entry_is_ignored(lab) rules["RTE-3", "IST-25"] needs[Need::Lpis, Need::NoOneOfN] {
        let ist = lab.features.linear_ist().ok_or(Failure::Exhausted { what: "linear IST" })?;
        let table = lab.memory(ist.base())?;
        let entry = L2_ISTE::ZERO.with_enable(true).with_irm(RoutingMode::OneOfN).with_iaffid(lab.iaffid(0));
        lab.store32(table, 7 * ist.entry_size().bytes(), entry.raw_value());
        lab.adopt(ist, table)?;
        lab.start()?;
        let lpi = lab.lpi(7)?;
        lab.pend_and_take(lpi)
    }

    /// An LPI that is pending and active keeps both, whatever else of it is changed.
    fn pending_and_active_survive_configuration(lab) rules["ISM-1", "ISM-10", "RTE-5"] needs[Need::Lpis] {
        let lpi = lab.ready_lpi(21, 8)?;
        lab.pend_and_take(lpi)?;
        lab.pend(lpi)?;
        lab.pe.cddis(lpi.into());
        lab.pe.cdpri(lpi.into(), lab.priority(16));
        lab.pe.cdhm(lpi.into(), HandlingMode::Level);
        lab.pe.cdaff(lpi.into(), gicv5_arch::Iaffid::new(0xffff));
        lab.sync();
        lab.expect_active(lpi, true)?;
        lab.expect_pending(lpi, true)?;
        lab.pe.cdhm(lpi.into(), HandlingMode::Edge);
        lab.ready(lpi, 4)?;
        lab.expect_silence(0)?;
        lab.finish(lpi)?;
        lab.take(lpi)?;
        lab.expect_pending(lpi, false)
    }
}
