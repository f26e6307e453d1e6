//! The arithmetic that the VM table and the IST share.
//!
//! Both are an array of `2^ID_BITS` entries. With two levels the array is cut into level-2 tables of one fixed size, and
//! the base register points to an array of 8-byte level-1 entries instead, one for each level-2 table. Everything is a
//! power of two, so sizes are kept as their base-2 logarithms and only shifted at the end: ID bits are at most 24, entries
//! at most 32 bytes and level-2 tables at most 64 KiB, so that no shift or sum reaches bit 30.

use core::ops::Range;

use super::Footprint;
use crate::address::PhysAddr;

/// log2 of the size of a level-1 entry of any table.
const L1_ENTRY_LOG2: u32 = 3;

/// An entry of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Which entry of the array it is, from 0.
    pub index: u32,
    /// Byte offset of the entry from the start of the array.
    pub offset: u64,
}

/// Where the entry of an ID lies in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableIndex {
    /// In the array that the base address points to.
    Linear(Slot),
    /// Behind a level-1 entry.
    TwoLevel {
        /// The level-1 entry, in the array that the base address points to.
        level1: Slot,
        /// The entry of the ID, in the level-2 table that the level-1 entry points to.
        level2: Slot,
    },
}

/// A table, as far as its arithmetic goes.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// ID bits, 24 at most.
    pub(super) id_bits: u32,
    /// log2 of the size of an entry, 5 at most.
    pub(super) entry_log2: u32,
    /// log2 of the size of a level-2 table, 12 to 16; `None` if the table is linear.
    pub(super) l2_log2: Option<u32>,
    /// log2 of the alignment that the base address has at least.
    pub(super) base_floor_log2: u32,
    /// The number of address bits of a level-1 entry.
    pub(super) l2_address_bits: u8,
}

impl Shape {
    /// log2 of the number of entries in a level-2 table.
    const fn l2_index_bits(self, l2_log2: u32) -> u32 {
        l2_log2 - self.entry_log2
    }

    /// log2 of the number of level-1 entries that carry IDs. A table with fewer IDs than one level-2 table holds still
    /// has one (VMT-10).
    const fn l1_index_bits(self, l2_log2: u32) -> u32 {
        self.id_bits.saturating_sub(self.l2_index_bits(l2_log2))
    }

    /// The array that the base address points to.
    pub(super) const fn base(self) -> Footprint {
        let size_log2 = match self.l2_log2 {
            None => self.id_bits + self.entry_log2,
            Some(l2_log2) => self.l1_index_bits(l2_log2) + L1_ENTRY_LOG2,
        };
        Footprint::naturally_aligned(size_log2, self.base_floor_log2, PhysAddr::BITS as u8)
    }

    /// One level-2 table.
    pub(super) const fn level2(self) -> Option<Footprint> {
        match self.l2_log2 {
            None => None,
            Some(l2_log2) => Some(Footprint::naturally_aligned(l2_log2, l2_log2, self.l2_address_bits)),
        }
    }

    /// The number of level-1 entries that carry IDs; 0 if the table is linear.
    pub(super) const fn l1_entries(self) -> u32 {
        match self.l2_log2 {
            None => 0,
            Some(l2_log2) => 1 << self.l1_index_bits(l2_log2),
        }
    }

    /// True unless the table has two levels and one level-2 table would hold all IDs.
    pub(super) const fn is_worthwhile(self) -> bool {
        match self.l2_log2 {
            None => true,
            Some(l2_log2) => self.id_bits > self.l2_index_bits(l2_log2),
        }
    }

    /// Bytes of all arrays together when every level-2 table is there.
    pub(super) const fn total_bytes(self) -> u64 {
        match self.level2() {
            None => self.base().size(),
            Some(level2) => self.base().size() + self.l1_entries() as u64 * level2.size(),
        }
    }

    /// The largest piece of contiguous memory the table needs.
    pub(super) const fn largest_piece(self) -> u64 {
        let base = self.base().size();
        match self.level2() {
            Some(level2) if level2.size() > base => level2.size(),
            _ => base,
        }
    }

    /// Where the entry of an ID lies; `None` if it has none.
    pub(super) const fn index(self, id: u32) -> Option<TableIndex> {
        if id >> self.id_bits != 0 {
            return None;
        }
        Some(match self.l2_log2 {
            None => TableIndex::Linear(slot(id, self.entry_log2)),
            Some(l2_log2) => {
                let l2_index_bits = self.l2_index_bits(l2_log2);
                TableIndex::TwoLevel {
                    level1: slot(id >> l2_index_bits, L1_ENTRY_LOG2),
                    level2: slot(id & ((1 << l2_index_bits) - 1), self.entry_log2),
                }
            }
        })
    }

    /// The IDs behind a level-1 entry; `None` if it carries none.
    pub(super) const fn ids_behind(self, l1_index: u32) -> Option<Range<u32>> {
        match self.l2_log2 {
            Some(l2_log2) if l1_index < self.l1_entries() => {
                let l2_index_bits = self.l2_index_bits(l2_log2);
                let bits = if self.id_bits < l2_index_bits { self.id_bits } else { l2_index_bits };
                let first = l1_index << l2_index_bits;
                Some(first..first + (1 << bits))
            }
            _ => None,
        }
    }
}

/// An entry of an array of entries of `2^entry_log2` bytes.
const fn slot(index: u32, entry_log2: u32) -> Slot {
    Slot { index, offset: (index as u64) << entry_log2 }
}

/// The number of bits that `number` takes, 0 for 0.
pub(super) const fn bit_length(number: u32) -> u32 {
    u32::BITS - number.leading_zeros()
}
