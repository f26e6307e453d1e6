//! ICH_CONTEXTR_EL2: becoming resident, leaving, and what goes wrong.

use crate::bench::*;

fn context(vm: VmId, vpe: VpeId) -> ICH_CONTEXTR_EL2 {
    ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(vm).with_vpe(vpe)
}

#[test]
fn a_vpe_becomes_resident_and_takes_what_waited_for_it() {
    // RES-1, RES-2, RES-8, RES-9.
    for bench in both(1) {
        bench.inject(VM, lpi(7));
        assert!(!bench.virq(PE0), "nobody is resident");
        assert!(bench.load(PE0, VM, VPE0));
        assert_eq!(bench.machine.resident(PE0), Some((VM, VPE0)));
        assert_eq!(bench.machine.virtual_candidate(PE0).map(|(id, _)| id), Some(lpi(7)), "RES-9");
        assert!(bench.virq(PE0) && !bench.machine.signals(PE0).irq, "HPPI-8");
        assert_eq!(take(&bench.guest(PE0)), Some(lpi(7).into()));
        assert!(!bench.virq(PE0));
        bench.inject(VM, lpi(8));
        assert!(bench.virq(PE0), "RES-8, INJ-1");
        bench.host(PE0).vdpend(VM, lpi(8), false);
        bench.host(PE0).gsb_sys();
        assert!(!bench.virq(PE0), "HPPI-6: recalled");
    }
}

#[test]
fn the_write_acts_at_an_isb_and_a_guest_entry_is_as_good() {
    // RES-14.
    let bench = GuestBench::new(config(1));
    bench.inject(VM, lpi(7));
    let host = bench.host(PE0);
    host.write(ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(priority(31)));
    host.write(context(VM, VPE0));
    assert_eq!(bench.machine.resident(PE0), None);
    assert_eq!(take(&bench.guest(PE0)), Some(lpi(7).into()), "exception return synchronises the context");
    host.write(ICH_CONTEXTR_EL2::ZERO);
    assert_eq!(bench.machine.resident(PE0), Some((VM, VPE0)));
    host.isb();
    assert_eq!(bench.machine.resident(PE0), None);
}

#[test]
fn whoever_reads_f_before_an_isb_learns_nothing_and_is_told_so() {
    for bench in both(1) {
        let host = bench.host(PE0);
        let place = Place::SysReg(PE0, SysReg::ICH_CONTEXTR_EL2);
        host.write(context(VmId::new(77), VPE0));
        let early = host.read::<ICH_CONTEXTR_EL2>();
        bench.broken_at("RES-1", place);
        host.isb();
        assert!(host.read::<ICH_CONTEXTR_EL2>().f(), "{early:?}");
        bench.clean();
        host.write(ICH_CONTEXTR_EL2::ZERO);
        let _ = host.read::<ICH_CONTEXTR_EL2>();
        bench.broken_at("RES-14", place);
        host.isb();
        let _ = host.read::<ICH_CONTEXTR_EL2>();
    }
    let bench = GuestBench::new(config(1));
    bench.host(PE0).write(context(VmId::new(77), VPE0));
    assert!(!bench.host(PE0).read::<ICH_CONTEXTR_EL2>().f(), "what looks like success is none");
    bench.broken(&["RES-1"]);
}

#[test]
fn a_request_for_what_is_not_valid_fails() {
    // RES-2, RES-3, VPE-4.
    for bench in both_running(1) {
        for (vm, vpe) in
            [(VmId::new(9), VPE0), (VmId::new(0xffff), VPE0), (VM, VpeId::new(1)), (VM, VpeId::new(0xffff))]
        {
            bench.put(PE0, None);
            assert!(!bench.load(PE0, vm, vpe), "{vm} {vpe}");
            assert_eq!(bench.machine.resident(PE0), None, "RES-2");
            bench.inject(VM, lpi(1));
            assert!(!bench.virq(PE0), "RES-2");
            bench.host(PE0).vdpend(VM, lpi(1), false);
        }
        bench.clean();
        bench.put(PE0, None);
        bench.command(IRS_VMT_BASER::ZERO);
        assert!(!bench.load(PE0, VM, VPE0), "without a VM table nobody is resident (RES-3)");
    }
}

