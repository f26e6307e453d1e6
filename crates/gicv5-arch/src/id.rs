//! Identifiers: interrupts, virtual machines, virtual PEs, affinities.
//!
//! An interrupt is named by its type and a number within that type. The three number spaces are independent (GEN-2), so
//! [`IntId`] is an enumeration: whoever handles one has to say which type they mean before they see the number.

use core::fmt;

use arbitrary_int::traits::Integer;
use arbitrary_int::{u3, u4, u7, u24};

use crate::layout::{display_as_debug, newtype_field, values};

values! {
    /// The type of an interrupt, bits 31:29 of an INTID (GEN-1). Every other value is reserved.
    IntType: u3, exhaustive = false {
        /// Private to a PE or VPE, lives in the CPU interface.
        Ppi = 1 => "PPI",
        /// Lives in an IST in memory.
        Lpi = 2 => "LPI",
        /// Shared peripheral interrupt: a wire, lives in the IRS; as a virtual interrupt, lives in the VM's SPI IST.
        Spi = 3 => "SPI",
    }
}

values! {
    /// The interrupt types whose state the IRS keeps, as far as commands and instructions can name them (INS-8).
    IrsIntType: u3, exhaustive = false {
        /// Lives in an IST in memory.
        Lpi = 2 => "LPI",
        /// Shared peripheral interrupt.
        Spi = 3 => "SPI",
    }
}

impl From<IrsIntType> for IntType {
    fn from(value: IrsIntType) -> IntType {
        match value {
            IrsIntType::Lpi => IntType::Lpi,
            IrsIntType::Spi => IntType::Spi,
        }
    }
}

/// A number does not fit the kind of identifier it is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:#x} is out of range, the highest is {max:#x}")]
pub struct IdOutOfRange {
    /// The kind of identifier.
    pub kind: &'static str,
    /// The number that was offered.
    pub value: u64,
    /// The highest number there is.
    pub max: u64,
}

/// Declares an identifier of 24 bits: the ID part of an INTID of one type.
macro_rules! irs_int_id {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u24);

        impl $name {
            /// The highest ID: 24 bits, whatever an implementation supports (GEN-1).
            pub const MAX: $name = $name(u24::MAX);

            /// Names the interrupt with this ID.
            ///
            /// # Errors
            ///
            /// [`IdOutOfRange`] above [`MAX`](Self::MAX).
            pub const fn new(id: u32) -> Result<$name, IdOutOfRange> {
                if id > u24::MAX.value() {
                    return Err(IdOutOfRange { kind: $kind, value: id as u64, max: u24::MAX.value() as u64 });
                }
                Ok($name(u24::new(id)))
            }

            /// Names the interrupt with this ID; 24 bits always fit.
            #[must_use]
            pub const fn new_with_raw_value(id: u24) -> $name {
                $name(id)
            }

            /// The ID, 0 to 2^24 - 1.
            #[must_use]
            pub const fn id(self) -> u32 {
                self.0.value()
            }

            /// The ID as it stands in a 24-bit field.
            #[must_use]
            pub const fn raw_value(self) -> u24 {
                self.0
            }
        }

        newtype_field!($name: u24);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, " {}"), self.id())
            }
        }

        display_as_debug!($name);
    };
}

irs_int_id! {
    /// An LPI. Its ID is private to an interrupt domain, or to a VM if it is virtual (GEN-3).
    Lpi, "LPI"
}

irs_int_id! {
    /// An SPI. A physical one has the same ID in every domain; a virtual one's ID is private to its VM (GEN-3).
    Spi, "SPI"
}

/// A PPI, 0 to 127 (PPI-1). Numbers 0 to 63 are for the architecture to give, 64 to 127 for the implementation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppi(u7);

/// One of the two banks of 64 PPIs that a one-bit-per-PPI register covers (PPI-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PpiBank {
    /// PPI 0 to 63, registers with index 0.
    Architected,
    /// PPI 64 to 127, registers with index 1.
    ImplementationDefined,
}

