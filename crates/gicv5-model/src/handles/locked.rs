//! The lock around a machine's state, and the listener that is told of complaints when it is released.

use core::fmt;
use core::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};

use crate::engine::state::MachineState;
use crate::handles::machine::Machine;
use crate::words::violation::Complaint;

type Listener = Arc<dyn Fn(&Machine, &Complaint) + Send + Sync>;

/// What the lock protects.
pub(crate) struct Kept {
    pub(super) state: MachineState,
    listener: Option<Listener>,
    /// Whether a thread tells the listener of complaints, and of those that come meanwhile.
    telling: bool,
}

impl Kept {
    pub(super) const fn new(state: MachineState) -> Kept {
        Kept { state, listener: None, telling: false }
    }

    /// The checker keeps complaints for the listener if the machine has one.
    pub(super) fn follow_listener(&mut self) {
        self.state.report.checker.set_listened(self.listener.is_some());
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.state, f)
    }
}

/// The state, locked.
pub(crate) struct Locked<'a> {
    kept: MutexGuard<'a, Kept>,
    // Dropped after the lock.
    afterwards: Afterwards<'a>,
}

impl<'a> Locked<'a> {
    #[inline]
    pub(super) fn new(machine: &'a Machine) -> Locked<'a> {
        Locked { kept: machine.kept(), afterwards: Afterwards { machine, has_untold: false } }
    }
}

impl Deref for Locked<'_> {
    type Target = MachineState;

    #[inline]
    fn deref(&self) -> &MachineState {
        &self.kept.state
    }
}

impl DerefMut for Locked<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut MachineState {
        &mut self.kept.state
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.afterwards.has_untold = self.kept.state.report.checker.has_untold();
    }
}

/// What is done once the lock is released.
struct Afterwards<'a> {
    machine: &'a Machine,
    has_untold: bool,
}

impl Drop for Afterwards<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.has_untold {
            self.machine.tell();
        }
    }
}

impl Machine {
    /// Tells `listener` of every violation and every remark from now on, one after the other, in the order in which they come. It is
    /// told before the call of the machine returns that gave rise to the complaint; if another thread tells it of an earlier one
    /// at that moment, that thread tells it of this one too. There is one listener: a new one replaces the old.
    ///
    /// The machine is not locked meanwhile, so that the listener may do with it whatever others may. What that gives rise to, it
    /// is told of when it has returned. It gets the machine as an argument: one that kept a handle would keep the machine alive.
    pub fn listen(&self, listener: impl Fn(&Machine, &Complaint) + Send + Sync + 'static) {
        let mut kept = self.kept();
        kept.listener = Some(Arc::new(listener));
        kept.follow_listener();
    }

    /// Tells nobody of complaints any more.
    pub fn stop_listening(&self) {
        let mut kept = self.kept();
        kept.listener = None;
        kept.follow_listener();
    }

    /// Tells the listener of the complaints that it does not know, unless a thread does so already.
    #[cold]
    fn tell(&self) {
        let mut kept = self.kept();
        if kept.telling {
            return;
        }
        kept.telling = true;
        let _done = Done(self);
        while let Some(listener) = kept.listener.clone()
            && let Some(complaint) = kept.state.report.checker.next_untold()
        {
            drop(kept);
            listener(self, &complaint);
            kept = self.kept();
        }
        kept.telling = false;
        drop(kept);
    }
}

/// The thread tells the listener of nothing more, also if the listener has panicked.
struct Done<'a>(&'a Machine);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.kept().telling = false;
        }
    }
}
