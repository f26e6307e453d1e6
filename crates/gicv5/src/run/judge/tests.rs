use gicv5_arch::{Iaffid, Lpi, Priority};
use gicv5_hal::IrsIndex;

use super::*;

const PE: PeIndex = PeIndex(0);

fn lpi(id: u32) -> IrsIntId {
    IrsIntId::Lpi(Lpi::new(id).unwrap())
}

fn vm(id: u16) -> VmId {
    VmId::new(id)
}

fn vpe(id: u16) -> VpeId {
    VpeId::new(id)
}

fn insn(insn: GicInsn, xt: u64) -> Event {
    Event::Instruction { pe: PE, insn, xt, result: 0 }
}

fn takes(id: IrsIntId) -> Event {
    let result = AcknowledgeResult::reporting(Some(id.into())).raw_value();
    Event::Instruction { pe: PE, insn: GicInsn::GICR_CDIA, xt: 0, result }
}

fn pend(of: VmId, id: IrsIntId, pending: bool) -> Event {
    insn(GicInsn::GIC_VDPEND, VmPendingOperand::naming(id).with_vm(of).with_pending(pending).raw_value())
}

fn resident(of: VmId, vpe: VpeId, resident: bool) -> Event {
    Event::Residency { pe: PE, vm: of, vpe, resident }
}

fn at(level: Level) -> Event {
    Event::Level { pe: PE, level }
}

fn valid(of: VmId, u: MapAction) -> Event {
    let value = IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(of).with_u(u).raw_value();
    let register = IrsReg::IRS_VMAP_VMR;
    Event::CommandDone { irs: IrsIndex(0), register, value, outcome: Outcome::Done }
}

/// Leaves the VPE with a request.
fn sleeps(of: VmId, who: VpeId) -> Vec<Event> {
    let context = ICH_CONTEXTR_EL2::ZERO.with_db(true).with_dbpm(Priority::LEAST_URGENT);
    let register = SysReg::ICH_CONTEXTR_EL2;
    vec![at(Level::Host), Event::SysRegWrite { pe: PE, register, value: context.raw_value() }, resident(of, who, false)]
}

fn doorbell(of: VmId, who: VpeId) -> Event {
    Event::Doorbell { vm: of, vpe: who, lpi: Lpi::new(9).unwrap() }
}

fn handled(id: IrsIntId) -> Vec<Event> {
    vec![
        insn(GicInsn::GIC_CDEOI, 0),
        insn(GicInsn::GIC_CDDI, DeactivateOperand::naming(id.into()).raw_value()),
        insn(GicInsn::GSB_SYS, 0),
    ]
}

/// A guest on VPE 0 of VM 3 that has set up LPI 1.
fn booted() -> Vec<Event> {
    let id = lpi(1);
    let write = |register, value| Event::SysRegWrite { pe: PE, register, value };
    let priority = Priority::new(10).unwrap();
    vec![
        valid(vm(3), MapAction::MakeValid),
        resident(vm(3), vpe(0), true),
        at(Level::Guest),
        write(SysReg::ICC_PCR_EL1, PCR::ZERO.with_priority(Priority::LEAST_URGENT).raw_value()),
        insn(GicInsn::GIC_CDPRI, PriorityOperand::naming(id).with_priority(priority).raw_value()),
        insn(GicInsn::GIC_CDAFF, AffinityOperand::naming(id).with_iaffid(Iaffid::new(0)).raw_value()),
        insn(GicInsn::GIC_CDEN, IntIdOperand::naming(id).raw_value()),
        insn(GicInsn::GSB_SYS, 0),
        write(SysReg::ICC_CR0_EL1, ICC_CR0_EL1::ZERO.with_en(true).raw_value()),
    ]
}

/// The rules that a stream breaks, in the judge's opinion, when all is quiet afterwards.
fn judged(events: impl IntoIterator<Item = Event>) -> Vec<&'static str> {
    let mut judge = Judge::default();
    for (tick, event) in events.into_iter().enumerate() {
        judge.event(Tick(tick as u64), &event);
    }
    judge.quiet(Tick::NEVER);
    judge.findings().0.iter().map(|finding| finding.rule).collect()
}

/// What happens after the guest has booted.
fn then(events: impl IntoIterator<Item = Event>) -> Vec<&'static str> {
    judged(booted().into_iter().chain(events))
}

#[test]
fn an_interrupt_that_is_taken_once_is_fine() {
    let story = [pend(vm(3), lpi(1), true), takes(lpi(1))].into_iter().chain(handled(lpi(1)));
    assert!(then(story).is_empty());
}

