//! Something that one caller at a time may do, waiting included.
//!
//! A caller that finds the turn taken waits as long as the owners get on. An owner that keeps the turn longer than its
//! patience allows is not being driven; only then does the wait end, and the caller may take the turn over if that owner
//! waits for something it has begun. The number of owners that come first is not limited, and they are not served in order
//! of arrival.

use core::sync::atomic::{AtomicU64, Ordering, fence};
use core::time::Duration;

use gicv5_hal::Wait;

use crate::drive::look_again;

/// A turn. Its word counts up when the turn is taken and when it is returned, and by two when its owner gets on or another
/// takes it over: odd while an owner has it, and never what it was before. The two highest bits say what the owner does.
#[derive(Debug, Default)]
pub struct Turn(AtomicU64);

/// The owner is just doing something: no turn is taken over meanwhile, however long it takes.
const ACTING: u64 = 1 << 63;

/// Something has [begun](MyTurn::act) and not been seen to end. Stays when the turn is returned.
const PENDING: u64 = 1 << 62;

/// Proof of having the turn, or of having had it until another took it over. Dropping it returns the turn.
#[derive(Debug)]
pub struct MyTurn<'a> {
    turn: &'a Turn,
    /// What the word is while this owner has the turn.
    word: u64,
}

/// What came of something that only the owner of a turn may do.
#[derive(Debug)]
pub enum Acted<R> {
    /// It is over.
    Over(R),
    /// It has begun, and [ends](MyTurn::end) later.
    Begun,
    /// Another has taken the turn over, and nothing was done.
    Lost,
}

/// An owner has kept the turn for longer than the caller waits.
#[derive(Debug)]
pub struct Stalled {
    /// The word of that owner.
    owner: u64,
    /// How long it was seen to have it, and not to get on.
    pub waited: Duration,
}

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
            Ok(_) => Ok(MyTurn { turn: self, word: free.wrapping_add(1) }),
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
    /// [`Stalled`], about the last owner.
    pub async fn take<W: Wait + ?Sized>(&self, wait: &W, patience: Duration) -> Result<MyTurn<'_>, Stalled> {
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
                        return Err(Stalled { owner: word, waited });
                    }
                }
                (Err(word), _) => owner = Some((word, now)),
            }
            look_again().await;
        }
    }

    /// Whether nobody has the turn, and nothing has begun that was not seen to end. What the caller has made known before, an
    /// owner of the turn sees that looks after a fence of its own, unless it had the turn already: then this is false.
    pub fn is_free(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Acquire) & (ACTING | PENDING | 1) == 0
    }

    /// Whether something has begun and not been seen to end, whoever has the turn.
    pub fn is_pending(&self) -> bool {
        self.0.load(Ordering::Acquire) & PENDING != 0
    }

    /// Takes the turn from an owner that is not driven, a forgotten future for instance. `None` if it has got on since, or is not
    /// waiting for the end of what it has begun: then it may be at something that nobody sees. Should it be driven again, it
    /// [learns](MyTurn::end) that it has lost the turn.
    pub fn take_over(&self, from: &Stalled) -> Option<MyTurn<'_>> {
        if from.owner & ACTING != 0 || !from.is_pending() {
            return None;
        }
        let next = from.owner.wrapping_add(2);
        let taken = self.0.compare_exchange(from.owner, next, Ordering::AcqRel, Ordering::Relaxed);
        taken.is_ok().then_some(MyTurn { turn: self, word: next })
    }
}

impl Stalled {
    /// Whether that owner waits for the end of something it has begun.
    pub fn is_pending(&self) -> bool {
        self.owner & PENDING != 0
    }
}

impl MyTurn<'_> {
    /// Whether something has begun and not been seen to end, by this owner or an earlier one.
    pub fn is_pending(&self) -> bool {
        self.word & PENDING != 0
    }

    /// Does something that only the owner may, unless another has taken the turn over; the turn cannot be taken over
    /// meanwhile. `act` does not wait; it returns `None` if it has begun something that has not ended. Callers that wait see
    /// that the owner gets on.
    pub fn act<R>(&mut self, act: impl FnOnce() -> Option<R>) -> Acted<R> {
        let word = &self.turn.0;
        let next = self.word.wrapping_add(2);
        // Acquire: after what earlier owners did. Release, at the end: before what later ones do.
        let mine = word.compare_exchange(self.word, next | ACTING, Ordering::Acquire, Ordering::Relaxed);
        if mine.is_err() {
            return Acted::Lost;
        }
        let result = act();
        self.word = if result.is_none() { next | PENDING } else { next };
        word.store(self.word, Ordering::Release);
        result.map_or(Acted::Begun, Acted::Over)
    }

    /// It has ended. False if another has taken the turn over: then it may have ended long ago, and something else begun.
    #[must_use]
    pub fn end(&mut self) -> bool {
        let after = self.word.wrapping_add(2) & !PENDING;
        let mine = self.turn.0.compare_exchange(self.word, after, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if mine {
            self.word = after;
        }
        mine
    }
}

impl Drop for MyTurn<'_> {
    fn drop(&mut self) {
        // Release: what this owner did happens before what the next one does. Refused if another has taken it over.
        let free = self.word.wrapping_add(1);
        let _ = self.turn.0.compare_exchange(self.word, free, Ordering::Release, Ordering::Relaxed);
    }
}
