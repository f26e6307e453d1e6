//! The enumerations that several registers and table entries share.

use arbitrary_int::{u1, u2, u3, u4};

use crate::PhysAddr;
use crate::layout::{newtype_field, values};

values! {
    /// Interrupt domain (GEN-4).
    Domain: u2, exhaustive = true {
        /// Secure.
        Secure = 0 => "Secure",
        /// Non-secure.
        NonSecure = 1 => "Non-secure",
        /// EL3.
        El3 = 2 => "EL3",
        /// Realm.
        Realm = 3 => "Realm",
    }
}

values! {
    /// How an acknowledge treats the pending state (ISM-3, ISM-4).
    HandlingMode: u1, exhaustive = true {
        /// An acknowledge clears Pending.
        Edge = 0 => "edge",
        /// An acknowledge leaves Pending alone; only the source lowers it.
        Level = 1 => "level",
    }
}

values! {
    /// How an SPI's wire is read (SPI-3, SPI-4). Not the same as the [`HandlingMode`] (SPI-7).
    TriggerMode: u1, exhaustive = true {
        /// A rising wire is an event.
        Edge = 0 => "edge",
        /// The wire's level is the interrupt.
        Level = 1 => "level",
    }
}

values! {
    /// How an interrupt finds its PE or VPE (RTE-1, RTE-2).
    RoutingMode: u1, exhaustive = true {
        /// To the one named by the affinity.
        Targeted = 0 => "targeted",
        /// To one that the IRS picks.
        OneOfN = 1 => "1-of-N",
    }
}

values! {
    /// Shape of a table.
    Structure: u1, exhaustive = true {
        /// One array of entries.
        Linear = 0 => "linear",
        /// An array of pointers to arrays of entries.
        TwoLevel = 1 => "two-level",
    }
}

values! {
    /// Which shapes of a table an IRS supports.
    Levels: u1, exhaustive = true {
        /// Linear only.
        Linear = 0 => "linear only",
        /// Linear and two-level.
        TwoLevel = 1 => "linear and two-level",
    }
}

values! {
    /// Size of an IST entry, ISTSZ (IST-9).
    IstSize: u2, exhaustive = false {
        /// 4 bytes: no metadata.
        Bytes4 = 0 => "4 bytes",
        /// 8 bytes.
        Bytes8 = 1 => "8 bytes",
        /// 16 bytes.
        Bytes16 = 2 => "16 bytes",
    }
}

impl IstSize {
    /// log2 of the entry size in bytes: 2, 3 or 4.
    #[must_use]
    pub const fn log2_bytes(self) -> u32 {
        self.raw_value().value() as u32 + 2
    }

    /// The entry size in bytes: 4, 8 or 16.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.log2_bytes()
    }
}

values! {
    /// Size of a level-2 table, L2SZ (IST-14).
    L2Size: u2, exhaustive = false {
        /// 4 KiB.
        KiB4 = 0 => "4 KiB",
        /// 16 KiB.
        KiB16 = 1 => "16 KiB",
        /// 64 KiB.
        KiB64 = 2 => "64 KiB",
    }
}

impl L2Size {
    /// Every size, smallest first.
    pub const ALL: [L2Size; 3] = [L2Size::KiB4, L2Size::KiB16, L2Size::KiB64];

    /// log2 of the size in bytes: 12, 14 or 16.
    #[must_use]
    pub const fn log2_bytes(self) -> u32 {
        12 + 2 * self.raw_value().value() as u32
    }

    /// The size in bytes: 4096, 16384 or 65536.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.log2_bytes()
    }
}

/// The set of level-2 sizes an IRS supports: one bit for each of 4, 16 and 64 KiB, lowest first (IRS_IDR2.IST_L2SZ).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct L2SizeSet(u3);

impl L2SizeSet {
    /// No size: what an IRS without two-level ISTs has.
    pub const EMPTY: L2SizeSet = L2SizeSet(u3::new(0));

    /// The set with this size as well.
    #[must_use]
    pub const fn with(self, size: L2Size) -> L2SizeSet {
        L2SizeSet(u3::new(self.0.value() | 1 << size.raw_value().value()))
    }

    /// Makes the set from the bits of a field.
    #[must_use]
    pub const fn new_with_raw_value(bits: u3) -> L2SizeSet {
        L2SizeSet(bits)
    }

    /// The bits as they stand in a field.
    #[must_use]
    pub const fn raw_value(self) -> u3 {
        self.0
    }

    /// True if the set has this size.
    #[must_use]
    pub const fn contains(self, size: L2Size) -> bool {
        self.0.value() >> size.raw_value().value() & 1 != 0
    }
}

newtype_field!(L2SizeSet: u3);

/// A count of bits that a register stores minus one (GEN-11): the field 0 to 15 means 1 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BitsMinusOne(u4);

impl BitsMinusOne {
    /// Makes one from the bits of a field.
    #[must_use]
    pub const fn new_with_raw_value(bits: u4) -> BitsMinusOne {
        BitsMinusOne(bits)
    }

    /// The bits as they stand in a field: the count minus one.
    #[must_use]
    pub const fn raw_value(self) -> u4 {
        self.0
    }

