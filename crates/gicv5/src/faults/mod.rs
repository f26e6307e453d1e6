//! `gicv5 faults`: everything that can go wrong while a VM is set up, run and torn down, one thing and then another at a
//! time.
//!
//! [`geometry`] lists the machines and VMs. For each, [`life`] runs the script once to number the fault points; then, for
//! each point and each [harm](case::Harm) that can be done there, once with that harm, compared with the table in
//! [`expected`]; then once more for each point that was passed after the first harm and each harm that can be done there. What
//! the library said is boiled down by [`complaint`]; what came of it all is told by [`report`]. docs/faults.md says it at length.

mod case;
mod complaint;
mod expected;
mod geometry;
mod life;
#[cfg(test)]
mod mistakes;
mod report;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use gicv5_model::config::{DoorbellMask, Switches};
use gicv5_model::fault::FaultPoint;
use gicv5_random::Rng;

use crate::failure::{Failure, Outcome};
use crate::output::{self, Console, quote};
use crate::progress::{Progress, catch_ctrl_c};
use case::{CaseId, Harm, MOST, Strike};
use complaint::Phase;
use geometry::Geometry;
use life::{Setting, Verdict};
use report::Tally;

/// The most settings that are drawn by chance in a run.
const MOST_DRAWN: i64 = 10_000;

const AFTER_HELP: &str = "\
A host, a VM and a bystander VM live through probe, bring-up, init, LPI IST, load, sleep, doorbell,
put, reset, teardown, reap and shut-down, on each of a set of machines. Each fault point is struck by
each fault it can have; then, after that first fault, each later point by each fault that it can
have. The hardware recovers; the library must then get everything to work again and give everything
back. docs/faults.md says what is covered.

A case is named GEOMETRY/POINT.FAULT, with up to two more /POINT.FAULT; GEOMETRY alone is the life
without faults and lists the points. Faults are refused, never, late, too-late, ignored, invalid.
With --settings the number of the setting follows the geometry: GEOMETRY@3/POINT.FAULT. Those drawn
by chance are others for another --seed.

Exit status: 0 everything held; 1 something did not; 2 bad usage; 130 interrupted, with the summary
so far.

Examples:
  $ gicv5 faults --list
  $ gicv5 faults --geometry linear-novmd-vped8-coherent-1cpu-spi-lpi --depth 1
  $ gicv5 faults --case linear-novmd-vped8-coherent-1cpu-spi-lpi/22.refused";

/// Arguments of `gicv5 faults`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Prints one JSON document (docs/json.md)
    #[arg(long)]
    json: bool,
    /// Lists the geometries
    #[arg(long, conflicts_with_all = ["case", "shard", "geometry", "depth", "settings", "seed"])]
    list: bool,
    /// Runs only this part of the matrix, counted from 1
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// Chooses whatever is left to chance
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Runs one case and tells all that happens
    #[arg(long, value_name = "ID", conflicts_with_all = ["shard", "geometry", "depth", "settings"])]
    case: Option<CaseId>,
    /// Runs only this geometry
    #[arg(long, value_name = "NAME")]
    geometry: Option<String>,
    /// The most faults in one case; 3 takes hours, and is for one geometry or a shard
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=MOST as i64))]
    depth: u8,
    /// Runs under a set of settings in which every two positions of any two of the model's switches meet, and under N more,
    /// drawn by chance
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "0",
          value_parser = clap::value_parser!(u32).range(..=MOST_DRAWN))]
    settings: Option<u32>,
}

/// A part of the matrix.
#[derive(Clone, Copy, Debug)]
struct Shard {
    number: usize,
    of: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let wrong = || "a shard is I/N with I from 1 to N".to_owned();
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let (Ok(number), Ok(of)) = (number.parse::<usize>(), of.parse::<usize>()) else { return Err(wrong()) };
        if number == 0 || number > of {
            return Err(wrong());
        }
        Ok(Shard { number, of })
    }
}

/// What the hypervisor must know about how the hardware reads a doorbell's mask (open question 1).
fn mask_of(switches: &Switches) -> gicv5_hyp::DoorbellMask {
    match switches.doorbell.mask {
        DoorbellMask::ByUrgency => gicv5_hyp::DoorbellMask::ByUrgency,
        DoorbellMask::ByNumber => gicv5_hyp::DoorbellMask::ByNumber,
    }
}

/// A geometry under a setting, with the points of a life without faults.
struct Ground {
    setting: Setting,
    /// Its number in the list of settings; 0 is the default.
    switches: usize,
    name: String,
}

/// A first strike, with which a piece of work begins.
struct Job {
    ground: usize,
    first: Strike,
    point: FaultPoint,
    step: Phase,
}

