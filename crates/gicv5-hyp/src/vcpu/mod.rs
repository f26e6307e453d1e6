//! A vCPU: its registers, and running it.

pub(crate) mod context;
pub(crate) mod error;
pub(crate) mod pe;
pub(crate) mod ppi;
pub(crate) mod reset;
pub(crate) mod run;
