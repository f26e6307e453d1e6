//! The conformance suite as a bare-metal image: it boots, finds the GIC in the device tree, starts the other PEs, runs
//! the tests and prints a line for each.
//!
//! The image starts like a Linux kernel: at the address that the linker script says, with the MMU off and the address of a
//! flattened device tree in x0, at EL1 or EL2. `docs/conformance.md` says how to bring it to another machine.
//!
//! # Arguments
//!
//! Words in the device tree's `/chosen/bootargs`: `only=TEXT` runs the tests whose name contains TEXT, `after=NAME` those
//! that come after a test, `again` runs them after a reset in mid-operation, `random=SEED,COUNT,LENGTH` random programs instead of tests (with `keep=NUMBERS` every answer of
//! these operations, and with `everything` what QEMU 11.1 is known to do wrong, too), `drivers` runs gicv5-phys and gicv5-hyp instead of tests, `pes=N` uses N PEs at most, `exit=psci` ends
//! with PSCI's SYSTEM_OFF instead of semihosting, `patience=SECONDS` is how long a test may take before it counts as hanging.
//! `provoke=hang`, `provoke=exception` and `provoke=silence` show how a hang of PE 0, an exception outside of any test, and a
//! PE that does not come back are reported. `provoke=guest` and `provoke=guest-hang` run guests, well and badly, at EL2 and
//! on any interrupt controller.
//!
//! # What is unsafe, and where
//!
//! The package's library ([`gicv5_bare_metal`]) executes instructions and accesses memory and registers by address. Here,
//! [`guard`], [`guest`] and [`pes`] leave frames behind, enter EL1 and pass work to other PEs, [`watchdog`] passes a name,
//! [`platform`] takes hold of the UART, [`boot`] reads the device tree, [`ending`] writes to the UART, [`provoked`] keeps a word over a reset, and
//! [`rehearsal`] sets up a GICv3.
//! Everything above them is safe code.
#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod boot;
mod ending;
mod guard;
mod guest;
mod pes;
mod platform;
mod provoked;
mod rehearsal;
mod watchdog;

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use aarch64_rt::entry;
use gicv5_aarch64::{Counter, Frames, Hardware, IrsFrames, Pause, TableRam, ThisPe};
use gicv5_arch::values::Shareability;
use gicv5_bare_metal::{heap, pe};
use gicv5_conformance::random::{Avoid, Program, Programs, list_has};
use gicv5_conformance::{Bench, MAX_PES, Observer, Profile, Stopped, Test, Verdict};
use gicv5_conformance_drivers::DriverError;
use gicv5_hal::Pe;

use board::Conduit;
use boot::{GIB, affinity, device_tree, image_begin, image_end};
use ending::{ALL_PASSED, BROKEN, SOME_FAILED, UART, UNSUITABLE, USE_PSCI, USE_SMC, end, refuse, say_without_console};
use platform::{Board, Console};
use provoked::{provoke, rehearse, reset_once};

/// How long a test may take, in seconds, unless the arguments say otherwise. Those who start the machine and look on have more patience.
const PATIENCE: u64 = 30;

/// Room for the table memory: what the largest test needs, with a margin.
const TABLE_BYTES: u64 = 4 << 20;

