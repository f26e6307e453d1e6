//! Wires: SPIs that a device drives, and timers.

use super::prelude::*;

/// Starts, with the wired SPI ready in a trigger mode, wire low.
fn wired<B: Bench>(lab: &Lab<'_, B>, mode: TriggerMode) -> Result<Spi, Failure> {
    let spi = lab.wire()?;
    lab.start()?;
    lab.trigger(spi, mode)?;
    lab.ready(spi, 8)?;
    Ok(spi)
}

/// Moves the wire, and lets the IRS see it.
fn drive<B: Bench>(lab: &Lab<'_, B>, high: bool) {
    lab.bench().drive_spi(high);
    lab.linger();
}

/// The same, and the wire rises.
fn wired_high<B: Bench>(lab: &Lab<'_, B>, mode: TriggerMode) -> Result<Spi, Failure> {
    let spi = wired(lab, mode)?;
    drive(lab, true);
    Ok(spi)
}

/// Starts, with a timer's PPI enabled.
fn timer<B: Bench>(lab: &Lab<'_, B>, ppi: Ppi) -> Outcome {
    lab.start()?;
    let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
    let priority = PPI_PRIORITYR::ZERO.with_priority(ppi, lab.priority(8)).raw_value();
    lab.set_sysreg(register, priority);
    expect("ICC_PPI_PRIORITYR<n>_EL1", priority, lab.sysreg(register))?;
    lab.set_sysreg(SysReg::icc_ppi_enabler(ppi.bank()), ppi.mask());
    lab.expect_silence(0)
}

/// A timer's PPI is a level: pending as long as the timer says so.
fn timer_is_a_level<B: Bench>(lab: &Lab<'_, B>, ppi: Ppi) -> Outcome {
    timer(lab, ppi)?;
    lab.bench().drive_timer(lab.pe, ppi, true);
    lab.take(ppi)?;
    expect("pending while active", ppi.mask(), lab.sysreg(SysReg::ICC_PPI_SPENDR0_EL1) & ppi.mask())?;
    lab.finish(ppi)?;
    lab.take(ppi)?;
    lab.bench().drive_timer(lab.pe, ppi, false);
    lab.finish(ppi)?;
    lab.expect_silence(0)
}

