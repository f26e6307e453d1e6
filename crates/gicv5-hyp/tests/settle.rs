//! What is left when something went wrong half-way, who gets time, and who settles it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/guest.rs"]
mod guest;

use std::future::Future;
use std::pin::{Pin, pin};

use common::{IRS, Lab, SHAPES, SPEC, assert_clean, drive, end, live, poll};
use gicv5_arch::irs::{IRS_VMAP_VMR, IRS_VPE_SELR, IrsReg};
use gicv5_arch::values::MapAction;
use gicv5_arch::{VmId, VpeId};
use gicv5_hal::IrsExt;
use gicv5_hyp::{
    BringUpCause, Command, CommandError, CommandErrorKind, Config, Fate, Host, Idle, IstCause, Phase, ReclaimError,
    ShutDownError, TearDownCause, TearDownError, VcpuIndex, VmSpec, VmState,
};
use gicv5_model::fault::{Fault, Request};
use guest::PE0;

/// The time-out of the hosts here, in ticks.
const TIMEOUT: u64 = 200;

/// Polls a future until it has given the IRS a command that is like this.
fn run_to<T>(lab: &Lab, register: IrsReg, mut future: Pin<&mut impl Future<Output = T>>) {
    for _ in 0..1_000 {
        lab.machine.record_fault_points();
        assert!(poll(future.as_mut()).is_none(), "it ends before {register} is written");
        let points = lab.machine.take_fault_points();
        if points.iter().any(|p| matches!(p.request, Request::Command { register: found, .. } if found == register)) {
            return;
        }
        lab.machine.advance(1);
    }
    panic!("{register} is never written");
}

/// The same, and drops it there.
fn drop_at<T>(lab: &Lab, register: IrsReg, future: impl Future<Output = T>) {
    run_to(lab, register, pin!(future));
}

/// Polls a future to its end.
fn finish<T>(lab: &Lab, future: Pin<&mut impl Future<Output = T>>) -> T {
    drive(&lab.machine, 100_000, future).expect("it never ends")
}

#[test]
fn coming_up_again_settles_what_going_down_has_left() {
    for shape in SHAPES {
        let (lab, host) = shape.down();
        let before = lab.machine.snapshot();
        host.bring_up().unwrap();
        let (mut vm, orphan) = (live(&host), live(&host));
        lab.machine.fault_next(Fault::Never);
        assert_eq!(vm.tear_down().unwrap_err().fate, Fate::Quarantined);
        drop((vm, orphan));
        lab.machine.recover();
        lab.machine.fault_next(Fault::Late(1_000));
        let Err(ShutDownError::Command { held, .. }) = host.shut_down() else { panic!("the IRS does not answer") };
        assert_eq!((held.phase, held.vms), (Phase::Partial, 2));
        lab.machine.advance(1_000);
        host.bring_up().unwrap();
        let held = host.holdings();
        assert_eq!((held.phase, held.vms, held.quarantined_bytes), (Phase::Up, 0, 0), "{shape:?}");
        let mut vm = live(&host);
        assert_eq!(vm.id(), Some(VmId::new(0)));
        vm.tear_down().unwrap();
        host.shut_down().unwrap();
        assert_clean(&lab.machine, &before, shape);
    }
}

#[test]
fn a_host_stays_up_when_the_irs_could_not_even_be_asked_to_let_go() {
    for shape in SHAPES {
        let (lab, host) = shape.up();
        // Something of another's making hangs in the registers.
        lab.machine.fault_next(Fault::Never);
        let stray = IRS_VMAP_VMR::ZERO.with_m(true).with_u(MapAction::MakeInvalid).with_vm_id(VmId::new(200));
        lab.machine.write(IRS, stray);
        let Err(ShutDownError::Command { cause: CommandError { kind: CommandErrorKind::NotIdle { .. }, .. }, held }) =
            host.shut_down()
        else {
            panic!("the IRS is not idle")
        };
        assert_eq!((held.phase, host.phase()), (Phase::Up, Phase::Up));
        lab.machine.recover();
        let mut vm = live(&host);
        vm.tear_down().unwrap();
        host.shut_down().unwrap();
        // The same on the way up.
        lab.machine.fault_next(Fault::Never);
        lab.machine.write(IRS, stray);
        let error = host.bring_up().unwrap_err();
        assert!(
            matches!(error.cause, BringUpCause::Command(CommandError { kind: CommandErrorKind::NotIdle { .. }, .. })),
            "{error:?}"
        );
        assert_eq!((error.cleanup, host.phase()), (Ok(()), Phase::Down));
        lab.machine.recover();
        lab.assert_no_violations();
    }
}

