//! A watchdog for what runs on PE 0: the PEs that have nothing to do look whether it goes on.
//!
//! It cannot be an interrupt, because that is what is being tested. With one PE there is nobody to look; whoever
//! started the machine must then have patience of their own.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use gicv5_bare_metal::pe;

/// What runs, as a pointer and a length: a name that lives for ever.
static NAME: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Since when, in nanoseconds; 0 if nothing runs.
static SINCE: AtomicU64 = AtomicU64::new(0);

/// How long it may run, in nanoseconds.
static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Only one PE says so.
static BARKED: AtomicBool = AtomicBool::new(false);

/// Sets how long anything may run.
pub(crate) fn set_limit(nanoseconds: u64) {
    LIMIT.store(nanoseconds, Ordering::Relaxed);
}

/// Something starts on PE 0, and whatever ran there has ended.
pub(crate) fn started(name: &'static str) {
    SINCE.store(0, Ordering::Release);
    NAME.store(name.as_ptr().cast_mut(), Ordering::Relaxed);
    LENGTH.store(name.len(), Ordering::Relaxed);
    SINCE.store(pe::nanoseconds().max(1), Ordering::Release);
}

/// To be called by a PE that has nothing to do: ends the machine if what runs on PE 0 has run for too long.
pub(crate) fn look() {
    let since = SINCE.load(Ordering::Acquire);
    if since == 0 || pe::nanoseconds().saturating_sub(since) < LIMIT.load(Ordering::Relaxed) {
        return;
    }
    let (name, length) = (NAME.load(Ordering::Relaxed), LENGTH.load(Ordering::Relaxed));
    // What starts right now has changed both: then the time has changed as well, and nobody is late.
    if SINCE.load(Ordering::Acquire) != since || BARKED.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: pointer and length are one name's, which lives for ever: the time has not changed between the two looks at it.
    let name = unsafe { core::slice::from_raw_parts(name, length) };
    crate::ending::stop_after_hang(str::from_utf8(name).unwrap_or_default())
}
