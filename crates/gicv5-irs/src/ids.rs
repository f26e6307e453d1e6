//! Which IDs are in use.

use alloc::boxed::Box;

use crate::heap::{Heap, OutOfMemory, boxed_slice};

/// A bitmap of IDs, one bit each, 1 for in use. The lowest free one is taken first, so that few level-2 tables are needed.
pub struct Ids {
    words: Box<[u64]>,
    /// How many IDs there are.
    count: u32,
    /// No word before this one has a free bit.
    first: usize,
    in_use: u32,
}

impl Ids {
    /// IDs 0 to `count - 1`, all free.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`].
    pub fn new(heap: Heap<'_>, count: u32) -> Result<Ids, OutOfMemory> {
        Ok(Ids { words: boxed_slice(heap, (count as usize).div_ceil(64), || 0)?, count, first: 0, in_use: 0 })
    }

    /// Takes the lowest free ID.
    pub fn take(&mut self) -> Option<u32> {
        let (index, word) = self.words.iter_mut().enumerate().skip(self.first).find(|(_, word)| **word != u64::MAX)?;
        self.first = index;
        let bit = word.trailing_ones();
        let id = index as u32 * 64 + bit;
        if id >= self.count {
            return None;
        }
        *word |= 1 << bit;
        self.in_use += 1;
        Some(id)
    }

    /// Returns an ID. Does nothing if it is free.
    pub fn give(&mut self, id: u32) {
        let (index, bit) = (id as usize / 64, 1 << (id % 64));
        if let Some(word) = self.words.get_mut(index)
            && *word & bit != 0
        {
            *word &= !bit;
            self.first = self.first.min(index);
            self.in_use -= 1;
        }
    }

    /// Returns all IDs.
    pub fn clear(&mut self) {
        self.words.fill(0);
        (self.first, self.in_use) = (0, 0);
    }

    /// Whether it is in use.
    pub fn is_in_use(&self, id: u32) -> bool {
        self.words.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 != 0)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many are in use.
    pub fn in_use(&self) -> u32 {
        self.in_use
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const HEAP: Heap<'static> = &|_| true;

    #[test]
    fn the_last_id_is_given_out_and_then_there_are_none() {
        let mut ids = Ids::new(HEAP, 65).unwrap();
        for id in 0..65 {
            assert_eq!(ids.take(), Some(id));
        }
        assert_eq!(ids.take(), None);
        ids.give(3);
        assert_eq!(ids.take(), Some(3));
        assert!(Ids::new(HEAP, 0).unwrap().take().is_none());
    }

    proptest! {
        #[test]
        fn the_bitmap_agrees_with_a_set(count in 0u32..200, steps in prop::collection::vec(any::<Option<u8>>(), 0..400)) {
            let mut ids = Ids::new(HEAP, count).unwrap();
            let mut free: BTreeSet<u32> = (0..count).collect();
            for step in steps {
                match step {
                    None => prop_assert_eq!(ids.take(), free.pop_first()),
                    Some(id) if u32::from(id) < count => {
                        ids.give(id.into());
                        free.insert(id.into());
                    }
                    Some(_) => {}
                }
                prop_assert_eq!(ids.in_use() as usize + free.len(), count as usize);
            }
            ids.clear();
            prop_assert_eq!(ids.take().is_some(), count > 0);
        }
    }
}
