//! Guests: where a step of a program or a handler becomes instructions at the virtual CPU interface.

use gicv5_arch::sysreg::{ICC_CR0_EL1, PCR, SysReg};
use gicv5_arch::{Iaffid, IntId, IrsIntId};
use gicv5_hal::Pe;
use gicv5_hyp::Idle;
use gicv5_model::{ModelPe, PeIndex};

use super::{EFFECT_TICKS, Engine, Handling, Next, Vcpu, cost};
use crate::run::index::VcpuAt;
use crate::run::scenario::{Ns, ProgramStep, VcpuSpec};
use crate::run::story::Who;
use crate::run::vcpu_state::VcpuState;

impl Engine<'_> {
    /// A guest goes on for one step.
    pub(super) fn guest(&mut self, pe: PeIndex, at: VcpuAt) {
        {
            let run = &mut self.pes[pe];
            if !std::mem::replace(&mut run.in_guest, true) {
                run.free = run.free.max(self.now) + cost::ENTRY;
            }
        }
        if !self.vms[at].guest.booted {
            return self.boot(pe, at);
        }
        if self.vms[at].guest.handling.is_none() && self.machine.virtual_signals(self.pes[pe].ops.index()).irq {
            return self.acknowledge(pe, at);
        }
        let kind = self.vms[at.vm].kind;
        let Vcpu { guest, spec: VcpuSpec { program, .. }, .. } = &mut self.vms[at];
        if let Some(left) = guest.left {
            if left > 0 {
                return self.compute(pe, left);
            }
            guest.left = None;
            self.advance(at);
            return;
        }
        let step = match guest.handling {
            Some(Handling { id, spec, at: step, .. }) => {
                let step = spec.and_then(|spec| kind.interrupts.get(spec)).and_then(|spec| spec.handler.get(step));
                match step {
                    Some(step) => *step,
                    None => return self.deactivate(pe, at, id),
                }
            }
            None => match program.get(guest.at) {
                Some(step) if !self.over => *step,
                _ => ProgramStep::Wait,
            },
        };
        self.guest_step(pe, at, step);
    }

    /// The step is done; the next one is up.
    pub(super) fn advance(&mut self, at: VcpuAt) {
        let guest = &mut self.vms[at].guest;
        match &mut guest.handling {
            Some(handling) => handling.at += 1,
            None => guest.at += 1,
        }
    }

    pub(super) fn compute(&mut self, pe: PeIndex, time: Ns) {
        let run = &mut self.pes[pe];
        let start = run.free.max(self.now);
        run.computes = Some(start);
        run.free = start.saturating_add(time);
    }

    /// The guest on a PE does something with its CPU interface.
    pub(super) fn execute(&mut self, pe: PeIndex, cost: Ns, f: impl FnOnce(&Pe<'_, ModelPe>)) {
        let ops = self.pes[pe].ops.guest();
        let begun = self.begin(pe);
        f(&Pe::new(&ops));
        self.end(pe, begun, cost);
        let due = self.pes[pe].free + EFFECT_TICKS * self.scenario.machine.tick;
        if self.effects_due.is_none() {
            self.at(due, Next::Effects);
        }
        self.effects_due = self.effects_due.max(Some(due));
    }

    /// What a guest does first: it sets up its interrupts and enables its CPU interface.
    pub(super) fn boot(&mut self, pe: PeIndex, at: VcpuAt) {
        let (kind, spec) = (self.vms[at.vm].kind, self.vms[at].spec);
        let mine: Vec<_> = kind.interrupts.iter().filter(|spec| spec.vcpu == at.vcpu).collect();
        let (mask, vpe) = (spec.mask, spec.vpe);
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
        self.vms[at].guest.booted = true;
        let name = self.vcpu_name(at);
        self.story.tell(self.now, Who::Guest(name), || {
            let what = mine.iter().map(|spec| spec.id.to_string()).take(4).collect::<Vec<_>>().join(", ");
            let more = if mine.len() > 4 { ", ..." } else { "" };
            match mine.is_empty() {
                true => "boots: enables its CPU interface".to_owned(),
                false => format!("boots: sets up {what}{more} and enables its CPU interface"),
            }
        });
    }

    pub(super) fn acknowledge(&mut self, pe: PeIndex, at: VcpuAt) {
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
            self.tally.spurious(at.vm);
            return;
        };
        let name = self.vcpu_name(at);
        let now = self.pes[pe].free - cost::ACKNOWLEDGE;
        self.story.tell(now, Who::Guest(name), || format!("takes {id}"));
        self.picture.handler(now, at, id);
        self.tally.delivered(at, id, now);
        let spec = IrsIntId::try_from(id).ok().and_then(|id| self.vms[at.vm].specs.get(&id).copied());
        let guest = &mut self.vms[at].guest;
        guest.handling = Some(Handling { id, spec, at: 0, interrupted: guest.left.take() });
    }

    pub(super) fn deactivate(&mut self, pe: PeIndex, at: VcpuAt, id: IntId) {
        self.execute(pe, cost::INSTRUCTION, |pe| pe.cddi(id));
        let guest = &mut self.vms[at].guest;
        guest.left = guest.handling.take().and_then(|handling| handling.interrupted);
        let now = self.pes[pe].free;
        self.picture.handled(now, at);
        let name = self.vcpu_name(at);
        self.story.tell(now, Who::Guest(name), || format!("has handled {id}"));
    }

    pub(super) fn guest_step(&mut self, pe: PeIndex, at: VcpuAt, step: ProgramStep) {
        match step {
            ProgramStep::Run(time) => {
                self.vms[at].guest.left = Some(time);
                return self.compute(pe, time);
            }
            ProgramStep::Wait => return self.wait(pe, at),
            ProgramStep::Again => {
                self.vms[at].guest.at = 0;
                return;
            }
            ProgramStep::Send(id) => self.send(pe, at, id),
            ProgramStep::SendAny => {
                let lpis = self.vms[at.vm].kind.interrupts.iter().filter(|spec| matches!(spec.id, IrsIntId::Lpi(_)));
                let lpis: Vec<IrsIntId> = lpis.map(|spec| spec.id).collect();
                let n = self.random.below(lpis.len() as u64) as usize;
                if let Some(id) = lpis.get(n) {
                    self.send(pe, at, *id);
                }
            }
            ProgramStep::Mask(priority) => self.execute(pe, cost::INSTRUCTION, |pe| {
                pe.write_raw(SysReg::ICC_PCR_EL1, PCR::ZERO.with_priority(priority).raw_value());
            }),
            ProgramStep::Enable(id) => self.execute(pe, cost::INSTRUCTION, |pe| pe.cden(id)),
            ProgramStep::Disable(id) => self.execute(pe, cost::INSTRUCTION, |pe| {
                pe.cddis(id);
                pe.gsb_sys();
            }),
            ProgramStep::SetPriority(id, priority) => self.execute(pe, cost::INSTRUCTION, |pe| pe.cdpri(id, priority)),
            ProgramStep::Target(id, to) => {
                self.picture.target(at.vm, id, to);
                let to = Iaffid::new(self.vms[at.vm.vcpu(to)].spec.vpe.raw_value());
                self.execute(pe, cost::INSTRUCTION, |pe| pe.cdaff(id, to));
            }
            ProgramStep::Lower(id) => {
                // The guest's access to its device traps to the VMM, here and now.
                if self.vms[at.vm].high.remove(&id) {
                    self.leave_guest(pe);
                    self.tally.events += 1;
                    let name = self.vcpu_name(at);
                    self.story.tell(self.now, Who::Guest(name), || format!("has its device lower the wire of {id}"));
                    self.inject(pe, at.vm, id, None);
                }
            }
        }
        self.advance(at);
    }

    pub(super) fn send(&mut self, pe: PeIndex, at: VcpuAt, id: IrsIntId) {
        self.tally.injected(at.vm, id, self.is_level(at.vm, id), self.now);
        self.picture.raised(self.now, at.vm, id);
        self.picture.injected(self.now, pe, at.vm, id);
        let name = self.vcpu_name(at);
        self.story.tell(self.now, Who::Guest(name), || format!("sends {id} within its VM (CDPEND)"));
        self.execute(pe, cost::INSTRUCTION, |pe| {
            pe.dsb();
            pe.cdpend(id, true);
        });
    }

    /// The guest waits for an interrupt: the vCPU leaves the PE, and its doorbell will wake it.
    pub(super) fn wait(&mut self, pe: PeIndex, at: VcpuAt) {
        let ended = self.over || self.vms[at].spec.program.get(self.vms[at].guest.at).is_none();
        if !ended {
            self.vms[at].guest.at += 1;
        }
        self.leave_guest(pe);
        let ops = self.pes[pe].ops.clone();
        let begun = self.begin(pe);
        let idle = self.vms[at.vm].vm.idle(&Pe::new(&ops), at.vcpu);
        self.pes[pe].current = None;
        // The thread announces that it sleeps, and looks once more: a doorbell that rang since is not overlooked.
        self.vms[at].state = VcpuState::Asleep;
        let pending = self.vms[at.vm].vm.has_pending(at.vcpu);
        self.end(pe, begun, cost::SWITCH);
        let name = self.vcpu_name(at);
        match (idle, pending) {
            (Ok(Idle::Sleep), Ok(false)) => {
                let time = self.pes[pe].free;
                self.picture.vcpu(time, at, VcpuState::Asleep);
                self.story.tell(self.now, Who::Guest(name), || {
                    "waits for an interrupt: its doorbell is armed as it leaves".to_owned()
                });
            }
            (Ok(_), Ok(_)) => {
                self.story.tell(self.now, Who::Guest(name), || "waits, but has something to do already".to_owned());
                self.enqueue(pe, at);
            }
            (Err(error), _) | (_, Err(error)) => {
                self.failed(format!("{}: vCPU {} cannot sleep", self.name(at.vm), at.vcpu.0), &error);
                self.drop_vcpus(at.vm);
            }
        }
    }
}
