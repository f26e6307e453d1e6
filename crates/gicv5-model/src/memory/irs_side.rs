//! The IRS's side of memory: what an IRS loads and stores.

use gicv5_arch::PhysAddr;
use gicv5_hal::IrsIndex;

use super::page::Cached;
use super::pages::Part;
use super::units::{GRANULES, Halves, Lines, PAGE};
use super::{Between, BusError, Memory};
use crate::words::config::Eagerness;

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
        let Some(page) = self.page(offset / PAGE) else { return 0 };
        page.seen_by_irs((offset % PAGE) as usize / 8, self.snoops(irs))
    }

    /// The first word in a range, as an IRS sees it, that has a bit of its mask set: the masks of the words that follow each
    /// other from the start of the range on, again and again. Its address, what is there, and the bits.
    pub(crate) fn irs_find(
        &self,
        irs: IrsIndex,
        address: PhysAddr,
        size: u64,
        masks: &[u64],
    ) -> Option<(PhysAddr, u64, u64)> {
        let bytes = self.range(address, size)?;
        let (first, snoops) = (bytes.start / 8, self.snoops(irs));
        self.pages.unlike(bytes).find_map(|(Part { page, mut granules }, contents)| {
            // Memory in which nothing was stored is zero.
            let contents = contents.filter(|page| !page.is_zero(granules.clone()))?;
            granules.find_map(|granule| {
                let word = page * GRANULES as u64 + granule as u64;
                let mask = masks.get((word - first) as usize % masks.len())?;
                let value = contents.seen_by_irs(granule, snoops);
                (value & mask != 0).then(|| (self.address(word * 8), value, value & mask))
            })
        })
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
        if snoops || self.between == Between::StoreBuffers {
            self.note_early_reads(offset & !7);
        }
        if !self.overwritten.is_empty() {
            self.overwritten.remove(&(offset & !7));
        }
        if !self.clobbered.is_empty() {
            // The IRS's word goes to memory whole.
            self.clobbered.remove(&(offset & !7));
        }
        if let Some(page) = self.pages.make(offset / PAGE) {
            page.set(granule, halves, value);
            if snoops {
                page.update_cached(granule, halves);
            }
        }
    }

    /// A load that comes before the next load barrier of its PE may have been done before the IRS changes this word. Only of
    /// entries in which software sees anything while the IRS changes them.
    #[inline]
    fn note_early_reads(&mut self, offset: u64) {
        let granule = (offset % PAGE) as usize / 8;
        let Some(page) = self.page(offset / PAGE) else { return };
        let entry = page.claims.get(granule).claim().is_some_and(|claim| !claim.owner().structure.rules().whole_lines);
        if entry {
            let before = match &page.cached {
                Some(cached) => cached.get(granule),
                None => page.fetch(&self.clobbered, offset & !(PAGE - 1), granule),
            };
            for pe in &mut self.pes {
                pe.read_early.entry(offset).or_insert(before);
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
        if let Some(page) = self.pages.make(page) {
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
    pub(super) fn remember(&mut self, page: u64) {
        if self.page(page).is_none_or(|page| page.cached.is_none()) {
            self.copy_for_pes(page);
        }
    }
}

/// A 32-bit value in its place in a word.
pub(super) const fn half(offset: u64, value: u32) -> (Halves, u64) {
    match offset & 4 {
        0 => (Halves::LOW, value as u64),
        _ => (Halves::HIGH, (value as u64) << 32),
    }
}