impl PpiBank {
    /// Both banks, lowest first.
    pub const ALL: [PpiBank; 2] = [PpiBank::Architected, PpiBank::ImplementationDefined];

    /// The index of the bank's registers, 0 or 1.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            PpiBank::Architected => 0,
            PpiBank::ImplementationDefined => 1,
        }
    }

    /// The PPI that this bit of the bank's registers stands for; bits count from 0 to 63.
    #[must_use]
    pub const fn ppi(self, bit: arbitrary_int::u6) -> Ppi {
        Ppi(u7::new(self.index() as u8 * 64 + bit.value()))
    }
}

/// How a PPI is handled. Fixed in hardware (PPI-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PpiHandling {
    /// Fixed by the architecture.
    Architected(crate::values::HandlingMode),
    /// Chosen by the implementation; ICC_PPI_HMR tells.
    ImplementationDefined,
}

/// Declares the PPIs the architecture gives a number to (PPI-2).
macro_rules! architected_ppis {
    ($($number:literal $name:ident $($use:literal)+;)*) => {
        impl Ppi {
            $(
                #[doc = concat!("PPI ", $number, ": ", $($use,)+ ".")]
                pub const $name: Ppi = Ppi(u7::new($number));
            )*

            /// Every PPI with an architected number: number, name, use.
            pub const ARCHITECTED: &'static [(Ppi, &'static str, &'static str)] = &[
                $((Ppi::$name, stringify!($name), concat!($($use),+)),)*
            ];
        }
    };
}

architected_ppis! {
    0 DB_S "Secure doorbell";
    1 DB_RL "Realm doorbell";
    2 DB_NS "Non-secure doorbell";
    3 SW_PPI "software PPI, edge";
    15 HACDBSIRQ "hardware dirty-state structure";
    19 CNTHVS "Secure EL2 virtual timer";
    20 CNTHPS "Secure EL2 physical timer";
    21 PMBIRQ "statistical profiling buffer";
    22 COMMIRQ "debug communications";
    23 PMUIRQ "performance monitor";
    24 CTIIRQ "cross trigger, implementation-defined mode";
    25 GICMNT "GIC maintenance";
    26 CNTHP "Non-secure EL2 physical timer";
    27 CNTV "EL1 virtual timer";
    28 CNTHV "Non-secure EL2 virtual timer";
    29 CNTPS "Secure physical timer";
    30 CNTP "EL1 physical timer";
    31 TRBIRQ "trace buffer";
}

impl Ppi {
    /// The number of PPIs (PPI-1).
    pub const COUNT: usize = 128;

    /// Names the PPI with this ID.
    ///
    /// # Errors
    ///
    /// [`IdOutOfRange`] above 127.
    pub const fn new(id: u32) -> Result<Ppi, IdOutOfRange> {
        if id > 127 {
            return Err(IdOutOfRange { kind: "PPI", value: id as u64, max: 127 });
        }
        Ok(Ppi(u7::new(id as u8)))
    }

    /// The ID, 0 to 127.
    #[must_use]
    pub const fn id(self) -> u32 {
        self.0.value() as u32
    }

    /// The bank whose registers hold this PPI's bits: ID / 64 (PPI-1).
    #[must_use]
    pub const fn bank(self) -> PpiBank {
        if self.0.value() < 64 { PpiBank::Architected } else { PpiBank::ImplementationDefined }
    }

    /// The PPI's bit in its bank's registers, as a mask: bit ID mod 64 (PPI-1).
    #[must_use]
    pub const fn mask(self) -> u64 {
        1 << (self.0.value() % 64)
    }

    /// The index of the priority register that holds this PPI's priority, 0 to 15: ID / 8 (PPI-1).
    #[must_use]
    pub const fn priority_register(self) -> u4 {
        u4::new(self.0.value() / 8)
    }

    /// The PPI's byte in its priority register, 0 to 7: ID mod 8 (PPI-1).
    #[must_use]
    pub const fn priority_slot(self) -> u3 {
        u3::new(self.0.value() % 8)
    }

