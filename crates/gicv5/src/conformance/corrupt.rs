//! `gicv5 conformance --corrupt`: what the tests do not notice.
//!
//! Each case runs one test alone on a machine of which one access is spoiled: an answer with one bit changed, or an effect that
//! does not happen ([`gicv5_model::meddle`]). The test has to fail by itself; what the model's checker says does not count. Accesses
//! are drawn from those that the tests make, so that a test counts as often as it looks and acts; half of the cases are answers and half
//! effects.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gicv5_arch::{Ppi, Spi};
use gicv5_conformance::{Bench, BenchPe, Observer, Signals, Stopped, Test, Verdict, until};
use gicv5_hal::Platform;
use gicv5_model::meddle::{Access, MeddledMachine, MeddledPe, Meddler, Meddling};
use gicv5_model::rng::Rng;
use gicv5_model::violation::PeIndex;
use serde::Serialize;

use super::bench::{Kind, ModelBench, Mutexes, config};
use super::{Args, is_chosen_name};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Console, HEADING, NAME, styled};

/// A test that does little, and comes before all but those of the state after reset.
const FIRST: &str = "identification::device_architecture_names_arm";

/// Of how many cases in a thousand a test has to fail.
const PER_MILLE: usize = 950;

/// The model as a bench, with somebody who meddles in between.
struct MeddledBench {
    inner: ModelBench,
    machine: MeddledMachine,
    pes: Vec<MeddledPe>,
    guests: Vec<MeddledPe>,
    first: MeddledPe,
    meddler: Meddler,
    /// The PE that work runs on.
    current: AtomicUsize,
}

impl MeddledBench {
    fn new(kind: Kind, pes: u16) -> Result<MeddledBench, Failure> {
        let inner = ModelBench::new(config(kind, pes)).map_err(|error| Failure::BadInput(error.to_string()))?;
        let meddler = Meddler::default();
        let machine = MeddledMachine::new(inner.machine.clone(), meddler.clone());
        let first = machine.pe(inner.first.clone());
        let all = (0..inner.machine.pe_count()).filter_map(|n| inner.machine.pe(PeIndex(n)));
        let (pes, guests) = all.map(|pe| (machine.pe(pe.clone()), machine.pe(pe.guest()))).unzip();
        Ok(MeddledBench { inner, machine, pes, guests, first, meddler, current: AtomicUsize::new(0) })
    }

    fn here(&self) -> PeIndex {
        PeIndex(self.current.load(Ordering::Relaxed) as u16)
    }

    fn look(&self, signals: gicv5_model::Signals) -> Signals {
        // That an interrupt is not signalled yet is no wrong answer.
        let mask = u64::from(!signals.irq);
        let irq = self.meddler.answer(Access::Signals(self.here()), signals.irq.into(), mask) != 0;
        Signals { irq, fiq: signals.fiq }
    }
}

impl Platform for MeddledBench {
    type Irs = MeddledMachine;
    type Memory = MeddledMachine;
    type CurrentPe = MeddledPe;
    type Wait = MeddledMachine;
    type Locks = Mutexes;

    fn irs(&self) -> &MeddledMachine {
        &self.machine
    }

    fn memory(&self) -> &MeddledMachine {
        &self.machine
    }

    fn current_pe(&self) -> &MeddledPe {
        &self.first
    }

    fn wait(&self) -> &MeddledMachine {
        &self.machine
    }
}

impl Bench for MeddledBench {
    fn pe_count(&self) -> usize {
        self.pes.len()
    }

