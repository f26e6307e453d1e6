//! Table memory that belongs to a test.

use core::ops::Range;

use gicv5_arch::PhysAddr;
use gicv5_arch::geometry::Footprint;
use gicv5_hal::{Block, BlockLayout, TableMemory};

use crate::bench::Bench;
use crate::features::IRS;
use crate::lab::{BlockOf, Lab};
use crate::outcome::Failure;

/// A block of table memory that belongs to the test until its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableBlock {
    index: usize,
    /// Where it is.
    pub address: PhysAddr,
    /// Its size in bytes.
    pub size: u64,
}

impl<B: Bench> Lab<'_, B> {
    /// A zeroed block of table memory.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted).
    pub fn memory(&self, footprint: Footprint) -> Result<TableBlock, Failure> {
        const NONE: Failure = Failure::Exhausted { what: "table memory" };
        let memory = self.bench.memory();
        let footprint = footprint.for_cache_line(memory.cache_line()).map_err(|_| NONE)?;
        let highest = self.features.idr0.pa_range().map_err(|_| NONE)?.highest();
        let layout = BlockLayout::for_footprint(footprint, highest).map_err(|_| NONE)?;
        let block = memory.allocate(layout).map_err(|_| NONE)?;
        // Whoever ran into an exception in the middle of an access has left the blocks borrowed for good.
        let Ok(mut blocks) = self.blocks.try_borrow_mut() else {
            memory.free(block);
            return Err(NONE);
        };
        match blocks.iter_mut().enumerate().find(|(_, place)| place.is_none()) {
            Some((index, place)) => {
                let table = TableBlock { index, address: block.address(), size: block.size() };
                *place = Some(block);
                Ok(table)
            }
            None => {
                memory.free(block);
                Err(NONE)
            }
        }
    }

    /// The test's table at an address.
    #[must_use]
    pub fn table_at(&self, address: u64) -> Option<TableBlock> {
        let blocks = self.blocks.borrow();
        let mut found = blocks.iter().enumerate().filter_map(|(index, block)| Some((index, block.as_ref()?)));
        found.find(|(_, block)| block.address().raw() == address).map(|(index, block)| TableBlock {
            index,
            address: block.address(),
            size: block.size(),
        })
    }

    /// Stores 64 bits into a table and publishes them (COH-1).
    pub fn store64(&self, table: TableBlock, offset: u64, value: u64) {
        self.store_bytes(table, offset..offset + 8, |memory, block| memory.store64(block, offset, value));
    }

    /// Stores 32 bits into a table and publishes them (COH-1).
    pub fn store32(&self, table: TableBlock, offset: u64, value: u32) {
        self.store_bytes(table, offset..offset + 4, |memory, block| memory.store32(block, offset, value));
    }

    fn store_bytes(&self, table: TableBlock, bytes: Range<u64>, store: impl FnOnce(&B::Memory, &BlockOf<B>)) {
        let memory = self.bench.memory();
        if let Some(Some(block)) = self.blocks.borrow().get(table.index) {
            memory.prepare(IRS, block, bytes.clone());
            store(memory, block);
            memory.publish(IRS, block, bytes);
        }
    }

    /// Loads 64 bits from a table, as the IRS has written them (COH-4).
    #[must_use]
    pub fn load64(&self, table: TableBlock, offset: u64) -> u64 {
        self.load_bytes(table, offset..offset + 8, |memory, block| memory.load64(block, offset))
    }

    /// Loads 32 bits from a table, as the IRS has written them (COH-4).
    #[must_use]
    pub fn load32(&self, table: TableBlock, offset: u64) -> u32 {
        self.load_bytes(table, offset..offset + 4, |memory, block| memory.load32(block, offset))
    }

    fn load_bytes<T: Default>(
        &self,
        table: TableBlock,
        bytes: Range<u64>,
        load: impl FnOnce(&B::Memory, &BlockOf<B>) -> T,
    ) -> T {
        let memory = self.bench.memory();
        match self.blocks.borrow().get(table.index) {
            Some(Some(block)) => {
                memory.acquire(IRS, block, bytes);
                load(memory, block)
            }
            _ => T::default(),
        }
    }
}
