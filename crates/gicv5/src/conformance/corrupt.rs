//! `gicv5 conformance --corrupt`: what the tests do not notice.
//!
//! Each case runs one test alone on a machine of which one access is spoiled: an answer with one bit changed, or an effect that
//! does not happen ([`gicv5_model::meddle`]). The test has to fail by itself; what the model's checker says does not count. Accesses
//! are drawn from those that the tests make, so that a test counts as often as it looks and acts; half of the cases are answers and half
//! effects.
//!
//! Two kinds of accesses are drawn and are no cases, because nothing about them is spoiled: an effect after which the hardware is
//! in the same state as without it (a register is written that holds the value already), and an answer without a bit that means
//! anything. What is one is decided by the model's state and by the fields of the register, never by what a test noticed. How many there
//! were is reported, and what the percentage would be with them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use gicv5_arch::insn::Form;
use gicv5_conformance::{Observer, Test, Verdict};
use gicv5_model::meddle::{Access, Meddling};
use gicv5_random::Rng;
use serde::Serialize;

use super::bench::{MachineKind, ModelBench, config};
use super::{Args, is_chosen};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Console, HEADING, NAME, styled};
use crate::progress::Progress;

/// Of how many cases in a thousand a test has to fail, of answers and of effects.
const PER_MILLE: usize = 950;

/// How many accesses are drawn for each case that is wanted, before it is clear that there are not enough that can be spoiled.
const DRAWS: usize = 200;

/// Starts to count when the test does, and notes how it ended.
struct Case<'a> {
    name: &'a str,
    bench: &'a ModelBench,
    spoil: Option<u64>,
    bit: u64,
    ended: Ended,
}

impl Observer<ModelBench> for Case<'_> {
    fn started(&mut self, test: &Test<ModelBench>) {
        if test.name == self.name {
            self.bench.meddler.start(self.spoil, self.bit);
        }
    }

    fn finished(&mut self, test: &Test<ModelBench>, verdict: &Verdict) {
        if test.name == self.name {
            let meddler = &self.bench.meddler;
            self.ended = Ended { verdict: Some(*verdict), accesses: meddler.count(), done: meddler.done() };
        }
    }
}

/// How a test ended of which one access was spoiled.
#[derive(Default)]
struct Ended {
    verdict: Option<Verdict>,
    accesses: u64,
    done: Option<Meddling>,
}

fn run_one(kind: MachineKind, pes: u16, name: &str, spoil: Option<u64>, bit: u64) -> Result<Ended, Failure> {
    let bench = ModelBench::new(config(kind, pes))?;
    let pe = gicv5_hal::Pe::new(&bench.first);
    let mut case = Case { name, bench: &bench, spoil, bit, ended: Ended::default() };
    // What the runner does before the first test, once, is no part of any: another test comes first. Nothing may come before those
    // of the state after reset.
    let is_about_reset = |name: &str| name.starts_with("reset::");
    let first = gicv5_conformance::tests::<ModelBench>().map(|test| test.name).find(|first| !is_about_reset(first));
    let first = first.filter(|_| !is_about_reset(name));
    gicv5_conformance::run(&bench, &pe, None, |test| test.name == name || Some(test.name) == first, &mut case);
    Ok(case.ended)
}

/// What a case spoils.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum AccessKind {
    /// An effect did not happen.
    Effect,
    /// An answer had a wrong bit.
    Answer,
}

impl AccessKind {
    fn of(access: Access) -> AccessKind {
        match access {
            Access::ReadIrs(..) | Access::ReadSysReg(_) | Access::Signals(_) | Access::Load(_) => AccessKind::Answer,
            Access::Insn(insn, _) if insn.info().form == Form::Result => AccessKind::Answer,
            Access::WriteIrs(..) | Access::WriteSysReg(..) | Access::Insn(..) => AccessKind::Effect,
        }
    }
}

/// What was not noticed: so many times, in that test, at that access.
#[derive(Serialize)]
struct Survivor {
    what: AccessKind,
    access: String,
    test: &'static str,
    cases: usize,
    /// One of them.
    example: String,
}

/// What became of the accesses of one kind that were drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Cases.
    pub(super) cases: usize,
    /// Those of them in which the test failed.
    pub(super) noticed: usize,
    /// Accesses at which there was nothing to spoil.
    pub(super) nothing: usize,
}

