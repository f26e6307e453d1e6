//! What the matrix found, for people and for machines.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use gicv5_hal::Coherency;
use gicv5_model::event::Event;
use serde_json::{Value, json};

use super::case::CaseId;
use super::geometry::{Found, Geometry, VmDescriptor};
use super::life::{Line, Scene, Verdict};
use crate::failure::Outcome;
use crate::listed::listed;
use crate::output::{Console, FAINT, HEADING, NAME, PROBLEM, REMARK, count, styled};

/// How many problems are kept, the first by name.
const KEPT: usize = 50;

listed! {
    /// What can be wrong with a case: its name, and what it counts.
    pub(super) ProblemKind: (&'static str, &'static str) {
        Leak = ("leaks", "blocks and LPIs that were not given back"),
        Violation = ("violations", "rules broken"),
        Panic = ("panics", "cases that ended in a panic"),
        NotReusable = ("not_reusable", "cases after which something did not work again"),
        Lost = ("lost", "cases in which the bystander lost something"),
        Unexpected = ("unexpected", "cases in which the library did not say what it should"),
    }
}

impl ProblemKind {
    const fn name(self) -> &'static str {
        self.words().0
    }
}

#[derive(Debug)]
struct Problem {
    case: CaseId,
    kind: ProblemKind,
    text: String,
}

/// What was found in some cases.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) cases: u64,
    quarantined: u64,
    counts: [u64; ProblemKind::ALL.len()],
    problems: Vec<Problem>,
    remarks: BTreeMap<&'static str, Remarks>,
}

/// What the model remarked on in view of a rule.
#[derive(Debug)]
struct Remarks {
    number: u64,
    /// The first case by name, and the first remark in it.
    example: (CaseId, String),
}

impl Tally {
    /// How many problems there are.
    pub(super) fn bad(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn count(&self, kind: ProblemKind) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }

    fn note(&mut self, case: &CaseId, kind: ProblemKind, text: String) {
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
            (ProblemKind::Leak, &verdict.leaks),
            (ProblemKind::Violation, &verdict.violations),
            (ProblemKind::NotReusable, &verdict.not_reusable),
            (ProblemKind::Lost, &verdict.lost),
        ];
        for (kind, texts) in all {
            for text in texts {
                self.note(case, kind, text.clone());
            }
        }
        for (rule, (number, text)) in &verdict.remarks {
            self.remark(rule, *number, (case.clone(), text.clone()));
        }
        for (at, fault) in &verdict.missed {
            self.note(case, ProblemKind::Unexpected, format!("the fault for point {at} ({fault}) did not strike"));
        }
    }

    /// Remarks are no problems. Which of them is shown must not depend on the order of the cases.
    fn remark(&mut self, rule: &'static str, number: u64, example: (CaseId, String)) {
        match self.remarks.entry(rule) {
            Entry::Vacant(place) => _ = place.insert(Remarks { number, example }),
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.number += number;
                if example < known.example {
                    known.example = example;
                }
            }
        }
    }

    /// What the table of expected outcomes says.
    pub(super) fn compare(&mut self, case: &CaseId, outcome: Result<(), String>) {
        if let Err(text) = outcome {
            self.note(case, ProblemKind::Unexpected, text);
        }
    }

    pub(super) fn panicked(&mut self, case: &CaseId, why: String) {
        self.cases += 1;
        self.note(case, ProblemKind::Panic, why);
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
        for (rule, Remarks { number, example }) in other.remarks {
            self.remark(rule, number, example);
        }
    }
}

/// A run of the matrix.
pub(super) struct Summary {
    geometries: usize,
    settings: usize,
    tally: Tally,
    time: Duration,
    interrupted: bool,
}

impl Summary {
    pub(super) fn new(
        geometries: usize,
        settings: usize,
        mut tally: Tally,
        time: Duration,
        interrupted: bool,
    ) -> Summary {
        tally.problems.sort_by(|a, b| (&a.case, a.kind, &a.text).cmp(&(&b.case, b.kind, &b.text)));
        tally.problems.truncate(KEPT);
        Summary { geometries, settings, tally, time, interrupted }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome::of(self.interrupted, self.tally.bad() == 0)
    }

