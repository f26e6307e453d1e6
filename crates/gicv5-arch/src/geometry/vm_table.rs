//! The VM table.

use core::ops::RangeInclusive;

use arbitrary_int::u5;

use super::shape::{Shape, bit_length};
use super::{DescriptorGeometry, Footprint, GeometryError, TableIndex};
use crate::id::VmId;
use crate::irs::{IRS_IDR3, IRS_VMT_CFGR};
use crate::values::{Levels, Structure};

/// The configured number of VM ID bits, as errors name it.
const VM_ID_BITS: &str = "IRS_VMT_CFGR.VM_ID_BITS";

/// What an IRS supports in VM tables: the contents of IRS_IDR3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VmTableLimits {
    vm_id_bits: u8,
    levels: Levels,
    descriptor: Option<DescriptorGeometry>,
}

impl VmTableLimits {
    /// The fewest VM ID bits an IRS has (GEN-10).
    pub const MIN_BITS: u32 = 8;

    /// Reads IRS_IDR3.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if VM_ID_BITS is outside 8 to 16 or, where VMD is 1, VMD_SZ outside 3 to 12
    /// (GEN-10). The former is so on an IRS without virtualisation, where the register is zero (GEN-7).
    pub const fn from_idr3(idr3: IRS_IDR3) -> Result<VmTableLimits, GeometryError> {
        let (min, max) = (VmTableLimits::MIN_BITS, VmTableGeometry::MAX_BITS);
        let value = idr3.vm_id_bits().value() as u32;
        if value < min || value > max {
            let field = "IRS_IDR3.VM_ID_BITS";
            return Err(GeometryError::OutOfRange { field, value, min, max, rule: "GEN-10" });
        }
        let descriptor = if idr3.vmd() {
            match DescriptorGeometry::from_field("IRS_IDR3.VMD_SZ", idr3.vmd_sz().value() as u32) {
                Ok(descriptor) => Some(descriptor),
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        Ok(VmTableLimits { vm_id_bits: value as u8, levels: idr3.vmt_levels(), descriptor })
    }

    /// The number of VM ID bits, 8 to 16. A table may use fewer.
    #[must_use]
    pub const fn vm_id_bits(self) -> u32 {
        self.vm_id_bits as u32
    }

    /// Which shapes of a table there are.
    #[must_use]
    pub const fn levels(self) -> Levels {
        self.levels
    }

    /// The descriptor that every VM needs; `None` if VMs need none (VM-10).
    #[must_use]
    pub const fn descriptor(self) -> Option<DescriptorGeometry> {
        self.descriptor
    }

    /// The fewest VM ID bits with which every VM ID up to `highest` has an entry.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if the IRS has fewer (VMT-11).
    pub const fn vm_id_bits_for(self, highest: VmId) -> Result<u32, GeometryError> {
        let vm_id_bits = bit_length(highest.raw_value() as u32);
        match check_vm_id_bits(vm_id_bits, self.vm_id_bits()) {
            Ok(()) => Ok(vm_id_bits),
            Err(error) => Err(error),
        }
    }

    /// The table to use where the allocator gives `contiguous_bytes` in one piece and no more: a linear one if it fits,
    /// otherwise one with two levels if the IRS has that and more than one level-2 table is needed.
    ///
    /// With 4096, a table gets two levels whenever that is possible and saves anything, so that level-2 tables can be
    /// allocated when the first VM in them starts.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if the IRS has fewer VM ID bits (VMT-11), [`GeometryError::NotContiguous`] if no
    /// shape fits.
    pub const fn choose(self, vm_id_bits: u32, contiguous_bytes: u64) -> Result<VmTableGeometry, GeometryError> {
        if let Err(error) = check_vm_id_bits(vm_id_bits, self.vm_id_bits()) {
            return Err(error);
        }
        let linear = VmTableGeometry { vm_id_bits: u5::extract_u32(vm_id_bits, 0), structure: Structure::Linear };
        let mut needed_bytes = linear.shape().largest_piece();
        if needed_bytes <= contiguous_bytes {
            return Ok(linear);
        }
        let two_level = VmTableGeometry { vm_id_bits: u5::extract_u32(vm_id_bits, 0), structure: Structure::TwoLevel };
        if matches!(self.levels, Levels::TwoLevel) && two_level.shape().is_worthwhile() {
            // Never more than the linear table: it is 4 KiB, the linear one twice that at least.
            needed_bytes = two_level.shape().largest_piece();
            if needed_bytes <= contiguous_bytes {
                return Ok(two_level);
            }
        }
        Err(GeometryError::NotContiguous { id_bits: vm_id_bits, contiguous_bytes, needed_bytes })
    }

    /// Checks that this IRS supports the table (VMT-11).
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if the IRS has fewer VM ID bits, [`GeometryError::LinearOnly`] if it does not have
    /// two levels.
    pub const fn check(self, table: VmTableGeometry) -> Result<(), GeometryError> {
        if matches!((table.structure, self.levels), (Structure::TwoLevel, Levels::Linear)) {
            return Err(GeometryError::LinearOnly { field: "IRS_IDR3.VMT_LEVELS", rule: "VMT-11" });
        }
        check_vm_id_bits(table.vm_id_bits(), self.vm_id_bits())
    }
}

/// Checks a value for IRS_VMT_CFGR.VM_ID_BITS.
const fn check_vm_id_bits(value: u32, max: u32) -> Result<(), GeometryError> {
    if value > max {
        return Err(GeometryError::OutOfRange { field: VM_ID_BITS, value, min: 0, max, rule: "VMT-11" });
    }
    Ok(())
}

/// A VM table.
///
/// A configuration may use fewer VM ID bits than the IRS has. No source gives a least number, so any is taken: 0 makes a
/// table of one entry, for VM 0. The rule for the size of the level-1 table covers fewer than 7 bits (VMT-10), which says
/// that they are meant to be possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VmTableGeometry {
    // At most MAX_BITS.
    vm_id_bits: u5,
    structure: Structure,
}

impl VmTableGeometry {
    /// The most VM ID bits there are (GEN-10).
    pub const MAX_BITS: u32 = 16;

