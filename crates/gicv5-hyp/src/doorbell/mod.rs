//! Doorbells: the physical LPIs that wake vCPUs, and what is known about each of them, in one atomic word.
//!
//! Everything about doorbells is here: where their LPIs come from, when they are enabled, where they are routed, what the
//! handler does, and how they go back.
//!
//! # The word
//!
//! A doorbell has a *slot* for as long as it lives, and the slot has a word: whose it is (VM, VPE), which of the slot's
//! successive owners that is (generation), and what the doorbell is doing. Loading a vCPU, putting it, the handler, and
//! teardown are each one read-modify-write of that word, and nothing else decides between them: no lock, no second flag
//! that could disagree. A [`Cookie`] is a slot and a generation, so whoever comes late, with the cookie of a doorbell that
//! is gone, finds another generation and changes nothing.
//!
//! ```text
//!                 enable               claim (load)            request (put to sleep)
//!   allocate --> [live] --> [ready] ------------> [resident] ------------------------> [resident, requested]
//!                              ^                      | away (put)                              | away
//!                              |<---------------------+                                         v
//!                              |            claim (load)                  ring (handler)   [requested]
//!                              |<-------- [fired] <----------------------------------------------+
//!                                         take (has_pending) clears fired
//!   die (teardown) may come anywhere; release once it is dying and not resident.
//! ```
//!
//! | step | who | changes | ordering, and why |
//! |---|---|---|---|
//! | enable | init | sets ready | release: the VPE's tables and IRS_VPE_DBR are as they must be before anybody claims |
//! | claim | load | needs ready, not dying, not resident; sets resident, clears requested and fired | acquire: init, and the put before it on whatever PE, are over (RES-21) |
//! | request | put | sets requested, clears fired | none of its own: the caller's DSB comes between it and the write that can ring (DB-21) |
//! | away | put | clears resident | release: the V=0 write and its ISB come before the next claim, and before teardown's commands |
//! | ring | handler | needs requested, not dying; moves requested to fired | release: what the handler's CPU did before is visible to whom the flag wakes; the barriers of the acknowledge come before it (SYN-3) |
//! | take | the vCPU's thread | clears fired | acquire, for the same |
//! | die | teardown | needs not resident; sets dying | acquire: the last put is over (LIFE-22) |
//! | release | teardown | the next generation, free | the lock of the free slots |
//!
//! The exhaustive tests take each of these orderings away in turn, and fail.
//!
//! *Resident* in the word means "a PE may have it": it is set before the V=1 write and cleared after the V=0 write has
//! acted, because teardown must not touch what a PE may still use. The exact moment (RES-18), which decides whether a
//! second load or put has anything to do, is the vCPU's own.
//!
//! # Why no wake-up is lost
//!
//! A put that sleeps does, in this order: request, DSB, V=0 with DB, ISB, away, and then looks at *fired* (DB-21). The IRS
//! can ring only after the V=0 write; the handler runs only after it has acknowledged what rang, with GSB ACK and ISB
//! between (SYN-3). So the request happens before the handler (SYN-7), which therefore finds *requested* and sets
//! *fired*. A doorbell that rang for an earlier wait may arrive late and use the request up (DB-17): the vCPU wakes once
//! too often and must be loaded again before it can sleep, which makes the next request. A doorbell without a request is
//! spurious; it is counted and wakes nobody.

use core::sync::atomic::{AtomicU64 as Counter, Ordering as CounterOrdering};

use gicv5_arch::{Iaffid, Lpi, VmId, VpeId};
use gicv5_hal::{Cookie, HostLpis, Locks, Route};

use crate::sync::Ordering;
use error::DoorbellError;
use gicv5_irs::heap::{Heap, OutOfMemory};
use mask::DoorbellMask;
use order::Step;
use slots::{DoorbellId, DoorbellSlots};
use wake::Wake;
use word::Word;

pub(crate) mod error;
pub(crate) mod mask;
pub(crate) mod order;
mod slots;
#[cfg(test)]
pub(crate) mod supply;
pub(crate) mod wake;
mod word;