#[test]
fn two_events_may_be_merged_but_not_one_be_taken_twice() {
    let once = || [takes(lpi(1))].into_iter().chain(handled(lpi(1)));
    let both = [pend(vm(3), lpi(1), true), pend(vm(3), lpi(1), true)];
    assert!(then(both.clone().into_iter().chain(once())).is_empty(), "ISM-5");
    // The second may have come after the first was taken.
    assert!(then(both.into_iter().chain(once()).chain(once())).is_empty());
    let one = [pend(vm(3), lpi(1), true)];
    assert_eq!(then(one.into_iter().chain(once()).chain(once())), ["ISM-12"]);
}

#[test]
fn an_event_that_is_never_taken_is_lost() {
    assert_eq!(then([pend(vm(3), lpi(1), true)]), ["HPPI-1"]);
    assert!(then([pend(vm(3), lpi(1), true), pend(vm(3), lpi(1), false)]).is_empty(), "it was withdrawn");
}

#[test]
fn an_event_of_an_interrupt_that_no_handler_will_deactivate_is_reported() {
    // ISM-7.
    let gsb = || insn(GicInsn::GSB_SYS, 0);
    let drop = || insn(GicInsn::GIC_CDEOI, 0);
    let set = || pend(vm(3), lpi(1), true);
    let taken = || [set(), gsb(), takes(lpi(1)), drop()];
    assert!(then(taken()).is_empty(), "no event is lost yet");
    assert_eq!(then(taken().into_iter().chain([set()])), ["ISM-7"]);
    let withdrawn = [set(), pend(vm(3), lpi(1), false)];
    assert!(then(taken().into_iter().chain(withdrawn)).is_empty());
    let late = [set()].into_iter().chain(handled(lpi(1)).into_iter().skip(1)).chain([gsb(), takes(lpi(1)), drop()]);
    assert!(then(taken().into_iter().chain(late)).is_empty(), "the handler was slow");
}

#[test]
fn a_guest_that_begins_anew_without_deactivating_is_named() {
    let anew = || Event::SysRegWrite { pe: PE, register: SysReg::ICC_APR_EL1, value: 0 };
    let taken = [pend(vm(3), lpi(1), true), insn(GicInsn::GSB_SYS, 0), takes(lpi(1)), insn(GicInsn::GIC_CDEOI, 0)];
    for (anew, says) in [(vec![anew()], "VPE 0 took it, and has begun anew since"), (vec![], "never deactivated it")] {
        let mut judge = Judge::default();
        let story = booted().into_iter().chain(taken.clone()).chain(anew).chain([pend(vm(3), lpi(1), true)]);
        for (tick, event) in story.enumerate() {
            judge.event(Tick(tick as u64), &event);
        }
        judge.quiet(Tick::NEVER);
        let what = &judge.findings().0[0].what;
        assert!(what.starts_with("LPI 1 of VM 3 is pending, and active") && what.contains(says), "{what}");
        assert_eq!(judge.counts().undelivered, 1);
    }
}

#[test]
fn an_event_for_a_vpe_that_the_vm_does_not_have_is_reported() {
    // RTE-4.
    let route = |to| insn(GicInsn::GIC_CDAFF, AffinityOperand::naming(lpi(1)).with_iaffid(Iaffid::new(to)).raw_value());
    let made = |id| Event::CommandDone {
        irs: IrsIndex(0),
        register: IrsReg::IRS_VMAP_VPER,
        value: IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(vm(3)).with_vpe_id(vpe(id)).raw_value(),
        outcome: Outcome::Done,
    };
    let story = || [route(1), insn(GicInsn::GSB_SYS, 0), pend(vm(3), lpi(1), true)];
    assert_eq!(then(story()), ["RTE-4"]);
    assert!(then([made(1)].into_iter().chain(story())).is_empty(), "a VPE that has not enabled its CPU interface yet");
    assert!(then(story().into_iter().chain([route(0), insn(GicInsn::GSB_SYS, 0), takes(lpi(1))])).is_empty());
}

#[test]
fn an_event_behind_a_priority_that_is_never_dropped_is_reported() {
    // PRI-4.
    let deactivate = || insn(GicInsn::GIC_CDDI, DeactivateOperand::naming(lpi(1).into()).raw_value());
    let gsb = || insn(GicInsn::GSB_SYS, 0);
    let story = [pend(vm(3), lpi(1), true), gsb(), takes(lpi(1)), deactivate(), gsb(), pend(vm(3), lpi(1), true)];
    assert_eq!(then(story), ["PRI-4"]);
}

#[test]
fn an_interrupt_of_another_vm_is_nobodys_business() {
    let events = [valid(vm(4), MapAction::MakeValid), pend(vm(4), lpi(1), true), takes(lpi(1))];
    assert_eq!(then(events), ["ISM-12"]);
}

