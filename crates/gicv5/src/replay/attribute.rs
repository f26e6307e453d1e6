//! Which PE a line of the CPU interface belongs to, on a machine with several.
//!
//! A CPU interface does not say which PE it belongs to ([`gicv5_trace`]), but a line fits only PEs whose state agrees with
//! it. This follows every possible world: a world has one state for every PE. A line is tried on every PE of every world,
//! and worlds in which it fits nowhere are dropped. As soon as one world is left, what happened is known, and the lines go
//! on to the engine, each with its PE. Where no world is left, the line contradicts what came before.
//!
//! What a PE is offered by the IRS is not a hypothesis: the trace says it, with the PE. Neither does this judge LPIs and
//! SPIs; the model does. What software writes to a CPU interface is not in a trace, so a state has unknowns, which the first
//! line settles that depends on them.

use std::collections::{HashMap, VecDeque};

use gicv5_arch::irs::IrsReg;
use gicv5_arch::{ActivePriorities, IntId, Priority};
use gicv5_trace::{Candidate, Event, Line, TraceError};

use super::source::{On, Placed, Reader};

/// How many lines wait at most for one world to be left; then the first world is as good as any.
const PATIENCE: usize = 1 << 18;

/// How many worlds there are at most; more are dropped, which can make a later line look wrong but costs no sense.
const WORLDS: usize = 4096;

/// What is known of the priorities that a PE lets through: ICC_CR0_EL1.EN and ICC_PCR_EL1 together, none of whose writes
/// are traced. A priority up to `lowest` passes for sure, one above `highest` does not; -1 stands for an interface that is
/// off.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Mask {
    pub(super) lowest: i8,
    pub(super) highest: i8,
}

impl Mask {
    /// After reset the interface is off.
    pub(super) const RESET: Mask = Mask { lowest: -1, highest: -1 };
    /// Somebody has written one of the registers.
    pub(super) const UNKNOWN: Mask = Mask { lowest: -1, highest: 31 };

    /// An interrupt of this priority, which the running priority lets through, is or is not signalled: the mask as it must
    /// be, or `None` if it cannot be.
    pub(super) fn seen(self, priority: Priority, signalled: bool) -> Option<Mask> {
        let number = priority.number() as i8;
        match signalled {
            true if number > self.highest => None,
            true => Some(Mask { lowest: self.lowest.max(number), ..self }),
            false if number <= self.lowest => None,
            false => Some(Mask { highest: self.highest.min(number - 1), ..self }),
        }
    }

    /// True if nothing is unknown.
    pub(super) fn is_known(self) -> bool {
        self.lowest == self.highest
    }
}

/// The state of a PE's CPU interface in one world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Cpu {
    mask: Mask,
    active: ActivePriorities,
    /// PPIs, one bit each: the wire; active; enabled for sure; nobody knows whether enabled.
    level: u64,
    ppi_active: u64,
    enabled: u64,
    unknown: u64,
    /// The PPI candidate last shown, which is computed anew at every change.
    shown: Candidate,
}

impl Cpu {
    const RESET: Cpu = Cpu {
        mask: Mask::RESET,
        active: ActivePriorities::new_with_raw_value(0),
        level: 0,
        ppi_active: 0,
        enabled: 0,
        unknown: 0,
        shown: Candidate::NONE,
    };

    /// The state if this is its PPI candidate.
    fn shows(mut self, candidate: Candidate) -> Option<Cpu> {
        let ready = self.level & !self.ppi_active;
        if candidate == Candidate::NONE {
            if ready & self.enabled != 0 {
                return None;
            }
            self.unknown &= !ready;
        } else {
            let ppi = bit(candidate.intid)?;
            // QEMU does not keep PPIs above 31 active (hazard 3).
            if (ready | self.level & !0xffff_ffff) & ppi == 0 || (self.enabled | self.unknown) & ppi == 0 {
                return None;
            }
            self.enabled |= ppi;
            self.unknown &= !ppi;
        }
        self.shown = candidate;
        Some(self)
    }

