//! The conformance suite as a bare-metal image: it boots, finds the GIC in the device tree, starts the other PEs, runs
//! the tests and prints a line for each.
//!
//! The image starts like a Linux kernel: at the address that the linker script says, with the MMU off and the address of a
//! flattened device tree in x0, at EL1 or EL2. `docs/conformance.md` says how to bring it to another machine.
//!
//! # Arguments
//!
//! Words in the device tree's `/chosen/bootargs`: `only=TEXT` runs the tests whose name contains TEXT, `after=NAME` those
//! that come after a test, `again` runs them after a reset out of the middle of things, `random=SEED,COUNT,LENGTH` random programs instead of tests (with `keep=NUMBERS` every answer of
//! these operations, and with `everything` what QEMU 11.1 is known to do wrong, too), `drivers` runs gicv5-phys and gicv5-hyp instead of tests, `pes=N` uses N PEs at most, `exit=psci` ends
//! with PSCI's SYSTEM_OFF instead of semihosting, `patience=SECONDS` is how long a test may take before it counts as hanging.
//! `provoke=hang`, `provoke=exception` and `provoke=silence` show how a hang of PE 0, an exception outside of any test, and a
//! PE that does not come back are reported. `provoke=guest` and `provoke=guest-hang` run guests, well and badly, at EL2 and
//! on any interrupt controller.
//!
//! # What is unsafe, and where
//!
//! [`pe`] executes instructions, [`memory`] and [`platform`] access memory and registers by address, [`guard`], [`guest`] and
//! [`pes`] leave frames behind, enter EL1 and pass work to other PEs, [`watchdog`] passes a name, [`heap`] hands a static to the
//! allocator, and [`rehearsal`] sets up a GICv3.
//! Everything above them is safe code.
#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod guard;
mod guest;
mod heap;
mod memory;
mod pe;
mod pes;
mod platform;
mod rehearsal;
mod watchdog;

use core::fmt::{self, Write};
use core::ops::Range;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aarch64_rt::{DEFAULT_MAIR, InitialPagetable, entry, initial_pagetable};
use dtoolkit::fdt::Fdt;
use gicv5_conformance::random::{Avoid, Program, Programs, list_has};
use gicv5_conformance::{Bench, MAX_PES, Observer, Stopped, Test, Verdict};
use gicv5_conformance_drivers::DriverError;
use gicv5_hal::Pe;
use semihosting::sys::arm_compat::sys_writec;
use smccc::psci::{system_off, system_reset};
use smccc::{Hvc, Smc};

use board::Conduit;
use memory::Pool;
use platform::{Board, Console, Frames};

/// Device-nGnRE, accessed, not executable at any level.
const DEVICE: usize = 1 | 1 << 10 | 1 << 53 | 1 << 54;

/// Normal memory: attribute 1 (write-back), inner shareable, accessed.
const NORMAL: usize = 1 | 1 << 2 | 3 << 8 | 1 << 10;

const GIB: usize = 1 << 30;

/// Where the memory ends that is mapped.
const MAPPED: u64 = 8 * GIB as u64;

// The first GiB is device memory, the next seven are RAM, one to one: what QEMU's virt machine has. Memory above 8 GiB is not
// used.
initial_pagetable!(
    {
        let mut map = [0; 512];
        let mut rest: &mut [usize] = &mut map;
        let mut n = 0;
        while let [entry, others @ ..] = rest {
            *entry = match n {
                0 => DEVICE,
                1..8 => NORMAL | (n * GIB),
                _ => 0,
            };
            rest = others;
            n += 1;
        }
        InitialPagetable(map)
    },
    DEFAULT_MAIR
);

// The header of a Linux kernel image, by which boot loaders know where to put it.
core::arch::global_asm!(
    ".section .head, \"ax\"",
    "b entry",
    ".long 0",
    // Offset from a 2 MiB boundary, size, and flags: little-endian, 4 KiB pages, and close to the start of RAM, because the image
    // is linked at one address.
    ".quad 0",
    ".quad image_size",
    ".quad 0x2",
    ".quad 0, 0, 0",
    ".ascii \"ARM\\x64\"",
    ".long 0",
);

unsafe extern "C" {
    static image_begin: u8;
    static image_end: u8;
}

/// Ends the machine: everything passed.
const ALL_PASSED: u8 = 0;
/// Ends the machine: a test failed.
const SOME_FAILED: u8 = 1;
/// Ends the machine: this is no place for the suite.
const UNSUITABLE: u8 = 2;
/// Ends the machine: something happened that no test accounts for.
const BROKEN: u8 = 3;

