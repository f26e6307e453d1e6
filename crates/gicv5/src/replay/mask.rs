//! What can be inferred of the priorities that a PE lets through, whose writes are not in a trace.

use gicv5_arch::Priority;

/// What is known of the priorities that a PE lets through: ICC_CR0_EL1.EN and ICC_PCR_EL1 together, none of whose writes
/// are traced. A priority up to `lowest` passes for sure, one above `highest` does not; -1 stands for an interface that is
/// off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mask {
    pub(super) lowest: i8,
    pub(super) highest: i8,
}

impl Mask {
    /// After reset the interface is off.
    pub(super) const RESET: Mask = Mask { lowest: -1, highest: -1 };
    /// Somebody has written one of the registers.
    pub(super) const UNKNOWN: Mask = Mask { lowest: -1, highest: 31 };

    /// An interrupt of this priority, which the running priority lets through, is or is not signalled: the mask as it must
    /// be, or `None` if it cannot be.
    pub(super) fn seen(self, priority: Priority, signalled: bool) -> Option<Mask> {
        let number = priority.number() as i8;
        match signalled {
            true if number > self.highest => None,
            true => Some(Mask { lowest: self.lowest.max(number), ..self }),
            false if number <= self.lowest => None,
            false => Some(Mask { highest: self.highest.min(number - 1), ..self }),
        }
    }

    /// True if it is known of the usual priority, 31 and less, whether it passes.
    pub(super) fn is_settled(self) -> bool {
        self.is_known() || self.lowest == 31
    }

    /// True if nothing is unknown.
    pub(super) fn is_known(self) -> bool {
        self.lowest == self.highest
    }
}
