//! The layout of a doorbell's word. The parent's table says who changes what.

#![allow(unreachable_pub, reason = "the macro makes a builder that is public")]

use arbitrary_int::u24;
use gicv5_arch::{VmId, VpeId};

use super::wake::Wake;

/// What is known about a doorbell.
#[bitbybit::bitfield(u64, default = 0, debug, forbid_overlaps)]
#[derive(PartialEq, Eq)]
pub(crate) struct Word {
    /// The VPE, or, in a free slot, the low half of the number of the next free one.
    #[bits(0..=15, rw)]
    vpe: u16,
    /// The VM, or, in a free slot, the high half.
    #[bits(16..=31, rw)]
    vm: u16,
    /// The slot has an owner.
    #[bit(32, rw)]
    live: bool,
    /// The VPE's settings are confirmed; it may be loaded.
    #[bit(33, rw)]
    ready: bool,
    /// A PE may have the VPE resident.
    #[bit(34, rw)]
    resident: bool,
    /// The IRS was, or is about to be, asked to ring.
    #[bit(35, rw)]
    requested: bool,
    /// It rang, and the vCPU has not looked yet.
    #[bit(36, rw)]
    fired: bool,
    /// It is being torn down.
    #[bit(37, rw)]
    dying: bool,
    /// Which of the slot's owners this is. After 2^24 owners it starts anew, which no late handler outlives:
    /// [`release`](gicv5_hal::HostLpis::release) returns only when none is left.
    #[bits(40..=63, rw)]
    generation: u24,
}

impl Word {
    pub(super) fn owner(self) -> Wake {
        Wake { vm: VmId::new(self.vm()), vpe: VpeId::new(self.vpe()) }
    }

    pub(super) fn owned_by(self, vm: VmId, vpe: VpeId) -> Word {
        self.with_vm(vm.raw_value()).with_vpe(vpe.raw_value())
    }

    /// In a free slot, the next free one.
    pub(super) fn next(self) -> u32 {
        u32::from(self.vm()) << 16 | u32::from(self.vpe())
    }

    pub(super) fn with_next(self, slot: u32) -> Word {
        self.with_vm((slot >> 16) as u16).with_vpe(slot as u16)
    }
}
