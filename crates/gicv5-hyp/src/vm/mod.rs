//! A VM: what is known of it, how it comes up, how it goes.

pub(crate) mod configure;
pub(crate) mod handle;
pub(crate) mod init;
pub(crate) mod ist;
pub(crate) mod make_invalid;
pub(crate) mod make_valid;
pub(crate) mod record;
pub(crate) mod reference;
pub(crate) mod state;
pub(crate) mod tear_down;
