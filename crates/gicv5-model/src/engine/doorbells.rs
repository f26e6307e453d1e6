//! Doorbells: set up, asked for, and rung.
//!
//! Whether a doorbell rings is a question about the present state (DB-1, DB-2): the VPE is valid and resident nowhere, its
//! settings are valid, one was asked for, and its most urgent candidate passes the mask. The question is asked again after
//! everything that could change the answer; the queues of [`Interrupts`] make it cheap. Ringing uses the request up (DB-4)
//! and is an ordinary edge of a physical LPI (DB-13), after which the IRS forgets it: it is never withdrawn (DB-17).

use crate::parts::doorbells::passing;
use crate::parts::vm_tables::Vpe;

use gicv5_arch::irs::{IRS_VPE_DBR, IRS_VPE_SELR};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{Lpi, VmId, VpeId};

use crate::engine::state::MachineState;
use crate::words::config::{
    Disturbance, DoorbellsOfDisabledIrs, MergedDoorbell, ReqDbReads, RequestAtRewrite, RequestMask,
    RequestWhileResident, SettingsWhileResident, WithoutDbv,
};
use crate::words::event::{Event, Outcome, Space};
use crate::words::rules::{self};
use crate::words::violation::Place;

impl MachineState {
    /// What IRS_VPE_DBR reads for a selected VPE: the settings, and whether a doorbell is asked for.
    pub(crate) fn vpe_dbr(&self, selection: IRS_VPE_SELR) -> IRS_VPE_DBR {
        let live = self.config.switches.doorbell.req_db == ReqDbReads::Live;
        self.vpe(selection.vm_id(), selection.vpe_id())
            .map_or(IRS_VPE_DBR::ZERO, |vpe| vpe.settings.with_req_db(live && vpe.requested.is_some()))
    }

    /// A write of IRS_VPE_DBR (DB-5 to DB-8). Reports a doorbell that is another VPE's already (DB-14).
    pub(crate) fn set_vpe_dbr(&mut self, selection: IRS_VPE_SELR, dbr: IRS_VPE_DBR, place: Place) -> Outcome {
        let (vm, vpe) = (selection.vm_id(), selection.vpe_id());
        let switches = self.config.switches.doorbell;
        let Some(state) = self.vpe_mut(vm, vpe) else { return Outcome::Ignored };
        if state.resident.is_some() && switches.while_resident == SettingsWhileResident::Ignored {
            return Outcome::Ignored;
        }
        let before = state.settings;
        if dbr.dbv() || switches.without_dbv == WithoutDbv::Invalidates {
            state.settings = dbr.with_req_db(false);
            self.virt.forget_doorbell(vm, vpe, before);
        }
        if dbr.dbv() {
            let other = self.virt.rung_by(dbr.intid()).find(|other| *other != (vm, vpe));
            if let Some((other_vm, other)) = other {
                self.report.violate(rules::DB_14, place, before.raw_value(), dbr.raw_value(), || {
                    format!("the doorbell of {vm} {vpe} is set to {}, which is that of {other_vm} {other}", dbr.intid())
                });
            }
            self.virt.doorbells.insert((dbr.intid(), vm, vpe));
        }
        let Some(state) = self.vpe_mut(vm, vpe) else { return Outcome::Ignored };
        if dbr.req_db() {
            // A residency ends the waiting, so a request made during it is none (DB-18).
            let counts =
                state.resident.is_none() || switches.request_while_resident == RequestWhileResident::Remembered;
            state.requested = counts.then(|| dbr.dbpm());
        } else if switches.rewrite == RequestAtRewrite::Dropped {
            state.requested = None;
        }
        self.ring(vm, vpe);
        Outcome::Done
    }

    /// Rings a VPE's doorbell, if everything holds that DB-1 asks for.
    pub(crate) fn ring(&mut self, vm: VmId, vpe: VpeId) {
        let switches = self.config.switches.doorbell;
        let Some(state) = self.virt.vms.get(&vm) else { return };
        let Some(Vpe { requested: Some(mask), resident: None, silent: false, selects: true, settings, .. }) =
            state.vpes.get(&vpe)
        else {
            return;
        };
        let mut passing_priorities = passing(*mask, switches.mask);
        if switches.request_mask == RequestMask::OfBoth {
            passing_priorities &= passing(settings.dbpm(), switches.mask);
        }
        if !settings.dbv() || state.interrupts.priorities(vpe.into()) & passing_priorities == 0 {
            return;
        }
        if switches.disabled_irs == DoorbellsOfDisabledIrs::Wait && !self.irses.iter().any(|irs| irs.enabled) {
            return;
        }
        let lpi: Lpi = settings.intid();
        // If the LPI cannot be reached the doorbell is lost (DB-16); if it is pending already it merges (DB-15).
        let reached = self.look_up(lpi.into());
        if let Err(why) = reached {
            self.unreachable(0, Space::Physical, lpi.into(), why);
        }
        let has_effect = reached.is_ok_and(|entry| !entry.pending());
        if !has_effect && switches.merged == MergedDoorbell::Keeps {
            return;
        }
        let disturbs = self.config.switches.save.disturbance == Disturbance::AttemptsAndDoorbells;
        if let Some(state) = self.virt.vms.get_mut(&vm) {
            if let Some(vpe) = state.vpes.get_mut(&vpe) {
                vpe.requested = None;
            }
            if disturbs && std::mem::replace(&mut state.quiescent, false) {
                self.show_ists(vm, false);
            }
        }
        self.report.event(|| Event::Doorbell { vm, vpe, lpi });
        let _ = self.set_event(lpi.into(), HandlingMode::Edge);
    }

    /// Looks at every doorbell again, because all may be due.
    pub(crate) fn ring_all(&mut self) {
        let vpes = self.virt.vms.iter().flat_map(|(vm, state)| state.vpes.keys().map(move |vpe| (vm, vpe)));
        for (vm, vpe) in vpes.collect::<Vec<_>>() {
            self.ring(vm, vpe);
        }
    }
}
