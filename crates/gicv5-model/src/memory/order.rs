//! Maintenance, barriers, and what happens between them.

use core::ops::Range;

use gicv5_arch::PhysAddr;

use super::Memory;
use super::claims::Claim;
use super::pages::{Part, parts};
use super::pe_order::Maintained;
use super::pe_side::no_memory;
use super::units::{Halves, PAGE};
use crate::words::config::Eagerness;
use crate::words::event::{Event, Maintenance};
use crate::words::ids::PeIndex;
use crate::words::report::Report;
use crate::words::rules;
use crate::words::violation::Place;

impl Memory {
    /// Writes the dirty lines that these bytes lie in back to memory and drops them (`DC CIVAC`); done for certain at the
    /// next barrier of the PE that does it.
    ///
    /// What the PE has stored since its last barrier is not in the lines yet (COH-2).
    pub fn clean_invalidate(&mut self, report: &mut Report, pe: PeIndex, address: PhysAddr, size: u64) {
        self.maintain(report, pe, Maintenance::CleanInvalidate, address, size);
    }

    /// Writes the dirty lines that these bytes lie in back to memory and keeps them (`DC CVAC`); done for certain at the next
    /// barrier of the PE that does it. As for [`clean_invalidate`](Self::clean_invalidate), what the PE has stored since its last
    /// barrier is not in them yet; and what an IRS writes afterwards software does not see in them before it invalidates (COH-4).
    pub fn clean(&mut self, report: &mut Report, pe: PeIndex, address: PhysAddr, size: u64) {
        self.maintain(report, pe, Maintenance::Clean, address, size);
    }

    /// Drops the lines that these bytes lie in (`DC IVAC`); done for certain at the next barrier of the PE that does it.
    ///
    /// What software has stored in them is lost; if it has stored outside these bytes, COH-7 is reported. A random cache
    /// sometimes writes it back instead, which the architecture allows.
    pub fn invalidate(&mut self, report: &mut Report, pe: PeIndex, address: PhysAddr, size: u64) {
        self.maintain(report, pe, Maintenance::Invalidate, address, size);
    }

