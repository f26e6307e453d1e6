//! The VM table: how it becomes valid and invalid, linear and in two levels.

use gicv5_arch::entry::{L1_VMTE, L2_VMTE_VMD};
use gicv5_arch::geometry::VmTableGeometry;
use gicv5_arch::irs::{IRS_VMAP_L2_VMTR, IRS_VMT_BASER, IRS_VMT_CFGR, IRS_VMT_STATUSR};
use gicv5_arch::register::Register;
use gicv5_arch::{Addr55_3, VmId};

use super::prelude::*;

/// A VM whose level-1 entry is the second one.
const FAR: VmId = VmId::new(200);

fn two_level<B: Bench>(lab: &Lab<'_, B>) -> Result<VmTable, Failure> {
    let geometry = lab.features.two_level_vm_table().ok_or(Failure::Exhausted { what: "two-level VM table" })?;
    lab.vm_table_of(geometry)
}

fn level1_is_valid<B: Bench>(lab: &Lab<'_, B>, table: &VmTable, index: u64) -> bool {
    L1_VMTE::new_with_raw_value(lab.load64(table.base, index * L1_VMTE::BYTES)).valid()
}

/// Maps a VM whose entry is filled, and wants it to be valid then or not.
fn expect_map<B: Bench>(lab: &Lab<'_, B>, vm: &Vm, valid: bool) -> Outcome {
    lab.map_vm(vm.id, MapAction::MakeValid)?;
    expect("L2_VMTE.VALID", valid, lab.vm_is_valid(vm))
}

fn address(table: TableBlock) -> Result<Addr55_3, Failure> {
    Addr55_3::new(table.address).map_err(|_| Failure::Exhausted { what: "aligned memory" })
}