entry!(main);
fn main(tree: u64, _: u64, _: u64, _: u64) -> ! {
    guard::set_index(0);
    guest::prepare();
    let (tree, range) = device_tree(tree);
    let Some(tree) = tree else {
        say_without_console(format_args!("cannot run: there is no device tree at the address in x0\n"));
        end(UNSUITABLE)
    };
    let image = (&raw const image_begin) as u64..(&raw const image_end) as u64;
    let found = board::read(tree, range, image, affinity());
    USE_SMC.store(matches!(found.conduit, Conduit::Smc), Ordering::Relaxed);
    let option = |name: &str| found.arguments.split_whitespace().find_map(|word| word.strip_prefix(name));
    let has = |name: &str| found.arguments.split_whitespace().any(|word| word == name);
    USE_PSCI.store(option("exit=") == Some("psci"), Ordering::Relaxed);
    UART.store(found.uart.map_or(0, |uart| uart.base), Ordering::Relaxed);
    // SAFETY: the device tree names a PL011, in the first GiB or it is not used; nobody else prints.
    let console = unsafe { Console::new(found.uart.filter(|uart| uart.base < GIB as u64)) };
    console.print(format_args!("gicv5 conformance at EL{}\n", pe::exception_level()));
    if !console.is_there() {
        say_without_console(format_args!(
            "cannot run: no node of the device tree below 1 GiB is compatible with arm,pl011\n"
        ));
        end(UNSUITABLE);
    }
    if pe::exception_level() == 3 {
        refuse(&console, "this is EL3: the image wants EL1 or EL2, below firmware with PSCI");
    }
    let patience = option("patience=").and_then(|seconds| seconds.parse().ok()).unwrap_or(PATIENCE);
    pes::set_limit(patience.saturating_mul(1_000_000_000));
    // A test may wait for each PE; that a PE does not answer is said by the one that waits for it.
    watchdog::set_limit(patience.saturating_mul(1_500_000_000));
    let most = option("pes=").and_then(|count| count.parse().ok()).unwrap_or(MAX_PES).clamp(1, MAX_PES);
    let start_pes = || start_pes(&console, found.cpus.into_iter().flatten().skip(1).take(most - 1), found.conduit);
    if let Some(what @ ("guest" | "guest-hang")) = option("provoke=") {
        rehearse(&console, start_pes(), found.older, what);
    }
    let irs = match found.irs {
        Ok(irs) if irs.config < GIB as u64 => irs,
        Ok(_) => refuse(&console, "the IRS lies above the first GiB, which is all that is mapped as a device"),
        Err(why) => refuse(&console, why),
    };
    let coherency = if irs.coherent { gicv5_hal::Coherency::Coherent } else { gicv5_hal::Coherency::NonCoherent };
    // SAFETY: RAM by the device tree, behind the image and beside the tree, that nothing else in this image uses.
    let memory = unsafe { TableRam::new(found.ram.clone(), 0, coherency, Shareability::Inner) };
    if memory.size() < TABLE_BYTES {
        console.print(format_args!("there are {} KiB of free RAM behind the image\n", memory.size() >> 10));
        refuse(&console, "too little RAM: 4 MiB are needed behind the image");
    }
    heap::init();
    let pes = start_pes();
    let wire = Board::wire(&console, found.uart);
    let frames = IrsFrames { config: irs.config as usize, set_lpi: irs.set_lpi.map(|frame| frame as usize) };
    // SAFETY: the device tree names an IRS there; the suite gives it no memory but the tables'. What is true of `pe::THIS_PE`.
    let (frames, pe) = unsafe { (Frames::new([frames]), ThisPe::new()) };
    let hardware = Hardware { frames, memory, pe, counter: Counter::new(Pause::Yield) };
    let board = Board { hardware, console, wire, pes };
    let wire = wire.map_or(-1, |spi| i64::from(spi.id()));
    board.console.print(format_args!(
        "PEs {pes}, IRS at {:#x}, {}, wired SPI {wire}\n",
        irs.config,
        if irs.coherent { "coherent" } else { "not coherent" },
    ));
    if pe::exception_level() == 2 && !guest::are_available() {
        board.console.print(format_args!("no guests: HCR_EL2.E2H is 1 and stays so\n"));
    }
    if let Err(what) = comes_back(&board) {
        board.console.print(format_args!("the image does not come back from {what}\n"));
        end(BROKEN);
    }
    if let Some(what) = option("provoke=") {
        provoke(&board, what);
    }
    if has("drivers") {
        run_drivers(&board);
    }
    if let Some(list) = option("random=") {
        programs(&board, list, option("keep="), has("everything"));
        end(ALL_PASSED);
    }
    if has("again") {
        reset_once(&board, found.ram);
    }
    let mut skipping = option("after=").is_some();
    let chosen = |test: &Test<Board>| {
        if skipping {
            skipping = option("after=") != Some(test.name);
            return false;
        }
        option("only=").is_none_or(|text| test.name.contains(text))
    };
    let profile = option("profile=").map(|name| match Profile::named(name) {
        Some(profile) => profile,
        None => refuse(&board.console, "profile= names no profile of docs/conformance.md"),
    });
    let summary = gicv5_conformance::run(&board, &Pe::new(&pe::THIS_PE), profile, chosen, &mut Lines(&board.console));
    board.console.print(format_args!(
        "{} passed, {} failed, {} open, {} not applicable\n",
        summary.passed, summary.failed, summary.open, summary.not_applicable
    ));
    end(if summary.failed == 0 { ALL_PASSED } else { SOME_FAILED })
}

