//! Whatever is done with several VMs, in any order: every call does what a small reference says, no wake-up is lost, no guest
//! gets what is not its own, no rule is broken, and everything is given back.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/guest.rs"]
mod guest;
#[path = "common/night.rs"]
mod night;

use std::sync::LazyLock;

use common::{Lab, SHAPES, VPES, assert_clean};
use gicv5_arch::{IntId, Ppi};
use gicv5_hyp::{Fate, Host, Idle, Pending, PpiMask, RunError, VcpuIndex, Vm, VmSpec, VmState};
use gicv5_model::PeIndex;
use gicv5_model::config::{DoorbellMask as ModelMask, Switches};
use gicv5_model::fault::Fault;
use night::spi_of;
use proptest::prelude::*;

const VMS: usize = 3;
const VCPUS: usize = VPES.len();
/// The PEs that the operations are on. One more is for setting VMs up.
const PES: u16 = 2;
const SPARE: PeIndex = PeIndex(PES);
const TIMER: Ppi = Ppi::CNTV;
const SPI_PRIORITY: u32 = 8;
const TIMER_PRIORITY: u32 = 20;

/// What is done, and to whom. Not each needs all of them.
#[derive(Clone, Copy, Debug)]
struct Op {
    what: What,
    pe: u16,
    vm: usize,
    vcpu: usize,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Init,
    TearDown,
    /// Drops the handle of a VM, and has the host tear it down.
    Orphan,
    Load,
    /// A load that the hardware refuses.
    FailLoad,
    Put,
    Idle,
    Inject,
    /// The level of the timer.
    SetTimer(bool),
    SetIrs(bool),
    Reset,
    /// The guest switches its interrupts on, with this mask.
    Open(u32),
    /// The guest takes an interrupt.
    Take,
    /// The host takes its interrupts.
    Doorbells,
}

fn op() -> impl Strategy<Value = Op> {
    let what = prop_oneof![
        2 => Just(What::Init),
        1 => Just(What::TearDown),
        1 => Just(What::Orphan),
        12 => Just(What::Load),
        1 => Just(What::FailLoad),
        4 => Just(What::Put),
        12 => Just(What::Idle),
        10 => Just(What::Inject),
        3 => any::<bool>().prop_map(What::SetTimer),
        1 => any::<bool>().prop_map(What::SetIrs),
        1 => Just(What::Reset),
        3 => prop::sample::select(vec![31u32, 31, 10, 3]).prop_map(What::Open),
        8 => Just(What::Take),
        8 => Just(What::Doorbells),
    ];
    (what, 0..PES, 0..VMS, 0..VCPUS).prop_map(|(what, pe, vm, vcpu)| Op { what, pe, vm, vcpu })
}

/// What is known of a vCPU.
#[derive(Clone, Copy, Debug, Default)]
struct Vcpu {
    on: Option<u16>,
    /// The guest's mask, if its interrupts are on.
    open: Option<u32>,
    pending: bool,
    /// The timer's level, as the hypervisor has it, and as it was handed over by the last load.
    timer: bool,
    handed: bool,
    /// The guest's IRS was on at the last load.
    irs: bool,
    waits: bool,
    /// The guest's IRS was off when it was loaded, or when it was put to sleep.
    slept_without_irs: bool,
    /// A doorbell was asked for, and has not come.
    asked: bool,
    /// One that was asked for before the last load may still be on its way (DB-17).
    late: bool,
}

impl Vcpu {
    fn lets(&self, priority: u32) -> bool {
        self.open.is_some_and(|mask| priority <= mask)
    }

    fn has_pending(&self, irs: bool) -> bool {
        !self.waits || self.slept_without_irs && irs || self.timer && self.lets(TIMER_PRIORITY)
    }
}

/// What is known of a VM.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    state: Option<VmState>,
    irs: bool,
    vcpus: [Vcpu; VCPUS],
}

struct World<'h> {
    lab: &'h Lab,
    host: &'h Host<Lab>,
    vms: Vec<Vm<'h, Lab>>,
    known: [Known; VMS],
    by_number: bool,
}

