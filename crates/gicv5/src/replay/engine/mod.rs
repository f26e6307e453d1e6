//! Drives the model with what the trace says was done, and compares what the trace says was answered.
//!
//! There is no copy of any interrupt's state here: the model is asked. What is kept besides is what a trace leaves out
//! (writes to a CPU interface, of which only the consequences are seen) and what is needed to recognise a known defect of
//! QEMU by name (which SPIs it was used on; what QEMU's CPU interfaces were offered last).
//!
//! Here is which line starts which operation. [`registers`] has accesses to the IRS, [`instructions`] what PEs do,
//! [`candidates`] what becomes of LPIs and SPIs, [`interfaces`] what CPU interfaces show, and [`machine`] what the machine is.

mod candidates;
mod instructions;
mod interfaces;
mod machine;
mod registers;

use std::collections::{BTreeMap, HashMap};

use gicv5_arch::values::Domain;
use gicv5_arch::{IntId, IrsIntId, PhysAddr};
use gicv5_hal::{Frame, IrsIndex, Pe};
use gicv5_model::PeIndex;
use gicv5_model::memory::ModelBlock;
use gicv5_model::{Machine, ModelPe};
use gicv5_trace::{Candidate, Event, Interrupt, Line, Space, TraceError};

use super::interface::Mask;
use super::source::{On, Placed, Source};
use super::tally::{Check, Tally, Untold, names};
use machine::config;

const IRS: IrsIndex = IrsIndex(0);
const FRAME: Frame = Frame::config(IRS);

/// Why an answer is a divergence though the model alone may not see it.
const CONTRADICTED: &str = "what comes before and after agrees only if this line is wrong";

/// Why a replay cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The trace cannot be read.
    Trace(TraceError),
    /// The trace makes no sense, with the line.
    Input(String),
}

impl From<TraceError> for Stop {
    fn from(error: TraceError) -> Stop {
        Stop::Trace(error)
    }
}

/// What is known of a PE beyond the model.
struct Cpu {
    pe: ModelPe,
    /// Which priorities pass.
    mask: Mask,
    /// The line that the mask was last inferred from.
    mask_line: u64,
    /// PPIs of bank 0 whose enable and priority nobody knows for sure; in the model they are as they were last.
    unknown: u64,
    /// The lines that PPIs were inferred from to be enabled or not.
    ppi_lines: BTreeMap<u8, u64>,
    /// What QEMU's CPU interface has been offered last.
    offered: Candidate,
    /// IRS_CR0 was written since (hazard 2).
    stale: bool,
}

/// What QEMU may have got wrong about an SPI (hazard 1).
#[derive(Clone, Copy, Default)]
struct Suspicion {
    /// It has been disabled.
    disabled: bool,
    /// Its pending state has been cleared.
    cleared: bool,
}

/// A replay.
pub(super) struct Engine {
    source: Source,
    machine: Machine,
    cpus: Vec<Cpu>,
    spis: (u32, u32),
    suspicions: HashMap<u32, Suspicion>,
    /// Level-2 tables that had to be invented, with the addresses of their level-1 entries.
    invented: Vec<(PhysAddr, ModelBlock)>,
    last: u64,
    pub(super) tally: Tally,
}

