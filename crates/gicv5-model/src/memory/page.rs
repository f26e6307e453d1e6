//! One page of memory and what is known about it.

use core::fmt;
use std::collections::BTreeMap;

use super::owner::{Claim, Claims};
use crate::rng::Rng;

/// Bytes in a page.
pub(super) const PAGE: u64 = 4096;
/// 64-bit words in a page.
pub(super) const GRANULES: usize = 512;

/// What a load returns from memory that the IRS owns: a number that no rule makes useful, because as an address it is
/// outside everything, and which is easily found.
pub(super) const POISON: u64 = 0xbad0_bad0_bad0_bad0;

/// Which halves of a word: bit 0 for the low one, bit 1 for the high one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Halves(u8);

impl Halves {
    pub(super) const NONE: Halves = Halves(0);
    pub(super) const LOW: Halves = Halves(1);
    pub(super) const HIGH: Halves = Halves(2);
    pub(super) const BOTH: Halves = Halves(3);

    /// The bits of these halves.
    pub(super) const fn mask(self) -> u64 {
        (if self.0 & 1 != 0 { u32::MAX as u64 } else { 0 })
            | (if self.0 & 2 != 0 { (u32::MAX as u64) << 32 } else { 0 })
    }

    /// `new` in these halves, `old` in the others.
    pub(super) const fn merge(self, old: u64, new: u64) -> u64 {
        (old & !self.mask()) | (new & self.mask())
    }
}

/// A set of up to 128 lines, or of words, of a page.
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

    pub(super) const fn union(self, other: Lines) -> Lines {
        Lines(self.0 | other.0)
    }

    /// Each line with an even chance.
    pub(super) fn random(rng: &mut Rng) -> Lines {
        Lines(u128::from(rng.next()) << 64 | u128::from(rng.next()))
    }

    /// The lines of the set, lowest first.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let mut bits = self.0;
        core::iter::from_fn(move || {
            let line = bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
            (line < 128).then_some(line as usize)
        })
    }
}

/// What the PEs hold of a page that memory does not, or not yet.
///
/// With a coherent IRS it is a store buffer: `dirty` says which half words wait in it, and the rest of `data` means
/// nothing. Otherwise it is a cache: `present` says which lines are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PeView {
    data: [u64; GRANULES],
    dirty: [u64; GRANULES * 2 / 64],
    /// Lines that are in the cache.
    pub(super) present: Lines,
    /// Lines to be written back and dropped at the next barrier.
    pub(super) clean: Lines,
    /// Lines to be dropped at the next barrier.
    pub(super) invalidate: Lines,
    /// Whether the page is in the list of pages that the next barrier has something to do for.
    pub(super) listed: bool,
    /// Whether the page is in the list of pages that may have dirty lines.
    pub(super) may_be_dirty: bool,
}

impl PeView {
    pub(super) fn new() -> Box<PeView> {
        Box::new(PeView {
            data: [0; GRANULES],
            dirty: [0; GRANULES * 2 / 64],
            present: Lines::default(),
            clean: Lines::default(),
            invalidate: Lines::default(),
            listed: false,
            may_be_dirty: false,
        })
    }

    #[inline]
    pub(super) fn get(&self, granule: usize) -> u64 {
        self.data.get(granule).copied().unwrap_or_default()
    }

    #[inline]
    pub(super) fn set(&mut self, granule: usize, halves: Halves, value: u64) {
        if let Some(word) = self.data.get_mut(granule) {
            *word = halves.merge(*word, value);
        }
    }

    #[inline]
    pub(super) fn dirty(&self, granule: usize) -> Halves {
        let bits = self.dirty.get(granule / 32).copied().unwrap_or_default();
        Halves((bits >> (granule % 32 * 2)) as u8 & 3)
    }

    #[inline]
    pub(super) fn set_dirty(&mut self, granule: usize, halves: Halves) {
        if let Some(bits) = self.dirty.get_mut(granule / 32) {
            *bits |= u64::from(halves.0) << (granule % 32 * 2);
        }
    }

    pub(super) fn set_clean(&mut self, granule: usize) {
        if let Some(bits) = self.dirty.get_mut(granule / 32) {
            *bits &= !(3 << (granule % 32 * 2));
        }
    }

    /// The first dirty granule of these.
    pub(super) fn first_dirty(&self, granules: core::ops::Range<usize>) -> Option<usize> {
        let mut granule = granules.start;
        while granule < granules.end {
            let bits = self.dirty.get(granule / 32).copied().unwrap_or_default() >> (granule % 32 * 2);
            if bits != 0 {
                granule += bits.trailing_zeros() as usize / 2;
                return (granule < granules.end).then_some(granule);
            }
            granule = (granule / 32 + 1) * 32;
        }
        None
    }
}

/// A page of memory.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// What is in memory, or in the IRS where it owns it: in either case what the IRS sees.
    memory: [u64; GRANULES],
    /// Who may do what.
    pub(super) claims: Claims,
    /// What the PEs see instead; `None` if they see the same.
    pub(super) pe: Option<Box<PeView>>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page {")?;
        for (granule, word) in self.memory.iter().enumerate().filter(|(_, word)| **word != 0) {
            write!(f, " {:#x}: {word:#x}", granule * 8)?;
        }
        f.write_str(" }")
    }
}

/// What memory holds, where that is not what the IRS that owns it holds: the word and its address, as an offset from the
/// start of RAM.
pub(super) type Clobbered = BTreeMap<u64, u64>;

impl Page {
    pub(super) fn new() -> Box<Page> {
        Box::new(Page { memory: [0; GRANULES], claims: Claims::Free, pe: None })
    }

    /// What the IRS sees.
    #[inline]
    pub(super) fn get(&self, granule: usize) -> u64 {
        self.memory.get(granule).copied().unwrap_or_default()
    }

    #[inline]
    pub(super) fn set(&mut self, granule: usize, halves: Halves, value: u64) {
        if let Some(word) = self.memory.get_mut(granule) {
            *word = halves.merge(*word, value);
        }
    }

    /// What memory holds, and a cache gets that fetches it. `base` is the offset of the page in RAM.
    ///
    /// In the entries of tables the IRS changes nothing but valid bits, and these in memory at once. What memory holds of
    /// any other structure it owns nobody knows, which is poison.
    #[inline]
    pub(super) fn fetch(&self, clobbered: &Clobbered, base: u64, granule: usize) -> u64 {
        match self.claims {
            Claims::Free => self.get(granule),
            _ => self.fetch_claimed(clobbered, base, granule),
        }
    }

    fn fetch_claimed(&self, clobbered: &Clobbered, base: u64, granule: usize) -> u64 {
        match self.claims.get(granule).claim() {
            Some(Claim::Owned(owner)) if owner.structure.rules().whole_lines => POISON,
            Some(Claim::Owned(_)) if !clobbered.is_empty() => {
                clobbered.get(&(base + granule as u64 * 8)).copied().unwrap_or_else(|| self.get(granule))
            }
            _ => self.get(granule),
        }
    }

    /// What a load returns that finds this value in memory or in a cache.
    #[inline]
    pub(super) fn seen(&self, granule: usize, value: u64) -> u64 {
        match self.claims {
            Claims::Free => value,
            _ => {
                let visible = self.claims.get(granule).visible(granule);
                (POISON & !visible) | (value & visible)
            }
        }
    }
}
