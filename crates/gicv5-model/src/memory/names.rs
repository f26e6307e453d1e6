//! Memory that a command under way names: until the command has completed, the IRS may take it or read it (LIFE-10).

use core::ops::Range;

use gicv5_arch::irs::IrsReg;
use gicv5_hal::IrsIndex;

use super::{Memory, claims::Claim};
use crate::words::event::Width;
use crate::words::owner::{InMemory, Owner};
use crate::words::report::Report;
use crate::words::rules::{self, RuleId};
use crate::words::violation::Place;

/// Memory, and the command that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// In RAM.
    start: u64,
    end: u64,
    owner: Owner,
    by: (IrsIndex, IrsReg),
}

impl Named {
    /// The first byte of a range that is named.
    fn first_in(&self, bytes: &Range<u64>) -> Option<u64> {
        let first = self.start.max(bytes.start);
        (first < self.end.min(bytes.end)).then_some(first)
    }
}

/// Who keeps software from giving memory back.
pub(super) struct Holder {
    /// The first word that is held.
    pub(super) offset: u64,
    pub(super) owner: Owner,
    /// The rule that is broken by giving it back.
    pub(super) rule: RuleId,
    /// While what it must not be given back.
    pub(super) reason: &'static str,
}

impl Memory {
    /// A command names a structure, or an entry of one, until [it has completed](Self::end_naming). Reports what another
    /// command under way names already.
    pub fn name(&mut self, report: &mut Report, by: (IrsIndex, IrsReg), InMemory { address, size, owner }: InMemory) {
        // What is not in memory is reported when the IRS takes it.
        let Some(bytes) = self.range(address, size) else { return };
        let bytes = bytes.start & !7..bytes.end.next_multiple_of(8);
        // Each IRS may be told of the VM table (GEN-14).
        let another = self.named.iter().find(|named| {
            named.by != by
                && (named.by.1, by.1) != (IrsReg::IRS_VMT_BASER, IrsReg::IRS_VMT_BASER)
                && named.first_in(&bytes).is_some()
        });
        if let Some(&Named { by: (irs, register), .. }) = another {
            report.violate(rules::LIFE_10, Place::Structure(address, owner), 0, 0, || {
                format!("{} names what {register} of {irs}, which is under way, names already", by.1)
            });
        }
        self.named.push(Named { start: bytes.start, end: bytes.end, owner, by });
    }

    /// A command has completed.
    pub fn end_naming(&mut self, by: (IrsIndex, IrsReg)) {
        self.named.retain(|named| named.by != by);
    }

    /// Reports a store to what a command under way names.
    #[cold]
    pub(super) fn judge_named_store(&self, report: &mut Report, offset: u64, width: Width, old: u64, new: u64) {
        let bytes = offset..offset + width.bytes();
        if let Some(named) = self.named.iter().find(|named| named.first_in(&bytes).is_some()) {
            report.violate(rules::LIFE_10, Place::Structure(self.address(offset), named.owner), old, new, || {
                format!("software stored to what {} of {}, which is under way, names", named.by.1, named.by.0)
            });
        }
    }

    /// Who has something of a range of bytes that software gives back.
    pub(super) fn holder(&self, bytes: Range<u64>) -> Option<Holder> {
        if let Some((offset, claim)) = self.first_claim(bytes.clone()) {
            let owner = claim.owner();
            let reason = match claim {
                Claim::Owned(_) => "the IRS owned it",
                Claim::Fillable(_) => "it was part of a table in use",
            };
            return Some(Holder { offset, owner, rule: owner.structure.rules().freed, reason });
        }
        let mut named = self.named.iter().filter_map(|named| Some((named.first_in(&bytes)?, named.owner)));
        let (offset, owner) = named.next()?;
        Some(Holder { offset, owner, rule: rules::LIFE_10, reason: "a command under way named it" })
    }
}
