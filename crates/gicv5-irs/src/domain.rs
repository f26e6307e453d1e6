//! The platform and the constants of one interrupt domain.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use gicv5_arch::PhysAddr;
use gicv5_arch::geometry::Footprint;
use gicv5_hal::{IrsIndex, Locks, Platform, TableMemory};

use crate::drive::{Operation, block_on};
use crate::lease::{TableError, allocate};

/// A block of the platform's table memory.
pub type BlockOf<P> = <<P as Platform>::Memory as TableMemory>::Block;

/// The platform's lock around a value.
pub type MutexOf<P, T> = <<P as Platform>::Locks as Locks>::Mutex<T>;

/// What stays the same from the probe of an interrupt domain to the end.
pub struct Domain<P: Platform> {
    /// Hardware and host.
    pub platform: P,
    /// How many IRSs there are.
    pub irss: u32,
    /// How long to wait for an IRS to answer.
    pub timeout: Duration,
    /// The last address that all IRSs can reach.
    pub highest: PhysAddr,
    /// The IRS to publish table memory for: one that does not see the caches, if there is one.
    pub publish_for: IrsIndex,
    pub(crate) commands: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) longest_wait_ns: AtomicU64,
}

impl<P: Platform> Domain<P> {
    /// A domain on which no command has been given.
    pub const fn new(platform: P, irss: u32, timeout: Duration, highest: PhysAddr, publish_for: IrsIndex) -> Domain<P> {
        Domain {
            platform,
            irss,
            timeout,
            highest,
            publish_for,
            commands: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            longest_wait_ns: AtomicU64::new(0),
        }
    }

    /// The table memory.
    pub fn memory(&self) -> &P::Memory {
        self.platform.memory()
    }

    /// The host's word on heap.
    pub fn heap(&self) -> impl Fn(usize) -> bool {
        |bytes| self.platform.may_allocate(bytes)
    }

    /// Allocates a piece of a table where every IRS can reach it.
    ///
    /// # Errors
    ///
    /// [`TableError`].
    pub fn allocate(&self, piece: Footprint) -> Result<BlockOf<P>, TableError> {
        allocate(self.memory(), piece, self.highest)
    }

    /// What takes time, to be driven step by step or waited for.
    pub fn operation<F: Future>(&self, future: F) -> Operation<'_, P::Wait, F> {
        Operation::new(self.platform.wait(), future)
    }

    /// Drives a future to completion, pausing as the host pauses.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        block_on(self.platform.wait(), future)
    }

    /// A command was waited for, and has ended or not.
    pub(crate) fn waited(&self, time: Duration, ended: bool) {
        let nanoseconds = time.as_nanos().try_into().unwrap_or(u64::MAX);
        match ended {
            true => self.longest_wait_ns.fetch_max(nanoseconds, Ordering::Relaxed),
            false => self.timed_out.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// Commands started, commands that timed out, the longest wait for one that did not.
    pub fn counts(&self) -> (u64, u64, Duration) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.commands), count(&self.timed_out), Duration::from_nanos(count(&self.longest_wait_ns)))
    }
}
