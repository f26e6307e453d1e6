//! Scenes about the IST: it becomes valid and invalid, with what one may and may not do in between.

use super::Generator;
use crate::ist::IstShape;
use crate::layout::{TABLES, offset};
use crate::operation::{Operation, Width};

/// Where level-2 tables lie: the second half of [`TABLES`], aligned to the largest, 64 KiB.
const LEVEL_2: u64 = TABLES.start + 0x2_0000;

impl Generator {
    /// The whole sequence that makes an IST valid, with a mistake now and then.
    pub(super) fn make_ist_valid(&mut self) {
        if self.ist.is_valid() && self.random.chance(1, 2) {
            self.make_ist_invalid();
        }
        let shape = self.shape();
        let base = match IstShape(shape).alignment() {
            ..=0x1000 => self.base(),
            // The start of the tables is aligned to 1 MiB.
            _ => TABLES.start,
        };
        if !self.ist.is_valid() && TABLES.contains(&base) {
            self.level_1(base);
        }
        self.write(offset::IST_CFGR, Width::W32, shape);
        // An unaligned base may be written: its low bits are reserved.
        let stray = if self.random.chance(1, 12) { self.random.below(64) << 6 } else { 0 };
        let value = base | stray | 1;
        match self.random.below(6) {
            // Low half first: the high half comes while VALID is already 1, so the IST is another than was prepared.
            0 => {
                self.write(offset::IST_BASER, Width::W32, value);
                self.write(offset::IST_BASER + 4, Width::W32, value >> 32);
            }
            1 => {
                self.write(offset::IST_BASER + 4, Width::W32, value >> 32);
                self.write(offset::IST_BASER, Width::W32, value);
            }
            _ => self.write(offset::IST_BASER, Width::W64, value),
        }
        self.read(offset::IST_STATUSR, Width::W32);
        self.read(offset::IST_BASER, Width::W64);
    }

    /// Fills a few level-1 entries at `base`, invalid or, before the IST is valid, valid (IST-3).
    fn level_1(&mut self, base: u64) {
        for _ in 0..self.random.below(4) {
            let entry = self.random.below(16);
            let table = LEVEL_2 + self.random.below(2) * 0x1_0000;
            let valid = u64::from(self.random.chance(1, 4));
            self.out.push(Operation::Store { address: base + entry * 8, width: Width::W64, value: table | valid });
        }
    }

    /// What one may and may not do while the IST is valid, or while it is not.
    pub(super) fn use_ist(&mut self) {
        match self.random.below(6) {
            0..3 => {
                let lpi = self.lpi();
                self.write(offset::MAP_L2_ISTR, Width::W32, lpi);
                self.read(offset::IST_STATUSR, Width::W32);
                if self.random.chance(1, 4) {
                    self.write(offset::MAP_L2_ISTR, Width::W32, lpi);
                }
            }
            3 => {
                let shape = self.shape();
                self.write(offset::IST_CFGR, Width::W32, shape);
                self.read(offset::IST_CFGR, Width::W32);
            }
            4 => {
                let base = self.base();
                self.write(offset::IST_BASER, Width::W64, base | 1);
                self.read(offset::IST_BASER, Width::W64);
            }
            _ => {
                let base = self.base();
                self.write(offset::IST_BASER + 4, Width::W32, base >> 32);
                self.read(offset::IST_BASER, Width::W64);
            }
        }
    }

    pub(super) fn make_ist_invalid(&mut self) {
        // The address of the clearing write is ignored while VALID is 1.
        let base = if self.random.chance(1, 2) { self.base() } else { 0 };
        let width = if self.random.chance(1, 4) { Width::W32 } else { Width::W64 };
        self.write(offset::IST_BASER, width, base);
        self.read(offset::IST_STATUSR, Width::W32);
        self.read(offset::IST_BASER, Width::W64);
    }
}
