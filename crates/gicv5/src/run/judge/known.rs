//! What is known about an interrupt and a VPE, from the instructions that change them and may not have come yet.

use gicv5_arch::values::HandlingMode;
use gicv5_arch::{ActivePriorities, Priority, VpeId};
use gicv5_model::PeIndex;
use gicv5_model::clock::Tick;

/// More effects of instructions than this are not in flight: the oldest has come.
const IN_FLIGHT: usize = 8;

/// A value that instructions change some time after they are executed.
#[derive(Clone, Debug)]
pub(super) struct Doubt<T> {
    pub(super) settled: T,
    pub(super) flying: Vec<(PeIndex, T)>,
}

impl<T: Copy + PartialEq> Doubt<T> {
    pub(super) fn new(settled: T) -> Doubt<T> {
        Doubt { settled, flying: Vec::new() }
    }

    pub(super) fn write(&mut self, pe: PeIndex, value: T) {
        self.flying.push((pe, value));
        if self.flying.len() > IN_FLIGHT {
            self.settled = self.flying.remove(0).1;
        }
    }

    pub(super) fn settle(&mut self, of: impl Fn(PeIndex) -> bool) {
        let Doubt { settled, flying } = self;
        flying.retain(|(pe, value)| {
            if of(*pe) {
                *settled = *value;
            }
            !of(*pe)
        });
    }

    pub(super) fn may(&self, holds: impl Fn(T) -> bool) -> bool {
        holds(self.settled) || self.flying.iter().any(|(_, value)| holds(*value))
    }
}

/// Whether an interrupt is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pend {
    No,
    /// An event may have been merged into one that has been delivered.
    Maybe,
    Yes,
}

/// An event that sets or clears Pending and may not have come yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flying {
    pub(super) pe: PeIndex,
    pub(super) pending: bool,
    /// An acknowledge since may have taken it along.
    pub(super) taken: bool,
}

/// What is known about an interrupt of a VM.
#[derive(Clone, Debug)]
pub(super) struct Interrupt {
    pub(super) pend: Pend,
    pub(super) events: Vec<Flying>,
    pub(super) active: Doubt<bool>,
    pub(super) enabled: Doubt<bool>,
    pub(super) mode: Doubt<HandlingMode>,
    pub(super) priority: Doubt<Priority>,
    pub(super) target: Doubt<VpeId>,
    /// When it was taken last, and by which VPE.
    pub(super) taken: Option<(Tick, VpeId)>,
    pub(super) injected: u64,
    pub(super) delivered: u64,
    /// Only edges, and none withdrawn: then what was injected and not delivered was merged.
    pub(super) edges: bool,
}

impl Interrupt {
    /// As an entry of zeros is (IST-24).
    pub(super) fn new() -> Interrupt {
        Interrupt {
            pend: Pend::No,
            events: Vec::new(),
            active: Doubt::new(false),
            enabled: Doubt::new(false),
            mode: Doubt::new(HandlingMode::Edge),
            priority: Doubt::new(Priority::MOST_URGENT),
            target: Doubt::new(VpeId::new(0)),
            taken: None,
            injected: 0,
            delivered: 0,
            edges: true,
        }
    }

    pub(super) fn event(&mut self, pe: PeIndex, pending: bool) {
        self.injected += u64::from(pending);
        self.edges &= pending;
        self.events.push(Flying { pe, pending, taken: false });
        if self.events.len() > IN_FLIGHT {
            let first = self.events.remove(0);
            self.come(first);
        }
    }

    pub(super) fn come(&mut self, event: Flying) {
        self.pend = match (event, self.pend) {
            (Flying { pending: false, .. }, _) => Pend::No,
            (Flying { taken: true, .. }, Pend::No) => Pend::Maybe,
            (Flying { taken: true, .. }, before) => before,
            _ => Pend::Yes,
        };
    }

    pub(super) fn settle(&mut self, of: impl Fn(PeIndex) -> bool) {
        for event in std::mem::take(&mut self.events) {
            match of(event.pe) {
                true => self.come(event),
                false => self.events.push(event),
            }
        }
        self.active.settle(&of);
        self.enabled.settle(&of);
        self.mode.settle(&of);
        self.priority.settle(&of);
        self.target.settle(&of);
    }

    /// How many events were merged into others, if nothing is under way any more.
    pub(super) fn merged(&self) -> u64 {
        let left = u64::from(self.pend == Pend::Yes);
        if self.edges { self.injected.saturating_sub(self.delivered + left) } else { 0 }
    }

    pub(super) fn may_be_pending(&self) -> bool {
        self.pend != Pend::No || self.events.iter().any(|event| event.pending)
    }

    /// A VPE has acknowledged it.
    pub(super) fn take(&mut self, tick: Tick, by: VpeId) {
        self.delivered += 1;
        self.taken = Some((tick, by));
        self.active = Doubt::new(true);
        // Of a level the source keeps it pending (ISM-4).
        if self.mode.may(|mode| mode == HandlingMode::Edge) {
            let (before, level) = (self.pend, self.mode.may(|mode| mode == HandlingMode::Level));
            self.pend = if level && self.pend != Pend::No { Pend::Maybe } else { Pend::No };
            // If nothing had come for certain, one of those under way has; each can be taken once.
            let first = self.events.iter().position(|event| event.pending);
            if before == Pend::No
                && !level
                && let Some(first) = first
            {
                self.events.remove(first);
            }
            for event in &mut self.events {
                event.taken |= event.pending;
            }
        }
    }
}

/// A request to be woken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) mask: Priority,
}

/// What is known about a VPE.
#[derive(Clone, Debug, Default)]
pub(super) struct Vpe {
    pub(super) request: Option<Request>,
    pub(super) enabled: bool,
    pub(super) mask: Option<Priority>,
    pub(super) active: Option<ActivePriorities>,
    /// When its guest began last.
    pub(super) begun: Option<Tick>,
}

impl Vpe {
    pub(super) fn active(&self) -> ActivePriorities {
        self.active.unwrap_or(ActivePriorities::new_with_raw_value(0))
    }

    /// Whether the guest wants interrupts of this priority.
    pub(super) fn is_open_to(&self, priority: Priority) -> bool {
        self.enabled && self.mask.is_some_and(|mask| priority.passes(mask))
    }

    /// Whether an interrupt of this priority comes through now.
    pub(super) fn lets(&self, priority: Priority) -> bool {
        self.is_open_to(priority) && priority.preempts(self.active().running())
    }
}