impl Tally {
    /// Whether enough was noticed.
    pub(super) fn holds(self) -> bool {
        self.noticed * 1000 >= self.cases * PER_MILLE
    }

    /// How much was noticed, and how much if what had nothing to spoil counted as not noticed.
    fn percentages(self, why_nothing: &str) -> String {
        let percent = |of: usize| {
            let per_mille = self.noticed * 1000 / of.max(1);
            format!("{}.{} %", per_mille / 10, per_mille % 10)
        };
        let Tally { cases, noticed, nothing } = self;
        let (without, with) = (percent(cases), percent(cases + nothing));
        format!("{noticed} of {cases} noticed, {without}; {nothing} more {why_nothing}, {with} with them")
    }
}

/// What the campaign has shown.
#[derive(Serialize)]
pub(super) struct Campaign {
    machine: &'static str,
    pes: u16,
    seed: u64,
    tests: usize,
    accesses: u64,
    cases: usize,
    noticed: usize,
    survived: usize,
    answers: usize,
    answers_noticed: usize,
    answers_without_meaning: usize,
    effects: usize,
    effects_noticed: usize,
    effects_without_difference: usize,
    survivor_list: Vec<Survivor>,
    interrupted: bool,
    #[serde(skip)]
    wanted: usize,
}

impl Campaign {
    /// What became of the answers that were drawn.
    pub(super) fn answers(&self) -> Tally {
        Tally { cases: self.answers, noticed: self.answers_noticed, nothing: self.answers_without_meaning }
    }

    /// What became of the effects that were drawn.
    pub(super) fn effects(&self) -> Tally {
        Tally { cases: self.effects, noticed: self.effects_noticed, nothing: self.effects_without_difference }
    }

    /// Whether enough was spoiled, and of each kind enough noticed.
    fn holds(&self) -> bool {
        self.cases >= self.wanted && self.answers().holds() && self.effects().holds()
    }

    fn print(&self, out: &mut Console<'_>) -> std::io::Result<()> {
        let is_same = |one: &Survivor, other: &Survivor| (one.what, &one.access) == (other.what, &other.access);
        for group in self.survivor_list.chunk_by(is_same) {
            let Some(first) = group.first() else { continue };
            let title = match first.what {
                AccessKind::Effect => format!("{} skipped", first.access),
                AccessKind::Answer => format!("{} answered wrongly", first.access),
            };
            writeln!(out, "{:5}  {}", cases_of(group), styled(HEADING, title))?;
            for Survivor { test, cases, example, .. } in group {
                writeln!(out, "{cases:5}    {}  {example}", styled(NAME, test))?;
            }
        }
        if !self.survivor_list.is_empty() {
            writeln!(out)?;
        }
        writeln!(out, "{} accesses of {} tests, {} of them spoiled", self.accesses, self.tests, self.cases)?;
        writeln!(out, "answers: {}", self.answers().percentages("have no bit that means anything"))?;
        writeln!(out, "effects: {}", self.effects().percentages("make no difference"))
    }
}

fn cases_of(survivors: &[Survivor]) -> usize {
    survivors.iter().map(|survivor| survivor.cases).sum()
}

/// The survivors in the order in which somebody who wants fewer of them reads: effects first, of each the most frequent kind of access.
fn in_order(survivors: impl Iterator<Item = Survivor>) -> Vec<Survivor> {
    let mut groups: BTreeMap<(AccessKind, String), Vec<Survivor>> = BTreeMap::new();
    for survivor in survivors {
        groups.entry((survivor.what, survivor.access.clone())).or_default().push(survivor);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|((what, _), group)| (*what, Reverse(cases_of(group))));
    for (_, group) in &mut groups {
        group.sort_by_key(|survivor| Reverse(survivor.cases));
    }
    groups.into_iter().flat_map(|(_, group)| group).collect()
}

