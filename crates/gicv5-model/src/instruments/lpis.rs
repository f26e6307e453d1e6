//! The books about LPIs, for a driver that executes its own instructions.
//!
//! They are part of the machine's state and hold software to what it owes: an LPI belongs to one owner and one VPE (DB-14), nobody
//! uses one that it has given back, and nobody gives one back that a VPE may still ring (DB-25), that a command under way names
//! (LIFE-10), or that an instruction under way names (LIFE-26, a remark). A doorbell may ring no LPI of the range that nobody
//! has ([`POOL_2`](crate::rules::POOL_2)); and what is still held when an account is closed has leaked
//! ([`POOL_3`](crate::rules::POOL_3)).
//!
//! Nothing here executes an instruction. [`ModelHost`](crate::ModelHost) does, over these books.

use std::ops::Range;

use gicv5_arch::Lpi;
use gicv5_hal::{Cookie, LpiError};

use crate::engine::state::MachineState;
use crate::handles::here::here;
use crate::handles::machine::Machine;
use crate::parts::lpi_books::LpiBooks;
pub use crate::parts::lpi_books::{LpiRecord, ModelLpi};
use crate::words::fault::Request;
use crate::words::rules::{self, RuleId};
use crate::words::violation::Place;

/// The books about the LPIs of a machine. Clones are handles of the same ones.
#[derive(Clone, Debug)]
pub struct ModelLpis {
    machine: Machine,
}

impl ModelLpis {
    /// Opens new books about the LPIs of this range, of which nobody has one.
    #[must_use]
    pub fn start(machine: &Machine, lpis: Range<u32>) -> ModelLpis {
        machine.state().lpis = LpiBooks::new(lpis);
        ModelLpis::of(machine)
    }

    /// The books as they are. A machine at reset has some about no LPI.
    #[must_use]
    pub fn of(machine: &Machine) -> ModelLpis {
        ModelLpis { machine: machine.clone() }
    }

    /// Hands out the lowest LPI that nobody has. It is a [fault point](crate::fault).
    ///
    /// # Errors
    ///
    /// [`LpiError::NoneFree`].
    pub fn allocate(&self, cookie: Cookie) -> Result<ModelLpi, LpiError> {
        let state = &mut *self.machine.state_on(here());
        if state.faults.pass(&mut state.report, Request::Lpi { cookie }).is_some() {
            return Err(LpiError::NoneFree);
        }
        state.lpis.take(cookie).ok_or(LpiError::NoneFree)
    }

    /// An allocator of software's own has handed out this LPI.
    ///
    /// # Errors
    ///
    /// [`LpiError::NoneFree`] if somebody has it, or the books are not about it.
    pub fn hold(&self, lpi: Lpi, cookie: Cookie) -> Result<ModelLpi, LpiError> {
        self.machine.state_on(here()).lpis.take_this(lpi, cookie).ok_or(LpiError::NoneFree)
    }

    /// What the books say about an LPI that somebody has.
    #[must_use]
    pub fn record(&self, lpi: Lpi) -> Option<LpiRecord> {
        self.machine.state().lpis.live().get(&lpi).copied()
    }

    /// The LPI goes back: its owner has brought it to rest. Reports what speaks against that.
    pub fn release(&self, lpi: ModelLpi) {
        if self.holds(&lpi, rules::POOL_1, "releases") {
            self.give(lpi.lpi);
        }
    }

    /// An allocator of software's own has got this LPI back. Reports what speaks against that.
    pub fn release_number(&self, lpi: Lpi) {
        match self.record(lpi) {
            Some(_) => self.give(lpi),
            None => self.report_not_held(lpi, rules::POOL_1, "releases"),
        }
    }

    fn give(&self, lpi: Lpi) {
        let state = &mut *self.machine.state_on(here());
        state.judge_release(lpi);
        state.judge_named_lpi(lpi);
        state.judge_released(lpi);
        state.lpis.give(lpi);
    }

    /// A handler of the LPI starts. What the books say about it, if anybody has it.
    #[must_use]
    pub fn enter(&self, lpi: Lpi) -> Option<LpiRecord> {
        let mut state = self.machine.state_on(here());
        let record = state.lpis.live.get_mut(&lpi)?;
        record.handlers += 1;
        Some(*record)
    }

    /// A handler ends that [started](Self::enter) with this record.
    pub fn leave(&self, lpi: Lpi, entered: LpiRecord) {
        let mut state = self.machine.state_on(here());
        if let Some(record) = state.lpis.live.get_mut(&lpi).filter(|record| record.id == entered.id) {
            record.handlers = record.handlers.saturating_sub(1);
        }
    }

    /// How many handlers of an LPI run, if this is the allocation that has it.
    #[must_use]
    pub fn handlers(&self, lpi: &ModelLpi) -> Option<u32> {
        self.machine.state().lpis.held(lpi).map(|record| record.handlers)
    }

    /// Whether the caller holds an LPI. Reports if it does not.
    pub(super) fn holds(&self, lpi: &ModelLpi, rule: RuleId, what: &str) -> bool {
        let held = self.handlers(lpi).is_some();
        if !held {
            self.report_not_held(lpi.lpi, rule, what);
        }
        held
    }

    fn report_not_held(&self, lpi: Lpi, rule: RuleId, what: &str) {
        let report = &mut self.machine.state_on(here()).report;
        report.violate(rule, Place::Lpi(lpi), 0, 0, || format!("software that does not hold the LPI {what} it"));
    }
}

impl MachineState {
    /// Reports an LPI that is given back while a VPE may still ring it (DB-25).
    fn judge_release(&mut self, lpi: Lpi) {
        if let Some((vm, vpe)) = self.virt.doorbells.rung_by(lpi).next() {
            self.report.violate(rules::DB_25, Place::Lpi(lpi), 0, 0, || {
                format!("the LPI was released while {vm} is valid and {vpe} of it may still ring it")
            });
        }
    }
}
