//! LPIs and SPIs: what the IRS offers, what it says of an SPI, and the state that QEMU has instead because of a defect.

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::values::{HandlingMode, RoutingMode};
use gicv5_arch::{Iaffid, IntId, IrsIntId, Priority, Spi};
use gicv5_model::PeIndex;
use gicv5_trace::{Candidate, Event, Interrupt, Line, NoCandidate};

use super::{Engine, Stop, Suspicion};
use crate::replay::tally::{Check, Defect, Untold};

impl Engine {
    /// What the IRS offers the target of an interrupt. There is nothing to say if the interrupt cannot be reached.
    pub(super) fn expect_candidate_of(&mut self, id: IrsIntId) -> Result<(), Stop> {
        match self.machine.interrupt(id) {
            Some(entry) => self.expect_candidate(entry.iaffid()),
            None => Ok(()),
        }
    }

    pub(super) fn index(&self, iaffid: Iaffid) -> Option<usize> {
        Some(usize::from(iaffid.raw_value())).filter(|pe| *pe < self.cpus.len())
    }

    pub(super) fn expect_candidate(&mut self, target: Iaffid) -> Result<(), Stop> {
        let line = self.next("gicv5_irs_recalc_hppi")?;
        match line.event {
            Event::IrsCandidate { domain, iaffid, candidate } => {
                self.take();
                self.judge_domain(line, domain);
                self.tally.check(Check::IrsCandidate);
                let Some(pe) = self.index(target).filter(|_| iaffid == target) else {
                    let what = match self.index(target) {
                        Some(_) => format!("{target} is looked at"),
                        None => format!("{target} is the target, which is no PE"),
                    };
                    self.diverge(line, Check::IrsCandidate, what);
                    return self.skip_answers(Untold::Skipped);
                };
                self.compare_candidate(line, pe, candidate);
                self.expect_signals(pe, None)
            }
            Event::IrsNoCandidate { domain, iaffid, reason } => {
                self.take();
                self.judge_domain(line, domain);
                self.tally.check(Check::NoCandidate);
                // Which PE is meant comes first.
                let model = match self.index(target) {
                    None => Some(NoCandidate::UnknownIaffid),
                    Some(_) if !self.irs_is_enabled() => Some(NoCandidate::IrsDisabled),
                    Some(_) => None,
                };
                if iaffid != target || model != Some(reason) {
                    let model = model.map_or("there is a PE, and the IRS is on", NoCandidate::words);
                    self.diverge(line, Check::NoCandidate, format!("{target}: {model}"));
                }
                Ok(())
            }
            _ => {
                self.misplaced(line, &format!("gicv5_irs_recalc_hppi for {target} comes here"));
                Ok(())
            }
        }
    }

    fn compare_candidate(&mut self, line: Line, pe: usize, candidate: Candidate) {
        if let Some(cpu) = self.cpus.get_mut(pe) {
            cpu.offered = candidate;
            cpu.stale = false;
        }
        let index = PeIndex(pe as u16);
        let model = self.machine.candidate(index);
        if line.excess.is_some() {
            return;
        }
        if candidate == Candidate::NONE && model.is_none() {
            if !self.irs_is_enabled() {
                let text = "IRS_CR0.IRSEN is zero, so there is no candidate".to_owned();
                self.diverge(line, Check::IrsCandidate, text);
            }
            return;
        }
        if let Some((id, priority)) = model
            && candidate.priority == priority.number()
        {
            if candidate.intid == IntId::from(id).raw() {
                return;
            }
            // Which of several equals is offered is not fixed; the model follows (HPPI-4).
            if let Some(theirs) = IntId::from_raw(candidate.intid).ok().and_then(|id| IrsIntId::try_from(id).ok())
                && self.machine.interrupt(theirs).is_some_and(|entry| entry.iaffid() == Iaffid::new(pe as u16))
                && self.machine.prefer(theirs)
            {
                self.tally.ties += 1;
                return;
            }
        }
        self.other_candidate(line, pe, candidate, model);
    }

