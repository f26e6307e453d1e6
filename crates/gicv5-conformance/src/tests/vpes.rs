//! VPEs: how they become valid, their selection and their configuration.

use gicv5_arch::VpeId;
use gicv5_arch::irs::{IRS_VPE_CR0, IRS_VPE_DBR, IRS_VPE_SELR, IRS_VPE_STATUSR};

use super::prelude::*;

/// A VPE that is in range and has no entry.
const ABSENT: VpeId = VpeId::new(1);

/// Wants the settings of a VPE to name this doorbell.
fn expect_settings<B: Bench>(lab: &Lab<'_, B>, vpe: VpeId, settings: IRS_VPE_DBR) -> Outcome {
    lab.expect_vpe(VM, vpe, true)?;
    let dbr: IRS_VPE_DBR = lab.read();
    expect("IRS_VPE_DBR.DBV", settings.dbv(), dbr.dbv())?;
    if settings.dbv() {
        expect("IRS_VPE_DBR.INTID", settings.intid().id(), dbr.intid().id())?;
        expect("IRS_VPE_DBR.DBPM", settings.dbpm().number(), dbr.dbpm().number())?;
    }
    Ok(())
}

fn zero<B: Bench>(lab: &Lab<'_, B>, table: TableBlock) {
    for offset in (0..table.size).step_by(8) {
        lab.store64(table, offset, 0);
    }
}

/// A VM with one VPE, and the descriptors of both.
fn vm_and_descriptor<B: Bench>(lab: &Lab<'_, B>) -> Result<(Vm, TableBlock), Failure> {
    let vm = lab.filled_vm()?;
    lab.map_vm(VM, MapAction::MakeValid)?;
    let descriptor = lab.vpe_entry(&vm, VPES[0])?;
    lab.map_vpe(VM, VPES[0])?;
    Ok((vm, descriptor))
}

