//! PEs.

pub(crate) mod bring_up;
pub(crate) mod record;
