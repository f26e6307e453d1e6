//! Time.

use alloc::format;

use gicv5_hal::Wait;

use crate::{Broken, Promise};

/// How often time is looked at.
const LOOKS: usize = 1_000;

/// How many pauses may pass before time has moved. A pause may return at once.
const PAUSES: usize = 1_000_000;

/// Checks that time goes forward.
///
/// # Errors
///
/// [`Broken`], at the first promise that is.
pub fn wait<W: Wait + ?Sized>(wait: &W) -> Result<(), Broken> {
    let start = wait.now();
    let mut last = start;
    for n in 0..LOOKS {
        if n % 2 == 1 {
            wait.relax();
        }
        let now = wait.now();
        Promise::NeverBack.holds(now >= last, || format!("{now:?} comes after {last:?}"))?;
        last = now;
    }
    for _ in 0..PAUSES {
        if wait.now() > start {
            return Ok(());
        }
        wait.relax();
    }
    Promise::Advances.holds(false, || format!("it is still {start:?} after {PAUSES} pauses"))
}
