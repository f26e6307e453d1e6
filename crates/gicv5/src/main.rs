//! The GICv5 lab's program; the library has everything.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    gicv5::main()
}