#[test]
fn a_request_can_be_made_to_fail_though_it_should_not() {
    let bench = GuestBench::running(config(1));
    bench.put(PE0, None);
    bench.machine.fault_next(Fault::Refused);
    assert!(!bench.load(PE0, VM, VPE0), "RES-2");
    let struck = bench.machine.take_struck_faults();
    assert_eq!(struck[0].0.request, Request::Residency { pe: PE0, vm: VM, vpe: VPE0 });
    assert!(bench.load(PE0, VM, VPE0));
}

#[test]
fn what_the_register_reads_after_a_failure_is_open_apart_from_f() {
    // Open question 4.
    for (position, v, vm) in [
        (FailedContext::ReadsInvalid, false, 77),
        (FailedContext::ReadsAsWritten, true, 77),
        (FailedContext::ReadsZero, false, 0),
    ] {
        let bench = GuestBench::with(1, |config| config.switches.residency.failed = position);
        assert!(!bench.load(PE0, VmId::new(77), VPE0));
        let read = bench.host(PE0).read::<ICH_CONTEXTR_EL2>();
        assert_eq!((read.v(), read.f(), read.vm().raw_value()), (v, true, vm), "{position:?}");
        bench.inject(VM, lpi(1));
        assert!(!bench.virq(PE0), "nobody is resident, whatever V reads (RES-2)");
        assert_eq!(bench.guest(PE0).cdia().int_id(), None);
        bench.broken(&["RES-19"]);
        assert!(bench.load(PE0, VM, VPE0));
    }
}

#[test]
fn f_goes_away_with_the_next_write_or_with_the_next_success() {
    // RES-2, open question 4.
    for (position, after_put) in [(ContextFault::UntilNextWrite, false), (ContextFault::UntilSuccess, true)] {
        let bench = GuestBench::with(1, |config| config.switches.residency.fault = position);
        assert!(!bench.load(PE0, VmId::new(77), VPE0));
        bench.put(PE0, None);
        assert_eq!(bench.host(PE0).read::<ICH_CONTEXTR_EL2>().f(), after_put, "{position:?}");
        assert!(bench.load(PE0, VM, VPE0));
    }
}

#[test]
fn a_vpe_that_leaves_takes_its_candidate_along_and_changes_no_state() {
    // RES-5, RES-10, RES-11.
    for bench in both(2) {
        bench.inject(VM, lpi(7));
        bench.inject(VM, lpi(8));
        assert!(bench.load(PE0, VM, VPE0));
        let taken = bench.guest(PE0).acknowledge().int_id();
        assert_eq!(taken, Some(lpi(7).into()));
        bench.guest(PE0).gsb_ack();
        bench.guest(PE0).cdeoi();
        assert!(bench.virq(PE0));
        let states = [7, 8].map(|id| bench.state_in(VM, lpi(id)));
        // VM and VPE in the write are not looked at.
        bench
            .host(PE0)
            .write(ICH_CONTEXTR_EL2::ZERO.with_vm(OTHER).with_vpe(VPE0).with_db(true).with_dbpm(priority(31)));
        bench.host(PE0).isb();
        assert!(!bench.virq(PE0) && bench.machine.virtual_candidate(PE0).is_none(), "RES-10");
        assert_eq!([7, 8].map(|id| bench.state_in(VM, lpi(id))), states, "RES-11");
        assert!(bench.rang(VM, VPE0) && !bench.rang(OTHER, VPE0), "RES-5");
        // It goes on elsewhere (RES-21).
        assert!(bench.load(PE1, VM, VPE0));
        assert!(bench.virq(PE1) && !bench.virq(PE0));
        bench.guest(PE1).cddi(lpi(7).into());
        assert_eq!(take(&bench.guest(PE1)), Some(lpi(8).into()));
    }
}

