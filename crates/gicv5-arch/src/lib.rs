//! The GICv5 architecture as types.
#![no_std]
#![forbid(unsafe_code)]
