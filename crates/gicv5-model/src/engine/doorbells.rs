//! Doorbells set up, asked for and rung, and the other registers of a selected VPE.
//!
//! Whether a doorbell rings is asked again after everything that could change the answer (DB-2); the queues of
//! [`Interrupts`](crate::parts::interrupts::Interrupts) make the question cheap.

use gicv5_arch::irs::{IRS_VPE_CR0, IRS_VPE_DBR, IRS_VPE_HPPIR, IRS_VPE_SELR};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{IntId, IrsIntId, Lpi, Priority, VmId, VpeId};

use crate::engine::state::MachineState;
use crate::parts::vm::Vpe;
use crate::words::config::{Disturbance, DoorbellsOfDisabledIrs, MergedDoorbell, RequestAtCr0, VpeDps, VpeHppir};
use crate::words::event::{Event, Outcome, Space};
use crate::words::rules;
use crate::words::violation::Place;

impl MachineState {
    /// The VPE that is selected, if it is valid.
    fn selected_vpe(&self, selection: IRS_VPE_SELR) -> Option<&Vpe> {
        self.virt.vpe(selection.vm_id(), selection.vpe_id())
    }

    /// Reports an LPI that is made pending although it is the doorbell of a VPE: whoever takes it, wakes a vCPU (DB-14).
    pub(super) fn judge_doorbell_use(&mut self, place: Place, lpi: Lpi, what: &str) {
        if let Some((vm, vpe)) = self.virt.doorbells.rung_by(lpi).next() {
            self.report
                .violate(rules::DB_14, place, 0, lpi.id().into(), || format!("{what}: {lpi} is that of {vpe} of {vm}"));
        }
    }

    /// Reports a request for the doorbell of a VPE that has no valid settings (DB-6).
    pub(super) fn judge_request(&mut self, (vm, vpe): (VmId, VpeId), place: Place, written: u64) {
        let settings = self.virt.vpe(vm, vpe).map(|vpe| vpe.doorbell.settings());
        if let Some(settings) = settings.filter(|settings| !settings.dbv()) {
            self.report.violate(rules::DB_6, place, settings.raw_value(), written, || {
                format!("a doorbell is asked for that {vpe} of {vm} does not have, so that nothing will wake it")
            });
        }
    }

    /// Whether a selection names a valid VPE (VPE-12).
    pub(super) fn is_vpe(&self, irs: usize, selection: IRS_VPE_SELR) -> bool {
        self.has_vm_table(irs) && self.selected_vpe(selection).is_some()
    }

    /// A write of IRS_VPE_CR0. Without 1-of-N there is nothing to opt out of (RTE-3).
    pub(super) fn set_vpe_cr0(&mut self, selection: IRS_VPE_SELR, cr0: IRS_VPE_CR0) -> Outcome {
        let dropped = self.config.switches.doorbell.cr0_write == RequestAtCr0::Dropped;
        let state = self.virt.vpe_mut(selection.vm_id(), selection.vpe_id());
        let Some(state) = state else { return Outcome::Ignored };
        state.doorbell.dps = cr0.dps();
        if dropped {
            state.doorbell.request(None);
        }
        Outcome::Done
    }

    /// What IRS_VPE_CR0 reads for a selected VPE.
    pub(super) fn vpe_cr0(&self, selection: IRS_VPE_SELR) -> IRS_VPE_CR0 {
        let dps = match (self.config.switches.vpe.dps, self.selected_vpe(selection)) {
            (VpeDps::One, Some(_)) => true,
            (VpeDps::Kept, Some(vpe)) => vpe.doorbell.dps,
            _ => false,
        };
        IRS_VPE_CR0::ZERO.with_dps(dps)
    }