#[test]
fn a_doorbell_asked_for_on_leaving_rings_at_once_if_something_waits() {
    // DB-3, DB-5, DB-9, DB-10.
    for (mask, rings) in [(9, false), (10, true), (31, true)] {
        for bench in both_running(1) {
            bench.inject(VM, lpi(7));
            bench.put(PE0, Some(mask));
            assert_eq!(bench.rang(VM, VPE0), rings, "mask {mask}, priority 10 (DB-9)");
        }
    }
}

#[test]
fn without_a_request_a_vpe_sleeps_through_its_interrupts_and_finds_them_later() {
    // DB-1, INJ-1.
    let bench = GuestBench::running(config(1));
    bench.put(PE0, None);
    bench.inject(VM, lpi(7));
    assert!(!bench.rang(VM, VPE0), "DB-5");
    assert!(bench.load(PE0, VM, VPE0));
    assert!(bench.virq(PE0));
}

#[test]
fn a_doorbell_asked_for_on_leaving_rings_once() {
    // DB-4, DB-18: one ring for each time away.
    let bench = GuestBench::running(eager(1));
    bench.put(PE0, Some(31));
    bench.inject(VM, lpi(1));
    assert!(bench.rang(VM, VPE0));
    bench.host(PE0).cdpend(crate::bench::doorbell_of(VM, VPE0), false);
    bench.inject(VM, lpi(2));
    assert!(!bench.rang(VM, VPE0), "DB-4");
}

#[test]
fn the_doorbell_of_a_resident_vpe_does_not_ring() {
    // DB-1, DB-18, and open question 8 in both positions.
    for (position, later) in [(DoorbellRequest::EndsWithResidency, false), (DoorbellRequest::SurvivesResidency, true)] {
        let bench = GuestBench::running_with(1, |config| config.switches.residency.request = position);
        bench.put(PE0, Some(31));
        assert!(bench.load(PE0, VM, VPE0));
        bench.inject(VM, lpi(7));
        assert!(!bench.rang(VM, VPE0), "DB-18");
        bench.put(PE0, None);
        assert_eq!(bench.rang(VM, VPE0), later, "{position:?}");
    }
}

#[test]
fn a_doorbell_that_has_rung_stays_rung() {
    // DB-17.
    let bench = GuestBench::running(config(1));
    bench.put(PE0, Some(31));
    bench.inject(VM, lpi(7));
    assert!(bench.rang(VM, VPE0));
    bench.host(PE0).vdpend(VM, lpi(7), false);
    bench.host(PE0).gsb_sys();
    assert!(bench.load(PE0, VM, VPE0));
    assert!(bench.rang(VM, VPE0), "DB-17");
}

#[test]
fn db_with_v_set_is_no_request() {
    // DB-11.
    let bench = GuestBench::new(config(1));
    bench.host(PE0).set(context(VM, VPE0).with_db(true).with_dbpm(priority(31)));
    bench.put(PE0, None);
    bench.inject(VM, lpi(7));
    assert!(!bench.rang(VM, VPE0), "DB-11");
}

#[test]
fn the_mask_given_on_leaving_replaces_the_one_in_the_settings() {
    // DB-10.
    let bench = GuestBench::running(config(1));
    bench.set_doorbell(VM, VPE0, true);
    bench.put(PE0, Some(4));
    bench.inject(VM, lpi(7));
    assert!(!bench.rang(VM, VPE0), "the settings would have let it through (DB-10)");
    assert!(bench.machine.read::<IRS_VPE_DBR>(IRS).req_db());
}

