//! The handle of a VM.

use core::fmt;

use gicv5_arch::VmId;

use crate::Hypervisor;
use crate::host::host::Host;
use crate::ids::VcpuIndex;
use crate::vcpu::ppi::{PpiMask, SOFTWARE_PPI};
use crate::vm::record::{Parked, Record, Vcpu};
use crate::vm::state::VmState;
use gicv5_irs::heap::Boxed;

/// A VM: the only handle of it. It is initialised, used, torn down and may be initialised again.
///
/// What runs vCPUs takes `&self` and may be called from many threads; what makes and unmakes the VM takes `&mut self`, so
/// that no vCPU can be loaded meanwhile.
///
/// Dropping it touches no hardware: the VM goes to the host's orphans, and [`Host::reap`] tears it down. If a vCPU of it is
/// resident then, [`Host::evict`] takes it off its PE first.
pub struct Vm<'h, H: Hypervisor> {
    pub(crate) host: &'h Host<H>,
    /// `None` while the VM is not initialised.
    pub(crate) record: Option<Boxed<Record<H>>>,
}

impl<H: Hypervisor> Host<H> {
    /// A handle for a VM, which is not initialised. Never waits, takes no lock, allocates nothing.
    pub const fn new_vm(&self) -> Vm<'_, H> {
        Vm::new(self)
    }
}

impl<'h, H: Hypervisor> Vm<'h, H> {
    pub(crate) const fn new(host: &'h Host<H>) -> Vm<'h, H> {
        Vm { host, record: None }
    }

    /// How far it is; `None` if it is not initialised.
    #[must_use]
    pub fn state(&self) -> Option<VmState> {
        self.record.as_ref().map(|record| record.state())
    }

    /// Its ID, which VDPEND and IRS_SPI_VMR name it by; `None` if it is not initialised. Another VM may have it once this one
    /// is torn down.
    #[must_use]
    pub fn id(&self) -> Option<VmId> {
        self.record.as_ref().map(|record| record.vm())
    }

    /// The PPIs that a VMM may drive: the software PPI, if the guest sees it (PPI-20). `None` if the VM is not initialised.
    #[must_use]
    pub fn vmm_ppis(&self) -> Option<PpiMask> {
        self.record.as_ref().map(|record| record.ppis.and(SOFTWARE_PPI))
    }

    /// The record and the vCPU, if the VM is live: for everything that uses a VM.
    pub(crate) fn live(&self, vcpu: VcpuIndex) -> Option<(&Record<H>, &Vcpu<H>)> {
        let record = self.live_record()?;
        Some((record, record.vcpus.get(vcpu.0)?))
    }

    pub(crate) fn live_record(&self) -> Option<&Record<H>> {
        self.record.as_deref().filter(|record| record.state() == VmState::Live)
    }

    /// The record goes to the host.
    pub(crate) fn quarantine(&mut self) {
        if let Some(record) = self.record.take() {
            self.host.park(record, Parked::Quarantine);
        }
    }
}

impl<H: Hypervisor> Drop for Vm<'_, H> {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.host.park(record, Parked::Orphan);
        }
    }
}

impl<H: Hypervisor> fmt::Debug for Vm<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm").field("id", &self.id()).field("state", &self.state()).finish_non_exhaustive()
    }
}
