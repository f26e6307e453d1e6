//! What the engine counts.

use std::collections::HashMap;

use gicv5_arch::{IntId, IrsIntId};
use gicv5_hyp::VcpuIndex;

use super::index::{VcpuAt, VmAt};
use super::scenario::{About, Counter, Ns, Quantile};

/// What is counted of a VM.
#[derive(Clone, Debug, Default)]
pub(super) struct VmTally {
    pub(super) injected: u64,
    pub(super) delivered: u64,
    pub(super) spurious: u64,
    pub(super) doorbells: u64,
    pub(super) switches: u64,
    /// Commands to the IRS that the library gave for it.
    pub(super) commands: u64,
    /// Bytes of table memory allocated when it was last created.
    pub(super) table_bytes: u64,
    /// The interrupts in the order in which each was first taken.
    pub(super) order: Vec<IrsIntId>,
    pub(super) wake_ups: Vec<Ns>,
    interrupts: HashMap<IrsIntId, InterruptTally>,
    vcpus: HashMap<VcpuIndex, VcpuTally>,
}

/// What is counted of an interrupt.
#[derive(Clone, Debug, Default)]
struct InterruptTally {
    injected: u64,
    delivered: u64,
    merged: u64,
    /// When the events happened that wait to be taken, in the order in which they were injected.
    waiting: Vec<Ns>,
    latencies: Vec<Ns>,
    /// The events that the last acknowledge took along with another, and the places of their latencies.
    along: Vec<(Ns, usize)>,
}

impl InterruptTally {
    /// It has been acknowledged, and with it all events that waited: several edges are one interrupt (ISM-5).
    fn taken(&mut self, now: Ns) {
        self.delivered += 1;
        if self.waiting.is_empty() {
            // The effect of an instruction comes some time after it: the last event came after the last acknowledge. Of a
            // level there is none; it is taken again as long as it is high.
            if let Some((raised, place)) = self.along.pop() {
                self.merged -= 1;
                if let Some(latency) = self.latencies.get_mut(place) {
                    *latency = now.saturating_sub(raised);
                }
            }
            return;
        }
        self.merged += self.waiting.len() as u64 - 1;
        self.along.clear();
        for (n, raised) in self.waiting.drain(..).enumerate() {
            if n > 0 {
                self.along.push((raised, self.latencies.len()));
            }
            self.latencies.push(now.saturating_sub(raised));
        }
    }

    /// What waits will not be taken; it was one interrupt.
    fn forget(&mut self) {
        self.merged += (self.waiting.len() as u64).saturating_sub(1);
        self.waiting.clear();
    }
}

/// What is counted of a vCPU.
#[derive(Clone, Debug, Default)]
struct VcpuTally {
    delivered: u64,
    doorbells: u64,
    wake_ups: Vec<Ns>,
}

/// What is counted of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// State changes delivered: wires, instructions, commands, residency, time slices.
    pub(super) events: u64,
    pub(super) created: u64,
    pub(super) destroyed: u64,
    pub(super) migrated: u64,
    /// Bytes of table memory that are allocated, and the most there were.
    pub(super) table_bytes: u64,
    pub(super) most_table_bytes: u64,
    pub(super) vms: Vec<VmTally>,
}

impl VmTally {
    /// Events that found their interrupt pending.
    pub(super) fn merged(&self) -> u64 {
        self.interrupts.values().map(|interrupt| interrupt.merged).sum()
    }
}

impl Tally {
    pub(super) fn new(vms: usize) -> Tally {
        Tally { vms: vec![VmTally::default(); vms], ..Tally::default() }
    }

    fn vm(&mut self, vm: VmAt, change: impl FnOnce(&mut VmTally)) {
        if let Some(vm) = self.vms.get_mut(vm.0) {
            change(vm);
        }
    }

    /// An event that happened at `raised` has made an interrupt pending. A level that is high has no further events.
    pub(super) fn injected(&mut self, vm: VmAt, id: IrsIntId, level: bool, raised: Ns) {
        self.vm(vm, |vm| {
            vm.injected += 1;
            let interrupt = vm.interrupts.entry(id).or_default();
            interrupt.injected += 1;
            if !level || interrupt.waiting.is_empty() {
                interrupt.waiting.push(raised);
            }
        });
    }

