//! CPU interfaces: their PPI candidates and outputs, and what of their registers can be inferred, whose writes are not traced.

use gicv5_arch::irs::IrsReg;
use gicv5_arch::sysreg::{APR, ICC_CR0_EL1, PCR, PPI_PRIORITYR, PpiSet, SysReg};
use gicv5_arch::values::Domain;
use gicv5_arch::{ActivePriorities, IntId, Ppi, PpiBank, Priority};
use gicv5_hal::Pe;
use gicv5_model::{Contenders, ModelPe, PeIndex};
use gicv5_trace::{Candidate, Event, Line};

use super::main_loop::best_ppi;
use super::registers::register_at;
use super::{Engine, Stop};
use crate::replay::mask::Mask;
use crate::replay::tally::{Check, Defect, Place, Untold};

/// The PPIs of bank 0 that QEMU's mask has no bits for (hazard 3).
const HIGH_PPIS: u64 = 0xffff_ffff_0000_0000;

impl Engine {
    pub(super) fn stale(&self, pe: usize) -> bool {
        self.cpus.get(pe).is_some_and(|cpu| cpu.stale)
    }

    /// What would be taken if the CPU interface still had the candidate that the trace showed last (hazard 2).
    pub(super) fn stale_hppi(&self, pe: usize) -> Option<(IntId, Priority)> {
        let cpu = self.cpus.get(pe).filter(|cpu| cpu.stale)?;
        let ppi = self.machine.ppi_candidate(cpu.pe.index()).map(|(ppi, priority)| (IntId::Ppi(ppi), priority));
        let best = match (ppi, cpu.offered.interrupt()) {
            (Some(ppi), Some(irs)) if irs.1.is_more_urgent_than(ppi.1) => Some(irs),
            (ppi, irs) => ppi.or(irs),
        };
        let running = active(&Pe::new(&cpu.pe)).running();
        best.filter(|(_, priority)| priority.preempts(running) && priority.number() as i8 <= cpu.mask.highest)
    }

    /// The lines from which was inferred what software has written to a CPU interface.
    pub(super) fn inferred(&self, pe: usize, ppi: Option<Ppi>) -> Vec<Place> {
        let Some(cpu) = self.cpus.get(pe) else { return Vec::new() };
        let line = match ppi {
            Some(ppi) => cpu.ppi_lines.get(&(ppi.id() as u8)).copied(),
            None => cpu.mask_line,
        };
        line.into_iter().collect()
    }

    /// A line shows that something is or is not signalled: what does that say about the mask, if that is not known?
    pub(super) fn see_mask(&mut self, pe: usize, line: Line, signalled: bool) {
        let Some(cpu) = self.cpus.get_mut(pe) else { return };
        if cpu.mask.is_known() {
            return;
        }
        let index = cpu.pe.index();
        let ppi = self.machine.ppi_candidate(index).map(|(_, priority)| priority);
        let irs = self.machine.candidate(index).map(|(_, priority)| priority);
        let best = match (ppi, irs) {
            (Some(ppi), Some(irs)) if irs.is_more_urgent_than(ppi) => Some(irs),
            (ppi, irs) => ppi.or(irs),
        };
        let handle = Pe::new(&cpu.pe);
        let Some(best) = best.filter(|best| best.preempts(active(&handle).running())) else { return };
        let Some(mask) = cpu.mask.seen(best, signalled) else { return };
        if mask != cpu.mask {
            cpu.mask = mask;
            cpu.mask_line = Some(line.into());
        }
        let number = Priority::new(mask.highest.max(0) as u32).unwrap_or(Priority::MOST_URGENT);
        handle.write(ICC_CR0_EL1::ZERO.with_en(mask.highest >= 0));
        handle.write_raw(SysReg::ICC_PCR_EL1, PCR::ZERO.with_priority(number).raw_value());
    }

    /// The outputs of a PE; with its best PPI, where the lines before them show it.
    pub(super) fn expect_signals(&mut self, pe: usize, shown: Option<Candidate>) -> Result<(), Stop> {
        let line = self.next("gicv5_update_irq_fiq")?;
        if !matches!(line.event, Event::Signals { .. }) {
            self.misplaced(line, &format!("gicv5_update_irq_fiq of PE {pe} comes here"));
            return Ok(());
        }
        self.take();
        self.compare_signals(line, pe, shown);
        Ok(())
    }

