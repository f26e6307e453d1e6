//! What GICv5 software needs from hardware and host, as a few small traits.
//!
//! Whoever runs `gicv5-phys` or `gicv5-hyp` implements these: an embedding hypervisor over its own memory manager, locks
//! and interrupt code; the bare-metal platform over MMIO and system registers; the executable model over itself. There
//! is no test-only variant and no global.
//!
//! | trait | is | may be called from |
//! |---|---|---|
//! | [`Irs`] | the memory-mapped frames of the IRSs | anywhere, interrupt handlers included; never waits |
//! | [`TableMemory`] | memory that an IRS walks | accesses and maintenance: anywhere, never wait; `allocate` and `free`: where the host may allocate |
//! | [`PeOps`] | system registers, GIC instructions and barriers of one PE | on that PE, through a [`Pe`] token; never waits |
//! | [`CurrentPe`] | makes a [`Pe`] token for the PE it is called on | anywhere; never waits |
//! | [`HostLpis`] | physical LPIs for the hypervisor's own use | each method says |
//! | [`Wait`] | time, and a pause between polls | where polling is allowed; not from interrupt handlers |
//! | [`Locks`], [`Lock`] | mutual exclusion | each method says |
//! | [`Platform`] | all of these but the host LPIs, in one value | |
//!
//! Each is implemented for `&T` and `Arc<T>` too, but the locks, which are no values.
//!
//! # What is visible when
//!
//! The traits keep the three kinds of "done" apart that the architecture keeps apart, and imply none of them:
//!
//! - a store to table memory is visible to an IRS after [`TableMemory::publish`] (COH-1, COH-2);
//! - a write to an IRS register has taken effect when the status register that belongs to it says so
//!   ([`IrsExt::is_idle`], GEN-16, GEN-17);
//! - a write to a system register acts, for certain, after [`Pe::isb`] (SYN-5, SYN-6); the effect of a GIC instruction is
//!   complete after [`Pe::gsb_sys`], that of an acknowledge after [`Pe::gsb_ack`] (SYN-1). A GSB is no ISB and an ISB is
//!   no GSB (SYN-2).
//!
//! # Safety
//!
//! An IRS reads and writes memory at the physical addresses it is given, and nothing in Rust's rules stops it. Software
//! above this crate is free of `unsafe` code all the same, because the obligation sits where an address is made:
//! [`TableMemory`] is an `unsafe` trait, whose implementor promises that the memory behind every address it hands out is
//! nobody else's until the block is given back. The software's part, never to give an IRS another address and never to
//! give back memory that an IRS may still touch, is what `gicv5-phys` and `gicv5-hyp` are for; a platform that makes an
//! [`Irs`] over real hardware must therefore make it an `unsafe` step to hand that out to anything else.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod forward;
mod frame;
mod lock;
mod lpi;
mod memory;
mod pe;
mod platform;
mod wait;

pub use frame::{Frame, FrameKind, Irs, IrsExt, IrsIndex};
pub use lock::{Lock, Locks};
pub use lpi::{Cookie, HostLpis, LpiError, NotReleased, Route};
pub use memory::{AllocError, Block, BlockLayout, BlockLayoutError, Coherency, TableMemory};
pub use pe::{CurrentPe, Pe, PeOps};
pub use platform::Platform;
pub use wait::Wait;
