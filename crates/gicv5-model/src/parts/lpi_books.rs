//! The checker's record of LPIs: which are handed out, to which cookie, and how many handlers run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use gicv5_arch::Lpi;
use gicv5_arch::irs::IRS_VPE_DBR;
use gicv5_hal::Cookie;

use crate::words::report::Report;
use crate::words::rules;
use crate::words::violation::Place;

/// An LPI, in the hands of whoever allocated it. Dropping it releases nothing.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an LPI that is dropped is lost: release it"]
pub struct ModelLpi {
    /// A number that no other allocation of the machine has ever had.
    pub(crate) id: u64,
    pub(crate) lpi: Lpi,
}

/// What the books say about an LPI that is in somebody's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LpiRecord {
    /// Counts all allocations from 0.
    pub id: u64,
    /// What its handler is told.
    pub cookie: Cookie,
    /// How many handlers run.
    pub(crate) handlers: u32,
}

/// The books about LPIs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LpiBooks {
    /// The LPIs that are handed out here.
    pub(crate) range: Range<u32>,
    /// The numbers below this have been handed out at least once.
    pub(crate) fresh: u32,
    pub(crate) free: BTreeSet<u32>,
    pub(crate) live: BTreeMap<Lpi, LpiRecord>,
    pub(crate) allocations: u64,
}

impl ModelLpi {
    /// The LPI.
    #[must_use]
    pub const fn lpi(&self) -> Lpi {
        self.lpi
    }
}

impl LpiBooks {
    pub(crate) fn new(range: Range<u32>) -> LpiBooks {
        LpiBooks { fresh: range.start, range, ..LpiBooks::default() }
    }

    /// Takes the lowest free LPI.
    pub(crate) fn take(&mut self, cookie: Cookie) -> Option<ModelLpi> {
        let number = self.free.pop_first().or_else(|| {
            let fresh = (self.fresh < self.range.end).then_some(self.fresh)?;
            self.fresh += 1;
            Some(fresh)
        })?;
        self.hand_out(Lpi::new(number).ok()?, cookie)
    }

    /// Takes this LPI, if it is free.
    pub(crate) fn take_this(&mut self, lpi: Lpi, cookie: Cookie) -> Option<ModelLpi> {
        let number = lpi.id();
        if !self.range.contains(&number) || self.live.contains_key(&lpi) {
            return None;
        }
        self.free.extend(self.fresh..number);
        self.fresh = self.fresh.max(number + 1);
        self.free.remove(&number);
        self.hand_out(lpi, cookie)
    }

    fn hand_out(&mut self, lpi: Lpi, cookie: Cookie) -> Option<ModelLpi> {
        let id = self.allocations;
        self.allocations += 1;
        self.live.insert(lpi, LpiRecord { id, cookie, handlers: 0 });
        Some(ModelLpi { id, lpi })
    }

    /// The record of an LPI, if this is the allocation that has it now.
    pub(crate) fn held(&mut self, lpi: &ModelLpi) -> Option<&mut LpiRecord> {
        self.live.get_mut(&lpi.lpi).filter(|record| record.id == lpi.id)
    }

    pub(crate) fn give(&mut self, lpi: Lpi) {
        if self.live.remove(&lpi).is_some() {
            self.free.insert(lpi.id());
        }
    }

    /// The LPIs that are in somebody's hands.
    pub(crate) fn live(&self) -> &BTreeMap<Lpi, LpiRecord> {
        &self.live
    }

    /// Reports a doorbell that is set to an LPI of which nobody has got hold.
    pub(crate) fn judge_doorbell(&self, report: &mut Report, place: Place, settings: IRS_VPE_DBR) {
        let lpi = settings.intid();
        if self.range.contains(&lpi.id()) && !self.live.contains_key(&lpi) {
            report.violate(rules::POOL_2, place, 0, settings.raw_value(), || {
                format!("the doorbell of a VPE is set to {lpi}, which nobody has allocated")
            });
        }
    }
}
