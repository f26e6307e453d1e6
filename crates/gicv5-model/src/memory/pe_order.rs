//! What stands between a PE and the others: stores that wait, loads that came early, maintenance under way.

use core::ops::Range;
use std::collections::BTreeMap;

use super::buffer::StoreBuffer;
use crate::words::event::Maintenance;
use crate::words::ids::PeIndex;

/// What a PE has done that the others do not see yet, and what it may have seen before the others changed it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct PeOrder {
    /// Words that wait for a barrier.
    pub(super) buffer: StoreBuffer,
    /// Words of tables that a coherent IRS has changed since the last barrier that orders loads, as the PE may have read them
    /// before. A PE that has never accessed memory has read nothing.
    pub(super) read_early: BTreeMap<u64, u64>,
}

impl PeOrder {
    /// Nothing is outstanding any more for a range of bytes.
    pub(super) fn forget(&mut self, bytes: &Range<u64>) {
        self.buffer.take(bytes).for_each(drop);
        if self.read_early.is_empty() {
            return;
        }
        while let Some((&offset, _)) = self.read_early.range(bytes.clone()).next() {
            self.read_early.remove(&offset);
        }
    }
}

/// Maintenance of a line that is not done for certain before the next barrier of the PE that has asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Maintained {
    pub(super) pe: PeIndex,
    /// What is done to the line.
    pub(super) op: Maintenance,
}
