//! Memory that an IRS may touch.
//!
//! What an IRS may touch is *lent*: it is held as a [`Lease`], which returns its memory only in exchange for a [`Proof`]. A
//! driver makes a proof from a completed command that made the enclosing structure invalid, and keeps its constructor
//! private. A time-out on the way leaves the lease a lease (LIFE-10).

use alloc::boxed::Box;
use alloc::vec::Vec;

use gicv5_arch::geometry::Footprint;
use gicv5_arch::{AddressError, PhysAddr};
use gicv5_hal::{AllocError, Block, BlockLayout, BlockLayoutError, TableMemory};

use crate::command::Fault;
use crate::heap::{Heap, OutOfMemory, boxed, push, reserve};

/// There is no memory for a table, or none that fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The table memory has none.
    #[error(transparent)]
    Memory(#[from] AllocError),
    /// The IRS cannot reach that much memory.
    #[error(transparent)]
    Layout(#[from] BlockLayoutError),
    /// The table memory gave a block that does not lie where it was asked to.
    #[error("the table memory gave an unusable block")]
    Address(#[from] AddressError),
    /// The cache line of the table memory is not a power of two.
    #[error("a cache line of {bytes:#x} bytes is not usable")]
    CacheLine {
        /// Its size.
        bytes: u64,
    },
    /// There is no memory for the library's own records.
    #[error("no memory for the library's records")]
    Records,
}

impl TableError {
    /// Whose fault it is: there is no memory, or what was configured cannot be had of this table memory.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            TableError::Memory(_) | TableError::Records => Fault::Capacity,
            TableError::Layout(_) | TableError::Address(_) | TableError::CacheLine { .. } => Fault::Caller,
        }
    }
}

impl From<OutOfMemory> for TableError {
    fn from(OutOfMemory: OutOfMemory) -> TableError {
        TableError::Records
    }
}

/// Allocates a structure, in cache lines of its own (COH-6, VPE-21). It is zero, also as the IRS sees it, by the contract of
/// [`TableMemory::allocate`]: it needs no publishing before something points to it (COH-5).
pub fn allocate<M: TableMemory>(memory: &M, piece: Footprint, highest: PhysAddr) -> Result<M::Block, TableError> {
    let bytes = memory.cache_line();
    let piece = piece.for_cache_line(bytes).map_err(|_| TableError::CacheLine { bytes })?;
    let block = memory.allocate(BlockLayout::for_footprint(piece, highest)?)?;
    Ok(block)
}

/// Allocates several structures alike, all or none.
pub fn allocate_many<M: TableMemory>(
    heap: Heap<'_>,
    memory: &M,
    piece: Footprint,
    highest: PhysAddr,
    count: usize,
) -> Result<Box<[M::Block]>, TableError> {
    let mut blocks = Vec::new();
    reserve(heap, &mut blocks, count)?;
    let filled = (0..count).try_for_each(|_| {
        push(&mut blocks, allocate(memory, piece, highest)?).map_err(|block| {
            memory.free(block);
            OutOfMemory.into()
        })
    });
    let (blocks, error) = match filled {
        Err(error) => (blocks, error),
        Ok(()) => match boxed(blocks) {
            Ok(blocks) => return Ok(blocks),
            Err(blocks) => (blocks, OutOfMemory.into()),
        },
    };
    blocks.into_iter().for_each(|block| memory.free(block));
    Err(error)
}

/// Something made of table memory, which names what it belongs to.
pub trait Structure<B: Block>: Sized {
    /// Every block of it.
    fn blocks<'a>(&'a self) -> impl Iterator<Item = &'a B>
    where
        B: 'a;

    /// Gives the memory back.
    fn free<M: TableMemory<Block = B>>(self, memory: &M);

    /// Bytes of table memory.
    fn bytes(&self) -> u64 {
        self.blocks().map(Block::size).sum()
    }
}

/// Proof that no IRS touches a structure of this type any more.
pub trait Proof<T> {
    /// Whether it is about this one.
    fn covers(&self, content: &T) -> bool;
}

/// What an IRS may touch.
pub struct Lease<T>(T);

/// A structure, and how far it has come.
pub enum Part<T> {
    /// There is none.
    Absent,
    /// No IRS has heard of it.
    Draft(T),
    /// An IRS may touch it.
    Lent(Lease<T>),
}

impl<T> Part<T> {
    /// From here on an IRS may know of it. Returns the structure; `None` if there is none, or it is lent already.
    pub fn lend(&mut self) -> Option<&T> {
        *self = Part::Lent(Lease(self.take_draft()?));
        self.content()
    }

    /// What there is, to read addresses from.
    pub fn content(&self) -> Option<&T> {
        match self {
            Part::Absent => None,
            Part::Draft(content) | Part::Lent(Lease(content)) => Some(content),
        }
    }

    /// What there is. Blocks may be added to what is lent, and must not be taken out of it.
    pub fn content_mut(&mut self) -> Option<&mut T> {
        match self {
            Part::Absent => None,
            Part::Draft(content) | Part::Lent(Lease(content)) => Some(content),
        }
    }

    /// True if an IRS may touch it.
    pub fn is_lent(&self) -> bool {
        matches!(self, Part::Lent(_))
    }

    /// Takes it if no IRS has heard of it.
    pub fn take_draft(&mut self) -> Option<T> {
        match core::mem::replace(self, Part::Absent) {
            Part::Draft(content) => Some(content),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes it back against a proof. A draft needs none.
    pub fn end(&mut self, proof: &impl Proof<T>) -> Option<T> {
        match core::mem::replace(self, Part::Absent) {
            Part::Draft(content) => Some(content),
            Part::Lent(Lease(content)) if proof.covers(&content) => Some(content),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// A structure that has no lease yet. It is freed when this is dropped, with the future that holds it for instance.
pub struct Spare<'m, M: TableMemory, T: Structure<M::Block>> {
    memory: &'m M,
    /// The structure, until it is taken.
    pub content: Option<T>,
}

impl<'m, M: TableMemory, T: Structure<M::Block>> Spare<'m, M, T> {
    /// Holds a structure, or room for one.
    pub const fn new(memory: &'m M, content: Option<T>) -> Spare<'m, M, T> {
        Spare { memory, content }
    }
}

impl<M: TableMemory, T: Structure<M::Block>> Drop for Spare<'_, M, T> {
    fn drop(&mut self) {
        if let Some(content) = self.content.take() {
            content.free(self.memory);
        }
    }
}

impl<B: Block, T: Structure<B>> Structure<B> for crate::heap::Boxed<T> {
    fn blocks<'a>(&'a self) -> impl Iterator<Item = &'a B>
    where
        B: 'a,
    {
        T::blocks(self)
    }

    fn free<M: TableMemory<Block = B>>(self, memory: &M) {
        self.into_inner().free(memory);
    }
}
