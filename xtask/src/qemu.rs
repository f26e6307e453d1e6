//! Finding a QEMU with a GICv5, or installing one. The chores that use it find it in the same way.

use std::io::{IsTerminal, Write, stderr};

use anyhow::Result;
use gicv5_qtest::install::{Environment, Installation, find_or_install};

/// Say which QEMU with a GICv5 there is; with --install, install one if there is none
///
/// QEMU is $GICV5_QEMU, or the one on PATH if it is 11.1 or newer, or the one in the Debian root $GICV5_QEMU_ROOT (by
/// default gicv5/qemu in the user's cache directory), which is what is installed. That needs root, for chroot, and
/// debootstrap.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask qemu
  cargo xtask qemu --install")]
pub(crate) struct Args {
    /// Install QEMU if there is none (520 MB, a minute or two)
    #[arg(long)]
    install: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let environment = Environment::from_process();
    let installation = match args.install {
        true => find_or_install(&environment, say)?,
        false => Installation::find(&environment)?,
    };
    println!("QEMU {}: {:?}", installation.version(), installation.command());
    Ok(())
}

/// Says what is about to be done, on a terminal.
pub(crate) fn say(step: &str) {
    if stderr().is_terminal() {
        let _ = writeln!(stderr(), "{step}");
    }
}
