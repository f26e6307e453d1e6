//! The tables that the IRS walks.

pub(crate) mod ist;
pub(crate) mod vm_table;
pub(crate) mod vpe_table;
