//! Load, put with sleep, the handler and teardown against each other, in every interleaving and with every value that the
//! memory model lets a load return. `cargo xtask loom` runs these.
//!
//! Any two are explored without a limit, and so are a doorbell, a sleep and an injection. The other threes do not end within a
//! minute and a half then, so they are explored with up to three preemptions, as are all four; `LOOM_MAX_PREEMPTIONS` sets
//! another bound.
//!
//! The code is the shipped one; the peer below stands for the PE, the IRS and the LPI, as little of each as matters. It
//! orders what the architecture orders and nothing else: a system register write is relaxed, a DSB before it is a fence; an
//! acknowledge is relaxed, the GSB ACK and ISB after it are a fence.

use std::cell::Cell;
use std::sync::Arc;
use std::vec::Vec;

use gicv5_arch::Lpi;
use gicv5_arch::insn::GicInsn;
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{ICC_IAFFIDR_EL1, SysReg};
use gicv5_model::host::StdLocks;
use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use loom::thread;

use super::*;
use crate::doorbell::DoorbellSet;
use crate::doorbell::mask::DoorbellMask;
use crate::doorbell::order::{Step, WEAKENED};
use crate::doorbell::supply::Supply;

const VM: VmId = VmId::new(1);
const VPE: VpeId = VpeId::new(2);

/// A doorbell is asked for.
const REQUESTED: u8 = 1;
/// A virtual interrupt is pending.
const PENDING: u8 = 2;

/// A host with one vCPU, and the hardware.
struct Bench {
    doorbells: Doorbells<StdLocks>,
    lpis: Supply,
    ppis: VirtualPpis,
    life: Life,
    guest_irs: GuestIrs,
    doorbell: Doorbell<Lpi>,
    context: Context,
    /// The VPE, as the IRS knows it.
    vpe: AtomicU8,
    /// The doorbell's LPI is pending. Only ever swapped: an interrupt controller loses no event.
    lpi: AtomicBool,
    /// What a PE with the vCPU uses, and teardown takes away: loom reports a use that is not ordered with the others.
    tables: UnsafeCell<()>,
    woken: AtomicBool,
    /// What the handler leaves for whom it wakes.
    note: UnsafeCell<()>,
    /// Changed wherever another thread should get a chance to come first; see the doorbell's own.
    turn: AtomicU8,
    /// One of the threads loads the vCPU.
    loads: bool,
    /// A DSB is one.
    dsb: bool,
}

/// One PE.
struct LoomPe {
    bench: Arc<Bench>,
    iaffid: u16,
    contextr: Cell<ICH_CONTEXTR_EL2>,
}

impl PeOps for LoomPe {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        match register {
            ICC_IAFFIDR_EL1::REG => self.iaffid.into(),
            ICH_CONTEXTR_EL2::REG => self.contextr.get().raw_value(),
            // The guest takes everything.
            ICH_VMCR_EL2::REG => ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(Priority::LEAST_URGENT).raw_value(),
            _ => 0,
        }
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        if register != ICH_CONTEXTR_EL2::REG {
            return;
        }
        let new = ICH_CONTEXTR_EL2::new_with_raw_value(value);
        let bench = &*self.bench;
        self.contextr.set(new);
        bench.tables.with_mut(|_| ());
        match (new.v(), new.db()) {
            (true, _) => drop(bench.vpe.fetch_and(!REQUESTED, Ordering::Relaxed)),
            (false, true) if bench.vpe.fetch_or(REQUESTED, Ordering::Relaxed) & PENDING != 0 => {
                bench.vpe.fetch_and(!REQUESTED, Ordering::Relaxed);
                bench.lpi.swap(true, Ordering::Relaxed);
            }
            (false, _) => {}
        }
    }

    fn gic(&self, _insn: GicInsn, _xt: u64) -> u64 {
        0
    }

    fn isb(&self) {}

    fn dsb(&self) {
        if self.bench.dsb {
            fence(Ordering::SeqCst);
        }
    }
}

impl Bench {
    fn new(dsb: bool) -> Arc<Bench> {
        let bench = Bench::disabled(dsb, false);
        bench.enable();
        bench
    }

    fn disabled(dsb: bool, loads: bool) -> Arc<Bench> {
        let doorbells = Doorbells::new(&|_| true, 1, DoorbellMask::ByUrgency).unwrap();
        let lpis = Supply::default();
        let doorbell = doorbells.allocate(&|_| true, &lpis, VM, VPE).unwrap();
        Arc::new(Bench {
            doorbells,
            lpis,
            ppis: VirtualPpis::default(),
            life: Life::new(VmState::Live),
            guest_irs: GuestIrs::new(true),
            doorbell,
            context: Context::default(),
            vpe: AtomicU8::new(0),
            lpi: AtomicBool::new(false),
            tables: UnsafeCell::new(()),
            woken: AtomicBool::new(false),
            note: UnsafeCell::new(()),
            turn: AtomicU8::new(0),
            loads,
            dsb,
        })
    }

