//! What all errors of the library say.

use core::fmt;

/// What became of a VM whose operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is as it was before.
    Unchanged,
    /// Everything was undone; it is not initialised, and init may be tried again.
    TornDown,
    /// It can only be torn down (RES-19, IST-8, LIFE-11).
    Dead,
    /// The hardware has not confirmed that it lets go. What it may still use is held by the host, and comes back by
    /// [`Host::reclaim`](crate::Host::reclaim). The handle is free: init may be tried again.
    Quarantined,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::Unchanged => "the VM is unchanged",
            Fate::TornDown => "the VM is torn down",
            Fate::Dead => "the VM is dead and can only be torn down",
            Fate::Quarantined => "what the hardware may still use is quarantined",
        })
    }
}

/// An error that is a cause and what became of the VM. Its message has the cause, so that its source is what is behind that.
macro_rules! fated {
    ($error:ty) => {
        impl core::fmt::Display for $error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}; {}", self.cause, self.fate)
            }
        }

        impl core::error::Error for $error {
            fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
                self.cause.source()
            }
        }
    };
}
pub(crate) use fated;
