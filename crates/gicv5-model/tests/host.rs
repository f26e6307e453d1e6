//! Several VMs on one host: what they share, and who has to account for it.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]

mod hand;

use gicv5_arch::{Lpi, PhysAddr, VmId};
use gicv5_hal::{BlockLayout, Coherency, Cookie, HostLpis, TableMemory};
use gicv5_model::config::MachineConfig;
use gicv5_model::fault::Fault;
use gicv5_model::{Machine, ModelHost, PeIndex};
use hand::{Farm, HandMade, doorbell};

const A: VmId = VmId::new(3);
const B: VmId = VmId::new(300);

fn farm(coherency: Coherency) -> Farm {
    let mut config = MachineConfig::new(1, 0).with_virtualisation();
    config.memory.coherency = coherency;
    Farm::new(&Machine::new(config).unwrap(), 64).unwrap()
}

/// A farm with two VMs of two VPEs each.
fn two_vms() -> (Farm, [HandMade; 2]) {
    let mut farm = farm(Coherency::Coherent);
    let vms = [farm.make_vm(A, 2).unwrap(), farm.make_vm(B, 2).unwrap()];
    (farm, vms)
}

fn rules(machine: &Machine) -> Vec<&'static str> {
    machine.take_violations().into_iter().map(|violation| violation.rule).collect()
}

fn release(host: &ModelHost, lpi: <ModelHost as HostLpis>::Lpi) {
    host.release(lpi).unwrap();
}

#[test]
fn a_vm_made_and_broken_leaves_nothing_behind() {
    for coherency in [Coherency::Coherent, Coherency::NonCoherent] {
        let mut farm = farm(coherency);
        // The level-2 tables stay.
        for vm in [A, B] {
            let made = farm.make_vm(vm, 1).unwrap();
            farm.break_vm(made).unwrap();
        }
        let before = farm.machine.snapshot();
        let lpi = farm.host.allocate(Cookie(1)).unwrap();
        let made = [farm.make_vm(A, 3).unwrap(), farm.make_vm(B, 1).unwrap()];
        farm.set_doorbell(A, 2, doorbell(farm.host.lpi(&lpi))).unwrap();
        let account = farm.machine.account(&before);
        assert!(account.leaks.iter().filter(|leak| leak.rule == "MEM-3").count() == 3 + 1 + 2 * 2);
        assert!(account.leaks.iter().filter(|leak| leak.rule == "POOL-3").count() == 1);
        for vm in made {
            farm.break_vm(vm).unwrap();
        }
        release(&farm.host, lpi);
        let account = farm.machine.account(&before);
        assert!(account.is_clean(), "{account:#?}");
    }
}

#[test]
fn a_doorbell_lpi_belongs_to_one_vpe() {
    // DB-14.
    let (farm, _vms) = two_vms();
    let [one, two] = [1, 2].map(|n| farm.host.allocate(Cookie(n)).unwrap());
    let (first, second) = (farm.host.lpi(&one), farm.host.lpi(&two));
    farm.set_doorbell(A, 0, doorbell(first)).unwrap();
    farm.set_doorbell(A, 0, doorbell(first)).unwrap();
    farm.set_doorbell(B, 0, doorbell(second)).unwrap();
    assert_eq!(rules(&farm.machine), [""; 0], "the same VPE again, and another LPI for another");
    farm.set_doorbell(B, 0, doorbell(first)).unwrap();
    assert_eq!(rules(&farm.machine), ["DB-14"]);
    // The VPE that has given it up lets another have it.
    farm.set_doorbell(B, 0, doorbell(second)).unwrap();
    farm.set_doorbell(A, 1, doorbell(first)).unwrap();
    assert_eq!(rules(&farm.machine), ["DB-14"], "VPE 0 of VM 3 still names it");
    farm.set_doorbell(A, 0, doorbell(first).with_dbv(false).with_req_db(false)).unwrap();
    assert_eq!(rules(&farm.machine), [""; 0]);
    drop((one, two));
}