    fn turn(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    fn running(&self) -> Running<'_, Supply, StdLocks> {
        Running {
            doorbells: &self.doorbells,
            lpis: &self.lpis,
            ppis: &self.ppis,
            vm: VM,
            life: &self.life,
            visible: PpiMask::EMPTY,
            guest_irs: &self.guest_irs,
            vpe: VPE,
            doorbell: &self.doorbell,
            context: &self.context,
            priorities: &[],
        }
    }

    /// What init does at its end.
    fn enable(&self) {
        self.tables.with_mut(|_| ());
        self.doorbells.enable(&self.lpis, &self.doorbell, &DoorbellSet(()));
    }

    /// An interrupt is injected.
    fn inject(&self) {
        // The IRS knows what was written to it before, in the order in which it was (acquire).
        if self.vpe.fetch_or(PENDING, Ordering::Acquire) & REQUESTED != 0 {
            self.vpe.fetch_and(!REQUESTED, Ordering::Relaxed);
            self.lpi.swap(true, Ordering::Release);
        }
    }

    /// The LPI is taken, if it is pending: what the interrupt handler does (SYN-3).
    fn handle(&self) {
        if self.lpi.swap(false, Ordering::Relaxed) {
            // GSB ACK, ISB.
            fence(Ordering::Acquire);
            self.note.with_mut(|_| ());
            if self.doorbells.ring(self.doorbell.id().cookie()).is_some() {
                self.woken.store(true, Ordering::Relaxed);
            }
        }
    }

    /// What teardown does: true if the vCPU was nowhere, and now has nothing any more.
    fn tear_down(&self) -> bool {
        if !self.doorbells.die(&self.doorbell) {
            return false;
        }
        self.tables.with_mut(|_| ());
        // The VM is invalid: nothing rings any more, and what has rung is drained.
        self.lpi.swap(false, Ordering::Relaxed);
        self.doorbells.release(&self.lpis, self.doorbell.twin()).unwrap();
        true
    }
}

fn pe(bench: &Arc<Bench>, iaffid: u16) -> LoomPe {
    LoomPe { bench: bench.clone(), iaffid, contextr: Cell::new(ICH_CONTEXTR_EL2::ZERO) }
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// Takes the doorbell.
    Handle,
    /// Loads the vCPU on a PE of its own.
    Load,
    /// Puts the vCPU to sleep, on the PE it is on.
    Sleep,
    /// Tears the VM down.
    TearDown,
    /// Injects an interrupt.
    Inject,
    /// Ends init.
    Enable,
}
use Op::*;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Slept(Idle),
    Loaded,
    TornDown,
    Nothing,
}

impl Op {
    fn run(self, bench: &Arc<Bench>, pe: &LoomPe) -> Done {
        bench.turn();
        let token = Pe::new(pe);
        match self {
            Handle => bench.handle(),
            Inject => bench.inject(),
            Load => match bench.running().load(&token) {
                Ok(()) => {
                    bench.tables.with_mut(|_| ());
                    return Done::Loaded;
                }
                Err(error) => assert!(
                    matches!(error, RunError::Elsewhere { .. } | RunError::NotLive { .. }),
                    "a load is refused only while another PE has the vCPU, or when it is gone: {error}"
                ),
            },
            Sleep => {
                let slept = bench.running().idle(&token).unwrap();
                // Nobody but the doorbell ends the wait, unless somebody loads.
                let waits = bench.context.waiting.load(core::sync::atomic::Ordering::Relaxed);
                if slept == Idle::Runnable && !waits && !bench.loads {
                    bench.note.with_mut(|_| ());
                }
                return Done::Slept(slept);
            }
            Enable => bench.enable(),
            TearDown => {
                if bench.tear_down() {
                    return Done::TornDown;
                }
            }
        }
        Done::Nothing
    }
}

/// Runs these at the same time, each in a thread, from every state they can meet in: the vCPU is resident if one of them
/// puts it, and sleeps otherwise; its doorbell rings at once.
fn race(bound: Option<usize>, ops: &'static [Op]) {
    explore(bound, true, ops);
}

fn explore(bound: Option<usize>, dsb: bool, ops: &'static [Op]) {
    let mut builder = Builder::new();
    // Loom has taken what the environment says.
    builder.preemption_bound = bound.map(|bound| builder.preemption_bound.unwrap_or(bound));
    builder.check(move || {
        let (bench, sleeps) = (Bench::disabled(dsb, ops.contains(&Load)), ops.contains(&Sleep));
        let first = pe(&bench, 0);
        if !ops.contains(&Enable) {
            bench.enable();
            bench.running().load(&Pe::new(&first)).unwrap();
            if !ops.contains(&Inject) {
                bench.inject();
            }
            if !sleeps {
                assert_eq!(bench.running().idle(&Pe::new(&first)).unwrap(), Idle::Sleep);
            }
        }
        let contextr = first.contextr.get();
        let threads: Vec<_> = (1..)
            .zip(ops)
            .map(|(n, &op)| {
                let bench = bench.clone();
                thread::spawn(move || {
                    let pe = match op {
                        Sleep => LoomPe { bench: bench.clone(), iaffid: 0, contextr: Cell::new(contextr) },
                        _ => pe(&bench, n),
                    };
                    op.run(&bench, &pe)
                })
            })
            .collect();
        let done: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        judge(&bench, sleeps, &done);
    });
}

