//! Whose memory is, and what the checker says when it changes hands.

use core::ops::Range;

use gicv5_arch::PhysAddr;
use gicv5_hal::IrsIndex;

use super::buffer::Waiting;
use super::claims::{Claim, Code};
use super::pages::{Part, parts};
use super::units::{Halves, PAGE};
use super::{Between, BusError, Memory};
use crate::words::event::Event;
use crate::words::owner::{Owner, StructureKind};
use crate::words::report::Report;
use crate::words::rules;
use crate::words::violation::Place;

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

    /// A structure becomes an IRS's ([`own`](Self::own)), or part of a live table ([`fill`](Self::fill)): not an entry of a
    /// structure, but a whole one.
    ///
    /// It has its memory for itself, which else is reported as LIFE-25, for descriptors of VPEs as VPE-7; and software holds
    /// that memory, else MEM-5.
    ///
    /// # Errors
    ///
    /// As for those.
    pub fn adopt(
        &mut self,
        report: &mut Report,
        irs: IrsIndex,
        address: PhysAddr,
        size: u64,
        claim: Claim,
    ) -> Result<(), BusError> {
        if let Some(bytes) = self.range(address, size) {
            self.judge_placement(report, bytes, claim.owner());
        }
        match claim {
            Claim::Owned(owner) => self.own(report, irs, address, size, owner),
            Claim::Fillable(owner) => self.fill(report, irs, address, size, owner),
        }
    }

    /// What the checker has to say about the place of a structure.
    fn judge_placement(&self, report: &mut Report, bytes: Range<u64>, owner: Owner) {
        let place = Place::Structure(self.address(bytes.start), owner);
        if let Some((_, claim)) = self.first_claim(bytes.clone()) {
            let other = claim.owner();
            let descriptors = [owner, other].iter().all(|owner| owner.structure == StructureKind::VpeDescriptor);
            let rule = if descriptors { rules::VPE_7 } else { rules::LIFE_25 };
            report.violate(rule, place, 0, 0, || format!("the IRS was given memory that is {other} already"));
        } else if !self.is_held(&bytes) {
            report.violate(rules::MEM_5, place, 0, 0, || {
                "the IRS was given a structure that is not, or not all, in a block that is live".into()
            });
        }
    }

    /// Whether software holds memory: it is in one live block, or the allocator leaves it alone.
    fn is_held(&self, bytes: &Range<u64>) -> bool {
        let in_block =
            self.heap.block_at(bytes.start).is_some_and(|(start, block)| bytes.end <= start + block.layout.size());
        in_block || bytes.end <= self.config.reserved
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
        self.pages.change_claims(bytes.clone(), |claims, granules| claims.show(granules, shown));
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

    pub(super) fn claim(
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
        if !self.overwritten.is_empty() {
            let found: Vec<u64> = self.overwritten.range(bytes.start & !7..bytes.end).copied().collect();
            found.into_iter().for_each(|offset| self.judge_overwritten(report, offset));
        }
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
    pub(super) fn collect(&mut self, report: &mut Report, bytes: Range<u64>) {
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
        self.pages.change_claims(bytes.clone(), |claims, granules| claims.set(granules, code));
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
        self.judge_arrival(report, irs, bytes.clone(), owner);
        if self.between != Between::Nothing && self.reads_through_cache(irs) {
            self.judge_lines(report, &bytes, owner);
        }
    }

    /// Whether what software stores reaches this IRS when it is cleaned from the cache.
    fn reads_through_cache(&self, irs: IrsIndex) -> bool {
        self.between.has_cache() && !self.snoops(irs)
    }

    /// An IRS reads memory that software has filled, and does not take it over yet: stores that have not reached it are
    /// reported, COH-1 or COH-2.
    pub fn judge_reading(&self, report: &mut Report, irs: IrsIndex, address: PhysAddr, size: u64, owner: Owner) {
        if let Some(bytes) = self.range(address, size) {
            self.judge_arrival(report, irs, bytes, owner);
        }
    }

    /// What the checker has to say when an IRS reads memory that software has filled.
    fn judge_arrival(&self, report: &mut Report, irs: IrsIndex, bytes: Range<u64>, owner: Owner) {
        if self.between == Between::Nothing {
            return;
        }
        let through_cache = self.reads_through_cache(irs);
        let in_buffer = self.pes.iter().find_map(|pe| pe.buffer.first(&bytes));
        let waiting = in_buffer.or_else(|| if through_cache { self.first_dirty(bytes) } else { None });
        if let Some(Waiting { offset, halves, value }) = waiting {
            let old = self.page(offset / PAGE).map_or(0, |page| page.get((offset % PAGE) as usize / 8));
            let new = halves.merge(old, value);
            let (rule, missing) = match through_cache {
                true => (rules::COH_2, "clean, or no barrier before or after it"),
                false => (rules::COH_1, "barrier on the PE that stored"),
            };
            report.violate(rule, Place::Structure(self.address(offset), owner), old, new, || {
                format!("the IRS took memory over before a store of software had reached it: there was no {missing}")
            });
        }
    }

    /// What the checker has to say about the cache lines of what a non-coherent IRS takes over.
    fn judge_lines(&self, report: &mut Report, bytes: &Range<u64>, owner: Owner) {
        let line = self.config.cache_line;
        let inside_its_block = self.heap.block_at(bytes.start).is_none_or(|(start, block)| {
            bytes.start / line * line >= start && bytes.end.next_multiple_of(line) <= start + block.layout.size()
        });
        // Descriptors of VPEs may lie close together, as the IRS alone writes to them (VPE-21).
        let on_its_own = match owner.structure {
            StructureKind::VpeDescriptor => {
                let before = bytes.start / line * line..bytes.start;
                let after = bytes.end.next_multiple_of(8)..bytes.end.next_multiple_of(line);
                [before, after].into_iter().all(|beside| self.is_free_or(beside, StructureKind::VpeDescriptor))
            }
            structure => !structure.rules().whole_lines || bytes.start.is_multiple_of(line),
        };
        if !inside_its_block || !on_its_own {
            report.violate(rules::COH_6, Place::Structure(self.address(bytes.start), owner), 0, 0, || {
                "the IRS took over a structure that shares a cache line with something else".into()
            });
        }
    }

    /// Whether memory is free, or part of structures of one kind.
    fn is_free_or(&self, bytes: Range<u64>, kind: StructureKind) -> bool {
        let mut words = (bytes.start..bytes.end).step_by(8);
        words.all(|offset| self.claim_at(offset).is_none_or(|claim| claim.owner().structure == kind))
    }

    /// The first word of a range that is in the cache of the PEs and not in memory.
    fn first_dirty(&self, bytes: Range<u64>) -> Option<Waiting> {
        self.pages.unlike(bytes).find_map(|(Part { page, granules }, contents)| {
            let cached = contents?.cached.as_deref()?;
            let granule = cached.first_dirty(granules)?;
            let offset = page * PAGE + granule as u64 * 8;
            Some(Waiting { offset, halves: cached.dirty(granule), value: cached.get(granule) })
        })
    }

    /// The first word of a range that is not free.
    pub(super) fn first_claim(&self, bytes: Range<u64>) -> Option<(u64, Claim)> {
        self.pages.unlike(bytes).find_map(|(Part { page, granules }, contents)| {
            let (granule, claim) = contents?.claims.first(granules)?;
            Some((page * PAGE + granule as u64 * 8, claim))
        })
    }
}
