//! What the systems that this library learned from got wrong, or could not do: one test each, named after it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{IRS, Lab, SHAPES, SPEC, Shape, VPES, assert_clean, live, vpes};
use gicv5_arch::geometry::VmTableGeometry;
use gicv5_arch::irs::{IRS_VMT_BASER, IRS_VPE_DBR, IRS_VPE_SELR, IRS_VPE_STATUSR, IrsReg};
use gicv5_arch::values::Structure;
use gicv5_arch::{Lpi, VmId, VpeId};
use gicv5_hal::{IrsExt, Pe};
use gicv5_hyp::{
    BringUpCause, Command, CommandError, CommandErrorKind, Config, Fate, Host, InitCause, LiveTable, Phase, Place,
    ProbeError, ReclaimError, ShutDownError, TearDownCause, TearDownError, VcpuIndex, VmSpec, VmState,
};
use gicv5_model::PeIndex;
use gicv5_model::fault::{Fault, FaultPoint, Request};

const TWO_LEVEL: Shape = SHAPES[1];

/// The index of the first fault point of a closure that is like this, seen from its beginning.
fn point(shape: Shape, run: impl FnOnce(&Lab, &Host<Lab>), like: impl Fn(&Request) -> bool) -> u64 {
    let (lab, host) = shape.up();
    lab.machine.record_fault_points();
    let start = lab.machine.fault_points_passed();
    run(&lab, &host);
    let points = lab.machine.take_fault_points();
    points.iter().find(|point| like(&point.request)).expect("there is such a point").index - start
}

fn command(wanted: IrsReg) -> impl Fn(&Request) -> bool {
    move |request| matches!(request, Request::Command { register, .. } if *register == wanted)
}

/// What the hardware has for the doorbell of a VPE. Disturbs the selection.
fn doorbell(lab: &Lab, vm: VmId, vpe: VpeId) -> Option<IRS_VPE_DBR> {
    let status = lab.host.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe)).unwrap();
    IRS_VPE_STATUSR::new_with_raw_value(status as u32).v().then(|| lab.machine.read(IRS))
}

fn enabled(lab: &Lab, lpi: Lpi) -> bool {
    lab.machine.interrupt(lpi.into()).unwrap().enable()
}

/// First posting of the KVM series: init failure leaves the mess to a teardown that is never called.
#[test]
fn a_failed_init_cleans_up_by_itself_and_may_be_tried_again() {
    for shape in SHAPES {
        let (lab, host) = shape.up();
        // The level-2 VM table comes with the first VM and stays.
        let mut bystander = live(&host);
        let before = lab.machine.snapshot();
        let start = lab.machine.fault_points_passed();
        lab.machine.record_fault_points();
        let mut vm = host.new_vm();
        vm.init(&SPEC).unwrap();
        vm.tear_down().unwrap();
        let points = lab.machine.take_fault_points();
        let of_init = points.iter().rposition(|point| command(IrsReg::IRS_VMAP_VISTR)(&point.request)).unwrap();
        for point in &points[..=of_init] {
            for fault in [Fault::Refused, Fault::Ignored, Fault::Invalid] {
                // Without 1-of-N routing IRS_VPE_CR0 means nothing.
                if !point.request.kind().can_have(fault) || command(IrsReg::IRS_VPE_CR0)(&point.request) {
                    continue;
                }
                lab.machine.plan_fault(lab.machine.fault_points_passed() + point.index - start, fault);
                let error = vm.init(&SPEC).expect_err("something failed");
                assert_eq!(error.fate, Fate::TornDown, "{}: {error:?}", point.request);
                assert_eq!(vm.state(), None);
                let account = lab.machine.account(&before);
                assert!(account.is_clean(), "{} {fault}: {account:#?}", point.request);
                vm.init(&SPEC).expect("init may be tried again");
                vm.tear_down().unwrap();
            }
        }
        assert_eq!(bystander.state(), Some(VmState::Live));
        bystander.tear_down().unwrap();
    }
}