    /// What IRS_VPE_HPPIR reads for a selected VPE (VPE-16).
    pub(super) fn vpe_hppir(&self, selection: IRS_VPE_SELR) -> IRS_VPE_HPPIR {
        let Some(vpe) = self.selected_vpe(selection) else { return IRS_VPE_HPPIR::ZERO };
        let doorbell_mask = vpe.doorbell.passing(self.config.switches.doorbell.mask);
        let shown = |(_, priority): &(IrsIntId, Priority)| match self.config.switches.vpe.hppir {
            VpeHppir::Candidate => true,
            VpeHppir::NothingWhileResident => vpe.resident.is_none(),
            VpeHppir::PassingMask => doorbell_mask >> priority.number() & 1 != 0,
        };
        let candidate = vpe.offered().filter(shown).map(|(id, _)| IntId::from(id));
        candidate.map_or(IRS_VPE_HPPIR::ZERO, |id| {
            IRS_VPE_HPPIR::ZERO.with_hppiv(true).with_int_type(id.int_type()).with_id(id.id_field())
        })
    }

    /// What IRS_VPE_DBR reads for a selected VPE.
    pub(super) fn vpe_dbr(&self, selection: IRS_VPE_SELR) -> IRS_VPE_DBR {
        let reads = self.config.switches.doorbell.req_db;
        self.selected_vpe(selection).map_or(IRS_VPE_DBR::ZERO, |vpe| vpe.doorbell.read(reads))
    }

    /// A write of IRS_VPE_DBR (DB-5 to DB-8). Reports a doorbell that is another VPE's already (DB-14).
    pub(super) fn set_vpe_dbr(&mut self, selection: IRS_VPE_SELR, dbr: IRS_VPE_DBR, place: Place) -> Outcome {
        let (vm, vpe) = (selection.vm_id(), selection.vpe_id());
        let switches = self.config.switches.doorbell;
        let Some(state) = self.virt.vpe_mut(vm, vpe) else { return Outcome::Ignored };
        let resident = state.resident.is_some();
        let Some(replaced) = state.doorbell.write(dbr, resident, switches) else { return Outcome::Ignored };
        if dbr.req_db() {
            self.judge_request((vm, vpe), place, dbr.raw_value());
        }
        if let Some(before) = replaced {
            self.virt.doorbells.remove(vm, vpe, before);
            let other = self.virt.doorbells.rung_by(dbr.intid()).next().filter(|_| dbr.dbv());
            if let Some((other_vm, other)) = other {
                self.report.violate(rules::DB_14, place, before.raw_value(), dbr.raw_value(), || {
                    format!("the doorbell of {vm} {vpe} is set to {}, which is that of {other_vm} {other}", dbr.intid())
                });
            }
            self.virt.doorbells.add(vm, vpe, dbr);
        }
        self.ring(vm, vpe);
        Outcome::Done
    }

    /// Rings a VPE's doorbell, if it is due.
    pub(super) fn ring(&mut self, vm: VmId, vpe: VpeId) {
        let switches = self.config.switches.doorbell;
        let due = self.virt.vms.get(&vm).and_then(|state| state.doorbell_due(vpe, switches));
        let Some(lpi) = due else { return };
        if switches.disabled_irs == DoorbellsOfDisabledIrs::Wait && !self.irses.iter().any(|irs| irs.enabled) {
            return;
        }
        // If the LPI cannot be reached the doorbell is lost (DB-16); if it is pending already it merges (DB-15).
        let reached = self.look_up(lpi.into());
        if let Err(why) = reached {
            self.unreachable(0, Space::Physical, lpi.into(), why);
        }
        let has_effect = reached.is_ok_and(|entry| !entry.pending());
        if !has_effect && switches.merged == MergedDoorbell::Keeps {
            return;
        }
        let (virt, mut side, config) = self.vms();
        if let Some(vpe) = virt.vpe_mut(vm, vpe) {
            vpe.doorbell.request(None);
        }
        if let Some(state) = virt.vms.get_mut(&vm)
            && config.switches.save.disturbance == Disturbance::AttemptsAndDoorbells
        {
            state.disturb(&mut side);
        }
        self.report.event(|| Event::Doorbell { vm, vpe, lpi });
        let _ = self.set_event(lpi.into(), HandlingMode::Edge);
    }

    /// Looks at every doorbell again, because all may be due.
    pub(super) fn ring_all(&mut self) {
        let vpes = self.virt.vms.iter().flat_map(|(vm, state)| state.vpes.keys().map(move |vpe| (vm, vpe)));
        for (vm, vpe) in vpes.collect::<Vec<_>>() {
            self.ring(vm, vpe);
        }
    }
}
