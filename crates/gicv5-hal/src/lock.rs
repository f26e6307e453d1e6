//! Mutual exclusion, as the host does it.

/// The host's kind of lock.
///
/// A hypervisor may choose spin locks with interrupts off, a user-space program the standard library's mutexes. The
/// libraries hold a lock only for a short time and never while they wait for hardware; they never take one from an
/// interrupt handler.
pub trait Locks {
    /// A lock around a value.
    type Mutex<T: Send>: Lock<T>;
}

/// A lock around a value.
pub trait Lock<T>: Send + Sync {
    /// Makes an unlocked one.
    fn new(value: T) -> Self;

    /// Runs `f` with the value, alone. `f` is short, does not wait, and does not take the same lock again.
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R;
}
