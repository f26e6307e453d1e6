//! What all VMs share.

use crate::Hypervisor;
use crate::doorbell::Doorbells;
use crate::ppi::VirtualPpis;

/// The VMs of one interrupt domain. Shared by all PEs; every method takes `&self`.
pub struct Host<H: Hypervisor> {
    pub(crate) hypervisor: H,
    /// The words of all doorbells, found by cookie without a lock.
    pub(crate) doorbells: Doorbells<H::Locks>,
    /// The virtual PPIs of the PEs.
    pub(crate) ppis: VirtualPpis,
}
