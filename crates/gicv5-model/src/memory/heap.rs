//! The allocator of table memory, and its books.

use crate::words::config::Placement;
use crate::words::ids::BlockId;
use std::collections::BTreeMap;

use gicv5_arch::PhysAddr;
use gicv5_hal::BlockLayout;

use gicv5_random::Rng;

/// A block of table memory, in the hands of whoever allocated it.
#[derive(Debug, PartialEq, Eq)]
pub struct ModelBlock {
    pub(super) id: BlockId,
    pub(super) address: PhysAddr,
    pub(super) size: u64,
}

impl ModelBlock {
    /// Its number.
    #[must_use]
    pub const fn id(&self) -> BlockId {
        self.id
    }
}

impl gicv5_hal::Block for ModelBlock {
    fn address(&self) -> PhysAddr {
        self.address
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// Software cannot take memory: not all of it is free, or it starts or ends within 8 bytes, or the allocator leaves it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{size:#x} bytes at {address} are not free memory in whole words")]
pub struct HoldError {
    /// The first byte.
    pub address: PhysAddr,
    /// How many bytes.
    pub size: u64,
}

/// What the books say about a live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRecord {
    /// Its number.
    pub id: BlockId,
    /// Its first byte.
    pub address: PhysAddr,
    /// What was asked for.
    pub layout: BlockLayout,
}

/// The books at one moment: the live blocks, by number.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Accounts {
    pub(super) blocks: BTreeMap<BlockId, BlockRecord>,
}

impl Accounts {
    /// The live blocks, oldest first.
    pub fn blocks(&self) -> impl Iterator<Item = &BlockRecord> {
        self.blocks.values()
    }

    /// The blocks that are live now and were not at an earlier moment: what has leaked in between, if nothing was to stay.
    #[must_use]
    pub fn leaks_since(&self, earlier: &Accounts) -> Vec<BlockRecord> {
        self.blocks.iter().filter(|(id, _)| !earlier.blocks.contains_key(id)).map(|(_, block)| *block).collect()
    }

    /// Bytes in live blocks, as they were asked for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks.values().map(|block| block.layout.size()).sum()
    }
}

/// Allocates ranges of RAM, in offsets from its start. Blocks are rounded up to 8 bytes and no further, so that blocks
/// that should have had a cache line for themselves share one when it was not asked for (COH-6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heap {
    placement: Placement,
    /// Free ranges: start and length. No two touch.
    free: BTreeMap<u64, u64>,
    /// Live blocks by the offset they start at.
    live: BTreeMap<u64, BlockRecord>,
    next: u64,
}

pub(super) const fn rounded(size: u64) -> Option<u64> {
    match size.checked_add(7) {
        Some(size) => Some(size & !7),
        None => None,
    }
}

impl Heap {
    pub(super) fn new(placement: Placement, free: core::ops::Range<u64>) -> Heap {
        let free = BTreeMap::from([(free.start, free.end - free.start)]);
        Heap { placement, free, live: BTreeMap::new(), next: 0 }
    }

    /// Takes a range out of what is free. `base` is the address of the start of RAM. Returns its offset.
    pub(super) fn allocate(&mut self, rng: &mut Rng, base: u64, layout: BlockLayout) -> Option<(u64, BlockId)> {
        let size = rounded(layout.size())?;
        let alignment = layout.alignment().max(8);
        // The offset of the first byte that no block may include.
        let end = layout.highest().raw().checked_sub(base)?.checked_add(1)?;
        let mut fits = self.free.iter().filter_map(|(&start, &length)| {
            let first = base.checked_add(start)?.checked_next_multiple_of(alignment)? - base;
            let last = (start + length).min(end & !7).checked_sub(size)?;
            (first <= last).then(|| (start, first, (last - first) / alignment))
        });
        let (start, offset) = match self.placement {
            Placement::Lowest => fits.next().map(|(start, first, _)| (start, first))?,
            Placement::Random => {
                let fits: Vec<_> = fits.collect();
                let &(start, first, steps) = fits.get(rng.below(fits.len() as u64) as usize)?;
                (start, first + rng.below(steps + 1) * alignment)
            }
        };
        // The end of RAM is an address, so this one is too.
        let address = PhysAddr::new(base + offset).ok()?;
        let id = self.cut(start, offset, BlockRecord { id: BlockId(self.next), address, layout })?;
        Some((offset, id))
    }

    /// Makes a block of part of the free range that starts at `start`.
    fn cut(&mut self, start: u64, offset: u64, record: BlockRecord) -> Option<BlockId> {
        let size = rounded(record.layout.size())?;
        let length = match offset > start {
            true => std::mem::replace(self.free.get_mut(&start)?, offset - start),
            false => self.free.remove(&start)?,
        };
        if offset + size < start + length {
            self.free.insert(offset + size, start + length - offset - size);
        }
        let id = BlockId(self.next);
        self.next += 1;
        self.live.insert(offset, BlockRecord { id, ..record });
        Some(id)
    }

    /// Takes this very range out of what is free. `None` if not all of it is free, or it does not start at a word.
    pub(super) fn hold(&mut self, offset: u64, record: BlockRecord) -> Option<BlockId> {
        let end = offset.checked_add(rounded(record.layout.size())?)?;
        let (&start, &length) = self.free.range(..=offset).next_back()?;
        (offset.is_multiple_of(8) && end <= start + length).then(|| self.cut(start, offset, record)).flatten()
    }

    /// Puts the block back that starts here. `None` if there is no such block.
    pub(super) fn release(&mut self, offset: u64) -> Option<BlockRecord> {
        let id = self.live.get(&offset)?.id;
        self.free(offset, id)
    }

    /// Puts a block back. `None` if there is no such block.
    pub(super) fn free(&mut self, offset: u64, id: BlockId) -> Option<BlockRecord> {
        let record = self.live.remove(&offset)?;
        if record.id != id {
            self.live.insert(offset, record);
            return None;
        }
        let mut start = offset;
        let mut end = offset + rounded(record.layout.size())?;
        if let Some((&before, &length)) = self.free.range(..start).next_back()
            && before + length == start
        {
            // The entry of the range before is the one that grows.
            start = before;
        }
        if let Some(length) = self.free.remove(&end) {
            end += length;
        }
        self.free.insert(start, end - start);
        Some(record)
    }

    /// The live block that this byte is in.
    pub(super) fn block_at(&self, offset: u64) -> Option<(u64, &BlockRecord)> {
        // Mostly it is the first.
        if let Some(record) = self.live.get(&offset) {
            return Some((offset, record));
        }
        let (&start, record) = self.live.range(..=offset).next_back()?;
        (offset - start < record.layout.size()).then_some((start, record))
    }

    pub(super) fn accounts(&self) -> Accounts {
        Accounts { blocks: self.live.values().map(|record| (record.id, *record)).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }
}