    /// What the architecture says about the PPI's handling mode (PPI-3): of the numbers it gives, all are level but
    /// the software PPI, which is edge, and the cross-trigger one, which the implementation chooses.
    #[must_use]
    pub const fn handling(self) -> PpiHandling {
        use crate::values::HandlingMode;
        match self.0.value() {
            3 => PpiHandling::Architected(HandlingMode::Edge),
            24 | 64.. => PpiHandling::ImplementationDefined,
            _ => PpiHandling::Architected(HandlingMode::Level),
        }
    }

    /// The name and use of a PPI with an architected number (PPI-2).
    #[must_use]
    pub const fn architected(self) -> Option<(&'static str, &'static str)> {
        let mut rest = Ppi::ARCHITECTED;
        while let [(ppi, name, purpose), others @ ..] = rest {
            if ppi.id() == self.id() {
                return Some((name, purpose));
            }
            rest = others;
        }
        None
    }
}

impl fmt::Debug for Ppi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PPI {}", self.id())
    }
}

display_as_debug!(Ppi);

/// An interrupt: its type and its ID within that type.
///
/// [`raw`](Self::raw) and [`from_raw`](Self::from_raw) convert to and from the 32-bit form that registers and
/// instructions share: type in bits 31:29, ID in bits 23:0, the rest zero (GEN-1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntId {
    /// A PE-private interrupt.
    Ppi(Ppi),
    /// An interrupt whose state is in an IST in memory.
    Lpi(Lpi),
    /// A shared peripheral interrupt.
    Spi(Spi),
}

/// A 32-bit value is not an INTID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIntId {
    /// Bits 31:29 hold a reserved type (GEN-1).
    #[error("INTID {raw:#010x} has the reserved type {int_type}")]
    ReservedType {
        /// The value.
        raw: u32,
        /// Bits 31:29.
        int_type: u8,
    },
    /// Bits 28:24 are not zero.
    #[error("INTID {raw:#010x} has reserved bits set, bits 28:24 are {bits:#x}")]
    ReservedBits {
        /// The value.
        raw: u32,
        /// Bits 28:24.
        bits: u8,
    },
    /// The type is PPI and there is no PPI with this ID.
    #[error("INTID {raw:#010x} names PPI {id}, the highest is 127")]
    NoSuchPpi {
        /// The value.
        raw: u32,
        /// Bits 23:0.
        id: u32,
    },
}

impl IntId {
    /// Puts a type and a 24-bit ID together. `None` for a PPI above 127.
    #[must_use]
    pub const fn from_parts(int_type: IntType, id: u24) -> Option<IntId> {
        match int_type {
            IntType::Ppi => match Ppi::new(id.value()) {
                Ok(ppi) => Some(IntId::Ppi(ppi)),
                Err(_) => None,
            },
            IntType::Lpi => Some(IntId::Lpi(Lpi(id))),
            IntType::Spi => Some(IntId::Spi(Spi(id))),
        }
    }

    /// Reads the 32-bit form.
    ///
    /// # Errors
    ///
    /// [`NotAnIntId`] for a reserved type, for reserved bits that are set, and for a PPI above 127.
    pub const fn from_raw(raw: u32) -> Result<IntId, NotAnIntId> {
        let reserved = (raw >> 24) & 0x1f;
        if reserved != 0 {
            return Err(NotAnIntId::ReservedBits { raw, bits: reserved as u8 });
        }
        let id = u24::new(raw & 0xff_ffff);
        match IntType::new_with_raw_value(u3::new((raw >> 29) as u8)) {
            Ok(int_type) => match IntId::from_parts(int_type, id) {
                Some(int_id) => Ok(int_id),
                None => Err(NotAnIntId::NoSuchPpi { raw, id: id.value() }),
            },
            Err(int_type) => Err(NotAnIntId::ReservedType { raw, int_type: int_type.value() }),
        }
    }

    /// The 32-bit form: type in bits 31:29, ID in bits 23:0.
    #[must_use]
    pub const fn raw(self) -> u32 {
        ((self.int_type().raw_value().value() as u32) << 29) | self.id()
    }

