//! Physical addresses and the address fields of registers and table entries.

use core::fmt;

use crate::layout::{FieldBits, FieldType, display_as_debug};

/// A physical address, at most 56 bits wide (the largest IRS_IDR0.PA_RANGE).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(u64);

/// A number that is no physical address or does not fit an address field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Bits above the highest address bit are set.
    #[error("address {address:#x} has bits above bit {msb}")]
    TooHigh {
        /// The number.
        address: u64,
        /// The highest bit that may be set.
        msb: u8,
    },
    /// Low bits that hardware takes as zero are set.
    #[error("address {address:#x} is not a multiple of {alignment:#x}")]
    Misaligned {
        /// The number.
        address: u64,
        /// The alignment that was required, in bytes.
        alignment: u64,
    },
}

impl PhysAddr {
    /// The number of address bits in the architecture.
    pub const BITS: u32 = 56;

    /// Makes an address from its number.
    ///
    /// # Errors
    ///
    /// [`AddressError::TooHigh`] if a bit above 55 is set.
    pub const fn new(address: u64) -> Result<PhysAddr, AddressError> {
        if address >> PhysAddr::BITS != 0 {
            return Err(AddressError::TooHigh { address, msb: 55 });
        }
        Ok(PhysAddr(address))
    }

    /// The highest address of this many bits; of 56 if there are more, 0 if there are none.
    #[must_use]
    pub const fn highest(bits: u32) -> PhysAddr {
        let bits = if bits < PhysAddr::BITS { bits } else { PhysAddr::BITS };
        PhysAddr((1 << bits) - 1)
    }

    /// The number.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The address `offset` bytes further on.
    ///
    /// # Errors
    ///
    /// [`AddressError::TooHigh`] if that is past the end of the address space.
    pub const fn offset(self, offset: u64) -> Result<PhysAddr, AddressError> {
        match self.0.checked_add(offset) {
            Some(address) => PhysAddr::new(address),
            None => Err(AddressError::TooHigh { address: u64::MAX, msb: 55 }),
        }
    }

    /// True if the address is a multiple of `alignment`, a power of two in bytes.
    #[must_use]
    pub const fn is_aligned_to(self, alignment: u64) -> bool {
        self.0 & alignment.wrapping_sub(1) == 0
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

display_as_debug!(PhysAddr);

/// What an address field with bits `MSB:LSB` can hold: an address whose other bits are zero.
///
/// Hardware takes the bits outside the field as zero, so an address that has them set would silently become another one
/// (VMT-10, IST-12); [`new`](Self::new) refuses it instead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldAddr<const MSB: u8, const LSB: u8>(u64);

impl<const MSB: u8, const LSB: u8> FieldAddr<MSB, LSB> {
    /// The alignment that the field's lowest bit asks for, in bytes. A table may ask for more.
    pub const ALIGNMENT: u64 = 1 << LSB;

    const MASK: u64 = (u64::MAX >> (63 - MSB)) & !(Self::ALIGNMENT - 1);

    /// Takes an address that fits the field.
    ///
    /// # Errors
    ///
    /// [`AddressError`] if bits above `MSB` or below `LSB` are set.
    pub const fn new(address: PhysAddr) -> Result<Self, AddressError> {
        let address = address.0;
        if MSB < 63 && address >> (MSB + 1) != 0 {
            return Err(AddressError::TooHigh { address, msb: MSB });
        }
        if address & (Self::ALIGNMENT - 1) != 0 {
            return Err(AddressError::Misaligned { address, alignment: Self::ALIGNMENT });
        }
        Ok(FieldAddr(address))
    }

    /// The address.
    #[must_use]
    pub const fn address(self) -> PhysAddr {
        PhysAddr(self.0)
    }
}

impl<const MSB: u8, const LSB: u8> fmt::Debug for FieldAddr<MSB, LSB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.address(), f)
    }
}

/// Ties an address field to the integer that its bits make.
macro_rules! field_addr {
    ($($alias:ident $msb:literal:$lsb:literal $raw:ident;)*) => {$(
        #[doc = concat!("An address field with bits ", $msb, ":", $lsb, ".")]
        pub type $alias = FieldAddr<$msb, $lsb>;

        impl FieldAddr<$msb, $lsb> {
            /// The address for these bits of a field.
            #[must_use]
            pub const fn new_with_raw_value(bits: arbitrary_int::$raw) -> Self {
                FieldAddr(bits.value() << $lsb & Self::MASK)
            }

            /// The bits as they stand in a field.
            #[must_use]
            pub const fn raw_value(self) -> arbitrary_int::$raw {
                arbitrary_int::$raw::new((self.0 & Self::MASK) >> $lsb)
            }
        }

        impl FieldType for FieldAddr<$msb, $lsb> {
            type Set = Self;
            fn from_bits(bits: u64) -> Option<Self> {
                crate::layout::narrow::<arbitrary_int::$raw>(bits).map(Self::new_with_raw_value)
            }
        }

        impl FieldBits for FieldAddr<$msb, $lsb> {
            fn bits(self) -> u64 {
                self.raw_value().value()
            }
        }
    )*};
}

field_addr! {
    Addr55_3 55:3 u53;
    Addr55_6 55:6 u50;
    Addr55_12 55:12 u44;
    Addr51_12 51:12 u40;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_of_more_than_56_bits_is_refused() {
        assert_eq!(PhysAddr::new(1 << 56), Err(AddressError::TooHigh { address: 1 << 56, msb: 55 }));
        let last = PhysAddr::new((1 << 56) - 1).unwrap();
        assert!(last.offset(1).is_err() && last.offset(u64::MAX).is_err());
        assert_eq!(last.offset(0), Ok(last));
        assert_eq!(format!("{last:?} {last}"), "0xffffffffffffff 0xffffffffffffff");
    }

    #[test]
    fn an_address_that_does_not_fit_its_field_is_refused_with_the_reason() {
        let too_high = PhysAddr::new(1 << 52).unwrap();
        assert_eq!(FieldAddr::<51, 12>::new(too_high), Err(AddressError::TooHigh { address: 1 << 52, msb: 51 }));
        assert!(FieldAddr::<55, 12>::new(too_high).is_ok());
        let odd = PhysAddr::new(0x1020).unwrap();
        assert_eq!(FieldAddr::<55, 6>::new(odd), Err(AddressError::Misaligned { address: 0x1020, alignment: 64 }));
        assert_eq!(format!("{:?}", FieldAddr::<55, 3>::new(odd).unwrap()), "0x1020");
    }

    proptest! {
        #[test]
        fn what_a_field_takes_it_gives_back(raw in 0u64..1 << 56) {
            let address = PhysAddr::new(raw).unwrap();
            match FieldAddr::<55, 6>::new(address) {
                Ok(field) => {
                    prop_assert_eq!(field.address(), address);
                    prop_assert_eq!(FieldAddr::<55, 6>::new_with_raw_value(field.raw_value()), field);
                    prop_assert!(address.is_aligned_to(64));
                }
                Err(_) => prop_assert!(!address.is_aligned_to(64)),
            }
        }
    }
}
