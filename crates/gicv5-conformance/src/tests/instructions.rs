//! Every CD instruction: what it changes, what it leaves alone, and when it has no effect.

use super::prelude::*;
use crate::lab::ask;

/// The instructions that name an LPI or SPI, with an operand whose other fields are not zero.
const NAMING: [(GicInsn, u64); 7] = [
    (GicInsn::GIC_CDEN, 0),
    (GicInsn::GIC_CDPEND, 1 << 32),
    (GicInsn::GIC_CDPRI, 9 << 35),
    (GicInsn::GIC_CDAFF, 1 << 32),
    (GicInsn::GIC_CDHM, 1 << 32),
    (GicInsn::GIC_CDDI, 0),
    (GicInsn::GIC_CDDIS, 0),
];

/// Executes all of them with a raw INTID, and wants nothing to be signalled.
fn have_no_effect<B: Bench>(lab: &Lab<'_, B>, raw: u64) -> Outcome {
    lab.start()?;
    for (insn, rest) in NAMING {
        lab.pe.gic(insn, rest | raw);
    }
    lab.sync();
    lab.expect_silence(0)
}

/// Asks for the configuration of a raw INTID, and wants it to be refused (INS-12).
fn is_refused<B: Bench>(lab: &Lab<'_, B>, raw: u64) -> Outcome {
    expect("ICC_ICSR_EL1.F", true, ask(lab.pe, GicInsn::GIC_CDRCFG, raw, ICC_ICSR_EL1::ZERO).f())
}

/// What an SPI's configuration is, but for what an instruction is to change.
fn rest(config: ICC_ICSR_EL1, changed: u64) -> u64 {
    config.raw_value() & !changed
}

const ENABLED: u64 = 1 << 1;
const PENDING: u64 = 1 << 2;
const ACTIVE: u64 = 1 << 4;
const MODE: u64 = 1 << 5;
const PRIORITY: u64 = 0x1f << 11;
const TARGET: u64 = 0xffff << 32;

/// An SPI beyond those of the system.
fn missing<B: Bench>(lab: &Lab<'_, B>) -> Result<Spi, Failure> {
    Spi::new(lab.features.idr5.spi_range().value()).map_err(|_| Failure::Exhausted { what: "SPI that is none" })
}