    /// The type.
    #[must_use]
    pub const fn int_type(self) -> IntType {
        match self {
            IntId::Ppi(_) => IntType::Ppi,
            IntId::Lpi(_) => IntType::Lpi,
            IntId::Spi(_) => IntType::Spi,
        }
    }

    /// The ID within its type. Meaningless without it (GEN-2).
    #[must_use]
    pub const fn id(self) -> u32 {
        match self {
            IntId::Ppi(ppi) => ppi.id(),
            IntId::Lpi(lpi) => lpi.id(),
            IntId::Spi(spi) => spi.id(),
        }
    }

    /// The ID as it stands in a 24-bit field.
    #[must_use]
    pub const fn id_field(self) -> u24 {
        u24::new(self.id())
    }
}

impl From<Ppi> for IntId {
    fn from(ppi: Ppi) -> IntId {
        IntId::Ppi(ppi)
    }
}

impl From<Lpi> for IntId {
    fn from(lpi: Lpi) -> IntId {
        IntId::Lpi(lpi)
    }
}

impl From<Spi> for IntId {
    fn from(spi: Spi) -> IntId {
        IntId::Spi(spi)
    }
}

impl fmt::Debug for IntId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IntId::Ppi(ppi) => fmt::Debug::fmt(ppi, f),
            IntId::Lpi(lpi) => fmt::Debug::fmt(lpi, f),
            IntId::Spi(spi) => fmt::Debug::fmt(spi, f),
        }
    }
}

display_as_debug!(IntId);

/// An LPI or SPI: an interrupt whose state the IRS keeps, and so the only kind that most instructions and all events can
/// name (INS-8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IrsIntId {
    /// An interrupt whose state is in an IST in memory.
    Lpi(Lpi),
    /// A shared peripheral interrupt.
    Spi(Spi),
}

impl IrsIntId {
    /// Puts a type and a 24-bit ID together.
    #[must_use]
    pub const fn from_parts(int_type: IrsIntType, id: u24) -> IrsIntId {
        match int_type {
            IrsIntType::Lpi => IrsIntId::Lpi(Lpi(id)),
            IrsIntType::Spi => IrsIntId::Spi(Spi(id)),
        }
    }

    /// The type.
    #[must_use]
    pub const fn int_type(self) -> IrsIntType {
        match self {
            IrsIntId::Lpi(_) => IrsIntType::Lpi,
            IrsIntId::Spi(_) => IrsIntType::Spi,
        }
    }

    /// The ID within its type, as it stands in a 24-bit field. Meaningless without the type (GEN-2).
    #[must_use]
    pub const fn id_field(self) -> u24 {
        match self {
            IrsIntId::Lpi(lpi) => lpi.0,
            IrsIntId::Spi(spi) => spi.0,
        }
    }

    /// The ID within its type. Meaningless without it (GEN-2).
    #[must_use]
    pub const fn id(self) -> u32 {
        self.id_field().value()
    }
}

impl From<Lpi> for IrsIntId {
    fn from(lpi: Lpi) -> IrsIntId {
        IrsIntId::Lpi(lpi)
    }
}

impl From<Spi> for IrsIntId {
    fn from(spi: Spi) -> IrsIntId {
        IrsIntId::Spi(spi)
    }
}

impl From<IrsIntId> for IntId {
    fn from(int_id: IrsIntId) -> IntId {
        match int_id {
            IrsIntId::Lpi(lpi) => IntId::Lpi(lpi),
            IrsIntId::Spi(spi) => IntId::Spi(spi),
        }
    }
}

/// A PPI was given where only an LPI or SPI makes sense (INS-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is neither an LPI nor an SPI")]
pub struct NotAnIrsIntId(pub Ppi);

impl TryFrom<IntId> for IrsIntId {
    type Error = NotAnIrsIntId;

