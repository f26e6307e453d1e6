//! The memory-mapped frames of the IRSs.

use core::fmt;

use gicv5_arch::irs::{IrsReg, SetLpiReg, Status};
use gicv5_arch::register::Register;

/// Which IRS, in the order in which the host counts them from 0. Not IRS_IDR0.IRSID, which the hardware chooses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IrsIndex(pub u16);

impl fmt::Debug for IrsIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IRS {}", self.0)
    }
}

impl fmt::Display for IrsIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Which of an IRS's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// The configuration frame, with the registers of [`IrsReg`].
    Config,
    /// The SETLPI frame, with the registers of [`SetLpiReg`]; there only if IRS_IDR0.SETLPI is 1 (LPI-5).
    SetLpi,
}

/// A frame of 64 KiB of one IRS, in the interrupt domain the software runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The IRS.
    pub irs: IrsIndex,
    /// Which of its frames.
    pub kind: FrameKind,
}

impl Frame {
    /// The configuration frame of an IRS.
    #[must_use]
    pub const fn config(irs: IrsIndex) -> Frame {
        Frame { irs, kind: FrameKind::Config }
    }

    /// The SETLPI frame of an IRS.
    #[must_use]
    pub const fn set_lpi(irs: IrsIndex) -> Frame {
        Frame { irs, kind: FrameKind::SetLpi }
    }
}

/// Access to the memory-mapped frames of the IRSs.
///
/// Callable from anywhere, interrupt handlers included; never waits. Accesses are little-endian, of the width asked for, in
/// program order with each other. They order no access to table memory: [`TableMemory::publish`](crate::TableMemory::publish)
/// does before a write, [`TableMemory::acquire`](crate::TableMemory::acquire) after a read (SYN-10). Frames have device memory
/// semantics: no access may be repeated, merged, split or left out.
///
/// Software names registers with [`IrsExt`]; these methods take offsets because a conformance test must be able to name
/// offsets where there is no register. An offset that is not a multiple of the width is the caller's mistake; what
/// happens then is up to the implementation, but it must not reach outside the frame. An IRS or frame that does not exist
/// reads as zero and ignores writes.
///
/// On bare metal: one volatile load or store (`LDR`/`STR` of Wt or Xt, unindexed) at `base(frame) + offset`.
pub trait Irs: Sync {
    /// Reads 32 bits.
    fn read32(&self, frame: Frame, offset: u16) -> u32;

    /// Writes 32 bits.
    fn write32(&self, frame: Frame, offset: u16, value: u32);

    /// Reads 64 bits in one access.
    fn read64(&self, frame: Frame, offset: u16) -> u64;

    /// Writes 64 bits in one access.
    fn write64(&self, frame: Frame, offset: u16, value: u64);
}

/// Access to the registers by type and by name.
pub trait IrsExt: Irs {
    /// Reads a register of the configuration frame.
    #[inline]
    fn read<R: Register<Reg = IrsReg>>(&self, irs: IrsIndex) -> R {
        R::from_bits(self.read_raw(irs, R::REG))
    }

    /// Writes a register of the configuration frame.
    #[inline]
    fn write<R: Register<Reg = IrsReg>>(&self, irs: IrsIndex, value: R) {
        self.write_raw(irs, R::REG, value.to_bits());
    }

    /// Reads a register of the configuration frame by its name; 32-bit registers fill the low half.
    #[inline]
    fn read_raw(&self, irs: IrsIndex, register: IrsReg) -> u64 {
        match register.width() {
            64 => self.read64(Frame::config(irs), register.offset()),
            _ => u64::from(self.read32(Frame::config(irs), register.offset())),
        }
    }

    /// Writes a register of the configuration frame by its name; 32-bit registers take the low half.
    #[inline]
    fn write_raw(&self, irs: IrsIndex, register: IrsReg, value: u64) {
        match register.width() {
            64 => self.write64(Frame::config(irs), register.offset(), value),
            _ => self.write32(Frame::config(irs), register.offset(), value as u32),
        }
    }

    /// Writes a register of the SETLPI frame.
    fn write_set_lpi<R: Register<Reg = SetLpiReg>>(&self, irs: IrsIndex, value: R) {
        self.write32(Frame::set_lpi(irs), R::REG.offset(), value.to_bits() as u32);
    }

    /// Asks a status register whether the last write has finished (GEN-17). Software waits for this before and after every
    /// write that takes time (GEN-18); [`IrsReg::status`] tells which register to ask.
    ///
    /// Returns the whole register too, for its other bits and for error messages.
    #[inline]
    fn is_idle(&self, irs: IrsIndex, status: Status) -> (bool, u64) {
        // Status registers have 32 bits.
        let value = u64::from(self.read32(Frame::config(irs), status.register.offset()));
        (value & u64::from(status.idle) != 0, value)
    }
}

impl<T: Irs + ?Sized> IrsExt for T {}
