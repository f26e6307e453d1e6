//! Chores of the project: `cargo xtask CHORE`. This file only chooses the chore; each has a module of its own.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a chore reports to the person or the gate that runs it")]
#![allow(clippy::print_stderr, reason = "progress and findings go to standard error")]

mod arrows;
mod bare_metal;
mod bare_metal_panics;
mod bench;
mod bench_hyp;
mod bench_run;
mod conformance;
#[cfg(test)]
mod documents;
mod exceptions;
mod fuzz;
mod licences;
mod loom;
mod mutate;
mod qemu;
mod qtest;
mod registers;
mod rules;
mod switches;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Chores of the project. Each exits with 0 if everything held, 1 if something did not.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    Arrows(arrows::Args),
    BareMetal(bare_metal::Args),
    Bench(bench::Args),
    Conformance(conformance::Args),
    Fuzz(fuzz::Args),
    Licences(licences::Args),
    Loom(loom::Args),
    Mutate(mutate::Args),
    Qemu(qemu::Args),
    Qtest(qtest::Args),
    Registers(registers::Args),
    Rules(rules::Args),
    Switches(switches::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().chore {
        Chore::Arrows(args) => arrows::run(&args),
        Chore::BareMetal(args) => bare_metal::run(&args),
        Chore::Bench(args) => bench::run(&args),
        Chore::Conformance(args) => conformance::run(&args),
        Chore::Fuzz(args) => fuzz::run(&args),
        Chore::Licences(args) => licences::run(&args),
        Chore::Loom(args) => loom::run(&args),
        Chore::Mutate(args) => mutate::run(&args),
        Chore::Qemu(args) => qemu::run(&args),
        Chore::Qtest(args) => qtest::run(&args),
        Chore::Registers(args) => registers::run(&args),
        Chore::Rules(args) => rules::run(&args),
        Chore::Switches(args) => switches::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
