//! Floor 4: the engine, which alone sees every part.
//!
//! Each file is one subject: what happens to all parts when something of that subject happens. What the parts know by
//! themselves is a floor below.

mod attributes;
mod commands;
mod doorbells;
mod el2_mistakes;
mod instructions;
mod irs_frame;
mod ists;
mod names;
pub(crate) mod pe_state;
mod physical;
mod registers;
mod remarks;
mod residency;
mod signals;
mod software_errors;
pub(crate) mod state;
mod time;
mod virtual_interrupts;
mod vm_table;
mod vmap;
mod wires;
