//! Floor 5: the handles that software and tests hold.
//!
//! A handle locks the state, lets the engine do one thing, and keeps nothing itself.

pub(crate) mod here;
pub(crate) mod locked;
pub(crate) mod machine;
pub(crate) mod pe;
pub(crate) mod physical_memory;
mod table_memory;
mod words;
