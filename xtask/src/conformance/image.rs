//! The bare-metal image, and its boots in QEMU.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gicv5_qtest::installation::Installation;
use object::{Object, ObjectSegment};
use xshell::Shell;

use crate::bare_metal;

/// A boot that prints nothing for that long hangs. The image says so itself, and which PE, unless it has one PE only. Two cores
/// that do other things too need some patience.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the image lies (platform/bare-metal/image.ld).
const LOAD: u64 = 0x4020_0000;

/// Boots of one run that may end early.
const BOOTS: usize = 40;

/// How a test ended on hardware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// The test.
    pub(super) name: String,
    /// `pass`, `fail`, `open`, `not-applicable`, or `stopped` if it took the machine along.
    pub(super) status: String,
    /// Why, if it did not pass.
    pub(super) message: String,
}

/// Builds the image: the bytes from the load address on.
pub(super) fn build(shell: &Shell) -> Result<Vec<u8>> {
    let elf = bare_metal::build_image(shell, bare_metal::CONFORMANCE)?;
    let bytes = std::fs::read(&elf).with_context(|| format!("cannot read {}", elf.display()))?;
    raw(&bytes).with_context(|| format!("{} is no image", elf.display()))
}

/// What a loader puts into memory: the segments of an executable, at their distances from the first.
fn raw(elf: &[u8]) -> Result<Vec<u8>> {
    let file = object::File::parse(elf)?;
    let mut segments = Vec::new();
    for segment in file.segments() {
        let data = segment.data()?;
        if !data.is_empty() {
            segments.push((segment.address(), data));
        }
    }
    let start = segments.iter().map(|(address, _)| *address).min().context("it has nothing to load")?;
    let mut image = Vec::new();
    for (address, data) in segments {
        let at = usize::try_from(address - start)?;
        ensure!(at < 64 << 20, "a segment lies {at:#x} bytes behind the first");
        if image.len() < at + data.len() {
            image.resize(at + data.len(), 0);
        }
        if let Some(place) = image.get_mut(at..at + data.len()) {
            place.copy_from_slice(data);
        }
    }
    ensure!(image.get(56..60) == Some(b"ARM\x64"), "it does not begin with the header of a kernel image");
    Ok(image)
}

/// A QEMU with the image.
pub(super) struct Machine<'a> {
    installation: &'a Installation,
    /// The image as QEMU sees it.
    image: PathBuf,
    pes: u16,
}

impl<'a> Machine<'a> {
    /// Puts the image where QEMU finds it.
    pub(super) fn new(installation: &'a Installation, image: &[u8], pes: u16) -> Result<Machine<'a>> {
        let (ours, theirs) = installation.shared();
        let name = format!("gicv5-conformance-{}.img", std::process::id());
        let path = ours.join(&name);
        std::fs::write(&path, image).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Machine { installation, image: theirs.join(name), pes })
    }

