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
mod main_loop;
mod registers;

use std::collections::{BTreeMap, HashMap};

use gicv5_arch::values::Domain;
use gicv5_arch::{IntId, IrsIntId, PhysAddr, Ppi, Priority};
use gicv5_hal::{Frame, IrsIndex, Pe};
use gicv5_model::PeIndex;
use gicv5_model::memory::ModelBlock;
use gicv5_model::{Machine, ModelPe};
use gicv5_trace::{Candidate, Event, Interrupt, Line, RecordingError, Space};

use super::mask::Mask;
use super::source::Source;
use super::tally::{Check, Place, Tally, Untold, names};
use machine::config;

const IRS: IrsIndex = IrsIndex(0);
const FRAME: Frame = Frame::config(IRS);

/// Why a replay cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The recording cannot be read.
    Trace(RecordingError),
    /// It makes no sense in this file, with the line.
    Input(usize, String),
    /// `--pe` makes no sense.
    Asked(String),
}

impl From<RecordingError> for Stop {
    fn from(error: RecordingError) -> Stop {
        Stop::Trace(error)
    }
}

/// What is known of a PE beyond the model.
struct Cpu {
    pe: ModelPe,
    /// Which priorities pass.
    mask: Mask,
    /// The line that the mask was last inferred from.
    mask_line: Option<Place>,
    /// PPIs of bank 0 whose enable and priority nobody knows for sure; in the model they are as they were last.
    unknown: u64,
    /// The lines that PPIs were inferred from to be enabled or not.
    ppi_lines: BTreeMap<u8, Place>,
    /// What QEMU's CPU interface has been offered last.
    offered: Candidate,
    /// IRS_CR0 was written since (hazard 2).
    stale: bool,
    /// The wires of the PPIs of bank 0.
    wires: u64,
    /// Wires that may be at the other level: the main loop moved that of some PE.
    doubts: Vec<Ppi>,
    /// The thread says nothing about this PPI before this line of those with events.
    silent: (Option<Ppi>, u64),
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
    last: Place,
    /// A PE did something and it is not known which: nothing is known of any CPU interface from there on.
    blind: bool,
    /// The PPIs whose wires the main loop moves.
    moved: u64,
    /// The priority that each PPI was last shown with.
    ppi_priorities: BTreeMap<Ppi, Priority>,
    /// What follows depends on which PE's wire the main loop moved: the candidate, the outputs.
    unsure: (bool, bool),
    pub(super) tally: Tally,
}

impl Engine {
    /// Reads what machine the recording is of, and which file is of which PE. `asked` are pairs of `--pe`.
    pub(super) fn new(mut source: Source, asked: &[(String, u16)]) -> Result<Engine, Stop> {
        let Some((main, first)) = source.first()? else {
            return Err(Stop::Input(
                0,
                "line 1: the trace is empty; it must start with gicv5_common_realize".to_owned(),
            ));
        };
        let wrong = |why: &str| Stop::Input(main, format!("line {}: {why}", first.number));
        let Event::Realize { cpus, spi_base, spi_irs_range, spi_range, .. } = first.event else {
            let name = first.event.name();
            let why = "a trace starts with gicv5_common_realize, which says what machine it is of";
            return Err(wrong(&format!("{why}, not with {name}")));
        };
        let count = u16::try_from(cpus).map_err(|_| wrong("a machine has at most 65535 PEs"))?;
        let machine = Machine::new(config(count, spi_base, spi_irs_range, spi_range))
            .map_err(|error| wrong(&format!("no machine can be like that: {error}")))?;
        source.assign(count, main, asked)?;
        let cpus = (0..count)
            .filter_map(|n| {
                Some(Cpu {
                    pe: machine.pe(PeIndex(n))?,
                    mask: Mask::RESET,
                    mask_line: None,
                    unknown: 0,
                    ppi_lines: BTreeMap::new(),
                    offered: Candidate::NONE,
                    stale: false,
                    wires: 0,
                    doubts: Vec::new(),
                    silent: (None, 0),
                })
            })
            .collect();
        source.recording.pop(main);
        let mut tally = Tally::new(source.threads.owners().len());
        tally.line(&first);
        Ok(Engine {
            source,
            machine,
            cpus,
            spis: (spi_base, spi_irs_range),
            suspicions: HashMap::new(),
            invented: Vec::new(),
            last: first.into(),
            blind: false,
            moved: 0,
            ppi_priorities: BTreeMap::new(),
            unsure: (false, false),
            tally,
        })
    }

    pub(super) fn pes(&self) -> usize {
        self.cpus.len()
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Replays one operation. False at the end of the trace.
    pub(super) fn operation(&mut self) -> Result<bool, Stop> {
        let Some((line, on)) = self.source.begin()? else { return Ok(false) };
        match line.event {
            Event::Realize { .. } => {
                return Err(self.stop(line, "a second IRS, and a replay can have one"));
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
            Event::PpiCandidate { .. } => self.lone_ppis(on)?,
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
                let Some(pe) = self.pe(on)? else { return Ok(true) };
                self.on_pe(pe, |pe| pe.cdeoi());
                self.expect_signals(pe, None)?;
            }
            Event::DeactivateRequest { domain, intid } => self.deactivate(line, on, domain, intid)?,
            Event::PpiWire { ppi, high } => {
                self.take();
                if on.is_none() && self.source.threads.is_main_loop(line.file.into()) {
                    self.main_loop_wire(ppi, high)?;
                } else if let Some(pe) = self.pe(on)? {
                    // Only changes are traced.
                    self.settle(pe, ppi, !high);
                    self.move_wire(pe, ppi, high);
                    self.expect_ppis(pe, None)?;
                }
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
        let Some(line) = self.source.recording.pop(self.source.file) else { return };
        self.last = line.into();
        self.tally.line(&line);
        if let Some(excess) = line.excess {
            self.tally.check(Check::Range);
            let text = format!("there is no such answer: {excess}");
            self.tally.diverge(line, Check::Range, None, Vec::new(), text);
        }
    }

    /// The line that is next, within an operation that is not complete.
    fn next(&mut self, wanted: &str) -> Result<Line, Stop> {
        match self.source.peek(0)? {
            Some(line) => Ok(line),
            None => Err(self.stop(self.last, &format!("the trace ends where {wanted} must follow"))),
        }
    }

    fn stop(&self, place: impl Into<Place>, why: &str) -> Stop {
        let Place { file, line } = place.into();
        Stop::Input(file.into(), format!("line {line}: {why}"))
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

    /// The PE of an operation of a CPU interface. Where it is not known, the lines in which it answers are skipped.
    fn pe(&mut self, on: Option<u16>) -> Result<Option<usize>, Stop> {
        if on.is_none() {
            self.blind = true;
            self.skip_answers(Untold::Thread)?;
        }
        Ok(on.map(usize::from))
    }

    /// Skips what a CPU interface answers at an operation: PPI candidates, and the outputs.
    fn skip_answers(&mut self, reason: Untold) -> Result<(), Stop> {
        let mut more = true;
        while more && let Some(line) = self.source.peek(0)? {
            match line.event {
                Event::PpiCandidate { .. } => {}
                Event::Signals { .. } => more = false,
                _ => break,
            }
            self.tally.untold(reason, line);
            self.take();
        }
        Ok(())
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
