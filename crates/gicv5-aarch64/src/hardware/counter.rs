//! Time from the architected counter.

use core::arch::asm;
use core::time::Duration;

use gicv5_hal::Wait;

use crate::time;

/// What a PE does between two polls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pause {
    /// `YIELD`: a hint, which costs nothing. An emulator that runs one PE at a time takes it to run another one.
    #[default]
    Yield,
    /// `WFE`: the PE sleeps until an event, which saves power and bus traffic. An IRS sends none, so that something else must:
    /// [`stream_events`] on every PE that waits, or a wait never ends.
    WaitForEvent,
}

/// Time from the physical count, CNTPCT_EL0, which is one for all PEs. EL1 must be allowed to read it (CNTHCTL_EL2.EL1PCTEN). Where
/// firmware has left CNTFRQ_EL0 0, the count is taken as nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    pause: Pause,
}

impl Counter {
    /// Time, and what to do between two polls.
    #[must_use]
    pub const fn new(pause: Pause) -> Counter {
        Counter { pause }
    }
}

impl Wait for Counter {
    #[inline]
    fn relax(&self) {
        match self.pause {
            Pause::Yield => relax(),
            Pause::WaitForEvent => wait_for_event(),
        }
    }

    #[inline]
    fn now(&self) -> Duration {
        now()
    }
}

/// Time since the counter began to count.
#[inline]
#[must_use]
pub fn now() -> Duration {
    let (count, frequency): (u64, u64);
    // SAFETY: reads without an effect; the barrier keeps the count in its place in the program.
    unsafe {
        asm!("isb", "mrs {count}, cntpct_el0", "mrs {frequency}, cntfrq_el0",
            count = out(reg) count, frequency = out(reg) frequency, options(nostack));
    }
    // The upper half of CNTFRQ_EL0 is reserved.
    time::of_count(count, frequency as u32)
}

/// `YIELD`.
#[inline]
pub fn relax() {
    // SAFETY: a hint.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) }
}

/// `WFE`: waits until another PE or the event stream has something to say; may return without that.
#[inline]
pub fn wait_for_event() {
    // SAFETY: a hint.
    unsafe { asm!("wfe", options(nostack)) }
}

/// Has the counter wake this PE from [`wait_for_event`] whenever its bit 15 changes: about every millisecond at 62.5 MHz, every 66
/// microseconds at 1 GHz. At EL1 it writes CNTKCTL_EL1, at EL2 CNTHCTL_EL2, of which it changes EVNTEN, EVNTDIR and EVNTI alone.
pub fn stream_events() {
    const FIELDS: u64 = 0xf << 4 | 1 << 3 | 1 << 2;
    const EVENTS: u64 = 15 << 4 | 1 << 2;
    // SAFETY: events wake a PE from WFE, and nothing else follows from them. At EL2 the register of EL1 would do nothing.
    unsafe {
        match super::pe::exception_level() {
            2 => {
                asm!("mrs {c}, cnthctl_el2", "bic {c}, {c}, {fields}", "orr {c}, {c}, {events}", "msr cnthctl_el2, {c}", "isb",
                c = out(reg) _, fields = in(reg) FIELDS, events = in(reg) EVENTS, options(nostack))
            }
            _ => {
                asm!("mrs {c}, cntkctl_el1", "bic {c}, {c}, {fields}", "orr {c}, {c}, {events}", "msr cntkctl_el1, {c}", "isb",
                c = out(reg) _, fields = in(reg) FIELDS, events = in(reg) EVENTS, options(nostack))
            }
        }
    }
}
