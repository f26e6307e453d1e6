//! The cast of the virtual half: VMs, VPEs, doorbells and interrupts, as [`World`](crate::World) sets them up.
//!
//! ```text
//! VM table (2^8 VMs)
//! |-- VM, valid
//! |   |-- VPE table
//! |   |   |-- VPES[0], valid ........ DOORBELLS[0] --+
//! |   |   '-- VPES[1], valid ........ DOORBELLS[1] --+-- LPIs in the host's IST: mask open, not requested
//! |   |-- LPI IST: vlpi(0..INTERRUPTS) --+
//! |   '-- SPI IST: vspi(0..INTERRUPTS) --+-- enabled, priority 10, target VPES[0]
//! '-- OTHER, not valid: a test makes it with `lab.vm` or `lab.vm_with_ists`, with the same VPES
//! ```
//!
//! The IRS is enabled, and no VPE is resident.

use arbitrary_int::u24;
use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::{Iaffid, IrsIntId, IrsIntType, Priority, VmId, VpeId};

/// The VM of most tests.
pub const VM: VmId = VmId::new(5);

/// Another one; its entry shares a cache line with that of [`VM`] where lines have 64 bytes or more.
pub const OTHER: VmId = VmId::new(4);

/// The VPEs of both.
pub const VPES: [VpeId; 2] = [VpeId::new(0), VpeId::new(3)];

/// The doorbell LPIs of the VPEs of [`VM`].
pub const DOORBELLS: [u32; 2] = [40, 41];

/// Interrupts of each type that a VM has at least, from 0.
pub const INTERRUPTS: u32 = 64;

/// An entry of an IST that is enabled, with a priority and a target.
#[must_use]
pub fn preset(priority: u32, target: VpeId) -> L2_ISTE {
    let priority = Priority::new(priority).unwrap_or(Priority::LEAST_URGENT);
    L2_ISTE::ZERO.with_enable(true).with_priority(priority).with_iaffid(Iaffid::from(target))
}

/// A VM's LPI.
#[must_use]
pub fn vlpi(id: u32) -> IrsIntId {
    IrsIntId::from_parts(IrsIntType::Lpi, u24::new(id & 0xff_ffff))
}

/// A VM's SPI.
#[must_use]
pub fn vspi(id: u32) -> IrsIntId {
    IrsIntId::from_parts(IrsIntType::Spi, u24::new(id & 0xff_ffff))
}
