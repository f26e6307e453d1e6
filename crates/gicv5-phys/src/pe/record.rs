//! What the driver knows about a PE.

use gicv5_arch::Iaffid;

/// What the driver knows about a PE.
#[derive(Default)]
pub(crate) struct PeRecord {
    pub(crate) iaffid: Option<Iaffid>,
    pub(crate) up: bool,
}

impl PeRecord {
    /// The affinity ID, if the PE is up.
    pub(crate) fn is_up(&self) -> Option<Iaffid> {
        if self.up { self.iaffid } else { None }
    }

    /// There has never been such a PE.
    pub(crate) fn forget(&mut self) {
        *self = PeRecord::default();
    }
}
