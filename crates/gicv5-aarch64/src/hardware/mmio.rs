//! Accesses to the frames.
//!
//! Each is one load or store of one register without writeback, in assembly, because a hypervisor or an emulator that traps the access
//! cannot decode the other forms: the exception's syndrome does not describe them. The compiler is free to choose them for a
//! volatile access.

use core::arch::asm;

use gicv5_hal::{Frame, Irs};

use crate::frames::Frames;

impl<const N: usize> Irs for Frames<N> {
    #[inline]
    fn read32(&self, frame: Frame, offset: u16) -> u32 {
        let Some(at) = self.register(frame, offset, 4) else { return 0 };
        let value: u32;
        // SAFETY: a register of a frame, by the promise made to `Frames::new`.
        unsafe { asm!("ldr {value:w}, [{at}]", value = out(reg) value, at = in(reg) at, options(nostack)) }
        u32::from_le(value)
    }

    #[inline]
    fn write32(&self, frame: Frame, offset: u16, value: u32) {
        let Some(at) = self.register(frame, offset, 4) else { return };
        // SAFETY: as above.
        unsafe { asm!("str {value:w}, [{at}]", value = in(reg) value.to_le(), at = in(reg) at, options(nostack)) }
    }

    #[inline]
    fn read64(&self, frame: Frame, offset: u16) -> u64 {
        let Some(at) = self.register(frame, offset, 8) else { return 0 };
        let value: u64;
        // SAFETY: as above.
        unsafe { asm!("ldr {value}, [{at}]", value = out(reg) value, at = in(reg) at, options(nostack)) }
        u64::from_le(value)
    }

    #[inline]
    fn write64(&self, frame: Frame, offset: u16, value: u64) {
        let Some(at) = self.register(frame, offset, 8) else { return };
        // SAFETY: as above.
        unsafe { asm!("str {value}, [{at}]", value = in(reg) value.to_le(), at = in(reg) at, options(nostack)) }
    }
}
