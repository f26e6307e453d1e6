//! Which pages of a piece of RAM are in use.
//!
//! A map of our own: a buddy allocator gives a block of two pages and a half four, keeps its lists on a heap, which may not be called
//! with interrupts masked and may have nothing left, and knows no highest address.

use core::ops::Range;

use gicv5_hal::BlockLayout;

/// Bytes of a page. Blocks are whole pages, so that no two share a cache line.
pub(crate) const PAGE: u64 = 4096;

/// A bit for each page, `WORDS` times 64 of them.
pub(crate) struct Pages<const WORDS: usize> {
    /// The address of the first page.
    base: u64,
    count: u64,
    used: [u64; WORDS],
}

impl<const WORDS: usize> Pages<WORDS> {
    /// The whole pages of a piece of RAM, as many as there are bits for.
    pub(crate) fn of(ram: Range<u64>) -> Pages<WORDS> {
        let base = ram.start.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        let count = (ram.end.saturating_sub(base) / PAGE).min(WORDS as u64 * 64);
        Pages { base, count, used: [0; WORDS] }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.count * PAGE
    }

    fn is_used(&self, page: u64) -> bool {
        self.used.get((page / 64) as usize).is_none_or(|word| word >> (page % 64) & 1 != 0)
    }

    fn mark(&mut self, pages: Range<u64>, used: bool) {
        for page in pages {
            if let Some(word) = self.used.get_mut((page / 64) as usize) {
                let bit = 1 << (page % 64);
                *word = if used { *word | bit } else { *word & !bit };
            }
        }
    }

    /// Takes the lowest free pages for a block, and returns their address.
    pub(crate) fn take(&mut self, layout: BlockLayout) -> Option<u64> {
        let count = layout.size().div_ceil(PAGE);
        let mut address = self.base.checked_next_multiple_of(layout.alignment().max(PAGE))?;
        loop {
            let start = (address - self.base) / PAGE;
            let end = start.checked_add(count).filter(|end| *end <= self.count)?;
            if address.checked_add(layout.size() - 1)? > layout.highest().raw() {
                return None;
            }
            match (start..end).rev().find(|page| self.is_used(*page)) {
                None => {
                    self.mark(start..end, true);
                    return Some(address);
                }
                // Nothing that begins at it or before it is free.
                Some(last) => {
                    let next = self.base + (last + 1) * PAGE;
                    address = next.checked_next_multiple_of(layout.alignment().max(PAGE))?;
                }
            }
        }
    }

    /// Takes the pages of a block back.
    pub(crate) fn give_back(&mut self, address: u64, size: u64) {
        let start = address.saturating_sub(self.base) / PAGE;
        self.mark(start..start + size.div_ceil(PAGE), false);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use gicv5_arch::PhysAddr;
    use std::vec::Vec;

    fn layout(size: u64, alignment: u64) -> BlockLayout {
        BlockLayout::new(size, alignment, PhysAddr::highest(56)).unwrap()
    }

    #[test]
    fn only_whole_pages_of_the_ram_are_used_and_as_many_as_there_are_bits_for() {
        assert_eq!(Pages::<1>::of(0x1001..0x4fff).bytes(), 2 * PAGE);
        assert_eq!(Pages::<1>::of(0..1 << 30).bytes(), 64 * PAGE);
        for nothing in [0x1001..0x1fff, Range { start: 0x2000, end: 0x1000 }, u64::MAX..u64::MAX] {
            assert_eq!(Pages::<1>::of(nothing.clone()).take(layout(1, 1)), None, "{nothing:x?}");
        }
    }

    #[test]
    fn blocks_are_aligned_and_apart_and_their_pages_come_back() {
        let mut pages = Pages::<1>::of(0x1000..0x21000);
        let wanted = [layout(1, 1), layout(8192, 8192), layout(4097, 8), layout(0x8000, 0x8000), layout(64, 0x4000)];
        let blocks: Vec<_> = wanted.iter().map(|layout| (pages.take(*layout).unwrap(), layout)).collect();
        for (n, (address, layout)) in blocks.iter().enumerate() {
            assert!(address.is_multiple_of(layout.alignment().max(PAGE)));
            for (other, other_layout) in &blocks[..n] {
                let apart = other + other_layout.size().next_multiple_of(PAGE) <= *address;
                assert!(apart || address + layout.size().next_multiple_of(PAGE) <= *other);
            }
        }
        for (address, layout) in blocks {
            pages.give_back(address, layout.size());
        }
        assert_eq!(pages.used, [0]);
        let all: Vec<_> = std::iter::from_fn(|| pages.take(layout(PAGE, PAGE))).collect();
        assert_eq!((all.len(), all[0], pages.take(layout(1, 1))), (32, 0x1000, None));
    }

    #[test]
    fn no_byte_of_a_block_lies_above_the_highest_address() {
        let mut pages = Pages::<1>::of(0xffff_e000..0x1_0000_2000);
        let below = |size| BlockLayout::new(size, 1, PhysAddr::highest(32)).unwrap();
        assert_eq!(pages.take(below(3 * PAGE)), None);
        assert_eq!(pages.take(below(2 * PAGE)), Some(0xffff_e000));
        assert_eq!(pages.take(below(1)), None);
        assert_eq!(pages.take(layout(1, 1)), Some(0x1_0000_0000));
    }
}
