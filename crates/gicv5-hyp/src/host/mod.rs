//! What all VMs share: coming up, going down, and what is left of VMs without a handle.

pub(crate) mod books;
pub(crate) mod bring_up;
pub(crate) mod change;
pub(crate) mod holdings;
#[allow(clippy::module_inception, reason = "the file that a newcomer looks for")]
pub(crate) mod host;
pub(crate) mod quarantine;
