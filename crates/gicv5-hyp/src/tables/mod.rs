//! The tables that the IRS walks.

pub(crate) mod ist;
pub(crate) mod make_valid;
pub(crate) mod vm_entry;
pub(crate) mod vm_table;
pub(crate) mod vpe_table;
