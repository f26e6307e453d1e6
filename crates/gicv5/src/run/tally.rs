//! What the engine counts.

use std::collections::HashMap;

use gicv5_arch::{IntId, IrsIntId};

use super::scenario::{About, Counter, Ns, Quantile, Vms};

/// What is counted of a VM.
#[derive(Clone, Debug, Default)]
pub(super) struct VmTally {
    pub(super) injected: u64,
    pub(super) delivered: u64,
    pub(super) merged: u64,
    pub(super) spurious: u64,
    pub(super) doorbells: u64,
    pub(super) switches: u64,
    /// The interrupts in the order in which each was first taken.
    pub(super) order: Vec<IrsIntId>,
    pub(super) wake_ups: Vec<Ns>,
    interrupts: HashMap<IrsIntId, InterruptTally>,
    vcpus: HashMap<usize, VcpuTally>,
}

/// What is counted of an interrupt.
#[derive(Clone, Debug, Default)]
struct InterruptTally {
    injected: u64,
    delivered: u64,
    merged: u64,
    /// When the event happened that waits to be taken.
    since: Option<Ns>,
    latencies: Vec<Ns>,
}

/// What is counted of a vCPU.
#[derive(Clone, Debug, Default)]
struct VcpuTally {
    delivered: u64,
    doorbells: u64,
    wake_ups: Vec<Ns>,
}

/// What is counted of a run.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// State changes delivered: wires, instructions, commands, residency, time slices.
    pub(super) events: u64,
    pub(super) created: u64,
    pub(super) destroyed: u64,
    pub(super) migrated: u64,
    pub(super) vms: Vec<VmTally>,
}

impl Tally {
    pub(super) fn new(vms: usize) -> Tally {
        Tally { events: 0, created: 0, destroyed: 0, migrated: 0, vms: vec![VmTally::default(); vms] }
    }

    fn vm(&mut self, vm: usize, change: impl FnOnce(&mut VmTally)) {
        if let Some(vm) = self.vms.get_mut(vm) {
            change(vm);
        }
    }

    /// A device, or a guest, has an event.
    pub(super) fn raised(&mut self, vm: usize, id: IrsIntId, now: Ns) {
        self.vm(vm, |vm| {
            let interrupt = vm.interrupts.entry(id).or_default();
            if interrupt.since.is_some() {
                interrupt.merged += 1;
                vm.merged += 1;
            } else {
                interrupt.since = Some(now);
            }
        });
    }

    pub(super) fn injected(&mut self, vm: usize, id: IrsIntId) {
        self.vm(vm, |vm| {
            vm.injected += 1;
            vm.interrupts.entry(id).or_default().injected += 1;
        });
    }

    /// The event came to nothing.
    pub(super) fn not_injected(&mut self, vm: usize, id: IrsIntId) {
        self.vm(vm, |vm| vm.interrupts.entry(id).or_default().since = None);
    }

    pub(super) fn delivered(&mut self, vm: usize, vcpu: usize, id: IntId, now: Ns) {
        self.vm(vm, |vm| {
            vm.delivered += 1;
            vm.vcpus.entry(vcpu).or_default().delivered += 1;
            let Ok(id) = IrsIntId::try_from(id) else { return };
            let interrupt = vm.interrupts.entry(id).or_default();
            interrupt.delivered += 1;
            if interrupt.delivered == 1 {
                vm.order.push(id);
            }
            interrupt.latencies.extend(interrupt.since.take().map(|since| now.saturating_sub(since)));
        });
    }

    pub(super) fn spurious(&mut self, vm: usize) {
        self.vm(vm, |vm| vm.spurious += 1);
    }

    pub(super) fn doorbell(&mut self, vm: usize, vcpu: usize) {
        self.vm(vm, |vm| {
            vm.doorbells += 1;
            vm.vcpus.entry(vcpu).or_default().doorbells += 1;
        });
    }

    /// A vCPU became resident, or left.
    pub(super) fn resident(&mut self, vm: usize, resident: bool) {
        self.vm(vm, |vm| vm.switches += u64::from(resident));
    }

