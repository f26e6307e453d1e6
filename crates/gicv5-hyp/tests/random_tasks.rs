//! Many things at once on one thread, in an order that a seed decides: inits, teardowns, reclaims and the host going down and
//! coming up are futures that are polled in turns and given up half-way now and then, while the hardware fails. Whatever
//! comes of it, no rule is broken, and everything is given back once the hardware has recovered. What threads find now and
//! then, this finds every time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/guest.rs"]
mod guest;
#[path = "common/night.rs"]
mod night;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use common::{Lab, SHAPES, SPEC, Shape, VPES};
use gicv5_hyp::{Host, Phase, VcpuIndex, Vm};
use gicv5_model::PeIndex;
use gicv5_model::config::Switches;
use gicv5_random::Rng;
use guest::PE0;
use night::FAULTS;

const VMS: usize = 3;
/// Those who manage the host.
const MANAGERS: usize = 2;
/// How often in a night all tasks are given up and begun again, and how many turns there are from one time to the next.
const ROUNDS: u32 = 3;
const TURNS: u32 = 2_000;

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Gives the others their turn.
async fn turn() {
    let mut waited = false;
    poll_fn(|_| match std::mem::replace(&mut waited, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// A VM comes and goes, and runs on a PE. What fails has a reason; what counts is what is left in the end.
async fn live<'h>(vm: &mut Vm<'h, Lab>, lab: &Lab, host: &'h Host<Lab>, pe: PeIndex, rng: &mut Rng) {
    loop {
        let vcpu = VcpuIndex(rng.below(VPES.len() as u64) as usize);
        match rng.below(12) {
            0..=3 => drop(vm.start_init(&SPEC).await),
            4 | 5 => drop(vm.start_tear_down().await),
            6 => *vm = host.new_vm(),
            7 => drop(vm.start_create_lpi_ist(14).await),
            8 => drop(vm.start_remove_lpi_ist().await),
            9 => drop(vm.start_reset_vcpu(vcpu).await),
            // No turn in between: a VM must not be given up while it runs.
            _ if lab.load(pe, vm, vcpu).is_ok() => match rng.chance(1, 2) {
                true => drop(lab.idle(pe, vm, vcpu).unwrap()),
                false => lab.put(pe, vm, vcpu).unwrap(),
            },
            _ => {}
        }
        turn().await;
    }
}

async fn manage(host: &Host<Lab>, rng: &mut Rng) {
    loop {
        match rng.below(8) {
            0..=3 => drop(host.start_reclaim().await),
            4 | 5 => drop(host.start_reap().await),
            6 => drop(host.start_shut_down().await),
            _ => {}
        }
        if host.phase() != Phase::Up {
            drop(host.start_bring_up().await);
        }
        turn().await;
    }
}

/// One night. How many faults have struck.
fn night(shape: Shape, seed: u64) -> usize {
    let mut rng = Rng::new(seed);
    let timeout = shape.host_config().timeout;
    let (lab, host, before) = night::evening(shape, Switches::random(&mut rng), 2, timeout);
    let mut vms: [_; VMS] = std::array::from_fn(|_| host.new_vm());
    let mut rngs: [_; VMS + MANAGERS] = std::array::from_fn(|n| rng.fork(n as u64));
    for _ in 0..ROUNDS {
        let (of_vms, of_managers) = rngs.split_at_mut(VMS);
        let vms = vms.iter_mut().zip(of_vms).enumerate().map(|(n, (vm, rng))| {
            // Two of them share a PE.
            Box::pin(live(vm, &lab, &host, PeIndex(n as u16 % 2), rng)) as Task<'_>
        });
        let managers = of_managers.iter_mut().map(|rng| Box::pin(manage(&host, rng)) as Task<'_>);
        let mut tasks: Vec<_> = vms.chain(managers).collect();
        for _ in 0..TURNS {
            let task = &mut tasks[rng.below((VMS + MANAGERS) as u64) as usize];
            lab.on(PE0, |_| assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()));
            if rng.chance(1, 3) {
                lab.machine.advance(rng.below(100));
            }
            if rng.chance(1, 40) {
                lab.take_doorbells(PeIndex(rng.below(2) as u16), &host);
            }
            if rng.chance(1, 40) {
                lab.machine.fault_next(FAULTS[rng.below(FAULTS.len() as u64) as usize]);
            }
            if rng.chance(1, 40) {
                lab.machine.recover();
            }
        }
    }
    night::morning(&lab, &host);
    night::end(&lab, &host, vms, &before, seed);
    lab.machine.take_struck_faults().len()
}

/// GEN-15, GEN-18, DB-14, DB-25, LIFE-10.
#[test]
fn many_things_half_done_and_faults_at_any_time_leave_nothing_behind() {
    let nights = night::nights();
    let struck: usize = (0..nights).map(|seed| night(SHAPES[seed as usize % SHAPES.len()], seed)).sum();
    assert!(struck > nights as usize, "{struck} faults have struck");
    println!("{struck} faults have struck");
}
