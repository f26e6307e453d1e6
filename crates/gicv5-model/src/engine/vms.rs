//! VMs become valid and invalid (IRS_VMAP_VMR).

use crate::parts::descriptor::LeftBehind;
use crate::parts::vm_tables::Vm;
use crate::parts::vm_tables::Vpe;

use gicv5_arch::entry::{L2_VMTE, L2_VMTE_IST, L2_VMTE_VMD};
use gicv5_arch::geometry::{VpeTableGeometry, VpeTableLimits};
use gicv5_arch::irs::{IRS_VMAP_VMR, IRS_VPE_DBR};
use gicv5_arch::values::{MapAction, Structure};
use gicv5_arch::{IrsIntType, PhysAddr, VmId, VpeId};

use crate::engine::state::MachineState;
use crate::parts::id_map::IdMap;
use crate::parts::interrupts::{Backing, Interrupts};
use crate::words::config::{EndOfStates, IstValid, VpeState, VpeValid};
use crate::words::event::Outcome;
use crate::words::owner::{Owner, StructureKind};
use crate::words::rules::{self, RuleId};
use crate::words::violation::Place;
use gicv5_random::Rng;

impl MachineState {
    /// IRS_VMAP_VMR (VM-1 to VM-3).
    pub(crate) fn map_vm(&mut self, irs: usize, command: IRS_VMAP_VMR) -> Outcome {
        let by = self.vm_owner();
        let vm = command.vm_id();
        if !self.has_vm_table(irs) {
            return self.ignore_vm(irs, vm);
        }
        match (command.u(), self.virt.vms.contains_key(&vm)) {
            (MapAction::MakeValid, false) => {
                let Some(entry) = self.vm_entry(vm) else { return self.ignore_vm(irs, vm) };
                let Ok(raw) = self.memory.irs_load64(by, entry) else { return Outcome::Ignored };
                if !self.adopt_vm(irs, vm, entry) {
                    return Outcome::Ignored;
                }
                let word = L2_VMTE_VMD::new_with_raw_value(raw).with_valid(true);
                let _ = self.memory.irs_store64(by, entry, word.raw_value());
                Outcome::Done
            }
            (MapAction::MakeInvalid, true) => {
                self.withdraw_vm(vm);
                Outcome::Done
            }
            _ => Outcome::Ignored,
        }
    }

    /// A command names a VM that there is not, or one that would have to be valid: it does nothing (VMT-20).
    pub(crate) fn ignore_vm(&mut self, irs: usize, vm: VmId) -> Outcome {
        self.no_such_vm(irs, vm, None);
        Outcome::Ignored
    }

    /// A VM becomes valid as its entry describes it.
    pub(crate) fn adopt_vm(&mut self, irs: usize, vm: VmId, entry: PhysAddr) -> bool {
        let by = self.vm_owner();
        let mut words = [0; 4];
        for (n, word) in words.iter_mut().enumerate() {
            let Ok(address) = entry.offset(n as u64 * 8) else { return false };
            let Ok(loaded) = self.memory.irs_load64(by, address) else { return false };
            *word = loaded;
        }
        let vmte = L2_VMTE::new_with_raw_value(words);
        let Some(config) = self.config.irses.get(irs) else { return false };
        let (idr3, idr4) = (config.idr3, config.idr4);
        let structure = |owned| Place::Structure(entry, Owner::vm(owned, vm));
        // The VPE table.
        let bits = u32::from(vmte.vpet().vpe_id_bits());
        let Ok(limits) = VpeTableLimits::from_idr4(idr4) else { return false };
        let used = bits.clamp(1, limits.vpe_id_bits());
        if used != bits {
            self.report.violate(rules::VPE_4, structure(StructureKind::L2Vmte), bits.into(), used.into(), || {
                format!("VPE_ID_BITS of {vm} is {bits}, which this IRS takes as {used}")
            });
        }
        let Ok(vpet_geometry) = VpeTableGeometry::new(used) else { return false };
        let footprint = vpet_geometry.footprint();
        let vpet = vmte.vpet().vpet_addr().address();
        let Some(vpet) = self.aligned(vpet, footprint.alignment(), rules::VPE_1, structure(StructureKind::L2Vmte))
        else {
            return false;
        };
        // The VM descriptor, if the IRS wants one (VM-10).
        let descriptor =
            idr3.vmd().then(|| (vmte.vmd().vmd_addr().address(), 1u64 << u32::from(idr3.vmd_sz()).min(12)));
        let mut clean = true;
        if let Some((address, size)) = descriptor {
            (clean, _) = self.judge_descriptor(address, size, rules::VM_11, Owner::vm(StructureKind::VmDescriptor, vm));
            let _ = self.memory.own(&mut self.report, by, address, size, Owner::vm(StructureKind::VmDescriptor, vm));
        }
        let _ = self.memory.fill(&mut self.report, by, vpet, footprint.size(), Owner::vm(StructureKind::Vpete, vm));
        let (owner, ist_owner) = self.vmte_owner();
        let _ = self.memory.own(&mut self.report, by, entry, 16, Owner::vm(owner, vm));
        for int_type in [IrsIntType::Lpi, IrsIntType::Spi] {
            if let Ok(word) = entry.offset(L2_VMTE::ist_word(int_type) as u64 * 8) {
                let _ = self.memory.fill(&mut self.report, by, word, 8, Owner::vm(ist_owner, vm));
            }
        }
        let state = Vm {
            entry,
            vpet,
            vpet_geometry,
            descriptor,
            descriptor_was_clean: clean,
            vpes: IdMap::default(),
            interrupts: Interrupts::new(Backing::Absent, &self.config.switches),
            quiescent: false,
            rng: Rng::new(self.config.seed).fork(1 << 16 | u64::from(vm.raw_value())),
        };
        self.virt.vms.insert(vm, state);
        // What the entry says is valid already becomes valid with the VM (IST-3, VM-7, VM-8).
        for int_type in [IrsIntType::Lpi, IrsIntType::Spi] {
            if vmte.ist(int_type).ist_valid() {
                self.adopt_virtual_ist(vm, int_type, vmte.ist(int_type));
            }
        }
        for n in 0..vpet_geometry.entries() {
            let Ok(vpe) = u16::try_from(n).map(VpeId::new) else { break };
            let Some((address, vpete)) = self.vpe_entry(vm, vpe) else { break };
            if vpete.valid() {
                self.adopt_vpe(vm, vpe, address, vpete);
            }
        }
        true
    }