#[test]
fn a_doorbell_without_settings_does_not_ring() {
    // DB-6.
    let bench = GuestBench::running(config(1));
    bench.set_doorbell(VM, VPE0, false);
    bench.command(bench.machine.read::<IRS_VPE_DBR>(IRS).with_dbv(false));
    bench.put(PE0, Some(31));
    bench.broken_at("DB-6", Place::SysReg(PE0, SysReg::ICH_CONTEXTR_EL2));
    bench.inject(VM, lpi(7));
    assert!(!bench.rang(VM, VPE0), "DB-6");
    // IRS_VPE_DBR asks for it in vain as well.
    bench.command(bench.machine.read::<IRS_VPE_DBR>(IRS).with_req_db(true));
    assert!(!bench.rang(VM, VPE0), "DB-6");
    assert_eq!(bench.rules(), ["DB-6"]);
}

#[test]
fn irichppidis_keeps_the_irs_out_of_the_selection() {
    // RES-12, HPPI-7, and open question 2 in every position.
    for (position, then, rings) in [
        (IrichppidisDoorbell::Rings, true, true),
        (IrichppidisDoorbell::Silent, true, false),
        (IrichppidisDoorbell::Silent, false, true),
        (IrichppidisDoorbell::SilentAsWhileResident, false, false),
    ] {
        let bench = GuestBench::running_with(1, |config| config.switches.residency.silence = position);
        bench.inject(VM, lpi(7));
        assert!(bench.virq(PE0));
        let host = bench.host(PE0);
        // The same VPE again: nothing changes but that bit.
        host.set(context(VM, VPE0).with_irichppidis(true));
        assert!(!bench.virq(PE0) && bench.machine.resident(PE0).is_some(), "RES-12");
        assert_eq!(bench.guest(PE0).cdia().int_id(), None, "HPPI-7");
        host.set(ICH_CONTEXTR_EL2::ZERO.with_irichppidis(then).with_db(true).with_dbpm(priority(31)));
        assert_eq!(bench.rang(VM, VPE0), rings, "{position:?}, {then} in the last write");
        assert!(bench.load(PE0, VM, VPE0));
        assert!(bench.virq(PE0), "it is a property of the last write");
        bench.put(PE0, Some(31));
        assert!(bench.rang(VM, VPE0), "and so is the silence");
    }
}

#[test]
fn a_vpe_that_is_resident_elsewhere_stays_there_or_moves() {
    // RES-4, open question 3.
    for (position, moves) in [(ResidentElsewhere::Fails, false), (ResidentElsewhere::Moves, true)] {
        let bench = GuestBench::with(2, |config| config.switches.residency.elsewhere = position);
        bench.inject(VM, lpi(7));
        assert!(bench.load(PE0, VM, VPE0));
        assert_eq!(bench.load(PE1, VM, VPE0), moves, "{position:?}");
        bench.broken_at("RES-4", Place::SysReg(PE1, SysReg::ICH_CONTEXTR_EL2));
        assert_eq!((bench.virq(PE0), bench.virq(PE1)), (!moves, moves));
        assert_eq!(bench.machine.resident(PE0).is_some(), !moves);
        // The PE it was taken from gives up nothing that is not its own any more.
        bench.put(PE0, Some(31));
        assert_eq!(bench.machine.resident(PE1).is_some(), moves);
        assert_eq!(bench.rang(VM, VPE0), !moves);
    }
}

#[test]
fn one_vpe_after_the_other_is_what_software_does_and_moves_between_pes_are_clean() {
    // RES-21, RES-22: the near misses of RES-4 and RES-22.
    for bench in both(2) {
        assert!(bench.load(PE0, VM, VPE0) && bench.load(PE1, VM, VPE3));
        bench.put(PE0, None);
        bench.put(PE1, None);
        assert!(bench.load(PE1, VM, VPE0) && bench.load(PE0, OTHER, VPE0));
    }
}

