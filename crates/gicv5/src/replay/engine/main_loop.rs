//! What QEMU's main loop does to PPIs: timers that expire. Its thread does not say whose wire it moves.
//!
//! Only changes are traced, so it is a PE whose wire is at the other level. The thread of a PE that has got the interrupt shows that
//! later: it acknowledges it, or lowers the wire itself when it sets its timer anew. The PE that shows it first is taken to be the
//! one, and is it for certain unless the main loop moves another such wire before. Otherwise this PE
//! and the others that it could be may have the wire at the other level, until the thread of each shows it: what is right then is no
//! divergence.

use gicv5_arch::{IntId, Ppi, Priority};
use gicv5_model::{Contenders, PeIndex};
use gicv5_trace::{Event, Line, Time};

use super::{Engine, Stop};
use crate::replay::tally::Untold;

/// How far ahead a thread is searched, in lines.
const AHEAD: usize = 4096;

/// What a thread says about a wire of its PE.
enum Sign {
    /// It shows at this time that the wire had moved.
    Moved(Time),
    /// The wire had not moved.
    Stayed,
    /// Nothing.
    None,
}

/// The lines of an operation: the best PPI of the Non-secure domain, and whether anything is signalled.
type Answers = (Option<(IntId, Priority)>, bool);

/// The best PPI that a PE shows, as a line says it.
pub(super) fn best_ppi(shown: Contenders) -> Option<(IntId, Priority)> {
    shown.ppi.map(|(ppi, priority)| (IntId::Ppi(ppi), priority))
}

/// The lines that say what a PE shows.
fn answers(shown: Contenders) -> Answers {
    (best_ppi(shown), shown.hppi.is_some())
}

impl Engine {
    /// The main loop has moved the wire of a PPI of some PE.
    pub(super) fn main_loop_wire(&mut self, ppi: Ppi, high: bool) -> Result<(), Stop> {
        self.moved |= ppi.mask();
        let mut possible = Vec::new();
        let mut first = Time::MAX;
        for pe in 0..self.cpus.len() {
            if self.wire(pe, ppi) == high || !self.source.threads.may_run(pe) {
                continue;
            }
            let time = match self.sign(pe, ppi, high, first)? {
                Sign::Stayed => continue,
                Sign::Moved(time) => time,
                Sign::None => Time::MAX,
            };
            first = first.min(time);
            possible.push((time, pe));
        }
        possible.sort_unstable();
        let Some((time, mut pe)) = possible.first().copied() else {
            // Then another one was taken for this PE before.
            self.skip_answers(Untold::Wire)?;
            (0..self.cpus.len()).for_each(|pe| self.doubt(pe, ppi));
            return Ok(());
        };
        let several = possible.len() > 1 && (time == Time::MAX || self.moves_another(ppi, time)?);
        let doubted = self.cpus.iter().any(|cpu| cpu.doubts.contains(&ppi));
        if several || doubted {
            let lines = self.answers()?;
            match self.first_that_fits(&possible, ppi, high, lines) {
                Some(other) => pe = other,
                // Another one was taken for this PE before.
                None if doubted && self.another_fits(ppi, high, lines) => self.unsure = (true, true),
                None => {}
            }
        }
        self.move_wire(pe, ppi, high);
        self.expect_ppis(pe, None)?;
        self.unsure = (false, false);
        if several {
            for (_, pe) in possible {
                self.doubt(pe, ppi);
            }
        }
        Ok(())
    }

    /// The first of several PEs that would answer as the lines say, which is good enough to go on with, or of which nothing is known.
    /// What they would not all answer is unsure.
    fn first_that_fits(&mut self, possible: &[(Time, usize)], ppi: Ppi, high: bool, lines: Answers) -> Option<usize> {
        let known = possible.iter().all(|(_, pe)| self.is_known(*pe, ppi));
        let (mut unsure, mut fits, mut one) = ((!known, !known), None, None);
        for (_, pe) in possible {
            if fits.is_some() && unsure == (true, true) {
                break;
            }
            let shown = self.with_wire(*pe, ppi, high);
            let one = one.get_or_insert(shown);
            unsure = (unsure.0 || shown.ppi != one.ppi, unsure.1 || shown.hppi != one.hppi);
            if fits.is_none() && (answers(shown) == lines || !self.is_known(*pe, ppi)) {
                fits = Some(*pe);
            }
        }
        self.unsure = unsure;
        fits
    }

    /// Whether some PE may answer as the lines say, if its wires are not at the levels that they are taken to be at.
    fn another_fits(&self, ppi: Ppi, high: bool, lines: Answers) -> bool {
        self.cpus.iter().enumerate().any(|(pe, cpu)| {
            let others = cpu.doubts.iter().any(|doubted| *doubted != ppi);
            others || !self.is_known(pe, ppi) || answers(self.with_wire(pe, ppi, high)) == lines
        })
    }

    /// The wire may be at the other level, until the thread of the PE shows it.
    fn doubt(&mut self, pe: usize, ppi: Ppi) {
        if let Some(cpu) = self.cpus.get_mut(pe)
            && !cpu.doubts.contains(&ppi)
        {
            cpu.doubts.push(ppi);
        }
    }

