//! The story of a run: who did what when.

use std::fmt;
use std::io::{self, Write};

use anstyle::Style;
use gicv5_hal::FrameKind;
use gicv5_hyp::VcpuIndex;
use gicv5_model::event::{Barrier, Event, Outcome};
use gicv5_model::{PeIndex, RegisterName};

use super::scenario::Ns;
use crate::output::{Console, FAINT, NAME, PROBLEM, REMARK, styled};

/// A run with more to tell is told only if somebody asks.
const SHORT: usize = 120;

/// What somebody needs to know who has never seen a GICv5.
const WORDS: [(&str, &str); 6] = [
    ("PE", "a physical CPU; the host is the hypervisor that runs on it"),
    ("IRS", "the interrupt hardware; it keeps the interrupts of VMs, SPIs and LPIs, in tables in memory"),
    ("SPI", "an interrupt that comes by a wire"),
    ("LPI", "an interrupt that comes by a message, from a device or from software"),
    ("resident", "a vCPU whose interrupts the IRS hands to its PE, where the guest takes them without the host"),
    ("doorbell", "an interrupt for the host: a vCPU that is not resident has something to take"),
];

/// Nobody reads more.
const LONGEST: usize = 1_000_000;

/// A vCPU, by the name of its VM.
#[derive(Clone, Copy)]
pub(super) struct VcpuName<'a> {
    pub(super) vm: &'a str,
    pub(super) vcpu: VcpuIndex,
}

impl fmt::Display for VcpuName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/vcpu{}", self.vm, self.vcpu.0)
    }
}

/// Who does something.
#[derive(Clone, Copy)]
pub(super) enum Who<'a> {
    World,
    /// The host, on a PE.
    Host(PeIndex),
    Irs,
    Guest(VcpuName<'a>),
    /// The model's rule checker: a rule is broken.
    Checker,
    /// The model's rule checker: something is almost surely wrong.
    Remarks,
    /// Something did not work.
    Error,
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::World => f.write_str("world"),
            Who::Host(pe) => write!(f, "host {pe}"),
            Who::Irs => f.write_str("IRS"),
            Who::Guest(vcpu) => vcpu.fmt(f),
            Who::Checker => f.write_str("violation"),
            Who::Remarks => f.write_str("remark"),
            Who::Error => f.write_str("error"),
        }
    }
}

impl Who<'_> {
    fn style(self) -> Style {
        match self {
            Who::World | Who::Remarks => REMARK,
            Who::Host(_) | Who::Irs => Style::new(),
            Who::Guest(..) => NAME,
            Who::Checker | Who::Error => PROBLEM,
        }
    }
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// If it is short.
    IfShort,
    /// All of it.
    All,
    /// With every access behind it.
    Verbose,
    Nothing,
}

struct Line {
    ns: Ns,
    style: Style,
    who: String,
    what: String,
}

/// The story so far.
pub(super) struct Story {
    telling: Telling,
    lines: Vec<Line>,
    more: u64,
}

impl Story {
    pub(super) fn new(telling: Telling) -> Story {
        Story { telling, lines: Vec::new(), more: 0 }
    }

    fn room(&mut self) -> bool {
        let most = match self.telling {
            Telling::Nothing => 0,
            Telling::IfShort => SHORT,
            Telling::All | Telling::Verbose => LONGEST,
        };
        let room = self.lines.len() < most;
        self.more += u64::from(!room);
        room
    }

    /// Somebody did something. What is made only if it is told.
    pub(super) fn tell(&mut self, ns: Ns, who: Who<'_>, what: impl FnOnce() -> String) {
        if self.room() {
            self.lines.push(Line { ns, style: who.style(), who: who.to_string(), what: what() });
        }
    }

    /// The access behind it.
    pub(super) fn detail(&mut self, ns: Ns, event: &Event) {
        if self.telling != Telling::Verbose {
            return;
        }
        let name =
            |frame: gicv5_hal::Frame, offset| (frame.kind == FrameKind::Config).then_some(RegisterName(frame, offset));
        let (who, what) = match *event {
            Event::FrameRead { frame, offset, value, .. } => match name(frame, offset) {
                Some(name) => ("host".to_owned(), format!("{name} reads {value:#x}")),
                None => return,
            },
            Event::FrameWrite { frame, offset, value, .. } => match name(frame, offset) {
                Some(name) => ("host".to_owned(), format!("{name} <- {value:#x}")),
                None => return,
            },
            Event::SysRegRead { pe, register, value } => (pe.to_string(), format!("{register} reads {value:#x}")),
            Event::SysRegWrite { pe, register, value } => (pe.to_string(), format!("{register} <- {value:#x}")),
            Event::Instruction { pe, insn, xt, result } => (pe.to_string(), format!("{insn} {xt:#x} -> {result:#x}")),
            Event::Barrier { pe, barrier: Barrier::Isb } => (pe.to_string(), "ISB".to_owned()),
            Event::Barrier { pe, barrier: Barrier::Dsb } => (pe.to_string(), "DSB".to_owned()),
            Event::CommandDone { irs, register, outcome, .. } => {
                let outcome = match outcome {
                    Outcome::Done => "done",
                    Outcome::Ignored => "completed without an effect, by a rule",
                    Outcome::Lost => "completed without an effect, as planned",
                };
                (irs.to_string(), format!("{register}: {outcome}"))
            }
            Event::Allocated { address, size, .. } => {
                ("host".to_owned(), format!("allocates {size:#x} bytes at {address}"))
            }
            Event::Freed { address, size, .. } => ("host".to_owned(), format!("frees {size:#x} bytes at {address}")),
            _ => return,
        };
        if self.room() {
            self.lines.push(Line { ns, style: FAINT, who: format!("  {who}"), what });
        }
    }

    /// The story in order of time, if it is to be told; else where to get it.
    pub(super) fn print(&mut self, out: &mut Console<'_>) -> io::Result<()> {
        if self.telling == Telling::Nothing {
            return Ok(());
        }
        if self.telling == Telling::IfShort && self.more > 0 {
            let lines = self.lines.len() as u64 + self.more;
            return writeln!(out, "{}\n", styled(FAINT, format!("the story has {lines} lines; --story tells it")));
        }
        for (word, meaning) in WORDS {
            writeln!(out, "  {}  {}", styled(NAME, format!("{word:<8}")), styled(FAINT, meaning))?;
        }
        writeln!(out)?;
        self.lines.sort_by_key(|line| line.ns);
        let who = self.lines.iter().map(|line| line.who.len()).max().unwrap_or(0);
        for line in &self.lines {
            let Line { ns, style, .. } = line;
            let time = styled(FAINT, format!("{:>12}", time(*ns)));
            let name = format!("{}{:pad$}", styled(*style, &line.who), "", pad = who - line.who.len());
            writeln!(out, "{time}  {name}  {}", line.what)?;
        }
        if self.more > 0 {
            writeln!(out, "{}", styled(FAINT, format!("and {} lines more", self.more)))?;
        }
        writeln!(out)
    }
}

/// A moment or duration as people write it.
pub(super) fn time(ns: Ns) -> String {
    let (whole, rest) = (ns / 1_000, ns % 1_000);
    if rest == 0 { format!("{whole} us") } else { format!("{whole}.{rest:03} us") }
}
