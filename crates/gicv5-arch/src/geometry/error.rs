//! Why there is no such table, or no such entry in it.

use crate::values::{IstSize, L2Size, L2SizeSet};

/// A table that cannot be, or an entry that is not in its table.
///
/// Fields are named as registers and table entries name them. Fields that end in `_bits` count ID bits, fields that end
/// in `_bytes` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// A number is outside what the architecture, or this IRS, allows.
    #[error("{field} is {value}, legal is {min} to {max} ({rule})")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What it holds or was meant to hold.
        value: u32,
        /// The smallest legal value.
        min: u32,
        /// The largest legal value.
        max: u32,
        /// The rule that sets the limits.
        rule: &'static str,
    },
    /// IRS_IDR2 promises two-level ISTs but names no size for their level-2 tables (IST-15).
    #[error("IRS_IDR2.IST_LEVELS is 1 but IRS_IDR2.IST_L2SZ names no level-2 size (IST-15)")]
    NoL2Size,
    /// Two levels on an IRS that has only linear tables of this kind (IST-15, VMT-11).
    #[error("{field} is 0, the table cannot have two levels ({rule})")]
    LinearOnly {
        /// The field that says so.
        field: &'static str,
        /// The rule that forbids it.
        rule: &'static str,
    },
    /// A level-2 size the IRS does not support (IST-15).
    #[error("level-2 tables of {} are not in IRS_IDR2.IST_L2SZ, which is {:#05b} (IST-15)", size.meaning(), supported.raw_value())]
    L2SizeUnsupported {
        /// The size.
        size: L2Size,
        /// The sizes the IRS supports.
        supported: L2SizeSet,
    },
    /// Entries of a size other than the one this IRS needs for its metadata (IST-10).
    #[error("ISTSZ says {}, an IST of {id_bits} ID bits on this IRS needs {} (IST-10)", found.meaning(), required.meaning())]
    EntrySize {
        /// The size the table has.
        found: IstSize,
        /// The size the IRS needs.
        required: IstSize,
        /// ID bits of the table.
        id_bits: u32,
    },
    /// A field holds an encoding that means nothing (IST-9, IST-14).
    #[error("{field} holds the reserved value {value} ({rule})")]
    Reserved {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: u8,
        /// The rule that reserves it.
        rule: &'static str,
    },
    /// No shape the IRS supports is made of pieces as small as the allocator can give.
    #[error("a table of {id_bits} ID bits needs {needed_bytes} contiguous bytes, {contiguous_bytes} are available")]
    NotContiguous {
        /// ID bits of the table.
        id_bits: u32,
        /// The largest piece there is.
        contiguous_bytes: u64,
        /// The smallest "largest piece" with which some shape would do.
        needed_bytes: u64,
    },
    /// The ID has no entry in the table: hardware ignores it there (IST-27, VMT-20, VPE-4).
    #[error("{kind} {id} is not below 2^{id_bits}, so it has no entry in the table ({rule})")]
    Unreachable {
        /// What the ID names: an interrupt, a VM, a VPE.
        kind: &'static str,
        /// The ID.
        id: u32,
        /// ID bits of the table.
        id_bits: u32,
        /// The rule that makes it unreachable.
        rule: &'static str,
    },
    /// The level-1 table has no such entry, or none that carries IDs (IST-17, VMT-10).
    #[error("level-1 entry {index} carries no IDs, the table has {entries} that do ({rule})")]
    NoL1Entry {
        /// The index of the entry.
        index: u32,
        /// The number of entries that carry IDs, 0 if the table is linear.
        entries: u32,
        /// The rule that counts them.
        rule: &'static str,
    },
    /// A cache line whose size is not a power of two.
    #[error("a cache line of {bytes} bytes is not a power of two")]
    CacheLine {
        /// Its size.
        bytes: u64,
    },
}
