//! The VPE table of a VM.

use arbitrary_int::u5;

use super::shape::bit_length;
use super::{DescriptorGeometry, Footprint, GeometryError, Slot};
use crate::address::{AddressError, PhysAddr};
use crate::entry::L2_VMTE_VPET;
use crate::id::VpeId;
use crate::irs::IRS_IDR4;

/// What an IRS supports in VPEs: the contents of IRS_IDR4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VpeTableLimits {
    vpe_id_bits: u8,
    descriptor: DescriptorGeometry,
}

impl VpeTableLimits {
    /// Reads IRS_IDR4. VPE_ID_BITS is stored minus one there, unlike in L2_VMTE.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if VPED_SZ is outside 3 to 12 (GEN-10). That is so on an IRS without
    /// virtualisation, where the register is zero (GEN-7).
    pub const fn from_idr4(idr4: IRS_IDR4) -> Result<VpeTableLimits, GeometryError> {
        match DescriptorGeometry::from_field("IRS_IDR4.VPED_SZ", idr4.vped_sz().value() as u32) {
            Ok(descriptor) => Ok(VpeTableLimits { vpe_id_bits: idr4.vpe_id_bits().count() as u8, descriptor }),
            Err(error) => Err(error),
        }
    }

    /// The number of VPE ID bits, 1 to 16.
    #[must_use]
    pub const fn vpe_id_bits(self) -> u32 {
        self.vpe_id_bits as u32
    }

    /// The descriptor that every VPE needs (VPE-7).
    #[must_use]
    pub const fn descriptor(self) -> DescriptorGeometry {
        self.descriptor
    }

    /// The table for VPE IDs up to `highest`, see [`VpeTableGeometry::for_highest`].
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if the IRS has fewer VPE ID bits (VPE-4).
    pub const fn table_for_highest(self, highest: VpeId) -> Result<VpeTableGeometry, GeometryError> {
        let table = VpeTableGeometry::for_highest(highest);
        match self.check(table) {
            Ok(()) => Ok(table),
            Err(error) => Err(error),
        }
    }

    /// Checks that this IRS supports the table.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if the IRS has fewer VPE ID bits (VPE-4).
    pub const fn check(self, table: VpeTableGeometry) -> Result<(), GeometryError> {
        check_vpe_id_bits(table.vpe_id_bits(), self.vpe_id_bits(), "VPE-4")
    }
}

/// Checks a value for L2_VMTE.VPE_ID_BITS. At least one bit, because a guest sees the count minus one (VPE-3).
const fn check_vpe_id_bits(value: u32, max: u32, rule: &'static str) -> Result<(), GeometryError> {
    if value < VpeTableGeometry::MIN_BITS || value > max {
        let min = VpeTableGeometry::MIN_BITS;
        return Err(GeometryError::OutOfRange { field: "L2_VMTE.VPE_ID_BITS", value, min, max, rule });
    }
    Ok(())
}

/// A VPE table: `2^VPE_ID_BITS` entries of 8 bytes (VPE-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VpeTableGeometry {
    // At most MAX_BITS.
    vpe_id_bits: u5,
}

impl VpeTableGeometry {
    /// The fewest VPE ID bits a table uses (VPE-3).
    pub const MIN_BITS: u32 = 1;
    /// The most VPE ID bits there are.
    pub const MAX_BITS: u32 = 16;

    const ENTRY_LOG2: u32 = 3;

    /// A table for this number of VPE ID bits.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] outside 1 to 16 (VPE-3).
    pub const fn new(vpe_id_bits: u32) -> Result<VpeTableGeometry, GeometryError> {
        match check_vpe_id_bits(vpe_id_bits, VpeTableGeometry::MAX_BITS, "VPE-3") {
            Ok(()) => Ok(VpeTableGeometry { vpe_id_bits: u5::extract_u32(vpe_id_bits, 0) }),
            Err(error) => Err(error),
        }
    }

    /// The smallest table that has an entry for every VPE ID up to `highest`: the highest ID counts, not how many VPEs
    /// there are (VPE-2).
    #[must_use]
    pub const fn for_highest(highest: VpeId) -> VpeTableGeometry {
        let bits = bit_length(highest.raw_value() as u32);
        let bits = if bits == 0 { VpeTableGeometry::MIN_BITS } else { bits };
        VpeTableGeometry { vpe_id_bits: u5::extract_u32(bits, 0) }
    }

    /// The number of VPE ID bits, 1 to 16.
    #[must_use]
    pub const fn vpe_id_bits(self) -> u32 {
        self.vpe_id_bits.value() as u32
    }

    /// The number of entries, 2 to 65536.
    #[must_use]
    pub const fn entries(self) -> u32 {
        1 << self.vpe_id_bits.value()
    }

    /// The table: aligned to its size.
    #[must_use]
    pub const fn footprint(self) -> Footprint {
        let size_log2 = self.vpe_id_bits() + VpeTableGeometry::ENTRY_LOG2;
        Footprint::naturally_aligned(size_log2, VpeTableGeometry::ENTRY_LOG2, PhysAddr::BITS as u8)
    }

    /// The word of a VM table entry that describes this table at this address.
    ///
    /// # Errors
    ///
    /// [`AddressError`] if the table cannot lie there.
    pub const fn vmte_word(self, address: PhysAddr) -> Result<L2_VMTE_VPET, AddressError> {
        match self.footprint().place(address) {
            Ok(address) => Ok(L2_VMTE_VPET::ZERO.with_vpe_id_bits(self.vpe_id_bits).with_vpet_addr(address)),
            Err(error) => Err(error),
        }
    }

    /// The table that a word of a VM table entry describes.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if VPE_ID_BITS is outside 1 to 16 (VPE-3).
    pub const fn from_vmte_word(word: L2_VMTE_VPET) -> Result<VpeTableGeometry, GeometryError> {
        VpeTableGeometry::new(word.vpe_id_bits().value() as u32)
    }

    /// Where the entry of a VPE lies.
    ///
    /// # Errors
    ///
    /// [`GeometryError::Unreachable`] if the VPE ID is not below `2^VPE_ID_BITS` (VPE-4).
    pub const fn index(self, vpe: VpeId) -> Result<Slot, GeometryError> {
        let index = vpe.raw_value() as u32;
        if index >> self.vpe_id_bits.value() != 0 {
            let id_bits = self.vpe_id_bits();
            return Err(GeometryError::Unreachable { kind: "VPE", id: index, id_bits, rule: "VPE-4" });
        }
        Ok(Slot { index, offset: (index as u64) << VpeTableGeometry::ENTRY_LOG2 })
    }
}
