//! What a PE does next: it takes its interrupts, does what the host was given, switches vCPUs, or lets a guest go on.

use gicv5_hal::Pe;
use gicv5_model::PeIndex;
use gicv5_phys::{IpiKind, Source};

use super::{Engine, Next, cost};
use crate::run::index::{VcpuAt, VmAt};
use crate::run::story::Who;
use crate::run::vcpu_state::VcpuState;

impl Engine<'_> {
    /// A PE does the next thing.
    pub(super) fn step(&mut self, pe: PeIndex) {
        self.stop_computing(pe, self.now);
        let free = self.pes[pe].free;
        if free > self.now {
            return self.schedule(pe, free);
        }
        let irq = self.machine.signals(self.pes[pe].ops.index()).irq;
        let run = &self.pes[pe];
        let waiting = !run.queue.is_empty();
        if irq || !run.work.is_empty() || (run.slice_over && waiting && run.current.is_some()) {
            self.leave_guest(pe);
            if irq {
                self.take_interrupts(pe);
            } else if let Some(work) = self.pes[pe].work.pop_front() {
                self.work(pe, work);
            } else if let Some(at) = self.pes[pe].current {
                self.pes[pe].slice_over = false;
                self.put(pe, at);
                self.enqueue(pe, at);
            }
        } else if let Some(at) = run.current {
            self.guest(pe, at);
        } else if let Some(at) = self.pes[pe].queue.pop_front() {
            self.load(pe, at);
        } else {
            // Idle, until a signal or work comes.
            return;
        }
        let free = self.pes[pe].free;
        self.schedule(pe, free);
    }

    pub(super) fn leave_guest(&mut self, pe: PeIndex) {
        let run = &mut self.pes[pe];
        if std::mem::take(&mut run.in_guest) {
            run.free = run.free.max(self.now) + cost::EXIT;
        }
    }

    pub(super) fn take_interrupts(&mut self, pe: PeIndex) {
        let ops = self.pes[pe].ops.clone();
        let begun = self.begin(pe);
        let mut wakes = Vec::new();
        let host = self.host;
        let taken = self.phys.take_interrupts(&Pe::new(&ops), 64, |_, active| {
            if let Source::Lpi(_, cookie) = active.source() {
                wakes.extend(host.doorbell(cookie));
            }
            Some(active)
        });
        Pe::new(&ops).gsb_sys();
        self.end(pe, begun, cost::HOST_INTERRUPT * taken.max(1));
        for wake in wakes {
            if let Some(at) = self.find(wake.vm, wake.vpe)
                && self.vms[at].state == VcpuState::Asleep
            {
                let name = self.vcpu_name(at);
                self.story.tell(self.now, Who::Host(pe), || format!("takes the doorbell and wakes {name}"));
                self.enqueue(pe, at);
            }
        }
    }

    /// A vCPU waits for its PE, which is told if it is another.
    pub(super) fn enqueue(&mut self, from: PeIndex, at: VcpuAt) {
        let home = self.vms[at].home;
        self.vms[at].state = VcpuState::Queued;
        let time = self.pes[from].free.max(self.now);
        self.picture.vcpu(time, at, VcpuState::Queued);
        let run = &mut self.pes[home];
        run.queue.push_back(at);
        let slice = run.current.map(|_| (run.slice_end.max(self.now), run.slice_epoch));
        if let Some((time, epoch)) = slice {
            self.at(time, Next::Slice(home, epoch));
        }
        if home != from
            && let Some(host_pe) = self.pes[home].host_pe
        {
            let ops = self.pes[from].ops.clone();
            let begun = self.begin(from);
            let sent = self.phys.send_ipi(&Pe::new(&ops), host_pe, IpiKind(0));
            self.end(from, begun, cost::INJECT);
            if let Err(error) = sent {
                self.failed(format!("an IPI from {from} to {home}"), &error);
            }
        } else {
            self.wake(home);
        }
    }

    /// Makes a vCPU resident on a PE that has none.
    pub(super) fn load(&mut self, pe: PeIndex, at: VcpuAt) {
        let ops = self.pes[pe].ops.clone();
        let begun = self.begin(pe);
        let loaded = self.vms[at.vm].vm.load(&Pe::new(&ops), at.vcpu);
        self.end(pe, begun, cost::SWITCH);
        match loaded {
            Ok(()) => {
                self.vms[at].state = VcpuState::Resident(pe);
                let run = &mut self.pes[pe];
                run.current = Some(at);
                run.slice_end = run.free + self.scenario.machine.time_slice;
                run.slice_epoch += 1;
                run.slice_over = false;
                let (end, epoch) = (run.slice_end, run.slice_epoch);
                if !run.queue.is_empty() {
                    self.at(end, Next::Slice(pe, epoch));
                }
            }
            Err(error) => {
                self.failed(format!("{}: vCPU {} cannot be loaded", self.name(at.vm), at.vcpu.0), &error);
                self.drop_vcpus(at.vm);
            }
        }
    }

    /// Takes a vCPU off its PE.
    pub(super) fn put(&mut self, pe: PeIndex, at: VcpuAt) {
        let ops = self.pes[pe].ops.clone();
        let begun = self.begin(pe);
        let put = self.vms[at.vm].vm.put(&Pe::new(&ops), at.vcpu);
        self.end(pe, begun, cost::SWITCH);
        self.pes[pe].current = None;
        self.vms[at].state = VcpuState::Absent;
        if let Err(error) = put {
            self.failed(format!("{}: vCPU {} cannot be put", self.name(at.vm), at.vcpu.0), &error);
        }
    }

    /// The VM is dead or to be destroyed: what of it waits for a PE waits no longer.
    pub(super) fn drop_vcpus(&mut self, vm: VmAt) {
        for run in self.pes.iter_mut() {
            run.queue.retain(|at| at.vm != vm);
        }
        for vcpu in self.vms[vm].vcpus.iter_mut() {
            if !matches!(vcpu.state, VcpuState::Resident(_)) {
                vcpu.state = VcpuState::Absent;
            }
        }
    }
}
