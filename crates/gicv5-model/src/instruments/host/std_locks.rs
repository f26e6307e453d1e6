//! The standard library's mutex as a host's lock.

use std::sync::{Mutex, PoisonError};

use gicv5_hal::{Lock, Locks};

/// The standard library's mutex as the host's lock.
#[derive(Clone, Copy, Debug)]
pub struct StdLocks;

/// The standard library's mutex. One that was poisoned is taken all the same.
#[derive(Debug)]
pub struct StdMutex<T>(Mutex<T>);

impl Locks for StdLocks {
    type Mutex<T: Send> = StdMutex<T>;
}

impl<T: Send> Lock<T> for StdMutex<T> {
    fn new(value: T) -> StdMutex<T> {
        StdMutex(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