    /// The wire fell.
    pub(super) fn withdrawn(&mut self, vm: VmAt, id: IrsIntId) {
        self.vm(vm, |vm| vm.interrupts.entry(id).or_default().forget());
    }

    /// Commands were given for a VM.
    pub(super) fn commands(&mut self, vm: VmAt, commands: u64) {
        self.vm(vm, |vm| vm.commands += commands);
    }

    /// A VM was created with this much table memory.
    pub(super) fn tables_of(&mut self, vm: VmAt, bytes: u64) {
        self.vm(vm, |vm| vm.table_bytes = bytes);
    }

    /// Table memory was allocated.
    pub(super) fn allocated(&mut self, bytes: u64) {
        self.table_bytes += bytes;
        self.most_table_bytes = self.most_table_bytes.max(self.table_bytes);
    }

    pub(super) fn freed(&mut self, bytes: u64) {
        self.table_bytes = self.table_bytes.saturating_sub(bytes);
    }

    pub(super) fn delivered(&mut self, at: VcpuAt, id: IntId, now: Ns) {
        self.vm(at.vm, |vm| {
            vm.delivered += 1;
            vm.vcpus.entry(at.vcpu).or_default().delivered += 1;
            let Ok(id) = IrsIntId::try_from(id) else { return };
            let interrupt = vm.interrupts.entry(id).or_default();
            interrupt.taken(now);
            if interrupt.delivered == 1 {
                vm.order.push(id);
            }
        });
    }

    pub(super) fn spurious(&mut self, vm: VmAt) {
        self.vm(vm, |vm| vm.spurious += 1);
    }

    pub(super) fn doorbell(&mut self, at: VcpuAt) {
        self.vm(at.vm, |vm| {
            vm.doorbells += 1;
            vm.vcpus.entry(at.vcpu).or_default().doorbells += 1;
        });
    }

    /// A vCPU became resident, or left.
    pub(super) fn resident(&mut self, vm: VmAt, resident: bool) {
        self.vm(vm, |vm| vm.switches += u64::from(resident));
    }

    /// A vCPU is resident this long after its doorbell rang.
    pub(super) fn woken(&mut self, at: VcpuAt, after: Ns) {
        self.vm(at.vm, |vm| {
            vm.wake_ups.push(after);
            vm.vcpus.entry(at.vcpu).or_default().wake_ups.push(after);
        });
    }

    /// The VM is gone, and what was pending in it.
    pub(super) fn forget(&mut self, vm: VmAt) {
        self.vm(vm, |vm| vm.interrupts.values_mut().for_each(InterruptTally::forget));
    }

    /// Events that found their interrupt pending.
    pub(super) fn merged(&self) -> u64 {
        self.vms.iter().map(VmTally::merged).sum()
    }

    /// The sum of something over VMs.
    pub(super) fn sum(&self, of: impl Fn(&VmTally) -> u64) -> u64 {
        self.vms.iter().map(of).sum()
    }

    /// The VMs that something is about.
    fn vms_of(&self, about: &About) -> &[VmTally] {
        match about {
            About::Everything => &self.vms,
            About::Vms(vms) | About::Interrupt(vms, _) | About::Vcpu(vms, _) => {
                self.vms.get(vms.clone()).unwrap_or(&[])
            }
        }
    }

    /// A count, if it is one that is counted here.
    pub(super) fn count(&self, counter: Counter, about: &About) -> Option<u64> {
        let of_vm = |vm: &VmTally| match (about, counter) {
            (About::Interrupt(_, id), _) => vm.interrupts.get(id).map_or(Some(0), |interrupt| match counter {
                Counter::Injected => Some(interrupt.injected),
                Counter::Delivered => Some(interrupt.delivered),
                Counter::Merged => Some(interrupt.merged),
                _ => None,
            }),
            (About::Vcpu(_, vcpu), _) => vm.vcpus.get(vcpu).map_or(Some(0), |vcpu| match counter {
                Counter::Delivered => Some(vcpu.delivered),
                Counter::Doorbells => Some(vcpu.doorbells),
                _ => None,
            }),
            (_, Counter::Injected) => Some(vm.injected),
            (_, Counter::Delivered) => Some(vm.delivered),
            (_, Counter::Merged) => Some(vm.merged()),
            (_, Counter::Spurious) => Some(vm.spurious),
            (_, Counter::Doorbells) => Some(vm.doorbells),
            (_, Counter::Switches) => Some(vm.switches),
            _ => None,
        };
        self.vms_of(about).iter().map(of_vm).sum()
    }

