//! The registers of the frame as one table.

use gicv5_arch::irs::{FRAME_BYTES, IrsReg, SetLpiReg};
use gicv5_arch::layout::fields_mask;
use gicv5_arch::register::RegisterInfo;

/// Width of an access in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// A byte.
    Bits8,
    /// A halfword.
    Bits16,
    /// A word.
    Bits32,
    /// A doubleword.
    Bits64,
}

impl Width {
    /// The width of an access of this many bytes; `None` unless it is 1, 2, 4 or 8.
    #[must_use]
    pub const fn from_bytes(bytes: usize) -> Option<Width> {
        match bytes {
            1 => Some(Width::Bits8),
            2 => Some(Width::Bits16),
            4 => Some(Width::Bits32),
            8 => Some(Width::Bits64),
            _ => None,
        }
    }

    /// Width in bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Width::Bits8 => 8,
            Width::Bits16 => 16,
            Width::Bits32 => 32,
            Width::Bits64 => 64,
        }
    }
}

/// A register that does no more than hold what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// IRS_CR1: attributes of table walks that never happen (GIRS-31).
    Attributes,
    /// IRS_SPI_SELR.
    SpiSelector,
    /// IRS_PE_SELR.
    PeSelector,
}

impl Stored {
    /// All of them, in the order of their discriminants.
    pub(crate) const ALL: [Stored; 3] = [Stored::Attributes, Stored::SpiSelector, Stored::PeSelector];

    /// The value after reset: selectors select nothing (GIRS-35, GIRS-52).
    #[must_use]
    pub const fn reset(self) -> u32 {
        match self {
            Stored::Attributes => 0,
            Stored::SpiSelector => 0xff_ffff,
            Stored::PeSelector => 0xffff,
        }
    }
}

/// What a read returns. No read has a side effect (GIRS-78).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// 0.
    Zero,
    /// A constant that follows from the [`Offer`](crate::Offer).
    Identification,
    /// What was written last.
    Stored(Stored),
    /// IRSEN as written, and IDLE (GIRS-27).
    Enable,
    /// IDLE=1: what earlier calls accepted is in the hardware (GIRS-32).
    Idle,
    /// The Non-secure domain (VIRS-9).
    NonSecure,
    /// The trigger mode of the selected SPI, 0 if it does not exist (VIRS-9).
    SpiMode,
    /// V if the selected SPI exists; IDLE unless a change of its mode has not reached the hardware (GIRS-34).
    SpiStatus,
    /// V and ONLINE if the selected vCPU exists (GIRS-52).
    PeStatus,
    /// DPS if the selected vCPU exists (VIRS-8).
    PeControl,
    /// Address and VALID as written, or VALID=0 after a refusal (GIRS-57).
    TableBase,
    /// As written.
    TableConfig,
    /// IDLE unless an operation is under way (GIRS-60).
    TableStatus,
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// Nothing.
    Ignored,
    /// Stores the bits that belong to a field (GIRS-7).
    Store(Stored),
    /// Sets IRSEN (GIRS-27).
    Enable,
    /// Sets the trigger mode of the selected SPI (GIRS-50).
    SpiMode,
    /// Looks at the line of an SPI again (GIRS-42).
    SpiResample,
    /// Makes or removes the LPI table (VIRS-12, VIRS-14).
    TableBase,
    /// Stores the table's configuration while it has no table (VIRS-11).
    TableConfig,
    /// Maps a level-2 table (GIRS-65).
    TableMap,
    /// Makes an LPI pending, if the frame is on offer (GIRS-70).
    SetLpi,
}

/// A register that a guest can find: one line of [`REGISTERS`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GuestRegister {
    /// Name, width, access and layout.
    pub info: &'static RegisterInfo,
    /// Byte offset from the start of the configuration frame.
    pub offset: u32,
    /// Which register of the configuration frame it is; `None` for the one of the SETLPI frame.
    pub register: Option<IrsReg>,
    /// What a read returns.
    pub reads: Reads,
    /// What a write does.
    pub writes: Writes,
}

impl GuestRegister {
    /// The bits that a write can change, as far as the register has fields.
    pub(crate) fn mask(&self) -> u64 {
        fields_mask(self.info.fields)
    }
}