#[test]
fn a_vpe_in_the_place_of_another_puts_it_out_or_fails() {
    // RES-22.
    for (position, works) in [(ReplacedVpe::Leaves, true), (ReplacedVpe::LeavesAndNewFails, false)] {
        let bench = GuestBench::running_with(1, |config| config.switches.residency.replaced = position);
        bench.inject(VM, lpi(7));
        bench.inject(OTHER, lpi(9));
        bench.host(PE0).set(context(OTHER, VPE0));
        assert_eq!(bench.host(PE0).read::<ICH_CONTEXTR_EL2>().f(), !works, "{position:?}");
        bench.broken_at("RES-22", Place::SysReg(PE0, SysReg::ICH_CONTEXTR_EL2));
        assert_eq!(bench.machine.resident(PE0), works.then_some((OTHER, VPE0)));
        assert_eq!(bench.machine.virtual_candidate(PE0).map(|(id, _)| id), works.then_some(lpi(9)));
        assert!(!bench.rang(VM, VPE0), "no doorbell was asked for");
        bench.put(PE0, None);
        assert!(bench.load(PE0, VM, VPE0));
    }
}

#[test]
fn a_vm_taken_away_from_under_a_vpe_leaves_a_pe_that_knows_nothing_of_it() {
    // RES-23, LIFE-22.
    for bench in both(1) {
        bench.inject(VM, lpi(7));
        assert!(bench.load(PE0, VM, VPE0));
        bench.map_vm(VM, MapAction::MakeInvalid);
        bench.broken_at("RES-23", Place::Vm(VM));
        assert!(bench.host(PE0).read::<ICH_CONTEXTR_EL2>().v(), "V is stale");
        assert_eq!((bench.machine.resident(PE0), bench.virq(PE0)), (None, false));
        bench.guest(PE0).set_pending(lpi(8), true);
        bench.put(PE0, Some(31));
        assert!(!bench.rang(VM, VPE0));
    }
    // The near miss, and the same for the whole table (VMT-6).
    let bench = GuestBench::running(config(1));
    bench.map_vm(OTHER, MapAction::MakeInvalid);
    bench.clean();
    bench.command(IRS_VMT_BASER::ZERO);
    bench.broken_at("RES-23", Place::Vm(VM));
    let bench = GuestBench::running(config(1));
    bench.put(PE0, None);
    bench.map_vm(VM, MapAction::MakeInvalid);
    bench.clean();
    // A write that no ISB has followed has not taken the VPE off.
    let bench = GuestBench::running(config(1));
    bench.host(PE0).write(ICH_CONTEXTR_EL2::ZERO);
    bench.map_vm(VM, MapAction::MakeInvalid);
    bench.broken(&["RES-23"]);
}

#[test]
fn what_was_forwarded_before_its_ist_was_withdrawn_is_recalled_or_stays() {
    // HPPI-2, IST-5, VM-2, open question 19.
    for (position, stays) in [(WithdrawnCandidate::Recalled, false), (WithdrawnCandidate::Stays, true)] {
        for whole_vm in [false, true] {
            let bench = GuestBench::with(1, |config| config.switches.residency.withdrawn = position);
            bench.inject(VM, lpi(7));
            assert!(bench.load(PE0, VM, VPE0));
            match whole_vm {
                true => bench.map_vm(VM, MapAction::MakeInvalid),
                false => bench.map_ist_of(VM, IrsIntType::Lpi, MapAction::MakeInvalid),
            }
            assert_eq!(bench.virq(PE0), stays, "{position:?}");
            assert_eq!(take(&bench.guest(PE0)), stays.then_some(lpi(7).into()));
            assert!(!bench.virq(PE0), "taken once");
            if !whole_vm {
                bench.inject(VM, spi(1));
                assert_eq!(take(&bench.guest(PE0)), Some(spi(1).into()), "the other interrupts are as they were");
            }
            // Nothing of it is the next one's.
            bench.put(PE0, None);
            assert!(bench.load(PE0, OTHER, VPE0) && !bench.virq(PE0));
            bench.broken(if whole_vm { &["RES-23"] } else { &[] });
        }
    }
}

