//! Blocks of memory that software is given and gives back.

use core::ops::Range;

use gicv5_arch::PhysAddr;
use gicv5_hal::{AllocError, Block, BlockLayout};

use super::Memory;
use super::heap::{Accounts, BlockRecord, HoldError, ModelBlock};
use super::names::Holder;
use super::pages::{Part, parts};
use super::units::GRANULES;
use crate::words::event::{Event, Width};
use crate::words::ids::BlockId;
use crate::words::owner::Owner;
use crate::words::report::Report;
use crate::words::rules;
use crate::words::violation::Place;

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
        self.judge_allocated(report, bytes.clone(), id);
        self.zero(bytes);
        Ok(block)
    }

    /// What the checker has to say about memory that becomes a block.
    fn judge_allocated(&self, report: &mut Report, bytes: Range<u64>, id: BlockId) {
        if let Some(Holder { offset, owner, rule, reason }) = self.holder(bytes) {
            report.violate(rule, Place::Structure(self.address(offset), owner), 0, 0, || {
                format!("memory was allocated again, as {id}, while {reason}")
            });
        }
    }

    /// Gives a block back. If any of it is the IRS's, the rule of its structure is reported; if the block is not live, MEM-2.
    pub fn free(&mut self, report: &mut Report, block: ModelBlock) {
        let ModelBlock { id, address, .. } = block;
        match self.offset(address, 1).and_then(|offset| self.heap.free(offset, id)) {
            Some(record) => {
                self.judge_freed(report, &record);
                if let Some(bytes) = self.range(record.address, record.layout.size()) {
                    self.forget(bytes);
                }
            }
            None => {
                report.violate(rules::MEM_2, Place::Block(id, 0), 0, 0, || "a block was freed that is not live".into());
            }
        }
    }

    /// Tells that a block was freed, and what the checker has to say about it.
    fn judge_freed(&self, report: &mut Report, record: &BlockRecord) {
        let BlockRecord { id, address, layout } = *record;
        report.event(|| Event::Freed { block: id, address, size: layout.size() });
        let Some(bytes) = self.range(address, layout.size()) else { return };
        if let Some(Holder { offset, owner, rule, reason }) = self.holder(bytes) {
            report.violate(rule, Place::Structure(self.address(offset), owner), 0, 0, || {
                format!("memory was freed, as part of {id}, while {reason}")
            });
        }
    }

    /// Software takes memory of its own choice: it is a block from now on, with its contents as they are. What
    /// [`allocate`](Self::allocate) reports is reported.
    ///
    /// # Errors
    ///
    /// [`HoldError`] if it is not memory that is free.
    pub fn hold(&mut self, report: &mut Report, address: PhysAddr, size: u64) -> Result<BlockId, HoldError> {
        let error = HoldError { address, size };
        let bytes = self.range(address, size).ok_or(error)?;
        let layout = BlockLayout::new(size, 8, self.address(bytes.end - u64::from(size != 0))).map_err(|_| error)?;
        let id = self.heap.hold(bytes.start, BlockRecord { id: BlockId(0), address, layout }).ok_or(error)?;
        report.event(|| Event::Allocated { block: id, address, size });
        self.judge_allocated(report, bytes, id);
        Ok(id)
    }

    /// Software gives memory back that it has [taken](Self::hold), by its first byte; its contents stay. What [`free`](Self::free)
    /// reports is reported.
    pub fn release(&mut self, report: &mut Report, address: PhysAddr) {
        match self.offset(address, 1).and_then(|offset| self.heap.release(offset)) {
            Some(record) => self.judge_freed(report, &record),
            None => report.violate(rules::MEM_2, Place::Memory(address), 0, 0, || {
                "memory was freed at whose first byte no live block starts".into()
            }),
        }
    }

    /// Makes words zero on both sides, except those that are the IRS's.
    fn zero(&mut self, bytes: Range<u64>) {
        for pe in &mut self.pes {
            pe.forget(&bytes);
        }
        self.overwritten.retain(|offset| !bytes.contains(offset));
        for Part { page, granules } in parts(bytes) {
            if let Some(page) = self.page_mut(page) {
                page.zero(granules);
            }
        }
    }

    /// Drops whole pages that nobody needs any more.
    pub(super) fn forget(&mut self, bytes: Range<u64>) {
        for Part { page, granules } in parts(bytes) {
            if granules == (0..GRANULES)
                && let Some(page) = self.page_mut(page)
            {
                page.forget();
            }
        }
    }

    /// Who the first is that holds something of a block, and why software must not give it back.
    pub(crate) fn holder_of(&self, block: &BlockRecord) -> Option<(Owner, &'static str)> {
        let holder = self.holder(self.range(block.address, block.layout.size())?)?;
        Some((holder.owner, holder.reason))
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