    /// The JSON document.
    pub(super) fn document(&self) -> Value {
        let problem = |Problem { case, kind, text }: &Problem| json!({ "case": case.to_string(), "kind": kind.name(), "text": text });
        let remark = |(rule, Remarks { number, example: (case, text) }): (&&str, &Remarks)| json!({ "rule": rule, "count": number, "case": case.to_string(), "text": text });
        json!({
            "geometries": self.geometries,
            "settings": self.settings,
            "cases": self.tally.cases,
            "leaks": self.tally.count(ProblemKind::Leak),
            "violations": self.tally.count(ProblemKind::Violation),
            "panics": self.tally.count(ProblemKind::Panic),
            "not_reusable": self.tally.count(ProblemKind::NotReusable),
            "lost": self.tally.count(ProblemKind::Lost),
            "unexpected": self.tally.count(ProblemKind::Unexpected),
            "quarantined": self.tally.quarantined,
            "problem_list": self.tally.problems.iter().map(problem).collect::<Vec<_>>(),
            "remarks": self.tally.remarks.values().map(|remarks| remarks.number).sum::<u64>(),
            "remark_list": self.tally.remarks.iter().map(remark).collect::<Vec<_>>(),
            "nanoseconds": u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX),
            "interrupted": self.interrupted,
        })
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
        let settings = match self.settings {
            1 => String::new(),
            settings => format!(" under {}", count(settings as u64, "setting")),
        };
        writeln!(out, "{} in {geometries}{settings}", styled(HEADING, count(self.tally.cases, "case")))?;
        for kind in ProblemKind::ALL {
            let number = self.tally.count(kind);
            let style = if number > 0 { PROBLEM } else { NAME };
            writeln!(
                out,
                "  {} {}  {}",
                styled(style, format!("{:<13}", kind.name().replace('_', " "))),
                styled(style, format!("{number:>8}")),
                styled(FAINT, kind.words().1)
            )?;
        }
        let meaning = "cases in which something was held for the hardware's sake, and came back";
        let (name, number) = (format!("{:<13}", "quarantined"), format!("{:>8}", self.tally.quarantined));
        writeln!(out, "  {} {}  {}", styled(NAME, name), styled(NAME, number), styled(FAINT, meaning))?;
        for (rule, Remarks { number, example: (case, text) }) in &self.tally.remarks {
            let name = format!("{:<13}", format!("remarks {rule}"));
            writeln!(out, "  {} {}", styled(REMARK, name), styled(REMARK, format!("{number:>8}")))?;
            out.paragraph(4, 6, &[(NAME, &case.to_string()), (FAINT, text)])?;
        }
        if self.interrupted {
            writeln!(out, "  {}", styled(PROBLEM, "interrupted: not all cases have been run"))?;
        }
        writeln!(out, "  {}", styled(FAINT, format!("in {:.1} s", self.time.as_secs_f64())))
    }
}

/// The JSON document of `--list`.
pub(super) fn list(geometries: &[Geometry]) -> Value {
    let report = |geometry: &Geometry| {
        json!({
            "name": geometry.to_string(),
            "vm_table": geometry.table.words(),
            "vm_descriptor_bytes": match geometry.vm_descriptor {
                VmDescriptor::None => None,
                VmDescriptor::Size(size) => Some(1_u64 << size),
            },
            "vpe_descriptor_bytes": 1_u64 << geometry.vpe_descriptor,
            "coherent": geometry.coherency == Coherency::Coherent,
            "takes_over": geometry.found == Found::LiveTable,
            "vpes": geometry.vpes().into_iter().map(|vpe| vpe.raw_value()).collect::<Vec<_>>(),
            "spis": geometry.spis,
            "lpis": geometry.lpis,
        })
    };
    json!({ "count": geometries.len(), "geometry_list": geometries.iter().map(report).collect::<Vec<_>>() })
}

/// All that happened in a case: under each thing that was tried the time in ticks, who, and what; then the fault points.
pub(super) fn tell(verdict: &Verdict, out: &mut Console<'_>) -> io::Result<()> {
    let mut lines = verdict.story.iter().peekable();
    while let Some(line) = lines.next() {
        match line {
            Line::Scene(Scene::Test(step)) => writeln!(out, "{}", styled(HEADING, step))?,
            Line::Scene(Scene::Bystander) => writeln!(out, "{}", styled(HEADING, "the bystander"))?,
            Line::Scene(Scene::Proof) => writeln!(out, "{}", styled(HEADING, "the same and another VM once more"))?,
            Line::Complaint(text) => out.paragraph(10, 12, &[(PROBLEM, text)])?,
            Line::Recovery => writeln!(out, "{:10}{}", "", styled(REMARK, "the hardware recovers"))?,
            Line::Event(tick, event) => {
                // Whoever polls a register that does not change does it once.
                let mut again = 0_u64;
                while lines.next_if(|next| matches!(next, Line::Event(_, next) if polls(event, next))).is_some() {
                    again += 1;
                }
                let again = if again > 0 { format!("and {}", count(again, "more time")) } else { String::new() };
                let style = match event {
                    Event::Fault { .. } | Event::Violation(_) => PROBLEM,
                    Event::Remark(_) => REMARK,
                    _ => Style::new(),
                };
                let time = format!("{:>8}", tick.0);
                out.paragraph(
                    0,
                    12,
                    &[(FAINT, &time), (Style::new(), ""), (style, &event.to_string()), (FAINT, &again)],
                )?;
            }
        }
    }
    writeln!(out)?;
    for (step, point) in verdict.points.iter().flatten() {
        writeln!(out, "{}  {}", styled(NAME, point), styled(FAINT, step))?;
    }
    writeln!(out)
}

/// Whether the second event is the same read of the same register as the first, with the same answer.
fn polls(event: &Event, next: &Event) -> bool {
    matches!(event, Event::FrameRead { .. } | Event::SysRegRead { .. }) && event == next
}