    /// The most urgent priority on offer, if the running priority lets it through.
    fn sufficient(&self, offered: Candidate) -> Option<Priority> {
        let best = Priority::new(self.shown.priority.min(offered.priority).into()).ok()?;
        best.preempts(self.active.running()).then_some(best)
    }

    /// The state if these are its outputs.
    fn signals(mut self, offered: Candidate, outputs: Outputs) -> Option<Cpu> {
        let signalled = outputs.irq || outputs.nmi;
        match self.sufficient(offered) {
            None => return (!signalled && !outputs.fiq).then_some(self),
            Some(priority) => {
                if outputs.fiq || signalled && outputs.nmi != (priority == Priority::MOST_URGENT) {
                    return None;
                }
                self.mask = self.mask.seen(priority, signalled)?;
            }
        }
        Some(self)
    }

    /// The state after an acknowledge of something with this priority.
    fn acknowledges(mut self, offered: Candidate, priority: Priority) -> Option<Cpu> {
        if self.sufficient(offered)? != priority {
            return None;
        }
        self.mask = self.mask.seen(priority, true)?;
        self.active = self.active.activate(priority);
        Some(self)
    }
}

/// The bit of a PPI of bank 0.
fn bit(intid: u32) -> Option<u64> {
    match IntId::from_raw(intid) {
        Ok(IntId::Ppi(ppi)) if ppi.id() < 64 => Some(1 << ppi.id()),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug)]
struct Outputs {
    irq: bool,
    fiq: bool,
    nmi: bool,
}

type World = Box<[Cpu]>;

/// One line, or run of lines, that happened on an unsaid PE.
struct Step {
    /// The first of its lines among those that wait.
    line: usize,
    /// For each world that survived: the world it came from, and the PE.
    origins: Vec<(usize, On)>,
}

/// The possible worlds, and the lines that wait for their number to become one.
pub(super) struct Attribution {
    pes: usize,
    /// Lines read and not used.
    raw: VecDeque<Line>,
    ended: bool,
    worlds: Vec<World>,
    /// What the IRS offers each PE, as last traced.
    offered: Vec<Candidate>,
    waiting: Vec<Placed>,
    steps: Vec<Step>,
    /// The line after which one world was left, before the lines handed out last.
    certain: u64,
    most: usize,
}

impl Attribution {
    pub(super) fn new(pes: usize) -> Attribution {
        Attribution {
            pes,
            raw: VecDeque::new(),
            ended: false,
            worlds: vec![vec![Cpu::RESET; pes].into()],
            offered: vec![Candidate::NONE; pes],
            waiting: Vec::new(),
            steps: Vec::new(),
            certain: 1,
            most: 1,
        }
    }

    /// The most worlds there ever were.
    pub(super) fn most_worlds(&self) -> usize {
        self.most
    }

    fn peek(&mut self, reader: &mut Reader, n: usize) -> Result<Option<Line>, TraceError> {
        while self.raw.len() <= n && !self.ended {
            match reader.next_line()? {
                Some(line) => self.raw.push_back(line),
                None => self.ended = true,
            }
        }
        Ok(self.raw.get(n).copied())
    }

    /// Reads on until lines can be handed out. False at the end.
    pub(super) fn more(&mut self, reader: &mut Reader, out: &mut VecDeque<Placed>) -> Result<bool, TraceError> {
        loop {
            let more = self.operation(reader)?;
            if self.worlds.len() == 1 || self.waiting.len() >= PATIENCE || !more {
                let any = !self.waiting.is_empty();
                self.flush(out);
                if any || !more {
                    return Ok(any);
                }
            }
        }
    }

    /// Hands out everything that waits, placed as in the first world.
    fn flush(&mut self, out: &mut VecDeque<Placed>) {
        let mut world = 0;
        for step in self.steps.drain(..).rev() {
            let Some(&(origin, on)) = step.origins.get(world) else { continue };
            if let Some(placed) = self.waiting.get_mut(step.line) {
                placed.on = on;
            }
            world = origin;
        }
        self.worlds.truncate(1);
        if let Some(last) = self.waiting.last() {
            self.certain = last.line.number;
        }
        out.extend(self.waiting.drain(..));
    }

