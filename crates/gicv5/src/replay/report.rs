//! What a replay found, for people and for machines.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use gicv5_trace::Line;
use serde::Serialize;
use serde_json::{Value, json};

use super::engine::Engine;
use super::tally::{Check, Count, Defect, Divergence, Lines, Place, Tally, Untold};
use super::threads::Owner;
use crate::failure::Outcome;
use crate::output::{Console, FAINT, HEADING, NAME, PROBLEM, count, styled};

/// A replay that has come to its end, or was interrupted.
pub(super) struct Summary {
    trace: String,
    pes: usize,
    files: Vec<(String, Owner)>,
    tally: Tally,
    time: Duration,
    interrupted: bool,
}

#[derive(Serialize)]
struct FileReport {
    file: String,
    main_loop: bool,
    pe: Option<u16>,
    because: Option<&'static str>,
    lines: u64,
    not_comparable: u64,
}

#[derive(Serialize)]
struct CheckReport {
    check: &'static str,
    rule: &'static str,
    count: u64,
    divergences: u64,
}

#[derive(Serialize)]
struct DefectReport {
    defect: &'static str,
    text: &'static str,
    #[serde(flatten)]
    seen: SeenReport,
}

#[derive(Serialize)]
struct UntoldReport {
    reason: &'static str,
    #[serde(flatten)]
    seen: SeenReport,
}

#[derive(Serialize)]
struct SeenReport {
    count: u64,
    first_file: String,
    first_line: u64,
}

impl Summary {
    pub(super) fn new(trace: &str, engine: Engine, time: Duration, interrupted: bool) -> Summary {
        let source = engine.source();
        let names = source.recording.names().map(str::to_owned);
        let files = names.zip(source.threads.owners().iter().copied()).collect();
        Summary { trace: trace.to_owned(), pes: engine.pes(), files, tally: engine.tally, time, interrupted }
    }

    /// The name of a file.
    fn file(&self, file: u16) -> String {
        self.files.get(usize::from(file)).map_or(String::new(), |(name, _)| name.clone())
    }

    /// A line in words: with its file where there are several.
    fn place(&self, place: Place) -> String {
        match self.files.as_slice() {
            [_] => format!("line {}", place.line),
            _ => format!("{} line {}", self.file(place.file), place.line),
        }
    }