    /// A point of the distribution of latencies; `None` if nothing was taken.
    pub(super) fn latency(&self, about: &About, quantile: Quantile) -> Option<Ns> {
        let is_meant = |id: &IrsIntId| !matches!(about, About::Interrupt(_, other) if other != id);
        let interrupts = self.vms_of(about).iter().flat_map(|vm| &vm.interrupts).filter(|(id, _)| is_meant(id));
        point(interrupts.flat_map(|(_, interrupt)| interrupt.latencies.clone()).collect(), quantile)
    }

    /// A point of the distribution of the times from a doorbell to residency; `None` if none rang.
    pub(super) fn wake_up(&self, about: &About, quantile: Quantile) -> Option<Ns> {
        let vms = self.vms_of(about).iter();
        let all = match about {
            About::Vcpu(_, vcpu) => {
                vms.filter_map(|vm| vm.vcpus.get(vcpu)).flat_map(|vcpu| vcpu.wake_ups.clone()).collect()
            }
            _ => vms.flat_map(|vm| vm.wake_ups.clone()).collect(),
        };
        point(all, quantile)
    }
}

fn point(mut all: Vec<Ns>, quantile: Quantile) -> Option<Ns> {
    all.sort_unstable();
    let last = all.len().checked_sub(1)?;
    let at = match quantile {
        Quantile::Half => last / 2,
        Quantile::NinetyNine => (last * 99).div_ceil(100),
        Quantile::Max => last,
    };
    all.get(at).copied()
}

#[cfg(test)]
mod tests {
    use gicv5_arch::Lpi;

    use super::*;

    #[test]
    fn each_event_has_its_latency_and_what_is_merged_is_what_is_not_delivered() {
        let id = IrsIntId::Lpi(Lpi::new(3).unwrap());
        let mut tally = Tally::new(1);
        let merged = |tally: &Tally| tally.count(Counter::Merged, &About::Interrupt(0..1, id));
        tally.injected(VmAt(0), id, false, 100);
        tally.injected(VmAt(0), id, false, 150);
        tally.delivered(VmAt(0).vcpu(VcpuIndex(0)), id.into(), 300);
        assert_eq!(merged(&tally), Some(1));
        assert_eq!(tally.latency(&About::Everything, Quantile::Max), Some(200));
        assert_eq!(tally.latency(&About::Everything, Quantile::Half), Some(150));
        // The effect of the second instruction came after the acknowledge.
        tally.delivered(VmAt(0).vcpu(VcpuIndex(0)), id.into(), 500);
        assert_eq!(merged(&tally), Some(0));
        assert_eq!(tally.latency(&About::Everything, Quantile::Max), Some(350));
        // Two that nobody takes are one interrupt.
        tally.injected(VmAt(0), id, false, 600);
        tally.injected(VmAt(0), id, false, 700);
        tally.forget(VmAt(0));
        assert_eq!(merged(&tally), Some(1));
    }

    #[test]
    fn a_level_has_one_event_for_as_long_as_it_is_high() {
        let id = IrsIntId::Lpi(Lpi::new(3).unwrap());
        let mut tally = Tally::new(1);
        tally.injected(VmAt(0), id, true, 100);
        tally.injected(VmAt(0), id, true, 110);
        for now in [200, 300, 400] {
            tally.delivered(VmAt(0).vcpu(VcpuIndex(0)), id.into(), now);
        }
        assert_eq!(tally.latency(&About::Everything, Quantile::Max), Some(100));
        assert_eq!(tally.merged(), 0);
    }
}