    /// Takes some lines from what has been read to what waits.
    fn take(&mut self, count: usize) {
        for line in self.raw.drain(..count.min(self.raw.len())) {
            self.waiting.push(Placed { line, on: On::Pe(0) });
        }
    }

    /// One operation, or one line of one.
    fn operation(&mut self, reader: &mut Reader) -> Result<bool, TraceError> {
        let Some(line) = self.peek(reader, 0)? else { return Ok(false) };
        match line.event {
            Event::IrsCandidate { iaffid, candidate, .. } => {
                let pe = usize::from(iaffid.raw_value());
                let outputs = self.outputs(reader, 1)?;
                if let Some(offered) = self.offered.get_mut(pe) {
                    *offered = candidate;
                    if let Some(outputs) = outputs {
                        self.signals(pe, outputs);
                    }
                }
                self.take(1 + usize::from(outputs.is_some()));
            }
            Event::Signals { .. } => self.lone_signals(reader)?,
            Event::PpiCandidate { .. } => {
                let after = self.ppis(reader, 0)?;
                self.ppi_registers(&after);
                self.take(after.lines.max(1));
            }
            Event::PpiWire { ppi, high } => {
                let after = self.ppis(reader, 1)?;
                let ppi = 1 << (ppi.id() & 63);
                self.step(&after, None, |mut cpu, _| {
                    if (cpu.level & ppi != 0) == high {
                        return None;
                    }
                    cpu.level ^= ppi;
                    Some(cpu)
                });
                self.take(1 + after.lines);
            }
            Event::Acknowledge { intid, .. } => match bit(intid) {
                Some(ppi) => {
                    let after = self.ppis(reader, 1)?;
                    self.step(&after, None, |cpu, offered| {
                        if cpu.shown.intid != intid {
                            return None;
                        }
                        let mut cpu = cpu.acknowledges(offered, Priority::new(cpu.shown.priority.into()).ok()?)?;
                        cpu.ppi_active |= ppi;
                        Some(cpu)
                    });
                    self.take(1 + after.lines);
                }
                None => {
                    // What the IRS does about it says to which PE it had been offered.
                    let target = match self.peek(reader, 2)?.map(|line| line.event) {
                        Some(Event::IrsCandidate { iaffid, .. } | Event::IrsNoCandidate { iaffid, .. }) => {
                            Some(usize::from(iaffid.raw_value()))
                        }
                        _ => None,
                    };
                    self.step(&After::NOTHING, target, |cpu, offered| {
                        if offered.intid != intid {
                            return None;
                        }
                        cpu.acknowledges(offered, Priority::new(offered.priority.into()).ok()?)
                    });
                    self.take(1);
                }
            },
            Event::AcknowledgeFail { .. } => {
                self.step(&After::NOTHING, None, |mut cpu, offered| {
                    if let Some(priority) = cpu.sufficient(offered) {
                        cpu.mask = cpu.mask.seen(priority, false)?;
                    }
                    Some(cpu)
                });
                self.take(1);
            }
            Event::PriorityDrop { .. } => {
                let outputs = self.outputs(reader, 1)?;
                let after = After { candidate: None, outputs, lines: usize::from(outputs.is_some()) };
                self.step(&after, None, |mut cpu, _| {
                    cpu.active.running()?;
                    cpu.active = cpu.active.drop_running();
                    Some(cpu)
                });
                self.take(1 + after.lines);
            }
            Event::DeactivateRequest { intid, .. } => match bit(intid) {
                Some(ppi) => {
                    let after = self.ppis(reader, 1)?;
                    self.step(&after, None, |mut cpu, _| {
                        if cpu.ppi_active & ppi == 0 {
                            return None;
                        }
                        cpu.ppi_active &= !ppi;
                        Some(cpu)
                    });
                    self.take(1 + after.lines);
                }
                None => self.take(1),
            },
            _ => self.take(1),
        }
        Ok(true)
    }

