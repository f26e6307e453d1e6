//! An IST in memory: its shape, the places in it, and whose its parts are. The same for the physical IST and for those of VMs.

use arbitrary_int::u2;
use gicv5_arch::entry::{L1_ISTE, L2_ISTE, L2_VMTE_IST};
use gicv5_arch::geometry::{IstGeometry, IstLimits, TableIndex};
use gicv5_arch::values::{IstSize, L2Size, Structure};
use gicv5_arch::{IrsIntId, IrsIntType, PhysAddr, VmId};
use gicv5_hal::IrsIndex;

use crate::memory::Claim;
use crate::parts::irs_side::{IrsMemory, IrsSide};
use crate::words::config::{IstSwitches, Level1Valid, UnsupportedIdBits, UnsupportedL2Size, WrongEntrySize};
use crate::words::event::Outcome;
use crate::words::owner::{InMemory, Owner, StructureKind};
use crate::words::rules;
use crate::words::violation::Place;

/// Why an interrupt cannot be reached (INS-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// There is no valid IST for its type.
    NoIst,
    /// Its ID is out of range (IST-27).
    OutOfRange,
    /// Its level-1 entry is not valid (IST-27).
    NoLevel2 {
        /// The address of the level-1 entry.
        entry: PhysAddr,
    },
    /// Its level-1 entry could not be read (ERR-4, code 0x01).
    Level1Fault {
        /// The address of the level-1 entry.
        entry: PhysAddr,
    },
    /// Its entry could not be read (ERR-4, code 0x02).
    Level2Fault {
        /// The address of the entry.
        entry: PhysAddr,
    },
}

/// An IST as software describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AskedIst {
    /// The VM whose it is; `None` for the physical one.
    pub(crate) vm: Option<VmId>,
    pub(crate) int_type: IrsIntType,
    pub(crate) id_bits: u32,
    /// `None` if the size is reserved.
    pub(crate) istsz: Option<IstSize>,
    pub(crate) structure: Structure,
    /// `None` if the size is reserved.
    pub(crate) l2sz: Option<L2Size>,
    /// The whole description of its shape, and where that stands.
    pub(crate) shape: (u64, Place),
    /// Its address, and where that stands.
    pub(crate) base: (PhysAddr, Place),
}

impl AskedIst {
    /// An IST of a VM, as a word of the VM's entry describes it.
    pub(crate) fn of_word(vm: VmId, int_type: IrsIntType, word: L2_VMTE_IST, place: Place) -> AskedIst {
        AskedIst {
            vm: Some(vm),
            int_type,
            id_bits: word.id_bits().into(),
            istsz: word.istsz().ok(),
            structure: word.structure(),
            l2sz: word.l2sz().ok(),
            shape: (word.raw_value(), place),
            base: (word.ist_addr().address(), place),
        }
    }

    /// The IRS takes the memory of the IST, which becomes valid; `None` if it does not.
    pub(crate) fn adopt(self, side: &mut IrsSide<'_>, limits: IstLimits, switches: IstSwitches) -> Option<Ist> {
        let ist = self.ist(side, limits, switches)?;
        ist.own(side, IstOwners::of(self.vm, self.int_type));
        Some(ist)
    }

    /// The IST that becomes valid. Hardware takes address bits below the alignment as zero (IST-12, IST-13).
    fn ist(self, side: &mut IrsSide<'_>, limits: IstLimits, switches: IstSwitches) -> Option<Ist> {
        let geometry = self.supported(side, limits, switches)?;
        let (base, place) = self.base;
        let base = side.aligned(base, geometry.base().alignment(), rules::IST_12, place)?;
        Some(Ist { irs: side.irs, base, geometry })
    }

    /// The tables of the IST.
    pub(crate) fn structures(self, side: &mut IrsSide<'_>, limits: IstLimits, switches: IstSwitches) -> Vec<InMemory> {
        let Some(ist) = self.ist(side, limits, switches) else { return Vec::new() };
        let owners = IstOwners::of(self.vm, self.int_type);
        let owner = if ist.geometry.level2().is_none() { owners.linear } else { owners.level1 };
        let level1 = ist.valid_level1_entries(side);
        let level2 = level1.into_iter().filter_map(|(_, entry)| ist.level2_table(entry));
        let level2 = level2.map(|(address, size)| InMemory { address, size, owner: owners.level2 });
        let base = InMemory { address: ist.base, size: ist.geometry.base().size(), owner };
        std::iter::once(base).chain(level2).collect()
    }

