//! QEMU under qtest, as a [`TestMachine`].
//!
//! `-accel qtest` gives a machine whose CPUs execute nothing; a line protocol on standard input and output
//! reads and writes physical addresses and drives device inputs. Commands are answered in order, so a whole
//! sequence goes down the pipe before the first answer is awaited: that is thirty times faster than asking
//! for each answer. Resets go through QMP on a second connection.
//!
//! QEMU ends itself on a command it does not understand and on a wire that does not exist, so only checked
//! commands are sent. All waits are bounded; an end of QEMU is reported with its last words.

mod error;
mod process;

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use gicv5_trace::Event;
use serde_json::Value;

use crate::installation::Installation;
use crate::layout::{FRAME, FRAME_BYTES, SPIS, TABLES};
use crate::operation::{Answer, Operation, TestMachine, Verdict, Width, WireLevel};
use crate::trace::{self, Line, MARKER, MARKERS};
pub use error::QemuError;
use process::{Connect, Unconnected, connect, drain, end, reader, writer};

/// How to start QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Number of PEs, 1 to 512; their IAFFIDs count from 0.
    pub pes: u32,
    /// `IRS_IDR0.IRSID`.
    pub irs_id: u16,
    /// How long to wait for any one answer.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pes: 4, irs_id: 0, timeout: Duration::from_secs(20) }
    }
}

/// A running QEMU.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    /// To the thread that writes standard input: a write must not block while QEMU waits for us to read.
    input: Sender<String>,
    output: Receiver<String>,
    errors: Receiver<String>,
    monitor: BufReader<UnixStream>,
    gic: String,
    high: BTreeSet<u32>,
    marker: u64,
    /// Reset events seen.
    resets: u64,
    words: VecDeque<String>,
    settings: Settings,
    directory: PathBuf,
}

/// Lines of standard error kept for an error message.
const LAST_WORDS: usize = 20;

