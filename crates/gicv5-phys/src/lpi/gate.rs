//! What the interrupt handler knows about each LPI, and how an LPI is taken away from a running handler.
//!
//! Each LPI has a *gate*: one atomic word that says whether the LPI has an owner and counts the handlers that were given
//! its cookie. A handler enters by an increment that returns what was there before; if the gate was closed it leaves at
//! once, without the cookie. The releasing side closes the gate and waits until the count is zero. Because both are
//! read-modify-writes of one word, a handler either entered before the close, and is waited for, or sees it.
//!
//! That leaves a handler so slow that it enters when the LPI has already got its next owner. The hardware excludes it: the
//! interrupt is Active from the acknowledge, which comes before the increment, to the deactivation, which comes after it,
//! and the releasing side also waits for Inactive. The deactivation cannot overtake the increment, because whether the
//! handler runs before it depends on what the increment returned.

use gicv5_hal::Cookie;
use gicv5_irs::slots::Slots;

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The LPI has an owner; handlers may enter.
const OPEN: u32 = 1 << 31;
/// The owner is the driver itself: the LPI is an IPI and the cookie is its kind.
const IPI: u32 = 1 << 30;
/// The handlers that are inside. An LPI is not signalled again while it is Active (ISM-7), so there are few.
const COUNT: u32 = IPI - 1;

/// Who owns an LPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Whoever allocated it.
    Host,
    /// The driver, for an IPI.
    Ipi,
}

/// The gate and the cookie of one LPI.
#[derive(Default)]
pub(crate) struct Gate {
    word: AtomicU32,
    cookie: AtomicU64,
}

impl Gate {
    /// Lets handlers in, with this cookie. The gate must be closed and [quiet](Self::is_quiet).
    pub(crate) fn open(&self, owner: Owner, cookie: Cookie) {
        self.cookie.store(cookie.0, Ordering::Relaxed);
        let bits = match owner {
            Owner::Host => OPEN,
            Owner::Ipi => OPEN | IPI,
        };
        // Release: whoever sees the gate open sees the cookie.
        self.word.fetch_or(bits, Ordering::Release);
    }

    /// Lets nobody in any more. Handlers that are inside stay there, and are seen by [`is_quiet`](Self::is_quiet).
    pub(crate) fn close(&self) {
        self.word.fetch_and(COUNT, Ordering::Relaxed);
    }

    /// True if handlers may enter.
    pub(crate) fn is_open(&self) -> bool {
        self.word.load(Ordering::Relaxed) & OPEN != 0
    }

    /// True if no handler is inside. Everything those that were have done is visible to the caller then.
    pub(crate) fn is_quiet(&self) -> bool {
        self.word.load(Ordering::Acquire) & COUNT == 0
    }

    /// Enters; `None` if the gate is closed. [`exit`](Self::exit) must follow an entry.
    pub(crate) fn enter(&self) -> Option<(Owner, Cookie)> {
        let before = self.word.fetch_add(1, Ordering::Acquire);
        if before & OPEN == 0 {
            self.exit();
            return None;
        }
        let cookie = Cookie(self.cookie.load(Ordering::Relaxed));
        Some((if before & IPI != 0 { Owner::Ipi } else { Owner::Host }, cookie))
    }

    /// Leaves. Release: what the handler did is visible to who sees the gate quiet.
    pub(crate) fn exit(&self) {
        self.word.fetch_sub(1, Ordering::Release);
    }
}

