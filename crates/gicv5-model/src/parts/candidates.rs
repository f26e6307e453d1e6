//! Which interrupt of a target comes next: the candidates of an interrupt domain.
//!
//! Each target has 32 queues, one for each priority, and a word that says which of them are not empty. The queues are
//! linked through the states themselves, so that an interrupt enters and leaves its queue in constant time and the first
//! of the most urgent queue is the candidate: the cost of an event does not depend on how much is pending. Equally urgent
//! interrupts come in the order in which they became candidates, or the other way round: HPPI-4 leaves that open.

use std::mem;

use gicv5_arch::{Iaffid, IrsIntId, Priority};

use super::states::{Link, NIL, Slot, States, link, unlink};
use crate::words::config::Equals;

/// The candidates of one target.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Queues {
    first: [Link; 32],
    last: [Link; 32],
    /// Bit n is set while the queue of priority n is not empty.
    occupied: u32,
}

impl Queues {
    const EMPTY: Queues = Queues { first: [NIL; 32], last: [NIL; 32], occupied: 0 };
}

/// The queues of 64 targets with neighbouring IDs.
type TargetGroup = [Option<Box<Queues>>; 64];

/// Candidates by target, allocated where they are used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Targets {
    groups: Vec<Option<Box<TargetGroup>>>,
}

impl Targets {
    fn get(&self, target: Iaffid) -> Option<&Queues> {
        let target = usize::from(target.raw_value());
        self.groups.get(target / 64)?.as_deref()?.get(target % 64)?.as_deref()
    }

    fn get_or_insert(&mut self, target: Iaffid) -> Option<&mut Queues> {
        let target = usize::from(target.raw_value());
        if self.groups.len() <= target / 64 {
            self.groups.resize_with(target / 64 + 1, || None);
        }
        let group = self.groups.get_mut(target / 64)?.get_or_insert_with(|| Box::new([const { None }; 64]));
        Some(group.get_mut(target % 64)?.get_or_insert_with(|| Box::new(Queues::EMPTY)))
    }
}

/// Who competes for each target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidates {
    targets: Targets,
    equals: Equals,
}

impl Candidates {
    pub(super) fn new(equals: Equals) -> Candidates {
        Candidates { targets: Targets::default(), equals }
    }

    /// The most urgent candidate of a target, and its priority (HPPI-1).
    pub(super) fn most_urgent(&self, target: Iaffid) -> Option<(IrsIntId, Priority)> {
        let queues = self.targets.get(target)?;
        let priority = Priority::new(queues.occupied.trailing_zeros()).ok()?;
        let first = queues.first.get(usize::from(priority.number()))?;
        Some((unlink(*first), priority))
    }

    /// The priorities at which a target has candidates: bit n is set for priority n.
    pub(super) fn priorities(&self, target: Iaffid) -> u32 {
        self.targets.get(target).map_or(0, |queues| queues.occupied)
    }

    /// Makes an interrupt the first of its queue, if that is the most urgent one of its target. Returns the target.
    pub(super) fn prefer(&mut self, states: &mut States, id: IrsIntId) -> Option<Iaffid> {
        let link = link(id);
        let slot = states.slot(link)?;
        let (entry, queued) = (slot.entry, slot.is_queued());
        let (first, priority) = self.most_urgent(entry.iaffid())?;
        if !queued || priority != entry.priority() {
            return None;
        }
        if first != id {
            // The others keep their order.
            self.dequeue(states, link);
            self.enqueue_first(states, link);
        }
        Some(entry.iaffid())
    }

    /// Puts an interrupt into the queue of its target and priority.
    pub(super) fn enqueue(&mut self, states: &mut States, link: Link) {
        match self.equals {
            Equals::FirstCome => self.enqueue_last(states, link),
            Equals::LastCome => self.enqueue_first(states, link),
        }
    }

    /// Puts an interrupt at the start of the queue of its target and priority.
    fn enqueue_first(&mut self, states: &mut States, link: Link) {
        let Some(entry) = states.slot(link).map(|slot| slot.entry) else { return };
        let priority = usize::from(entry.priority().number());
        let Some(queues) = self.targets.get_or_insert(entry.iaffid()) else { return };
        let (Some(first), Some(last)) = (queues.first.get_mut(priority), queues.last.get_mut(priority)) else { return };
        let next = mem::replace(first, link);
        if next == NIL {
            *last = link;
        }
        queues.occupied |= 1 << priority;
        if let Some(slot) = states.slot_mut(next) {
            slot.previous = link;
        }
        if let Some(slot) = states.slot_mut(link) {
            (slot.previous, slot.next) = (NIL, next);
        }
    }

    /// Puts an interrupt at the end of the queue of its target and priority.
    fn enqueue_last(&mut self, states: &mut States, link: Link) {
        let Some(entry) = states.slot(link).map(|slot| slot.entry) else { return };
        let priority = usize::from(entry.priority().number());
        let Some(queues) = self.targets.get_or_insert(entry.iaffid()) else { return };
        let (Some(first), Some(last)) = (queues.first.get_mut(priority), queues.last.get_mut(priority)) else { return };
        let previous = mem::replace(last, link);
        if previous == NIL {
            *first = link;
        }
        queues.occupied |= 1 << priority;
        if let Some(slot) = states.slot_mut(previous) {
            slot.next = link;
        }
        if let Some(slot) = states.slot_mut(link) {
            (slot.previous, slot.next) = (previous, NIL);
        }
    }

    /// Takes an interrupt out of its queue.
    pub(super) fn dequeue(&mut self, states: &mut States, link: Link) {
        let Some(&Slot { entry, previous, next, .. }) = states.slot(link) else { return };
        if let Some(slot) = states.slot_mut(previous) {
            slot.next = next;
        }
        if let Some(slot) = states.slot_mut(next) {
            slot.previous = previous;
        }
        let priority = usize::from(entry.priority().number());
        let Some(queues) = self.targets.get_or_insert(entry.iaffid()) else { return };
        if let Some(first) = queues.first.get_mut(priority)
            && previous == NIL
        {
            *first = next;
            if next == NIL {
                queues.occupied &= !(1 << priority);
            }
        }
        if let Some(last) = queues.last.get_mut(priority)
            && next == NIL
        {
            *last = previous;
        }
        if let Some(slot) = states.slot_mut(link) {
            (slot.previous, slot.next) = (NIL, NIL);
        }
    }
}
