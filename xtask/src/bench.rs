//! `cargo xtask bench`: what the model and the hypervisor's library cost, in instructions.
//!
//! A program that measures runs under Valgrind, which counts the instructions executed in one function of it, `measured`: the
//! rounds of a workload without what leads up to them. The count divided by the rounds is what one round costs, however busy
//! the machine is. Taking the difference of two whole runs instead would do only if everything else took exactly as many
//! instructions in both, and a set-up of ten thousand million of them does not. That is little enough to need no framework.
//! Figures that have a ceiling fail the chore when they exceed it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace;

/// Count the instructions that things take, and fail if there are more than there may be. Needs Valgrind.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure; everything, unless said otherwise.
    parts: Vec<Part>,
}

/// Something to measure.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Events in the model.
    Events,
    /// VMs in the model.
    Vms,
    /// The hypervisor's library.
    Hyp,
    /// `gicv5 run`.
    Run,
}

/// Pending interrupts and PEs of the event workload, cheapest expected first.
const EVENTS: [(u32, u16); 7] =
    [(0, 1), (10, 1), (1_000, 1), (100_000, 1), (1_000_000, 1), (10, 256), (1_000_000, 256)];

/// Valid VMs, and VPEs of each, for the workloads with VMs, cheapest expected first.
const VMS: [(u32, u16); 5] = [(1, 1), (1, 512), (256, 1), (256, 16), (4_096, 1)];

/// VPEs of a VM that is made valid and invalid.
const VPES: [u16; 3] = [1, 8, 512];

/// The most instructions that pend, acknowledge, drop and deactivate may take together.
const EVENT_CEILING: u64 = 4_000;

/// The most instructions that setting and clearing Pending of a VM's LPI may take together.
const INJECT_CEILING: u64 = 4_000;

/// The most instructions that asking for a doorbell, ringing it, taking it and clearing the cause may take together.
const DOORBELL_CEILING: u64 = 16_000;

/// The most instructions that making a VM with one VPE valid and invalid again may take, with all that software does for it.
const VM_CEILING: u64 = 60_000;

/// The most instructions that each further VPE may take of that.
const VPE_CEILING: u64 = 10_000;

/// The most that the dearest case of a workload may cost, as a multiple of the cheapest, in per cent.
const SPREAD_PERCENT: u64 = 130;

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    ensure!(
        cmd!(shell, "valgrind --version").quiet().ignore_stdout().run().is_ok(),
        "valgrind is not installed; on Debian: apt-get install valgrind"
    );
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    let mut missed = Vec::new();
    if wanted(Part::Events) || wanted(Part::Vms) {
        let program = built(&shell, &["--package", "gicv5-model", "--example", "measure"], "examples/measure")?;
        let mut bench = Benchmark { shell: &shell, program, missed: Vec::new() };
        if wanted(Part::Events) {
            bench.events()?;
        }
        if wanted(Part::Vms) {
            bench.vms()?;
        }
        missed = bench.missed;
    }
    if wanted(Part::Hyp) {
        missed.extend(crate::bench_hyp::run(&shell)?);
    }
    if wanted(Part::Run) {
        missed.extend(crate::bench_run::run(&shell)?);
    }
    ensure!(missed.is_empty(), "{}", missed.join("\n"));
    Ok(())
}

/// The program that measures, and what it found to be too much.
struct Benchmark<'a> {
    shell: &'a Shell,
    program: PathBuf,
    missed: Vec<String>,
}

