//! `gicv5 replay`: a trace of a real system against the model.
//!
//! A trace holds what software and devices did and what the hardware made of it ([`gicv5_trace`] says what every line
//! means). The model is made to do the same, and every answer is compared. [`source`] hands out lines, on machines with
//! several PEs by way of [`attribute`], which finds out where a line happened, with sets of [`worlds`] made of states of a CPU
//! [`interface`]; [`engine`] drives the model and compares; [`tally`] keeps what was found; [`report`] tells it.

mod attribute;
mod engine;
mod interface;
mod report;
mod source;
mod tally;
#[cfg(test)]
mod tests;
mod worlds;

use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gicv5_trace::{Foreign, TraceReader};

use crate::failure::{Failure, Outcome};
use crate::output::{self, Console, quote};
use crate::progress::{Progress, catch_ctrl_c};
use engine::{Engine, Stop};
use source::{Reader, Source};

const AFTER_HELP: &str = "\
TRACE is what QEMU 11.1 or newer writes with -d 'trace:gicv5_*' -D TRACE. A name ending in .zst is
read compressed, - is standard input. The documentation of the crate gicv5-trace says what a line
means, and what is not in a trace.

An answer is compared if the trace tells enough to know it. Where the architecture leaves a choice
(HPPI-4) the model follows the trace. A difference that a known defect of QEMU 11.1 explains is
counted under the defect's id (gicv5 explain), and the model goes on with QEMU's state.

Exit status: 0 no divergence; 1 divergences; 2 the trace cannot be read or makes no sense;
130 interrupted, with the summary so far.

Examples:
  $ gicv5 replay traces/random-lpi-spi-1cpu.trace.zst
  $ gicv5 replay --json traces/irs-registers-2cpu.trace.zst
  $ gicv5 explain HPPI-4 hazard-2";

/// Arguments of `gicv5 replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The trace
    #[arg(value_name = "TRACE", allow_hyphen_values = true)]
    trace: String,
    /// Prints one JSON document (docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Operations between two looks at the clock and at whether somebody pressed Ctrl-C.
const BETWEEN_LOOKS: u32 = 1024;

pub(crate) fn run(args: &Args, out: &mut Console<'_>) -> Result<Outcome, Failure> {
    let interrupted = catch_ctrl_c();
    let name = if args.trace == "-" { "standard input" } else { &args.trace };
    let reader = open(&args.trace)?;
    let summary = replay(name, reader, interrupted).map_err(|stop| {
        let why = match stop {
            Stop::Trace(error) => error.to_string(),
            Stop::Input(why) => why,
        };
        Failure::BadInput(format!("{}: {why}", quote(name)))
    })?;
    if args.json {
        output::json(out, &summary.document())?;
    } else {
        summary.print(out)?;
    }
    Ok(summary.outcome())
}

fn open(trace: &str) -> Result<Reader, Failure> {
    if trace == "-" {
        let input = BufReader::with_capacity(1 << 17, std::io::stdin());
        return Ok(TraceReader::new(Box::new(input), Foreign::Refuse));
    }
    gicv5_trace::open(Path::new(trace), Foreign::Refuse)
        .map_err(|error| Failure::BadInput(format!("cannot read {}: {error}", quote(trace))))
}

/// Replays a whole trace, or as much as there was time for.
fn replay(name: &str, reader: Reader, interrupted: &AtomicBool) -> Result<report::Summary, Stop> {
    let start = Instant::now();
    let mut engine = Engine::new(Source::new(reader))?;
    let progress = Progress::new(None, "{human_pos} lines, {per_sec}, {msg}");
    let mut stopped = false;
    'all: loop {
        for _ in 0..BETWEEN_LOOKS {
            if !engine.operation()? {
                break 'all;
            }
        }
        if interrupted.load(Ordering::Relaxed) {
            stopped = true;
            break;
        }
        progress.show(engine.tally.events, || output::count(engine.tally.divergences, "divergence"));
    }
    drop(progress);
    Ok(report::Summary::new(name, engine, start.elapsed(), stopped))
}
