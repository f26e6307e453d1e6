//! Selecting SPIs and PEs, and the trigger mode.

use gicv5_arch::irs::{IRS_PE_SELR, IRS_PE_STATUSR, IRS_SPI_CFGR, IRS_SPI_STATUSR};

use super::prelude::*;

/// An SPI by number.
fn spi(id: u32) -> Result<Spi, Failure> {
    Spi::new(id).map_err(|_| Failure::Exhausted { what: "SPI of that number" })
}

group! { "selection";
    /// The first SPI of the IRS can be selected.
    fn first_spi_can_be_selected(lab) rules["SPI-2", "GEN-17"] needs[Need::Spis(1)] {
        lab.select(lab.features.idr7.spi_base())?;
        expect("IRS_SPI_STATUSR.V", true, lab.read::<IRS_SPI_STATUSR>().v())
    }

    /// The last SPI of the IRS can be selected.
    fn last_spi_can_be_selected(lab) rules["SPI-1", "SPI-2"] needs[Need::Spis(1)] {
        let features = lab.features;
        lab.select(spi(features.idr7.spi_base().id() + features.idr6.spi_irs_range().value() - 1)?)?;
        expect("IRS_SPI_STATUSR.V", true, lab.read::<IRS_SPI_STATUSR>().v())
    }

    /// The SPI after the last of the system cannot be selected.
    fn spi_after_the_last_cannot_be_selected(lab) rules["SPI-2"] needs[] {
        lab.expect_selectable(spi(lab.features.idr5.spi_range().value())?, false)?;
        expect("IRS_SPI_STATUSR.V", false, lab.read::<IRS_SPI_STATUSR>().v())
    }

    /// The highest number that the register can hold is no SPI of a system that has fewer.
    fn highest_number_cannot_be_selected(lab) rules["SPI-2", "GEN-11"] needs[] {
        if lab.features.idr5.spi_range().value() >> 24 != 0 {
            return Ok(());
        }
        lab.expect_selectable(Spi::MAX, false)?;
        expect("IRS_SPI_STATUSR.V", false, lab.read::<IRS_SPI_STATUSR>().v())
    }

    /// With no valid selection the configuration reads as zero and ignores writes.
    fn configuration_without_a_selection_is_zero(lab) rules["SPI-2"] needs[Need::Spis(1)] {
        let free = lab.spi()?;
        lab.expect_selectable(spi(lab.features.idr5.spi_range().value())?, false)?;
        lab.write(IRS_SPI_CFGR::ZERO.with_tm(TriggerMode::Level))?;
        expect("IRS_SPI_CFGR", 0, lab.read_raw(IrsReg::IRS_SPI_CFGR))?;
        lab.select(free)?;
        expect("IRS_SPI_CFGR of an SPI", 0, lab.read_raw(IrsReg::IRS_SPI_CFGR))
    }

    /// The trigger mode reads back.
    fn trigger_mode_reads_back(lab) rules["SPI-3"] needs[Need::Spis(1)] {
        let free = lab.spi()?;
        for mode in [TriggerMode::Level, TriggerMode::Edge, TriggerMode::Level] {
            lab.trigger(free, mode)?;
            let read = lab.read::<IRS_SPI_CFGR>().tm();
            expect("IRS_SPI_CFGR.TM is level", mode == TriggerMode::Level, read == TriggerMode::Level)?;
        }
        Ok(())
    }

    /// Each SPI has a trigger mode of its own.
    fn trigger_mode_belongs_to_one_spi(lab) rules["SPI-3", "GEN-15"] needs[Need::Spis(2)] {
        let (one, other) = (lab.spi()?, lab.spi()?);
        lab.trigger(one, TriggerMode::Level)?;
        lab.select(other)?;
        expect("IRS_SPI_CFGR of the other", 0, lab.read_raw(IrsReg::IRS_SPI_CFGR))?;
        lab.select(one)?;
        expect("IRS_SPI_CFGR of the one", 1, lab.read_raw(IrsReg::IRS_SPI_CFGR))
    }

    /// Reserved bits of IRS_SPI_CFGR change nothing.
    fn reserved_bits_of_the_configuration_are_ignored(lab) rules["SPI-3"] needs[Need::Spis(1)] {
        let free = lab.spi()?;
        lab.select(free)?;
        lab.write_raw(IrsReg::IRS_SPI_CFGR, 0xffff_fffe)?;
        expect("IRS_SPI_CFGR.TM", 0, lab.read_raw(IrsReg::IRS_SPI_CFGR) & 1)
    }

    /// Switching the trigger mode of an SPI whose wire is low leaves it not pending.
    fn changing_the_trigger_mode_of_a_low_wire_pends_nothing(lab) rules["SPI-3"] needs[Need::Spis(1)] {
        let free = lab.spi()?;
        lab.trigger(free, TriggerMode::Level)?;
        lab.expect_pending(free, false)?;
        lab.trigger(free, TriggerMode::Edge)?;
        lab.expect_pending(free, false)
    }

    /// Switching to level with the wire low clears Pending that software had set.
    fn switching_to_level_samples_a_low_wire(lab) rules["SPI-3"] needs[Need::Spis(1)] {
        let free = lab.spi()?;
        lab.pend(free)?;
        lab.expect_pending(free, true)?;
        lab.trigger(free, TriggerMode::Level)?;
        lab.expect_pending(free, false)
    }

    /// Resampling a level SPI whose wire is low clears Pending that software had set.
    fn resampling_a_low_level_clears_pending(lab) rules["SPI-5"] needs[Need::Spis(1)] {
        let free = lab.spi()?;
        lab.trigger(free, TriggerMode::Level)?;
        lab.pend(free)?;
        lab.expect_pending(free, true)?;
        lab.write_raw(IrsReg::IRS_SPI_RESAMPLER, free.id().into())?;
        lab.linger();
        lab.expect_pending(free, false)
    }

    /// Resampling does not use the selector.
    fn resampling_leaves_the_selection_alone(lab) rules["SPI-5"] needs[Need::Spis(2)] {
        let (one, other) = (lab.spi()?, lab.spi()?);
        lab.trigger(one, TriggerMode::Level)?;
        lab.write_raw(IrsReg::IRS_SPI_RESAMPLER, other.id().into())?;
        expect("IRS_SPI_STATUSR.V", true, lab.read::<IRS_SPI_STATUSR>().v())?;
        expect("IRS_SPI_CFGR", 1, lab.read_raw(IrsReg::IRS_SPI_CFGR))
    }

    /// Resampling an SPI that does not exist does nothing.
    fn resampling_beyond_the_last_spi_does_nothing(lab) rules["SPI-5"] needs[] {
        lab.start()?;
        lab.write_raw(IrsReg::IRS_SPI_RESAMPLER, lab.features.idr5.spi_range().value().into())?;
        lab.write_raw(IrsReg::IRS_SPI_RESAMPLER, 0xff_ffff)?;
        lab.expect_silence(0)
    }

    /// Every PE that runs can be selected by its affinity ID, and is online.
    fn running_pes_can_be_selected(lab) rules["GEN-17"] needs[] {
        for pe in 0..lab.pes() {
            let selector = IRS_PE_SELR::ZERO.with_iaffid(lab.iaffid(pe));
            lab.write(selector)?;
            expect("IRS_PE_SELR", selector.raw_value(), lab.read::<IRS_PE_SELR>().raw_value())?;
            let status = lab.read::<IRS_PE_STATUSR>();
            expect("IRS_PE_STATUSR.V", true, status.v())?;
            expect("IRS_PE_STATUSR.ONLINE", true, status.online())?;
        }
        Ok(())
    }

    /// An affinity ID that no PE has cannot be selected.
    fn missing_pe_cannot_be_selected(lab) rules["GEN-17"] needs[] {
        let taken = |iaffid: Iaffid| (0..lab.pes()).any(|pe| lab.iaffid(pe) == iaffid);
        let missing = (0xff00..=0xffff).rev().map(Iaffid::new).find(|iaffid| !taken(*iaffid));
        // From a PE that there is, so that V has something to become.
        lab.write(IRS_PE_SELR::ZERO.with_iaffid(lab.iaffid(0)))?;
        expect("IRS_PE_STATUSR.V", true, lab.read::<IRS_PE_STATUSR>().v())?;
        lab.write(IRS_PE_SELR::ZERO.with_iaffid(missing.unwrap_or(Iaffid::new(0xffff))))?;
        expect("IRS_PE_STATUSR.V", false, lab.read::<IRS_PE_STATUSR>().v())?;
        expect("IRS_PE_STATUSR.IDLE", true, lab.read::<IRS_PE_STATUSR>().idle())
    }

    /// Reserved bits of IRS_PE_SELR do not matter.
    fn reserved_bits_of_the_pe_selector_are_ignored(lab) rules["GEN-17"] needs[] {
        let iaffid = lab.iaffid(0).raw_value();
        lab.irs().write32(FRAME, IrsReg::IRS_PE_SELR.offset(), 0xffff_0000 | u32::from(iaffid));
        lab.idle(IrsReg::IRS_PE_SELR)?;
        expect("IRS_PE_STATUSR.V", true, lab.read::<IRS_PE_STATUSR>().v())
    }

    /// Selecting a PE leaves the selected SPI alone, and the other way round.
    fn selectors_are_independent(lab) rules["GEN-15"] needs[Need::Spis(1)] {
        let free = lab.spi()?;
        lab.trigger(free, TriggerMode::Level)?;
        lab.write(IRS_PE_SELR::ZERO.with_iaffid(lab.iaffid(0)))?;
        expect("IRS_SPI_CFGR", 1, lab.read_raw(IrsReg::IRS_SPI_CFGR))?;
        lab.expect_selectable(spi(lab.features.idr5.spi_range().value())?, false)?;
        expect("IRS_PE_STATUSR.V", true, lab.read::<IRS_PE_STATUSR>().v())
    }

    /// Reserved bits of IRS_SPI_SELR do not matter.
    fn reserved_bits_of_the_spi_selector_are_ignored(lab) rules["GEN-17", "SPI-2"] needs[Need::Spis(1)] {
        let free = lab.spi()?;
        lab.irs().write32(FRAME, IrsReg::IRS_SPI_SELR.offset(), 0xff00_0000 | free.id());
        lab.idle(IrsReg::IRS_SPI_SELR)?;
        expect("IRS_SPI_STATUSR.V", true, lab.read::<IRS_SPI_STATUSR>().v())
    }

    /// Writing the same trigger mode again samples nothing.
    fn same_trigger_mode_again_changes_nothing(lab) rules["SPI-3"] needs[Need::Spis(1)] {
        let free = lab.spi()?;
        lab.trigger(free, TriggerMode::Level)?;
        lab.pend(free)?;
        lab.trigger(free, TriggerMode::Level)?;
        lab.expect_pending(free, true)
    }

    /// A trigger mode can be changed while the interrupt is active, which stays so.
    fn trigger_mode_changes_while_active(lab) rules["SPI-3", "SPI-7", "ISM-1"] needs[Need::Spis(1)] {
        let free = lab.ready_spi(8)?;
        lab.pend_and_take(free)?;
        for mode in [TriggerMode::Level, TriggerMode::Edge, TriggerMode::Level] {
            lab.trigger(free, mode)?;
            lab.expect_active(free, true)?;
            lab.expect_pending(free, false)?;
        }
        lab.pend(free)?;
        lab.expect_silence(0)?;
        lab.finish(free)?;
        lab.take(free)
    }
}
