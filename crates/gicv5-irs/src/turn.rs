//! Something that one caller at a time may do, waiting included.
//!
//! A caller that finds the turn taken waits as long as the owners get on. An owner that keeps the turn longer than its
//! patience allows is not being driven; only then does the wait end with an error. The number of owners that come first is
//! not limited, and they are not served in order of arrival.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use gicv5_hal::Wait;

use crate::drive::look_again;

/// A turn. Its word counts up when the turn is taken and when it is returned: odd while an owner has it, and different for
/// each owner.
#[derive(Debug, Default)]
pub struct Turn(AtomicU64);

/// Proof of having the turn. Dropping it returns the turn.
#[derive(Debug)]
pub struct MyTurn<'a>(&'a Turn);

impl Turn {
    /// Takes the turn if it is free.
    ///
    /// # Errors
    ///
    /// The word of the owner that has it.
    fn try_word(&self) -> Result<MyTurn<'_>, u64> {
        let word = self.0.load(Ordering::Relaxed);
        // An odd word is an owner's; an even one fits only while nobody has taken the turn since.
        let free = word & !1;
        match self.0.compare_exchange(free, free.wrapping_add(1), Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(MyTurn(self)),
            Err(owner) => Err(owner),
        }
    }

    /// Takes the turn if it is free.
    pub fn try_take(&self) -> Option<MyTurn<'_>> {
        self.try_word().ok()
    }

    /// Waits for the turn, `patience` at most for each owner.
    ///
    /// # Errors
    ///
    /// How long the last owner was seen to have it.
    pub async fn take<W: Wait + ?Sized>(&self, wait: &W, patience: Duration) -> Result<MyTurn<'_>, Duration> {
        // Who has it, and since when it was seen to.
        let mut owner: Option<(u64, Duration)> = None;
        loop {
            // The clock is read first, so that the last look comes after the deadline.
            let now = wait.now();
            match (self.try_word(), owner) {
                (Ok(turn), _) => return Ok(turn),
                (Err(word), Some((same, since))) if word == same => {
                    let waited = now.saturating_sub(since);
                    if waited >= patience {
                        return Err(waited);
                    }
                }
                (Err(word), _) => owner = Some((word, now)),
            }
            look_again().await;
        }
    }
}

impl Drop for MyTurn<'_> {
    fn drop(&mut self) {
        // Release: what this owner did happens before what the next one does.
        self.0.0.fetch_add(1, Ordering::Release);
    }
}
