//! Interrupts from one PE to another.

pub(crate) mod send;
pub(crate) mod word;
