//! The VM table: the registers that describe it, its shape, and whose its parts are.
//!
//! A VM, a VPE or an IST becomes valid by a command that names it. The IRS then reads the entry once, sets its valid bit
//! and keeps what it has read: it never looks at the entry again until it is invalid (VMT-19). From then on the memory behind
//! it is the IRS's (VM-5), and it goes back when the structure that encloses it becomes invalid (VM-6, IST-7).

use gicv5_arch::entry::{L1_VMTE, L2_VMTE_IST, L2_VMTE_VMD, L2_VMTE_VPET};
use gicv5_arch::geometry::{TableIndex, VmTableGeometry};
use gicv5_arch::irs::{IRS_IDR3, IRS_VMT_BASER, IRS_VMT_CFGR, IrsReg};
use gicv5_arch::layout::fields_mask;
use gicv5_arch::values::{Levels, Structure};
use gicv5_arch::{PhysAddr, VmId};
use gicv5_hal::{Frame, IrsIndex};

use crate::memory::{Claim, Memory};
use crate::parts::irs_side::IrsSide;
use crate::words::config::{Level1Valid, LiveRegisters, UnsupportedVmTable};
use crate::words::event::Outcome;
use crate::words::owner::{InMemory, Owner, StructureKind};
use crate::words::rules;
use crate::words::violation::Place;

/// What an IRS has been told about the VM table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct VmtRegisters {
    baser: IRS_VMT_BASER,
    cfgr: IRS_VMT_CFGR,
    /// The table that it was given is valid.
    pub(crate) adopted: bool,
}

impl VmtRegisters {
    pub(crate) fn baser(&self) -> IRS_VMT_BASER {
        self.baser
    }

    pub(crate) fn cfgr(&self) -> IRS_VMT_CFGR {
        self.cfgr
    }

    /// A write of IRS_VMT_BASER. Returns whether there is a command to complete.
    pub(crate) fn write_baser(&mut self, new: IRS_VMT_BASER, live: LiveRegisters) -> bool {
        match (self.baser.valid(), new.valid()) {
            // A write of 1 over 1 does nothing, and the address stays (VMT-5).
            (true, true) => {
                if live == LiveRegisters::Take {
                    self.baser = new;
                }
                false
            }
            (true, false) => {
                self.keep_validity();
                true
            }
            (false, valid) => {
                self.baser = new;
                valid
            }
        }
    }

    /// VALID says what it did before the last change.
    pub(crate) fn keep_validity(&mut self) {
        self.baser = self.baser.with_valid(!self.baser.valid());
    }

    /// A write of IRS_VMT_CFGR, which is sampled when the table becomes valid (VMT-4).
    pub(crate) fn write_cfgr(&mut self, new: IRS_VMT_CFGR, live: LiveRegisters) {
        if !self.baser.valid() || live == LiveRegisters::Take {
            self.cfgr = new;
        }
    }

    /// The table that they describe. What is not supported is replaced by what is, and reported (VMT-11).
    pub(crate) fn table(
        &self,
        side: &mut IrsSide<'_>,
        idr3: IRS_IDR3,
        unsupported: UnsupportedVmTable,
    ) -> Option<VmTable> {
        let VmtRegisters { baser, cfgr, .. } = *self;
        let supported = u32::from(idr3.vm_id_bits());
        let mut id_bits = u32::from(cfgr.vm_id_bits()).min(supported);
        let asks_for_levels = cfgr.structure() == Structure::TwoLevel;
        let mut two_level = asks_for_levels && idr3.vmt_levels() == Levels::TwoLevel;
        if id_bits != u32::from(cfgr.vm_id_bits()) || two_level != asks_for_levels {
            let (asked, found) = (cfgr.raw_value().into(), idr3.raw_value().into());
            side.report.violate(rules::VMT_11, register(side.irs, IrsReg::IRS_VMT_CFGR), asked, found, || {
                "VM_ID_BITS or STRUCTURE is not supported by this IRS".into()
            });
            if unsupported == UnsupportedVmTable::Whole {
                (id_bits, two_level) = (supported, false);
            }
        }
        let geometry = match two_level {
            true => VmTableGeometry::two_level(id_bits),
            false => VmTableGeometry::linear(id_bits),
        };
        let geometry = geometry.ok()?;
        let place = register(side.irs, IrsReg::IRS_VMT_BASER);
        let base = side.aligned(baser.addr().address(), geometry.base().alignment(), rules::VMT_10, place)?;
        Some(VmTable { irs: side.irs, base, geometry })
    }
}

