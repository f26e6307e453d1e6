//! The frames of the IRSs, by address.

use gicv5_arch::irs::FRAME_BYTES;
use gicv5_hal::{Frame, FrameKind};

/// Where the frames of one IRS are mapped, in the interrupt domain that the code runs in: virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrsFrames {
    /// The configuration frame.
    pub config: usize,
    /// The SETLPI frame, if there is one (IRS_IDR0.SETLPI, LPI-5).
    pub set_lpi: Option<usize>,
}

/// The frames of `N` IRSs. The first is [`IrsIndex`](gicv5_hal::IrsIndex) 0.
pub struct Frames<const N: usize = 1> {
    irss: [IrsFrames; N],
}

impl<const N: usize> Frames<N> {
    /// Takes hold of the frames.
    ///
    /// # Safety
    ///
    /// - Each address is that of a frame of 64 KiB of an IRS, mapped for reads and writes as device memory (Device-nGnRE or
    ///   stricter), and stays so for as long as the value lives.
    /// - Nothing else writes to the frames' registers.
    /// - Code that gets hold of the value gives the IRSs no address but of memory that a
    ///   [`TableMemory`](gicv5_hal::TableMemory) has allocated. gicv5-phys and gicv5-hyp keep to that.
    #[must_use]
    pub const unsafe fn new(irss: [IrsFrames; N]) -> Frames<N> {
        Frames { irss }
    }

    /// The address of a register of so many bytes, if the frame exists and the access lies in it and is aligned.
    #[inline]
    pub(crate) fn register(&self, frame: Frame, offset: u16, bytes: u16) -> Option<usize> {
        let irs = self.irss.get(usize::from(frame.irs.0))?;
        let base = match frame.kind {
            FrameKind::Config => irs.config,
            FrameKind::SetLpi => irs.set_lpi?,
        };
        let inside = offset.is_multiple_of(bytes) && u64::from(offset) + u64::from(bytes) <= FRAME_BYTES;
        inside.then_some(base.wrapping_add(usize::from(offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gicv5_hal::IrsIndex;

    #[test]
    fn an_access_is_found_in_its_frame_and_nowhere_else() {
        // SAFETY: the addresses are looked at and not used.
        let frames = unsafe {
            Frames::new([
                IrsFrames { config: 0x10_0000, set_lpi: None },
                IrsFrames { config: 0x20_0000, set_lpi: Some(0x30_0000) },
            ])
        };
        let (first, second, third) = (IrsIndex(0), IrsIndex(1), IrsIndex(2));
        for (frame, offset, bytes, expected) in [
            (Frame::config(first), 0, 4, Some(0x10_0000)),
            (Frame::config(second), 0xfff8, 8, Some(0x20_fff8)),
            (Frame::config(second), 0xfffc, 4, Some(0x20_fffc)),
            (Frame::set_lpi(second), 8, 4, Some(0x30_0008)),
            // Not aligned.
            (Frame::config(first), 4, 8, None),
            (Frame::config(first), 0xfffc, 8, None),
            (Frame::config(first), 0xffff, 4, None),
            // Not there.
            (Frame::set_lpi(first), 0, 4, None),
            (Frame::config(third), 0, 4, None),
            (Frame::config(IrsIndex(u16::MAX)), 0, 4, None),
        ] {
            assert_eq!(frames.register(frame, offset, bytes), expected, "{frame:?} {offset:#x} {bytes}");
        }
    }
}
