//! What a replay found, for people and for machines.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use serde::Serialize;

use super::engine::Engine;
use super::tally::{Check, Defect, Divergence, Tally, Untold};
use crate::failure::Outcome;
use crate::output::{Console, FAINT, HEADING, NAME, PROBLEM, count, styled};

/// A replay that has come to its end, or was interrupted.
pub(super) struct Summary {
    trace: String,
    pes: usize,
    worlds: usize,
    tally: Tally,
    time: Duration,
    interrupted: bool,
}

/// The JSON document.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    trace: &'a str,
    pes: usize,
    events: u64,
    checks: u64,
    check_list: Vec<CheckReport>,
    divergences: u64,
    divergence_list: Vec<DivergenceReport>,
    explained: u64,
    explained_list: Vec<DefectReport>,
    not_comparable: u64,
    not_comparable_list: Vec<UntoldReport>,
    ties: u64,
    taken_over: u64,
    most_worlds: usize,
    nanoseconds: u64,
    lines_per_second: u64,
    interrupted: bool,
}

#[derive(Serialize)]
struct CheckReport {
    check: &'static str,
    rule: &'static str,
    count: u64,
    divergences: u64,
}

#[derive(Serialize)]
struct DivergenceReport {
    line: u64,
    event: String,
    check: &'static str,
    rule: &'static str,
    model: String,
    interrupt: Option<String>,
    history_list: Vec<LineReport>,
    suspect_list: Vec<u64>,
}

#[derive(Serialize)]
struct LineReport {
    line: u64,
    event: String,
}

#[derive(Serialize)]
struct DefectReport {
    defect: &'static str,
    text: &'static str,
    count: u64,
    first_line: u64,
}

#[derive(Serialize)]
struct UntoldReport {
    reason: &'static str,
    count: u64,
    first_line: u64,
}

impl Summary {
    pub(super) fn new(trace: &str, engine: Engine, time: Duration, interrupted: bool) -> Summary {
        let (pes, worlds) = (engine.pes(), engine.most_worlds());
        Summary { trace: trace.to_owned(), pes, worlds, tally: engine.tally, time, interrupted }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match (self.interrupted, self.tally.divergences) {
            (true, _) => Outcome::Interrupted,
            (false, 0) => Outcome::Held,
            (false, _) => Outcome::NotHeld,
        }
    }

    #[cfg(test)]
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    fn lines_per_second(&self) -> u64 {
        (self.tally.events as f64 / self.time.as_secs_f64().max(1e-9)) as u64
    }

    fn explained(&self) -> Vec<DefectReport> {
        Defect::ALL
            .into_iter()
            .map(|defect| (defect, self.tally.explained(defect)))
            .filter(|(_, seen)| seen.count > 0)
            .map(|(defect, seen)| DefectReport {
                defect: defect.id(),
                text: defect.what(),
                count: seen.count,
                first_line: seen.first,
            })
            .collect()
    }

    fn not_comparable(&self) -> Vec<UntoldReport> {
        Untold::ALL
            .into_iter()
            .map(|reason| (reason, self.tally.not_told(reason)))
            .filter(|(_, seen)| seen.count > 0)
            .map(|(reason, seen)| UntoldReport { reason: reason.reason(), count: seen.count, first_line: seen.first })
            .collect()
    }

    fn checks(&self) -> Vec<CheckReport> {
        Check::ALL
            .into_iter()
            .map(|check| CheckReport {
                check: check.name(),
                rule: check.rule(),
                count: self.tally.checked(check),
                divergences: self.tally.by_check.get(&check).copied().unwrap_or(0),
            })
            .filter(|report| report.count > 0)
            .collect()
    }