impl Benchmark<'_> {
    fn events(&mut self) -> Result<()> {
        println!("pend, acknowledge, drop and deactivate, with less urgent LPIs pending:");
        self.spread("events", ["pending", "PEs"], &EVENTS, EVENT_CEILING)?;
        let program = &self.program;
        println!("{}", cmd!(self.shell, "{program} bytes 1000000").quiet().read()?);
        Ok(())
    }

    fn vms(&mut self) -> Result<()> {
        println!("set and clear Pending of an LPI of a VM that is not resident:");
        self.spread("inject", ["VMs", "VPEs"], &VMS, INJECT_CEILING)?;
        println!("ask for a doorbell, ring it, take it, clear its cause:");
        self.spread("doorbell", ["VMs", "VPEs"], &VMS, DOORBELL_CEILING)?;
        println!("make a VM valid and invalid again:");
        self.lives()?;
        let program = &self.program;
        for vpes in VPES {
            let vpes = vpes.to_string();
            println!("{}", cmd!(self.shell, "{program} idle 256 {vpes}").quiet().read()?);
        }
        Ok(())
    }

    /// Runs a workload with each pair of arguments. None may cost more than the ceiling, nor much more than another.
    fn spread(&mut self, workload: &str, headings: [&str; 2], cases: &[(u32, u16)], ceiling: u64) -> Result<()> {
        let [one, two] = headings;
        println!("{one:>9}  {two:>4}  {:>12}", "instructions");
        let mut costs = Vec::new();
        for (one, two) in cases {
            let arguments = [workload, &one.to_string(), &two.to_string()];
            let cost = instructions(self.shell, &self.program, &arguments, 10_000)?;
            println!("{one:>9}  {two:>4}  {cost:>12}");
            costs.push(cost);
        }
        let cheapest = costs.iter().copied().min().unwrap_or(0);
        let dearest = costs.iter().copied().max().unwrap_or(0);
        let spread = dearest * 100 / cheapest.max(1);
        println!("dearest to cheapest: {}.{:02} (at most {SPREAD_PERCENT} %)", spread / 100, spread % 100);
        if dearest > ceiling || spread > SPREAD_PERCENT {
            self.missed.push(format!(
                "{workload}: {cheapest} to {dearest} instructions; at most {ceiling} and a spread of {SPREAD_PERCENT} % are \
                 allowed"
            ));
        }
        Ok(())
    }

    /// Making VMs valid: what the first VPE costs with the VM, and what each further one does.
    fn lives(&mut self) -> Result<()> {
        println!("{:>9}  {:>12}  {:>8}", "VPEs", "instructions", "per VPE");
        let mut first = 0;
        for vpes in VPES {
            let arguments = ["vm", &vpes.to_string()];
            let cost = instructions(self.shell, &self.program, &arguments, 100)?;
            let further = match u64::from(vpes) {
                1 => {
                    first = cost;
                    0
                }
                vpes => cost.saturating_sub(first) / (vpes - 1),
            };
            println!("{vpes:>9}  {cost:>12}  {further:>8}");
            if first > VM_CEILING || further > VPE_CEILING {
                self.missed.push(format!(
                    "vm: {first} instructions with one VPE and {further} for each further one; at most {VM_CEILING} and \
                     {VPE_CEILING} are allowed"
                ));
            }
        }
        Ok(())
    }
}

/// Instructions of one round of a workload that takes the number of rounds as its last argument.
pub(crate) fn instructions(shell: &Shell, program: &Path, workload: &[&str], rounds: u64) -> Result<u64> {
    let count = rounds.to_string();
    let output = cmd!(
        shell,
        "valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect=*::measured* {program} {workload...} {count}"
    )
    .quiet()
    .ignore_stdout()
    .read_stderr()?;
    let collected = collected(&output).with_context(|| format!("valgrind printed no count:\n{output}"))?;
    // A pattern that fits no function counts nothing, and would hold every ceiling.
    ensure!(collected > 0, "{} has no function `measured` that valgrind recognises", program.display());
    Ok(collected.div_ceil(rounds))
}

/// The number of instructions in what callgrind prints.
pub(crate) fn collected(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

/// Builds a program and returns where it is.
pub(crate) fn built(shell: &Shell, which: &[&str], path: &str) -> Result<PathBuf> {
    workspace::cargo(shell).args(["build", "--quiet", "--release", "--locked"]).args(which).run()?;
    Ok(workspace::root()?.join("target/release").join(path))
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
