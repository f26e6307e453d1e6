//! Mutation testing: does a test notice when the model is wrong?
//!
//! Every mutant of a file is compiled into it at once, each behind a question that an environment variable answers, so that
//! one build serves them all. What is changed: comparisons, Boolean, bitwise and arithmetic operators, negations, conditions,
//! guards, arms of matches that have a catch-all, Boolean literals, statements left out, and functions that return at once.
//! Constants, `const fn` and what stands inside macros are not.
//!
//! Each test runs alone once without a mutant and writes down which questions it comes by. A mutant then costs only the tests
//! that come by its question, the short ones first, until one fails. That is sound because a test that never asks runs
//! the very same code; what is random in a test has a fixed seed so that it comes by the same questions every time.

use crate::exceptions;
use crate::workspace;
use anyhow::{Context, Result, ensure};
use quote::{ToTokens, format_ident, quote};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{BinOp, Expr, ReturnType, Stmt, UnOp};
use xshell::{Shell, cmd};

const PACKAGE: &str = "gicv5-model";
const FILES: &[&str] = &[
    "src/parts/interrupts.rs",
    "src/cpu/mod.rs",
    "src/cpu/interface.rs",
    "src/cpu/el2.rs",
    "src/cpu/registers.rs",
    "src/engine/commands.rs",
    "src/engine/doorbells.rs",
    "src/engine/instructions.rs",
    "src/engine/irs_frame.rs",
    "src/engine/ists.rs",
    "src/engine/judge.rs",
    "src/engine/pe_state.rs",
    "src/engine/physical.rs",
    "src/engine/physical_ist.rs",
    "src/engine/registers.rs",
    "src/engine/residency.rs",
    "src/engine/save.rs",
    "src/engine/signals.rs",
    "src/engine/state.rs",
    "src/engine/time.rs",
    "src/engine/virtual_interrupts.rs",
    "src/engine/virtual_ists.rs",
    "src/engine/vm_table.rs",
    "src/engine/vms.rs",
    "src/engine/vpes.rs",
    "src/engine/wires.rs",
    "src/parts/descriptor.rs",
    "src/parts/doorbells.rs",
    "src/parts/irs_registers.rs",
    "src/parts/vm_tables.rs",
    "src/parts/wires.rs",
    "src/parts/swerr.rs",
    "src/memory/mod.rs",
    "src/memory/claims.rs",
    "src/words/owner.rs",
];

/// Tests that read the sources of the model, which are not themselves with the mutants in them.
const READ_SOURCES: &[&str] =
    &["no_rule_of_the_checker_is_without_somebody_who_breaks_it_and_somebody_who_comes_close"];

/// The changes that nothing can notice, and why.
const EXCEPTIONS: &str = "docs/mutant-exceptions.toml";

