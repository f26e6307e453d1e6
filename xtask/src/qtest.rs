//! The model compared with QEMU's IRS, register by register.
//!
//! Random sequences of accesses go to both, and every value read and every change that QEMU traces is compared. What
//! differs is one of the known differences, or it is shortened and printed. The list of those is itself checked first,
//! against the QEMU at hand and against the model: a comparison may only explain away what is known to be there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gicv5_qtest::compare::{Difference, Tally, compare};
use gicv5_qtest::generate::Generator;
use gicv5_qtest::installation::Installation;
use gicv5_qtest::known::{self, CheckError, KNOWN, Side, explain};
use gicv5_qtest::model::Model;
use gicv5_qtest::operation::{from_text, to_text};
use gicv5_qtest::qemu::{Qemu, Settings};
use gicv5_qtest::{Operation, TestMachine};
use gicv5_random::shrink;

use crate::qemu;

/// Compare the model with QEMU's IRS, access by access
///
/// QEMU is $GICV5_QEMU, or the one on PATH if it is 11.1 or newer, or the one in the Debian root $GICV5_QEMU_ROOT (by
/// default gicv5/qemu in the user's cache directory). Running the last needs root, for chroot.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask qtest --install
  cargo xtask qtest --sequences 500 --seed 10000
  cargo xtask qtest --run FILE, with a FILE like this:
    write32 0x190 0x1000e     # IRS_IST_CFGR
    write64 0x180 0x40100001  # IRS_IST_BASER
    read64 0x180
    line 5 high")]
pub(crate) struct Args {
    /// Install QEMU in $GICV5_QEMU_ROOT first if there is none (520 MB, a minute or two)
    #[arg(long)]
    install: bool,

    /// Run the operations in FILE on both and print the answers instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sequences", "seed", "length"])]
    run: Option<PathBuf>,

    /// How many sequences to compare
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    sequences: u64,

    /// Seed of the first sequence; the others follow
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,

    /// Operations in a sequence, before the survey that ends it
    #[arg(long, value_name = "N", default_value_t = 40)]
    length: usize,
}

/// Sequences that a shrinking may try.
const SHRINK_BUDGET: usize = 4_000;

/// Differences after which the comparison ends.
const ENOUGH: usize = 10;

pub(crate) fn run(args: &Args) -> Result<()> {
    let installation = qemu::find(args.install)?;
    let settings = Settings::default();
    let mut model = Model::new(u16::try_from(settings.pes)?, settings.irs_id)?;
    let mut qemu = Qemu::start(&installation, settings)?;
    if args.run.is_none() {
        check_list(&mut qemu, &mut model, &installation)?;
    }
    if let Some(path) = &args.run {
        return answers(&mut qemu, &mut model, path);
    }
    let outcome = compare_all(&mut qemu, &mut model, args)?;
    outcome.print(&installation);
    let differences = outcome.found.len();
    ensure!(differences == 0, "{differences} differences that the list of known ones does not explain");
    Ok(())
}

/// Prints what both answer to the operations in a file.
fn answers(qemu: &mut Qemu, model: &mut Model, path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let sequence =
        from_text(&text).map_err(|(line, error)| anyhow!(error).context(format!("{}:{line}", path.display())))?;
    let reference = qemu.run(&sequence)?;
    let subject = model.run(&sequence)?;
    for ((operation, reference), subject) in sequence.iter().zip(reference).zip(subject) {
        match (reference.value, subject.value) {
            (Some(reference), Some(subject)) if reference == subject => println!("{operation}  {reference:#x}"),
            (Some(reference), Some(subject)) => println!("{operation}  QEMU {reference:#x}, model {subject:#x}"),
            _ => println!("{operation}"),
        }
        for event in reference.events {
            println!("  {event}");
        }
    }
    Ok(())
}

