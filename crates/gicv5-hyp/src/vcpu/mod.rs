//! A vCPU: its registers, and running it.

pub(crate) mod ppi;
pub(crate) mod run;