impl Engine {
    /// Reads what machine the trace is of.
    pub(super) fn new(mut source: Source) -> Result<Engine, Stop> {
        let Some(first) = source.peek(0)? else {
            return Err(Stop::Input("line 1: the trace is empty; it must start with gicv5_common_realize".to_owned()));
        };
        let Event::Realize { cpus, spi_base, spi_irs_range, spi_range, .. } = first.line.event else {
            return Err(Stop::Input(format!(
                "line {}: a trace starts with gicv5_common_realize, which says what machine it is of, not with {}",
                first.line.number,
                first.line.event.name()
            )));
        };
        let wrong = |why: &str| Stop::Input(format!("line {}: {why}", first.line.number));
        let count = u16::try_from(cpus).map_err(|_| wrong("a machine has at most 65535 PEs"))?;
        let machine = Machine::new(config(count, spi_base, spi_irs_range, spi_range))
            .map_err(|error| wrong(&format!("no machine can be like that: {error}")))?;
        let cpus = (0..count)
            .filter_map(|n| {
                Some(Cpu {
                    pe: machine.pe(PeIndex(n))?,
                    mask: Mask::RESET,
                    mask_line: 0,
                    unknown: 0,
                    ppi_lines: BTreeMap::new(),
                    offered: Candidate::NONE,
                    stale: false,
                })
            })
            .collect();
        source.pop();
        source.attribute(count.into());
        let mut tally = Tally::new();
        tally.line(first.line);
        Ok(Engine {
            source,
            machine,
            cpus,
            spis: (spi_base, spi_irs_range),
            suspicions: HashMap::new(),
            invented: Vec::new(),
            last: first.line.number,
            tally,
        })
    }

    pub(super) fn pes(&self) -> usize {
        self.cpus.len()
    }

    pub(super) fn most_worlds(&self) -> usize {
        self.source.most_worlds()
    }

    /// Replays one operation. False at the end of the trace.
    pub(super) fn operation(&mut self) -> Result<bool, Stop> {
        let Some(Placed { line, on }) = self.source.peek(0)? else { return Ok(false) };
        match line.event {
            Event::Realize { .. } => {
                return Err(Stop::Input(format!("line {}: a second IRS, and a replay can have one", line.number)));
            }
            Event::Write { .. } | Event::BadWrite { .. } | Event::Read { .. } | Event::BadRead { .. } => {
                self.access(line)?;
            }
            Event::IstValid { .. }
            | Event::IstInvalid { .. }
            | Event::IrsCandidate { .. }
            | Event::IrsNoCandidate { .. }
            | Event::SpiState { .. } => self.before_access(line)?,
            Event::Signals { .. } => self.lone_signals(line, on)?,
            Event::PpiCandidate { .. } => self.lone_ppis(line, on)?,
            Event::SpiWire { spi, high } => {
                self.take();
                self.machine.set_spi_wire(spi, high);
                self.expect_spi_state(spi)?;
                self.expect_candidate_of(IrsIntId::Spi(spi))?;
            }
            Event::SetPriority { interrupt, priority } => {
                self.instruct(line, interrupt, |pe, id| pe.cdpri(id, priority))?;
            }
            Event::SetEnabled { interrupt, enabled } => {
                if let Some(suspicion) = self.suspicion(interrupt) {
                    suspicion.disabled = !enabled;
                }
                self.instruct(line, interrupt, |pe, id| if enabled { pe.cden(id) } else { pe.cddis(id) })?;
            }
            Event::SetPending { interrupt, pending } => {
                if let Some(suspicion) = self.suspicion(interrupt) {
                    suspicion.cleared = !pending;
                }
                self.instruct(line, interrupt, |pe, id| pe.cdpend(id, pending))?;
            }
            Event::SetHandling { interrupt, mode } => {
                self.take();
                self.judge_interrupt(line, interrupt);
                if let Some(id) = interrupt.irs_int_id() {
                    self.on_any_pe(|pe| pe.cdhm(id, mode));
                }
            }
            Event::SetTarget { interrupt, iaffid, .. } => {
                self.take();
                self.judge_interrupt(line, interrupt);
                let Some(id) = interrupt.irs_int_id() else { return Ok(true) };
                let Some(before) = self.machine.interrupt(id) else { return Ok(true) };
                self.on_any_pe(|pe| pe.cdaff(id, iaffid));
                self.expect_candidate(before.iaffid())?;
                self.expect_candidate(iaffid)?;
            }
            Event::RequestConfig { interrupt, icsr } => {
                self.take();
                self.judge_interrupt(line, interrupt);
                self.compare_configuration(line, interrupt, icsr);
            }
            Event::Acknowledge { domain, intid } => self.acknowledge(line, on, domain, intid)?,
            Event::AcknowledgeFail { domain, reason } => self.acknowledge_nothing(line, on, domain, reason),
            Event::PriorityDrop { domain } => {
                self.take();
                self.judge_domain(line, domain);
                let Some(pe) = self.pe(line, on, Check::Signals)? else { return Ok(true) };
                self.on_pe(pe, |pe| pe.cdeoi());
                self.expect_signals(pe)?;
            }
            Event::DeactivateRequest { domain, intid } => self.deactivate(line, on, domain, intid)?,
            Event::PpiWire { ppi, high } => {
                self.take();
                let Some(pe) = self.pe(line, on, Check::PpiCandidate)? else { return Ok(true) };
                self.machine.set_ppi_wire(PeIndex(pe as u16), ppi, high);
                self.expect_ppis(pe, None)?;
            }
            Event::Activate { .. } | Event::Deactivate { .. } => {
                self.take();
                self.misplaced(line, "nothing before it makes the IRS activate or deactivate an interrupt");
            }
        }
        Ok(true)
    }