/// KVM: a level-2 VM table page is freed after its map command timed out.
/// LIFE-10, hazard 6.
#[test]
fn a_level_2_vm_table_whose_map_command_timed_out_stays_until_the_vm_table_is_invalid() {
    let (lab, host) = TWO_LEVEL.up();
    let before = lab.machine.snapshot();
    let at = point(TWO_LEVEL, |_, host| drop(live(host)), command(IrsReg::IRS_VMAP_L2_VMTR));
    lab.machine.plan_fault(lab.machine.fault_points_passed() + at, Fault::Late(1_000));
    let mut vm = host.new_vm();
    let error = vm.init(&SPEC).unwrap_err();
    assert!(
        matches!(error.cause, InitCause::Command(CommandError { kind: CommandErrorKind::TimedOut { .. }, .. })),
        "{error:?}"
    );
    assert_eq!(error.fate, Fate::TornDown, "nothing but the page was named to the hardware");
    let account = lab.machine.account(&before);
    assert_eq!(account.leaks.len(), 1, "the page is held, and all else has gone: {account:#?}");
    let held = host.holdings();
    assert_eq!((held.vms, held.quarantined_bytes), (0, 4096));
    assert_eq!(held.unknown, Some(Command::MapLevel2(VmId::new(0))));
    // The command completes after all, and the page is used.
    lab.machine.advance(1_000);
    vm.init(&SPEC).unwrap();
    assert_eq!(host.holdings().quarantined_bytes, 0);
    vm.tear_down().unwrap();
    assert_eq!(lab.machine.account(&before).leaks.len(), 1, "it stays when its last VM goes (VMT-16)");
    drop(vm);
    host.shut_down().unwrap();
    assert!(lab.machine.account(&before).is_clean());
}

/// A host with a VM that it could not make invalid, and which the hardware will make invalid when it recovers.
fn stuck(shape: Shape) -> (Lab, Host<Lab>, TearDownError, Vec<Lpi>) {
    let (lab, host) = shape.up();
    let mut vm = live(&host);
    let id = vm.id().unwrap();
    let lpis = VPES.map(|vpe| doorbell(&lab, id, vpe).unwrap().intid()).to_vec();
    lab.machine.fault_next(Fault::Never);
    let error = vm.tear_down().unwrap_err();
    assert_eq!(vm.state(), None, "the handle is free");
    drop(vm);
    (lab, host, error, lpis)
}

/// KVM: doorbell LPIs are freed although make-invalid failed.
/// LIFE-8, hazard 8.
#[test]
fn doorbells_of_a_vm_that_could_not_be_made_invalid_are_quarantined_with_it() {
    for shape in SHAPES {
        let (lab, host, error, lpis) = stuck(shape);
        assert_eq!(error.fate, Fate::Quarantined);
        let holdings = host.holdings();
        assert_eq!((holdings.vms, holdings.quarantined, holdings.orphans), (1, 1, 0));
        assert!(holdings.quarantined_bytes > 0);
        assert_eq!(holdings.unknown, Some(Command::MakeVmInvalid(VmId::new(0))));
        // Somebody who wants LPIs does not get these.
        let taken: Vec<_> =
            (0..10).map(|n| gicv5_hal::HostLpis::allocate(&lab.host, gicv5_hal::Cookie(n)).unwrap()).collect();
        for lpi in taken {
            assert!(!lpis.contains(&gicv5_hal::HostLpis::lpi(&lab.host, &lpi)));
            gicv5_hal::HostLpis::release(&lab.host, lpi).unwrap();
        }
        lab.assert_no_violations();
    }
}