impl<'h> World<'h> {
    fn new(lab: &'h Lab, host: &'h Host<Lab>, by_number: bool) -> World<'h> {
        let vms = (0..VMS).map(|_| host.new_vm()).collect();
        World { lab, host, vms, known: Default::default(), by_number }
    }

    /// Who is on a PE.
    fn on(&self, pe: u16) -> Option<(usize, usize)> {
        let all = (0..VMS).flat_map(|vm| (0..VCPUS).map(move |vcpu| (vm, vcpu)));
        all.into_iter().find(|(vm, vcpu)| self.known[*vm].vcpus[*vcpu].on == Some(pe))
    }

    fn any_resident(&self, vm: usize) -> bool {
        self.known[vm].vcpus.iter().any(|vcpu| vcpu.on.is_some())
    }

    fn init(&mut self, vm: usize) {
        const SPEC: VmSpec<'static> = VmSpec { spis: 40, ppis: PpiMask::EMPTY.with(TIMER), ..VmSpec::new(&VPES) };
        let outcome = self.vms[vm].init(&SPEC);
        if self.known[vm].state.is_some() {
            assert_eq!(outcome.unwrap_err().fate, Fate::Unchanged);
            return;
        }
        outcome.unwrap();
        for (vcpu, vpe) in VPES.into_iter().enumerate() {
            self.lab.load(SPARE, &self.vms[vm], VcpuIndex(vcpu)).unwrap();
            let guest = self.lab.guest(SPARE);
            guest.open().enable(spi_of(vcpu), vpe, SPI_PRIORITY).enable_ppi(TIMER, TIMER_PRIORITY);
            self.lab.put(SPARE, &self.vms[vm], VcpuIndex(vcpu)).unwrap();
        }
        let vcpu = Vcpu { open: Some(31), ..Vcpu::default() };
        self.known[vm] = Known { state: Some(VmState::Live), irs: true, vcpus: [vcpu; VCPUS] };
    }

    /// What the library must say to a load, put or idle; `None` if it may be done.
    fn refusal(&self, pe: u16, vm: usize, vcpu: usize, loads: bool) -> Option<RunError> {
        let known = &self.known[vm];
        let Some(state) = known.state else { return Some(RunError::NotInitialised) };
        let id = self.vms[vm].id().unwrap();
        match known.vcpus[vcpu].on {
            _ if loads && state != VmState::Live => Some(RunError::NotLive { vm: id, state }),
            Some(on) if on != pe => Some(RunError::Elsewhere { vm: id, vpe: VPES[vcpu] }),
            _ => None,
        }
    }

    fn load(&mut self, pe: u16, vm: usize, vcpu: usize, fails: bool) {
        let already = self.known[vm].vcpus[vcpu].on == Some(pe);
        let refusal = self.refusal(pe, vm, vcpu, true);
        let free = refusal.is_none() && !already && self.on(pe).is_none();
        if free && fails {
            self.lab.machine.fault_next(Fault::Refused);
        }
        let outcome = self.lab.load(PeIndex(pe), &self.vms[vm], VcpuIndex(vcpu));
        match refusal {
            Some(refusal) => assert_eq!(outcome, Err(refusal)),
            None if already => assert_eq!(outcome, Ok(())),
            None if !free => assert!(matches!(outcome, Err(RunError::PeTaken { .. })), "{outcome:?}"),
            None if fails => {
                assert!(matches!(outcome, Err(RunError::ResidencyFault { .. })), "{outcome:?}");
                self.known[vm].state = Some(VmState::Dead);
                self.known[vm].vcpus[vcpu].waits = false;
            }
            None => {
                assert_eq!(outcome, Ok(()));
                let irs = self.known[vm].irs;
                let vcpu = &mut self.known[vm].vcpus[vcpu];
                let late = vcpu.late || vcpu.asked;
                *vcpu = Vcpu { on: Some(pe), irs, handed: vcpu.timer, waits: false, asked: false, late, ..*vcpu };
            }
        }
    }

    fn idle(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let outcome = self.lab.idle(PeIndex(pe), &self.vms[vm], VcpuIndex(vcpu));
        if let Some(refusal) = self.refusal(pe, vm, vcpu, false) {
            assert_eq!(outcome, Err(refusal));
            return;
        }
        let (irs, live) = (self.known[vm].irs, self.known[vm].state == Some(VmState::Live));
        let known = &mut self.known[vm].vcpus[vcpu];
        if known.on.take().is_some() {
            known.waits = true;
            known.slept_without_irs = !(irs && known.irs);
            known.asked = !known.slept_without_irs && known.open.is_some();
        }
        let runnable = known.has_pending(irs) || !live;
        assert_eq!(outcome, Ok(if runnable { Idle::Runnable } else { Idle::Sleep }));
    }

    /// Takes the doorbells of a PE; each wakes somebody who waits for it.
    fn doorbells(&mut self, pe: u16) {
        for woken in self.lab.take_doorbells(PeIndex(pe), self.host) {
            let vm = (0..VMS).find(|vm| self.vms[*vm].id() == Some(woken.vm)).unwrap();
            let vcpu = VPES.iter().position(|vpe| *vpe == woken.vpe).unwrap();
            let known = &mut self.known[vm].vcpus[vcpu];
            assert!(known.asked, "nobody asked for the doorbell of {woken:?}");
            assert!(known.pending || known.late, "it rang for nothing");
            // One that was asked for before a reset may come after it.
            let wanted = self.by_number || known.late || !known.waits || known.lets(SPI_PRIORITY);
            assert!(wanted, "it rang for what the guest would not take");
            (known.waits, known.asked) = (false, false);
        }
    }

    fn take(&mut self, pe: u16) {
        let taken = self.lab.guest(PeIndex(pe)).take();
        let Some((vm, vcpu)) = self.on(pe) else {
            assert_eq!(taken, None, "a guest that is not there takes an interrupt");
            return;
        };
        let known = &mut self.known[vm].vcpus[vcpu];
        if known.pending && known.irs && known.lets(SPI_PRIORITY) {
            assert_eq!(taken, Some(spi_of(vcpu)));
            known.pending = false;
        } else if known.handed && known.lets(TIMER_PRIORITY) {
            assert_eq!(taken, Some(IntId::Ppi(TIMER)));
        } else {
            assert_eq!(taken, None);
        }
    }

    fn run(&mut self, Op { what, pe, vm, vcpu }: Op) {
        match what {
            What::Init => self.init(vm),
            What::TearDown => {
                let outcome = self.vms[vm].tear_down();
                if self.any_resident(vm) {
                    assert_eq!(outcome.unwrap_err().fate, Fate::Unchanged);
                } else {
                    outcome.unwrap();
                    self.known[vm] = Known::default();
                }
            }
            What::Orphan => {
                if !self.any_resident(vm) {
                    self.vms[vm] = self.host.new_vm();
                    self.host.reap().unwrap();
                    self.known[vm] = Known::default();
                }
            }
            What::Load => self.load(pe, vm, vcpu, false),
            What::FailLoad => self.load(pe, vm, vcpu, true),
            What::Put => {
                let outcome = self.lab.put(PeIndex(pe), &self.vms[vm], VcpuIndex(vcpu));
                match self.refusal(pe, vm, vcpu, false) {
                    Some(refusal) => assert_eq!(outcome, Err(refusal)),
                    None => {
                        assert_eq!(outcome, Ok(()));
                        self.known[vm].vcpus[vcpu].on = None;
                    }
                }
            }
            What::Idle => self.idle(pe, vm, vcpu),
            What::Inject => {
                let injected = self.lab.on(SPARE, |pe| self.vms[vm].inject(pe, spi_of(vcpu), Pending::Set));
                let live = self.known[vm].state == Some(VmState::Live);
                assert_eq!(injected.is_ok(), live, "{injected:?}");
                self.known[vm].vcpus[vcpu].pending |= live;
            }
            What::SetTimer(high) => {
                let pending = if high { Pending::Set } else { Pending::Clear };
                let set = self.vms[vm].set_ppi(VcpuIndex(vcpu), TIMER, pending);
                assert_eq!(set.is_ok(), self.known[vm].state.is_some(), "{set:?}");
                self.known[vm].vcpus[vcpu].timer = high && set.is_ok();
            }
            What::SetIrs(on) => {
                let news = self.vms[vm].set_guest_irs(on);
                let known = &mut self.known[vm];
                let expected = known.state.map(|_| std::mem::replace(&mut known.irs, on) != on);
                assert_eq!(news.ok(), expected);
            }
            What::Reset => {
                let outcome = self.vms[vm].reset_vcpu(VcpuIndex(vcpu));
                let known = &mut self.known[vm];
                let may = known.state == Some(VmState::Live) && known.vcpus[vcpu].on.is_none();
                assert_eq!(outcome.is_ok(), may, "{outcome:?}");
                if may {
                    // What the IST holds stays, so does the timer's level, and the doorbell may have rung.
                    let Vcpu { pending, asked, late, timer, .. } = known.vcpus[vcpu];
                    known.vcpus[vcpu] = Vcpu { pending, asked, late, timer, ..Vcpu::default() };
                }
            }
            What::Open(mask) => {
                if let Some((vm, vcpu)) = self.on(pe) {
                    self.lab.guest(PeIndex(pe)).switch(true, mask).enable_ppi(TIMER, TIMER_PRIORITY);
                    self.known[vm].vcpus[vcpu].open = Some(mask);
                }
            }
            What::Take => self.take(pe),
            What::Doorbells => self.doorbells(pe),
        }
    }

    /// Everybody who waits, and has something that would wake it, was woken.
    fn settle(&mut self) {
        // What takes finite time has happened: that the LPI of a new doorbell was enabled (SYN-4).
        self.lab.machine.advance(1_000);
        for pe in 0..=PES {
            self.doorbells(pe);
        }
        self.known.iter_mut().flat_map(|known| &mut known.vcpus).for_each(|vcpu| vcpu.late = false);
        for vm in 0..VMS {
            let known = self.known[vm];
            if known.state.is_none() {
                continue;
            }
            for (vcpu, known_vcpu) in known.vcpus.iter().enumerate() {
                let expected = known_vcpu.has_pending(known.irs) || known.state != Some(VmState::Live);
                assert_eq!(self.vms[vm].has_pending(VcpuIndex(vcpu)), Ok(expected), "{vm} {vcpu} {known_vcpu:?}");
                let lost = known_vcpu.waits && known_vcpu.asked && known_vcpu.pending && known_vcpu.lets(SPI_PRIORITY);
                assert!(!lost, "the wake-up of vCPU {vcpu} of VM {vm} is lost: {known_vcpu:?}");
            }
        }
    }

    fn end(mut self) {
        for vm in 0..VMS {
            for vcpu in 0..VCPUS {
                if let Some(pe) = self.known[vm].vcpus[vcpu].on {
                    self.run(Op { what: What::Put, pe, vm, vcpu });
                }
            }
            self.run(Op { what: What::TearDown, pe: 0, vm, vcpu: 0 });
        }
    }
}