    /// Whose the words of a VM table entry are: the first two, and the IST words.
    pub(crate) fn vmte_owner(&self) -> (StructureKind, StructureKind) {
        match self.virt.table.map(|table| table.geometry.structure()) {
            Some(Structure::TwoLevel) => (StructureKind::L2Vmte, StructureKind::L2VmteIst),
            _ => (StructureKind::LinearVmte, StructureKind::LinearVmteIst),
        }
    }

    /// Whether a descriptor is as it has to be when it becomes the IRS's, and what it holds of an earlier time. Reports the first
    /// word that is wrong (VM-11, VPE-8).
    pub(crate) fn judge_descriptor(
        &mut self,
        address: PhysAddr,
        size: u64,
        rule: RuleId,
        owner: Owner,
    ) -> (bool, LeftBehind) {
        let by = self.vm_owner();
        let survives = self.config.switches.vm.vpe_state == VpeState::Survives;
        let mut left = LeftBehind::NOTHING;
        for offset in (0..size).step_by(8) {
            let Ok(word) = address.offset(offset) else { break };
            let value = self.memory.irs_load64(by, word).unwrap_or(0);
            if survives && offset == 0 && LeftBehind(value).is_one() {
                left = LeftBehind(value);
            } else if value != 0 {
                self.report.violate(rule, Place::Structure(word, owner), value, 0, || {
                    format!("{owner} is not zero when it becomes the IRS's")
                });
                return (false, LeftBehind::NOTHING);
            }
        }
        (true, left)
    }

    /// The IRS leaves its own data in a descriptor that it gives back (VM-10).
    pub(crate) fn leave_behind(&mut self, address: PhysAddr, size: u64, left: LeftBehind) {
        let by = self.vm_owner();
        if size >= 8 {
            let _ = self.memory.irs_store64(by, address, left.0);
        }
        let _ = self.memory.disown(&mut self.report, by, address, size);
    }

    /// A VM becomes invalid: its state goes back to memory, its VPEs are resident nowhere, its memory is software's
    /// (VM-2, VM-6, VM-7).
    pub(crate) fn withdraw_vm(&mut self, vm: VmId) {
        let by = self.vm_owner();
        let switches = self.config.switches.vm;
        let types = [IrsIntType::Lpi, IrsIntType::Spi];
        for int_type in types {
            if switches.states == EndOfStates::WrittenBack {
                self.write_back_ist(vm, int_type);
            }
            self.withdraw_virtual_ist(vm, int_type);
        }
        let vpes: Vec<VpeId> = self.virt.vms.get(&vm).map_or(Vec::new(), |state| state.vpes.keys().collect());
        for vpe in vpes {
            if switches.vpe_valid == VpeValid::Cleared
                && let Some((entry, vpete)) = self.vpe_entry(vm, vpe)
            {
                let _ = self.memory.irs_store64(by, entry, vpete.with_valid(false).raw_value());
            }
            let Some(Vpe { descriptor, resident, settings, dps, .. }) = self.vpe(vm, vpe).copied() else { continue };
            self.virt.forget_doorbell(vm, vpe, settings);
            self.leave_behind(descriptor, self.vped_bytes(), LeftBehind::of(settings, dps));
            if let Some(pe) = resident {
                self.drop_residency(pe, vm, vpe);
            }
        }
        let Some(state) = self.virt.vms.remove(&vm) else { return };
        self.end_effects(vm);
        let _ = self.memory.disown(&mut self.report, by, state.vpet, state.vpet_geometry.footprint().size());
        if let Some((address, size)) = state.descriptor {
            self.leave_behind(address, size, LeftBehind::of(IRS_VPE_DBR::ZERO, false));
        }
        if switches.ist_valid == IstValid::Cleared {
            for int_type in types {
                if let Ok(address) = state.entry.offset(L2_VMTE::ist_word(int_type) as u64 * 8)
                    && let Ok(word) = self.memory.irs_load64(by, address)
                {
                    let word = L2_VMTE_IST::new_with_raw_value(word).with_ist_valid(false);
                    let _ = self.memory.irs_store64(by, address, word.raw_value());
                }
            }
        }
        // Only VALID is cleared (VM-7); the entry may be filled anew.
        if let Ok(word) = self.memory.irs_load64(by, state.entry) {
            let word = L2_VMTE_VMD::new_with_raw_value(word).with_valid(false);
            let _ = self.memory.irs_store64(by, state.entry, word.raw_value());
        }
        let owner = Owner::domain(self.vmte_owner().0);
        let _ = self.memory.fill(&mut self.report, by, state.entry, L2_VMTE::BYTES, owner);
    }

    pub(crate) fn vped_bytes(&self) -> u64 {
        self.config.irses.first().map_or(8, |irs| 1 << u32::from(irs.idr4.vped_sz()).min(12))
    }
}
