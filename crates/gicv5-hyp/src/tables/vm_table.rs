//! The VM table.
//!
//! With two levels it starts with its level-1 table alone. A level-2 table comes with the first VM whose entry it holds, and
//! leaves with the whole: one alone cannot be made invalid (VMT-16). Once a level-1 entry names a table, neither is
//! touched again until the VM table is invalid, even if the command that was to make the entry valid has timed out:
//! whether the IRS has set VALID is unknown then, and writing the entry again could change a valid one (VMT-15). Giving the
//! command again is harmless, since the IRS ignores it if the entry is valid (VMT-14).

use alloc::boxed::Box;
use core::ops::Range;

use gicv5_arch::entry::{L1_VMTE, L2_VMTE, L2_VMTE_VMD};
use gicv5_arch::geometry::{Slot, TableIndex, VmTableGeometry};
use gicv5_arch::irs::{IRS_VMAP_L2_VMTR, IRS_VMT_BASER, IRS_VMT_CFGR};
use gicv5_arch::{Addr51_12, Addr55_3, AddressError, IrsIntType, PhysAddr, VmId};
use gicv5_hal::{Block, IrsIndex, Lock, TableMemory};

use crate::boxed::{Heap, boxed_slice};
use crate::command::{Command, CommandError, Place, Port, PortKind};
use crate::host::host::Host;
use crate::memory::{Structure, TableError, allocate};
use crate::{BlockOf, Hypervisor};

/// A level-2 table, as the level-1 entry that may name it stands.
enum Level2<B> {
    /// The entry has never been written.
    Absent,
    /// The entry names this table; whether it is valid is not known.
    Named(B),
    /// The IRS has confirmed that the entry is valid.
    Mapped(B),
}

impl<B> Level2<B> {
    fn block(&self) -> Option<&B> {
        match self {
            Level2::Absent => None,
            Level2::Named(block) | Level2::Mapped(block) => Some(block),
        }
    }
}

/// What a VM that needs a level-2 table has to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Table,
    Command,
    Nothing,
}

/// The VM table.
pub(crate) struct VmTable<B> {
    base: B,
    address: Addr55_3,
    geometry: VmTableGeometry,
    /// By level-1 index; empty if the table is linear.
    level2: Box<[Level2<B>]>,
}

impl<B: Block> Structure<B> for VmTable<B> {
    fn blocks<'a>(&'a self) -> impl Iterator<Item = &'a B>
    where
        B: 'a,
    {
        core::iter::once(&self.base).chain(self.level2.iter().filter_map(Level2::block))
    }

    fn free<M: TableMemory<Block = B>>(mut self, memory: &M) {
        self.free_level2(memory);
        memory.free(self.base);
    }
}

impl<B: Block> VmTable<B> {
    /// Allocates the base: all entries, or the level-1 table.
    pub(crate) fn allocate<M: TableMemory<Block = B>>(
        heap: Heap<'_>,
        memory: &M,
        geometry: VmTableGeometry,
        highest: PhysAddr,
    ) -> Result<VmTable<B>, TableError> {
        let level2 = boxed_slice(heap, geometry.l1_entries() as usize, || Level2::Absent)?;
        let base = allocate(memory, geometry.base(), highest)?;
        match geometry.base().place(base.address()) {
            Ok(address) => Ok(VmTable { base, address, geometry, level2 }),
            Err(error) => {
                memory.free(base);
                Err(error.into())
            }
        }
    }

    /// What to write to IRS_VMT_CFGR.
    pub(crate) fn cfgr(&self) -> IRS_VMT_CFGR {
        self.geometry.cfgr()
    }

    /// What to write to IRS_VMT_BASER to make it valid.
    pub(crate) fn baser(&self) -> IRS_VMT_BASER {
        IRS_VMT_BASER::ZERO.with_addr(self.address).with_valid(true)
    }

    /// Bytes of level-2 tables of which it is not known whether they are valid.
    pub(crate) fn unconfirmed_bytes(&self) -> u64 {
        let named = |table: &Level2<B>| match table {
            Level2::Named(block) => block.size(),
            Level2::Absent | Level2::Mapped(_) => 0,
        };
        self.level2.iter().map(named).sum()
    }

    /// Where the entry of a VM lies; `None` if there is no level-2 table for it yet.
    fn entry(&self, vm: VmId) -> Option<(&B, u64)> {
        match self.geometry.index(vm).ok()? {
            TableIndex::Linear(slot) => Some((&self.base, slot.offset)),
            TableIndex::TwoLevel { level1, level2 } => match self.level2.get(level1.index as usize)? {
                Level2::Mapped(block) => Some((block, level2.offset)),
                Level2::Absent | Level2::Named(_) => None,
            },
        }
    }

