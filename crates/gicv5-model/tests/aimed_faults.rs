//! Faults that are meant for a request by what it asks for.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]

use gicv5_arch::entry::L2_VMTE;
use gicv5_arch::geometry::VmTableGeometry;
use gicv5_arch::irs::IrsReg;
use gicv5_arch::sysreg::ICH_CONTEXTR_EL2;
use gicv5_arch::{VmId, VpeId};
use gicv5_hal::IrsIndex;
use gicv5_model::config::MachineConfig;
use gicv5_model::fault::{Aim, Fault};
use gicv5_model::hand::Vms;
use gicv5_model::{Machine, ModelHost, PeIndex};

const VMS: [VmId; 2] = [VmId::new(0), VmId::new(1)];

/// Two VMs are made, and the first VPE of each becomes resident.
fn life(aim: Aim, fault: Fault) -> Machine {
    let machine = Machine::new(MachineConfig::new(1, 0).with_virtualisation()).unwrap();
    let host = ModelHost::start(&machine, 0..16).unwrap();
    machine.aim_fault(aim, fault);
    let mut vms = Vms::new(&host, VmTableGeometry::linear(4).unwrap()).unwrap();
    for vm in VMS {
        let _ = vms.make_vm(vm, L2_VMTE::ZERO, (0..3).map(VpeId::new)).unwrap();
        host.on_pe(PeIndex(0), |pe| {
            for context in [ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(vm), ICH_CONTEXTR_EL2::ZERO] {
                pe.write(context);
                pe.isb();
            }
        });
    }
    machine
}

fn struck(aim: Aim, fault: Fault) -> Vec<String> {
    let machine = life(aim, fault);
    machine.take_struck_faults().iter().map(|(point, fault)| format!("{} {fault}", point.request)).collect()
}

#[test]
fn the_second_command_of_a_kind_for_a_vm_fails_and_no_other() {
    let second = |vm| Aim::command(IrsReg::IRS_VMAP_VPER).of_vm(vm).after(1);
    let [first, other] = VMS.map(|vm| struck(second(vm), Fault::Ignored));
    assert_eq!(first, ["IRS_VMAP_VPER VM 0 VPE 1 completes without an effect"]);
    assert_eq!(other, ["IRS_VMAP_VPER VM 1 VPE 1 completes without an effect"]);
}

#[test]
fn a_fault_is_meant_for_a_vpe_or_an_irs_or_a_request_for_residency() {
    let vper = Aim::command(IrsReg::IRS_VMAP_VPER);
    let second_vpe = struck(vper.of_vpe(VpeId::new(1)).after(1), Fault::Late(5));
    assert_eq!(second_vpe, ["IRS_VMAP_VPER VM 1 VPE 1 completes 5 ticks late"]);
    assert_eq!(struck(Aim::command(IrsReg::IRS_VMAP_VMR), Fault::Late(5)).len(), 1);
    assert_eq!(struck(vper.on_irs(IrsIndex(0)), Fault::Late(5)).len(), 1);
    assert_eq!(struck(vper.on_irs(IrsIndex(1)), Fault::Late(5)), [""; 0]);
    let resident = struck(Aim::residency().of_vm(VMS[1]), Fault::Refused);
    assert_eq!(resident, ["residency of VM 1 VPE 0 on PE 0 is refused"]);
}

#[test]
fn a_fault_that_the_request_cannot_have_or_that_names_what_never_comes_waits_until_the_hardware_recovers() {
    let aim = Aim::command(IrsReg::IRS_VMAP_VMR);
    for (aim, fault) in [(aim, Fault::Refused), (aim.of_vm(VmId::new(9)), Fault::Never), (aim.after(7), Fault::Never)] {
        let machine = life(aim, fault);
        assert_eq!((machine.take_struck_faults(), machine.aimed_faults().len()), (vec![], 1));
        machine.recover();
        assert_eq!(machine.aimed_faults(), []);
    }
}

#[test]
fn each_of_several_faults_counts_the_requests_for_itself() {
    let machine = Machine::new(MachineConfig::new(1, 0).with_virtualisation()).unwrap();
    let host = ModelHost::start(&machine, 0..16).unwrap();
    let aim = Aim::command(IrsReg::IRS_VMAP_VPER);
    for others in [2, 0, 1] {
        machine.aim_fault(aim.after(others), Fault::Late(others));
    }
    let mut vms = Vms::new(&host, VmTableGeometry::linear(4).unwrap()).unwrap();
    let _ = vms.make_vm(VMS[0], L2_VMTE::ZERO, (0..4).map(VpeId::new)).unwrap();
    let struck: Vec<_> = machine.take_struck_faults().iter().map(|(_, fault)| *fault).collect();
    assert_eq!(struck, [Fault::Late(0), Fault::Late(1), Fault::Late(2)]);
}
