//! VMs and VPEs become valid and invalid (IRS_VMAP_VMR, IRS_VMAP_VPER), and VMs are saved (IRS_SAVE_VMR).

use gicv5_arch::entry::{L2_VMTE_VMD, VPETE};
use gicv5_arch::irs::{IRS_SAVE_VM_STATUSR, IRS_SAVE_VMR, IRS_VMAP_VMR, IRS_VMAP_VPER};
use gicv5_arch::values::MapAction;
use gicv5_arch::{PhysAddr, VmId, VpeId};

use crate::engine::state::MachineState;
use crate::parts::vm::{INT_TYPES, Vm};
use crate::words::config::{EndOfStates, SaveVerdict};
use crate::words::event::{Outcome, Space};
use crate::words::violation::Place;
use gicv5_random::Rng;

impl MachineState {
    /// IRS_VMAP_VMR (VM-1 to VM-3).
    pub(super) fn map_vm(&mut self, irs: usize, command: IRS_VMAP_VMR) -> Outcome {
        let vm = command.vm_id();
        if !self.has_vm_table(irs) {
            return self.ignore_vm(irs, vm);
        }
        match (command.u(), self.virt.vms.contains_key(&vm)) {
            (MapAction::MakeValid, false) => {
                let Some(entry) = self.vm_entry(vm) else { return self.ignore_vm(irs, vm) };
                let Some(word) = self.adopt_vm(irs, vm, entry) else { return Outcome::Ignored };
                let (virt, mut side, _) = self.vms();
                if let Some(state) = virt.vms.get(&vm) {
                    state.store_vmd(&mut side, word.with_valid(true));
                }
                Outcome::Done
            }
            (MapAction::MakeInvalid, true) => {
                self.withdraw_vm(vm);
                Outcome::Done
            }
            _ => Outcome::Ignored,
        }
    }

    /// A command names a VM that does not exist, or that is not valid and would have to be: it does nothing (VMT-20).
    pub(super) fn ignore_vm(&mut self, irs: usize, vm: VmId) -> Outcome {
        self.no_such_vm(irs, vm, None);
        Outcome::Ignored
    }

    /// A VM becomes valid as its entry describes it. Returns the entry's first word; `None` if the VM does not become valid.
    pub(super) fn adopt_vm(&mut self, irs: usize, vm: VmId, entry: PhysAddr) -> Option<L2_VMTE_VMD> {
        let rng = Rng::new(self.config.seed).fork(1 << 16 | u64::from(vm.raw_value()));
        let (virt, mut side, config) = self.vms();
        let irs = config.irses.get(irs)?;
        let (state, vmte) = Vm::adopt(&mut side, (virt.table?, entry), vm, irs, &config.switches, rng)?;
        let entries = state.vpe_entries();
        virt.vms.insert(vm, state);
        self.judge_spis(vm);
        self.judge_under_way(Place::Vm(vm), "the VM is made valid", |space, _| space == Space::Vm(vm));
        // What the entry says is valid already becomes valid with the VM (IST-3, VM-7, VM-8).
        for int_type in INT_TYPES.into_iter().filter(|int_type| vmte.ist(*int_type).ist_valid()) {
            self.adopt_virtual_ist(vm, int_type, vmte.ist(int_type));
        }
        for vpe in (0..entries).map_while(|n| u16::try_from(n).ok()).map(VpeId::new) {
            let Some(entry) = self.vpe_entry(vm, vpe) else { break };
            if entry.1.valid() {
                self.adopt_vpe(vm, vpe, entry);
            }
        }
        Some(vmte.vmd())
    }

