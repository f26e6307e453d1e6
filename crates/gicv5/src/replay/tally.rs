//! What a replay found out, while it runs.

use std::collections::BTreeMap;

use gicv5_arch::IntId;
use gicv5_trace::{Event, Line};

use crate::listed::listed;

/// How many divergences are kept with their history; all are counted.
pub(super) const KEPT: usize = 20;

/// How many events of an interrupt a divergence shows.
const HISTORY: usize = 8;

/// How many lines are remembered for that; a power of two.
const REMEMBERED: usize = 1 << 15;

listed! {
    /// What was compared: its name, and the rule to look at.
    pub(super) Check: (&'static str, &'static str) {
        RegisterRead = ("register read", "GEN-9"),
        ReservedOffset = ("read of a reserved offset", "GEN-9"),
        IstShape = ("interrupt state table", "IST-28"),
        Configuration = ("interrupt configuration", "INS-13"),
        SpiState = ("SPI state", "SPI-4"),
        IrsCandidate = ("IRS candidate", "HPPI-1"),
        NoCandidate = ("no IRS candidate", "GEN-21"),
        PpiCandidate = ("PPI candidate", "HPPI-3"),
        Signals = ("interrupt signals", "PRI-8"),
        Acknowledge = ("acknowledge", "INS-1"),
        NothingToAcknowledge = ("nothing to acknowledge", "INS-1"),
        Activate = ("activation by the IRS", "INS-3"),
        Deactivate = ("deactivation by the IRS", "INS-5"),
        Order = ("order of lines", "HPPI-2"),
        Range = ("range of numbers", "GEN-1"),
    }
}

impl Check {
    pub(super) const fn name(self) -> &'static str {
        self.words().0
    }

    pub(super) const fn rule(self) -> &'static str {
        self.words().1
    }
}

listed! {
    /// A known defect of QEMU 11.1, which the rule book lists among the source hazards: its id, for `gicv5 explain`, and what it
    /// is.
    pub(super) Defect: (&'static str, &'static str) {
        SpiEnable = ("hazard-1", "disabling an SPI enables it, clearing its pending state sets it"),
        ReadOfCr0 = ("hazard-2", "candidates are re-evaluated when IRS_CR0 is read, not when it is written"),
        PpiMask = ("hazard-3", "PPIs 32 to 63 do not fit the mask for active and pending"),
        Devarch = ("hazard-4", "the architect field of IRS_DEVARCH is shifted"),
    }
}

impl Defect {
    pub(super) const fn id(self) -> &'static str {
        self.words().0
    }

    pub(super) const fn what(self) -> &'static str {
        self.words().1
    }
}

listed! {
    /// Why a line could not be compared.
    pub(super) Untold: &'static str {
        Identification = "peripheral identification, which each implementation has its own",
        CpuRegister = "follows a write of ICC_CR0_EL1 or ICC_PCR_EL1, which is not traced",
        PpiRegister = "follows a write of a PPI register, which is not traced",
        Thread = "depends on what a PE did, and the recording does not say which",
        Wire = "depends on a PPI of which the recording does not say in time whose wire it was",
        Skipped = "belongs to an operation on no PE",
    }
}

/// A line of a file.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) file: u16,
    pub(super) line: u64,
}

impl From<Line> for Place {
    fn from(line: Line) -> Place {
        Place { file: line.file, line: line.number }
    }
}

/// A count, and the line where it began.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Count {
    pub(super) count: u64,
    pub(super) first: Place,
}

impl Count {
    fn add(&mut self, line: Line) {
        if self.count == 0 {
            self.first = line.into();
        }
        self.count += 1;
    }
}

/// How many lines of a file were read, and of how many nothing can be said.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Lines {
    pub(super) read: u64,
    pub(super) untold: u64,
}

/// An answer that the model would not give.
#[derive(Clone, Debug)]
pub(super) struct Divergence {
    pub(super) line: Line,
    pub(super) check: Check,
    /// What the model says.
    pub(super) model: String,
    /// The interrupt it is about.
    pub(super) interrupt: Option<IntId>,
    /// What happened to that interrupt before, or what came before the line.
    pub(super) history: Vec<Line>,
    /// Other lines that may be the ones that are wrong.
    pub(super) suspects: Vec<Place>,
}

/// Counts, and the last lines.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) events: u64,
    /// By file.
    pub(super) lines: Vec<Lines>,
    checks: [u64; Check::ALL.len()],
    explained: [Count; Defect::ALL.len()],
    untold: [Count; Untold::ALL.len()],
    /// The lines of which nothing is said.
    #[cfg(test)]
    pub(super) untold_at: Vec<Place>,
    /// The lines that a defect explains.
    #[cfg(test)]
    pub(super) explained_at: Vec<Place>,
    pub(super) taken_over: u64,
    pub(super) ties: u64,
    pub(super) divergences: u64,
    /// The line of the last one.
    last_divergence: Place,
    pub(super) kept: Vec<Divergence>,
    pub(super) by_check: BTreeMap<Check, u64>,
    recent: Vec<Line>,
}