    fn try_from(int_id: IntId) -> Result<IrsIntId, NotAnIrsIntId> {
        match int_id {
            IntId::Ppi(ppi) => Err(NotAnIrsIntId(ppi)),
            IntId::Lpi(lpi) => Ok(IrsIntId::Lpi(lpi)),
            IntId::Spi(spi) => Ok(IrsIntId::Spi(spi)),
        }
    }
}

impl fmt::Debug for IrsIntId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IrsIntId::Lpi(lpi) => fmt::Debug::fmt(lpi, f),
            IrsIntId::Spi(spi) => fmt::Debug::fmt(spi, f),
        }
    }
}

display_as_debug!(IrsIntId);

/// Gives a layout that reports an interrupt or none (a valid bit, TYPE and ID) its reader and its constructor.
macro_rules! reports_interrupt {
    ($name:ident: $valid:ident $with_valid:ident) => {
        impl $name {
            /// The interrupt; `None` if there is none or the bits name no interrupt.
            #[must_use]
            #[inline]
            pub const fn int_id(self) -> Option<crate::IntId> {
                match (self.$valid(), self.int_type()) {
                    (true, Ok(int_type)) => crate::IntId::from_parts(int_type, self.id()),
                    _ => None,
                }
            }

            /// The value that reports this interrupt, or none.
            #[must_use]
            #[inline]
            pub const fn reporting(int_id: Option<crate::IntId>) -> $name {
                match int_id {
                    Some(int_id) => {
                        $name::ZERO.$with_valid(true).with_int_type(int_id.int_type()).with_id(int_id.id_field())
                    }
                    None => $name::ZERO,
                }
            }
        }
    };
}
pub(crate) use reports_interrupt;

/// Declares an identifier of 16 bits.
macro_rules! id16 {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u16);

        impl $name {
            /// Makes one from its number; every 16-bit number names one, whether or not it exists.
            #[must_use]
            pub const fn new(number: u16) -> $name {
                $name(number)
            }

            /// Makes one from the bits of a field.
            #[must_use]
            pub const fn new_with_raw_value(number: u16) -> $name {
                $name(number)
            }

            /// The number.
            #[must_use]
            pub const fn raw_value(self) -> u16 {
                self.0
            }
        }

        newtype_field!($name: u16);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, " {}"), self.0)
            }
        }

        display_as_debug!($name);
    };
}

id16! {
    /// A virtual machine, within one interrupt domain (VM-13): the index of its VM table entry.
    VmId, "VM"
}

id16! {
    /// A virtual PE, within its VM: the index of its VPE table entry.
    VpeId, "VPE"
}

id16! {
    /// Interrupt affinity ID: the name of a PE for interrupt routing. In a virtual IST the field holds a VPE ID (VPE-19).
    Iaffid, "IAFFID"
}

impl From<VpeId> for Iaffid {
    /// The name under which a guest knows one of its VPEs (VPE-19).
    fn from(vpe: VpeId) -> Iaffid {
        Iaffid(vpe.0)
    }
}