    fn level1_slot(&self, vm: VmId) -> Option<Slot> {
        match self.geometry.index(vm) {
            Ok(TableIndex::TwoLevel { level1, .. }) => Some(level1),
            Ok(TableIndex::Linear(_)) | Err(_) => None,
        }
    }

    fn need(&self, vm: VmId) -> Need {
        let Some(slot) = self.level1_slot(vm) else { return Need::Nothing };
        match self.level2.get(slot.index as usize) {
            Some(Level2::Absent) => Need::Table,
            Some(Level2::Named(_)) => Need::Command,
            None | Some(Level2::Mapped(_)) => Need::Nothing,
        }
    }

    /// Writes a level-1 entry that has never been written, VALID left 0 for the IRS to set (VMT-13), and publishes it. Gives
    /// the table back if it cannot be named. The caller owns the port.
    fn name<M: TableMemory<Block = B>>(
        &mut self,
        memory: &M,
        irs: IrsIndex,
        vm: VmId,
        table: B,
        address: Addr51_12,
    ) -> Result<(), B> {
        let Some(slot) = self.level1_slot(vm) else { return Err(table) };
        let Some(state @ Level2::Absent) = self.level2.get_mut(slot.index as usize) else { return Err(table) };
        let bytes = slot.offset..slot.offset + L1_VMTE::BYTES;
        memory.prepare(irs, &self.base, bytes.clone());
        memory.store64(&self.base, slot.offset, L1_VMTE::ZERO.with_l2_addr(address).raw_value());
        memory.publish(irs, &self.base, bytes);
        *state = Level2::Named(table);
        Ok(())
    }

    /// Looks whether the IRS has made the level-1 entry of a VM valid, and notes it. Only when it is idle (COH-4). Returns
    /// the entry, as an error if it is not valid.
    fn confirm<M: TableMemory<Block = B>>(&mut self, memory: &M, irs: IrsIndex, vm: VmId) -> Result<(), u64> {
        let Some(slot) = self.level1_slot(vm) else { return Ok(()) };
        memory.acquire(irs, &self.base, slot.offset..slot.offset + L1_VMTE::BYTES);
        let entry = memory.load64(&self.base, slot.offset);
        if !L1_VMTE::new_with_raw_value(entry).valid() {
            return Err(entry);
        }
        if let Some(state) = self.level2.get_mut(slot.index as usize) {
            *state = match core::mem::replace(state, Level2::Absent) {
                Level2::Named(table) => Level2::Mapped(table),
                other => other,
            };
        }
        Ok(())
    }

    fn free_level2<M: TableMemory<Block = B>>(&mut self, memory: &M) {
        for table in &mut self.level2 {
            match core::mem::replace(table, Level2::Absent) {
                Level2::Absent => {}
                Level2::Named(block) | Level2::Mapped(block) => memory.free(block),
            }
        }
    }

    /// Makes a table that has been withdrawn as it was at first: no level-2 tables, every entry zero (VMT-12).
    pub(crate) fn clear<M: TableMemory<Block = B>>(&mut self, memory: &M, irs: IrsIndex) {
        self.free_level2(memory);
        let bytes = 0..self.base.size();
        for word in bytes.clone().step_by(8) {
            memory.store64(&self.base, word, 0);
        }
        memory.publish(irs, &self.base, bytes);
    }
}

impl<H: Hypervisor> Host<H> {
    /// Does something with the entry of a VM, given as its table and its offset in it. `None` if there is no entry.
    pub(crate) fn with_entry<R>(&self, vm: VmId, f: impl FnOnce(&H::Memory, &BlockOf<H>, u64) -> R) -> Option<R> {
        self.core.with(|core| {
            let (block, offset) = core.table.content()?.entry(vm)?;
            Some(f(self.hypervisor.memory(), block, offset))
        })
    }

    /// The same for the word of the entry that describes an IST, given as the range of its bytes.
    pub(crate) fn with_ist_word<R>(
        &self,
        vm: VmId,
        int_type: IrsIntType,
        f: impl FnOnce(&H::Memory, &BlockOf<H>, Range<u64>) -> R,
    ) -> Option<R> {
        let word = L2_VMTE::ist_word(int_type) as u64 * 8;
        self.with_entry(vm, |memory, block, offset| f(memory, block, offset + word..offset + word + 8))
    }