impl Tally {
    pub(super) fn new(files: usize) -> Tally {
        Tally {
            events: 0,
            lines: vec![Lines::default(); files],
            checks: [0; Check::ALL.len()],
            explained: [Count::default(); Defect::ALL.len()],
            untold: [Count::default(); Untold::ALL.len()],
            #[cfg(test)]
            untold_at: Vec::new(),
            #[cfg(test)]
            explained_at: Vec::new(),
            taken_over: 0,
            ties: 0,
            divergences: 0,
            last_divergence: Place::default(),
            kept: Vec::new(),
            by_check: BTreeMap::new(),
            recent: Vec::with_capacity(REMEMBERED),
        }
    }

    /// A line has been taken from the trace.
    pub(super) fn line(&mut self, line: &Line) {
        let place = (self.events % REMEMBERED as u64) as usize;
        match self.recent.get_mut(place) {
            Some(slot) => *slot = *line,
            None => self.recent.push(*line),
        }
        self.events += 1;
        if let Some(lines) = self.lines.get_mut(usize::from(line.file)) {
            lines.read += 1;
        }
    }

    pub(super) fn check(&mut self, check: Check) {
        if let Some(count) = self.checks.get_mut(check as usize) {
            *count += 1;
        }
    }

    pub(super) fn checked(&self, check: Check) -> u64 {
        self.checks.get(check as usize).copied().unwrap_or(0)
    }

    pub(super) fn checks(&self) -> u64 {
        self.checks.iter().sum()
    }

    pub(super) fn explain(&mut self, defect: Defect, line: Line) {
        #[cfg(test)]
        self.explained_at.push(line.into());
        if let Some(count) = self.explained.get_mut(defect as usize) {
            count.add(line);
        }
    }

    pub(super) fn explained(&self, defect: Defect) -> Count {
        self.explained.get(defect as usize).copied().unwrap_or_default()
    }

    pub(super) fn untold(&mut self, reason: Untold, line: Line) {
        #[cfg(test)]
        self.untold_at.push(line.into());
        if let Some(count) = self.untold.get_mut(reason as usize) {
            count.add(line);
        }
        if let Some(lines) = self.lines.get_mut(usize::from(line.file)) {
            lines.untold += 1;
        }
    }

    pub(super) fn not_told(&self, reason: Untold) -> Count {
        self.untold.get(reason as usize).copied().unwrap_or_default()
    }

    #[cold]
    pub(super) fn diverge(
        &mut self,
        line: Line,
        check: Check,
        interrupt: Option<IntId>,
        suspects: Vec<Place>,
        model: String,
    ) {
        // One line is wrong once, whatever else follows from it.
        if self.last_divergence == line.into() {
            return;
        }
        self.last_divergence = line.into();
        self.divergences += 1;
        *self.by_check.entry(check).or_default() += 1;
        if self.kept.len() < KEPT {
            let history = self.history(line, interrupt);
            self.kept.push(Divergence { line, check, model, interrupt, history, suspects });
        }
    }

    /// The last events of an interrupt before a line, oldest first; without an interrupt the lines just before.
    fn history(&self, before: Line, interrupt: Option<IntId>) -> Vec<Line> {
        let (newer, older) =
            self.recent.split_at((self.events % REMEMBERED as u64) as usize % (self.recent.len().max(1)));
        let newest_first = newer.iter().rev().chain(older.iter().rev());
        let found: Vec<Line> = newest_first
            .filter(|line| line.file != before.file || line.number < before.number)
            .filter(|line| interrupt.is_none_or(|id| names(&line.event) == Some(id)))
            .take(HISTORY)
            .copied()
            .collect();
        found.into_iter().rev().collect()
    }
}

/// The interrupt that an event is about.
pub(super) fn names(event: &Event) -> Option<IntId> {
    match event {
        Event::SetPriority { interrupt, .. }
        | Event::SetEnabled { interrupt, .. }
        | Event::SetPending { interrupt, .. }
        | Event::SetHandling { interrupt, .. }
        | Event::SetTarget { interrupt, .. }
        | Event::RequestConfig { interrupt, .. }
        | Event::Activate { interrupt }
        | Event::Deactivate { interrupt } => interrupt.irs_int_id().map(IntId::from),
        Event::SpiWire { spi, .. } | Event::SpiState { spi, .. } => Some(IntId::Spi(*spi)),
        Event::PpiWire { ppi, .. } => Some(IntId::Ppi(*ppi)),
        Event::IrsCandidate { candidate, .. } | Event::PpiCandidate { candidate, .. } => {
            candidate.interrupt().map(|(id, _)| id)
        }
        Event::Acknowledge { intid, .. } | Event::DeactivateRequest { intid, .. } => IntId::from_raw(*intid).ok(),
        _ => None,
    }
}
