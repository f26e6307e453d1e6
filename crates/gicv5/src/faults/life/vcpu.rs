//! What a vCPU goes through: it sleeps, is injected into, is woken by its doorbell, and its guest takes the interrupt.

use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::{ICC_CR0_EL1, SysReg};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{IntId, IrsIntId, Priority, VpeId};
use gicv5_hal::Pe;
use gicv5_hyp::{Host, Hypervisor, Idle, Pending, VcpuIndex, Vm, Wake};
use gicv5_model::{ModelHost, PeIndex};

use super::{Abandoned, Life, PES};

impl<B: Hypervisor + Clone> Life<'_, B> {
    /// Does what no fault makes fail. What went wrong, if anything, ends the script.
    pub(super) fn hold(&mut self, act: impl FnOnce(&mut Self) -> Option<String>) -> Result<(), Abandoned> {
        match act(self) {
            None => Ok(()),
            Some(why) => self.stop(why),
        }
    }

    pub(super) fn on<R>(&self, pe: PeIndex, f: impl FnOnce(&Pe<'_, gicv5_model::ModelPe>) -> R) -> Option<R> {
        self.model.on_pe(pe, f)
    }

    /// The guest opens its CPU interface and enables these interrupts for itself.
    pub(super) fn open(&self, pe: PeIndex, interrupts: impl Iterator<Item = IrsIntId>, vpe: VpeId) {
        let Some(cpu) = self.machine.pe(pe) else { return };
        let guest = cpu.guest();
        let guest = Pe::new(&guest);
        guest.write(ICC_CR0_EL1::ZERO.with_en(true));
        guest.write_raw(SysReg::ICC_PCR_EL1, 31);
        guest.isb();
        for interrupt in interrupts {
            guest.cdhm(interrupt, HandlingMode::Edge);
            guest.cdpri(interrupt, Priority::new(8).unwrap_or(Priority::LEAST_URGENT));
            guest.cdaff(interrupt, vpe.into());
            guest.cden(interrupt);
        }
        guest.gic(GicInsn::GSB_SYS, 0);
    }

    /// A vCPU with nothing to do goes to sleep. What went wrong, if anything.
    pub(super) fn sleep(&self, vm: &Vm<'_, B>, pe: PeIndex, vcpu: VcpuIndex) -> Option<String> {
        match self.on(pe, |pe| vm.idle(pe, vcpu)) {
            Some(Ok(Idle::Sleep)) => None,
            other => Some(format!("a vCPU with nothing to do was told {other:?} by idle")),
        }
    }

    pub(super) fn put(&self, vm: &Vm<'_, B>, pe: PeIndex, vcpu: VcpuIndex) -> Option<String> {
        match self.on(pe, |pe| vm.put(pe, vcpu)) {
            Some(Ok(())) => None,
            other => Some(format!("a vCPU could not be put: {other:?}")),
        }
    }

    pub(super) fn inject(&self, vm: &Vm<'_, B>, pe: PeIndex, interrupt: IrsIntId) -> Option<String> {
        let injected = self.on(pe, |pe| vm.inject(pe, interrupt.into(), Pending::Set));
        match injected {
            Some(Ok(())) => None,
            other => Some(format!("{interrupt} could not be injected: {other:?}")),
        }
    }

    /// The doorbells that are pending anywhere are taken. Whom they wake.
    pub(super) fn doorbells(&mut self, host: &Host<B>) -> Vec<Wake> {
        let (mut cookies, mut woken) = (Vec::new(), Vec::new());
        for pe in PES {
            self.model.take_interrupts(pe, |taken| {
                cookies.extend(taken.cookie);
                woken.extend(taken.cookie.and_then(|cookie| host.doorbell(cookie)));
            });
        }
        self.cookies.extend(cookies);
        woken
    }

    /// After an interrupt was injected into a VM whose vCPU sleeps, its doorbell wakes it. What went wrong, if anything.
    pub(super) fn wake(
        &mut self,
        host: &Host<B>,
        vm: &Vm<'_, B>,
        vcpu: VcpuIndex,
        interrupt: IrsIntId,
    ) -> Option<String> {
        let woken = self.doorbells(host);
        match (woken.as_slice(), vm.has_pending(vcpu)) {
            ([wake], Ok(true)) if Some(wake.vm) == vm.id() => None,
            (woken, pending) => {
                Some(format!("after {interrupt} was injected, {woken:?} were woken; has_pending says {pending:?}"))
            }
        }
    }

    /// The guest takes an interrupt. What went wrong, if anything.
    pub(super) fn take(&self, pe: PeIndex, interrupt: IrsIntId) -> Option<String> {
        let cpu = self.machine.pe(pe)?;
        let guest = cpu.guest();
        let guest = Pe::new(&guest);
        let taken = guest.cdia().int_id();
        if taken != Some(IntId::from(interrupt)) {
            return Some(format!("the guest took {taken:?} instead of {interrupt}"));
        }
        guest.gsb_ack();
        guest.isb();
        guest.cdeoi();
        guest.cddi(interrupt.into());
        guest.gsb_sys();
        None
    }
}

pub(super) fn self_load<B: Hypervisor>(
    model: &ModelHost,
    vm: &Vm<'_, B>,
    pe: PeIndex,
    vcpu: VcpuIndex,
) -> Result<(), gicv5_hyp::RunError> {
    // The machine has this PE.
    model.on_pe(pe, |pe| vm.load(pe, vcpu)).unwrap_or(Ok(()))
}
