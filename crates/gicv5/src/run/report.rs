//! What came out of a run, for people and for machines.

use std::io::{self, Write};

use anstyle::Style;
use serde::Serialize;

use super::engine::{Ending, Failed};
use super::scenario::{About, Claim, Counter, Ns, Quantile, Relation, Scenario};
use super::story::time;
use super::tally::{Tally, VmTally};
use crate::failure::Outcome;
use crate::output::{Console, FAINT, HEADING, NAME, PROBLEM, count, styled};

/// More VMs than this are summed up.
const EACH: usize = 16;

/// An expectation, and whether it held.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) name: String,
    pub(super) held: bool,
    /// What there was instead.
    pub(super) found: String,
}

/// The JSON document.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    scenario: &'a str,
    title: &'a str,
    seed: u64,
    simulated_ns: Ns,
    events: u64,
    #[serde(flatten)]
    counts: Counts,
    created: u64,
    destroyed: u64,
    leaks: u64,
    leak_list: Vec<String>,
    quarantined: u64,
    violations: u64,
    violation_list: Vec<String>,
    remarks: u64,
    remark_list: Vec<String>,
    findings: u64,
    finding_list: Vec<String>,
    undelivered: u64,
    discarded: u64,
    errors: u64,
    error_list: &'a [Failed],
    vms: u64,
    vm_list: Vec<VmReport<'a>>,
    expectations: &'a [Verdict],
    interrupted: bool,
}

#[derive(Serialize)]
struct VmReport<'a> {
    name: &'a str,
    #[serde(flatten)]
    counts: Counts,
    #[serde(flatten)]
    delays: Delays,
}

/// What is counted of some VMs together.
#[derive(Default, Serialize)]
struct Counts {
    injected: u64,
    delivered: u64,
    merged: u64,
    spurious: u64,
    doorbells: u64,
    switches: u64,
    commands: u64,
    table_bytes: u64,
}

impl Counts {
    fn of(vms: &[VmTally]) -> Counts {
        let mut counts = Counts::default();
        for vm in vms {
            counts.injected += vm.injected;
            counts.delivered += vm.delivered;
            counts.merged += vm.merged();
            counts.spurious += vm.spurious;
            counts.doorbells += vm.doorbells;
            counts.switches += vm.switches;
            counts.commands += vm.commands;
            counts.table_bytes += vm.table_bytes;
        }
        counts
    }
}

/// How long what is about something took.
#[derive(Serialize)]
struct Delays {
    wake_up_p50_ns: Option<Ns>,
    wake_up_p99_ns: Option<Ns>,
    wake_up_max_ns: Option<Ns>,
    latency_p50_ns: Option<Ns>,
    latency_p99_ns: Option<Ns>,
    latency_max_ns: Option<Ns>,
}

impl Delays {
    fn of(tally: &Tally, about: &About) -> Delays {
        let wake_up = |quantile| tally.wake_up(about, quantile);
        let latency = |quantile| tally.latency(about, quantile);
        Delays {
            wake_up_p50_ns: wake_up(Quantile::Half),
            wake_up_p99_ns: wake_up(Quantile::NinetyNine),
            wake_up_max_ns: wake_up(Quantile::Max),
            latency_p50_ns: latency(Quantile::Half),
            latency_p99_ns: latency(Quantile::NinetyNine),
            latency_max_ns: latency(Quantile::Max),
        }
    }
}

/// A run that has come to its end, or was interrupted.
pub(super) struct Summary<'a> {
    path: &'a str,
    scenario: &'a Scenario,
    ending: Ending,
    verdicts: Vec<Verdict>,
    commands: u64,
}