#[test]
fn a_disabled_irs_makes_a_vpe_resident_and_may_or_may_not_forward_to_it() {
    // GEN-21, RES-24, open question 18.
    for (position, forwards) in [(ForwardingOfDisabledIrs::Stops, false), (ForwardingOfDisabledIrs::GoesOn, true)] {
        let bench = GuestBench::with(1, |config| config.switches.residency.disabled_irs = position);
        bench.inject(VM, lpi(7));
        assert!(bench.load(PE0, VM, VPE0) && bench.virq(PE0));
        bench.command(IRS_CR0::ZERO);
        assert_eq!(bench.virq(PE0), forwards, "{position:?}");
        bench.put(PE0, None);
        assert!(bench.load(PE0, VM, VPE0), "accepted is not delivered (RES-24)");
        assert_eq!(bench.virq(PE0), forwards, "{position:?}");
        bench.command(IRS_CR0::ZERO.with_irsen(true));
        assert!(bench.virq(PE0));
    }
}

#[test]
fn a_load_out_of_order_is_told() {
    // RES-15.
    for bench in both(1) {
        let host = bench.host(PE0);
        host.write(context(VM, VPE0));
        host.write(ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(priority(31)));
        bench.broken_at("RES-15", Place::SysReg(PE0, SysReg::ICH_VMCR_EL2));
        host.isb();
        host.write_raw(SysReg::ICH_APR_EL2, 0);
        bench.broken_at("RES-15", Place::SysReg(PE0, SysReg::ICH_APR_EL2));
        // Once the guest has run, the hypervisor may change what it emulates.
        bench.guest(PE0).isb();
        host.write(ICH_VMCR_EL2::ZERO.with_en(true));
        bench.put(PE0, None);
        host.write_raw(SysReg::ICH_APR_EL2, 0);
        assert!(bench.load(PE0, VM, VPE0));
    }
}

#[test]
fn a_vpe_made_resident_with_the_legacy_interface_selected_is_told() {
    // RES-15, INS-21, PPI-26.
    let bench = GuestBench::new(crate::bench::with_legacy(config(1)));
    let host = bench.host(PE0);
    let legacy = ICH_VCTLR_EL2::ZERO.with_en(true).with_v3(true);
    host.set(legacy);
    host.write(context(VM, VPE0));
    bench.broken_at("RES-15", Place::SysReg(PE0, SysReg::ICH_CONTEXTR_EL2));
    host.isb();
    bench.inject(VM, lpi(7));
    assert!(!bench.virq(PE0), "a native interrupt is nothing to a legacy guest");
    bench.put(PE0, None);
    // Cleared, but without an ISB before the mask is written.
    host.write(legacy.with_v3(false));
    host.write(ICH_VMCR_EL2::ZERO.with_en(true));
    bench.broken_at("RES-15", Place::SysReg(PE0, SysReg::ICH_VMCR_EL2));
    host.isb();
    // As it should be.
    host.set(legacy);
    host.set(legacy.with_v3(false));
    assert!(bench.load(PE0, VM, VPE0) && bench.virq(PE0));
}

#[test]
fn v3_is_not_there_without_the_legacy_interface() {
    let bench = GuestBench::new(config(1));
    bench.host(PE0).set(ICH_VCTLR_EL2::ZERO.with_en(true).with_v3(true));
    assert!(!bench.host(PE0).read::<ICH_VCTLR_EL2>().v3());
}

#[test]
fn the_virtual_interface_is_off_until_it_is_switched_on() {
    for (position, off) in [(VirtualEnable::Needed, false), (VirtualEnable::NotNeeded, true)] {
        let bench = GuestBench::running_with(1, |config| config.switches.residency.enable = position);
        bench.inject(VM, lpi(7));
        assert!(bench.virq(PE0));
        bench.host(PE0).set(ICH_VCTLR_EL2::ZERO);
        assert_eq!(bench.virq(PE0), off, "{position:?}");
    }
}
