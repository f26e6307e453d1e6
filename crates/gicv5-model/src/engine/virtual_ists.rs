//! ISTs of VMs become valid and invalid (IRS_VMAP_VISTR, IRS_VMAP_L2_VISTR).

use gicv5_arch::entry::{L2_VMTE, L2_VMTE_IST};
use gicv5_arch::irs::{IRS_VMAP_L2_VISTR, IRS_VMAP_VISTR};
use gicv5_arch::values::MapAction;
use gicv5_arch::{IrsIntId, IrsIntType, PhysAddr, VmId};

use crate::engine::state::MachineState;
use crate::parts::interrupts::Backing;
use crate::parts::irs_side::WritingBack;
use crate::parts::ist::Ist;
use crate::parts::ist::{AskedIst, IstOwners};
use crate::words::event::{Outcome, Space};
use crate::words::owner::Owner;
use crate::words::rules::{self};
use crate::words::violation::Place;

impl MachineState {
    /// IRS_VMAP_VISTR (IST-2, IST-4, IST-5).
    pub(crate) fn map_virtual_ist(&mut self, irs: usize, command: IRS_VMAP_VISTR) -> Outcome {
        let by = self.vm_owner();
        let (vm, Ok(int_type)) = (command.vm_id(), command.int_type()) else { return Outcome::Ignored };
        let word_address = self.ist_word_address(vm, int_type).filter(|_| self.has_vm_table(irs));
        let Some(word_address) = word_address else { return self.ignore_vm(irs, vm) };
        let Ok(raw) = self.memory.irs_load64(by, word_address) else { return Outcome::Ignored };
        let word = L2_VMTE_IST::new_with_raw_value(raw);
        match (command.u(), word.ist_valid()) {
            (MapAction::MakeValid, false) => {
                if !self.adopt_virtual_ist(vm, int_type, word) {
                    return Outcome::Ignored;
                }
                let _ = self.memory.irs_store64(by, word_address, word.with_ist_valid(true).raw_value());
            }
            (MapAction::MakeInvalid, true) => {
                self.write_back_ist(vm, int_type);
                self.withdraw_virtual_ist(vm, int_type);
                let _ = self.memory.irs_store64(by, word_address, word.with_ist_valid(false).raw_value());
                let owner = Owner::vm(self.vmte_owner().1, vm);
                let _ = self.memory.fill(&mut self.report, by, word_address, 8, owner);
            }
            _ => return Outcome::Ignored,
        }
        Outcome::Done
    }

    pub(crate) fn ist_word_address(&self, vm: VmId, int_type: IrsIntType) -> Option<PhysAddr> {
        self.virt.vms.get(&vm)?.entry.offset(L2_VMTE::ist_word(int_type) as u64 * 8).ok()
    }

    pub(crate) fn adopt_virtual_ist(&mut self, vm: VmId, int_type: IrsIntType, word: L2_VMTE_IST) -> bool {
        let by = self.vm_owner();
        let Some(word_address) = self.ist_word_address(vm, int_type) else { return false };
        let place = Place::Structure(word_address, Owner::vm(self.vmte_owner().1, vm));
        let asked = AskedIst {
            id_bits: word.id_bits().into(),
            istsz: word.istsz().ok(),
            structure: word.structure(),
            l2sz: word.l2sz().ok(),
            raw: word.raw_value(),
        };
        let Some(geometry) = self.supported_ist(0, Space::Vm(vm), int_type, asked, place) else { return false };
        let footprint = geometry.base();
        let Some(base) = self.aligned(word.ist_addr().address(), footprint.alignment(), rules::IST_12, place) else {
            return false;
        };
        let ist = Ist { irs: self.vm_owner(), base, geometry };
        self.own_ist(ist, IstOwners::of_vm(vm, int_type));
        let owner = Owner::vm(self.vmte_owner().1, vm);
        let _ = self.memory.own(&mut self.report, by, word_address, 8, owner);
        if let Some(state) = self.virt.vms.get_mut(&vm) {
            state.interrupts.adopt(int_type, ist);
        }
        true
    }

    /// The states that the IRS holds of an IST of a VM go back to memory.
    pub(crate) fn write_back_ist(&mut self, vm: VmId, int_type: IrsIntType) {
        let Some(state) = self.virt.vms.get_mut(&vm) else { return };
        let mut memory = WritingBack { memory: &mut self.memory, report: &mut self.report };
        state.interrupts.write_back(int_type, &mut memory);
    }

    /// An IST of a VM is given up, and its memory is software's (IST-5, IST-7).
    pub(crate) fn withdraw_virtual_ist(&mut self, vm: VmId, int_type: IrsIntType) {
        let Some(state) = self.virt.vms.get_mut(&vm) else { return };
        let Backing::Ist(ist) = state.interrupts.backing(int_type) else { return };
        for target in state.interrupts.withdraw(int_type) {
            self.offer_vpe(vm, target.into());
        }
        self.disown_ist(ist);
    }

    /// IRS_VMAP_L2_VISTR (IST-18, IST-19).
    pub(crate) fn map_level2_virtual_ist(&mut self, irs: usize, command: IRS_VMAP_L2_VISTR) -> Outcome {
        let (vm, Ok(int_type)) = (command.vm_id(), command.int_type()) else { return Outcome::Ignored };
        let backing = self.virt.vms.get(&vm).filter(|_| self.has_vm_table(irs));
        let backing = backing.map(|state| state.interrupts.backing(int_type));
        let Some(backing) = backing else { return self.ignore_vm(irs, vm) };
        let Backing::Ist(ist) = backing else { return Outcome::Ignored };
        let id = IrsIntId::from_parts(int_type, command.id());
        self.publish_level2_ist(irs, Space::Vm(vm), id, ist, IstOwners::of_vm(vm, int_type))
    }
}
