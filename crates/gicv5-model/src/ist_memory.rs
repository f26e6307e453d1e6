//! Whose the memory of an IST is while it is valid: the same for the physical IST and for those of VMs.

use gicv5_arch::entry::L1_ISTE;
use gicv5_arch::{IrsIntId, IrsIntType, PhysAddr, VmId};

use crate::event::{Outcome, Space};
use crate::interrupts::Ist;
use crate::machine::MachineState;
use crate::memory::{Owner, Structure};
use crate::swerr::{ErrorCode, SoftwareError};

/// Whose the parts of an IST are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IstOwners {
    linear: Owner,
    level1: Owner,
    level2: Owner,
}

impl IstOwners {
    /// The physical LPI IST.
    pub(crate) const PHYSICAL: IstOwners = IstOwners {
        linear: Owner::domain(Structure::PhysicalIst),
        level1: Owner::domain(Structure::PhysicalL1Iste),
        level2: Owner::domain(Structure::PhysicalL2Ist),
    };

    /// An IST of a VM.
    pub(crate) const fn of_vm(vm: VmId, int_type: IrsIntType) -> IstOwners {
        let (linear, level1, level2) = match int_type {
            IrsIntType::Lpi => (Structure::LpiIst, Structure::LpiL1Iste, Structure::LpiL2Ist),
            IrsIntType::Spi => (Structure::SpiIst, Structure::SpiL1Iste, Structure::SpiL2Ist),
        };
        IstOwners { linear: Owner::vm(linear, vm), level1: Owner::vm(level1, vm), level2: Owner::vm(level2, vm) }
    }
}

impl MachineState {
    /// The IRS takes the memory of an IST that becomes valid. Level-1 entries that are valid belong to it, and so do their
    /// tables; the others may be filled (IST-18).
    pub(crate) fn own_ist(&mut self, ist: Ist, owners: IstOwners) {
        let size = ist.geometry.base().size();
        if ist.geometry.level2().is_none() {
            let _ = self.memory.own(&mut self.report, ist.base, size, owners.linear);
            return;
        }
        let _ = self.memory.fill(&mut self.report, ist.base, size, owners.level1);
        for (entry, level1) in self.valid_level1_entries(ist) {
            self.own_level2_ist(ist, entry, level1, owners);
        }
    }

    /// The IRS takes a level-1 entry that becomes valid, and the table it names.
    pub(crate) fn own_level2_ist(&mut self, ist: Ist, entry: PhysAddr, level1: L1_ISTE, owners: IstOwners) {
        let _ = self.memory.own(&mut self.report, entry, L1_ISTE::BYTES, owners.level1);
        if let Some((table, size)) = ist.level2_table(level1) {
            let _ = self.memory.own(&mut self.report, table, size, owners.level2);
        }
    }

    /// Makes the level-1 entry valid that covers an interrupt, if it is not (IST-18, IST-19, LPI-2).
    pub(crate) fn publish_level2_ist(
        &mut self,
        irs: usize,
        space: Space,
        id: IrsIntId,
        ist: Ist,
        owners: IstOwners,
    ) -> Outcome {
        let Some(entry) = ist.level1_entry(id.id()) else { return Outcome::Ignored };
        match self.memory.irs_load64(entry).map(L1_ISTE::new_with_raw_value) {
            Ok(level1) if level1.valid() => Outcome::Ignored,
            Ok(level1) if self.memory.irs_store64(entry, level1.with_valid(true).raw_value()).is_ok() => {
                self.own_level2_ist(ist, entry, level1, owners);
                Outcome::Done
            }
            _ => {
                let code = ErrorCode::Level1Update;
                self.software_error(irs, SoftwareError { code, space, id: Some(id), address: Some(entry) });
                Outcome::Ignored
            }
        }
    }

    /// The memory of an IST that is no longer valid goes back to software (IST-7).
    pub(crate) fn disown_ist(&mut self, ist: Ist) {
        for (_, level1) in self.valid_level1_entries(ist) {
            if let Some((table, size)) = ist.level2_table(level1) {
                let _ = self.memory.disown(&mut self.report, table, size);
            }
        }
        let _ = self.memory.disown(&mut self.report, ist.base, ist.geometry.base().size());
    }

    /// The valid entries of a level-1 IST and where they are; none of a linear IST.
    fn valid_level1_entries(&self, ist: Ist) -> Vec<(PhysAddr, L1_ISTE)> {
        let count = if ist.geometry.level2().is_some() { ist.geometry.l1_entries() } else { 0 };
        (0..count)
            .map_while(|n| {
                let entry = ist.base.offset(u64::from(n) * L1_ISTE::BYTES).ok()?;
                Some((entry, L1_ISTE::new_with_raw_value(self.memory.irs_load64(entry).ok()?)))
            })
            .filter(|(_, level1)| level1.valid())
            .collect()
    }
}
