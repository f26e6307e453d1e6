//! Line coverage of a package by its own tests.
//!
//! The compiler writes the counters and LLVM's own tools read them; nothing else is needed, and nothing has to be
//! compiled first to measure. The tools must be of the compiler's LLVM version, as the format changes between versions.

use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
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

/// Lines that could run and lines that did, of a file or of a package. Tests are not counted.
#[derive(Default)]
struct Lines {
    count: usize,
    covered: usize,
}

impl Lines {
    /// Nothing to cover counts as covered.
    fn percent(&self) -> f64 {
        if self.count == 0 { 100.0 } else { self.covered as f64 * 100.0 / self.count as f64 }
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
    let lcov = cmd!(shell, "{cov} export --format lcov --instr-profile {merged}").args(objects).quiet().read()?;
    report(shell, package, &manifest_dir.join("src"), &lcov)
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

/// Prints what was covered of each file below `source`, and returns the sum.
fn report(shell: &Shell, package: &str, source: &Path, lcov: &str) -> Result<Lines> {
    let mut total = Lines::default();
    println!("{:>7} {:>7} {:>8}  {package}", "lines", "covered", "percent");
    for (file, hits) in hits(lcov)? {
        let Ok(name) = file.strip_prefix(source) else { continue };
        let code = workspace::lines_before_tests(&shell.read_file(&file)?).count();
        let hits: Vec<_> = hits.into_iter().filter(|&(line, _)| line <= code).collect();
        let missed: Vec<_> = hits.iter().filter(|&(_, count)| *count == 0).map(|&(line, _)| line).collect();
        let lines = Lines { count: hits.len(), covered: hits.len() - missed.len() };
        print!("{:>7} {:>7} {:>7.2}%  {}", lines.count, lines.covered, lines.percent(), name.display());
        println!("{}{}", if missed.is_empty() { "" } else { ", not covered: " }, ranges(&missed));
        total.count += lines.count;
        total.covered += lines.covered;
    }
    ensure!(total.count != 0, "llvm-cov names no line of {package}");
    println!("{:>7} {:>7} {:>7.2}%  total", total.count, total.covered, total.percent());
    Ok(total)
}

/// How often each line of each file ran, from what llvm-cov prints in the format of lcov.
fn hits(lcov: &str) -> Result<BTreeMap<PathBuf, BTreeMap<usize, u64>>> {
    let mut files = BTreeMap::new();
    let mut file: Option<&mut BTreeMap<usize, u64>> = None;
    for record in lcov.lines() {
        match (record.split_once(':'), &mut file) {
            (Some(("SF", path)), _) => file = Some(files.entry(PathBuf::from(path)).or_default()),
            (Some(("DA", line)), Some(lines)) => {
                let (line, count) = line.split_once(',').with_context(|| format!("`{record}` has no count"))?;
                *lines.entry(line.parse()?).or_default() += count.parse::<u64>()?;
            }
            _ => {}
        }
    }
    Ok(files)
}

/// Line numbers in order, neighbours drawn together: `3-5, 9`.
fn ranges(lines: &[usize]) -> String {
    let groups = lines.chunk_by(|line, next| line + 1 == *next).filter_map(|group| match group {
        [line] => Some(line.to_string()),
        [first, .., last] => Some(format!("{first}-{last}")),
        [] => None,
    });
    groups.collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_line_add_up_over_records() {
        let hits = hits("SF:/a.rs\nFN:1,f\nDA:1,2\nDA:2,0\nend_of_record\nSF:/a.rs\nDA:1,3\n").unwrap();
        assert_eq!(hits[Path::new("/a.rs")], BTreeMap::from([(1, 5), (2, 0)]));
        assert!(super::hits("SF:/a.rs\nDA:1\n").is_err());
    }

    #[test]
    fn neighbouring_lines_are_drawn_together() {
        assert_eq!(ranges(&[3, 4, 5, 9, 11, 12]), "3-5, 9, 11-12");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn a_file_without_code_is_covered_whole() {
        assert_eq!(Lines::default().percent(), 100.0);
        assert_eq!(Lines { count: 4, covered: 3 }.percent(), 75.0);
    }
}
