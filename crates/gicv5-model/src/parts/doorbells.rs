//! Doorbells: what a VPE's is set to, whether one is asked for, and when it rings.
//!
//! Whether a doorbell rings is a question about the present state (DB-1, DB-2): the VPE is valid and resident nowhere, its
//! settings are valid, one was asked for, and its most urgent candidate passes the mask. Ringing uses the request up (DB-4)
//! and is an ordinary edge of a physical LPI (DB-13), after which the IRS forgets it: it is never withdrawn (DB-17).

use std::collections::BTreeSet;

use gicv5_arch::irs::IRS_VPE_DBR;
use gicv5_arch::{Lpi, Priority, VmId, VpeId};

use crate::words::config::{
    DoorbellMask, DoorbellSwitches, ReqDbReads, RequestAtRewrite, RequestMask, RequestWhileResident,
    SettingsWhileResident, WithoutDbv,
};

/// The doorbell of a VPE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Doorbell {
    settings: IRS_VPE_DBR,
    /// The mask of the doorbell that is asked for, if one is (DB-5, DB-10).
    requested: Option<Priority>,
    /// IRICHPPIDIS keeps it from ringing ([`IrichppidisDoorbell::Silent`](crate::words::config::IrichppidisDoorbell)).
    silent: bool,
    /// IRS_VPE_CR0.DPS, the other setting of a VPE, which has no effect without 1-of-N.
    pub(crate) dps: bool,
    /// The IRS selects candidates for the VPE (VPE-8).
    selects: bool,
}

impl Doorbell {
    /// A doorbell with settings that nobody has asked for.
    pub(crate) fn new(settings: IRS_VPE_DBR, dps: bool, selects: bool) -> Doorbell {
        Doorbell { settings, requested: None, silent: false, dps, selects }
    }

    /// Whether the IRS selects candidates for the VPE (VPE-8), so that there may be something to ring for.
    #[inline]
    pub(crate) fn selects(&self) -> bool {
        self.selects
    }

    pub(crate) fn settings(&self) -> IRS_VPE_DBR {
        self.settings
    }

    /// What IRS_VPE_DBR reads: the settings, and whether a doorbell is asked for.
    pub(crate) fn read(&self, reads: ReqDbReads) -> IRS_VPE_DBR {
        self.settings.with_req_db(reads == ReqDbReads::Live && self.requested.is_some())
    }

    /// A write of IRS_VPE_DBR (DB-5 to DB-8). Returns the settings before, if they are replaced; `None` if the whole write is
    /// ignored.
    pub(crate) fn write(
        &mut self,
        dbr: IRS_VPE_DBR,
        resident: bool,
        switches: DoorbellSwitches,
    ) -> Option<Option<IRS_VPE_DBR>> {
        if resident && switches.while_resident == SettingsWhileResident::Ignored {
            return None;
        }
        if dbr.req_db() {
            // A residency ends the waiting, so a request made during it is none (DB-18).
            let counts = !resident || switches.request_while_resident == RequestWhileResident::Remembered;
            self.requested = counts.then(|| dbr.dbpm());
        } else if switches.rewrite == RequestAtRewrite::Dropped {
            self.requested = None;
        }
        let replaced = dbr.dbv() || switches.without_dbv == WithoutDbv::Invalidates;
        Some(replaced.then(|| std::mem::replace(&mut self.settings, dbr.with_req_db(false))))
    }

    /// One is asked for, with a mask that replaces the one in IRS_VPE_DBR (DB-10); or none is any more.
    pub(crate) fn request(&mut self, mask: Option<Priority>) {
        self.requested = mask;
    }

    /// Whether IRICHPPIDIS keeps it from ringing.
    pub(crate) fn silence(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// The priorities that the mask of the settings lets through.
    pub(crate) fn passing(&self, switch: DoorbellMask) -> u32 {
        passing(self.settings.dbpm(), switch)
    }

    /// The LPI, if it rings for a VPE that is resident nowhere and has candidates at these priorities (DB-1).
    #[inline]
    pub(crate) fn due(&self, candidates: u32, switches: DoorbellSwitches) -> Option<Lpi> {
        let mut priorities = passing(self.requested?, switches.mask);
        if switches.request_mask == RequestMask::OfBoth {
            priorities &= self.passing(switches.mask);
        }
        (self.selects && !self.silent && self.settings.dbv() && candidates & priorities != 0)
            .then(|| self.settings.intid())
    }
}

/// The priorities that a doorbell mask lets through: bit n is priority n (DB-9).
#[inline]
fn passing(mask: Priority, switch: DoorbellMask) -> u32 {
    match switch {
        DoorbellMask::ByUrgency => u32::MAX >> (31 - mask.number()),
        DoorbellMask::ByNumber => u32::MAX << mask.number(),
    }
}

/// Each LPI that valid settings name, and the VPE whose settings those are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Doorbells(BTreeSet<(Lpi, VmId, VpeId)>);

impl Doorbells {
    /// The VPEs that an LPI is the doorbell of: one, if software keeps to DB-14.
    pub(crate) fn rung_by(&self, lpi: Lpi) -> impl Iterator<Item = (VmId, VpeId)> {
        let all = (lpi, VmId::new(0), VpeId::new(0))..=(lpi, VmId::new(u16::MAX), VpeId::new(u16::MAX));
        self.0.range(all).map(|(_, vm, vpe)| (*vm, *vpe))
    }

    /// A VPE's settings, if valid, name an LPI from now on.
    pub(crate) fn add(&mut self, vm: VmId, vpe: VpeId, settings: IRS_VPE_DBR) {
        if settings.dbv() {
            self.0.insert((settings.intid(), vm, vpe));
        }
    }

    /// They name it no longer.
    pub(crate) fn remove(&mut self, vm: VmId, vpe: VpeId, settings: IRS_VPE_DBR) {
        if settings.dbv() {
            self.0.remove(&(settings.intid(), vm, vpe));
        }
    }
}
