//! Physical memory as hardware sees it.
//!
//! # Theory of operation
//!
//! Memory is a window of RAM, all zero at first. Every word has two sides.
//!
//! The **IRS's side** is what the IRS reads and writes. While the IRS owns a structure it acts on what the structure
//! contained when it took it over, and on its own writes since: it has the structure in its caches and never reads it again
//! (VMT-19). Stores of software to it are reported and not seen.
//!
//! The **PEs' side** is what software loads and stores. The caches of all PEs are coherent with each other, so there is one; but
//! each PE has a store buffer, and a barrier is about what the PE that executes it has done.
//!
//! | IRS | [`Eagerness`] | what is between the two sides |
//! |---|---|---|
//! | coherent | `Strict` | a store buffer of any length for each PE: its stores reach memory, and the other PEs, at its [`barrier`](Memory::barrier) (COH-1, SYN-7); and loads of table entries that it has done early, before the IRS wrote to them: it sees what the IRS wrote after a [`load_barrier`](Memory::load_barrier) (SYN-10) |
//! | non-coherent | `Strict` | the same store buffers, and behind them a cache that holds every line, as old as the rules allow: it changes by the stores that reach it, and by maintenance and the barrier of the same PE after it (COH-2, COH-4) |
//! | some of each | `Strict` | both; a coherent IRS sees the cache, and the cache sees it |
//! | any | `Random` | the same, but stores, write-backs and refills also happen at moments drawn from the seed |
//! | any | `Early` | nothing: all happens at once |
//!
//! Maintenance without a barrier before it meets the stores of its PE where that hurts: a clean does not find them in the cache
//! (COH-2), an invalidate loses them (COH-7).
//!
//! The strict cache is the adversary that speculative loads make possible: it has fetched every line before anybody asked,
//! so that a missing invalidate is always visible, and so is an invalidate that came before the IRS wrote (COH-4).
//!
//! A cache writes whole lines. When a dirty line is written back, the words of it that software has not stored go with it,
//! as old as they are; if that would change what the IRS has written in the meantime, VMT-21 is reported: at once in a structure
//! that is valid, and else when the IRS takes the word, or software reads it, before anybody has stored it anew.
//!
//! # Ownership
//!
//! Each 8 bytes are in one of three states. *Free*: software may do anything. *Owned* by the IRS: a store is a
//! violation of the rule of the [`StructureKind`](crate::StructureKind), and a load returns poison, except for the bits that the IRS keeps up to date
//! in memory, the valid bits (VMT-22), and for the ISTs of a VM that has not changed since it was saved (SAVE-5). *Fillable*: an invalid entry of a live table, which software may fill as long as it
//! leaves the valid bit 0 (VMT-13, VMT-17, VPE-5, IST-18).
//!
//! The engine says what becomes what, with [`own`](Memory::own), [`fill`](Memory::fill) and [`disown`](Memory::disown).
//! Claims are not nested: the last one on a word counts, and what one structure points to is memory of its own, which
//! [`adopt`](Memory::adopt) holds software to.
//!
//! Beside that, a command under way [names](Memory::name) memory: software neither stores to it nor gives it back until the
//! command has completed (LIFE-10).
//!
//! # What it does not show
//!
//! What a structure needs to reach is the IRS that owns it: the one at which software made the table valid that it is part of. No
//! other IRS of the domain looks at it with eyes of its own. A store to the same line as an earlier clean needs no barrier in
//! between. No PE but the one that waits for an IRS loads anything early: what another PE has published, a PE sees at once, with
//! or without the barrier of its own that SYN-7 asks for. A 32-bit store makes half a word dirty, never a byte. What the IRS
//! holds of a structure it owns reaches memory when the engine says so.
//!
//! # Cost
//!
//! A page costs the host 4 KiB once something other than zero was stored in it. Claims cost nothing if they are the same for
//! all of a page, and else 2 KiB for the page, which is 16 bytes for an entry of 32. What the PEs hold of a page that
//! differs from memory costs 4 KiB and a little.

mod allocation;
mod buffer;
mod claims;
mod heap;
mod irs_side;
mod names;
mod order;
mod ownership;
mod page;
mod pages;
mod pe_order;
mod pe_side;
mod units;

use crate::words::config::{Eagerness, MemoryConfig, MemoryConfigError};
use crate::words::ids::PeIndex;
use core::fmt;
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use gicv5_arch::PhysAddr;
use gicv5_hal::{Coherency, IrsIndex};

pub use claims::Claim;
pub use heap::{Accounts, BlockRecord, HoldError, ModelBlock};

use gicv5_random::Rng;
use heap::Heap;
use names::Named;
use page::{Clobbered, Page};
use pages::Pages;
use pe_order::{Maintained, PeOrder};
use units::PAGE;

/// There is no memory where the IRS wanted to access it, or the address is not a multiple of the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory at {address}")]
pub struct BusError {
    /// Where.
    pub address: PhysAddr,
}

/// How often software has done what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Loads.
    pub loads: u64,
    /// Stores.
    pub stores: u64,
    /// Lines that were to be cleaned and invalidated.
    pub lines_cleaned: u64,
    /// Lines that were to be invalidated only.
    pub lines_invalidated: u64,
    /// Full barriers.
    pub barriers: u64,
    /// Load barriers.
    pub load_barriers: u64,
}

impl Counters {
    /// How often since an earlier moment.
    #[must_use]
    pub const fn since(&self, earlier: &Counters) -> Counters {
        Counters {
            loads: self.loads - earlier.loads,
            stores: self.stores - earlier.stores,
            lines_cleaned: self.lines_cleaned - earlier.lines_cleaned,
            lines_invalidated: self.lines_invalidated - earlier.lines_invalidated,
            barriers: self.barriers - earlier.barriers,
            load_barriers: self.load_barriers - earlier.load_barriers,
        }
    }
}