/// Change the model in every small way and see whether its tests notice
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change only this file, as `src/engine/vms.rs`; may be given several times
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
    /// Run only this many of the mutants, spread evenly over all
    #[arg(long, value_name = "COUNT")]
    sample: Option<usize>,
    /// Run only the mutants that survived a run before, whose output this file holds
    #[arg(long, value_name = "PATH")]
    again: Option<PathBuf>,
    /// Fail if less than this share of the mutants is noticed
    #[arg(long, value_name = "PERCENT", default_value_t = 95.0)]
    min: f64,
    /// How many mutants to run at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    jobs: usize,
    /// Seconds beyond twenty times what they take without a mutant, after which tests hang, which is noticed
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    timeout: u64,
    /// Operations of the comparison with the naive machine, for each mutant
    #[arg(long, value_name = "COUNT", default_value_t = 6_000)]
    operations: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let root = workspace::root()?;
    let work = root.join("target/mutants");
    let tree = work.join("tree");
    for file in &args.file {
        ensure!(FILES.contains(&file.as_str()), "{file} is none of {}", FILES.join(", "));
    }
    let package = Path::new("crates").join(PACKAGE);
    let (mut changed, mutants) = change_all(&shell, &package)?;
    let lib = package.join("src/lib.rs");
    let count = format!("const MUTANTS: usize = {};", mutants.len());
    changed.insert(lib.clone(), format!("{}{count}{SWITCH}", shell.read_file(&lib)?));
    copy_workspace(&shell, &root, &tree, &changed)?;

    let exceptions = Exceptions::parse(EXCEPTIONS, &shell.read_file(EXCEPTIONS)?)?;
    let stale: Vec<String> = exceptions.stale(&mutants);
    ensure!(stale.is_empty(), "{EXCEPTIONS} speaks of what is not there:\n{}", stale.join("\n"));

    let of_file = |n: &usize| {
        let file = mutants.get(*n).and_then(|mutant| mutant.split(':').next());
        args.file.is_empty() || args.file.iter().any(|chosen| Some(chosen.as_str()) == file)
    };
    let all = match &args.again {
        Some(path) => survivors_in(&shell.read_file(path)?, &mutants),
        None => (0..mutants.len()).collect(),
    };
    let all: Vec<usize> = all.into_iter().filter(of_file).collect();
    let chosen: Vec<usize> = sample(all.len(), args.sample).into_iter().filter_map(|n| all.get(n).copied()).collect();
    let started = Instant::now();
    let tests = examine(&build(&shell, &tree, &work)?, &tree, &work, args)?;
    eprintln!(
        "{} tests take {:.0} s one by one; {} of {} mutants to run",
        tests.len(),
        tests.iter().map(|test| test.time).sum::<Duration>().as_secs_f64(),
        chosen.len(),
        mutants.len(),
    );

    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.jobs.max(1))
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let done = next.fetch_add(1, Ordering::Relaxed);
                        let Some(&n) = chosen.get(done) else { return Ok(()) };
                        let Some(mutant) = mutants.get(n) else { return Ok(()) };
                        let outcome = outcome(&tests, &tree, n, args)?;
                        if let Some(how) = outcome.survives() {
                            eprintln!("{how}: {mutant}");
                        }
                        outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(n, outcome);
                        if std::io::stderr().is_terminal() {
                            eprint!("{done} of {}, {} s\r", chosen.len(), started.elapsed().as_secs());
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        Ok::<(), anyhow::Error>(())
    })?;
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut files: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut all = Tally::default();
    let mut explained = 0;
    for (n, outcome) in &outcomes {
        let mutant = mutants.get(*n).map(String::as_str).unwrap_or_default();
        match (outcome.survives(), exceptions.reason(mutant)) {
            (Some(how), Some(reason)) => {
                println!("{how}: {mutant}\n    {reason}");
                explained += 1;
            }
            (Some(how), None) => println!("{how}: {mutant}"),
            (None, Some(_)) => println!("is noticed although {EXCEPTIONS} has a reason why not: {mutant}"),
            (None, None) => {}
        }
        files.entry(mutant.split(':').next().unwrap_or_default()).or_default().add(*outcome);
        all.add(*outcome);
    }
    for (file, tally) in &files {
        let has = mutants.iter().filter(|mutant| mutant.split(':').next() == Some(file)).count();
        println!("{file}: {tally}; there are {has}");
    }
    println!("{all}; there are {}; {} s", mutants.len(), started.elapsed().as_secs());
    println!("{explained} of those that survive have a reason, {} have none", all.run - all.noticed - explained);
    ensure!(all.percent() >= args.min, "{:.1} % is less than {} %", all.percent(), args.min);
    Ok(())
}

/// Why nothing can notice some changes.
type Exceptions = exceptions::Exceptions<Exception>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    /// As a run prints them, without the lines, which move: `src/engine/vms.rs: forget_doorbell: condition …`.
    mutants: Vec<String>,
    reason: String,
}

impl Exceptions {
    fn reason(&self, mutant: &str) -> Option<&str> {
        let mutant = without_line(mutant);
        let exception = self.exception.iter().find(|exception| exception.mutants.contains(&mutant))?;
        Some(&exception.reason)
    }