/// KVM: a VM whose invalidation timed out is lost until reboot.
#[test]
fn a_vm_whose_invalidation_timed_out_is_reclaimed_when_the_hardware_answers() {
    for shape in SHAPES {
        let (lab, host, error, _) = stuck(shape);
        let TearDownCause::Command(CommandError { command, place, kind: CommandErrorKind::TimedOut { .. }, .. }) =
            error.cause
        else {
            panic!("{error:?}")
        };
        assert_eq!((command, place), (Command::MakeVmInvalid(VmId::new(0)), Place::Register(IrsReg::IRS_VMT_STATUSR)));
        let polls = lab.machine.now();
        let Err(ReclaimError {
            left: 1,
            cause: TearDownCause::Command(CommandError { kind: CommandErrorKind::InFlight { in_flight }, .. }),
        }) = host.reclaim()
        else {
            panic!("the command is under way")
        };
        assert_eq!(in_flight, command);
        assert!(lab.machine.now().0 - polls.0 < 10, "a command that had its time is not waited for");
        lab.machine.recover();
        host.reclaim().unwrap();
        assert_eq!((host.holdings().vms, host.holdings().quarantined_bytes), (0, 0));
        let vm = live(&host);
        assert_eq!(vm.id(), Some(VmId::new(0)), "its ID can be had again");
        lab.assert_no_violations();
    }
}

#[test]
fn every_init_tries_to_reclaim_first() {
    let (lab, host, ..) = stuck(SHAPES[0]);
    let mut vm = host.new_vm();
    let error = vm.init(&SPEC).unwrap_err();
    assert!(
        matches!(error.cause, InitCause::Command(CommandError { kind: CommandErrorKind::InFlight { .. }, .. })),
        "{error:?}"
    );
    assert_eq!((error.fate, error.fault()), (Fate::TornDown, gicv5_hyp::Fault::Busy));
    lab.machine.recover();
    vm.init(&SPEC).unwrap();
    assert_eq!((vm.id(), host.holdings().vms), (Some(VmId::new(0)), 1));
}

/// KVM restore: the settings of VPEs are not written again after a VM was made valid again.
/// LIFE-5, hazard 7.
#[test]
fn every_vpe_that_becomes_valid_has_its_settings_and_a_reset_makes_them_right_again() {
    for shape in SHAPES {
        let (lab, host) = shape.up();
        let mut vm = host.new_vm();
        for _ in 0..2 {
            // The second time the same VM ID and VPE IDs become valid once more (VPE-9, VPE-10).
            vm.init(&SPEC).unwrap();
            // Enabling takes effect in finite time (SYN-4).
            lab.machine.advance(100);
            let id = vm.id().unwrap();
            let settings = VPES.map(|vpe| doorbell(&lab, id, vpe).expect("the VPE is valid"));
            let mut lpis = settings.map(|settings| settings.intid());
            assert!(settings.iter().all(|settings| settings.dbv() && !settings.req_db()), "{settings:?}");
            assert!(lpis.iter().all(|lpi| enabled(&lab, *lpi)), "a doorbell that is never enabled wakes nobody");
            lpis.sort_unstable();
            assert!(lpis[0] < lpis[1] && lpis[1] < lpis[2], "DB-14");

            // Somebody has broken the settings of one.
            doorbell(&lab, id, VPES[1]);
            lab.host.command(IRS_VPE_DBR::ZERO).unwrap();
            assert!(!doorbell(&lab, id, VPES[1]).unwrap().dbv());
            vm.reset_vcpu(VcpuIndex(1)).unwrap();
            assert_eq!(doorbell(&lab, id, VPES[1]), Some(settings[1]));
            vm.tear_down().unwrap();
            assert!(doorbell(&lab, id, VPES[1]).is_none(), "VPE-12");
        }
        lab.assert_no_violations();
    }
}

