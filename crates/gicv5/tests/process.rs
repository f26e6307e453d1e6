//! The program as a process: what cannot be shown in a transcript.
// Helpers of tests are tests too.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

fn gicv5() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gicv5"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("CLICOLOR");
    command
}

fn one_line_error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.len() < 300, "{text}");
    text
}

#[test]
fn an_argument_that_is_not_utf_8_is_refused() {
    let bad = OsString::from_vec(vec![b'I', 0xff, b'R']);
    for args in [vec![bad.clone()], vec!["decode".into(), bad.clone()], vec!["explain".into(), "VMT-1".into(), bad]] {
        let text = one_line_error(&gicv5().args(&args).output().unwrap());
        assert!(text.starts_with(&format!("error: argument {} is not UTF-8", args.len())), "{text}");
    }
}

#[test]
fn an_argument_of_100_kilobytes_is_refused_in_one_short_line() {
    let long = "9".repeat(100_000);
    one_line_error(&gicv5().args(["decode", &long, "1"]).output().unwrap());
    one_line_error(&gicv5().args(["decode", "IRS_IDR0", &long]).output().unwrap());
    one_line_error(&gicv5().args(["explain", &long]).output().unwrap());
    one_line_error(&gicv5().arg(&long).output().unwrap());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for args in [["explain", "--list"], ["decode", "--list"]] {
        let mut child = gicv5().args(args).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut first = [0; 1];
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_reported() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = gicv5().args(["decode", "--list"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: cannot write the output: "), "{text}");
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    let decode = ["decode", "IRS_IDR3", "0x60b"];
    let escape = |output: Output| output.stdout.contains(&0x1b);
    assert!(!escape(gicv5().args(decode).output().unwrap()));
    assert!(escape(gicv5().args(decode).env("CLICOLOR_FORCE", "1").output().unwrap()));
    assert!(!escape(gicv5().args(decode).env("NO_COLOR", "1").output().unwrap()));
    assert!(!escape(gicv5().args(decode).arg("--json").env("CLICOLOR_FORCE", "1").output().unwrap()));
}

/// A trace in which a machine with one PE does the same thing this many times.
fn long_trace(rounds: usize) -> String {
    let start = "gicv5_common_realize GICv5 IRS realized: IRS ID 0, 1 CPUs, SPI base 0, SPI IRS range 8, SPI range 8\n";
    let wire = |level: u8| {
        format!(
            "gicv5_spi GICv5 SPI ID 5 asserted at level {level}\n\
             gicv5_spi_state GICv5 IRS SPI ID 5 now level {level} pending 1 active 0\n\
             gicv5_irs_recalc_hppi_fail GICv5 IRS NonSecure IAFFID 0: no HPPI: IRS_CR0.IRSEN is zero\n"
        )
    };
    start.to_owned() + &[wire(1), wire(0)].concat().repeat(rounds)
}

/// Starts a replay of what is written to its standard input.
fn replay(stderr: Stdio) -> (Child, ChildStdin) {
    let mut command = gicv5();
    command.args(["replay", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
    // Without a name, a terminal is taken for one that shows nothing.
    command.env("TERM", "xterm");
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

#[test]
fn ctrl_c_ends_a_replay_with_the_summary_so_far() {
    let (child, mut stdin) = replay(Stdio::piped());
    // More than the pipe holds, so that the child has read some when this has been written.
    let trace = long_trace(20_000);
    let (first, rest) = trace.split_at(2_000_000);
    stdin.write_all(first.as_bytes()).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    // It does not read to the end.
    let written = stdin.write_all(rest.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("interrupted: the trace has not been read to its end"), "{text}");
    assert!(text.contains("divergences              0"), "{text}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    drop(written);
}

#[test]
fn a_second_ctrl_c_ends_a_replay_that_waits_for_input() {
    let (mut child, mut stdin) = replay(Stdio::piped());
    stdin.write_all(long_trace(1000).as_bytes()).unwrap();
    wait_for_handler(&child);
    for _ in 0..2 {
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        // Two signals at once would be one.
        sleep(Duration::from_millis(300));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
}

/// How long a command may take to end after Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a command may take to show how far it is, on a busy machine.
const UNTIL_SHOWN: Duration = Duration::from_secs(60);

/// A terminal, and what has been written to it.
struct Terminal {
    side: File,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn open() -> Terminal {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let side = File::options().read(true).write(true).open(name).unwrap();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (sink, mut terminal) = (written.clone(), File::from(terminal));
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = terminal.read(&mut part) {
                sink.lock().unwrap().extend_from_slice(&part[..count]);
            }
        });
        Terminal { side, written }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits until this text has been written.
    fn wait_for(&self, text: &str) {
        let start = Instant::now();
        while !self.shown().contains(text) {
            assert!(start.elapsed() < UNTIL_SHOWN, "no {text:?} on the terminal: {:?}", self.shown());
            sleep(Duration::from_millis(10));
        }
    }
}

/// Presses Ctrl-C, and gives the exit status of a command and what it wrote to its standard output.
fn interrupt(mut child: Child) -> (Option<i32>, String) {
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        assert!(start.elapsed() <= PATIENCE, "it still runs {PATIENCE:?} after Ctrl-C");
        sleep(Duration::from_millis(5));
    }
    (child.wait().unwrap().code(), reader.join().unwrap())
}

/// A command that takes minutes draws a bar on a terminal that says this; after Ctrl-C its summary says that.
fn a_long_command(args: &[&str], bar: &str, summary: &str) {
    let terminal = Terminal::open();
    let mut command = gicv5();
    // Without a name, a terminal is taken for one that shows nothing.
    command.args(args).stdout(Stdio::piped()).stderr(terminal.side.try_clone().unwrap()).env("TERM", "xterm");
    let child = command.spawn().unwrap();
    terminal.wait_for(bar);
    let (status, text) = interrupt(child);
    assert_eq!(status, Some(130), "{args:?}: {text}");
    assert!(text.contains(summary), "{args:?}: {text}");
}

/// A scenario of an hour.
fn endless() -> String {
    let path = scratch("endless.toml");
    let text = "title = \"endless\"\nduration = \"3600s\"\n[machine]\n[[vm]]\nname = \"vm0\"\nprogram = [\"run 1us\", \"again\"]\n";
    std::fs::write(&path, text).unwrap();
    path.into_os_string().into_string().unwrap()
}

#[test]
fn ctrl_c_on_a_terminal_ends_a_run_with_its_summary() {
    a_long_command(&["run", &endless(), "--json"], "% of the simulated time", "\"leaks\": 0");
}

#[test]
fn ctrl_c_on_a_terminal_ends_the_faults_with_their_summary() {
    a_long_command(&["faults", "--depth", "3"], "% of the first faults", "interrupted");
}

#[test]
fn ctrl_c_on_a_terminal_ends_random_programs_with_those_so_far() {
    a_long_command(&["conformance", "--random", "10000000"], "% of the programs", "program 0 ");
}

#[test]
fn ctrl_c_on_a_terminal_ends_the_corrupted_tests_with_those_so_far() {
    a_long_command(&["conformance", "--corrupt", "1000000"], "% of the accesses", "effects: ");
}

#[test]
fn ctrl_c_on_a_terminal_ends_a_replay_with_its_summary() {
    let path = scratch("long.trace");
    std::fs::write(&path, long_trace(2_000_000)).unwrap();
    a_long_command(
        &["replay", path.to_str().unwrap()],
        " lines, ",
        "interrupted: the trace has not been read to its end",
    );
    std::fs::remove_file(path).unwrap();
}

#[test]
fn ctrl_c_ends_the_conformance_tests_with_those_so_far() {
    let mut child = gicv5();
    let child = child.args(["conformance", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    // Long enough for the handler to be there, and shorter than all the tests take.
    wait_for_handler(&child);
    let (status, text) = interrupt(child);
    assert_eq!(status, Some(130), "{text}");
    assert!(text.contains("\"interrupted\": true"), "{text}");
}

/// Waits until a child catches SIGINT.
fn wait_for_handler(child: &Child) {
    let start = Instant::now();
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&mask, 16).unwrap() & 1 << (Signal::INT.as_raw() - 1) != 0
    };
    while !caught() {
        assert!(start.elapsed() < UNTIL_SHOWN, "it does not catch SIGINT");
        sleep(Duration::from_millis(1));
    }
}

/// Replays a trace that comes in two parts, more than half a second apart, and gives what was said on standard output.
fn slow_replay(stderr: Stdio) -> (Output, String) {
    let (child, mut stdin) = replay(stderr);
    let trace = long_trace(5000);
    let (first, rest) = trace.split_at(trace.len() / 2);
    wait_for_handler(&child);
    stdin.write_all(first.as_bytes()).unwrap();
    sleep(Duration::from_millis(1000));
    stdin.write_all(rest.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

#[test]
fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    let (output, text) = slow_replay(Stdio::piped());
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[][..]), "{text}");

    let terminal = Terminal::open();
    let (output, text) = slow_replay(terminal.side.try_clone().unwrap().into());
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("lines, "), "progress is not part of the output: {text}");
    terminal.wait_for(" lines, ");
    terminal.wait_for("0 divergences");
}

/// A file in the folder for what tests write.
fn scratch(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn a_scenario_of_100_megabytes_is_refused_in_one_line() {
    let path = scratch("huge.toml");
    File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let text = one_line_error(&gicv5().arg("run").arg(&path).output().unwrap());
    assert!(text.contains("longer than 1 MiB"), "{text}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_damaged_compressed_scenario_is_refused_in_plain_words() {
    // No magic number; a magic number and nothing; a magic number and a frame header that makes no sense.
    for bytes in
        [&b"title = 1"[..], &[0x28, 0xb5, 0x2f, 0xfd], &[0x28, 0xb5, 0x2f, 0xfd, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]
    {
        let path = scratch("damaged.toml.zst");
        std::fs::write(&path, bytes).unwrap();
        let text = one_line_error(&gicv5().arg("run").arg(&path).output().unwrap());
        assert!(text.ends_with("it is not compressed by zstd, or damaged\n"), "{text}");
    }
}

#[test]
fn a_fault_that_cannot_strike_is_shown_with_its_place() {
    let path = scratch("fault.toml");
    let text = "title = \"t\"\nduration = \"1ms\"\n[[vm]]\nname = \"a\"\n[[fault]]\nrequest = \"tabel memory\"\nfails = \"refused\"\n";
    std::fs::write(&path, text).unwrap();
    let output = gicv5().arg("run").arg(&path).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
    assert!(
        error.contains("fault.toml:6:12") && error.contains("^^^^^^^^^^^^") && error.contains("table memory of"),
        "{error}"
    );
}

#[test]
fn new_refuses_a_name_that_would_be_taken_for_an_option() {
    let folder = scratch("odd");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["-x", "--help", "-", ".", "..", "a/", "", "a b", "-a/b", "a/-b", "\u{1b}[31m"] {
        let output = gicv5().args(["new", "--", name]).current_dir(&folder).output().unwrap();
        let text = one_line_error(&output);
        assert!(text.contains("is no name of a scenario"), "{text}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_scenario_that_makes_no_sense_is_shown_with_its_place_before_anything_is_done() {
    for (name, text, what) in [
        ("broken.toml", "title = \"t\nduration", "not TOML"),
        ("zero.toml", "title = \"t\"\nduration = \"1ms\"\n[machine]\npes = 0\n", "`pes` cannot be 0"),
        ("long.toml", "title = \"t\"\nduration = \"99999999999s\"\n", "is too long"),
    ] {
        let path = scratch(name);
        std::fs::write(&path, text).unwrap();
        let output = gicv5().arg("run").arg(&path).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
        assert!(error.starts_with("error: ") && error.contains(what), "{error}");
        assert!(error.contains(name) && error.contains("help: "), "{error}");
    }
}

#[test]
fn a_picture_that_cannot_be_written_is_noticed_before_anything_is_done() {
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/first-vm.toml");
    let text = one_line_error(&gicv5().args(["run", scenario, "--trace", "/no such folder/a"]).output().unwrap());
    assert!(text.contains("cannot write \"/no such folder/a\""), "{text}");
    let text = one_line_error(&gicv5().args(["run", scenario, "--dtb", scenario]).output().unwrap());
    assert!(text.contains("no device tree"), "{text}");
}

#[test]
fn new_writes_a_scenario_that_runs_and_overwrites_nothing() {
    let folder = scratch("new");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let new = || gicv5().args(["new", "mine"]).current_dir(&folder).output().unwrap();
    assert_eq!(new().status.code(), Some(0));
    let run = gicv5().args(["run", "mine.toml"]).current_dir(&folder).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stdout));
    assert!(one_line_error(&new()).contains("cannot write \"mine.toml\""));
}
