//! What one caller does while another is at any point of what it does: just before it writes, frees, or takes a lock.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::sync::{Mutex, mpsc};
use std::thread;

use common::board::{self, Access, Board, Watch};
use common::{SHAPES, SPEC, open_traps};
use gicv5_arch::Iaffid;
use gicv5_hal::{Lock, Locks, Pe};
use gicv5_hyp::{Host, Phase, VcpuIndex};
use gicv5_model::account::Snapshot;
use gicv5_model::fault::Fault;
use gicv5_model::{Machine, ModelHost, PeIndex};

const PE0: PeIndex = PeIndex(0);
const FIRST: VcpuIndex = VcpuIndex(0);

thread_local! {
    /// How many locks are held.
    static HELD: Cell<u32> = const { Cell::new(0) };
    /// How many points come before the other caller's.
    static LEFT: Cell<u32> = const { Cell::new(0) };
    /// Whether the other caller has been told to try again, if it has come.
    static AGAIN: Cell<Option<bool>> = const { Cell::new(None) };
    static OTHER: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A point at which another caller may come.
fn point() {
    if HELD.get() > 0 || OTHER.with_borrow(Option::is_none) {
        return;
    }
    match LEFT.get().checked_sub(1) {
        Some(left) => LEFT.set(left),
        None => {
            let other = OTHER.take();
            other.into_iter().for_each(|other| other());
        }
    }
}

#[derive(Clone)]
struct Points;
struct PointLock<T>(Mutex<T>);

impl Locks for Points {
    type Mutex<T: Send> = PointLock<T>;
}

impl<T: Send> Lock<T> for PointLock<T> {
    fn new(value: T) -> PointLock<T> {
        PointLock(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        point();
        let mut value = self.0.lock().unwrap();
        HELD.set(HELD.get() + 1);
        let result = f(&mut value);
        HELD.set(HELD.get() - 1);
        result
    }
}

impl Watch for Points {
    type Locks = Points;

    fn around(&self, _: &Machine, access: Access, act: &mut dyn FnMut()) {
        if let Access::Write(..) | Access::Store | Access::Free = access {
            point();
        }
        act();
    }
}

type Here = Board<Points, ModelHost>;

struct World {
    machine: Machine,
    here: Here,
    host: &'static Host<Here>,
    before: Snapshot,
}

/// A host that is not up. It is never dropped, so that the other caller can be anyone.
fn world() -> World {
    let machine = Machine::new(SHAPES[0].config()).unwrap();
    let here = Board { machine: machine.clone(), host: ModelHost::start(&machine, 0..2048).unwrap(), watch: Points };
    here.host.on_pe(PE0, open_traps).unwrap();
    let before = machine.snapshot();
    let host = Box::leak(Box::new(Host::new(here.clone(), &SHAPES[0].host_config()).unwrap()));
    World { machine, here, host, before }
}

/// One caller does `one`, and at its n-th point another does `other`, for each n.
fn at_each_point<T>(
    begin: impl Fn(&World) -> T,
    one: impl Fn(&World),
    other: impl Fn(&'static Host<Here>) + Copy + 'static,
    end: impl Fn(&World, T, u32),
) {
    for n in 0.. {
        let world = world();
        let state = begin(&world);
        let host = world.host;
        LEFT.set(n);
        OTHER.set(Some(Box::new(move || other(host))));
        one(&world);
        let over = OTHER.take().is_some();
        end(&world, state, n);
        if over {
            assert!(n > 3, "{n} points");
            return;
        }
    }
}

fn iaffid(machine: &Machine) -> Iaffid {
    Pe::new(&machine.pe(PE0).unwrap()).iaffid()
}

/// A host with a VM without a handle, one of whose vCPUs is resident.
fn with_resident_orphan(world: &World) {
    world.host.bring_up().unwrap();
    let mut vm = world.host.new_vm();
    vm.init(&SPEC).unwrap();
    world.here.host.on_pe(PE0, |pe| vm.load(pe, FIRST)).unwrap().unwrap();
    drop(vm);
}

/// Nothing is left in the end, and a host that says that it is down has no table.
#[track_caller]
fn finish(world: &World, context: impl Debug) {
    let host = world.host;
    let held = host.holdings();
    assert!(held.phase != Phase::Down || held.table_bytes == 0, "{context:?}: {held:?}");
    let ended = (host.reap().is_ok(), host.reclaim().is_ok(), host.shut_down().is_ok());
    let holdings = host.holdings();
    assert_eq!(ended, (true, true, true), "{context:?}: {holdings:?}");
    common::assert_clean(&world.machine, &world.before, context);
}

/// LIFE-22, RES-23.
#[test]
fn the_vm_table_is_not_withdrawn_while_a_vcpu_is_resident_whose_vm_another_caller_looks_at() {
    at_each_point(
        with_resident_orphan,
        |world| drop(world.host.reap()),
        |host| drop(host.shut_down()),
        |world, (), n| {
            assert_eq!(world.host.phase(), Phase::Up, "at {n}");
            assert!(world.machine.resident(PE0).is_some(), "at {n}");
            board::assert_no_violations(&world.machine);
        },
    );
}

/// One caller stops at its k-th point, another goes on to its m-th, the first ends, and then the other; for each k and m.
fn one_within_the_other(
    one: fn(&'static Host<Here>),
    other: fn(&'static Host<Here>),
    end: impl Fn(&World, (u32, u32)),
) {
    for k in 0.. {
        for m in 0.. {
            let world = world();
            let host = world.host;
            let ((stopped, stops), (resume, resumes)) = (mpsc::channel(), mpsc::channel::<()>());
            let first = thread::spawn(move || {
                LEFT.set(k);
                OTHER.set(Some(Box::new(move || {
                    // It is not driven for long.
                    host.hypervisor().machine.advance(1_000_000_000);
                    stopped.send(()).unwrap();
                    let _ = resumes.recv();
                })));
                one(host);
                OTHER.take();
            });
            // An error says that it has no such point.
            let has_stopped = stops.recv().is_ok();
            let first = Cell::new(Some(first));
            let ends = move || {
                drop(resume);
                first.take().into_iter().for_each(|first| first.join().unwrap());
            };
            LEFT.set(m);
            OTHER.set(Some(Box::new(ends)));
            other(host);
            let over = OTHER.take().map(|ends| ends()).is_some();
            end(&world, (k, m));
            if !has_stopped {
                assert!(k > 3, "{k} points");
                return;
            }
            if over {
                break;
            }
        }
    }
}

/// LIFE-10.
#[test]
fn a_host_that_is_down_has_no_table_whoever_goes_on_after_however_long() {
    for other in [|host: &'static Host<Here>| drop(host.shut_down()), |host: &'static Host<Here>| drop(host.bring_up())]
    {
        one_within_the_other(|host| drop(host.bring_up()), other, finish);
    }
}

/// RES-16.
#[test]
fn a_vcpu_whose_pe_is_gone_keeps_no_vm_although_another_caller_looks_at_it() {
    let times = Cell::new(0);
    at_each_point(
        with_resident_orphan,
        |world| drop(world.host.reap()),
        |host| AGAIN.set(Some(host.pe_is_gone(iaffid(&host.hypervisor().machine)).is_err())),
        |world, (), n| {
            let again = AGAIN.take();
            times.set(times.get() + u32::from(again == Some(true)));
            if again != Some(false) {
                world.host.pe_is_gone(iaffid(&world.machine)).unwrap();
            }
            world.here.host.on_pe(PE0, gicv5_hyp::reset_pe).unwrap();
            assert!(world.host.reap().is_ok(), "at {n}");
        },
    );
    assert!(times.get() > 0, "no other caller was ever in between");
}

/// LIFE-10.
#[test]
fn two_callers_who_do_anything_at_all_leave_nothing_behind() {
    type Call = fn(&'static Host<Here>);
    const CALLS: [(&str, Call); 5] = [
        ("bring up", |host| drop(host.bring_up())),
        ("shut down", |host| drop(host.shut_down())),
        ("reap", |host| drop(host.reap())),
        ("reclaim", |host| drop(host.reclaim())),
        ("init", |host| drop(host.new_vm().init(&SPEC))),
    ];
    for ((first, one), (second, other)) in CALLS.iter().flat_map(|one| CALLS.map(|other| (*one, other))) {
        for late in [false, true] {
            at_each_point(
                |world| {
                    if first != "bring up" {
                        world.host.bring_up().unwrap();
                        let mut vm = world.host.new_vm();
                        vm.init(&SPEC).unwrap();
                        if first == "reclaim" {
                            world.machine.fault_next(Fault::Ignored);
                            vm.tear_down().unwrap_err();
                        }
                    }
                },
                |world| one(world.host),
                move |host| {
                    if late {
                        host.hypervisor().machine.advance(1_000_000_000);
                    }
                    other(host);
                },
                |world, (), n| finish(world, (first, second, late, n)),
            );
        }
    }
}
