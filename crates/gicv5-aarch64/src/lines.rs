//! The cache lines that bytes lie in.

use core::ops::Range;

/// The smallest data cache line in bytes that CTR_EL0 tells: DminLine is the logarithm of its words of 4 bytes.
pub(crate) const fn smallest(ctr: u64) -> usize {
    4 << (ctr >> 16 & 0xf)
}

/// The addresses of the lines of so many bytes that a range lies in.
pub(crate) fn touched(bytes: Range<usize>, line: usize) -> impl Iterator<Item = usize> {
    let mut next = (!bytes.is_empty()).then_some(bytes.start & !(line - 1));
    core::iter::from_fn(move || {
        let this = next.filter(|this| *this < bytes.end)?;
        next = this.checked_add(line);
        Some(this)
    })
}

/// Part of a block, as addresses: what lies behind its end is left out.
pub(crate) fn inside(base: usize, size: u64, bytes: &Range<u64>) -> Range<usize> {
    let at = |offset: u64| base.wrapping_add(offset.min(size) as usize);
    at(bytes.start)..at(bytes.end)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_line_is_that_of_dminline() {
        assert_eq!((smallest(0x8444_c004), smallest(0), smallest(0x000f_0000)), (64, 4, 128 << 10));
    }

    #[test]
    fn every_line_that_a_byte_lies_in_is_touched_once_and_no_other() {
        let lines = |bytes| touched(bytes, 64).collect::<Vec<_>>();
        assert_eq!(lines(0x1000..0x1040), [0x1000]);
        assert_eq!(lines(0x103f..0x1041), [0x1000, 0x1040]);
        assert_eq!(lines(0x1008..0x1010), [0x1000]);
        assert_eq!(lines(usize::MAX - 1..usize::MAX), [usize::MAX - 63]);
        assert_eq!(lines(0x1008..0x1008), []);
        assert_eq!(lines(Range { start: 0x1040, end: 0x1000 }), []);
    }

    #[test]
    fn what_lies_behind_the_end_of_a_block_is_no_part_of_it() {
        assert_eq!(inside(0x1000, 64, &(8..200)), 0x1008..0x1040);
        assert!(inside(0x1000, 64, &(100..u64::MAX)).is_empty());
    }
}
