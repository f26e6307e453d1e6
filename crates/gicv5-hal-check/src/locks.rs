//! Locks.

use alloc::format;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gicv5_hal::{Lock, Locks};

use crate::{Broken, Promise};

/// Has work done by several PEs or threads at the same time, all there are or at least two, and returns when all have done it.
///
/// On one alone, exclusion is not looked at.
pub type AtOnce<'a> = dyn Fn(&(dyn Fn() + Sync)) + 'a;

/// How often each caller takes a lock.
const ROUNDS: u64 = 1_000;

/// How long each keeps it: long enough to be met by another.
const MOMENT: usize = 100;

/// Checks exclusion, of a value without size and of a large one.
///
/// # Errors
///
/// [`Broken`], at the first promise that is.
pub fn locks<L: Locks>(at_once: &AtOnce<'_>) -> Result<(), Broken> {
    let lock: L::Mutex<()> = Lock::new(());
    let (inside, met) = (AtomicBool::new(false), AtomicBool::new(false));
    at_once(&|| {
        for _ in 0..ROUNDS {
            lock.with(|()| {
                if inside.swap(true, Ordering::AcqRel) {
                    met.store(true, Ordering::Relaxed);
                }
                (0..MOMENT).for_each(|_| core::hint::spin_loop());
                inside.store(false, Ordering::Release);
            });
        }
    });
    Promise::Exclusion.holds(!met.into_inner(), || "two callers have a value without size at the same time".into())?;

    let lock: L::Mutex<[u64; 512]> = Lock::new([7; 512]);
    let callers = AtomicU64::new(0);
    at_once(&|| {
        callers.fetch_add(1, Ordering::Relaxed);
        for _ in 0..ROUNDS {
            lock.with(|words| words.iter_mut().for_each(|word| *word = word.wrapping_add(1)));
        }
    });
    let wanted = 7 + callers.into_inner() * ROUNDS;
    let wrong = lock.with(|words| words.iter().copied().find(|word| *word != wanted));
    match wrong {
        None => Ok(()),
        Some(wrong) => Promise::ValueKept.holds(false, || {
            format!("a word of a large value is {wrong} where every caller together have counted it to {wanted}")
        }),
    }
}
