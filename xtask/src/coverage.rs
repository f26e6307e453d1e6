//! Line coverage of a package by its own tests.
//!
//! The compiler writes the counters and LLVM's own tools read them; nothing else is needed, and nothing has to be
//! compiled first to measure. The tools must be of the compiler's LLVM version, as the format changes between versions.

use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Measure line coverage of a package by its tests; fails below the minimum
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Package to measure; may be given several times
    #[arg(short, long = "package", value_name = "NAME", default_value = "gicv5-arch")]
    package: Vec<String>,

    /// Least line coverage of each package, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 95.0)]
    min: f64,
}

/// Covered lines of a file or of a package.
#[derive(Clone, Copy, Default)]
struct Lines {
    count: u64,
    covered: u64,
}

impl Lines {
    /// Nothing to cover counts as covered.
    fn percent(self) -> f64 {
        if self.count == 0 { 100.0 } else { self.covered as f64 * 100.0 / self.count as f64 }
    }

    fn add(&mut self, other: Lines) {
        self.count += other.count;
        self.covered += other.covered;
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let tools = Tools::find(&shell)?;
    let mut below = Vec::new();
    for package in &args.package {
        let total = measure(&shell, &tools, package)?;
        if total.percent() < args.min {
            below.push(format!("{package} has {:.2} % line coverage, less than {} %", total.percent(), args.min));
        }
    }
    ensure!(below.is_empty(), "{}", below.join("; "));
    Ok(())
}

/// Runs the tests of a package with counters and prints what they covered.
fn measure(shell: &Shell, tools: &Tools, package: &str) -> Result<Lines> {
    let work = workspace::root()?.join("target/coverage");
    let counters = work.join("counters").join(package);
    shell.remove_path(&counters)?;
    shell.create_dir(&counters)?;

    let tests = build_tests(shell, tools, package, &work)?;
    let manifest_dir = tests.manifest_dir;
    {
        // Where `cargo test` would run them.
        let _there = shell.push_dir(&manifest_dir);
        for test in &tests.executables {
            cmd!(shell, "{test} --quiet").env("LLVM_PROFILE_FILE", counters.join("%m-%p.profraw")).run()?;
        }
    }

    let merged = counters.join("merged.profdata");
    let raw: Vec<PathBuf> = shell
        .read_dir(&counters)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "profraw"))
        .collect();
    ensure!(!raw.is_empty(), "the tests of {package} wrote no counters to {}", counters.display());
    let profdata = &tools.profdata;
    cmd!(shell, "{profdata} merge --sparse {raw...} --output {merged}").quiet().run()?;

    let cov = &tools.cov;
    let objects = tests.executables.iter().flat_map(|test| [PathBuf::from("--object"), test.clone()]);
    let json = cmd!(shell, "{cov} export --format text --summary-only --instr-profile {merged}")
        .args(objects)
        .quiet()
        .read()?;
    report(package, &manifest_dir.join("src"), &json)
}

/// The test executables of a package and where they run.
struct Tests {
    executables: Vec<PathBuf>,
    manifest_dir: PathBuf,
}

fn build_tests(shell: &Shell, tools: &Tools, package: &str, work: &Path) -> Result<Tests> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        executable: Option<PathBuf>,
        manifest_path: Option<PathBuf>,
    }
    let host = &tools.host;
    let flags = format!("{} -Cinstrument-coverage", std::env::var("RUSTFLAGS").unwrap_or_default());
    // Naming the target keeps the counters out of build scripts and procedural macros.
    let messages = workspace::cargo(shell)
        .args(["test", "--locked", "--no-run", "--message-format", "json-render-diagnostics"])
        .args(["--package", package, "--lib", "--tests", "--target", host])
        .arg("--target-dir")
        .arg(work)
        .env("RUSTFLAGS", flags.trim())
        .read()?;
    let mut executables = Vec::new();
    let mut manifest_dir = None;
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line).context("reading what cargo test --no-run printed")?;
        if message.reason == "compiler-artifact"
            && let (Some(executable), Some(manifest)) = (message.executable, message.manifest_path)
        {
            executables.push(executable);
            manifest_dir = manifest.parent().map(Path::to_path_buf);
        }
    }
    let manifest_dir = manifest_dir.with_context(|| format!("{package} has no tests"))?;
    Ok(Tests { executables, manifest_dir })
}

/// Prints the lines of each file below `source` and returns their sum.
fn report(package: &str, source: &Path, json: &str) -> Result<Lines> {
    #[derive(Deserialize)]
    struct Export {
        data: Vec<Data>,
    }
    #[derive(Deserialize)]
    struct Data {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    struct File {
        filename: PathBuf,
        summary: Summary,
    }
    #[derive(Deserialize)]
    struct Summary {
        lines: LineSummary,
    }
    #[derive(Deserialize)]
    struct LineSummary {
        count: u64,
        covered: u64,
    }

    let export: Export = serde_json::from_str(json).context("reading what llvm-cov printed")?;
    let mut total = Lines::default();
    println!("{:>8} {:>8} {:>9}  {package}", "lines", "covered", "percent");
    for file in export.data.iter().flat_map(|data| &data.files) {
        let Ok(name) = file.filename.strip_prefix(source) else {
            continue;
        };
        let LineSummary { count, covered } = file.summary.lines;
        let lines = Lines { count, covered };
        total.add(lines);
        println!("{count:>8} {covered:>8} {:>8.2}%  {}", lines.percent(), name.display());
    }
    ensure!(total.count != 0, "llvm-cov names no line of {package}");
    println!("{:>8} {:>8} {:>8.2}%  total", total.count, total.covered, total.percent());
    Ok(total)
}

/// LLVM's coverage tools of the compiler's version.
struct Tools {
    host: String,
    profdata: PathBuf,
    cov: PathBuf,
}

impl Tools {
    fn find(shell: &Shell) -> Result<Tools> {
        let version = cmd!(shell, "rustc -vV").quiet().read()?;
        let field = |name: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
                .with_context(|| format!("rustc -vV prints no `{name}`"))
        };
        let host = field("host:")?.to_owned();
        let major = field("LLVM version:")?.split('.').next().unwrap_or_default().to_owned();
        let sysroot = cmd!(shell, "rustc --print sysroot").quiet().read()?;
        let component = Path::new(&sysroot).join("lib/rustlib").join(&host).join("bin");
        let find = |name, variable| find_tool(shell, name, variable, &major, &component);
        Ok(Tools { profdata: find("llvm-profdata", "LLVM_PROFDATA")?, cov: find("llvm-cov", "LLVM_COV")?, host })
    }
}

/// A tool of LLVM `major`: the one the variable names, or the first of the usual places that has that version.
fn find_tool(shell: &Shell, name: &str, variable: &str, major: &str, component: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let places = [
        component.join(name),
        format!("/usr/lib/llvm-{major}/bin/{name}").into(),
        format!("{name}-{major}").into(),
        name.into(),
    ];
    for place in places {
        let version = cmd!(shell, "{place} --version").quiet().ignore_stderr().read();
        if version.is_ok_and(|version| version.contains(&format!("LLVM version {major}."))) {
            return Ok(place);
        }
    }
    bail!(
        "no {name} of LLVM {major}, the version of rustc; install it with `rustup component add llvm-tools`, \
         on Debian with `apt-get install llvm-{major}`, or name it in {variable}"
    );
}
