//! VM and VPE descriptors: memory that the IRS keeps private state of a VM or VPE in.

use super::{Footprint, GeometryError};
use crate::address::PhysAddr;

/// The size of a VM descriptor (VM-10) or VPE descriptor (VPE-7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DescriptorGeometry {
    size_log2: u8,
}

impl DescriptorGeometry {
    /// log2 of the smallest descriptor, 8 bytes.
    pub const MIN_LOG2: u32 = 3;
    /// log2 of the largest descriptor, 4096 bytes (GEN-10).
    pub const MAX_LOG2: u32 = 12;

    /// log2 of the alignment below which software does not go. The sources disagree on whether the address of a VPE
    /// descriptor starts at bit 3 or at bit 5; with 32 bytes both readings name the same address.
    const FLOOR_LOG2: u32 = 5;

    /// A descriptor of `2^size_log2` bytes.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] outside 3 to 12 (GEN-10).
    pub const fn new(size_log2: u32) -> Result<DescriptorGeometry, GeometryError> {
        DescriptorGeometry::from_field("log2 of the descriptor size", size_log2)
    }

    /// The descriptor that a field of an ID register asks for.
    pub(super) const fn from_field(field: &'static str, value: u32) -> Result<DescriptorGeometry, GeometryError> {
        let (min, max) = (DescriptorGeometry::MIN_LOG2, DescriptorGeometry::MAX_LOG2);
        if value < min || value > max {
            return Err(GeometryError::OutOfRange { field, value, min, max, rule: "GEN-10" });
        }
        Ok(DescriptorGeometry { size_log2: value as u8 })
    }

    /// The descriptor: aligned to its size and to 32 bytes at least. [`Footprint::stride`] is the distance of two in a
    /// dense array, which is fine even if VPE IDs are sparse, once rounded up to the cache line (VPE-21).
    #[must_use]
    pub const fn footprint(self) -> Footprint {
        Footprint::naturally_aligned(self.size_log2 as u32, DescriptorGeometry::FLOOR_LOG2, PhysAddr::BITS as u8)
    }
}
