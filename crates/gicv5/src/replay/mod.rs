//! `gicv5 replay`: a trace of a real system against the model.
//!
//! A trace holds what software and devices did and what the hardware made of it ([`gicv5_trace`] says what every line
//! means). The model does the same, and every answer is compared. [`source`] hands out operations, each with the PE that
//! [`threads`] has found for its file; [`engine`] drives the model and compares; [`mask`] is what it infers of a register whose
//! writes are not in a trace; [`tally`] counts what was found; [`report`] tells it.

mod engine;
mod mask;
mod report;
mod source;
mod tally;
#[cfg(test)]
mod tests;
mod threads;

use std::io::BufReader;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gicv5_trace::{Foreign, Recording, RecordingError, TraceReader};

use crate::failure::{Failure, Outcome};
use crate::output::{self, Console, quote};
use crate::progress::{Progress, catch_ctrl_c};
use engine::{Engine, Stop};
use source::Source;

const AFTER_HELP: &str = "\
Record a file per thread with QEMU 11.1 or newer, so that the recording says which PE did what:
  qemu-system-aarch64 ... -msg timestamp=on -d 'trace:gicv5_*,tid' -D boot/t.%d
TRACE is the folder, or the files. With one PE a single file will do (-d 'trace:gicv5_*' -D FILE).
Of one with several PEs only what the IRS answers is compared. A name ending in .zst is read
compressed, - is standard input.

The report says which PE each file is taken to be of: its lines tell, and --pe overrules them. What
the main loop does to timers is compared where it does not matter whose timer it was, or where the
lines that follow tell.

An answer is compared if the trace tells enough to know it. Where the architecture leaves a choice
(HPPI-4) the model follows the trace. A difference that a known defect of QEMU 11.1 explains is
counted under the defect's id (gicv5 explain), and the model goes on with QEMU's state.

Exit status: 0 no divergence; 1 divergences; 2 the trace cannot be read or makes no sense;
130 interrupted, with the summary so far.

Examples:
  $ gicv5 replay traces/random-lpi-spi-1cpu.trace.zst
  $ gicv5 replay traces/linux-7.3-4cpu-by-thread
  $ gicv5 replay --json traces/irs-registers-2cpu.trace.zst
  $ gicv5 explain HPPI-4 hazard-2";

/// Arguments of `gicv5 replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The trace: a folder, or files
    #[arg(value_name = "TRACE", required = true)]
    trace: Vec<String>,
    /// Says that a file is that of PE N, instead of what its lines say
    #[arg(long, value_name = "FILE=N", value_parser = parse_pe)]
    pe: Vec<(String, u16)>,
    /// Prints one JSON document (docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Operations between two looks at the clock and at whether somebody pressed Ctrl-C.
const BETWEEN_LOOKS: u32 = 1024;

pub(crate) fn run(args: &Args, out: &mut Console<'_>) -> Result<Outcome, Failure> {
    let interrupted = catch_ctrl_c();
    let (name, recording) = open(&args.trace)?;
    let names: Vec<String> = recording.names().map(str::to_owned).collect();
    let summary = replay(&name, recording, &args.pe, interrupted).map_err(|stop| match stop {
        Stop::Trace(error) => refuse(error),
        Stop::Input(file, why) => {
            let name = names.get(file).map_or(name.as_str(), String::as_str);
            Failure::BadInput(format!("{}: {why}", quote(name)))
        }
        Stop::Asked(why) => Failure::BadInput(why),
    })?;
    if args.json {
        output::json(out, &summary.document())?;
    } else {
        summary.print(out)?;
    }
    Ok(summary.outcome())
}

/// Opens a recording, and gives it a name.
fn open(trace: &[String]) -> Result<(String, Recording), Failure> {
    match trace {
        [trace] if trace == "-" => {
            let name = "standard input".to_owned();
            let input = BufReader::with_capacity(1 << 17, std::io::stdin());
            let reader = TraceReader::new(Box::new(input) as Box<dyn std::io::BufRead>, Foreign::Refuse);
            Ok((name.clone(), Recording::new([(name, reader)])))
        }
        _ => {
            let paths: Vec<PathBuf> = trace.iter().map(PathBuf::from).collect();
            let recording = Recording::open(&paths).map_err(refuse)?;
            Ok((trace.join(" "), recording))
        }
    }
}

fn refuse(error: RecordingError) -> Failure {
    Failure::BadInput(match error {
        RecordingError::Open { path, source } => {
            format!("cannot read {}: {source}", quote(&path.to_string_lossy()))
        }
        RecordingError::Empty { path } => format!("cannot read {}: it has no files", quote(&path.to_string_lossy())),
        RecordingError::Trace { file, source } => format!("{}: {source}", quote(&file)),
    })
}

/// A pair of `--pe`.
fn parse_pe(text: &str) -> Result<(String, u16), String> {
    let pair = text.rsplit_once('=').and_then(|(file, pe)| Some((file.to_owned(), pe.parse().ok()?)));
    pair.ok_or_else(|| "it has the form FILE=N".to_owned())
}

/// Replays a whole recording, or as much as there was time for.
fn replay(
    name: &str,
    recording: Recording,
    asked: &[(String, u16)],
    interrupted: &AtomicBool,
) -> Result<report::Summary, Stop> {
    let start = Instant::now();
    let mut engine = Engine::new(Source::new(recording), asked)?;
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
