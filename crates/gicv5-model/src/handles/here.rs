//! The PE that a thread is on.

use std::cell::Cell;

use crate::handles::machine::Machine;
use crate::handles::pe::ModelPe;
use crate::words::ids::PeIndex;

thread_local! {
    static HERE: Cell<PeIndex> = const { Cell::new(PeIndex(0)) };
}

/// The PE that the thread is on.
pub(crate) fn here() -> PeIndex {
    HERE.get()
}

/// Puts the thread back where it was, also when `f` panics.
struct Back(PeIndex);

impl Drop for Back {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

impl Machine {
    /// Runs `f` on a PE: the accesses that the thread makes meanwhile through a [`Machine`], which has no PE of its own, are that
    /// PE's. A thread starts on PE 0. `None` if there is no such PE.
    ///
    /// No barrier comes with it: what a thread has stored on another PE waits for a barrier of that PE.
    pub fn on_pe<R>(&self, pe: PeIndex, f: impl FnOnce(&ModelPe) -> R) -> Option<R> {
        let cpu = self.pe(pe)?;
        let _back = Back(HERE.replace(pe));
        Some(f(&cpu))
    }
}