/// Why a vCPU cannot be claimed for a PE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The doorbell is gone: the VM was torn down.
    Gone,
    /// The VPE is not ready yet.
    NotReady,
    /// A PE has it, or is just putting it.
    Resident,
    /// The VM is being torn down.
    Dying,
}

/// The doorbells of a host.
///
/// The handler finds a slot without a lock.
pub(crate) struct Doorbells<K: Locks> {
    slots: DoorbellSlots<K>,
    /// How the hardware reads a doorbell's mask.
    pub(crate) mask: DoorbellMask,
    spurious: Counter,
}

impl<K: Locks> Doorbells<K> {
    /// Room for this many doorbells at a time; at most 2^24 make sense, because LPIs have 24 bits. Takes 8 bytes for 512 of
    /// them now, and 8 for each when it is needed.
    pub(crate) fn new(heap: Heap<'_>, limit: u32, mask: DoorbellMask) -> Result<Doorbells<K>, OutOfMemory> {
        let slots = DoorbellSlots::new(heap, limit.min(1 << 24))?;
        Ok(Doorbells { slots, mask, spurious: Counter::new(0) })
    }

    /// Doorbells that came without being asked for, or too late.
    pub(crate) fn spurious(&self) -> u64 {
        self.spurious.load(CounterOrdering::Relaxed)
    }

    /// Allocates an LPI and the slot that goes with it. The doorbell is disabled, and its vCPU cannot be loaded, until it is
    /// [enabled](Self::enable). Waits and allocates as [`HostLpis::allocate`] does, and takes a lock.
    pub(crate) fn allocate<L: HostLpis>(
        &self,
        heap: Heap<'_>,
        lpis: &L,
        vm: VmId,
        vpe: VpeId,
    ) -> Result<Doorbell<L::Lpi>, DoorbellError> {
        let id = self.slots.take(heap, vm, vpe)?;
        match lpis.allocate(id.cookie()) {
            Ok(lpi) => Ok(Doorbell { id, lpi }),
            Err(error) => {
                self.slots.give(id);
                Err(error.into())
            }
        }
    }

    /// The LPI, as IRS_VPE_DBR wants it (DB-7). The only place that has it is the host's value in the doorbell.
    pub(crate) fn lpi<L: HostLpis>(&self, lpis: &L, doorbell: &Doorbell<L::Lpi>) -> Lpi {
        lpis.lpi(&doorbell.lpi)
    }

    /// Enables the doorbell and lets its vCPU be loaded, once the IRS has confirmed IRS_VPE_DBR for its VPE (DB-6); again each
    /// time that the VPE has become valid (VPE-10). Never waits.
    pub(crate) fn enable<L: HostLpis>(&self, lpis: &L, doorbell: &Doorbell<L::Lpi>, _proof: &DoorbellSet) {
        lpis.enable(&doorbell.lpi);
        let _ = self.update(doorbell.id, Step::Enable, |word| Ok(word.with_ready(true)));
    }

    /// True while a PE may have the vCPU resident.
    pub(crate) fn is_resident<L>(&self, doorbell: &Doorbell<L>) -> bool {
        self.look(doorbell.id).is_some_and(|word| word.resident())
    }

    /// From here on the vCPU cannot be loaded and its doorbell wakes nobody. Any number of times; never waits. False, and
    /// nothing changed, while a PE may have the vCPU resident.
    pub(crate) fn die<L>(&self, doorbell: &Doorbell<L>) -> bool {
        let died = self.update(doorbell.id, Step::Die, |word| match word.resident() {
            true => Err(Refused::Resident),
            false => Ok(word.with_dying(true)),
        });
        died.is_ok()
    }