group! { "wires";
    // First, because there is hardware on which the one SPI that has a wire cannot be disabled again.
    /// An SPI that is disabled notes its edges.
    fn disabled_spi_notes_its_edges(lab) rules["ISM-9", "SPI-8"] needs[Need::Wire] {
        let spi = lab.wire()?;
        lab.start()?;
        drive(lab, true);
        lab.expect_silence(0)?;
        lab.expect_pending(spi, true)?;
        lab.ready(spi, 8)?;
        lab.take(spi)
    }

    /// A rising wire pends an edge SPI, once.
    fn rising_edge_pends_once(lab) rules["SPI-4", "ISM-2", "ISM-3"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Edge)?;
        lab.handle(spi)?;
        lab.expect_silence(0)
    }

    /// A falling wire leaves a pending edge SPI pending.
    fn falling_edge_changes_nothing(lab) rules["SPI-4"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Edge)?;
        drive(lab, false);
        lab.take(spi)
    }

    /// Two edges before the acknowledge are one interrupt.
    fn two_edges_are_one_interrupt(lab) rules["ISM-5"] needs[Need::Wire] {
        let spi = wired(lab, TriggerMode::Edge)?;
        for _ in 0..2 {
            drive(lab, true);
            drive(lab, false);
        }
        lab.handle(spi)?;
        lab.expect_silence(0)
    }

    /// An edge while the SPI is active is not lost.
    fn edge_while_active_is_not_lost(lab) rules["ISM-3", "SPI-4"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Edge)?;
        lab.take(spi)?;
        drive(lab, false);
        drive(lab, true);
        lab.finish(spi)?;
        lab.take(spi)
    }

    /// A level SPI is pending while its wire is high, and no longer.
    fn level_follows_the_wire(lab) rules["SPI-4", "ISM-4"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Level)?;
        lab.expect_signal(0)?;
        lab.expect_pending(spi, true)?;
        drive(lab, false);
        lab.expect_silence(0)?;
        lab.expect_pending(spi, false)
    }

    /// A level SPI whose wire stays high comes back after each deactivation.
    fn level_comes_back_until_the_wire_falls(lab) rules["ISM-4", "ISM-7"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Level)?;
        lab.handle(spi)?;
        lab.take(spi)?;
        drive(lab, false);
        lab.finish(spi)?;
        lab.expect_silence(0)
    }

    /// The wire decides the handling mode by the trigger mode.
    fn wire_sets_the_handling_mode(lab) rules["SPI-7", "ISM-2"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Level)?;
        expect("HM is level", true, lab.config(spi)?.hm() == HandlingMode::Level)?;
        drive(lab, false);
        lab.trigger(spi, TriggerMode::Edge)?;
        drive(lab, true);
        expect("HM is level", false, lab.config(spi)?.hm() == HandlingMode::Level)
    }

    /// Switching to level while the wire is high makes the SPI pending.
    fn switching_to_level_samples_a_high_wire(lab) rules["SPI-3"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Edge)?;
        lab.handle(spi)?;
        lab.expect_silence(0)?;
        lab.trigger(spi, TriggerMode::Level)?;
        lab.expect_signal(0)?;
        expect("HM is level", true, lab.config(spi)?.hm() == HandlingMode::Level)
    }

    /// Switching to edge while the wire is high clears Pending.
    fn switching_to_edge_clears_pending(lab) rules["SPI-3"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Level)?;
        lab.expect_pending(spi, true)?;
        lab.trigger(spi, TriggerMode::Edge)?;
        lab.linger();
        lab.expect_pending(spi, false)
    }

    /// Resampling a level SPI whose wire is high makes it pending.
    fn resampling_a_high_level_pends(lab) rules["SPI-5"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Level)?;
        // An edge handling mode makes the acknowledge clear Pending, although the wire is high.
        lab.set_handling(spi, HandlingMode::Edge);
        lab.take(spi)?;
        lab.expect_pending(spi, false)?;
        lab.write_raw(IrsReg::IRS_SPI_RESAMPLER, spi.id().into())?;
        lab.linger();
        lab.expect_pending(spi, true)
    }

    /// SPIs note their wires while the IRS is disabled.
    fn wires_are_noted_while_the_irs_is_disabled(lab) rules["GEN-21", "ISM-12"] needs[Need::Wire] {
        let spi = wired(lab, TriggerMode::Edge)?;
        lab.irs_enable(false)?;
        drive(lab, true);
        lab.expect_silence(0)?;
        lab.expect_pending(spi, true)?;
        lab.irs_enable(true)?;
        lab.take(spi)
    }

    /// The virtual timer is PPI 27, a level.
    fn virtual_timer_is_a_level(lab) rules["PPI-2", "PPI-3", "ISM-4"] needs[Need::Timers] {
        timer_is_a_level(lab, Ppi::CNTV)
    }

    /// The physical timer is PPI 30, a level.
    fn physical_timer_is_a_level(lab) rules["PPI-2", "PPI-3", "ISM-4"] needs[Need::Timers] {
        timer_is_a_level(lab, Ppi::CNTP)
    }

    /// Software cannot clear the pending bit of a timer.
    fn timer_cannot_be_cleared_by_software(lab) rules["PPI-4"] needs[Need::Timers] {
        timer(lab, Ppi::CNTV)?;
        lab.bench().drive_timer(lab.pe, Ppi::CNTV, true);
        lab.expect_signal(0)?;
        lab.set_sysreg(SysReg::ICC_PPI_CPENDR0_EL1, Ppi::CNTV.mask());
        lab.linger();
        lab.take(Ppi::CNTV)
    }

    /// Both timers at once are two interrupts, the more urgent one first.
    fn timers_compete(lab) rules["HPPI-3", "PRI-1"] needs[Need::Timers] {
        timer(lab, Ppi::CNTV)?;
        let register = SysReg::icc_ppi_priorityr(Ppi::CNTP.priority_register());
        let value = PPI_PRIORITYR::new_with_raw_value(lab.sysreg(register)).with_priority(Ppi::CNTP, lab.priority(4));
        lab.set_sysreg(register, value.raw_value());
        lab.set_sysreg(SysReg::ICC_PPI_ENABLER0_EL1, Ppi::CNTV.mask() | Ppi::CNTP.mask());
        lab.mask(0)?;
        lab.bench().drive_timer(lab.pe, Ppi::CNTV, true);
        lab.bench().drive_timer(lab.pe, Ppi::CNTP, true);
        lab.mask(31)?;
        lab.expect_best(0, Ppi::CNTP)?;
        lab.take(Ppi::CNTP)?;
        lab.bench().drive_timer(lab.pe, Ppi::CNTP, false);
        lab.finish(Ppi::CNTP)?;
        lab.take(Ppi::CNTV)
    }

    /// A timer interrupts its own PE.
    fn timer_interrupts_its_own_pe(lab) rules["PPI-6"] needs[Need::Timers, Need::Pes(2)] {
        timer(lab, Ppi::CNTV)?;
        lab.start_pe(1)?;
        let bench = lab.bench();
        lab.run_on(1, |pe| {
            pe.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, Ppi::CNTV.mask());
            pe.isb();
            bench.drive_timer(pe, Ppi::CNTV, true);
        })?;
        lab.take_on(1, Ppi::CNTV)?;
        lab.expect_silence(0)
    }

    /// A wire that moves while the interrupt is active and its trigger mode changes leaves Active alone.
    fn trigger_mode_of_an_active_wire_changes(lab) rules["SPI-3", "SPI-7", "ISM-1"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Level)?;
        lab.take(spi)?;
        lab.trigger(spi, TriggerMode::Edge)?;
        lab.expect_active(spi, true)?;
        lab.expect_pending(spi, false)?;
        lab.trigger(spi, TriggerMode::Level)?;
        lab.expect_active(spi, true)?;
        lab.expect_pending(spi, true)?;
        lab.expect_silence(0)?;
        drive(lab, false);
        lab.expect_active(spi, true)?;
        lab.finish(spi)?;
        lab.expect_silence(0)
    }

    /// A resample while the interrupt is active is remembered for after the deactivation.
    fn resampling_while_active_pends(lab) rules["SPI-5", "ISM-7"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Level)?;
        lab.set_handling(spi, HandlingMode::Edge);
        lab.take(spi)?;
        lab.write_raw(IrsReg::IRS_SPI_RESAMPLER, spi.id().into())?;
        lab.linger();
        lab.expect_silence(0)?;
        lab.finish(spi)?;
        lab.take(spi)
    }

    /// A falling wire takes the signal of a level interrupt away before anybody takes it.
    fn falling_wire_recalls(lab) rules["SPI-4", "HPPI-2", "HPPI-6"] needs[Need::Wire] {
        let spi = wired_high(lab, TriggerMode::Level)?;
        lab.expect_signal(0)?;
        drive(lab, false);
        lab.expect_idle()?;
        lab.expect_pending(spi, false)
    }

    /// Pending that software has set of a level interrupt goes with the next fall of its wire.
    fn falling_wire_clears_what_software_has_pended(lab) rules["SPI-4", "ISM-4"] needs[Need::Wire] {
        let spi = wired(lab, TriggerMode::Level)?;
        lab.mask(0)?;
        lab.pend(spi)?;
        lab.expect_pending(spi, true)?;
        drive(lab, true);
        drive(lab, false);
        lab.expect_pending(spi, false)
    }
}
