//! The GICv5 lab: the architecture on the command line.
//!
//! [`cli`] reads the arguments and turns the result of a command into an exit status. Each command is a module of its
//! own with its arguments and a function that runs it: [`conformance`], [`decode`], [`explain`],
//! [`replay`], [`run`].
#![forbid(unsafe_code)]

mod cli;
mod conformance;
mod decode;
mod explain;
mod failure;
mod faults;
mod number;
mod output;
mod replay;
mod run;
mod suggest;

use std::process::ExitCode;

fn main() -> ExitCode {
    let columns = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    let mut stdout = anstream::stdout().lock();
    let mut stderr = anstream::stderr().lock();
    let mut console = output::Console::new(&mut stdout, columns);
    ExitCode::from(cli::run(std::env::args_os(), &mut console, &mut stderr))
}