    /// Gives the LPI and the slot back. The VPE must be invalid, or never have been valid with this doorbell, so that it
    /// cannot ring any more; what rang before is drained (DB-25). Waits as [`HostLpis::release`] does, so not from a handler;
    /// allocates nothing.
    pub(crate) fn release<L: HostLpis>(&self, lpis: &L, doorbell: Doorbell<L::Lpi>) -> Result<(), NotReleased<L::Lpi>> {
        if !self.look(doorbell.id).is_some_and(|word| word.dying() && !word.resident()) {
            return Err(NotReleased(doorbell));
        }
        let Doorbell { id, lpi } = doorbell;
        match lpis.release(lpi) {
            // No handler has the cookie any more; only now may the slot have another owner.
            Ok(()) => {
                self.slots.give(id);
                Ok(())
            }
            Err(error) => Err(NotReleased(Doorbell { id, lpi: error.lpi })),
        }
    }

    /// Changes the word of a doorbell that still lives.
    fn update(
        &self,
        id: DoorbellId,
        step: Step,
        change: impl Fn(Word) -> Result<Word, Refused>,
    ) -> Result<Word, Refused> {
        self.slots.get(id.slot).ok_or(Refused::Gone)?.update(step, |word| match word {
            word if word.live() && word.generation() == id.generation => change(word),
            _ => Err(Refused::Gone),
        })
    }

    /// The word as it is now.
    fn look(&self, id: DoorbellId) -> Option<Word> {
        let word = Word::new_with_raw_value(self.slots.get(id.slot)?.word.load(Ordering::Relaxed));
        (word.live() && word.generation() == id.generation).then_some(word)
    }

    // --- load and put -------------------------------------------------------------------------------------------

    /// Load begins: the vCPU is this PE's, unless it is somebody else's or must not run. Whatever was requested or rang is
    /// over with that (DB-18).
    pub(crate) fn claim(&self, id: DoorbellId) -> Result<(), Refused> {
        self.update(id, Step::Claim, |word| match word {
            word if word.dying() => Err(Refused::Dying),
            word if !word.ready() => Err(Refused::NotReady),
            word if word.resident() => Err(Refused::Resident),
            word => Ok(word.with_resident(true).with_requested(false).with_fired(false)),
        })?;
        Ok(())
    }

    /// A put that sleeps is about to ask for the doorbell. To be followed by a DSB and the write that asks (DB-21).
    pub(crate) fn request(&self, id: DoorbellId) {
        // The caller has it resident, so it is not dying.
        let _ = self.update(id, Step::Request, |word| Ok(word.with_requested(true).with_fired(false)));
    }

    /// Put ends, or load has failed: no PE has the vCPU any more.
    pub(crate) fn away(&self, id: DoorbellId) {
        // A doorbell is not released while it is resident, so this is not refused.
        let _ = self.update(id, Step::Away, |word| Ok(word.with_resident(false)));
    }

    /// Whether the doorbell has rung since the last request; says so once.
    pub(crate) fn take_fired(&self, id: DoorbellId) -> bool {
        self.update(id, Step::Take, |word| match word.fired() {
            true => Ok(word.with_fired(false)),
            false => Err(Refused::NotReady),
        })
        .is_ok()
    }

    // --- the handler --------------------------------------------------------------------------------------------

    /// The doorbell with this cookie was taken: says whom to wake.
    ///
    /// To be called after the acknowledge, GSB ACK and ISB (SYN-3), on any PE, concurrently with everything. A cookie that
    /// is no doorbell's any more, and a doorbell nobody waits for, wake nobody and are counted (DB-17).
    pub(crate) fn ring(&self, cookie: Cookie) -> Option<Wake> {
        let rung = DoorbellId::from_cookie(cookie).ok_or(Refused::Gone).and_then(|id| {
            self.update(id, Step::Ring, |word| match word {
                word if word.dying() => Err(Refused::Dying),
                word if word.requested() => Ok(word.with_requested(false).with_fired(true)),
                _ => Err(Refused::NotReady),
            })
        });
        match rung {
            Ok(word) => Some(word.owner()),
            Err(_) => {
                self.spurious.fetch_add(1, CounterOrdering::Relaxed);
                None
            }
        }
    }
}

/// A doorbell, as its vCPU's record holds it. Dropping it releases nothing.
#[derive(Debug)]
#[must_use = "a doorbell that is dropped is lost: release it"]
pub(crate) struct Doorbell<L> {
    id: DoorbellId,
    lpi: L,
}

