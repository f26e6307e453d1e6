//! Interrupt priorities.
//!
//! Priorities are numbers of five bits and 0 is the most urgent (PRI-1), so that "higher priority" and "higher number"
//! are opposites. [`Priority`] therefore has no `<`: its methods say what is being asked. To sort by urgency, sort by
//! [`Priority::urgency`].

use core::fmt;

use arbitrary_int::u5;

use crate::layout::{display_as_debug, newtype_field};

/// A priority, 0 (most urgent) to 31 (least urgent).
///
/// There is deliberately no order on the type itself:
///
/// ```compile_fail
/// use gicv5_arch::Priority;
/// assert!(Priority::MOST_URGENT < Priority::LEAST_URGENT);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Priority(u5);

/// How urgent a priority is: the key to sort by. Greater is more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Urgency(u8);

/// The number is above 31, the least urgent priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("priority {0} is out of range, the least urgent is 31")]
pub struct PriorityOutOfRange(pub u32);

impl Priority {
    /// Priority 0. As a mask: only priority 0 passes.
    pub const MOST_URGENT: Priority = Priority(u5::new(0));
    /// Priority 31. As a mask: everything passes.
    pub const LEAST_URGENT: Priority = Priority(u5::new(31));

    /// Makes a priority from its number.
    ///
    /// # Errors
    ///
    /// [`PriorityOutOfRange`] above 31.
    #[inline]
    pub const fn new(number: u32) -> Result<Priority, PriorityOutOfRange> {
        if number > 31 {
            return Err(PriorityOutOfRange(number));
        }
        Ok(Priority(u5::new(number as u8)))
    }

    /// Makes a priority from the bits of a field.
    #[must_use]
    #[inline]
    pub const fn new_with_raw_value(bits: u5) -> Priority {
        Priority(bits)
    }

    /// The bits as they stand in a field.
    #[must_use]
    #[inline]
    pub const fn raw_value(self) -> u5 {
        self.0
    }

    /// The number, 0 to 31.
    #[must_use]
    #[inline]
    pub const fn number(self) -> u8 {
        self.0.value()
    }

    /// How urgent the priority is; greater is more urgent.
    #[must_use]
    #[inline]
    pub const fn urgency(self) -> Urgency {
        Urgency(31 - self.0.value())
    }

    /// True if this priority is strictly more urgent than the other.
    #[must_use]
    #[inline]
    pub const fn is_more_urgent_than(self, other: Priority) -> bool {
        self.0.value() < other.0.value()
    }

    /// True if an interrupt of this priority passes the mask. A mask lets through its own priority (PRI-3), and so does
    /// the mask of a doorbell (DB-9).
    #[must_use]
    #[inline]
    pub const fn passes(self, mask: Priority) -> bool {
        self.0.value() <= mask.0.value()
    }

    /// True if an interrupt of this priority may preempt what is running. An equally urgent one may not (PRI-4);
    /// `None` means that nothing is active.
    #[must_use]
    #[inline]
    pub const fn preempts(self, running: Option<Priority>) -> bool {
        match running {
            Some(running) => self.is_more_urgent_than(running),
            None => true,
        }
    }

    /// The priority as an implementation with fewer bits keeps it: the high-order bits stay, the rest read as zero
    /// (PRI-2). `bits` is the number of implemented bits; 5 and above keep everything, 0 keeps nothing.
    #[must_use]
    #[inline]
    pub const fn keep_high_bits(self, bits: u32) -> Priority {
        if bits >= 5 {
            return self;
        }
        let dropped = (1u8 << (5 - bits)) - 1;
        Priority(u5::new(self.0.value() & !dropped))
    }
}

newtype_field!(Priority: u5);

impl fmt::Debug for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "priority {}", self.0)
    }
}

display_as_debug!(Priority);

/// The active priorities of a domain: bit n is set while an interrupt of priority n is active (ICC_APR_EL1 and its kin).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ActivePriorities(u32);