    /// The exceptions that are about no mutant.
    fn stale(&self, mutants: &[String]) -> Vec<String> {
        let mutants: BTreeSet<String> = mutants.iter().map(|mutant| without_line(mutant)).collect();
        let all = self.exception.iter().flat_map(|exception| &exception.mutants);
        all.filter(|mutant| !mutants.contains(*mutant)).cloned().collect()
    }
}

/// A mutant's name without its line.
fn without_line(mutant: &str) -> String {
    match mutant.split_once(':') {
        Some((file, rest)) => format!("{file}:{}", rest.split_once(':').map_or(rest, |(_, rest)| rest)),
        None => mutant.to_owned(),
    }
}

/// What came of a mutant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// A test fails.
    Noticed,
    /// A test does not end.
    Hangs,
    /// Tests come by it and none fails.
    Survives,
    /// No test comes by it.
    NotReached,
}

impl Outcome {
    fn survives(self) -> Option<&'static str> {
        match self {
            Outcome::Noticed | Outcome::Hangs => None,
            Outcome::Survives => Some("survives"),
            Outcome::NotReached => Some("survives, not reached"),
        }
    }
}

/// How many mutants came to what.
#[derive(Default)]
struct Tally {
    run: usize,
    noticed: usize,
    hung: usize,
    not_reached: usize,
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        self.run += 1;
        self.noticed += usize::from(outcome.survives().is_none());
        self.hung += usize::from(outcome == Outcome::Hangs);
        self.not_reached += usize::from(outcome == Outcome::NotReached);
    }

    fn percent(&self) -> f64 {
        self.noticed as f64 * 100.0 / self.run.max(1) as f64
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { run, noticed, hung, not_reached } = self;
        write!(f, "{noticed} of {run} mutants noticed, {:.1} %; {hung} of them hang, ", self.percent())?;
        write!(f, "{not_reached} are not reached by any test")
    }
}

/// The numbers of the mutants to run: all, or as many as asked for, spread evenly.
fn sample(all: usize, wanted: Option<usize>) -> Vec<usize> {
    let wanted = wanted.unwrap_or(all).min(all);
    (0..wanted).map(|n| n * all / wanted).collect()
}

/// The numbers of the mutants that survive according to what a run printed.
fn survivors_in(output: &str, mutants: &[String]) -> Vec<usize> {
    let survives = output.lines().filter(|line| line.starts_with("survives"));
    let survivors: BTreeSet<&str> = survives.filter_map(|line| Some(line.split_once(": ")?.1)).collect();
    (0..mutants.len()).filter(|n| mutants.get(*n).is_some_and(|mutant| survivors.contains(mutant.as_str()))).collect()
}