fn register(irs: IrsIndex, register: IrsReg) -> Place {
    Place::Register(Frame::config(irs), register.offset())
}

/// Reports the first entry of a table that becomes valid that has bits set which belong to no field (VMT-12). What an entry that
/// is valid already names is looked at when it is taken.
fn judge_entries(side: &mut IrsSide<'_>, table: InMemory) {
    let zeros: &[u64] = match table.owner.structure {
        StructureKind::L1Vmte => &[!fields_mask(L1_VMTE::FIELDS)],
        _ => &[
            !fields_mask(L2_VMTE_VMD::FIELDS),
            !fields_mask(L2_VMTE_VPET::FIELDS),
            !fields_mask(L2_VMTE_IST::FIELDS),
            !fields_mask(L2_VMTE_IST::FIELDS),
        ],
    };
    side.judge_zeros(table, 8, zeros, rules::VMT_12, "a VM table became valid with an entry that is not well-formed");
}

/// A VM table that is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct VmTable {
    /// The IRS that owns it, and everything behind it: the first that was given it.
    irs: IrsIndex,
    base: PhysAddr,
    geometry: VmTableGeometry,
}

impl VmTable {
    pub(crate) fn irs(self) -> IrsIndex {
        self.irs
    }

    /// Whether another IRS is given the same table. Reports if it is not (GEN-13).
    pub(crate) fn is_same(self, other: VmTable, side: &mut IrsSide<'_>) -> bool {
        let same = (self.base, self.geometry) == (other.base, other.geometry);
        if !same {
            let place = register(side.irs, IrsReg::IRS_VMT_BASER);
            side.report.violate(rules::GEN_13, place, self.base.raw(), other.base.raw(), || {
                "an IRS is given another VM table than the other IRSs of its domain have".into()
            });
        }
        same
    }

    /// Whose the words of an entry are: the first two, and the IST words.
    pub(crate) fn entry_owners(self) -> (StructureKind, StructureKind) {
        match self.geometry.structure() {
            Structure::TwoLevel => (StructureKind::L2Vmte, StructureKind::L2VmteIst),
            Structure::Linear => (StructureKind::LinearVmte, StructureKind::LinearVmteIst),
        }
    }

    /// The address of a VM's entry; `None` if the ID is out of range or its level-1 entry not valid (VMT-20).
    pub(crate) fn entry(self, memory: &Memory, vm: VmId) -> Option<PhysAddr> {
        match self.geometry.index(vm).ok()? {
            TableIndex::Linear(slot) => self.base.offset(slot.offset).ok(),
            TableIndex::TwoLevel { level1, level2 } => {
                let raw = memory.irs_load64(self.irs, self.base.offset(level1.offset).ok()?).ok()?;
                let entry = L1_VMTE::new_with_raw_value(raw);
                if !entry.valid() {
                    return None;
                }
                entry.l2_addr().address().offset(level2.offset).ok()
            }
        }
    }

    /// The valid level-1 entries, by number, and where they are; none of a linear table.
    pub(crate) fn valid_level1_entries(self, side: &IrsSide<'_>) -> Vec<(u32, PhysAddr, L1_VMTE)> {
        let count = if self.geometry.level2().is_some() { self.geometry.l1_entries() } else { 0 };
        let entries = side.words(self.base, count).map(|(n, at, raw)| (n, at, L1_VMTE::new_with_raw_value(raw)));
        entries.filter(|(_, _, level1)| level1.valid()).collect()
    }

    /// The IRS takes the table, which becomes valid: of two levels, the first (VMT-3). Returns the number of entries of a
    /// linear table.
    pub(crate) fn own(self, side: &mut IrsSide<'_>) -> Option<u32> {
        let linear = self.geometry.level2().is_none();
        let owner = if linear { StructureKind::LinearVmte } else { StructureKind::L1Vmte };
        let base = InMemory { address: self.base, size: self.geometry.base().size(), owner: Owner::domain(owner) };
        judge_entries(side, base);
        side.adopt(base.address, base.size, Claim::Fillable(base.owner));
        linear.then_some(1 << self.geometry.vm_id_bits())
    }

