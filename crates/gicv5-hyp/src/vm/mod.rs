//! A VM: what is known of it, how it comes up, how it goes.

pub(crate) mod handle;
pub(crate) mod record;
pub(crate) mod teardown;
