//! `gicv5 run`: VMs on the model, by a file that describes them.
//!
//! [`scenario`] reads the file and checks it. [`engine`] makes the machine do what it says, with `gicv5-phys` and
//! `gicv5-hyp` as the host ([`board`]). [`judge`] looks at the machine's events alone and says whether what should have arrived
//! has. [`story`] tells what happened, [`picture`] draws it, [`tally`] counts, [`report`] sums up.

mod board;
mod devicetree;
mod engine;
mod index;
mod judge;
mod picture;
mod report;
mod scenario;
mod shelf;
mod story;
mod tally;
#[cfg(test)]
mod tests;
mod vcpu_state;

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gicv5_arch::irs::{IRS_IDR3, IRS_IDR4};
use gicv5_arch::values::{BitsMinusOne, Levels};
use gicv5_hal::Coherency;
use gicv5_hyp::{Host, WithLpis};
use gicv5_model::Machine;
use gicv5_model::config::MachineConfig;
use gicv5_model::fault::Fault;
use gicv5_phys::Phys;

use crate::failure::{Failure, Outcome, chain};
use crate::output::{self, Console, quote};
use crate::progress::{Progress, catch_ctrl_c};
use board::{Board, PhysLpis};
use engine::{Engine, IRS, OBSERVED};
use picture::Picture;
use report::Summary;
use scenario::{FaultSpec, Problem, Scenario, TableShape};
use story::{Story, Telling};

pub(crate) use shelf::{NewArgs, new};

const AFTER_HELP: &str = "\
SCENARIO is a TOML file: docs/scenarios.md describes the language, scenarios/ has examples, gicv5 new
writes one to begin with. A name ending in .zst is read compressed, - is standard input.

The story is told if it is short, or with --story; -v shows the register accesses behind it. The
picture that --trace draws is for https://ui.perfetto.dev, which reads it without sending it anywhere.

Exit status: 0 everything held; 1 an expectation or the judge did not, something leaked, a rule was
broken; 2 the scenario cannot be read or makes no sense; 130 interrupted, with the summary so far.

Examples:
  $ gicv5 run scenarios/first-vm.toml
  $ gicv5 run --list";

/// Arguments of `gicv5 run`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The scenario
    #[arg(value_name = "SCENARIO", allow_hyphen_values = true, required_unless_present = "list")]
    scenario: Option<String>,
    /// Tells the story however long it is
    #[arg(long)]
    story: bool,
    /// Tells the story with every register access
    #[arg(short, long)]
    verbose: bool,
    /// Uses this seed instead of the scenario's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Draws a picture: a Perfetto trace
    #[arg(long, value_name = "FILE")]
    trace: Option<String>,
    /// Takes the PEs and the coherency of the IRS from this device tree, instead of the scenario's
    #[arg(long, value_name = "FILE")]
    dtb: Option<String>,
    /// Lists the scenarios that come with the program
    #[arg(long, conflicts_with_all = ["scenario", "story", "verbose", "seed", "trace", "dtb"])]
    list: bool,
    /// Prints one JSON document (docs/json.md)
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut Console<'_>) -> Result<Outcome, Failure> {
    let Some(path) = &args.scenario else { return shelf::list(args.json, out).map(|()| Outcome::Held) };
    let text = read(path)?;
    let topology = args.dtb.as_deref().map(read_topology).transpose()?;
    let name = if path == "-" { "standard input" } else { path };
    let mut scenario =
        scenario::read(&text, topology.as_ref()).map_err(|problem| Failure::Diagnostic(problem.render(name, &text)))?;
    if let Some(seed) = args.seed {
        scenario.seed = seed;
    }
    // Before any work is done, so that a run is not lost to a misspelt name.
    let trace = args.trace.as_ref().map(|path| Ok::<_, Failure>((path, create(path)?))).transpose()?;
    let telling = match (args.json, args.verbose, args.story) {
        (true, ..) => Telling::Nothing,
        (_, true, _) => Telling::Verbose,
        (_, _, true) => Telling::All,
        _ => Telling::IfShort,
    };
    let interrupted = catch_ctrl_c();
    let template = "{bar:30} {percent}% of the simulated time, {msg}, {elapsed}";
    let progress = Progress::new(Some(scenario.duration), template);
    let look = |now, tally: &tally::Tally| progress.show(now, || output::count(tally.events, "event"));
    let mut summary =
        perform(name, &scenario, telling, trace.is_some(), interrupted, look).map_err(|why| match why {
            Impossible::Here(problem) => Failure::Diagnostic(problem.render(name, &text)),
            Impossible::Machine(why) => Failure::BadInput(format!("{}: {why}", quote(name))),
        })?;
    drop(progress);
    if let Some((path, mut file)) = trace {
        let picture = summary.picture();
        picture.write(&mut file).and_then(|()| file.flush()).map_err(|error| cannot_write(path, &error))?;
    }
    if args.json {
        output::json(out, &summary.document())?;
    } else {
        summary.print(out)?;
    }
    Ok(summary.outcome())
}

