//! Several threads do what they like with several VMs, while the hardware fails now and then: no guest takes what is not its
//! own, no wake-up is lost, no rule is broken, and everything is given back once the hardware has recovered.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/guest.rs"]
mod guest;
#[path = "common/night.rs"]
mod night;

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use common::{Lab, SHAPES, SPEC, Shape, VPES};
use gicv5_hyp::{Host, Idle, Pending, Phase, VcpuIndex, Vm, VmState};
use gicv5_model::PeIndex;
use gicv5_model::config::Switches;
use gicv5_random::Rng;
use night::{FAULTS, spi_of};

const VMS: usize = 3;
const VCPUS: usize = VPES.len();
/// The PEs that vCPUs run on; those of the threads that make and unmake VMs; and the device's.
const RUNNERS: [PeIndex; 2] = [PeIndex(0), PeIndex(1)];
const MAKERS: [PeIndex; 2] = [PeIndex(2), PeIndex(3)];
const DEVICE: PeIndex = PeIndex(4);
const PES: u16 = 5;
/// How often each of the first two PEs gets a vCPU in a night, and how often it tries at most.
const LOADS: u32 = 200;
const TRIES: u32 = 100_000;

struct World<'h> {
    lab: &'h Lab,
    host: &'h Host<Lab>,
    /// Whoever runs a vCPU has its VM for reading, from load to put.
    vms: [RwLock<Vm<'h, Lab>>; VMS],
    /// Which vCPU was told to sleep and has not been loaded since.
    sleeps: [[AtomicBool; VCPUS]; VMS],
    taken: AtomicU32,
    over: AtomicBool,
}

impl World<'_> {
    fn run_vcpus(&self, pe: PeIndex, mut rng: Rng) {
        let mut loads = 0;
        for _ in 0..TRIES {
            if loads == LOADS {
                return;
            }
            let (n, vcpu) = (rng.below(VMS as u64) as usize, rng.below(VCPUS as u64) as usize);
            let (sleeps, index) = (&self.sleeps[n][vcpu], VcpuIndex(vcpu));
            {
                let vm = self.vms[n].read().unwrap();
                // Not live, on the other PE, or the residency fails.
                if self.lab.load(pe, &vm, index).is_err() {
                    drop(vm);
                    // Those who make VMs need a PE too, and on a busy machine yielding gives them none.
                    thread::sleep(Duration::from_micros(50));
                } else {
                    loads += 1;
                    sleeps.store(false, Ordering::SeqCst);
                    let guest = self.lab.guest(pe);
                    guest.open().enable(spi_of(vcpu), VPES[vcpu], 8);
                    while let Some(taken) = guest.take() {
                        assert_eq!(taken, spi_of(vcpu), "an interrupt of another vCPU");
                        self.taken.fetch_add(1, Ordering::Relaxed);
                    }
                    match rng.chance(2, 3) {
                        true => {
                            let idle = self.lab.idle(pe, &vm, index).unwrap();
                            sleeps.store(idle == Idle::Sleep, Ordering::SeqCst);
                        }
                        false => self.lab.put(pe, &vm, index).unwrap(),
                    }
                }
            }
            if rng.chance(1, 2) {
                self.lab.take_doorbells(pe, self.host);
            }
        }
        panic!("{loads} of {LOADS} loads in {TRIES} tries: hardly anything ever runs");
    }

    /// VMs come and go.
    fn make(&self, pe: PeIndex, mut rng: Rng) {
        self.lab.on(pe, |_| {
            while !self.over.load(Ordering::Relaxed) {
                let n = rng.below(VMS as u64) as usize;
                let index = VcpuIndex(rng.below(VCPUS as u64) as usize);
                // What fails has a reason; what counts is what is left in the end.
                match rng.below(11) {
                    0..=3 => {
                        let mut vm = self.vms[n].write().unwrap();
                        if vm.init(&SPEC).is_ok() {
                            self.sleeps[n].iter().for_each(|sleeps| sleeps.store(false, Ordering::SeqCst));
                        }
                    }
                    4 => drop(self.vms[n].write().unwrap().tear_down()),
                    5 => {
                        *self.vms[n].write().unwrap() = self.host.new_vm();
                        let _ = self.host.reap();
                    }
                    6 => drop(self.vms[n].read().unwrap().create_lpi_ist(14)),
                    7 => drop(self.vms[n].read().unwrap().remove_lpi_ist()),
                    8 => drop(self.vms[n].read().unwrap().reset_vcpu(index)),
                    9 => drop(self.host.reclaim()),
                    // A fault while the VM table was made anew. It may need the hardware to recover first.
                    _ if self.host.phase() != Phase::Up => drop(self.host.bring_up()),
                    _ => {}
                }
                // Whoever writes must not keep the others from reading.
                thread::yield_now();
            }
        });
    }

    /// A device, and the guests' own IRSs.
    fn inject(&self, mut rng: Rng) {
        while !self.over.load(Ordering::Relaxed) {
            for vm in &self.vms {
                let vm = vm.read().unwrap();
                if rng.chance(1, 20) {
                    let _ = vm.set_guest_irs(rng.chance(2, 3));
                }
                self.lab.on(DEVICE, |pe| {
                    let mut injecting = vm.injecting(pe);
                    for vcpu in (0..VCPUS).filter(|_| rng.chance(1, 2)) {
                        let _ = injecting.inject(spi_of(vcpu), Pending::Set);
                    }
                });
            }
            thread::yield_now();
        }
    }

    /// The hardware lets software down, and recovers.
    fn fail(&self, mut rng: Rng) {
        while !self.over.load(Ordering::Relaxed) {
            self.lab.machine.fault_next(FAULTS[rng.below(FAULTS.len() as u64) as usize]);
            for _ in 0..rng.below(8) {
                thread::yield_now();
                let _ = (self.host.holdings(), self.host.counters());
            }
            self.lab.machine.recover();
            self.lab.machine.advance(rng.below(1_000));
        }
    }
}