    /// What the thread of a PE says about a wire until some time.
    fn sign(&mut self, pe: usize, ppi: Ppi, high: bool, until: Time) -> Result<Sign, Stop> {
        let Some(file) = self.source.threads.file(pe) else { return Ok(Sign::None) };
        let intid_of_ppi = IntId::Ppi(ppi).raw();
        let taken = self.tally.lines.get(file).map_or(0, |lines| lines.read);
        let known = self.cpus.get(pe).map(|cpu| cpu.silent).filter(|(known, _)| *known == Some(ppi));
        let mut silent = known.map_or(taken, |(_, line)| line.max(taken));
        let (mut named, mut found) = (false, Sign::None);
        for n in (silent - taken) as usize..AHEAD {
            let Some(line) = self.source.recording.peek(file, n)? else { break };
            if line.time > until {
                break;
            }
            match line.event {
                Event::PpiWire { ppi: other, high: level } if other == ppi => {
                    found = if level == high { Sign::Stayed } else { Sign::Moved(line.time) };
                    break;
                }
                Event::Acknowledge { intid, .. } if intid == intid_of_ppi => {
                    named = true;
                    let next = self.source.recording.peek(file, n + 1)?;
                    if high && matches!(next.map(|line| line.event), Some(Event::PpiCandidate { .. })) {
                        found = Sign::Moved(line.time);
                        break;
                    }
                }
                _ => {}
            }
            if !named {
                silent += 1;
            }
        }
        if let Some(cpu) = self.cpus.get_mut(pe) {
            cpu.silent = (Some(ppi), silent);
        }
        Ok(found)
    }

    /// Whether the main loop moves another wire of this PPI before some time.
    fn moves_another(&mut self, ppi: Ppi, before: Time) -> Result<bool, Stop> {
        for n in 0..AHEAD {
            match self.source.peek(n)? {
                Some(Line { time, .. }) if time >= before => break,
                Some(Line { event: Event::PpiWire { ppi: other, .. }, .. }) if other == ppi => return Ok(true),
                Some(_) => {}
                None => break,
            }
        }
        Ok(false)
    }

    /// What the lines of this operation show: the best PPI of the Non-secure domain, and whether anything is signalled.
    fn answers(&mut self) -> Result<Answers, Stop> {
        let best = match self.source.peek(1)?.map(|line| line.event) {
            Some(Event::PpiCandidate { candidate, .. }) => candidate.interrupt(),
            _ => None,
        };
        let signals = self.source.peek(4)?.map(|line| line.event);
        Ok((best, matches!(signals, Some(Event::Signals { irq, nmi, .. }) if irq || nmi)))
    }

    /// Whether it is known of a PE what it makes of a PPI.
    fn is_known(&self, pe: usize, ppi: Ppi) -> bool {
        self.cpus.get(pe).is_some_and(|cpu| cpu.unknown & ppi.mask() == 0 && cpu.mask.is_settled())
    }

    /// The level of the wire of a PPI.
    fn wire(&self, pe: usize, ppi: Ppi) -> bool {
        self.cpus.get(pe).is_some_and(|cpu| cpu.wires & ppi.mask() != 0)
    }

    /// Moves the wire of a PPI of a PE.
    pub(super) fn move_wire(&mut self, pe: usize, ppi: Ppi, high: bool) {
        if let Some(cpu) = self.cpus.get_mut(pe) {
            cpu.wires = if high { cpu.wires | ppi.mask() } else { cpu.wires & !ppi.mask() };
        }
        self.machine.set_ppi_wire(PeIndex(pe as u16), ppi, high);
    }

    /// The thread of a PE shows the level of a wire. True if another one was taken for this PE before.
    pub(super) fn settle(&mut self, pe: usize, ppi: Ppi, high: bool) -> bool {
        let Some(cpu) = self.cpus.get_mut(pe) else { return false };
        cpu.doubts.retain(|doubted| *doubted != ppi);
        let wrong = self.cpus.len() > 1 && self.wire(pe, ppi) != high;
        if wrong {
            self.move_wire(pe, ppi, high);
            (0..self.cpus.len()).filter(|other| *other != pe).for_each(|other| self.doubt(other, ppi));
        }
        wrong
    }

    /// Whether a wire may be at the other level and it is not known what the PE would make of that.
    pub(super) fn is_doubtful(&self, pe: usize) -> bool {
        self.cpus.get(pe).is_some_and(|cpu| cpu.doubts.iter().any(|ppi| !self.is_known(pe, *ppi)))
    }

    /// If what a PE shows is right with a wire at the other level, about which there are doubts: that is its level.
    pub(super) fn blame_wire(&mut self, pe: usize, fits: impl Fn(Contenders) -> bool) -> bool {
        let doubts = self.cpus.get(pe).map_or(&[][..], |cpu| &cpu.doubts);
        let found = doubts.iter().copied().find(|ppi| fits(self.with_wire(pe, *ppi, !self.wire(pe, *ppi))));
        if let Some(ppi) = found {
            self.move_wire(pe, ppi, !self.wire(pe, ppi));
        }
        found.is_some()
    }

    /// What a PE would show with a wire at this level.
    fn with_wire(&self, pe: usize, ppi: Ppi, high: bool) -> Contenders {
        self.machine.if_ppi_wire(PeIndex(pe as u16), ppi, high)
    }
}
