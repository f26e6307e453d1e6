//! Table memory: a piece of RAM in pages of 4 KiB.

use core::ops::Range;
use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use gicv5_arch::PhysAddr;
use gicv5_arch::values::Shareability;
use gicv5_hal::{AllocError, Block, BlockLayout, Coherency, IrsIndex, Lock, TableMemory};

use super::cache::Caches;
use super::locks::SpinLock;
use crate::lines;
use crate::pages::{PAGE, Pages};

/// A block of [`TableRam`].
#[derive(Debug)]
pub struct RamBlock {
    address: PhysAddr,
    size: u64,
    /// The virtual address.
    at: usize,
}

impl Block for RamBlock {
    fn address(&self) -> PhysAddr {
        self.address
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// RAM that only tables use. Each of `WORDS` is for 64 pages of 4 KiB: 32, unless said otherwise, for 8 MiB.
pub struct TableRam<const WORDS: usize = 32> {
    size: u64,
    /// What is added to a physical address to make a virtual one.
    offset: u64,
    coherency: Coherency,
    caches: Caches,
    pages: SpinLock<Pages<WORDS>>,
}

impl<const WORDS: usize> TableRam<WORDS> {
    /// Takes a piece of RAM, by its physical addresses; `offset` is added to one, wrapping around, to make the virtual address that it is
    /// mapped at.
    ///
    /// `coherency` is that of the IRSs: not coherent, if one of them is not. `shareability` is IRS_CR1.SH; of the memory attributes that
    /// the driver is given, the two must not contradict each other (COH-11).
    ///
    /// # Safety
    ///
    /// - The range is RAM, mapped for reads and writes at these virtual addresses as Normal write-back cacheable memory of that shareability,
    ///   and stays so for as long as the value lives.
    /// - Nothing else ever accesses it, under any mapping. No line of it is dirty in a cache for an earlier user of it under other
    ///   attributes.
    /// - For each IRS that is given a block, `coherency` is true.
    #[must_use]
    pub unsafe fn new(
        ram: Range<u64>,
        offset: u64,
        coherency: Coherency,
        shareability: Shareability,
    ) -> TableRam<WORDS> {
        let pages = Pages::of(ram);
        let size = pages.bytes();
        TableRam { size, offset, coherency, caches: Caches::new(shareability), pages: SpinLock::new(pages) }
    }

    /// How many bytes it has, free or not.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The address of a word of so many bytes, if it lies in the block and is aligned.
    #[inline]
    fn word(block: &RamBlock, offset: u64, bytes: u64) -> Option<usize> {
        let inside = offset.is_multiple_of(bytes) && offset.checked_add(bytes).is_some_and(|end| end <= block.size);
        inside.then(|| block.at.wrapping_add(offset as usize))
    }

    #[inline]
    fn word32(block: &RamBlock, offset: u64) -> Option<&AtomicU32> {
        let at = Self::word(block, offset, 4)?;
        // SAFETY: aligned and inside the block, which is mapped and which all software accesses by these methods alone, atomically, for as
        // long as it is allocated. The IRS writes whole words, too.
        Some(unsafe { AtomicU32::from_ptr(with_exposed_provenance_mut(at)) })
    }

    #[inline]
    fn word64(block: &RamBlock, offset: u64) -> Option<&AtomicU64> {
        let at = Self::word(block, offset, 8)?;
        // SAFETY: as above.
        Some(unsafe { AtomicU64::from_ptr(with_exposed_provenance_mut(at)) })
    }
}

// SAFETY: the code that made the value has promised that the RAM is real, contiguous and nobody else's; a page is in one block at
// most, and is zeroed, and cleaned to memory, before it is handed out; blocks are whole pages, so that they share no line.
unsafe impl<const WORDS: usize> TableMemory for TableRam<WORDS> {
    type Block = RamBlock;

    /// Interrupts are masked while a page is sought, and not while it is zeroed.
    fn allocate(&self, layout: BlockLayout) -> Result<RamBlock, AllocError> {
        let address = self.pages.with(|pages| pages.take(layout)).ok_or(AllocError { layout })?;
        let size = layout.size().next_multiple_of(PAGE);
        // Below the highest address of the layout, which is one.
        let physical = PhysAddr::new(address).map_err(|_| AllocError { layout })?;
        let mut block = RamBlock { address: physical, size, at: address.wrapping_add(self.offset) as usize };
        for offset in (0..size).step_by(8) {
            self.store64(&block, offset, 0);
        }
        // For every IRS: all of them are as coherent as the first.
        self.publish(IrsIndex(0), &block, 0..size);
        block.size = layout.size();
        Ok(block)
    }

    fn free(&self, block: RamBlock) {
        self.pages.with(|pages| pages.give_back(block.address.raw(), block.size));
    }

    #[inline]
    fn load32(&self, block: &RamBlock, offset: u64) -> u32 {
        Self::word32(block, offset).map_or(0, |word| u32::from_le(word.load(Ordering::Relaxed)))
    }

    #[inline]
    fn store32(&self, block: &RamBlock, offset: u64, value: u32) {
        if let Some(word) = Self::word32(block, offset) {
            word.store(value.to_le(), Ordering::Relaxed);
        }
    }

    #[inline]
    fn load64(&self, block: &RamBlock, offset: u64) -> u64 {
        Self::word64(block, offset).map_or(0, |word| u64::from_le(word.load(Ordering::Relaxed)))
    }

    #[inline]
    fn store64(&self, block: &RamBlock, offset: u64, value: u64) {
        if let Some(word) = Self::word64(block, offset) {
            word.store(value.to_le(), Ordering::Relaxed);
        }
    }

    fn coherency(&self, _: IrsIndex) -> Coherency {
        self.coherency
    }

    fn cache_line(&self) -> u64 {
        self.caches.line()
    }

    fn clean_invalidate(&self, block: &RamBlock, bytes: Range<u64>) {
        // SAFETY: inside a block, which is mapped.
        unsafe { self.caches.clean_invalidate(lines::inside(block.at, block.size, &bytes)) }
    }

    fn invalidate(&self, block: &RamBlock, bytes: Range<u64>) {
        // SAFETY: inside a block, which is mapped for writes and shares no line with anything else.
        unsafe { self.caches.invalidate(lines::inside(block.at, block.size, &bytes)) }
    }

    #[inline]
    fn barrier(&self) {
        self.caches.barrier();
    }

    #[inline]
    fn load_barrier(&self) {
        self.caches.load_barrier();
    }
}
