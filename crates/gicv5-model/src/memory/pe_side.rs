//! The PEs' side of memory: what software loads and stores.

use gicv5_arch::PhysAddr;

use super::buffer::Waiting;
use super::claims::{Claim, Code};
use super::irs_side::half;
use super::page::Cached;
use super::units::{Halves, PAGE};
use super::{Between, Memory};
use crate::words::config::Eagerness;
use crate::words::event::{Event, Width};
use crate::words::ids::PeIndex;
use crate::words::report::Report;
use crate::words::rules;
use crate::words::violation::Place;

impl Memory {
    /// Loads 64 bits as software on a PE does. Where there is no memory, or the address is not a multiple of 8, MEM-1 is reported
    /// and 0 loaded.
    pub fn load64(&mut self, report: &mut Report, pe: PeIndex, address: PhysAddr) -> u64 {
        match self.offset(address, 8) {
            Some(offset) => self.load(report, pe, offset),
            None => no_memory(report, address),
        }
    }

    /// Loads 32 bits as software on a PE does. Where there is no memory, or the address is not a multiple of 4, MEM-1 is reported
    /// and 0 loaded.
    pub fn load32(&mut self, report: &mut Report, pe: PeIndex, address: PhysAddr) -> u32 {
        match self.offset(address, 4) {
            Some(offset) => (self.load(report, pe, offset & !7) >> (offset % 8 * 8)) as u32,
            None => no_memory(report, address) as u32,
        }
    }

    /// Stores 64 bits as software on a PE does. Where there is no memory, or the address is not a multiple of 8, MEM-1 is reported
    /// and nothing stored.
    ///
    /// Where the IRS owns the memory, the rule of its structure is reported and the IRS does not see the store.
    pub fn store64(&mut self, report: &mut Report, pe: PeIndex, address: PhysAddr, value: u64) {
        match self.offset(address, 8) {
            Some(offset) => self.store(report, pe, offset, Width::W64, value),
            None => _ = no_memory(report, address),
        }
    }

    /// Stores 32 bits as software on a PE does; otherwise like [`store64`](Self::store64).
    pub fn store32(&mut self, report: &mut Report, pe: PeIndex, address: PhysAddr, value: u32) {
        match self.offset(address, 4) {
            Some(offset) => self.store(report, pe, offset, Width::W32, u64::from(value)),
            None => _ = no_memory(report, address),
        }
    }

    fn load(&mut self, report: &mut Report, pe: PeIndex, offset: u64) -> u64 {
        self.counters.loads += 1;
        if self.config.eagerness == Eagerness::Random {
            self.moment(report);
            self.refill_by_chance(offset);
        }
        if !self.overwritten.is_empty() {
            self.judge_overwritten(report, offset);
        }
        let (number, granule) = (offset / PAGE, (offset % PAGE) as usize / 8);
        if let Some(cached) = self.cached(number) {
            let line = self.line_of(granule);
            if !cached.present.contains(line) {
                self.fetch_line(number, line);
            }
        }
        // From now on it may have read anything early.
        self.order_mut(pe);
        let order = self.order(pe);
        let value = order.and_then(|order| order.read_early.get(&offset).copied());
        let Some(page) = self.page(number) else {
            return order.map_or(0, |order| order.buffer.over(offset, 0));
        };
        let value = value.unwrap_or_else(|| match &page.cached {
            Some(cached) => cached.get(granule),
            None => page.fetch(&self.clobbered, number * PAGE, granule),
        });
        let value = order.map_or(value, |order| order.buffer.over(offset, value));
        page.seen(granule, value)
    }

    pub(super) fn store(&mut self, report: &mut Report, pe: PeIndex, offset: u64, width: Width, value: u64) {
        self.counters.stores += 1;
        report.event(|| Event::Stored { address: self.address(offset), width, value });
        if self.config.eagerness == Eagerness::Random {
            self.moment(report);
        }
        let (halves, shifted) = match width {
            Width::W32 => half(offset, value as u32),
            Width::W64 => (Halves::BOTH, value),
        };
        if width == Width::W64 && !self.overwritten.is_empty() {
            self.overwritten.remove(&offset);
        }
        if let Some(order) = self.order_mut(pe)
            && !order.read_early.is_empty()
        {
            // A PE sees its own stores.
            order.read_early.remove(&(offset & !7));
        }
        let granule = (offset % PAGE) as usize / 8;
        let code = self.page(offset / PAGE).map_or(Code::FREE, |page| page.claims.get(granule));
        if !code.is_free() {
            self.judge_store(report, offset, code, width, value);
        }
        if !self.named.is_empty() {
            let old = self.page(offset / PAGE).map_or(0, |page| page.get(granule));
            self.judge_named_store(report, offset, width, old, value);
        }
        match self.between {
            Between::StoreBuffers | Between::BuffersAndCache if !code.is_owned() => {
                if let Some(order) = self.order_mut(pe) {
                    order.buffer.store(offset & !7, halves, shifted);
                }
            }
            Between::BuffersAndCache => self.store_in_cache(report, offset, halves, shifted),
            Between::StoreBuffers | Between::Nothing => self.store_in_memory(offset & !7, halves, shifted),
        }
    }

    /// Stores what has arrived at memory.
    pub(super) fn store_in_memory(&mut self, offset: u64, halves: Halves, value: u64) {
        let Memory { pages, clobbered, .. } = self;
        let Some(page) = pages.make(offset / PAGE) else {
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

    /// A store leaves a buffer.
    pub(super) fn store_arrives(&mut self, report: &mut Report, Waiting { offset, halves, value }: Waiting) {
        match self.between {
            Between::BuffersAndCache => self.store_in_cache(report, offset, halves, value),
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

    pub(super) fn cached(&self, page: u64) -> Option<&Cached> {
        self.page(page)?.cached.as_deref()
    }

    pub(super) fn cached_mut(&mut self, page: u64) -> Option<&mut Cached> {
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
pub(super) fn no_memory(report: &mut Report, address: PhysAddr) -> u64 {
    report.violate(rules::MEM_1, Place::Memory(address), 0, 0, || {
        "software accessed what is not there or not aligned".into()
    });
    0
}