/// KVM: the VM table is sized to the hardware's maximum at probe.
#[test]
fn the_vm_table_is_sized_by_configuration_and_grows_with_the_vms() {
    for (vms, bytes, linear, two_level) in
        [(1, 1 << 20, 0, 0), (100, 4096, 7, 7), (300, 4096, 9, 9), (100_000, 4096, 12, 12)]
    {
        let config = Config { contiguous_bytes: bytes, ..Config::new(IRS, vms, 16) };
        let lab = TWO_LEVEL.lab();
        let host = Host::new(lab, &config).unwrap();
        assert_eq!(host.vm_limit(), vms.min(1 << 12), "the hardware has 12 VM ID bits");
        let expected = match host.vm_table().structure() {
            Structure::Linear => VmTableGeometry::linear(linear),
            Structure::TwoLevel => VmTableGeometry::two_level(two_level),
        };
        assert_eq!(Ok(host.vm_table()), expected);
    }
    let (lab, host) = TWO_LEVEL.up();
    let table = host.holdings().table_bytes;
    assert!(table <= 64, "the level-1 table alone: {table}");
    let vms: Vec<_> = (0..129)
        .map(|_| {
            let mut vm = host.new_vm();
            vm.init(&VmSpec::new(&VPES[..1])).unwrap();
            vm
        })
        .collect();
    assert_eq!(host.holdings().table_bytes, table + 2 * 4096, "VMs 0 to 127, and VM 128");
    assert_eq!(vms[128].id(), Some(VmId::new(128)));
    lab.assert_no_violations();
}

/// The first posting tests an unsigned number for being negative.
/// LIFE-12.
#[test]
fn running_out_of_vm_ids_is_an_ordinary_error() {
    let lab = SHAPES[0].lab();
    let host = Host::new(lab.clone(), &Config::new(IRS, 2, 16)).unwrap();
    host.bring_up().unwrap();
    let spec = VmSpec::new(&VPES[..1]);
    let mut vms = [(); 3].map(|()| host.new_vm());
    vms[0].init(&spec).unwrap();
    vms[1].init(&spec).unwrap();
    let before = lab.machine.snapshot();
    let error = vms[2].init(&spec).unwrap_err();
    assert_eq!(
        (&error.cause, error.fate, error.fault()),
        (&InitCause::NoVmId, Fate::Unchanged, gicv5_hyp::Fault::Capacity)
    );
    assert!(lab.machine.account(&before).accesses.is_empty(), "the hardware has heard nothing of it");
    vms[0].tear_down().unwrap();
    vms[2].init(&spec).unwrap();
    assert_eq!(vms[2].id(), Some(VmId::new(0)), "the lowest free one");
}

/// The first posting tears a domain down twice.
#[test]
fn tearing_down_twice_is_tearing_down_once() {
    for shape in SHAPES {
        let (lab, host) = shape.up();
        let mut vm = live(&host);
        vm.tear_down().unwrap();
        let before = lab.machine.snapshot();
        vm.tear_down().unwrap();
        assert!(lab.machine.account(&before).accesses.is_empty());
        drop(vm);
        host.reap().unwrap();
        host.shut_down().unwrap();
        host.shut_down().unwrap();
        assert_eq!(host.phase(), Phase::Down);
        lab.assert_no_violations();
    }
}

/// The first posting, when a request fails at vCPU k, does not release exactly those that were requested.
#[test]
fn a_doorbell_that_fails_at_vcpu_k_takes_exactly_the_ones_before_it_back() {
    const MANY: [VpeId; 17] = vpes([0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597]);
    let (lab, host) = SHAPES[1].up();
    let _bystander = live(&host);
    for (k, vpe) in MANY.into_iter().enumerate() {
        let before = lab.machine.snapshot();
        lab.machine.record_fault_points();
        let mut vm = host.new_vm();
        lab.machine.plan_fault(lab.machine.fault_points_passed() + k as u64, Fault::Refused);
        let error = vm.init(&VmSpec::new(&MANY)).unwrap_err();
        let InitCause::Doorbell { vpe: failed, .. } = error.cause else { panic!("{error:?}") };
        assert_eq!((failed, error.fate), (vpe, Fate::TornDown));
        let released =
            lab.machine.take_fault_points().iter().filter(|p| matches!(p.request, Request::LpiRelease { .. })).count();
        assert_eq!(released, k);
        assert!(lab.machine.account(&before).is_clean());
    }
}

