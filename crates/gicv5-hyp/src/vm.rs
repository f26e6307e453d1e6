//! The handle of a VM.

use alloc::boxed::Box;

use crate::Hypervisor;
use crate::host::Host;
use crate::record::{Record, Vcpu, VmState};

/// A vCPU of a VM, counted from 0 in the order in which init was given their VPE IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuIndex(pub usize);

/// A VM: the only handle of it.
pub struct Vm<'h, H: Hypervisor> {
    pub(crate) host: &'h Host<H>,
    /// `None` while the VM is not initialised.
    pub(crate) record: Option<Box<Record<H>>>,
}

impl<'h, H: Hypervisor> Vm<'h, H> {
    /// How far it is; `None` if it is not initialised.
    #[must_use]
    pub fn state(&self) -> Option<VmState> {
        self.record.as_ref().map(|record| record.state())
    }

    /// The record and the vCPU, if the VM is live: for everything that uses a VM.
    pub(crate) fn live(&self, vcpu: VcpuIndex) -> Option<(&Record<H>, &Vcpu<H>)> {
        let record = self.record.as_deref()?;
        if record.state() != VmState::Live {
            return None;
        }
        Some((record, record.vcpus.get(vcpu.0)?))
    }
}
