//! Virtual ISTs of every shape.

use gicv5_arch::entry::L1_ISTE;

use super::prelude::*;

/// A VM without ISTs, whose first VPE is resident.
fn bare_vm<B: Bench>(lab: &Lab<'_, B>) -> Result<Vm, Failure> {
    let table = lab.vm_table()?;
    let vm = lab.vm(&table, VM)?;
    lab.start()?;
    lab.load(0, VM, VPES[0])?;
    Ok(vm)
}

fn level1_is_valid<B: Bench>(lab: &Lab<'_, B>, level1: TableBlock) -> bool {
    L1_ISTE::new_with_raw_value(lab.load64(level1, 0)).valid()
}

/// A two-level IST whose first level-2 IST is described and not valid.
fn two_level<B: Bench>(lab: &Lab<'_, B>, vm: &Vm, size: Option<L2Size>) -> Result<VirtualIst, Failure> {
    let geometry = match size {
        Some(size) => lab.virtual_two_level(size)?,
        None => lab.features.any_two_level_ist().ok_or(Failure::Exhausted { what: "two-level IST" })?,
    };
    let mut ist = lab.describe_ist(vm, IrsIntType::Lpi, geometry, L2_ISTE::ZERO)?;
    lab.map_ist(VM, IrsIntType::Lpi, MapAction::MakeValid)?;
    lab.describe_level2(&mut ist, preset(10, VPES[0]))?;
    Ok(ist)
}

/// A level-2 IST of a size becomes valid, from its first ID to its last, and no further.
fn level2_story<B: Bench>(lab: &Lab<'_, B>, size: L2Size) -> Outcome {
    let vm = bare_vm(lab)?;
    let ist = two_level(lab, &vm, Some(size))?;
    let last = ist.geometry.ids_behind(0).map_err(|_| Failure::Exhausted { what: "level-2 IST" })?.end - 1;
    expect("L2_VMTE.LPI_IST_VALID", true, lab.ist_is_valid(&vm, IrsIntType::Lpi))?;
    lab.expect_vd_reachable(vlpi(3), false)?;
    lab.inject(VM, vlpi(3), true);
    lab.map_level2_ist(VM, vlpi(last))?;
    expect("L1_ISTE.VALID", true, level1_is_valid(lab, ist.base))?;
    for id in [0, 3, last] {
        lab.expect_vd_reachable(vlpi(id), true)?;
        lab.expect_vd_pending(vlpi(id), false)?;
    }
    lab.expect_vd_reachable(vlpi(last + 1), false)?;
    lab.inject_and_see(vlpi(3))?;
    lab.inject(VM, vlpi(3), false);
    lab.vd_priority(vlpi(last), 5)?;
    lab.vd_enable(vlpi(last), true);
    lab.inject_and_see(vlpi(last))
}

