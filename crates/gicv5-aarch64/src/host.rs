//! What the drivers want of a host: time, and locks.

use core::time::Duration;

use gicv5_hal::{Lock, Locks, Wait};

use crate::pe;

/// Time from the architected counter.
pub struct Counter;

impl Wait for Counter {
    fn relax(&self) {
        pe::relax();
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(pe::nanoseconds())
    }
}

/// Spin locks. Interrupts are masked wherever one is held, and the handler of interrupts takes none.
pub struct SpinLocks;

/// A value behind a spin lock.
pub struct SpinLock<T>(spin::Mutex<T>);

impl Locks for SpinLocks {
    type Mutex<T: Send> = SpinLock<T>;
}

impl<T: Send> Lock<T> for SpinLock<T> {
    fn new(value: T) -> SpinLock<T> {
        SpinLock(spin::Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock())
    }
}