fn lives(shape: usize, setting: usize, ops: &[Op]) {
    static PAIRS: LazyLock<Vec<Switches>> = LazyLock::new(Switches::pairs);
    let pairs = &*PAIRS;
    let (shape, switches) = (SHAPES[shape % SHAPES.len()], pairs[setting % pairs.len()]);
    let by_number = switches.doorbell.mask == ModelMask::ByNumber;
    let (lab, host, before) = night::evening(shape, switches, PES + 1, shape.host_config().timeout);
    let mut world = World::new(&lab, &host, by_number);
    for (n, op) in ops.iter().enumerate() {
        world.run(*op);
        if n % 8 == 7 {
            world.settle();
        }
        lab.assert_no_violations();
    }
    world.settle();
    world.end();
    host.shut_down().unwrap();
    lab.assert_no_violations();
    assert_clean(&lab.machine, &before, "");
}

/// How many lives, each of up to 120 operations. For a campaign:
/// `GICV5_HYP_LIVES=20_000 cargo test --release -p gicv5-hyp --test random_run`.
fn lives_to_live() -> u32 {
    std::env::var("GICV5_HYP_LIVES").map_or(64, |lives| lives.replace('_', "").parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: lives_to_live(), max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_in_any_order_no_wake_up_is_lost_and_everything_goes_back(
        shape in 0usize..4, setting: usize, ops in prop::collection::vec(op(), 1..120),
    ) {
        lives(shape, setting, &ops);
    }
}
