//! What a library needs, in one place.

use crate::{CurrentPe, Irs, Locks, TableMemory, Wait};

/// All that a library above this crate needs of hardware and host. The parts may be one value or several.
pub trait Platform: Sync {
    /// The frames of the IRSs.
    type Irs: Irs;
    /// The memory for tables.
    type Memory: TableMemory;
    /// The PE that the caller runs on.
    type CurrentPe: CurrentPe;
    /// Time.
    type Wait: Wait;
    /// The kind of lock.
    type Locks: Locks;

    /// The frames of the IRSs.
    fn irs(&self) -> &Self::Irs;

    /// The memory for tables.
    fn memory(&self) -> &Self::Memory;

    /// The PE that the caller runs on.
    fn current_pe(&self) -> &Self::CurrentPe;

    /// Time.
    fn wait(&self) -> &Self::Wait;

    /// Whether a library may take this many bytes of heap for its own records now. It is asked before each allocation, so
    /// that a host can keep a limit, or play an allocator that has nothing left; to the library a no is out of memory, an
    /// ordinary error. Yes, unless implemented otherwise.
    ///
    /// Called where the library may allocate. Never waits.
    fn may_allocate(&self, bytes: usize) -> bool {
        let _ = bytes;
        true
    }
}