group! { "virtual_ist";
    /// An IST becomes valid by IRS_VMAP_VISTR: the IRS sets the valid bit of that type in the VM's entry, and of no other.
    fn ist_becomes_valid(lab) rules["IST-1", "IST-2", "GEN-2"] needs[Need::Virt] {
        let vm = bare_vm(lab)?;
        let geometry = lab.virtual_geometry(IrsIntType::Lpi)?;
        lab.describe_ist(&vm, IrsIntType::Lpi, geometry, preset(10, VPES[0]))?;
        lab.expect_vd_reachable(vlpi(1), false)?;
        lab.map_ist(VM, IrsIntType::Lpi, MapAction::MakeValid)?;
        expect("L2_VMTE.LPI_IST_VALID", true, lab.ist_is_valid(&vm, IrsIntType::Lpi))?;
        expect("L2_VMTE.SPI_IST_VALID", false, lab.ist_is_valid(&vm, IrsIntType::Spi))?;
        lab.expect_vd_reachable(vlpi(1), true)?;
        lab.expect_vd_reachable(vspi(1), false)
    }

    /// The same for the SPI IST, which takes any number of SPIs.
    fn spi_ist_becomes_valid(lab) rules["IST-1", "IST-2", "IST-12"] needs[Need::Virt] {
        let vm = bare_vm(lab)?;
        lab.virtual_ist(&vm, IrsIntType::Spi, preset(10, VPES[0]))?;
        expect("L2_VMTE.SPI_IST_VALID", true, lab.ist_is_valid(&vm, IrsIntType::Spi))?;
        expect("L2_VMTE.LPI_IST_VALID", false, lab.ist_is_valid(&vm, IrsIntType::Lpi))?;
        lab.inject_and_see(vspi(63))
    }

    /// On a VM that is not valid the command does nothing.
    fn ist_of_an_invalid_vm_stays_invalid(lab) rules["IST-4"] needs[Need::Virt] {
        let vm = lab.filled_vm()?;
        let geometry = lab.virtual_geometry(IrsIntType::Spi)?;
        lab.describe_ist(&vm, IrsIntType::Spi, geometry, preset(10, VPES[0]))?;
        lab.map_ist(VM, IrsIntType::Spi, MapAction::MakeValid)?;
        expect("L2_VMTE.SPI_IST_VALID", false, lab.ist_is_valid(&vm, IrsIntType::Spi))
    }

    /// An IST becomes invalid: its interrupts cannot be reached and are candidates no more, and their states are in memory.
    fn ist_becomes_invalid(lab) rules["IST-5", "IST-7", "COH-9", "HPPI-2"] needs[Need::Virt] {
        let world = lab.resident()?;
        lab.vd_priority(vlpi(2), 6)?;
        lab.inject(VM, vlpi(2), true);
        lab.inject(VM, vspi(2), true);
        lab.expect_virtual(0, vlpi(2))?;
        lab.map_ist(VM, IrsIntType::Lpi, MapAction::MakeInvalid)?;
        expect("L2_VMTE.LPI_IST_VALID", false, lab.ist_is_valid(&world.vm, IrsIntType::Lpi))?;
        expect("L2_VMTE.SPI_IST_VALID", true, lab.ist_is_valid(&world.vm, IrsIntType::Spi))?;
        lab.expect_vd_reachable(vlpi(2), false)?;
        lab.expect_virtual(0, vspi(2))?;
        let entry = lab.entry_in_memory(&world.lpis, 2)?;
        expect("L2_ISTE.PENDING", true, entry.pending())?;
        expect("L2_ISTE.PRIORITY", 6, entry.priority().number())
    }

    /// An IST that became invalid becomes valid again, with what software has put there meanwhile.
    fn ist_becomes_valid_again(lab) rules["IST-2", "IST-5", "IST-22"] needs[Need::Virt] {
        let world = lab.resident()?;
        lab.inject(VM, vlpi(2), true);
        lab.put(0)?;
        lab.map_ist(VM, IrsIntType::Lpi, MapAction::MakeInvalid)?;
        lab.fill_ist(&world.lpis, preset(21, VPES[0]));
        lab.map_ist(VM, IrsIntType::Lpi, MapAction::MakeValid)?;
        lab.load(0, VM, VPES[0])?;
        let config = lab.vd_config(vlpi(2))?;
        expect("ICC_ICSR_EL1.Priority", 21, config.priority().number())?;
        expect("ICC_ICSR_EL1.Pending", false, config.pending())?;
        lab.expect_no_virtual(0)
    }

    /// Making a valid IST valid changes nothing.
    fn valid_ist_is_not_made_valid_again(lab) rules["IST-2", "VM-3"] needs[Need::Virt] {
        let world = lab.resident()?;
        lab.inject(VM, vlpi(2), true);
        lab.map_ist(VM, IrsIntType::Lpi, MapAction::MakeValid)?;
        expect("L2_VMTE.LPI_IST_VALID", true, lab.ist_is_valid(&world.vm, IrsIntType::Lpi))?;
        lab.expect_virtual(0, vlpi(2))
    }

    /// Enable, Active, handling mode, priority and target of an entry count from the moment the IST is valid.
    fn preset_entries_count(lab) rules["IST-22", "IST-25", "IST-26"] needs[Need::Virt] {
        let vm = bare_vm(lab)?;
        let entry = preset(13, VPES[1]).with_active(true).with_hm(HandlingMode::Level);
        lab.virtual_ist(&vm, IrsIntType::Lpi, entry)?;
        for id in [0, 1, 62, 63] {
            let config = lab.vd_config(vlpi(id))?;
            expect("ICC_ICSR_EL1.Enabled", true, config.enabled())?;
            expect("ICC_ICSR_EL1.Active", true, config.active())?;
            expect("ICC_ICSR_EL1.Pending", false, config.pending())?;
            expect("ICC_ICSR_EL1.HM is Level", true, config.hm() == HandlingMode::Level)?;
            expect("ICC_ICSR_EL1.Priority", 13, config.priority().number())?;
            expect("ICC_ICSR_EL1.IAFFID", VPES[1].raw_value(), config.iaffid().raw_value())?;
        }
        Ok(())
    }

    /// An entry of zeros is disabled, idle, inactive, edge, for VPE 0, of priority 0.
    fn entry_of_zeros(lab) rules["IST-24", "IST-25"] needs[Need::Virt] {
        let vm = bare_vm(lab)?;
        lab.virtual_ist(&vm, IrsIntType::Spi, L2_ISTE::ZERO)?;
        expect("ICC_ICSR_EL1", 0, lab.vd_config(vspi(5))?.raw_value())?;
        lab.inject(VM, vspi(5), true);
        lab.expect_no_virtual(0)?;
        lab.vd_enable(vspi(5), true);
        lab.expect_virtual(0, vspi(5))
    }

    /// The last ID of an IST is reachable, and the one after it is not.
    fn ids_end_where_the_ist_ends(lab) rules["IST-27", "IST-12", "INS-11", "INS-18"] needs[Need::Virt] {
        let vm = bare_vm(lab)?;
        let ist = lab.virtual_ist(&vm, IrsIntType::Spi, L2_ISTE::ZERO)?;
        let count = 1u32 << ist.geometry.id_bits();
        lab.expect_vd_reachable(vspi(count - 1), true)?;
        lab.expect_vd_reachable(vspi(count), false)?;
        lab.expect_vd_reachable(vspi(0x00ff_ffff), false)?;
        // What is dropped does not come out anywhere else.
        lab.inject(VM, vspi(count), true);
        lab.expect_vd_pending(vspi(0), false)?;
        lab.expect_vd_pending(vspi(count - 1), false)
    }

    /// Level-2 ISTs of 4 KiB.
    fn level_2_ist_of_4_kib(lab) rules["IST-13", "IST-14", "IST-18", "IST-27"] needs[Need::Virt, Need::L2(L2Size::KiB4)] {
        level2_story(lab, L2Size::KiB4)
    }

    /// Level-2 ISTs of 16 KiB.
    fn level_2_ist_of_16_kib(lab) rules["IST-13", "IST-14", "IST-18", "IST-27"] needs[Need::Virt, Need::L2(L2Size::KiB16)] {
        level2_story(lab, L2Size::KiB16)
    }

    /// Level-2 ISTs of 64 KiB.
    fn level_2_ist_of_64_kib(lab) rules["IST-13", "IST-14", "IST-18", "IST-27"] needs[Need::Virt, Need::L2(L2Size::KiB64)] {
        level2_story(lab, L2Size::KiB64)
    }

    /// Level-1 entries that software has made valid before the IST is count with it.
    fn level_1_entry_may_be_valid_before_the_ist(lab) rules["IST-21", "IST-3", "IST-13"] needs[Need::Virt, Need::TwoLevel] {
        let vm = bare_vm(lab)?;
        let geometry = lab.features.any_two_level_ist().ok_or(Failure::Exhausted { what: "two-level IST" })?;
        let mut ist = lab.describe_ist(&vm, IrsIntType::Lpi, geometry, L2_ISTE::ZERO)?;
        lab.describe_level2(&mut ist, preset(10, VPES[0]))?;
        let level1 = L1_ISTE::new_with_raw_value(lab.load64(ist.base, 0));
        lab.store64(ist.base, 0, level1.with_valid(true).raw_value());
        lab.map_ist(VM, IrsIntType::Lpi, MapAction::MakeValid)?;
        lab.inject_and_see(vlpi(8))
    }

    /// Making a valid level-1 entry valid changes nothing.
    fn valid_level_1_entry_is_left_alone(lab) rules["IST-19"] needs[Need::Virt, Need::TwoLevel] {
        let vm = bare_vm(lab)?;
        let ist = two_level(lab, &vm, None)?;
        lab.map_level2_ist(VM, vlpi(0))?;
        lab.inject(VM, vlpi(8), true);
        lab.map_level2_ist(VM, vlpi(1))?;
        expect("L1_ISTE.VALID", true, level1_is_valid(lab, ist.base))?;
        lab.expect_virtual(0, vlpi(8))
    }

    /// A linear IST has no level-1 entries: the command does nothing to it.
    fn linear_ist_has_no_level_1_entries(lab) rules["IST-19"] needs[Need::Virt] {
        let vm = bare_vm(lab)?;
        lab.virtual_ist(&vm, IrsIntType::Lpi, L2_ISTE::ZERO)?;
        lab.map_level2_ist(VM, vlpi(0))?;
        expect("ICC_ICSR_EL1 of LPI 0", 0, lab.vd_config(vlpi(0))?.raw_value())
    }

    /// A two-level IST becomes invalid with all of its level-2 ISTs.
    fn two_level_ist_becomes_invalid(lab) rules["IST-5", "IST-20", "IST-7"] needs[Need::Virt, Need::TwoLevel] {
        let vm = bare_vm(lab)?;
        let ist = two_level(lab, &vm, None)?;
        lab.map_level2_ist(VM, vlpi(0))?;
        lab.vd_priority(vlpi(9), 3)?;
        lab.map_ist(VM, IrsIntType::Lpi, MapAction::MakeInvalid)?;
        lab.expect_vd_reachable(vlpi(9), false)?;
        expect("L2_ISTE.PRIORITY", 3, lab.entry_in_memory(&ist, 9)?.priority().number())
    }

    /// LPIs and SPIs of the same number are two interrupts.
    fn lpis_and_spis_are_apart(lab) rules["GEN-2", "IST-1"] needs[Need::Virt] {
        lab.resident()?;
        lab.inject(VM, vlpi(11), true);
        lab.expect_vd_pending(vspi(11), false)?;
        lab.vd_priority(vspi(11), 2)?;
        expect("ICC_ICSR_EL1.Priority of the LPI", 10, lab.vd_config(vlpi(11))?.priority().number())?;
        lab.expect_virtual(0, vlpi(11))
    }
}