group! { "instructions";
    /// CDEN sets Enabled and nothing else.
    fn cden_enables(lab) rules["INS-8", "INS-13"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        let before = lab.config(spi)?;
        lab.pe.cden(spi.into());
        let after = lab.config(spi)?;
        expect("Enabled", true, after.enabled())?;
        expect("the rest", rest(before, ENABLED), rest(after, ENABLED))
    }

    /// CDDIS clears Enabled and nothing else.
    fn cddis_disables(lab) rules["INS-8", "INS-10", "SYN-4"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.ready(spi, 9)?;
        let before = lab.config(spi)?;
        lab.pe.cddis(spi.into());
        let after = lab.config(spi)?;
        expect("Enabled", false, after.enabled())?;
        expect("the rest", rest(before, ENABLED), rest(after, ENABLED))
    }

    /// CDPEND with 1 sets Pending and nothing else, the handling mode least of all.
    fn cdpend_pends(lab) rules["INS-9"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.pe.cdhm(spi.into(), HandlingMode::Level);
        let before = lab.config(spi)?;
        lab.pe.cdpend(spi.into(), true);
        let after = lab.config(spi)?;
        expect("Pending", true, after.pending())?;
        expect("the rest", rest(before, PENDING), rest(after, PENDING))
    }

    /// CDPEND with 0 clears Pending and nothing else.
    fn cdpend_clears_pending(lab) rules["INS-9", "ISM-4"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.pend(spi)?;
        let before = lab.config(spi)?;
        lab.pe.cdpend(spi.into(), false);
        let after = lab.config(spi)?;
        expect("Pending", false, after.pending())?;
        expect("the rest", rest(before, PENDING), rest(after, PENDING))
    }

    /// Clearing Pending of an SPI that is not pending leaves it not pending.
    fn cdpend_clears_what_is_not_pending(lab) rules["INS-9"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.pe.cdpend(spi.into(), false);
        lab.expect_pending(spi, false)
    }

    /// CDPRI sets the priority and nothing else.
    fn cdpri_sets_the_priority(lab) rules["INS-8", "INS-13", "PRI-1"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        let before = lab.config(spi)?;
        for number in [8, 24, 16] {
            lab.pe.cdpri(spi.into(), lab.priority(number));
            let after = lab.config(spi)?;
            expect("Priority", number, after.priority().number().into())?;
            expect("the rest", rest(before, PRIORITY), rest(after, PRIORITY))?;
        }
        Ok(())
    }

    /// CDPRI keeps the high-order bits that the IRS implements.
    fn cdpri_keeps_the_high_bits(lab) rules["PRI-2"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        let bits = lab.features.idr1.pri_bits().map_or(5, |bits| bits.count());
        for number in 0..32 {
            let priority = lab.priority(number);
            lab.pe.cdpri(spi.into(), priority);
            expect("Priority", priority.keep_high_bits(bits).number(), lab.config(spi)?.priority().number())?;
        }
        Ok(())
    }

    /// CDAFF sets the target and nothing else.
    fn cdaff_sets_the_target(lab) rules["INS-8", "RTE-1"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        let before = lab.config(spi)?;
        let target = lab.iaffid(lab.pes() - 1);
        lab.pe.cdaff(spi.into(), target);
        let after = lab.config(spi)?;
        expect("IAFFID", target.raw_value(), after.iaffid().raw_value())?;
        expect("the rest", rest(before, TARGET), rest(after, TARGET))
    }

    /// CDAFF takes a target that no PE has.
    fn cdaff_takes_any_target(lab) rules["RTE-4"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        let width = lab.features.idr1.iaffid_bits().count();
        let target = Iaffid::new((0xffff_u32 >> (16 - width)) as u16);
        lab.pe.cdaff(spi.into(), target);
        expect("IAFFID", target.raw_value(), lab.config(spi)?.iaffid().raw_value())
    }

    /// Without 1-of-N routing the routing mode of CDAFF is ignored.
    fn cdaff_ignores_one_of_n(lab) rules["RTE-3"] needs[Need::Spis(1), Need::NoOneOfN] {
        let spi = lab.spi()?;
        let target = u64::from(lab.iaffid(0).raw_value()) << 32;
        lab.pe.gic(GicInsn::GIC_CDAFF, target | 1 << 28 | u64::from(IntId::Spi(spi).raw()));
        expect("IRM", 0, lab.config(spi)?.raw_value() >> 3 & 1)
    }

    /// CDHM sets the handling mode and neither Pending nor Active.
    fn cdhm_sets_the_handling_mode(lab) rules["ISM-10", "SPI-7"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.pend(spi)?;
        let before = lab.config(spi)?;
        for mode in [HandlingMode::Level, HandlingMode::Edge] {
            lab.pe.cdhm(spi.into(), mode);
            let after = lab.config(spi)?;
            expect("HM is level", mode == HandlingMode::Level, after.hm() == HandlingMode::Level)?;
            expect("the rest", rest(before, MODE), rest(after, MODE))?;
        }
        Ok(())
    }

    /// CDDI of an interrupt that is not active changes nothing.
    fn cddi_of_what_is_not_active_does_nothing(lab) rules["INS-5"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.pend(spi)?;
        let before = lab.config(spi)?;
        lab.pe.cddi(spi.into());
        expect("ICC_ICSR_EL1", before.raw_value(), lab.config(spi)?.raw_value())
    }

    /// CDDI clears Active and nothing else.
    fn cddi_deactivates(lab) rules["INS-5", "INS-13"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.pend_and_take(spi)?;
        let before = lab.config(spi)?;
        expect("Active", true, before.active())?;
        lab.pe.cddi(spi.into());
        let after = lab.config(spi)?;
        expect("Active", false, after.active())?;
        expect("the rest", rest(before, ACTIVE), rest(after, ACTIVE))
    }

    /// CDDI takes the result of an acknowledge as it is, with its VALID bit.
    fn cddi_takes_an_acknowledge_as_it_is(lab) rules["INS-5"] needs[Need::Spis(1)] {
        let spi = lab.ready_spi(8)?;
        lab.signal(spi)?;
        let result = lab.pe.gic(GicInsn::GICR_CDIA, 0);
        expect("GICR CDIA", 1 << 32 | u64::from(IntId::Spi(spi).raw()), result)?;
        lab.pe.gsb_ack();
        lab.pe.isb();
        lab.pe.gic(GicInsn::GIC_CDEOI, 0);
        lab.pe.gic(GicInsn::GIC_CDDI, result);
        lab.expect_active(spi, false)
    }

    /// CDEOI without an active priority does nothing.
    fn cdeoi_without_an_active_priority_does_nothing(lab) rules["PRI-6"] needs[] {
        lab.start()?;
        lab.pe.cdeoi();
        lab.sync();
        expect("ICC_APR_EL1", 0, lab.sysreg(SysReg::ICC_APR_EL1))
    }

    /// Instructions that name an SPI beyond the last have no effect.
    fn spi_that_is_none_is_ignored(lab) rules["INS-11"] needs[] {
        have_no_effect(lab, IntId::Spi(missing(lab)?).raw().into())
    }

    /// The configuration of an SPI beyond the last is refused.
    fn configuration_of_a_missing_spi_is_refused(lab) rules["INS-11", "INS-12"] needs[] {
        is_refused(lab, IntId::Spi(missing(lab)?).raw().into())
    }

    /// Instructions that name an LPI while there is no IST have no effect.
    fn lpi_without_an_ist_is_ignored(lab) rules["INS-11", "IST-27"] needs[] {
        have_no_effect(lab, IntId::Lpi(lab.lpi(7)?).raw().into())
    }

    /// The configuration of an LPI is refused while there is no IST.
    fn configuration_of_an_lpi_without_an_ist_is_refused(lab) rules["INS-11", "INS-12"] needs[] {
        is_refused(lab, IntId::Lpi(lab.lpi(7)?).raw().into())
    }

    /// Instructions with a reserved interrupt type have no effect.
    fn reserved_types_are_ignored(lab) rules["GEN-1"] needs[] {
        for int_type in [0_u64, 4, 5, 6, 7] {
            have_no_effect(lab, int_type << 29 | 5)?;
        }
        Ok(())
    }

    /// The configuration of a reserved interrupt type is refused.
    fn configuration_of_reserved_types_is_refused(lab) rules["GEN-1", "INS-12"] needs[] {
        [0_u64, 4, 5, 6, 7].into_iter().try_for_each(|int_type| is_refused(lab, int_type << 29 | 5))
    }

    /// Instructions that configure LPIs and SPIs do nothing to a PPI.
    fn ppis_are_not_configured_by_instructions(lab) rules["INS-8"] needs[] {
        lab.start()?;
        let enabled = lab.sysreg(SysReg::ICC_PPI_ENABLER0_EL1);
        let priority = lab.sysreg(SysReg::ICC_PPI_PRIORITYR0_EL1);
        let raw = u64::from(IntId::Ppi(Ppi::SW_PPI).raw());
        for (insn, rest) in NAMING.into_iter().filter(|(insn, _)| *insn != GicInsn::GIC_CDDI) {
            lab.pe.gic(insn, rest | raw);
            lab.sync();
        }
        expect("ICC_PPI_ENABLER0_EL1", enabled, lab.sysreg(SysReg::ICC_PPI_ENABLER0_EL1))?;
        expect("ICC_PPI_PRIORITYR0_EL1", priority, lab.sysreg(SysReg::ICC_PPI_PRIORITYR0_EL1))?;
        let pending = lab.sysreg(SysReg::ICC_PPI_SPENDR0_EL1) & Ppi::SW_PPI.mask();
        expect("the software PPI is pending", 0, pending)
    }

    /// The configuration of a PPI is refused.
    fn configuration_of_a_ppi_is_refused(lab) rules["INS-8", "INS-12"] needs[] {
        is_refused(lab, IntId::Ppi(Ppi::SW_PPI).raw().into())
    }

    /// A refused configuration says nothing about the next one, which is answered.
    fn answer_after_a_refusal_is_whole(lab) rules["INS-12"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.ready(spi, 16)?;
        is_refused(lab, IntId::Spi(missing(lab)?).raw().into())?;
        let config = lab.config(spi)?;
        expect("Priority", 16_u8, config.priority().number())
    }

    /// The same number as PPI, LPI and SPI is three interrupts.
    fn id_spaces_are_independent(lab) rules["GEN-2"] needs[Need::Spis(1), Need::Lpis] {
        let spi = lab.spi()?;
        lab.linear_ist()?;
        let lpi = lab.lpi(spi.id())?;
        lab.pend(lpi)?;
        lab.pe.cdpri(IrsIntId::Spi(spi), lab.priority(8));
        lab.expect_pending(spi, false)?;
        lab.expect_pending(lpi, true)?;
        expect("priority of the SPI", 8_u8, lab.config(spi)?.priority().number())?;
        expect("priority of the LPI", 0_u8, lab.config(lpi)?.priority().number())
    }

    /// ICC_ICSR_EL1 belongs to the PE that asked.
    fn answers_belong_to_one_pe(lab) rules["INS-12", "INS-14"] needs[Need::Spis(2), Need::Pes(2)] {
        let (one, other) = (lab.spi()?, lab.spi()?);
        lab.pe.cdpri(one.into(), lab.priority(8));
        lab.pe.cdpri(other.into(), lab.priority(24));
        let mine = lab.config(one)?;
        expect("Priority of the one", 8, mine.priority().number())?;
        let theirs = lab.on(1, |pe| crate::lab::config(pe, other.into()).raw_value())?;
        expect("Priority of the other", 24, ICC_ICSR_EL1::new_with_raw_value(theirs).priority().number())?;
        expect("ICC_ICSR_EL1", mine.raw_value(), lab.sysreg(SysReg::ICC_ICSR_EL1))
    }

    /// Software can write ICC_ICSR_EL1, as a hypervisor does that switches guests.
    fn answer_register_can_be_written(lab) rules["INS-14"] needs[] {
        for value in [0x0000_1234_0000_f83e, 0, 1] {
            lab.set_sysreg(SysReg::ICC_ICSR_EL1, value);
            expect("ICC_ICSR_EL1", value, lab.sysreg(SysReg::ICC_ICSR_EL1))?;
        }
        Ok(())
    }
}