impl<'a> Summary<'a> {
    pub(super) fn new(path: &'a str, scenario: &'a Scenario, ending: Ending, commands: u64) -> Summary<'a> {
        let mut summary = Summary { path, scenario, ending, verdicts: Vec::new(), commands };
        summary.verdicts = summary.judge();
        summary
    }

    fn leaks(&self) -> u64 {
        (self.ending.leaks.len() + self.ending.account.leaks.len()) as u64
    }

    fn violations(&self) -> u64 {
        self.ending.account.violations.len() as u64 + self.ending.account.not_kept
    }

    fn remarks(&self) -> u64 {
        self.ending.account.remarks.len() as u64 + self.ending.account.remarks_not_kept
    }

    /// What the scenario expects, and what every scenario does unless it says otherwise.
    fn judge(&self) -> Vec<Verdict> {
        let ending = &self.ending;
        let mut verdicts: Vec<Verdict> = self
            .scenario
            .expectations
            .iter()
            .map(|expectation| {
                let (held, found) = self.check(&expectation.claim);
                Verdict { name: expectation.name.clone(), held, found }
            })
            .collect();
        let says = |counter: Counter| {
            let counted = |claim: &Claim| matches!(claim, Claim::Count(about, ..) if *about == counter);
            self.scenario.expectations.iter().any(|expectation| counted(&expectation.claim))
        };
        let mut also = |name: &str, held: bool, found: String| {
            verdicts.push(Verdict { name: name.to_owned(), held, found });
        };
        let (findings, number) = ending.judge.findings();
        let counts = ending.judge.counts();
        let lost = if says(Counter::Undelivered) { counts.undelivered } else { 0 };
        let first = findings.first().map(|finding| format!("{}: {}", finding.rule, finding.what));
        also(
            "the judge is content",
            number == lost,
            first.unwrap_or_else(|| match counts.merged {
                0 => format!("{} of {} events arrived", counts.delivered, counts.injected),
                merged => {
                    format!("{} of {} events arrived, {merged} merged with them", counts.delivered, counts.injected)
                }
            }),
        );
        let tally = &ending.tally;
        let report =
            (tally.sum(|vm| vm.injected), tally.sum(|vm| vm.delivered), tally.merged(), tally.sum(|vm| vm.doorbells));
        let judged = (counts.injected, counts.delivered, counts.merged, counts.doorbells);
        let words = |(injected, delivered, merged, doorbells): (u64, u64, u64, u64)| {
            format!("{injected} injected, {delivered} delivered, {merged} merged, {doorbells} doorbells")
        };
        let found = match report == judged {
            true => words(report),
            false => format!("the host counts {}; the judge {}", words(report), words(judged)),
        };
        also("host and judge count the same", report == judged, found);
        if !says(Counter::Leaks) {
            let leaks = ending.leaks.first().cloned();
            let first = leaks.or_else(|| ending.account.leaks.first().map(|leak| leak.what.clone()));
            also("nothing leaks", self.leaks() == 0, first.unwrap_or_else(|| "everything was given back".to_owned()));
        }
        if !says(Counter::Violations) {
            let first = ending.account.violations.first().map(ToString::to_string);
            also(
                "no rule is broken",
                self.violations() == 0,
                first.unwrap_or_else(|| "there was no violation".to_owned()),
            );
        }
        if !says(Counter::Quarantined) {
            let found = format!("{} in quarantine at the end", count(ending.quarantined, "VM"));
            also("nothing stays quarantined", ending.quarantined == 0, found);
        }
        let expected: Vec<&str> = self
            .scenario
            .expectations
            .iter()
            .filter_map(|expectation| match &expectation.claim {
                Claim::Error(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        let surprise = ending.errors.iter().find(|error| {
            let text = format!("{}: {}", error.what, error.why);
            !expected.iter().any(|expected| text.contains(expected))
        });
        let found = surprise.map(|error| format!("{}: {}", error.what, error.why));
        also("no other error occurs", surprise.is_none(), found.unwrap_or_else(|| "there was none".to_owned()));
        if !ending.interrupted {
            let found = match ending.settled {
                true => "nothing happened any more",
                false => "interrupts or guests kept going; see `settle` and the handlers",
            };
            also("everything comes to rest", ending.settled, found.to_owned());
        }
        if ending.not_struck > 0 {
            also("every planned fault strikes", false, format!("{} did not", count(ending.not_struck as u64, "fault")));
        }
        verdicts
    }

    /// Whether something turned out as expected, and what did.
    fn check(&self, claim: &Claim) -> (bool, String) {
        let ending = &self.ending;
        match claim {
            Claim::Count(counter, about, relation, expected) => {
                let found = match counter {
                    Counter::Leaks => self.leaks(),
                    Counter::Violations => self.violations(),
                    Counter::Quarantined => ending.quarantined,
                    Counter::Undelivered => ending.judge.counts().undelivered,
                    Counter::Commands => self.commands,
                    other => match ending.tally.count(*other, about) {
                        Some(found) => found,
                        None => {
                            return (false, "that is not counted".to_owned());
                        }
                    },
                };
                let was = if found == 1 { "there was" } else { "there were" };
                (holds(found, *relation, *expected), format!("{was} {found}"))
            }
            Claim::Latency(about, quantile, relation, expected) => {
                timed(ending.tally.latency(about, *quantile), *relation, *expected, "nothing was delivered")
            }
            Claim::WakeUp(about, quantile, relation, expected) => {
                timed(ending.tally.wake_up(about, *quantile), *relation, *expected, "no doorbell woke anybody")
            }
            Claim::Order(vms, ids) => {
                let vm = vms.clone().next().and_then(|vm| ending.tally.vms.get(vm));
                let order: Vec<_> =
                    vm.map_or(Vec::new(), |vm| vm.order.iter().filter(|id| ids.contains(id)).copied().collect());
                let text: Vec<String> = order.iter().map(ToString::to_string).collect();
                let found = match text.is_empty() {
                    true => "none of them was delivered".to_owned(),
                    false => format!("the order was {}", text.join(", ")),
                };
                (order == *ids, found)
            }
            Claim::Error(text) => {
                let all = || ending.errors.iter().map(|error| format!("{}: {}", error.what, error.why));
                match all().find(|error| error.contains(text.as_str())) {
                    Some(error) => (true, error),
                    None => (
                        false,
                        all().next().map_or("there was no error".to_owned(), |error| format!("there was: {error}")),
                    ),
                }
            }
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome::of(self.ending.interrupted, self.verdicts.iter().all(|verdict| verdict.held))
    }

    #[cfg(test)]
    pub(super) fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    #[cfg(test)]
    pub(super) fn delivered(&self) -> u64 {
        self.ending.tally.sum(|vm| vm.delivered)
    }

    #[cfg(test)]
    pub(super) fn judged(&self) -> &super::judge::Judge {
        &self.ending.judge
    }

    pub(super) fn picture(&self) -> &super::picture::Picture {
        &self.ending.picture
    }

    fn vms(&self) -> Vec<VmReport<'_>> {
        let tally = &self.ending.tally;
        let vms = self.scenario.vms.iter().zip(&tally.vms).enumerate();
        vms.map(|(n, (spec, vm))| {
            let about = About::Vms(n..n + 1);
            let counts = Counts::of(std::slice::from_ref(vm));
            VmReport { name: &spec.name, counts, delays: Delays::of(tally, &about) }
        })
        .collect()
    }

    pub(super) fn document(&self) -> Document<'_> {
        let (ending, tally) = (&self.ending, &self.ending.tally);
        let (findings, number) = ending.judge.findings();
        let leaks = ending.account.leaks.iter().map(ToString::to_string);
        let counts = ending.judge.counts();
        Document {
            scenario: self.path,
            title: &self.scenario.title,
            seed: self.scenario.seed,
            simulated_ns: ending.simulated,
            events: tally.events,
            counts: Counts { commands: self.commands, table_bytes: tally.most_table_bytes, ..Counts::of(&tally.vms) },
            created: tally.created,
            destroyed: tally.destroyed,
            leaks: self.leaks(),
            leak_list: ending.leaks.iter().cloned().chain(leaks).collect(),
            quarantined: ending.quarantined,
            violations: self.violations(),
            violation_list: ending.account.violations.iter().map(ToString::to_string).collect(),
            remarks: self.remarks(),
            remark_list: ending.account.remarks.iter().map(ToString::to_string).collect(),
            findings: number,
            finding_list: findings.iter().map(|finding| format!("{}: {}", finding.rule, finding.what)).collect(),
            undelivered: counts.undelivered,
            discarded: counts.discarded,
            errors: ending.errors.len() as u64,
            error_list: &ending.errors,
            vms: self.scenario.vms.len() as u64,
            vm_list: self.vms(),
            expectations: &self.verdicts,
            interrupted: ending.interrupted,
        }
    }

    pub(super) fn print(&mut self, out: &mut Console<'_>) -> io::Result<()> {
        writeln!(out, "{}  {}\n", styled(HEADING, &self.scenario.title), styled(FAINT, self.path))?;
        self.ending.story.print(out)?;
        let vms = self.vms();
        let header = "                    injected  delivered  doorbells  resident  wake-up p50/p99/max       latency p50/p99/max";
        writeln!(out, "{}", styled(FAINT, header))?;
        for vm in vms.iter().take(EACH) {
            row(out, vm)?;
        }
        if vms.len() > EACH {
            writeln!(out, "{}", styled(FAINT, format!("  and {} VMs more", vms.len() - EACH)))?;
        }
        let tally = &self.ending.tally;
        let about = About::Everything;
        let all = VmReport { name: "all", counts: Counts::of(&tally.vms), delays: Delays::of(tally, &about) };
        if vms.len() > 1 {
            row(out, &all)?;
        }
        writeln!(out)?;
        let mut line = |name: &str, number: u64, bad: bool, text: &str| {
            let style = if bad { PROBLEM } else { Style::new() };
            let text = if text.is_empty() { String::new() } else { format!("  {}", styled(FAINT, text)) };
            writeln!(out, "  {name:<16} {}{text}", styled(style, format!("{number:>9}")))
        };
        line("merged", tally.merged(), false, "events that found their interrupt pending already")?;
        line("spurious", tally.sum(|vm| vm.spurious), false, "acknowledges that got nothing")?;
        line("commands", self.commands, false, "to the IRS")?;
        line("table bytes", tally.most_table_bytes, false, "in the tables that the IRS reads, at their most")?;
        line("leaks", self.leaks(), self.leaks() > 0, "")?;
        line("quarantined", self.ending.quarantined, self.ending.quarantined > 0, "")?;
        line("violations", self.violations(), self.violations() > 0, "")?;
        if self.remarks() > 0 {
            line(
                "remarks",
                self.remarks(),
                false,
                "what no rule forbids, or an inferred one, and is almost surely wrong",
            )?;
        }
        writeln!(out)?;
        for verdict in &self.verdicts {
            let (mark, style) = if verdict.held { ("held", NAME) } else { ("NOT HELD", PROBLEM) };
            writeln!(
                out,
                "  {}  {}  {}",
                styled(style, format!("{mark:<8}")),
                verdict.name,
                styled(FAINT, &verdict.found)
            )?;
        }
        let held = self.verdicts.iter().filter(|verdict| verdict.held).count();
        let simulated = time(self.ending.simulated);
        let interrupted = if self.ending.interrupted { ", interrupted" } else { "" };
        writeln!(out, "\n{} of {} expectations held, {simulated} simulated{interrupted}", held, self.verdicts.len())
    }
}

fn row(out: &mut Console<'_>, vm: &VmReport<'_>) -> io::Result<()> {
    let VmReport { name, counts, delays } = vm;
    let times = |half: Option<Ns>, most: Option<Ns>, max: Option<Ns>| match (half, most, max) {
        (Some(half), Some(most), Some(max)) => format!("{}/{}/{} ns", half, most, max),
        _ => "-".to_owned(),
    };
    writeln!(
        out,
        "  {} {:>8} {:>10} {:>10} {:>9}  {:<24}  {}",
        styled(NAME, format!("{name:<16}")),
        counts.injected,
        counts.delivered,
        counts.doorbells,
        counts.switches,
        times(delays.wake_up_p50_ns, delays.wake_up_p99_ns, delays.wake_up_max_ns),
        times(delays.latency_p50_ns, delays.latency_p99_ns, delays.latency_max_ns),
    )
}

fn holds(found: u64, relation: Relation, expected: u64) -> bool {
    match relation {
        Relation::Equal => found == expected,
        Relation::AtMost => found <= expected,
        Relation::AtLeast => found >= expected,
    }
}

fn timed(found: Option<Ns>, relation: Relation, expected: Ns, nothing: &str) -> (bool, String) {
    match found {
        Some(found) => (holds(found, relation, expected), format!("it was {}", time(found))),
        None => (false, nothing.to_owned()),
    }
}