impl Qemu {
    /// Starts a machine.
    pub fn start(installation: &Installation, settings: Settings) -> Result<Self, QemuError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gicv5-qtest-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (here, there) = installation.shared();
        let (directory, there) = (here.join(&name), there.join(&name));
        fs::create_dir_all(&directory).map_err(|source| QemuError::Socket {
            what: "create",
            path: directory.clone(),
            source,
        })?;
        let mut command = installation.command();
        command
            .args(["-M", "virt,gic-version=x-5", "-cpu", "max", "-m", "128"])
            .args(["-display", "none", "-nodefaults", "-no-user-config"])
            .args(["-accel", "qtest", "-qtest", "stdio", "-qtest-log", "none", "-d", "trace:gicv5_*"])
            .args(["-smp", &settings.pes.to_string()])
            .args(["-global", &format!("arm-gicv5.irsid={}", settings.irs_id)])
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", there.join("qmp").display()));
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                // Nothing is in it yet.
                let _ = fs::remove_dir(&directory);
                return Err(QemuError::Start(error));
            }
        };
        let input = writer(child.stdin.take());
        let output = reader(child.stdout.take());
        let errors = reader(child.stderr.take());
        let socket = directory.join("qmp");
        let connected = connect(&mut child, &socket, settings.timeout);
        let mut guard = Unconnected { child: Some(child), directory: Some(directory) };
        let stream = match connected {
            Ok(stream) => stream,
            Err(Connect::Socket(source)) => {
                return Err(QemuError::Socket { what: "connect to", path: socket, source });
            }
            Err(Connect::Ended(status)) => {
                let words: Vec<String> = drain(&errors);
                return Err(QemuError::Ended {
                    status,
                    after: "while starting".to_owned(),
                    last_words: words.join("\n"),
                });
            }
        };
        let (Some(child), Some(directory)) = (guard.child.take(), guard.directory.take()) else {
            return Err(QemuError::NoGic);
        };
        let mut qemu = Self {
            child,
            input,
            output,
            errors,
            monitor: BufReader::new(stream),
            gic: String::new(),
            high: BTreeSet::new(),
            marker: 0,
            resets: 0,
            words: VecDeque::new(),
            settings,
            directory,
        };
        // The greeting, then leave negotiation mode.
        qemu.monitor_line("its greeting")?;
        qemu.monitor("qmp_capabilities", Value::Null)?;
        let devices = qemu.monitor("qom-list", serde_json::json!({"path": "/machine/unattached"}))?;
        qemu.gic = devices
            .as_array()
            .into_iter()
            .flatten()
            .find(|entry| entry.get("type").and_then(Value::as_str) == Some("child<arm-gicv5>"))
            .and_then(|entry| entry.get("name").and_then(Value::as_str))
            .map(|name| format!("/machine/unattached/{name}"))
            .ok_or(QemuError::NoGic)?;
        qemu.reset()?;
        Ok(qemu)
    }

    /// Sends commands, one a line, and returns as many answers; each is what follows `OK`.
    fn exchange(&mut self, commands: &str) -> Result<Vec<String>, QemuError> {
        // A send fails only if the writer is gone, and it goes only when QEMU does: the wait below says why.
        let _ = self.input.send(commands.to_owned());
        let mut answers = Vec::new();
        for command in commands.lines() {
            let reply = loop {
                let line = self.wait(&format!("after {command:?}"))?;
                // Interception of device outputs is not used, but its reports would come unasked.
                if !line.starts_with("IRQ ") {
                    break line;
                }
            };
            match reply.strip_prefix("OK") {
                Some(rest) => answers.push(rest.trim().to_owned()),
                None => {
                    return Err(QemuError::Reply { command: command.to_owned(), reply });
                }
            }
        }
        Ok(answers)
    }

    fn wait(&mut self, after: &str) -> Result<String, QemuError> {
        match self.output.recv_timeout(self.settings.timeout) {
            Ok(line) => Ok(line),
            Err(reason) => Err(self.failure(reason, after)),
        }
    }

    /// Why a pipe gave nothing.
    fn failure(&mut self, reason: RecvTimeoutError, after: &str) -> QemuError {
        let silent = reason == RecvTimeoutError::Timeout;
        let ended = if silent { self.child.try_wait().ok().flatten() } else { None };
        // Closing its end first lets the pipe of standard error come to its end.
        let _ = self.child.kill();
        let status = self.child.wait();
        for line in drain(&self.errors) {
            self.remember(&line);
        }
        let last_words = Vec::from(self.words.clone()).join("\n");
        match (silent && ended.is_none(), status) {
            (false, Ok(status)) => QemuError::Ended { status, after: after.to_owned(), last_words },
            _ => QemuError::Silent { seconds: self.settings.timeout.as_secs(), after: after.to_owned(), last_words },
        }
    }

    fn remember(&mut self, line: &str) {
        if matches!(trace::parse(line), Ok(Line::Words)) {
            if self.words.len() == LAST_WORDS {
                self.words.pop_front();
            }
            self.words.push_back(line.to_owned());
        }
    }

    /// The command that leaves a mark in the trace.
    fn mark(&mut self, commands: &mut String) {
        let at = FRAME + MARKER + self.marker * 4;
        self.marker = (self.marker + 1) % MARKERS;
        // Writing to a string does not fail.
        let _ = writeln!(commands, "readl {at:#x}");
    }

    /// The IRS's answers up to the mark with this number.
    fn events(&mut self, mark: u64) -> Result<Vec<Event>, QemuError> {
        let mut events = Vec::new();
        loop {
            let line = match self.errors.recv_timeout(self.settings.timeout) {
                Ok(line) => line,
                Err(reason) => return Err(self.failure(reason, "in its trace")),
            };
            match trace::parse(&line).map_err(QemuError::Trace)? {
                Line::Answer(event) => events.push(event),
                Line::Marker(found) if found == mark => return Ok(events),
                Line::Marker(_) | Line::Other => {}
                Line::Words => self.remember(&line),
            }
        }
    }

    fn monitor_line(&mut self, after: &str) -> Result<Value, QemuError> {
        let mut line = String::new();
        let read = self.monitor.read_line(&mut line);
        match read {
            Ok(1..) => serde_json::from_str(&line)
                .map_err(|_| QemuError::Monitor { command: after.to_owned(), reply: line.trim().to_owned() }),
            Ok(0) => Err(self.failure(RecvTimeoutError::Disconnected, &format!("after {after}"))),
            Err(error) => {
                let late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                let reason = if late { RecvTimeoutError::Timeout } else { RecvTimeoutError::Disconnected };
                Err(self.failure(reason, &format!("after {after}")))
            }
        }
    }

    /// Performs a monitor command; events that come before its answer are dropped.
    fn monitor(&mut self, command: &str, arguments: Value) -> Result<Value, QemuError> {
        let mut request = serde_json::json!({ "execute": command });
        if let (Some(object), false) = (request.as_object_mut(), arguments.is_null()) {
            object.insert("arguments".to_owned(), arguments);
        }
        // A failure to write shows as the missing answer.
        let _ = self.monitor.get_mut().write_all(format!("{request}\n").as_bytes());
        loop {
            let mut reply = self.monitor_line(command)?;
            if let Some(value) = reply.get_mut("return") {
                return Ok(value.take());
            }
            self.resets += u64::from(is_reset(&reply));
            if reply.get("event").is_none() {
                return Err(QemuError::Monitor { command: command.to_owned(), reply: reply.to_string() });
            }
        }
    }

    /// The qtest command of an operation.
    fn command(&mut self, operation: &Operation) -> Result<String, QemuError> {
        let letter = |width| match width {
            Width::W8 => 'b',
            Width::W16 => 'w',
            Width::W32 => 'l',
            Width::W64 => 'q',
        };
        Ok(match *operation {
            Operation::Read { offset, width } if offset < FRAME_BYTES => {
                format!("read{} {:#x}", letter(width), FRAME + offset)
            }
            Operation::Write { offset, width, value } if offset < FRAME_BYTES => {
                format!("write{} {:#x} {value:#x}", letter(width), FRAME + offset)
            }
            Operation::Load { address, width } => format!("read{} {address:#x}", letter(width)),
            Operation::Store { address, width, value } => {
                format!("write{} {address:#x} {value:#x}", letter(width))
            }
            Operation::Line { spi, level } if spi < SPIS => {
                match level {
                    WireLevel::High => self.high.insert(spi),
                    WireLevel::Low => self.high.remove(&spi),
                };
                format!("set_irq_in {} unnamed-gpio-in {spi} {}", self.gic, u8::from(level == WireLevel::High))
            }
            _ => return Err(QemuError::Outside { operation: *operation }),
        })
    }

    /// Performs operations without a reset; one answer for each.
    pub fn perform_all(&mut self, operations: &[Operation]) -> Result<Vec<Answer>, QemuError> {
        let mut commands = String::new();
        let mut mark = self.marker;
        for operation in operations {
            let _ = writeln!(commands, "{}", self.command(operation)?);
            self.mark(&mut commands);
        }
        let mut replies = self.exchange(&commands)?.into_iter();
        let mut answers = Vec::with_capacity(operations.len());
        for operation in operations {
            let reply = replies.next().unwrap_or_default();
            // What the mark read.
            replies.next();
            let value = match operation.reads() {
                None => None,
                Some(width) => {
                    let digits = reply.strip_prefix("0x").unwrap_or_default();
                    let value = u64::from_str_radix(digits, 16)
                        .map_err(|_| QemuError::Reply { command: operation.to_string(), reply: reply.clone() })?;
                    Some(width.truncate(value))
                }
            };
            let events = self.events(mark)?;
            mark = (mark + 1) % MARKERS;
            answers.push(Answer { value, events });
        }
        Ok(answers)
    }
}

