//! Which IPIs a PE has, and the word of each.

use gicv5_arch::Lpi;

/// The PE takes this IPI.
pub(crate) const IPI_UP: u32 = 1 << 31;

/// There is an LPI for this IPI.
const IPI_EXISTS: u32 = 1 << 30;

/// Which of a PE's IPIs, from 0 to [`Config::ipi_kinds`](crate::Config::ipi_kinds) - 1. What they mean is the host's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpiKind(pub u8);

/// A PE as the driver counts them: in the order in which they came up for the first time. It stays the same while the PE is
/// out, until the driver is torn down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeIndex(pub(crate) u32);

impl PeIndex {
    /// The number, from 0.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The word for an IPI that exists, not up.
pub(crate) fn word_of(lpi: Lpi) -> u32 {
    lpi.id() | IPI_EXISTS
}

/// The LPI in such a word.
pub(crate) fn lpi_of(word: u32) -> Option<Lpi> {
    if word & IPI_EXISTS == 0 { None } else { Lpi::new(word & 0xff_ffff).ok() }
}