fn judge(bench: &Arc<Bench>, sleeps: bool, done: &[Done]) {
    let torn_down = done.contains(&Done::TornDown);
    let loads = done.iter().filter(|done| **done == Done::Loaded).count();
    assert!(loads <= 1, "two PEs have the vCPU");
    assert!(loads == 0 || !torn_down, "a vCPU of a VM that was torn down is on a PE");
    // An interrupt that is pending is taken some time.
    bench.handle();
    let id = bench.doorbell.id();
    if torn_down {
        assert_eq!(bench.doorbells.ring(id.cookie()), None, "a dead doorbell wakes");
        assert!(bench.running().load(&Pe::new(&pe(bench, 9))).is_err());
        // The next owner of the slot.
        let next = bench.doorbells.allocate(&|_| true, &bench.lpis, VM, VPE).unwrap();
        bench.doorbells.enable(&bench.lpis, &next, &DoorbellSet(()));
        assert!(bench.doorbells.claim(next.id()).is_ok(), "the next owner starts afresh");
        return;
    }
    if loads == 1 {
        assert!(!bench.doorbells.take_fired(id), "what rang before the load is over");
        return;
    }
    if bench.vpe.load(Ordering::Relaxed) & PENDING == 0 {
        return;
    }
    // The vCPU waits, and an interrupt is pending for it.
    let told_to_sleep = !sleeps || done.contains(&Done::Slept(Idle::Sleep));
    if told_to_sleep {
        assert!(bench.woken.load(Ordering::Relaxed), "the vCPU sleeps for ever");
        assert!(bench.running().has_pending(), "the vCPU was woken and goes to sleep again");
    }
}

const PAIRS: [&[Op]; 9] = [
    &[Handle, Load],
    &[Handle, Sleep],
    &[Handle, TearDown],
    &[Load, Load],
    &[Load, Sleep],
    &[Load, TearDown],
    &[Load, Enable],
    &[Sleep, TearDown],
    &[Sleep, Inject],
];

#[test]
fn every_pair_holds() {
    PAIRS.into_iter().for_each(|ops| race(None, ops));
}

/// Of each ordering in the table of the doorbells: without it some pair does not hold.
#[test]
fn every_ordering_is_needed() {
    for step in [Step::Enable, Step::Claim, Step::Away, Step::Ring, Step::Take, Step::Die] {
        WEAKENED.set(Some(step));
        let held = std::panic::catch_unwind(every_pair_holds).is_ok();
        WEAKENED.set(None);
        assert!(!held, "{step:?} orders nothing that a pair shows");
    }
}

#[test]
fn a_doorbell_a_load_and_a_sleep_hold() {
    race(Some(3), &[Handle, Load, Sleep]);
}

#[test]
fn a_doorbell_a_load_and_a_teardown_hold() {
    race(Some(3), &[Handle, Load, TearDown]);
}

#[test]
fn a_doorbell_a_sleep_and_a_teardown_hold() {
    race(Some(3), &[Handle, Sleep, TearDown]);
}

#[test]
fn a_load_a_sleep_and_a_teardown_hold() {
    race(Some(3), &[Load, Sleep, TearDown]);
}

#[test]
fn a_doorbell_a_sleep_and_an_injection_hold() {
    race(None, &[Handle, Sleep, Inject]);
}

#[test]
fn all_four_hold_with_three_preemptions() {
    race(Some(3), &[Handle, Load, Sleep, TearDown]);
}

/// DB-21, SYN-7.
#[test]
#[should_panic(expected = "sleeps for ever")]
fn without_the_dsb_a_wake_up_is_lost() {
    explore(None, false, &[Handle, Sleep]);
}

/// DB-21: the write that can ring before the request is made.
#[test]
#[should_panic(expected = "sleeps for ever")]
fn in_the_other_order_a_wake_up_is_lost() {
    loom::model(|| {
        let bench = Bench::new(true);
        let first = pe(&bench, 0);
        bench.running().load(&Pe::new(&first)).unwrap();
        bench.inject();
        let handler = thread::spawn({
            let bench = bench.clone();
            move || bench.handle()
        });
        let (token, id) = (Pe::new(&first), bench.doorbell.id());
        bench.context.set_place(None);
        bench.context.waiting.store(true, core::sync::atomic::Ordering::Relaxed);
        token.write(ICH_CONTEXTR_EL2::ZERO.with_db(true).with_dbpm(Priority::LEAST_URGENT));
        bench.doorbells.request(id);
        token.dsb();
        bench.doorbells.away(id);
        let slept = bench.running().has_pending();
        handler.join().unwrap();
        judge(&bench, true, &[Done::Slept(if slept { Idle::Runnable } else { Idle::Sleep })]);
    });
}
