//! Memory that an IRS walks.

use core::ops::Range;

use gicv5_arch::PhysAddr;
use gicv5_arch::geometry::Footprint;

use crate::IrsIndex;

/// What a block of table memory must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockLayout {
    size: u64,
    alignment: u64,
    highest: PhysAddr,
}

/// A [`BlockLayout`] that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockLayoutError {
    /// The size is zero.
    #[error("a block of no bytes")]
    Empty,
    /// The alignment is not a power of two.
    #[error("alignment {alignment:#x} is not a power of two")]
    Alignment {
        /// The alignment asked for, in bytes.
        alignment: u64,
    },
    /// The block cannot lie at or below the highest address, wherever it starts.
    #[error("a block of {size:#x} bytes aligned to {alignment:#x} does not fit below {highest}")]
    NoRoom {
        /// The size asked for, in bytes.
        size: u64,
        /// The alignment asked for, in bytes.
        alignment: u64,
        /// The highest address the block may include.
        highest: PhysAddr,
    },
}

impl BlockLayout {
    /// A block of `size` bytes, starting at a multiple of `alignment` bytes, none of whose bytes lies above `highest`
    /// (the end of what the IRS can address, IRS_IDR0.PA_RANGE, and of what the table entry's field can hold).
    ///
    /// # Errors
    ///
    /// [`BlockLayoutError`] if no block can be like that.
    pub const fn new(size: u64, alignment: u64, highest: PhysAddr) -> Result<BlockLayout, BlockLayoutError> {
        if size == 0 {
            return Err(BlockLayoutError::Empty);
        }
        if !alignment.is_power_of_two() {
            return Err(BlockLayoutError::Alignment { alignment });
        }
        if size - 1 > highest.raw() {
            return Err(BlockLayoutError::NoRoom { size, alignment, highest });
        }
        Ok(BlockLayout { size, alignment, highest })
    }

    /// A block for a structure that an IRS walks, none of whose bytes lies above `highest` (the end of what the IRS can
    /// address, [`PaRange::highest`](gicv5_arch::values::PaRange::highest)), nor above what the field that will point to it
    /// can hold.
    ///
    /// # Errors
    ///
    /// [`BlockLayoutError::NoRoom`] if the structure is larger than that.
    pub const fn for_footprint(footprint: Footprint, highest: PhysAddr) -> Result<BlockLayout, BlockLayoutError> {
        let field = PhysAddr::highest(footprint.address_bits());
        let highest = if field.raw() < highest.raw() { field } else { highest };
        BlockLayout::new(footprint.size(), footprint.alignment(), highest)
    }

    /// Size in bytes, at least 1.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.size
    }

    /// Alignment in bytes, a power of two.
    #[must_use]
    pub const fn alignment(self) -> u64 {
        self.alignment
    }

    /// The highest address that the block may include.
    #[must_use]
    pub const fn highest(self) -> PhysAddr {
        self.highest
    }
}

/// There is no memory for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no table memory for {} bytes aligned to {:#x} at or below {}", layout.size(), layout.alignment(), layout.highest())]
pub struct AllocError {
    /// What was asked for.
    pub layout: BlockLayout,
}

/// A block of table memory: physically contiguous, owned by whoever holds it.
///
/// Dropping a block frees nothing: memory goes back only by [`TableMemory::free`], so that memory an IRS may still touch
/// cannot go back by accident. For that reason a block must not be `Clone`.
pub trait Block: Send + Sync {
    /// The physical address of its first byte.
    fn address(&self) -> PhysAddr;

    /// Its size in bytes: what was asked for, not what the allocator rounded it to.
    fn size(&self) -> u64;
}

/// Whether an IRS sees the caches of the PEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coherency {
    /// It does: a store barrier publishes (COH-1).
    Coherent,
    /// It does not: what it shall read must be cleaned to memory, what it wrote must be invalidated before it is read
    /// (COH-2, COH-4).
    NonCoherent,
}

/// Memory that an IRS walks, shared with the host's allocator.
///
/// Loads and stores are whole, little-endian and aligned to their width (COH-8); they are relaxed, and ordered with the
/// IRS only by the maintenance methods. `offset` is in bytes from the start of the block. An access that does not lie in
/// the block or is not aligned is the caller's mistake: the implementation ignores it (a load returns 0) and may report it,
/// but never touches other memory.
///
/// Accesses and maintenance may be made from anywhere and never wait. [`allocate`](Self::allocate) and
/// [`free`](Self::free) may be called wherever the host allows its allocator to be called; the libraries above call them
/// only from the operations that say so, never from an interrupt handler, never with a lock of theirs held.
///
/// # Implementation safety
///
/// The implementor promises, for every block that `allocate` returns and until it is given to `free`:
///
/// - the `size()` bytes at `address()` are real, physically contiguous memory, all zero when returned, zero also as the
///   IRS sees it, and lie within what the layout asked for;
/// - nobody but the holder of the block and the hardware accesses these bytes, and they share no cache line with
///   anything the host writes while it does not know about the IRS, if the layout's size and alignment are multiples of the
///   line (COH-6);
/// - no other live block overlaps it.
#[allow(unsafe_code)]
// SAFETY: a declaration; what an implementor promises is above.
pub unsafe trait TableMemory: Sync {
    /// A block of this memory.
    type Block: Block;

    /// Allocates a zeroed block.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if there is no memory. That is an ordinary outcome: nothing is printed.
    fn allocate(&self, layout: BlockLayout) -> Result<Self::Block, AllocError>;

