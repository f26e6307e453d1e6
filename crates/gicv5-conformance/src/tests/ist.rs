//! The physical IST: set-up, linear and two-level, what it holds, and what is refused.

use arbitrary_int::u5;
use gicv5_arch::entry::L1_ISTE;
use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::irs::{IRS_IST_BASER, IRS_MAP_L2_ISTR};
use gicv5_arch::{Addr55_6, Addr55_12};

use super::prelude::*;

const NO_TABLE: Failure = Failure::Exhausted { what: "aligned memory" };

/// Memory for an IST, all zeros.
fn blank<B: Bench>(lab: &Lab<'_, B>, ist: Option<IstGeometry>) -> Result<(IstGeometry, TableBlock), Failure> {
    let ist = ist.ok_or(NO_TABLE)?;
    Ok((ist, lab.memory(ist.base())?))
}

/// A two-level IST without level-2 tables, valid.
fn two_level<B: Bench>(lab: &Lab<'_, B>, ist: Option<IstGeometry>) -> Result<(IstGeometry, TableBlock), Failure> {
    let ist = ist.ok_or(Failure::Exhausted { what: "two-level IST" })?;
    let level1 = lab.memory(ist.base())?;
    lab.adopt(ist, level1)?;
    Ok((ist, level1))
}

/// Allocates a level-2 table and writes its address into a level-1 entry.
fn name_level2<B: Bench>(
    lab: &Lab<'_, B>,
    (ist, level1): (IstGeometry, TableBlock),
    index: u32,
    valid: bool,
) -> Result<TableBlock, Failure> {
    let level2 = lab.memory(ist.level2().ok_or(NO_TABLE)?)?;
    let address = Addr55_12::new(level2.address).map_err(|_| NO_TABLE)?;
    let entry = L1_ISTE::ZERO.with_l2_addr(address).with_valid(valid);
    lab.store64(level1, u64::from(index) * 8, entry.raw_value());
    Ok(level2)
}

/// A two-level IST, valid, with an entry that names a level-2 table.
fn two_level_naming<B: Bench>(lab: &Lab<'_, B>, index: u32) -> Result<(IstGeometry, TableBlock), Failure> {
    let both = two_level(lab, lab.features.any_two_level_ist())?;
    name_level2(lab, both, index, false)?;
    Ok(both)
}

/// The first ID behind a level-1 entry.
fn first_behind<B: Bench>(lab: &Lab<'_, B>, ist: IstGeometry, index: u32) -> Result<Lpi, Failure> {
    lab.lpi(ist.ids_behind(index).map_err(|_| NO_TABLE)?.start)
}

/// Makes the level-2 table valid that an LPI is behind (LPI-2).
fn map<B: Bench>(lab: &Lab<'_, B>, lpi: Lpi) -> Outcome {
    lab.write(IRS_MAP_L2_ISTR::ZERO.with_id(lpi))
}

/// Shows that all LPIs behind level-2 tables of a size are there: the last one of the first table and the first one of the
/// second.
fn tables_of<B: Bench>(lab: &Lab<'_, B>, size: L2Size) -> Outcome {
    let both = two_level(lab, lab.features.two_level_ist(size))?;
    name_level2(lab, both, 0, false)?;
    name_level2(lab, both, 1, false)?;
    let second = first_behind(lab, both.0, 1)?;
    let last = lab.lpi(second.id() - 1)?;
    map(lab, last)?;
    map(lab, second)?;
    lab.start()?;
    for (lpi, priority) in [(last, 8), (second, 16)] {
        lab.expect_reachable(lpi, true)?;
        lab.ready(lpi, priority)?;
        lab.pend(lpi)?;
    }
    lab.expect_best(0, last)?;
    lab.handle(last)?;
    lab.take(second)
}

/// Shows that address bits of a level-1 entry below the size of a level-2 table count as zero.
fn misaligned_level2<B: Bench>(lab: &Lab<'_, B>, size: L2Size) -> Outcome {
    let ist = lab.features.two_level_ist(size).ok_or(NO_TABLE)?;
    let level1 = lab.memory(ist.base())?;
    let level2 = lab.memory(ist.level2().ok_or(NO_TABLE)?)?;
    lab.store32(level2, 0, L2_ISTE::ZERO.with_enable(true).raw_value());
    let address = Addr55_12::new(level2.address).map_err(|_| NO_TABLE)?;
    let entry = L1_ISTE::ZERO.with_l2_addr(address).with_valid(true).raw_value();
    lab.store64(level1, 0, entry | 0x1000);
    lab.adopt(ist, level1)?;
    expect("Enabled of LPI 0", true, lab.config(lab.lpi(0)?)?.enabled())
}