    /// The shape that the IST becomes valid with: out of range is clamped (IST-28), unsupported is replaced by something
    /// supported (IST-9, IST-10, IST-14, IST-15), and reported. `None` if it does not become valid.
    fn supported(self, side: &mut IrsSide<'_>, limits: IstLimits, switches: IstSwitches) -> Option<IstGeometry> {
        let (raw, place) = self.shape;
        let fewest = if self.int_type == IrsIntType::Lpi { limits.min_lpi_id_bits() } else { 0 };
        let id_bits = self.id_bits.clamp(fewest, limits.id_bits());
        if self.id_bits != id_bits {
            let refused = switches.id_bits == UnsupportedIdBits::Refused && self.vm.is_some();
            side.report.violate(rules::IST_28, place, raw, id_bits.into(), || match refused {
                true => format!("an IST with {} ID bits is not taken", self.id_bits),
                false => format!("{} ID bits are taken as {id_bits}", self.id_bits),
            });
            if refused {
                return None;
            }
        }
        let required = limits.entry_size(id_bits);
        if self.istsz != Some(required) {
            side.report.violate(rules::IST_10, place, raw, required.raw_value().value().into(), || {
                format!("ISTSZ is not the {} that this IRS needs for {id_bits} ID bits", required.meaning())
            });
        }
        let entry = match switches.entry_size {
            WrongEntrySize::IsUsed => self.istsz.unwrap_or(required),
            WrongEntrySize::IsReplaced => required,
        };
        let l2_size = limits.l2_sizes().map(|supported| {
            let mut supported = L2Size::ALL.into_iter().filter(|size| supported.contains(*size));
            let other = match switches.l2_size {
                UnsupportedL2Size::Smallest => supported.clone().next(),
                UnsupportedL2Size::Largest => supported.clone().next_back(),
            };
            supported.find(|size| self.l2sz == Some(*size)).or(other).unwrap_or(L2Size::KiB4)
        });
        let geometry = match (self.structure, l2_size) {
            (Structure::TwoLevel, Some(l2_size)) => IstGeometry::two_level(id_bits, entry, l2_size),
            _ => IstGeometry::linear(id_bits, entry),
        };
        let geometry = geometry.ok()?;
        if self.structure == Structure::TwoLevel && (l2_size.is_none() || self.l2sz != l2_size) {
            side.report.violate(rules::IST_15, place, raw, geometry.cfgr().raw_value().into(), || {
                "STRUCTURE or L2SZ is not supported by this IRS".into()
            });
        }
        Some(geometry)
    }
}

/// An IST in memory that is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ist {
    /// The IRS that owns it.
    pub(crate) irs: IrsIndex,
    /// Its address, or that of its level-1 table.
    pub(crate) base: PhysAddr,
    /// Its shape.
    pub(crate) geometry: IstGeometry,
}

impl Ist {
    /// The address of the level-1 entry that covers an ID; `None` in a linear IST and for an ID out of range.
    fn level1_entry(&self, id: u32) -> Option<PhysAddr> {
        match self.geometry.index(id).ok()? {
            TableIndex::Linear(_) => None,
            TableIndex::TwoLevel { level1, .. } => self.base.offset(level1.offset).ok(),
        }
    }

    /// The table that a level-1 entry names, and its size; `None` in a linear IST. Hardware takes address bits below the
    /// size as zero (IST-14).
    fn level2_table(&self, level1: L1_ISTE) -> Option<(PhysAddr, u64)> {
        let size = self.geometry.level2()?.size();
        let table = PhysAddr::new(level1.l2_addr().address().raw() & !(size - 1)).ok()?;
        Some((table, size))
    }

    /// The address of an interrupt's entry.
    pub(crate) fn entry(&self, id: u32, memory: &mut impl IrsMemory) -> Result<PhysAddr, Unreachable> {
        match self.geometry.index(id).map_err(|_| Unreachable::OutOfRange)? {
            TableIndex::Linear(slot) => self.base.offset(slot.offset).map_err(|_| Unreachable::OutOfRange),
            TableIndex::TwoLevel { level1, level2 } => {
                let entry = self.base.offset(level1.offset).map_err(|_| Unreachable::OutOfRange)?;
                let raw = memory.irs_load64(self.irs, entry).ok_or(Unreachable::Level1Fault { entry })?;
                let level1 = L1_ISTE::new_with_raw_value(raw);
                if !level1.valid() {
                    return Err(Unreachable::NoLevel2 { entry });
                }
                let (table, _) = self.level2_table(level1).ok_or(Unreachable::OutOfRange)?;
                table.offset(level2.offset).map_err(|_| Unreachable::OutOfRange)
            }
        }
    }

    /// The valid level-1 entries and where they are; none of a linear IST.
    fn valid_level1_entries(&self, side: &IrsSide<'_>) -> Vec<(PhysAddr, L1_ISTE)> {
        let count = if self.geometry.level2().is_some() { self.geometry.l1_entries() } else { 0 };
        let entries = side.words(self.base, count).map(|(_, at, raw)| (at, L1_ISTE::new_with_raw_value(raw)));
        entries.filter(|(_, level1)| level1.valid()).collect()
    }

    /// The IRS takes the memory of an IST that becomes valid. Level-1 entries that are valid belong to it, and so do their
    /// tables; the others may be filled (IST-18).
    fn own(&self, side: &mut IrsSide<'_>, owners: IstOwners) {
        let size = self.geometry.base().size();
        if self.geometry.level2().is_none() {
            self.judge_entries(side, InMemory { address: self.base, size, owner: owners.linear });
            return side.adopt(self.base, size, Claim::Owned(owners.linear));
        }
        side.adopt(self.base, size, Claim::Fillable(owners.level1));
        for (entry, level1) in self.valid_level1_entries(side) {
            self.own_level2(side, entry, level1, owners);
        }
    }

