//! `IRS_IST_CFGR` and `IRS_IST_BASER` as an IRS holds them, for those who have to know what a sequence has made of them.

use crate::layout::offset;
use crate::operation::Width;

/// A value of `IRS_IST_CFGR`, with what is reserved or out of range replaced as QEMU's IRS replaces it (IST-9, IST-14, IST-28).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IstShape(pub(crate) u64);

impl IstShape {
    pub(crate) fn id_bits(self) -> u64 {
        (self.0 & 0x1f).clamp(14, 24)
    }

    /// log2 of the bytes of an entry over 4.
    fn entry_size(self) -> u64 {
        known(self.0 >> 7)
    }

    /// log2 of the bytes of a level-2 table over 4 KiB, over 2.
    fn l2_size(self) -> u64 {
        known(self.0 >> 5)
    }

    /// log2 of the entries of a level-2 table.
    pub(crate) fn l2_index_bits(self) -> u64 {
        10 - self.entry_size() + 2 * self.l2_size()
    }

    pub(crate) fn two_level(self) -> bool {
        self.0 >> 16 & 1 != 0
    }

    /// The alignment in bytes of the base (IST-12, IST-13).
    pub(crate) fn alignment(self) -> u64 {
        let size_log2 = match self.two_level() {
            false => self.id_bits() + 2 + self.entry_size(),
            true => (self.id_bits() + 3).saturating_sub(self.l2_index_bits()),
        };
        1 << size_log2.max(6)
    }
}

/// A field of two bits whose value 3 is reserved and counts as 0.
fn known(field: u64) -> u64 {
    if field & 3 == 3 { 0 } else { field & 3 }
}

/// Both registers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IstRegisters {
    pub(crate) shape: IstShape,
    pub(crate) baser: u64,
}

impl IstRegisters {
    pub(crate) fn is_valid(&self) -> bool {
        self.baser & 1 != 0
    }

    pub(crate) fn base(&self) -> u64 {
        self.baser & 0x00ff_ffff_ffff_ffc0
    }

    /// The base as IST-12 and IST-13 have it.
    pub(crate) fn aligned_base(&self) -> u64 {
        self.base() & !(self.shape.alignment() - 1)
    }

    /// Follows an aligned write: while VALID is 1 only VALID changes (LPI-1).
    pub(crate) fn write(&mut self, at: u64, width: Width, value: u64) {
        const UPPER: u64 = offset::IST_BASER + 4;
        let low = 0xffff_ffff;
        let base = match (at, width) {
            (offset::IST_BASER, Width::W64) => value,
            (offset::IST_BASER, Width::W32) => self.baser & !low | value,
            (UPPER, Width::W32) => self.baser & low | value << 32,
            (offset::IST_CFGR, Width::W32) if !self.is_valid() => {
                self.shape = IstShape(value);
                return;
            }
            _ => return,
        };
        match (self.is_valid(), base & 1) {
            (false, _) => self.baser = base,
            (true, 0) => self.baser &= !1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IstRegisters, IstShape};

    #[test]
    fn the_alignment_of_an_ist_follows_its_shape() {
        let base = |cfgr: u64, baser: u64| IstRegisters { shape: IstShape(cfgr), baser }.aligned_base();
        // Linear, 2^14 entries of 4 bytes: 64 KiB.
        assert_eq!(base(14, 0x4011_ffc1), 0x4011_0000);
        // Linear, 2^14 entries of 16 bytes: 256 KiB.
        assert_eq!(base(14 | 2 << 7, 0x4017_ffc1), 0x4014_0000);
        // Two levels of 2^4 and 2^10: 128 bytes.
        assert_eq!(base(14 | 1 << 16, 0x4010_00c1), 0x4010_0080);
        // One level-1 entry: the floor of 64 bytes.
        assert_eq!(base(14 | 1 << 16 | 2 << 5, 0x4010_00c1), 0x4010_00c0);
    }
}
