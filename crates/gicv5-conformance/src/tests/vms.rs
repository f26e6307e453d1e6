//! VMs: how they become valid and invalid, and what goes with them.

use gicv5_arch::entry::{L2_VMTE, L2_VMTE_IST, VPETE};
use gicv5_arch::irs::{IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMAP_VPER};

use super::prelude::*;

group! { "vms";
    /// The IRS sets VALID in a VM's entry when the VM becomes valid.
    fn vm_becomes_valid(lab) rules["VM-1"] needs[Need::Virt] {
        let table = lab.vm_table()?;
        let vm = lab.vm_entry(&table, VM)?;
        let words = [0, 1].map(|n| lab.load64(vm.table, vm.offset + n * 8));
        lab.map_vm(VM, MapAction::MakeValid)?;
        expect("L2_VMTE.VALID", true, lab.vm_is_valid(&vm))?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        // All that the IRS changes is VALID (VM-7).
        expect("L2_VMTE, first word", words[0], lab.load64(vm.table, vm.offset))?;
        expect("L2_VMTE, second word", words[1], lab.load64(vm.table, vm.offset + 8))
    }

    /// Making a VM invalid clears VALID and takes its VPEs along.
    fn vm_becomes_invalid(lab) rules["VM-2", "VM-9", "VPE-12"] needs[Need::Virt] {
        let world = lab.world()?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        expect("L2_VMTE.VALID", false, lab.vm_is_valid(&world.vm))?;
        lab.expect_vpe(VM, VPES[0], false)?;
        lab.expect_vpe(VM, VPES[1], false)?;
        lab.expect_no_load(0, VM, VPES[0])
    }

    /// Making one VM invalid leaves its neighbour in the table alone.
    fn neighbour_of_an_invalid_vm_goes_on(lab) rules["VM-2", "VMT-8"] needs[Need::Virt] {
        let world = lab.world()?;
        let (other, ..) = lab.vm_with_ists(&world.table, OTHER)?;
        lab.map_vm(OTHER, MapAction::MakeInvalid)?;
        expect("L2_VMTE.VALID", false, lab.vm_is_valid(&other))?;
        expect("L2_VMTE.VALID of the neighbour", true, lab.vm_is_valid(&world.vm))?;
        lab.expect_vpe(VM, VPES[1], true)?;
        lab.inject(VM, vlpi(1), true);
        lab.load(0, VM, VPES[0])?;
        lab.expect_virtual(0, vlpi(1))
    }

    /// Making a valid VM valid again changes nothing: what is pending stays pending.
    fn valid_vm_is_not_made_valid_again(lab) rules["VM-3"] needs[Need::Virt] {
        lab.world()?;
        lab.inject(VM, vspi(2), true);
        lab.map_vm(VM, MapAction::MakeValid)?;
        lab.load(0, VM, VPES[0])?;
        lab.expect_virtual(0, vspi(2))
    }

    /// Making an invalid VM invalid changes nothing: it can still become valid.
    fn invalid_vm_is_not_made_invalid_again(lab) rules["VM-3"] needs[Need::Virt] {
        let vm = lab.filled_vm()?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        expect("L2_VMTE.VALID", false, lab.vm_is_valid(&vm))?;
        lab.map_vm(VM, MapAction::MakeValid)?;
        expect("L2_VMTE.VALID", true, lab.vm_is_valid(&vm))
    }

    /// A map command with M=0 does nothing, be it for a VM, a VPE or an IST.
    fn commands_without_m_do_nothing(lab) rules["VM-4"] needs[Need::Virt] {
        let vm = lab.filled_vm()?;
        lab.write(IRS_VMAP_VMR::ZERO.with_vm_id(VM))?;
        expect("L2_VMTE.VALID", false, lab.vm_is_valid(&vm))?;
        lab.map_vm(VM, MapAction::MakeValid)?;
        lab.write(IRS_VMAP_VMR::ZERO.with_u(MapAction::MakeInvalid).with_vm_id(VM))?;
        expect("L2_VMTE.VALID", true, lab.vm_is_valid(&vm))?;
        lab.vpe_entry(&vm, VPES[0])?;
        lab.write(IRS_VMAP_VPER::ZERO.with_vm_id(VM).with_vpe_id(VPES[0]))?;
        expect("VPETE.VALID", false, lab.vpe_is_valid(&vm, VPES[0]))?;
        let geometry = lab.virtual_geometry(IrsIntType::Spi)?;
        lab.describe_ist(&vm, IrsIntType::Spi, geometry, preset(10, VPES[0]))?;
        lab.write(IRS_VMAP_VISTR::ZERO.with_int_type(IrsIntType::Spi).with_vm_id(VM))?;
        expect("L2_VMTE.SPI_IST_VALID", false, lab.ist_is_valid(&vm, IrsIntType::Spi))
    }

    /// What is injected into a VM that is not valid is dropped: nothing comes when it becomes valid.
    fn invalid_vm_drops_what_is_injected(lab) rules["VM-12", "INS-18", "INJ-8"] needs[Need::Virt] {
        let table = lab.vm_table()?;
        lab.start()?;
        lab.inject(VM, vlpi(1), true);
        lab.vm_with_ists(&table, VM)?;
        lab.load(0, VM, VPES[0])?;
        lab.expect_vd_pending(vlpi(1), false)?;
        lab.expect_no_virtual(0)
    }

    /// An IST and a VPE whose valid bits software has set while the VM was invalid become valid with it.
    fn entries_may_be_valid_before_the_vm(lab) rules["IST-3", "VM-7", "VM-8"] needs[Need::Virt] {
        let table = lab.vm_table()?;
        let vm = lab.vm_entry(&table, VM)?;
        lab.vpe_entry(&vm, VPES[0])?;
        let vpete = VPETE::new_with_raw_value(lab.load64(vm.vpet, 0));
        lab.store64(vm.vpet, 0, vpete.with_valid(true).raw_value());
        let geometry = lab.virtual_geometry(IrsIntType::Lpi)?;
        lab.describe_ist(&vm, IrsIntType::Lpi, geometry, preset(10, VPES[0]))?;
        let place = vm.offset + L2_VMTE::ist_word(IrsIntType::Lpi) as u64 * 8;
        let word = L2_VMTE_IST::new_with_raw_value(lab.load64(vm.table, place));
        lab.store64(vm.table, place, word.with_ist_valid(true).raw_value());
        lab.start()?;
        lab.map_vm(VM, MapAction::MakeValid)?;
        lab.expect_vpe(VM, VPES[0], true)?;
        lab.inject(VM, vlpi(7), true);
        lab.load(0, VM, VPES[0])?;
        lab.expect_virtual(0, vlpi(7))
    }

    /// When a VM becomes invalid the IRS writes the states of its interrupts back to the ISTs.
    fn invalid_vm_is_written_back(lab) rules["VM-2", "VM-6", "COH-9"] needs[Need::Virt] {
        let world = lab.resident()?;
        lab.vd_priority(vlpi(3), 6)?;
        lab.vd_target(vlpi(3), VPES[1]);
        lab.vd_enable(vlpi(3), false);
        lab.put(0)?;
        lab.inject(VM, vlpi(3), true);
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        let entry = lab.entry_in_memory(&world.lpis, 3)?;
        expect("L2_ISTE.PENDING", true, entry.pending())?;
        expect("L2_ISTE.ENABLE", false, entry.enable())?;
        expect("L2_ISTE.PRIORITY", 6, entry.priority().number())?;
        expect("L2_ISTE.IAFFID", VPES[1].raw_value(), entry.iaffid().raw_value())
    }

    /// A VM ID that is used again has nothing of the VM that had it before.
    fn vm_id_is_used_again(lab) rules["VM-6", "VM-14", "LIFE-7"] needs[Need::Virt] {
        let world = lab.world()?;
        lab.inject(VM, vlpi(1), true);
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        for n in 0..4 {
            lab.store64(world.vm.table, world.vm.offset + n * 8, 0);
        }
        lab.vm_with_ists(&world.table, VM)?;
        lab.load(0, VM, VPES[0])?;
        lab.expect_vd_pending(vlpi(1), false)?;
        lab.expect_no_virtual(0)?;
        lab.inject_and_see(vlpi(1))
    }

    /// The same interrupt number in two VMs is two interrupts.
    fn vms_share_no_interrupts(lab) rules["GEN-3", "ISM-11", "INS-15"] needs[Need::Virt] {
        lab.two_vms()?;
        lab.inject(OTHER, vspi(9), true);
        lab.load(0, VM, VPES[0])?;
        lab.expect_vd_pending(vspi(9), false)?;
        lab.expect_no_virtual(0)?;
        lab.put(0)?;
        lab.load(0, OTHER, VPES[0])?;
        lab.expect_vd_pending(vspi(9), true)?;
        lab.expect_virtual(0, vspi(9))
    }
}
