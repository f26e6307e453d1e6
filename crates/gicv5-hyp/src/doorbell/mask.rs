//! Which priorities ring a doorbell.

use gicv5_arch::Priority;

/// How an IRS compares a priority with the mask of a doorbell (DBPM). The architecture is not public, and what is public
/// about it disagrees (open question 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum DoorbellMask {
    /// By importance: in numbers, priority <= DBPM rings (DB-9). A doorbell rings for what the vCPU would take, and for
    /// nothing else.
    #[default]
    ByUrgency,
    /// By number: priority >= DBPM rings. What the vCPU would take cannot be told from what it would not, so that a doorbell
    /// rings for everything, and a masked interrupt wakes the vCPU for nothing.
    ByNumber,
}

impl DoorbellMask {
    /// The mask with which everything rings that is as urgent as `least` or more.
    pub(crate) const fn letting_through(self, least: Priority) -> Priority {
        match self {
            DoorbellMask::ByUrgency => least,
            DoorbellMask::ByNumber => Priority::MOST_URGENT,
        }
    }
}
