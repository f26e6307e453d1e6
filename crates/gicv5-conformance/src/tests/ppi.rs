//! PPIs: two banks of 64, in registers of the PE.

use super::prelude::*;

const SW: u64 = Ppi::SW_PPI.mask();

/// The PPIs that are there: those whose enable bits can be set (PPI-5).
fn implemented<B: Bench>(lab: &Lab<'_, B>, bank: PpiBank) -> Result<u64, Failure> {
    lab.set_sysreg(SysReg::icc_ppi_enabler(bank), u64::MAX);
    let bits = lab.sysreg(SysReg::icc_ppi_enabler(bank));
    lab.set_sysreg(SysReg::icc_ppi_enabler(bank), 0);
    expect("ICC_PPI_ENABLER<n>_EL1", 0, lab.sysreg(SysReg::icc_ppi_enabler(bank)))?;
    // One of them is there in any case (PPI-2).
    if bank == PpiBank::Architected {
        expect("the software PPI can be enabled", SW, bits & SW)?;
    }
    Ok(bits)
}

/// Gives the software PPI a priority.
fn set_priority<B: Bench>(lab: &Lab<'_, B>, ppi: Ppi, priority: u32) -> Outcome {
    let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
    let value = PPI_PRIORITYR::new_with_raw_value(lab.sysreg(register));
    let bits = lab.features.icc_idr0.pri_bits().map_or(5, |bits| bits.count());
    let expected = value.with_priority(ppi, lab.priority(priority).keep_high_bits(bits)).raw_value();
    lab.set_sysreg(register, value.with_priority(ppi, lab.priority(priority)).raw_value());
    expect("ICC_PPI_PRIORITYR<n>_EL1", expected, lab.sysreg(register))
}

/// Starts, with the software PPI enabled at a priority.
fn ready<B: Bench>(lab: &Lab<'_, B>, priority: u32) -> Outcome {
    lab.start()?;
    set_priority(lab, Ppi::SW_PPI, priority)?;
    lab.set_sysreg(SysReg::ICC_PPI_ENABLER0_EL1, SW);
    expect("ICC_PPI_ENABLER0_EL1", SW, lab.sysreg(SysReg::ICC_PPI_ENABLER0_EL1))
}

/// The software PPI becomes pending, and is taken.
fn pend_and_take<B: Bench>(lab: &Lab<'_, B>) -> Outcome {
    lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, SW);
    lab.take(Ppi::SW_PPI)
}

/// The software PPI and an SPI, of these priorities, become pending behind the mask, which is then opened.
fn with_an_spi<B: Bench>(lab: &Lab<'_, B>, ppi: u32, spi: u32) -> Result<Spi, Failure> {
    let id = lab.spi()?;
    ready(lab, ppi)?;
    lab.ready(id, spi)?;
    lab.mask(0)?;
    lab.pend(id)?;
    lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, SW);
    lab.mask(31)?;
    Ok(id)
}

/// Activates every PPI of a bank, deactivates one after the other, and wants the others to stay active.
fn one_by_one<B: Bench>(lab: &Lab<'_, B>, bank: PpiBank, mask: u64) -> Outcome {
    let register = SysReg::icc_ppi_sactiver(bank);
    let mut left = implemented(lab, bank)? & mask;
    lab.set_sysreg(register, left);
    expect("ICC_PPI_SACTIVER<n>_EL1", left, lab.sysreg(register))?;
    while left != 0 {
        let ppi = bank.ppi(arbitrary_int::u6::new(left.trailing_zeros() as u8));
        lab.pe.cddi(IntId::Ppi(ppi));
        lab.sync();
        left &= left - 1;
        expect("ICC_PPI_SACTIVER<n>_EL1", left, lab.sysreg(register))?;
    }
    Ok(())
}