group! { "ist";
    /// A linear IST becomes valid, and its LPIs can be reached.
    fn linear_ist_makes_lpis_reachable(lab) rules["LPI-1", "IST-12"] needs[Need::Lpis] {
        lab.expect_reachable(lab.lpi(0)?, false)?;
        let (ist, _) = lab.linear_ist()?;
        expect("IRS_IST_BASER.VALID", true, lab.read::<IRS_IST_BASER>().valid())?;
        lab.expect_reachable(lab.lpi(0)?, true)?;
        lab.expect_reachable(lab.lpi((1 << ist.id_bits()) - 1)?, true)
    }

    /// The base address reads back.
    fn base_reads_back(lab) rules["LPI-1"] needs[Need::Lpis] {
        let (_, table) = lab.linear_ist()?;
        expect("IRS_IST_BASER.ADDR", table.address.raw(), lab.read::<IRS_IST_BASER>().addr().address().raw())
    }

    /// An LPI beyond the IST cannot be reached.
    fn lpi_beyond_the_ist_is_unreachable(lab) rules["IST-27"] needs[Need::Lpis] {
        let (ist, _) = lab.linear_ist()?;
        let beyond = 1_u32 << ist.id_bits();
        if beyond >> 24 != 0 {
            return Ok(());
        }
        lab.expect_reachable(lab.lpi(beyond)?, false)?;
        lab.expect_reachable(Lpi::MAX, false)
    }

    /// Fewer ID bits than the IRS supports are taken as the fewest it supports.
    fn id_bits_are_raised_to_the_minimum(lab) rules["IST-28"] needs[Need::Lpis] {
        let (ist, table) = blank(lab, lab.features.smallest_ist())?;
        lab.write_attributes()?;
        lab.write(ist.cfgr().with_lpi_id_bits(u5::new(0)))?;
        let address = Addr55_6::new(table.address).map_err(|_| NO_TABLE)?;
        lab.write(IRS_IST_BASER::ZERO.with_addr(address).with_valid(true))?;
        lab.expect_reachable(lab.lpi((1 << ist.id_bits()) - 1)?, true)?;
        lab.expect_reachable(lab.lpi(1 << ist.id_bits())?, false)
    }

    /// While an IST is valid its configuration cannot be written.
    fn configuration_is_ignored_while_valid(lab) rules["LPI-1"] needs[Need::Lpis] {
        lab.linear_ist()?;
        let before = lab.read_raw(IrsReg::IRS_IST_CFGR);
        lab.write_raw(IrsReg::IRS_IST_CFGR, before ^ 0x1_001f)?;
        expect("IRS_IST_CFGR", before, lab.read_raw(IrsReg::IRS_IST_CFGR))
    }

    /// While an IST is valid its address cannot be written.
    fn address_is_ignored_while_valid(lab) rules["LPI-1"] needs[Need::Lpis] {
        let (_, table) = lab.linear_ist()?;
        let base = lab.read_raw(IrsReg::IRS_IST_BASER);
        lab.write_raw(IrsReg::IRS_IST_BASER, base ^ 0x10_0000)?;
        expect("IRS_IST_BASER", base, lab.read_raw(IrsReg::IRS_IST_BASER))?;
        expect("IRS_IST_BASER.ADDR", table.address.raw(), lab.read::<IRS_IST_BASER>().addr().address().raw())?;
        lab.expect_reachable(lab.lpi(0)?, true)
    }

    /// The write that makes an IST invalid does not change its address.
    fn address_is_ignored_in_the_write_that_ends_it(lab) rules["LPI-1"] needs[Need::Lpis] {
        let (_, table) = lab.linear_ist()?;
        lab.write_raw(IrsReg::IRS_IST_BASER, 0x10_0000)?;
        expect("IRS_IST_BASER", table.address.raw(), lab.read_raw(IrsReg::IRS_IST_BASER))
    }

    /// An IST that is made invalid leaves its LPIs unreachable.
    fn invalid_ist_makes_lpis_unreachable(lab) rules["LPI-1", "IST-27"] needs[Need::Lpis] {
        lab.linear_ist()?;
        lab.withdraw()?;
        expect("IRS_IST_BASER.VALID", false, lab.read::<IRS_IST_BASER>().valid())?;
        lab.expect_reachable(lab.lpi(0)?, false)
    }

    /// An IST that is made invalid takes its candidates along.
    fn invalid_ist_recalls(lab) rules["LPI-1", "HPPI-2", "HPPI-6"] needs[Need::Lpis] {
        let lpi = lab.ready_lpi(5, 8)?;
        lab.signal(lpi)?;
        lab.withdraw()?;
        lab.expect_idle()
    }

    /// An entry of zeros is disabled, idle, inactive, an edge of priority 0 for PE 0.
    fn entry_of_zeros_is_as_documented(lab) rules["IST-24", "INS-13"] needs[Need::Lpis] {
        lab.linear_ist()?;
        expect("ICC_ICSR_EL1", 0, lab.config(lab.lpi(9)?)?.raw_value())
    }

    /// What was configured in memory before the IST became valid is in force.
    fn preset_entries_are_adopted(lab) rules["IST-22", "IST-25"] needs[Need::Lpis] {
        let (ist, table) = blank(lab, lab.features.linear_ist())?;
        let entry = L2_ISTE::ZERO
            .with_enable(true)
            .with_priority(lab.priority(16))
            .with_iaffid(lab.iaffid(0))
            .with_hm(HandlingMode::Level);
        lab.store32(table, 11 * ist.entry_size().bytes(), entry.raw_value());
        lab.adopt(ist, table)?;
        let config = lab.config(lab.lpi(11)?)?;
        expect("Enabled", true, config.enabled())?;
        expect("Priority", 16_u8, config.priority().number())?;
        expect("HM is level", true, config.hm() == HandlingMode::Level)?;
        expect("IAFFID", lab.iaffid(0).raw_value(), config.iaffid().raw_value())?;
        expect("the entry before it", 0, lab.config(lab.lpi(10)?)?.raw_value())?;
        expect("the entry after it", 0, lab.config(lab.lpi(12)?)?.raw_value())
    }

    /// An entry that is active when its IST becomes valid is active: it is signalled only after its deactivation.
    fn preset_active_is_adopted(lab) rules["IST-22", "ISM-6"] needs[Need::Lpis] {
        let (ist, table) = blank(lab, lab.features.linear_ist())?;
        let entry = L2_ISTE::ZERO.with_active(true).with_enable(true).with_iaffid(lab.iaffid(0));
        lab.store32(table, 3 * ist.entry_size().bytes(), entry.raw_value());
        lab.adopt(ist, table)?;
        lab.start()?;
        let lpi = lab.lpi(3)?;
        lab.pend(lpi)?;
        lab.expect_silence(0)?;
        lab.deactivate(lpi);
        lab.take(lpi)
    }

    /// An IST that is made invalid is written back, entry by entry.
    fn invalid_ist_is_written_back(lab) rules["LPI-1", "IST-25", "IST-26"] needs[Need::Lpis] {
        let (ist, table) = lab.linear_ist()?;
        let lpi = lab.lpi(6)?;
        lab.ready(lpi, 24)?;
        lab.set_handling(lpi, HandlingMode::Level);
        lab.withdraw()?;
        let entry = L2_ISTE::new_with_raw_value(lab.load32(table, 6 * ist.entry_size().bytes()));
        let expected = L2_ISTE::ZERO
            .with_enable(true)
            .with_priority(lab.priority(24))
            .with_iaffid(lab.iaffid(0))
            .with_hm(HandlingMode::Level);
        // Bits of the hardware's own may be anything in a table that has been in use.
        expect("L2_ISTE", expected.raw_value(), entry.raw_value() & !0x600)
    }

    /// Pending and Active of an LPI are written back too.
    fn pending_and_active_are_written_back(lab) rules["LPI-1", "IST-25"] needs[Need::Lpis] {
        let (ist, table) = lab.linear_ist()?;
        let (active, pending) = (lab.lpi(4)?, lab.lpi(7)?);
        lab.start()?;
        lab.ready(active, 8)?;
        lab.pend_and_take(active)?;
        lab.pend(pending)?;
        lab.withdraw()?;
        let entry = |n: u64| L2_ISTE::new_with_raw_value(lab.load32(table, n * ist.entry_size().bytes()));
        expect("L2_ISTE.ACTIVE of the active one", true, entry(4).active())?;
        expect("L2_ISTE.PENDING of the active one", false, entry(4).pending())?;
        expect("L2_ISTE.PENDING of the pending one", true, entry(7).pending())
    }

    /// An IST that becomes valid again has what it had, but for what was pending.
    fn ist_can_become_valid_again(lab) rules["LPI-1", "IST-22"] needs[Need::Lpis] {
        let (ist, table) = lab.linear_ist()?;
        let lpi = lab.lpi(6)?;
        lab.ready(lpi, 24)?;
        let before = lab.config(lpi)?.raw_value();
        for _ in 0..3 {
            lab.withdraw()?;
            lab.adopt(ist, table)?;
            expect("ICC_ICSR_EL1", before, lab.config(lpi)?.raw_value())?;
        }
        Ok(())
    }

    /// Another table has other interrupts.
    fn another_table_has_other_interrupts(lab) rules["LPI-1"] needs[Need::Lpis] {
        let (ist, first) = lab.linear_ist()?;
        let lpi = lab.lpi(6)?;
        lab.ready(lpi, 24)?;
        let before = lab.config(lpi)?.raw_value();
        let second = lab.memory(ist.base())?;
        lab.withdraw()?;
        lab.adopt(ist, second)?;
        expect("ICC_ICSR_EL1 in the second table", 0, lab.config(lpi)?.raw_value())?;
        lab.withdraw()?;
        lab.adopt(ist, first)?;
        expect("ICC_ICSR_EL1 in the first table", before, lab.config(lpi)?.raw_value())
    }

    /// Low address bits that the size of the table demands to be zero are taken as zero.
    fn misaligned_base_is_aligned(lab) rules["IST-12"] needs[Need::Lpis] {
        let (ist, table) = blank(lab, lab.features.linear_ist())?;
        let entry = L2_ISTE::ZERO.with_enable(true);
        lab.store32(table, 0, entry.raw_value());
        lab.write_attributes()?;
        lab.write(ist.cfgr())?;
        lab.write_raw(IrsReg::IRS_IST_BASER, table.address.raw() | 0x40 | 1)?;
        expect("Enabled of LPI 0", true, lab.config(lab.lpi(0)?)?.enabled())
    }

    /// Mapping a level-2 table of a linear IST does nothing.
    fn mapping_in_a_linear_ist_does_nothing(lab) rules["LPI-2", "IST-19"] needs[Need::Lpis] {
        let (ist, table) = lab.linear_ist()?;
        map(lab, lab.lpi(0)?)?;
        lab.withdraw()?;
        expect("the first entry", 0, lab.load32(table, 0))?;
        expect("the second entry", 0, lab.load32(table, ist.entry_size().bytes()))
    }

    /// In a two-level IST without level-2 tables no LPI can be reached.
    fn two_level_ist_starts_empty(lab) rules["IST-27", "LPI-2"] needs[Need::TwoLevel] {
        let (ist, _) = two_level(lab, lab.features.any_two_level_ist())?;
        lab.expect_reachable(lab.lpi(0)?, false)?;
        lab.expect_reachable(first_behind(lab, ist, 1)?, false)
    }

    /// Mapping makes the LPIs of one level-2 table reachable and no others.
    fn mapping_makes_one_table_reachable(lab) rules["LPI-2", "IST-18"] needs[Need::TwoLevel] {
        let both = two_level_naming(lab, 1)?;
        let second = first_behind(lab, both.0, 1)?;
        lab.expect_reachable(second, false)?;
        map(lab, lab.lpi(second.id() + 3)?)?;
        lab.expect_reachable(second, true)?;
        lab.expect_reachable(lab.lpi(second.id() - 1)?, false)
    }

    /// Mapping makes the IRS set VALID in the level-1 entry.
    fn mapping_sets_valid(lab) rules["IST-18", "LPI-2"] needs[Need::TwoLevel] {
        let both = two_level_naming(lab, 0)?;
        map(lab, lab.lpi(0)?)?;
        expect("L1_ISTE.VALID", 1, lab.load64(both.1, 0) & 1)
    }

    /// Mapping twice changes nothing.
    fn mapping_twice_changes_nothing(lab) rules["IST-19", "LPI-2"] needs[Need::TwoLevel] {
        two_level_naming(lab, 0)?;
        let lpi = lab.lpi(1)?;
        map(lab, lpi)?;
        lab.ready(lpi, 16)?;
        let before = lab.config(lpi)?.raw_value();
        map(lab, lpi)?;
        expect("ICC_ICSR_EL1", before, lab.config(lpi)?.raw_value())
    }

    /// An ID beyond the IST maps nothing.
    fn mapping_beyond_the_ist_does_nothing(lab) rules["IST-27", "LPI-2"] needs[Need::TwoLevel] {
        let ist = lab.features.any_two_level_ist().ok_or(NO_TABLE)?;
        let beyond = 1_u32 << ist.id_bits();
        // Room for twice the level-1 table, so that what must not be written is memory of the test's own.
        let wider = IstGeometry::two_level(ist.id_bits() + 1, ist.entry_size(), ist.l2_size().ok_or(NO_TABLE)?);
        let level1 = lab.memory(wider.map_err(|_| NO_TABLE)?.base())?;
        lab.adopt(ist, level1)?;
        map(lab, lab.lpi(beyond)?)?;
        lab.withdraw()?;
        expect("what follows the level-1 table", 0, lab.load64(level1, u64::from(ist.l1_entries()) * 8))
    }

    /// Before the IST is valid software may set VALID in level-1 entries itself.
    fn preset_level1_entries_are_adopted(lab) rules["IST-3", "IST-21"] needs[Need::TwoLevel] {
        let (ist, level1) = blank(lab, lab.features.any_two_level_ist())?;
        name_level2(lab, (ist, level1), 0, true)?;
        lab.adopt(ist, level1)?;
        lab.expect_reachable(lab.lpi(0)?, true)?;
        lab.expect_reachable(first_behind(lab, ist, 1)?, false)
    }

    /// Level-2 tables of 4 KiB hold the LPIs that their size says.
    fn level2_of_4_kib(lab) rules["IST-14", "IST-15"] needs[Need::L2(L2Size::KiB4)] {
        tables_of(lab, L2Size::KiB4)
    }

    /// Level-2 tables of 16 KiB hold the LPIs that their size says.
    fn level2_of_16_kib(lab) rules["IST-14", "IST-15"] needs[Need::L2(L2Size::KiB16)] {
        tables_of(lab, L2Size::KiB16)
    }

    /// Level-2 tables of 64 KiB hold the LPIs that their size says.
    fn level2_of_64_kib(lab) rules["IST-14", "IST-15"] needs[Need::L2(L2Size::KiB64)] {
        tables_of(lab, L2Size::KiB64)
    }

    /// A level-2 table is written back when the IST becomes invalid.
    fn level2_is_written_back(lab) rules["LPI-1", "IST-20"] needs[Need::TwoLevel] {
        let both = two_level(lab, lab.features.any_two_level_ist())?;
        let level2 = name_level2(lab, both, 0, false)?;
        let lpi = lab.lpi(2)?;
        map(lab, lpi)?;
        lab.ready(lpi, 8)?;
        lab.withdraw()?;
        let entry = L2_ISTE::new_with_raw_value(lab.load32(level2, 2 * both.0.entry_size().bytes()));
        expect("L2_ISTE.ENABLE", true, entry.enable())?;
        expect("L2_ISTE.PRIORITY", 8_u8, entry.priority().number())
    }

    /// Low address bits that the size of a level-1 table demands to be zero are taken as zero.
    fn misaligned_level1_table_is_aligned(lab) rules["IST-12", "IST-13"] needs[Need::TwoLevel] {
        let ist = lab.features.any_two_level_ist().ok_or(NO_TABLE)?;
        let mask = (ist.base().alignment() - 1) & !0x3f;
        if mask == 0 {
            return Ok(());
        }
        let level1 = lab.memory(ist.base())?;
        name_level2(lab, (ist, level1), 0, true)?;
        lab.write_attributes()?;
        lab.write(ist.cfgr())?;
        lab.write_raw(IrsReg::IRS_IST_BASER, level1.address.raw() | mask | 1)?;
        lab.expect_reachable(lab.lpi(0)?, true)
    }

    /// The address of a level-2 table of 16 KiB counts from bit 14 on.
    fn misaligned_level2_of_16_kib_is_aligned(lab) rules["IST-14"] needs[Need::L2(L2Size::KiB16)] {
        misaligned_level2(lab, L2Size::KiB16)
    }

    /// The address of a level-2 table of 64 KiB counts from bit 16 on.
    fn misaligned_level2_of_64_kib_is_aligned(lab) rules["IST-14"] needs[Need::L2(L2Size::KiB64)] {
        misaligned_level2(lab, L2Size::KiB64)
    }

    /// Bits of a level-1 entry that are neither VALID nor address do not matter.
    fn reserved_bits_of_a_level1_entry_are_ignored(lab) rules["IST-13"] needs[Need::TwoLevel] {
        let (ist, level1) = blank(lab, lab.features.any_two_level_ist())?;
        let level2 = lab.memory(ist.level2().ok_or(NO_TABLE)?)?;
        lab.store32(level2, 0, L2_ISTE::ZERO.with_enable(true).raw_value());
        lab.store64(level1, 0, 0xff << 56 | level2.address.raw() | 0xffe | 1);
        lab.adopt(ist, level1)?;
        expect("Enabled of LPI 0", true, lab.config(lab.lpi(0)?)?.enabled())
    }

    /// Bits of IRS_MAP_L2_ISTR that are no ID do not matter.
    fn reserved_bits_of_the_mapping_are_ignored(lab) rules["LPI-2"] needs[Need::TwoLevel] {
        let both = two_level_naming(lab, 1)?;
        let second = first_behind(lab, both.0, 1)?;
        lab.write_raw(IrsReg::IRS_MAP_L2_ISTR, 0xff00_0000 | u64::from(second.id()))?;
        lab.expect_reachable(second, true)
    }

    /// More ID bits than the IRS supports are taken as the most it supports.
    fn id_bits_are_lowered_to_the_maximum(lab) rules["IST-28"] needs[Need::TwoLevel] {
        let size = L2Size::ALL.into_iter().rev().find(|size| lab.features.two_level_ist(*size).is_some());
        let bits = lab.features.idr2.id_bits().value().into();
        let size = size.ok_or(NO_TABLE)?;
        let small = lab.features.two_level_ist(size).ok_or(NO_TABLE)?;
        let ist = IstGeometry::two_level(bits, small.entry_size(), size).map_err(|_| NO_TABLE)?;
        let level1 = lab.memory(ist.base())?;
        let last = ist.l1_entries() - 1;
        name_level2(lab, (ist, level1), last, true)?;
        lab.write_attributes()?;
        lab.write(ist.cfgr().with_lpi_id_bits(u5::new(31)))?;
        let address = Addr55_6::new(level1.address).map_err(|_| NO_TABLE)?;
        lab.write(IRS_IST_BASER::ZERO.with_addr(address).with_valid(true))?;
        let lpi = lab.lpi((1 << bits) - 1)?;
        lab.start()?;
        lab.ready(lpi, 8)?;
        lab.pend_and_take(lpi)
    }

    /// A two-level IST may have one level-2 table that is larger than its IDs need.
    fn one_level2_table_is_enough(lab) rules["IST-16", "IST-17"] needs[Need::TwoLevel] {
        let small = lab.features.smallest_ist().ok_or(NO_TABLE)?;
        let fits = |size: &L2Size| {
            let ist = IstGeometry::two_level(small.id_bits(), small.entry_size(), *size).ok()?;
            lab.features.two_level_ist(*size).filter(|_| ist.l1_entries() == 1).map(|_| ist)
        };
        let Some(ist) = L2Size::ALL.iter().find_map(fits) else { return Ok(()) };
        let both = two_level(lab, Some(ist))?;
        name_level2(lab, both, 0, false)?;
        let last = lab.lpi((1 << ist.id_bits()) - 1)?;
        map(lab, last)?;
        lab.expect_reachable(last, true)?;
        if ist.id_bits() == 24 {
            return Ok(());
        }
        lab.expect_reachable(lab.lpi(1 << ist.id_bits())?, false)
    }

    /// A pending LPI of one IST is none of the next, in the same memory or elsewhere, until it is made pending again.
    fn pending_does_not_leak_into_the_next_ist(lab) rules["LPI-1", "IST-26"] needs[Need::Lpis] {
        let (ist, _) = lab.linear_ist()?;
        let lpi = lab.lpi(9)?;
        lab.start()?;
        lab.ready(lpi, 8)?;
        lab.signal(lpi)?;
        lab.withdraw()?;
        let other = lab.memory(ist.base())?;
        let entry = L2_ISTE::ZERO.with_enable(true).with_iaffid(lab.iaffid(0));
        lab.store32(other, 9 * ist.entry_size().bytes(), entry.raw_value());
        lab.adopt(ist, other)?;
        lab.expect_silence(0)?;
        lab.expect_pending(lpi, false)?;
        lab.pend_and_take(lpi)
    }
}
