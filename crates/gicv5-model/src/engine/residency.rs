//! Residency: which VPE a PE runs, and what the IRS forwards to it.
//!
//! A write of ICH_CONTEXTR_EL2 that acts asks the IRS. With V=1 the IRS looks the VPE up and, if it is valid, remembers
//! where it is: from then on it forwards the VPE's candidate there and recalls it (RES-8), and commands from that PE need not
//! say whose they are (RES-7). With V=0 it recalls the candidate, and the doorbell request in the write becomes the VPE's
//! (DB-5, DB-10), which may ring at once (DB-3).
//!
//! A PE and the IRS each know of a residency. They disagree only after software took the VM away from under a VPE
//! (RES-23): the PE still reads V=1, and there is nothing behind it.

use gicv5_arch::sysreg::{ICH_CONTEXTR_EL2, SysReg};
use gicv5_arch::{Iaffid, IntId, Priority, VmId, VpeId};

use crate::cpu::{Side, VirtualCpu};
use crate::engine::state::MachineState;
use crate::words::config::{
    ContextFault, FailedContext, ForwardingOfDisabledIrs, IrichppidisDoorbell, ReplacedVpe, RequestWithV,
    ResidentElsewhere, WithdrawnCandidate,
};
use crate::words::event::Event;
use crate::words::fault::Request;
use crate::words::ids::PeIndex;
use crate::words::rules;
use crate::words::violation::Place;

impl MachineState {
    pub(crate) fn el2(&self, pe: usize) -> Option<&VirtualCpu> {
        self.pes.get(pe)?.cpu.el2()
    }

    pub(crate) fn el2_mut(&mut self, pe: usize) -> Option<&mut VirtualCpu> {
        self.pes.get_mut(pe)?.cpu.el2_mut()
    }

    /// The VPE that is resident on a PE, as the PE and the IRS know it.
    pub(crate) fn resident(&self, pe: usize) -> Option<(VmId, VpeId)> {
        let (vm, vpe) = self.el2(pe)?.resident()?;
        (self.virt.vpe(vm, vpe)?.resident == Some(PeIndex(pe as u16))).then_some((vm, vpe))
    }

    /// A write of ICH_CONTEXTR_EL2 acts.
    pub(super) fn change_context(&mut self, pe: usize, new: ICH_CONTEXTR_EL2) {
        let index = PeIndex(pe as u16);
        let switches = self.config.switches.residency;
        let Some(old) = self.el2(pe).map(VirtualCpu::context) else { return };
        let resident = self.resident(pe);
        let named = (new.vm(), new.vpe());
        if !new.v() {
            let request = new.db().then(|| new.dbpm());
            let silent = match switches.silence {
                IrichppidisDoorbell::Rings => false,
                IrichppidisDoorbell::Silent => new.irichppidis(),
                IrichppidisDoorbell::SilentAsWhileResident => old.irichppidis(),
            };
            self.leave(pe, request, silent);
            let f = old.f() && switches.fault == ContextFault::UntilSuccess;
            if let Some(virt) = self.el2_mut(pe) {
                virt.set_context(new.with_f(f), None, false);
            }
            return;
        }
        let mut worked = true;
        if resident != Some(named) {
            if let Some((vm, vpe)) = resident {
                self.report.violate(
                    rules::RES_22,
                    Place::SysReg(index, SysReg::ICH_CONTEXTR_EL2),
                    old.raw_value(),
                    new.raw_value(),
                    || format!("another VPE is made resident while {vpe} of {vm} is"),
                );
                worked = switches.replaced == ReplacedVpe::Leaves;
            }
            self.leave(pe, None, false);
            // The request counts even if it fails for another reason.
            worked = self.make_resident(pe, named.0, named.1, worked);
        }
        let context = match (worked, switches.failed) {
            (true, _) => new.with_f(false),
            (false, FailedContext::ReadsInvalid) => new.with_v(false).with_f(true),
            (false, FailedContext::ReadsAsWritten) => new.with_f(true),
            (false, FailedContext::ReadsZero) => {
                new.with_v(false).with_f(true).with_vm(VmId::new(0)).with_vpe(VpeId::new(0))
            }
        };
        if worked
            && new.db()
            && self.config.switches.doorbell.with_v == RequestWithV::Counts
            && let Some(state) = self.virt.vpe_mut(named.0, named.1)
        {
            state.doorbell.request(Some(new.dbpm()));
        }
        if !worked {
            self.report.event(|| Event::ResidencyFailed { pe: index, vm: named.0, vpe: named.1 });
        }
        if let Some(virt) = self.el2_mut(pe) {
            virt.set_context(context, worked.then_some(named), !worked);
        }
        if worked {
            // What is pending already is forwarded at once (RES-9).
            self.forward(named.0, named.1);
        }
    }