const fn row(register: IrsReg, reads: Reads, writes: Writes) -> GuestRegister {
    let info = register.info();
    GuestRegister { info, offset: info.offset as u32, register: Some(register), reads, writes }
}

const fn id(register: IrsReg) -> GuestRegister {
    row(register, Reads::Identification, Writes::Ignored)
}

const fn stored(register: IrsReg, which: Stored) -> GuestRegister {
    row(register, Reads::Stored(which), Writes::Store(which))
}

const SETLPIR: &RegisterInfo = SetLpiReg::IRS_SETLPIR.info();

/// Every register that does anything, by offset. The others of an IRS, those of VMs, VPEs, MEC, MPAM and software errors, read as
/// zero and ignore writes (GIRS-68), as reserved offsets do (GIRS-2).
pub const REGISTERS: &[GuestRegister] = &[
    id(IrsReg::IRS_IDR0),
    id(IrsReg::IRS_IDR1),
    id(IrsReg::IRS_IDR2),
    id(IrsReg::IRS_IDR3),
    id(IrsReg::IRS_IDR4),
    id(IrsReg::IRS_IDR5),
    id(IrsReg::IRS_IDR6),
    id(IrsReg::IRS_IDR7),
    id(IrsReg::IRS_IIDR),
    id(IrsReg::IRS_AIDR),
    row(IrsReg::IRS_CR0, Reads::Enable, Writes::Enable),
    stored(IrsReg::IRS_CR1, Stored::Attributes),
    row(IrsReg::IRS_SYNCR, Reads::Zero, Writes::Ignored),
    row(IrsReg::IRS_SYNC_STATUSR, Reads::Idle, Writes::Ignored),
    row(IrsReg::IRS_SPI_VMR, Reads::Zero, Writes::Ignored),
    stored(IrsReg::IRS_SPI_SELR, Stored::SpiSelector),
    row(IrsReg::IRS_SPI_DOMAINR, Reads::NonSecure, Writes::Ignored),
    row(IrsReg::IRS_SPI_RESAMPLER, Reads::Zero, Writes::SpiResample),
    row(IrsReg::IRS_SPI_CFGR, Reads::SpiMode, Writes::SpiMode),
    row(IrsReg::IRS_SPI_STATUSR, Reads::SpiStatus, Writes::Ignored),
    stored(IrsReg::IRS_PE_SELR, Stored::PeSelector),
    row(IrsReg::IRS_PE_STATUSR, Reads::PeStatus, Writes::Ignored),
    row(IrsReg::IRS_PE_CR0, Reads::PeControl, Writes::Ignored),
    row(IrsReg::IRS_IST_BASER, Reads::TableBase, Writes::TableBase),
    row(IrsReg::IRS_IST_CFGR, Reads::TableConfig, Writes::TableConfig),
    row(IrsReg::IRS_IST_STATUSR, Reads::TableStatus, Writes::Ignored),
    row(IrsReg::IRS_MAP_L2_ISTR, Reads::Zero, Writes::TableMap),
    id(IrsReg::IRS_DEVARCH),
    id(IrsReg::IRS_PIDR4),
    id(IrsReg::IRS_PIDR5),
    id(IrsReg::IRS_PIDR6),
    id(IrsReg::IRS_PIDR7),
    id(IrsReg::IRS_PIDR0),
    id(IrsReg::IRS_PIDR1),
    id(IrsReg::IRS_PIDR2),
    id(IrsReg::IRS_PIDR3),
    id(IrsReg::IRS_CIDR0),
    id(IrsReg::IRS_CIDR1),
    id(IrsReg::IRS_CIDR2),
    id(IrsReg::IRS_CIDR3),
    GuestRegister {
        info: SETLPIR,
        offset: FRAME_BYTES as u32 + SETLPIR.offset as u32,
        register: None,
        reads: Reads::Zero,
        writes: Writes::SetLpi,
    },
];

/// How much of a register an access covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// Bits 31:0 of a 64-bit register.
    Low,
    /// Bits 63:32 of a 64-bit register.
    High,
}

impl Part {
    /// What a read of this part of the register returns.
    pub(crate) const fn of(self, value: u64) -> u64 {
        match self {
            Part::Whole => value,
            Part::Low => value & 0xffff_ffff,
            Part::High => value >> 32,
        }
    }