group! { "ppi";
    /// The handling modes of the architected PPIs are fixed: level, but for PPI 3, and PPI 24 is not fixed.
    fn architected_handling_modes(lab) rules["PPI-3"] needs[] {
        let there = implemented(lab, PpiBank::Architected)? & 0xffff_ffff & !Ppi::CTIIRQ.mask();
        let level = lab.sysreg(SysReg::ICC_PPI_HMR0_EL1);
        expect("ICC_PPI_HMR0_EL1", there & !SW, level & there)
    }

    /// Handling modes cannot be written.
    fn handling_modes_are_read_only(lab) rules["PPI-3"] needs[] {
        for bank in PpiBank::ALL {
            let before = lab.sysreg(SysReg::icc_ppi_hmr(bank));
            expect("ICC_PPI_HMR<n>_EL1", before, lab.sysreg(SysReg::icc_ppi_hmr(bank)))?;
            // An edge stays an edge when everything that can be written is written.
            lab.set_sysreg(SysReg::icc_ppi_enabler(bank), u64::MAX);
            lab.set_sysreg(SysReg::icc_ppi_sactiver(bank), u64::MAX);
            expect("ICC_PPI_HMR<n>_EL1", before, lab.sysreg(SysReg::icc_ppi_hmr(bank)))?;
        }
        Ok(())
    }

    /// The software PPI is there.
    fn software_ppi_is_there(lab) rules["PPI-2"] needs[] {
        expect("PPI 3 can be enabled", SW, implemented(lab, PpiBank::Architected)? & SW)
    }

    /// PPI 25 is there only with the legacy feature.
    fn maintenance_ppi_comes_with_the_legacy_feature(lab) rules["PPI-26", "PPI-5"] needs[] {
        let legacy = lab.features.icc_idr0.raw_value() >> 8 & 0xf != 0;
        let there = implemented(lab, PpiBank::Architected)? & Ppi::GICMNT.mask() != 0;
        expect("PPI 25 is there", legacy, there)
    }

    /// The software PPI is pended by a write, taken, and an edge: taking it clears Pending.
    fn software_ppi_is_taken(lab) rules["PPI-3", "PPI-4", "ISM-3"] needs[] {
        ready(lab, 8)?;
        pend_and_take(lab)?;
        expect("pending", 0, lab.sysreg(SysReg::ICC_PPI_SPENDR0_EL1) & SW)?;
        expect("active", SW, lab.sysreg(SysReg::ICC_PPI_SACTIVER0_EL1))?;
        lab.finish(Ppi::SW_PPI)?;
        expect("active", 0, lab.sysreg(SysReg::ICC_PPI_SACTIVER0_EL1))?;
        lab.expect_silence(0)
    }

    /// The software PPI's pending bit can be cleared.
    fn software_ppi_can_be_cleared(lab) rules["PPI-4"] needs[] {
        ready(lab, 8)?;
        lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, SW);
        lab.expect_signal(0)?;
        lab.set_sysreg(SysReg::ICC_PPI_CPENDR0_EL1, SW);
        lab.expect_silence(0)?;
        expect("pending", 0, lab.sysreg(SysReg::ICC_PPI_SPENDR0_EL1) & SW)
    }

    /// Both pending registers read the pending bits, and both active registers the active bits.
    fn set_and_clear_registers_read_the_same(lab) rules["PPI-4"] needs[] {
        lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, SW);
        lab.set_sysreg(SysReg::ICC_PPI_SACTIVER0_EL1, SW);
        let set = lab.sysreg(SysReg::ICC_PPI_SPENDR0_EL1);
        expect("ICC_PPI_CPENDR0_EL1", set, lab.sysreg(SysReg::ICC_PPI_CPENDR0_EL1))?;
        expect("ICC_PPI_CACTIVER0_EL1", SW, lab.sysreg(SysReg::ICC_PPI_CACTIVER0_EL1))
    }

    /// Pending bits of level PPIs cannot be set by software.
    fn level_ppis_cannot_be_pended(lab) rules["PPI-4"] needs[] {
        for bank in PpiBank::ALL {
            let level = lab.sysreg(SysReg::icc_ppi_hmr(bank));
            let before = lab.sysreg(SysReg::icc_ppi_spendr(bank)) & level;
            lab.set_sysreg(SysReg::icc_ppi_spendr(bank), level);
            expect("ICC_PPI_SPENDR<n>_EL1, levels", before, lab.sysreg(SysReg::icc_ppi_spendr(bank)) & level)?;
        }
        Ok(())
    }

    /// A disabled PPI is not signalled, and is once it is enabled.
    fn disabled_ppi_waits(lab) rules["SYN-5", "ISM-9"] needs[] {
        lab.start()?;
        lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, SW);
        lab.expect_silence(0)?;
        lab.set_sysreg(SysReg::ICC_PPI_ENABLER0_EL1, SW);
        lab.take(Ppi::SW_PPI)
    }

    /// Disabling a PPI takes its signal away.
    fn disabling_a_ppi_recalls(lab) rules["SYN-5"] needs[] {
        ready(lab, 8)?;
        lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, SW);
        lab.expect_signal(0)?;
        lab.set_sysreg(SysReg::ICC_PPI_ENABLER0_EL1, 0);
        lab.expect_silence(0)
    }

    /// An active PPI is not signalled, even if software made it active.
    fn active_ppi_is_not_signalled(lab) rules["ISM-7", "ISM-6"] needs[] {
        ready(lab, 8)?;
        lab.set_sysreg(SysReg::ICC_PPI_SACTIVER0_EL1, SW);
        lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, SW);
        lab.expect_silence(0)?;
        lab.set_sysreg(SysReg::ICC_PPI_CACTIVER0_EL1, SW);
        lab.take(Ppi::SW_PPI)
    }

    /// A PPI that becomes pending while it is active comes back after its deactivation.
    fn ppi_pended_while_active_comes_back(lab) rules["ISM-3", "ISM-7"] needs[] {
        ready(lab, 8)?;
        pend_and_take(lab)?;
        lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, SW);
        lab.pe.cdeoi();
        lab.expect_silence(0)?;
        lab.deactivate(Ppi::SW_PPI);
        lab.take(Ppi::SW_PPI)
    }

    /// PPIs obey the mask, which is inclusive.
    fn mask_holds_for_ppis(lab) rules["PRI-3", "HPPI-3"] needs[] {
        ready(lab, 16)?;
        lab.mask(8)?;
        lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, SW);
        lab.expect_silence(0)?;
        lab.mask(16)?;
        lab.take(Ppi::SW_PPI)?;
        expect("ICC_APR_EL1", 1 << 16, lab.sysreg(SysReg::ICC_APR_EL1))
    }

    /// A PPI and an SPI compete by priority, and the PPI wins if it is more urgent.
    fn more_urgent_ppi_wins(lab) rules["HPPI-3"] needs[Need::Spis(1)] {
        let spi = with_an_spi(lab, 8, 16)?;
        lab.handle(Ppi::SW_PPI)?;
        lab.take(spi)
    }

    /// A PPI and an SPI compete by priority, and the SPI wins if it is more urgent.
    fn more_urgent_spi_wins(lab) rules["HPPI-3"] needs[Need::Spis(1)] {
        let spi = with_an_spi(lab, 16, 8)?;
        lab.expect_best(0, spi)?;
        lab.handle(spi)?;
        lab.take(Ppi::SW_PPI)
    }

    /// Of a PPI and an SPI that are equally urgent either comes first, and then the other.
    fn tie_loses_neither(lab) rules["HPPI-4"] needs[Need::Spis(1)] {
        let spi = with_an_spi(lab, 16, 16)?;
        lab.expect_signal(0)?;
        let first = acknowledge(lab.pe);
        let ppi_first = first == Some(Ppi::SW_PPI.into());
        let (first, second): (IntId, IntId) = if ppi_first { (Ppi::SW_PPI.into(), spi.into()) } else { (spi.into(), Ppi::SW_PPI.into()) };
        lab.finish(first)?;
        lab.take(second)
    }

    /// A PPI that is pending while an SPI of a more urgent priority is active waits.
    fn running_priority_holds_ppis_back(lab) rules["PRI-4", "HPPI-3"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        ready(lab, 16)?;
        lab.ready(spi, 16)?;
        lab.pend_and_take(spi)?;
        lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, SW);
        lab.expect_silence(0)?;
        set_priority(lab, Ppi::SW_PPI, 8)?;
        lab.take(Ppi::SW_PPI)
    }

    /// Priorities read back, each PPI's in its own field, as far as the priority bits go.
    fn priorities_read_back(lab) rules["PPI-1", "PRI-2"] needs[] {
        let bits = lab.features.icc_idr0.pri_bits().map_or(5, |bits| bits.count());
        for number in [31, 1, 16] {
            set_priority(lab, Ppi::SW_PPI, number)?;
            let value = PPI_PRIORITYR::new_with_raw_value(lab.sysreg(SysReg::ICC_PPI_PRIORITYR0_EL1));
            let kept = lab.priority(number).keep_high_bits(bits).number();
            expect("priority of PPI 3", kept, value.priority(Ppi::SW_PPI).number())?;
            expect("the other fields", 0, value.raw_value() & !(0xff << 24))?;
        }
        Ok(())
    }

    /// PPIs that are not there have no priority, and cannot become active or pending.
    fn missing_ppis_are_not_there_at_all(lab) rules["PPI-5"] needs[] {
        for bank in PpiBank::ALL {
            let missing = !implemented(lab, bank)?;
            lab.set_sysreg(SysReg::icc_ppi_sactiver(bank), missing);
            lab.set_sysreg(SysReg::icc_ppi_spendr(bank), missing);
            expect("ICC_PPI_SACTIVER<n>_EL1", 0, lab.sysreg(SysReg::icc_ppi_sactiver(bank)) & missing)?;
            expect("ICC_PPI_SPENDR<n>_EL1", 0, lab.sysreg(SysReg::icc_ppi_spendr(bank)) & missing)?;
            expect("ICC_PPI_HMR<n>_EL1", 0, lab.sysreg(SysReg::icc_ppi_hmr(bank)) & missing)?;
        }
        Ok(())
    }

    /// Enable bits can be set one by one and together, in both banks.
    fn enable_bits_are_independent(lab) rules["PPI-1"] needs[] {
        for bank in PpiBank::ALL {
            let there = implemented(lab, bank)?;
            for pattern in [0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa, u64::MAX, 0] {
                lab.set_sysreg(SysReg::icc_ppi_enabler(bank), pattern);
                expect("ICC_PPI_ENABLER<n>_EL1", pattern & there, lab.sysreg(SysReg::icc_ppi_enabler(bank)))?;
            }
        }
        Ok(())
    }

    /// Active bits are set and cleared one by one, in both banks, by register.
    fn active_bits_are_independent(lab) rules["PPI-1", "ISM-6"] needs[] {
        for bank in PpiBank::ALL {
            let (set, clear) = (SysReg::icc_ppi_sactiver(bank), SysReg::icc_ppi_cactiver(bank));
            let mut left = implemented(lab, bank)?;
            lab.set_sysreg(set, u64::MAX);
            expect("ICC_PPI_SACTIVER<n>_EL1", left, lab.sysreg(set))?;
            while left != 0 {
                lab.set_sysreg(clear, left & left.wrapping_neg());
                left &= left - 1;
                expect("ICC_PPI_SACTIVER<n>_EL1", left, lab.sysreg(set))?;
            }
        }
        Ok(())
    }

    /// Deactivating a PPI from 0 to 31 leaves the others active.
    fn deactivation_names_one_of_the_first_32(lab) rules["PPI-1", "INS-5"] needs[] {
        one_by_one(lab, PpiBank::Architected, 0xffff_ffff)
    }

    /// Deactivating a PPI leaves all others of the architected bank active, also those from 32 on.
    fn deactivation_names_one_of_the_first_64(lab) rules["PPI-1", "INS-5"] needs[] {
        one_by_one(lab, PpiBank::Architected, u64::MAX)
    }

    /// Deactivating a PPI leaves all others of the IMPLEMENTATION DEFINED bank active.
    fn deactivation_names_one_of_the_second_64(lab) rules["PPI-1", "INS-5"] needs[] {
        one_by_one(lab, PpiBank::ImplementationDefined, u64::MAX)
    }

    /// Taking a PPI makes that one active and no other.
    fn acknowledge_activates_one_ppi(lab) rules["PPI-1", "ISM-3"] needs[] {
        ready(lab, 8)?;
        pend_and_take(lab)?;
        expect("ICC_PPI_SACTIVER0_EL1", SW, lab.sysreg(SysReg::ICC_PPI_SACTIVER0_EL1))?;
        expect("ICC_PPI_SACTIVER1_EL1", 0, lab.sysreg(SysReg::ICC_PPI_SACTIVER1_EL1))
    }

    /// Taking a PPI leaves the active bits of the others alone.
    fn acknowledge_leaves_other_active_ppis_alone(lab) rules["PPI-1"] needs[] {
        let others = implemented(lab, PpiBank::Architected)? & !SW;
        ready(lab, 8)?;
        lab.set_sysreg(SysReg::ICC_PPI_SACTIVER0_EL1, others);
        pend_and_take(lab)?;
        expect("ICC_PPI_SACTIVER0_EL1", others | SW, lab.sysreg(SysReg::ICC_PPI_SACTIVER0_EL1))
    }

    /// PPIs are private: a PE does not see another's.
    fn ppis_are_private(lab) rules["INS-7", "PPI-6"] needs[Need::Pes(2)] {
        lab.run_on(1, |pe| {
            pe.write_raw(SysReg::ICC_PPI_SACTIVER0_EL1, SW);
            pe.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, SW);
            pe.isb();
        })?;
        expect("active on this PE", 0, lab.sysreg(SysReg::ICC_PPI_SACTIVER0_EL1))?;
        expect("enabled on this PE", 0, lab.sysreg(SysReg::ICC_PPI_ENABLER0_EL1))?;
        expect("active on PE 1", SW, lab.on(1, |pe| pe.read_raw(SysReg::ICC_PPI_SACTIVER0_EL1))?)
    }

    /// A PPI is deactivated only by the PE that owns it.
    fn another_pe_cannot_deactivate_a_ppi(lab) rules["INS-7"] needs[Need::Pes(2)] {
        lab.set_sysreg(SysReg::ICC_PPI_SACTIVER0_EL1, SW);
        lab.run_on(1, |pe| {
            pe.cddi(Ppi::SW_PPI.into());
            pe.gsb_sys();
        })?;
        expect("active", SW, lab.sysreg(SysReg::ICC_PPI_SACTIVER0_EL1))
    }

    /// The software PPI of another PE interrupts that PE alone.
    fn software_ppi_interrupts_its_own_pe(lab) rules["PPI-2", "PPI-6"] needs[Need::Pes(2)] {
        ready(lab, 8)?;
        lab.start_pe(1)?;
        lab.run_on(1, |pe| {
            pe.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, SW);
            pe.write_raw(SysReg::ICC_PPI_SPENDR0_EL1, SW);
            pe.isb();
        })?;
        lab.expect_silence(0)?;
        lab.take_on(1, Ppi::SW_PPI)
    }

    /// The bits of a priority field above its five do not matter.
    fn reserved_bits_of_a_priority_are_ignored(lab) rules["PPI-1", "PRI-1"] needs[] {
        lab.start()?;
        lab.set_sysreg(SysReg::ICC_PPI_PRIORITYR0_EL1, (0xe0 | 8) << 24);
        lab.set_sysreg(SysReg::ICC_PPI_ENABLER0_EL1, SW);
        lab.mask(8)?;
        pend_and_take(lab)?;
        expect("ICC_APR_EL1", 1 << 8, lab.sysreg(SysReg::ICC_APR_EL1))
    }
}
