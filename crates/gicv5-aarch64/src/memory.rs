//! Table memory: a piece of RAM in pages of 4 KiB.

use core::arch::asm;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gicv5_arch::PhysAddr;
use gicv5_hal::{AllocError, Block, BlockLayout, Coherency, IrsIndex, TableMemory};

const PAGE: u64 = 4096;

/// Pages at most: 8 MiB.
const PAGES: usize = 2048;

/// A block of the pool.
pub struct PoolBlock {
    address: u64,
    size: u64,
}

impl Block for PoolBlock {
    fn address(&self) -> PhysAddr {
        PhysAddr::new(self.address).unwrap_or(PhysAddr::highest(0))
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// RAM that only tables use, identity-mapped, write-back cacheable and inner shareable.
pub struct Pool {
    base: u64,
    pages: usize,
    coherency: Coherency,
    line: u64,
    used: [AtomicU64; PAGES / 64],
    busy: AtomicBool,
}

impl Pool {
    /// Takes a piece of RAM.
    ///
    /// # Safety
    ///
    /// The range is RAM, mapped one to one with normal memory attributes, and nobody else ever accesses it.
    pub unsafe fn new(ram: Range<u64>, coherency: Coherency) -> Pool {
        let base = ram.start.next_multiple_of(PAGE);
        let pages = ((ram.end.saturating_sub(base) / PAGE) as usize).min(PAGES);
        let ctr: u64;
        // SAFETY: a read without an effect.
        unsafe { asm!("mrs {ctr}, ctr_el0", ctr = out(reg) ctr, options(nomem, nostack)) }
        // DminLine, in words of 4 bytes: what cache maintenance works in.
        let line = 4 << (ctr >> 16 & 0xf);
        Pool {
            base,
            pages,
            coherency,
            line,
            used: [const { AtomicU64::new(0) }; PAGES / 64],
            busy: AtomicBool::new(false),
        }
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.pages as u64 * PAGE
    }

    fn is_used(&self, page: usize) -> bool {
        self.used.get(page / 64).is_none_or(|word| word.load(Ordering::Relaxed) >> (page % 64) & 1 != 0)
    }

    fn mark(&self, pages: Range<usize>, used: bool) {
        for page in pages {
            if let Some(word) = self.used.get(page / 64) {
                match used {
                    true => word.fetch_or(1 << (page % 64), Ordering::Relaxed),
                    false => word.fetch_and(!(1 << (page % 64)), Ordering::Relaxed),
                };
            }
        }
    }

    /// Finds and marks free pages: the number of the first.
    fn take(&self, layout: BlockLayout) -> Option<usize> {
        let count = usize::try_from(layout.size().div_ceil(PAGE)).ok()?;
        let mut start = 0;
        while start + count <= self.pages {
            let address = self.base + start as u64 * PAGE;
            let fits =
                address.is_multiple_of(layout.alignment()) && address + layout.size() - 1 <= layout.highest().raw();
            if fits && !(start..start + count).any(|page| self.is_used(page)) {
                self.mark(start..start + count, true);
                return Some(start);
            }
            start += 1;
        }
        None
    }

    /// The pointer to a word, if it lies in the block.
    fn word<T>(block: &PoolBlock, offset: u64) -> Option<*mut T> {
        let bytes = size_of::<T>() as u64;
        let inside = offset.is_multiple_of(bytes) && offset.checked_add(bytes).is_some_and(|end| end <= block.size);
        inside.then_some((block.address + offset) as *mut T)
    }

    fn each_line(&self, block: &PoolBlock, bytes: Range<u64>, maintain: impl Fn(u64)) {
        let end = block.address.saturating_add(bytes.end.min(block.size));
        let mut line = (block.address + bytes.start) & !(self.line - 1);
        while line < end {
            maintain(line);
            line += self.line;
        }
    }
}

// SAFETY: whoever made the pool has promised that the RAM is real, contiguous and nobody else's; a page is in one block at
// most, and is zeroed, and cleaned to memory, before it is handed out; blocks are whole pages, so that they share no line.
unsafe impl TableMemory for Pool {
    type Block = PoolBlock;

    fn allocate(&self, layout: BlockLayout) -> Result<PoolBlock, AllocError> {
        while self.busy.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        let start = self.take(layout);
        self.busy.store(false, Ordering::Release);
        let start = start.ok_or(AllocError { layout })?;
        let size = layout.size().next_multiple_of(PAGE);
        let whole = PoolBlock { address: self.base + start as u64 * PAGE, size };
        for offset in (0..size).step_by(8) {
            self.store64(&whole, offset, 0);
        }
        self.publish(IrsIndex(0), &whole, 0..size);
        Ok(PoolBlock { address: whole.address, size: layout.size() })
    }

    fn free(&self, block: PoolBlock) {
        let start = ((block.address - self.base) / PAGE) as usize;
        self.mark(start..start + block.size.div_ceil(PAGE) as usize, false);
    }

    fn load32(&self, block: &PoolBlock, offset: u64) -> u32 {
        // SAFETY: inside the block, whose holder accesses it by these methods alone; the IRS may write it meanwhile, so
        // the access is volatile.
        Pool::word(block, offset).map_or(0, |word| u32::from_le(unsafe { core::ptr::read_volatile(word) }))
    }

    fn store32(&self, block: &PoolBlock, offset: u64, value: u32) {
        if let Some(word) = Pool::word(block, offset) {
            // SAFETY: as above.
            unsafe { core::ptr::write_volatile(word, value.to_le()) }
        }
    }

    fn load64(&self, block: &PoolBlock, offset: u64) -> u64 {
        // SAFETY: as above.
        Pool::word(block, offset).map_or(0, |word| u64::from_le(unsafe { core::ptr::read_volatile(word) }))
    }

    fn store64(&self, block: &PoolBlock, offset: u64, value: u64) {
        if let Some(word) = Pool::word(block, offset) {
            // SAFETY: as above.
            unsafe { core::ptr::write_volatile(word, value.to_le()) }
        }
    }

    fn coherency(&self, _: IrsIndex) -> Coherency {
        self.coherency
    }

    fn cache_line(&self) -> u64 {
        self.line
    }

    fn clean_invalidate(&self, block: &PoolBlock, bytes: Range<u64>) {
        // SAFETY: maintenance of a line of the block changes nothing that memory holds.
        self.each_line(block, bytes, |line| unsafe { asm!("dc civac, {line}", line = in(reg) line, options(nostack)) });
    }

    fn invalidate(&self, block: &PoolBlock, bytes: Range<u64>) {
        // Cleaning as well is allowed, and loses nothing of a neighbour's.
        self.clean_invalidate(block, bytes);
    }

    fn barrier(&self) {
        // SAFETY: a barrier.
        unsafe { asm!("dsb ish", options(nostack)) }
    }

    fn load_barrier(&self) {
        // SAFETY: a barrier.
        unsafe { asm!("dmb ishld", options(nostack)) }
    }
}