/// Checks the state after reset and every known difference, on both sides.
fn check_list(qemu: &mut Qemu, model: &mut Model, installation: &Installation) -> Result<()> {
    let mut wrong = 0;
    for (offset, found, listed) in known::check_reset(qemu)? {
        eprintln!("after reset {offset:#x} reads {found:#x}, the list says {listed:#x}");
        wrong += 1;
    }
    for entry in KNOWN {
        wrong += failed(entry.check(qemu, Side::Qemu))?;
        wrong += failed(entry.check(model, Side::Rule))?;
    }
    let version = installation.version();
    ensure!(wrong == 0, "QEMU {version} or the model is not what the list of known differences says in {wrong} places");
    Ok(())
}

/// Reports a check that failed and counts it; a machine that failed is an error.
fn failed<E: std::error::Error + Send + Sync + 'static>(check: Result<(), CheckError<E>>) -> Result<u32> {
    match check {
        Ok(()) => Ok(0),
        Err(error @ CheckError::Answer { .. }) => {
            eprintln!("{error}");
            Ok(1)
        }
        Err(error) => Err(error.into()),
    }
}

/// A difference that nothing explains.
struct Found {
    seed: u64,
    difference: Difference,
    shortest: Vec<Operation>,
}

#[derive(Default)]
struct Outcome {
    tally: Tally,
    explained: BTreeMap<&'static str, u64>,
    found: Vec<Found>,
    time: Duration,
}

fn compare_all(qemu: &mut Qemu, model: &mut Model, args: &Args) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let start = Instant::now();
    let progress = stderr().is_terminal();
    for n in 0..args.sequences {
        let seed = args.seed.wrapping_add(n);
        let sequence = Generator::new(seed).sequence(args.length);
        let explained = &mut outcome.explained;
        let difference = compare(qemu, model, &sequence, &mut outcome.tally, |so_far, on| match explain(so_far, on) {
            Some(entry) => {
                *explained.entry(entry.id).or_default() += 1;
                true
            }
            None => false,
        })
        .with_context(|| format!("in the sequence of seed {seed}"))?;
        if let Some(difference) = difference {
            outcome.found.push(shortened(qemu, model, seed, &sequence, &difference)?);
            if outcome.found.len() == ENOUGH {
                break;
            }
        }
        if progress && n % 64 == 0 {
            let _ = write!(stderr(), "\r{n} of {} sequences", args.sequences);
        }
    }
    if progress {
        let _ = write!(stderr(), "\r\x1b[K");
    }
    outcome.time = start.elapsed();
    Ok(outcome)
}

/// The shortest sequence that shows the same difference: one that shows another would explain nothing.
fn shortened(
    qemu: &mut Qemu,
    model: &mut Model,
    seed: u64,
    sequence: &[Operation],
    original: &Difference,
) -> Result<Found> {
    let mut first = |candidate: &[Operation]| {
        compare(qemu, model, candidate, &mut Tally::default(), |so_far, on| explain(so_far, on).is_some())
    };
    let shortest = shrink(
        sequence,
        SHRINK_BUDGET,
        |operation| operation.simpler(),
        |candidate| {
            let found = first(candidate)?;
            Ok::<_, anyhow::Error>(
                found.is_some_and(|found| (found.operation, &found.on) == (original.operation, &original.on)),
            )
        },
    )?;
    let Some(difference) = first(&shortest)? else {
        bail!("the difference of seed {seed} does not show again: a machine is not deterministic");
    };
    Ok(Found { seed, difference, shortest })
}

impl Outcome {
    fn print(&self, installation: &Installation) {
        for Found { seed, difference, shortest } in &self.found {
            println!("seed {seed}: {difference}, where the reference is QEMU and the subject the model");
            println!("  shown by");
            for line in to_text(shortest).lines() {
                println!("    {line}");
            }
            println!("  again with the same options and --seed {seed} --sequences 1");
        }
        let Tally { sequences, operations, checks, not_comparable, explained } = self.tally;
        println!(
            "QEMU {}: {sequences} sequences, {operations} operations, {checks} answers compared, {not_comparable} not \
             comparable, {explained} differences explained, {} not, in {:.1} s",
            installation.version(),
            self.found.len(),
            self.time.as_secs_f64(),
        );
        for (name, count) in &self.explained {
            println!("  {count:>8}  {name}");
        }
    }
}
