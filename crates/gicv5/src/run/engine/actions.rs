//! The host's work: where a scenario's action becomes an access to the machine, by a call of the libraries.

use gicv5_arch::{IrsIntId, VmId, VpeId};
use gicv5_hal::Pe;
use gicv5_hyp::{Pending, VmSpec};
use gicv5_model::PeIndex;

use super::{Engine, Guest, Work, cost};
use crate::failure::chain;
use crate::output::count;
use crate::run::index::{VcpuAt, VmAt};
use crate::run::scenario::{Action, Ns};
use crate::run::story::Who;
use crate::run::vcpu_state::VcpuState;

impl Engine<'_> {
    pub(super) fn work(&mut self, pe: PeIndex, work: Work) {
        match work {
            Work::Launch(vm) => self.launch(pe, vm),
            Work::PutOff(at) => {
                if self.vms[at].state == VcpuState::Resident(pe) {
                    self.put(pe, at);
                }
            }
            Work::Inject(vm, id, raised) => self.inject(pe, vm, id, Some(raised)),
            Work::Act(vm, action) => match action {
                Action::Raise(id) => self.inject(pe, vm, id, Some(self.now)),
                Action::Lower(id) => self.inject(pe, vm, id, None),
                Action::Create => self.create(pe, vm),
                Action::Destroy => self.destroy(pe, vm),
                Action::Reset(vcpu) => self.reset(pe, vm.vcpu(vcpu)),
                Action::Migrate(vcpu, to) => self.migrate(pe, vm.vcpu(vcpu), to),
                Action::Preempt(vcpu) => self.preempt(pe, vm.vcpu(vcpu)),
                Action::Reclaim => self.reclaim(pe),
                Action::Recover => {
                    self.machine.recover();
                    let begun = self.begin(pe);
                    self.end(pe, begun, 0);
                    self.story.tell(self.now, Who::Irs, || "answers again".to_owned());
                }
            },
        }
    }

    /// Makes an interrupt pending whose event happened at `raised`; without one, its wire has fallen.
    pub(super) fn inject(&mut self, pe: PeIndex, vm: VmAt, id: IrsIntId, raised: Option<Ns>) {
        if self.vms[vm].vm.id().is_none() {
            // Without a VM there is nobody to hold the interrupt for.
            return;
        }
        let level = self.is_level(vm, id);
        if level && raised.is_some() != self.vms[vm].high.contains(&id) {
            // The wire has changed again since, and the VMM looks at the wire.
            return;
        }
        let name = self.name(vm);
        let (what, pending) = match raised {
            Some(_) => ("injects", Pending::Set),
            None => ("withdraws", Pending::Clear),
        };
        self.story.tell(self.now, Who::Host(pe), || format!("{what} {id} of {name} (VDPEND)"));
        if raised.is_some() {
            self.picture.injected(self.now, pe, vm, id);
        }
        let ops = self.pes[pe].ops.clone();
        let begun = self.begin(pe);
        let token = Pe::new(&ops);
        token.dsb();
        let injected = self.vms[vm].vm.inject(&token, id.into(), pending);
        self.end(pe, begun, cost::INJECT);
        match (injected, raised) {
            (Ok(()), Some(raised)) => self.tally.injected(vm, id, level, raised),
            (Ok(()), None) => self.tally.withdrawn(vm, id),
            (Err(error), _) => self.failed(format!("{name}: {id} cannot be injected"), &error),
        }
    }

    pub(super) fn create(&mut self, pe: PeIndex, vm: VmAt) {
        let kind = self.vms[vm].kind;
        let vpes: Vec<VpeId> = kind.vcpus.iter().map(|vcpu| vcpu.vpe).collect();
        let spec = VmSpec { spis: kind.spis, ..VmSpec::new(&vpes) };
        let (commands, bytes) = (self.host.counters().commands, self.tally.table_bytes);
        let begun = self.begin(pe);
        let made = self.vms[vm].vm.init(&spec);
        self.end(pe, begun, 0);
        self.tally.commands(vm, self.host.counters().commands - commands);
        if let Err(error) = made {
            let why = format!("{}; {}", chain(&error.cause), error.fate);
            return self.failed_because(format!("{} cannot be created", self.name(vm)), why);
        }
        let id = self.vms[vm].vm.id();
        self.vms[vm].id = id;
        if let Some(id) = id {
            self.by_id.insert(id, vm);
        }
        if let Some(bits) = kind.lpi_id_bits {
            let commands = self.host.counters().commands;
            let begun = self.begin(pe);
            let made = self.vms[vm].vm.create_lpi_ist(bits);
            self.end(pe, begun, 0);
            self.tally.commands(vm, self.host.counters().commands - commands);
            if let Err(error) = made {
                self.failed(format!("{} gets no LPIs", self.name(vm)), &error);
                return self.destroy(pe, vm);
            }
        }
        self.tally.tables_of(vm, self.tally.table_bytes.saturating_sub(bytes));
        let name = self.name(vm);
        let number = id.map_or(0, VmId::raw_value);
        let vcpus = count(vpes.len() as u64, "vCPU");
        let time = self.pes[pe].free;
        self.tally.created += 1;
        self.story.tell(time, Who::Host(pe), || {
            let lpis = kind.lpi_id_bits.map_or(String::new(), |bits| format!(", {} LPIs", 1u32 << bits));
            format!("has created {name}: VM ID {number}, {vcpus}, {}{lpis}", count(kind.spis.into(), "SPI"))
        });
        // That took time; only now may they run.
        self.pes[pe].work.push_front(Work::Launch(vm));
    }

    pub(super) fn launch(&mut self, pe: PeIndex, vm: VmAt) {
        for at in self.vms[vm].vcpus.indices().map(|vcpu| vm.vcpu(vcpu)) {
            self.vms[at].guest = Guest::default();
            self.enqueue(pe, at);
        }
    }

    pub(super) fn destroy(&mut self, pe: PeIndex, vm: VmAt) {
        self.drop_vcpus(vm);
        let mut elsewhere = false;
        for at in self.vms[vm].vcpus.indices().map(|vcpu| vm.vcpu(vcpu)) {
            match self.vms[at].state {
                VcpuState::Resident(on) if on == pe => self.put(pe, at),
                VcpuState::Resident(on) => {
                    elsewhere = true;
                    self.give(on, Work::PutOff(at));
                }
                _ => {}
            }
        }
        if elsewhere {
            // The other PEs need a moment.
            self.pes[pe].free = self.pes[pe].free.max(self.now) + cost::EXIT;
            return self.pes[pe].work.push_back(Work::Act(vm, Action::Destroy));
        }
        if self.vms[vm].vm.id().is_none() {
            return;
        }
        let commands = self.host.counters().commands;
        let begun = self.begin(pe);
        let gone = self.vms[vm].vm.tear_down();
        self.end(pe, begun, 0);
        self.tally.commands(vm, self.host.counters().commands - commands);
        let name = self.name(vm);
        match gone {
            Ok(()) => {
                let time = self.pes[pe].free;
                self.story.tell(time, Who::Host(pe), || format!("has torn {name} down"));
                self.tally.destroyed += 1;
            }
            Err(error) => self.failed(format!("{name} cannot be torn down"), &error),
        }
        if self.vms[vm].vm.id().is_none()
            && let Some(id) = self.vms[vm].id.take()
        {
            self.by_id.remove(&id);
        }
        self.vms[vm].high.clear();
        self.tally.forget(vm);
        self.picture.forget(self.pes[pe].free, vm);
    }

    pub(super) fn reset(&mut self, pe: PeIndex, at: VcpuAt) {
        match self.vms[at].state {
            VcpuState::Absent => return,
            VcpuState::Resident(on) if on != pe => return self.give(on, Work::Act(at.vm, Action::Reset(at.vcpu))),
            VcpuState::Resident(_) => self.put(pe, at),
            VcpuState::Queued => self.unqueue(at),
            VcpuState::Asleep => {}
        }
        let commands = self.host.counters().commands;
        let begun = self.begin(pe);
        let reset = self.vms[at.vm].vm.reset_vcpu(at.vcpu);
        self.end(pe, begun, 0);
        self.tally.commands(at.vm, self.host.counters().commands - commands);
        if let Err(error) = reset {
            return self.failed(format!("{}: vCPU {} cannot be reset", self.name(at.vm), at.vcpu.0), &error);
        }
        let name = self.vcpu_name(at);
        self.story.tell(self.now, Who::Host(pe), || format!("has reset {name}"));
        self.vms[at].guest = Guest::default();
        self.enqueue(pe, at);
    }

    /// A vCPU waits for its PE no longer.
    fn unqueue(&mut self, at: VcpuAt) {
        let home = self.vms[at].home;
        self.pes[home].queue.retain(|who| *who != at);
    }

    pub(super) fn migrate(&mut self, pe: PeIndex, at: VcpuAt, to: PeIndex) {
        let name = self.vcpu_name(at);
        let state = self.vms[at].state;
        if let VcpuState::Resident(on) = state
            && on != pe
        {
            return self.give(on, Work::Act(at.vm, Action::Migrate(at.vcpu, to)));
        }
        self.story.tell(self.now, Who::Host(pe), || format!("moves {name} to {to}"));
        match state {
            VcpuState::Resident(_) => self.put(pe, at),
            VcpuState::Queued => self.unqueue(at),
            VcpuState::Asleep | VcpuState::Absent => {}
        }
        self.vms[at].home = to;
        if matches!(state, VcpuState::Resident(_) | VcpuState::Queued) {
            self.enqueue(pe, at);
        }
        self.tally.migrated += 1;
    }

    pub(super) fn preempt(&mut self, pe: PeIndex, at: VcpuAt) {
        match self.vms[at].state {
            VcpuState::Resident(on) if on != pe => self.give(on, Work::Act(at.vm, Action::Preempt(at.vcpu))),
            VcpuState::Resident(_) => {
                self.put(pe, at);
                self.enqueue(pe, at);
            }
            _ => {}
        }
    }

    pub(super) fn reclaim(&mut self, pe: PeIndex) {
        let begun = self.begin(pe);
        let reclaimed = self.host.reclaim();
        self.end(pe, begun, 0);
        match reclaimed {
            Ok(()) => self.story.tell(self.now, Who::Host(pe), || "has reclaimed what was quarantined".to_owned()),
            Err(error) => self.failed("what is quarantined cannot be reclaimed".to_owned(), &error),
        }
    }
}
