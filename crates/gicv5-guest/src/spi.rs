//! Trigger mode and line of each SPI, and what the hardware is told about them.
//!
//! One atomic byte per SPI holds the mode, the line, and what the hardware has not been told yet. A call changes the byte and,
//! if no other call is telling, tells the hardware: it takes the duty by setting BUSY, tells, and releases. A call that
//! finds BUSY set leaves its news in the byte and returns; the holder finds them when it releases. So two
//! calls never talk to the hardware about one SPI at once, the last thing told is what the byte holds, and
//! an interrupt handler that meets a call it interrupted does not wait for it.
//!
//! # Level lines that stay high
//!
//! A line that is still high after the guest's deactivation must make its SPI pending again (GIRS-45). Setting the handling
//! mode does that where the hardware keeps it (GIRS-49); where it does not, an end-of-interrupt notice or a second look at exit
//! is needed (GIRS-80 to GIRS-82). Such a notice belongs here, as one more change of the byte that tells the line again, which
//! is what [`Lines::resample`] does.

use alloc::boxed::Box;
use alloc::vec::Vec;

use arbitrary_int::u24;
use gicv5_arch::Spi;
use gicv5_arch::values::TriggerMode;

use crate::sync::{AtomicU8, Ordering};
use word::Word;
pub(crate) use word::{TELLS, Tell};

mod word;

/// Attempts at one change of an atomic word before a call gives up. Each failure is a change by another call.
pub(crate) const ATTEMPTS: u32 = 8;
/// How often one call tells the hardware before it leaves the rest to the caller.
pub(crate) const ROUNDS: u32 = 4;

/// How far a change of an SPI has come.
#[must_use = "a change that is not settled needs another call"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The hardware knows.
    Settled,
    /// Recorded. Another call on this SPI is talking to the hardware, and tells it this too before it returns.
    Shared,
    /// Other calls on this SPI came in between until the bound on this call's steps was reached. Call again with the same
    /// arguments: repeating a change has no effect beyond completing it.
    Again,
}

/// The SPIs of a VM.
#[derive(Debug)]
pub(crate) struct Lines {
    /// As many as the next power of two, so that a masked index stays inside.
    words: Box<[AtomicU8]>,
    count: u32,
}

impl Lines {
    /// All SPIs edge, all lines low. `None` without the memory.
    pub(crate) fn new(count: u32) -> Option<Lines> {
        let room = usize::try_from(count.next_power_of_two()).ok()?;
        let mut words = Vec::new();
        words.try_reserve_exact(room).ok()?;
        words.resize_with(room, || AtomicU8::new(0));
        Some(Lines { words: words.into_boxed_slice(), count })
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The SPI's byte. The mask is for a PE that speculates past the comparison (GIRS-73).
    fn word(&self, spi: Spi) -> Option<&AtomicU8> {
        let index = usize::try_from(spi.id()).ok()?;
        if spi.id() >= self.count {
            return None;
        }
        self.words.get(index & (self.words.len() - 1))
    }

    /// The trigger mode, and whether a change of it is still under way. `None` for an SPI that does not exist.
    pub(crate) fn mode(&self, spi: Spi) -> Option<(TriggerMode, bool)> {
        let word = Word::new_with_raw_value(self.word(spi)?.load(Ordering::Acquire));
        Some((word.mode(), word.tell_mode() || word.mode_under_way()))
    }

    pub(crate) fn set_line<E>(
        &self,
        spi: Spi,
        high: bool,
        tell: impl Fn(Tell) -> Result<(), E>,
    ) -> Option<Result<Delivery, E>> {
        Some(change(self.word(spi)?, |word| word.with_line_at(high), tell))
    }

    pub(crate) fn set_mode<E>(
        &self,
        spi: Spi,
        mode: TriggerMode,
        tell: impl Fn(Tell) -> Result<(), E>,
    ) -> Option<Result<Delivery, E>> {
        Some(change(self.word(spi)?, |word| word.with_mode_at(mode), tell))
    }

    pub(crate) fn resample<E>(&self, spi: Spi, tell: impl Fn(Tell) -> Result<(), E>) -> Option<Result<Delivery, E>> {
        Some(change(self.word(spi)?, Word::resampled, tell))
    }

    pub(crate) fn settle<E>(&self, spi: Spi, tell: impl Fn(Tell) -> Result<(), E>) -> Option<Result<Delivery, E>> {
        Some(change(self.word(spi)?, |word| word, tell))
    }

    /// Modes and news as at creation; the lines are the devices' and stay.
    pub(crate) fn reset(&self) {
        for word in &self.words {
            let high = Word::new_with_raw_value(word.load(Ordering::Acquire)).high();
            word.store(Word::ZERO.with_high(high).raw_value(), Ordering::Release);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Spi> {
        (0..self.count).map(|id| Spi::new_with_raw_value(u24::new(id)))
    }
}

/// Makes a change, and tells the hardware about it unless another call does.
fn change<E>(
    word: &AtomicU8,
    change: impl Fn(Word) -> Word,
    tell: impl Fn(Tell) -> Result<(), E>,
) -> Result<Delivery, E> {
    let mut taken = match update(word, change) {
        Update::Taken(taken) => taken,
        Update::Recorded(delivery) => return Ok(delivery),
    };
    for _ in 1..ROUNDS {
        if !tell_all(word, taken, &tell)? {
            return Ok(Delivery::Settled);
        }
        taken = match update(word, |word| word) {
            Update::Taken(taken) => taken,
            Update::Recorded(delivery) => return Ok(delivery),
        };
    }
    Ok(if tell_all(word, taken, &tell)? { Delivery::Again } else { Delivery::Settled })
}

/// Tells the hardware and gives the duty back. True if there are news by then.
fn tell_all<E>(word: &AtomicU8, taken: Word, tell: impl Fn(Tell) -> Result<(), E>) -> Result<bool, E> {
    let release = !Word::ZERO.with_busy(true).with_mode_under_way(true).raw_value();
    for news in taken.news().into_iter().flatten() {
        if let Err(error) = tell(news) {
            // Everything again: telling twice does no harm, and no other call can tell before BUSY is clear.
            word.fetch_or(taken.raw_value() & Word::NEWS.raw_value(), Ordering::AcqRel);
            word.fetch_and(release, Ordering::AcqRel);
            return Err(error);
        }
    }
    Ok(Word::new_with_raw_value(word.fetch_and(release, Ordering::AcqRel)).has_news())
}

enum Update {
    /// The change is made. This call has to tell the news that this word held.
    Taken(Word),
    /// This call has nothing to tell.
    Recorded(Delivery),
}

fn update(word: &AtomicU8, change: impl Fn(Word) -> Word) -> Update {
    let mut raw = word.load(Ordering::Acquire);
    for _ in 0..ATTEMPTS {
        let old = Word::new_with_raw_value(raw);
        let changed = change(old);
        let (new, outcome) = match (changed.busy(), changed.has_news()) {
            (true, _) => (changed, Update::Recorded(Delivery::Shared)),
            (false, true) => (changed.taken(), Update::Taken(changed)),
            (false, false) => (changed, Update::Recorded(Delivery::Settled)),
        };
        if new == old {
            return outcome;
        }
        match word.compare_exchange(raw, new.raw_value(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return outcome,
            Err(found) => raw = found,
        }
    }
    Update::Recorded(Delivery::Again)
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod exhaustive;
