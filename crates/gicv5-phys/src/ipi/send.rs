//! Interrupts from one PE to another.
//!
//! An IPI is an edge LPI routed to its PE for good, one for each PE and kind, which nothing else uses (RTE-7). There is no
//! broadcast: n receivers are n instructions.

use core::sync::atomic::{AtomicU32, Ordering};

use gicv5_arch::Lpi;
use gicv5_hal::{Pe, PeOps, Platform};
use gicv5_irs::command::Fault;

use crate::driver::phys::Phys;
use crate::ipi::word::{IPI_UP, IpiKind, PeIndex, lpi_of};

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

impl IpiError {
    /// Whose fault it is: the caller's, always.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

impl<H: Platform> Phys<H> {
    /// The words of a PE's IPIs.
    pub(crate) fn ipi_words(&self, pe: PeIndex) -> &[AtomicU32] {
        let kinds = usize::from(self.settings.ipi_kinds);
        let first = pe.0 as usize * kinds;
        self.ipis.get(first..first + kinds).unwrap_or(&[])
    }

    /// Sends an IPI. What the caller stored before is visible to the handler (SYN-7). Several before the PE takes one are
    /// one (ISM-5). When this returns, it is pending: it does not come to the next who uses the LPI (SYN-1).
    ///
    /// Never waits, takes no lock; may be called from anywhere, interrupt handlers included, and to the caller's own PE.
    ///
    /// # Errors
    ///
    /// [`IpiError`] if there is no such IPI. Nothing is sent.
    pub fn send_ipi<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, to: PeIndex, kind: IpiKind) -> Result<(), IpiError> {
        let lpi = self.ipi(to, kind)?;
        pe.dsb();
        pe.cdpend(lpi.into(), true);
        pe.gsb_sys();
        Ok(())
    }

    /// Sends an IPI of one kind to several PEs, as [`send_ipi`](Self::send_ipi) does to one, with one barrier before and one
    /// GSB SYS after all of them. Returns how many it was sent to: PEs that are not up are left out.
    ///
    /// # Errors
    ///
    /// [`IpiError::NoSuchKind`]. Nothing is sent.
    pub fn send_ipis<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        to: impl IntoIterator<Item = PeIndex>,
        kind: IpiKind,
    ) -> Result<usize, IpiError> {
        if kind.0 >= self.settings.ipi_kinds {
            return Err(IpiError::NoSuchKind { kind });
        }
        pe.dsb();
        let sent =
            to.into_iter().filter_map(|to| self.ipi(to, kind).ok()).map(|lpi| pe.cdpend(lpi.into(), true)).count();
        pe.gsb_sys();
        Ok(sent)
    }

    /// The LPI of an IPI that can be sent.
    fn ipi(&self, to: PeIndex, kind: IpiKind) -> Result<Lpi, IpiError> {
        if kind.0 >= self.settings.ipi_kinds {
            return Err(IpiError::NoSuchKind { kind });
        }
        let word = self.ipi_words(to).get(usize::from(kind.0)).map_or(0, |word| word.load(Ordering::Relaxed));
        let lpi = if word & IPI_UP == 0 { None } else { lpi_of(word) };
        lpi.ok_or(IpiError::NotUp { to })
    }
}
