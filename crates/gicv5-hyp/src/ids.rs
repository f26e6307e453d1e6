//! Which VM IDs are in use.

use alloc::boxed::Box;

use gicv5_arch::VmId;

use crate::boxed::{Heap, OutOfMemory, boxed_slice};

/// A bitmap of VM IDs, one bit each, 1 for in use. The lowest free one is taken first, so that few level-2 tables are needed.
pub(crate) struct VmIds {
    words: Box<[u64]>,
    /// How many IDs there are.
    count: u32,
    /// No word before this one has a free bit.
    first: usize,
    in_use: u32,
}

impl VmIds {
    /// VM IDs 0 to `count - 1`, all free.
    pub(crate) fn new(heap: Heap<'_>, count: u32) -> Result<VmIds, OutOfMemory> {
        Ok(VmIds { words: boxed_slice(heap, (count as usize).div_ceil(64), || 0)?, count, first: 0, in_use: 0 })
    }

    /// Takes the lowest free ID.
    pub(crate) fn take(&mut self) -> Option<VmId> {
        let (index, word) = self.words.iter_mut().enumerate().skip(self.first).find(|(_, word)| **word != u64::MAX)?;
        self.first = index;
        let bit = word.trailing_ones();
        let id = index as u32 * 64 + bit;
        if id >= self.count {
            return None;
        }
        *word |= 1 << bit;
        self.in_use += 1;
        u16::try_from(id).ok().map(VmId::new)
    }

    /// Gives an ID back.
    pub(crate) fn give(&mut self, vm: VmId) {
        let (index, bit) = (usize::from(vm.raw_value()) / 64, 1 << (vm.raw_value() % 64));
        if let Some(word) = self.words.get_mut(index)
            && *word & bit != 0
        {
            *word &= !bit;
            self.first = self.first.min(index);
            self.in_use -= 1;
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// How many are in use.
    pub(crate) fn in_use(&self) -> u32 {
        self.in_use
    }
}
