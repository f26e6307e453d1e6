//! The IRS's side of memory.

use gicv5_arch::PhysAddr;
use gicv5_hal::IrsIndex;

use crate::memory::{Claim, Memory};
use crate::words::event::Event;
use crate::words::owner::{InMemory, Owner};
use crate::words::report::Report;
use crate::words::rules::RuleId;
use crate::words::violation::Place;

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

/// Memory as one IRS reads, writes and owns it, and the report in which it tells what it does there.
pub(crate) struct IrsSide<'a> {
    pub(crate) irs: IrsIndex,
    pub(crate) memory: &'a mut Memory,
    pub(crate) report: &'a mut Report,
}

/// The states of interrupts that the IRS writes back, which an observer is told of.
impl IrsMemory for IrsSide<'_> {
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

/// What lies outside memory is not loaded, stored or owned; [`Memory`] reports a structure that does.
impl IrsSide<'_> {
    #[inline]
    pub(crate) fn load64(&self, address: PhysAddr) -> Option<u64> {
        Memory::irs_load64(self.memory, self.irs, address).ok()
    }

    /// False if nothing answers at the address.
    #[inline]
    pub(crate) fn store64(&mut self, address: PhysAddr, value: u64) -> bool {
        Memory::irs_store64(self.memory, self.irs, address, value).is_ok()
    }

    /// The words of a table, each with its number and its address.
    pub(crate) fn words(&self, base: PhysAddr, count: u32) -> impl Iterator<Item = (u32, PhysAddr, u64)> {
        (0..count).map_while(move |n| {
            let address = base.offset(u64::from(n) * 8).ok()?;
            Some((n, address, self.load64(address)?))
        })
    }

    /// Reports the first entry of a structure, of a word or as many bytes as a unit has, that has a bit set which software must
    /// leave 0: these are the bits of words that follow each other, again and again.
    pub(crate) fn judge_zeros(
        &mut self,
        InMemory { address, size, owner }: InMemory,
        unit: u64,
        zeros: &[u64],
        rule: RuleId,
        what: &str,
    ) {
        let Some((word, value, found)) = self.memory.irs_find(self.irs, address, size, zeros) else { return };
        // Of entries of half a word, the one that it is.
        let (offset, value) = match unit {
            4 if found & 0xffff_ffff == 0 => (4, value >> 32),
            4 => (0, value & 0xffff_ffff),
            _ => (0, value),
        };
        let place = Place::Structure(word.offset(offset).unwrap_or(word), owner);
        self.report.violate(rule, place, 0, value, || what.into());
    }

    /// The first word in a range that is not zero, and what is there.
    pub(crate) fn first_set(&self, address: PhysAddr, size: u64) -> Option<(PhysAddr, u64)> {
        let (word, value, _) = self.memory.irs_find(self.irs, address, size, &[u64::MAX])?;
        Some((word, value))
    }

    /// The IRS takes memory into its ownership.
    #[inline]
    pub(crate) fn own(&mut self, address: PhysAddr, size: u64, owner: Owner) {
        let _ = self.memory.own(self.report, self.irs, address, size, owner);
    }

    /// Memory becomes part of a live table, in which software may fill it.
    #[inline]
    pub(crate) fn fill(&mut self, address: PhysAddr, size: u64, owner: Owner) {
        let _ = self.memory.fill(self.report, self.irs, address, size, owner);
    }

    /// A whole structure becomes the IRS's, or part of a live table.
    #[inline]
    pub(crate) fn adopt(&mut self, address: PhysAddr, size: u64, claim: Claim) {
        let _ = self.memory.adopt(self.report, self.irs, address, size, claim);
    }

    /// The IRS reads an entry that software has filled: reports stores that have not reached it.
    pub(crate) fn judge_reading(&mut self, InMemory { address, size, owner }: InMemory) {
        self.memory.judge_reading(self.report, self.irs, address, size, owner);
    }

    /// Memory goes back to software.
    #[inline]
    pub(crate) fn disown(&mut self, address: PhysAddr, size: u64) {
        let _ = self.memory.disown(self.report, self.irs, address, size);
    }

    /// Software reads what the IRS owns as the IRS has written it, or poison as before ([`Memory::show`]).
    #[inline]
    pub(crate) fn show(&mut self, address: PhysAddr, size: u64, shown: bool) {
        let _ = self.memory.show(self.irs, address, size, shown);
    }

    /// An address as hardware uses it, with the bits below the alignment zero; reports if that is another address.
    pub(crate) fn aligned(
        &mut self,
        address: PhysAddr,
        alignment: u64,
        rule: RuleId,
        place: Place,
    ) -> Option<PhysAddr> {
        let used = PhysAddr::new(address.raw() & !(alignment - 1)).ok()?;
        if used != address {
            self.report.violate(rule, place, address.raw(), used.raw(), || {
                format!("the address is not aligned to {alignment:#x}, so another address is used")
            });
        }
        Some(used)
    }
}