    /// The outputs in the `n`-th line from here.
    fn outputs(&mut self, reader: &mut Reader, n: usize) -> Result<Option<Outputs>, TraceError> {
        Ok(match self.peek(reader, n)?.map(|line| line.event) {
            Some(Event::Signals { irq, fiq, nmi }) => Some(Outputs { irq, fiq, nmi }),
            _ => None,
        })
    }

    /// What a PE shows from the `n`-th line on: its PPI candidate and its outputs.
    fn ppis(&mut self, reader: &mut Reader, n: usize) -> Result<After, TraceError> {
        let mut after = After::NOTHING;
        while after.lines < 4
            && let Some(Event::PpiCandidate { candidate, .. }) =
                self.peek(reader, n + after.lines)?.map(|line| line.event)
        {
            // The Non-secure domain is number 1, and the order is fixed.
            if after.lines == 1 {
                after.candidate = Some(candidate);
            }
            after.lines += 1;
        }
        after.outputs = self.outputs(reader, n + after.lines)?;
        after.lines += usize::from(after.outputs.is_some());
        Ok(after)
    }

    /// Tries something on every PE of every world, or on one PE; then what came of it.
    fn step(&mut self, after: &After, only: Option<usize>, change: impl Fn(Cpu, Candidate) -> Option<Cpu>) {
        let mut found = Vec::new();
        for (origin, world) in self.worlds.iter().enumerate() {
            for (pe, &cpu) in world.iter().enumerate() {
                if only.is_none_or(|only| only == pe)
                    && let Some(&offered) = self.offered.get(pe)
                    && let Some(cpu) = change(cpu, offered)
                {
                    found.push((origin, pe, cpu, offered));
                }
            }
        }
        // Where no PE fits the candidate or the outputs, the engine sees that too; what fits the instruction goes on.
        if let Some(candidate) = after.candidate {
            let kept = refine(&found, |cpu, _| cpu.shows(candidate));
            if kept.is_empty() {
                found.iter_mut().for_each(|(_, _, cpu, _)| cpu.shown = candidate);
            } else {
                found = kept;
            }
        }
        if let Some(outputs) = after.outputs {
            let kept = refine(&found, |cpu, offered| cpu.signals(offered, outputs));
            if !kept.is_empty() {
                found = kept;
            }
        }
        let worlds = found.into_iter().filter_map(|(origin, pe, cpu, _)| {
            let mut world = self.worlds.get(origin)?.clone();
            *world.get_mut(pe)? = cpu;
            Some((world, origin, On::Pe(pe as u16)))
        });
        let worlds = worlds.collect();
        self.settle(worlds);
    }

    /// The worlds after the lines that come next.
    fn settle(&mut self, found: Vec<(World, usize, On)>) {
        let line = self.waiting.len();
        if found.is_empty() {
            self.steps.push(Step { line, origins: (0..self.worlds.len()).map(|world| (world, On::Nobody)).collect() });
            return;
        }
        let mut worlds: HashMap<World, usize> = HashMap::with_capacity(found.len());
        let mut origins = Vec::with_capacity(found.len());
        let mut order = Vec::with_capacity(found.len());
        for (world, origin, on) in found {
            if origins.len() >= WORLDS {
                break;
            }
            let next = worlds.len();
            worlds.entry(world).or_insert_with_key(|world| {
                origins.push((origin, on));
                order.push(world.clone());
                next
            });
        }
        self.worlds = order;
        self.most = self.most.max(self.worlds.len());
        self.steps.push(Step { line, origins });
    }

