//! Routing to another PE, deactivation from another PE, IPIs.

use core::sync::atomic::{AtomicU64, Ordering};

use super::prelude::*;

/// Starts all PEs.
fn start_all<B: Bench>(lab: &Lab<'_, B>) -> Outcome {
    lab.start()?;
    (1..lab.pes()).try_for_each(|pe| lab.start_pe(pe))
}

/// An SPI that is ready for a PE, with every PE started.
fn ready_spi_on<B: Bench>(lab: &Lab<'_, B>, pe: usize) -> Result<Spi, Failure> {
    let spi = lab.spi()?;
    start_all(lab)?;
    lab.ready_on(pe, spi, 8)?;
    Ok(spi)
}

/// An LPI for IPIs to PE 0, with every PE started.
fn ready_ipi<B: Bench>(lab: &Lab<'_, B>) -> Result<Lpi, Failure> {
    lab.linear_ist()?;
    let ipi = lab.lpi(40)?;
    start_all(lab)?;
    lab.ready(ipi, 8)?;
    Ok(ipi)
}

group! { "routing";
    /// An SPI interrupts the PE it is routed to, each in turn, and no other.
    fn spi_reaches_its_target(lab) rules["RTE-1"] needs[Need::Spis(1), Need::Pes(2)] {
        let spi = lab.spi()?;
        start_all(lab)?;
        for target in (0..lab.pes()).rev() {
            lab.ready_on(target, spi, 8)?;
            lab.pend(spi)?;
            lab.expect_signal(target)?;
            for other in (0..lab.pes()).filter(|other| *other != target) {
                lab.expect_silence(other)?;
            }
            lab.handle_on(target, spi)?;
        }
        Ok(())
    }

    /// An LPI interrupts the PE it is routed to.
    fn lpi_reaches_its_target(lab) rules["RTE-1"] needs[Need::Lpis, Need::Pes(2)] {
        lab.linear_ist()?;
        let lpi = lab.lpi(31)?;
        start_all(lab)?;
        for target in (0..lab.pes()).rev() {
            lab.ready_on(target, lpi, 8)?;
            lab.pend(lpi)?;
            lab.handle_on(target, lpi)?;
        }
        Ok(())
    }

    /// A pending interrupt moves with its target, and is pending there alone.
    fn pending_interrupt_moves(lab) rules["RTE-5", "HPPI-2"] needs[Need::Spis(1), Need::Pes(2)] {
        let spi = ready_spi_on(lab, 0)?;
        lab.signal(spi)?;
        lab.set_target(spi, 1);
        lab.expect_silence(0)?;
        lab.handle_on(1, spi)?;
        lab.expect_silence(1)
    }

    /// A pending LPI moves too.
    fn pending_lpi_moves(lab) rules["RTE-5", "HPPI-2"] needs[Need::Lpis, Need::Pes(2)] {
        lab.linear_ist()?;
        let lpi = lab.lpi(31)?;
        start_all(lab)?;
        lab.ready_on(1, lpi, 8)?;
        lab.pend(lpi)?;
        lab.expect_signal(1)?;
        lab.set_target(lpi, 0);
        lab.expect_silence(1)?;
        lab.take(lpi)
    }

    /// An interrupt for a PE that does not exist waits until it is routed to one that does.
    fn missing_target_makes_it_wait(lab) rules["RTE-4"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        let width = lab.features.idr1.iaffid_bits().count();
        lab.pe.cdaff(spi.into(), Iaffid::new((0xffff_u32 >> (16 - width)) as u16));
        lab.pend(spi)?;
        lab.expect_silence(0)?;
        lab.expect_pending(spi, true)?;
        lab.set_target(spi, 0);
        lab.take(spi)
    }

    /// An interrupt for a PE whose CPU interface is disabled waits there.
    fn disabled_target_makes_it_wait(lab) rules["PRI-8", "RTE-1"] needs[Need::Spis(1), Need::Pes(2)] {
        let spi = lab.spi()?;
        lab.start()?;
        lab.ready_on(1, spi, 8)?;
        lab.pend(spi)?;
        lab.expect_silence(0)?;
        lab.expect_silence(1)?;
        lab.start_pe(1)?;
        lab.take_on(1, spi)
    }

    /// An SPI that was taken on one PE can be deactivated on another.
    fn spi_is_deactivated_from_another_pe(lab) rules["INS-7"] needs[Need::Spis(1), Need::Pes(2)] {
        let spi = ready_spi_on(lab, 1)?;
        lab.pend(spi)?;
        lab.take_on(1, spi)?;
        lab.expect_active(spi, true)?;
        lab.deactivate(spi);
        lab.expect_active(spi, false)
    }

    /// An active interrupt that is routed elsewhere comes back on the new target when it is pended and deactivated.
    fn active_interrupt_comes_back_on_its_new_target(lab) rules["RTE-5", "ISM-7"] needs[Need::Spis(1), Need::Pes(2)] {
        let spi = lab.spi()?;
        start_all(lab)?;
        lab.ready(spi, 8)?;
        lab.pend_and_take(spi)?;
        lab.pe.cdaff(spi.into(), lab.iaffid(1));
        lab.pend(spi)?;
        lab.expect_silence(1)?;
        lab.finish(spi)?;
        lab.handle_on(1, spi)?;
        lab.expect_silence(0)
    }

    /// Each PE has its own mask.
    fn masks_belong_to_a_pe(lab) rules["PRI-3", "PRI-7"] needs[Need::Spis(2), Need::Pes(2)] {
        let (here, there) = (lab.spi()?, lab.spi()?);
        start_all(lab)?;
        lab.mask(4)?;
        lab.ready_on(0, here, 8)?;
        lab.ready_on(1, there, 8)?;
        lab.pend(here)?;
        lab.pend(there)?;
        lab.expect_silence(0)?;
        lab.take_on(1, there)?;
        lab.mask(31)?;
        lab.take(here)
    }

    /// Each PE has its own running priority.
    fn running_priorities_belong_to_a_pe(lab) rules["PRI-4", "PRI-7"] needs[Need::Spis(2), Need::Pes(2)] {
        let (here, there) = (lab.spi()?, lab.spi()?);
        start_all(lab)?;
        lab.ready_on(0, here, 8)?;
        lab.ready_on(1, there, 16)?;
        lab.pend_and_take(here)?;
        lab.pend(there)?;
        lab.take_on(1, there)
    }

    /// An LPI that another PE makes pending is an IPI.
    fn ipi_from_another_pe(lab) rules["RTE-7", "INS-22"] needs[Need::Lpis, Need::Pes(2)] {
        let ipi = ready_ipi(lab)?;
        lab.run_on(1, |pe| {
            pe.cdpend(ipi.into(), true);
        })?;
        lab.take(ipi)
    }

    /// Every PE interrupts every PE, itself included.
    fn every_pe_interrupts_every_pe(lab) rules["RTE-7"] needs[Need::Lpis] {
        lab.linear_ist()?;
        start_all(lab)?;
        for to in 0..lab.pes() {
            let ipi = lab.lpi(40 + to as u32)?;
            lab.ready_on(to, ipi, 8)?;
            for from in 0..lab.pes() {
                lab.run_on(from, |pe| {
                    pe.cdpend(ipi.into(), true);
                })?;
                lab.handle_on(to, ipi)?;
            }
            lab.expect_silence(to)?;
        }
        Ok(())
    }

    /// Two senders of one IPI make one interrupt, if it is taken after both.
    fn two_senders_make_one_interrupt(lab) rules["ISM-5", "RTE-7"] needs[Need::Lpis, Need::Pes(2)] {
        lab.linear_ist()?;
        let ipi = lab.lpi(40)?;
        start_all(lab)?;
        lab.mask(0)?;
        lab.ready(ipi, 8)?;
        for from in 0..lab.pes() {
            lab.run_on(from, |pe| {
                pe.cdpend(ipi.into(), true);
                pe.gsb_sys();
            })?;
        }
        lab.mask(31)?;
        lab.handle(ipi)?;
        lab.expect_silence(0)
    }

    /// Data that was written before an IPI is there when the IPI is taken.
    fn data_arrives_before_the_ipi(lab) rules["SYN-7"] needs[Need::Lpis, Need::Pes(2)] {
        let ipi = ready_ipi(lab)?;
        let letter = AtomicU64::new(0);
        for number in 1..20 {
            lab.run_on(1, |pe| {
                letter.store(number, Ordering::Relaxed);
                pe.dsb();
                pe.cdpend(ipi.into(), true);
            })?;
            lab.expect_signal(0)?;
            expect("GICR CDIA", Some(ipi.into()), acknowledge(lab.pe))?;
            expect("the letter", number, letter.load(Ordering::Relaxed))?;
            lab.finish(ipi)?;
        }
        Ok(())
    }

    /// A spare SPI serves as an IPI.
    fn spare_spi_serves_as_an_ipi(lab) rules["RTE-7"] needs[Need::Spis(1), Need::Pes(2)] {
        let spi = ready_spi_on(lab, 1)?;
        for _ in 0..3 {
            lab.pend(spi)?;
            lab.handle_on(1, spi)?;
        }
        lab.expect_silence(1)
    }

    /// A PE that configures an interrupt changes it for all.
    fn configuration_is_seen_by_all(lab) rules["GEN-13", "SYN-1"] needs[Need::Spis(1), Need::Pes(2)] {
        let spi = lab.spi()?;
        let priority = lab.priority(24);
        lab.run_on(1, |pe| {
            pe.cdpri(spi.into(), priority);
            pe.gsb_sys();
        })?;
        expect("Priority", 24_u8, lab.config(spi)?.priority().number())
    }
}