/// A poll that did not reach the withdrawal has changed nothing, wherever the future is dropped.
#[test]
fn a_host_is_partial_only_once_the_irs_was_told_to_let_go() {
    let shape = SHAPES[1];
    for n in 1.. {
        let (lab, host) = shape.slow(50);
        host.bring_up().unwrap();
        // What hangs in the registers has no VM any more, so that the host may go down.
        let mut vm = host.new_vm();
        drop_at(&lab, IrsReg::IRS_VMAP_L2_VMTR, vm.start_init(&SPEC));
        vm.tear_down().unwrap();
        drop(vm);
        let before = lab.machine.snapshot();
        let ended = {
            let mut going = pin!(host.start_shut_down());
            (0..n).any(|_| {
                lab.machine.advance(1);
                poll(going.as_mut()).is_some()
            })
        };
        let written =
            lab.machine.account(&before).accesses.iter().any(|(r, n)| *r == IrsReg::IRS_VMT_BASER && n.writes > 0);
        let expected = match (ended, written) {
            (true, _) => Phase::Down,
            (false, true) => Phase::Partial,
            (false, false) => Phase::Up,
        };
        assert_eq!(host.phase(), expected, "dropped after {n} polls");
        lab.machine.advance(200);
        host.shut_down().unwrap();
        if ended {
            assert!(n > 20, "commands take 50 ticks each: {n}");
            break;
        }
    }
}

#[test]
fn a_command_whose_future_was_dropped_has_its_time_all_the_same() {
    for shape in SHAPES {
        let (lab, host) = shape.slow(50);
        host.bring_up().unwrap();
        let mut vm = host.new_vm();
        // In each of the ports.
        for register in [IrsReg::IRS_VMAP_VMR, IrsReg::IRS_VPE_DBR] {
            drop_at(&lab, register, vm.start_init(&SPEC));
            assert_eq!(vm.state(), Some(VmState::Initialising));
            vm.tear_down().unwrap_or_else(|error| panic!("{shape:?}, {register}: {error}"));
            assert_eq!((vm.state(), host.holdings().vms), (None, 0));
        }
        vm.init(&SPEC).unwrap();
        drop_at(&lab, IrsReg::IRS_VMAP_VISTR, vm.start_create_lpi_ist(14));
        vm.remove_lpi_ist().unwrap();
        vm.create_lpi_ist(14).unwrap();
        vm.tear_down().unwrap();
        assert_eq!(host.counters().timed_out, 0);
        lab.assert_no_violations();
    }
}

#[test]
fn a_command_whose_future_was_dropped_has_no_more_than_its_time() {
    let (lab, host) = SHAPES[0].slow(50);
    host.bring_up().unwrap();
    let mut vm = host.new_vm();
    vm.init(&SPEC).unwrap();
    lab.machine.fault_next(Fault::Never);
    drop_at(&lab, IrsReg::IRS_VMAP_VISTR, vm.start_create_lpi_ist(14));
    let start = lab.machine.now().0;
    let error = vm.tear_down().unwrap_err();
    let in_flight = Command::MakeIstValid(VmId::new(0), gicv5_arch::IrsIntType::Lpi);
    let TearDownCause::Command(CommandError { kind: CommandErrorKind::InFlight { in_flight: found }, .. }) =
        error.cause
    else {
        panic!("{error:?}")
    };
    assert_eq!((found, error.fate), (in_flight, Fate::Unchanged));
    let waited = lab.machine.now().0 - start;
    assert!((TIMEOUT - 20..TIMEOUT + 20).contains(&waited), "{waited}");
    let start = lab.machine.now().0;
    assert!(vm.tear_down().is_err());
    assert!(lab.machine.now().0 - start < 10, "it has had its time");
    lab.machine.recover();
    vm.tear_down().unwrap();
}

