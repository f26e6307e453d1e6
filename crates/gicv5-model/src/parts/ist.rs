//! An IST in memory: its shape, the places in it, and whose its parts are. The same for the physical IST and for those of VMs.

use gicv5_arch::entry::L1_ISTE;
use gicv5_arch::geometry::{IstGeometry, TableIndex};
use gicv5_arch::values::{IstSize, L2Size, Structure};
use gicv5_arch::{IrsIntType, PhysAddr, VmId};
use gicv5_hal::IrsIndex;

use crate::parts::irs_side::IrsMemory;
use crate::words::owner::{Owner, StructureKind};

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
    pub(crate) fn level1_entry(&self, id: u32) -> Option<PhysAddr> {
        match self.geometry.index(id).ok()? {
            TableIndex::Linear(_) => None,
            TableIndex::TwoLevel { level1, .. } => self.base.offset(level1.offset).ok(),
        }
    }

    /// The table that a level-1 entry names, and its size; `None` in a linear IST. Hardware takes address bits below the
    /// size as zero (IST-14).
    pub(crate) fn level2_table(&self, level1: L1_ISTE) -> Option<(PhysAddr, u64)> {
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
}

/// Whose the parts of an IST are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IstOwners {
    pub(crate) linear: Owner,
    pub(crate) level1: Owner,
    pub(crate) level2: Owner,
}

impl IstOwners {
    /// The physical LPI IST.
    pub(crate) const PHYSICAL: IstOwners = IstOwners {
        linear: Owner::domain(StructureKind::PhysicalIst),
        level1: Owner::domain(StructureKind::PhysicalL1Iste),
        level2: Owner::domain(StructureKind::PhysicalL2Ist),
    };

    /// An IST of a VM.
    pub(crate) const fn of_vm(vm: VmId, int_type: IrsIntType) -> IstOwners {
        let (linear, level1, level2) = match int_type {
            IrsIntType::Lpi => (StructureKind::LpiIst, StructureKind::LpiL1Iste, StructureKind::LpiL2Ist),
            IrsIntType::Spi => (StructureKind::SpiIst, StructureKind::SpiL1Iste, StructureKind::SpiL2Ist),
        };
        IstOwners { linear: Owner::vm(linear, vm), level1: Owner::vm(level1, vm), level2: Owner::vm(level2, vm) }
    }
}

/// An IST as software describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AskedIst {
    pub(crate) id_bits: u32,
    /// `None` if the size is reserved.
    pub(crate) istsz: Option<IstSize>,
    pub(crate) structure: Structure,
    /// `None` if the size is reserved.
    pub(crate) l2sz: Option<L2Size>,
    /// The whole description.
    pub(crate) raw: u64,
}