    /// The array of `2^vm_id_bits` entries of 32 bytes (VMT-8).
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] above 16.
    pub const fn linear(vm_id_bits: u32) -> Result<VmTableGeometry, GeometryError> {
        VmTableGeometry::new(vm_id_bits, Structure::Linear)
    }

    /// Level-2 tables of 128 entries and 4 KiB behind an array of 8-byte level-1 entries (VMT-9).
    ///
    /// It saves nothing unless there are more than 7 ID bits; [`VmTableLimits::choose`] does not pick it then.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] above 16.
    pub const fn two_level(vm_id_bits: u32) -> Result<VmTableGeometry, GeometryError> {
        VmTableGeometry::new(vm_id_bits, Structure::TwoLevel)
    }

    const fn new(vm_id_bits: u32, structure: Structure) -> Result<VmTableGeometry, GeometryError> {
        match check_vm_id_bits(vm_id_bits, VmTableGeometry::MAX_BITS) {
            Ok(()) => Ok(VmTableGeometry { vm_id_bits: u5::extract_u32(vm_id_bits, 0), structure }),
            Err(error) => Err(error),
        }
    }

    /// The table that a configuration register describes.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if VM_ID_BITS is above 16.
    pub const fn from_cfgr(cfgr: IRS_VMT_CFGR) -> Result<VmTableGeometry, GeometryError> {
        VmTableGeometry::new(cfgr.vm_id_bits().value() as u32, cfgr.structure())
    }

    /// What to write to IRS_VMT_CFGR before the table becomes valid (VMT-1).
    #[must_use]
    pub const fn cfgr(self) -> IRS_VMT_CFGR {
        IRS_VMT_CFGR::ZERO.with_structure(self.structure).with_vm_id_bits(self.vm_id_bits)
    }

    const fn shape(self) -> Shape {
        Shape {
            id_bits: self.vm_id_bits(),
            entry_log2: 5,
            // Always 4 KiB, whatever the page size (VMT-9).
            l2_log2: match self.structure {
                Structure::Linear => None,
                Structure::TwoLevel => Some(12),
            },
            base_floor_log2: 3,
            // L1_VMTE.L2_ADDR ends at bit 51, unlike every other address.
            l2_address_bits: 52,
        }
    }

    /// The number of VM ID bits, 0 to 16.
    #[must_use]
    pub const fn vm_id_bits(self) -> u32 {
        self.vm_id_bits.value() as u32
    }

    /// The shape.
    #[must_use]
    pub const fn structure(self) -> Structure {
        self.structure
    }

    /// What IRS_VMT_BASER points to: all entries, or the level-1 table.
    #[must_use]
    pub const fn base(self) -> Footprint {
        self.shape().base()
    }

    /// One level-2 table; `None` if the table is linear.
    #[must_use]
    pub const fn level2(self) -> Option<Footprint> {
        self.shape().level2()
    }

    /// The number of level-1 entries, 0 if the table is linear: max(1, 2^(VM_ID_BITS - 7)) (VMT-10).
    #[must_use]
    pub const fn l1_entries(self) -> u32 {
        self.shape().l1_entries()
    }

    /// Bytes of the whole table, with every level-2 table there.
    #[must_use]
    pub const fn total_bytes(self) -> u64 {
        self.shape().total_bytes()
    }

    /// Where the entry of a VM lies.
    ///
    /// # Errors
    ///
    /// [`GeometryError::Unreachable`] if the VM ID is not below `2^VM_ID_BITS` (VMT-20).
    pub const fn index(self, vm: VmId) -> Result<TableIndex, GeometryError> {
        let id = vm.raw_value() as u32;
        match self.shape().index(id) {
            Some(index) => Ok(index),
            None => Err(GeometryError::Unreachable { kind: "VM", id, id_bits: self.vm_id_bits(), rule: "VMT-20" }),
        }
    }

    /// The VMs behind a level-1 entry: any of them names it to IRS_VMAP_L2_VMTR (VMT-13).
    ///
    /// # Errors
    ///
    /// [`GeometryError::NoL1Entry`] if there is no such entry, and for a linear table.
    pub const fn vms_behind(self, l1_index: u32) -> Result<RangeInclusive<VmId>, GeometryError> {
        match self.shape().ids_behind(l1_index) {
            // IDs have 16 bits at most.
            Some(ids) => Ok(RangeInclusive::new(VmId::new(ids.start as u16), VmId::new((ids.end - 1) as u16))),
            None => {
                let entries = self.l1_entries();
                Err(GeometryError::NoL1Entry { index: l1_index, entries, rule: "VMT-10" })
            }
        }
    }
}