    /// The IRS is asked to make a VPE resident. False if it cannot be (RES-3).
    fn make_resident(&mut self, pe: usize, vm: VmId, vpe: VpeId, may: bool) -> bool {
        let index = PeIndex(pe as u16);
        let fails = self.faults.pass(&mut self.report, Request::Residency { pe: index, vm, vpe }).is_some();
        let switches = self.config.switches.residency;
        let known = self.has_vm_table(self.irs_of(pe));
        let Some(state) = self.virt.vpe(vm, vpe).filter(|_| may && !fails && known) else { return false };
        if let Some(other) = state.resident {
            self.report.violate(rules::RES_4, Place::SysReg(index, SysReg::ICH_CONTEXTR_EL2), 0, 0, || {
                format!("{vpe} of {vm} is made resident on {index} while it is on {other}")
            });
            match switches.elsewhere {
                ResidentElsewhere::Fails => return false,
                ResidentElsewhere::Moves => self.recall(other, vm, vpe),
            }
        }
        let Some(state) = self.virt.vpe_mut(vm, vpe) else { return false };
        state.enter(index, switches.request);
        self.report.event(|| Event::Residency { pe: index, vm, vpe, resident: true });
        true
    }

    /// The VPE that is resident on a PE, if one is, leaves it: its candidate is recalled (RES-10), and if a doorbell is asked
    /// for it may ring at once (DB-3). The state of its interrupts stays as it is (RES-11).
    pub(crate) fn leave(&mut self, pe: usize, request: Option<Priority>, silent: bool) {
        if let Some(virt) = self.el2_mut(pe) {
            virt.note_leaving();
        }
        let Some((vm, vpe)) = self.resident(pe) else {
            // What the IRS has not recalled from a PE that it does not know to have a VPE is not the next one's.
            if let Some(state) = self.pes.get_mut(pe) {
                state.cpu.offer(Side::Virtual, None);
            }
            return;
        };
        self.recall(PeIndex(pe as u16), vm, vpe);
        if let Some(state) = self.virt.vpe_mut(vm, vpe) {
            state.leave(request, silent);
        }
        if request.is_some() {
            let place = Place::SysReg(PeIndex(pe as u16), SysReg::ICH_CONTEXTR_EL2);
            self.judge_request((vm, vpe), place, 0);
        }
        if let Some(virt) = self.el2_mut(pe) {
            virt.leave();
        }
        self.ring(vm, vpe);
    }

    /// A PE loses a VPE, as the IRS sees it.
    fn recall(&mut self, pe: PeIndex, vm: VmId, vpe: VpeId) {
        self.show_candidate(pe, vm, vpe, None);
        self.report.event(|| Event::Residency { pe, vm, vpe, resident: false });
    }

    /// A VM is taken away from under a resident VPE (RES-23). The PE is not told.
    pub(super) fn drop_residency(&mut self, pe: PeIndex, vm: VmId, vpe: VpeId) {
        self.report.violate(rules::RES_23, Place::Vm(vm), 0, 0, || {
            format!("{vm} is made invalid while its {vpe} is resident on {pe}")
        });
        match self.config.switches.residency.withdrawn {
            WithdrawnCandidate::Recalled => self.recall(pe, vm, vpe),
            WithdrawnCandidate::Stays => self.report.event(|| Event::Residency { pe, vm, vpe, resident: false }),
        }
    }

    /// Forwards a VPE's candidate to the PE on which it is resident (RES-8), unless the PE's IRS is disabled (GEN-21).
    pub(super) fn forward(&mut self, vm: VmId, vpe: VpeId) {
        let Some(state) = self.virt.vpe(vm, vpe) else { return };
        let (Some(pe), candidate) = (state.resident, state.offered()) else { return };
        let switches = self.config.switches.residency;
        let Some(state) = self.pes.get(usize::from(pe.0)) else { return };
        let enabled = self.irses.get(state.irs).is_some_and(|irs| irs.enabled)
            || switches.disabled_irs == ForwardingOfDisabledIrs::GoesOn;
        let candidate = candidate.filter(|_| enabled);
        if switches.withdrawn == WithdrawnCandidate::Stays
            && candidate.is_none()
            && let Some((id, _)) = state.cpu.offered(Side::Virtual)
            && !self.has_ist(vm, id.int_type())
        {
            return;
        }
        self.show_candidate(pe, vm, vpe, candidate);
    }

    /// Forwards to a PE what the VPE that is resident there has, if one is.
    pub(super) fn forward_to(&mut self, target: Iaffid) {
        if let Some(pe) = self.pe_with(target)
            && let Some((vm, vpe)) = self.resident(pe)
        {
            self.forward(vm, vpe);
        }
    }

    fn show_candidate(
        &mut self,
        pe: PeIndex,
        vm: VmId,
        vpe: VpeId,
        candidate: Option<(gicv5_arch::IrsIntId, Priority)>,
    ) {
        let index = usize::from(pe.0);
        let Some(state) = self.pes.get_mut(index) else { return };
        if state.cpu.offered(Side::Virtual) == candidate {
            return;
        }
        state.cpu.offer(Side::Virtual, candidate);
        let candidate = candidate.map(|(id, priority)| (IntId::from(id), priority));
        self.report.event(|| Event::Forwarded { pe, vm, vpe, candidate });
        self.show_signals(index, Side::Virtual);
    }
}
