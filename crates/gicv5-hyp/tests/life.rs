//! Hosts and VMs come and go, and everything that can go wrong on the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::error::Error;

use common::{Lab, SHAPES, SPEC, Shape, VPES, assert_clean, end, vpes};
use gicv5_arch::VpeId;
use gicv5_arch::irs::{IRS_VPE_SELR, IrsReg};
use gicv5_hyp::{Fate, Host, InitCause, Phase, VmSpec, VmState};
use gicv5_model::config::Eagerness;
use gicv5_model::config::Switches;
use gicv5_model::fault::{Fault, FaultPoint, Request};

/// Everything this library does with commands and memory, from nothing to nothing. Stops at the first failure.
fn a_life(host: &Host<Lab>) -> Result<(), Box<dyn Error>> {
    host.bring_up()?;
    let mut first = host.new_vm();
    first.init(&SPEC)?;
    let mut second = host.new_vm();
    second.init(&VmSpec::new(&VPES[..1]))?;
    first.create_lpi_ist(14)?;
    first.reset_vcpu(gicv5_hyp::VcpuIndex(1))?;
    first.remove_lpi_ist()?;
    second.create_lpi_ist(16)?;
    first.tear_down()?;
    second.tear_down()?;
    drop((first, second));
    host.shut_down()?;
    Ok(())
}

#[test]
fn a_life_leaves_nothing_behind_and_breaks_no_rule() {
    for shape in SHAPES {
        let (lab, host) = shape.down();
        let before = lab.machine.snapshot();
        for _ in 0..2 {
            a_life(&host).unwrap_or_else(|error| panic!("{shape:?}: {error:?}"));
            assert_eq!(host.phase(), Phase::Down);
            assert_clean(&lab.machine, &before, shape);
        }
    }
}

/// The fault points of a life.
fn points(shape: Shape) -> Vec<FaultPoint> {
    let (lab, host) = shape.down();
    lab.machine.record_fault_points();
    a_life(&host).unwrap();
    lab.machine.take_fault_points()
}

/// Faults that make no difference.
fn cannot_be_noticed(point: &FaultPoint, fault: Fault, points: &[FaultPoint]) -> bool {
    let Request::Command { register, value, selected, .. } = point.request else { return false };
    let earlier = |like: &dyn Fn(&Request) -> bool| points.iter().any(|p| p.index < point.index && like(&p.request));
    match (register, fault) {
        // Reset selects a VPE that no VM has. What selects nothing may find nothing.
        (IrsReg::IRS_VPE_SELR, Fault::Invalid) => {
            IRS_VPE_SELR::new_with_raw_value(value).vpe_id() == VpeId::new(u16::MAX)
        }
        // What is selected already need not be selected.
        (IrsReg::IRS_VPE_SELR, Fault::Ignored) => {
            let selections = |p: &&FaultPoint| {
                p.index < point.index && matches!(p.request, Request::Command { register: IrsReg::IRS_VPE_SELR, .. })
            };
            points.iter().rfind(selections).is_some_and(|before| before.request == point.request)
        }
        // Without 1-of-N routing IRS_VPE_CR0 means nothing.
        (IrsReg::IRS_VPE_CR0, Fault::Ignored) => true,
        // Reset writes what has been written before.
        (IrsReg::IRS_VPE_DBR, Fault::Ignored) => {
            earlier(&|request| *request == Request::Command { irs: common::IRS, register, value, selected })
        }
        _ => false,
    }
}

/// LIFE-6, LIFE-8, LIFE-9, LIFE-10, VMT-7, IST-8, GEN-19, LIFE-3, LIFE-11, LIFE-21.
#[test]
fn whatever_fails_nothing_leaks_and_the_life_can_be_lived_again() {
    for shape in SHAPES {
        let points = points(shape);
        for point in &points {
            for fault in point.request.faults(1_000) {
                let (lab, host) = shape.down();
                let before = lab.machine.snapshot();
                lab.machine.plan_fault(lab.machine.fault_points_passed() + point.index - points[0].index, fault);
                let context = format!("{shape:?}: {} {fault}", point.request);
                let outcome = a_life(&host);
                assert_eq!(lab.machine.take_struck_faults().len(), 1, "{context}");
                if cannot_be_noticed(point, fault, &points) {
                    outcome.unwrap_or_else(|error| panic!("{context}: {error:?}"));
                } else {
                    assert!(outcome.is_err(), "{context}: nobody noticed");
                }
                let violations = lab.machine.take_violations();
                assert!(violations.is_empty(), "{context}: {violations:#?}");
                end(&lab, &host, &before, &context);
                a_life(&host).unwrap_or_else(|error| panic!("{context}: the second life: {error:?}"));
                assert_clean(&lab.machine, &before, &context);
            }
        }
    }
}

