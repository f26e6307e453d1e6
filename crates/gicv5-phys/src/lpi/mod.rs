//! LPIs: the memory for their state, who has which, and who may still use it.

pub(crate) mod gate;
pub(crate) mod ist;
pub(crate) mod supply;
