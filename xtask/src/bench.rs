//! `cargo xtask bench`: what the model costs, in instructions.
//!
//! A program that measures runs under Valgrind twice, with different numbers of rounds; the difference of the two counts,
//! divided by the difference of the rounds, is what one round costs, whatever the set-up costs and however busy the machine
//! is. That is little enough to need no framework. Figures that have a ceiling fail the chore when they exceed it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use crate::workspace;

/// Count instructions of the model's work, and fail if there are more than there may be. Needs Valgrind.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure wall-clock time as well. It is for people: nothing fails by it.
    #[arg(long)]
    wall: bool,
}

/// Pending interrupts and PEs of the event workload, cheapest expected first.
const EVENTS: [(u32, u16); 7] =
    [(0, 1), (10, 1), (1_000, 1), (100_000, 1), (1_000_000, 1), (10, 256), (1_000_000, 256)];

/// The most instructions that pend, acknowledge, drop and deactivate may take together.
const EVENT_CEILING: u64 = 4_000;

/// The most that the dearest event may cost, as a multiple of the cheapest, in per cent.
const EVENT_SPREAD_PERCENT: u64 = 130;

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    ensure!(
        cmd!(shell, "valgrind --version").quiet().ignore_stdout().run().is_ok(),
        "valgrind is not installed; on Debian: apt-get install valgrind"
    );
    workspace::cargo(&shell)
        .args(["build", "--quiet", "--release", "--locked", "--package", "gicv5-model", "--example", "measure"])
        .run()?;
    let program = target_folder(&shell)?.join("release/examples/measure");

    println!("pend, acknowledge, drop and deactivate, with less urgent LPIs pending:");
    println!("{:>9}  {:>4}  {:>12}{}", "pending", "PEs", "instructions", if args.wall { "  wall" } else { "" });
    let mut costs = Vec::new();
    for (pending, pes) in EVENTS {
        let (pending, pes) = (pending.to_string(), pes.to_string());
        let cost = instructions(&shell, &program, &["events", &pending, &pes])?;
        let wall = match args.wall {
            true => format!("  {}", cmd!(shell, "{program} events {pending} {pes} 1000000").quiet().read()?),
            false => String::new(),
        };
        println!("{pending:>9}  {pes:>4}  {cost:>12}{wall}");
        costs.push(cost);
    }
    println!("{}", cmd!(shell, "{program} bytes 1000000").quiet().read()?);

    let cheapest = costs.iter().copied().min().unwrap_or(0);
    let dearest = costs.iter().copied().max().unwrap_or(0);
    let spread = dearest * 100 / cheapest.max(1);
    println!("dearest to cheapest: {}.{:02} (at most {EVENT_SPREAD_PERCENT} %)", spread / 100, spread % 100);
    if dearest > EVENT_CEILING || spread > EVENT_SPREAD_PERCENT {
        bail!(
            "an event costs {cheapest} to {dearest} instructions; at most {EVENT_CEILING} and a spread of \
             {EVENT_SPREAD_PERCENT} % are allowed"
        );
    }
    Ok(())
}

/// Instructions of one round of a workload that takes the number of rounds as its last argument.
fn instructions(shell: &Shell, program: &PathBuf, workload: &[&str]) -> Result<u64> {
    const FEW: u64 = 1_000;
    const MANY: u64 = 11_000;
    let count = |rounds: u64| -> Result<u64> {
        let rounds = rounds.to_string();
        let output =
            cmd!(shell, "valgrind --tool=callgrind --callgrind-out-file=/dev/null {program} {workload...} {rounds}")
                .quiet()
                .ignore_stdout()
                .read_stderr()?;
        collected(&output).with_context(|| format!("valgrind printed no count:\n{output}"))
    };
    Ok((count(MANY)?.saturating_sub(count(FEW)?)) / (MANY - FEW))
}

/// The number of instructions in what callgrind prints.
fn collected(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

/// Where cargo puts what it builds.
fn target_folder(shell: &Shell) -> Result<PathBuf> {
    let metadata = workspace::cargo(shell).args(["metadata", "--format-version=1", "--no-deps", "--locked"]).read()?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(folder.context("cargo metadata names no target folder")?.into())
}

#[cfg(test)]
mod tests {
    use super::collected;

    #[test]
    fn the_count_is_found_in_what_callgrind_prints() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 89844115\n==1==\n"), Some(89_844_115));
        assert_eq!(collected("==1== Command: nothing\n"), None);
    }
}
