//! The bystander: a VM beside the one under test, which must not lose anything.

use gicv5_arch::{IrsIntId, Spi, VpeId};
use gicv5_hyp::{Host, Hypervisor, VcpuIndex, Vm, VmSpec};

use super::{Abandoned, Life, PES, Scene};

const BYSTANDER: [VpeId; 1] = [VpeId::new(7)];

fn bystander_spis() -> [Option<IrsIntId>; 2] {
    [1, 2].map(|n| Spi::new(n).ok().map(IrsIntId::Spi))
}

impl<B: Hypervisor + Clone> Life<'_, B> {
    /// A VM that minds its own business. One of its interrupts is pending for the whole time.
    pub(super) fn bystander<'h>(&mut self, host: &'h Host<B>) -> Result<Vm<'h, B>, Abandoned> {
        self.at(Scene::Bystander);
        let mut vm = host.new_vm();
        let spec = VmSpec { spis: 32, ..VmSpec::new(&BYSTANDER) };
        if let Err(error) = vm.init(&spec) {
            return self.stop(format!("the bystander could not be initialised: {error}"));
        }
        let loaded = self.on(PES[1], |pe| vm.load(pe, VcpuIndex(0)));
        if loaded != Some(Ok(())) {
            return self.stop(format!("the bystander could not be loaded: {loaded:?}"));
        }
        let [held, later] = bystander_spis();
        self.open(PES[1], [held, later].into_iter().flatten(), BYSTANDER[0]);
        let [held, _] = bystander_spis();
        let wrong = self.put(&vm, PES[1], VcpuIndex(0));
        let wrong = wrong.or_else(|| held.and_then(|held| self.inject(&vm, PES[1], held)));
        match wrong {
            None => Ok(vm),
            Some(why) => self.stop(format!("the bystander: {why}")),
        }
    }

    /// While the hardware is stuck with a command, the bystander runs as if nothing was.
    pub(super) fn look_after(&mut self, host: &Host<B>, bystander: Option<&Vm<'_, B>>) {
        if let (true, Some(vm), Some((_, scene))) = (self.stuck, bystander, self.scenes.last().copied()) {
            self.at(Scene::Bystander);
            let lost = self.bystander_runs(host, vm);
            self.verdict.lost.extend(lost.map(|lost| format!("while the hardware was stuck: {lost}")));
            self.at(scene);
        }
    }

    /// The bystander has its interrupt, can sleep, and is woken by another; and has the first again in the end. What went
    /// wrong, if anything.
    pub(super) fn bystander_runs(&mut self, host: &Host<B>, vm: &Vm<'_, B>) -> Option<String> {
        let (pe, vcpu) = (PES[1], VcpuIndex(0));
        let [Some(held), Some(later)] = bystander_spis() else { return None };
        let load = |life: &Self| match life.on(pe, |pe| vm.load(pe, vcpu)) {
            Some(Ok(())) => None,
            other => Some(format!("it could not be loaded: {other:?}")),
        };
        load(self)
            .or_else(|| self.take(pe, held))
            .or_else(|| self.sleep(vm, pe, vcpu))
            .or_else(|| self.inject(vm, pe, later))
            .or_else(|| self.wake(host, vm, vcpu, later))
            .or_else(|| load(self))
            .or_else(|| self.take(pe, later))
            .or_else(|| self.put(vm, pe, vcpu))
            .or_else(|| self.inject(vm, pe, held))
    }
}
