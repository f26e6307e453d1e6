//! QEMU's IRS, driven register by register.
//!
//! The chore finds QEMU 11.1 or installs it, and checks that it still differs from the rules exactly as the list of known
//! differences says: a comparison may only explain away what is known to be there.

use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use gicv5_qtest::install::{self, Environment, Installation};
use gicv5_qtest::known::{self, KNOWN, Side};
use gicv5_qtest::operation::from_text;
use gicv5_qtest::qemu::{Qemu, Settings};

/// Check QEMU's IRS against the list of its known differences
///
/// QEMU is $GICV5_QEMU, or the one on PATH if it is 11.1 or newer, or the one in the Debian root $GICV5_QEMU_ROOT (by
/// default gicv5/qemu in the user's cache directory). Running the last needs root, for chroot.
#[derive(clap::Args)]
#[command(after_help = "Example, a file for --run:
  write32 0x190 0x1000e     # IRS_IST_CFGR
  write64 0x180 0x40100001  # IRS_IST_BASER
  read64 0x180
  line 5 high")]
pub(crate) struct Args {
    /// Install QEMU in $GICV5_QEMU_ROOT first, unless it is there (520 MB, a minute or two)
    #[arg(long)]
    install: bool,

    /// Run the operations in FILE and print QEMU's answers instead
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let environment = Environment::from_process();
    let installation = if args.install {
        install::install(&environment, |step| {
            if stderr().is_terminal() {
                let _ = writeln!(stderr(), "{step}");
            }
        })?
    } else {
        Installation::find(&environment)?
    };
    let mut qemu = Qemu::start(&installation, Settings::default())?;
    match &args.run {
        Some(path) => answers(&mut qemu, path),
        None => check(&mut qemu, &installation),
    }
}

/// Prints what QEMU answers to the operations in a file.
fn answers(qemu: &mut Qemu, path: &PathBuf) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let sequence =
        from_text(&text).map_err(|(line, error)| anyhow!(error).context(format!("{}:{line}", path.display())))?;
    for (operation, answer) in sequence.iter().zip(qemu.perform_all(&sequence)?) {
        match answer.value {
            Some(value) => println!("{operation}  {value:#x}"),
            None => println!("{operation}"),
        }
        for event in answer.events {
            println!("  {event}");
        }
    }
    Ok(())
}

/// Checks the state after reset and every known difference.
fn check(qemu: &mut Qemu, installation: &Installation) -> Result<()> {
    let mut wrong = 0;
    for (offset, found, listed) in known::check_reset(qemu)? {
        println!("after reset {offset:#x} reads {found:#x}, the list says {listed:#x}");
        wrong += 1;
    }
    for entry in KNOWN {
        match entry.check(qemu, Side::Qemu) {
            Ok(()) => {}
            Err(known::CheckError::Machine { name, source }) => {
                return Err(anyhow!(source).context(format!("running the script of {name}")));
            }
            Err(error) => {
                println!("{error}");
                wrong += 1;
            }
        }
    }
    let version = installation.version();
    ensure!(wrong == 0, "QEMU {version} is not what the list of known differences describes in {wrong} places");
    println!("QEMU {version}: state after reset and {} known differences as listed", KNOWN.len());
    Ok(())
}
