//! Cache maintenance and barriers for memory that an IRS walks: what an own memory manager implements
//! [`TableMemory`](gicv5_hal::TableMemory) with.

use core::arch::asm;
use core::ops::Range;

use gicv5_arch::values::Shareability;

use crate::lines;

/// Cache maintenance by virtual address, and the barriers that go with it.
#[derive(Clone, Copy, Debug)]
pub struct Caches {
    line: usize,
    shareability: Shareability,
}

impl Caches {
    /// Reads the size of a line (CTR_EL0.DminLine). Where PEs differ, it is to be made on the one with the smallest.
    ///
    /// `shareability` is that of IRS_CR1.SH, and of the mapping of the memory. The barriers are of that domain; where the memory is
    /// not shareable, of the whole system.
    #[must_use]
    pub fn new(shareability: Shareability) -> Caches {
        let ctr: u64;
        // SAFETY: a read without an effect.
        unsafe { asm!("mrs {ctr}, ctr_el0", ctr = out(reg) ctr, options(nomem, nostack)) }
        Caches { line: lines::smallest(ctr), shareability }
    }

    /// Bytes of a line, a power of two: [`TableMemory::cache_line`](gicv5_hal::TableMemory::cache_line).
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line as u64
    }

    /// `DC CIVAC` for each line that these virtual addresses lie in, no barrier:
    /// [`TableMemory::clean_invalidate`](gicv5_hal::TableMemory::clean_invalidate).
    ///
    /// # Safety
    ///
    /// The addresses are mapped.
    pub unsafe fn clean_invalidate(&self, bytes: Range<usize>) {
        for line in lines::touched(bytes, self.line) {
            // SAFETY: changes nothing that a load of this PE sees. The line is mapped, by the promise of the caller: a page has whole
            // lines.
            unsafe { asm!("dc civac, {line}", line = in(reg) line, options(nostack)) }
        }
    }

    /// `DC IVAC` for each line that these virtual addresses lie in, no barrier:
    /// [`TableMemory::invalidate`](gicv5_hal::TableMemory::invalidate).
    ///
    /// # Safety
    ///
    /// The addresses are mapped for writes, and every line that they lie in belongs to the caller as a whole: what has been stored in one
    /// and not been cleaned may be lost.
    pub unsafe fn invalidate(&self, bytes: Range<usize>) {
        for line in lines::touched(bytes, self.line) {
            // SAFETY: the line is the caller's, who may lose it.
            unsafe { asm!("dc ivac, {line}", line = in(reg) line, options(nostack)) }
        }
    }

    /// `DSB` of loads and stores: [`TableMemory::barrier`](gicv5_hal::TableMemory::barrier).
    #[inline]
    pub fn barrier(&self) {
        // SAFETY: barriers.
        unsafe {
            match self.shareability {
                Shareability::Inner => asm!("dsb ish", options(nostack)),
                Shareability::Outer => asm!("dsb osh", options(nostack)),
                Shareability::NonShareable => asm!("dsb sy", options(nostack)),
            }
        }
    }

    /// `DMB` of loads: [`TableMemory::load_barrier`](gicv5_hal::TableMemory::load_barrier).
    #[inline]
    pub fn load_barrier(&self) {
        // SAFETY: barriers.
        unsafe {
            match self.shareability {
                Shareability::Inner => asm!("dmb ishld", options(nostack)),
                Shareability::Outer => asm!("dmb oshld", options(nostack)),
                Shareability::NonShareable => asm!("dmb ld", options(nostack)),
            }
        }
    }
}