/// The first posting frees everything after a make-invalid that failed.
/// LIFE-7.
#[test]
fn nothing_of_a_vm_is_freed_or_written_before_the_hardware_confirms() {
    for shape in SHAPES {
        let (lab, host) = shape.up();
        let mut vm = live(&host);
        vm.create_lpi_ist(16).unwrap();
        let before = lab.machine.snapshot();
        lab.machine.fault_next(Fault::Late(5_000));
        vm.tear_down().unwrap_err();
        let account = lab.machine.account(&before);
        assert_eq!(account.memory.stores, 0, "nothing was written");
        assert_eq!(host.holdings().quarantined, 1);
        // The same for the VM table.
        drop(vm);
        let Err(ShutDownError::Command { held, .. }) = host.shut_down() else { panic!("the command is under way") };
        assert_eq!(
            (held.phase, held.quarantined),
            (Phase::Up, 1),
            "nothing could be asked of the IRS, so the host is as it was"
        );
        assert_eq!(lab.machine.account(&before).memory.stores, 0);
        lab.machine.advance(5_000);
        host.shut_down().unwrap();
        assert_eq!(host.holdings().vms, 0);
        lab.assert_no_violations();
    }
}

/// LIFE-1, GEN-7, GEN-8.
#[test]
fn hardware_without_virtualisation_is_refused_with_the_register_that_says_so() {
    let mut config = SHAPES[0].config();
    config.irses[0].idr0 = config.irses[0].idr0.with_virt(false);
    config.irses[0].idr3 = gicv5_arch::irs::IRS_IDR3::ZERO;
    config.irses[0].idr4 = gicv5_arch::irs::IRS_IDR4::ZERO;
    let idr0 = config.irses[0].idr0.raw_value();
    let error = Host::new(Lab::new(config), &SHAPES[0].host_config()).unwrap_err();
    assert_eq!(error, ProbeError::NoVirtualisation { irs: IRS, value: idr0.into() });
}

/// A stuck command takes only the registers of its status register out of use (GEN-16, GEN-18).
/// LIFE-19.
#[test]
fn while_a_command_hangs_running_vms_go_on_and_others_fail_at_once() {
    let (lab, host) = SHAPES[3].up();
    let (mut running, mut going) = (live(&host), live(&host));
    lab.machine.fault_next(Fault::Never);
    going.tear_down().unwrap_err();
    let id = running.id().unwrap();

    let error = running.create_lpi_ist(14).unwrap_err();
    assert_eq!(error.fate, Fate::Unchanged, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("make VM 1 invalid"), "{text}: names the command in flight");
    let error = running.tear_down().unwrap_err();
    assert_eq!((error.fate, running.state()), (Fate::Unchanged, Some(VmState::Live)), "{error:?}");
    // Settings of VPEs have a status register of their own.
    running.reset_vcpu(VcpuIndex(0)).unwrap();
    let cpu = lab.machine.pe(PeIndex(0)).unwrap();
    let pe = Pe::new(&cpu);
    running.load(&pe, VcpuIndex(0)).unwrap();
    running.put(&pe, VcpuIndex(0)).unwrap();
    running.load(&pe, VcpuIndex(2)).unwrap();
    running.put(&pe, VcpuIndex(2)).unwrap();
    assert!(doorbell(&lab, id, VPES[0]).unwrap().dbv());

    lab.machine.recover();
    running.create_lpi_ist(14).unwrap();
    running.tear_down().unwrap();
    assert_eq!(host.holdings().quarantined, 1, "reclaim is for that, and init");
    host.reclaim().unwrap();
    assert_eq!(host.holdings().vms, 0);
    lab.assert_no_violations();
}

