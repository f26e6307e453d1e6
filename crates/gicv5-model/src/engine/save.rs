//! Saving a VM (IRS_SAVE_VMR).

use gicv5_arch::irs::{IRS_SAVE_VM_STATUSR, IRS_SAVE_VMR};
use gicv5_arch::{IrsIntType, VmId};

use crate::engine::state::MachineState;
use crate::parts::interrupts::Backing;
use crate::words::config::SaveVerdict;
use crate::words::event::Outcome;

impl MachineState {
    /// IRS_SAVE_VMR (SAVE-1 to SAVE-3).
    pub(crate) fn save_vm(&mut self, irs: usize, command: IRS_SAVE_VMR) -> Outcome {
        let vm = command.vm_id();
        let known = self.has_vm_table(irs);
        if command.s() && known {
            for int_type in [IrsIntType::Lpi, IrsIntType::Spi] {
                self.write_back_ist(vm, int_type);
            }
            if let Some(state) = self.virt.vms.get_mut(&vm) {
                state.quiescent = true;
                self.show_ists(vm, true);
            }
        }
        let quiescent = known && self.is_quiescent(vm);
        if let Some(state) = self.irses.get_mut(irs) {
            state.saved = command.q().then_some((vm, quiescent));
        }
        if known && self.virt.vms.contains_key(&vm) { Outcome::Done } else { self.ignore_vm(irs, vm) }
    }

    /// Software sees the entries of a VM's ISTs while they are what they were when it was saved (SAVE-5, IST-26).
    pub(crate) fn show_ists(&mut self, vm: VmId, shown: bool) {
        for int_type in [IrsIntType::Lpi, IrsIntType::Spi] {
            if let Some(Backing::Ist(ist)) = self.virt.vms.get(&vm).map(|state| state.interrupts.backing(int_type)) {
                self.show_ist(ist, shown);
            }
        }
    }

    pub(crate) fn is_quiescent(&self, vm: VmId) -> bool {
        self.virt.vms.get(&vm).is_some_and(|vm| vm.quiescent)
    }

    /// What IRS_SAVE_VM_STATUSR reads: of the VM that was asked about, whether it was quiescent then and still is (SAVE-2,
    /// SAVE-4).
    pub(crate) fn save_status(&self, asked: Option<(VmId, bool)>, idle: bool) -> IRS_SAVE_VM_STATUSR {
        let quiescent = asked.is_some_and(|(vm, then)| match self.config.switches.save.verdict {
            SaveVerdict::WhenAsked => then,
            SaveVerdict::WhenRead => self.is_quiescent(vm),
        });
        IRS_SAVE_VM_STATUSR::ZERO.with_idle(idle).with_q(quiescent)
    }
}