/// Asks whether a mutant is the chosen one; writes down, if asked to, that it was asked about.
const SWITCH: &str = r#"
mod mutants {
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    pub(crate) fn on(n: usize) -> bool {
        static CHOSEN: OnceLock<usize> = OnceLock::new();
        static ASKED: OnceLock<Option<std::fs::File>> = OnceLock::new();
        static SEEN: [AtomicBool; crate::MUTANTS] = [const { AtomicBool::new(false) }; crate::MUTANTS];
        let asked = ASKED.get_or_init(|| {
            let path = std::env::var_os("MUTANTS_ASKED")?;
            Some(std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file to write down"))
        });
        if let Some(mut file) = asked.as_ref()
            && !SEEN[n].swap(true, Ordering::Relaxed)
        {
            file.write_all(format!("{n}\n").as_bytes()).expect("room to write down");
        }
        *CHOSEN.get_or_init(|| std::env::var("MUTANT").ok().and_then(|n| n.parse().ok()).unwrap_or(usize::MAX)) == n
    }
}
"#;

/// The files with every mutant in them, by their place, and what each mutant changes.
fn change_all(shell: &Shell, package: &Path) -> Result<(BTreeMap<PathBuf, String>, Vec<String>)> {
    let mut mutants = Vec::new();
    let mut changed = BTreeMap::new();
    for file in FILES {
        let path = package.join(file);
        let text = shell.read_file(&path)?;
        changed.insert(path, mutate(file, &text, &mut mutants)?);
    }
    Ok((changed, mutants))
}

/// Makes the tree as the workspace is, with other text in some files. What is as it was is not touched, so that it is not built
/// anew.
fn copy_workspace(shell: &Shell, root: &Path, tree: &Path, changed: &BTreeMap<PathBuf, String>) -> Result<()> {
    let files = cmd!(shell, "git ls-files --cached --others --exclude-standard").quiet().read()?;
    // A link leads nowhere that the model's tests go.
    let files: BTreeSet<&Path> = files.lines().map(Path::new).filter(|file| root.join(file).is_file()).collect();
    for file in &files {
        let text = match changed.get(*file) {
            Some(text) => text.clone().into_bytes(),
            None => std::fs::read(root.join(file))?,
        };
        let to = tree.join(file);
        if std::fs::read(&to).is_ok_and(|there| there == text) {
            continue;
        }
        if let Some(folder) = to.parent() {
            shell.create_dir(folder)?;
        }
        shell.write_file(to, text)?;
    }
    remove_others(shell, tree, Path::new(""), &files)
}

/// Removes from a folder of the tree what is not among the files.
fn remove_others(shell: &Shell, tree: &Path, folder: &Path, files: &BTreeSet<&Path>) -> Result<()> {
    for path in shell.read_dir(tree.join(folder))? {
        let Some(file) = path.file_name().map(|name| folder.join(name)) else { continue };
        if path.is_dir() {
            remove_others(shell, tree, &file, files)?;
        } else if !files.contains(file.as_path()) && file != Path::new("Cargo.lock") {
            shell.remove_path(path)?;
        }
    }
    Ok(())
}

/// The test executables with every mutant in them.
fn build(shell: &Shell, tree: &Path, work: &Path) -> Result<Vec<PathBuf>> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    let _there = shell.push_dir(tree);
    let messages = workspace::cargo(shell)
        .args(["test", "--no-run", "--message-format", "json-render-diagnostics"])
        .args(["--package", PACKAGE, "--lib", "--tests", "--target-dir"])
        .arg(work.join("build"))
        .env("CARGO_PROFILE_TEST_OPT_LEVEL", "1")
        .env("RUSTFLAGS", "-Awarnings")
        .read()?;
    let mut executables = Vec::new();
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line).context("reading what cargo test --no-run printed")?;
        executables.extend(message.executable);
    }
    ensure!(!executables.is_empty(), "{PACKAGE} has no tests");
    Ok(executables)
}

/// A test.
struct Test {
    executable: PathBuf,
    name: String,
    /// How long it takes without a mutant, with the start of its executable.
    time: Duration,
    /// The mutants that it comes by.
    asks: BTreeSet<usize>,
}

/// Runs each test alone and without a mutant, to learn what it asks and how long it takes. The short ones come first.
fn examine(executables: &[PathBuf], tree: &Path, work: &Path, args: &Args) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for executable in executables {
        let list = Command::new(executable).args(["--list", "--format", "terse"]).current_dir(tree).output()?;
        let list = String::from_utf8(list.stdout).context("reading the names of the tests")?;
        let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
        for name in names.filter(|name| !READ_SOURCES.contains(name)) {
            let asked = work.join("asked");
            if asked.exists() {
                std::fs::remove_file(&asked)?;
            }
            let started = Instant::now();
            let mut command = command(executable, &[name], tree, args);
            let end = watch(command.env("MUTANTS_ASKED", &asked), Duration::from_secs(600))?;
            ensure!(end == End::Passed, "{name} of {} fails without any mutant", executable.display());
            let asks = match asked.exists() {
                true => std::fs::read_to_string(&asked)?.lines().map(str::parse).collect::<Result<_, _>>()?,
                false => BTreeSet::new(),
            };
            tests.push(Test { executable: executable.clone(), name: name.to_owned(), time: started.elapsed(), asks });
        }
    }
    tests.sort_by_key(|test| test.time);
    Ok(tests)
}

