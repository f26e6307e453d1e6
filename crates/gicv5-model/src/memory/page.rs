//! One page of memory and what is known about it.

use std::collections::BTreeMap;

use super::claims::{Claim, Claims};
use super::units::{GRANULES, Halves, Lines};

/// What a load returns from memory that the IRS owns: a number that no rule makes useful, because as an address it is
/// outside everything, and which is easily found.
pub(super) const POISON: u64 = 0xbad0_bad0_bad0_bad0;

/// What the cache of the PEs holds of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cached {
    data: [u64; GRANULES],
    /// Two bits for each word, one for each half that was stored and not written back.
    dirty: [u64; GRANULES * 2 / 64],
    /// Lines that are in the cache.
    pub(super) present: Lines,
    /// Whether the page is in the list of pages that may have dirty lines.
    pub(super) may_be_dirty: bool,
}

impl Cached {
    pub(super) fn new() -> Box<Cached> {
        Box::new(Cached {
            data: [0; GRANULES],
            dirty: [0; GRANULES * 2 / 64],
            present: Lines::default(),
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
        Halves::of_bits(bits >> (granule % 32 * 2))
    }

    #[inline]
    pub(super) fn set_dirty(&mut self, granule: usize, halves: Halves) {
        if let Some(bits) = self.dirty.get_mut(granule / 32) {
            *bits |= halves.bits() << (granule % 32 * 2);
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
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Page {
    /// What is in memory, or in the IRS where it owns it: in either case what the IRS sees. Zero until something is stored.
    memory: Option<Box<[u64; GRANULES]>>,
    /// Who may do what.
    pub(super) claims: Claims,
    /// What is in the cache of the PEs; `None` if that is the same, or there is no cache.
    pub(super) cached: Option<Box<Cached>>,
}

/// What memory holds, where that is not what the IRS that owns it holds: the word and its address, as an offset from the
/// start of RAM.
pub(super) type Clobbered = BTreeMap<u64, u64>;

impl Page {
    /// A page in which nothing was stored.
    pub(super) fn claimed(claims: Claims) -> Page {
        Page { claims, ..Page::default() }
    }

    /// What the IRS sees.
    #[inline]
    pub(super) fn get(&self, granule: usize) -> u64 {
        self.memory.as_ref().and_then(|memory| memory.get(granule)).copied().unwrap_or_default()
    }

    /// What an IRS loads, that looks into the cache of the PEs or does not. What it owns it has itself.
    #[inline]
    pub(super) fn seen_by_irs(&self, granule: usize, snoops: bool) -> u64 {
        match &self.cached {
            Some(cached) if snoops && !self.claims.get(granule).is_owned() => {
                cached.dirty(granule).merge(self.get(granule), cached.get(granule))
            }
            _ => self.get(granule),
        }
    }

    #[inline]
    pub(super) fn set(&mut self, granule: usize, halves: Halves, value: u64) {
        let memory = match &mut self.memory {
            Some(memory) => memory,
            None if value == 0 => return,
            None => self.memory.insert(Box::new([0; GRANULES])),
        };
        if let Some(word) = memory.get_mut(granule) {
            *word = halves.merge(*word, value);
        }
    }

    /// Makes words zero on both sides, except in memory those that are the IRS's.
    pub(super) fn zero(&mut self, granules: core::ops::Range<usize>) {
        if let Some(memory) = &mut self.memory {
            match self.claims.first(granules.clone()) {
                None => memory.get_mut(granules.clone()).unwrap_or_default().fill(0),
                Some(_) => {
                    for granule in granules.clone().filter(|granule| !self.claims.get(*granule).is_owned()) {
                        memory.get_mut(granule).into_iter().for_each(|word| *word = 0);
                    }
                }
            }
        }
        if let Some(cached) = &mut self.cached {
            for granule in granules {
                cached.set(granule, Halves::BOTH, 0);
                cached.set_clean(granule);
            }
        }
    }

    /// The cache gets what memory has of these halves of a word; where the IRS owns it, of all of it.
    pub(super) fn update_cached(&mut self, granule: usize, halves: Halves) {
        let value = self.get(granule);
        let Some(cached) = &mut self.cached else { return };
        if self.claims.get(granule).is_owned() {
            cached.set(granule, Halves::BOTH, value);
            cached.set_clean(granule);
        } else {
            cached.set(granule, halves, value);
        }
    }

    /// Gives the host its memory back, if nobody has a claim on the page.
    pub(super) fn forget(&mut self) {
        if self.claims == Claims::Free {
            *self = Page::default();
        }
    }

    /// Whether words are zero for certain, whoever looks: mostly they are, and are looked at together.
    pub(super) fn is_zero(&self, granules: core::ops::Range<usize>) -> bool {
        let words = self.memory.as_ref().and_then(|memory| memory.get(granules)).unwrap_or_default();
        self.cached.is_none() && words.iter().fold(0, |bits, word| bits | word) == 0
    }

    /// Whether it takes memory of the host.
    pub(super) fn is_backed(&self) -> bool {
        self.memory.is_some()
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
        let code = self.claims.get(granule);
        match code.claim() {
            Some(Claim::Owned(owner)) if owner.structure.rules().whole_lines && !code.is_shown() => POISON,
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
