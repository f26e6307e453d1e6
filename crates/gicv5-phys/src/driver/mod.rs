//! The driver of one interrupt domain.

pub(crate) mod bring_up;
pub(crate) mod phys;
