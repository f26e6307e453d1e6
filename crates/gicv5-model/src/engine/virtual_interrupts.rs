//! Interrupts of VMs: what follows from a change of state, and which candidate a VPE has.

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::values::Domain;
use gicv5_arch::{Iaffid, IntId, IrsIntId, IrsIntType, VmId, VpeId};

use crate::engine::state::MachineState;
use crate::parts::interrupts::{Backing, Change};
use crate::parts::irs_side::WritingBack;
use crate::parts::ist::Unreachable;
use crate::words::config::{Disturbance, InvalidTarget};
use crate::words::event::{Event, Space};

impl MachineState {
    /// Changes the state of a VM's interrupt and everything that follows from it. `None` if the VM is not valid (VM-12).
    pub(crate) fn update_virtual(
        &mut self,
        vm: VmId,
        id: IrsIntId,
        change: impl FnOnce(L2_ISTE) -> L2_ISTE,
    ) -> Option<Result<L2_ISTE, Unreachable>> {
        let switches = self.config.switches;
        let state = self.virt.vms.get_mut(&vm)?;
        let vpes = &state.vpes;
        let is_vpe = |entry: L2_ISTE| vpes.contains_key(&VpeId::from(entry.iaffid()));
        let change = state.interrupts.update(id, &mut self.memory, |before| {
            let after = change(before);
            let lost = switches.vpe.invalid_target == InvalidTarget::IsLost && !before.pending() && !is_vpe(after);
            if lost { after.with_pending(false) } else { after }
        });
        let preset = state.interrupts.take_preset();
        if let Ok(Change { after, .. }) = change
            && after.pending()
            && switches.vpe.invalid_target == InvalidTarget::IsNotNoticed
            && !is_vpe(after)
        {
            state.interrupts.overlook(id);
        }
        let disturbed = switches.save.disturbance != Disturbance::Changes
            || change.is_ok_and(|change| change.before != change.after);
        let ended = disturbed && std::mem::replace(&mut state.quiescent, false);
        if ended {
            self.show_ists(vm, false);
        }
        if let Some(preset) = preset {
            self.report_preset(preset);
            self.offer_vpe(vm, preset.entry.iaffid().into());
        }
        let change = match change {
            Ok(change) => change,
            Err(why) => return Some(Err(why)),
        };
        if change.before != change.after || change.noticed {
            self.tell(Space::Vm(vm), id, change);
            self.write_back_sometimes(vm, id);
            self.offer_vpe(vm, change.before.iaffid().into());
            if change.after.iaffid() != change.before.iaffid() {
                self.offer_vpe(vm, change.after.iaffid().into());
            }
        }
        Some(Ok(change.after))
    }

    /// The IRS may write a state back whenever it likes (IST-26). When it does, what other VMs do has no part in.
    pub(crate) fn write_back_sometimes(&mut self, vm: VmId, id: IrsIntId) {
        let Some(state) = self.virt.vms.get_mut(&vm) else { return };
        if state.rng.chance(1, 64) {
            let mut memory = WritingBack { memory: &mut self.memory, report: &mut self.report };
            state.interrupts.write_back_one(id, &mut memory);
        }
    }

    /// Changes the state of a VM's interrupt for an instruction or an event that came to this IRS: what cannot be reached is
    /// dropped, and may be reported (INS-18, SPI-10).
    pub(crate) fn change_virtual(
        &mut self,
        irs: usize,
        vm: VmId,
        id: IrsIntId,
        change: impl FnOnce(L2_ISTE) -> L2_ISTE,
    ) {
        match self.has_vm_table(irs).then(|| self.update_virtual(vm, id, change)).flatten() {
            Some(Ok(_)) => {}
            Some(Err(why)) => self.unreachable(irs, Space::Vm(vm), id, why),
            None => self.no_such_vm(irs, vm, Some(id)),
        }
    }

    /// The state of a VM's interrupt for an instruction that asks for it, on a PE of this IRS.
    pub(crate) fn look_up_virtual(&mut self, irs: usize, vm: VmId, id: IrsIntId) -> Option<L2_ISTE> {
        let Some(state) = self.virt.vms.get_mut(&vm) else {
            self.no_such_vm(irs, vm, Some(id));
            return None;
        };
        let found = state.interrupts.state(id, &mut self.memory);
        if let Some(preset) = state.interrupts.take_preset() {
            self.report_preset(preset);
            self.offer_vpe(vm, preset.entry.iaffid().into());
        }
        found.map_err(|why| self.unreachable(irs, Space::Vm(vm), id, why)).ok()
    }

    /// Whether a VM is valid and has an IST for a type.
    pub(crate) fn has_ist(&self, vm: VmId, int_type: IrsIntType) -> bool {
        self.virt.vms.get(&vm).is_some_and(|state| state.interrupts.backing(int_type) != Backing::Absent)
    }

    /// The state of a VM's interrupt, for somebody who only looks.
    pub(crate) fn peek_virtual(&mut self, vm: VmId, id: IrsIntId) -> Option<L2_ISTE> {
        self.virt.vms.get(&vm)?.interrupts.peek(id, &mut self.memory).ok()
    }

    /// Finds a VPE's candidate anew, and rings its doorbell if that is due (HPPI-2, DB-2).
    pub(crate) fn offer_vpe(&mut self, vm: VmId, vpe: VpeId) {
        let Some(state) = self.virt.vms.get_mut(&vm) else { return };
        let candidate = state.interrupts.candidate(Iaffid::from(vpe));
        // A VPE that is not valid has no candidate (VPE-20).
        let Some(state) = state.vpes.get_mut(&vpe) else { return };
        let candidate = candidate.filter(|_| state.selects);
        if state.offered != candidate {
            state.offered = candidate;
            self.report.event(|| Event::Candidate {
                domain: Domain::NonSecure,
                space: Space::Vm(vm),
                target: vpe.into(),
                candidate: candidate.map(|(id, priority)| (IntId::from(id), priority)),
            });
            self.forward(vm, vpe);
        }
        self.ring(vm, vpe);
    }
}
