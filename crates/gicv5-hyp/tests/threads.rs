//! Several threads at once: vCPUs that move between PEs, handlers of doorbells, a device, and VMs that come and go.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/guest.rs"]
mod guest;
#[path = "common/night.rs"]
mod night;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Lab, SHAPES, Shape, VPES, live};
use gicv5_hyp::{Host, Idle, VcpuIndex, Vm, Wake};
use gicv5_model::PeIndex;
use night::spi_of;

const PES: u16 = 2;
const VMS: usize = 2;
const VCPUS: usize = VPES.len();
const ROUNDS: u32 = 40;
/// Whoever waits for longer waits for ever.
const FOR_EVER: Duration = Duration::from_secs(20);

/// Where the thread of a vCPU sleeps.
#[derive(Default)]
struct Bed {
    woken: Mutex<bool>,
    bell: Condvar,
    taken: AtomicU32,
}

impl Bed {
    fn wake(&self) {
        *self.woken.lock().unwrap() = true;
        self.bell.notify_one();
    }

    /// Sleeps until it is woken. Announced by the lock, a last look, and then to bed.
    fn sleep(&self, has_something_to_do: impl Fn() -> bool) {
        let mut woken = self.woken.lock().unwrap();
        let start = Instant::now();
        while !std::mem::take(&mut *woken) && !has_something_to_do() {
            assert!(start.elapsed() < FOR_EVER, "a vCPU sleeps for ever");
            woken = self.bell.wait_timeout(woken, FOR_EVER).unwrap().0;
        }
    }
}

struct World<'h> {
    lab: &'h Lab,
    host: &'h Host<Lab>,
    vms: Vec<Vm<'h, Lab>>,
    /// Whoever has it is on the PE.
    pes: [Mutex<()>; PES as usize],
    beds: [[Bed; VCPUS]; VMS],
    over: AtomicBool,
}

impl World<'_> {
    /// The thread of a vCPU. It runs on one PE and then on the other.
    fn run_vcpu(&self, vm: usize, vcpu: usize) {
        let (bed, index) = (&self.beds[vm][vcpu], VcpuIndex(vcpu));
        for turn in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let pe = PeIndex((turn + vcpu as u16) % PES);
            let slept = {
                let _here = self.pes[usize::from(pe.0)].lock().unwrap();
                self.lab.load(pe, &self.vms[vm], index).unwrap();
                while let Some(taken) = self.lab.guest(pe).take() {
                    assert_eq!(taken, spi_of(vcpu), "an interrupt of another vCPU");
                    bed.taken.fetch_add(1, Ordering::Relaxed);
                }
                self.lab.idle(pe, &self.vms[vm], index).unwrap()
            };
            if slept == Idle::Sleep {
                let pending = || self.over.load(Ordering::Relaxed) || self.vms[vm].has_pending(index).unwrap();
                bed.sleep(pending);
            }
        }
    }

    /// Takes the interrupts of a PE, whenever nobody else is on it.
    fn take_interrupts(&self, pe: PeIndex) {
        while !self.over.load(Ordering::Relaxed) {
            let woken = {
                let _here = self.pes[usize::from(pe.0)].lock().unwrap();
                self.lab.take_doorbells(pe, self.host)
            };
            for Wake { vm, vpe } in woken {
                let vm = self.vms.iter().position(|other| other.id() == Some(vm)).unwrap();
                let vcpu = VPES.iter().position(|other| *other == vpe).unwrap();
                self.beds[vm][vcpu].wake();
            }
            self.lab.machine.advance(1);
            thread::yield_now();
        }
    }

    /// Raises the SPI of every vCPU, and waits until all have taken it.
    fn be_a_device(&self) {
        for round in 1..=ROUNDS {
            for vm in 0..VMS {
                for vcpu in 0..VCPUS {
                    self.inject(vm, vcpu);
                }
            }
            let start = Instant::now();
            let beds = || self.beds.iter().flatten();
            while beds().any(|bed| bed.taken.load(Ordering::Relaxed) < round) {
                assert!(start.elapsed() < FOR_EVER, "round {round}: an interrupt is never taken");
                thread::yield_now();
            }
            assert!(beds().all(|bed| bed.taken.load(Ordering::Relaxed) == round), "one is taken twice");
        }
    }

    fn inject(&self, vm: usize, vcpu: usize) {
        self.lab.on(PeIndex(PES), |pe| {
            self.vms[vm].inject(pe, spi_of(vcpu), gicv5_hyp::Pending::Set).unwrap();
        });
    }

    /// VMs come and go beside the others.
    fn come_and_go(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let mut vm = live(self.host);
            vm.create_lpi_ist(14).unwrap();
            vm.tear_down().unwrap();
        }
    }
}

/// Ends the others, also when the thread that has it panics.
struct Over<'a>(&'a World<'a>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
        for bed in self.0.beds.iter().flatten() {
            // A bed whose lock is poisoned has nobody in it.
            if let Ok(mut woken) = bed.woken.lock() {
                *woken = true;
            }
            bed.bell.notify_one();
        }
    }
}

fn night(shape: Shape) {
    // The model's ticks pass faster than threads are scheduled.
    let patience = Duration::from_secs(60);
    let (lab, host, _) = night::evening(shape, shape.config().switches, PES + 1, patience);
    let vms: Vec<_> = (0..VMS).map(|_| live(&host)).collect();
    for vm in &vms {
        for (vcpu, vpe) in VPES.into_iter().enumerate() {
            lab.load(PeIndex(PES), vm, VcpuIndex(vcpu)).unwrap();
            lab.guest(PeIndex(PES)).open().enable(spi_of(vcpu), vpe, 8);
            lab.put(PeIndex(PES), vm, VcpuIndex(vcpu)).unwrap();
        }
    }
    let world = World {
        lab: &lab,
        host: &host,
        vms,
        pes: Default::default(),
        beds: Default::default(),
        over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let world = &world;
        for vm in 0..VMS {
            for vcpu in 0..VCPUS {
                scope.spawn(move || {
                    world.run_vcpu(vm, vcpu);
                });
            }
        }
        for pe in 0..PES {
            scope.spawn(move || world.take_interrupts(PeIndex(pe)));
        }
        scope.spawn(move || world.come_and_go());
        let _over = Over(world);
        world.be_a_device();
    });
    for mut vm in world.vms {
        vm.tear_down().unwrap();
    }
    host.shut_down().unwrap();
    lab.assert_no_violations();
}

/// DB-21, DB-26, RES-21, GEN-15.
#[test]
fn vcpus_that_move_between_pes_are_woken_for_every_interrupt() {
    SHAPES.into_iter().for_each(night);
}
