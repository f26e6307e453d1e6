//! Which LPIs are in use.

use alloc::boxed::Box;

use gicv5_arch::Lpi;

use crate::gate::{OutOfMemory, boxed_slice};

/// A bitmap of LPIs, one bit each, 1 for in use. The lowest free one is taken first, so that few level-2 ISTs are needed.
pub(crate) struct LpiIds {
    words: Box<[u64]>,
    count: u32,
    /// No word before this one has a free bit.
    first: usize,
}

impl LpiIds {
    /// LPIs 0 to `count - 1`, all free.
    pub(crate) fn new(count: u32) -> Result<LpiIds, OutOfMemory> {
        Ok(LpiIds { words: boxed_slice((count as usize).div_ceil(64), || 0)?, count, first: 0 })
    }

    /// Takes the lowest free LPI.
    pub(crate) fn take(&mut self) -> Option<Lpi> {
        let (index, word) = self.words.iter_mut().enumerate().skip(self.first).find(|(_, word)| **word != u64::MAX)?;
        self.first = index;
        let bit = word.trailing_ones();
        let id = index as u32 * 64 + bit;
        if id >= self.count {
            return None;
        }
        *word |= 1 << bit;
        Lpi::new(id).ok()
    }

    /// Gives an LPI back.
    pub(crate) fn give(&mut self, lpi: Lpi) {
        let index = lpi.id() as usize / 64;
        if let Some(word) = self.words.get_mut(index) {
            *word &= !(1 << (lpi.id() % 64));
            self.first = self.first.min(index);
        }
    }

    /// Gives all LPIs back.
    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
        self.first = 0;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_lpi_is_given_out_and_then_there_are_none() {
        let mut ids = LpiIds::new(65).unwrap();
        for id in 0..65 {
            assert_eq!(ids.take().map(Lpi::id), Some(id));
        }
        assert_eq!(ids.take(), None);
        ids.give(Lpi::new(3).unwrap());
        assert_eq!(ids.take().map(Lpi::id), Some(3));
        assert!(LpiIds::new(0).unwrap().take().is_none());
    }

    proptest! {
        #[test]
        fn the_bitmap_agrees_with_a_set(count in 0u32..200, steps in prop::collection::vec(any::<Option<u8>>(), 0..400)) {
            let mut ids = LpiIds::new(count).unwrap();
            let mut free: BTreeSet<u32> = (0..count).collect();
            for step in steps {
                match step {
                    None => prop_assert_eq!(ids.take().map(Lpi::id), free.pop_first()),
                    Some(id) if u32::from(id) < count => {
                        ids.give(Lpi::new(id.into()).unwrap());
                        free.insert(id.into());
                    }
                    Some(_) => {}
                }
            }
            ids.clear();
            prop_assert_eq!(ids.take().is_some(), count > 0);
        }
    }
}
