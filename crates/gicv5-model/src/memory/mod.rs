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
//! The **PEs' side** is what software loads and stores. All PEs are coherent with each other, so there is one.
//!
//! | IRS | [`Eagerness`] | what is between the two sides |
//! |---|---|---|
//! | coherent | `Strict` | a store buffer of any length: stores reach memory at a [`barrier`](Memory::barrier) (COH-1) |
//! | non-coherent | `Strict` | a cache that holds every line, as old as the rules allow: it changes by the PEs' stores, and by maintenance and the barrier after it (COH-2, COH-4) |
//! | some of each | `Strict` | both, the buffer before the cache; a coherent IRS sees the cache, and the cache sees it |
//! | any | `Random` | the same, but stores, write-backs and refills also happen at moments drawn from the seed |
//! | any | `Early` | nothing: all happens at once |
//!
//! The strict cache is the adversary that speculative loads make possible: it has fetched every line before anybody asked,
//! so that a missing invalidate is always visible, and so is an invalidate that came before the IRS wrote (COH-4).
//!
//! A cache writes whole lines. When a dirty line is written back, the words of it that software has not stored go with it,
//! as old as they are; if that would change what the IRS has written in the meantime, VMT-21 is reported.
//!
//! # Ownership
//!
//! Each 8 bytes are in one of three states. *Free*: software may do anything. *Owned* by the IRS: a store is a
//! violation of the rule of the [`StructureKind`](crate::StructureKind), and a load returns poison, except for the bits that the IRS keeps up to date
//! in memory, the valid bits (VMT-22), and for the ISTs of a VM that has not changed since it was saved (SAVE-5). *Fillable*: an invalid entry of a live table, which software may fill as long as it
//! leaves the valid bit 0 (VMT-13, VMT-17, VPE-5, IST-18).
//!
//! The engine says what becomes what, with [`own`](Memory::own), [`fill`](Memory::fill) and [`disown`](Memory::disown).
//! Claims are not nested: the last one on a word counts, and what one structure points to is memory of its own.
//!
//! # What it does not show
//!
//! What a structure needs to reach is the IRS that owns it: the one at which software made the table valid that it is part of. No
//! other IRS of the domain looks at it with eyes of its own. The PEs share one store buffer and one cache, so a barrier on one PE
//! stands for all. A store to the same line as an earlier clean needs no barrier in between, as on one PE. A 32-bit store
//! makes half a word dirty, never a byte. What the IRS holds of a structure it owns reaches memory when the engine says
//! so.
//!
//! # Cost
//!
//! A page costs the host 4 KiB once something other than zero was stored in it. Claims cost nothing if they are the same for
//! all of a page, and else 2 KiB for the page, which is 16 bytes for an entry of 32. What the PEs hold of a page that
//! differs from memory costs 4 KiB and a little.

mod buffer;
mod claims;
mod heap;
mod page;

use crate::words::config::{Eagerness, MemoryConfig, MemoryConfigError};
use crate::words::owner::Owner;
use core::fmt;
use core::ops::Range;

use gicv5_arch::PhysAddr;
use gicv5_hal::{AllocError, Block, BlockLayout, Coherency, IrsIndex};

pub use claims::Claim;
pub use heap::{Accounts, BlockRecord, ModelBlock};

use crate::words::event::{Event, Maintenance, Width};
use crate::words::report::Report;
use crate::words::rules;
use crate::words::violation::Place;
use buffer::{StoreBuffer, Waiting};
use claims::Code;
use gicv5_random::Rng;
use heap::Heap;
use page::{Cached, Clobbered, GRANULES, Halves, Lines, PAGE, Page};

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
    /// Barriers.
    pub barriers: u64,
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
        }
    }
}

/// What is between the PEs and the IRSs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    Nothing,
    StoreBuffer,
    Cache,
    /// A store buffer, and behind it a cache that some IRSs see and others do not.
    Both,
}

impl Between {
    const fn has_cache(self) -> bool {
        matches!(self, Between::Cache | Between::Both)
    }
}

/// Pages that follow each other in RAM.
type Chunk = [Page; CHUNK];
const CHUNK: usize = 512;

/// The memory of a machine. See the [module's documentation](self).
#[derive(Clone, PartialEq, Eq)]
pub struct Memory {
    config: MemoryConfig,
    between: Between,
    chunks: Vec<Option<Box<Chunk>>>,
    /// Words that wait for a barrier.
    buffer: StoreBuffer,
    /// Pages in which lines wait for a barrier.
    listed: Vec<u64>,
    /// Pages that may have dirty lines in the cache.
    may_be_dirty: Vec<u64>,
    clobbered: Clobbered,
    heap: Heap,
    counters: Counters,
    rng: Rng,
}

