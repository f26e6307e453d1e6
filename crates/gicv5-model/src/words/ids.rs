//! What PEs, blocks of memory and registers are called.

use core::fmt;

use gicv5_arch::irs::{IrsReg, SetLpiReg};
use gicv5_hal::{Frame, FrameKind};

/// Which PE, in the order in which the machine counts them from 0. Not its affinity ID, which the configuration chooses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeIndex(pub u16);

impl fmt::Debug for PeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PE {}", self.0)
    }
}

impl fmt::Display for PeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A block of table memory, by a number that no other block of the machine has ever had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u64);

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}", self.0)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A register of an IRS by its place, which prints as its name if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegisterName(pub Frame, pub u16);

impl fmt::Display for RegisterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RegisterName(frame, offset) = *self;
        let upper = offset.wrapping_sub(4);
        match frame.kind {
            FrameKind::Config => match (IrsReg::at(offset), IrsReg::at(upper)) {
                (Some(register), _) => write!(f, "{register}"),
                (None, Some(register)) if register.width() == 64 => write!(f, "{register}[63:32]"),
                _ => write!(f, "reserved offset {offset:#x} of the configuration frame"),
            },
            FrameKind::SetLpi => match SetLpiReg::at(offset) {
                Some(register) => write!(f, "{register}"),
                None => write!(f, "reserved offset {offset:#x} of the SETLPI frame"),
            },
        }
    }
}
