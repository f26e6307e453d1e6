//! What the IRS leaves in a descriptor that it gives back (VM-10).

use gicv5_arch::irs::IRS_VPE_DBR;

/// The first word of a descriptor as the IRS leaves it. The layout is the model's own; software sees that it is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeftBehind(pub(crate) u64);

impl LeftBehind {
    pub(crate) const NOTHING: LeftBehind = LeftBehind(0);
    /// Bits 31:24 of every one.
    pub(crate) const MARK: u64 = 0x5a << 24;

    pub(crate) fn of(settings: IRS_VPE_DBR, dps: bool) -> LeftBehind {
        LeftBehind(settings.with_req_db(dps).raw_value() | LeftBehind::MARK)
    }

    pub(crate) fn is_one(self) -> bool {
        self.0 & 0xff << 24 == LeftBehind::MARK
    }

    pub(crate) fn settings(self) -> IRS_VPE_DBR {
        let left = IRS_VPE_DBR::new_with_raw_value(self.0);
        IRS_VPE_DBR::ZERO.with_dbv(left.dbv()).with_dbpm(left.dbpm()).with_intid(left.intid())
    }

    pub(crate) fn dps(self) -> bool {
        IRS_VPE_DBR::new_with_raw_value(self.0).req_db()
    }
}