    /// The register after a write of this part (VIRS-16).
    pub(crate) const fn merge(self, old: u64, value: u64) -> u64 {
        match self {
            Part::Whole => value,
            Part::Low => old & !0xffff_ffff | value & 0xffff_ffff,
            Part::High => old & 0xffff_ffff | value << 32,
        }
    }
}

/// The register that claims an access; `None` for a reserved offset, a misaligned access and a wrong width (GIRS-2).
///
/// A 32-bit register takes 32-bit accesses (GIRS-3); a 64-bit one takes 64 bits, and 32 bits at either half (GIRS-4).
pub(crate) fn find(offset: u32, width: Width) -> Option<(&'static GuestRegister, Part)> {
    let index = match REGISTERS.binary_search_by_key(&offset, |register| register.offset) {
        Ok(index) => index,
        // The upper half of the register before.
        Err(next) => next.checked_sub(1)?,
    };
    let register = REGISTERS.get(index)?;
    let part = match (register.info.width, width, offset - register.offset) {
        (32, Width::Bits32, 0) | (64, Width::Bits64, 0) => Part::Whole,
        (64, Width::Bits32, 0) => Part::Low,
        (64, Width::Bits32, 4) => Part::High,
        _ => return None,
    };
    Some((register, part))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use gicv5_arch::register::Access;
    use std::vec::Vec;

    #[test]
    fn the_table_is_in_the_order_of_offsets_so_that_a_look_up_takes_at_most_six_comparisons() {
        assert!(REGISTERS.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        assert!(REGISTERS.len() < 1 << 6);
    }

    #[test]
    fn what_the_table_says_fits_the_access_that_the_architecture_gives_the_register() {
        for register in REGISTERS {
            match register.info.access {
                Access::RO => assert_eq!(register.writes, Writes::Ignored, "{}", register.info.name),
                Access::WO => assert_eq!(register.reads, Reads::Zero, "{}", register.info.name),
                Access::RW => {}
            }
        }
    }

    /// GIRS-20, GIRS-68: a register that is missing belongs to a feature that the guest is told is absent.
    #[test]
    fn the_registers_left_out_are_those_of_absent_features() {
        let listed: Vec<IrsReg> = REGISTERS.iter().filter_map(|register| register.register).collect();
        let absent = ["IRS_VM", "IRS_VPE", "IRS_SAVE", "IRS_MEC", "IRS_MPAM", "IRS_SWERR"];
        for register in IrsReg::ALL.iter().filter(|register| !listed.contains(register)) {
            assert!(absent.iter().any(|start| register.name().starts_with(start)), "{register}");
        }
        // And every register of an absent feature is left out.
        assert!(listed.iter().all(|register| !absent.iter().any(|start| register.name().starts_with(start))));
    }

    #[test]
    fn the_reset_values_fill_the_fields_and_nothing_else() {
        for register in REGISTERS {
            if let Reads::Stored(stored) = register.reads {
                assert_eq!(u64::from(stored.reset()) & !register.mask(), 0);
                assert_eq!(register.writes, Writes::Store(stored));
                assert_eq!(Stored::ALL[stored as usize], stored);
            }
        }
    }

    /// GIRS-2, GIRS-3, GIRS-4.
    #[test]
    fn an_access_reaches_a_register_only_where_it_begins_and_by_its_width_or_a_half_of_64_bits() {
        let widths = [Width::Bits8, Width::Bits16, Width::Bits32, Width::Bits64];
        for offset in 0..0x2_0010 {
            for width in widths {
                let at = |at: u32| REGISTERS.iter().find(|register| register.offset == at);
                let expected = match (at(offset), width) {
                    (Some(register), Width::Bits32) if register.info.width == 32 => Some((register, Part::Whole)),
                    (Some(register), Width::Bits32) => Some((register, Part::Low)),
                    (Some(register), Width::Bits64) if register.info.width == 64 => Some((register, Part::Whole)),
                    (None, Width::Bits32) if offset >= 4 => at(offset - 4)
                        .filter(|register| register.info.width == 64)
                        .map(|register| (register, Part::High)),
                    _ => None,
                };
                let found = find(offset, width);
                assert_eq!(found.map(|f| (f.0.offset, f.1)), expected.map(|e| (e.0.offset, e.1)), "{offset:#x}");
            }
        }
        assert!(find(u32::MAX, Width::Bits32).is_none());
    }
}
