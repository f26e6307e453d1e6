//! The word of the LPI table: IRS_IST_BASER, IRS_IST_CFGR and the state.

#![allow(unreachable_pub, reason = "the macro makes a builder that is public")]

use arbitrary_int::{u2, u5};
use gicv5_arch::geometry::{GeometryError, IstGeometry, IstLimits};
use gicv5_arch::irs::{IRS_IST_BASER, IRS_IST_CFGR};
use gicv5_arch::values::Structure;
use gicv5_arch::{Addr55_6, IrsIntType};

/// Both registers and the state.
#[bitbybit::bitfield(u64, default = 0, forbid_overlaps)]
#[derive(PartialEq, Eq)]
pub(crate) struct Word {
    /// IRS_IST_CFGR.STRUCTURE.
    #[bit(63, rw)]
    structure: Structure,
    /// IRS_IST_CFGR.L2SZ, reserved codes included (GIRS-55).
    #[bits(61..=62, rw)]
    l2sz: u2,
    /// IRS_IST_CFGR.LPI_ID_BITS.
    #[bits(56..=60, rw)]
    id_bits: u5,
    /// IRS_IST_BASER.ADDR: stored, never used as an address (GIRS-58).
    #[bits(6..=55, rw)]
    addr: Addr55_6,
    /// IRS_IST_CFGR.ISTSZ, reserved codes included.
    #[bits(4..=5, rw)]
    istsz: u2,
    /// A [`TableJob`] has taken the operation on.
    #[bit(3, rw)]
    claimed: bool,
    /// The operation is to map a level-2 table.
    #[bit(2, rw)]
    mapping: bool,
    /// An operation is under way: IRS_IST_STATUSR.IDLE is 0.
    #[bit(1, rw)]
    busy: bool,
    /// IRS_IST_BASER.VALID.
    #[bit(0, rw)]
    valid: bool,
}

/// Where the fields of IRS_IST_CFGR whose codes can be reserved lie; a test compares them with the register's layout.
const L2SZ_SHIFT: u32 = 5;
const ISTSZ_SHIFT: u32 = 7;

impl Word {
    pub(super) fn cfgr(self) -> IRS_IST_CFGR {
        let coded = u32::from(self.l2sz().value()) << L2SZ_SHIFT | u32::from(self.istsz().value()) << ISTSZ_SHIFT;
        IRS_IST_CFGR::new_with_raw_value(coded).with_structure(self.structure()).with_lpi_id_bits(self.id_bits())
    }

    pub(super) fn with_cfgr(self, cfgr: IRS_IST_CFGR) -> Word {
        let code = |shift| u2::new((cfgr.raw_value() >> shift & 3) as u8);
        self.with_structure(cfgr.structure())
            .with_id_bits(cfgr.lpi_id_bits())
            .with_l2sz(code(L2SZ_SHIFT))
            .with_istsz(code(ISTSZ_SHIFT))
    }

    pub(super) fn baser(self) -> IRS_IST_BASER {
        IRS_IST_BASER::ZERO.with_addr(self.addr()).with_valid(self.valid())
    }

    /// What a table with this configuration would be (GIRS-56).
    pub(super) fn geometry(self, limits: IstLimits) -> Result<IstGeometry, GeometryError> {
        let geometry = IstGeometry::from_cfgr(self.cfgr())?;
        limits.check(IrsIntType::Lpi, geometry)?;
        Ok(geometry)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The two fields that are kept as raw codes lie where the register has them.
    #[test]
    fn a_configuration_is_read_back_as_it_was_written() {
        let used = gicv5_arch::layout::fields_mask(IRS_IST_CFGR::FIELDS) as u32;
        for raw in (0..=u16::MAX).flat_map(|low| [u32::from(low), u32::from(low) | 1 << 16]) {
            let word = Word::ZERO.with_addr(Addr55_6::new_with_raw_value(arbitrary_int::u50::new(5)));
            let word = word.with_cfgr(IRS_IST_CFGR::new_with_raw_value(raw));
            assert_eq!(word.cfgr().raw_value(), raw & used);
            assert_eq!(word.baser().raw_value(), 5 << 6);
        }
    }
}
