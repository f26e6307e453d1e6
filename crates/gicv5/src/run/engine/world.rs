//! What the world does: where a moment of the scenario, or a source's event, becomes work for the host.

use gicv5_arch::IrsIntId;
use gicv5_model::PeIndex;

use super::{Engine, Next, Work};
use crate::run::index::VmAt;
use crate::run::scenario::{Action, EventSource, Ns, Pace};
use crate::run::story::Who;

impl Engine<'_> {
    /// A source's next event comes this much after `time`.
    pub(super) fn source_comes(&mut self, n: usize, source: &EventSource, time: Ns, count: u64) {
        let Some(random) = self.sources.get_mut(n) else { return };
        let gap = match source.pace {
            Pace::Every(gap) => gap,
            Pace::About(gap) => 1 + random.below(gap.saturating_mul(2).max(1)),
        };
        self.at(time.saturating_add(gap), Next::Source(n, count));
    }

    /// A source has an event.
    pub(super) fn source(&mut self, n: usize, count: u64) {
        let (Some(source), Some(random)) = (self.scenario.sources.get(n), self.sources.get_mut(n)) else { return };
        if self.now >= source.until {
            return;
        }
        let chosen = random.below(source.vms.len() as u64) as usize;
        self.act(VmAt(source.vms.start + chosen), Action::Raise(source.interrupt));
        if count < source.count {
            self.source_comes(n, source, self.now, count + 1);
        }
    }

    /// The world does something; the host on some PE will have to deal with it.
    pub(super) fn act(&mut self, vm: VmAt, action: Action) {
        match action {
            Action::Raise(id) => {
                self.tally.events += 1;
                let level = self.is_level(vm, id);
                // A wire that is high already does not rise.
                if level && !self.vms[vm].high.insert(id) {
                    return;
                }
                self.picture.raised(self.now, vm, id);
                let name = self.name(vm);
                self.story.tell(self.now, Who::World, || match id {
                    IrsIntId::Spi(_) if level => format!("raises the wire of {id} of {name}"),
                    IrsIntId::Spi(_) => format!("sends an edge on {id} of {name}"),
                    IrsIntId::Lpi(_) => format!("sends {id} to {name}"),
                });
                return self.give(self.vms[vm].vmm, Work::Inject(vm, id, self.now));
            }
            Action::Lower(id) => {
                self.tally.events += 1;
                if !self.vms[vm].high.remove(&id) {
                    return;
                }
                let name = self.name(vm);
                self.story.tell(self.now, Who::World, || format!("lowers the wire of {id} of {name}"));
            }
            _ => {}
        }
        self.give(self.vms[vm].vmm, Work::Act(vm, action));
    }

    pub(super) fn is_level(&self, vm: VmAt, id: IrsIntId) -> bool {
        let spec = self.vms[vm].specs.get(&id).and_then(|n| self.vms[vm].kind.interrupts.get(*n));
        spec.is_some_and(|spec| spec.mode == gicv5_arch::values::HandlingMode::Level)
    }

    pub(super) fn give(&mut self, pe: PeIndex, work: Work) {
        self.pes[pe].work.push_back(work);
        self.wake(pe);
    }
}
