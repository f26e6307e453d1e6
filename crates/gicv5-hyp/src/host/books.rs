//! Who has which VM ID, which VMs have no handle, and how far the host is.

use alloc::vec::Vec;

use gicv5_arch::VmId;

use crate::Hypervisor;
use crate::vm::record::Records;
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
    /// One for each thing outside the library that names a VM to the hardware.
    pub(crate) references: Vec<VmId>,
}