/// Three commands, each of which takes almost the time that it may.
#[test]
fn a_sequence_of_slow_commands_is_waited_for_to_its_end() {
    let (lab, host) = SHAPES[0].up();
    let vm = live(&host);
    lab.machine.record_fault_points();
    let start = lab.machine.fault_points_passed();
    for n in 0..8 {
        lab.machine.plan_fault(start + n, Fault::Late(TIMEOUT - 20));
    }
    let mut first = pin!(vm.start_reset_vcpu(VcpuIndex(0)));
    let mut second = pin!(vm.start_reset_vcpu(VcpuIndex(1)));
    let (mut one, mut two) = (None, None);
    for _ in 0..20 * TIMEOUT {
        one = one.or_else(|| poll(first.as_mut()));
        two = two.or_else(|| poll(second.as_mut()));
        if one.is_some() && two.is_some() {
            break;
        }
    }
    assert_eq!((one, two), (Some(Ok(())), Some(Ok(()))));
    assert_eq!(lab.machine.take_fault_points().len(), 8);
    lab.assert_no_violations();
}

/// GEN-18: whoever waits for a port has it once its owner's time is over and the hardware is idle, and the owner learns it.
#[test]
fn a_sequence_that_nobody_drives_is_not_waited_for_for_ever() {
    let (lab, host) = SHAPES[0].slow(50);
    host.bring_up().unwrap();
    let mut vm = live(&host);
    {
        let mut stalled = Box::pin(vm.start_reset_vcpu(VcpuIndex(0)));
        assert!(poll(stalled.as_mut()).is_none());
        let start = lab.machine.now().0;
        vm.reset_vcpu(VcpuIndex(1)).unwrap();
        let waited = lab.machine.now().0 - start;
        assert!(waited >= 4 * TIMEOUT, "{waited}: as long as one that is driven may need");
        assert!(waited < 10 * TIMEOUT);
        let error = finish(&lab, stalled.as_mut()).unwrap_err();
        assert_eq!((error.fate, error.fault()), (Fate::Dead, gicv5_hyp::Fault::Caller), "half of it may be done");
    }
    vm.tear_down().unwrap();
    host.shut_down().unwrap();
    lab.assert_no_violations();
}

/// LIFE-10: what a command names whose future is forgotten is not given back before the hardware says that it is done.
#[test]
fn what_a_forgotten_future_has_begun_is_remembered_and_keeps_nobody_out() {
    for (n, register) in [(0, IrsReg::IRS_VPE_SELR), (2, IrsReg::IRS_VPE_CR0), (3, IrsReg::IRS_VPE_DBR)] {
        let lab = SHAPES[0].lab();
        let before = lab.machine.snapshot();
        let host = Host::new(lab.clone(), &SHAPES[0].host_config()).unwrap();
        host.bring_up().unwrap();
        let mut vm = live(&host);
        lab.machine.plan_fault(lab.machine.fault_points_passed() + n, Fault::Never);
        let mut forgotten = Box::pin(vm.start_reset_vcpu(VcpuIndex(0)));
        run_to(&lab, register, forgotten.as_mut());
        std::mem::forget(forgotten);
        let error = vm.tear_down().unwrap_err();
        assert!(matches!(error.cause, TearDownCause::Named { .. }), "{error}");
        lab.assert_no_violations();
        lab.machine.recover();
        // It keeps nobody out, once the hardware is idle.
        vm.init(&SPEC).unwrap();
        vm.tear_down().unwrap();
        end(&lab, &host, &before, register);
    }
}

const ONE: VmSpec<'static> = VmSpec::new(&[VpeId::new(3)]);

fn quarantine_a_doorbell(lab: &Lab, host: &Host<Lab>) {
    let mut vm = host.new_vm();
    vm.init(&ONE).unwrap();
    // The VM is made invalid, and then its doorbell does not come to rest.
    lab.machine.plan_fault(lab.machine.fault_points_passed() + 1, Fault::Refused);
    let TearDownError { cause: TearDownCause::Doorbell { .. }, fate: Fate::Quarantined } = vm.tear_down().unwrap_err()
    else {
        panic!("the LPI was not released")
    };
}

