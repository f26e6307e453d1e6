//! Everything in one value.

use gicv5_hal::Platform;

use super::counter::Counter;
use super::locks::SpinLocks;
use super::pe::ThisPe;
use super::table_ram::TableRam;
use crate::frames::Frames;

/// The parts of this crate as one [`Platform`]. What is unsafe about it was done when its parts were made.
pub struct Hardware<const IRSS: usize = 1, const WORDS: usize = 32> {
    /// The frames of the IRSs.
    pub frames: Frames<IRSS>,
    /// The memory for tables.
    pub memory: TableRam<WORDS>,
    /// The PE that the code runs on.
    pub pe: ThisPe,
    /// Time.
    pub counter: Counter,
}

impl<const IRSS: usize, const WORDS: usize> Platform for Hardware<IRSS, WORDS> {
    type Irs = Frames<IRSS>;
    type Memory = TableRam<WORDS>;
    type CurrentPe = ThisPe;
    type Wait = Counter;
    type Locks = SpinLocks;

    #[inline]
    fn irs(&self) -> &Frames<IRSS> {
        &self.frames
    }

    #[inline]
    fn memory(&self) -> &TableRam<WORDS> {
        &self.memory
    }

    #[inline]
    fn current_pe(&self) -> &ThisPe {
        &self.pe
    }

    #[inline]
    fn wait(&self) -> &Counter {
        &self.counter
    }
}
