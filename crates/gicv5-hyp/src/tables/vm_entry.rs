//! The entry of a VM in the VM table.

use core::ops::Range;

use gicv5_arch::entry::{L2_VMTE, L2_VMTE_VMD};
use gicv5_arch::geometry::{TableIndex, VmTableGeometry};
use gicv5_arch::irs::IRS_VMAP_L2_VMTR;
use gicv5_arch::{IrsIntType, VmId};
use gicv5_hal::{Lock, TableMemory};

use crate::machine::Machine;
use crate::tables::vm_table::{SharedVmTable, VmTable, entry};
use crate::{BlockOf, Hypervisor};
use gicv5_irs::command::Command;
use gicv5_irs::levels::{ReachError, Shared, reach};
use gicv5_irs::port::PortKind;

impl<H: Hypervisor> Shared<H, VmTableGeometry> for SharedVmTable<H> {
    fn with<R>(&self, f: impl FnOnce(Option<&mut VmTable<BlockOf<H>>>) -> R) -> R {
        self.part.with(|part| f(part.content_mut()))
    }
}

impl<H: Hypervisor> SharedVmTable<H> {
    /// Does something with the entry of a VM, given as its table and its offset in it. `None` if there is no entry.
    pub(crate) fn with_entry<R>(
        &self,
        machine: &Machine<H>,
        vm: VmId,
        f: impl FnOnce(&H::Memory, &BlockOf<H>, u64) -> R,
    ) -> Option<R> {
        self.part.with(|part| {
            let (block, offset) = entry(part.content()?, vm)?;
            Some(f(machine.domain.platform.memory(), block, offset))
        })
    }

    /// The same for the word of the entry that describes an IST, given as the range of its bytes.
    pub(crate) fn with_ist_word<R>(
        &self,
        machine: &Machine<H>,
        vm: VmId,
        int_type: IrsIntType,
        f: impl FnOnce(&H::Memory, &BlockOf<H>, Range<u64>) -> R,
    ) -> Option<R> {
        let word = L2_VMTE::ist_word(int_type) as u64 * 8;
        self.with_entry(machine, vm, |memory, block, offset| f(memory, block, offset + word..offset + word + 8))
    }

    /// Fills the entry of a VM that is not valid, VALID left 0 (VMT-17). The caller owns the port. Returns the first word as an
    /// error if the VM is valid, which it cannot be by this library's doing (LIFE-20); `None` if there is no entry.
    pub(crate) fn fill_entry(&self, machine: &Machine<H>, vm: VmId, entry: L2_VMTE) -> Option<Result<(), u64>> {
        self.with_entry(machine, vm, |memory, block, offset| {
            let bytes = offset..offset + L2_VMTE::BYTES;
            memory.prepare(machine.domain.publish_for, block, bytes.clone());
            let found = memory.load64(block, offset);
            if L2_VMTE_VMD::new_with_raw_value(found).valid() {
                return Err(found);
            }
            for (n, word) in entry.raw_value().into_iter().enumerate() {
                memory.store64(block, offset + n as u64 * 8, word);
            }
            memory.publish(machine.domain.publish_for, block, bytes);
            Ok(())
        })
    }

    /// Makes sure that a VM has an entry. In a two-level table that may mean another level-2 table.
    pub(crate) async fn make_reachable(&self, machine: &Machine<H>, vm: VmId) -> Result<(), ReachError> {
        let Ok(TableIndex::TwoLevel { level1, .. }) = self.geometry.index(vm) else { return Ok(()) };
        let command = Command::MapLevel2(vm);
        let map = IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(vm);
        reach(&machine.domain, self, level1, command, map, machine.port(PortKind::Vmt, command)).await
    }
}
