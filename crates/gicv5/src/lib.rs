//! The GICv5 lab: the architecture on the command line.
//!
//! [`main`] is the program. `cli` reads the arguments and turns the result of a command into an exit status. Each command is
//! a module of its own with its arguments and a function that runs it: `conformance`, `decode`, `explain`, `faults`,
//! `replay`, `run`.
//!
//! It is a library for the sake of the fuzz targets, which reach what reads files that somebody else may have written.
#![forbid(unsafe_code)]

mod cli;
mod conformance;
mod decode;
mod explain;
mod failure;
mod faults;
mod listed;
mod number;
mod output;
mod progress;
mod replay;
mod run;
mod suggest;

use std::process::ExitCode;

pub use run::{check_device_tree, check_scenario};

/// Runs the program with the arguments and streams of the process, and gives its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let columns = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    let mut stdout = anstream::stdout().lock();
    // Not locked: the worker threads of a command draw on it.
    let mut stderr = anstream::stderr();
    let mut console = output::Console::new(&mut stdout, columns);
    ExitCode::from(cli::run(std::env::args_os(), &mut console, &mut stderr))
}
