//! The fault plan: which points have been passed, and which faults are still to strike. `words/fault.rs` says what a fault is.

use crate::words::event::Event;
use crate::words::fault::{Aim, Fault, FaultPoint, Request};
use crate::words::report::Report;

/// The points passed and the faults to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FaultPlan {
    pub(crate) passed: u64,
    /// What shall strike, and from which point on, in the order in which it was planned.
    pub(crate) planned: Vec<(u64, Fault)>,
    /// What shall strike, and at which requests, likewise.
    pub(crate) aimed: Vec<(Aim, Fault)>,
    pub(crate) struck: Vec<(FaultPoint, Fault)>,
    pub(crate) recorded: Option<Vec<FaultPoint>>,
}

impl FaultPlan {
    /// Passes a point. The fault that strikes, if one does.
    pub(crate) fn pass(&mut self, report: &mut Report, request: Request) -> Option<Fault> {
        let point = FaultPoint { index: self.passed, request };
        self.passed += 1;
        if let Some(recorded) = &mut self.recorded {
            recorded.push(point);
        }
        let fault = self.take(point)?;
        self.struck.push((point, fault));
        report.event(|| Event::Fault { point, fault });
        Some(fault)
    }

    /// Takes the fault that strikes at a point: one that is planned by number before one that is by what is asked for.
    fn take(&mut self, FaultPoint { index, request }: FaultPoint) -> Option<Fault> {
        let kind = request.kind();
        let planned = self.planned.iter().position(|(from, fault)| *from <= index && kind.can_have(*fault));
        if let Some(n) = planned {
            self.aimed.iter_mut().for_each(|(aim, _)| aim.pass_by(&request));
            return Some(self.planned.remove(n).1);
        }
        let mut aimed = self.aimed.iter_mut().enumerate().filter(|(_, (_, fault))| kind.can_have(*fault));
        // Each of them counts the request, also after one that strikes.
        let strikes = aimed.by_ref().find_map(|(n, (aim, _))| aim.strikes(&request).then_some(n))?;
        aimed.for_each(|(_, (aim, _))| aim.pass_by(&request));
        Some(self.aimed.remove(strikes).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::fault::Selected;
    use gicv5_arch::irs::IrsReg;
    use gicv5_hal::{Cookie, IrsIndex};

    const LPI: Request = Request::Lpi { cookie: Cookie(1) };
    const SYNC: Request =
        Request::Command { irs: IrsIndex(0), register: IrsReg::IRS_SYNCR, value: 1, selected: Selected::Nothing };

    #[test]
    fn a_fault_strikes_at_its_point_and_never_again() {
        let (mut plan, mut report) = (FaultPlan::default(), Report::default());
        plan.planned.push((1, Fault::Refused));
        let struck: Vec<_> = (0..4).map(|_| plan.pass(&mut report, LPI)).collect();
        assert_eq!(struck, [None, Some(Fault::Refused), None, None]);
        let where_struck: Vec<u64> = plan.struck.iter().map(|(point, _)| point.index).collect();
        assert_eq!((plan.passed, where_struck, plan.planned.len()), (4, vec![1], 0));
    }

    #[test]
    fn a_fault_waits_for_a_point_that_can_have_it_and_lets_another_go_first() {
        let (mut plan, mut report) = (FaultPlan::default(), Report::default());
        plan.planned.extend([(0, Fault::Never), (0, Fault::Refused), (1, Fault::Late(3))]);
        let struck: Vec<_> = [LPI, SYNC, LPI, SYNC].map(|request| plan.pass(&mut report, request)).into();
        assert_eq!(struck, [Some(Fault::Refused), Some(Fault::Never), None, Some(Fault::Late(3))]);
    }
}