/// Reads a scenario as `gicv5 run` does before it runs it, with the PEs of a device tree if there is one.
///
/// # Errors
///
/// What `gicv5 run` shows: what is wrong, and the line, underlined.
pub fn check_scenario(text: &str, device_tree: Option<&[u8]>) -> Result<(), String> {
    let topology = device_tree.map(devicetree::read).transpose()?;
    match scenario::read(text, topology.as_ref()) {
        Ok(_) => Ok(()),
        Err(problem) => Err(problem.render("scenario", text)),
    }
}

/// Reads a device tree as `gicv5 run --dtb` does and gives the number of its PEs, 1 to 256.
///
/// # Errors
///
/// Why it is of no use: a clause.
pub fn check_device_tree(bytes: &[u8]) -> Result<usize, String> {
    devicetree::read(bytes).map(|topology| topology.iaffids.len())
}

/// What a source has to give, or why it is too much.
fn at_most(source: impl std::io::Read, most: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // A byte more than allowed, to notice that there is one.
    source.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// The text of a scenario.
fn read(path: &str) -> Result<String, Failure> {
    let cannot = |why: &dyn std::fmt::Display| Failure::BadInput(format!("cannot read {}: {why}", quote(path)));
    let most = scenario::LONGEST_FILE;
    let bytes = if path == "-" {
        at_most(std::io::stdin(), most).map_err(|error| cannot(&error))?
    } else {
        let file = File::open(path).map_err(|error| cannot(&error))?;
        if path.ends_with(".zst") {
            // What the decoder says about damaged data is about its own inside.
            let damaged = "it is not compressed by zstd, or damaged";
            let decoder = ruzstd::decoding::StreamingDecoder::new(file).map_err(|_| cannot(&damaged))?;
            at_most(decoder, most).map_err(|_| cannot(&damaged))?
        } else {
            at_most(file, most).map_err(|error| cannot(&error))?
        }
    };
    let bytes = bytes.ok_or_else(|| cannot(&"it is longer than 1 MiB; a scenario is a small file"))?;
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        cannot(&format_args!("it is not UTF-8, from byte {place} on"))
    })
}

/// What a device tree says.
fn read_topology(path: &str) -> Result<devicetree::Topology, Failure> {
    let cannot = |why: &dyn std::fmt::Display| Failure::BadInput(format!("cannot use {}: {why}", quote(path)));
    let file = File::open(path).map_err(|error| cannot(&error))?;
    let bytes = at_most(file, devicetree::LONGEST).map_err(|error| cannot(&error))?;
    devicetree::read(&bytes.ok_or_else(|| cannot(&"it is longer than 1 MiB"))?).map_err(|why| cannot(&why))
}

fn create(path: &str) -> Result<std::io::BufWriter<File>, Failure> {
    File::create(path).map(std::io::BufWriter::new).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &str, error: &std::io::Error) -> Failure {
    Failure::BadInput(format!("cannot write {}: {error}", quote(path)))
}

/// The machine that a scenario describes.
fn machine_config(scenario: &Scenario) -> MachineConfig {
    use arbitrary_int::{u4, u5, u6};
    let spec = &scenario.machine;
    let mut config = MachineConfig::new(spec.pes, 0);
    for irs in &mut config.irses {
        for (cpu, iaffid) in irs.pes.iter_mut().zip(&spec.iaffids) {
            cpu.iaffid = gicv5_arch::Iaffid::new(*iaffid);
        }
        irs.idr0 = irs.idr0.with_virt(true);
        irs.idr3 = IRS_IDR3::ZERO
            .with_vm_id_bits(u5::new(spec.vm_id_bits as u8))
            .with_vmd(true)
            .with_vmd_sz(u4::new(9))
            .with_vmt_levels(match spec.vm_table {
                TableShape::Linear => Levels::Linear,
                TableShape::TwoLevel => Levels::TwoLevel,
            });
        let bits = BitsMinusOne::from_count(12).unwrap_or(BitsMinusOne::new_with_raw_value(u4::new(11)));
        irs.idr4 = IRS_IDR4::ZERO.with_vpe_id_bits(bits).with_vped_sz(u6::new(7));
    }
    config.memory.coherency = if spec.coherent { Coherency::Coherent } else { Coherency::NonCoherent };
    config.memory.size = 64 << 30;
    config.memory.seed = scenario.seed;
    config.seed = scenario.seed;
    config.command_latency = spec.command_latency;
    config.effect_latency = engine::EFFECT_TICKS;
    config
}

/// Why a scenario cannot be run.
#[derive(Debug)]
enum Impossible {
    /// Something in the file, which only a run can find.
    Here(Problem),
    /// There is no such machine, or the libraries do not come up on it. A clause.
    Machine(String),
}

/// Runs a scenario from beginning to end.
fn perform<'a>(
    path: &'a str,
    scenario: &'a Scenario,
    telling: Telling,
    draw: bool,
    interrupted: &AtomicBool,
    look: impl FnMut(u64, &tally::Tally),
) -> Result<Summary<'a>, Impossible> {
    let faults = place_faults(scenario, interrupted)?;
    let picture = if draw { Picture::new(scenario) } else { Picture::none() };
    let (ending, commands) = perform_once(scenario, &faults, Story::new(telling), picture, interrupted, look, false)?.0;
    Ok(Summary::new(path, scenario, ending, commands))
}