/// What is between the PEs and the IRSs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    Nothing,
    StoreBuffers,
    /// Store buffers, and behind them a cache that not all IRSs see.
    BuffersAndCache,
}

impl Between {
    const fn has_cache(self) -> bool {
        matches!(self, Between::BuffersAndCache)
    }
}

/// The memory of a machine. See the [module's documentation](self).
#[derive(Clone, PartialEq, Eq)]
pub struct Memory {
    config: MemoryConfig,
    between: Between,
    pages: Pages,
    /// What the PEs have done that others do not see yet, of each PE that has accessed memory.
    pes: Vec<PeOrder>,
    /// Lines that wait for a barrier, by their number in RAM.
    maintained: BTreeMap<u64, Maintained>,
    /// Pages that may have dirty lines in the cache.
    may_be_dirty: Vec<u64>,
    clobbered: Clobbered,
    /// Words that are no structure's, and in which a line that was written back has replaced what the IRS had left there.
    overwritten: BTreeSet<u64>,
    /// What commands under way name.
    named: Vec<Named>,
    heap: Heap,
    counters: Counters,
    rng: Rng,
}

impl fmt::Debug for Memory {
    /// Says how much there is, and not what is in it: that is too much to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("config", &self.config)
            .field("pages", &self.pages.backed())
            .field("live_blocks", &self.heap.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Memory {
    /// Makes memory, all zero.
    ///
    /// # Errors
    ///
    /// [`MemoryConfigError`] if the configuration makes no sense.
    pub fn new(config: MemoryConfig) -> Result<Memory, MemoryConfigError> {
        let MemoryConfig { base, size, reserved, cache_line, .. } = config;
        let pages = size != 0 && size.is_multiple_of(PAGE) && base.is_aligned_to(PAGE);
        if !pages || size > 1 << 40 || base.offset(size - 1).is_err() {
            return Err(MemoryConfigError::Ram { base, size });
        }
        if reserved >= size || !reserved.is_multiple_of(PAGE) {
            return Err(MemoryConfigError::Reserved { reserved });
        }
        if !(32..=2048).contains(&cache_line) || !cache_line.is_power_of_two() {
            return Err(MemoryConfigError::CacheLine { cache_line });
        }
        let has_cache = config.coherency == Coherency::NonCoherent
            || config.coherency_of.values().any(|coherency| *coherency == Coherency::NonCoherent);
        let between = match config.eagerness {
            Eagerness::Early => Between::Nothing,
            _ if has_cache => Between::BuffersAndCache,
            _ => Between::StoreBuffers,
        };
        Ok(Memory {
            between,
            pages: Pages::default(),
            pes: Vec::new(),
            maintained: BTreeMap::new(),
            may_be_dirty: Vec::new(),
            clobbered: Clobbered::new(),
            overwritten: BTreeSet::new(),
            named: Vec::new(),
            heap: Heap::new(config.placement, reserved..size),
            counters: Counters::default(),
            rng: Rng::new(config.seed),
            config,
        })
    }

    /// How it was made.
    #[must_use]
    pub const fn config(&self) -> &MemoryConfig {
        &self.config
    }

    /// Whether an IRS sees the caches of the PEs.
    #[must_use]
    pub fn coherency(&self, irs: IrsIndex) -> Coherency {
        self.config.coherency_of.get(&irs).copied().unwrap_or(self.config.coherency)
    }

    /// Whether an IRS sees the cache, of which there is one because others do not.
    #[inline]
    fn snoops(&self, irs: IrsIndex) -> bool {
        self.between.has_cache() && self.coherency(irs) == Coherency::Coherent
    }

    /// How often software has done what.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Where an address is in RAM, if it is there and a multiple of `alignment`.
    #[inline]
    fn offset(&self, address: PhysAddr, alignment: u64) -> Option<u64> {
        let offset = address.raw().wrapping_sub(self.config.base.raw());
        (offset < self.config.size && offset & (alignment - 1) == 0).then_some(offset)
    }

    /// Where a range is in RAM, if all of it is there.
    fn range(&self, address: PhysAddr, size: u64) -> Option<Range<u64>> {
        let start = self.offset(address, 1)?;
        let end = start.checked_add(size)?;
        (end <= self.config.size).then_some(start..end)
    }

    /// The address of a place in RAM.
    fn address(&self, offset: u64) -> PhysAddr {
        // The end of RAM is an address, so this one is too.
        self.config.base.offset(offset).unwrap_or(self.config.base)
    }

    #[inline]
    fn page(&self, page: u64) -> Option<&Page> {
        self.pages.page(page)
    }

    #[inline]
    fn page_mut(&mut self, page: u64) -> Option<&mut Page> {
        self.pages.page_mut(page)
    }

    /// The order of a PE, if it has accessed memory.
    #[inline]
    fn order(&self, pe: PeIndex) -> Option<&PeOrder> {
        self.pes.get(usize::from(pe.0))
    }

    /// The order of a PE that accesses memory.
    #[inline]
    fn order_mut(&mut self, pe: PeIndex) -> Option<&mut PeOrder> {
        let index = usize::from(pe.0);
        if self.pes.len() <= index {
            self.pes.resize_with(index + 1, PeOrder::default);
        }
        self.pes.get_mut(index)
    }

    /// The line of the page that a word is in.
    fn line_of(&self, granule: usize) -> usize {
        (granule * 8) >> self.config.cache_line.trailing_zeros()
    }

    /// The words that a line of the page has.
    fn words(&self, line: usize) -> Range<usize> {
        let granules = self.config.cache_line as usize / 8;
        line * granules..(line + 1) * granules
    }
}

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;