/// Nobody sleeps who has something to do.
fn assert_nobody_sleeps_for_ever(world: &World<'_>) {
    for pe in 0..PES {
        world.lab.take_doorbells(PeIndex(pe), world.host);
    }
    for (n, vm) in world.vms.iter().enumerate() {
        let vm = vm.read().unwrap();
        if vm.state() != Some(VmState::Live) {
            continue;
        }
        vm.set_guest_irs(true).unwrap();
        for vcpu in 0..VCPUS {
            let entry = world.lab.machine.virtual_interrupt(vm.id().unwrap(), spi_of(vcpu).try_into().unwrap());
            let due = entry.is_some_and(|entry| entry.pending() && entry.enable());
            if world.sleeps[n][vcpu].load(Ordering::SeqCst) && due {
                assert_eq!(vm.has_pending(VcpuIndex(vcpu)), Ok(true), "vCPU {vcpu} of VM {n} sleeps for ever");
            }
        }
    }
}

/// One night. How many interrupts were taken, and how many faults have struck.
fn lives(shape: Shape, seed: u64) -> (u32, usize) {
    let mut rng = Rng::new(seed);
    let timeout = shape.host_config().timeout;
    let (lab, host, before) = night::evening(shape, Switches::random(&mut rng), PES, timeout);
    let world = World {
        lab: &lab,
        host: &host,
        vms: std::array::from_fn(|_| RwLock::new(host.new_vm())),
        sleeps: Default::default(),
        taken: AtomicU32::new(0),
        over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let (world, rng) = (&world, &rng);
        let runners = RUNNERS.map(|pe| scope.spawn(move || world.run_vcpus(pe, rng.fork(pe.0.into()))));
        for pe in MAKERS {
            scope.spawn(move || world.make(pe, rng.fork(pe.0.into())));
        }
        scope.spawn(move || world.inject(rng.fork(10)));
        scope.spawn(move || world.fail(rng.fork(11)));
        let ends = runners.map(thread::ScopedJoinHandle::join);
        world.over.store(true, Ordering::Relaxed);
        for end in ends {
            end.unwrap();
        }
    });
    night::morning(&lab, &host);
    assert_nobody_sleeps_for_ever(&world);
    night::end(&lab, &host, world.vms.map(|vm| vm.into_inner().unwrap()), &before, seed);
    (world.taken.into_inner(), lab.machine.take_struck_faults().len())
}

/// GEN-15, GEN-18, DB-21, DB-25, LIFE-10.
#[test]
fn several_threads_and_faults_at_any_time_leave_nothing_behind() {
    let (mut taken, mut struck) = (0, 0);
    for seed in 0..night::nights() {
        let (interrupts, faults) = lives(SHAPES[seed as usize % SHAPES.len()], seed);
        (taken, struck) = (taken + interrupts, struck + faults);
    }
    assert!(taken > 0 && struck > 0, "{taken} interrupts were taken, and {struck} faults have struck");
    println!("{taken} interrupts were taken, and {struck} faults have struck");
}
