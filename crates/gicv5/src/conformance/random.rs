//! Random programs on the model.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use gicv5_conformance::random::{Avoid, Program, Programs, list_has};
use serde::Serialize;
use serde_json::json;

use super::Args;
use super::bench::{MachineKind, ModelBench, config};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Console};
use crate::progress::Progress;

/// What a program has shown.
#[derive(Serialize)]
struct Shown {
    seed: u64,
    /// A digest of all answers; `None` with `--trace`.
    digest: Option<String>,
    /// The operations and their answers, with `--trace`.
    answer_list: Vec<String>,
}

/// Runs random programs, and prints what they show.
pub(super) fn run(
    args: &Args,
    count: u64,
    interrupted: &AtomicBool,
    out: &mut Console<'_>,
) -> Result<Outcome, Failure> {
    let bench = ModelBench::new(config(args.machine, args.pes))?;
    let pe = gicv5_hal::Pe::new(&bench.first);
    let programs = Programs::new(&bench, &pe);
    // What QEMU is known to do otherwise.
    let avoid = Avoid { spi_disable_and_clear: args.machine == MachineKind::Qemu && !args.everything };
    let mut program_list = Vec::new();
    let progress = Progress::new(Some(count), "{bar:30} {percent}% of the programs, {eta} left");
    for seed in (0..count).map(|n| args.seed.wrapping_add(n)) {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        progress.show(program_list.len() as u64, String::new);
        let program = Program { seed, length: args.length, avoid };
        let failed = |error: gicv5_conformance::Failure| Failure::BadInput(format!("program {seed}: {error}"));
        let shown = if args.trace {
            let mut answer_list = Vec::new();
            let keep = |n| list_has(&args.keep, n);
            programs
                .run(program, keep, |n, pe, operation, answer| {
                    answer_list.push(format!("{n} PE {pe}: {operation} -> {answer}"));
                })
                .map_err(failed)?;
            Shown { seed, digest: None, answer_list }
        } else {
            let digest = programs.digest(program).map_err(failed)?;
            Shown { seed, digest: Some(format!("{digest:016x}")), answer_list: Vec::new() }
        };
        program_list.push(shown);
    }
    drop(progress);
    let interrupted = interrupted.load(Ordering::Relaxed);
    if args.json {
        let document = json!({
            "machine": args.machine.name(),
            "pes": args.pes,
            "length": args.length,
            "programs": program_list.len(),
            "program_list": program_list,
            "interrupted": interrupted,
        });
        output::json(out, &document)?;
    } else {
        for shown in &program_list {
            match &shown.digest {
                Some(digest) => writeln!(out, "program {} {digest}", shown.seed)?,
                None => shown.answer_list.iter().try_for_each(|line| writeln!(out, "{line}"))?,
            }
        }
    }
    Ok(Outcome::of(interrupted, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gicv5_hal::Coherency;
    use gicv5_model::config::Eagerness;
    use gicv5_model::config::{Effects, MachineConfig};

    /// The digests of programs on a machine.
    fn digests(pes: u16, programs: std::ops::Range<u64>, change: impl Fn(&mut MachineConfig)) -> Vec<u64> {
        let mut machine = config(MachineKind::Qemu, pes);
        change(&mut machine);
        let bench = ModelBench::new(machine).unwrap();
        let pe = gicv5_hal::Pe::new(&bench.first);
        let on_bench = Programs::new(&bench, &pe);
        let digests = programs.map(|seed| {
            let program = Program { seed, length: LENGTH, avoid: Avoid::default() };
            on_bench.digest(program).unwrap()
        });
        let digests = digests.collect();
        assert_eq!(bench.violations(), [], "a program breaks no rule");
        digests
    }

    const LENGTH: usize = 400;

    /// Wants programs to be answered alike by machines that differ in what the architecture leaves open only, and returns
    /// how many operations that were.
    fn agree(seeds_per_machine: u64) -> u64 {
        let mut operations = 0;
        for pes in [1, 2, 4] {
            let seeds = 0..seeds_per_machine;
            let first = digests(pes, seeds.clone(), |_| {});
            let early = digests(pes, seeds.clone(), |machine| machine.switches.effects = Effects::Early);
            assert_eq!(first, early, "effects as early as may be, {pes} PEs");
            let slow = digests(pes, seeds.clone(), |machine| {
                machine.switches.effects = Effects::Random;
                machine.command_latency = 50;
            });
            assert_eq!(first, slow, "commands that take time, {pes} PEs");
            let apart = digests(pes, seeds.clone(), |machine| {
                machine.memory.coherency = Coherency::NonCoherent;
                machine.memory.eagerness = Eagerness::Random;
            });
            assert_eq!(first, apart, "memory that is not coherent, {pes} PEs");
            operations += 4 * seeds_per_machine * LENGTH as u64;
        }
        operations
    }

    #[test]
    fn random_programs_do_not_show_what_the_architecture_leaves_open() {
        agree(20);
    }

    #[test]
    #[ignore = "millions of operations: the gate runs it"]
    fn random_programs_by_the_million_do_not_show_what_the_architecture_leaves_open() {
        let operations = agree(500);
        println!("{operations} random operations on the model");
        assert!(operations >= 2_000_000);
    }
}
