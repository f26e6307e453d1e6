//! How VMs and vCPUs are named.

use gicv5_arch::{IrsIntType, VmId};

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

    /// VMs are counted from 0. At a million each second it takes 4 years to run out of the numbers that
    /// an [`IstKey`] has room for.
    pub(crate) const fn generation(self) -> u64 {
        self.0 >> 16
    }
}

/// An IST of a VM over its life: the VM's name above, the type in bit 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IstKey(u64);

impl IstKey {
    pub(crate) const fn new(vm: VmKey, int_type: IrsIntType) -> IstKey {
        let low = match int_type {
            IrsIntType::Lpi => 0,
            IrsIntType::Spi => 1,
        };
        IstKey(vm.0 << 1 | low)
    }

    pub(crate) const fn vm(self) -> VmKey {
        VmKey(self.0 >> 1)
    }
}

/// A vCPU of a VM, counted from 0 in the order in which init was given their VPE IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuIndex(pub usize);