/// Runs the tests that come by a mutant until one notices it. Those that take no time run together.
fn outcome(tests: &[Test], tree: &Path, mutant: usize, args: &Args) -> Result<Outcome> {
    const SHORT: Duration = Duration::from_millis(100);
    let mut batches: BTreeMap<(Duration, &Path, &str), Vec<&Test>> = BTreeMap::new();
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
        let mut command = command(executable, &names, tree, args);
        match watch(command.env("MUTANT", mutant.to_string()), Duration::from_secs(args.timeout) + time * 20)? {
            End::Passed => {}
            End::Failed => return Ok(Outcome::Noticed),
            End::Hung => return Ok(Outcome::Hangs),
        }
    }
    Ok(Outcome::Survives)
}

/// Some tests of an executable, one after the other.
fn command(executable: &Path, names: &[&str], tree: &Path, args: &Args) -> Command {
    let mut command = Command::new(executable);
    command
        .args(["--test-threads", "1", "--exact"])
        .args(names)
        .current_dir(tree)
        .env("GICV5_REFERENCE_OPERATIONS", args.operations.to_string())
        .env("PROPTEST_FAILURE_PERSISTENCE", "off")
        .env("PROPTEST_RNG_SEED", "5")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
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

/// Runs tests to the first that fails, and no longer than this.
fn watch(command: &mut Command, at_most: Duration) -> Result<End> {
    let mut child = command.spawn()?;
    let (tell, told) = mpsc::channel();
    let reader = child.stdout.take().map(|stdout| {
        std::thread::spawn(move || {
            let failed = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line.ends_with("... FAILED"));
            // Nobody listens any more if the tests took too long.
            let _ = tell.send(failed);
        })
    });
    let end = match told.recv_timeout(at_most) {
        Ok(false) => None,
        Ok(true) => Some(End::Failed),
        Err(_) => Some(End::Hung),
    };
    if end.is_some() {
        child.kill()?;
    }
    let status = child.wait()?;
    if let Some(reader) = reader {
        reader.join().map_err(|_| anyhow::anyhow!("the reader of a test's output panicked"))?;
    }
    Ok(end.unwrap_or(if status.success() { End::Passed } else { End::Failed }))
}

/// The text with every mutant in it; adds what each changes to the list.
fn mutate(file: &str, text: &str, mutants: &mut Vec<String>) -> Result<String> {
    let mut tree = syn::parse_file(text).with_context(|| format!("parsing {file}"))?;
    Mutator { file, function: String::new(), mutants, names: BTreeMap::new() }.visit_file_mut(&mut tree);
    Ok(tree.to_token_stream().to_string())
}

struct Mutator<'a> {
    file: &'a str,
    function: String,
    mutants: &'a mut Vec<String>,
    /// How many there are of each name.
    names: BTreeMap<String, usize>,
}

