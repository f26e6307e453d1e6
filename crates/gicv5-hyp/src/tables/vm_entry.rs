//! The entry of a VM in the VM table.

use core::ops::Range;

use gicv5_arch::VmId;
use gicv5_arch::entry::{L2_VMTE_IST, L2_VMTE_VMD};
use gicv5_arch::geometry::{TableIndex, VmTableGeometry};
use gicv5_arch::irs::IRS_VMAP_L2_VMTR;
use gicv5_hal::{Lock, TableMemory};

use crate::machine::Machine;
use crate::tables::vm_table::{SharedVmTable, VmTable, entry};
use crate::{BlockOf, Hypervisor};
use gicv5_irs::command::{Command, TableEntry};
use gicv5_irs::command_port::PortKind;
use gicv5_irs::levels::{ReachError, Shared, reach};

impl<H: Hypervisor> Shared<H, VmTableGeometry> for SharedVmTable<H> {
    fn with<R>(&self, f: impl FnOnce(Option<&mut VmTable<BlockOf<H>>>) -> R) -> R {
        self.part.with(|part| f(part.content_mut()))
    }
}

/// Whether a word of an entry is valid: of the VM, or of an IST. Nothing but this bit means anything to software.
const fn is_valid(word: usize, value: u64) -> bool {
    match word {
        0 => L2_VMTE_VMD::new_with_raw_value(value).valid(),
        _ => L2_VMTE_IST::new_with_raw_value(value).ist_valid(),
    }
}

/// The caller owns the port. `word` is the first of those that are meant: 0 for the VM's entry as a whole, or that of an IST.
impl<H: Hypervisor> SharedVmTable<H> {
    /// Does something with words of a VM's entry, given as the range of their bytes. `None` if there is no entry.
    fn with_words<R>(
        &self,
        machine: &Machine<H>,
        vm: VmId,
        words: Range<usize>,
        f: impl FnOnce(&H::Memory, &BlockOf<H>, Range<u64>) -> R,
    ) -> Option<R> {
        self.part.with(|part| {
            let (block, offset) = entry(part.content()?, vm)?;
            let bytes = offset + words.start as u64 * 8..offset + words.end as u64 * 8;
            Some(f(machine.domain.platform.memory(), block, bytes))
        })
    }

    /// Fills words that are not valid, VALID left 0 (VMT-17). Returns what the first reads as an error if it is valid, which
    /// it cannot be by this library's doing (LIFE-20); 0 if there is no entry.
    pub(crate) fn fill(&self, machine: &Machine<H>, vm: VmId, word: usize, values: &[u64]) -> Result<(), u64> {
        let filled = self.with_words(machine, vm, word..word + values.len(), |memory, block, bytes| {
            memory.prepare(machine.domain.publish_for, block, bytes.clone());
            let found = memory.load64(block, bytes.start);
            if is_valid(word, found) {
                return Err(found);
            }
            for (at, value) in bytes.clone().step_by(8).zip(values) {
                memory.store64(block, at, *value);
            }
            memory.publish(machine.domain.publish_for, block, bytes);
            Ok(())
        });
        filled.unwrap_or(Err(0))
    }

    /// Looks whether the IRS has made a word valid. Returns what it reads as an error if not; 0 if there is no entry.
    pub(crate) fn confirm(&self, machine: &Machine<H>, vm: VmId, word: usize) -> Result<(), u64> {
        let found = self.with_words(machine, vm, word..word + 1, |memory, block, bytes| {
            memory.acquire(machine.domain.publish_for, block, bytes.clone());
            memory.load64(block, bytes.start)
        });
        let found = found.unwrap_or(0);
        if is_valid(word, found) { Ok(()) } else { Err(found) }
    }

    /// Makes words zero of which the IRS has made the first invalid. Returns what says that it has not, as an error.
    pub(crate) fn clear(&self, machine: &Machine<H>, vm: VmId, words: Range<usize>) -> Result<(), (TableEntry, u64)> {
        let cleared = self.with_words(machine, vm, words.clone(), |memory, block, bytes| {
            memory.acquire(machine.domain.publish_for, block, bytes.clone());
            let found = memory.load64(block, bytes.start);
            if is_valid(words.start, found) {
                return Err((TableEntry::L2Vmte, found));
            }
            memory.prepare(machine.domain.publish_for, block, bytes.clone());
            for at in bytes.clone().step_by(8) {
                memory.store64(block, at, 0);
            }
            memory.publish(machine.domain.publish_for, block, bytes);
            Ok(())
        });
        cleared.unwrap_or(Err((TableEntry::L1Vmte, 0)))
    }

    /// Makes sure that a VM has an entry. In a two-level table that may mean another level-2 table.
    pub(crate) async fn make_reachable(&self, machine: &Machine<H>, vm: VmId) -> Result<(), ReachError> {
        let Ok(TableIndex::TwoLevel { level1, .. }) = self.geometry.index(vm) else { return Ok(()) };
        let command = Command::MapLevel2(vm);
        let map = IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(vm);
        reach(&machine.domain, self, level1, command, map, machine.port(PortKind::Vmt, command)).await
    }
}
