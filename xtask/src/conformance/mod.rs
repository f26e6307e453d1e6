//! The conformance suite on the model and, bare metal, on QEMU, side by side.
//!
//! The model is the one with QEMU's ID registers, so that the same tests apply. A test that the model fails is the
//! model's defect or the test's; one that QEMU fails is in the [list of known failures](known) or is reported. A test that
//! takes the emulator along counts as a failure, and the image boots again behind it.

mod boots;
mod image;
mod known;
mod random;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};

use anyhow::{Context, Result, ensure};
use gicv5_qtest::installation::Installation;
use serde::Deserialize;
use xshell::Shell;

use crate::{qemu, workspace};
use image::{Ended, Machine};
use known::Run;

/// Build the conformance image; with --qemu, run the suite on it and on the model, and compare
///
/// The image is built by a rustup toolchain that has the target, or by Debian's rustc-web with rust-web-src and
/// binutils-aarch64-linux-gnu. QEMU is found, or installed with --install, as `cargo xtask qemu` does it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask conformance
  cargo xtask conformance --qemu
  cargo xtask conformance --qemu --programs 1000
  cargo xtask conformance --qemu --pes 1 --programs 1 --everything
  cargo xtask conformance --qemu --install --pes 2")]
pub(crate) struct Args {
    /// Run the suite on QEMU and on the model, and compare
    #[arg(long)]
    qemu: bool,

    /// Install QEMU first if there is none (520 MB, a minute or two)
    #[arg(long, requires = "qemu")]
    install: bool,

    /// Numbers of PEs of the machines
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 2, 4], requires = "qemu")]
    pes: Vec<u16>,

    /// Random programs on each machine, which QEMU and the model must answer alike
    #[arg(long, value_name = "N", default_value_t = 0, requires = "qemu")]
    programs: u64,

    /// Seed of the first random program; the others follow
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "programs")]
    seed: u64,

    /// Operations in a random program
    #[arg(long, value_name = "N", default_value_t = 400, requires = "programs")]
    length: u64,

    /// Only try the search for differences itself: random programs that do what QEMU is known to do wrong must differ, and shorten to that
    #[arg(long, requires = "programs")]
    everything: bool,

    /// Leave out the boots that are not about the tests: the drivers, and what the image must refuse or report
    #[arg(long, requires = "qemu")]
    no_boots: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let image = image::build(&shell)?;
    if !args.qemu {
        println!("conformance: an image of {} KiB", image.len() >> 10);
        return Ok(());
    }
    let installation = qemu::find(args.install)?;
    if args.everything {
        return known_differences_are_found(args, &shell, &installation, &image);
    }
    let version = installation.version().to_string();
    let mut comparison = Comparison::new(version);
    if !args.no_boots {
        for case in boots::CASES {
            say(&format!("boot: {}", case.name));
            boots::check(&installation, &image, case)?;
            comparison.boots.push(case.name);
        }
    }
    for pes in &args.pes {
        say(&format!("{pes} PEs: the model"));
        let model = on_the_model(&shell, *pes)?;
        let machine = Machine::new(&installation, &image, *pes)?;
        let qemu = machine.run_tests(|name| say(&format!("{pes} PEs: {name}")))?;
        comparison.add(*pes, Run::Suite, &model, &qemu)?;
        comparison.add_alone(*pes, &machine, &model)?;
        let plan = args.plan(*pes, false);
        for difference in random::compare(&shell, &machine, plan, say)? {
            comparison.differences.push((*pes, difference));
        }
        comparison.programs += args.programs;
        comparison.operations += args.programs * args.length;
    }
    say("");
    comparison.print();
    let differences = comparison.differences.len();
    ensure!(differences == 0, "{differences} random programs are answered differently");
    let wrong = comparison.wrong().count();
    ensure!(wrong == 0, "{wrong} results are not what the rules and the list of known failures say");
    Ok(())
}

impl Args {
    fn plan(&self, pes: u16, everything: bool) -> random::Plan {
        random::Plan { seed: self.seed, count: self.programs, length: self.length, pes, everything }
    }
}

/// Shows that a difference is found and shortened, with those that are known to be there.
fn known_differences_are_found(args: &Args, shell: &Shell, installation: &Installation, image: &[u8]) -> Result<()> {
    for pes in &args.pes {
        let machine = Machine::new(installation, image, *pes)?;
        let differences = random::compare(shell, &machine, args.plan(*pes, true), say)?;
        say("");
        for difference in &differences {
            println!("program {} on {pes} PEs, shortened from {} operations:", difference.seed, args.length);
            difference.shown.iter().for_each(|line| println!("    {line}"));
            ensure!(difference.is_known(), "that is no difference that is known, or it could be shorter");
        }
        ensure!(!differences.is_empty(), "QEMU {} does nothing wrong that is known of it", installation.version());
    }
    Ok(())
}

