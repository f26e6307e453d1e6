//! Floor 3: the parts of the interrupt hardware.
//!
//! Each owns its state. What a change of it demands of other parts it returns, and the [engine](crate::engine) acts on that.

pub(crate) mod access_log;
pub(crate) mod candidates;
pub(crate) mod descriptor;
pub(crate) mod doorbells;
pub(crate) mod fault_plan;
pub(crate) mod id_map;
pub(crate) mod interrupts;
pub(crate) mod irs_registers;
pub(crate) mod irs_side;
pub(crate) mod ist;
pub(crate) mod lpi_books;
pub(crate) mod software_errors;
pub(crate) mod states;
pub(crate) mod vm;
pub(crate) mod vm_table;
pub(crate) mod vms;
pub(crate) mod wires;
