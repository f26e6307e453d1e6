//! Memory by physical address, for software that is not written over `gicv5-hal` and has an allocator of its own.

use gicv5_arch::PhysAddr;

use crate::handles::here::here;
use crate::handles::machine::Machine;
use crate::memory::HoldError;
use crate::words::ids::BlockId;

/// The memory of a machine, by physical address. Each access is of the PE that the thread is on ([`Machine::on_pe`]); the barriers
/// are those of [`ModelPe`](crate::ModelPe) and [`Machine`].
///
/// An access to what is not memory, or not aligned to its width, is reported as [`MEM_1`](crate::rules::MEM_1).
#[derive(Clone, Debug)]
pub struct PhysicalMemory {
    machine: Machine,
}

impl Machine {
    /// Its memory by physical address.
    #[must_use]
    pub fn physical_memory(&self) -> PhysicalMemory {
        PhysicalMemory { machine: self.clone() }
    }
}

impl PhysicalMemory {
    /// Loads 32 bits.
    #[must_use]
    pub fn load32(&self, address: PhysAddr) -> u32 {
        let state = &mut *self.machine.state_on(here());
        state.memory.load32(&mut state.report, here(), address)
    }

    /// Loads 64 bits.
    #[must_use]
    pub fn load64(&self, address: PhysAddr) -> u64 {
        let state = &mut *self.machine.state_on(here());
        state.memory.load64(&mut state.report, here(), address)
    }

    /// Stores 32 bits.
    pub fn store32(&self, address: PhysAddr, value: u32) {
        let state = &mut *self.machine.state_on(here());
        state.memory.store32(&mut state.report, here(), address, value);
    }

    /// Stores 64 bits.
    pub fn store64(&self, address: PhysAddr, value: u64) {
        let state = &mut *self.machine.state_on(here());
        state.memory.store64(&mut state.report, here(), address, value);
    }

    /// Writes the cache lines of these bytes back to memory and keeps them (`DC CVAC`).
    pub fn clean(&self, address: PhysAddr, size: u64) {
        let state = &mut *self.machine.state_on(here());
        state.memory.clean(&mut state.report, here(), address, size);
    }

    /// Writes the cache lines of these bytes back to memory and drops them (`DC CIVAC`).
    pub fn clean_invalidate(&self, address: PhysAddr, size: u64) {
        let state = &mut *self.machine.state_on(here());
        state.memory.clean_invalidate(&mut state.report, here(), address, size);
    }

    /// Drops the cache lines of these bytes (`DC IVAC`).
    pub fn invalidate(&self, address: PhysAddr, size: u64) {
        let state = &mut *self.machine.state_on(here());
        state.memory.invalidate(&mut state.report, here(), address, size);
    }

    /// This range is software's now: its allocator has handed it out. Its contents are as they were.
    ///
    /// An IRS that is given memory which software does not hold is reported
    /// ([`MEM_5`](crate::rules::MEM_5)), except where the machine's allocator
    /// [leaves memory alone](crate::config::MemoryConfig::reserved). A range that software holds while an account is closed has
    /// leaked ([`MEM_3`](crate::rules::MEM_3)).
    ///
    /// # Errors
    ///
    /// [`HoldError`] if the range is not free memory in whole words of 8 bytes.
    pub fn hold(&self, address: PhysAddr, size: u64) -> Result<BlockId, HoldError> {
        let state = &mut *self.machine.state_on(here());
        state.memory.hold(&mut state.report, address, size)
    }

    /// The range that starts here is free now: software's allocator has got it back. What the IRS has of it, or a command under way
    /// names, is reported, as [`MEM_2`](crate::rules::MEM_2) a range that software does not hold.
    pub fn release(&self, address: PhysAddr) {
        let state = &mut *self.machine.state_on(here());
        state.memory.release(&mut state.report, address);
    }
}