impl ActivePriorities {
    /// Makes the set from the bits of a field.
    #[must_use]
    #[inline]
    pub const fn new_with_raw_value(bits: u32) -> ActivePriorities {
        ActivePriorities(bits)
    }

    /// The bits as they stand in a field.
    #[must_use]
    #[inline]
    pub const fn raw_value(self) -> u32 {
        self.0
    }

    /// The running priority: the most urgent active one, `None` when idle (PRI-5).
    #[must_use]
    #[inline]
    pub const fn running(self) -> Option<Priority> {
        match self.0.trailing_zeros() {
            32 => None,
            n => Some(Priority(u5::new(n as u8))),
        }
    }

    /// The set after an acknowledge of an interrupt of this priority (PRI-6).
    #[must_use]
    #[inline]
    pub const fn activate(self, priority: Priority) -> ActivePriorities {
        ActivePriorities(self.0 | 1 << priority.number())
    }

    /// The set after a priority drop: the most urgent active priority goes; nothing happens when idle (PRI-6).
    #[must_use]
    #[inline]
    pub const fn drop_running(self) -> ActivePriorities {
        ActivePriorities(self.0 & self.0.wrapping_sub(1))
    }
}

newtype_field!(ActivePriorities: u32);

impl fmt::Debug for ActivePriorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..32).filter(|n| self.0 & (1 << n) != 0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn priority() -> impl Strategy<Value = Priority> {
        (0u32..32).prop_map(|n| Priority::new(n).unwrap())
    }

    #[test]
    fn numbers_above_31_are_refused_with_the_number() {
        assert_eq!(Priority::new(31), Ok(Priority::LEAST_URGENT));
        assert_eq!(Priority::new(32), Err(PriorityOutOfRange(32)));
        assert_eq!(Priority::new(u32::MAX).unwrap_err().0, u32::MAX);
    }

    #[test]
    fn the_running_priority_is_the_lowest_set_bit() {
        assert_eq!(ActivePriorities::default().running(), None);
        let active = ActivePriorities::new_with_raw_value(1 << 31 | 1 << 7);
        assert_eq!(active.running(), Some(Priority::new(7).unwrap()));
        assert_eq!(active.drop_running().running(), Some(Priority::LEAST_URGENT));
        assert_eq!(active.drop_running().drop_running().drop_running().raw_value(), 0);
    }

    #[test]
    fn a_priority_reads_as_people_say_it() {
        assert_eq!(format!("{:?} {}", Priority::new(5).unwrap(), Priority::MOST_URGENT), "priority 5 priority 0");
        assert_eq!(format!("{:?}", ActivePriorities::new_with_raw_value(0x11)), "{0, 4}");
    }

    proptest! {
        #[test]
        fn a_mask_is_inclusive_and_preemption_is_strict(a in priority(), b in priority()) {
            prop_assert_eq!(a.passes(b), a.number() <= b.number());
            prop_assert_eq!(a.preempts(Some(b)), a.number() < b.number());
            prop_assert_eq!(a.is_more_urgent_than(b), a.urgency() > b.urgency());
            prop_assert!(a.passes(a) && !a.preempts(Some(a)) && a.preempts(None));
        }

        #[test]
        fn fewer_bits_keep_the_high_ones(a in priority(), bits in 0u32..9) {
            let kept = u32::from(a.keep_high_bits(bits).number());
            let expected = if bits >= 5 { u32::from(a.number()) } else { u32::from(a.number()) >> (5 - bits) << (5 - bits) };
            prop_assert_eq!(kept, expected);
        }

        #[test]
        fn acknowledge_then_drop_returns_to_the_state_before(active: u32, a in priority()) {
            // An acknowledge needs everything active to be less urgent.
            let less_urgent = u64::from(active) << (a.number() + 1);
            let before = ActivePriorities::new_with_raw_value(less_urgent as u32);
            prop_assert!(a.preempts(before.running()));
            let after = before.activate(a);
            prop_assert_eq!(after.running(), Some(a));
            prop_assert_eq!(after.drop_running(), before);
        }
    }
}