impl<L> Doorbell<L> {
    /// Its name.
    pub(crate) fn id(&self) -> DoorbellId {
        self.id
    }

    /// The same again: a test may know better than the type when it is not used any more.
    #[cfg(all(test, loom))]
    pub(crate) fn twin(&self) -> Doorbell<L>
    where
        L: Copy,
    {
        Doorbell { id: self.id, lpi: self.lpi }
    }

    /// Routes it to a PE.
    pub(crate) fn route<S: HostLpis<Lpi = L>>(&self, lpis: &S, pe: Iaffid) {
        lpis.route(&self.lpi, Route::To(pe));
    }
}

/// Proof that the hardware has confirmed the doorbell settings of a VPE (DB-6): made by `configure_vpe` alone.
pub(crate) struct DoorbellSet(pub(crate) ());

/// A doorbell that could not be released: a PE may have its vCPU resident, it is not [dying](Doorbells::die), or its LPI
/// does not come to rest. It is still there.
#[derive(Debug)]
pub(crate) struct NotReleased<L>(pub(crate) Doorbell<L>);

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use gicv5_hal::LpiError;
    use gicv5_model::host::StdLocks;

    use super::supply::Supply;
    use super::*;

    const VM: VmId = VmId::new(3);
    const VPE: VpeId = VpeId::new(9);
    const HEAP: Heap<'static> = &|_| true;

    fn doorbells(limit: u32) -> Doorbells<StdLocks> {
        Doorbells::new(HEAP, limit, DoorbellMask::ByUrgency).unwrap()
    }

    /// A doorbell whose vCPU can be loaded.
    fn enabled(doorbells: &Doorbells<StdLocks>, lpis: &Supply) -> Doorbell<Lpi> {
        let doorbell = doorbells.allocate(HEAP, lpis, VM, VPE).unwrap();
        doorbells.enable(lpis, &doorbell, &DoorbellSet(()));
        doorbell
    }

    /// One whose vCPU was put to sleep.
    fn requested(doorbells: &Doorbells<StdLocks>, lpis: &Supply) -> Doorbell<Lpi> {
        let doorbell = enabled(doorbells, lpis);
        doorbells.claim(doorbell.id()).unwrap();
        doorbells.request(doorbell.id());
        doorbells.away(doorbell.id());
        doorbell
    }

    #[test]
    fn a_doorbell_wakes_its_vcpu_once_for_each_request() {
        let (doorbells, lpis) = (doorbells(8), Supply::default());
        let doorbell = enabled(&doorbells, &lpis);
        let (id, cookie) = (doorbell.id(), doorbell.id().cookie());
        assert_eq!(doorbells.ring(cookie), None, "nobody asked");
        doorbells.claim(id).unwrap();
        doorbells.request(id);
        doorbells.away(id);
        assert!(!doorbells.take_fired(id));
        assert_eq!(doorbells.ring(cookie), Some(Wake { vm: VM, vpe: VPE }));
        assert_eq!(doorbells.ring(cookie), None);
        assert!(doorbells.take_fired(id) && !doorbells.take_fired(id));
        assert_eq!(doorbells.spurious(), 2);
    }

    #[test]
    fn a_load_ends_the_wait_and_a_late_doorbell_is_spurious() {
        let (doorbells, lpis) = (doorbells(8), Supply::default());
        let doorbell = requested(&doorbells, &lpis);
        let id = doorbell.id();
        doorbells.claim(id).unwrap();
        assert_eq!(doorbells.ring(id.cookie()), None);
        doorbells.away(id);
        assert!(!doorbells.take_fired(id));
    }

    #[test]
    fn a_doorbell_that_is_being_torn_down_wakes_nobody() {
        let (doorbells, lpis) = (doorbells(8), Supply::default());
        let doorbell = requested(&doorbells, &lpis);
        let id = doorbell.id();
        assert!(doorbells.die(&doorbell));
        assert_eq!(doorbells.ring(id.cookie()), None);
    }

    #[test]
    fn a_vcpu_is_claimed_only_when_it_is_ready_alone_and_not_dying() {
        let (doorbells, lpis) = (doorbells(8), Supply::default());
        let doorbell = doorbells.allocate(HEAP, &lpis, VM, VPE).unwrap();
        let id = doorbell.id();
        assert_eq!(doorbells.claim(id), Err(Refused::NotReady));
        assert!(lpis.is_disabled(doorbells.lpi(&lpis, &doorbell)));
        doorbells.enable(&lpis, &doorbell, &DoorbellSet(()));
        doorbells.claim(id).unwrap();
        assert_eq!(doorbells.claim(id), Err(Refused::Resident));
        assert!(!doorbells.die(&doorbell), "a PE has it");
        doorbells.away(id);
        assert!(doorbells.die(&doorbell) && doorbells.die(&doorbell));
        assert_eq!(doorbells.claim(id), Err(Refused::Dying));
    }

    #[test]
    fn a_cookie_of_a_dead_doorbell_does_nothing_to_the_next_owner_of_its_slot() {
        let (doorbells, lpis) = (doorbells(1), Supply::default());
        let doorbell = enabled(&doorbells, &lpis);
        let old = doorbell.id();
        let doorbell = doorbells.release(&lpis, doorbell).unwrap_err().0;
        assert!(doorbells.die(&doorbell));
        doorbells.release(&lpis, doorbell).unwrap();
        let doorbell = enabled(&doorbells, &lpis);
        let new = doorbell.id();
        assert_eq!((old.slot, new.slot), (0, 0));
        doorbells.claim(new).unwrap();
        doorbells.request(new);
        assert_eq!(doorbells.ring(old.cookie()), None);
        assert_eq!(doorbells.claim(old), Err(Refused::Gone));
        assert!(!doorbells.take_fired(new));
        assert!(doorbells.ring(new.cookie()).is_some());
    }

    #[test]
    fn a_doorbell_that_does_not_come_to_rest_is_kept_and_released_later() {
        let (doorbells, lpis) = (doorbells(1), Supply::default());
        let doorbell = enabled(&doorbells, &lpis);
        doorbells.die(&doorbell);
        lpis.make_restless(true);
        let doorbell = doorbells.release(&lpis, doorbell).unwrap_err().0;
        assert!(doorbells.allocate(HEAP, &lpis, VM, VPE).is_err(), "the slot is still its own");
        lpis.make_restless(false);
        doorbells.release(&lpis, doorbell).unwrap();
        assert_eq!(lpis.allocated(), 0);
    }

    #[test]
    fn running_out_is_an_error_and_what_was_taken_for_it_goes_back() {
        let (doorbells, lpis) = (doorbells(600), Supply::default());
        let mut all: Vec<_> = (0..600).map(|_| doorbells.allocate(HEAP, &lpis, VM, VPE).unwrap()).collect();
        let error = doorbells.allocate(HEAP, &lpis, VM, VPE).unwrap_err();
        assert_eq!(error.to_string(), "all 600 doorbells are in use");
        let mut slots: Vec<_> = all.iter().map(|doorbell| doorbell.id().slot).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), 600, "every doorbell has a slot of its own");
        for doorbell in all.drain(..) {
            doorbells.die(&doorbell);
            doorbells.release(&lpis, doorbell).unwrap();
        }
        lpis.run_out(true);
        assert_eq!(doorbells.allocate(HEAP, &lpis, VM, VPE).unwrap_err(), DoorbellError::Lpi(LpiError::NoneFree));
        lpis.run_out(false);
        let all: Vec<_> = (0..600).map(|_| doorbells.allocate(HEAP, &lpis, VM, VPE).unwrap()).collect();
        assert_eq!(all.len(), 600, "the slot of the doorbell without an LPI is free again");
    }

    #[test]
    fn what_is_no_cookie_of_ours_is_counted_and_ignored() {
        let doorbells = doorbells(1);
        for cookie in [0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            assert_eq!(doorbells.ring(Cookie(cookie)), None);
        }
        assert_eq!(doorbells.spurious(), 5);
    }
}