    fn files(&self) -> Vec<FileReport> {
        let lines = self.tally.lines.iter();
        let report = |((file, owner), lines): (&(String, Owner), &Lines)| FileReport {
            file: file.clone(),
            main_loop: *owner == Owner::MainLoop,
            pe: owner.pe().map(|(pe, _)| pe),
            because: owner.pe().map(|(_, because)| because),
            lines: lines.read,
            not_comparable: lines.untold,
        };
        self.files.iter().zip(lines).map(report).collect()
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

    #[cfg(test)]
    pub(super) fn owners(&self) -> impl Iterator<Item = Owner> {
        self.files.iter().map(|(_, owner)| *owner)
    }

    fn lines_per_second(&self) -> u64 {
        (self.tally.events as f64 / self.time.as_secs_f64().max(1e-9)) as u64
    }

    fn explained(&self) -> Vec<DefectReport> {
        let report = |defect: Defect| DefectReport {
            defect: defect.id(),
            text: defect.what(),
            seen: self.seen(self.tally.explained(defect)),
        };
        Defect::ALL.map(report).into_iter().filter(|report| report.seen.count > 0).collect()
    }

    fn not_comparable(&self) -> Vec<UntoldReport> {
        let report =
            |reason: Untold| UntoldReport { reason: reason.words(), seen: self.seen(self.tally.not_told(reason)) };
        Untold::ALL.map(report).into_iter().filter(|report| report.seen.count > 0).collect()
    }

    fn seen(&self, seen: Count) -> SeenReport {
        SeenReport { count: seen.count, first_file: self.file(seen.first.file), first_line: seen.first.line }
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

    /// The JSON document.
    pub(super) fn document(&self) -> Value {
        let (explained, untold) = (self.explained(), self.not_comparable());
        json!({
            "trace": self.trace,
            "pes": self.pes,
            "events": self.tally.events,
            "checks": self.tally.checks(),
            "check_list": self.checks(),
            "divergences": self.tally.divergences,
            "divergence_list": self.tally.kept.iter().map(|found| self.divergence(found)).collect::<Vec<_>>(),
            "explained": explained.iter().map(|report| report.seen.count).sum::<u64>(),
            "explained_list": explained,
            "not_comparable": untold.iter().map(|report| report.seen.count).sum::<u64>(),
            "not_comparable_list": untold,
            "ties": self.tally.ties,
            "taken_over": self.tally.taken_over,
            "file_list": self.files(),
            "nanoseconds": u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX),
            "lines_per_second": self.lines_per_second(),
            "interrupted": self.interrupted,
        })
    }

    pub(super) fn print(&self, out: &mut Console<'_>) -> io::Result<()> {
        for found in &self.tally.kept {
            self.print_divergence(found, out)?;
        }
        let more = self.tally.divergences - self.tally.kept.len() as u64;
        if more > 0 {
            writeln!(out, "{}\n", styled(FAINT, format!("and {} more", count(more, "divergence"))))?;
        }
        let pes = count(self.pes as u64, "PE");
        writeln!(out, "{}  {}", styled(HEADING, &self.trace), styled(FAINT, pes))?;
        if self.files.len() > 1 {
            for ((_, owner), report) in self.files.iter().zip(self.files()) {
                let compared = 100.0 * (report.lines - report.not_comparable) as f64 / report.lines.max(1) as f64;
                let because = report.because.map_or(String::new(), |because| format!(": {because}"));
                writeln!(out, "  {}  {owner}{because}", styled(NAME, &report.file))?;
                writeln!(out, "    {}", styled(FAINT, format!("{} lines, {compared:.1} % comparable", report.lines)))?;
            }
        }
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
        line("explained", explained.iter().map(|report| report.seen.count).sum(), NAME, "")?;
        for report in explained {
            line("", report.seen.count, Style::new(), &format!("{}: {}", report.defect, report.text))?;
        }
        let untold = self.not_comparable();
        line("not comparable", untold.iter().map(|report| report.seen.count).sum(), NAME, "")?;
        for report in untold {
            line("", report.seen.count, Style::new(), report.reason)?;
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

    fn divergence(&self, found: &Divergence) -> Value {
        let line =
            |line: &Line| json!({ "file": self.file(line.file), "line": line.number, "event": line.event.to_string() });
        json!({
            "file": self.file(found.line.file),
            "line": found.line.number,
            "event": found.line.event.to_string(),
            "check": found.check.name(),
            "rule": found.check.rule(),
            "model": found.model,
            "interrupt": found.interrupt.map(|id| id.to_string()),
            "history_list": found.history.iter().map(line).collect::<Vec<_>>(),
            "suspect_list": found.suspects.iter().map(|place| self.place(*place)).collect::<Vec<_>>(),
        })
    }

    fn print_divergence(&self, found: &Divergence, out: &mut Console<'_>) -> io::Result<()> {
        let (check, rule) = (found.check.name(), found.check.rule());
        let place = self.place(found.line.into());
        writeln!(out, "{}  {}", styled(PROBLEM, format!("{place}: divergence")), styled(FAINT, check))?;
        out.paragraph(2, 10, &[(FAINT, "trace  "), (Style::new(), &found.line.event.to_string())])?;
        out.paragraph(2, 10, &[(FAINT, "model  "), (Style::new(), &found.model)])?;
        for suspect in &found.suspects {
            let place = self.place(*suspect);
            let text = format!("{place} may be the wrong one: what software had written follows from it");
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
            let owner = match self.files.get(usize::from(line.file)) {
                Some((_, owner)) if self.files.len() > 1 => format!("{:<9} ", owner.to_string()),
                _ => String::new(),
            };
            writeln!(out, "    {owner}{} {}", styled(FAINT, format!("{:>8}", line.number)), line.event)?;
        }
        out.paragraph(2, 10, &[(FAINT, "see    "), (NAME, &format!("gicv5 explain {rule}"))])?;
        writeln!(out)
    }
}
