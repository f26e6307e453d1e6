//! `cargo xtask million`: the long scenario, twice.
//!
//! A million interrupts take too long for the tests. What they show on a small machine must hold on a large one: the judge is
//! content, nothing leaks, no rule is broken, and the numbers are the same on every run.

use crate::workspace;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Instant;
use xshell::cmd;

const SCENARIO: &str = "scenarios/slow/million.toml";

/// Run a million interrupts for 1 024 VMs, twice, and compare the numbers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Another scenario
    #[arg(default_value = SCENARIO)]
    scenario: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let scenario = &args.scenario;
    workspace::cargo(&shell).args(["build", "--release", "--locked", "--package", "gicv5"]).run()?;
    let mut documents = Vec::new();
    for n in 1..=2 {
        let start = Instant::now();
        let program = workspace::root()?.join("target/release/gicv5");
        let output = cmd!(shell, "{program} run {scenario} --json").ignore_status().output()?;
        let document = String::from_utf8(output.stdout).context("the report is not UTF-8")?;
        let report: Value = serde_json::from_str(&document).context("the report of the run")?;
        ensure!(output.status.code() == Some(0), "{scenario} does not hold: {:?}", report.get("expectations"));
        let number = |field: &str| {
            report.get(field).and_then(Value::as_u64).with_context(|| format!("the report has no {field}"))
        };
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "run {n}: {} injected, {} delivered, {} merged, {} doorbells, {} events, {} ns simulated, {seconds:.1} s",
            number("injected")?,
            number("delivered")?,
            number("merged")?,
            number("doorbells")?,
            number("events")?,
            number("simulated_ns")?,
        );
        for bad in ["leaks", "violations", "findings", "quarantined", "errors"] {
            ensure!(number(bad)? == 0, "{scenario}: {bad}: {}", number(bad)?);
        }
        documents.push(document);
    }
    ensure!(documents.first() == documents.last(), "the two runs differ");
    println!("both runs say the same, to the last byte");
    Ok(())
}
