//! Floor 3: the parts of the interrupt hardware.
//!
//! Each owns its state. What a change of it demands of other parts it returns, and the [engine](crate::engine) acts on that.

pub(crate) mod fault_plan;
pub(crate) mod id_map;
pub(crate) mod interrupts;
pub(crate) mod swerr;
