//! What GICv5 software needs from hardware and host, as a few small traits.
#![no_std]
#![forbid(unsafe_code)]