    /// Gives a block back. The caller must know, by a completed command, that no IRS touches it any more (VMT-7, VM-6,
    /// IST-7).
    fn free(&self, block: Self::Block);

    /// Loads 32 bits.
    fn load32(&self, block: &Self::Block, offset: u64) -> u32;

    /// Stores 32 bits.
    fn store32(&self, block: &Self::Block, offset: u64, value: u32);

    /// Loads 64 bits.
    fn load64(&self, block: &Self::Block, offset: u64) -> u64;

    /// Stores 64 bits.
    fn store64(&self, block: &Self::Block, offset: u64, value: u64);

    /// Whether this IRS sees the caches of the PEs. Constant.
    fn coherency(&self, irs: IrsIndex) -> Coherency;

    /// The cache line in bytes: the unit in which maintenance works, a power of two. Constant.
    fn cache_line(&self) -> u64;

    /// Writes the dirty lines that these bytes lie in back to memory and drops them from the caches, to the point of
    /// coherency (`DC CIVAC` for each line). Whole lines are affected, neighbours included (VMT-21).
    fn clean_invalidate(&self, block: &Self::Block, bytes: Range<u64>);

    /// Drops the lines that these bytes lie in from the caches, so that the next load sees memory (`DC IVAC` for each line;
    /// an implementation may clean as well). Whole lines are affected: a neighbour's dirty bytes are lost.
    fn invalidate(&self, block: &Self::Block, bytes: Range<u64>);

    /// A full barrier: loads, stores, register reads and maintenance before it are complete before any after it begins, and
    /// before any register write after it (`DSB ISH`; `DSB OSH` where IRS_CR1.SH says outer shareable).
    fn barrier(&self);

    /// A load barrier: loads and register reads before it are complete before loads after it (`DMB ISHLD`; `DMB OSHLD` as
    /// above). It orders no maintenance.
    ///
    /// A register read by itself orders nothing: an Arm PE may do a later load of Normal memory before it, also where a branch
    /// depends on what was read.
    fn load_barrier(&self);

    /// Makes stores to these bytes visible to an IRS: the one way to do it, whatever the IRS's coherency (COH-1 to COH-3).
    /// The barrier is never conditional.
    fn publish(&self, irs: IrsIndex, block: &Self::Block, bytes: Range<u64>) {
        if self.coherency(irs) == Coherency::NonCoherent {
            // The stores must have reached the cache before it is cleaned (COH-2).
            self.barrier();
            self.clean_invalidate(block, bytes);
        }
        self.barrier();
    }

    /// Makes what an IRS has written to these bytes visible to loads: the one way to do it, whatever the IRS's coherency. To be
    /// called after a register read has confirmed that the IRS has written (SYN-10, COH-4, COH-9).
    fn acquire(&self, irs: IrsIndex, block: &Self::Block, bytes: Range<u64>) {
        match self.coherency(irs) {
            Coherency::Coherent => self.load_barrier(),
            Coherency::NonCoherent => {
                // No load barrier orders maintenance after the read that has confirmed.
                self.barrier();
                self.invalidate(block, bytes);
                self.barrier();
            }
        }
    }

    /// Prepares bytes that share a cache line with entries the IRS owns for being rewritten: no stale copy of a neighbour
    /// must be in the cache when the line is written back later (VMT-21, COH-7). To be called before the first load or store
    /// of the change; [`publish`](Self::publish) follows the last. Till then the caller alone may give the IRSs commands about
    /// the table and write to the line.
    fn prepare(&self, irs: IrsIndex, block: &Self::Block, bytes: Range<u64>) {
        if self.coherency(irs) == Coherency::NonCoherent {
            self.clean_invalidate(block, bytes);
            self.barrier();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gicv5_arch::geometry::VmTableGeometry;

    #[test]
    fn a_block_that_no_allocator_can_give_is_refused_before_it_is_asked_for() {
        let highest = PhysAddr::highest(12);
        assert_eq!(BlockLayout::new(0, 8, highest), Err(BlockLayoutError::Empty));
        for alignment in [0, 3, u64::MAX] {
            assert_eq!(BlockLayout::new(8, alignment, highest), Err(BlockLayoutError::Alignment { alignment }));
        }
        assert_eq!(BlockLayout::new(4096, 4096, highest).map(BlockLayout::size), Ok(4096));
        let refused = BlockLayoutError::NoRoom { size: 4097, alignment: 1, highest };
        assert_eq!(BlockLayout::new(4097, 1, highest), Err(refused));
        assert!(BlockLayout::new(u64::MAX, 1 << 63, highest).is_err());
    }

    #[test]
    fn a_block_lies_where_both_the_irs_and_the_field_that_points_to_it_can_reach() {
        // L1_VMTE.L2_ADDR ends at bit 51, every other address at bit 55.
        let table = VmTableGeometry::two_level(16).unwrap();
        let level2 = table.level2().unwrap();
        let highest = |footprint, bits| {
            let layout = BlockLayout::for_footprint(footprint, PhysAddr::highest(bits)).unwrap();
            assert_eq!((layout.size(), layout.alignment()), (4096, 4096), "VMT-9, VMT-10");
            layout.highest()
        };
        assert_eq!(highest(level2, 56), PhysAddr::highest(52));
        assert_eq!(highest(table.base(), 56), PhysAddr::highest(56));
        assert_eq!(highest(level2, 48), PhysAddr::highest(48));
    }
}