fn quarantine_a_vm(lab: &Lab, host: &Host<Lab>, fault: Fault) {
    let mut vm = host.new_vm();
    vm.init(&ONE).unwrap();
    lab.machine.fault_next(fault);
    assert_eq!(vm.tear_down().unwrap_err().fate, Fate::Quarantined);
}

/// Whichever of them is tried first.
#[test]
fn the_vm_table_is_made_anew_whatever_else_is_in_quarantine() {
    for shape in SHAPES {
        for doorbell_first in [true, false] {
            let (lab, host) = shape.up();
            // As long as it lives, the table stays.
            let mut bystander = live(&host);
            match doorbell_first {
                true => quarantine_a_doorbell(&lab, &host),
                false => quarantine_a_vm(&lab, &host, Fault::Ignored),
            }
            // An init would reclaim.
            let at = lab.machine.fault_points_passed();
            match doorbell_first {
                true => {
                    lab.machine.plan_fault(at, Fault::Refused);
                    quarantine_a_vm(&lab, &host, Fault::Ignored);
                }
                false => {
                    lab.machine.plan_fault(at, Fault::Ignored);
                    quarantine_a_doorbell(&lab, &host);
                }
            }
            assert_eq!(host.holdings().quarantined, 2, "{shape:?}");
            bystander.tear_down().unwrap();
            let at = lab.machine.fault_points_passed();
            let (first, second) = match doorbell_first {
                true => (Fault::Refused, Fault::Ignored),
                false => (Fault::Ignored, Fault::Refused),
            };
            lab.machine.plan_fault(at, first);
            lab.machine.plan_fault(at + 1, second);
            host.reclaim().unwrap_or_else(|error| panic!("{shape:?} {doorbell_first}: {error:?}"));
            assert_eq!((host.phase(), host.holdings().vms), (Phase::Up, 0));
            live(&host).tear_down().unwrap();
            host.shut_down().unwrap();
        }
    }
}

#[test]
fn a_doorbell_is_released_while_a_command_about_another_vm_hangs() {
    for shape in SHAPES {
        let (lab, host) = shape.up();
        let bystander = live(&host);
        quarantine_a_vm(&lab, &host, Fault::Ignored);
        // The init that comes first reclaims.
        lab.machine.plan_fault(lab.machine.fault_points_passed(), Fault::Ignored);
        quarantine_a_doorbell(&lab, &host);
        let at = lab.machine.fault_points_passed();
        lab.machine.plan_fault(at, Fault::Never);
        lab.machine.plan_fault(at + 1, Fault::Refused);
        assert_eq!(host.reclaim().unwrap_err().left, 2);
        let Err(ReclaimError {
            left: 1,
            cause: TearDownCause::Command(CommandError { kind: CommandErrorKind::InFlight { .. }, .. }),
        }) = host.reclaim()
        else {
            panic!("{:?}", host.holdings())
        };
        assert_eq!((host.holdings().vms, bystander.state()), (2, Some(VmState::Live)));
        lab.machine.recover();
        host.reclaim().unwrap();
        lab.assert_no_violations();
    }
}

#[test]
fn an_orphan_that_could_not_be_tried_stays_an_orphan() {
    let (lab, host) = SHAPES[0].up();
    drop((live(&host), live(&host)));
    let mut third = live(&host);
    lab.machine.fault_next(Fault::Never);
    assert!(third.tear_down().is_err());
    assert!(host.reap().is_err());
    let held = host.holdings();
    assert_eq!(
        (held.orphans, held.quarantined),
        (1, 2),
        "one was begun with, and is reclaimed by every init from then on"
    );
    lab.machine.recover();
    host.reclaim().unwrap();
    host.reap().unwrap();
    assert_eq!(host.holdings().vms, 0);
}

