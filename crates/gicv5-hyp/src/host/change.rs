//! Who brings the host up, shuts it down or makes the VM table anew: one caller at a time, and not for ever.
//!
//! Nothing depends on what becomes of the future that does it. How far the host is if the change ends now stands in the
//! books; VMs without a handle stay in the host's list while they are torn down. A change whose future is dropped has ended. One
//! whose future is not driven any more, because it was forgotten for instance, has ended for whoever comes after it has had
//! its time; should it be driven again, it finds out before it writes anything.

use core::time::Duration;

use gicv5_hal::{Lock, Wait};

use crate::Hypervisor;
use crate::host::books::{Books, Changing, Phase};
use crate::host::host::Host;
use crate::vm::tear_down::TearDownCause;
use gicv5_irs::command_port::PortKind;

/// The host is changing; whoever has this does it, until another has taken over.
pub(crate) struct Change<'h, H: Hypervisor> {
    host: &'h Host<H>,
    number: u64,
}

impl<H: Hypervisor> Drop for Change<'_, H> {
    fn drop(&mut self) {
        self.with(|books| books.phase = books.changing.then);
    }
}

impl<H: Hypervisor> Host<H> {
    /// From here on nobody else brings the host up, shuts it down or makes the table anew, and no VM gets an ID; unless `check`
    /// finds that it may not be.
    pub(crate) fn begin<E>(&self, check: impl FnOnce(&Books<H>) -> Result<(), E>) -> Result<Change<'_, H>, E> {
        let now = self.machine.domain.platform.wait().now();
        self.books.with(|books| {
            books.end_forgotten_change(now);
            check(books)?;
            let number = books.changing.number.wrapping_add(1);
            let Changing { late, .. } = books.changing;
            books.changing = Changing { number, then: books.phase, until: self.has_time_until(now), late };
            books.phase = Phase::Changing;
            Ok(Change { host: self, number })
        })
    }

    /// A step waits for the port of the VM table, and then for a command about it.
    fn has_time_until(&self, now: Duration) -> Duration {
        now.saturating_add(self.machine.domain.patience(PortKind::Vmt).saturating_mul(2))
    }
}

impl<H: Hypervisor> Change<'_, H> {
    /// Does something that only whoever changes the host may do. `None` if another has taken over.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Books<H>) -> R) -> Option<R> {
        let now = self.host.machine.domain.platform.wait().now();
        self.host.books.with(|books| {
            if (books.phase, books.changing.number) != (Phase::Changing, self.number) {
                return None;
            }
            books.changing.until = self.host.has_time_until(now);
            Some(f(books))
        })
    }

    /// It gets on. Whoever holds the port of the VM table does what follows alone, as another who takes over needs the port
    /// first.
    ///
    /// # Errors
    ///
    /// [`TearDownCause::OthersRun`] if another has taken over.
    pub(crate) fn goes_on(&self) -> Result<(), TearDownCause> {
        self.with(|_| ()).ok_or(TearDownCause::OthersRun)
    }

    /// How far the host is if this ends now.
    ///
    /// # Errors
    ///
    /// As [`goes_on`](Self::goes_on).
    pub(crate) fn leads_to(&self, then: Phase) -> Result<(), TearDownCause> {
        self.with(|books| books.changing.then = then).ok_or(TearDownCause::OthersRun)
    }

    /// How far the host is if this ends now: without a VM table, and partial if it still holds VM IDs and doorbells.
    ///
    /// # Errors
    ///
    /// As [`goes_on`](Self::goes_on).
    pub(crate) fn leads_to_rest(&self) -> Result<(), TearDownCause> {
        let rest = |books: &mut Books<H>| if books.ids.in_use() == 0 { Phase::Down } else { Phase::Partial };
        self.with(|books| books.changing.then = rest(books)).ok_or(TearDownCause::OthersRun)
    }
}