    fn run_on(&self, pe: usize, work: &(dyn Fn(&BenchPe<'_, Self>) + Sync)) -> Result<(), Stopped> {
        let ops = self.pes.get(pe).ok_or(Stopped::NoSuchPe { pe })?;
        self.current.store(pe, Ordering::Relaxed);
        work(&gicv5_hal::Pe::new(ops));
        self.current.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn wait_for_interrupt(&self, pe: &BenchPe<'_, Self>, limit: Duration) -> bool {
        until(&self.machine, limit, || self.signals(pe).irq)
    }

    fn signals(&self, _: &BenchPe<'_, Self>) -> Signals {
        self.look(self.inner.machine.signals(self.here()))
    }

    fn wired_spi(&self) -> Option<Spi> {
        self.inner.wired_spi()
    }

    fn drive_spi(&self, high: bool) {
        self.inner.drive_spi(high);
    }

    fn has_timers(&self) -> bool {
        true
    }

    fn drive_timer(&self, _: &BenchPe<'_, Self>, timer: Ppi, high: bool) {
        self.inner.machine.set_ppi_wire(self.here(), timer, high);
    }

    fn has_el2(&self) -> bool {
        true
    }

    fn has_guests(&self) -> bool {
        true
    }

    fn as_guest(&self, _: &BenchPe<'_, Self>, work: &mut dyn FnMut(&BenchPe<'_, Self>)) {
        if let Some(guest) = self.guests.get(usize::from(self.here().0)) {
            work(&gicv5_hal::Pe::new(guest));
        }
    }

    fn virtual_signals(&self, _: &BenchPe<'_, Self>) -> Signals {
        self.look(self.inner.machine.virtual_signals(self.here()))
    }
}

/// Starts to count when the test does, and notes how it ended.
struct Case<'a> {
    name: &'a str,
    bench: &'a MeddledBench,
    spoil: Option<u64>,
    bit: u64,
    verdict: Option<Verdict>,
}

impl Observer<MeddledBench> for Case<'_> {
    fn started(&mut self, test: &Test<MeddledBench>) {
        if test.name == self.name {
            self.bench.meddler.start(self.spoil, self.bit);
        }
    }

    fn finished(&mut self, test: &Test<MeddledBench>, verdict: &Verdict) {
        if test.name == self.name {
            self.verdict = Some(*verdict);
        }
    }
}

/// How a test ended of which one access was spoiled.
struct Ended {
    verdict: Option<Verdict>,
    accesses: u64,
    done: Option<Meddling>,
}

fn run_one(kind: Kind, pes: u16, name: &str, spoil: Option<u64>, bit: u64) -> Result<Ended, Failure> {
    let bench = MeddledBench::new(kind, pes)?;
    let pe = gicv5_hal::Pe::new(&bench.first);
    let mut case = Case { name, bench: &bench, spoil, bit, verdict: None };
    // What the runner does before the first test, once, is no part of any: another test comes first. Nothing may come before those
    // of the state after reset.
    let first = if name.starts_with("reset::") || name == FIRST { name } else { FIRST };
    gicv5_conformance::run(&bench, &pe, |test| test.name == name || test.name == first, &mut case);
    Ok(Ended { verdict: case.verdict, accesses: bench.meddler.count(), done: bench.meddler.done() })
}

/// What was not noticed: so many times, in that test, at that access.
#[derive(Serialize)]
struct Survivor {
    test: &'static str,
    access: String,
    cases: usize,
    /// One of them.
    example: String,
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
    pub(super) noticed: usize,
    survived: usize,
    pub(super) answers: usize,
    pub(super) effects: usize,
    effects_noticed: usize,
    nothing: usize,
    survivor_list: Vec<Survivor>,
    interrupted: bool,
}

impl Campaign {
    /// Whether enough was noticed.
    pub(super) fn holds(&self) -> bool {
        self.noticed * 1000 >= self.cases * PER_MILLE
    }

    fn print(&self, out: &mut Console<'_>) -> std::io::Result<()> {
        for survivor in &self.survivor_list {
            let Survivor { test, access, cases, example } = survivor;
            writeln!(out, "{cases:4}  {}  {access}: {example}", styled(NAME, test))?;
        }
        let per_mille = self.noticed * 1000 / self.cases.max(1);
        let summary = format!(
            "{} of {} cases noticed ({}.{} %): {} of {} wrong answers, {} of {} skipped effects; {} accesses of {} tests",
            self.noticed,
            self.cases,
            per_mille / 10,
            per_mille % 10,
            self.noticed - self.effects_noticed,
            self.answers,
            self.effects_noticed,
            self.effects,
            self.accesses,
            self.tests
        );
        writeln!(out, "{}", styled(HEADING, summary))
    }
}