/// A command on a VPE's settings that hangs names the VM's ID and one doorbell: those stay, and nothing else.
#[test]
fn exactly_what_an_unconfirmed_command_named_is_quarantined() {
    for shape in SHAPES {
        for (register, kept) in [(IrsReg::IRS_VPE_DBR, 1), (IrsReg::IRS_VPE_CR0, 0), (IrsReg::IRS_VPE_SELR, 0)] {
            let (lab, host) = shape.up();
            let _bystander = live(&host);
            let at = point(
                shape,
                |_, host| {
                    live(host);
                },
                command(register),
            );
            let at_second = at - u64::from(shape.two_level) * 2;
            let before = lab.machine.snapshot();
            lab.machine.plan_fault(lab.machine.fault_points_passed() + at_second, Fault::Never);
            let mut vm = host.new_vm();
            let error = vm.init(&SPEC).unwrap_err();
            assert_eq!(error.fate, Fate::Quarantined, "{register}: {error:?}");
            let holdings = host.holdings();
            assert_eq!((holdings.vms, holdings.quarantined, holdings.quarantined_bytes), (2, 1, 0), "{register}");
            let account = lab.machine.account(&before);
            assert_eq!(account.leaks.len(), kept, "{register}: {account:#?}");
            assert!(account.violations.is_empty());
            // The ID is not given to another, who would get the old doorbell when the command completes.
            assert!(vm.init(&SPEC).is_err(), "the settings of its VPEs cannot be made");
            lab.machine.recover();
            vm.init(&SPEC).unwrap();
            assert_eq!(vm.id(), Some(VmId::new(1)));
            vm.tear_down().unwrap();
            assert_clean(&lab.machine, &before, register);
        }
    }
}

/// A VM that the idle IRS does not make invalid: the table that encloses it is made anew, once no other VM is there.
#[test]
fn the_whole_vm_table_is_the_way_out_when_a_vm_cannot_be_made_invalid() {
    for shape in SHAPES {
        let (lab, host) = shape.up();
        let before = lab.machine.snapshot();
        let (mut bad, mut other) = (live(&host), live(&host));
        lab.machine.fault_next(Fault::Ignored);
        let error = bad.tear_down().unwrap_err();
        assert!(
            matches!(error.cause, TearDownCause::Command(CommandError { kind: CommandErrorKind::NoEffect, .. })),
            "{error:?}"
        );
        assert_eq!(error.fate, Fate::Quarantined);
        lab.machine.fault_next(Fault::Ignored);
        let error = host.reclaim().unwrap_err();
        assert_eq!(error.cause, TearDownCause::OthersRun, "another VM is there");
        assert_eq!(other.state(), Some(VmState::Live));
        other.tear_down().unwrap();
        lab.machine.fault_next(Fault::Ignored);
        host.reclaim().unwrap();
        assert_eq!((host.phase(), host.holdings().vms), (Phase::Up, 0));
        bad.init(&SPEC).unwrap();
        bad.tear_down().unwrap();
        drop((bad, other));
        host.shut_down().unwrap();
        let account = lab.machine.account(&before);
        assert!(account.violations.is_empty() && account.leaks.is_empty(), "{shape:?} {account:#?}");
    }
}

/// Dropping a handle touches no hardware.
#[test]
fn a_vm_whose_handle_is_dropped_is_an_orphan_until_it_is_reaped() {
    for shape in SHAPES {
        let (lab, host) = shape.up();
        live(&host).tear_down().unwrap();
        let before = lab.machine.snapshot();
        let vm = live(&host);
        let at = lab.machine.now();
        drop(vm);
        assert_eq!(lab.machine.now(), at);
        assert_eq!((host.holdings().orphans, host.holdings().vms), (1, 1));
        // One whose vCPU is resident stays.
        let vm = live(&host);
        let cpu = lab.machine.pe(PeIndex(1)).unwrap();
        let pe = Pe::new(&cpu);
        vm.load(&pe, VcpuIndex(0)).unwrap();
        let id = vm.id().unwrap();
        let mut vm = vm;
        let error = vm.tear_down().unwrap_err();
        assert_eq!(error.cause, TearDownCause::Resident { vm: id, vpe: VPES[0] }, "LIFE-22");
        assert_eq!((error.fate, vm.state()), (Fate::Unchanged, Some(VmState::Live)));
        host.reap().unwrap();
        assert_eq!((host.holdings().orphans, host.holdings().vms), (0, 1));
        vm.put(&pe, VcpuIndex(0)).unwrap();
        drop(vm);
        host.reap().unwrap();
        assert_clean(&lab.machine, &before, "");
    }
}