    fn maintain(&mut self, report: &mut Report, pe: PeIndex, op: Maintenance, address: PhysAddr, size: u64) {
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
            Maintenance::Clean | Maintenance::CleanInvalidate => self.counters.lines_cleaned += lines,
            Maintenance::Invalidate => self.counters.lines_invalidated += lines,
        }
        if !self.between.has_cache() {
            return;
        }
        if op == Maintenance::Invalidate {
            // Without a barrier in between, a store comes before the maintenance or after it: where it hurts.
            let line = self.config.cache_line;
            let whole = bytes.start / line * line..bytes.end.next_multiple_of(line);
            let waiting: Vec<_> = self.pes.iter_mut().flat_map(|pe| pe.buffer.take(&whole)).collect();
            for waiting in waiting {
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
                // What an invalidate would lose may be written back all the same.
                let op = match op {
                    Maintenance::Invalidate if self.config.eagerness == Eagerness::Random && self.rng.chance(1, 2) => {
                        Maintenance::CleanInvalidate
                    }
                    op => op,
                };
                self.maintained.insert(self.line_in_ram(page, line), Maintained { pe, op });
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

    /// A load barrier of a PE, after which its loads see what a coherent IRS has written (`DMB ISHLD`).
    pub fn load_barrier(&mut self, pe: PeIndex) {
        self.counters.load_barriers += 1;
        if let Some(order) = self.order_mut(pe) {
            order.read_early.clear();
        }
    }

    /// A full barrier of a PE, after which its stores have reached a coherent IRS and the other PEs, its loads see what these have
    /// written, and its maintenance is done (`DSB`).
    pub fn barrier(&mut self, report: &mut Report, pe: PeIndex) {
        self.counters.barriers += 1;
        report.event(|| Event::MemoryBarrier);
        let Some(order) = self.order_mut(pe) else { return };
        order.read_early.clear();
        if !order.buffer.is_empty() {
            let words = order.buffer.take_all();
            for waiting in &words {
                self.store_arrives(report, *waiting);
            }
            if let Some(order) = self.order_mut(pe) {
                order.buffer.put_back(words);
            }
        }
        if !self.maintained.is_empty() {
            let lines: Vec<u64> = self.lines_maintained_by(pe).collect();
            lines.into_iter().for_each(|line| self.finish_line_in_ram(report, line));
        }
    }

    /// The lines whose maintenance by a PE is outstanding, by their number in RAM.
    fn lines_maintained_by(&self, pe: PeIndex) -> impl Iterator<Item = u64> + '_ {
        self.maintained.iter().filter(move |(_, maintained)| maintained.pe == pe).map(|(&line, _)| line)
    }

    /// The number in RAM of a line of a page.
    fn line_in_ram(&self, page: u64, line: usize) -> u64 {
        page * (PAGE / self.config.cache_line) + line as u64
    }

    fn finish_line_in_ram(&mut self, report: &mut Report, line: u64) {
        let per_page = PAGE / self.config.cache_line;
        self.finish_line(report, line / per_page, (line % per_page) as usize);
    }

    /// Does the maintenance that is outstanding for a line, if any.
    pub(super) fn finish_line(&mut self, report: &mut Report, page: u64, line: usize) {
        if self.maintained.is_empty() {
            return;
        }
        let Some(Maintained { op, .. }) = self.maintained.remove(&self.line_in_ram(page, line)) else { return };
        if matches!(op, Maintenance::Clean | Maintenance::CleanInvalidate) {
            self.write_line(report, page, line, true);
        }
        if op == Maintenance::Clean {
            return;
        }
        let words = self.words(line);
        if let Some(cached) = self.cached_mut(page) {
            words.for_each(|granule| cached.set_clean(granule));
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
    pub(super) fn fetch_line(&mut self, page: u64, line: usize) {
        let words = self.words(line);
        let Memory { pages, clobbered, .. } = self;
        let Some(page_ref) = pages.page_mut(page) else {
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
    pub(super) fn write_word(&mut self, report: &mut Report, page: u64, granule: usize) {
        let offset = page * PAGE + granule as u64 * 8;
        let Memory { pages, clobbered, .. } = self;
        let Some(page_ref) = pages.page_mut(page) else {
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
        if stale && self.claim_at(offset).is_some() {
            self.report_overwritten(report, offset, memory, word);
        } else if stale {
            self.overwritten.insert(offset);
        }
        self.store_in_memory(offset, if stale { Halves::BOTH } else { stored }, word);
    }

    /// Somebody reads a word, or the IRS takes it, in which a line written back may have replaced what the IRS had left.
    #[cold]
    pub(super) fn judge_overwritten(&mut self, report: &mut Report, offset: u64) {
        if self.overwritten.remove(&offset) {
            let word = self.page(offset / PAGE).map_or(0, |page| page.get((offset % PAGE) as usize / 8));
            self.report_overwritten(report, offset, 0, word);
        }
    }

    fn report_overwritten(&self, report: &mut Report, offset: u64, old: u64, new: u64) {
        report.violate(rules::VMT_21, self.place(offset), old, new, || {
            "a line written back carried old bytes next to those that software stored, over what the IRS had written"
                .into()
        });
    }

    /// The place that an offset in RAM is.
    fn place(&self, offset: u64) -> Place {
        let address = self.address(offset);
        match self.claim_at(offset) {
            Some(claim) => Place::Structure(address, claim.owner()),
            None => Place::Memory(address),
        }
    }

    pub(super) fn claim_at(&self, offset: u64) -> Option<Claim> {
        self.page(offset / PAGE)?.claims.get((offset % PAGE) as usize / 8).claim()
    }

    /// A moment at which a random memory may do what it may do early. Every access of software is one; the owner of the
    /// machine calls it for others, such as time that passes.
    pub fn moment(&mut self, report: &mut Report) {
        if self.config.eagerness != Eagerness::Random || !self.rng.chance(1, 8) {
            return;
        }
        let Memory { pes, rng, .. } = self;
        let pe = if pes.len() > 1 { rng.below(pes.len() as u64) as usize } else { 0 };
        if let Some(order) = pes.get_mut(pe) {
            let mut leave = Vec::new();
            if !order.buffer.is_empty() {
                // Some stores leave the buffer, and not the oldest first.
                let extent = order.buffer.extent();
                let from = extent.start + rng.below(extent.end - extent.start);
                leave.extend(order.buffer.take(&(from..from + 64)));
            }
            if !order.read_early.is_empty() && rng.chance(1, 2) {
                order.read_early.clear();
            }
            for waiting in leave {
                self.store_arrives(report, waiting);
            }
        }
        if !self.maintained.is_empty() {
            // The maintenance of some lines is done, whoever has asked for it.
            let first = self.maintained.keys().next().copied().unwrap_or_default();
            let last = self.maintained.keys().next_back().copied().unwrap_or_default();
            let from = first + self.rng.below(last - first + 1);
            let done: Vec<u64> = self.maintained.range(from..).take(16).map(|(&line, _)| line).collect();
            done.into_iter().for_each(|line| self.finish_line_in_ram(report, line));
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
    pub(super) fn refill_by_chance(&mut self, offset: u64) {
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