impl TestMachine for Qemu {
    type Error = QemuError;

    fn reset(&mut self) -> Result<(), QemuError> {
        // A reset forgets the levels that QEMU's IRS has seen but not those that its wires have.
        let mut commands = String::new();
        for spi in std::mem::take(&mut self.high) {
            let _ = writeln!(commands, "set_irq_in {} unnamed-gpio-in {spi} 0", self.gic);
        }
        let _ = writeln!(commands, "memset {:#x} {:#x} 0x0", TABLES.start, TABLES.end - TABLES.start);
        self.exchange(&commands)?;
        let before = self.resets;
        self.monitor("system_reset", Value::Null)?;
        // The answer means that a reset is due; the event, which may come first, that it has happened.
        while self.resets == before {
            let event = self.monitor_line("system_reset")?;
            self.resets += u64::from(is_reset(&event));
        }
        let mark = self.marker;
        let mut commands = String::new();
        self.mark(&mut commands);
        self.exchange(&commands)?;
        self.events(mark)?;
        Ok(())
    }

    fn perform(&mut self, operation: &Operation) -> Result<Answer, QemuError> {
        Ok(self.perform_all(&[*operation])?.pop().unwrap_or_default())
    }

    fn confirm(&mut self, _: &Event) -> Result<Verdict, QemuError> {
        Ok(Verdict::NotComparable)
    }

    fn run(&mut self, sequence: &[Operation]) -> Result<Vec<Answer>, QemuError> {
        self.reset()?;
        self.perform_all(sequence)
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        end(&mut self.child, &self.directory);
    }
}

fn is_reset(message: &Value) -> bool {
    message.get("event").and_then(Value::as_str) == Some("RESET")
}