    /// A VM becomes invalid: its state goes back to memory, its VPEs are resident nowhere, its memory is software's
    /// (VM-2, VM-6, VM-7).
    pub(super) fn withdraw_vm(&mut self, vm: VmId) {
        self.leave_spis(vm);
        self.judge_under_way(Place::Vm(vm), "the VM is made invalid", |space, _| space == Space::Vm(vm));
        let switches = self.config.switches.vm;
        for int_type in INT_TYPES {
            if switches.states == EndOfStates::WrittenBack {
                self.write_back_ist(vm, int_type);
            }
            self.withdraw_virtual_ist(vm, int_type);
        }
        let bytes = self.vped_bytes();
        let vpes: Vec<VpeId> = self.virt.vms.get(&vm).map_or(Vec::new(), |state| state.vpes.keys().collect());
        for vpe in vpes {
            let (virt, mut side, _) = self.vms();
            let gone = virt.vms.get(&vm).and_then(|vm| vm.disown_vpe(&mut side, vpe, bytes, switches.vpe_valid));
            let Some(gone) = gone else { continue };
            virt.doorbells.remove(vm, vpe, gone.doorbell.settings());
            if let Some(pe) = gone.resident {
                self.drop_residency(pe, vm, vpe);
            }
        }
        let Some(state) = self.virt.vms.remove(&vm) else { return };
        self.end_effects(vm);
        if let Some(table) = self.virt.table {
            state.disown(&mut self.vms().1, table, switches.ist_valid);
        }
    }

    fn vped_bytes(&self) -> u64 {
        self.config.irses.first().map_or(8, |irs| irs.vped_bytes())
    }

    /// IRS_VMAP_VPER (VPE-5, VPE-6).
    pub(super) fn map_vpe(&mut self, irs: usize, command: IRS_VMAP_VPER) -> Outcome {
        let (vm, vpe) = (command.vm_id(), command.vpe_id());
        let entry = self.vpe_entry(vm, vpe).filter(|_| self.has_vm_table(irs));
        let Some((address, vpete)) = entry else { return self.ignore_vm(irs, vm) };
        if vpete.valid() {
            return Outcome::Ignored;
        }
        self.vms().1.store64(address, vpete.with_valid(true).raw_value());
        self.adopt_vpe(vm, vpe, (address, vpete));
        Outcome::Done
    }

    /// The entry of a VPE and its address; `None` if the VM is not valid or the ID out of range.
    fn vpe_entry(&mut self, vm: VmId, vpe: VpeId) -> Option<(PhysAddr, VPETE)> {
        let (virt, side, _) = self.vms();
        virt.vms.get(&vm)?.vpe_entry(&side, vpe)
    }

    /// A VPE becomes valid.
    fn adopt_vpe(&mut self, vm: VmId, vpe: VpeId, entry: (PhysAddr, VPETE)) {
        let bytes = self.vped_bytes();
        let (virt, mut side, config) = self.vms();
        let Some(state) = virt.vms.get_mut(&vm) else { return };
        let settings = state.adopt_vpe(&mut side, (vm, vpe), entry, bytes, &config.switches);
        virt.doorbells.add(vm, vpe, settings);
        // An interrupt may have waited for the VPE (VPE-20).
        self.offer_vpe(vm, vpe);
    }

    /// IRS_SAVE_VMR (SAVE-1 to SAVE-3).
    pub(super) fn save_vm(&mut self, irs: usize, command: IRS_SAVE_VMR) -> Outcome {
        let vm = command.vm_id();
        let known = self.has_vm_table(irs);
        let (virt, mut side, _) = self.vms();
        let found = virt.vms.get_mut(&vm).filter(|_| known);
        let exists = found.is_some();
        if let Some(state) = found.filter(|_| command.s()) {
            state.save(&mut side);
        }
        let quiescent = known && self.is_quiescent(vm);
        if let Some(state) = self.irses.get_mut(irs) {
            state.saved = command.q().then_some((vm, quiescent));
        }
        if exists { Outcome::Done } else { self.ignore_vm(irs, vm) }
    }

    fn is_quiescent(&self, vm: VmId) -> bool {
        self.virt.vms.get(&vm).is_some_and(Vm::is_quiescent)
    }

    /// What IRS_SAVE_VM_STATUSR reads: of the VM that was asked about, whether it was quiescent then and still is (SAVE-2,
    /// SAVE-4).
    pub(super) fn save_status(&self, asked: Option<(VmId, bool)>, idle: bool) -> IRS_SAVE_VM_STATUSR {
        let quiescent = asked.is_some_and(|(vm, then)| match self.config.switches.save.verdict {
            SaveVerdict::WhenAsked => then,
            SaveVerdict::WhenRead => self.is_quiescent(vm),
        });
        IRS_SAVE_VM_STATUSR::ZERO.with_idle(idle).with_q(quiescent)
    }
}