    // --- lines --------------------------------------------------------------------------------------------------

    /// Takes the line that is next.
    fn take(&mut self) {
        if let Some(placed) = self.source.pop() {
            self.last = placed.line.number;
            self.tally.line(placed.line);
            if let Some(excess) = placed.line.excess {
                self.tally.check(Check::Range);
                let text = format!("there is no such answer: {excess}");
                self.tally.diverge(placed.line, Check::Range, None, Vec::new(), text);
            }
        }
    }

    /// The line that is next, within an operation that is not complete.
    fn next(&mut self, wanted: &str) -> Result<Line, Stop> {
        match self.source.peek(0)? {
            Some(placed) => Ok(placed.line),
            None => Err(Stop::Input(format!("line {}: the trace ends where {wanted} must follow", self.last))),
        }
    }

    fn diverge(&mut self, line: Line, check: Check, model: String) {
        self.tally.diverge(line, check, names(&line.event), Vec::new(), model);
    }

    fn misplaced(&mut self, line: Line, why: &str) {
        self.tally.check(Check::Order);
        self.diverge(line, Check::Order, format!("the line is out of place: {why}"));
    }

    /// Everything is of the Non-secure domain.
    fn judge_domain(&mut self, line: Line, domain: Domain) {
        if domain != Domain::NonSecure {
            self.misplaced(line, "the model has the Non-secure domain only");
        }
    }

    fn judge_interrupt(&mut self, line: Line, interrupt: Interrupt) {
        self.judge_domain(line, interrupt.domain);
        if interrupt.space == Space::Virtual {
            self.misplaced(line, "the model has no virtual interrupts");
        }
    }

    /// The PE an operation of a CPU interface happened on. Skips the operation if there is none.
    fn pe(&mut self, line: Line, on: On, check: Check) -> Result<Option<usize>, Stop> {
        match on {
            On::Pe(pe) => Ok(Some(pe.into())),
            On::Nobody | On::Somebody => {
                self.tally.check(check);
                self.diverge(line, check, "the state of no PE agrees with this line".to_owned());
                while let Some(placed) = self.source.peek(0)?
                    && matches!(placed.line.event, Event::PpiCandidate { .. } | Event::Signals { .. })
                {
                    self.tally.untold(Untold::Skipped, placed.line);
                    self.take();
                }
                Ok(None)
            }
        }
    }

    fn on_pe(&self, pe: usize, f: impl FnOnce(&Pe<'_, ModelPe>)) {
        if let Some(cpu) = self.cpus.get(pe) {
            f(&Pe::new(&cpu.pe));
        }
    }

    /// The IRS does not ask who executes an instruction.
    fn on_any_pe(&self, f: impl FnOnce(&Pe<'_, ModelPe>)) {
        self.on_pe(0, f);
    }
}

fn shown(id: Option<IntId>) -> String {
    id.map_or("nothing".to_owned(), |id| id.to_string())
}
