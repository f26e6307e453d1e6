//! When each PE goes on, and where simulated time advances.

use std::cmp::Reverse;

use gicv5_hal::Pe;
use gicv5_model::PeIndex;
use gicv5_model::clock::Tick;

use super::{EFFECT_TICKS, Engine, Next};
use crate::run::scenario::Ns;

impl Engine<'_> {
    pub(super) fn at(&mut self, time: Ns, next: Next) {
        self.queued += 1;
        self.queue.push(Reverse((time, self.queued, next)));
    }

    /// A PE goes on at this time, if not earlier.
    pub(super) fn schedule(&mut self, pe: PeIndex, time: Ns) {
        let run = &mut self.pes[pe];
        if run.next.is_some_and(|next| next <= time) {
            return;
        }
        run.epoch += 1;
        run.next = Some(time);
        let epoch = run.epoch;
        self.at(time, Next::Step(pe, epoch));
    }

    /// There is something to do on a PE: a computation is interrupted, anything else is finished first.
    pub(super) fn wake(&mut self, pe: PeIndex) {
        self.stop_computing(pe, self.now);
        let time = self.pes[pe].free.max(self.now);
        self.schedule(pe, time);
    }

    /// The guest on a PE computes no further than this.
    pub(super) fn stop_computing(&mut self, pe: PeIndex, time: Ns) {
        let run = &mut self.pes[pe];
        let Some(since) = run.computes.take() else { return };
        run.free = run.free.min(time.max(since));
        run.next = None;
        if let Some(at) = run.current {
            let free = run.free;
            let guest = &mut self.vms[at].guest;
            guest.left = guest.left.map(|left| left.saturating_sub(free - since));
        }
    }

    /// The host, or a guest, is about to do something on a PE. Returns the machine's time.
    pub(super) fn begin(&mut self, pe: PeIndex) -> Tick {
        self.base.go_to(pe);
        let now = Tick(self.now / self.scenario.machine.tick);
        let before = self.machine.now();
        if now > before {
            self.machine.advance(now.since(before));
            self.observe(self.now, self.machine.now());
        }
        self.machine.now()
    }

    /// It has been done: the PE is busy for as long as it took.
    pub(super) fn end(&mut self, pe: PeIndex, begun: Tick, cost: Ns) {
        let run = &mut self.pes[pe];
        let start = run.free.max(self.now);
        let waited = self.machine.now().since(begun).saturating_mul(self.scenario.machine.tick);
        run.free = start.saturating_add(cost).saturating_add(waited);
        self.latest = run.free;
        self.observe(start, begun);
    }

    /// Nothing is left to happen: every effect that is still under way comes now, and may give somebody something to do.
    pub(super) fn complete_effects(&mut self) {
        for pe in self.pes.indices() {
            let begun = self.begin(pe);
            Pe::new(&self.pes[pe].ops).gsb_sys();
            self.end(pe, begun, 0);
        }
    }

    /// It was to happen and will not: things have gone another way.
    pub(super) fn is_stale(&self, next: Next) -> bool {
        match next {
            Next::Step(pe, epoch) => {
                let run = &self.pes[pe];
                run.epoch != epoch || run.next.is_none()
            }
            Next::Slice(pe, epoch) => {
                let run = &self.pes[pe];
                run.slice_epoch != epoch || run.current.is_none() || run.queue.is_empty()
            }
            _ => false,
        }
    }

    /// What guests have started, and no barrier has completed, comes by itself.
    pub(super) fn effects_come(&mut self) {
        let begun = self.begin(PeIndex(0));
        // A library call may have made the machine's clock run ahead.
        self.machine.advance(EFFECT_TICKS);
        self.observe(self.now, begun);
        self.effects_due = match self.effects_due {
            Some(due) if due > self.now => {
                self.at(due, Next::Effects);
                Some(due)
            }
            _ => None,
        };
    }
}