/// GEN-18: a future that waits for what others have begun has begun nothing itself, and yet is somebody whom others wait for.
#[test]
fn a_future_that_is_forgotten_while_it_waits_for_foreign_software_keeps_nobody_out() {
    for shape in SHAPES {
        let (lab, host) = shape.up();
        let mut vm = live(&host);
        lab.machine.fault_next(Fault::Late(3_000));
        lab.machine.write(IRS, IRS_VPE_SELR::ZERO.with_vm_id(VmId::new(9)).with_s(true));
        let mut forgotten = Box::pin(vm.start_reset_vcpu(VcpuIndex(0)));
        assert!(drive(&lab.machine, 3, forgotten.as_mut()).is_none());
        std::mem::forget(forgotten);
        lab.machine.advance(5_000);
        vm.reset_vcpu(VcpuIndex(0)).unwrap();
        vm.tear_down().unwrap();
        host.shut_down().unwrap();
        lab.assert_no_violations();
    }
}

/// LIFE-10: what a reap is at stays the host's.
#[test]
fn what_a_reap_is_at_is_counted_and_goes_with_the_host_if_nobody_drives_the_reap() {
    let (lab, host) = SHAPES[0].slow(50);
    let before = lab.machine.snapshot();
    host.bring_up().unwrap();
    let vms = [live(&host), live(&host)];
    drop(vms);
    let mut reap = pin!(host.start_reap());
    assert!(poll(reap.as_mut()).is_none());
    let held = host.holdings();
    assert_eq!((held.vms, held.orphans, held.quarantined), (2, 2, 0));
    host.shut_down().unwrap();
    let held = host.holdings();
    assert_eq!((held.vms, held.orphans, held.quarantined), (0, 0, 0));
    // Should it be driven again, there is nothing left to do.
    finish(&lab, reap.as_mut()).unwrap();
    assert_clean(&lab.machine, &before, "");
}

/// Who finds it taken over writes nothing more.
#[test]
fn a_change_of_the_host_that_is_driven_too_late_does_not_meddle_with_the_next_one() {
    for polls in 1..60 {
        let (lab, host) = SHAPES[0].slow(50);
        let before = lab.machine.snapshot();
        let ended = {
            let mut late = pin!(host.start_bring_up());
            let outcome = drive(&lab.machine, polls, late.as_mut());
            if outcome.is_none() {
                lab.machine.advance(100_000);
                host.bring_up().unwrap();
                let vm = live(&host);
                let error = finish(&lab, late.as_mut()).unwrap_err();
                assert_ne!(error.fault(), gicv5_hyp::Fault::Hardware, "after {polls} polls: {error}");
                assert_eq!(host.phase(), Phase::Up);
                drop(vm);
            }
            outcome.is_some()
        };
        end(&lab, &host, &before, polls);
        if ended {
            assert!(polls > 10, "{polls}");
            return;
        }
    }
    panic!("it does not end");
}

#[test]
fn a_host_for_no_vcpu_is_refused() {
    let lab = SHAPES[0].lab();
    let error = Host::new(lab, &Config::new(IRS, 1, 0)).unwrap_err();
    assert_eq!((error.fault(), error), (gicv5_hyp::Fault::Caller, gicv5_hyp::ProbeError::NoVcpus));
}

/// VPE-10, VPE-12: V tells that a VPE is selected, not which.
#[test]
fn a_selection_that_the_irs_ignores_gives_no_other_vpe_a_doorbell() {
    for shape in SHAPES {
        let (lab, host) = shape.slow(50);
        let before = lab.machine.snapshot();
        host.bring_up().unwrap();
        let (other, mut vm) = (live(&host), live(&host));
        // The first VPE of the VM stays selected when the VM ends, and the next VM has the same name.
        vm.reset_vcpu(VcpuIndex(0)).unwrap();
        vm.tear_down().unwrap();
        {
            let mut reset = pin!(other.start_reset_vcpu(VcpuIndex(2)));
            let mut init = pin!(vm.start_init(&SPEC));
            lab.machine.fault_next(Fault::Ignored);
            run_to(&lab, IrsReg::IRS_VPE_SELR, reset.as_mut());
            // The VPE would become valid, and have no doorbell yet: init waits for whoever is selecting one.
            assert!(drive(&lab.machine, 100, init.as_mut()).is_none());
            let error = finish(&lab, reset.as_mut()).unwrap_err();
            assert_eq!(error.fate, Fate::Dead, "{shape:?}: {error}");
            finish(&lab, init.as_mut()).unwrap_or_else(|error| panic!("{shape:?}: {error}"));
        }
        drop((vm, other));
        end(&lab, &host, &before, shape);
    }
}