    fn compare_signals(&mut self, line: Line, pe: usize, shown: Option<Candidate>) {
        let Event::Signals { irq, fiq, nmi } = line.event else { return };
        if self.blind {
            return self.tally.untold(Untold::Thread, line);
        }
        if self.unsure.1 || self.is_doubtful(pe) {
            return self.tally.untold(Untold::Wire, line);
        }
        self.tally.check(Check::Signals);
        if line.excess.is_some() {
            return;
        }
        let signalled = irq || nmi;
        self.see_mask(pe, line, signalled);
        let index = PeIndex(pe as u16);
        let model = match self.machine.signals(index).irq {
            true => self.machine.hppi(index),
            false => None,
        };
        let outputs = |hppi: Option<(IntId, Priority)>| match hppi {
            None => (false, false, false),
            Some((_, priority)) => (priority != Priority::MOST_URGENT, false, priority == Priority::MOST_URGENT),
        };
        if outputs(model) == (irq, fiq, nmi) {
            return;
        }
        // The wires make the best PPI too.
        let fits = |other: Contenders| {
            shown.is_none_or(|shown| shown.interrupt() == best_ppi(other)) && outputs(other.hppi) == (irq, fiq, nmi)
        };
        if self.blame_wire(pe, fits) {
            return self.tally.untold(Untold::Wire, line);
        }
        if self.stale(pe) && outputs(self.stale_hppi(pe)) == (irq, fiq, nmi) {
            return self.tally.explain(Defect::ReadOfCr0, line);
        }
        let text = match model {
            Some((id, priority)) => format!("PE {pe} is signalled {id} with {priority}"),
            None => format!("PE {pe} is signalled nothing"),
        };
        let suspects = self.inferred(pe, None);
        self.tally.diverge(line, Check::Signals, model.map(|(id, _)| id), suspects, text);
        if let Some(cpu) = self.cpus.get_mut(pe)
            && !cpu.mask.is_known()
        {
            cpu.mask = Mask::UNKNOWN;
            self.see_mask(pe, line, signalled);
        }
    }

    /// Outputs that nothing before them explains.
    pub(super) fn lone_signals(&mut self, line: Line, on: Option<u16>) -> Result<(), Stop> {
        let mut count = 1;
        let follows = loop {
            match self.source.peek(count)? {
                Some(Line { event: Event::Signals { .. }, .. }) if count <= self.cpus.len() => count += 1,
                other => break other,
            }
        };
        if let Some(read @ Line { event: Event::Read { offset, .. }, .. }) = follows
            && register_at(offset) == Some((IrsReg::IRS_CR0, 0))
            && count == self.cpus.len()
            && !self.irs_is_enabled()
        {
            return self.access(read);
        }
        let Some(pe) = self.pe(on)? else { return Ok(()) };
        self.take();
        self.tally.untold(Untold::CpuRegister, line);
        if let Some(cpu) = self.cpus.get_mut(pe) {
            cpu.mask = Mask::UNKNOWN;
        }
        self.compare_signals(line, pe, None);
        Ok(())
    }

    /// The PPI candidates of the four domains, then the outputs. `edge` is a PPI that was just acknowledged.
    pub(super) fn expect_ppis(&mut self, pe: usize, acknowledged: Option<Ppi>) -> Result<(), Stop> {
        let mut shown = None;
        for number in 0..4 {
            let line = self.next("gicv5_recalc_ppi_hppi")?;
            let Event::PpiCandidate { domain, candidate } = line.event else {
                self.misplaced(line, &format!("gicv5_recalc_ppi_hppi of domain {number} comes here"));
                return Ok(());
            };
            self.take();
            if let Some((IntId::Ppi(ppi), priority)) = candidate.interrupt() {
                self.ppi_priorities.insert(ppi, priority);
            }
            if domain == Domain::NonSecure {
                shown = Some(candidate);
            }
            if domain == Domain::NonSecure && (self.unsure.0 || self.is_doubtful(pe)) {
                self.tally.untold(Untold::Wire, line);
                continue;
            }
            self.tally.check(Check::PpiCandidate);
            if domain.raw_value().value() != number {
                self.diverge(line, Check::PpiCandidate, format!("domain {number} comes here"));
            } else if domain == Domain::NonSecure {
                self.compare_ppi(line, pe, candidate, acknowledged);
            } else if candidate != Candidate::NONE {
                let model = "all PPIs are of the Non-secure domain, number 1".to_owned();
                self.diverge(line, Check::PpiCandidate, model);
            }
        }
        self.expect_signals(pe, shown)
    }

