//! The VM table, the VMs and VPEs that are valid, and the doorbells that VPEs have.

use std::collections::BTreeSet;

use gicv5_arch::geometry::{VmTableGeometry, VpeTableGeometry};
use gicv5_arch::irs::{IRS_VMT_BASER, IRS_VMT_CFGR, IRS_VPE_DBR};
use gicv5_arch::{IrsIntId, Lpi, PhysAddr, Priority, VmId, VpeId};
use gicv5_hal::IrsIndex;

use crate::parts::id_map::IdMap;
use crate::parts::interrupts::Interrupts;
use crate::words::ids::PeIndex;
use gicv5_random::Rng;

/// The VM table as it was when it became valid, and what is behind it. It is the same for all IRSs of the domain (GEN-13).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Virtual {
    pub(crate) table: Option<VmTable>,
    pub(crate) vms: IdMap<VmId, Vm>,
    /// Each LPI that valid settings name, and the VPE whose settings those are.
    pub(crate) doorbells: BTreeSet<(Lpi, VmId, VpeId)>,
}

impl Virtual {
    /// The VPEs that an LPI is the doorbell of: one, if software keeps to DB-14.
    pub(crate) fn rung_by(&self, lpi: Lpi) -> impl Iterator<Item = (VmId, VpeId)> {
        let all = (lpi, VmId::new(0), VpeId::new(0))..=(lpi, VmId::new(u16::MAX), VpeId::new(u16::MAX));
        self.doorbells.range(all).map(|(_, vm, vpe)| (*vm, *vpe))
    }

    /// A VPE's settings name an LPI no longer.
    pub(crate) fn forget_doorbell(&mut self, vm: VmId, vpe: VpeId, settings: IRS_VPE_DBR) {
        if settings.dbv() {
            self.doorbells.remove(&(settings.intid(), vm, vpe));
        }
    }
}

impl Virtual {
    /// What is random about a valid VM comes from here.
    pub(crate) fn rng(&mut self, vm: VmId) -> Option<&mut Rng> {
        Some(&mut self.vms.get_mut(&vm)?.rng)
    }
}

/// What an IRS has been told about the VM table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct VmtRegisters {
    pub(crate) baser: IRS_VMT_BASER,
    pub(crate) cfgr: IRS_VMT_CFGR,
    /// The table that it was given is valid.
    pub(crate) adopted: bool,
}

/// A VM table that is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct VmTable {
    /// The IRS that owns it, and everything behind it: the first that was given it.
    pub(crate) irs: IrsIndex,
    pub(crate) base: PhysAddr,
    pub(crate) geometry: VmTableGeometry,
}

/// A VM that is valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Vm {
    /// Its entry in the VM table.
    pub(crate) entry: PhysAddr,
    pub(crate) vpet: PhysAddr,
    pub(crate) vpet_geometry: VpeTableGeometry,
    /// Its VM descriptor and the descriptor's size.
    pub(crate) descriptor: Option<(PhysAddr, u64)>,
    /// The descriptor was as it has to be when the VM became valid (VM-11).
    pub(crate) descriptor_was_clean: bool,
    pub(crate) vpes: IdMap<VpeId, Vpe>,
    pub(crate) interrupts: Interrupts,
    /// No interrupt of the VM has changed since it was last saved (SAVE-2), and software sees its ISTs.
    pub(crate) quiescent: bool,
    /// What the IRS does with the VM by chance comes from this.
    pub(crate) rng: Rng,
}

/// A VPE that is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vpe {
    pub(crate) descriptor: PhysAddr,
    pub(crate) settings: IRS_VPE_DBR,
    /// IRS_VPE_CR0.DPS, which has no effect without 1-of-N.
    pub(crate) dps: bool,
    /// The IRS selects candidates for it (VPE-8).
    pub(crate) selects: bool,
    /// The mask of the doorbell that is asked for, if one is (DB-5, DB-10).
    pub(crate) requested: Option<Priority>,
    /// IRICHPPIDIS keeps its doorbell from ringing ([`IrichppidisDoorbell::Silent`](crate::words::config::IrichppidisDoorbell)).
    pub(crate) silent: bool,
    /// Where it is resident.
    pub(crate) resident: Option<PeIndex>,
    /// What the IRS offers.
    pub(crate) offered: Option<(IrsIntId, Priority)>,
}
