//! The other PEs: started by PSCI, they wait for work.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aarch64_rt::{Stack, start_core};
use gicv5_bare_metal::pe;
use gicv5_conformance::{BenchPe, MAX_PES, Stopped};
use gicv5_hal::Pe;
use smccc::{Hvc, Smc};

use crate::board::Conduit;
use crate::platform::Board;
use crate::{guard, guest, watchdog};

/// What work is.
type Work = dyn Fn(&BenchPe<'_, Board>) + Sync;

const OFF: u32 = 0;
const WAITING: u32 = 1;
const WORKING: u32 = 2;
const DONE: u32 = 3;

struct Mailbox {
    state: AtomicU32,
    work: UnsafeCell<Option<*const Work>>,
    outcome: UnsafeCell<Result<(), Stopped>>,
}

// SAFETY: the work is written while the state is WAITING or DONE, by PE 0 alone, and read while it is WORKING, by the
// mailbox's PE alone; the outcome the other way round. The state passes with release and acquire.
unsafe impl Sync for Mailbox {}

static MAILBOXES: [Mailbox; MAX_PES] =
    [const { Mailbox { state: AtomicU32::new(OFF), work: UnsafeCell::new(None), outcome: UnsafeCell::new(Ok(())) } };
        MAX_PES];

static mut STACKS: [Stack<16>; MAX_PES] = [const { Stack::new() }; MAX_PES];

/// How long a PE may take to start, and for its work, in nanoseconds.
static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Nanoseconds after which a PE that does not answer is called again.
const MOMENT: u64 = 1_000_000;

/// Sets how long a PE may take to start, and for its work.
pub(crate) fn set_limit(nanoseconds: u64) {
    LIMIT.store(nanoseconds, Ordering::Relaxed);
}

fn wait_for(state: &AtomicU32, wanted: u32) -> bool {
    let start = pe::nanoseconds();
    let mut next = MOMENT;
    while state.load(Ordering::Acquire) != wanted {
        let waited = pe::nanoseconds() - start;
        if waited > LIMIT.load(Ordering::Relaxed) {
            return false;
        }
        if waited >= next {
            // Should the other PE have missed that there is something to do.
            pe::send_event();
            next = waited + MOMENT;
        }
        pe::relax();
    }
    true
}

/// Starts a PE. False if it does not come up.
pub(crate) fn start(index: usize, mpidr: u64, conduit: Conduit) -> bool {
    let Some(mailbox) = MAILBOXES.get(index) else { return false };
    let entry = move || serve(index);
    // SAFETY: each PE is started once, and has one stack to itself for ever.
    let started = unsafe {
        let stack = (&raw mut STACKS).cast::<Stack<16>>().add(index);
        match conduit {
            Conduit::Hvc => start_core::<Hvc, _, 16>(mpidr, stack, entry),
            Conduit::Smc => start_core::<Smc, _, 16>(mpidr, stack, entry),
        }
    };
    started.is_ok() && wait_for(&mailbox.state, WAITING)
}

/// What a PE does until the end.
fn serve(index: usize) {
    guard::set_index(index);
    guest::prepare();
    pe::stream_events();
    let Some(mailbox) = MAILBOXES.get(index) else { return };
    mailbox.state.store(WAITING, Ordering::Release);
    loop {
        while mailbox.state.load(Ordering::Acquire) != WORKING {
            pe::wait_for_event();
            watchdog::look();
        }
        // SAFETY: the state is WORKING: the mailbox is this PE's, and the work lives until the state is DONE.
        let outcome = unsafe {
            let work = (*mailbox.work.get()).map(|work| &*work);
            guard::attempt(&mut || {
                if let Some(work) = work {
                    work(&Pe::new(&pe::THIS_PE));
                }
            })
        };
        // SAFETY: as above.
        unsafe { *mailbox.outcome.get() = outcome }
        mailbox.state.store(DONE, Ordering::Release);
    }
}

/// Runs work on any PE, where it may run into an exception.
pub(crate) fn on(index: usize, work: &(dyn Fn() + Sync)) -> Result<(), Stopped> {
    match index {
        0 => guard::attempt(&mut || work()),
        _ => run_on(index, &|_| work()),
    }
}

/// Runs work on another PE and waits until it has ended.
pub(crate) fn run_on(index: usize, work: &(dyn Fn(&BenchPe<'_, Board>) + Sync)) -> Result<(), Stopped> {
    let mailbox = MAILBOXES.get(index).filter(|mailbox| mailbox.state.load(Ordering::Acquire) != OFF);
    let mailbox = mailbox.ok_or(Stopped::NoSuchPe { pe: index })?;
    // The lifetime ends when the PE is done; if it never is, the image stops.
    // SAFETY: only the lifetime changes, and the PE is waited for. The state is WAITING or DONE, so that the mailbox is ours.
    unsafe {
        *mailbox.work.get() = Some(core::mem::transmute::<&(dyn Fn(&BenchPe<'_, Board>) + Sync), *const Work>(work));
    }
    mailbox.state.store(WORKING, Ordering::Release);
    pe::send_event();
    if !wait_for(&mailbox.state, DONE) {
        crate::ending::stop_after_silence(index);
    }
    // SAFETY: the state is DONE: the mailbox is ours.
    unsafe { *mailbox.outcome.get() }
}