    /// Fills the entry of a VM that is not valid, VALID left 0 (VMT-17). The caller owns the port. Returns the first word as an
    /// error if the VM is valid, which it cannot be by this library's doing (LIFE-20); `None` if there is no entry.
    pub(crate) fn fill_entry(&self, vm: VmId, entry: L2_VMTE) -> Option<Result<(), u64>> {
        self.with_entry(vm, |memory, block, offset| {
            let bytes = offset..offset + L2_VMTE::BYTES;
            memory.prepare(self.publish_for, block, bytes.clone());
            let found = memory.load64(block, offset);
            if L2_VMTE_VMD::new_with_raw_value(found).valid() {
                return Err(found);
            }
            for (n, word) in entry.raw_value().into_iter().enumerate() {
                memory.store64(block, offset + n as u64 * 8, word);
            }
            memory.publish(self.publish_for, block, bytes);
            Ok(())
        })
    }

    /// Makes sure that a VM has an entry. In a two-level table that may mean another level-2 table.
    ///
    /// The port serialises this, and what another PE did meanwhile is looked at again once it is taken (VMT-23).
    pub(crate) async fn make_entry_reachable(&self, vm: VmId) -> Result<(), ReachError> {
        let need = || self.core.with(|core| core.table.content().map_or(Need::Nothing, |table| table.need(vm)));
        // Memory is allocated before the port is taken, so that nobody waits for the allocator.
        let mut spare = Spare { host: self, table: None };
        match need() {
            Need::Nothing => return Ok(()),
            Need::Command => {}
            Need::Table => spare.table = Some(self.allocate_level2()?),
        }
        let command = Command::MapLevel2(vm);
        let mut port = self.port(PortKind::Vmt, command).await?;
        match need() {
            Need::Nothing => return Ok(()),
            // An earlier command for it timed out, and is over now. It may have done its work.
            Need::Command => {
                if self.confirm_level2(vm).is_ok() {
                    return Ok(());
                }
            }
            Need::Table => {
                let (block, address) = match spare.table.take() {
                    Some(table) => table,
                    // The whole table was withdrawn and made anew since the first look.
                    None => self.allocate_level2()?,
                };
                let named = self.core.with(|core| match core.table.content_mut() {
                    Some(table) => table.name(self.hypervisor.memory(), self.publish_for, vm, block, address),
                    None => Err(block),
                });
                if let Err(block) = named {
                    self.hypervisor.memory().free(block);
                    return Err(port.no_effect(command, Place::Entry("L1_VMTE"), 0).into());
                }
            }
        }
        self.map_level2(&mut port, vm).await?;
        Ok(())
    }

    async fn map_level2(&self, port: &mut Port<'_, H>, vm: VmId) -> Result<(), CommandError> {
        let command = Command::MapLevel2(vm);
        port.issue(command, IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(vm)).await?;
        self.confirm_level2(vm).map_err(|entry| port.no_effect(command, Place::Entry("L1_VMTE"), entry))
    }

    fn confirm_level2(&self, vm: VmId) -> Result<(), u64> {
        self.core.with(|core| match core.table.content_mut() {
            Some(table) => table.confirm(self.hypervisor.memory(), self.publish_for, vm),
            None => Err(0),
        })
    }

    fn allocate_level2(&self) -> Result<(BlockOf<H>, Addr51_12), TableError> {
        let piece = self.geometry.level2().ok_or(TableError::Records)?;
        let memory = self.hypervisor.memory();
        let block = allocate(memory, piece, self.limits.highest)?;
        let address: Result<Addr51_12, AddressError> = piece.place(block.address());
        match address {
            Ok(address) => Ok((block, address)),
            Err(error) => {
                memory.free(block);
                Err(error.into())
            }
        }
    }
}

/// A level-2 table that was allocated and may turn out not to be needed. It goes back also if the future is dropped.
struct Spare<'h, H: Hypervisor> {
    host: &'h Host<H>,
    table: Option<(BlockOf<H>, Addr51_12)>,
}

impl<H: Hypervisor> Drop for Spare<'_, H> {
    fn drop(&mut self) {
        if let Some((block, _)) = self.table.take() {
            self.host.hypervisor.memory().free(block);
        }
    }
}

/// Why a VM could not be given an entry.
pub(crate) enum ReachError {
    Table(TableError),
    Command(CommandError),
}

impl From<TableError> for ReachError {
    fn from(error: TableError) -> ReachError {
        ReachError::Table(error)
    }
}

impl From<CommandError> for ReachError {
    fn from(error: CommandError) -> ReachError {
        ReachError::Command(error)
    }
}