/// The points at which the faults of a scenario strike. A fault is named by what is asked for, and the machine counts what it
/// is asked for; as it does the same each time, a run without the fault tells its number.
fn place_faults(scenario: &Scenario, interrupted: &AtomicBool) -> Result<Vec<(u64, Fault)>, Impossible> {
    let mut faults = Vec::new();
    for spec in &scenario.faults {
        let story = Story::new(Telling::Nothing);
        let (_, points) = perform_once(scenario, &faults, story, Picture::none(), interrupted, |_, _| {}, true)?;
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let named = points.iter().filter(|point| point.request.to_string().contains(&spec.request));
        let mut count = 0;
        let mut found = None;
        for point in named {
            count += 1;
            if count == spec.occurrence {
                found = Some(point);
            }
        }
        let Some(point) = found else {
            let asked = points.iter().map(|point| point.request.to_string());
            return Err(Impossible::Here(cannot_strike(spec, count, asked)));
        };
        let tick = scenario.machine.tick;
        let fault = match spec.fault {
            Fault::Late(ns) => Fault::Late(ns.div_ceil(tick)),
            fault => fault,
        };
        if !point.request.kind().can_have(fault) {
            let what = format!("{} does not fail like that", quote(&point.request.to_string()));
            let ways = ["refused", "never", "late", "ignored", "invalid"];
            let faults = [Fault::Refused, Fault::Never, Fault::Late(1), Fault::Ignored, Fault::Invalid];
            let can = ways.iter().zip(faults).filter(|(_, fault)| point.request.kind().can_have(*fault));
            let can: Vec<String> = can.map(|(way, _)| format!("\"{way}\"")).collect();
            let help = format!("`fails` can be {} for it", can.join(", "));
            return Err(Impossible::Here(Problem::new(spec.fails.clone(), what, help)));
        }
        faults.push((point.index, fault));
    }
    Ok(faults)
}

/// Nothing that the fault is planned for happens, or not so often.
fn cannot_strike(spec: &FaultSpec, count: u64, asked: impl Iterator<Item = String>) -> Problem {
    /// As many requests as are shown.
    const SHOWN: usize = 6;
    if count > 0 {
        let what = format!("the fault cannot strike: {} comes {} in this run", quote(&spec.request), times(count));
        return Problem::new(spec.which.clone(), what, format!("`which` can be 1 to {count}"));
    }
    // By the words they have in common with what is written.
    let words: Vec<&str> = spec.request.split(' ').collect();
    let mut requests: Vec<(usize, String)> = Vec::new();
    for request in asked {
        if requests.iter().all(|(_, known)| *known != request) {
            let common = request.split(' ').filter(|word| words.contains(word)).count();
            requests.push((common, request));
        }
    }
    requests.sort_by_key(|(common, _)| std::cmp::Reverse(*common));
    let some: Vec<String> = requests.iter().take(SHOWN).map(|(_, request)| quote(request)).collect();
    let what = format!("the fault cannot strike: nothing asks for {} in this run", quote(&spec.request));
    Problem::new(spec.span.clone(), what, format!("what is asked for is, among others: {}", some.join(", ")))
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

type Performed = ((engine::Ending, u64), Vec<gicv5_model::fault::FaultPoint>);

fn perform_once(
    scenario: &Scenario,
    faults: &[(u64, Fault)],
    story: Story,
    picture: Picture,
    interrupted: &AtomicBool,
    look: impl FnMut(u64, &tally::Tally),
    record: bool,
) -> Result<Performed, Impossible> {
    let spec = &scenario.machine;
    let impossible = |error: &dyn std::error::Error| Impossible::Machine(chain(error));
    let machine = Machine::new(machine_config(scenario)).map_err(|error| impossible(&error))?;
    for (index, fault) in faults {
        machine.plan_fault(*index, *fault);
    }
    if record {
        machine.record_fault_points();
    }
    machine.observe(OBSERVED);
    let base = Board::new(machine.clone(), spec.tick);
    let base = base.ok_or_else(|| Impossible::Machine("the machine has no PE".to_owned()))?;
    let irss = [IRS];
    let timeout = Duration::from_nanos(spec.command_timeout);
    let config = gicv5_phys::Config { ipi_kinds: 1, timeout, ..gicv5_phys::Config::new(&irss, spec.lpis) };
    let phys = Phys::new(base.clone(), &config).map_err(|error| impossible(&error))?;
    let phys = Arc::new(phys);
    let board = WithLpis { platform: base.clone(), lpis: PhysLpis::new(machine.clone(), phys.clone()) };
    let config = gicv5_hyp::Config { timeout, ..gicv5_hyp::Config::new(IRS, spec.vms, spec.lpis) };
    let host = Host::new(board, &config).map_err(|error| impossible(&error))?;
    let engine = Engine::new(scenario, base, phys, &host, story, picture);
    let ending = engine.run(interrupted, look).map_err(|error| impossible(&error))?;
    let commands = host.counters().commands;
    Ok(((ending, commands), machine.take_fault_points()))
}