group! { "vm_table";
    /// A linear table becomes valid when VALID is written, and the status register is idle then.
    fn linear_table_becomes_valid(lab) rules["VMT-1", "VMT-3", "GEN-16"] needs[Need::Virt] {
        let table = lab.vm_table()?;
        let baser: IRS_VMT_BASER = lab.read();
        expect("IRS_VMT_BASER.VALID", true, baser.valid())?;
        expect("IRS_VMT_BASER.ADDR", table.base.address.raw(), baser.addr().address().raw())?;
        expect("IRS_VMT_STATUSR.IDLE", true, lab.read::<IRS_VMT_STATUSR>().idle())?;
        expect("IRS_VMT_CFGR", table.geometry.cfgr().to_bits(), lab.read::<IRS_VMT_CFGR>().to_bits())
    }

    /// The last VM of a linear table has an entry like any other.
    fn last_vm_of_a_linear_table_is_reachable(lab) rules["VMT-8", "VM-1"] needs[Need::Virt] {
        let table = lab.vm_table()?;
        for id in [0, 1, 127, 128, 255] {
            let vm = lab.vm_entry(&table, VmId::new(id))?;
            expect_map(lab, &vm, true)?;
        }
        Ok(())
    }

    /// A table of the largest number of VM ID bits that IRS_IDR3 offers is taken.
    fn largest_table_is_taken(lab) rules["VMT-8", "VMT-10", "VMT-11"] needs[Need::Virt] {
        let bits = u32::from(lab.features.idr3.vm_id_bits());
        let geometry = VmTableGeometry::linear(bits).map_err(|_| Failure::Exhausted { what: "VM table of that shape" })?;
        let table = lab.vm_table_of(geometry)?;
        let last = VmId::new(((1u32 << bits) - 1) as u16);
        let vm = lab.vm_entry(&table, last)?;
        expect_map(lab, &vm, true)
    }

    /// A VM that is not mapped is none: its entry is filled, and nothing is valid until the command comes.
    fn filled_entry_is_no_vm_yet(lab) rules["VM-1", "VMT-17", "VPE-12", "RES-3"] needs[Need::Virt] {
        let vm = lab.filled_vm()?;
        lab.vpe_entry(&vm, VPES[0])?;
        expect("L2_VMTE.VALID", false, lab.vm_is_valid(&vm))?;
        lab.expect_vpe(VM, VPES[0], false)?;
        lab.expect_no_load(0, VM, VPES[0])
    }

    /// Without a VM table there is no VM to select and none to make resident.
    fn without_a_table_there_is_no_vm(lab) rules["VMT-3", "VMT-20", "VPE-12", "RES-3"] needs[Need::Virt] {
        lab.map_vm(VM, MapAction::MakeValid)?;
        lab.map_vpe(VM, VPES[0])?;
        lab.expect_vpe(VM, VPES[0], false)?;
        lab.expect_no_load(0, VM, VPES[0])
    }

    /// A write of VALID=1 over VALID=1 does nothing: the IRS goes on with the table it has.
    fn valid_table_keeps_its_address(lab) rules["VMT-5"] needs[Need::Virt] {
        let table = lab.vm_table()?;
        let other = lab.memory(table.geometry.base())?;
        lab.write(IRS_VMT_BASER::ZERO.with_addr(address(other)?).with_valid(true))?;
        let vm = lab.vm_entry(&table, VM)?;
        expect_map(lab, &vm, true)?;
        let word = lab.load64(other, u64::from(VM.raw_value()) * 32);
        expect("the first word of the entry in a table that is not used", 0, word)
    }

    /// IRS_VMT_CFGR is sampled when the table becomes valid: a write after that changes nothing.
    fn configuration_is_sampled(lab) rules["VMT-4"] needs[Need::Virt] {
        let table = lab.vm_table()?;
        lab.write(IRS_VMT_CFGR::ZERO)?;
        let vm = lab.vm_entry(&table, FAR)?;
        expect_map(lab, &vm, true)
    }

    /// Clearing VALID makes every VM and VPE invalid, and ends it as IDLE says.
    fn clearing_valid_ends_every_vm(lab) rules["VMT-6", "VPE-12", "RES-3"] needs[Need::Virt] {
        lab.world()?;
        lab.withdraw_vm_table()?;
        expect("IRS_VMT_BASER.VALID", false, lab.read::<IRS_VMT_BASER>().valid())?;
        lab.expect_vpe(VM, VPES[0], false)?;
        lab.expect_no_load(0, VM, VPES[0])
    }

    /// A second table may take the place of the first, and knows nothing of its VMs.
    fn second_table_starts_empty(lab) rules["VMT-6", "VMT-7", "VMT-1"] needs[Need::Virt] {
        lab.world()?;
        lab.withdraw_vm_table()?;
        let table = lab.vm_table()?;
        lab.expect_vpe(VM, VPES[0], false)?;
        let vm = lab.vm(&table, VM)?;
        expect("L2_VMTE.VALID", true, lab.vm_is_valid(&vm))?;
        lab.expect_vpe(VM, VPES[0], true)
    }

    /// A VM ID at or above 2^VM_ID_BITS names no VM.
    fn vm_id_out_of_range_names_none(lab) rules["VMT-20", "VPE-12", "RES-3"] needs[Need::Virt] {
        let world = lab.world()?;
        let beyond = VmId::new(VM.raw_value() + 256);
        lab.map_vm(beyond, MapAction::MakeInvalid)?;
        expect("L2_VMTE.VALID", true, lab.vm_is_valid(&world.vm))?;
        lab.expect_vpe(beyond, VPES[0], false)?;
        lab.expect_no_load(0, beyond, VPES[0])
    }

    /// Entries that are valid before the table is become valid with it.
    fn entries_may_be_valid_before_the_table(lab) rules["VMT-12"] needs[Need::Virt] {
        let table = lab.vm_table()?;
        lab.withdraw_vm_table()?;
        let vm = lab.vm_entry(&table, VM)?;
        lab.vpe_entry(&vm, VPES[0])?;
        let word = L2_VMTE_VMD::new_with_raw_value(lab.load64(vm.table, vm.offset));
        lab.store64(vm.table, vm.offset, word.with_valid(true).raw_value());
        lab.adopt_vm_table(table.base)?;
        lab.map_vpe(VM, VPES[0])?;
        lab.expect_vpe(VM, VPES[0], true)?;
        lab.load(0, VM, VPES[0])
    }

    /// A level-2 table becomes valid by IRS_VMAP_L2_VMTR: the IRS sets VALID in the level-1 entry.
    fn level_2_table_is_published(lab) rules["VMT-9", "VMT-13"] needs[Need::TwoLevelVmTable] {
        let mut table = two_level(lab)?;
        lab.fill_level1(&mut table, VM)?;
        expect("L1_VMTE.VALID", false, level1_is_valid(lab, &table, 0))?;
        lab.map_level2_vm_table(VM)?;
        expect("L1_VMTE.VALID", true, level1_is_valid(lab, &table, 0))?;
        let vm = lab.vm(&table, VM)?;
        expect("L2_VMTE.VALID", true, lab.vm_is_valid(&vm))?;
        lab.load(0, VM, VPES[1])
    }

    /// A VM behind a level-1 entry that is not valid is none, although the entry has an address.
    fn vm_behind_an_invalid_level_1_entry_is_none(lab) rules["VMT-20", "VMT-13"] needs[Need::TwoLevelVmTable] {
        let mut table = two_level(lab)?;
        lab.fill_level1(&mut table, VM)?;
        let vm = lab.vm_entry(&table, VM)?;
        expect_map(lab, &vm, false)?;
        lab.expect_vpe(VM, VPES[0], false)?;
        lab.expect_no_load(0, VM, VPES[0])
    }

    /// A second level-2 table is added while VMs of the first one run.
    fn level_2_table_is_added_to_a_live_table(lab) rules["VMT-13", "VMT-16"] needs[Need::TwoLevelVmTable] {
        let mut table = two_level(lab)?;
        lab.fill_level1(&mut table, VM)?;
        lab.map_level2_vm_table(VM)?;
        let near = lab.vm(&table, VM)?;
        lab.load(0, VM, VPES[0])?;
        lab.fill_level1(&mut table, FAR)?;
        lab.map_level2_vm_table(VmId::new(FAR.raw_value() + 1))?;
        expect("L1_VMTE.VALID", true, level1_is_valid(lab, &table, 1))?;
        let far = lab.vm(&table, FAR)?;
        expect("L2_VMTE.VALID", true, lab.vm_is_valid(&far))?;
        expect("L2_VMTE.VALID of the other", true, lab.vm_is_valid(&near))?;
        lab.expect_vpe(FAR, VPES[1], true)?;
        lab.expect_vpe(VM, VPES[1], true)
    }

    /// Making a level-1 entry valid that is valid already changes nothing: its VMs go on.
    fn valid_level_1_entry_is_left_alone(lab) rules["VMT-14"] needs[Need::TwoLevelVmTable] {
        let mut table = two_level(lab)?;
        lab.fill_level1(&mut table, VM)?;
        lab.map_level2_vm_table(VM)?;
        let vm = lab.vm(&table, VM)?;
        lab.map_level2_vm_table(OTHER)?;
        expect("L1_VMTE.VALID", true, level1_is_valid(lab, &table, 0))?;
        expect("L2_VMTE.VALID", true, lab.vm_is_valid(&vm))?;
        lab.expect_vpe(VM, VPES[0], true)
    }

    /// IRS_VMAP_L2_VMTR does nothing to a linear table: the entry that lies where a level-1 entry would is not touched.
    fn linear_table_has_no_level_1_entries(lab) rules["VMT-14"] needs[Need::Virt] {
        let table = lab.vm_table()?;
        let vm = lab.vm_entry(&table, VmId::new(0))?;
        lab.map_level2_vm_table(VmId::new(0))?;
        expect("L2_VMTE.VALID", false, lab.vm_is_valid(&vm))?;
        expect_map(lab, &vm, true)
    }

    /// A command with M=0 does nothing.
    fn level_2_command_without_m_does_nothing(lab) rules["VM-4", "VMT-13"] needs[Need::TwoLevelVmTable] {
        let mut table = two_level(lab)?;
        lab.fill_level1(&mut table, VM)?;
        lab.write(IRS_VMAP_L2_VMTR::ZERO.with_vm_id(VM))?;
        expect("L1_VMTE.VALID", false, level1_is_valid(lab, &table, 0))
    }

    /// Level-1 entries that are valid before the table is become valid with it.
    fn level_1_entry_may_be_valid_before_the_table(lab) rules["VMT-12", "VMT-9"] needs[Need::TwoLevelVmTable] {
        let mut table = two_level(lab)?;
        lab.withdraw_vm_table()?;
        lab.fill_level1(&mut table, FAR)?;
        let level1 = L1_VMTE::new_with_raw_value(lab.load64(table.base, L1_VMTE::BYTES));
        lab.store64(table.base, L1_VMTE::BYTES, level1.with_valid(true).raw_value());
        lab.adopt_vm_table(table.base)?;
        let vm = lab.vm(&table, FAR)?;
        expect("L2_VMTE.VALID", true, lab.vm_is_valid(&vm))?;
        lab.load(0, FAR, VPES[0])
    }
}
