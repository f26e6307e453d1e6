//! What the tests say of a mutant.
//!
//! Each test runs alone once without a mutant and writes down which questions it comes by. A mutant then costs only the tests
//! that come by its question, the short ones first, until one fails. That is sound because a test that never asks runs
//! the very same code; what is random in a test has a fixed seed so that it comes by the same questions every time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::workspace::{self, Scratch};

/// Tests that read the sources, which are not themselves with the mutants in them.
const READ_SOURCES: &[&str] =
    &["no_rule_of_the_checker_is_without_somebody_who_breaks_it_and_somebody_who_comes_close"];

/// Beyond twenty times what tests take without a mutant; then they hang, which kills the mutant.
const PATIENCE: Duration = Duration::from_secs(20);

/// Operations of the comparisons with naive machines, for each mutant.
const OPERATIONS: &str = "6000";

/// What came of a mutant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// A test fails or does not end.
    Killed,
    /// Tests come by it and none fails.
    Survives,
    /// No test comes by it.
    NotReached,
}

/// A test executable, and the folder of its package, where its tests expect to run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Executable {
    path: PathBuf,
    folder: PathBuf,
}

/// The test executables of some packages of the copy, or the mutants that the compiler refuses.
pub(super) fn build(scratch: &Scratch, packages: &[&str]) -> Result<Result<Vec<Executable>, BTreeSet<usize>>> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        manifest_path: Option<PathBuf>,
        message: Option<Diagnostic>,
    }
    #[derive(Deserialize)]
    struct Diagnostic {
        level: String,
        spans: Vec<Span>,
    }
    #[derive(Deserialize)]
    struct Span {
        file_name: PathBuf,
        byte_start: usize,
    }
    let output = workspace::cargo(&scratch.shell)
        .args(["test", "--no-run", "--message-format", "json", "--lib", "--tests", "--target-dir"])
        .arg(&scratch.target)
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .env("CARGO_PROFILE_TEST_OPT_LEVEL", "1")
        .env("RUSTFLAGS", "-Awarnings")
        .quiet()
        .ignore_status()
        .output()?;
    let mut executables = Vec::new();
    let mut refused = BTreeSet::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Message = serde_json::from_str(line).context("reading what cargo test --no-run printed")?;
        if let (Some(path), Some(manifest)) = (message.executable, message.manifest_path) {
            let folder = manifest.parent().map(Path::to_path_buf).unwrap_or_default();
            executables.push(Executable { path, folder });
        }
        if let Some(diagnostic) = message.message.filter(|message| message.level == "error") {
            // The left operand of an operator comes first, and the question about a mutant just before that.
            let Some(first) = diagnostic.spans.iter().min_by_key(|span| span.byte_start) else { continue };
            let text = scratch.shell.read_file(&first.file_name)?;
            let question = text.get(..first.byte_start).and_then(|text| text.rsplit_once("mutants :: on ("));
            refused.extend(question.and_then(|(_, n)| n.split_once("usize")?.0.parse::<usize>().ok()));
        }
    }
    if output.status.success() {
        ensure!(!executables.is_empty(), "{} have no tests", packages.join(", "));
        return Ok(Ok(executables));
    }
    ensure!(!refused.is_empty(), "the copy does not compile: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Err(refused))
}

/// A test.
pub(super) struct Test {
    executable: Executable,
    name: String,
    /// How long it takes without a mutant, with the start of its executable.
    pub(super) time: Duration,
    /// The mutants that it comes by.
    asks: BTreeSet<usize>,
}

/// Runs each test alone and without a mutant, to learn what it asks and how long it takes. The short ones come first.
pub(super) fn examine(executables: &[Executable], work: &Path) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for executable in executables {
        let Executable { path, folder } = executable;
        let list = Command::new(path).args(["--list", "--format", "terse"]).current_dir(folder).output()?;
        let list = String::from_utf8(list.stdout).context("reading the names of the tests")?;
        let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
        for name in names.filter(|name| !READ_SOURCES.contains(name)) {
            let asked = work.join("asked");
            if asked.exists() {
                std::fs::remove_file(&asked)?;
            }
            let started = Instant::now();
            let mut command = command(executable, &[name]);
            let end = watch(command.env("MUTANTS_ASKED", &asked), Duration::from_secs(600))?;
            // A test that counts allocations, say, fails because of the questions themselves.
            if end != End::Passed {
                println!("left out, as it fails without any mutant: {name} of {}", path.display());
                continue;
            }
            let asks = match asked.exists() {
                true => std::fs::read_to_string(&asked)?.lines().map(str::parse).collect::<Result<_, _>>()?,
                false => BTreeSet::new(),
            };
            tests.push(Test { executable: executable.clone(), name: name.to_owned(), time: started.elapsed(), asks });
        }
    }
    ensure!(!tests.is_empty(), "no test passes without a mutant");
    tests.sort_by_key(|test| test.time);
    Ok(tests)
}

/// Runs the tests that come by a mutant until one notices it. Those that take no time run together.
pub(super) fn outcome(tests: &[Test], mutant: usize) -> Result<Outcome> {
    const SHORT: Duration = Duration::from_millis(100);
    let mut batches: BTreeMap<(Duration, &Executable, &str), Vec<&Test>> = BTreeMap::new();
    for test in tests.iter().filter(|test| test.asks.contains(&mutant)) {
        let short = test.time <= SHORT;
        let name = if short { "" } else { test.name.as_str() };
        let time = if short { Duration::ZERO } else { test.time };
        batches.entry((time, &test.executable, name)).or_default().push(test);
    }
    if batches.is_empty() {
        return Ok(Outcome::NotReached);
    }
    for ((_, executable, _), tests) in batches {
        let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
        let time: Duration = tests.iter().map(|test| test.time).sum();
        let mut command = command(executable, &names);
        match watch(command.env("MUTANT", mutant.to_string()), PATIENCE + time * 20)? {
            End::Passed => {}
            End::Failed | End::Hung => return Ok(Outcome::Killed),
        }
    }
    Ok(Outcome::Survives)
}

/// Some tests of an executable, one after the other.
fn command(executable: &Executable, names: &[&str]) -> Command {
    let mut command = Command::new(&executable.path);
    command
        .args(["--test-threads", "1", "--exact"])
        .args(names)
        .current_dir(&executable.folder)
        .env("GICV5_REFERENCE_OPERATIONS", OPERATIONS)
        .env("PROPTEST_FAILURE_PERSISTENCE", "off")
        .env("PROPTEST_RNG_SEED", "5")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// How tests end.
#[derive(PartialEq, Eq, Debug)]
enum End {
    Passed,
    Failed,
    Hung,
}

/// Runs tests, and no longer than this.
fn watch(command: &mut Command, at_most: Duration) -> Result<End> {
    let mut child = command.spawn()?;
    let started = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(if status.success() { End::Passed } else { End::Failed }),
            None if started.elapsed() < at_most => std::thread::sleep(Duration::from_millis(5)),
            None => {
                child.kill()?;
                child.wait()?;
                return Ok(End::Hung);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_pass_fail_or_take_too_long() {
        let shell = |script| watch(Command::new("sh").args(["-c", script]), Duration::from_secs(2)).unwrap();
        assert_eq!(shell("exit 0"), End::Passed);
        assert_eq!(shell("exit 101"), End::Failed);
        assert_eq!(shell("exec sleep 60"), End::Hung);
    }
}