#[test]
fn a_disabled_a_masked_and_an_active_interrupt_are_not_taken() {
    let disable = insn(GicInsn::GIC_CDDIS, IntIdOperand::naming(lpi(1)).raw_value());
    let gsb = || insn(GicInsn::GSB_SYS, 0);
    let set = || pend(vm(3), lpi(1), true);
    assert_eq!(then([set(), disable.clone(), gsb(), takes(lpi(1))]), ["HPPI-1"]);
    // Until the barrier it may be (SYN-4).
    assert!(then([set(), disable, takes(lpi(1))]).is_empty());
    let mask = Event::SysRegWrite { pe: PE, register: SysReg::ICC_PCR_EL1, value: 9 };
    assert_eq!(then([mask.clone(), set(), takes(lpi(1))]), ["PRI-3"]);
    assert!(then([mask, set()]).is_empty(), "held back by the guest itself");
    let eoi = insn(GicInsn::GIC_CDEOI, 0);
    assert_eq!(then([set(), gsb(), takes(lpi(1)), eoi, set(), gsb(), takes(lpi(1))]), ["ISM-7"]);
    // Without the drop it is the running priority that holds it back, but that is looked at later.
    assert_eq!(then([set(), gsb(), takes(lpi(1)), set(), gsb(), takes(lpi(1))]), ["ISM-7"]);
}

#[test]
fn an_interrupt_is_taken_by_the_vpe_it_is_routed_to() {
    let route = insn(GicInsn::GIC_CDAFF, AffinityOperand::naming(lpi(1)).with_iaffid(Iaffid::new(1)).raw_value());
    let events = [route, insn(GicInsn::GSB_SYS, 0), pend(vm(3), lpi(1), true), takes(lpi(1))];
    assert_eq!(then(events), ["RTE-1"]);
}

#[test]
fn a_vcpu_that_sleeps_on_has_lost_its_wake_up() {
    let sleeps = || sleeps(vm(3), vpe(0));
    let set = || [pend(vm(3), lpi(1), true)];
    assert_eq!(then(sleeps().into_iter().chain(set())), ["DB-3"]);
    let rings = sleeps().into_iter().chain(set()).chain([doorbell(vm(3), vpe(0))]);
    assert_eq!(then(rings), ["DB-3"], "the doorbell rang and nobody came");
}

#[test]
fn a_doorbell_rings_once_for_a_request_and_for_a_reason() {
    let sleeps = || sleeps(vm(3), vpe(0));
    let rings = || doorbell(vm(3), vpe(0));
    assert_eq!(then(sleeps().into_iter().chain([rings()])), ["DB-1"], "nothing to be woken for");
    let wakes = |rest: Vec<Event>| {
        let wake = [resident(vm(3), vpe(0), true), at(Level::Guest), takes(lpi(1))];
        then(sleeps().into_iter().chain([pend(vm(3), lpi(1), true)]).chain(rest).chain(wake))
    };
    assert!(wakes(vec![rings()]).is_empty());
    assert_eq!(wakes(vec![rings(), rings()]), ["DB-4"]);
    assert_eq!(then([pend(vm(3), lpi(1), true), rings(), takes(lpi(1))]), ["DB-1", "DB-4"], "it is resident");
}

#[test]
fn a_vpe_is_on_one_pe_and_a_pe_has_one_vpe() {
    let elsewhere = Event::Residency { pe: PeIndex(1), vm: vm(3), vpe: vpe(0), resident: true };
    assert_eq!(then([elsewhere]), ["RES-4"]);
    assert_eq!(then([resident(vm(3), vpe(1), true)]), ["RES-4"]);
}

#[test]
fn what_is_pending_when_its_vm_goes_is_discarded_and_nothing_comes_after() {
    let gone = valid(vm(3), MapAction::MakeInvalid);
    assert!(then([pend(vm(3), lpi(1), true), gone.clone()]).is_empty());
    assert_eq!(then([pend(vm(3), lpi(1), true), gone.clone(), takes(lpi(1))]), ["RES-3"]);
    assert_eq!(then([gone, doorbell(vm(3), vpe(0))]), ["DB-1", "DB-25"]);
}

#[test]
fn a_level_stays_pending_until_its_source_lowers_it() {
    let level = insn(GicInsn::GIC_CDHM, HandlingModeOperand::naming(lpi(1)).with_hm(HandlingMode::Level).raw_value());
    let gsb = || insn(GicInsn::GSB_SYS, 0);
    let once = || [takes(lpi(1))].into_iter().chain(handled(lpi(1)));
    let high = || [level.clone(), gsb(), pend(vm(3), lpi(1), true), gsb()].into_iter();
    assert_eq!(then(high().chain(once())), ["HPPI-1"], "it is high still");
    let low = || [pend(vm(3), lpi(1), false), gsb()];
    assert!(then(high().chain(once()).chain(once()).chain(low())).is_empty());
    assert_eq!(then(high().chain(low()).chain(once())), ["ISM-12"]);
}