    /// A vCPU is resident this long after its doorbell rang.
    pub(super) fn woken(&mut self, vm: usize, vcpu: usize, after: Ns) {
        self.vm(vm, |vm| {
            vm.wake_ups.push(after);
            vm.vcpus.entry(vcpu).or_default().wake_ups.push(after);
        });
    }

    /// The VM is gone, and what was pending in it.
    pub(super) fn forget(&mut self, vm: usize) {
        self.vm(vm, |vm| vm.interrupts.values_mut().for_each(|interrupt| interrupt.since = None));
    }

    /// The sum of something over VMs.
    pub(super) fn sum(&self, of: impl Fn(&VmTally) -> u64) -> u64 {
        self.vms.iter().map(of).sum()
    }

    fn range(&self, vms: &Vms) -> &[VmTally] {
        self.vms.get(vms.clone()).unwrap_or(&[])
    }

    /// A count, if it is one that is counted here.
    pub(super) fn count(&self, counter: Counter, about: &About) -> Option<u64> {
        let of_vm = |vm: &VmTally| {
            Some(match counter {
                Counter::Injected => vm.injected,
                Counter::Delivered => vm.delivered,
                Counter::Merged => vm.merged,
                Counter::Spurious => vm.spurious,
                Counter::Doorbells => vm.doorbells,
                Counter::Switches => vm.switches,
                _ => return None,
            })
        };
        match about {
            About::Everything => self.vms.iter().map(of_vm).sum(),
            About::Vms(vms) => self.range(vms).iter().map(of_vm).sum(),
            About::Interrupt(vms, id) => {
                let found = self.range(vms).iter().filter_map(|vm| vm.interrupts.get(id));
                found
                    .map(|interrupt| match counter {
                        Counter::Injected => Some(interrupt.injected),
                        Counter::Delivered => Some(interrupt.delivered),
                        Counter::Merged => Some(interrupt.merged),
                        _ => None,
                    })
                    .sum()
            }
            About::Vcpu(vms, vcpu) => {
                let found = self.range(vms).iter().filter_map(|vm| vm.vcpus.get(vcpu));
                found
                    .map(|vcpu| match counter {
                        Counter::Delivered => Some(vcpu.delivered),
                        Counter::Doorbells => Some(vcpu.doorbells),
                        _ => None,
                    })
                    .sum()
            }
        }
    }

    /// A point of the distribution of latencies; `None` if nothing was taken.
    pub(super) fn latency(&self, about: &About, quantile: Quantile) -> Option<Ns> {
        let mut all = Vec::new();
        match about {
            About::Interrupt(vms, id) => {
                for vm in self.range(vms) {
                    all.extend(vm.interrupts.get(id).iter().flat_map(|interrupt| &interrupt.latencies));
                }
            }
            About::Vms(vms) | About::Vcpu(vms, _) => {
                for vm in self.range(vms) {
                    all.extend(vm.interrupts.values().flat_map(|interrupt| &interrupt.latencies));
                }
            }
            About::Everything => {
                for vm in &self.vms {
                    all.extend(vm.interrupts.values().flat_map(|interrupt| &interrupt.latencies));
                }
            }
        }
        point(all, quantile)
    }

    /// A point of the distribution of the times from a doorbell to residency; `None` if none rang.
    pub(super) fn wake_up(&self, about: &About, quantile: Quantile) -> Option<Ns> {
        let all = match about {
            About::Vcpu(vms, vcpu) => {
                let vcpus = self.range(vms).iter().filter_map(|vm| vm.vcpus.get(vcpu));
                vcpus.flat_map(|vcpu| vcpu.wake_ups.clone()).collect()
            }
            About::Vms(vms) | About::Interrupt(vms, _) => {
                self.range(vms).iter().flat_map(|vm| vm.wake_ups.clone()).collect()
            }
            About::Everything => self.vms.iter().flat_map(|vm| vm.wake_ups.clone()).collect(),
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