    /// The outputs of a PE that is named.
    fn signals(&mut self, pe: usize, outputs: Outputs) {
        let Some(&offered) = self.offered.get(pe) else { return };
        let mut found = Vec::new();
        for (origin, world) in self.worlds.iter().enumerate() {
            let mut world = world.clone();
            if let Some(cpu) = world.get_mut(pe)
                && let Some(after) = cpu.signals(offered, outputs)
            {
                *cpu = after;
                found.push((world, origin, On::Pe(pe as u16)));
            }
        }
        // If nothing fits, the engine sees it too.
        if !found.is_empty() {
            self.settle(found);
        }
    }

    /// Lines about outputs that follow nothing: IRS_CR0 read while the IRS is off recalls every candidate; otherwise a PE
    /// has written ICC_CR0_EL1 or ICC_PCR_EL1.
    fn lone_signals(&mut self, reader: &mut Reader) -> Result<(), TraceError> {
        let mut count = 0;
        while self.outputs(reader, count)?.is_some() {
            count += 1;
        }
        let recall = matches!(self.peek(reader, count)?.map(|line| line.event),
            Some(Event::Read { offset, data, .. }) if offset == u32::from(IrsReg::IRS_CR0.offset()) && data & 1 == 0);
        let written = if recall { count.saturating_sub(self.pes) } else { count };
        for _ in 0..written {
            let Some(outputs) = self.outputs(reader, 0)? else { break };
            let mut found = Vec::new();
            for (origin, world) in self.worlds.iter().enumerate() {
                let fits = world
                    .iter()
                    .zip(&self.offered)
                    .any(|(&cpu, &offered)| Cpu { mask: Mask::UNKNOWN, ..cpu }.signals(offered, outputs).is_some());
                if fits {
                    // Whose it was nobody knows, so nobody's is known from here on.
                    let world = world.iter().map(|&cpu| Cpu { mask: Mask::UNKNOWN, ..cpu }).collect();
                    found.push((world, origin, On::Somebody));
                }
            }
            self.settle(found);
            self.take(1);
        }
        for pe in 0..count - written {
            if let Some(offered) = self.offered.get_mut(pe) {
                *offered = Candidate::NONE;
            }
            let Some(outputs) = self.outputs(reader, 0)? else { break };
            self.signals(pe, outputs);
            self.take(1);
        }
        Ok(())
    }

    /// A PE has written an enable, a priority, an active or a pending bit of its PPIs.
    fn ppi_registers(&mut self, after: &After) {
        let (Some(candidate), Some(outputs)) = (after.candidate, after.outputs) else { return };
        let mut found = Vec::new();
        for (origin, world) in self.worlds.iter().enumerate() {
            for (pe, &cpu) in world.iter().enumerate() {
                let Some(&offered) = self.offered.get(pe) else { continue };
                let open = Cpu { unknown: u64::MAX, enabled: 0, shown: Candidate::NONE, ..cpu };
                let Some(cpu) = open.shows(candidate).and_then(|cpu| cpu.signals(offered, outputs)) else { continue };
                let mut world = world.clone();
                for (n, other) in world.iter_mut().enumerate() {
                    if n == pe {
                        *other = cpu;
                    }
                    // What did not show may have been any PE's.
                    let hidden = !(other.level & !other.ppi_active);
                    other.unknown |= hidden;
                    other.enabled &= !hidden;
                }
                found.push((world, origin, On::Pe(pe as u16)));
            }
        }
        self.settle(found);
    }
}

/// A PE and its state in a world, and what it is offered.
type Found = (usize, usize, Cpu, Candidate);

fn refine(found: &[Found], change: impl Fn(Cpu, Candidate) -> Option<Cpu>) -> Vec<Found> {
    found.iter().filter_map(|&(origin, pe, cpu, offered)| Some((origin, pe, change(cpu, offered)?, offered))).collect()
}

/// What a PE shows after an instruction or a wire.
struct After {
    candidate: Option<Candidate>,
    outputs: Option<Outputs>,
    /// How many lines that takes.
    lines: usize,
}

impl After {
    const NOTHING: After = After { candidate: None, outputs: None, lines: 0 };
}
