//! The model's time.
//!
//! There is one clock and it counts ticks. Nothing but two things makes it advance: software that reads a status register,
//! by a set amount, and the owner of the machine, by as much as it likes. A command takes a number of ticks, so a command
//! can be slow, or complete only after the software has given up waiting for it. How long a tick is nobody knows: whoever
//! simulates seconds says so.

use core::fmt;

/// A moment, in ticks since the machine was made; or a duration in ticks where a signature says so.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The moment that never comes.
    pub const NEVER: Tick = Tick(u64::MAX);

    /// The moment `ticks` later; [`NEVER`](Self::NEVER) if there is none.
    #[must_use]
    pub const fn after(self, ticks: u64) -> Tick {
        Tick(self.0.saturating_add(ticks))
    }

    /// How many ticks have passed since an earlier moment; 0 if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Tick::NEVER => f.write_str("never"),
            Tick(tick) => write!(f, "tick {tick}"),
        }
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The clock of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    now: Tick,
    per_poll: u64,
}

impl Clock {
    /// A clock at tick 0, which advances by `per_poll` ticks for each read of a status register. With 0, only its owner
    /// advances it.
    #[must_use]
    pub const fn new(per_poll: u64) -> Clock {
        Clock { now: Tick(0), per_poll }
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Tick {
        self.now
    }

    /// Time passes. The clock stops one tick short of [`Tick::NEVER`].
    pub const fn advance(&mut self, ticks: u64) -> Tick {
        let now = self.now.0.saturating_add(ticks);
        self.now = Tick(if now == u64::MAX { u64::MAX - 1 } else { now });
        self.now
    }

    /// Software has read a status register.
    pub const fn poll(&mut self) -> Tick {
        self.advance(self.per_poll)
    }
}

impl Default for Clock {
    /// One tick for each read of a status register.
    fn default() -> Clock {
        Clock::new(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_by_polling_and_by_its_owner_and_never_reaches_never() {
        let mut clock = Clock::new(3);
        assert_eq!(clock.poll(), Tick(3));
        assert_eq!(clock.advance(10), Tick(13));
        assert_eq!(clock.now().since(Tick(3)), 10);
        assert_eq!(Tick(3).since(clock.now()), 0);
        assert!(clock.advance(u64::MAX) < Tick::NEVER && clock.poll() < Tick::NEVER);
        assert_eq!(Tick(1).after(u64::MAX), Tick::NEVER);
        assert_eq!(format!("{} {}", Tick(4), Tick::NEVER), "tick 4 never");
    }
}
