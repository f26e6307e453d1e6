//! Interrupts of VMs: what follows from a change of state, and which candidate a VPE has.

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::values::Domain;
use gicv5_arch::{Iaffid, IntId, IrsIntId, IrsIntType, VmId, VpeId};

use crate::engine::state::MachineState;
use crate::parts::interrupts::Backing;
use crate::parts::ist::Unreachable;
use crate::parts::vm::Update;
use crate::words::event::{Event, Space};

impl MachineState {
    /// Changes the state of a VM's interrupt and everything that follows from it. `None` if the VM is not valid (VM-12).
    fn update_virtual(
        &mut self,
        vm: VmId,
        id: IrsIntId,
        change: impl FnOnce(L2_ISTE) -> L2_ISTE,
    ) -> Option<Result<L2_ISTE, Unreachable>> {
        let (virt, mut side, config) = self.vms();
        let Update { change, preset } = virt.vms.get_mut(&vm)?.update(&mut side, id, &config.switches, change);
        self.offer_virtual_preset(vm, preset);
        let change = match change {
            Ok(change) => change,
            Err(why) => return Some(Err(why)),
        };
        if change.before != change.after || change.noticed {
            self.tell(Space::Vm(vm), id, change);
            let (virt, mut side, _) = self.vms();
            if let Some(state) = virt.vms.get_mut(&vm) {
                state.write_back_sometimes(&mut side, id);
            }
            self.offer_vpe(vm, change.before.iaffid().into());
            if change.after.iaffid() != change.before.iaffid() {
                self.offer_vpe(vm, change.after.iaffid().into());
            }
        }
        Some(Ok(change.after))
    }

    /// Offers an entry that was pending when its IST became valid and has been noticed, to this target (IST-22).
    fn offer_virtual_preset(&mut self, vm: VmId, preset: Option<Iaffid>) {
        if let Some(target) = preset {
            self.offer_vpe(vm, target.into());
        }
    }

    /// Changes the state of a VM's interrupt for an instruction or an event that came to this IRS: what cannot be reached is
    /// dropped, and may be reported (INS-18, SPI-10).
    pub(super) fn change_virtual(
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
    pub(super) fn look_up_virtual(&mut self, irs: usize, vm: VmId, id: IrsIntId) -> Option<L2_ISTE> {
        let Some(state) = self.virt.vms.get_mut(&vm) else {
            self.no_such_vm(irs, vm, Some(id));
            return None;
        };
        let found = state.interrupts.state(id, &mut self.memory);
        let preset = state.interrupts.take_preset();
        self.offer_virtual_preset(vm, preset);
        found.map_err(|why| self.unreachable(irs, Space::Vm(vm), id, why)).ok()
    }

    /// Whether a VM is valid and has an IST for a type.
    pub(super) fn has_ist(&self, vm: VmId, int_type: IrsIntType) -> bool {
        self.virt.vms.get(&vm).is_some_and(|state| state.interrupts.backing(int_type) != Backing::Absent)
    }

    /// The state of a VM's interrupt, for somebody who only looks.
    pub(crate) fn peek_virtual(&mut self, vm: VmId, id: IrsIntId) -> Option<L2_ISTE> {
        self.virt.vms.get(&vm)?.interrupts.peek(id, &mut self.memory).ok()
    }

    /// Finds a VPE's candidate anew, and rings its doorbell if that is due (HPPI-2, DB-2).
    pub(super) fn offer_vpe(&mut self, vm: VmId, vpe: VpeId) {
        let Some(state) = self.virt.vms.get_mut(&vm) else { return };
        if let Some(candidate) = state.nominate(vpe) {
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
