//! Guests: where a step of a program or a handler becomes instructions at the virtual CPU interface.

use gicv5_arch::sysreg::{ICC_CR0_EL1, PCR, SysReg};
use gicv5_arch::{Iaffid, IntId, IrsIntId};
use gicv5_hal::Pe;
use gicv5_hyp::{Idle, VcpuIndex};
use gicv5_model::ModelPe;

use super::{EFFECT_TICKS, Engine, Handling, Next, Place, cost};
use crate::run::picture::VcpuMark;
use crate::run::scenario::{Ns, Step};
use crate::run::story::Who;

impl Engine<'_> {
    /// A guest goes on for one step.
    pub(super) fn guest(&mut self, pe: u16, vm: usize, vcpu: usize) {
        {
            let run = &mut self.pes[usize::from(pe)];
            if !std::mem::replace(&mut run.in_guest, true) {
                run.free = run.free.max(self.now) + cost::ENTRY;
            }
        }
        if !self.vms[vm].vcpus[vcpu].guest.booted {
            return self.boot(pe, vm, vcpu);
        }
        if self.vms[vm].vcpus[vcpu].guest.handling.is_none()
            && self.machine.virtual_signals(self.pes[usize::from(pe)].ops.index()).irq
        {
            return self.acknowledge(pe, vm, vcpu);
        }
        let kind = self.kind(vm);
        let guest = &mut self.vms[vm].vcpus[vcpu].guest;
        if let Some(left) = guest.left {
            if left > 0 {
                return self.compute(pe, left);
            }
            guest.left = None;
            self.advance(vm, vcpu);
            return;
        }
        let step = match guest.handling {
            Some(Handling { id, spec, at, .. }) => {
                let step = spec.and_then(|spec| kind.interrupts.get(spec)).and_then(|spec| spec.handler.get(at));
                match step {
                    Some(step) => *step,
                    None => return self.deactivate(pe, vm, vcpu, id),
                }
            }
            None => match kind.vcpus[vcpu].program.get(guest.at) {
                Some(step) if !self.over => *step,
                _ => Step::Wait,
            },
        };
        self.guest_step(pe, vm, vcpu, step);
    }

    /// The step is done; the next one is up.
    pub(super) fn advance(&mut self, vm: usize, vcpu: usize) {
        let guest = &mut self.vms[vm].vcpus[vcpu].guest;
        match &mut guest.handling {
            Some(handling) => handling.at += 1,
            None => guest.at += 1,
        }
    }

    pub(super) fn compute(&mut self, pe: u16, time: Ns) {
        let run = &mut self.pes[usize::from(pe)];
        let start = run.free.max(self.now);
        run.computes = Some(start);
        run.free = start.saturating_add(time);
    }

    /// The guest on a PE does something with its CPU interface.
    pub(super) fn execute(&mut self, pe: u16, cost: Ns, f: impl FnOnce(&Pe<'_, ModelPe>)) {
        let ops = self.pes[usize::from(pe)].ops.guest();
        let begun = self.begin(pe);
        f(&Pe::new(&ops));
        self.end(pe, begun, cost);
        let due = self.pes[usize::from(pe)].free + EFFECT_TICKS * self.scenario.machine.tick;
        if self.effects_due.is_none() {
            self.at(due, Next::Effects);
        }
        self.effects_due = self.effects_due.max(Some(due));
    }

    /// What a guest does first: it sets up its interrupts and enables its CPU interface.
    pub(super) fn boot(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let kind = self.kind(vm);
        let mine: Vec<_> = kind.interrupts.iter().filter(|spec| spec.vcpu == vcpu).collect();
        let (mask, vpe) = (kind.vcpus[vcpu].mask, kind.vcpus[vcpu].vpe);
        let cost = cost::INSTRUCTION * (6 + 4 * mine.len() as Ns);
        self.execute(pe, cost, |pe| {
            pe.write_raw(SysReg::ICC_APR_EL1, 0);
            pe.write_raw(SysReg::ICC_PCR_EL1, PCR::ZERO.with_priority(mask).raw_value());
            for spec in &mine {
                pe.cdpri(spec.id, spec.priority);
                pe.cdhm(spec.id, spec.mode);
                pe.cdaff(spec.id, Iaffid::new(vpe.raw_value()));
                if spec.enabled {
                    pe.cden(spec.id);
                }
            }
            pe.gsb_sys();
            pe.write(ICC_CR0_EL1::ZERO.with_en(true));
            pe.isb();
        });
        self.vms[vm].vcpus[vcpu].guest.booted = true;
        let name = self.name(vm);
        self.story.tell(self.now, Who::Guest(name, vcpu), || {
            let what = mine.iter().map(|spec| spec.id.to_string()).take(4).collect::<Vec<_>>().join(", ");
            let more = if mine.len() > 4 { ", ..." } else { "" };
            match mine.is_empty() {
                true => "boots: enables its CPU interface".to_owned(),
                false => format!("boots: sets up {what}{more} and enables its CPU interface"),
            }
        });
    }

    pub(super) fn acknowledge(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let mut taken = None;
        self.execute(pe, cost::ACKNOWLEDGE, |pe| {
            taken = pe.cdia().int_id();
            if taken.is_some() {
                pe.gsb_ack();
                pe.isb();
                pe.cdeoi();
            }
        });
        let Some(id) = taken else {
            self.tally.spurious(vm);
            return;
        };
        let name = self.name(vm);
        let now = self.pes[usize::from(pe)].free - cost::ACKNOWLEDGE;
        self.story.tell(now, Who::Guest(name, vcpu), || format!("takes {id}"));
        self.picture.handler(now, vm, vcpu, id);
        self.tally.delivered(vm, vcpu, id, now);
        let spec = IrsIntId::try_from(id).ok().and_then(|id| self.vms[vm].specs.get(&id).copied());
        let guest = &mut self.vms[vm].vcpus[vcpu].guest;
        guest.handling = Some(Handling { id, spec, at: 0, interrupted: guest.left.take() });
    }

    pub(super) fn deactivate(&mut self, pe: u16, vm: usize, vcpu: usize, id: IntId) {
        self.execute(pe, cost::INSTRUCTION, |pe| pe.cddi(id));
        let guest = &mut self.vms[vm].vcpus[vcpu].guest;
        guest.left = guest.handling.take().and_then(|handling| handling.interrupted);
        let now = self.pes[usize::from(pe)].free;
        self.picture.handled(now, vm, vcpu);
        let name = self.name(vm);
        self.story.tell(now, Who::Guest(name, vcpu), || format!("has handled {id}"));
    }

    pub(super) fn guest_step(&mut self, pe: u16, vm: usize, vcpu: usize, step: Step) {
        match step {
            Step::Run(time) => {
                self.vms[vm].vcpus[vcpu].guest.left = Some(time);
                return self.compute(pe, time);
            }
            Step::Wait => return self.wait(pe, vm, vcpu),
            Step::Again => {
                self.vms[vm].vcpus[vcpu].guest.at = 0;
                return;
            }
            Step::Send(id) => self.send(pe, vm, vcpu, id),
            Step::SendAny => {
                let lpis = self.kind(vm).interrupts.iter().filter(|spec| matches!(spec.id, IrsIntId::Lpi(_)));
                let lpis: Vec<IrsIntId> = lpis.map(|spec| spec.id).collect();
                let n = self.random.below(lpis.len() as u64) as usize;
                if let Some(id) = lpis.get(n) {
                    self.send(pe, vm, vcpu, *id);
                }
            }
            Step::Mask(priority) => self.execute(pe, cost::INSTRUCTION, |pe| {
                pe.write_raw(SysReg::ICC_PCR_EL1, PCR::ZERO.with_priority(priority).raw_value());
            }),
            Step::Enable(id) => self.execute(pe, cost::INSTRUCTION, |pe| pe.cden(id)),
            Step::Disable(id) => self.execute(pe, cost::INSTRUCTION, |pe| {
                pe.cddis(id);
                pe.gsb_sys();
            }),
            Step::SetPriority(id, priority) => self.execute(pe, cost::INSTRUCTION, |pe| pe.cdpri(id, priority)),
            Step::Target(id, to) => {
                self.picture.target(vm, id, to);
                let to = Iaffid::new(self.kind(vm).vcpus[to].vpe.raw_value());
                self.execute(pe, cost::INSTRUCTION, |pe| pe.cdaff(id, to));
            }
            Step::Lower(id) => {
                // The guest's access to its device traps to the VMM, here and now.
                if self.vms[vm].high.remove(&id) {
                    self.leave_guest(pe);
                    self.tally.events += 1;
                    let name = self.name(vm);
                    self.story
                        .tell(self.now, Who::Guest(name, vcpu), || format!("has its device lower the wire of {id}"));
                    self.inject(pe, vm, id, None);
                }
            }
        }
        self.advance(vm, vcpu);
    }

    pub(super) fn send(&mut self, pe: u16, vm: usize, vcpu: usize, id: IrsIntId) {
        self.tally.injected(vm, id, self.is_level(vm, id), self.now);
        self.picture.raised(self.now, vm, id);
        self.picture.injected(self.now, pe, vm, id);
        let name = self.name(vm);
        self.story.tell(self.now, Who::Guest(name, vcpu), || format!("sends {id} within its VM (CDPEND)"));
        self.execute(pe, cost::INSTRUCTION, |pe| {
            pe.dsb();
            pe.cdpend(id, true);
        });
    }

    /// The guest waits for an interrupt: the vCPU leaves the PE, and its doorbell will wake it.
    pub(super) fn wait(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let ended = self.over || self.kind(vm).vcpus[vcpu].program.get(self.vms[vm].vcpus[vcpu].guest.at).is_none();
        if !ended {
            self.vms[vm].vcpus[vcpu].guest.at += 1;
        }
        self.leave_guest(pe);
        let ops = self.pes[usize::from(pe)].ops.clone();
        let begun = self.begin(pe);
        let idle = self.vms[vm].vm.idle(&Pe::new(&ops), VcpuIndex(vcpu));
        self.pes[usize::from(pe)].current = None;
        // The thread announces that it sleeps, and looks once more: a doorbell that rang since is not overlooked.
        self.vms[vm].vcpus[vcpu].place = Place::Asleep;
        let pending = self.vms[vm].vm.has_pending(VcpuIndex(vcpu));
        self.end(pe, begun, cost::SWITCH);
        let name = self.name(vm);
        match (idle, pending) {
            (Ok(Idle::Sleep), Ok(false)) => {
                let time = self.pes[usize::from(pe)].free;
                self.picture.vcpu(time, vm, vcpu, VcpuMark::Asleep);
                self.story.tell(self.now, Who::Guest(name, vcpu), || {
                    "waits for an interrupt: its doorbell is armed as it leaves".to_owned()
                });
            }
            (Ok(_), Ok(_)) => {
                self.story
                    .tell(self.now, Who::Guest(name, vcpu), || "waits, but has something to do already".to_owned());
                self.enqueue(pe, vm, vcpu);
            }
            (Err(error), _) | (_, Err(error)) => {
                self.failed(format!("{name}: vCPU {vcpu} cannot sleep"), &error);
                self.drop_vcpus(vm);
            }
        }
    }
}
