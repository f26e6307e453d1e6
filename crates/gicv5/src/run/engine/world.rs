//! What the world does: where a moment of the scenario, or a source's event, becomes work for the host.

use gicv5_arch::IrsIntId;

use super::{Engine, Next, Work};
use crate::run::scenario::{Action, Ns, Pace};
use crate::run::story::Who;

impl Engine<'_> {
    pub(super) fn gap(&mut self, source: usize) -> Ns {
        match self.scenario.sources[source].pace {
            Pace::Every(time) => time,
            Pace::About(time) => 1 + self.sources[source].below(time.saturating_mul(2).max(1)),
        }
    }

    pub(super) fn source(&mut self, n: usize, count: u64) {
        let source = &self.scenario.sources[n];
        if self.now >= source.until {
            return;
        }
        let vms = source.vms.clone();
        let vm = vms.start + self.sources[n].below(vms.len() as u64) as usize;
        self.act(vm, Action::Raise(source.interrupt));
        if count < source.count {
            let time = self.now.saturating_add(self.gap(n));
            self.at(time, Next::Source(n, count + 1));
        }
    }

    /// The world does something; the host on some PE will have to deal with it.
    pub(super) fn act(&mut self, vm: usize, action: Action) {
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

    pub(super) fn is_level(&self, vm: usize, id: IrsIntId) -> bool {
        let spec = self.vms[vm].specs.get(&id).and_then(|n| self.kind(vm).interrupts.get(*n));
        spec.is_some_and(|spec| spec.mode == gicv5_arch::values::HandlingMode::Level)
    }

    pub(super) fn give(&mut self, pe: u16, work: Work) {
        self.pes[usize::from(pe)].work.push_back(work);
        self.wake(pe);
    }
}