/// IST-7: what is in the record while one of them is at work is not the others'.
#[test]
fn an_ist_that_is_being_made_is_nobody_elses_to_remove_or_to_make() {
    for shape in SHAPES {
        let (lab, host) = shape.slow(50);
        let before = lab.machine.snapshot();
        host.bring_up().unwrap();
        let (vm, other) = (live(&host), live(&host));
        {
            // Something else has the port.
            let mut busy = pin!(other.start_create_lpi_ist(14));
            run_to(&lab, IrsReg::IRS_VMAP_VISTR, busy.as_mut());
            let mut small = pin!(vm.start_create_lpi_ist(14));
            assert!(poll(small.as_mut()).is_none());
            // Whoever comes second finds the port first.
            let mut remove = pin!(vm.start_remove_lpi_ist());
            let mut large = pin!(vm.start_create_lpi_ist(16));
            assert!(poll(remove.as_mut()).is_none() && poll(large.as_mut()).is_none());
            finish(&lab, busy.as_mut()).unwrap();
            let removed = finish(&lab, remove.as_mut()).unwrap_err();
            assert!(matches!(removed.cause, IstCause::Absent), "{removed}");
            assert_eq!(finish(&lab, large.as_mut()), Ok(()));
            let made = finish(&lab, small.as_mut()).unwrap_err();
            assert!(matches!(made.cause, IstCause::Exists), "{made}");
        }
        vm.remove_lpi_ist().unwrap();
        drop((vm, other));
        end(&lab, &host, &before, shape);
    }
}

/// DB-10, open question 8: the commands of a reset may end the request for a doorbell.
#[test]
fn a_vcpu_whose_reset_was_given_up_half_way_does_not_rely_on_its_doorbell() {
    for register in [IrsReg::IRS_VPE_SELR, IrsReg::IRS_VPE_CR0, IrsReg::IRS_VPE_DBR] {
        let (lab, host) = SHAPES[0].slow(50);
        lab.open_traps();
        host.bring_up().unwrap();
        let vm = live(&host);
        lab.load(PE0, &vm, VcpuIndex(1)).unwrap();
        lab.guest(PE0).open();
        assert_eq!(lab.idle(PE0, &vm, VcpuIndex(1)), Ok(Idle::Sleep));
        assert_eq!(vm.has_pending(VcpuIndex(1)), Ok(false));
        drop_at(&lab, register, vm.start_reset_vcpu(VcpuIndex(1)));
        assert_eq!(vm.has_pending(VcpuIndex(1)), Ok(true), "{register}: it is loaded, and may ask again");
        lab.machine.advance(100);
        vm.reset_vcpu(VcpuIndex(1)).unwrap();
        lab.assert_no_violations();
    }
}

#[test]
fn an_init_that_cannot_be_says_what_became_of_the_half_way_vm() {
    let (lab, host) = SHAPES[0].slow(50);
    host.bring_up().unwrap();
    let _other = live(&host);
    let mut vm = host.new_vm();
    drop_at(&lab, IrsReg::IRS_VMAP_VPER, vm.start_init(&SPEC));
    let error = vm.init(&VmSpec::new(&[])).unwrap_err();
    assert_eq!(
        (error.fate, vm.state()),
        (Fate::Unchanged, Some(VmState::Initialising)),
        "nothing is looked at but the spec"
    );
    // The old VM goes, by a command and the release of three LPIs; then there is no heap for the new one.
    lab.machine.advance(100);
    lab.machine.plan_fault(lab.machine.fault_points_passed() + 4, Fault::Refused);
    let error = vm.init(&SPEC).unwrap_err();
    assert_eq!((error.fate, vm.state()), (Fate::TornDown, None), "{error}");
    lab.assert_no_violations();
}

#[test]
fn a_host_that_is_up_says_that_nothing_has_changed_when_it_is_brought_up() {
    let (_lab, host) = SHAPES[0].up();
    let text = host.bring_up().unwrap_err().to_string();
    assert_eq!(text, "the host could not come up: the host is up already; nothing has changed");
}