pub(crate) fn run(args: &Args, out: &mut Console<'_>) -> Result<Outcome, Failure> {
    if args.list {
        list(args, out)?;
        return Ok(Outcome::Held);
    }
    let interrupted = catch_ctrl_c();
    if let Some(case) = &args.case {
        return one(args, case, out);
    }
    let start = Instant::now();
    let grounds = grounds(args)?;
    let geometries = grounds.iter().filter(|ground| ground.switches == 0).count();
    let settings = grounds.len() / geometries.max(1);
    let (jobs, mut tally) = jobs(&grounds, args.shard, interrupted)?;
    tally.add(matrix(&grounds, &jobs, args.depth, interrupted));
    let summary =
        report::Summary::new(geometries, settings, tally, start.elapsed(), interrupted.load(Ordering::Relaxed));
    output::show(out, args.json, || summary.document(), |out| summary.print(out))?;
    Ok(summary.outcome())
}

fn list(args: &Args, out: &mut Console<'_>) -> std::io::Result<()> {
    let geometries = Geometry::all();
    let lines = |out: &mut Console<'_>| geometries.iter().try_for_each(|geometry| writeln!(out, "{geometry}"));
    output::show(out, args.json, || report::list(&geometries), lines)
}

static PAIRS: LazyLock<Vec<Switches>> = LazyLock::new(Switches::pairs);

/// The settings by number: the default, others so that every two positions meet, and then as many as anybody wants.
fn settings(seed: u64) -> impl Iterator<Item = Switches> {
    let mut rng = Rng::new(seed);
    PAIRS.iter().copied().chain(std::iter::repeat_with(move || Switches::random(&mut rng)))
}

fn grounds(args: &Args) -> Result<Vec<Ground>, Failure> {
    let mut geometries = Geometry::all();
    if let Some(name) = &args.geometry {
        geometries.retain(|geometry| geometry.to_string() == *name);
        if geometries.is_empty() {
            return Err(Failure::BadInput(format!("no geometry {}; gicv5 faults --list lists them", quote(name))));
        }
    }
    let settings = match args.settings {
        Some(more) => settings(args.seed).take(PAIRS.len() + more as usize).collect(),
        None => vec![Switches::default()],
    };
    let ground = |geometry: Geometry, switches: usize, setting: Switches| Ground {
        setting: Setting { geometry, seed: args.seed, switches: setting },
        switches,
        name: geometry.to_string(),
    };
    Ok(settings
        .into_iter()
        .enumerate()
        .flat_map(|(n, setting)| geometries.iter().map(move |geometry| (*geometry, n, setting)))
        .map(|(geometry, n, setting)| ground(geometry, n, setting))
        .collect())
}

/// The harms that can be done at a point.
fn harms(point: &FaultPoint) -> impl Iterator<Item = Harm> + use<> {
    let kind = point.request.kind();
    Harm::ALL.into_iter().filter(move |harm| kind.can_have(harm.fault()))
}

/// All first strikes of a shard, and what was found while they were numbered.
fn jobs(grounds: &[Ground], shard: Shard, interrupted: &AtomicBool) -> Result<(Vec<Job>, Tally), Failure> {
    let (mut jobs, mut tally) = (Vec::new(), Tally::default());
    for (ground, Ground { setting, name, switches }) in grounds.iter().enumerate() {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let case = CaseId { geometry: name.clone(), switches: *switches, strikes: Vec::new() };
        let verdict = life::live(setting, &[], false).map_err(|why| Failure::BadInput(format!("{case}: {why}")))?;
        // A life in which nothing fails must go well, or the matrix says nothing; it is the first case.
        tally.judge(&case, &verdict);
        for (step, complaint) in &verdict.complaints {
            tally.compare(&case, Err(format!("could not {step}, without a fault: {}", complaint.text)));
        }
        for (step, point) in verdict.points.into_iter().flatten() {
            jobs.extend(harms(&point).map(|harm| Job { ground, first: Strike { at: point.index, harm }, point, step }));
        }
    }
    let mut n = 0;
    jobs.retain(|_| {
        n += 1;
        (n - 1) % shard.of == shard.number - 1
    });
    Ok((jobs, tally))
}

