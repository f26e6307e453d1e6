//! How far a VM is.

use crate::sync::{AtomicU8, Ordering};

/// How far a VM is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VmState {
    /// Init is under way, or its future was dropped half-way: only teardown, and another init, which begins with one, are
    /// possible.
    Initialising = 0,
    /// Everything is set up: vCPUs may be loaded, interrupts injected.
    Live = 1,
    /// The hardware refused to make one of its vCPUs resident (RES-19), or did not answer (IST-8, LIFE-11): nothing but
    /// teardown is possible.
    Dead = 2,
}

/// A [`VmState`] that load can change.
pub(crate) struct Life(AtomicU8);

impl Life {
    pub(crate) fn new(state: VmState) -> Life {
        Life(AtomicU8::new(state as u8))
    }

    /// How far the VM is.
    #[inline]
    pub(crate) fn state(&self) -> VmState {
        match self.0.load(Ordering::Relaxed) {
            0 => VmState::Initialising,
            1 => VmState::Live,
            _ => VmState::Dead,
        }
    }

    /// Init is over.
    pub(crate) fn begin(&self) {
        self.0.store(VmState::Live as u8, Ordering::Relaxed);
    }

    /// A failed residency, or a command whose outcome is unknown: the VM may only be torn down (RES-19, LIFE-11). Callable
    /// from load.
    pub(crate) fn kill(&self) {
        self.0.store(VmState::Dead as u8, Ordering::Relaxed);
    }
}