    /// The trace shows a candidate that the model would not offer.
    #[cold]
    fn other_candidate(&mut self, line: Line, pe: usize, candidate: Candidate, model: Option<(IrsIntId, Priority)>) {
        let theirs = candidate.interrupt().and_then(|(id, priority)| Some((IrsIntId::try_from(id).ok()?, priority)));
        let target = Iaffid::new(pe as u16);
        if let Some((id, priority)) = theirs
            && let Some(entry) = self.machine.interrupt(id)
            && let Some(struck) = self.with_defect(id, entry)
            && struck.pending()
            && struck.enable()
            && !struck.active()
            && (struck.iaffid(), struck.priority()) == (target, priority)
            && model.is_none_or(|(_, best)| !best.is_more_urgent_than(priority))
        {
            self.tally.explain(Defect::SpiEnable, line);
            self.take_over(id, struck);
            self.machine.prefer(id);
            return;
        }
        let about = theirs.or(model).map(|(id, _)| IntId::from(id));
        let offer = model.map_or("no candidate".to_owned(), |(id, priority)| format!("{id} with {priority}"));
        let state = self.state_of(theirs.map(|(id, _)| IntId::from(id)));
        let text = format!("the candidate for PE {pe} is {offer}{state}");
        self.tally.diverge(line, Check::IrsCandidate, about, Vec::new(), text);
        // What the trace shows is more urgent than all else, so all that is more urgent in the model is not pending there.
        let index = PeIndex(pe as u16);
        for _ in 0..64 {
            match self.machine.candidate(index) {
                Some((id, best)) if theirs.is_none_or(|(_, priority)| best.is_more_urgent_than(priority)) => {
                    let Some(entry) = self.machine.interrupt(id) else { break };
                    self.take_over(id, entry.with_pending(false));
                }
                _ => break,
            }
        }
        if let Some((id, priority)) = theirs
            && let Some(entry) = self.machine.interrupt(id)
        {
            let entry = entry.with_pending(true).with_enable(true).with_active(false);
            self.take_over(id, entry.with_priority(priority).with_iaffid(target).with_irm(RoutingMode::Targeted));
            self.machine.prefer(id);
        }
    }

    pub(super) fn expect_spi_state(&mut self, spi: Spi) -> Result<(), Stop> {
        let line = self.next("gicv5_spi_state")?;
        self.tally.check(Check::SpiState);
        let Event::SpiState { spi: theirs, high, pending, active } = line.event else {
            self.diverge(line, Check::SpiState, format!("gicv5_spi_state of SPI {} comes here", spi.id()));
            return Ok(());
        };
        self.take();
        if line.excess.is_some() {
            return Ok(());
        }
        let id = IrsIntId::Spi(spi);
        let wire = self.machine.spi_wire(spi);
        let Some(entry) = self.machine.interrupt(id) else {
            self.diverge(line, Check::SpiState, "this IRS does not have the SPI".to_owned());
            return Ok(());
        };
        if (theirs, Some(high), pending, active) == (spi, wire, entry.pending(), entry.active()) {
            return Ok(());
        }
        let struck = self.with_defect(id, entry);
        let explained = theirs == spi
            && Some(high) == wire
            && struck.is_some_and(|struck| (struck.pending(), struck.active()) == (pending, active));
        if explained {
            self.tally.explain(Defect::SpiEnable, line);
        } else {
            let level = wire.map_or("no wire".to_owned(), |high| format!("level {}", u8::from(high)));
            let model = format!("SPI {}: {level}, {}", spi.id(), describe(entry));
            self.diverge(line, Check::SpiState, model);
        }
        if theirs == spi {
            self.take_over(id, entry.with_pending(pending).with_active(active));
        }
        Ok(())
    }

    /// What QEMU may have got wrong about an SPI.
    pub(super) fn suspicion(&mut self, interrupt: Interrupt) -> Option<&mut Suspicion> {
        match interrupt.irs_int_id()? {
            IrsIntId::Spi(spi) => Some(self.suspicions.entry(spi.id()).or_default()),
            IrsIntId::Lpi(_) => None,
        }
    }

    /// The state of an SPI as QEMU has it if the defect has struck.
    pub(super) fn with_defect(&self, id: IrsIntId, entry: L2_ISTE) -> Option<L2_ISTE> {
        let IrsIntId::Spi(spi) = id else { return None };
        let suspicion = self.suspicions.get(&spi.id())?;
        let struck =
            entry.with_enable(entry.enable() || suspicion.disabled).with_pending(entry.pending() || suspicion.cleared);
        (struck != entry).then_some(struck)
    }

    /// The model goes on with the state that the trace shows.
    pub(super) fn take_over(&mut self, id: IrsIntId, entry: L2_ISTE) {
        if self.machine.set_interrupt(id, entry) {
            self.tally.taken_over += 1;
        }
        if let IrsIntId::Spi(spi) = id {
            self.suspicions.remove(&spi.id());
        }
    }

    /// The state of an LPI or SPI for a message.
    pub(super) fn state_of(&self, id: Option<IntId>) -> String {
        let entry = id.and_then(|id| {
            let irs = IrsIntId::try_from(id).ok()?;
            Some((id, self.machine.interrupt(irs)))
        });
        match entry {
            Some((id, Some(entry))) => format!("; {id} is {}", describe(entry)),
            Some((id, None)) => format!("; {id} cannot be reached"),
            None => String::new(),
        }
    }
}

/// An interrupt's state in words.
pub(super) fn describe(entry: L2_ISTE) -> String {
    let not = |is: bool| if is { "" } else { "not " };
    format!(
        "{}pending, {}active, {}enabled, {}, with {}, routed to {}",
        not(entry.pending()),
        not(entry.active()),
        not(entry.enable()),
        match entry.hm() {
            HandlingMode::Edge => "edge",
            HandlingMode::Level => "level",
        },
        entry.priority(),
        entry.iaffid()
    )
}