/// The gates of all LPIs, which the interrupt handler finds by ID without a lock.
pub(crate) type Gates = Slots<Gate, 512>;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_counts_nobody() {
        let gate = Gate::default();
        assert_eq!(gate.enter(), None);
        assert!(gate.is_quiet() && !gate.is_open());
        gate.open(Owner::Host, Cookie(7));
        assert_eq!(gate.enter(), Some((Owner::Host, Cookie(7))));
        gate.close();
        assert_eq!(gate.enter(), None);
        assert!(!gate.is_quiet(), "the handler that entered before the close is still inside");
        gate.exit();
        assert!(gate.is_quiet());
    }

    #[test]
    fn an_ipi_is_told_from_a_host_lpi_and_the_next_owner_starts_afresh() {
        let gate = Gate::default();
        gate.open(Owner::Ipi, Cookie(3));
        assert_eq!(gate.enter(), Some((Owner::Ipi, Cookie(3))));
        gate.exit();
        gate.close();
        gate.open(Owner::Host, Cookie(4));
        assert_eq!(gate.enter(), Some((Owner::Host, Cookie(4))));
    }

    #[test]
    fn gates_come_to_be_on_demand_and_stop_at_the_end() {
        let gates = Gates::new(&|_| true, 600).unwrap();
        assert!(gates.get(599).is_none() && gates.get(1 << 20).is_none());
        gates.get_or_make(&|_| true, 599).unwrap().open(Owner::Host, Cookie(1));
        assert!(gates.get(599).unwrap().is_open());
        assert!(gates.get(0).is_none(), "the other chunk is still absent");
        assert!(gates.get_or_make(&|_| true, 1 << 20).is_err());
    }

    #[test]
    fn no_handler_is_inside_once_the_gate_is_closed_and_quiet() {
        for round in 0..40 {
            let gate = Gate::default();
            gate.open(Owner::Host, Cookie(round));
            let freed = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while let Some((_, cookie)) = gate.enter() {
                            assert_eq!(cookie, Cookie(round));
                            assert!(!freed.load(Ordering::Relaxed), "a handler runs although its LPI is released");
                            gate.exit();
                        }
                    });
                }
                gate.close();
                while !gate.is_quiet() {
                    thread::yield_now();
                }
                freed.store(true, Ordering::Relaxed);
            });
        }
    }
}

/// Every interleaving and every value that the memory model lets a load return, within loom's limits. `cargo xtask loom`
/// runs it.
#[cfg(all(test, loom))]
mod exhaustive {
    use std::sync::Arc;

    use loom::cell::UnsafeCell;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    use super::*;

    /// An LPI that a PE has acknowledged, and what its cookie stands for. Loom reports a use of it that does not happen
    /// before the owner has it back.
    struct Taken {
        gate: Gate,
        /// As the hardware keeps it: set by the acknowledge, cleared by the deactivation. It orders nothing.
        active: AtomicBool,
        owned: UnsafeCell<()>,
    }

    impl Taken {
        fn new() -> Arc<Taken> {
            let taken = Taken { gate: Gate::default(), active: AtomicBool::new(true), owned: UnsafeCell::new(()) };
            taken.gate.open(Owner::Host, Cookie(1));
            Arc::new(taken)
        }

        /// What the acknowledge loop does after the acknowledge.
        fn handle(&self) {
            if let Some((_, cookie)) = self.gate.enter() {
                assert_eq!(cookie, Cookie(1), "a handler got the cookie of the next owner");
                self.owned.with(|_| ());
                self.gate.exit();
            }
            self.active.store(false, Ordering::Relaxed);
        }

        /// What release does.
        fn release(&self) {
            self.gate.close();
            while self.active.load(Ordering::Relaxed) || !self.gate.is_quiet() {
                thread::yield_now();
            }
            self.owned.with_mut(|_| ());
        }
    }

    /// Releases it while a handler is at it, and does something more.
    fn release_against_a_handler(then: impl Fn(&Taken)) -> Arc<Taken> {
        let taken = Taken::new();
        let handler = thread::spawn({
            let taken = taken.clone();
            move || taken.handle()
        });
        taken.release();
        then(&taken);
        handler.join().unwrap();
        taken
    }

    #[test]
    fn the_owner_has_everything_back_when_release_returns() {
        loom::model(|| drop(release_against_a_handler(|_| ())));
    }

    #[test]
    fn a_slow_handler_does_not_get_the_cookie_of_the_next_owner() {
        loom::model(|| {
            let taken = release_against_a_handler(|taken| taken.gate.open(Owner::Host, Cookie(2)));
            assert_eq!(taken.gate.enter(), Some((Owner::Host, Cookie(2))));
        });
    }

    #[test]
    fn whoever_sees_the_gate_open_sees_the_cookie() {
        loom::model(|| {
            let gate = Arc::new(Gate::default());
            let handler = thread::spawn({
                let gate = gate.clone();
                move || {
                    if let Some((_, cookie)) = gate.enter() {
                        assert_eq!(cookie, Cookie(5));
                        gate.exit();
                    }
                }
            });
            gate.open(Owner::Host, Cookie(5));
            handler.join().unwrap();
        });
    }
}
