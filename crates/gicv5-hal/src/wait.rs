//! Time, and a pause between polls.

use core::time::Duration;

/// Waiting for hardware.
///
/// The libraries read the status register themselves and decide when to give up; the host decides what to do between two
/// reads: spin, yield, sleep. Not called from interrupt handlers, nor with interrupts off by the libraries' doing.
pub trait Wait: Sync {
    /// Pauses between two polls. Returning at once is allowed.
    fn relax(&self);

    /// Time since some moment that stays the same. Does not go back, and advances while
    /// [`relax`](Self::relax) is called in a loop, or a wait for hardware that never answers would not end.
    fn now(&self) -> Duration;
}
