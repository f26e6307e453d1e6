//! Whose the memory of an IST is while it is valid: the same for the physical IST and for those of VMs.

use gicv5_arch::entry::L1_ISTE;
use gicv5_arch::geometry::{IstGeometry, IstLimits};
use gicv5_arch::values::{L2Size, Structure};
use gicv5_arch::{IrsIntId, IrsIntType, PhysAddr};

use crate::engine::state::MachineState;
use crate::parts::ist::{AskedIst, Ist, IstOwners};
use crate::parts::software_errors::{ErrorCode, SoftwareError};
use crate::words::config::{Level1Valid, UnsupportedIdBits, UnsupportedL2Size, WrongEntrySize};
use crate::words::event::{Outcome, Space};
use crate::words::rules;
use crate::words::violation::Place;

impl MachineState {
    /// The shape that an IST becomes valid with: out of range is clamped (IST-28), unsupported is replaced by something
    /// supported (IST-9, IST-10, IST-14, IST-15), and reported. `None` if it does not become valid.
    pub(crate) fn supported_ist(
        &mut self,
        irs: usize,
        space: Space,
        int_type: IrsIntType,
        asked: AskedIst,
        place: Place,
    ) -> Option<IstGeometry> {
        let switches = self.config.switches.ist;
        let limits = IstLimits::from_idr2(self.config.irses.get(irs)?.idr2).ok()?;
        let fewest = if int_type == IrsIntType::Lpi { limits.min_lpi_id_bits() } else { 0 };
        let id_bits = asked.id_bits.clamp(fewest, limits.id_bits());
        if asked.id_bits != id_bits {
            let refused = switches.id_bits == UnsupportedIdBits::Refused && space != Space::Physical;
            self.report.violate(rules::IST_28, place, asked.raw, id_bits.into(), || match refused {
                true => format!("an IST with {} ID bits is not taken", asked.id_bits),
                false => format!("{} ID bits are taken as {id_bits}", asked.id_bits),
            });
            if refused {
                return None;
            }
        }
        let required = limits.entry_size(id_bits);
        if asked.istsz != Some(required) {
            self.report.violate(rules::IST_10, place, asked.raw, required.raw_value().value().into(), || {
                format!("ISTSZ is not the {} that this IRS needs for {id_bits} ID bits", required.meaning())
            });
        }
        let entry = match switches.entry_size {
            WrongEntrySize::IsUsed => asked.istsz.unwrap_or(required),
            WrongEntrySize::IsReplaced => required,
        };
        let l2_size = limits.l2_sizes().map(|supported| {
            let mut supported = L2Size::ALL.into_iter().filter(|size| supported.contains(*size));
            let other = match switches.l2_size {
                UnsupportedL2Size::Smallest => supported.clone().next(),
                UnsupportedL2Size::Largest => supported.clone().next_back(),
            };
            supported.find(|size| asked.l2sz == Some(*size)).or(other).unwrap_or(L2Size::KiB4)
        });
        let geometry = match (asked.structure, l2_size) {
            (Structure::TwoLevel, Some(l2_size)) => IstGeometry::two_level(id_bits, entry, l2_size),
            _ => IstGeometry::linear(id_bits, entry),
        };
        let geometry = geometry.ok()?;
        if asked.structure == Structure::TwoLevel && (l2_size.is_none() || asked.l2sz != l2_size) {
            self.report.violate(rules::IST_15, place, asked.raw, geometry.cfgr().raw_value().into(), || {
                "STRUCTURE or L2SZ is not supported by this IRS".into()
            });
        }
        Some(geometry)
    }

    /// The IRS takes the memory of an IST that becomes valid. Level-1 entries that are valid belong to it, and so do their
    /// tables; the others may be filled (IST-18).
    pub(crate) fn own_ist(&mut self, ist: Ist, owners: IstOwners) {
        let size = ist.geometry.base().size();
        if ist.geometry.level2().is_none() {
            let _ = self.memory.own(&mut self.report, ist.irs, ist.base, size, owners.linear);
            return;
        }
        let _ = self.memory.fill(&mut self.report, ist.irs, ist.base, size, owners.level1);
        for (entry, level1) in self.valid_level1_entries(ist) {
            self.own_level2_ist(ist, entry, level1, owners);
        }
    }

    /// The IRS takes a level-1 entry that becomes valid, and the table it names.
    pub(crate) fn own_level2_ist(&mut self, ist: Ist, entry: PhysAddr, level1: L1_ISTE, owners: IstOwners) {
        let _ = self.memory.own(&mut self.report, ist.irs, entry, L1_ISTE::BYTES, owners.level1);
        if let Some((table, size)) = ist.level2_table(level1) {
            let _ = self.memory.own(&mut self.report, ist.irs, table, size, owners.level2);
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
        match self.memory.irs_load64(ist.irs, entry).map(L1_ISTE::new_with_raw_value) {
            Ok(level1) if level1.valid() => Outcome::Ignored,
            Ok(level1) if self.memory.irs_store64(ist.irs, entry, level1.with_valid(true).raw_value()).is_ok() => {
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

    /// Software sees the entries of an IST that the IRS owns, or does not any more ([`Memory::show`](crate::memory::Memory::show)).
    pub(crate) fn show_ist(&mut self, ist: Ist, shown: bool) {
        if ist.geometry.level2().is_none() {
            let _ = self.memory.show(ist.irs, ist.base, ist.geometry.base().size(), shown);
        }
        for (_, level1) in self.valid_level1_entries(ist) {
            if let Some((table, size)) = ist.level2_table(level1) {
                let _ = self.memory.show(ist.irs, table, size, shown);
            }
        }
    }

    /// The memory of an IST that is no longer valid goes back to software (IST-7).
    pub(crate) fn disown_ist(&mut self, ist: Ist) {
        let cleared = self.config.switches.vm_table.level1 == Level1Valid::Cleared;
        for (entry, level1) in self.valid_level1_entries(ist) {
            if let Some((table, size)) = ist.level2_table(level1) {
                let _ = self.memory.disown(&mut self.report, ist.irs, table, size);
            }
            if cleared {
                let _ = self.memory.irs_store64(ist.irs, entry, level1.with_valid(false).raw_value());
            }
        }
        let _ = self.memory.disown(&mut self.report, ist.irs, ist.base, ist.geometry.base().size());
    }

    /// The valid entries of a level-1 IST and where they are; none of a linear IST.
    pub(crate) fn valid_level1_entries(&self, ist: Ist) -> Vec<(PhysAddr, L1_ISTE)> {
        let count = if ist.geometry.level2().is_some() { ist.geometry.l1_entries() } else { 0 };
        (0..count)
            .map_while(|n| {
                let entry = ist.base.offset(u64::from(n) * L1_ISTE::BYTES).ok()?;
                Some((entry, L1_ISTE::new_with_raw_value(self.memory.irs_load64(ist.irs, entry).ok()?)))
            })
            .filter(|(_, level1)| level1.valid())
            .collect()
    }
}
