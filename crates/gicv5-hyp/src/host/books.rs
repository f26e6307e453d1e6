//! Who has which VM ID, which VMs have no handle, and how far the host is.

use alloc::vec::Vec;

use gicv5_arch::VmId;

use crate::Hypervisor;
use crate::vm::record::{Parked, Record, Records};
use gicv5_irs::ids::Ids;

/// How far the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The IRS has no VM table, or not this library's.
    Down,
    /// Coming up, going down, or making the VM table anew.
    Changing,
    /// Coming up, going down or making the VM table anew could not be finished, or the future that did it was dropped. What
    /// the IRS may still touch is held; coming up and going down may be tried again. No VM can be initialised until
    /// [`Host::bring_up`](crate::Host::bring_up) has succeeded.
    Partial,
    /// VMs may be initialised.
    Up,
}

/// What one lock protects: the accounting of VM IDs and of VMs without a handle.
pub(crate) struct Books<H: Hypervisor> {
    /// How far the host is.
    pub(crate) phase: Phase,
    /// Which VM IDs are in use.
    pub(crate) ids: Ids,
    /// VMs without a handle.
    pub(crate) parked: Records<H>,
    /// What those hold that are being torn down without a handle: they are in no list meanwhile.
    pub(crate) settling: Settling,
    /// One for each thing outside the library that names a VM to the hardware.
    pub(crate) references: Vec<VmId>,
}

/// VMs without a handle that are being torn down.
#[derive(Clone, Copy, Default)]
pub(crate) struct Settling {
    /// Those whose handle was dropped.
    pub(crate) orphans: u32,
    /// Those that the hardware may still use.
    pub(crate) quarantined: u32,
    /// Bytes of table memory that the latter hold.
    pub(crate) bytes: u64,
}

impl Settling {
    /// What a record adds.
    pub(crate) fn of<H: Hypervisor>(record: &Record<H>) -> Settling {
        match record.parked {
            Parked::Orphan => Settling { orphans: 1, quarantined: 0, bytes: 0 },
            Parked::Quarantine => Settling { orphans: 0, quarantined: 1, bytes: record.bytes() },
        }
    }

    /// How many VMs.
    pub(crate) fn vms(self) -> u32 {
        self.orphans + self.quarantined
    }

    pub(crate) fn add(&mut self, other: Settling) {
        self.orphans += other.orphans;
        self.quarantined += other.quarantined;
        self.bytes += other.bytes;
    }

    pub(crate) fn subtract(&mut self, other: Settling) {
        self.orphans = self.orphans.saturating_sub(other.orphans);
        self.quarantined = self.quarantined.saturating_sub(other.quarantined);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}
