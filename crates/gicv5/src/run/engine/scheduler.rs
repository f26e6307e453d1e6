//! What a PE does next: it takes its interrupts, does what the host was given, switches vCPUs, or lets a guest go on.

use gicv5_hal::Pe;
use gicv5_hyp::VcpuIndex;
use gicv5_phys::{IpiKind, Source as From};

use super::{Engine, Next, Place, cost};
use crate::run::picture::VcpuMark;
use crate::run::story::Who;

impl Engine<'_> {
    /// A PE does the next thing.
    pub(super) fn step(&mut self, pe: u16) {
        self.stop_computing(pe, self.now);
        let free = self.pes[usize::from(pe)].free;
        if free > self.now {
            return self.schedule(pe, free);
        }
        let irq = self.machine.signals(self.pes[usize::from(pe)].ops.index()).irq;
        let run = &self.pes[usize::from(pe)];
        let waiting = !run.queue.is_empty();
        if irq || !run.work.is_empty() || (run.slice_over && waiting && run.current.is_some()) {
            self.leave_guest(pe);
            if irq {
                self.take_interrupts(pe);
            } else if let Some(work) = self.pes[usize::from(pe)].work.pop_front() {
                self.work(pe, work);
            } else if let Some((vm, vcpu)) = self.pes[usize::from(pe)].current {
                self.pes[usize::from(pe)].slice_over = false;
                self.put(pe, vm, vcpu);
                self.enqueue(pe, vm, vcpu);
            }
        } else if let Some((vm, vcpu)) = run.current {
            self.guest(pe, vm, vcpu);
        } else if let Some((vm, vcpu)) = self.pes[usize::from(pe)].queue.pop_front() {
            self.load(pe, vm, vcpu);
        } else {
            // Idle, until a signal or work comes.
            return;
        }
        let free = self.pes[usize::from(pe)].free;
        self.schedule(pe, free);
    }

    pub(super) fn leave_guest(&mut self, pe: u16) {
        let run = &mut self.pes[usize::from(pe)];
        if std::mem::take(&mut run.in_guest) {
            run.free = run.free.max(self.now) + cost::EXIT;
        }
    }

    pub(super) fn take_interrupts(&mut self, pe: u16) {
        let ops = self.pes[usize::from(pe)].ops.clone();
        let begun = self.begin(pe);
        let mut wakes = Vec::new();
        let host = self.host;
        let taken = self.phys.take_interrupts(&Pe::new(&ops), |_, active| {
            if let From::Lpi(_, cookie) = active.source() {
                wakes.extend(host.doorbell(cookie));
            }
            Some(active)
        });
        Pe::new(&ops).gsb_sys();
        self.end(pe, begun, cost::HOST_INTERRUPT * taken.max(1));
        for wake in wakes {
            if let Some((vm, vcpu)) = self.find(wake.vm, wake.vpe)
                && self.vms[vm].vcpus[vcpu].place == Place::Asleep
            {
                let name = self.name(vm);
                self.story.tell(self.now, Who::Host(pe), || format!("takes the doorbell and wakes {name}/vcpu{vcpu}"));
                self.enqueue(pe, vm, vcpu);
            }
        }
    }

    /// A vCPU waits for its PE, which is told if it is another.
    pub(super) fn enqueue(&mut self, from: u16, vm: usize, vcpu: usize) {
        let home = self.vms[vm].vcpus[vcpu].home;
        self.vms[vm].vcpus[vcpu].place = Place::Queued;
        let time = self.pes[usize::from(from)].free.max(self.now);
        self.picture.vcpu(time, vm, vcpu, VcpuMark::Queued);
        let run = &mut self.pes[usize::from(home)];
        run.queue.push_back((vm, vcpu));
        let slice = run.current.map(|_| (run.slice_end.max(self.now), run.slice_epoch));
        if let Some((time, epoch)) = slice {
            self.at(time, Next::Slice(home, epoch));
        }
        if home != from
            && let Some(host_pe) = self.pes[usize::from(home)].host_pe
        {
            let ops = self.pes[usize::from(from)].ops.clone();
            let begun = self.begin(from);
            let sent = self.phys.send_ipi(&Pe::new(&ops), host_pe, IpiKind(0));
            Pe::new(&ops).gsb_sys();
            self.end(from, begun, cost::INJECT);
            if let Err(error) = sent {
                self.failed(format!("an IPI from PE {from} to PE {home}"), &error);
            }
        } else {
            self.wake(home);
        }
    }

    /// Makes a vCPU resident on a PE that has none.
    pub(super) fn load(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let ops = self.pes[usize::from(pe)].ops.clone();
        let begun = self.begin(pe);
        let loaded = self.vms[vm].vm.load(&Pe::new(&ops), VcpuIndex(vcpu));
        self.end(pe, begun, cost::SWITCH);
        match loaded {
            Ok(()) => {
                self.vms[vm].vcpus[vcpu].place = Place::On(pe);
                let run = &mut self.pes[usize::from(pe)];
                run.current = Some((vm, vcpu));
                run.slice_end = run.free + self.scenario.machine.time_slice;
                run.slice_epoch += 1;
                run.slice_over = false;
                let (end, epoch) = (run.slice_end, run.slice_epoch);
                if !run.queue.is_empty() {
                    self.at(end, Next::Slice(pe, epoch));
                }
            }
            Err(error) => {
                self.failed(format!("{}: vCPU {vcpu} cannot be loaded", self.name(vm)), &error);
                self.drop_vcpus(vm);
            }
        }
    }

    /// Takes a vCPU off its PE.
    pub(super) fn put(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let ops = self.pes[usize::from(pe)].ops.clone();
        let begun = self.begin(pe);
        let put = self.vms[vm].vm.put(&Pe::new(&ops), VcpuIndex(vcpu));
        self.end(pe, begun, cost::SWITCH);
        self.pes[usize::from(pe)].current = None;
        self.vms[vm].vcpus[vcpu].place = Place::Nowhere;
        if let Err(error) = put {
            self.failed(format!("{}: vCPU {vcpu} cannot be put", self.name(vm)), &error);
        }
    }

    /// The VM is dead or to be destroyed: what of it waits for a PE waits no longer.
    pub(super) fn drop_vcpus(&mut self, vm: usize) {
        for run in &mut self.pes {
            run.queue.retain(|(of, _)| *of != vm);
        }
        for vcpu in &mut self.vms[vm].vcpus {
            if !matches!(vcpu.place, Place::On(_)) {
                vcpu.place = Place::Nowhere;
            }
        }
    }
}
