//! Which ISTs an IRS supports.

use arbitrary_int::u5;

use super::shape::bit_length;
use super::{GeometryError, IstGeometry};
use crate::id::IrsIntType;
use crate::irs::IRS_IDR2;
use crate::values::{IstSize, L2Size, L2SizeSet, Levels};

/// What an IRS supports in ISTs: the contents of IRS_IDR2. Physical and virtual ISTs have the same limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IstLimits {
    id_bits: u8,
    min_lpi_id_bits: u8,
    physical_lpis: bool,
    /// The level-2 sizes if there are two levels.
    l2_sizes: Option<L2SizeSet>,
    /// Where entries carry metadata, the number of ID bits from which on they are 16 bytes.
    metadata: Option<u8>,
}

impl IstLimits {
    /// The most that MIN_LPI_ID_BITS may be (GEN-10).
    pub const MAX_MIN_LPI_ID_BITS: u32 = 14;

    /// Reads IRS_IDR2.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if ID_BITS is above 24, or MIN_LPI_ID_BITS above 14 or above ID_BITS (GEN-10);
    /// [`GeometryError::NoL2Size`] if there are two levels and no size for the second (IST-15).
    pub const fn from_idr2(idr2: IRS_IDR2) -> Result<IstLimits, GeometryError> {
        let (value, max) = (idr2.id_bits().value() as u32, IstGeometry::MAX_BITS);
        if value > max {
            let field = "IRS_IDR2.ID_BITS";
            return Err(GeometryError::OutOfRange { field, value, min: 0, max, rule: "GEN-10" });
        }
        let l2_sizes = match idr2.ist_levels() {
            Levels::Linear => None,
            Levels::TwoLevel if idr2.ist_l2sz().raw_value().value() == 0 => return Err(GeometryError::NoL2Size),
            Levels::TwoLevel => Some(idr2.ist_l2sz()),
        };
        let limits = IstLimits {
            id_bits: idr2.id_bits().value(),
            min_lpi_id_bits: idr2.min_lpi_id_bits().value(),
            physical_lpis: idr2.lpi(),
            l2_sizes,
            metadata: if idr2.istmd() { Some(idr2.istmd_sz().value()) } else { None },
        };
        limits.checked()
    }

    /// Checks the smallest LPI table against what else there is.
    const fn checked(self) -> Result<IstLimits, GeometryError> {
        let (value, id_bits, cap) = (self.min_lpi_id_bits(), self.id_bits(), IstLimits::MAX_MIN_LPI_ID_BITS);
        let max = if id_bits < cap { id_bits } else { cap };
        if value > max {
            let field = "IRS_IDR2.MIN_LPI_ID_BITS";
            return Err(GeometryError::OutOfRange { field, value, min: 0, max, rule: "GEN-10" });
        }
        Ok(self)
    }

    /// The limits that hold where the CPU interface has this number of ID bits: the smaller number counts (GEN-12).
    /// ICC_IDR0_EL1.ID_BITS encodes 16 or 24; pass what it means.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if the smallest LPI table of the IRS has more.
    pub const fn with_cpu_interface(mut self, id_bits: u32) -> Result<IstLimits, GeometryError> {
        if id_bits < self.id_bits() {
            self.id_bits = id_bits as u8;
        }
        self.checked()
    }

    /// The most ID bits an IST may have, 0 to 24.
    #[must_use]
    pub const fn id_bits(self) -> u32 {
        self.id_bits as u32
    }

    /// The fewest ID bits an LPI IST may have, 0 to 14. SPI ISTs have no such limit.
    #[must_use]
    pub const fn min_lpi_id_bits(self) -> u32 {
        self.min_lpi_id_bits as u32
    }

    /// True if the IRS has physical LPIs. Virtual LPIs do not depend on it.
    #[must_use]
    pub const fn has_physical_lpis(self) -> bool {
        self.physical_lpis
    }

    /// The sizes of level-2 ISTs, never empty; `None` if ISTs are always linear (IST-15).
    #[must_use]
    pub const fn l2_sizes(self) -> Option<L2SizeSet> {
        self.l2_sizes
    }

    /// The size of an entry in an IST of this number of ID bits (IST-10).
    #[must_use]
    pub const fn entry_size(self, id_bits: u32) -> IstSize {
        match self.metadata {
            None => IstSize::Bytes4,
            Some(threshold) if id_bits < threshold as u32 => IstSize::Bytes8,
            Some(_) => IstSize::Bytes16,
        }
    }