    fn compare_ppi(&mut self, line: Line, pe: usize, candidate: Candidate, acknowledged: Option<Ppi>) {
        let index = PeIndex(pe as u16);
        let theirs = match candidate.interrupt() {
            Some((IntId::Ppi(ppi), priority)) => Some((ppi, priority)),
            _ => None,
        };
        if line.excess.is_some() {
            return;
        }
        if theirs.is_none() && candidate != Candidate::NONE {
            return self.other_ppi(line, pe, theirs);
        }
        let Some(cpu) = self.cpus.get_mut(pe) else { return };
        let edge = acknowledged == Some(Ppi::SW_PPI);
        let mut ready = 0;
        if edge || cpu.unknown != 0 {
            let handle = Pe::new(&cpu.pe);
            ready = handle.read_raw(SysReg::icc_ppi_spendr(PpiBank::Architected))
                & !handle.read_raw(SysReg::icc_ppi_sactiver(PpiBank::Architected));
        }
        let theirs_mask = theirs.filter(|(ppi, _)| ppi.bank() == PpiBank::Architected).map_or(0, |(ppi, _)| ppi.mask());
        if edge && ready & HIGH_PPIS != 0 && theirs_mask & HIGH_PPIS == 0 {
            // QEMU has forgotten that they are pending.
            let best = self.machine.ppi_candidate(index);
            for ppi in PpiSet::new_with_raw_value(ready & HIGH_PPIS).iter(PpiBank::Architected) {
                self.machine.set_ppi_wire(index, ppi, false);
            }
            if best.is_some_and(|(ppi, _)| ppi.mask() & HIGH_PPIS != 0) && self.machine.ppi_candidate(index) == theirs {
                self.tally.explain(Defect::PpiMask, line);
                self.tally.taken_over += 1;
                return;
            }
        }
        let Some(cpu) = self.cpus.get_mut(pe) else { return };
        if cpu.unknown & ready != 0 {
            let handle = Pe::new(&cpu.pe);
            if let Some((ppi, priority)) = theirs
                && ready & cpu.unknown & theirs_mask != 0
            {
                set_ppi(&handle, ppi, Some(priority));
                cpu.unknown &= !theirs_mask;
                cpu.ppi_lines.insert(ppi.id() as u8, line.into());
            }
            // What would have been shown instead is not enabled.
            if theirs.is_none() || theirs_mask != 0 {
                while let Some((ppi, _)) = self.machine.ppi_candidate(index).filter(|best| Some(*best) != theirs)
                    && cpu.unknown & ppi.mask() != 0
                {
                    set_ppi(&handle, ppi, None);
                    cpu.unknown &= !ppi.mask();
                    cpu.ppi_lines.insert(ppi.id() as u8, line.into());
                }
            }
            if theirs.is_none() {
                for ppi in PpiSet::new_with_raw_value(ready & cpu.unknown).iter(PpiBank::Architected) {
                    cpu.ppi_lines.insert(ppi.id() as u8, line.into());
                }
                cpu.unknown &= !ready;
            }
        }
        if self.machine.ppi_candidate(index) == theirs {
            return;
        }
        let handle = Pe::new(&cpu.pe);
        if let Some((ppi, _)) = theirs
            && ppi.bank() == PpiBank::Architected
            && ppi.mask() & HIGH_PPIS & handle.read_raw(SysReg::icc_ppi_sactiver(PpiBank::Architected)) != 0
        {
            // QEMU has forgotten that it is active, or never known.
            handle.write_raw(SysReg::icc_ppi_cactiver(PpiBank::Architected), ppi.mask());
            if self.machine.ppi_candidate(index) == theirs {
                self.tally.explain(Defect::PpiMask, line);
                self.tally.taken_over += 1;
                return;
            }
            handle.write_raw(SysReg::icc_ppi_sactiver(PpiBank::Architected), ppi.mask());
        }
        if self.blame_wire(pe, |shown| shown.ppi == theirs) {
            return self.tally.untold(Untold::Wire, line);
        }
        self.other_ppi(line, pe, theirs);
    }