impl From<Iaffid> for VpeId {
    /// The VPE that a guest's affinity means (VPE-19).
    fn from(iaffid: Iaffid) -> VpeId {
        VpeId(iaffid.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::HandlingMode;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn an_intid_reads_as_people_say_it() {
        assert_eq!(format!("{:?}", IntId::from_raw(0x2000_001b).unwrap()), "PPI 27");
        assert_eq!(format!("{}", IntId::from_raw(0x6000_002f).unwrap()), "SPI 47");
        assert_eq!(format!("{:?}", IntId::from_raw(0x4000_0000).unwrap()), "LPI 0");
        assert_eq!(format!("{} {}", Lpi::new(8).unwrap(), Spi::new(9).unwrap()), "LPI 8 SPI 9");
        assert_eq!(format!("{} {:?} {:?}", VmId::new(7), VpeId::new(3), Iaffid::new(1)), "VM 7 VPE 3 IAFFID 1");
        assert_eq!(format!("{} {:?}", IrsIntId::from(Lpi::MAX), IrsIntId::from(Spi::MAX)), "LPI 16777215 SPI 16777215");
    }

    #[test]
    fn the_same_number_is_three_interrupts() {
        let number = 27;
        let ids = [
            IntId::from(Ppi::new(number).unwrap()),
            IntId::from(Lpi::new(number).unwrap()),
            IntId::from(Spi::new(number).unwrap()),
        ];
        assert!(ids.iter().all(|id| id.id() == number && u32::from(id.id_field()) == number));
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }

    #[test]
    fn what_is_no_intid_is_refused_with_the_reason() {
        assert_eq!(IntId::from_raw(0), Err(NotAnIntId::ReservedType { raw: 0, int_type: 0 }));
        assert_eq!(IntId::from_raw(0x8000_0001), Err(NotAnIntId::ReservedType { raw: 0x8000_0001, int_type: 4 }));
        assert_eq!(IntId::from_raw(0x6100_0001), Err(NotAnIntId::ReservedBits { raw: 0x6100_0001, bits: 1 }));
        assert_eq!(IntId::from_raw(0x2000_0080), Err(NotAnIntId::NoSuchPpi { raw: 0x2000_0080, id: 128 }));
        assert!(Ppi::new(128).is_err() && Ppi::new(u32::MAX).is_err());
        assert_eq!(Lpi::new(1 << 24).unwrap_err().max, (1 << 24) - 1);
        assert_eq!(
            Spi::new(1 << 24).unwrap_err().to_string(),
            "SPI 0x1000000 is out of range, the highest is 0xffffff"
        );
    }

    #[test]
    fn a_ppi_knows_its_place_in_every_register() {
        for id in 0..128 {
            let ppi = Ppi::new(id).unwrap();
            assert_eq!(ppi.bank().index(), id as usize / 64);
            assert_eq!(ppi.mask(), 1 << (id % 64));
            assert_eq!(ppi.bank().ppi(arbitrary_int::u6::new(id as u8 % 64)), ppi);
            assert_eq!(u32::from(ppi.priority_register()) * 8 + u32::from(ppi.priority_slot()), id);
        }
        assert_eq!(PpiBank::ALL.map(PpiBank::index), [0, 1]);
    }

    #[test]
    fn only_the_software_ppi_is_edge_by_architecture() {
        for id in 0..128 {
            let expected = match id {
                3 => PpiHandling::Architected(HandlingMode::Edge),
                24 | 64.. => PpiHandling::ImplementationDefined,
                _ => PpiHandling::Architected(HandlingMode::Level),
            };
            assert_eq!(Ppi::new(id).unwrap().handling(), expected, "PPI {id} (PPI-3)");
        }
        assert_eq!(Ppi::CNTV.architected(), Some(("CNTV", "EL1 virtual timer")));
        assert_eq!(Ppi::new(64).unwrap().architected(), None);
    }

    #[test]
    fn a_ppi_is_not_the_irs_s_business() {
        assert_eq!(IrsIntId::try_from(IntId::Ppi(Ppi::CNTV)), Err(NotAnIrsIntId(Ppi::CNTV)));
        for id in [IntId::Lpi(Lpi::MAX), IntId::Spi(Spi::MAX)] {
            let irs_id = IrsIntId::try_from(id).unwrap();
            assert_eq!(IntId::from(irs_id), id);
            assert_eq!(IrsIntId::from_parts(irs_id.int_type(), irs_id.id_field()), irs_id);
            assert_eq!(IntType::from(irs_id.int_type()), id.int_type());
            assert_eq!(irs_id.id(), id.id());
        }
    }

    #[test]
    fn a_guest_sees_its_vpe_ids_as_affinities() {
        assert_eq!(Iaffid::from(VpeId::new(300)), Iaffid::new(300));
        assert_eq!(VpeId::from(Iaffid::new(300)), VpeId::new(300));
    }

    proptest! {
        #[test]
        fn every_intid_survives_its_raw_form(raw: u32) {
            if let Ok(id) = IntId::from_raw(raw) {
                prop_assert_eq!(id.raw(), raw);
                prop_assert_eq!(IntId::from_parts(id.int_type(), id.id_field()), Some(id));
            }
        }
    }
}