fn matrix(grounds: &[Ground], jobs: &[Job], depth: u8, interrupted: &AtomicBool) -> Tally {
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let so_far = || tally.lock().unwrap_or_else(PoisonError::into_inner);
    let template = "{bar:30} {percent}% of the first faults, {msg}, {eta} left";
    let progress = Progress::new(Some(jobs.len() as u64), template);
    let done = AtomicU64::new(0);
    let goes_on = || {
        progress.show(done.load(Ordering::Relaxed), || {
            let tally = so_far();
            format!("{} cases, {}", tally.cases, output::count(tally.bad(), "problem"))
        });
        !interrupted.load(Ordering::Relaxed)
    };
    // A panic is counted, and what it says is in the report.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(ground) = grounds.get(job.ground) else { continue };
                    let found = work(ground, job, depth, &goes_on);
                    so_far().add(found);
                    done.fetch_add(1, Ordering::Relaxed);
                    if !goes_on() {
                        break;
                    }
                }
            });
        }
    });
    std::panic::set_hook(hook);
    drop(progress);
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A first fault, and then all that can follow it.
fn work(ground: &Ground, job: &Job, depth: u8, goes_on: &dyn Fn() -> bool) -> Tally {
    let mut tally = Tally::default();
    let case = CaseId { geometry: ground.name.clone(), switches: ground.switches, strikes: vec![job.first] };
    if let Some(verdict) = run_case(ground, &case, &mut tally) {
        // What the table says holds for the default: other settings may make a fault harmless, or harmful.
        if ground.switches == 0 {
            tally.compare(&case, expected::judge(job.step, &job.point, job.first.harm, &verdict));
        }
        further(ground, &case, verdict, depth - 1, goes_on, &mut tally);
    }
    tally
}

/// Up to `depth` faults more, after those of a case: each at each point that was passed then.
fn further(ground: &Ground, case: &CaseId, verdict: Verdict, depth: u8, goes_on: &dyn Fn() -> bool, tally: &mut Tally) {
    let (1.., Some(last)) = (depth, case.strikes.last()) else { return };
    for (_, point) in verdict.points.into_iter().flatten().filter(|(_, point)| point.index > last.at) {
        for harm in harms(&point) {
            if !goes_on() {
                return;
            }
            let case = case.and(Strike { at: point.index, harm });
            if let Some(verdict) = run_case(ground, &case, tally) {
                further(ground, &case, verdict, depth - 1, goes_on, tally);
            }
        }
    }
}

fn run_case(ground: &Ground, case: &CaseId, tally: &mut Tally) -> Option<Verdict> {
    let planned: Vec<life::Planned> = case.strikes.iter().map(|strike| strike.planned()).collect();
    match catch_unwind(AssertUnwindSafe(|| life::live(&ground.setting, &planned, false))) {
        Ok(Ok(verdict)) => {
            tally.judge(case, &verdict);
            Some(verdict)
        }
        Ok(Err(why)) => {
            tally.panicked(case, why);
            None
        }
        Err(panic) => {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            tally.panicked(case, why.unwrap_or_default());
            None
        }
    }
}

/// One case, with its story.
fn one(args: &Args, case: &CaseId, out: &mut Console<'_>) -> Result<Outcome, Failure> {
    let name = &case.geometry;
    let geometry = Geometry::all().into_iter().find(|geometry| geometry.to_string() == *name);
    let geometry = geometry
        .ok_or_else(|| Failure::BadInput(format!("no geometry {}; gicv5 faults --list lists them", quote(name))))?;
    let switches = settings(args.seed).nth(case.switches).unwrap_or_default();
    let setting = Setting { geometry, seed: args.seed, switches };
    let planned: Vec<life::Planned> = case.strikes.iter().map(|strike| strike.planned()).collect();
    let start = Instant::now();
    let verdict =
        life::live(&setting, &planned, true).map_err(|why| Failure::BadInput(format!("{}: {why}", quote(name))))?;
    if let Some(strike) =
        case.strikes.iter().find(|strike| !verdict.points.iter().flatten().any(|(_, point)| point.index == strike.at))
    {
        return Err(Failure::BadInput(format!(
            "{} has no fault point {}, or it is the bystander's; gicv5 faults --case {} lists them",
            quote(&case.to_string()),
            strike.at,
            CaseId { strikes: Vec::new(), ..case.clone() }
        )));
    }
    let mut tally = Tally::default();
    tally.judge(case, &verdict);
    if let ([first], 0) = (case.strikes.as_slice(), case.switches)
        && let Some((step, point)) = verdict.points.iter().flatten().find(|(_, point)| point.index == first.at)
    {
        tally.compare(case, expected::judge(*step, point, first.harm, &verdict));
    }
    let summary = report::Summary::new(1, 1, tally, start.elapsed(), false);
    if args.json {
        output::json(out, &summary.document())?;
    } else {
        report::tell(&verdict, out)?;
        summary.print(out)?;
    }
    Ok(summary.outcome())
}
