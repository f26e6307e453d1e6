//! `gicv5 conformance`: the conformance tests on the model.
//!
//! The tests are those that run on hardware ([`gicv5_conformance`]). Here they hold the model to the rules, and they are
//! held to the rules themselves: software that breaks one makes the model report a violation, and a test that breaks a
//! rule that it is not about has failed.

mod bench;
mod corrupt;
#[cfg(test)]
mod drivers;
mod random;
mod report;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gicv5_conformance::{Observer, Profile, Test, Verdict};
use gicv5_model::config::MachineConfig;

use crate::failure::{Failure, Outcome};
use crate::output::{self, Console, quote};
use crate::progress::catch_ctrl_c;
use bench::{MachineKind, ModelBench};
use report::{Report, Status, TestReport};

const AFTER_HELP: &str = "\
A test applies if the ID registers of the machine say that it has what the test needs. Every test ends
with the first thing that is not as the rules say; gicv5 explain shows a rule. A test is open, and has
not failed, if the machine does not what some software needs and the rules do not say.

A random program is a sequence of operations on several PEs that follows from its seed. It prints
the same on every machine with the same ID registers: cargo xtask conformance --qemu compares QEMU.

Exit status: 0 every test that applies passed; 1 a test failed; 2 bad usage; 130 interrupted, with
the tests so far.

Examples:
  $ gicv5 conformance
  $ gicv5 conformance --list --filter priority::
  $ gicv5 conformance --pes 1 --machine qemu-11.1 --json --filter ist::
  $ gicv5 conformance --profile linux-7.1 --filter virtual_ppi::
  $ gicv5 conformance --random 3 --pes 2
  $ gicv5 explain PRI-3 PRI-4";

/// Arguments of `gicv5 conformance`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, group = clap::ArgGroup::new("drawn").args(["random", "corrupt"]))]
pub(crate) struct Args {
    /// Runs only tests whose name contains TEXT, or that check the rule TEXT; may be given several times
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Lists the tests, with the rules they check, and runs none
    #[arg(long, conflicts_with_all = ["junit", "pes", "machine"])]
    list: bool,
    /// PEs of the machine, 1 to 8
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=8))]
    pes: u16,
    /// Which machine the model is
    #[arg(long, value_enum, default_value_t = MachineKind::Full)]
    machine: MachineKind,
    /// Holds the machine to what this software needs too, where the rules leave it open
    #[arg(long, value_name = "PROFILE", value_parser = profile())]
    profile: Option<Profile>,
    /// Writes the results to FILE as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Runs N random programs instead of the tests, and prints a digest of the answers of each
    #[arg(long, value_name = "N", conflicts_with_all = ["filter", "list", "junit"])]
    random: Option<u64>,
    /// Spoils N accesses, one at a time in one test, and says what the tests did not notice
    #[arg(long, value_name = "N", conflicts_with_all = ["random", "list", "junit"])]
    corrupt: Option<usize>,
    /// Seed of the first random program, from which the others follow, or of the accesses to spoil
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "drawn")]
    seed: u64,
    /// Operations in a random program
    #[arg(long, value_name = "N", default_value_t = 400, requires = "random")]
    length: usize,
    /// Has the programs do what QEMU 11.1 is known to do wrong, too
    #[arg(long, requires = "random")]
    everything: bool,
    /// Prints every operation with its answer instead of a digest
    #[arg(long, requires = "random")]
    trace: bool,
    /// Leaves out all operations but those with these numbers, such as 0-4,7
    #[arg(long, value_name = "NUMBERS", default_value = "", requires = "trace")]
    keep: String,
    /// Prints one JSON document (docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Reads the name of a profile.
fn profile() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::name))
        .try_map(|name| Profile::named(&name).ok_or("no profile has this name"))
}