/// Shows what is going on, in one line of a terminal.
fn say(what: &str) {
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[K{what}");
    }
}

/// What `gicv5 conformance --json` prints, as far as it matters here.
#[derive(Deserialize)]
struct ModelReport {
    tests: Vec<ModelTest>,
}

#[derive(Deserialize)]
struct ModelTest {
    name: String,
    status: String,
    rules: Vec<String>,
    message: Option<String>,
}

fn on_the_model(shell: &Shell, pes: u16) -> Result<Vec<ModelTest>> {
    let run = workspace::cargo(shell).args(["run", "--quiet", "--locked", "--package", "gicv5", "--"]).args([
        "conformance",
        "--json",
        "--machine",
        "qemu-11.1",
        "--pes",
        &pes.to_string(),
    ]);
    // A test that fails is in the document.
    let text = run.quiet().ignore_status().read().context("the suite on the model")?;
    let report: ModelReport = serde_json::from_str(&text).context("what the suite on the model printed")?;
    Ok(report.tests)
}

/// What a result means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// Both pass, or the test applies to neither.
    Same,
    /// QEMU fails, as is known.
    Known,
    /// QEMU fails, and nobody knew.
    Unknown,
    /// QEMU passes, although the list says that it fails.
    Repaired,
    /// The model fails.
    ModelFails,
}

/// One test on one machine.
struct Row {
    pes: u16,
    run: Run,
    name: String,
    rules: Vec<String>,
    model: String,
    qemu: String,
    message: String,
    judgement: Judgement,
}

struct Comparison {
    version: String,
    rows: Vec<Row>,
    /// Boots that are not about the tests, and ended as they should.
    boots: Vec<&'static str>,
    programs: u64,
    operations: u64,
    differences: Vec<(u16, random::Difference)>,
}

fn judge(name: &str, version: &str, run: Run, model: &str, qemu: &str) -> Judgement {
    let known = known::find(name, version, run).is_some();
    match (model, qemu) {
        ("fail", _) => Judgement::ModelFails,
        ("pass", "pass") if known => Judgement::Repaired,
        ("pass", "pass") | ("open", "open") | ("not-applicable", "not-applicable") => Judgement::Same,
        ("pass", "fail" | "stopped") if known => Judgement::Known,
        _ => Judgement::Unknown,
    }
}

impl Comparison {
    fn new(version: String) -> Comparison {
        Comparison { version, rows: Vec::new(), boots: Vec::new(), programs: 0, operations: 0, differences: Vec::new() }
    }

    /// Runs the tests about the state after reset once more, each in boots of its own.
    fn add_alone(&mut self, pes: u16, machine: &Machine<'_>, model: &[ModelTest]) -> Result<()> {
        for test in model.iter().filter(|test| test.name.starts_with("reset::")) {
            for (run, arguments) in [(Run::Alone, ""), (Run::AfterReset, "again")] {
                say(&format!("{pes} PEs: {}{}", test.name, run.words()));
                let ended = machine.run_alone(&test.name, arguments)?;
                self.add(pes, run, std::slice::from_ref(test), &[ended])?;
            }
        }
        Ok(())
    }

    fn add(&mut self, pes: u16, run: Run, model: &[ModelTest], qemu: &[Ended]) -> Result<()> {
        let mut on_qemu: BTreeMap<&str, &Ended> = BTreeMap::new();
        for ended in qemu {
            ensure!(on_qemu.insert(&ended.name, ended).is_none(), "{} ran twice on QEMU", ended.name);
        }
        for test in model {
            let ended = on_qemu.remove(test.name.as_str());
            let ended = ended.with_context(|| format!("{} did not run on QEMU: is the image current?", test.name))?;
            let judgement = judge(&test.name, &self.version, run, &test.status, &ended.status);
            let message = match judgement {
                Judgement::ModelFails => test.message.clone().unwrap_or_default(),
                _ => ended.message.clone(),
            };
            self.rows.push(Row {
                pes,
                run,
                name: test.name.clone(),
                rules: test.rules.clone(),
                model: test.status.clone(),
                qemu: ended.status.clone(),
                message,
                judgement,
            });
        }
        ensure!(on_qemu.is_empty(), "tests of the image that the model has not: {:?}", on_qemu.keys());
        Ok(())
    }