/// LIFE-15.
#[test]
fn init_refuses_what_cannot_be_and_changes_nothing() {
    let (lab, host) = SHAPES[1].up();
    let before = lab.machine.snapshot();
    let mut vm = host.new_vm();
    let refused = |spec| {
        let mut vm = host.new_vm();
        let error = vm.init(&spec).unwrap_err();
        assert_eq!(error.fate, Fate::Unchanged);
        error.cause
    };
    assert_eq!(refused(VmSpec::new(&[])), InitCause::NoVcpus);
    let nested = VmSpec { nesting: gicv5_hyp::Nesting::Requested, ..SPEC };
    assert_eq!(refused(nested), InitCause::Nesting);
    let twice = vpes([1, 1]);
    assert_eq!(refused(VmSpec::new(&twice)), InitCause::NotAscending { vpe: twice[0] });
    let high = vpes([4096]);
    assert!(matches!(refused(VmSpec::new(&high)), InitCause::VpeId(_)));
    let last = vpes([0, u16::MAX]);
    assert_eq!(refused(VmSpec::new(&last)), InitCause::ReservedVpe { vpe: last[1] });
    assert!(matches!(refused(VmSpec { spis: u32::MAX, ..SPEC }), InitCause::Spis(_)));

    vm.init(&SPEC).unwrap();
    let id = vm.id();
    let error = vm.init(&SPEC).unwrap_err();
    assert_eq!((error.cause, error.fate), (InitCause::AlreadyInitialised, Fate::Unchanged), "LIFE-13");
    assert_eq!((vm.state(), vm.id()), (Some(VmState::Live), id));
    vm.tear_down().unwrap();
    assert!(vm.refer().is_err() && vm.create_lpi_ist(14).is_err(), "a VM that is not initialised cannot be used");
    let account = lab.machine.account(&before);
    // The level-2 VM table stays until the whole table goes (VMT-16).
    assert_eq!(account.leaks.len(), 1, "{account:#?}");
    host.shut_down().unwrap();
    assert_eq!(refused(SPEC), InitCause::HostNotUp(Phase::Down));
}

/// Hardware may be either way of everything that the rules leave open.
#[test]
fn a_life_is_the_same_whatever_the_rules_leave_open() {
    for (n, switches) in Switches::pairs().into_iter().enumerate() {
        let mut shape = SHAPES[n % SHAPES.len()];
        shape.eagerness = [Eagerness::Strict, Eagerness::Random, Eagerness::Early][n % 3];
        let mut config = shape.config();
        config.switches = switches;
        let lab = Lab::new(config.clone());
        let host = Host::new(lab.clone(), &shape.host_config()).unwrap();
        let before = lab.machine.snapshot();
        lab.machine.record_fault_points();
        let start = lab.machine.fault_points_passed();
        a_life(&host).unwrap_or_else(|error| panic!("{switches:?}: {error:?}"));
        assert_clean(&lab.machine, &before, switches);
        // One fault of the many.
        let points = lab.machine.take_fault_points();
        let point = &points[n * 7 % points.len()];
        let Some(fault) = point.request.faults(1_000).nth(n % 3) else {
            continue;
        };
        let lab = Lab::new(config);
        let host = Host::new(lab.clone(), &shape.host_config()).unwrap();
        let before = lab.machine.snapshot();
        lab.machine.plan_fault(lab.machine.fault_points_passed() + point.index - start, fault);
        let context = format!("{} {fault}: {switches:?}", point.request);
        let _ = a_life(&host);
        end(&lab, &host, &before, &context);
        a_life(&host).unwrap_or_else(|error| panic!("{context}: {error:?}"));
        assert_clean(&lab.machine, &before, &context);
    }
}

/// The second fault strikes where the first has led to: cleaning up, trying again, reclaiming.
#[test]
fn a_second_fault_on_the_way_out_changes_nothing() {
    let mut cases = 0;
    for shape in SHAPES {
        for (n, point) in points(shape).iter().enumerate().step_by(5) {
            let faults: Vec<_> = point.request.faults(1_000).collect();
            let first = faults[n / 5 % faults.len()];
            // How many points are passed after the first fault, and what can go wrong there.
            let run = |second: Option<(u64, Fault)>| {
                let (lab, host) = shape.down();
                let before = lab.machine.snapshot();
                let start = lab.machine.fault_points_passed();
                lab.machine.record_fault_points();
                let at = start + point.index - points_start(shape);
                lab.machine.plan_fault(at, first);
                if let Some((index, fault)) = second {
                    lab.machine.plan_fault(start + index, fault);
                }
                let context = format!("{shape:?}: {} {first}, then {second:?}", point.request);
                let _ = a_life(&host);
                // The hardware answers again, but the second fault may be still to come.
                for _ in 0..4 {
                    lab.machine.advance(2_000);
                    let _ = host.reclaim();
                    let _ = host.reap();
                    let _ = host.shut_down();
                }
                let passed = lab.machine.take_fault_points();
                end(&lab, &host, &before, &context);
                a_life(&host).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                assert_clean(&lab.machine, &before, &context);
                passed.into_iter().filter(|p| p.index > at).map(|p| (p.index - start, p)).collect::<Vec<_>>()
            };
            for (m, (index, second)) in run(None).into_iter().enumerate() {
                let faults: Vec<_> = second.request.faults(1_000).collect();
                run(Some((index, faults[m % faults.len()])));
                cases += 1;
            }
        }
    }
    assert!(cases > 400, "{cases}");
}

/// The number of the first fault point of a life.
fn points_start(shape: Shape) -> u64 {
    shape.down().0.machine.fault_points_passed()
}