/// Something that names the VM to the hardware keeps it.
#[test]
fn a_vm_is_not_torn_down_while_something_names_it() {
    let (lab, host) = SHAPES[0].up();
    let mut vm = live(&host);
    let (first, second) = (vm.refer().unwrap(), vm.refer().unwrap());
    assert_eq!(Some(first.vm()), vm.id());
    let error = vm.tear_down().unwrap_err();
    assert!(matches!(error.cause, TearDownCause::Referenced { references: 2, .. }), "{error:?}");
    drop(first);
    drop(vm);
    assert!(host.reap().is_err() && host.shut_down().is_err());
    drop(second);
    host.shut_down().unwrap();
    lab.assert_no_violations();
}

/// VMT-2, VMT-5.
#[test]
fn a_vm_table_of_earlier_software_is_refused_or_withdrawn_as_configured() {
    for shape in SHAPES {
        let (lab, earlier) = shape.up();
        drop(live(&earlier));
        let table: IRS_VMT_BASER = lab.machine.read(IRS);
        let before = lab.machine.snapshot();

        let host = Host::new(lab.clone(), &shape.host_config()).unwrap();
        let error = host.bring_up().unwrap_err();
        assert_eq!(error.cause, BringUpCause::LiveTable { irs: IRS, value: table.raw_value() });
        assert_eq!((error.cleanup, host.phase()), (Ok(()), Phase::Down));
        assert_eq!(lab.machine.read::<IRS_VMT_BASER>(IRS), table, "nothing was touched");
        assert!(lab.machine.account(&before).is_clean());

        let host = Host::new(lab.clone(), &Config { live_table: LiveTable::TakeOver, ..shape.host_config() }).unwrap();
        host.bring_up().unwrap();
        assert_ne!(lab.machine.read::<IRS_VMT_BASER>(IRS), table);
        let vm = live(&host);
        drop(vm);
        host.shut_down().unwrap();
        assert_clean(&lab.machine, &before, "the earlier table's memory is not this host's");
    }
}

/// GEN-12: ID widths of IRS and CPU interface differ, and the smaller counts.
#[test]
fn an_ist_is_no_wider_than_the_cpu_interface() {
    let mut config = SHAPES[0].config();
    for pe in &mut config.irses[0].pes {
        pe.id_bits = gicv5_arch::sysreg::CpuIdBits::Bits16;
    }
    let lab = Lab::new(config);
    let host = Host::new(lab, &SHAPES[0].host_config()).unwrap();
    host.bring_up().unwrap();
    let mut vm = live(&host);
    let error = vm.create_lpi_ist(17).unwrap_err();
    assert!(matches!(error.cause, gicv5_hyp::IstCause::Geometry(_)), "{error:?}");
    assert_eq!((error.fate, error.fault()), (Fate::Unchanged, gicv5_hyp::Fault::Caller));
    vm.create_lpi_ist(16).unwrap();
    vm.tear_down().unwrap();
}

