//! A whole platform.

use gicv5_hal::{CurrentPe, Platform};

use crate::{AtOnce, Broken, current_pe, irs, locks, pe_ops, table_memory, wait};

/// Checks all parts of a platform with `irs_count` IRSs.
///
/// # Errors
///
/// [`Broken`], at the first promise that is.
pub fn platform<P: Platform>(platform: &P, irs_count: u16, at_once: &AtOnce<'_>) -> Result<(), Broken> {
    irs(platform.irs(), irs_count)?;
    table_memory(platform.memory(), irs_count)?;
    current_pe(platform.current_pe())?;
    platform.current_pe().on_this_pe(pe_ops)?;
    wait(platform.wait())?;
    locks::<P::Locks>(at_once)
}
