//! The store buffer between the PEs and a coherent IRS.

use core::ops::Range;

use super::units::Halves;

/// Words that wait for a barrier, by their offset in RAM.
///
/// Sorted, because software mostly fills tables from the lowest address up and mostly leaves few words waiting: then a
/// store costs a few comparisons, and emptying the buffer costs what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct StoreBuffer {
    words: Vec<Waiting>,
}

/// A word that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Its offset in RAM.
    pub(super) offset: u64,
    /// Which halves of it were stored.
    pub(super) halves: Halves,
    /// What was stored in them.
    pub(super) value: u64,
}

impl StoreBuffer {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Where the first word at or after this offset is: mostly at the end, or the last.
    #[inline]
    fn index(&self, offset: u64) -> usize {
        match self.words.last() {
            None => 0,
            Some(last) if last.offset < offset => self.words.len(),
            Some(last) if last.offset == offset => self.words.len() - 1,
            Some(_) => self.words.partition_point(|word| word.offset < offset),
        }
    }

    #[inline]
    pub(super) fn store(&mut self, offset: u64, halves: Halves, value: u64) {
        let index = self.index(offset);
        match self.words.get_mut(index) {
            Some(word) if word.offset == offset => {
                word.halves = word.halves.union(halves);
                word.value = halves.merge(word.value, value);
            }
            None => self.words.push(Waiting { offset, halves, value }),
            Some(_) => self.words.insert(index, Waiting { offset, halves, value }),
        }
    }

    /// What a load sees of a word that is this in memory.
    #[inline]
    pub(super) fn over(&self, offset: u64, memory: u64) -> u64 {
        if self.words.is_empty() {
            return memory;
        }
        match self.words.get(self.index(offset)) {
            Some(word) if word.offset == offset => word.halves.merge(memory, word.value),
            _ => memory,
        }
    }

    /// The first word that waits in a range of bytes.
    pub(super) fn first(&self, bytes: &Range<u64>) -> Option<Waiting> {
        self.words.get(self.index(bytes.start & !7)).copied().filter(|word| word.offset < bytes.end)
    }

    /// Takes the words out that are in a range of bytes.
    pub(super) fn take(&mut self, bytes: &Range<u64>) -> impl Iterator<Item = Waiting> + '_ {
        self.words.drain(self.index(bytes.start & !7)..self.index(bytes.end))
    }

    /// The bytes from the first word that waits to the last.
    pub(super) fn extent(&self) -> Range<u64> {
        match (self.words.first(), self.words.last()) {
            (Some(first), Some(last)) => first.offset..last.offset + 8,
            _ => 0..0,
        }
    }

    /// Takes everything out. [`put_back`](Self::put_back) returns the empty vector, so that it need not grow again.
    pub(super) fn take_all(&mut self) -> Vec<Waiting> {
        core::mem::take(&mut self.words)
    }

    pub(super) fn put_back(&mut self, mut words: Vec<Waiting>) {
        words.clear();
        self.words = words;
    }
}