    /// The field for a count of 1 to 16 bits; `None` for any other.
    #[must_use]
    pub const fn from_count(count: u32) -> Option<BitsMinusOne> {
        match count {
            1..=16 => Some(BitsMinusOne(u4::new((count - 1) as u8))),
            _ => None,
        }
    }

    /// The count it means, 1 to 16.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.value() as u32 + 1
    }
}

newtype_field!(BitsMinusOne: u4);

values! {
    /// Width of physical addresses.
    PaRange: u4, exhaustive = false {
        /// 32 bits.
        Bits32 = 0 => "32 bits",
        /// 36 bits.
        Bits36 = 1 => "36 bits",
        /// 40 bits.
        Bits40 = 2 => "40 bits",
        /// 42 bits.
        Bits42 = 3 => "42 bits",
        /// 44 bits.
        Bits44 = 4 => "44 bits",
        /// 48 bits.
        Bits48 = 5 => "48 bits",
        /// 52 bits.
        Bits52 = 6 => "52 bits",
        /// 56 bits.
        Bits56 = 7 => "56 bits",
    }
}

impl PaRange {
    /// The number of address bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            PaRange::Bits32 => 32,
            PaRange::Bits36 => 36,
            PaRange::Bits40 => 40,
            PaRange::Bits42 => 42,
            PaRange::Bits44 => 44,
            PaRange::Bits48 => 48,
            PaRange::Bits52 => 52,
            PaRange::Bits56 => 56,
        }
    }

    /// The highest address, all address bits set.
    #[must_use]
    pub const fn highest(self) -> PhysAddr {
        PhysAddr::highest(self.bits())
    }
}

values! {
    /// Number of implemented priority bits (IRS_IDR1.PRI_BITS, stored minus one).
    PriBits: u3, exhaustive = false {
        /// 1 bit.
        One = 0 => "1 bit",
        /// 2 bits.
        Two = 1 => "2 bits",
        /// 3 bits.
        Three = 2 => "3 bits",
        /// 4 bits.
        Four = 3 => "4 bits",
        /// 5 bits.
        Five = 4 => "5 bits",
    }
}

impl PriBits {
    /// The number of bits, 1 to 5.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.raw_value().value() as u32 + 1
    }
}

values! {
    /// Inner or outer cacheability of table accesses.
    Cacheability: u2, exhaustive = false {
        /// Non-cacheable.
        NonCacheable = 0 => "non-cacheable",
        /// Write-back.
        WriteBack = 1 => "write-back",
        /// Write-through.
        WriteThrough = 2 => "write-through",
    }
}

values! {
    /// Shareability of table accesses.
    Shareability: u2, exhaustive = false {
        /// Non-shareable.
        NonShareable = 0 => "non-shareable",
        /// Outer shareable.
        Outer = 2 => "outer shareable",
        /// Inner shareable.
        Inner = 3 => "inner shareable",
    }
}

values! {
    /// What a map command does with the entry it names.
    MapAction: u1, exhaustive = true {
        /// The entry becomes valid.
        MakeValid = 0 => "make valid",
        /// The entry becomes invalid.
        MakeInvalid = 1 => "make invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn counts_stored_minus_one_are_decoded_before_they_are_compared() {
        for count in 0..=20 {
            match BitsMinusOne::from_count(count) {
                Some(field) => {
                    assert_eq!(field.count(), count);
                    assert_eq!(u32::from(field.raw_value()), count - 1);
                }
                None => assert!(count == 0 || count > 16),
            }
        }
    }

    #[test]
    fn sizes_and_widths_say_what_their_meaning_says() {
        for (range, value) in (0..8).map(|n| PaRange::new_with_raw_value(u4::new(n)).unwrap()).zip(PaRange::VALUES) {
            assert_eq!(value.meaning, format!("{} bits", range.bits()));
            assert_eq!(range.meaning(), value.meaning);
            assert_eq!(range.highest().raw(), u64::MAX >> (64 - range.bits()));
        }
        for size in L2Size::ALL {
            assert_eq!(size.meaning(), format!("{} KiB", size.bytes() / 1024));
        }
        for size in [IstSize::Bytes4, IstSize::Bytes8, IstSize::Bytes16] {
            assert_eq!(size.meaning(), format!("{} bytes", size.bytes()));
        }
        for (bits, value) in (0..5).map(|n| PriBits::new_with_raw_value(u3::new(n)).unwrap()).zip(PriBits::VALUES) {
            assert_eq!(value.meaning.split(' ').next(), Some(bits.count().to_string().as_str()));
        }
    }

    #[test]
    fn a_size_set_holds_one_bit_for_each_size() {
        let set = L2SizeSet::new_with_raw_value(u3::new(0b101));
        assert!(set.contains(L2Size::KiB4) && !set.contains(L2Size::KiB16) && set.contains(L2Size::KiB64));
        assert_eq!(L2SizeSet::EMPTY.with(L2Size::KiB4).with(L2Size::KiB64), set);
        assert!(L2Size::ALL.iter().all(|&size| !L2SizeSet::EMPTY.contains(size)));
    }
}
