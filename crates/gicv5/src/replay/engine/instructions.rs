//! Instructions: those that change an LPI or SPI where it is, and acknowledge, drop and deactivate.

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::sysreg::{APR, PPI_PRIORITYR, SysReg};
use gicv5_arch::values::{Domain, HandlingMode};
use gicv5_arch::{IntId, IrsIntId, Priority};
use gicv5_hal::Pe;
use gicv5_model::ModelPe;
use gicv5_model::PeIndex;
use gicv5_trace::{AcknowledgeFailure, Event, Interrupt, Line, Space};

use super::candidates::describe;
use super::interfaces::active;
use super::{Engine, Stop, shown};
use crate::replay::tally::{Check, Defect, Untold};

impl Engine {
    /// An instruction that changes one LPI or SPI where it is.
    pub(super) fn instruct(
        &mut self,
        line: Line,
        interrupt: Interrupt,
        f: impl FnOnce(&Pe<'_, ModelPe>, IrsIntId),
    ) -> Result<(), Stop> {
        self.take();
        self.judge_interrupt(line, interrupt);
        let Some(id) = interrupt.irs_int_id() else { return Ok(()) };
        self.on_any_pe(|pe| f(pe, id));
        self.expect_candidate_of(id)
    }

    pub(super) fn compare_configuration(&mut self, line: Line, interrupt: Interrupt, icsr: u64) {
        use gicv5_arch::sysreg::ICC_ICSR_EL1;
        let Some(id) = interrupt.irs_int_id() else { return };
        self.tally.check(Check::Configuration);
        let mut model = 0;
        self.on_any_pe(|pe| {
            pe.cdrcfg(id);
            model = pe.read::<ICC_ICSR_EL1>().raw_value();
        });
        if model == icsr {
            return;
        }
        let theirs = ICC_ICSR_EL1::new_with_raw_value(icsr);
        let Some(entry) = self.machine.interrupt(id) else {
            return self.diverge(line, Check::Configuration, format!("ICSR is {model:#x}: the interrupt has no place"));
        };
        let taken = entry
            .with_enable(theirs.enabled())
            .with_pending(theirs.pending())
            .with_active(theirs.active())
            .with_hm(theirs.hm())
            .with_iaffid(theirs.iaffid())
            .with_priority(theirs.priority());
        let answer = |entry: L2_ISTE| {
            ICC_ICSR_EL1::new_with_raw_value(model).with_enabled(entry.enable()).with_pending(entry.pending())
        };
        // All of it, also what an entry does not hold.
        if self.with_defect(id, entry).map(answer) == Some(theirs) {
            self.tally.explain(Defect::SpiEnable, line);
        } else {
            self.diverge(line, Check::Configuration, format!("ICSR is {model:#x}: {}", describe(entry)));
        }
        if !theirs.f() {
            self.take_over(id, taken);
        }
    }

    pub(super) fn acknowledge(&mut self, line: Line, on: Option<u16>, domain: Domain, intid: u32) -> Result<(), Stop> {
        self.take();
        self.judge_domain(line, domain);
        let id = IntId::from_raw(intid).ok();
        let ppi_follows = self.source.peek(0)?.is_some_and(|next| matches!(next.event, Event::PpiCandidate { .. }));
        let kind_follows = id.is_some() && matches!(id, Some(IntId::Ppi(_))) == ppi_follows;
        let Some(pe) = on.map(usize::from) else {
            self.tally.untold(Untold::Thread, line);
            if ppi_follows {
                self.pe(on)?;
            }
            self.blind = true;
            if let Some(irs) = id.and_then(|id| IrsIntId::try_from(id).ok())
                && let Some(entry) = self.machine.interrupt(irs)
            {
                self.machine.set_interrupt(irs, acknowledged(entry));
            }
            return match id {
                Some(IntId::Lpi(_) | IntId::Spi(_)) => self.after_acknowledge(0, id),
                _ => Ok(()),
            };
        };
        if line.excess.is_some() || !kind_follows {
            return self.acknowledge_other(line, pe, ppi_follows);
        }
        let mut reason = None;
        if let Some(IntId::Ppi(ppi)) = id {
            if self.moved & ppi.mask() != 0 && self.settle(pe, ppi, true) {
                reason = Some(Untold::Wire);
            }
            if self.see_enabled(pe, ppi) {
                reason = Some(Untold::PpiRegister);
            }
        }
        if self.is_doubtful(pe) {
            reason = Some(Untold::Wire);
        }
        if let Some(reason) = reason {
            self.tally.untold(reason, line);
            if self.machine.hppi(PeIndex(pe as u16)).map(|(id, _)| id) == id {
                self.on_pe(pe, |pe| {
                    let _ = pe.cdia();
                });
            } else {
                self.force_acknowledge(pe, id);
            }
            return self.after_acknowledge(pe, id);
        }
        self.see_mask(pe, line, true);
        self.tally.check(Check::Acknowledge);
        let index = PeIndex(pe as u16);
        let model = self.machine.hppi(index);
        let mut same = id.is_some() && model.map(|(id, _)| id) == id;
        if !same
            && let (Some(id), Some((_, priority))) = (id, model)
            && let Ok(irs) = IrsIntId::try_from(id)
            && self.machine.interrupt(irs).is_some_and(|entry| entry.priority() == priority)
            && (self.machine.candidate(index) == Some((irs, priority)) || self.machine.prefer(irs))
            && self.machine.candidate(index) == Some((irs, priority))
        {
            self.tally.ties += 1;
            same = self.machine.hppi(index) == Some((id, priority));
            if !same {
                // The PPI would have been as good (HPPI-4).
                self.force_acknowledge(pe, Some(id));
                return self.after_acknowledge(pe, Some(id));
            }
        }
        if same {
            let mut taken = None;
            self.on_pe(pe, |pe| taken = pe.cdia().int_id());
            if taken != id {
                self.diverge(line, Check::Acknowledge, format!("GICR CDIA returns {}", shown(taken)));
            }
        } else {
            let theirs = self.stale_hppi(pe);
            if self.blame_wire(pe, |shown| shown.hppi.map(|(id, _)| id) == id) {
                self.tally.untold(Untold::Wire, line);
            } else if theirs.is_some() && theirs.map(|(id, _)| id) == id {
                self.tally.explain(Defect::ReadOfCr0, line);
            } else {
                let hppi = model.map_or("there is nothing to acknowledge".to_owned(), |(id, priority)| {
                    format!("{id} with {priority} is to be acknowledged")
                });
                let state = self.state_of(id);
                self.diverge(line, Check::Acknowledge, format!("{hppi} on PE {pe}{state}"));
            }
            self.force_acknowledge(pe, id);
        }
        self.after_acknowledge(pe, id)
    }

    /// An acknowledge of something else than the trace says: what follows is about something else.
    fn acknowledge_other(&mut self, line: Line, pe: usize, ppi: bool) -> Result<(), Stop> {
        self.tally.check(Check::Acknowledge);
        let mut taken = None;
        let model = self.machine.hppi(PeIndex(pe as u16)).map(|(id, _)| id);
        if model.is_some_and(|id| matches!(id, IntId::Ppi(_)) == ppi) {
            self.on_pe(pe, |pe| taken = pe.cdia().int_id());
        }
        let text =
            format!("PE {pe} acknowledges {}, and the lines that follow are not of this interrupt", shown(model));
        self.tally.diverge(line, Check::Acknowledge, model, Vec::new(), text);
        match taken {
            Some(_) => self.after_acknowledge(pe, taken),
            None if ppi => self.expect_ppis(pe, None),
            None => Ok(()),
        }
    }

    /// The lines that follow an acknowledge.
    fn after_acknowledge(&mut self, pe: usize, id: Option<IntId>) -> Result<(), Stop> {
        match id {
            Some(IntId::Ppi(ppi)) => self.expect_ppis(pe, Some(ppi)),
            Some(id) => match IrsIntId::try_from(id) {
                Ok(id) => {
                    self.expect_activate(id, true)?;
                    self.expect_candidate_of(id)
                }
                Err(_) => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Activates what the trace says was acknowledged, though the model would not.
    fn force_acknowledge(&mut self, pe: usize, id: Option<IntId>) {
        let priority = match id {
            Some(IntId::Ppi(ppi)) => {
                let mut priority = None;
                self.on_pe(pe, |pe| {
                    let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
                    priority = Some(PPI_PRIORITYR::new_with_raw_value(pe.read_raw(register)).priority(ppi));
                    pe.write_raw(SysReg::icc_ppi_sactiver(ppi.bank()), ppi.mask());
                    pe.write_raw(SysReg::icc_ppi_cpendr(ppi.bank()), ppi.mask());
                });
                priority
            }
            Some(id) => match IrsIntId::try_from(id).ok().and_then(|id| Some((id, self.machine.interrupt(id)?))) {
                Some((id, entry)) => {
                    self.take_over(id, acknowledged(entry));
                    Some(entry.priority())
                }
                None => None,
            },
            None => None,
        };
        if let Some(priority) = priority {
            self.on_pe(pe, |pe| {
                let active = active(pe).activate(priority);
                pe.write_raw(SysReg::ICC_APR_EL1, APR::ZERO.with_p(active).raw_value());
            });
        }
    }

    pub(super) fn acknowledge_nothing(
        &mut self,
        line: Line,
        on: Option<u16>,
        domain: Domain,
        reason: AcknowledgeFailure,
    ) {
        self.take();
        self.judge_domain(line, domain);
        match on.map(usize::from) {
            None => {
                self.blind = true;
                self.tally.untold(Untold::Thread, line);
            }
            Some(pe) if self.is_doubtful(pe) => self.tally.untold(Untold::Wire, line),
            Some(pe) => self.compare_nothing(line, pe, reason),
        }
    }

    fn compare_nothing(&mut self, line: Line, pe: usize, reason: AcknowledgeFailure) {
        self.tally.check(Check::NothingToAcknowledge);
        self.see_mask(pe, line, false);
        let model = self.machine.hppi(PeIndex(pe as u16));
        let agrees = match (reason, model) {
            (AcknowledgeFailure::NothingAvailable, None) => true,
            (AcknowledgeFailure::NotAnNmi, Some((_, priority))) => priority != Priority::MOST_URGENT,
            (AcknowledgeFailure::IsAnNmi, Some((_, priority))) => priority == Priority::MOST_URGENT,
            _ => false,
        };
        if agrees {
            return;
        }
        if reason == AcknowledgeFailure::NothingAvailable && self.blame_wire(pe, |shown| shown.hppi.is_none()) {
            return self.tally.untold(Untold::Wire, line);
        }
        if self.stale(pe) && self.stale_hppi(pe).is_none() && reason == AcknowledgeFailure::NothingAvailable {
            return self.tally.explain(Defect::ReadOfCr0, line);
        }
        let state = self.state_of(model.map(|(id, _)| id));
        let hppi = shown(model.map(|(id, _)| id));
        let model_id = model.map(|(id, _)| id);
        let suspects = self.inferred(pe, None);
        let text = format!("{hppi} is to be acknowledged on PE {pe}{state}");
        self.tally.diverge(line, Check::NothingToAcknowledge, model_id, suspects, text);
    }

    pub(super) fn deactivate(&mut self, line: Line, on: Option<u16>, domain: Domain, intid: u32) -> Result<(), Stop> {
        self.take();
        self.judge_domain(line, domain);
        let Ok(id) = IntId::from_raw(intid) else { return Ok(()) };
        match IrsIntId::try_from(id) {
            Ok(irs) => {
                self.on_any_pe(|pe| pe.cddi(id));
                self.expect_activate(irs, false)?;
                self.expect_candidate_of(irs)
            }
            Err(_) => {
                let Some(pe) = self.pe(on)? else { return Ok(()) };
                self.on_pe(pe, |pe| pe.cddi(id));
                self.expect_ppis(pe, None)
            }
        }
    }

    /// The IRS repeats the interrupt of an acknowledge or a deactivate.
    fn expect_activate(&mut self, id: IrsIntId, activate: bool) -> Result<(), Stop> {
        let (check, wanted) = match activate {
            true => (Check::Activate, "gicv5_activate"),
            false => (Check::Deactivate, "gicv5_deactivate"),
        };
        let line = self.next(wanted)?;
        self.tally.check(check);
        let (interrupt, kind) = match line.event {
            Event::Activate { interrupt } => (interrupt, true),
            Event::Deactivate { interrupt } => (interrupt, false),
            _ => {
                self.diverge(line, check, format!("{wanted} of {id} comes here"));
                return Ok(());
            }
        };
        self.take();
        let same = interrupt.irs_int_id() == Some(id)
            && kind == activate
            && interrupt.domain == Domain::NonSecure
            && interrupt.space == Space::Physical;
        if !same {
            self.diverge(line, check, format!("{wanted} of {id}, the interrupt of the line before"));
        }
        Ok(())
    }
}

/// The state of an LPI or SPI that has been acknowledged.
fn acknowledged(entry: L2_ISTE) -> L2_ISTE {
    entry.with_active(true).with_pending(entry.pending() && entry.hm() == HandlingMode::Level)
}
