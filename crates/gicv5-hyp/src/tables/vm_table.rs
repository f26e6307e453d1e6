//! The VM table.
//!
//! With two levels it starts with its level-1 table alone. A level-2 table comes with the first VM whose entry it holds, and
//! leaves with the whole: one alone cannot be made invalid (VMT-16). Once a level-1 entry names a table, neither is
//! touched again until the VM table is invalid, even if the command that was to make the entry valid has timed out:
//! whether the IRS has set VALID is unknown then, and writing the entry again could change a valid one (VMT-15). Giving the
//! command again is harmless, since the IRS ignores it if the entry is valid (VMT-14).

use core::ops::Range;

use gicv5_arch::entry::{L2_VMTE, L2_VMTE_VMD};
use gicv5_arch::geometry::{TableIndex, VmTableGeometry};
use gicv5_arch::irs::{IRS_VMAP_L2_VMTR, IRS_VMT_BASER, IRS_VMT_CFGR};
use gicv5_arch::{IrsIntType, VmId};
use gicv5_hal::{Block, Lock, TableMemory};

use crate::host::host::Host;
use crate::{BlockOf, Hypervisor};
use gicv5_irs::command::Command;
use gicv5_irs::levels::{Level2, Levels, ReachError, Shared, reach};
use gicv5_irs::port::PortKind;

/// The VM table.
pub(crate) type VmTable<B> = Levels<B, VmTableGeometry>;

/// What to write to IRS_VMT_CFGR, and to IRS_VMT_BASER to make the table valid.
pub(crate) fn registers<B: Block>(table: &VmTable<B>) -> Option<(IRS_VMT_CFGR, IRS_VMT_BASER)> {
    let address = table.geometry().base().place(table.base().address()).ok()?;
    Some((table.geometry().cfgr(), IRS_VMT_BASER::ZERO.with_addr(address).with_valid(true)))
}

/// Where the entry of a VM lies; `None` if there is no level-2 table for it yet.
fn entry<B: Block>(table: &VmTable<B>, vm: VmId) -> Option<(&B, u64)> {
    match table.geometry().index(vm).ok()? {
        TableIndex::Linear(slot) => Some((table.base(), slot.offset)),
        TableIndex::TwoLevel { level1, level2 } => match table.level2(level1)? {
            Level2::Mapped(block) => Some((block, level2.offset)),
            Level2::Absent | Level2::Named(_) => None,
        },
    }
}

impl<H: Hypervisor> Shared<H, VmTableGeometry> for Host<H> {
    fn with<R>(&self, f: impl FnOnce(Option<&mut VmTable<BlockOf<H>>>) -> R) -> R {
        self.core.with(|core| f(core.table.content_mut()))
    }
}

impl<H: Hypervisor> Host<H> {
    /// Does something with the entry of a VM, given as its table and its offset in it. `None` if there is no entry.
    pub(crate) fn with_entry<R>(&self, vm: VmId, f: impl FnOnce(&H::Memory, &BlockOf<H>, u64) -> R) -> Option<R> {
        self.core.with(|core| {
            let (block, offset) = entry(core.table.content()?, vm)?;
            Some(f(self.domain.platform.memory(), block, offset))
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
            memory.prepare(self.domain.publish_for, block, bytes.clone());
            let found = memory.load64(block, offset);
            if L2_VMTE_VMD::new_with_raw_value(found).valid() {
                return Err(found);
            }
            for (n, word) in entry.raw_value().into_iter().enumerate() {
                memory.store64(block, offset + n as u64 * 8, word);
            }
            memory.publish(self.domain.publish_for, block, bytes);
            Ok(())
        })
    }

    /// Makes sure that a VM has an entry. In a two-level table that may mean another level-2 table.
    pub(crate) async fn make_entry_reachable(&self, vm: VmId) -> Result<(), ReachError> {
        let Ok(TableIndex::TwoLevel { level1, .. }) = self.geometry.index(vm) else { return Ok(()) };
        let command = Command::MapLevel2(vm);
        let map = IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(vm);
        reach(&self.domain, self, level1, command, map, self.port(PortKind::Vmt, command)).await
    }
}
