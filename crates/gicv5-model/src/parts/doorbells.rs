//! Which priorities a doorbell mask lets through.

use gicv5_arch::Priority;

use crate::words::config::DoorbellMask;

/// The priorities that a doorbell mask lets through: bit n is priority n (DB-9).
pub(crate) fn passing(mask: Priority, switch: DoorbellMask) -> u32 {
    match switch {
        DoorbellMask::ByUrgency => u32::MAX >> (31 - mask.number()),
        DoorbellMask::ByNumber => u32::MAX << mask.number(),
    }
}