impl fmt::Debug for Memory {
    /// Says how much there is, and not what is in it: that is too much to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = self.chunks.iter().flatten().flat_map(|chunk| chunk.iter()).filter(|page| page.is_backed()).count();
        f.debug_struct("Memory")
            .field("config", &self.config)
            .field("pages", &pages)
            .field("live_blocks", &self.heap.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// The words of a page that a range of bytes touches.
struct Part {
    /// The number of the page in RAM.
    page: u64,
    granules: Range<usize>,
}

/// Cuts a range of bytes of RAM into its pages.
fn parts(bytes: Range<u64>) -> impl Iterator<Item = Part> {
    let pages = if bytes.is_empty() { 0..0 } else { bytes.start / PAGE..(bytes.end - 1) / PAGE + 1 };
    pages.map(move |page| {
        let first = bytes.start.max(page * PAGE) - page * PAGE;
        let last = bytes.end.min(page * PAGE + PAGE) - page * PAGE;
        Part { page, granules: first as usize / 8..(last as usize).div_ceil(8) }
    })
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
        let mixed = config.coherency_of.values().any(|other| *other != config.coherency);
        let between = match (config.eagerness, config.coherency) {
            (Eagerness::Early, _) => Between::Nothing,
            _ if mixed => Between::Both,
            (_, Coherency::Coherent) => Between::StoreBuffer,
            (_, Coherency::NonCoherent) => Between::Cache,
        };
        Ok(Memory {
            between,
            chunks: Vec::new(),
            buffer: StoreBuffer::default(),
            listed: Vec::new(),
            may_be_dirty: Vec::new(),
            clobbered: Clobbered::new(),
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
        self.between == Between::Both && self.coherency(irs) == Coherency::Coherent
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
        self.chunks.get(page as usize / CHUNK)?.as_deref()?.get(page as usize % CHUNK)
    }

    #[inline]
    fn page_mut(&mut self, page: u64) -> Option<&mut Page> {
        page_mut(&mut self.chunks, page)
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

/// The page, with its chunk made if it is not there. `None` is for pages outside RAM only.
#[inline]
fn make_page(chunks: &mut Vec<Option<Box<Chunk>>>, page: u64) -> Option<&mut Page> {
    let chunk = page as usize / CHUNK;
    if chunks.len() <= chunk {
        chunks.resize_with(chunk + 1, || None);
    }
    let chunk = chunks.get_mut(chunk)?.get_or_insert_with(|| Box::new(core::array::from_fn(|_| Page::default())));
    chunk.get_mut(page as usize % CHUNK)
}

fn page_mut(chunks: &mut [Option<Box<Chunk>>], page: u64) -> Option<&mut Page> {
    chunks.get_mut(page as usize / CHUNK)?.as_deref_mut()?.get_mut(page as usize % CHUNK)
}

/// The IRS's side.
impl Memory {
    /// Loads 64 bits as an IRS sees them.
    ///
    /// # Errors
    ///
    /// [`BusError`] if there is no memory, or the address is not a multiple of 8.
    #[inline]
    pub fn irs_load64(&self, irs: IrsIndex, address: PhysAddr) -> Result<u64, BusError> {
        let offset = self.offset(address, 8).ok_or(BusError { address })?;
        Ok(self.irs_load(irs, offset))
    }

    #[inline]
    fn irs_load(&self, irs: IrsIndex, offset: u64) -> u64 {
        let granule = (offset % PAGE) as usize / 8;
        let Some(page) = self.page(offset / PAGE) else { return 0 };
        let memory = page.get(granule);
        match &page.cached {
            Some(cached) if self.snoops(irs) && !page.claims.get(granule).is_owned() => {
                cached.dirty(granule).merge(memory, cached.get(granule))
            }
            _ => memory,
        }
    }

    /// Loads 32 bits as an IRS sees them.
    ///
    /// # Errors
    ///
    /// [`BusError`] if there is no memory, or the address is not a multiple of 4.
    #[inline]
    pub fn irs_load32(&self, irs: IrsIndex, address: PhysAddr) -> Result<u32, BusError> {
        let offset = self.offset(address, 4).ok_or(BusError { address })?;
        Ok((self.irs_load(irs, offset & !7) >> (offset % 8 * 8)) as u32)
    }

    /// Stores 64 bits as an IRS. Nothing the PEs have in a cache changes, unless the IRS is coherent.
    ///
    /// # Errors
    ///
    /// [`BusError`] if there is no memory, or the address is not a multiple of 8.
    #[inline]
    pub fn irs_store64(&mut self, irs: IrsIndex, address: PhysAddr, value: u64) -> Result<(), BusError> {
        let offset = self.offset(address, 8).ok_or(BusError { address })?;
        self.irs_store(irs, offset, Halves::BOTH, value);
        Ok(())
    }

    /// Stores 32 bits as an IRS. Nothing the PEs have in a cache changes, unless the IRS is coherent.
    ///
    /// # Errors
    ///
    /// [`BusError`] if there is no memory, or the address is not a multiple of 4.
    #[inline]
    pub fn irs_store32(&mut self, irs: IrsIndex, address: PhysAddr, value: u32) -> Result<(), BusError> {
        let offset = self.offset(address, 4).ok_or(BusError { address })?;
        let (halves, value) = half(offset, value);
        self.irs_store(irs, offset, halves, value);
        Ok(())
    }

    #[inline]
    fn irs_store(&mut self, irs: IrsIndex, offset: u64, halves: Halves, value: u64) {
        let granule = (offset % PAGE) as usize / 8;
        let snoops = self.snoops(irs);
        if self.between.has_cache() && !snoops {
            // What the PEs see must not change by what the IRS writes now.
            self.remember(offset / PAGE);
        }
        if !self.clobbered.is_empty() {
            // The IRS's word goes to memory whole.
            self.clobbered.remove(&(offset & !7));
        }
        if let Some(page) = make_page(&mut self.chunks, offset / PAGE) {
            page.set(granule, halves, value);
            if snoops {
                page.update_cached(granule, halves);
            }
        }
    }

    /// Gives the page a copy of its own for the PEs, as they see it now. A random cache has some lines of it, a strict one
    /// all.
    #[cold]
    fn copy_for_pes(&mut self, page: u64) {
        let present = match self.config.eagerness {
            Eagerness::Random => Lines::random(&mut self.rng),
            Eagerness::Strict | Eagerness::Early => Lines::ALL,
        };
        if let Some(page) = make_page(&mut self.chunks, page) {
            let mut cached = Cached::new();
            cached.present = present;
            for granule in 0..GRANULES {
                // Fetched before the IRS took anything of it over.
                cached.set(granule, Halves::BOTH, page.get(granule));
            }
            page.cached = Some(cached);
        }
    }

    #[inline]
    fn remember(&mut self, page: u64) {
        if self.page(page).is_none_or(|page| page.cached.is_none()) {
            self.copy_for_pes(page);
        }
    }
}

/// A 32-bit value in its place in a word.
const fn half(offset: u64, value: u32) -> (Halves, u64) {
    match offset & 4 {
        0 => (Halves::LOW, value as u64),
        _ => (Halves::HIGH, (value as u64) << 32),
    }
}

/// The PEs' side.
impl Memory {
    /// Loads 64 bits as software does. Where there is no memory, or the address is not a multiple of 8, MEM-1 is reported
    /// and 0 loaded.
    pub fn load64(&mut self, report: &mut Report, address: PhysAddr) -> u64 {
        match self.offset(address, 8) {
            Some(offset) => self.load(report, offset),
            None => no_memory(report, address),
        }
    }

    /// Loads 32 bits as software does. Where there is no memory, or the address is not a multiple of 4, MEM-1 is reported
    /// and 0 loaded.
    pub fn load32(&mut self, report: &mut Report, address: PhysAddr) -> u32 {
        match self.offset(address, 4) {
            Some(offset) => (self.load(report, offset & !7) >> (offset % 8 * 8)) as u32,
            None => no_memory(report, address) as u32,
        }
    }

    /// Stores 64 bits as software does. Where there is no memory, or the address is not a multiple of 8, MEM-1 is reported
    /// and nothing stored.
    ///
    /// Where the IRS owns the memory, the rule of its structure is reported and the IRS does not see the store.
    pub fn store64(&mut self, report: &mut Report, address: PhysAddr, value: u64) {
        match self.offset(address, 8) {
            Some(offset) => self.store(report, offset, Width::W64, value),
            None => _ = no_memory(report, address),
        }
    }

    /// Stores 32 bits as software does; otherwise like [`store64`](Self::store64).
    pub fn store32(&mut self, report: &mut Report, address: PhysAddr, value: u32) {
        match self.offset(address, 4) {
            Some(offset) => self.store(report, offset, Width::W32, u64::from(value)),
            None => _ = no_memory(report, address),
        }
    }

    fn load(&mut self, report: &mut Report, offset: u64) -> u64 {
        self.counters.loads += 1;
        if self.config.eagerness == Eagerness::Random {
            self.moment(report);
            self.refill_by_chance(offset);
        }
        let (number, granule) = (offset / PAGE, (offset % PAGE) as usize / 8);
        if let Some(cached) = self.cached(number) {
            let line = self.line_of(granule);
            if !cached.present.contains(line) {
                self.fetch_line(number, line);
            }
        }
        let Some(page) = self.page(number) else {
            return self.buffer.over(offset, 0);
        };
        let value = match &page.cached {
            Some(cached) => self.buffer.over(offset, cached.get(granule)),
            None => self.buffer.over(offset, page.fetch(&self.clobbered, number * PAGE, granule)),
        };
        page.seen(granule, value)
    }

    fn store(&mut self, report: &mut Report, offset: u64, width: Width, value: u64) {
        self.counters.stores += 1;
        report.event(|| Event::Stored { address: self.address(offset), width, value });
        if self.config.eagerness == Eagerness::Random {
            self.moment(report);
        }
        let (halves, shifted) = match width {
            Width::W32 => half(offset, value as u32),
            Width::W64 => (Halves::BOTH, value),
        };
        let granule = (offset % PAGE) as usize / 8;
        let code = self.page(offset / PAGE).map_or(Code::FREE, |page| page.claims.get(granule));
        if !code.is_free() {
            self.judge_store(report, offset, code, width, value);
        }
        match self.between {
            Between::Cache => self.store_in_cache(report, offset, halves, shifted),
            Between::StoreBuffer | Between::Both if !code.is_owned() => self.buffer.store(offset & !7, halves, shifted),
            Between::Both => self.store_in_cache(report, offset, halves, shifted),
            Between::StoreBuffer | Between::Nothing => self.store_in_memory(offset & !7, halves, shifted),
        }
    }

    /// Stores what has arrived at memory.
    fn store_in_memory(&mut self, offset: u64, halves: Halves, value: u64) {
        let Memory { chunks, clobbered, .. } = self;
        let Some(page) = make_page(chunks, offset / PAGE) else {
            return;
        };
        let granule = (offset % PAGE) as usize / 8;
        if page.claims.get(granule).is_owned() {
            let word = clobbered.entry(offset).or_insert_with(|| page.get(granule));
            *word = halves.merge(*word, value);
        } else {
            page.set(granule, halves, value);
        }
    }

    /// A store leaves the buffer.
    fn store_arrives(&mut self, report: &mut Report, Waiting { offset, halves, value }: Waiting) {
        match self.between {
            Between::Both => self.store_in_cache(report, offset, halves, value),
            _ => self.store_in_memory(offset, halves, value),
        }
    }

    fn store_in_cache(&mut self, report: &mut Report, offset: u64, halves: Halves, value: u64) {
        let (page, granule) = (offset / PAGE, (offset % PAGE) as usize / 8);
        let line = self.line_of(granule);
        self.remember(page);
        // Maintenance of the line came first, and must not take this store with it.
        self.finish_line(report, page, line);
        if self.cached(page).is_some_and(|cached| !cached.present.contains(line)) {
            self.fetch_line(page, line);
        }
        let Some(cached) = self.cached_mut(page) else {
            return;
        };
        cached.set(granule, halves, value);
        cached.set_dirty(granule, halves);
        if !core::mem::replace(&mut cached.may_be_dirty, true) {
            self.may_be_dirty.push(page);
        }
    }

    fn cached(&self, page: u64) -> Option<&Cached> {
        self.page(page)?.cached.as_deref()
    }

    fn cached_mut(&mut self, page: u64) -> Option<&mut Cached> {
        self.page_mut(page)?.cached.as_deref_mut()
    }

    /// What the checker has to say about a store to memory that is not free.
    #[cold]
    fn judge_store(&self, report: &mut Report, offset: u64, code: Code, width: Width, new: u64) {
        let (page, granule) = (offset / PAGE, (offset % PAGE) as usize / 8);
        let Some(claim) = code.claim() else {
            return;
        };
        let word = self.page(page).map_or(0, |page| page.get(granule));
        let old = match width {
            Width::W32 => word >> (offset % 8 * 8) & u64::from(u32::MAX),
            Width::W64 => word,
        };
        let place = Place::Structure(self.address(offset), claim.owner());
        let rules = claim.owner().structure.rules();
        match claim {
            Claim::Owned(_) => {
                report.violate(rules.stored, place, old, new, || "software stored to memory the IRS owns".into());
            }
            Claim::Fillable(_) => {
                let forbidden = rules.forbidden.get(granule & 3).copied().unwrap_or_default() >> (offset % 8 * 8);
                if width == Width::W32 {
                    report.violate(rules::COH_8, place, old, new, || {
                        "software stored half of an entry of a table in use".into()
                    });
                }
                if new & forbidden != 0 {
                    report.violate(rules.filled, place, old, new, || {
                        "software set the valid bit of an entry of a table in use, which is for the IRS to do".into()
                    });
                }
            }
        }
    }
}

#[cold]
fn no_memory(report: &mut Report, address: PhysAddr) -> u64 {
    report.violate(rules::MEM_1, Place::Memory(address), 0, 0, || {
        "software accessed what is not there or not aligned".into()
    });
    0
}

/// Order: maintenance, barriers, and what happens between them.
impl Memory {
    /// Writes the dirty lines that these bytes lie in back to memory and drops them (`DC CIVAC`); done for certain at the
    /// next barrier.
    pub fn clean_invalidate(&mut self, report: &mut Report, address: PhysAddr, size: u64) {
        self.maintain(report, Maintenance::CleanInvalidate, address, size);
    }

    /// Drops the lines that these bytes lie in (`DC IVAC`); done for certain at the next barrier.
    ///
    /// What software has stored in them is lost; if it has stored outside these bytes, COH-7 is reported. A random cache
    /// sometimes writes it back instead, which the architecture allows.
    pub fn invalidate(&mut self, report: &mut Report, address: PhysAddr, size: u64) {
        self.maintain(report, Maintenance::Invalidate, address, size);
    }

    fn maintain(&mut self, report: &mut Report, op: Maintenance, address: PhysAddr, size: u64) {
        report.event(|| Event::Maintenance { op, address, size });
        if self.config.eagerness == Eagerness::Random {
            self.moment(report);
        }
        let Some(bytes) = self.range(address, size) else {
            no_memory(report, address);
            return;
        };
        if bytes.is_empty() {
            return;
        }
        let lines = (bytes.end - 1) / self.config.cache_line - bytes.start / self.config.cache_line + 1;
        match op {
            Maintenance::CleanInvalidate => self.counters.lines_cleaned += lines,
            Maintenance::Invalidate => self.counters.lines_invalidated += lines,
        }
        if !self.between.has_cache() {
            return;
        }
        if !self.buffer.is_empty() {
            // A PE's stores to a line come before its maintenance of it.
            let line = self.config.cache_line;
            let whole = bytes.start / line * line..bytes.end.next_multiple_of(line);
            for waiting in self.buffer.take(&whole).collect::<Vec<_>>() {
                self.store_arrives(report, waiting);
            }
        }
        let per_line = self.config.cache_line as usize / 8;
        for Part { page, granules } in parts(bytes) {
            self.remember(page);
            for line in granules.start / per_line..granules.end.div_ceil(per_line) {
                // One after the other: what the line was to do before, it does now.
                self.finish_line(report, page, line);
                if op == Maintenance::Invalidate {
                    self.judge_invalidate(report, page, line, &granules);
                }
                let clean = op == Maintenance::CleanInvalidate
                    || self.config.eagerness == Eagerness::Random && self.rng.chance(1, 2);
                if let Some(cached) = self.cached_mut(page) {
                    if clean {
                        cached.clean.insert(line);
                    } else {
                        cached.invalidate.insert(line);
                    }
                    if !core::mem::replace(&mut cached.listed, true) {
                        self.listed.push(page);
                    }
                }
            }
        }
    }

    /// Reports stores that an invalidate loses although it was not about them.
    fn judge_invalidate(&self, report: &mut Report, page: u64, line: usize, asked: &Range<usize>) {
        let words = self.words(line);
        let Some(page_ref) = self.page(page) else {
            return;
        };
        let Some(cached) = &page_ref.cached else {
            return;
        };
        let before = words.start..words.end.min(asked.start);
        let after = words.start.max(asked.end)..words.end;
        if let Some(lost) = cached.first_dirty(before).or_else(|| cached.first_dirty(after)) {
            let place = self.place(page * PAGE + lost as u64 * 8);
            report.violate(rules::COH_7, place, cached.get(lost), page_ref.get(lost), || {
                "software invalidated a line and lost its own store to a neighbour, which was not cleaned".into()
            });
        }
    }

    /// A store barrier, after which stores have reached a coherent IRS, and maintenance is done (`DSB`).
    pub fn barrier(&mut self, report: &mut Report) {
        self.counters.barriers += 1;
        report.event(|| Event::MemoryBarrier);
        if !self.buffer.is_empty() {
            let words = self.buffer.take_all();
            for waiting in &words {
                self.store_arrives(report, *waiting);
            }
            self.buffer.put_back(words);
        }
        for page in core::mem::take(&mut self.listed) {
            self.finish_page(report, page);
        }
    }

    /// Does the maintenance that is outstanding for a page.
    fn finish_page(&mut self, report: &mut Report, page: u64) {
        let Some(cached) = self.cached_mut(page) else {
            return;
        };
        cached.listed = false;
        for line in cached.clean.union(cached.invalidate).iter() {
            self.finish_line(report, page, line);
        }
    }

    /// Does the maintenance that is outstanding for a line, if any.
    fn finish_line(&mut self, report: &mut Report, page: u64, line: usize) {
        let Some(cached) = self.cached_mut(page) else {
            return;
        };
        if cached.clean.contains(line) {
            self.write_line(report, page, line, true);
        } else if !cached.invalidate.contains(line) {
            return;
        }
        let words = self.words(line);
        if let Some(cached) = self.cached_mut(page) {
            words.for_each(|granule| cached.set_clean(granule));
            cached.clean.remove(line);
            cached.invalidate.remove(line);
        }
        self.drop_line(page, line);
    }

    /// The line leaves the cache. A strict cache fetches it again at once.
    fn drop_line(&mut self, page: u64, line: usize) {
        if self.config.eagerness == Eagerness::Random && self.rng.chance(1, 2) {
            if let Some(cached) = self.cached_mut(page) {
                cached.present.remove(line);
            }
        } else {
            self.fetch_line(page, line);
        }
    }

    /// Fetches a line, which is not dirty, from memory.
    fn fetch_line(&mut self, page: u64, line: usize) {
        let words = self.words(line);
        let Memory { chunks, clobbered, .. } = self;
        let Some(page_ref) = page_mut(chunks, page) else {
            return;
        };
        let Some(mut cached) = page_ref.cached.take() else {
            return;
        };
        for granule in words {
            cached.set(granule, Halves::BOTH, page_ref.fetch(clobbered, page * PAGE, granule));
        }
        cached.present.insert(line);
        page_ref.cached = Some(cached);
    }

    /// Writes a line back to memory, whole, if it is dirty. Afterwards it is clean.
    fn write_line(&mut self, report: &mut Report, page: u64, line: usize, asked: bool) {
        let words = self.words(line);
        let Some(cached) = self.cached(page) else {
            return;
        };
        if cached.first_dirty(words.clone()).is_none() {
            return;
        }
        let start = page * PAGE + words.start as u64 * 8;
        report.event(|| Event::LineWritten { address: self.address(start), asked });
        for granule in words {
            self.write_word(report, page, granule);
        }
    }

    /// Writes a word of a dirty line back to memory.
    fn write_word(&mut self, report: &mut Report, page: u64, granule: usize) {
        let offset = page * PAGE + granule as u64 * 8;
        let Memory { chunks, clobbered, .. } = self;
        let Some(page_ref) = page_mut(chunks, page) else {
            return;
        };
        let now = page_ref.fetch(clobbered, page * PAGE, granule);
        let memory = page_ref.get(granule);
        let Some(cached) = page_ref.cached.as_deref_mut() else {
            return;
        };
        let stored = cached.dirty(granule);
        let word = cached.get(granule);
        cached.set_clean(granule);
        // What the line says of bytes that were not stored does no harm if memory holds that already.
        let harmless = |value| stored.merge(word, 0) == stored.merge(value, 0);
        let stale = !harmless(now) && !harmless(memory);
        if stored == Halves::NONE && !stale {
            return;
        }
        if stale {
            report.violate(rules::VMT_21, self.place(offset), memory, word, || {
                "a line written back carried old bytes next to those that software stored, over what the IRS had written"
                    .into()
            });
        }
        self.store_in_memory(offset, if stale { Halves::BOTH } else { stored }, word);
    }

    /// The place that an offset in RAM is.
    fn place(&self, offset: u64) -> Place {
        let address = self.address(offset);
        match self.claim_at(offset) {
            Some(claim) => Place::Structure(address, claim.owner()),
            None => Place::Memory(address),
        }
    }

    fn claim_at(&self, offset: u64) -> Option<Claim> {
        self.page(offset / PAGE)?.claims.get((offset % PAGE) as usize / 8).claim()
    }

    /// A moment at which a random memory may do what it may do early. Every access of software is one; the owner of the
    /// machine calls it for others, such as time that passes.
    pub fn moment(&mut self, report: &mut Report) {
        if self.config.eagerness != Eagerness::Random || !self.rng.chance(1, 8) {
            return;
        }
        if !self.buffer.is_empty() {
            // Some stores leave the buffer, and not the oldest first.
            let extent = self.buffer.extent();
            let from = extent.start + self.rng.below(extent.end - extent.start);
            let leave: Vec<_> = self.buffer.take(&(from..from + 64)).collect();
            for waiting in leave {
                self.store_arrives(report, waiting);
            }
        }
        if !self.listed.is_empty() {
            let page = self.listed.swap_remove(self.rng.below(self.listed.len() as u64) as usize);
            self.finish_page(report, page);
        }
        if !self.may_be_dirty.is_empty() {
            let index = self.rng.below(self.may_be_dirty.len() as u64) as usize;
            let page = self.may_be_dirty.swap_remove(index);
            if let Some(cached) = self.cached_mut(page) {
                cached.may_be_dirty = false;
                for line in 0..PAGE as usize / self.config.cache_line as usize {
                    self.write_line(report, page, line, false);
                }
            }
        }
    }

    /// A random cache may have dropped the line, and fetched it again, since the last time.
    fn refill_by_chance(&mut self, offset: u64) {
        if self.between.has_cache() && self.rng.chance(1, 8) {
            let (page, granule) = (offset / PAGE, (offset % PAGE) as usize / 8);
            let line = self.line_of(granule);
            let words = self.words(line);
            if self.cached(page).is_some_and(|cached| cached.first_dirty(words).is_none()) {
                self.fetch_line(page, line);
            }
        }
    }
}

/// Ownership.
impl Memory {
    /// An IRS takes memory into its ownership: from now on it acts on what is there now, and software keeps off.
    /// Everything is in whole words of 64 bits; partial ones count as whole.
    ///
    /// Stores of software that have not reached the IRS are reported, COH-1 for a coherent IRS and COH-2 otherwise; and on a
    /// non-coherent IRS a structure that shares a line with something else, COH-6.
    ///
    /// # Errors
    ///
    /// [`BusError`] if not all of it is memory; then nothing changes, and MEM-4 is reported.
    pub fn own(
        &mut self,
        report: &mut Report,
        irs: IrsIndex,
        address: PhysAddr,
        size: u64,
        owner: Owner,
    ) -> Result<(), BusError> {
        report.event(|| Event::Owned { address, size, owner });
        self.claim(report, irs, address, size, Claim::Owned(owner))
    }

    /// Memory becomes part of a live table, in which software may fill it. What [`own`](Self::own) reports is reported.
    ///
    /// # Errors
    ///
    /// [`BusError`] if not all of it is memory; then nothing changes, and MEM-4 is reported.
    pub fn fill(
        &mut self,
        report: &mut Report,
        irs: IrsIndex,
        address: PhysAddr,
        size: u64,
        owner: Owner,
    ) -> Result<(), BusError> {
        report.event(|| Event::Fillable { address, size, owner });
        self.claim(report, irs, address, size, Claim::Fillable(owner))
    }

    /// Memory that was an IRS's goes back to software, with the IRS's last word in it.
    ///
    /// # Errors
    ///
    /// [`BusError`] if not all of it is memory; then nothing changes.
    pub fn disown(&mut self, report: &mut Report, irs: IrsIndex, address: PhysAddr, size: u64) -> Result<(), BusError> {
        let bytes = self.range(address, size).ok_or(BusError { address })?;
        report.event(|| Event::Disowned { address, size });
        if self.snoops(irs) {
            self.refresh(bytes.clone());
        }
        self.set_claims(bytes, Code::FREE);
        Ok(())
    }

    /// From now on software reads from a structure that an IRS owns what the IRS has written there last, because there is
    /// nothing newer (SAVE-1); or, as before, poison.
    ///
    /// # Errors
    ///
    /// [`BusError`] if not all of it is memory; then nothing changes.
    pub fn show(&mut self, irs: IrsIndex, address: PhysAddr, size: u64, shown: bool) -> Result<(), BusError> {
        let bytes = self.range(address, size).ok_or(BusError { address })?;
        for Part { page, granules } in parts(bytes.clone()) {
            if let Some(page) = self.page_mut(page) {
                page.claims.show(granules, shown);
            }
        }
        if shown && self.snoops(irs) {
            self.refresh(bytes);
        }
        Ok(())
    }

    /// What software may not do with the word at this address; `None` if it may do anything, or there is no memory.
    #[must_use]
    pub fn claim_on(&self, address: PhysAddr) -> Option<Claim> {
        self.claim_at(self.offset(address, 1)?)
    }

    fn claim(
        &mut self,
        report: &mut Report,
        irs: IrsIndex,
        address: PhysAddr,
        size: u64,
        claim: Claim,
    ) -> Result<(), BusError> {
        let Some(bytes) = self.range(address, size) else {
            report.violate(rules::MEM_4, Place::Structure(address, claim.owner()), 0, 0, || {
                format!("the IRS was given a structure of {size:#x} bytes that is not, or not all, in memory")
            });
            return Err(BusError { address });
        };
        self.judge_claim(report, irs, bytes.clone(), claim.owner());
        if self.snoops(irs) {
            self.collect(report, bytes.clone());
        }
        if self.snoops(irs) && matches!(claim, Claim::Fillable(_)) {
            self.refresh(bytes.clone());
        }
        self.set_claims(bytes, Code::new(claim));
        Ok(())
    }

    /// What the cache has of memory that a coherent IRS takes over goes to the IRS.
    fn collect(&mut self, report: &mut Report, bytes: Range<u64>) {
        for Part { page, mut granules } in parts(bytes) {
            while let Some(dirty) = self.cached(page).and_then(|cached| cached.first_dirty(granules.clone())) {
                self.write_word(report, page, dirty);
                granules.start = dirty + 1;
            }
        }
    }

    /// The cache gets of memory that a coherent IRS has owned, and gives back, what the IRS leaves there.
    fn refresh(&mut self, bytes: Range<u64>) {
        for Part { page, granules } in parts(bytes) {
            if let Some(page) = self.page_mut(page) {
                granules.for_each(|granule| page.update_cached(granule, Halves::NONE));
            }
        }
    }

    fn set_claims(&mut self, bytes: Range<u64>, code: Code) {
        for Part { page, granules } in parts(bytes.clone()) {
            if code.is_free() {
                if let Some(page) = self.page_mut(page) {
                    page.claims.set(granules, code);
                }
            } else if let Some(page) = make_page(&mut self.chunks, page) {
                page.claims.set(granules, code);
            }
        }
        if !code.is_owned() && !self.clobbered.is_empty() {
            // The IRS's word goes to memory.
            let gone: Vec<u64> = self.clobbered.range(bytes.start & !7..bytes.end).map(|(&offset, _)| offset).collect();
            for offset in gone {
                self.clobbered.remove(&offset);
            }
        }
    }

    /// What the checker has to say when the IRS takes memory over.
    fn judge_claim(&self, report: &mut Report, irs: IrsIndex, bytes: Range<u64>, owner: Owner) {
        if self.between == Between::Nothing {
            return;
        }
        let through_cache = self.between.has_cache() && !self.snoops(irs);
        let waiting = self.buffer.first(&bytes).or_else(|| {
            let mut parts = parts(bytes.clone()).filter(|_| through_cache);
            parts.find_map(|Part { page, granules }| {
                let cached = self.cached(page)?;
                let granule = cached.first_dirty(granules)?;
                let offset = page * PAGE + granule as u64 * 8;
                Some(Waiting { offset, halves: cached.dirty(granule), value: cached.get(granule) })
            })
        });
        if let Some(Waiting { offset, halves, value }) = waiting {
            let old = self.page(offset / PAGE).map_or(0, |page| page.get((offset % PAGE) as usize / 8));
            let new = halves.merge(old, value);
            let (rule, missing) = match through_cache {
                true => (rules::COH_2, "clean, or the barrier after it"),
                false => (rules::COH_1, "barrier"),
            };
            report.violate(rule, Place::Structure(self.address(offset), owner), old, new, || {
                format!("the IRS took memory over before a store of software had reached it: there was no {missing}")
            });
        }
        if through_cache {
            let line = self.config.cache_line;
            let inside_its_block = self.heap.block_at(bytes.start).is_none_or(|(start, block)| {
                bytes.start / line * line >= start && bytes.end.next_multiple_of(line) <= start + block.layout.size()
            });
            let on_its_own = !owner.structure.rules().whole_lines || bytes.start.is_multiple_of(line);
            if !inside_its_block || !on_its_own {
                report.violate(rules::COH_6, Place::Structure(self.address(bytes.start), owner), 0, 0, || {
                    "the IRS took over a structure that shares a cache line with something else".into()
                });
            }
        }
    }

    /// The first word of a range that is not free.
    fn first_claim(&self, bytes: Range<u64>) -> Option<(u64, Claim)> {
        parts(bytes).find_map(|Part { page, granules }| {
            let (granule, claim) = self.page(page)?.claims.first(granules)?;
            Some((page * PAGE + granule as u64 * 8, claim))
        })
    }
}

/// Allocation.
impl Memory {
    /// Allocates a block, zero for software and for the IRS.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if nothing free fits.
    pub fn allocate(&mut self, report: &mut Report, layout: BlockLayout) -> Result<ModelBlock, AllocError> {
        let Some((offset, id)) = self.heap.allocate(&mut self.rng, self.config.base.raw(), layout) else {
            report.event(|| Event::AllocationFailed { size: layout.size(), alignment: layout.alignment() });
            return Err(AllocError { layout });
        };
        let block = ModelBlock { id, address: self.address(offset), size: layout.size() };
        report.event(|| Event::Allocated { block: id, address: block.address, size: block.size });
        let bytes = offset..offset + layout.size();
        if let Some((at, claim)) = self.first_claim(bytes.clone()) {
            let rule = claim.owner().structure.rules().freed;
            report.violate(rule, Place::Structure(self.address(at), claim.owner()), 0, 0, || {
                format!("memory was allocated again, as {id}, while the IRS owned it")
            });
        }
        self.zero(bytes);
        Ok(block)
    }

    /// Gives a block back. If any of it is the IRS's, the rule of its structure is reported; if the block is not live, MEM-2.
    pub fn free(&mut self, report: &mut Report, block: ModelBlock) {
        let ModelBlock { id, address, size } = block;
        let record = self.offset(address, 1).and_then(|offset| Some((offset, self.heap.free(offset, id)?)));
        let Some((offset, record)) = record else {
            report.violate(rules::MEM_2, Place::Block(id, 0), 0, 0, || "a block was freed that is not live".into());
            return;
        };
        report.event(|| Event::Freed { block: id, address, size });
        let bytes = offset..offset + record.layout.size();
        if let Some((at, claim)) = self.first_claim(bytes.clone()) {
            let rule = claim.owner().structure.rules().freed;
            report.violate(rule, Place::Structure(self.address(at), claim.owner()), 0, 0, || {
                format!("memory was freed, as part of {id}, while the IRS owned it")
            });
        }
        self.forget(bytes);
    }

    /// Makes words zero on both sides, except those that are the IRS's.
    fn zero(&mut self, bytes: Range<u64>) {
        self.buffer.take(&bytes).for_each(drop);
        for Part { page, granules } in parts(bytes) {
            let Some(page) = self.page_mut(page) else {
                continue;
            };
            if granules == (0..GRANULES) && !page.is_in_use() {
                continue;
            }
            for granule in granules {
                if !page.claims.get(granule).is_owned() {
                    page.set(granule, Halves::BOTH, 0);
                }
                if let Some(cached) = &mut page.cached {
                    cached.set(granule, Halves::BOTH, 0);
                    cached.set_clean(granule);
                }
            }
        }
    }

    /// Drops whole pages that nobody needs any more.
    fn forget(&mut self, bytes: Range<u64>) {
        for Part { page, granules } in parts(bytes) {
            if granules == (0..GRANULES)
                && let Some(page) = self.page_mut(page)
            {
                page.forget();
            }
        }
    }

    /// What the IRS, or a live table, claims first of a block.
    pub(crate) fn first_claim_of(&self, block: &BlockRecord) -> Option<Claim> {
        let bytes = self.range(block.address, block.layout.size())?;
        self.first_claim(bytes).map(|(_, claim)| claim)
    }

    /// The live blocks.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        self.heap.accounts()
    }

    /// How many blocks are live.
    #[must_use]
    pub fn live_blocks(&self) -> usize {
        self.heap.len()
    }

    /// The address of an access through a block; if it is not inside the block, or not aligned, MEM-1 is reported.
    pub fn in_block(&self, report: &mut Report, block: &ModelBlock, offset: u64, width: Width) -> Option<PhysAddr> {
        let inside = offset.checked_add(width.bytes()).is_some_and(|end| end <= block.size());
        if !inside || !offset.is_multiple_of(width.bytes()) {
            let size = block.size();
            report.violate(rules::MEM_1, Place::Block(block.id(), offset), 0, 0, || {
                format!("software accessed {} bytes outside a block of {size:#x} bytes, or not aligned", width.bytes())
            });
            return None;
        }
        block.address().offset(offset).ok()
    }

    /// The part of a block that maintenance is about; if it is not inside the block, MEM-1 is reported and what is inside
    /// returned, as an address and a size.
    pub fn bytes_in_block(&self, report: &mut Report, block: &ModelBlock, bytes: Range<u64>) -> (PhysAddr, u64) {
        let inside = bytes.start.min(block.size())..bytes.end.min(block.size());
        if inside != bytes {
            report.violate(rules::MEM_1, Place::Block(block.id(), bytes.start), 0, 0, || {
                format!(
                    "software asked for maintenance up to offset {:#x} of a block of {:#x} bytes",
                    bytes.end,
                    block.size()
                )
            });
        }
        let address = block.address().offset(inside.start).unwrap_or(block.address());
        (address, inside.end.saturating_sub(inside.start))
    }
}

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;
