//! Interrupts of every kind, once they can come.

pub(crate) mod by_number;
pub(crate) mod take;
