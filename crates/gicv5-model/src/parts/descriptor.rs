//! What the IRS leaves in a descriptor that it gives back (VM-10).

use gicv5_arch::PhysAddr;
use gicv5_arch::irs::IRS_VPE_DBR;

use crate::parts::irs_side::IrsSide;
use crate::words::config::{Switches, VpeState};
use crate::words::owner::Owner;
use crate::words::rules::RuleId;
use crate::words::violation::Place;

/// The first word of a descriptor as the IRS leaves it. The layout is the model's own; software sees that it is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeftBehind(pub(crate) u64);

impl LeftBehind {
    /// Bits 31:24 of every one.
    const MARK: u64 = 0x5a << 24;

    pub(crate) fn of(settings: IRS_VPE_DBR, dps: bool) -> LeftBehind {
        LeftBehind(settings.with_req_db(dps).raw_value() | LeftBehind::MARK)
    }

    /// What a descriptor that becomes the IRS's holds of an earlier time. `None` if it is not as it has to be; reports the
    /// first word that is wrong (VM-11, VPE-8).
    pub(crate) fn find(
        side: &mut IrsSide<'_>,
        (address, size): (PhysAddr, u64),
        switches: &Switches,
        rule: RuleId,
        owner: Owner,
    ) -> Option<LeftBehind> {
        let first = side.load64(address).unwrap_or(0);
        let survives = switches.vm.vpe_state == VpeState::Survives && first & 0xff << 24 == LeftBehind::MARK;
        let (left, others) = if survives { (LeftBehind(first), 8) } else { (LeftBehind(0), 0) };
        if let Some((word, value)) = side.first_set(address.offset(others).ok()?, size.saturating_sub(others)) {
            side.report.violate(rule, Place::Structure(word, owner), value, 0, || {
                format!("{owner} is not zero when it becomes the IRS's")
            });
            return None;
        }
        Some(left)
    }

    /// The IRS gives a descriptor back, with this in it.
    pub(crate) fn leave(self, side: &mut IrsSide<'_>, (address, size): (PhysAddr, u64)) {
        if size >= 8 {
            side.store64(address, self.0);
        }
        side.disown(address, size);
    }

    pub(crate) fn settings(self) -> IRS_VPE_DBR {
        let left = IRS_VPE_DBR::new_with_raw_value(self.0);
        IRS_VPE_DBR::ZERO.with_dbv(left.dbv()).with_dbpm(left.dbpm()).with_intid(left.intid())
    }

    pub(crate) fn dps(self) -> bool {
        IRS_VPE_DBR::new_with_raw_value(self.0).req_db()
    }
}
