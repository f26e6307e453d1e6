//! The memory ordering of each step. The parent's table says why.

use crate::sync::Ordering;

/// A step of a doorbell's life: one read-modify-write of its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Enable,
    Claim,
    Request,
    Away,
    Ring,
    Take,
    Die,
}

impl Step {
    /// How the step orders what comes before and after it.
    pub(crate) fn ordering(self) -> Ordering {
        #[cfg(all(test, loom))]
        if WEAKENED.get() == Some(self) {
            return Ordering::Relaxed;
        }
        match self {
            Step::Claim | Step::Take | Step::Die => Ordering::Acquire,
            Step::Enable | Step::Away | Step::Ring => Ordering::Release,
            Step::Request => Ordering::Relaxed,
        }
    }
}

#[cfg(all(test, loom))]
std::thread_local! {
    /// A step that orders nothing: the exhaustive tests must notice. Loom runs a test in one thread of the host.
    pub(crate) static WEAKENED: std::cell::Cell<Option<Step>> = const { std::cell::Cell::new(None) };
}