/// Whether a test is chosen: by a part of its name, or by a rule.
fn is_chosen(test: &Test<ModelBench>, filters: &[String]) -> bool {
    let matches = |filter: &String| test.name.contains(filter.as_str()) || test.rules.contains(&filter.as_str());
    filters.is_empty() || filters.iter().any(matches)
}

pub(crate) fn run(args: &Args, out: &mut Console<'_>) -> Result<Outcome, Failure> {
    let interrupted = catch_ctrl_c();
    if let Some(count) = args.random {
        return random::run(args, count, interrupted, out);
    }
    let chosen: Vec<_> =
        gicv5_conformance::tests::<ModelBench>().filter(|test| is_chosen(test, &args.filter)).collect();
    if chosen.is_empty() {
        let filters: Vec<String> = args.filter.iter().map(|filter| quote(filter)).collect();
        return Err(Failure::BadInput(format!("no test is called, or checks, {}; see --list", filters.join(" or "))));
    }
    if args.list {
        report::list(&chosen, args.json, out)?;
        return Ok(Outcome::Held);
    }
    if let Some(count) = args.corrupt {
        return corrupt::run(args, count, interrupted, out);
    }
    let report = on_the_model(args.machine, args.pes, args.profile, &args.filter, interrupted)?;
    if let Some(path) = &args.junit {
        let failed = |error| Failure::BadInput(format!("cannot write {}: {error}", quote(&path.to_string_lossy())));
        std::fs::write(path, report.junit()).map_err(failed)?;
    }
    output::show(out, args.json, || &report, |out| report.print(out))?;
    Ok(report.outcome())
}

/// Runs the chosen tests on a machine.
fn on_the_model(
    kind: MachineKind,
    pes: u16,
    profile: Option<Profile>,
    filters: &[String],
    interrupted: &AtomicBool,
) -> Result<Report, Failure> {
    let mut report = Report::new(kind.name(), pes);
    on_machine(bench::config(kind, pes), profile, filters, interrupted, &mut report)?;
    report.interrupted = interrupted.load(Ordering::Relaxed);
    Ok(report)
}

fn on_machine(
    config: MachineConfig,
    profile: Option<Profile>,
    filters: &[String],
    interrupted: &AtomicBool,
    report: &mut Report,
) -> Result<(), Failure> {
    let bench = ModelBench::new(config)?;
    let pe = gicv5_hal::Pe::new(&bench.first);
    let chosen = |test: &Test<ModelBench>| !interrupted.load(Ordering::Relaxed) && is_chosen(test, filters);
    gicv5_conformance::run(&bench, &pe, profile, chosen, &mut Recorder { bench: &bench, report });
    Ok(())
}

/// Notes how each test ended, and which rules it broke itself.
struct Recorder<'a> {
    bench: &'a ModelBench,
    report: &'a mut Report,
}

impl Observer<ModelBench> for Recorder<'_> {
    fn started(&mut self, _: &Test<ModelBench>) {}

    fn finished(&mut self, test: &Test<ModelBench>, verdict: &Verdict) {
        // A test may break a rule that it is about, to see what the hardware makes of it.
        let violations = self.bench.violations();
        let broken = violations.iter().find(|violation| !test.rules.contains(&violation.rule));
        let (status, message) = match (verdict, broken) {
            (Verdict::Fail(failure), _) => (Status::Fail, Some(failure.to_string())),
            (Verdict::Open(profile, failure), None) => {
                let name = profile.name();
                (Status::Open, Some(format!("{failure}; the rules leave that open, and {name} needs it")))
            }
            (Verdict::NotApplicable(need), _) => (Status::NotApplicable, Some(format!("needs {need}"))),
            (Verdict::Pass | Verdict::Open(..), Some(violation)) => {
                (Status::Fail, Some(format!("the test breaks a rule: {violation}")))
            }
            (Verdict::Pass, None) => (Status::Pass, None),
        };
        self.report.push(TestReport { name: test.name, status, rules: test.rules, about: test.about.trim(), message });
    }
}
