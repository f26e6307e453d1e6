//! The frames of the IRS, by address.

use gicv5_arch::irs::FRAME_BYTES;
use gicv5_hal::{Frame, FrameKind, Irs, IrsIndex};

/// The frames of the IRS.
pub struct Frames {
    config: u64,
    set_lpi: Option<u64>,
}

impl Frames {
    /// Takes hold of the frames, by their addresses.
    ///
    /// # Safety
    ///
    /// They are mapped as device memory, they are those of an IRS, and nobody else accesses them. Whoever writes their
    /// registers gives the IRS no address but of memory that is nobody else's.
    pub unsafe fn new(config: u64, set_lpi: Option<u64>) -> Frames {
        Frames { config, set_lpi }
    }

    /// The pointer to a register, if the frame exists and the access lies in it.
    fn at<T>(&self, frame: Frame, offset: u16) -> Option<*mut T> {
        let base = match (frame.irs, frame.kind) {
            (IrsIndex(0), FrameKind::Config) => self.config,
            (IrsIndex(0), FrameKind::SetLpi) => self.set_lpi?,
            _ => return None,
        };
        let bytes = size_of::<T>() as u64;
        let inside = u64::from(offset).is_multiple_of(bytes) && u64::from(offset) + bytes <= FRAME_BYTES;
        inside.then_some((base + u64::from(offset)) as *mut T)
    }
}

// Single loads and stores of one register, which is what an emulator that traps them can decode.
impl Irs for Frames {
    fn read32(&self, frame: Frame, offset: u16) -> u32 {
        // SAFETY: a register of a frame, by the promise made to `new`.
        self.at(frame, offset).map_or(0, |at| u32::from_le(unsafe { core::ptr::read_volatile(at) }))
    }

    fn write32(&self, frame: Frame, offset: u16, value: u32) {
        if let Some(at) = self.at(frame, offset) {
            // SAFETY: as above.
            unsafe { core::ptr::write_volatile(at, value.to_le()) }
        }
    }

    fn read64(&self, frame: Frame, offset: u16) -> u64 {
        // SAFETY: as above.
        self.at(frame, offset).map_or(0, |at| u64::from_le(unsafe { core::ptr::read_volatile(at) }))
    }

    fn write64(&self, frame: Frame, offset: u16, value: u64) {
        if let Some(at) = self.at(frame, offset) {
            // SAFETY: as above.
            unsafe { core::ptr::write_volatile(at, value.to_le()) }
        }
    }
}