/// GEN-19: the time that a command may take is the configured one.
#[test]
fn a_command_that_is_slow_but_in_time_is_waited_for_and_counted() {
    let (lab, host) = SHAPES[0].up();
    let before = host.counters();
    lab.machine.fault_next(Fault::Late(150));
    let mut vm = live(&host);
    let after = host.counters();
    assert!(after.longest_wait >= Duration::from_micros(100), "{after:?}");
    assert_eq!((before.timed_out, after.timed_out), (0, 0));
    assert_eq!(after.commands - before.commands, 1 + 3 * 4 + 1, "VMAP_VMR, four for each VPE, VMAP_VISTR");
    lab.machine.fault_next(Fault::Late(250));
    vm.tear_down().unwrap_err();
    assert_eq!(host.counters().timed_out, 1);
}

/// VM-1, VPE-11, IST-2, GEN-18: one look at the status register before a command sequence and one after each command, and what
/// shows that it had its effect.
#[test]
fn a_vm_costs_no_more_register_accesses_than_the_hardware_asks_for() {
    let (lab, host) = SHAPES[0].up();
    let accesses = |f: &mut dyn FnMut()| {
        let before = lab.machine.snapshot();
        f();
        let account = lab.machine.account(&before);
        account.accesses.iter().map(|(register, n)| (*register, n.reads, n.writes)).collect::<Vec<_>>()
    };
    let mut vm = host.new_vm();
    let vcpus = VPES.len() as u64;
    let of_init = accesses(&mut || vm.init(&SPEC).unwrap());
    let expected = [
        // Before the VMAP_VMR and the VMAP_VISTR; and after them and each VMAP_VPER.
        (IrsReg::IRS_VMT_STATUSR, 2 + 2 + vcpus, 0),
        (IrsReg::IRS_VPE_SELR, 0, vcpus),
        // That the VPE selected is the fresh one, and that it has its doorbell.
        (IrsReg::IRS_VPE_DBR, 2 * vcpus, vcpus),
        // Read back only where 1-of-N gives it a meaning.
        (IrsReg::IRS_VPE_CR0, 0, vcpus),
        (IrsReg::IRS_VPE_STATUSR, 4 * vcpus, 0),
        (IrsReg::IRS_VMAP_VMR, 0, 1),
        (IrsReg::IRS_VMAP_VISTR, 0, 1),
        (IrsReg::IRS_VMAP_VPER, 0, vcpus),
    ];
    assert_eq!(of_init, expected);
    let of_teardown = accesses(&mut || vm.tear_down().unwrap());
    assert_eq!(of_teardown, [(IrsReg::IRS_VMT_STATUSR, 2, 0), (IrsReg::IRS_VMAP_VMR, 0, 1)]);
}

/// VPE-7, VPE-21.
#[test]
fn vpe_descriptors_lie_side_by_side_in_as_few_blocks_as_the_host_can_give() {
    // Descriptors of 256 bytes.
    let shape = SHAPES[3];
    for (vcpus, contiguous_bytes, blocks) in
        [(1, 4096, 1), (16, 4096, 1), (17, 4096, 2), (33, 4096, 3), (33, 0x1_0000, 1), (300, 0x1_0000, 2)]
    {
        let lab = shape.lab();
        let host = Host::new(lab.clone(), &Config { contiguous_bytes, ..shape.host_config() }).unwrap();
        host.bring_up().unwrap();
        let vpes: Vec<_> = (0..vcpus).map(|n| VpeId::new(3 * n)).collect();
        let mut vm = host.new_vm();
        vm.init(&VmSpec::new(&vpes)).unwrap();
        vm.tear_down().unwrap();
        lab.machine.record_fault_points();
        vm.init(&VmSpec::new(&vpes)).unwrap();
        let tables = |point: &FaultPoint| matches!(point.request, Request::Table { .. });
        let tables = lab.machine.take_fault_points().iter().filter(|point| tables(point)).count();
        assert_eq!(tables, 2 + blocks, "the VM descriptor, the VPE table and {vcpus} VPE descriptors");
        vm.tear_down().unwrap();
        drop(vm);
        host.shut_down().unwrap();
        lab.assert_no_violations();
    }
}
