//! Init, teardown and the rest as futures: driven by hand, dropped half-way, and from several threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use common::{Lab, SHAPES, SPEC, VPES, assert_clean, drive, end, live, poll};
use gicv5_arch::irs::{IRS_VPE_DBR, IRS_VPE_SELR, IrsReg};
use gicv5_hal::IrsExt;
use gicv5_hyp::{BringUpCause, Host, Phase, VcpuIndex, VmSpec, VmState};
use gicv5_model::fault::{Fault, Request};

fn is_selection(request: &Request) -> bool {
    matches!(request, Request::Command { register: IrsReg::IRS_VPE_SELR, .. })
}

/// How many polls a future takes.
fn polls<T>(lab: &Lab, future: impl Future<Output = T>) -> usize {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for n in 1.. {
        if future.as_mut().poll(&mut context).is_ready() {
            return n;
        }
        lab.machine.advance(1);
    }
    0
}

#[test]
fn a_step_looks_once_and_never_waits() {
    let (lab, host) = SHAPES[1].slow(4);
    host.bring_up().unwrap();
    let mut vm = host.new_vm();
    let start = lab.machine.now();
    let mut ticks = Vec::new();
    let mut init = pin!(vm.start_init(&SPEC));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let before = lab.machine.now();
        let poll = init.as_mut().poll(&mut context);
        ticks.push(lab.machine.now().0 - before.0);
        if let Poll::Ready(outcome) = poll {
            outcome.unwrap();
            break;
        }
        lab.machine.advance(10);
    }
    // A read of a status register is a tick: one look before each command and one after.
    assert!(ticks.iter().all(|ticks| *ticks <= 3), "{ticks:?}");
    assert!(lab.machine.now().0 - start.0 > 100);
    lab.assert_no_violations();
}

#[test]
fn an_init_that_is_dropped_half_way_leaves_nothing_that_teardown_or_another_init_cannot_settle() {
    for shape in SHAPES {
        let most = {
            let (lab, host) = shape.slow(4);
            host.bring_up().unwrap();
            polls(&lab, host.new_vm().start_init(&SPEC))
        };
        for n in 1..most {
            for settle in 0..3 {
                let (lab, host) = shape.slow(4);
                let before = lab.machine.snapshot();
                host.bring_up().unwrap();
                let mut vm = host.new_vm();
                let context = format!("{shape:?} {n} of {most}, {settle}");
                assert!(drive(&lab.machine, n, pin!(vm.start_init(&SPEC))).is_none());
                assert!(matches!(vm.state(), None | Some(VmState::Initialising)), "{context}");
                match settle {
                    // The command that was under way has to end first.
                    0 => {
                        lab.machine.advance(10);
                        vm.init(&SPEC).unwrap_or_else(|error| panic!("{context}: {error}"));
                        vm.tear_down().unwrap();
                    }
                    1 => drop(vm.tear_down()),
                    _ => {}
                }
                drop(vm);
                end(&lab, &host, &before, &context);
            }
        }
    }
}

/// GEN-17, VPE-12: whatever VPE of the first VM is selected then, and whether it has its doorbell already.
#[test]
fn after_an_init_that_was_dropped_half_way_no_vcpu_of_another_vm_is_left_without_a_doorbell() {
    let shape = SHAPES[0];
    let (lab, host) = shape.slow(4);
    host.bring_up().unwrap();
    let most = polls(&lab, host.new_vm().start_init(&SPEC));
    let mut noticed = 0;
    for n in 1..most {
        for ignored in 0.. {
            let (lab, host) = shape.slow(4);
            host.bring_up().unwrap();
            let (mut dropped, mut vm) = (host.new_vm(), host.new_vm());
            assert!(drive(&lab.machine, n, pin!(dropped.start_init(&SPEC))).is_none());
            lab.machine.advance(10);
            let first = lab.machine.fault_points_passed();
            lab.machine.plan_fault(first + ignored, Fault::Ignored);
            lab.machine.record_fault_points();
            let outcome = vm.init(&SPEC);
            let struck = lab.machine.take_struck_faults();
            let points = lab.machine.take_fault_points();
            let Some(point) = points.get(ignored as usize) else { break };
            if struck.is_empty() || !is_selection(&point.request) {
                continue;
            }
            noticed += u32::from(outcome.is_err());
            for vpe in VPES.into_iter().filter(|_| vm.state() == Some(VmState::Live)) {
                let select = IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm.id().unwrap()).with_vpe_id(vpe);
                lab.host.command(select).unwrap();
                let found: IRS_VPE_DBR = lab.machine.read(common::IRS);
                assert!(found.dbv(), "dropped after {n} polls, then {} without effect: {vpe}", point.request);
            }
        }
    }
    assert!(noticed > 100, "{noticed}");
}

