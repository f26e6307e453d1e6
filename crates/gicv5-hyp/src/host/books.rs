//! Who has which VM ID, which VMs have no handle, and how far the host is.

use alloc::vec::Vec;
use core::time::Duration;

use gicv5_arch::VmId;

use crate::Hypervisor;
use crate::vm::record::{Parked, Record, Records};
use gicv5_irs::ids::Ids;

/// How far the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The IRS has no VM table, or not this library's.
    Down,
    /// Coming up, going down, or making the VM table anew. If the future that does it is not driven any more, others go on in its
    /// place once it has had its time.
    Changing,
    /// Coming up, going down or making the VM table anew could not be finished, or the future that did it was dropped. What
    /// the IRS may still touch is held; coming up and going down may be tried again. No VM can be initialised until
    /// [`Host::bring_up`](crate::Host::bring_up) has succeeded.
    Partial,
    /// VMs may be initialised.
    Up,
}

/// A change of the host, which may have ended.
#[derive(Clone, Copy)]
pub(crate) struct Changing {
    /// No other change has the same.
    pub(crate) number: u64,
    /// How far the host is if it ends now.
    pub(crate) then: Phase,
    /// When it has had its time, if it does not get on.
    pub(crate) until: Duration,
    /// An earlier one ended because it did not get on: whoever does it may be on its way, with the port of the VM table.
    pub(crate) late: bool,
}

impl Changing {
    /// The first change has another number.
    pub(crate) const NONE: Changing = Changing { number: 0, then: Phase::Down, until: Duration::ZERO, late: false };
}

/// What one lock protects: the accounting of VM IDs and of VMs without a handle.
pub(crate) struct Books<H: Hypervisor> {
    /// How far the host is.
    pub(crate) phase: Phase,
    /// The last change.
    pub(crate) changing: Changing,
    /// Which VM IDs are in use.
    pub(crate) ids: Ids,
    /// VMs without a handle.
    pub(crate) parked: Records<H>,
    /// What those hold that are out of the list for a step of their teardown.
    pub(crate) settling: Settling,
    /// One for each thing outside the library that names a VM to the hardware.
    pub(crate) references: Vec<VmId>,
}

impl<H: Hypervisor> Books<H> {
    /// VMs that have a handle.
    pub(crate) fn with_handle(&self) -> u32 {
        self.ids.in_use().saturating_sub(self.parked.len() + self.settling.vms())
    }

    /// A change that does not get on has ended.
    pub(crate) fn end_forgotten_change(&mut self, now: Duration) {
        if self.phase == Phase::Changing && now >= self.changing.until {
            self.phase = self.changing.then;
            self.changing.late = true;
        }
    }
}

/// VMs without a handle of which a step of the teardown is being done.
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
