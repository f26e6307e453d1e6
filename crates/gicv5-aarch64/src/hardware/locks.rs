//! Spin locks.

use gicv5_hal::{Lock, Locks};

use super::masks::masked;

/// Spin locks that mask interrupts while one is held or waited for: a handler, which may run on the PE that holds one, never waits for it.
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

    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        masked(|| f(&mut self.0.lock()))
    }
}
