//! The host of all VMs.

#[allow(clippy::module_inception, reason = "the file that a newcomer looks for")]
pub(crate) mod host;