impl Mutator<'_> {
    /// A question whether this mutant is on.
    fn on(&mut self, at: proc_macro2::Span, what: &str) -> proc_macro2::TokenStream {
        let n = self.mutants.len();
        let mutant = format!("{}:{}: {}: {what}", self.file, at.start().line, self.function);
        // A function may have several that read alike.
        let name = without_line(&mutant);
        let before = self.names.entry(name).and_modify(|number| *number += 1).or_insert(1);
        self.mutants.push(if *before == 1 { mutant } else { format!("{mutant} (number {before})") });
        quote!(crate::mutants::on(#n))
    }

    fn function(&mut self, signature: &syn::Signature, block: &mut syn::Block) {
        if signature.constness.is_some() {
            return;
        }
        self.function = signature.ident.to_string();
        visit_mut::visit_block_mut(self, block);
        let returned = match &signature.output {
            ReturnType::Default => vec![quote!(())],
            ReturnType::Type(_, kind) => match kind.to_token_stream().to_string() {
                kind if kind == "bool" => vec![quote!(true), quote!(false)],
                kind if kind.starts_with("Option <") => vec![quote!(None)],
                kind if kind.starts_with("Vec <") => vec![quote!(Vec::new())],
                _ => vec![],
            },
        };
        for value in returned {
            let on = self.on(signature.span(), &format!("returns {value} at once"));
            let early: Stmt = syn::parse_quote!(if #on { return #value; });
            block.stmts.insert(0, early);
        }
    }

    /// The condition, and the same always true and never; unless it was an operator before any mutant was put into it.
    fn condition(&mut self, condition: &mut Expr, before: Option<(proc_macro2::Span, String)>) {
        let Some((at, text)) = before else { return };
        let always = self.on(at, &format!("condition `{text}` is true"));
        let never = self.on(at, &format!("condition `{text}` is false"));
        *condition = syn::parse_quote!((#always || !#never && (#condition)));
    }
}

impl VisitMut for Mutator<'_> {
    fn visit_item_mod_mut(&mut self, item: &mut syn::ItemMod) {
        if item.ident != format_ident!("tests") {
            visit_mut::visit_item_mod_mut(self, item);
        }
    }

    fn visit_item_fn_mut(&mut self, item: &mut syn::ItemFn) {
        let signature = item.sig.clone();
        self.function(&signature, &mut item.block);
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut syn::ImplItemFn) {
        let signature = item.sig.clone();
        self.function(&signature, &mut item.block);
    }

    fn visit_item_const_mut(&mut self, _: &mut syn::ItemConst) {}
    fn visit_impl_item_const_mut(&mut self, _: &mut syn::ImplItemConst) {}
    fn visit_type_mut(&mut self, _: &mut syn::Type) {}
    fn visit_pat_mut(&mut self, _: &mut syn::Pat) {}
    fn visit_attribute_mut(&mut self, _: &mut syn::Attribute) {}

    fn visit_stmt_mut(&mut self, stmt: &mut Stmt) {
        let before = match stmt {
            Stmt::Expr(expr @ (Expr::MethodCall(_) | Expr::Assign(_)), Some(_)) => Some((expr.span(), brief(expr))),
            _ => None,
        };
        visit_mut::visit_stmt_mut(self, stmt);
        if let Some((at, text)) = before {
            let on = self.on(at, &format!("leaves out `{text}`"));
            *stmt = syn::parse_quote!(if !#on { #stmt });
        }
    }

    fn visit_arm_mut(&mut self, arm: &mut syn::Arm) {
        if let Some((_, guard)) = &mut arm.guard {
            let before = plain_condition(guard);
            self.visit_expr_mut(guard);
            self.condition(guard, before);
        }
        self.visit_expr_mut(&mut arm.body);
    }

    fn visit_expr_match_mut(&mut self, expr: &mut syn::ExprMatch) {
        visit_mut::visit_expr_match_mut(self, expr);
        let is_catch_all = |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        if expr.arms.iter().any(is_catch_all) {
            for arm in expr.arms.iter_mut().filter(|arm| !is_catch_all(arm)) {
                let on = self.on(arm.pat.span(), &format!("arm `{}` is not there", brief(&arm.pat)));
                let guard: Expr = match &arm.guard {
                    Some((_, guard)) if has_let(guard) => syn::parse_quote!(!#on && #guard),
                    Some((_, guard)) => syn::parse_quote!(!#on && (#guard)),
                    None => syn::parse_quote!(!#on),
                };
                arm.guard = Some((Default::default(), Box::new(guard)));
            }
        }
    }

    fn visit_expr_repeat_mut(&mut self, expr: &mut syn::ExprRepeat) {
        self.visit_expr_mut(&mut expr.expr);
    }

    fn visit_expr_const_mut(&mut self, _: &mut syn::ExprConst) {}

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        let at = expr.span();
        let before = match expr {
            Expr::If(syn::ExprIf { cond, .. }) | Expr::While(syn::ExprWhile { cond, .. }) => plain_condition(cond),
            _ => None,
        };
        let text = match expr {
            Expr::Binary(binary) => brief(&binary.left),
            Expr::Unary(unary) => brief(&unary.expr),
            _ => String::new(),
        };
        visit_mut::visit_expr_mut(self, expr);
        match expr {
            Expr::If(branch) => self.condition(&mut branch.cond, before),
            Expr::While(branch) => self.condition(&mut branch.cond, before),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => {
                let on = self.on(at, &format!("leaves out `!` before `{text}`"));
                let inner = &unary.expr;
                // Twice is none, whatever the type.
                *expr = syn::parse_quote!((if #on { !!#inner } else { !#inner }));
            }
            Expr::Lit(literal) => {
                if let syn::Lit::Bool(value) = &literal.lit {
                    let on = self.on(at, &format!("`{}` is the other value", value.value));
                    *expr = syn::parse_quote!((#literal ^ #on));
                }
            }
            Expr::Binary(binary) => {
                if has_let(&binary.left) || has_let(&binary.right) {
                    return;
                }
                let Some(other) = other(&binary.op) else { return };
                let is = binary.op.to_token_stream();
                let what = format!("`{is}` is `{}` after `{text}`", other.to_token_stream());
                let on = self.on(at, &what);
                let (left, right) = (&binary.left, &binary.right);
                // An assignment such as `|=` is one of these, too.
                *expr = syn::parse_quote!((if #on { #left #other #right } else { #binary }));
            }
            _ => {}
        }
    }
}

/// What an operator is changed into.
fn other(op: &BinOp) -> Option<BinOp> {
    Some(match op {
        BinOp::Eq(_) => syn::parse_quote!(!=),
        BinOp::Ne(_) => syn::parse_quote!(==),
        BinOp::Lt(_) => syn::parse_quote!(<=),
        BinOp::Le(_) => syn::parse_quote!(<),
        BinOp::Gt(_) => syn::parse_quote!(>=),
        BinOp::Ge(_) => syn::parse_quote!(>),
        BinOp::And(_) => syn::parse_quote!(||),
        BinOp::Or(_) => syn::parse_quote!(&&),
        BinOp::Add(_) => syn::parse_quote!(-),
        BinOp::Sub(_) => syn::parse_quote!(+),
        BinOp::Mul(_) => syn::parse_quote!(+),
        BinOp::Div(_) => syn::parse_quote!(*),
        BinOp::Rem(_) => syn::parse_quote!(/),
        BinOp::BitAnd(_) => syn::parse_quote!(|),
        BinOp::BitOr(_) => syn::parse_quote!(&),
        BinOp::BitXor(_) => syn::parse_quote!(|),
        BinOp::BitOrAssign(_) => syn::parse_quote!(&=),
        BinOp::BitAndAssign(_) => syn::parse_quote!(|=),
        BinOp::AddAssign(_) => syn::parse_quote!(-=),
        _ => return None,
    })
}

/// Where a condition is and what it says, if it is neither an operator, whose mutants are enough, nor has a `let`.
fn plain_condition(condition: &Expr) -> Option<(proc_macro2::Span, String)> {
    let plain = !has_let(condition) && !matches!(condition, Expr::Binary(_));
    plain.then(|| (condition.span(), brief(condition)))
}

/// Whether an expression has a `let` that names must come from.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        Expr::Paren(inner) => has_let(&inner.expr),
        _ => false,
    }
}

/// The start of a piece of code in one line, without the mutants in it.
fn brief(code: &impl ToTokens) -> String {
    let text: String = code.to_token_stream().to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutants(source: &str) -> Vec<String> {
        let mut mutants = Vec::new();
        mutate("a.rs", source, &mut mutants).unwrap();
        mutants
    }

    #[test]
    fn operators_conditions_statements_and_whole_functions_are_changed() {
        let found =
            mutants("fn f(a: bool, b: u8) { if a { g.h(); } let c = b < 3; let d = !a; }\nfn p() -> bool { true }");
        for what in [
            "a.rs:1: f: condition `a` is true",
            "a.rs:1: f: condition `a` is false",
            "a.rs:1: f: leaves out `g . h ()`",
            "a.rs:1: f: `<` is `<=` after `b`",
            "a.rs:1: f: leaves out `!` before `a`",
            "a.rs:1: f: returns () at once",
            "a.rs:2: p: `true` is the other value",
            "a.rs:2: p: returns true at once",
            "a.rs:2: p: returns false at once",
        ] {
            assert!(found.iter().any(|mutant| mutant == what), "{what}\n{found:#?}");
        }
        assert_eq!(found.len(), 9, "{found:#?}");
    }

    #[test]
    fn changes_that_read_alike_are_numbered() {
        let found = mutants("fn f(a: bool) { if a { g(false);\n g(false); } }");
        assert!(found.contains(&"a.rs:1: f: `false` is the other value".to_owned()), "{found:#?}");
        assert!(found.contains(&"a.rs:2: f: `false` is the other value (number 2)".to_owned()), "{found:#?}");
    }

    #[test]
    fn a_sample_is_spread_over_all_and_never_more_than_all() {
        assert_eq!(sample(10, Some(5)), [0, 2, 4, 6, 8]);
        assert_eq!(sample(3, Some(9)), [0, 1, 2]);
        assert_eq!(sample(3, None), [0, 1, 2]);
        assert_eq!(sample(0, Some(1)), [0_usize; 0]);
    }

    #[test]
    fn what_survived_can_be_run_again() {
        let mutants = ["a.rs:1: f: x", "a.rs:1: f: y", "a.rs:2: g: x"].map(str::to_owned);
        let output = "survives: a.rs:1: f: y\nsurvives, not reached: a.rs:2: g: x\na.rs: 1 of 3 mutants noticed\n";
        assert_eq!(survivors_in(output, &mutants), [1, 2]);
    }

    #[test]
    fn a_change_that_nothing_can_notice_has_a_reason_wherever_its_line_is() {
        let text = "[[exception]]\nmutants = ['a.rs: f: x', 'a.rs: f: y']\nreason = 'it is the same'\n";
        let exceptions = Exceptions::parse(EXCEPTIONS, text).unwrap();
        assert_eq!(exceptions.reason("a.rs:17: f: x"), Some("it is the same"));
        assert_eq!(exceptions.reason("a.rs:17: g: x"), None);
        assert_eq!(exceptions.stale(&["a.rs:3: f: x".to_owned()]), ["a.rs: f: y"]);
        assert!(Exceptions::parse(EXCEPTIONS, "[[exception]]\nmutants = []").is_err());
    }

    #[test]
    fn every_reason_is_about_a_change_that_there_is() {
        let shell = workspace::shell().unwrap();
        let (_, mutants) = change_all(&shell, &Path::new("crates").join(PACKAGE)).unwrap();
        let exceptions = Exceptions::parse(EXCEPTIONS, &shell.read_file(EXCEPTIONS).unwrap()).unwrap();
        assert_eq!(exceptions.stale(&mutants), [""; 0]);
    }

    #[test]
    fn tests_end_at_the_first_that_fails_and_when_they_take_too_long() {
        let shell = |script| watch(Command::new("sh").args(["-c", script]).stdout(Stdio::piped()), SOON).unwrap();
        const SOON: Duration = Duration::from_secs(2);
        assert_eq!(shell("echo 'test a ... ok'"), End::Passed);
        assert_eq!(shell("echo 'test a ... ok'; exit 101"), End::Failed);
        let started = Instant::now();
        assert_eq!(shell("echo 'test a ... FAILED'; exec sleep 60"), End::Failed);
        assert!(started.elapsed() < SOON);
        assert_eq!(shell("exec sleep 60"), End::Hung);
    }

    #[test]
    fn what_cannot_ask_and_what_is_a_test_is_left_alone() {
        let source = "const A: bool = !true; const fn f() -> bool { !A }\nmod tests { fn g() { h(!true); } }\n\
            fn m(x: [u8; 1 + 1]) -> u8 { if let Some(y) = x.first() && y != z { 1 } else { 2 } }";
        assert_eq!(mutants(source), ["a.rs:3: m: `!=` is `==` after `y`"]);
    }

    #[test]
    fn an_arm_can_be_missed_where_there_is_a_catch_all() {
        let found = mutants("fn f(a: u8) -> u8 { match a { 1 => 2, n if n > 3 => 4, _ => 5 } }");
        assert_eq!(found.iter().filter(|mutant| mutant.contains("is not there")).count(), 2, "{found:#?}");
    }
}