    /// The fewest ID bits of an IST for `count` interrupts, IDs 0 to `count - 1`. An LPI IST can be larger than asked for,
    /// because the IRS may insist on a smallest one; hardware would raise the number itself and then walk memory that
    /// software did not allocate (IST-28).
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if the IRS has not that many ID bits.
    pub const fn id_bits_for(self, int_type: IrsIntType, count: u32) -> Result<u32, GeometryError> {
        let needed = bit_length(count.saturating_sub(1));
        let min = self.min_id_bits(int_type);
        let id_bits = if needed < min { min } else { needed };
        match self.check_id_bits(int_type, id_bits) {
            Ok(()) => Ok(id_bits),
            Err(error) => Err(error),
        }
    }

    const fn min_id_bits(self, int_type: IrsIntType) -> u32 {
        match int_type {
            IrsIntType::Lpi => self.min_lpi_id_bits(),
            IrsIntType::Spi => 0,
        }
    }

    const fn check_id_bits(self, int_type: IrsIntType, value: u32) -> Result<(), GeometryError> {
        let (min, max) = (self.min_id_bits(int_type), self.id_bits());
        if value < min || value > max {
            let field = match int_type {
                IrsIntType::Lpi => "LPI_ID_BITS",
                IrsIntType::Spi => "SPI_ID_BITS",
            };
            return Err(GeometryError::OutOfRange { field, value, min, max, rule: "IST-28" });
        }
        Ok(())
    }

    /// The IST to use where the allocator gives `contiguous_bytes` in one piece and no more.
    ///
    /// That is a linear one if it fits. Otherwise, if the IRS has two levels and one level-2 IST does not hold all IDs
    /// (IST-16), it is one with the largest level-2 size that fits together with its level-1 table: every level-2 IST
    /// costs a command to make it valid (IST-18), and fewer of them make a smaller level-1 table.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] if the IRS does not support that number of ID bits (IST-28),
    /// [`GeometryError::NotContiguous`] if no shape fits.
    pub const fn choose(
        self,
        int_type: IrsIntType,
        id_bits: u32,
        contiguous_bytes: u64,
    ) -> Result<IstGeometry, GeometryError> {
        if let Err(error) = self.check_id_bits(int_type, id_bits) {
            return Err(error);
        }
        let entry = self.entry_size(id_bits);
        let [small, medium, large] = L2Size::ALL;
        let mut needed_bytes = u64::MAX;
        let mut shapes: &[Option<L2Size>] = &[None, Some(large), Some(medium), Some(small)];
        while let [l2_size, rest @ ..] = shapes {
            shapes = rest;
            if let Some(size) = *l2_size
                && !self.has_l2_size(size)
            {
                continue;
            }
            let geometry = IstGeometry { id_bits: u5::extract_u32(id_bits, 0), entry, l2_size: *l2_size };
            if !geometry.shape().is_worthwhile() {
                continue;
            }
            let bytes = geometry.shape().largest_piece();
            if bytes <= contiguous_bytes {
                return Ok(geometry);
            }
            if bytes < needed_bytes {
                needed_bytes = bytes;
            }
        }
        Err(GeometryError::NotContiguous { id_bits, contiguous_bytes, needed_bytes })
    }

    const fn has_l2_size(self, size: L2Size) -> bool {
        match self.l2_sizes {
            None => false,
            Some(sizes) => sizes.contains(size),
        }
    }

    /// Checks that this IRS supports the IST for interrupts of this type.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfRange`] for a number of ID bits that hardware would clamp (IST-28),
    /// [`GeometryError::EntrySize`] for entries of the wrong size (IST-10), [`GeometryError::LinearOnly`] and
    /// [`GeometryError::L2SizeUnsupported`] for a shape or a level-2 size it does not have (IST-15).
    pub const fn check(self, int_type: IrsIntType, ist: IstGeometry) -> Result<(), GeometryError> {
        if let Err(error) = self.check_id_bits(int_type, ist.id_bits()) {
            return Err(error);
        }
        let (found, required, id_bits) = (ist.entry_size(), self.entry_size(ist.id_bits()), ist.id_bits());
        if found.bytes() != required.bytes() {
            return Err(GeometryError::EntrySize { found, required, id_bits });
        }
        match (ist.l2_size(), self.l2_sizes) {
            (Some(_), None) => Err(GeometryError::LinearOnly { field: "IRS_IDR2.IST_LEVELS", rule: "IST-15" }),
            (Some(size), Some(supported)) if !supported.contains(size) => {
                Err(GeometryError::L2SizeUnsupported { size, supported })
            }
            _ => Ok(()),
        }
    }
}