/// Spoils so many accesses, one at a time, that would have had an effect or an answer with a meaning.
pub(super) fn campaign(
    kind: MachineKind,
    pes: u16,
    filters: &[String],
    count: usize,
    seed: u64,
    interrupted: &AtomicBool,
) -> Result<Campaign, Failure> {
    // Every test once, to know how many accesses it makes.
    let mut tests = Vec::new();
    let mut total = 0;
    for test in gicv5_conformance::tests::<ModelBench>() {
        if !is_chosen(test, filters) {
            continue;
        }
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let ended = run_one(kind, pes, test.name, None, 0)?;
        if ended.verdict == Some(Verdict::Pass) {
            total += ended.accesses;
            tests.push((test.name, total));
        }
    }
    let mut rng = Rng::new(seed);
    // As many effects as answers, although the tests look more often than they act.
    let wanted = |what| if what == AccessKind::Answer { count / 2 } else { count - count / 2 };
    let mut tallies = BTreeMap::from([(AccessKind::Answer, Tally::default()), (AccessKind::Effect, Tally::default())]);
    let mut survivors: BTreeMap<(AccessKind, String, &'static str), (usize, String)> = BTreeMap::new();
    let mut was_interrupted = false;
    let progress = Progress::new(Some(count as u64), "{bar:30} {percent}% of the accesses, {msg}, {eta} left");
    for _ in 0..count.saturating_mul(DRAWS) {
        was_interrupted = interrupted.load(Ordering::Relaxed);
        if was_interrupted || total == 0 || tallies.iter().all(|(what, tally)| tally.cases >= wanted(*what)) {
            break;
        }
        let [cases, noticed] = [|tally: &Tally| tally.cases, |tally: &Tally| tally.noticed]
            .map(|count| tallies.values().map(count).sum::<usize>() as u64);
        progress.show(cases, || format!("{} not noticed", cases - noticed));
        let (k, bit) = (rng.below(total), rng.next());
        let n = tests.partition_point(|(_, end)| *end <= k);
        let Some(&(name, end)) = tests.get(n) else { continue };
        let start = n.checked_sub(1).and_then(|n| tests.get(n)).map_or(0, |(_, end)| *end);
        let ended = run_one(kind, pes, name, Some(k - start), bit)?;
        let Some(done) = ended.done else { continue };
        let (Meddling::Answer { access, .. } | Meddling::Skipped { access } | Meddling::Nothing { access }) = done;
        let what = AccessKind::of(access);
        let Some(tally) = tallies.get_mut(&what).filter(|tally| tally.cases < wanted(what)) else { continue };
        let example = match done {
            Meddling::Nothing { .. } => {
                tally.nothing += 1;
                continue;
            }
            Meddling::Answer { before, after, .. } => format!("{after:#x} instead of {before:#x}"),
            Meddling::Skipped { .. } => format!("{access:#}"),
        };
        tally.cases += 1;
        if matches!(ended.verdict, Some(Verdict::Fail(_))) {
            tally.noticed += 1;
        } else {
            let place = format!("access {} of {}: {example}", k - start, end - start);
            survivors.entry((what, access.to_string(), name)).or_insert((0, place)).0 += 1;
        }
    }
    drop(progress);
    let [answers, effects] =
        [AccessKind::Answer, AccessKind::Effect].map(|what| tallies.get(&what).copied().unwrap_or_default());
    let list = survivors.into_iter().map(|((what, access, test), (cases, example))| Survivor {
        what,
        access,
        test,
        cases,
        example,
    });
    Ok(Campaign {
        machine: kind.name(),
        pes,
        seed,
        tests: tests.len(),
        accesses: total,
        cases: answers.cases + effects.cases,
        noticed: answers.noticed + effects.noticed,
        survived: answers.cases + effects.cases - answers.noticed - effects.noticed,
        answers: answers.cases,
        answers_noticed: answers.noticed,
        answers_without_meaning: answers.nothing,
        effects: effects.cases,
        effects_noticed: effects.noticed,
        effects_without_difference: effects.nothing,
        survivor_list: in_order(list),
        interrupted: was_interrupted,
        wanted: count,
    })
}

/// `gicv5 conformance --corrupt`.
pub(super) fn run(
    args: &Args,
    count: usize,
    interrupted: &AtomicBool,
    out: &mut Console<'_>,
) -> Result<Outcome, Failure> {
    let campaign = campaign(args.machine, args.pes, &args.filter, count, args.seed, interrupted)?;
    output::show(out, args.json, || &campaign, |out| campaign.print(out))?;
    Ok(Outcome::of(campaign.interrupted, campaign.holds()))
}