/// How to end. What is needed where nothing else is known.
static USE_SMC: AtomicBool = AtomicBool::new(false);
static USE_PSCI: AtomicBool = AtomicBool::new(false);
static UART: AtomicU64 = AtomicU64::new(0);
static ENDING: AtomicBool = AtomicBool::new(false);

/// How long a test may take, in seconds, unless the arguments say otherwise. Those who start the machine and look on have more patience.
const PATIENCE: u64 = 30;

/// Room for the table memory: what the largest test needs, with a margin.
const TABLE_BYTES: u64 = 4 << 20;

entry!(main);
fn main(tree: u64, _: u64, _: u64, _: u64) -> ! {
    guard::set_index(0);
    pe::prepare();
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
    let pool = unsafe { Pool::new(found.ram.clone(), coherency) };
    if pool.size() < TABLE_BYTES {
        console.print(format_args!("there are {} KiB of free RAM behind the image\n", pool.size() >> 10));
        refuse(&console, "too little RAM: 4 MiB are needed behind the image");
    }
    heap::init();
    let pes = start_pes();
    let wire = Board::wire(&console, found.uart);
    // SAFETY: the device tree names an IRS there; the suite gives it no memory but the pool's.
    let frames = unsafe { Frames::new(irs) };
    let board = Board { frames, pool, console, wire, pes };
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
    let summary = gicv5_conformance::run(&board, &Pe::new(&pe::ThisPe), chosen, &mut Lines(&board.console));
    board.console.print(format_args!(
        "{} passed, {} failed, {} not applicable\n",
        summary.passed, summary.failed, summary.not_applicable
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

/// Runs guests as no test does, on every PE, and ends.
fn rehearse(console: &Console, pes: usize, older: Option<board::GicV3>, what: &str) -> ! {
    if !guest::are_available() {
        refuse(console, "guests need EL2, and HCR_EL2.E2H to be 0 there");
    }
    if what == "guest-hang" {
        const NAME: &str = "provoked::guest_hang";
        watchdog::started(NAME);
        console.print(format_args!("{NAME} ... "));
        guest::run(&mut || loop {
            pe::relax();
        });
    }
    match rehearsal::run(pes, older, |line| console.print(format_args!("{line}\n"))) {
        Ok(()) => end(ALL_PASSED),
        Err(error) => {
            console.print(format_args!("{error}\n"));
            end(BROKEN)
        }
    }
}

/// Does what must never happen, to show that it is noticed and how it is said.
fn provoke(board: &Board, what: &str) -> ! {
    match what {
        "hang" => {
            const NAME: &str = "provoked::hang";
            watchdog::started(NAME);
            board.console.print(format_args!("{NAME} ... "));
            loop {
                pe::relax();
            }
        }
        "exception" => pe::undefined(),
        "silence" => {
            // Within work that an exception would come back from, as in a test.
            let _ = board.attempt(&mut || {
                let _ = board.run_on(1, &|_| loop {
                    pe::relax();
                });
            });
        }
        _ => refuse(&board.console, "provoke= wants hang, exception, silence, guest or guest-hang"),
    }
    refuse(&board.console, "what was provoked did not happen: silence needs a second PE")
}

/// Leaves the interrupt controller in disorder and resets the machine. Does nothing when the machine comes back from that,
/// which a word at the end of RAM tells: a reset must not clear it.
fn reset_once(board: &Board, ram: Range<u64>) {
    const MARK: u64 = u64::from_be_bytes(*b"in reset");
    let address = ram.end.min(MAPPED).saturating_sub(8) & !7;
    if address < ram.start + board.pool.size() + (4 << 10) {
        refuse(&board.console, "too little RAM for a word that outlives a reset");
    }
    let word = address as *mut u64;
    // SAFETY: RAM by the device tree, behind the pool, that nothing else uses.
    if unsafe { core::ptr::read_volatile(word) } == MARK {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(word, 0) }
        board.console.print(format_args!("the machine has been reset\n"));
        return;
    }
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(word, MARK) }
    pe::clean(address);
    if let Err(failure) = gicv5_conformance::disorder(board, &Pe::new(&pe::ThisPe)) {
        board.console.print(format_args!("the disorder before the reset: {failure}\n"));
        end(BROKEN);
    }
    let _ = match USE_SMC.load(Ordering::Relaxed) {
        true => system_reset::<Smc>(),
        false => system_reset::<Hvc>(),
    };
    board.console.print(format_args!("PSCI does not reset the machine\n"));
    end(BROKEN)
}

/// Runs the project's drivers, and ends.
fn run_drivers(board: &Board) -> ! {
    watchdog::started("the drivers");
    let mut outcome = Ok(());
    let ended = board.attempt(&mut || {
        outcome = gicv5_conformance_drivers::run(board, &Pe::new(&pe::ThisPe), &mut |line| {
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
    let pe = Pe::new(&pe::ThisPe);
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

/// The device tree at an address, and where it lies.
fn device_tree(address: u64) -> (Option<Fdt<'static>>, Range<u64>) {
    const MAGIC: u32 = 0xd00d_feed;
    // At most 2 MiB, as the boot protocol says, in RAM that is mapped.
    if address < GIB as u64 || address >= MAPPED || !address.is_multiple_of(8) {
        return (None, 0..0);
    }
    let word = |n: usize| {
        // SAFETY: RAM that is mapped; nothing writes to it.
        u32::from_be(unsafe { core::ptr::read_volatile((address as *const u32).wrapping_add(n)) })
    };
    let size = word(1).min(2 << 20);
    if word(0) != MAGIC {
        return (None, 0..0);
    }
    // SAFETY: as above; the tree stays as it is, and the memory is taken out of what is given away.
    let bytes = unsafe { core::slice::from_raw_parts(address as *const u8, size as usize) };
    (Fdt::new(bytes).ok(), address..address + u64::from(size))
}

/// The affinity fields of MPIDR_EL1, as device tree and PSCI write them.
fn affinity() -> u64 {
    let mpidr: u64;
    // SAFETY: a read without an effect.
    unsafe { core::arch::asm!("mrs {mpidr}, mpidr_el1", mpidr = out(reg) mpidr, options(nomem, nostack)) }
    mpidr & 0x0000_00ff_00ff_ffff
}

/// Says why the suite cannot run here, and ends.
fn refuse(console: &Console, why: &str) -> ! {
    console.print(format_args!("cannot run: {why}\n"));
    end(UNSUITABLE)
}

/// Prints by semihosting.
struct Semihosting;

impl Write for Semihosting {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(sys_writec);
        Ok(())
    }
}

/// Says something where no console is known: by semihosting, if there is any. A guess at the address of a UART could hit
/// anything.
fn say_without_console(text: fmt::Arguments<'_>) {
    // Without semihosting the call is an exception.
    let _ = guard::attempt(&mut || {
        let _ = Semihosting.write_fmt(text);
    });
}

/// Ends the machine with a status, if there is something that takes it.
fn end(status: u8) -> ! {
    // Where semihosting does not exist the call is an exception, which leads back here, and nowhere else: not into the work
    // that was under way, which would go on while another PE may still hold what it lent it.
    guard::disarm();
    if !ENDING.swap(true, Ordering::Relaxed) && !USE_PSCI.load(Ordering::Relaxed) {
        semihosting::process::exit(status.into());
    }
    // At EL3 there is nobody to call: the call would be one more exception that leads back here.
    while pe::exception_level() == 3 {
        pe::relax();
    }
    let _ = match USE_SMC.load(Ordering::Relaxed) {
        true => system_off::<Smc>(),
        false => system_off::<Hvc>(),
    };
    loop {
        pe::relax();
    }
}

/// Prints where nothing is known any more about who else does.
struct LastWords;

impl Write for LastWords {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let base = UART.load(Ordering::Relaxed);
        for byte in text.bytes().filter(|_| base != 0) {
            // SAFETY: the data register of the PL011 that the device tree names; the machine is about to end.
            unsafe { core::ptr::write_volatile(base as *mut u32, byte.into()) }
        }
        Ok(())
    }
}

/// Says what ends the machine: by the UART once, because that may itself be what fails, and then in the other way.
fn say_last_words(text: fmt::Arguments<'_>) {
    static SPOKEN: AtomicBool = AtomicBool::new(false);
    if SPOKEN.swap(true, Ordering::Relaxed) {
        say_without_console(text);
    } else {
        let _ = LastWords.write_fmt(text);
    }
}

/// An exception outside of any test.
fn stop_outside(stopped: Stopped) -> ! {
    if !ENDING.load(Ordering::Relaxed) {
        say_last_words(format_args!("\noutside of any test: {stopped}\n"));
    }
    end(BROKEN)
}

/// A PE has work that lives in a frame of this one's stack, and does not come back.
fn stop_after_silence(pe: usize) -> ! {
    say_last_words(format_args!("\nPE {pe} does not come back from its work\n"));
    end(BROKEN)
}

/// PE 0 does not get on.
fn stop_after_hang(what: &str) -> ! {
    say_last_words(format_args!("\nPE 0 hangs in {what}\n"));
    end(BROKEN)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say_last_words(format_args!("\n{info}\n"));
    end(BROKEN)
}
