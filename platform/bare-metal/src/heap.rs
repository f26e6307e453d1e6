//! The heap of the drivers that the image links: a static, and nothing behind it.

use core::cell::UnsafeCell;

use buddy_system_allocator::LockedHeap;

/// What the records of the drivers need, with a margin: tables are no part of it.
const BYTES: usize = 256 << 10;

#[global_allocator]
static HEAP: LockedHeap<20> = LockedHeap::empty();

#[repr(align(64))]
struct Memory(UnsafeCell<[u8; BYTES]>);

// SAFETY: nobody but the allocator uses it, which has a lock.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; BYTES]));

/// Gives the allocator its memory. To be called once, on PE 0, before anything allocates.
pub fn init() {
    // SAFETY: the static is the allocator's alone from here on, and this is the only call.
    unsafe { HEAP.lock().init(MEMORY.0.get() as usize, BYTES) }
}
