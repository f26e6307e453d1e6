//! Sizes and alignments that follow from a table's shape.

use crate::output::bytes;

/// The sizes named by a bitmap of level-2 sizes, lowest bit 4 KiB.
pub(crate) fn level_2_set(bitmap: u64) -> String {
    let names: Vec<&str> = ["4 KiB", "16 KiB", "64 KiB"]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bitmap >> bit & 1 == 1)
        .map(|(_, name)| name)
        .collect();
    if names.is_empty() { "no level-2 size".to_owned() } else { names.join(", ") }
}

/// An interrupt state table, physical or virtual.
#[derive(Clone, Copy)]
pub(crate) struct Ist {
    pub(crate) id_bits: u64,
    /// Code 0 to 2: entries of 4, 8 or 16 bytes (IST-9).
    pub(crate) entry_size: u64,
    /// Code 0 to 2: level-2 tables of 4, 16 or 64 KiB (IST-14).
    pub(crate) level_2_size: u64,
    pub(crate) two_level: bool,
}

impl Ist {
    /// The shape, if no field holds a reserved or impossible value.
    pub(crate) fn new(id_bits: u64, entry_size: u64, level_2_size: u64, two_level: bool) -> Option<Self> {
        let legal = id_bits <= 24 && entry_size <= 2 && (!two_level || level_2_size <= 2);
        legal.then_some(Self { id_bits, entry_size, level_2_size, two_level })
    }

    pub(crate) fn entry_bytes(self) -> u64 {
        4 << self.entry_size
    }

    /// ID bits that one level-2 table covers (IST-14).
    pub(crate) fn level_2_bits(self) -> u64 {
        10 - self.entry_size + 2 * self.level_2_size
    }

    pub(crate) fn level_2_bytes(self) -> u64 {
        4096 << (2 * self.level_2_size)
    }

    /// Level-1 entries that stand for IDs (IST-17).
    pub(crate) fn level_1_entries(self) -> u64 {
        1 << self.id_bits.saturating_sub(self.level_2_bits())
    }

    /// Size of what the base address points to (IST-12, IST-13).
    pub(crate) fn base_bytes(self) -> u64 {
        if self.two_level { 8 * self.level_1_entries() } else { self.entry_bytes() << self.id_bits }
    }

    /// Alignment of the base address: its size, and 64 bytes at least (IST-12, IST-13).
    pub(crate) fn base_alignment(self) -> u64 {
        self.base_bytes().max(64)
    }

    /// The shape in one sentence.
    pub(crate) fn describe(self) -> String {
        let entry = self.entry_bytes();
        if self.two_level {
            format!(
                "two-level: {} of 8 bytes ({}), each naming a level-2 table of {} with {} entries of {entry} bytes; \
                 base aligned to {}",
                crate::output::count(self.level_1_entries(), "level-1 entry"),
                bytes(self.base_bytes()),
                bytes(self.level_2_bytes()),
                1_u64 << self.level_2_bits(),
                bytes(self.base_alignment())
            )
        } else {
            format!(
                "linear: {} of {entry} bytes ({}), base aligned to {}",
                crate::output::count(1 << self.id_bits, "entry"),
                bytes(self.base_bytes()),
                bytes(self.base_alignment())
            )
        }
    }
}
