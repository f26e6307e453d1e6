//! What the machine tells: to the judge, and into tally, story and picture.

use std::error::Error;

use gicv5_arch::{VmId, VpeId};
use gicv5_model::clock::Tick;
use gicv5_model::event::{Event, Signal};

use super::{Engine, Failed, Next};
use crate::failure::chain;
use crate::run::index::VcpuAt;
use crate::run::scenario::Ns;
use crate::run::story::Who;
use crate::run::vcpu_state::VcpuState;

impl Engine<'_> {
    /// Looks at what the machine has to tell, which began at this time.
    pub(super) fn observe(&mut self, start: Ns, begun: Tick) {
        for (tick, event) in self.machine.take_events() {
            let ns = start.saturating_add(tick.since(begun).saturating_mul(self.scenario.machine.tick));
            self.judge.event(tick, &event);
            self.notice(ns, &event);
        }
        for (pe, ns) in std::mem::take(&mut self.woken) {
            match ns > self.now {
                true => self.at(ns, Next::Wake(pe)),
                false => self.wake(pe),
            }
        }
    }

    pub(super) fn notice(&mut self, ns: Ns, event: &Event) {
        match *event {
            Event::Instruction { .. } | Event::CommandStarted { .. } | Event::SpiWire { .. } => self.tally.events += 1,
            Event::Residency { pe, vm, vpe, resident } => {
                self.tally.events += 1;
                if let Some(at) = self.find(vm, vpe) {
                    self.tally.resident(at.vm, resident);
                    if resident && let Some(rang) = self.vms[at].rang.take() {
                        self.tally.woken(at, ns.saturating_sub(rang));
                    }
                    self.picture.vcpu(ns, at, if resident { VcpuState::Resident(pe) } else { VcpuState::Absent });
                    let what = if resident { "becomes resident on" } else { "leaves" };
                    let name = self.vcpu_name(at);
                    self.story.tell(ns, Who::Host(pe), || format!("{name} {what} {pe}"));
                }
            }
            Event::Doorbell { vm, vpe, lpi } => {
                if let Some(at) = self.find(vm, vpe) {
                    self.tally.doorbell(at);
                    self.vms[at].rang = Some(ns);
                    self.picture.doorbell(ns, at);
                    let name = self.vcpu_name(at);
                    self.story
                        .tell(ns, Who::Irs, || format!("rings the doorbell of {name}, which is {lpi} of the host"));
                }
            }
            Event::Signal { pe, signal: Signal::Irq | Signal::VirtualIrq, asserted: true } => {
                self.woken.push((pe, ns));
            }
            Event::Allocated { size, .. } => self.tally.allocated(size),
            Event::Freed { size, .. } => self.tally.freed(size),
            Event::Fault { point, fault } => {
                self.story.tell(ns, Who::Irs, || format!("{} {fault}, as planned", point.request));
            }
            Event::Violation(ref violation) => {
                self.story.tell(ns, Who::Checker, || violation.to_string());
            }
            Event::Remark(ref remark) => self.story.tell(ns, Who::Remarks, || remark.to_string()),
            _ => {}
        }
        self.story.detail(ns, event);
    }

    /// The vCPU that the hardware calls so.
    pub(super) fn find(&self, vm: VmId, vpe: VpeId) -> Option<VcpuAt> {
        let vm = *self.by_id.get(&vm)?;
        let vcpus = &self.vms[vm].vcpus;
        // The IDs ascend: a vCPU is at the place of its ID or before it.
        let guess = usize::from(vpe.raw_value());
        let guess = vcpus.indices().nth(guess).filter(|vcpu| vcpus[*vcpu].spec.vpe == vpe);
        Some(vm.vcpu(guess.or_else(|| vcpus.indices().find(|vcpu| vcpus[*vcpu].spec.vpe == vpe))?))
    }

    pub(super) fn failed(&mut self, what: String, error: &dyn Error) {
        self.failed_because(what, chain(error));
    }

    pub(super) fn failed_because(&mut self, what: String, why: String) {
        // It was not known before the call had ended.
        let ns = self.latest.max(self.now);
        self.story.tell(ns, Who::Error, || format!("{what}: {why}"));
        self.errors.push(Failed { ns, what, why });
    }
}
