//! The interrupt state table: the physical one for LPIs, and the virtual ones of each VM for its LPIs and SPIs.

use core::ops::Range;

use arbitrary_int::{u2, u5};

use super::shape::Shape;
use super::{Footprint, GeometryError, TableIndex};
use crate::address::{AddressError, PhysAddr};
use crate::entry::L2_VMTE_IST;
use crate::irs::IRS_IST_CFGR;
use crate::values::{IstSize, L2Size, Structure};

/// An IST.
///
/// The same four things describe a physical IST in IRS_IST_CFGR and a virtual one in its word of the VM table entry: the
/// number of ID bits, the shape, the size of an entry and the size of a level-2 IST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IstGeometry {
    // At most MAX_BITS, which is what keeps the arithmetic in range.
    pub(super) id_bits: u5,
    pub(super) entry: IstSize,
    pub(super) l2_size: Option<L2Size>,
}

impl IstGeometry {
    /// The most ID bits there are: an INTID has no more (GEN-1).
    pub const MAX_BITS: u32 = 24;

    /// The array of `2^id_bits` entries (IST-12).
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] above 24.
    pub const fn linear(id_bits: u32, entry: IstSize) -> Result<IstGeometry, GeometryError> {
        IstGeometry::new(id_bits, entry, None)
    }

    /// Level-2 ISTs of one size behind an array of 8-byte level-1 entries (IST-13, IST-14).
    ///
    /// It saves nothing unless one level-2 IST is too small for all IDs (IST-16); [`IstLimits::choose`] does not pick it
    /// then. Such a table has one level-1 entry and uses the start of one level-2 IST.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] above 24.
    ///
    /// [`IstLimits::choose`]: super::IstLimits::choose
    pub const fn two_level(id_bits: u32, entry: IstSize, l2_size: L2Size) -> Result<IstGeometry, GeometryError> {
        IstGeometry::new(id_bits, entry, Some(l2_size))
    }

    const fn new(id_bits: u32, entry: IstSize, l2_size: Option<L2Size>) -> Result<IstGeometry, GeometryError> {
        let max = IstGeometry::MAX_BITS;
        if id_bits > max {
            return Err(GeometryError::OutOfRange { field: "ID_BITS", value: id_bits, min: 0, max, rule: "GEN-1" });
        }
        Ok(IstGeometry { id_bits: u5::extract_u32(id_bits, 0), entry, l2_size })
    }

    /// The physical IST that a configuration register describes.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if LPI_ID_BITS is above 24, [`GeometryError::Reserved`] if ISTSZ is, or L2SZ of a
    /// two-level IST is.
    pub const fn from_cfgr(cfgr: IRS_IST_CFGR) -> Result<IstGeometry, GeometryError> {
        IstGeometry::from_fields(cfgr.lpi_id_bits(), cfgr.structure(), cfgr.istsz(), cfgr.l2sz())
    }

    /// The virtual IST that a word of a VM table entry describes.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if ID_BITS is above 24, [`GeometryError::Reserved`] if ISTSZ is, or L2SZ of a
    /// two-level IST is.
    pub const fn from_vmte_word(word: L2_VMTE_IST) -> Result<IstGeometry, GeometryError> {
        IstGeometry::from_fields(word.id_bits(), word.structure(), word.istsz(), word.l2sz())
    }

    const fn from_fields(
        id_bits: u5,
        structure: Structure,
        istsz: Result<IstSize, u2>,
        l2sz: Result<L2Size, u2>,
    ) -> Result<IstGeometry, GeometryError> {
        let entry = match istsz {
            Ok(entry) => entry,
            Err(raw) => return Err(GeometryError::Reserved { field: "ISTSZ", value: raw.value(), rule: "IST-9" }),
        };
        let l2_size = match (structure, l2sz) {
            (Structure::Linear, _) => None,
            (Structure::TwoLevel, Ok(size)) => Some(size),
            (Structure::TwoLevel, Err(raw)) => {
                return Err(GeometryError::Reserved { field: "L2SZ", value: raw.value(), rule: "IST-14" });
            }
        };
        IstGeometry::new(id_bits.value() as u32, entry, l2_size)
    }

    /// What to write to IRS_IST_CFGR before the physical LPI IST becomes valid (LPI-1).
    #[must_use]
    pub const fn cfgr(self) -> IRS_IST_CFGR {
        IRS_IST_CFGR::ZERO
            .with_structure(self.structure())
            .with_istsz(self.entry)
            .with_l2sz(self.l2sz())
            .with_lpi_id_bits(self.id_bits)
    }

    /// The word of a VM table entry that describes this IST with its [base](Self::base) at this address. IST_VALID is 0,
    /// for the IRS to set on a live VM (IST-2).
    ///
    /// # Errors
    ///
    /// [`AddressError`] if the base cannot lie there.
    pub const fn vmte_word(self, base: PhysAddr) -> Result<L2_VMTE_IST, AddressError> {
        match self.base().place(base) {
            Ok(address) => Ok(L2_VMTE_IST::ZERO
                .with_id_bits(self.id_bits)
                .with_structure(self.structure())
                .with_istsz(self.entry)
                .with_ist_addr(address)
                .with_l2sz(self.l2sz())),
            Err(error) => Err(error),
        }
    }

    /// What L2SZ holds; 0 if the table is linear and the field means nothing.
    const fn l2sz(self) -> L2Size {
        match self.l2_size {
            Some(size) => size,
            None => L2Size::KiB4,
        }
    }

    pub(super) const fn shape(self) -> Shape {
        Shape {
            id_bits: self.id_bits(),
            entry_log2: self.entry.log2_bytes(),
            l2_log2: match self.l2_size {
                None => None,
                Some(size) => Some(size.log2_bytes()),
            },
            // 64 bytes: no base address field has bits below 6 (IST-12, IST-13).
            base_floor_log2: 6,
            l2_address_bits: PhysAddr::BITS as u8,
        }
    }

    /// The number of ID bits, 0 to 24.
    #[must_use]
    pub const fn id_bits(self) -> u32 {
        self.id_bits.value() as u32
    }

    /// The size of an entry. Only its first 4 bytes are architected (IST-11).
    #[must_use]
    pub const fn entry_size(self) -> IstSize {
        self.entry
    }

    /// The shape.
    #[must_use]
    pub const fn structure(self) -> Structure {
        match self.l2_size {
            None => Structure::Linear,
            Some(_) => Structure::TwoLevel,
        }
    }

    /// The size of a level-2 IST; `None` if the table is linear.
    #[must_use]
    pub const fn l2_size(self) -> Option<L2Size> {
        self.l2_size
    }

    /// What the base address points to: all entries, or the level-1 table. Aligned to 64 bytes at least, whatever the size
    /// (IST-12, IST-13).
    #[must_use]
    pub const fn base(self) -> Footprint {
        self.shape().base()
    }

    /// One level-2 IST, aligned to its size (IST-14); `None` if the table is linear.
    #[must_use]
    pub const fn level2(self) -> Option<Footprint> {
        self.shape().level2()
    }

    /// The number of level-1 entries that carry IDs, 0 if the table is linear. The [stride](Footprint::stride) of the base
    /// can have room for more; they are not to be walked (IST-17).
    #[must_use]
    pub const fn l1_entries(self) -> u32 {
        self.shape().l1_entries()
    }

    /// Bytes of the whole IST, with every level-2 IST there.
    #[must_use]
    pub const fn total_bytes(self) -> u64 {
        self.shape().total_bytes()
    }

    /// Where the entry of an LPI or SPI lies. The ID is the number within its type, not the INTID.
    ///
    /// # Errors
    ///
    /// [`GeometryError::Unreachable`] if the ID is not below `2^ID_BITS` (IST-27).
    pub const fn index(self, id: u32) -> Result<TableIndex, GeometryError> {
        match self.shape().index(id) {
            Some(index) => Ok(index),
            None => Err(GeometryError::Unreachable { kind: "interrupt", id, id_bits: self.id_bits(), rule: "IST-27" }),
        }
    }

    /// The IDs behind a level-1 entry: any of them names it to IRS_MAP_L2_ISTR and IRS_VMAP_L2_VISTR (IST-18).
    ///
    /// # Errors
    ///
    /// [`GeometryError::NoL1Entry`] if the entry carries no IDs (IST-17), and for a linear table.
    pub const fn ids_behind(self, l1_index: u32) -> Result<Range<u32>, GeometryError> {
        match self.shape().ids_behind(l1_index) {
            Some(ids) => Ok(ids),
            None => {
                let entries = self.l1_entries();
                Err(GeometryError::NoL1Entry { index: l1_index, entries, rule: "IST-17" })
            }
        }
    }
}
