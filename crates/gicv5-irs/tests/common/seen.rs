//! The model as a host that sees what a driver takes of it: heap, which the driver asks for first and can do without, and
//! locks, under which the driver does little. Every allocation of the driver is seen: the model's own are told apart by
//! being made inside of a call of the host.
// Not every test uses everything, and what is wrong in a helper fails the test that uses it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::thread::LocalKey;

use gicv5_hal::{AllocError, BlockLayout, Lock, Locks, TableMemory};
use gicv5_model::Machine;
use gicv5_model::memory::ModelBlock;

use crate::common::board::{Access, Watch};

thread_local! {
    /// The driver is at work, and not the host on its behalf.
    pub static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// The bytes that the driver has asked for and has not taken yet.
    pub static PERMIT: Cell<usize> = const { Cell::new(0) };
    /// Allocations of the driver.
    pub static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Those that it has not asked for, or that are larger than what it asked for.
    pub static UNASKED: Cell<u64> = const { Cell::new(0) };
    /// How many of them still succeed. Whether the host then refuses what it is asked for, or the allocator fails.
    pub static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    pub static REFUSES: Cell<bool> = const { Cell::new(false) };
    /// Bytes that the driver has.
    pub static LIVE: Cell<i64> = const { Cell::new(0) };
    /// Locks that are held.
    pub static HELD: Cell<u64> = const { Cell::new(0) };
    /// Accesses to table memory, maintenance and barriers since a lock was taken, and the most so far.
    pub static TOUCHED: Cell<u64> = const { Cell::new(0) };
    pub static MOST_TOUCHED: Cell<u64> = const { Cell::new(0) };
    /// What must not be under a lock, and was.
    pub static WRONG: Cell<Option<&'static str>> = const { Cell::new(None) };
}

fn add(counter: &'static LocalKey<Cell<u64>>) {
    counter.set(counter.get() + 1);
}

/// Something that must not be done with a lock held.
fn without_a_lock(what: &'static str) {
    if HELD.get() > 0 && WRONG.get().is_none() {
        WRONG.set(Some(what));
    }
}

/// The host is at work.
pub fn outside<R>(f: impl FnOnce() -> R) -> R {
    let before = INSIDE.replace(false);
    let result = f();
    INSIDE.set(before);
    result
}

/// The driver is at work.
pub fn inside<R>(f: impl FnOnce() -> R) -> R {
    let before = INSIDE.replace(true);
    let result = f();
    INSIDE.set(before);
    result
}

struct Allocator;

// SAFETY: everything is handed on to the system's allocator, or refused.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if INSIDE.get() {
            without_a_lock("an allocation");
            add(&ALLOCATIONS);
            if PERMIT.replace(0) < layout.size() {
                add(&UNASKED);
            }
            if LEFT.get() == 0 {
                return null_mut();
            }
            LEFT.set(LEFT.get() - 1);
            LIVE.set(LIVE.get() + layout.size() as i64);
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if INSIDE.get() {
            without_a_lock("a deallocation");
            LIVE.set(LIVE.get() - layout.size() as i64);
        }
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

pub struct SeenLocks;
pub struct SeenLock<T>(std::sync::Mutex<T>);

impl Locks for SeenLocks {
    type Mutex<T: Send> = SeenLock<T>;
}

impl<T: Send> Lock<T> for SeenLock<T> {
    fn new(value: T) -> SeenLock<T> {
        SeenLock(std::sync::Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.lock().unwrap();
        if HELD.get() == 0 {
            TOUCHED.set(0);
        }
        HELD.set(HELD.get() + 1);
        let result = f(&mut value);
        HELD.set(HELD.get() - 1);
        MOST_TOUCHED.set(MOST_TOUCHED.get().max(TOUCHED.get()));
        result
    }
}

/// Something on the model's part, which must not be done with a lock held.
pub fn unlocked<R>(what: &'static str, f: impl FnOnce() -> R) -> R {
    without_a_lock(what);
    outside(f)
}

/// Sees what the host is asked for.
#[derive(Clone)]
pub struct Seen;

impl Watch for Seen {
    type Locks = SeenLocks;

    fn around(&self, _machine: &Machine, access: Access, act: &mut dyn FnMut()) {
        match access {
            Access::Free => unlocked("a return of table memory", act),
            Access::Read(..) | Access::Write(..) => unlocked("an access to a register of the IRS", act),
            Access::Relax | Access::Now => unlocked("a wait or a look at the clock", act),
            Access::Load
            | Access::Store
            | Access::CleanInvalidate
            | Access::Invalidate
            | Access::Barrier
            | Access::LoadBarrier => {
                add(&TOUCHED);
                outside(act);
            }
        }
    }

    fn allocate(&self, machine: &Machine, layout: BlockLayout) -> Result<ModelBlock, AllocError> {
        unlocked("an allocation of table memory", || machine.allocate(layout))
    }

    fn may_allocate(&self, bytes: usize) -> bool {
        without_a_lock("a question for heap");
        PERMIT.set(bytes);
        LEFT.get() > 0 || !REFUSES.get()
    }
}

/// Which allocations succeed from now on, and who says that the others do not.
pub fn leave(allocations: u64, refuses: bool) {
    LEFT.set(allocations);
    REFUSES.set(refuses);
}

/// Starts to count anew.
pub fn count() {
    ALLOCATIONS.set(0);
    UNASKED.set(0);
    LIVE.set(0);
    leave(u64::MAX, false);
}
