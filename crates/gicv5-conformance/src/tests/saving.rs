//! Saving a VM's interrupts, and restoring them.

use super::prelude::*;

group! { "saving";
    /// A save writes the states of a VM's interrupts to its ISTs, and the VM stays valid.
    fn save_writes_the_states(lab) rules["SAVE-1", "SAVE-6", "IST-25"] needs[Need::Virt] {
        let world = lab.resident()?;
        lab.vd_priority(vlpi(3), 21)?;
        lab.vd_target(vlpi(3), VPES[1]);
        lab.vd_handling(vlpi(3), HandlingMode::Level);
        lab.vd_enable(vspi(4), false);
        lab.put(0)?;
        lab.inject(VM, vlpi(3), true);
        lab.inject(VM, vspi(4), true);
        lab.save(VM)?;
        expect("L2_VMTE.VALID", true, lab.vm_is_valid(&world.vm))?;
        lab.expect_candidate(VM, VPES[1], Some(vlpi(3)))?;
        // Only a VM that is invalid lets everybody read its ISTs; what has been saved is there even if nothing is written then.
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        let written = preset(21, VPES[1]).with_hm(HandlingMode::Level).with_pending(true);
        let architected = |entry: L2_ISTE| entry.raw_value() & !0x600;
        expect("L2_ISTE of the LPI", architected(written), architected(lab.entry_in_memory(&world.lpis, 3)?))?;
        let written = preset(10, VPES[0]).with_enable(false).with_pending(true);
        expect("L2_ISTE of the SPI", architected(written), architected(lab.entry_in_memory(&world.spis, 4)?))
    }

    /// A VM that nothing has happened to since it was saved is quiescent.
    fn saved_vm_is_quiescent(lab) rules["SAVE-2", "SAVE-3"] needs[Need::Virt] {
        lab.world()?;
        lab.save(VM)?;
        lab.expect_quiescent(VM, true)
    }

    /// An interrupt that comes after the save ends the quiet, until the next save.
    fn injection_ends_the_quiet(lab) rules["SAVE-4", "SAVE-2"] needs[Need::Virt] {
        lab.world()?;
        lab.save(VM)?;
        lab.inject(VM, vspi(2), true);
        lab.expect_quiescent(VM, false)?;
        lab.save(VM)
    }

    /// So does what a guest changes.
    fn guest_ends_the_quiet(lab) rules["SAVE-4", "SAVE-3"] needs[Need::Virt] {
        lab.world()?;
        lab.save(VM)?;
        lab.load(0, VM, VPES[0])?;
        lab.expect_quiescent(VM, true)?;
        lab.vd_priority(vlpi(2), 3)?;
        lab.put(0)?;
        lab.expect_quiescent(VM, false)
    }

    /// What happens to another VM does not end the quiet.
    fn other_vm_does_not_end_the_quiet(lab) rules["SAVE-4"] needs[Need::Virt] {
        lab.two_vms()?;
        lab.save(VM)?;
        lab.inject(OTHER, vlpi(2), true);
        lab.expect_quiescent(VM, true)?;
        lab.expect_quiescent(OTHER, false)
    }

    /// A saved VM is restored: states without Pending go into the ISTs of an invalid VM, and VDPEND brings Pending back.
    fn saved_vm_is_restored(lab) rules["SAVE-8", "SAVE-9", "SAVE-10", "IST-22", "ISM-6"] needs[Need::Virt] {
        let world = lab.resident()?;
        lab.vd_priority(vlpi(3), 4)?;
        lab.put(0)?;
        lab.inject(VM, vlpi(3), true);
        lab.save(VM)?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        let saved = lab.entry_in_memory(&world.lpis, 3)?;
        expect("L2_ISTE.PENDING", true, saved.pending())?;
        // A new VM takes what the old one left.
        let (vm, lpis, _) = lab.vm_with_ists(&world.table, VM)?;
        lab.map_ist(VM, IrsIntType::Lpi, MapAction::MakeInvalid)?;
        let (table, offset) = lpis.entry(3).ok_or(Failure::Exhausted { what: "IST entry" })?;
        lab.store32(table, offset, saved.with_pending(false).with_active(true).raw_value() & !0x600);
        lab.map_ist(VM, IrsIntType::Lpi, MapAction::MakeValid)?;
        expect("L2_VMTE.LPI_IST_VALID", true, lab.ist_is_valid(&vm, IrsIntType::Lpi))?;
        lab.inject(VM, vlpi(3), true);
        lab.load(0, VM, VPES[0])?;
        lab.expect_no_virtual(0)?;
        lab.vd_deactivate(vlpi(3));
        lab.expect_virtual(0, vlpi(3))?;
        expect("ICC_ICSR_EL1.Priority", 4, lab.vd_config(vlpi(3))?.priority().number())
    }
}