/// Starts the other PEs, and returns how many there are then.
fn start_pes(console: &Console, others: impl Iterator<Item = u64>, conduit: Conduit) -> usize {
    let mut pes = 1;
    for mpidr in others {
        if !pes::start(pes, mpidr, conduit) {
            console.print(format_args!("the PE with MPIDR {mpidr:#x} does not start, and is left out\n"));
            break;
        }
        pes += 1;
    }
    pes
}

/// Shows, before anything relies on it, that every PE comes back from an exception, and from guests if there are any.
fn comes_back(board: &Board) -> Result<(), &'static str> {
    for pe in 0..board.pes {
        if !matches!(pes::on(pe, &pe::undefined), Err(Stopped::Exception { .. })) {
            return Err("an exception");
        }
        if !board.has_guests() {
            continue;
        }
        let level = AtomicU64::new(0);
        let ended = pes::on(pe, &|| guest::run(&mut || level.store(pe::exception_level(), Ordering::Relaxed)));
        if ended.is_err() || level.load(Ordering::Relaxed) != 1 {
            return Err("a guest");
        }
        if !matches!(pes::on(pe, &|| guest::run(&mut pe::undefined)), Err(Stopped::Guest { .. })) {
            return Err("an exception of a guest");
        }
    }
    Ok(())
}

/// Runs the project's drivers, and ends.
fn run_drivers(board: &Board) -> ! {
    watchdog::started("the drivers");
    let mut outcome = Ok(());
    let ended = board.attempt(&mut || {
        outcome = gicv5_conformance_drivers::run(board, &Pe::new(&pe::THIS_PE), &mut |line| {
            watchdog::started("the drivers");
            board.console.print(format_args!("{line}\n"));
        });
    });
    match ended.map_err(DriverError::Stopped).and(outcome) {
        Ok(()) => end(ALL_PASSED),
        Err(error) => {
            board.console.print(format_args!("the drivers end: {error}\n"));
            end(SOME_FAILED)
        }
    }
}

/// Runs random programs: `SEED,COUNT,LENGTH` prints a digest of the answers of each; with `keep`, every answer of the first.
///
/// Unless they do `everything`, they leave out what QEMU 11.1 is known to do wrong.
fn programs(board: &Board, list: &str, keep: Option<&str>, everything: bool) {
    let mut numbers = list.split(',').map_while(|number| number.parse::<u64>().ok());
    let (Some(seed), Some(count), Some(length)) = (numbers.next(), numbers.next(), numbers.next()) else {
        refuse(&board.console, "random= wants SEED,COUNT,LENGTH");
    };
    let pe = Pe::new(&pe::THIS_PE);
    let programs = Programs::new(board, &pe);
    let avoid = Avoid { spi_disable_and_clear: !everything };
    for seed in (0..count).map(|n| seed.wrapping_add(n)) {
        let program = Program { seed, length: length as usize, avoid };
        watchdog::started("a random program");
        let outcome = match keep {
            Some(keep) => programs.run(
                program,
                |n| list_has(keep, n),
                |n, pe, operation, answer| {
                    board.console.print(format_args!("{n} PE {pe}: {operation} -> {answer}\n"));
                },
            ),
            None => programs.digest(program).map(|digest| {
                board.console.print(format_args!("program {seed} {digest:016x}\n"));
            }),
        };
        if let Err(failure) = outcome {
            board.console.print(format_args!("program {seed} ends: {failure}\n"));
        }
    }
}

/// One line for each test: its name as it starts, how it ended as it ends.
struct Lines<'a>(&'a Console);

impl Observer<Board> for Lines<'_> {
    fn started(&mut self, test: &Test<Board>) {
        watchdog::started(test.name);
        self.0.print(format_args!("{} ... ", test.name));
    }

    fn finished(&mut self, test: &Test<Board>, verdict: &Verdict) {
        self.0.print(format_args!("{} [{}]", verdict.status(), List(test.rules)));
        match verdict {
            Verdict::Pass => self.0.print(format_args!("\n")),
            Verdict::Fail(failure) => self.0.print(format_args!(": {failure}\n")),
            Verdict::Open(profile, failure) => self.0.print(format_args!(": {failure}; {} needs it\n", profile.name())),
            Verdict::NotApplicable(need) => self.0.print(format_args!(": needs {need}\n")),
        }
    }
}

/// Words with commas between them.
struct List(&'static [&'static str]);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in self.0.iter().enumerate() {
            if n != 0 {
                f.write_str(", ")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}
