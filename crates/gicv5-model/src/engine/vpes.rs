//! VPEs become valid (IRS_VMAP_VPER), and what the registers of a selected one read and do.

use crate::parts::descriptor::LeftBehind;
use crate::parts::doorbells::passing;
use crate::parts::vm_tables::Vpe;

use gicv5_arch::entry::VPETE;
use gicv5_arch::irs::{IRS_VMAP_VPER, IRS_VPE_CR0, IRS_VPE_HPPIR, IRS_VPE_SELR};
use gicv5_arch::{IntId, IrsIntId, PhysAddr, Priority, VmId, VpeId};

use crate::engine::state::MachineState;
use crate::words::config::{DirtyDescriptor, RequestAtCr0, VpeDps, VpeHppir};
use crate::words::event::Outcome;
use crate::words::owner::{Owner, StructureKind};
use crate::words::rules::{self};

impl MachineState {
    /// A VPE's entry and its address; `None` if the VM is not valid or the ID out of range.
    pub(crate) fn vpe_entry(&self, vm: VmId, vpe: VpeId) -> Option<(PhysAddr, VPETE)> {
        let by = self.vm_owner();
        let state = self.virt.vms.get(&vm)?;
        let slot = state.vpet_geometry.index(vpe).ok()?;
        let address = state.vpet.offset(slot.offset).ok()?;
        Some((address, VPETE::new_with_raw_value(self.memory.irs_load64(by, address).ok()?)))
    }

    /// IRS_VMAP_VPER (VPE-5, VPE-6).
    pub(crate) fn map_vpe(&mut self, irs: usize, command: IRS_VMAP_VPER) -> Outcome {
        let by = self.vm_owner();
        let (vm, vpe) = (command.vm_id(), command.vpe_id());
        let entry = self.vpe_entry(vm, vpe).filter(|_| self.has_vm_table(irs));
        let Some((address, vpete)) = entry else { return self.ignore_vm(irs, vm) };
        if vpete.valid() {
            return Outcome::Ignored;
        }
        let _ = self.memory.irs_store64(by, address, vpete.with_valid(true).raw_value());
        self.adopt_vpe(vm, vpe, address, vpete);
        Outcome::Done
    }

    /// A VPE becomes valid, without doorbell settings or request (VPE-9).
    pub(crate) fn adopt_vpe(&mut self, vm: VmId, vpe: VpeId, entry: PhysAddr, vpete: VPETE) {
        let by = self.vm_owner();
        let descriptor = vpete.vped_addr().address();
        let size = self.vped_bytes();
        let owner = Owner::vm(StructureKind::VpeDescriptor, vm);
        let (clean, left) = self.judge_descriptor(descriptor, size, rules::VPE_8, owner);
        let _ = self.memory.own(&mut self.report, by, descriptor, size, owner);
        let _ = self.memory.own(&mut self.report, by, entry, VPETE::BYTES, Owner::vm(StructureKind::Vpete, vm));
        let never = self.config.switches.vpe.dirty_descriptor == DirtyDescriptor::NeverSelects;
        if let Some(state) = self.virt.vms.get_mut(&vm) {
            let clean = clean && state.descriptor_was_clean;
            // Its configuration is UNKNOWN if a descriptor was not zero.
            let left = if clean { left } else { LeftBehind(state.rng.next()) };
            let settings = left.settings();
            if settings.dbv() {
                self.virt.doorbells.insert((settings.intid(), vm, vpe));
            }
            let fresh = Vpe {
                descriptor,
                settings,
                dps: left.dps(),
                selects: clean || !never,
                requested: None,
                silent: false,
                resident: None,
                offered: None,
            };
            state.vpes.insert(vpe, fresh);
        }
        // An interrupt may have waited for the VPE (VPE-20).
        self.offer_vpe(vm, vpe);
    }

    pub(crate) fn vpe(&self, vm: VmId, vpe: VpeId) -> Option<&Vpe> {
        self.virt.vms.get(&vm)?.vpes.get(&vpe)
    }

    pub(crate) fn vpe_mut(&mut self, vm: VmId, vpe: VpeId) -> Option<&mut Vpe> {
        self.virt.vms.get_mut(&vm)?.vpes.get_mut(&vpe)
    }

    /// Whether a selection names a valid VPE (VPE-12).
    pub(crate) fn is_vpe(&self, irs: usize, selection: IRS_VPE_SELR) -> bool {
        self.has_vm_table(irs) && self.vpe(selection.vm_id(), selection.vpe_id()).is_some()
    }

    /// A write of IRS_VPE_CR0. Without 1-of-N there is nothing to opt out of (RTE-3).
    pub(crate) fn set_vpe_cr0(&mut self, selection: IRS_VPE_SELR, cr0: IRS_VPE_CR0) -> Outcome {
        let dropped = self.config.switches.doorbell.cr0_write == RequestAtCr0::Dropped;
        let Some(state) = self.vpe_mut(selection.vm_id(), selection.vpe_id()) else { return Outcome::Ignored };
        state.dps = cr0.dps();
        if dropped {
            state.requested = None;
        }
        Outcome::Done
    }

    /// What IRS_VPE_CR0 reads for a selected VPE.
    pub(crate) fn vpe_cr0(&self, selection: IRS_VPE_SELR) -> IRS_VPE_CR0 {
        let dps = match (self.config.switches.vpe.dps, self.vpe(selection.vm_id(), selection.vpe_id())) {
            (VpeDps::One, Some(_)) => true,
            (VpeDps::Kept, Some(vpe)) => vpe.dps,
            _ => false,
        };
        IRS_VPE_CR0::ZERO.with_dps(dps)
    }

    /// What IRS_VPE_HPPIR reads for a selected VPE (VPE-16).
    pub(crate) fn vpe_hppir(&self, selection: IRS_VPE_SELR) -> IRS_VPE_HPPIR {
        let Some(vpe) = self.vpe(selection.vm_id(), selection.vpe_id()) else { return IRS_VPE_HPPIR::ZERO };
        let doorbell_mask = passing(vpe.settings.dbpm(), self.config.switches.doorbell.mask);
        let shown = |(_, priority): &(IrsIntId, Priority)| match self.config.switches.vpe.hppir {
            VpeHppir::Candidate => true,
            VpeHppir::NothingWhileResident => vpe.resident.is_none(),
            VpeHppir::PassingMask => doorbell_mask >> priority.number() & 1 != 0,
        };
        let candidate = vpe.offered.filter(shown).map(|(id, _)| IntId::from(id));
        candidate.map_or(IRS_VPE_HPPIR::ZERO, |id| {
            IRS_VPE_HPPIR::ZERO.with_hppiv(true).with_int_type(id.int_type()).with_id(id.id_field())
        })
    }
}
