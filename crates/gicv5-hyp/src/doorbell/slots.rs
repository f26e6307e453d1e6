//! Who has which word: the slots of doorbells, and those that are free.

use arbitrary_int::u24;
use gicv5_arch::{VmId, VpeId};
use gicv5_hal::{Cookie, Lock, Locks};

use super::error::DoorbellError;
use super::order::Step;
use super::word::Word;
use crate::sync::{AtomicU64, Ordering};
use gicv5_irs::heap::{Heap, OutOfMemory};
use gicv5_irs::slots::Slots;

/// Names a doorbell from its allocation to its release, and nothing afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DoorbellId {
    pub(super) slot: u32,
    pub(super) generation: u24,
}

impl DoorbellId {
    /// The slot is in bits 31 to 0, the generation in bits 55 to 32.
    pub(crate) fn cookie(self) -> Cookie {
        Cookie(u64::from(self.generation.value()) << 32 | u64::from(self.slot))
    }

    /// `None` if it is no doorbell's.
    #[inline]
    pub(super) fn from_cookie(Cookie(cookie): Cookie) -> Option<DoorbellId> {
        let generation = u24::try_new(u32::try_from(cookie >> 32).ok()?).ok()?;
        Some(DoorbellId { slot: cookie as u32, generation })
    }
}

#[cfg(not(loom))]
const CHUNK: usize = 512;
/// Loom keeps a record of each atomic.
#[cfg(loom)]
const CHUNK: usize = 2;

/// The word of one doorbell.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) word: AtomicU64,
    /// Loom tries two orders of accesses only if the later one is a write and the earlier one the last to the same place,
    /// which a load before every compare-and-exchange hides. So it is shown one more place, that each step changes.
    #[cfg(loom)]
    turn: AtomicU64,
}

impl Slot {
    /// Changes the word as `change` says, unless it refuses. The word is re-read as long as somebody else changes it; each
    /// of them is another step of the parent's table, so that is not often. Returns the word before.
    #[inline]
    pub(super) fn update<E>(&self, step: Step, change: impl Fn(Word) -> Result<Word, E>) -> Result<Word, E> {
        // Relaxed: a step that is refused does nothing that would have to be ordered.
        #[cfg(loom)]
        self.turn.fetch_add(1, Ordering::Relaxed);
        let mut raw = self.word.load(Ordering::Relaxed);
        loop {
            let before = Word::new_with_raw_value(raw);
            let after = change(before)?;
            match self.word.compare_exchange_weak(raw, after.raw_value(), step.ordering(), Ordering::Relaxed) {
                Ok(_) => return Ok(before),
                Err(now) => raw = now,
            }
        }
    }
}

/// The slots that are free.
struct Free {
    /// The first of a list, whose words name the next; [`NO_SLOT`] ends it.
    head: u32,
    /// Slots from this one on were never used.
    fresh: u32,
}

/// Above every limit.
const NO_SLOT: u32 = u32::MAX;

/// The slots of a host. Only taking one and giving it back take the lock of the list of free slots.
pub(super) struct DoorbellSlots<K: Locks> {
    slots: Slots<Slot, CHUNK>,
    limit: u32,
    free: K::Mutex<Free>,
}

impl<K: Locks> DoorbellSlots<K> {
    /// Room for this many.
    pub(super) fn new(heap: Heap<'_>, limit: u32) -> Result<DoorbellSlots<K>, OutOfMemory> {
        let free = K::Mutex::new(Free { head: NO_SLOT, fresh: 0 });
        Ok(DoorbellSlots { slots: Slots::new(heap, limit)?, limit, free })
    }

    /// The slot with this number, if it exists.
    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot)
    }

    /// Takes a free slot for a doorbell of this VPE.
    pub(super) fn take(&self, heap: Heap<'_>, vm: VmId, vpe: VpeId) -> Result<DoorbellId, DoorbellError> {
        loop {
            // Memory is allocated without the lock.
            let missing = match self.free.with(|free| self.take_from(free, vm, vpe)) {
                Ok(id) => return Ok(id),
                Err(missing) if missing < self.limit => missing,
                Err(limit) => return Err(DoorbellError::NoneFree { limit }),
            };
            self.slots.get_or_make(heap, missing)?;
        }
    }

    /// Takes a slot that was given back, or else the first that was never used; `Err` with the number of that one if it does
    /// not exist yet.
    fn take_from(&self, free: &mut Free, vm: VmId, vpe: VpeId) -> Result<DoorbellId, u32> {
        let (slot, number) = match self.get(free.head) {
            Some(slot) => (slot, free.head),
            None if free.fresh < self.limit => (self.get(free.fresh).ok_or(free.fresh)?, free.fresh),
            None => return Err(self.limit),
        };
        // Relaxed, here and below: the lock orders what owners of a slot do with its word, and nobody else changes it while it
        // is free.
        let word = Word::new_with_raw_value(slot.word.load(Ordering::Relaxed));
        match number == free.fresh {
            true => free.fresh += 1,
            false => free.head = word.next(),
        }
        let generation = word.generation();
        let word = Word::ZERO.with_generation(generation).with_live(true).owned_by(vm, vpe);
        slot.word.store(word.raw_value(), Ordering::Relaxed);
        Ok(DoorbellId { slot: number, generation })
    }

    /// Gives a slot back. Its generation is over: whoever still has the cookie has nothing.
    pub(super) fn give(&self, id: DoorbellId) {
        let Some(slot) = self.get(id.slot) else { return };
        self.free.with(|free| {
            let generation = id.generation.wrapping_add(u24::new(1));
            let word = Word::ZERO.with_generation(generation).with_next(free.head);
            slot.word.store(word.raw_value(), Ordering::Relaxed);
            free.head = id.slot;
        });
    }
}
