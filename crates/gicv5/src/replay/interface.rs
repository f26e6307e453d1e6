//! The state of one PE's CPU interface as far as a trace tells it, and what a line about it does to that state.
//!
//! What software writes to a CPU interface is not in a trace, so a state has unknowns, which the first line settles that
//! depends on them. Every method is a question: what is the state after this line, if the line is of this PE? `None` means
//! that it cannot be.

use gicv5_arch::{ActivePriorities, IntId, Priority};
use gicv5_trace::Candidate;

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

    /// True if nothing is unknown.
    pub(super) fn is_known(self) -> bool {
        self.lowest == self.highest
    }
}

/// What a CPU interface signals to its PE.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outputs {
    pub(super) irq: bool,
    pub(super) fiq: bool,
    pub(super) nmi: bool,
}

/// The state of a CPU interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interface {
    mask: Mask,
    active: ActivePriorities,
    /// PPIs, one bit each: the wire; active; enabled for sure; nobody knows whether enabled.
    level: u64,
    ppi_active: u64,
    enabled: u64,
    unknown: u64,
    /// The PPI candidate last shown, which is computed anew at every change.
    shown: Candidate,
    /// What the IRS offers.
    offered: Candidate,
}

impl Interface {
    pub(super) const RESET: Interface = Interface {
        mask: Mask::RESET,
        active: ActivePriorities::new_with_raw_value(0),
        level: 0,
        ppi_active: 0,
        enabled: 0,
        unknown: 0,
        shown: Candidate::NONE,
        offered: Candidate::NONE,
    };

    /// A hash: equal states have equal ones.
    pub(super) fn hash(&self) -> u64 {
        let candidate = |candidate: Candidate| u64::from(candidate.intid) | u64::from(candidate.priority) << 32;
        let mask = u64::from(self.mask.lowest as u8) | u64::from(self.mask.highest as u8) << 8;
        let words = [
            mask << 32 | u64::from(self.active.raw_value()),
            self.level,
            self.ppi_active,
            self.enabled,
            self.unknown,
            candidate(self.shown),
            candidate(self.offered),
        ];
        words.into_iter().fold(0, |hash: u64, word| mix(hash.rotate_left(5) ^ word))
    }

    /// If this is its PPI candidate.
    pub(super) fn shows(mut self, candidate: Candidate) -> Option<Interface> {
        let ready = self.level & !self.ppi_active;
        if candidate == Candidate::NONE {
            if ready & self.enabled != 0 {
                return None;
            }
            self.unknown &= !ready;
        } else {
            let ppi = bit(candidate.intid)?;
            if self.possible() & ppi == 0 {
                return None;
            }
            self.enabled |= ppi;
            self.unknown &= !ppi;
        }
        self.shown = candidate;
        Some(self)
    }

    /// The PPIs that may be its candidate. QEMU does not keep PPIs above 31 active (hazard 3).
    pub(super) fn possible(&self) -> u64 {
        let ready = self.level & !self.ppi_active | self.level & !0xffff_ffff;
        ready & (self.enabled | self.unknown)
    }

    /// The most urgent priority on offer, if the running priority lets it through.
    fn sufficient(&self) -> Option<Priority> {
        let best = Priority::new(self.shown.priority.min(self.offered.priority).into()).ok()?;
        best.preempts(self.active.running()).then_some(best)
    }

    /// If these are its outputs.
    pub(super) fn signals(mut self, outputs: Outputs) -> Option<Interface> {
        let signalled = outputs.irq || outputs.nmi;
        match self.sufficient() {
            None => return (!signalled && !outputs.fiq).then_some(self),
            Some(priority) => {
                if outputs.fiq || signalled && outputs.nmi != (priority == Priority::MOST_URGENT) {
                    return None;
                }
                self.mask = self.mask.seen(priority, signalled)?;
            }
        }
        Some(self)
    }

    fn acknowledges(mut self, candidate: Candidate) -> Option<Interface> {
        let priority = Priority::new(candidate.priority.into()).ok()?;
        if self.sufficient()? != priority {
            return None;
        }
        self.mask = self.mask.seen(priority, true)?;
        self.active = self.active.activate(priority);
        Some(self)
    }

    /// If it acknowledges its PPI candidate, which is this PPI, or whichever it is.
    pub(super) fn acknowledges_ppi(self, intid: Option<u32>) -> Option<Interface> {
        if intid.is_some_and(|intid| intid != self.shown.intid) {
            return None;
        }
        let ppi = bit(self.shown.intid)?;
        let mut after = self.acknowledges(self.shown)?;
        after.ppi_active |= ppi;
        Some(after)
    }

    /// If it acknowledges what the IRS offers, which is this, or whatever it is.
    pub(super) fn acknowledges_offered(self, intid: Option<u32>) -> Option<Interface> {
        if intid.is_some_and(|intid| intid != self.offered.intid) {
            return None;
        }
        self.acknowledges(self.offered)
    }

    /// If it has nothing to acknowledge.
    pub(super) fn acknowledges_nothing(mut self) -> Option<Interface> {
        if let Some(priority) = self.sufficient() {
            self.mask = self.mask.seen(priority, false)?;
        }
        Some(self)
    }

    /// If the wire of a PPI changes to this level.
    pub(super) fn wire(mut self, ppi: u64, high: bool) -> Option<Interface> {
        if (self.level & ppi != 0) == high {
            return None;
        }
        self.level ^= ppi;
        Some(self)
    }

    /// If it drops its running priority.
    pub(super) fn drops(mut self) -> Option<Interface> {
        self.active.running()?;
        self.active = self.active.drop_running();
        Some(self)
    }

    /// If it deactivates this PPI.
    pub(super) fn deactivates(mut self, ppi: u64) -> Option<Interface> {
        if self.ppi_active & ppi == 0 {
            return None;
        }
        self.ppi_active &= !ppi;
        Some(self)
    }

    /// If the IRS offers it this.
    pub(super) fn is_offered(self, candidate: Candidate) -> Interface {
        Interface { offered: candidate, ..self }
    }

    /// If software has written its enable or its mask.
    pub(super) fn mask_written(self) -> Interface {
        Interface { mask: Mask::UNKNOWN, ..self }
    }

    /// If software has written some PPI register of it, nobody knows which.
    pub(super) fn ppis_written(self) -> Interface {
        Interface { unknown: u64::MAX, enabled: 0, shown: Candidate::NONE, ..self }
    }

    /// If software has written some PPI register, but it does not show whether here: PPIs that are pending would have.
    pub(super) fn perhaps_written(mut self) -> Interface {
        let hidden = !(self.level & !self.ppi_active);
        self.unknown |= hidden;
        self.enabled &= !hidden;
        self
    }
}

/// The bit of a PPI of bank 0.
pub(super) fn bit(intid: u32) -> Option<u64> {
    match IntId::from_raw(intid) {
        Ok(IntId::Ppi(ppi)) if ppi.id() < 64 => Some(1 << ppi.id()),
        _ => None,
    }
}

/// Spreads the bits of a word over the whole word.
pub(super) fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word ^ word >> 29
}