    /// The IRS takes a level-1 entry that becomes valid, and the table it names.
    fn own_level2(&self, side: &mut IrsSide<'_>, entry: PhysAddr, level1: L1_ISTE, owners: IstOwners) {
        side.own(entry, L1_ISTE::BYTES, owners.level1);
        if let Some((table, size)) = self.level2_table(level1) {
            self.judge_entries(side, InMemory { address: table, size, owner: owners.level2 });
            side.adopt(table, size, Claim::Owned(owners.level2));
        }
    }

    /// Reports the first entry of entries that become valid in which software has set what it must leave 0 (IST-22).
    fn judge_entries(&self, side: &mut IrsSide<'_>, entries: InMemory) {
        const WHAT: &str = "an IST became valid with an entry that had Pending or bits for the IRS's own use set";
        let own = u64::from(L2_ISTE::ZERO.with_pending(true).with_hwu(u2::new(3)).raw_value());
        let metadata = u64::MAX << 32;
        let zeros: &[u64] = match self.geometry.entry_size() {
            IstSize::Bytes4 => &[own | own << 32],
            IstSize::Bytes8 => &[own | metadata],
            IstSize::Bytes16 => &[own | metadata, u64::MAX],
        };
        side.judge_zeros(entries, self.geometry.entry_size().bytes(), zeros, rules::IST_22, WHAT);
    }

    /// Makes the level-1 entry valid that covers an interrupt, of a VM or physical, if it is not (IST-18, IST-19, LPI-2).
    ///
    /// # Errors
    ///
    /// The address of a level-1 entry that cannot be updated.
    pub(crate) fn publish_level2(
        &self,
        side: &mut IrsSide<'_>,
        vm: Option<VmId>,
        id: IrsIntId,
    ) -> Result<Outcome, PhysAddr> {
        let owners = IstOwners::of(vm, id.int_type());
        let Some(entry) = self.level1_entry(id.id()) else { return Ok(Outcome::Ignored) };
        let level1 = L1_ISTE::new_with_raw_value(side.load64(entry).ok_or(entry)?);
        if level1.valid() {
            return Ok(Outcome::Ignored);
        }
        if !side.store64(entry, level1.with_valid(true).raw_value()) {
            return Err(entry);
        }
        self.own_level2(side, entry, level1, owners);
        Ok(Outcome::Done)
    }

    /// The level-1 entry that covers an interrupt, if it is not valid, and the table it names.
    pub(crate) fn unpublished_level2(
        &self,
        side: &IrsSide<'_>,
        vm: Option<VmId>,
        id: IrsIntId,
    ) -> Option<[InMemory; 2]> {
        let owners = IstOwners::of(vm, id.int_type());
        let entry = self.level1_entry(id.id())?;
        let level1 = L1_ISTE::new_with_raw_value(side.load64(entry)?);
        let (address, size) = self.level2_table(level1).filter(|_| !level1.valid())?;
        let entry = InMemory { address: entry, size: L1_ISTE::BYTES, owner: owners.level1 };
        Some([entry, InMemory { address, size, owner: owners.level2 }])
    }

    /// Software sees the entries that the IRS owns, or does not any more ([`Memory::show`](crate::memory::Memory::show)).
    pub(crate) fn show(&self, side: &mut IrsSide<'_>, shown: bool) {
        if self.geometry.level2().is_none() {
            side.show(self.base, self.geometry.base().size(), shown);
        }
        for (_, level1) in self.valid_level1_entries(side) {
            if let Some((table, size)) = self.level2_table(level1) {
                side.show(table, size, shown);
            }
        }
    }

    /// The memory of an IST that is no longer valid goes back to software (IST-7).
    pub(crate) fn disown(&self, side: &mut IrsSide<'_>, validity: Level1Valid) {
        for (entry, level1) in self.valid_level1_entries(side) {
            if let Some((table, size)) = self.level2_table(level1) {
                side.disown(table, size);
            }
            if validity == Level1Valid::Cleared {
                side.store64(entry, level1.with_valid(false).raw_value());
            }
        }
        side.disown(self.base, self.geometry.base().size());
    }
}

/// Whose the parts of an IST are.
#[derive(Clone, Copy)]
struct IstOwners {
    linear: Owner,
    level1: Owner,
    level2: Owner,
}

impl IstOwners {
    /// The ISTs of a VM, and the physical one.
    const fn of(vm: Option<VmId>, int_type: IrsIntType) -> IstOwners {
        use StructureKind::*;
        let (linear, level1, level2) = match (vm, int_type) {
            (None, _) => (PhysicalIst, PhysicalL1Iste, PhysicalL2Ist),
            (Some(_), IrsIntType::Lpi) => (LpiIst, LpiL1Iste, LpiL2Ist),
            (Some(_), IrsIntType::Spi) => (SpiIst, SpiL1Iste, SpiL2Ist),
        };
        IstOwners {
            linear: Owner { structure: linear, vm },
            level1: Owner { structure: level1, vm },
            level2: Owner { structure: level2, vm },
        }
    }
}
