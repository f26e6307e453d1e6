//! An executable model of the GICv5 hardware.
//!
//! Not there yet: the crate holds a place in the workspace.
