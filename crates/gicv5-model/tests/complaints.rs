//! Who is told of complaints, when, and which PE they name.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests stand outside of test functions"
)]

use std::sync::{Arc, Mutex};

use gicv5_arch::geometry::VmTableGeometry;
use gicv5_arch::irs::{IRS_CR0, IRS_CR1, IRS_SYNCR, IRS_VMAP_VMR, IRS_VMT_STATUSR, IrsReg};
use gicv5_arch::{Iaffid, Spi, VmId};
use gicv5_hal::{Irs, IrsExt, IrsIndex, Pe, TableMemory};
use gicv5_model::config::MachineConfig;
use gicv5_model::event::Event;
use gicv5_model::hand::Vms;
use gicv5_model::violation::Complaint;
use gicv5_model::{Machine, ModelHost, PeIndex};

const IRS: IrsIndex = IrsIndex(0);
const PE0: PeIndex = PeIndex(0);
const PE1: PeIndex = PeIndex(1);

fn machine() -> Machine {
    let machine = Machine::new(MachineConfig::new(2, 64).with_virtualisation()).unwrap();
    ModelHost::on(&machine).switch_on().unwrap();
    machine
}

/// What a listener has been told: rule and PE.
type Told = Arc<Mutex<Vec<(&'static str, Option<PeIndex>)>>>;

fn rule_and_pe(complaint: &Complaint) -> (&'static str, Option<PeIndex>) {
    let (Complaint::Violation(said) | Complaint::Remark(gicv5_model::violation::Remark(said))) = complaint;
    (said.rule, said.pe)
}

fn listen(machine: &Machine) -> Told {
    let told = Told::default();
    let kept = told.clone();
    machine.listen(move |_, complaint| kept.lock().unwrap().push(rule_and_pe(complaint)));
    told
}

/// Two commands of the same status register, of which the second comes too early (GEN-18).
fn hurry(machine: &Machine) {
    machine.write(IRS, IRS_SYNCR::ZERO.with_sync(true));
    machine.write(IRS, IRS_SYNCR::ZERO.with_sync(true));
}

#[test]
fn a_violation_of_a_command_names_the_pe_that_wrote_it() {
    let machine = machine();
    machine.on_pe(PE1, |_| hurry(&machine)).unwrap();
    let said = machine.take_violations();
    assert_eq!((said[0].rule, said[0].pe), ("GEN-18", Some(PE1)));
    assert!(said[0].to_string().contains("(PE 1, tick "), "{}", said[0]);
}

#[test]
fn a_violation_that_shows_when_a_command_completes_names_the_pe_that_wrote_it() {
    // COH-1: PE 1 stores an entry, and PE 0 makes the VM valid without the barrier of PE 1. The poll is of PE 1.
    let machine = machine();
    let host = ModelHost::on(&machine);
    let vms = Vms::new(&host, VmTableGeometry::linear(4).unwrap()).unwrap();
    machine.on_pe(PE1, |_| machine.store64(&vms.table.block, 0, 0)).unwrap();
    machine.write(IRS, IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(VmId::new(0)));
    machine.on_pe(PE1, |_| while !machine.read::<IRS_VMT_STATUSR>(IRS).idle() {}).unwrap();
    let said = machine.take_violations();
    assert!(said.iter().any(|said| said.rule == "COH-1"));
    assert!(said.iter().all(|said| said.pe == Some(PE0)), "{said:?}");
}

#[test]
fn an_instruction_and_a_barrier_are_of_the_pe_of_their_handle_wherever_the_thread_is() {
    // RTE-4.
    let machine = machine();
    let there = machine.pe(PE1).unwrap();
    let pe = Pe::new(&there);
    pe.cdaff(Spi::new(5).unwrap().into(), Iaffid::new(77));
    machine.advance(100_000);
    assert_eq!(machine.take_remarks()[0].0.pe, Some(PE1));
}

#[test]
fn an_access_to_a_register_of_an_irs_is_told_with_its_pe() {
    let machine = machine();
    machine.observe(10);
    machine.on_pe(PE1, |_| machine.read::<IRS_CR0>(IRS)).unwrap();
    machine.write(IRS, IRS_CR1::ZERO);
    let accesses = machine.take_events().into_iter().filter_map(|(_, event)| match event {
        Event::FrameRead { pe, offset, .. } | Event::FrameWrite { pe, offset, .. } => Some((pe, offset)),
        _ => None,
    });
    assert_eq!(accesses.collect::<Vec<_>>(), [(PE1, IrsReg::IRS_CR0.offset()), (PE0, IrsReg::IRS_CR1.offset())]);
}

#[test]
fn a_listener_is_told_of_each_complaint_before_the_access_returns() {
    let machine = machine();
    let told = listen(&machine);
    machine.on_pe(PE1, |_| hurry(&machine)).unwrap();
    assert_eq!(*told.lock().unwrap(), [("GEN-18", Some(PE1))]);
    machine.advance(1_000);
    machine.stop_listening();
    hurry(&machine);
    assert_eq!(told.lock().unwrap().len(), 1);
    assert_eq!(machine.take_violations().len(), 2, "they are kept as ever");
}

#[test]
fn a_listener_may_use_the_machine_and_is_told_afterwards_of_what_it_does_wrong() {
    let machine = machine();
    let told = Told::default();
    let kept = told.clone();
    machine.listen(move |machine, complaint| {
        let first = kept.lock().unwrap().is_empty();
        if first {
            machine.advance(1_000);
            assert!(machine.read::<IRS_CR0>(IRS).idle());
            machine.on_pe(PE1, |_| hurry(machine)).unwrap();
        }
        kept.lock().unwrap().push(rule_and_pe(complaint));
    });
    hurry(&machine);
    assert_eq!(*told.lock().unwrap(), [("GEN-18", Some(PE0)), ("GEN-18", Some(PE1))]);
}

#[test]
fn a_listener_that_panics_is_told_of_the_next_complaint() {
    let machine = machine();
    let told = Told::default();
    let kept = told.clone();
    machine.listen(move |_, complaint| {
        kept.lock().unwrap().push(rule_and_pe(complaint));
        assert!(kept.lock().unwrap().len() > 1, "the first is too much for it");
    });
    let panicked = std::panic::catch_unwind(|| hurry(&machine));
    assert!(panicked.is_err());
    machine.advance(1_000);
    hurry(&machine);
    assert_eq!(told.lock().unwrap().len(), 2);
}

#[test]
fn complaints_of_several_threads_are_told_one_after_the_other() {
    let machine = machine();
    let told = listen(&machine);
    std::thread::scope(|scope| {
        for pe in [PE0, PE1] {
            let machine = &machine;
            scope.spawn(move || {
                for _ in 0..100 {
                    machine.on_pe(pe, |_| machine.read32(gicv5_hal::Frame::config(IRS), 0x8ff0)).unwrap();
                    machine.on_pe(pe, |_| hurry(machine)).unwrap();
                }
            });
        }
    });
    let told = told.lock().unwrap();
    let kept: Vec<_> = machine.take_violations().iter().map(|said| (said.rule, said.pe)).collect();
    assert!(kept.len() >= 198, "{}", kept.len());
    assert_eq!(*told, kept, "in the order in which they came");
}

#[test]
fn a_state_that_is_put_back_is_listened_to_and_one_that_is_saved_is_not() {
    let machine = machine();
    let before = machine.save();
    let told = listen(&machine);
    assert!(machine.save() == before);
    machine.restore(before);
    hurry(&machine);
    assert_eq!(told.lock().unwrap().len(), 1);
}