    pub(super) fn document(&self) -> Document<'_> {
        let (explained_list, not_comparable_list) = (self.explained(), self.not_comparable());
        Document {
            trace: &self.trace,
            pes: self.pes,
            events: self.tally.events,
            checks: self.tally.checks(),
            check_list: self.checks(),
            divergences: self.tally.divergences,
            divergence_list: self.tally.kept.iter().map(divergence).collect(),
            explained: explained_list.iter().map(|seen| seen.count).sum(),
            explained_list,
            not_comparable: not_comparable_list.iter().map(|seen| seen.count).sum(),
            not_comparable_list,
            ties: self.tally.ties,
            taken_over: self.tally.taken_over,
            most_worlds: self.worlds,
            nanoseconds: u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX),
            lines_per_second: self.lines_per_second(),
            interrupted: self.interrupted,
        }
    }

    pub(super) fn print(&self, out: &mut Console<'_>) -> io::Result<()> {
        for found in &self.tally.kept {
            print_divergence(found, out)?;
        }
        let more = self.tally.divergences - self.tally.kept.len() as u64;
        if more > 0 {
            writeln!(out, "{}\n", styled(FAINT, format!("and {} more", count(more, "divergence"))))?;
        }
        let pes = count(self.pes as u64, "PE");
        writeln!(out, "{}  {}", styled(HEADING, &self.trace), styled(FAINT, pes))?;
        let mut line = |name: &str, number: u64, style: Style, text: &str| {
            let text = if text.is_empty() { String::new() } else { format!("  {}", styled(FAINT, text)) };
            writeln!(out, "  {} {}{text}", styled(style, format!("{name:<16}")), styled(style, format!("{number:>9}")))
        };
        line("events", self.tally.events, NAME, "")?;
        line("checks", self.tally.checks(), NAME, "")?;
        for report in self.checks() {
            line("", report.count, Style::new(), report.check)?;
        }
        let style = if self.tally.divergences > 0 { PROBLEM } else { NAME };
        line("divergences", self.tally.divergences, style, "")?;
        for report in self.checks() {
            if report.divergences > 0 {
                line("", report.divergences, Style::new(), report.check)?;
            }
        }
        let explained = self.explained();
        line("explained", explained.iter().map(|seen| seen.count).sum(), NAME, "")?;
        for seen in explained {
            line("", seen.count, Style::new(), &format!("{}: {}", seen.defect, seen.text))?;
        }
        let untold = self.not_comparable();
        line("not comparable", untold.iter().map(|seen| seen.count).sum(), NAME, "")?;
        for seen in untold {
            line("", seen.count, Style::new(), seen.reason)?;
        }
        line("ties", self.tally.ties, NAME, "another of several equals was chosen (HPPI-4)")?;
        line("taken over", self.tally.taken_over, NAME, "states of interrupts that the model took from the trace")?;
        if self.interrupted {
            writeln!(out, "  {}", styled(PROBLEM, "interrupted: the trace has not been read to its end"))?;
        }
        let rate = self.lines_per_second();
        let seconds = self.time.as_secs_f64();
        writeln!(out, "  {}", styled(FAINT, format!("in {seconds:.3} s, {rate} lines/s")))
    }
}

fn divergence(found: &Divergence) -> DivergenceReport {
    let lines = found.history.iter();
    DivergenceReport {
        line: found.line.number,
        event: found.line.event.to_string(),
        check: found.check.name(),
        rule: found.check.rule(),
        model: found.model.clone(),
        interrupt: found.interrupt.map(|id| id.to_string()),
        history_list: lines.map(|line| LineReport { line: line.number, event: line.event.to_string() }).collect(),
        suspect_list: found.suspects.clone(),
    }
}

fn print_divergence(found: &Divergence, out: &mut Console<'_>) -> io::Result<()> {
    let (check, rule) = (found.check.name(), found.check.rule());
    let number = found.line.number;
    writeln!(out, "{}  {}", styled(PROBLEM, format!("line {number}: divergence")), styled(FAINT, check))?;
    out.paragraph(2, 10, &[(FAINT, "trace  "), (Style::new(), &found.line.event.to_string())])?;
    out.paragraph(2, 10, &[(FAINT, "model  "), (Style::new(), &found.model)])?;
    for line in &found.suspects {
        let text =
            format!("line {line} may be the wrong one: what software had written, or which PE it was, follows from it");
        out.paragraph(2, 10, &[(FAINT, "or     "), (Style::new(), &text)])?;
    }
    let about = match found.interrupt {
        Some(id) => format!("what happened to {id}:"),
        None => "the lines before:".to_owned(),
    };
    if !found.history.is_empty() {
        out.paragraph(2, 10, &[(FAINT, "before "), (Style::new(), &about)])?;
    }
    for line in &found.history {
        writeln!(out, "    {} {}", styled(FAINT, format!("{:>8}", line.number)), line.event)?;
    }
    out.paragraph(2, 10, &[(FAINT, "see    "), (NAME, &format!("gicv5 explain {rule}"))])?;
    writeln!(out)
}