    /// The trace shows a PPI that the model would not offer, or none.
    #[cold]
    fn other_ppi(&mut self, line: Line, pe: usize, theirs: Option<(Ppi, Priority)>) {
        let model = self.machine.ppi_candidate(PeIndex(pe as u16));
        let about = theirs.or(model).map(|(ppi, _)| ppi);
        let text = match model {
            Some((ppi, priority)) => format!("the best PPI of PE {pe} is {} with {priority}", IntId::Ppi(ppi)),
            None => format!("no PPI of PE {pe} is a candidate"),
        };
        let suspects = self.inferred(pe, about);
        self.tally.diverge(line, Check::PpiCandidate, about.map(IntId::Ppi), suspects, text);
    }

    /// A PE acknowledges a PPI that is pending and of which it is not known whether it is enabled: then it is.
    pub(super) fn see_enabled(&mut self, pe: usize, ppi: Ppi) -> bool {
        let Some(cpu) = self.cpus.get_mut(pe) else { return false };
        let handle = Pe::new(&cpu.pe);
        let pending = handle.read_raw(SysReg::icc_ppi_spendr(ppi.bank()));
        let open = cpu.unknown & pending & ppi.mask() != 0 && ppi.bank() == PpiBank::Architected;
        if open {
            set_ppi(&handle, ppi, Some(self.ppi_priorities.get(&ppi).copied().unwrap_or(Priority::LEAST_URGENT)));
            cpu.unknown &= !ppi.mask();
        }
        open
    }

    /// PPI candidates that nothing before them explains: software has written a PPI register.
    pub(super) fn lone_ppis(&mut self, on: Option<u16>) -> Result<(), Stop> {
        let Some(pe) = self.pe(on)? else { return Ok(()) };
        let mut candidate = Candidate::NONE;
        for n in 0..4 {
            match self.source.peek(n)? {
                Some(line @ Line { event: Event::PpiCandidate { domain, candidate: theirs }, .. }) => {
                    if domain == Domain::NonSecure {
                        if line.excess.is_none() {
                            candidate = theirs;
                        }
                        self.tally.untold(Untold::PpiRegister, line);
                    }
                }
                _ => break,
            }
        }
        // What was written is not known, so that it makes this candidate is all that can be asked. Most is as it was: believed
        // until something contradicts it.
        if let Some(cpu) = self.cpus.get_mut(pe) {
            cpu.unknown = u64::MAX;
            if let Some((IntId::Ppi(ppi), _)) = candidate.interrupt()
                && ppi.bank() == PpiBank::Architected
            {
                // The write may have been one of an active bit, or of the pending bit of an edge PPI.
                let handle = Pe::new(&cpu.pe);
                let pending = handle.read_raw(SysReg::icc_ppi_spendr(PpiBank::Architected));
                handle.write_raw(SysReg::icc_ppi_spendr(PpiBank::Architected), ppi.mask());
                if pending & ppi.mask() != 0 {
                    handle.write_raw(SysReg::icc_ppi_cactiver(PpiBank::Architected), ppi.mask());
                }
            }
        }
        self.expect_ppis(pe, None)
    }
}

/// The active priorities of a PE.
pub(super) fn active(pe: &Pe<'_, ModelPe>) -> ActivePriorities {
    APR::new_with_raw_value(pe.read_raw(SysReg::ICC_APR_EL1)).p()
}

/// Enables a PPI with a priority, or disables it.
fn set_ppi(pe: &Pe<'_, ModelPe>, ppi: Ppi, priority: Option<Priority>) {
    let enabler = SysReg::icc_ppi_enabler(ppi.bank());
    let enabled = pe.read_raw(enabler);
    match priority {
        None => pe.write_raw(enabler, enabled & !ppi.mask()),
        Some(priority) => {
            let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
            let priorities = PPI_PRIORITYR::new_with_raw_value(pe.read_raw(register)).with_priority(ppi, priority);
            pe.write_raw(register, priorities.raw_value());
            pe.write_raw(enabler, enabled | ppi.mask());
        }
    }
}