    /// The IRS takes a level-1 entry that is valid, and the table it names.
    pub(crate) fn own_level2(self, side: &mut IrsSide<'_>, entry: PhysAddr, level1: L1_VMTE) {
        let InMemory { address, size, owner } = self.level2_table(level1);
        side.own(entry, L1_VMTE::BYTES, Owner::domain(StructureKind::L1Vmte));
        judge_entries(side, InMemory { address, size, owner });
        side.adopt(address, size, Claim::Fillable(owner));
    }

    /// The tables of it: of two levels, the first and those of the second that valid entries name.
    pub(crate) fn structures(self, side: &IrsSide<'_>) -> Vec<InMemory> {
        let linear = self.geometry.level2().is_none();
        let owner = Owner::domain(if linear { StructureKind::LinearVmte } else { StructureKind::L1Vmte });
        let base = InMemory { address: self.base, size: self.geometry.base().size(), owner };
        let level1 = self.valid_level1_entries(side).into_iter();
        std::iter::once(base).chain(level1.map(|(_, _, level1)| self.level2_table(level1))).collect()
    }

    fn level2_table(self, level1: L1_VMTE) -> InMemory {
        let size = self.geometry.level2().map_or(0, |level2| level2.size());
        InMemory { address: level1.l2_addr().address(), size, owner: Owner::domain(StructureKind::L2Vmte) }
    }

    /// The VMs whose entries are valid, and where these are, before the table is.
    pub(crate) fn valid_entries(self, side: &IrsSide<'_>) -> Vec<(VmId, PhysAddr)> {
        let ids = (0..=u16::MAX).take(1 << self.geometry.vm_id_bits()).map(VmId::new);
        let entries = ids.filter_map(|vm| Some((vm, self.entry(side.memory, vm)?)));
        entries.filter(|(_, entry)| side.load64(*entry).is_some_and(|word| word & 1 != 0)).collect()
    }

    /// The level-1 entry that covers a VM, if it is not valid, and the table it names.
    pub(crate) fn unpublished_level2(self, side: &IrsSide<'_>, vm: VmId) -> Option<[InMemory; 2]> {
        let TableIndex::TwoLevel { level1, .. } = self.geometry.index(vm).ok()? else { return None };
        let address = self.base.offset(level1.offset).ok()?;
        let level1 = L1_VMTE::new_with_raw_value(side.load64(address)?);
        let owner = Owner::domain(StructureKind::L1Vmte);
        let entry = InMemory { address, size: L1_VMTE::BYTES, owner };
        (!level1.valid()).then(|| [entry, self.level2_table(level1)])
    }

    /// Makes the level-1 entry valid that covers a VM (VMT-13, VMT-14). `None` if the ID is out of range.
    pub(crate) fn publish_level2(self, side: &mut IrsSide<'_>, vm: VmId) -> Option<Outcome> {
        let TableIndex::TwoLevel { level1, .. } = self.geometry.index(vm).ok()? else { return Some(Outcome::Ignored) };
        let entry = self.base.offset(level1.offset).ok();
        let found = entry.and_then(|entry| Some((entry, L1_VMTE::new_with_raw_value(side.load64(entry)?))));
        let Some((entry, level1)) = found.filter(|(_, level1)| !level1.valid()) else { return Some(Outcome::Ignored) };
        let level1 = level1.with_valid(true);
        if !side.store64(entry, level1.raw_value()) {
            return Some(Outcome::Ignored);
        }
        self.own_level2(side, entry, level1);
        Some(Outcome::Done)
    }

    /// The memory of a table that is no longer valid goes back to software (VMT-6).
    pub(crate) fn disown(self, side: &mut IrsSide<'_>, validity: Level1Valid) {
        for (_, entry, level1) in self.valid_level1_entries(side) {
            if let Some(level2) = self.geometry.level2() {
                side.disown(level1.l2_addr().address(), level2.size());
            }
            if validity == Level1Valid::Cleared {
                side.store64(entry, level1.with_valid(false).raw_value());
            }
        }
        side.disown(self.base, self.geometry.base().size());
    }
}