/// What becomes of a future that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Drop,
    Forget,
}

impl Leave {
    /// Polls a future so many times and leaves it. Whether it has ended.
    fn after<T>(self, polls: usize, lab: &Lab, future: impl Future<Output = T>) -> bool {
        let mut future = Box::pin(future);
        let ended = drive(&lab.machine, polls, future.as_mut()).is_some();
        match self {
            Leave::Drop => drop(future),
            Leave::Forget => std::mem::forget(future),
        }
        ended
    }
}

const WHATS: [&str; 8] =
    ["bring_up", "init", "tear_down", "create_lpi_ist", "remove_lpi_ist", "reap", "reclaim", "shut_down"];

/// Does this so many polls long, and then the whole end of a host. False once it has ended before.
fn left_half_way(shape: common::Shape, what: &str, polls: usize, leave: Leave) -> bool {
    let (lab, host) = shape.slow(4);
    let before = lab.machine.snapshot();
    let context = format!("{shape:?}: {what}, {leave:?} after {polls} polls");
    if what != "bring_up" {
        host.bring_up().unwrap();
    }
    let mut vm = host.new_vm();
    if !matches!(what, "bring_up" | "init") {
        vm.init(&SPEC).unwrap();
    }
    let ended = match what {
        "bring_up" => leave.after(polls, &lab, host.start_bring_up()),
        "init" => leave.after(polls, &lab, vm.start_init(&SPEC)),
        "tear_down" => leave.after(polls, &lab, vm.start_tear_down()),
        "create_lpi_ist" => leave.after(polls, &lab, vm.start_create_lpi_ist(14)),
        "remove_lpi_ist" => {
            vm.create_lpi_ist(14).unwrap();
            leave.after(polls, &lab, vm.start_remove_lpi_ist())
        }
        "reap" => {
            drop((std::mem::replace(&mut vm, host.new_vm()), live(&host)));
            leave.after(polls, &lab, host.start_reap())
        }
        "reclaim" => {
            // The IRS does not make it invalid: the VM table is made anew.
            lab.machine.fault_next(Fault::Ignored);
            vm.tear_down().unwrap_err();
            let at = lab.machine.fault_points_passed();
            lab.machine.plan_fault(at, Fault::Ignored);
            leave.after(polls, &lab, host.start_reclaim())
        }
        _ => {
            drop((std::mem::replace(&mut vm, host.new_vm()), live(&host)));
            leave.after(polls, &lab, host.start_shut_down())
        }
    };
    if leave == Leave::Drop {
        assert!(ended || host.phase() != Phase::Changing, "{context}");
    } else if !ended {
        // Whoever comes next does not wait for somebody who is not driven.
        lab.machine.advance(100_000);
        match (what, host.bring_up()) {
            (_, Ok(())) => {}
            (_, Err(error)) => assert!(matches!(error.cause, BringUpCause::AlreadyUp), "{context}: {error}"),
        }
        live(&host).tear_down().unwrap_or_else(|error| panic!("{context}: {error}"));
    }
    drop(vm);
    end(&lab, &host, &before, &context);
    !ended
}

#[test]
fn everything_may_be_dropped_half_way() {
    for shape in SHAPES {
        for what in WHATS {
            assert!((1..).take_while(|polls| left_half_way(shape, what, *polls, Leave::Drop)).count() > 0, "{what}");
        }
    }
}

/// Nothing that a future was at is lost with it, and nobody waits for it longer than for a caller who is slow.
#[test]
fn everything_may_be_forgotten_half_way() {
    for shape in SHAPES {
        for what in WHATS {
            assert!((1..).take_while(|polls| left_half_way(shape, what, *polls, Leave::Forget)).count() > 0, "{what}");
        }
    }
}

