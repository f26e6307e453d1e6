//! What the matrix found, for people and for machines.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::case::CaseId;
use super::life::Verdict;
use crate::failure::Outcome;
use crate::output::{Console, FAINT, HEADING, NAME, PROBLEM, count, styled};

/// How many problems are kept, the first by name.
const KEPT: usize = 50;

/// What can be wrong with a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Leak,
    Violation,
    Panic,
    NotReusable,
    Lost,
    Unexpected,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Leak, Kind::Violation, Kind::Panic, Kind::NotReusable, Kind::Lost, Kind::Unexpected];

    const fn name(self) -> &'static str {
        match self {
            Kind::Leak => "leaks",
            Kind::Violation => "violations",
            Kind::Panic => "panics",
            Kind::NotReusable => "not_reusable",
            Kind::Lost => "lost",
            Kind::Unexpected => "unexpected",
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Kind::Leak => "blocks and LPIs that were not given back",
            Kind::Violation => "rules broken",
            Kind::Panic => "cases that ended in a panic",
            Kind::NotReusable => "cases after which something did not work again",
            Kind::Lost => "cases in which the bystander lost something",
            Kind::Unexpected => "cases in which the library did not say what it should",
        }
    }
}

#[derive(Debug)]
struct Problem {
    case: CaseId,
    kind: Kind,
    text: String,
}

/// What was found in some cases.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) cases: u64,
    quarantined: u64,
    counts: [u64; Kind::ALL.len()],
    problems: Vec<Problem>,
}

impl Tally {
    /// How many problems there are.
    pub(super) fn bad(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn count(&self, kind: Kind) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }

    fn note(&mut self, case: &CaseId, kind: Kind, text: String) {
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count += 1;
        }
        self.problems.push(Problem { case: case.clone(), kind, text });
        self.limit();
    }

    /// Threads find problems in any order; which are kept must not depend on it.
    fn limit(&mut self) {
        if self.problems.len() > 2 * KEPT {
            self.problems.sort_by(|a, b| (&a.case, a.kind, &a.text).cmp(&(&b.case, b.kind, &b.text)));
            self.problems.truncate(KEPT);
        }
    }

    /// What every case is held to.
    pub(super) fn judge(&mut self, case: &CaseId, verdict: &Verdict) {
        self.cases += 1;
        self.quarantined += u64::from(verdict.quarantined);
        let all = [
            (Kind::Leak, &verdict.leaks),
            (Kind::Violation, &verdict.violations),
            (Kind::NotReusable, &verdict.not_reusable),
            (Kind::Lost, &verdict.lost),
        ];
        for (kind, texts) in all {
            for text in texts {
                self.note(case, kind, text.clone());
            }
        }
        for (at, fault) in &verdict.missed {
            self.note(case, Kind::Unexpected, format!("the fault for point {at} ({fault}) did not strike"));
        }
    }

    /// What the table of expected outcomes says.
    pub(super) fn compare(&mut self, case: &CaseId, outcome: Result<(), String>) {
        if let Err(text) = outcome {
            self.note(case, Kind::Unexpected, text);
        }
    }

    pub(super) fn panicked(&mut self, case: &CaseId, why: String) {
        self.cases += 1;
        self.note(case, Kind::Panic, why);
    }

    /// Takes over what was found in other cases.
    pub(super) fn add(&mut self, other: Tally) {
        self.cases += other.cases;
        self.quarantined += other.quarantined;
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.problems.extend(other.problems);
        self.limit();
    }
}

/// A run of the matrix.
pub(super) struct Summary {
    geometries: usize,
    tally: Tally,
    time: Duration,
    interrupted: bool,
}

/// The JSON document.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    geometries: usize,
    cases: u64,
    leaks: u64,
    violations: u64,
    panics: u64,
    not_reusable: u64,
    lost: u64,
    unexpected: u64,
    quarantined: u64,
    problem_list: Vec<ProblemReport<'a>>,
    nanoseconds: u64,
    interrupted: bool,
}