    /// Starts one boot.
    fn start(&self, boot: Boot<'_>) -> Result<Child> {
        let mut command = self.installation.command();
        command
            .args(["-M", boot.machine, "-cpu", "max", "-accel", boot.accelerator, "-m", boot.memory])
            .args(["-smp", &self.pes.to_string(), "-display", "none", "-monitor", "none", "-serial", "stdio"])
            .args(boot.semihosting.then_some(["-semihosting-config", "enable=on,target=native"]).into_iter().flatten());
        match boot.start {
            Start::AsKernel => command.arg("-kernel").arg(&self.image).args(["-append", boot.arguments]),
            Start::WithoutTree => {
                command.arg("-device").arg(format!("loader,cpu-num=0,addr={LOAD:#x},file={}", self.image.display()))
            }
        };
        if let Some(tree) = boot.tree {
            command.arg("-dtb").arg(tree);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("cannot start QEMU")
    }

    /// Runs one boot to its end, whatever that is: the lines it printed, how it ended, and what the emulator said.
    pub(super) fn run(&self, boot: Boot<'_>, mut line: impl FnMut(&str)) -> Result<(End, String)> {
        let mut child = self.start(boot)?;
        let stdout = child.stdout.take().context("QEMU has no output")?;
        let mut stderr = child.stderr.take().context("QEMU has no error output")?;
        let (sender, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut bytes = Vec::new();
            while stdout.read_until(b'\n', &mut bytes).is_ok_and(|count| count != 0) {
                if sender.send(String::from_utf8_lossy(&bytes).trim_end().to_owned()).is_err() {
                    return;
                }
                bytes.clear();
            }
        });
        let words = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let hangs = loop {
            match lines.recv_timeout(boot.patience) {
                Ok(text) => line(&text),
                Err(RecvTimeoutError::Disconnected) => break false,
                Err(RecvTimeoutError::Timeout) => {
                    child.kill().context("cannot end QEMU")?;
                    // What it has printed of a line is in the channel now.
                    let rest: Vec<String> = lines.iter().collect();
                    rest.iter().for_each(|text| line(text));
                    break true;
                }
            }
        };
        let status = child.wait()?;
        let _ = reader.join();
        let words = words.join().unwrap_or_default();
        let end = match status.code() {
            _ if hangs => End::Hung,
            Some(code) => End::Exited(code),
            None => End::Died(status.to_string()),
        };
        Ok((end, words))
    }

    /// Runs one test in a boot of its own, with these arguments beside its name.
    pub(super) fn run_alone(&self, name: &str, arguments: &str) -> Result<Ended> {
        let arguments = format!("only={name} {arguments}");
        let (mut ended, mut open, mut other) = (None, false, Vec::new());
        let (end, words) = self.run(Boot { arguments: &arguments, ..Boot::GICV5 }, |line| match parse(line) {
            Some(Line::Ended(test)) if test.name == name => ended = Some(test),
            Some(Line::Started(test)) => open = test == name,
            _ => other.push(line.to_owned()),
        })?;
        match ended {
            Some(ended) => Ok(ended),
            None if open => {
                Ok(Ended { name: name.into(), status: "stopped".into(), message: format!("{end}: {words}") })
            }
            None => bail!("{arguments}: the image {end} without running it: {other:?} {words}"),
        }
    }

    /// Runs every test, boot after boot if a test takes the machine along.
    pub(super) fn run_tests(&self, mut progress: impl FnMut(&str)) -> Result<Vec<Ended>> {
        let mut tests: Vec<Ended> = Vec::new();
        let mut arguments = String::new();
        for _ in 0..BOOTS {
            let mut open: Option<String> = None;
            let mut other = Vec::new();
            let before = tests.len();
            let (end, words) = self.run(Boot { arguments: &arguments, ..Boot::GICV5 }, |line| match parse(line) {
                Some(Line::Ended(ended)) => {
                    progress(&ended.name);
                    open = None;
                    tests.push(ended);
                }
                Some(Line::Started(name)) => open = Some(name),
                None => other.push(line.to_owned()),
            })?;
            let said = [other.join("; "), words.lines().collect::<Vec<_>>().join("; ")].join("; ");
            match (end, open) {
                (End::Exited(0 | 1), _) if tests.is_empty() => bail!("the image ran no test: {said}"),
                (End::Exited(0 | 1), _) => return Ok(tests),
                (end, Some(name)) => {
                    let message = format!("{end}: {}", last_words(&said));
                    tests.push(Ended { name: name.clone(), status: "stopped".into(), message });
                    arguments = format!("after={name}");
                }
                (end, None) if tests.len() == before => bail!("the image {end} before the first test: {said}"),
                (end, None) => bail!("the image {end} after {}: {said}", tests.last().map_or("", |test| &test.name)),
            }
        }
        bail!("{BOOTS} boots did not suffice")
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.image.file_name() {
            let _ = std::fs::remove_file(self.installation.shared().0.join(name));
        }
    }
}

/// How the image starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// As a Linux kernel does, with the address of a device tree in x0.
    AsKernel,
    /// With x0 as it comes.
    WithoutTree,
}