#[test]
fn a_doorbell_is_set_to_an_lpi_that_somebody_holds() {
    let (farm, _vms) = two_vms();
    let held = farm.host.allocate(Cookie(1)).unwrap();
    let free = Lpi::new(farm.host.lpi(&held).id() + 1).unwrap();
    let elsewhere = Lpi::new(64).unwrap();
    farm.set_doorbell(A, 0, doorbell(farm.host.lpi(&held))).unwrap();
    farm.set_doorbell(A, 1, doorbell(elsewhere)).unwrap();
    assert_eq!(rules(&farm.machine), [""; 0], "LPI 64 is not this host's to hand out");
    farm.set_doorbell(B, 0, doorbell(free).with_dbv(false).with_req_db(false)).unwrap();
    assert_eq!(rules(&farm.machine), [""; 0], "without DBV it is not used (DB-6)");
    farm.set_doorbell(B, 0, doorbell(free)).unwrap();
    assert_eq!(rules(&farm.machine), ["POOL-2"]);
    drop(held);
}

#[test]
fn an_lpi_is_released_when_no_vpe_can_ring_it_any_more() {
    // DB-25.
    let (mut farm, [a, _b]) = two_vms();
    let lpis = [0; 3].map(|_| farm.host.allocate(Cookie(0)).unwrap());
    let [valid, cleared, invalid] = lpis;
    farm.set_doorbell(B, 0, doorbell(farm.host.lpi(&valid))).unwrap();
    farm.set_doorbell(B, 1, doorbell(farm.host.lpi(&cleared))).unwrap();
    farm.set_doorbell(A, 0, doorbell(farm.host.lpi(&invalid))).unwrap();
    farm.set_doorbell(B, 1, doorbell(farm.host.lpi(&cleared)).with_dbv(false).with_req_db(false)).unwrap();
    farm.break_vm(a).unwrap();
    release(&farm.host, cleared);
    release(&farm.host, invalid);
    assert_eq!(rules(&farm.machine), [""; 0]);
    release(&farm.host, valid);
    assert_eq!(rules(&farm.machine), ["DB-25"]);
}

#[test]
fn a_doorbell_that_rang_is_gone_when_its_lpi_has_been_released() {
    // DB-17, DB-25: making the VM invalid takes back no doorbell.
    let (mut farm, [a, _b]) = two_vms();
    let lpi = farm.host.allocate(Cookie(7)).unwrap();
    farm.host.enable(&lpi);
    farm.set_doorbell(A, 1, doorbell(farm.host.lpi(&lpi))).unwrap();
    farm.pend(A, 1, true);
    farm.break_vm(a).unwrap();
    assert!(farm.machine.signals(PeIndex(0)).irq);
    release(&farm.host, lpi);
    assert!(!farm.machine.signals(PeIndex(0)).irq);
    let next = farm.host.allocate(Cookie(8)).unwrap();
    farm.host.enable(&next);
    assert_eq!(farm.host.take_interrupts(PeIndex(0), |_| ()), 0);
}

#[test]
fn memory_freed_although_making_the_vm_invalid_had_no_effect_is_in_the_account() {
    // LIFE-8, GEN-17: what software does not read back it does not know.
    let (mut farm, [a, b]) = two_vms();
    let before = farm.machine.snapshot();
    farm.break_vm(b).unwrap();
    assert!(farm.machine.account(&before).is_clean());
    farm.machine.fault_next(Fault::Ignored);
    farm.break_vm(a).unwrap();
    let account = farm.machine.account(&before);
    assert!(account.leaks.is_empty());
    let rules: Vec<_> = account.violations.iter().map(|violation| violation.rule).collect();
    assert!(rules.contains(&"VM-5") && rules.contains(&"VPE-7") && rules.contains(&"IST-7"), "{rules:?}");
}

#[test]
fn a_message_that_an_interrupt_announces_has_arrived_only_if_the_sender_puts_a_barrier_between() {
    // SYN-7.
    for barrier in [false, true] {
        let machine = Machine::new(MachineConfig::new(2, 0)).unwrap();
        let host = ModelHost::start(&machine, 0..16).unwrap();
        let line = BlockLayout::new(64, 64, PhysAddr::highest(48)).unwrap();
        let message = machine.allocate(line).unwrap();
        let lpi = host.allocate(Cookie(1)).unwrap();
        host.enable(&lpi);
        host.on_pe(PeIndex(1), |sender| {
            machine.store64(&message, 0, 7);
            if barrier {
                sender.dsb();
            }
            sender.cdpend(host.lpi(&lpi).into(), true);
            sender.gsb_sys();
        });
        let mut read = None;
        host.take_interrupts(PeIndex(0), |_| read = Some(machine.load64(&message, 0)));
        assert_eq!(read, Some(if barrier { 7 } else { 0 }), "a barrier: {barrier}");
    }
}