    /// What makes the run fail.
    fn wrong(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !matches!(row.judgement, Judgement::Same | Judgement::Known))
    }

    fn print(&self) {
        for row in &self.rows {
            let Row { pes, run, name, rules, model, qemu, message, judgement } = row;
            let words = run.words();
            println!("{pes} PE  model {model:<14}  QEMU {qemu:<14}  {name}{words}  [{}]", rules.join(", "));
            match (judgement, known::find(name, &self.version, *run)) {
                (Judgement::Same, _) => {}
                (Judgement::Known, Some(known)) => println!("      known ({}): QEMU {}", known.id, known.does),
                (Judgement::Known, None) | (Judgement::Unknown, _) => println!("      NOT KNOWN: {message}"),
                (Judgement::Repaired, _) => println!("      NO LONGER FAILS: take it off the list for this version"),
                (Judgement::ModelFails, _) => println!("      THE MODEL FAILS: {message}"),
            }
        }
        for pes in self.machines() {
            let rows = |run: fn(Run) -> bool| self.rows.iter().filter(move |row| row.pes == pes && run(row.run));
            let suite = || rows(|run| run == Run::Suite);
            let count = |status: &str| suite().filter(|row| row.qemu == status).count();
            let known = suite().filter(|row| row.judgement == Judgement::Known).count();
            println!(
                "QEMU {}, {pes} PE: {} passed, {} failed, {} stopped it, {} not applicable; {known} of these are known",
                self.version,
                count("pass"),
                count("fail"),
                count("stopped"),
                count("not-applicable"),
            );
            let alone = rows(|run| run != Run::Suite);
            let (passed, others): (Vec<&Row>, Vec<&Row>) = alone.partition(|row| row.qemu == "pass");
            println!(
                "QEMU {}, {pes} PE: of {} tests in boots of their own {} passed",
                self.version,
                passed.len() + others.len(),
                passed.len(),
            );
        }
        if !self.boots.is_empty() {
            println!("{} other boots ended as they should: {}", self.boots.len(), self.boots.join("; "));
        }
        if self.programs != 0 {
            self.print_programs();
        }
    }

    fn print_programs(&self) {
        for (pes, random::Difference { seed, shown }) in &self.differences {
            println!("program {seed} on {pes} PEs is answered differently; shortened, it is");
            for line in shown {
                println!("    {line}");
            }
        }
        let (programs, operations) = (self.programs, self.operations);
        let differences = self.differences.len();
        println!("{programs} random programs, {operations} operations, {differences} programs answered differently");
    }

    fn machines(&self) -> Vec<u16> {
        let mut pes: Vec<u16> = self.rows.iter().map(|row| row.pes).collect();
        pes.dedup();
        pes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_of_this_version_may_fail() {
        let known = "irs::enabling_needs_no_read";
        assert_eq!(judge(known, "11.1.3", Run::Suite, "pass", "fail"), Judgement::Known);
        assert_eq!(judge(known, "11.1.3", Run::Suite, "pass", "stopped"), Judgement::Known);
        assert_eq!(judge(known, "11.1.3", Run::Suite, "pass", "pass"), Judgement::Repaired);
        assert_eq!(judge(known, "12.0.0", Run::Suite, "pass", "fail"), Judgement::Unknown);
        assert_eq!(judge(known, "12.0.0", Run::Suite, "pass", "pass"), Judgement::Same);
        assert_eq!(judge("a::b", "11.1.3", Run::Suite, "pass", "fail"), Judgement::Unknown);
        assert_eq!(judge("a::b", "11.1.3", Run::Suite, "not-applicable", "pass"), Judgement::Unknown);
        assert_eq!(judge("a::b", "11.1.3", Run::Suite, "pass", "not-applicable"), Judgement::Unknown);
        assert_eq!(judge("a::b", "11.1.3", Run::Suite, "not-applicable", "not-applicable"), Judgement::Same);
        assert_eq!(judge("a::b", "11.1.3", Run::Suite, "fail", "fail"), Judgement::ModelFails);
    }

    #[test]
    fn a_test_that_only_one_side_ran_is_an_error() {
        let model = |name: &str| ModelTest { name: name.into(), status: "pass".into(), rules: vec![], message: None };
        let ended = |name: &str| Ended { name: name.into(), status: "pass".into(), message: String::new() };
        let mut comparison = Comparison::new("11.1.3".into());
        assert!(comparison.add(1, Run::Suite, &[model("a::b")], &[]).is_err());
        assert!(comparison.add(1, Run::Suite, &[model("a::b")], &[ended("a::b"), ended("a::c")]).is_err());
        assert!(comparison.add(1, Run::Suite, &[model("a::b")], &[ended("a::b"), ended("a::b")]).is_err());
        assert!(comparison.add(1, Run::Suite, &[model("a::b")], &[ended("a::b")]).is_ok());
    }
}