group! { "vpes";
    /// The IRS sets VALID in a VPE's entry when the VPE becomes valid, and in no other.
    fn vpe_becomes_valid(lab) rules["VPE-5", "VPE-1"] needs[Need::Virt] {
        let vm = lab.filled_vm()?;
        lab.map_vm(VM, MapAction::MakeValid)?;
        lab.vpe_entry(&vm, VPES[0])?;
        lab.vpe_entry(&vm, VPES[1])?;
        lab.expect_vpe(VM, VPES[1], false)?;
        lab.map_vpe(VM, VPES[1])?;
        expect("VPETE.VALID", true, lab.vpe_is_valid(&vm, VPES[1]))?;
        expect("VPETE.VALID of the other", false, lab.vpe_is_valid(&vm, VPES[0]))?;
        lab.expect_vpe(VM, VPES[1], true)?;
        lab.expect_vpe(VM, VPES[0], false)
    }

    /// A VPE of a VM that is not valid does not become valid.
    fn vpe_of_an_invalid_vm_stays_invalid(lab) rules["VPE-6"] needs[Need::Virt] {
        let vm = lab.filled_vm()?;
        lab.vpe_entry(&vm, VPES[0])?;
        lab.map_vpe(VM, VPES[0])?;
        expect("VPETE.VALID", false, lab.vpe_is_valid(&vm, VPES[0]))?;
        lab.map_vm(VM, MapAction::MakeValid)?;
        lab.expect_vpe(VM, VPES[0], false)
    }

    /// Making a valid VPE valid again changes nothing: its doorbell settings stay.
    fn valid_vpe_is_not_made_valid_again(lab) rules["VPE-6", "VPE-9"] needs[Need::Virt] {
        lab.world()?;
        lab.map_vpe(VM, VPES[1])?;
        expect_settings(lab, VPES[1], lab.doorbell(DOORBELLS[1])?)
    }

    /// A VPE ID without an entry, or at or above 2^VPE_ID_BITS, names no VPE.
    fn vpe_id_without_an_entry_names_none(lab) rules["VPE-1", "VPE-2", "VPE-4", "VPE-12", "RES-3"] needs[Need::Virt] {
        lab.world()?;
        for id in [1, 2, 4, 7, 0xffff] {
            lab.expect_vpe(VM, VPES[1], true)?;
            lab.expect_vpe(VM, VpeId::new(id), false)?;
            lab.expect_no_load(0, VM, VpeId::new(id))?;
        }
        lab.expect_vpe(VM, VPES[1], true)
    }

    /// A VPE that is out of range does not become valid, and nothing else does in its place.
    fn vpe_out_of_range_does_not_become_valid(lab) rules["VPE-4"] needs[Need::Virt] {
        let vm = lab.filled_vm()?;
        lab.map_vm(VM, MapAction::MakeValid)?;
        lab.vpe_entry(&vm, VPES[0])?;
        lab.map_vpe(VM, VpeId::new(4))?;
        lab.expect_vpe(VM, VpeId::new(4), false)?;
        expect("VPETE.VALID of VPE 0", false, lab.vpe_is_valid(&vm, VPES[0]))
    }

    /// A selection shows the settings of the VPE that it names.
    fn selection_shows_the_settings(lab) rules["VPE-12", "DB-6"] needs[Need::Virt] {
        lab.world()?;
        let settings = lab.doorbell(DOORBELLS[1])?.with_dbpm(lab.priority(17));
        lab.set_doorbell(VM, VPES[1], settings)?;
        expect_settings(lab, VPES[0], lab.doorbell(DOORBELLS[0])?)?;
        expect_settings(lab, VPES[1], settings)
    }

    /// A selection with S=0 does not select the VPE that it names.
    fn selection_without_s_selects_nothing(lab) rules["VPE-14"] needs[Need::Virt] {
        lab.world()?;
        lab.expect_vpe(VM, VPES[0], true)?;
        lab.write(IRS_VPE_SELR::ZERO.with_vm_id(VM).with_vpe_id(VPES[1]))?;
        lab.write(lab.doorbell(DOORBELLS[0])?.with_dbpm(lab.priority(3)))?;
        expect_settings(lab, VPES[1], lab.doorbell(DOORBELLS[1])?)
    }

    /// Settings written after the selected VPE has gone are not written, and V says so.
    fn settings_of_a_vpe_that_has_gone_are_not_written(lab) rules["VPE-13", "DB-6"] needs[Need::Virt] {
        lab.world()?;
        lab.expect_vpe(VM, VPES[0], true)?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        lab.write(lab.doorbell(DOORBELLS[0])?)?;
        expect("IRS_VPE_STATUSR.V", false, lab.read::<IRS_VPE_STATUSR>().v())
    }

    /// The same for IRS_VPE_CR0.
    fn configuration_of_a_vpe_that_has_gone_is_not_written(lab) rules["VPE-13"] needs[Need::Virt] {
        lab.world()?;
        lab.expect_vpe(VM, VPES[0], true)?;
        lab.write(IRS_VPE_CR0::ZERO.with_dps(true))?;
        expect("IRS_VPE_STATUSR.V", true, lab.read::<IRS_VPE_STATUSR>().v())?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        lab.write(IRS_VPE_CR0::ZERO.with_dps(true))?;
        expect("IRS_VPE_STATUSR.V", false, lab.read::<IRS_VPE_STATUSR>().v())
    }

    /// A VPE that has just become valid has no doorbell settings.
    fn new_vpe_has_no_settings(lab) rules["VPE-9", "VPE-8", "VPE-10"] needs[Need::Virt] {
        vm_and_descriptor(lab)?;
        expect_settings(lab, VPES[0], IRS_VPE_DBR::ZERO)
    }

    /// A VPE that becomes valid again, with its VM, has lost its settings.
    fn settings_are_gone_after_a_new_validation(lab) rules["VPE-9", "VPE-10", "VPE-8", "VM-11", "SAVE-11"] needs[Need::Virt] {
        let (vm, descriptor) = vm_and_descriptor(lab)?;
        lab.set_doorbell(VM, VPES[0], lab.doorbell(DOORBELLS[0])?)?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        // Both descriptors have to be zero again; the simplest new VM descriptor is that of a new entry.
        zero(lab, descriptor);
        let vpete = lab.load64(vm.vpet, 0) & !1;
        lab.store64(vm.vpet, 0, vpete);
        let word = lab.load64(vm.table, vm.offset);
        if let Some(table) = lab.table_at(word & 0x00ff_ffff_ffff_fff8) {
            zero(lab, table);
        }
        lab.map_vm(VM, MapAction::MakeValid)?;
        lab.map_vpe(VM, VPES[0])?;
        expect_settings(lab, VPES[0], IRS_VPE_DBR::ZERO)
    }

    /// IRS_VPE_HPPIR has the candidate of the selected VPE, resident or not, and none when there is none.
    fn candidate_is_reported(lab) rules["VPE-16", "HPPI-1", "HPPI-2"] needs[Need::Virt] {
        lab.world()?;
        lab.expect_candidate(VM, VPES[0], None)?;
        lab.inject(VM, vspi(12), true);
        lab.expect_candidate(VM, VPES[0], Some(vspi(12)))?;
        lab.expect_candidate(VM, VPES[1], None)?;
        lab.inject(VM, vspi(12), false);
        lab.expect_candidate(VM, VPES[0], None)
    }

    /// The candidate is the most urgent one, and follows every change of priority, enable and target.
    fn candidate_follows_every_change(lab) rules["HPPI-1", "HPPI-2", "RTE-5"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_priority(vlpi(2), 5)?;
        lab.put(0)?;
        lab.inject(VM, vlpi(1), true);
        lab.inject(VM, vlpi(2), true);
        lab.expect_candidate(VM, VPES[0], Some(vlpi(2)))?;
        lab.load(0, VM, VPES[1])?;
        lab.vd_priority(vlpi(2), 20)?;
        lab.expect_candidate(VM, VPES[0], Some(vlpi(1)))?;
        lab.vd_enable(vlpi(1), false);
        lab.expect_candidate(VM, VPES[0], Some(vlpi(2)))?;
        lab.vd_target(vlpi(2), VPES[1]);
        lab.expect_candidate(VM, VPES[0], None)?;
        lab.expect_virtual(0, vlpi(2))
    }

    /// An interrupt that targets a VPE that is not valid is nobody's candidate.
    fn interrupt_of_an_invalid_vpe_is_nobodys(lab) rules["VPE-20", "RTE-4"] needs[Need::Virt] {
        let world = lab.resident()?;
        lab.vd_target(vlpi(4), ABSENT);
        lab.inject(VM, vlpi(4), true);
        lab.expect_no_virtual(0)?;
        lab.put(0)?;
        lab.expect_candidate(VM, VPES[1], None)?;
        // Whether it has waited is open; once the VPE is there it can be injected.
        lab.vpe_entry(&world.vm, ABSENT)?;
        lab.map_vpe(VM, ABSENT)?;
        lab.inject(VM, vlpi(4), true);
        lab.load(0, VM, ABSENT)?;
        lab.expect_virtual(0, vlpi(4))
    }

    /// Interrupts of a VM know their target by VPE ID.
    fn affinity_is_a_vpe_id(lab) rules["VPE-19", "INS-13"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_target(vspi(5), VPES[1]);
        expect("ICC_ICSR_EL1.IAFFID", VPES[1].raw_value(), lab.vd_config(vspi(5))?.iaffid().raw_value())?;
        expect("ICC_ICSR_EL1.IAFFID", VPES[0].raw_value(), lab.vd_config(vspi(6))?.iaffid().raw_value())
    }

    /// VPEs of the same number in two VMs are two VPEs.
    fn vpes_of_two_vms_are_apart(lab) rules["VPE-12", "DB-6"] needs[Need::Virt] {
        let world = lab.world()?;
        lab.vm(&world.table, OTHER)?;
        lab.expect_vpe(OTHER, VPES[0], true)?;
        expect("IRS_VPE_DBR.DBV", false, lab.read::<IRS_VPE_DBR>().dbv())?;
        expect_settings(lab, VPES[0], lab.doorbell(DOORBELLS[0])?)
    }
}