#[test]
fn a_reap_that_is_dropped_half_way_keeps_the_vms_that_it_could_not_tear_down() {
    for shape in SHAPES {
        for n in 1.. {
            let (lab, host) = shape.slow(4);
            let before = lab.machine.snapshot();
            host.bring_up().unwrap();
            drop((live(&host), live(&host), live(&host)));
            lab.machine.fault_next(Fault::Ignored);
            let outcome = drive(&lab.machine, n, pin!(host.start_reap()));
            let held = host.holdings();
            let context = format!("{shape:?}: dropped after {n} polls, {held}");
            assert_eq!(held.vms, held.orphans + held.quarantined, "{context}");
            if outcome.is_some() {
                assert_eq!((held.orphans, held.quarantined), (0, 1), "{context}");
            }
            end(&lab, &host, &before, &context);
            if outcome.is_some() {
                break;
            }
        }
    }
}

/// VMT-23: two VMs need the same level-2 VM table at the same time.
#[test]
fn vms_are_made_and_unmade_from_many_threads() {
    for shape in SHAPES {
        let lab = shape.lab();
        // Whoever has the port may be off its CPU for long, while the others let the machine's time pass.
        let config = gicv5_hyp::Config { timeout: std::time::Duration::from_secs(1000), ..shape.host_config() };
        let host = Host::new(lab.clone(), &config).unwrap();
        let before = lab.machine.snapshot();
        host.bring_up().unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let host = &host;
                scope.spawn(move || {
                    for round in 0..12 {
                        let mut vm = host.new_vm();
                        vm.init(&VmSpec { spis: round % 3 * 8, ..VmSpec::new(&VPES[..1 + thread % 3]) }).unwrap();
                        if round % 2 == 0 {
                            vm.create_lpi_ist(14).unwrap();
                        }
                        match round % 4 {
                            0 => vm.tear_down().unwrap(),
                            1 => drop(vm),
                            2 => {
                                drop(vm);
                                host.reap().unwrap();
                            }
                            _ => {
                                vm.tear_down().unwrap();
                                vm.init(&SPEC).unwrap();
                                vm.tear_down().unwrap();
                            }
                        }
                    }
                });
            }
        });
        host.reap().unwrap();
        assert_eq!(host.holdings().vms, 0);
        host.shut_down().unwrap();
        assert_clean(&lab.machine, &before, "");
    }
}

/// Drives a future to its end, and polls it twice more.
#[track_caller]
fn ends_and_stays_pending<T>(lab: &Lab, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let value = drive(&lab.machine, 10_000, future.as_mut()).expect("it ends");
    for _ in 0..2 {
        assert!(poll(future.as_mut()).is_none(), "a future that has completed completes again");
    }
    value
}

#[test]
fn a_future_that_has_completed_is_pending_when_it_is_polled_again() {
    let (lab, host) = SHAPES[1].slow(4);
    let before = lab.machine.snapshot();
    let mut vm = host.new_vm();
    // What is refused at the first poll completes too.
    ends_and_stays_pending(&lab, vm.start_create_lpi_ist(4)).unwrap_err();
    ends_and_stays_pending(&lab, vm.start_reset_vcpu(VcpuIndex(0))).unwrap_err();
    ends_and_stays_pending(&lab, host.start_bring_up()).unwrap();
    ends_and_stays_pending(&lab, host.start_bring_up()).unwrap_err();
    ends_and_stays_pending(&lab, vm.start_init(&SPEC)).unwrap();
    ends_and_stays_pending(&lab, vm.start_create_lpi_ist(4)).unwrap();
    ends_and_stays_pending(&lab, vm.start_reset_vcpu(VcpuIndex(0))).unwrap();
    ends_and_stays_pending(&lab, vm.start_remove_lpi_ist()).unwrap();
    ends_and_stays_pending(&lab, vm.start_tear_down()).unwrap();
    drop(vm);
    ends_and_stays_pending(&lab, host.start_reap()).unwrap();
    ends_and_stays_pending(&lab, host.start_reclaim()).unwrap();
    ends_and_stays_pending(&lab, host.start_shut_down()).unwrap();
    assert_clean(&lab.machine, &before, "futures");
}

#[test]
fn neither_driver_gives_away_the_future_of_an_async_fn() {
    // That future panics when it is polled after its end; `fused` is what is given away instead.
    fn look(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, found);
            } else if fs::read_to_string(&path).unwrap().contains("pub async fn") {
                found.push(path.display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    for driver in ["gicv5-hyp", "gicv5-phys"] {
        look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(driver).join("src"), &mut found);
    }
    assert!(found.is_empty(), "{found:?}");
}
