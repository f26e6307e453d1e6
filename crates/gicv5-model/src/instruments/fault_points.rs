//! Fault points of a machine: recorded, planned, struck. What they are, [`fault`](crate::fault) says.

use crate::handles::machine::Machine;
use crate::words::fault::{Aim, Fault, FaultPoint, Request};

impl Machine {
    /// How many fault points the machine has passed: the number of the next.
    #[must_use]
    pub fn fault_points_passed(&self) -> u64 {
        self.state().faults.passed
    }

    /// From now on keeps every fault point that is passed, until it is [taken](Self::take_fault_points). At first none is
    /// kept, because a machine that runs for long passes many.
    pub fn record_fault_points(&self) {
        self.state().faults.recorded.get_or_insert_default();
    }

    /// Hands out the fault points kept since the last time, in the order in which they were passed.
    #[must_use]
    pub fn take_fault_points(&self) -> Vec<FaultPoint> {
        self.state().faults.recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Plans a fault: it strikes at the first point from `from` on that can have it. Of several that could strike at a point
    /// the one planned first does, and the others wait.
    pub fn plan_fault(&self, from: u64, fault: Fault) {
        self.state().faults.planned.push((from, fault));
    }

    /// Plans a fault for the next point that can have it.
    pub fn fault_next(&self, fault: Fault) {
        let mut state = self.state();
        let next = state.faults.passed;
        state.faults.planned.push((next, fault));
    }

    /// Plans a fault for a request by what it asks for. One that is [planned](Self::plan_fault) for the same request goes first.
    pub fn aim_fault(&self, aim: Aim, fault: Fault) {
        self.state().faults.aimed.push((aim, fault));
    }

    /// The faults planned by what is asked for that have not struck, each with the number of others that it still lets go first.
    #[must_use]
    pub fn aimed_faults(&self) -> Vec<(Aim, Fault)> {
        self.state().faults.aimed.clone()
    }

    /// The planned faults that have not struck.
    #[must_use]
    pub fn planned_faults(&self) -> Vec<(u64, Fault)> {
        self.state().faults.planned.clone()
    }

    /// Hands out the faults that have struck since the last time, and where.
    #[must_use]
    pub fn take_struck_faults(&self) -> Vec<(FaultPoint, Fault)> {
        std::mem::take(&mut self.state().faults.struck)
    }

    /// Passes a fault point for a request that the machine does not see. Returns the fault that the caller must let strike,
    /// if there is one. Not from a global allocator, because the machine allocates too.
    #[must_use]
    pub fn pass_fault_point(&self, request: Request) -> Option<Fault> {
        let state = &mut *self.state();
        state.faults.pass(&mut state.report, request)
    }

    /// The hardware recovers: every command that never completes does so now, and planned faults are forgotten.
    pub fn recover(&self) {
        let mut state = self.state();
        state.faults.planned.clear();
        state.faults.aimed.clear();
        state.recover();
    }
}
