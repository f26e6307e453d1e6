//! Interrupts from one PE to another.
//!
//! An IPI is an edge LPI routed to its PE for good, one for each PE and kind, which nothing else uses (RTE-7). There is no
//! broadcast: n receivers are n instructions.

use core::sync::atomic::Ordering;

use gicv5_arch::Lpi;
use gicv5_hal::{Pe, PeOps, Platform};

use crate::driver::Phys;

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

/// An IPI could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpiError {
    /// There is no such kind.
    #[error("there is no IPI of kind {}", kind.0)]
    NoSuchKind {
        /// The kind.
        kind: IpiKind,
    },
    /// The PE is not up.
    #[error("PE {} is not up", to.0)]
    NotUp {
        /// The PE.
        to: PeIndex,
    },
}

/// The word for an IPI that exists, not up.
pub(crate) fn word_of(lpi: Lpi) -> u32 {
    lpi.id() | IPI_EXISTS
}

/// The LPI in such a word.
pub(crate) fn lpi_of(word: u32) -> Option<Lpi> {
    if word & IPI_EXISTS == 0 { None } else { Lpi::new(word & 0xff_ffff).ok() }
}

impl<H: Platform> Phys<H> {
    /// The words of a PE's IPIs.
    pub(crate) fn ipi_words(&self, pe: PeIndex) -> &[core::sync::atomic::AtomicU32] {
        let kinds = usize::from(self.settings.ipi_kinds);
        let first = pe.0 as usize * kinds;
        self.ipis.get(first..first + kinds).unwrap_or(&[])
    }

    /// Sends an IPI. What the caller stored before is visible to the handler (SYN-7). Several before the PE takes one are
    /// one (ISM-5).
    ///
    /// Never waits, takes no lock; may be called from anywhere, interrupt handlers included, and to the caller's own PE.
    ///
    /// # Errors
    ///
    /// [`IpiError`] if there is no such IPI. Nothing is sent.
    pub fn send_ipi<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, to: PeIndex, kind: IpiKind) -> Result<(), IpiError> {
        if kind.0 >= self.settings.ipi_kinds {
            return Err(IpiError::NoSuchKind { kind });
        }
        let word = self.ipi_words(to).get(usize::from(kind.0)).map_or(0, |word| word.load(Ordering::Relaxed));
        let lpi = if word & IPI_UP == 0 { None } else { lpi_of(word) };
        let lpi = lpi.ok_or(IpiError::NotUp { to })?;
        pe.dsb();
        pe.cdpend(lpi.into(), true);
        Ok(())
    }
}