/// One boot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boot<'a> {
    /// How the image starts.
    pub(super) start: Start,
    /// QEMU's machine with its properties.
    pub(super) machine: &'a str,
    /// How QEMU runs the PEs.
    pub(super) accelerator: &'a str,
    /// MiB of RAM.
    pub(super) memory: &'a str,
    /// A device tree to use instead of QEMU's own, as QEMU sees it.
    pub(super) tree: Option<&'a Path>,
    /// The image's arguments.
    pub(super) arguments: &'a str,
    /// After how long without a line it hangs.
    pub(super) patience: Duration,
    /// Whether QEMU offers semihosting.
    pub(super) semihosting: bool,
}

impl Boot<'_> {
    /// The machine that the suite is for. Each PE is a thread: they run at the same time.
    pub(super) const GICV5: Boot<'static> = Boot {
        start: Start::AsKernel,
        machine: "virt,gic-version=x-5",
        accelerator: "tcg",
        memory: "64",
        tree: None,
        arguments: "",
        patience: PATIENCE,
        semihosting: true,
    };

    /// The same, one PE at a time. Where PEs take turns anyway, that is faster by two orders of magnitude: a PE that
    /// waits for another one gives way to it, and does not wait for the end of its slice of a busy host.
    pub(super) const IN_TURN: Boot<'static> = Boot { accelerator: "tcg,thread=single", ..Boot::GICV5 };
}

/// How a boot ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With an exit status: the image's own, or QEMU's if it has not started the image.
    Exited(i32),
    /// It printed nothing for too long.
    Hung,
    /// By a signal, as an emulator that aborts does.
    Died(String),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exited(code) => write!(f, "ended with {code}"),
            End::Hung => f.write_str("hangs"),
            End::Died(how) => write!(f, "died ({how})"),
        }
    }
}

/// The end of what an emulator said.
fn last_words(said: &str) -> String {
    let said = said.trim_matches(|c| c == ';' || c == ' ');
    let from = said.char_indices().rev().nth(240).map_or(0, |(at, _)| at);
    said.get(from..).unwrap_or_default().to_owned()
}

/// A line that is about a test.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Started(String),
    Ended(Ended),
}

fn parse(line: &str) -> Option<Line> {
    let (name, rest) = line.split_once(" ...")?;
    if !name.contains("::") || name.contains(' ') {
        return None;
    }
    let rest = rest.trim_start();
    let ended = ["pass", "fail", "open", "not-applicable"].into_iter().find_map(|status| {
        let rest = rest.strip_prefix(status)?.trim_start().strip_prefix('[')?;
        let message = rest.split_once("]: ").map_or("", |(_, message)| message);
        Some(Ended { name: name.into(), status: status.into(), message: message.into() })
    });
    Some(ended.map_or_else(|| Line::Started(name.into()), Line::Ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_a_test_that_has_started() {
        let ended = |status: &str, message: &str| {
            Some(Line::Ended(Ended { name: "a::b".into(), status: status.into(), message: message.into() }))
        };
        assert_eq!(parse("a::b ... pass [PRI-3, INS-1]"), ended("pass", ""));
        assert_eq!(parse("a::b ... fail [PRI-3]: x: expected 1, actual 2"), ended("fail", "x: expected 1, actual 2"));
        assert_eq!(parse("a::b ... open [PRI-3]: x: expected 1, actual 2"), ended("open", "x: expected 1, actual 2"));
        assert_eq!(parse("a::b ... not-applicable [PRI-3]: needs 2 PEs"), ended("not-applicable", "needs 2 PEs"));
        assert_eq!(parse("a::b ..."), Some(Line::Started("a::b".into())));
        assert_eq!(parse("a::b ... **ERROR"), Some(Line::Started("a::b".into())));
        assert_eq!(parse("3 passed, 1 failed"), None);
        assert_eq!(parse("PEs 1, IRS at 0x8010000, coherent, wired SPI 1"), None);
    }

    #[test]
    fn what_an_emulator_said_is_cut_at_its_beginning() {
        assert_eq!(last_words("; ; aborted"), "aborted");
        assert!(last_words(&format!("{}end", "é".repeat(500))).ends_with("end"));
    }
}
