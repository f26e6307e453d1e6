//! Mutation testing: does a test notice when the code is wrong?
//!
//! cargo-mutants builds once for each mutant. A test build of gicv5-hyp or of the lab takes half a minute or more, so that the
//! samples that this chore takes by default would take a day (gicv5-hyp: 47 s to build one, 44 s for its tests). Here one build
//! serves all mutants of a crate, and a mutant costs only the tests that come by it.

mod oracle;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gicv5_random::Rng;
use serde::Deserialize;

use crate::arrows::modules;
use crate::exceptions;
use crate::workspace::{self, Scratch};
use oracle::{Executable, Outcome, Test};
use source::{Mutant, Mutator, SWITCH};

/// What can be changed, and the packages whose tests have to notice.
struct Target {
    name: &'static str,
    package: &'static str,
    /// The folder of its sources that is changed.
    folder: &'static str,
    tests: &'static [&'static str],
}

const TARGETS: &[Target] = &[
    Target { name: "arch", package: "gicv5-arch", folder: "", tests: &["gicv5-arch"] },
    Target { name: "hal", package: "gicv5-hal", folder: "", tests: &["gicv5-hal", "gicv5-phys"] },
    Target { name: "irs", package: "gicv5-irs", folder: "", tests: &["gicv5-irs", "gicv5-phys", "gicv5-hyp"] },
    Target { name: "phys", package: "gicv5-phys", folder: "", tests: &["gicv5-phys"] },
    Target { name: "hyp", package: "gicv5-hyp", folder: "", tests: &["gicv5-hyp"] },
    Target { name: "model", package: "gicv5-model", folder: "", tests: &["gicv5-model"] },
    Target { name: "run", package: "gicv5", folder: "run", tests: &["gicv5"] },
];

/// The mutants that nothing can notice, and why.
const EXCEPTIONS: &str = "docs/mutant-exceptions.toml";

/// The share of mutants that must be killed or excused, in per cent.
const LEAST: f64 = 95.0;

/// How many mutants run at the same time.
const JOBS: usize = 2;

/// Change the code in small ways and see whether a test notices
///
/// A target is a library by its short name (arch, hal, irs, phys, hyp, model), or run, the engine of `gicv5 run`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask mutate
  cargo xtask mutate hyp --sample 40 --seed 7
  cargo xtask mutate model --only doorbell --sample 1000000")]
pub(crate) struct Args {
    /// What to change; everything if none is named
    #[arg(value_name = "TARGET", value_parser = TARGETS.iter().map(|target| target.name).collect::<Vec<_>>())]
    targets: Vec<String>,
    /// How many mutants of each target to run, drawn at random
    #[arg(long, value_name = "COUNT", default_value_t = 300)]
    sample: usize,
    /// Seed of the draw; the same seed draws the same mutants of the same sources
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Run only mutants whose place or name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let exceptions = Exceptions::parse(EXCEPTIONS, &shell.read_file(EXCEPTIONS)?)?;
    println!("seed {}", args.seed);
    let mut all = Tally::default();
    let chosen = |target: &&Target| args.targets.is_empty() || args.targets.iter().any(|name| name == target.name);
    for target in TARGETS.iter().filter(chosen) {
        all.add(&target.run(args, &exceptions)?);
    }
    println!("together: {all}");
    ensure!(all.percent() >= LEAST, "{:.1} % is less than {LEAST} %", all.percent());
    Ok(())
}

impl Target {
    fn run(&self, args: &Args, exceptions: &Exceptions) -> Result<Tally> {
        let started = Instant::now();
        let scratch = Scratch::new("mutate")?;
        let (mutants, executables) = self.build(&scratch)?;
        let stale = exceptions.stale(self.name, &mutants);
        stale.iter().for_each(|name| println!("{EXCEPTIONS} excuses what does not exist: {name}"));

        let is_wanted = |mutant: &Mutant| format!("{}: {}", mutant.place, mutant.name).contains(&args.only);
        let population: Vec<usize> =
            mutants.iter().enumerate().filter(|(_, mutant)| is_wanted(mutant)).map(|(n, _)| n).collect();
        let mut tally = Tally { population: population.len(), ..Tally::default() };
        let chosen = sample(&mut Rng::new(args.seed), population, args.sample);

        let tests = oracle::examine(&executables, &scratch.target)?;
        let seconds = tests.iter().map(|test| test.time).sum::<Duration>().as_secs_f64();
        eprintln!("{}: {} tests take {seconds:.0} s one by one", self.name, tests.len());
        for (n, outcome) in outcomes(&tests, &chosen)? {
            let Some(Mutant { place, name }) = mutants.get(n) else { continue };
            let reason = exceptions.reason(self.name, name);
            tally.count(outcome, reason, &format!("{} {place}: {name}", self.name));
        }
        println!("{}: {tally}; {} s", self.name, started.elapsed().as_secs());
        Ok(tally)
    }

    /// Puts all mutants into the copy that the compiler takes, and builds the tests.
    fn build(&self, scratch: &Scratch) -> Result<(Vec<Mutant>, Vec<Executable>)> {
        let source = workspace::root()?.join("crates").join(self.package).join("src");
        let copy = scratch.root.join("crates").join(self.package).join("src");
        let read = |file: &Path| std::fs::read_to_string(source.join(file)).ok();
        let files = modules::files(read)?;
        let mut refused = BTreeSet::new();
        loop {
            let mut mutator = Mutator::new(&refused);
            let mut lib = read(Path::new("lib.rs")).context("a crate without lib.rs")?;
            for file in files.iter().filter(|file| file.starts_with(self.folder)) {
                let text = mutator.mutate(&file.display().to_string(), &read(file).unwrap_or_default())?;
                match file == Path::new("lib.rs") {
                    true => lib = text,
                    false => scratch.shell.write_file(copy.join(file), text)?,
                }
            }
            let mutants = mutator.mutants;
            let count = format!("\nconst MUTANTS: usize = {};", mutants.len());
            scratch.shell.write_file(copy.join("lib.rs"), format!("{lib}{count}{SWITCH}"))?;
            match oracle::build(scratch, self.tests)? {
                Ok(executables) => return Ok((mutants, executables)),
                Err(more) => {
                    eprintln!("{}: the compiler refuses {} mutants", self.name, more.len());
                    let before = refused.len();
                    refused.extend(more);
                    ensure!(refused.len() > before, "the compiler refuses the sources, whatever is left out");
                }
            }
        }
    }
}

