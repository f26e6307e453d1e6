//! The atomics that loom explores: with `--cfg loom` they are loom's, otherwise the core library's.
//!
//! The orderings of the doorbell words have names of their own, so that `--cfg weakened` can take them away: the exhaustive
//! tests must fail then (`cargo xtask loom` checks that they do), or they would not show that the orderings are needed.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, Ordering};

pub(crate) const ACQUIRE: Ordering = if cfg!(weakened) { Ordering::Relaxed } else { Ordering::Acquire };
pub(crate) const RELEASE: Ordering = if cfg!(weakened) { Ordering::Relaxed } else { Ordering::Release };
pub(crate) const ACQUIRE_RELEASE: Ordering = if cfg!(weakened) { Ordering::Relaxed } else { Ordering::AcqRel };
