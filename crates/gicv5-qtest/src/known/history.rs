//! What an explanation may have to know about the operations before a disagreement.

use std::collections::{BTreeMap, BTreeSet};

use super::{differs_only_in, reads};
use crate::compare::{Disagreement, frame_writes};
use crate::ist::IstRegisters;
use crate::layout::{SPIS, offset};
use crate::operation::{Operation, Width, WireLevel};

/// In which way QEMU's idea of an `IRS_MAP_L2_ISTR` write was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongMap {
    Beyond,
    Misaligned,
}

/// What an explanation may have to know about the operations before.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) cr0_unread: bool,
    pub(super) pe_written: bool,
    pub(super) pe_selr: u64,
    pub(super) ist: IstRegisters,
    /// Entries whose VALID bit QEMU may have set, or failed to set, wrongly.
    wrong_maps: BTreeMap<u64, WrongMap>,
    levels: BTreeMap<u32, WireLevel>,
    /// SPIs that were resampled while their wire was high.
    pub(super) resampled_high: BTreeSet<u32>,
}

impl History {
    pub(super) fn of(operations: &[Operation]) -> Self {
        let mut history = Self::default();
        for operation in operations {
            match *operation {
                Operation::Line { spi, level } => {
                    history.levels.insert(spi, level);
                }
                Operation::Read { .. } if reads(operation, offset::CR0, 4) => {
                    history.cr0_unread = false;
                }
                _ => {}
            }
            for (at, width, value) in frame_writes(std::slice::from_ref(operation)) {
                history.write(at, width, value);
            }
        }
        history
    }

    /// Follows QEMU, including its defects.
    fn write(&mut self, at: u64, width: Width, value: u64) {
        self.ist.write(at, width, value);
        match (at, width) {
            (offset::CR0, Width::W32) => self.cr0_unread = true,
            (offset::PE_SELR, Width::W32) => (self.pe_written, self.pe_selr) = (true, value),
            (offset::MAP_L2_ISTR, Width::W32) => self.map(value & 0xff_ffff),
            (offset::SPI_RESAMPLER, Width::W32) => {
                let spi = u32::try_from(value & 0xff_ffff).unwrap_or(SPIS);
                if self.levels.get(&spi) == Some(&WireLevel::High) {
                    self.resampled_high.insert(spi);
                }
            }
            _ => {}
        }
    }

    fn map(&mut self, id: u64) {
        let IstRegisters { shape, .. } = self.ist;
        if !self.ist.is_valid() || !shape.two_level() {
            return;
        }
        let index = (id >> shape.l2_index_bits()) * 8;
        let (base, aligned) = (self.ist.base(), self.ist.aligned_base());
        if id >> shape.id_bits() != 0 {
            self.wrong_maps.insert(base + index, WrongMap::Beyond);
        } else if aligned != base {
            self.wrong_maps.insert(base + index, WrongMap::Misaligned);
            self.wrong_maps.insert(aligned + index, WrongMap::Misaligned);
        }
    }

    /// Whether a load differs in nothing but a VALID bit that such a map set or did not set.
    pub(super) fn wrong_map(&self, operation: &Operation, on: &Disagreement, way: WrongMap) -> bool {
        let Operation::Load { address, .. } = *operation else {
            return false;
        };
        differs_only_in(on, 1) && self.wrong_maps.get(&address) == Some(&way)
    }
}