/// Spoils so many accesses, one at a time, that would have had an effect or an answer with a meaning.
pub(super) fn campaign(
    kind: Kind,
    pes: u16,
    filters: &[String],
    count: usize,
    seed: u64,
    interrupted: &AtomicBool,
) -> Result<Campaign, Failure> {
    // Every test once, to know how many accesses it makes.
    let mut tests = Vec::new();
    let mut total = 0;
    for test in gicv5_conformance::tests::<MeddledBench>() {
        // Before a test of the state after reset nothing is put in order, and a difference may be legal (IST_BASER).
        if !is_chosen_name(test.name, test.rules, filters) {
            continue;
        }
        let ended = run_one(kind, pes, test.name, None, 0)?;
        if ended.verdict == Some(Verdict::Pass) {
            total += ended.accesses;
            tests.push((test.name, total));
        }
    }
    let mut rng = Rng::new(seed);
    let mut campaign = Campaign {
        machine: kind.name(),
        pes,
        seed,
        tests: tests.len(),
        accesses: total,
        cases: 0,
        noticed: 0,
        survived: 0,
        answers: 0,
        effects: 0,
        effects_noticed: 0,
        nothing: 0,
        survivor_list: Vec::new(),
        interrupted: false,
    };
    let mut survivors: BTreeMap<(&'static str, String), (usize, String)> = BTreeMap::new();
    while campaign.cases < count && total > 0 {
        if interrupted.load(Ordering::Relaxed) {
            campaign.interrupted = true;
            break;
        }
        let (k, bit) = (rng.below(total), rng.next());
        let n = tests.partition_point(|(_, end)| *end <= k);
        let Some(&(name, _)) = tests.get(n) else { continue };
        let start = n.checked_sub(1).and_then(|n| tests.get(n)).map_or(0, |(_, end)| *end);
        let ended = run_one(kind, pes, name, Some(k - start), bit)?;
        let is_effect = matches!(ended.done, Some(Meddling::Skipped { .. }));
        let (access, example) = match ended.done {
            None | Some(Meddling::Nothing { .. }) => {
                campaign.nothing += 1;
                continue;
            }
            // As many effects as answers, although the tests look more often than they act.
            Some(Meddling::Answer { .. }) if campaign.answers > campaign.effects => continue,
            Some(Meddling::Skipped { .. }) if campaign.effects > campaign.answers => continue,
            Some(Meddling::Answer { access, before, after }) => {
                campaign.answers += 1;
                (access, format!("{after:#x} instead of {before:#x}"))
            }
            Some(Meddling::Skipped { access }) => {
                campaign.effects += 1;
                (access, format!("{access:#} skipped"))
            }
        };
        campaign.cases += 1;
        if matches!(ended.verdict, Some(Verdict::Fail(_))) {
            campaign.noticed += 1;
            campaign.effects_noticed += usize::from(is_effect);
        } else {
            campaign.survived += 1;
            survivors.entry((name, access.to_string())).or_insert((0, format!("access {}: {example}", k - start))).0 +=
                1;
        }
    }
    campaign.survivor_list = survivors
        .into_iter()
        .map(|((test, access), (cases, example))| Survivor { test, access, cases, example })
        .collect();
    Ok(campaign)
}

/// `gicv5 conformance --corrupt`.
pub(super) fn run(
    args: &Args,
    count: usize,
    interrupted: &AtomicBool,
    out: &mut Console<'_>,
) -> Result<Outcome, Failure> {
    let campaign = campaign(args.machine, args.pes, &args.filter, count, args.seed, interrupted)?;
    if args.json {
        output::json(out, &campaign)?;
    } else {
        campaign.print(out)?;
    }
    Ok(match (campaign.interrupted, campaign.holds()) {
        (true, _) => Outcome::Interrupted,
        (false, true) => Outcome::Held,
        (false, false) => Outcome::NotHeld,
    })
}
