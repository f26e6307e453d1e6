//! The IRS's side of memory.

use gicv5_arch::PhysAddr;
use gicv5_hal::IrsIndex;

use crate::memory::Memory;
use crate::words::event::Event;
use crate::words::report::Report;

/// Memory as the IRS reads and writes it.
pub(crate) trait IrsMemory {
    /// Loads 32 bits; `None` if nothing answers at the address.
    fn irs_load32(&mut self, irs: IrsIndex, address: PhysAddr) -> Option<u32>;
    /// Loads 64 bits; `None` if nothing answers at the address.
    fn irs_load64(&mut self, irs: IrsIndex, address: PhysAddr) -> Option<u64>;
    /// Stores 32 bits; false if nothing answers at the address.
    fn irs_store32(&mut self, irs: IrsIndex, address: PhysAddr, value: u32) -> bool;
}

impl IrsMemory for Memory {
    fn irs_load32(&mut self, irs: IrsIndex, address: PhysAddr) -> Option<u32> {
        Memory::irs_load32(self, irs, address).ok()
    }

    fn irs_load64(&mut self, irs: IrsIndex, address: PhysAddr) -> Option<u64> {
        Memory::irs_load64(self, irs, address).ok()
    }

    fn irs_store32(&mut self, irs: IrsIndex, address: PhysAddr, value: u32) -> bool {
        Memory::irs_store32(self, irs, address, value).is_ok()
    }
}

/// Memory into which the IRS writes states back, and somebody who wants to know.
pub(crate) struct WritingBack<'a> {
    pub(crate) memory: &'a mut Memory,
    pub(crate) report: &'a mut Report,
}

impl IrsMemory for WritingBack<'_> {
    fn irs_load32(&mut self, irs: IrsIndex, address: PhysAddr) -> Option<u32> {
        IrsMemory::irs_load32(self.memory, irs, address)
    }

    fn irs_load64(&mut self, irs: IrsIndex, address: PhysAddr) -> Option<u64> {
        IrsMemory::irs_load64(self.memory, irs, address)
    }

    fn irs_store32(&mut self, irs: IrsIndex, address: PhysAddr, value: u32) -> bool {
        self.report.event(|| Event::WriteBack { address, value });
        IrsMemory::irs_store32(self.memory, irs, address, value)
    }
}
