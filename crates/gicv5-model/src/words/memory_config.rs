//! What memory a machine has.

use std::collections::BTreeMap;

use gicv5_arch::PhysAddr;
use gicv5_hal::{Coherency, IrsIndex};

/// Where the allocator puts a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// At the lowest address that fits, next to its neighbours, so that freed memory is soon used again.
    Lowest,
    /// Anywhere that fits.
    Random,
}

/// When effects happen that the architecture allows to happen earlier than it requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Eagerness {
    /// As late as is allowed, so that what is missing shows.
    Strict,
    /// At moments drawn from the seed.
    Random,
    /// At once.
    Early,
}

/// What memory a machine has, and how it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// The first byte of RAM, a multiple of 4 KiB.
    pub base: PhysAddr,
    /// The size of RAM in bytes, a multiple of 4 KiB, at most 1 TiB. Memory that is not used costs nothing.
    pub size: u64,
    /// How much at the start of RAM the allocator leaves alone, in bytes, a multiple of 4 KiB.
    pub reserved: u64,
    /// Whether the IRSs see the caches of the PEs: those that [`coherency_of`](Self::coherency_of) does not name.
    pub coherency: Coherency,
    /// IRSs of which something else is true.
    pub coherency_of: BTreeMap<IrsIndex, Coherency>,
    /// The cache line in bytes, a power of two from 32 to 2048.
    pub cache_line: u64,
    /// When effects happen that may happen early.
    pub eagerness: Eagerness,
    /// Where the allocator puts blocks.
    pub placement: Placement,
    /// The seed of everything that memory chooses by chance.
    pub seed: u64,
}

impl Default for MemoryConfig {
    /// 4 GiB at 2 GiB, coherent, lines of 64 bytes, strict.
    fn default() -> MemoryConfig {
        MemoryConfig {
            base: PhysAddr::new(0x8000_0000).unwrap_or(ZERO),
            size: 4 << 30,
            reserved: 0,
            coherency: Coherency::Coherent,
            coherency_of: BTreeMap::new(),
            cache_line: 64,
            eagerness: Eagerness::Strict,
            placement: Placement::Lowest,
            seed: 0,
        }
    }
}

const ZERO: PhysAddr = match PhysAddr::new(0) {
    Ok(zero) => zero,
    Err(_) => unreachable!(),
};

/// A [`MemoryConfig`] that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryConfigError {
    /// RAM does not start or end at a page, or is empty, or too big, or ends above the highest address.
    #[error("RAM of {size:#x} bytes at {base}: it must be 1 to 2^40 bytes in whole pages of 4 KiB, and end below 2^56")]
    Ram {
        /// Where it would start.
        base: PhysAddr,
        /// Its size in bytes.
        size: u64,
    },
    /// What the allocator leaves alone is not in whole pages, or is all there is.
    #[error("{reserved:#x} bytes withheld from the allocator: it must be whole pages of 4 KiB, and less than RAM")]
    Reserved {
        /// How many bytes.
        reserved: u64,
    },
    /// The cache line is no power of two, or not from 32 to 2048.
    #[error("cache line of {cache_line} bytes: it must be a power of two from 32 to 2048")]
    CacheLine {
        /// How many bytes.
        cache_line: u64,
    },
}
