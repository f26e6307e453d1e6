//! The units in which memory is kept: pages, words and halves of words, lines.

use gicv5_random::Rng;

/// Bytes in a page.
pub(super) const PAGE: u64 = 4096;
/// 64-bit words in a page.
pub(super) const GRANULES: usize = 512;

/// Which halves of a word, as the bits that they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Halves(u64);

impl Halves {
    pub(super) const NONE: Halves = Halves(0);
    pub(super) const LOW: Halves = Halves(0x0000_0000_ffff_ffff);
    pub(super) const HIGH: Halves = Halves(0xffff_ffff_0000_0000);
    pub(super) const BOTH: Halves = Halves(u64::MAX);

    /// `new` in these halves, `old` in the others.
    pub(super) const fn merge(self, old: u64, new: u64) -> u64 {
        (old & !self.0) | (new & self.0)
    }

    pub(super) const fn union(self, other: Halves) -> Halves {
        Halves(self.0 | other.0)
    }

    /// One bit for each half, the low one first.
    pub(super) const fn bits(self) -> u64 {
        (self.0 & 1) | (self.0 >> 62 & 2)
    }

    pub(super) const fn of_bits(bits: u64) -> Halves {
        match bits & 3 {
            0 => Halves::NONE,
            1 => Halves::LOW,
            2 => Halves::HIGH,
            _ => Halves::BOTH,
        }
    }
}

/// A set of lines of a page, of which there are at most 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Lines(u128);

impl Lines {
    pub(super) const ALL: Lines = Lines(u128::MAX);

    pub(super) const fn contains(self, line: usize) -> bool {
        self.0 & (1 << (line & 127)) != 0
    }

    pub(super) const fn insert(&mut self, line: usize) {
        self.0 |= 1 << (line & 127);
    }

    pub(super) const fn remove(&mut self, line: usize) {
        self.0 &= !(1 << (line & 127));
    }

    /// Each line with an even chance.
    pub(super) fn random(rng: &mut Rng) -> Lines {
        Lines(u128::from(rng.next()) << 64 | u128::from(rng.next()))
    }
}
