//! The VM table.
//!
//! With two levels it starts with its level-1 table alone. A level-2 table comes with the first VM whose entry it holds, and
//! leaves with the whole: one alone cannot be made invalid (VMT-16). Once a level-1 entry names a table, neither is
//! touched again until the VM table is invalid, even if the command that was to make the entry valid has timed out:
//! whether the IRS has set VALID is unknown then, and writing the entry again could change a valid one (VMT-15). Giving the
//! command again is harmless, since the IRS ignores it if the entry is valid (VMT-14).

use core::sync::atomic::{AtomicU64, Ordering};

use gicv5_arch::VmId;
use gicv5_arch::geometry::{TableIndex, VmTableGeometry};
use gicv5_arch::irs::{IRS_VMT_BASER, IRS_VMT_CFGR};
use gicv5_hal::{Block, Lock};

use crate::ids::VmKey;
use crate::{BlockOf, Hypervisor, MutexOf};
use gicv5_irs::lease::Part;
use gicv5_irs::levels::{Level2, Levels};

/// The VM table.
pub(crate) type VmTable<B> = Levels<B, VmTableGeometry>;

/// What to write to IRS_VMT_CFGR, and to IRS_VMT_BASER to make the table valid.
pub(crate) fn registers<B: Block>(table: &VmTable<B>) -> Option<(IRS_VMT_CFGR, IRS_VMT_BASER)> {
    let address = table.geometry().base().place(table.base().address()).ok()?;
    Some((table.geometry().cfgr(), IRS_VMT_BASER::ZERO.with_addr(address).with_valid(true)))
}

/// Where the entry of a VM lies; `None` if there is no level-2 table for it yet.
pub(crate) fn entry<B: Block>(table: &VmTable<B>, vm: VmId) -> Option<(&B, u64)> {
    match table.geometry().index(vm).ok()? {
        TableIndex::Linear(slot) => Some((table.base(), slot.offset)),
        TableIndex::TwoLevel { level1, level2 } => match table.level2(level1)? {
            Level2::Mapped(block) => Some((block, level2.offset)),
            Level2::Absent | Level2::Named(_) => None,
        },
    }
}

/// The VM table of a host, which its VMs share. One entry is edited while its lock is held.
pub(crate) struct SharedVmTable<H: Hypervisor> {
    /// What table it is.
    pub(crate) geometry: VmTableGeometry,
    pub(crate) part: MutexOf<H, Part<VmTable<BlockOf<H>>>>,
    /// The generation of the next VM.
    next_generation: AtomicU64,
    /// VMs of earlier generations went with the table when it was withdrawn.
    pub(crate) withdrawn_before: AtomicU64,
}

impl<H: Hypervisor> SharedVmTable<H> {
    /// There is no table yet.
    pub(crate) fn new(geometry: VmTableGeometry) -> SharedVmTable<H> {
        SharedVmTable {
            geometry,
            part: Lock::new(Part::Absent),
            next_generation: AtomicU64::new(0),
            withdrawn_before: AtomicU64::new(0),
        }
    }

    /// Names a VM that is to become valid. No other VM gets the same name.
    pub(crate) fn key(&self, vm: VmId) -> VmKey {
        VmKey::new(vm, self.next_generation.fetch_add(1, Ordering::Relaxed))
    }

    /// The generation of the next VM.
    pub(crate) fn next_generation(&self) -> u64 {
        self.next_generation.load(Ordering::Relaxed)
    }
}
