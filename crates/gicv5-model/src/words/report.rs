//! Where every part of the machine reports to.

use crate::words::basis::Basis;
use crate::words::clock::{Clock, Tick};
use crate::words::event::{Event, EventLog};
use crate::words::ids::PeIndex;
use crate::words::rules::{RemarkId, RuleId};
use crate::words::violation::{Checker, Place, Remark, Violation};

/// The clock, the checker and the event log of a machine, and for whom it acts: what every part of it is handed when it may have
/// something to report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The time.
    pub clock: Clock,
    /// The PE whose access, instruction or command is carried out; `None` for what no PE does.
    pub actor: Option<PeIndex>,
    /// Broken rules, and what comes close.
    pub checker: Checker,
    /// What happened.
    pub log: EventLog,
}

impl Report {
    /// The time.
    #[must_use]
    pub const fn now(&self) -> Tick {
        self.clock.now()
    }

    /// Reports an event. `event` is called only if somebody observes.
    #[inline]
    pub fn event(&mut self, event: impl FnOnce() -> Event) {
        if self.log.is_observed() {
            self.log.push(self.clock.now(), event());
        }
    }

    /// Reports that a rule is broken. `what` is called only if the checker takes it; it says what happened, in a clause
    /// that `at` and the place can follow.
    #[cold]
    pub fn violate(&mut self, rule: RuleId, place: Place, old: u64, new: u64, what: impl FnOnce() -> String) {
        if !self.checker.is_enabled() {
            return;
        }
        let violation = self.complaint(rule.id(), rule.basis(), place, (old, new), what());
        self.event(|| Event::Violation(Box::new(violation.clone())));
        self.checker.take(violation);
    }

    /// Remarks on something in view of a rule; `what` as for a violation.
    #[cold]
    pub fn remark(&mut self, rule: RemarkId, place: Place, old: u64, new: u64, what: impl FnOnce() -> String) {
        if !self.checker.is_enabled() {
            return;
        }
        let remark = Remark(self.complaint(rule.id(), rule.basis(), place, (old, new), what()));
        self.event(|| Event::Remark(Box::new(remark.clone())));
        self.checker.take_remark(remark);
    }

    fn complaint(
        &self,
        rule: &'static str,
        basis: Option<Basis>,
        place: Place,
        (old, new): (u64, u64),
        what: String,
    ) -> Violation {
        Violation { rule, basis, tick: self.clock.now(), pe: self.actor, place, old, new, what }
    }
}