#[derive(Serialize)]
struct ProblemReport<'a> {
    case: String,
    kind: &'static str,
    text: &'a str,
}

impl Summary {
    pub(super) fn new(geometries: usize, mut tally: Tally, time: Duration, interrupted: bool) -> Summary {
        tally.problems.sort_by(|a, b| (&a.case, a.kind, &a.text).cmp(&(&b.case, b.kind, &b.text)));
        tally.problems.truncate(KEPT);
        Summary { geometries, tally, time, interrupted }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match (self.interrupted, self.tally.bad()) {
            (true, _) => Outcome::Interrupted,
            (false, 0) => Outcome::Held,
            (false, _) => Outcome::NotHeld,
        }
    }

    pub(super) fn document(&self) -> Document<'_> {
        let problems = self.tally.problems.iter();
        Document {
            geometries: self.geometries,
            cases: self.tally.cases,
            leaks: self.tally.count(Kind::Leak),
            violations: self.tally.count(Kind::Violation),
            panics: self.tally.count(Kind::Panic),
            not_reusable: self.tally.count(Kind::NotReusable),
            lost: self.tally.count(Kind::Lost),
            unexpected: self.tally.count(Kind::Unexpected),
            quarantined: self.tally.quarantined,
            problem_list: problems
                .map(|problem| ProblemReport {
                    case: problem.case.to_string(),
                    kind: problem.kind.name(),
                    text: &problem.text,
                })
                .collect(),
            nanoseconds: u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX),
            interrupted: self.interrupted,
        }
    }

    pub(super) fn print(&self, out: &mut Console<'_>) -> io::Result<()> {
        for Problem { case, kind, text } in &self.tally.problems {
            out.paragraph(0, 4, &[(PROBLEM, kind.name()), (NAME, &case.to_string()), (FAINT, text)])?;
        }
        let more = self.tally.bad().saturating_sub(self.tally.problems.len() as u64);
        if more > 0 {
            writeln!(out, "{}", styled(FAINT, format!("and {} more", count(more, "problem"))))?;
        }
        if let Some(problem) = self.tally.problems.first() {
            writeln!(out, "{}\n", styled(FAINT, format!("gicv5 faults --case {} tells its story", problem.case)))?;
        }
        let geometries = count(self.geometries as u64, "geometry");
        writeln!(out, "{} in {geometries}", styled(HEADING, count(self.tally.cases, "case")))?;
        for kind in Kind::ALL {
            let number = self.tally.count(kind);
            let style = if number > 0 { PROBLEM } else { NAME };
            writeln!(
                out,
                "  {} {}  {}",
                styled(style, format!("{:<13}", kind.name().replace('_', " "))),
                styled(style, format!("{number:>8}")),
                styled(FAINT, kind.meaning())
            )?;
        }
        let meaning = "cases in which something was held for the hardware's sake, and came back";
        let (name, number) = (format!("{:<13}", "quarantined"), format!("{:>8}", self.tally.quarantined));
        writeln!(out, "  {} {}  {}", styled(NAME, name), styled(NAME, number), styled(FAINT, meaning))?;
        if self.interrupted {
            writeln!(out, "  {}", styled(PROBLEM, "interrupted: not all cases have been run"))?;
        }
        writeln!(out, "  {}", styled(FAINT, format!("in {:.1} s", self.time.as_secs_f64())))
    }
}

/// All that happened in a case.
pub(super) fn tell(verdict: &Verdict, out: &mut Console<'_>) -> io::Result<()> {
    for (tick, event) in &verdict.story {
        writeln!(out, "{} {event:?}", styled(FAINT, format!("{:>8}", tick.0)))?;
    }
    writeln!(out)?;
    for (step, point) in verdict.points.iter().flatten() {
        writeln!(out, "{}  {}", styled(NAME, point), styled(FAINT, step))?;
    }
    writeln!(out)?;
    for (step, complaint) in &verdict.complaints {
        out.paragraph(0, 4, &[(HEADING, &format!("could not {step}:")), (PROBLEM, &complaint.text)])?;
    }
    Ok(())
}