/// Runs the tests on mutants, several at a time.
fn outcomes(tests: &[Test], mutants: &[usize]) -> Result<BTreeMap<usize, Outcome>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            while let Some(&n) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = oracle::outcome(tests, n)?;
                outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(n, outcome);
            }
            Ok(())
        };
        let workers: Vec<_> = (0..JOBS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
    })?;
    Ok(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// `count` of the items, or all if there are fewer, in their order.
fn sample<T>(random: &mut Rng, items: Vec<T>, count: usize) -> Vec<T> {
    let (mut left, mut wanted) = (items.len() as u64, count as u64);
    let chosen = items.into_iter().filter(|_| {
        let take = random.below(left) < wanted;
        left -= 1;
        wanted -= u64::from(take);
        take
    });
    chosen.collect()
}

/// Why nothing can notice some mutants.
type Exceptions = exceptions::Exceptions<Exception>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    /// The target, then what a run prints behind the place: `model forget_doorbell: condition …`.
    mutants: Vec<String>,
    reason: String,
}

impl Exceptions {
    fn reason(&self, target: &str, mutant: &str) -> Option<&str> {
        let name = format!("{target} {mutant}");
        let exception = self.exception.iter().find(|exception| exception.mutants.contains(&name))?;
        Some(&exception.reason)
    }

    /// The excuses of a target that are about no mutant.
    fn stale(&self, target: &str, mutants: &[Mutant]) -> Vec<&str> {
        let names: BTreeSet<String> = mutants.iter().map(|mutant| format!("{target} {}", mutant.name)).collect();
        let excused = self.exception.iter().flat_map(|exception| &exception.mutants).map(String::as_str);
        let of_target = excused.filter(|name| name.split(' ').next() == Some(target));
        of_target.filter(|name| !names.contains(*name)).collect()
    }
}

/// How many mutants came to what.
#[derive(Default)]
struct Tally {
    population: usize,
    run: usize,
    killed: usize,
    excused: usize,
    not_reached: usize,
}

impl Tally {
    /// Counts a mutant, and prints it if it survives.
    fn count(&mut self, outcome: Outcome, reason: Option<&str>, mutant: &str) {
        self.run += 1;
        self.killed += usize::from(outcome == Outcome::Killed);
        self.not_reached += usize::from(outcome == Outcome::NotReached);
        let how = match outcome {
            Outcome::Killed => return,
            Outcome::Survives => "survives",
            Outcome::NotReached => "survives, not reached",
        };
        self.excused += usize::from(reason.is_some());
        println!("{how}: {mutant}{}", reason.map(|reason| format!("\n    excused: {reason}")).unwrap_or_default());
    }

    fn add(&mut self, other: &Tally) {
        self.population += other.population;
        self.run += other.run;
        self.killed += other.killed;
        self.excused += other.excused;
        self.not_reached += other.not_reached;
    }

    fn percent(&self) -> f64 {
        (self.killed + self.excused) as f64 * 100.0 / self.run.max(1) as f64
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { population, run, killed, excused, not_reached } = self;
        write!(f, "{run} of {population} mutants run, {killed} killed, {excused} excused, ")?;
        write!(f, "{} survive, {not_reached} of all not reached: {:.1} %", run - killed - excused, self.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_the_size_asked_for_and_in_order() {
        for seed in 0..100 {
            let sample = sample(&mut Rng::new(seed), (0..50).collect(), 7);
            assert_eq!(sample.len(), 7);
            assert!(sample.is_sorted());
        }
        assert_eq!(sample(&mut Rng::new(1), vec![1, 2, 3], 9), [1, 2, 3]);
    }

    #[test]
    fn a_mutant_is_excused_wherever_it_stands_and_an_excuse_for_none_is_told() {
        let text = "[[exception]]\nmutants = ['hyp f: x', 'hyp f: y', 'irs f: z']\nreason = 'it is the same'\n";
        let exceptions = Exceptions::parse(EXCEPTIONS, text).unwrap();
        let mutant = Mutant { place: "a.rs:3".to_owned(), name: "f: x".to_owned() };
        assert_eq!(exceptions.reason("hyp", &mutant.name), Some("it is the same"));
        assert_eq!(exceptions.reason("irs", &mutant.name), None);
        assert_eq!(exceptions.stale("hyp", &[mutant]), ["hyp f: y"]);
        assert!(Exceptions::parse(EXCEPTIONS, "[[exception]]\nmutants = []").is_err());
    }

    #[test]
    fn a_target_is_killed_by_the_share_of_what_was_run() {
        let mut tally = Tally::default();
        tally.count(Outcome::Killed, None, "a");
        tally.count(Outcome::Survives, Some("the same"), "b");
        tally.count(Outcome::Survives, None, "c");
        tally.count(Outcome::NotReached, None, "d");
        assert_eq!((tally.run, tally.killed, tally.excused, tally.not_reached), (4, 1, 1, 1));
        assert!((tally.percent() - 50.0).abs() < f64::EPSILON);
    }
}
