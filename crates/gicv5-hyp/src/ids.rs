//! How VMs and vCPUs are named.

use gicv5_arch::VmId;

/// A VM over its life: no other VM has the same, whatever its ID. Its ID in bits 15 to 0, its generation above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VmKey(u64);

impl VmKey {
    pub(crate) const fn new(vm: VmId, generation: u64) -> VmKey {
        VmKey(generation << 16 | vm.raw_value() as u64)
    }

    pub(crate) const fn vm(self) -> VmId {
        VmId::new(self.0 as u16)
    }

    /// VMs are counted from 0. At a million each second it takes 8 years to run out of numbers.
    pub(crate) const fn generation(self) -> u64 {
        self.0 >> 16
    }
}

/// A vCPU of a VM, counted from 0 in the order in which init was given their VPE IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuIndex(pub usize);
