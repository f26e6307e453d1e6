//! A run from beginning to end: bring-up, one event after the other, and what is left after teardown.

use std::cmp::Reverse;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use gicv5_arch::layout::fields_mask;
use gicv5_arch::sysreg::{ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, SysReg};
use gicv5_hal::Pe;
use gicv5_model::PeIndex;

use super::{Ending, Engine, Hopeless, Next, Work};
use crate::failure::chain;
use crate::output::count;
use crate::run::index::VmAt;
use crate::run::scenario::{Action, Ns};
use crate::run::story::Who;
use crate::run::tally::Tally;

/// Two looks at whether somebody pressed Ctrl-C.
const BETWEEN_LOOKS: u64 = 256;

impl Engine<'_> {
    /// Brings the physical side and the host up.
    pub(super) fn bring_up(&mut self) -> Result<(), Hopeless> {
        let hopeless = |what| move |error: &dyn Error| Hopeless { what, why: chain(error) };
        let begun = self.begin(PeIndex(0));
        self.phys.bring_up().map_err(|error| hopeless("the physical driver does not come up")(&error))?;
        self.end(PeIndex(0), begun, 0);
        for pe in self.pes.indices() {
            let begun = self.begin(pe);
            let ops = self.pes[pe].ops.clone();
            let index = self.phys.bring_up_pe(&Pe::new(&ops));
            let index = index.map_err(|error| hopeless("a PE does not come up")(&error))?;
            self.pes[pe].host_pe = Some(index);
            // Which accesses of guests trap is not the library's affair (INS-20). Here none does.
            let token = Pe::new(&ops);
            token.write_raw(SysReg::ICH_HFGRTR_EL2, fields_mask(ICH_HFGRTR_EL2::FIELDS));
            token.write_raw(SysReg::ICH_HFGWTR_EL2, fields_mask(ICH_HFGWTR_EL2::FIELDS));
            token.write_raw(SysReg::ICH_HFGITR_EL2, fields_mask(ICH_HFGITR_EL2::FIELDS));
            token.isb();
            self.end(pe, begun, 0);
        }
        let begun = self.begin(PeIndex(0));
        self.host.bring_up().map_err(|error| hopeless("the hypervisor's library does not come up")(&error))?;
        self.end(PeIndex(0), begun, 0);
        let machine = &self.scenario.machine;
        let limit = self.host.vm_limit();
        self.story.tell(0, Who::Host(PeIndex(0)), || {
            let coherent = if machine.coherent { "sees" } else { "does not see" };
            let pes = count(machine.pes.into(), "PE");
            format!("is up: {pes}, room for {}; the IRS {coherent} the caches", count(limit.into(), "VM"))
        });
        Ok(())
    }

    pub(in crate::run) fn run(
        mut self,
        interrupted: &AtomicBool,
        mut look: impl FnMut(Ns, &Tally),
    ) -> Result<Ending, Hopeless> {
        let before = self.machine.snapshot();
        if let Err(hopeless) = self.bring_up() {
            if self.scenario.faults.is_empty() {
                return Err(hopeless);
            }
            // What somebody planned is a result.
            self.failed_because(hopeless.what.to_owned(), hopeless.why);
            return Ok(self.finish(true, false, &before));
        }
        for kind in &self.scenario.kinds {
            if let Some(time) = kind.starts {
                for vm in kind.members.clone().map(VmAt) {
                    self.at(time, Next::Start(vm));
                }
            }
        }
        for (n, moment) in self.scenario.moments.iter().enumerate() {
            self.at(moment.time, Next::Moment(n));
        }
        for (n, source) in self.scenario.sources.iter().enumerate() {
            self.source_comes(n, source, source.from, 1);
        }
        let mut stopped = false;
        let mut settled = true;
        let mut steps: u64 = 0;
        let last = self.scenario.duration.saturating_add(self.scenario.settle);
        while let Some(Reverse((time, _, next))) = self.queue.pop() {
            if self.is_stale(next) {
                continue;
            }
            if time > last {
                settled = false;
                break;
            }
            self.now = time;
            self.over |= time > self.scenario.duration;
            self.happen(next);
            steps += 1;
            if steps.is_multiple_of(BETWEEN_LOOKS) {
                look(self.now, &self.tally);
                if interrupted.load(Ordering::Relaxed) {
                    stopped = true;
                    break;
                }
            }
            if self.queue.iter().all(|Reverse((.., next))| self.is_stale(*next)) {
                self.complete_effects();
            }
        }
        if settled && !stopped {
            self.judge.quiet(self.machine.now());
        }
        Ok(self.finish(settled, stopped, &before))
    }

    pub(super) fn happen(&mut self, next: Next) {
        match next {
            Next::Step(pe, _) => {
                self.pes[pe].next = None;
                self.step(pe);
            }
            Next::Wake(pe) => self.wake(pe),
            Next::Effects => self.effects_come(),
            Next::Slice(pe, _) => {
                self.tally.events += 1;
                self.pes[pe].slice_over = true;
                self.wake(pe);
            }
            Next::Start(vm) => self.act(vm, Action::Create),
            Next::Moment(n) => {
                let Some(moment) = self.scenario.moments.get(n) else { return };
                if moment.vms.is_empty() {
                    self.give(PeIndex(0), Work::Act(VmAt(0), moment.action));
                }
                for vm in moment.vms.clone().map(VmAt) {
                    self.act(vm, moment.action);
                }
            }
            Next::Source(n, count) => self.source(n, count),
        }
    }

    /// Tears everything down and looks at what is left.
    pub(super) fn finish(
        mut self,
        settled: bool,
        interrupted: bool,
        before: &gicv5_model::account::Snapshot,
    ) -> Ending {
        let simulated = self.now.max(if interrupted { 0 } else { self.scenario.duration });
        self.story.tell(self.now, Who::World, || match (interrupted, settled) {
            (true, _) => "is interrupted; now everything is torn down".to_owned(),
            (_, true) => "is over, and nothing happens any more; now everything is torn down".to_owned(),
            (_, false) => "is over, but things go on happening; now everything is torn down".to_owned(),
        });
        for pe in self.pes.indices() {
            self.leave_guest(pe);
            self.pes[pe].computes = None;
            if let Some(at) = self.pes[pe].current {
                self.put(pe, at);
            }
        }
        let mut leaks = Vec::new();
        for vm in self.vms.indices() {
            if self.vms[vm].vm.id().is_some() {
                self.destroy(PeIndex(0), vm);
            }
        }
        if self.host.holdings().quarantined > 0 {
            self.reclaim(PeIndex(0));
        }
        let quarantined = u64::from(self.host.holdings().quarantined);
        let begun = self.begin(PeIndex(0));
        let down = self.host.shut_down();
        self.end(PeIndex(0), begun, 0);
        if let Err(error) = down {
            leaks.push(format!("the hypervisor's library: {}", chain(&error)));
        }
        for vm in self.vms.indices() {
            self.tally.forget(vm);
        }
        for pe in self.pes.indices() {
            if self.pes[pe].host_pe.is_none() {
                continue;
            }
            let ops = self.pes[pe].ops.clone();
            let begun = self.begin(pe);
            let down = self.phys.bring_down_pe(&Pe::new(&ops));
            self.end(pe, begun, 0);
            if let Err(error) = down {
                leaks.push(format!("{pe}: {}", chain(&error)));
            }
        }
        let begun = self.begin(PeIndex(0));
        let down = self.phys.tear_down();
        self.end(PeIndex(0), begun, 0);
        if let Err(error) = down {
            leaks.push(format!("the physical driver: {}", chain(&error)));
        }
        let account = self.machine.account(before);
        let end = self.now;
        self.picture.finish(end);
        Ending {
            simulated,
            settled,
            interrupted,
            quarantined,
            leaks,
            account,
            errors: self.errors,
            judge: self.judge,
            tally: self.tally,
            story: self.story,
            picture: self.picture,
            not_struck: self.machine.planned_faults().len(),
        }
    }
}
