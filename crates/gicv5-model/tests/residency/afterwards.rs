//! What is left of a residency when it is over, however it ended.

use crate::bench::*;

fn context(vm: VmId, vpe: VpeId) -> ICH_CONTEXTR_EL2 {
    ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(vm).with_vpe(vpe)
}

/// A machine in which a VPE that leaves with IRICHPPIDIS=1 is silent.
fn silent(pes: u16) -> MachineConfig {
    let mut config = config(pes);
    config.switches.residency.silence = IrichppidisDoorbell::Silent;
    config
}

#[test]
fn a_vpe_put_out_by_another_rings_its_doorbell_like_any_that_has_left() {
    // RES-22, DB-1, open question 2: the silence is of a VPE that left with IRICHPPIDIS=1, and this one did not.
    let mut config = silent(1);
    config.switches.residency.replaced = ReplacedVpe::Leaves;
    let bench = GuestBench::running(config);
    bench.host(PE0).set(context(OTHER, VPE0));
    bench.broken(&["RES-22"]);
    bench.set_doorbell(VM, VPE0, true);
    bench.inject(VM, lpi(7));
    assert!(bench.rang(VM, VPE0));
}

#[test]
fn a_vpe_that_lost_its_irs_rings_although_it_was_silent_the_time_before() {
    // RES-23, VMT-6, open question 2: the silence ends when the VPE becomes resident again.
    let mut config = silent(1);
    config.switches.vm_table.programming = VmTableProgramming::EachIrs;
    let there = config.add_irs();
    let bench = GuestBench::new(config);
    bench.machine.write(there, bench.machine.read::<gicv5_arch::irs::IRS_VMT_CFGR>(IRS));
    let table = bench.machine.read::<IRS_VMT_BASER>(IRS);
    bench.machine.write(there, table);
    while !bench.machine.is_idle(there, gicv5_arch::irs::IrsReg::IRS_VMT_BASER.status().unwrap()).0 {}
    assert!(bench.load(PE1, VM, VPE0));
    bench.host(PE1).set(ICH_CONTEXTR_EL2::ZERO.with_irichppidis(true));
    bench.clean();
    assert!(bench.load(PE1, VM, VPE0));
    // The IRS of PE 1 forgets the VM table; that of PE 0 goes on with it.
    bench.machine.write(there, table.with_valid(false));
    while !bench.machine.is_idle(there, gicv5_arch::irs::IrsReg::IRS_VMT_BASER.status().unwrap()).0 {}
    bench.broken(&["RES-23"]);
    bench.set_doorbell(VM, VPE0, true);
    bench.inject(VM, lpi(7));
    assert!(bench.rang(VM, VPE0));
}

#[test]
fn what_stayed_of_a_vm_that_is_gone_is_not_offered_to_the_next_vm() {
    // RES-10, open question 19: not even to one that has no IST to take its place with.
    let bench = GuestBench::with(1, |config| config.switches.residency.withdrawn = WithdrawnCandidate::Stays);
    bench.map_ist_of(OTHER, IrsIntType::Lpi, MapAction::MakeInvalid);
    bench.inject(VM, lpi(7));
    assert!(bench.load(PE0, VM, VPE0));
    bench.map_vm(VM, MapAction::MakeInvalid);
    bench.broken(&["RES-23"]);
    assert!(bench.virq(PE0), "it stays");
    bench.put(PE0, None);
    assert!(bench.load(PE0, OTHER, VPE0));
    assert!(!bench.virq(PE0) && take(&bench.guest(PE0)).is_none());
}

#[test]
fn an_observer_is_told_that_a_vpe_whose_vm_has_gone_is_resident_no_more() {
    // RES-23, in both positions of what becomes of the candidate.
    for position in [WithdrawnCandidate::Recalled, WithdrawnCandidate::Stays] {
        let bench = GuestBench::running_with(1, |config| config.switches.residency.withdrawn = position);
        bench.machine.observe(1_000);
        bench.map_vm(VM, MapAction::MakeInvalid);
        let told: Vec<_> = bench
            .machine
            .take_events()
            .into_iter()
            .filter(|(_, event)| matches!(event, Event::Residency { .. }))
            .collect();
        assert_eq!(
            told.into_iter().map(|(_, event)| event).collect::<Vec<_>>(),
            [Event::Residency { pe: PE0, vm: VM, vpe: VPE0, resident: false }],
            "{position:?}"
        );
        bench.broken(&["RES-23"]);
    }
}

#[test]
fn the_legacy_interface_that_was_not_selected_need_not_be_waited_for() {
    // RES-15: what matters is V3 going to 0, not its being 0.
    let bench = GuestBench::new(with_legacy(config(1)));
    let host = bench.host(PE0);
    host.write(ICH_VCTLR_EL2::ZERO.with_en(true));
    host.write(ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(priority(31)));
    host.write(context(VM, VPE0));
}

#[test]
fn a_vpe_made_resident_before_v3_has_gone_to_0_for_certain_is_told() {
    // RES-15: also where the write acts at once, since software cannot know that it does.
    for config in [config(1), eager(1)] {
        let bench = GuestBench::new(with_legacy(config));
        let host = bench.host(PE0);
        let legacy = ICH_VCTLR_EL2::ZERO.with_en(true).with_v3(true);
        host.set(legacy);
        host.write(legacy.with_v3(false));
        host.write(context(VM, VPE0));
        bench.broken_at("RES-15", Place::SysReg(PE0, SysReg::ICH_CONTEXTR_EL2));
        host.isb();
        bench.put(PE0, None);
        assert!(bench.load(PE0, VM, VPE0));
    }
}
