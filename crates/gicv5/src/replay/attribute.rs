//! Which PE a line of the CPU interface belongs to, on a machine with several; and which line is wrong where none fits.
//!
//! A CPU interface does not say which PE it belongs to ([`gicv5_trace`]), but a line fits only PEs whose state agrees with
//! it. This follows every possible world: a world has one state for every PE. A line is tried on every PE of every world,
//! and worlds in which it fits nowhere are dropped. Where one world is left, what happened is known.
//!
//! What a PE is offered by the IRS is not a hypothesis: the trace says it, with the PE. Neither does this judge LPIs and
//! SPIs; the model does.
//!
//! # Where no world is left
//!
//! Then some line is wrong, but seldom the one that fits nowhere: a wrong answer may fit another PE, and the world in which
//! it is that PE's outlives the true one for a while. So lines are handed to the engine late, [`HINDSIGHT`] segments behind,
//! and when the last world dies the lines not handed out are gone through again with worlds that may take one answer for
//! wrong, whichever. The worlds that come through the place, and some way beyond, say which lines those can be. The earliest
//! is taken to be wrong, and the others are told as suspects. The engine gets every line with the PE it has if that line is
//! wrong, and reports the divergence there.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use gicv5_arch::irs::IrsReg;
use gicv5_arch::{IntId, Ppi};
use gicv5_trace::{Candidate, Event, Line, TraceError};

use super::interface::{Interface, Outputs, bit};
use super::source::{On, Placed, Reader};
use super::tally::names;
use super::worlds::{Next, Origin, States, Worlds};

/// How many lines wait at most for one world to be left; then the first world is as good as any.
const PATIENCE: usize = 1 << 18;

/// How many lines a segment has, about.
const SEGMENT: u64 = 512;

/// How many whole segments are kept to go through again.
const HINDSIGHT: usize = 4;

/// How many lines beyond the one that fitted nowhere an explanation has to hold.
const BEYOND: u64 = 384;

/// If no explanation holds so far, one is enough that holds for this many lines.
const HARDLY_BEYOND: u64 = 48;

/// An explanation is sought in this many lines first.
const NEAR: u64 = 256;

/// How many times an explanation is sought; who has that many divergences does not need it.
const SEARCHES: u32 = 64;

/// Up to how many PEs it is considered that a candidate may be meant for another one.
const FEW_PES: usize = 16;

/// What somebody did to a CPU interface.
#[derive(Clone, Copy)]
enum Action {
    Wire {
        ppi: u64,
        high: bool,
    },
    AcknowledgePpi(u32),
    AcknowledgeOffered(u32),
    AcknowledgeNothing,
    Drop,
    Deactivate(u64),
    /// A write to some register of its PPIs.
    WritePpis,
}

impl Action {
    fn on(self, interface: Interface) -> Option<Interface> {
        match self {
            Action::Wire { ppi, high } => interface.wire(ppi, high),
            Action::AcknowledgePpi(intid) => interface.acknowledges_ppi(Some(intid)),
            Action::AcknowledgeOffered(intid) => interface.acknowledges_offered(Some(intid)),
            Action::AcknowledgeNothing => interface.acknowledges_nothing(),
            Action::Drop => interface.drops(),
            Action::Deactivate(ppi) => interface.deactivates(ppi),
            Action::WritePpis => Some(interface.ppis_written()),
        }
    }

    /// If the line holds an answer and the answer is wrong.
    fn answered_otherwise(self, interface: Interface) -> Option<Interface> {
        match self {
            Action::AcknowledgePpi(_) => interface.acknowledges_ppi(None),
            Action::AcknowledgeOffered(_) => interface.acknowledges_offered(None),
            Action::AcknowledgeNothing => Some(interface),
            Action::Wire { .. } | Action::Drop | Action::Deactivate(_) | Action::WritePpis => None,
        }
    }
}

/// What a PE shows after something happened to it, with the lines that say it.
#[derive(Clone, Copy)]
struct After {
    candidate: Option<(u64, Candidate)>,
    outputs: Option<(u64, Outputs)>,
    /// How many lines that takes.
    lines: usize,
}

impl After {
    const NOTHING: After = After { candidate: None, outputs: None, lines: 0 };

    /// The state of a PE if it shows this.
    fn follows(&self, state: Option<Interface>) -> Option<Interface> {
        let state = self.candidate.map_or(state, |(_, candidate)| state?.shows(candidate));
        self.outputs.map_or(state, |(_, outputs)| state?.signals(outputs))
    }
}

/// Whether a line may be wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// It is right.
    None,
    /// It may be wrong.
    Some,
    /// It is known to be wrong.
    Certain,
}

/// One line, or run of lines, that happened on an unsaid PE.
struct Step {
    /// The index of its first line; `None` where worlds were dropped for another reason.
    line: Option<u64>,
    /// The place of the first of its origins; there is one for each world after it.
    origins: usize,
}

/// Lines that can be gone through again.
struct Segment {
    /// The index of its first line.
    line: u64,
    /// The worlds before it.
    worlds: Worlds,
    steps: Vec<Step>,
    origins: Vec<Origin>,
}

/// What came of one operation.
enum Flow {
    /// It fits in some world.
    Fits,
    /// It fits in no world, and has this many lines.
    FitsNowhere(usize),
    /// There is none.
    Ended,
}

/// The possible worlds, and the lines that have not been handed out.
pub(super) struct Attribution {
    pes: usize,
    /// Lines read and not handed out.
    lines: VecDeque<Line>,
    /// The index of the first of them.
    handed: u64,
    /// The index of the line that is next.
    next: u64,
    ended: bool,
    states: States,
    worlds: Worlds,
    /// The worlds after the operation that is looked at.
    found: Next,
    segments: VecDeque<Segment>,
    /// The index of the line before which one world was left last.
    certain: u64,
    /// While an explanation is sought: the last line that may be wrong.
    search: Option<u64>,
    searches: u32,
    /// Lines that are taken to be wrong, and the others that may be it.
    wrong: BTreeMap<u64, Vec<u64>>,
    /// Lines that fit no PE, and nothing explains it.
    lost: BTreeSet<u64>,
    /// The priority that each PPI was last shown with.
    ppi_priorities: [u8; 64],
    /// The priority that was last set for an LPI or SPI.
    priorities: HashMap<u32, u8>,
    /// For the states of a PE that are possible within an operation, and the line each takes for wrong.
    before: Vec<(Interface, u64)>,
    after: Vec<(Interface, u64)>,
    /// By the number of a state: an operation, and what the state became in it.
    known: Vec<(u64, Option<u32>)>,
    /// How many operations have been looked at.
    operations: u64,
    most: usize,
}

impl Attribution {
    pub(super) fn new(pes: usize) -> Attribution {
        let worlds = Worlds::reset(pes);
        let first = Segment { line: 0, worlds: worlds.clone(), steps: Vec::new(), origins: Vec::new() };
        Attribution {
            pes,
            lines: VecDeque::new(),
            handed: 0,
            next: 0,
            ended: false,
            states: States::new(),
            worlds,
            found: Next::new(pes),
            segments: VecDeque::from([first]),
            certain: 0,
            search: None,
            searches: 0,
            wrong: BTreeMap::new(),
            lost: BTreeSet::new(),
            ppi_priorities: [31; 64],
            priorities: HashMap::new(),
            before: Vec::new(),
            after: Vec::new(),
            known: Vec::new(),
            operations: 0,
            most: 1,
        }
    }

    /// The most worlds there ever were.
    pub(super) fn most_worlds(&self) -> usize {
        self.most
    }

    /// The lines that may be wrong instead, if this one is taken to be wrong.
    pub(super) fn suspects(&self, line: u64) -> Option<&[u64]> {
        self.wrong.get(&line).map(Vec::as_slice)
    }

    /// Reads on until lines can be handed out. False at the end.
    pub(super) fn more(&mut self, reader: &mut Reader, out: &mut VecDeque<Placed>) -> Result<bool, TraceError> {
        loop {
            match self.operation(reader)? {
                Flow::Fits => {}
                Flow::FitsNowhere(lines) => self.explain(reader, lines)?,
                Flow::Ended => {
                    let any = !self.lines.is_empty();
                    self.place(self.segments.len(), out);
                    return Ok(any);
                }
            }
            let waiting = self.next - self.handed;
            if waiting >= PATIENCE as u64 {
                self.found.clear();
                self.found.push_all(&self.worlds, 0, 0, On::Somebody, |_, state| state);
                self.settle(None);
            }
            let whole = self.segments.len().saturating_sub(HINDSIGHT);
            let certain = self.segments.iter().take(whole + 1).rposition(|segment| segment.line <= self.certain);
            if let Some(segments) = certain.filter(|segments| *segments > 0) {
                self.place(segments, out);
                return Ok(true);
            }
        }
    }

    /// Hands out the lines of the first segments, placed as in the first world.
    fn place(&mut self, segments: usize, out: &mut VecDeque<Placed>) {
        let end = self.segments.get(segments).map_or(self.next, |segment| segment.line);
        let count = (end - self.handed) as usize;
        let first = out.len();
        out.extend(self.lines.drain(..count.min(self.lines.len())).map(|line| Placed { line, on: On::Pe(0) }));
        let mut world = 0;
        for (n, segment) in self.segments.iter_mut().enumerate().rev() {
            for step in segment.steps.iter().rev() {
                let Some(origin) = segment.origins.get(step.origins + world) else { continue };
                if n < segments
                    && let Some(line) = step.line
                    && let Some(placed) = out.get_mut(first + (line - self.handed) as usize)
                {
                    placed.on = origin.on;
                }
                world = origin.world as usize;
            }
            if n == segments {
                // From here on it is as if this world had been the only one.
                self.found.clear();
                self.found.push_all(&segment.worlds, world, 0, On::Somebody, |_, state| state);
                std::mem::swap(&mut segment.worlds, &mut self.found.worlds);
                let first = segment.steps.first().map(|step| step.origins);
                let second = segment.steps.get(1).map_or(segment.origins.len(), |step| step.origins);
                if let Some(origins) = first.and_then(|first| segment.origins.get_mut(first..second)) {
                    origins.iter_mut().for_each(|origin| origin.world = 0);
                }
            }
        }
        self.segments.drain(..segments);
        self.handed = end;
        if self.states.are_many() {
            let users = self.segments.iter_mut().map(|segment| &mut segment.worlds);
            self.states.forget(users.chain([&mut self.worlds]));
        }
    }

    fn peek(&mut self, reader: &mut Reader, n: usize) -> Result<Option<Line>, TraceError> {
        let place = (self.next - self.handed) as usize + n;
        while self.lines.len() <= place && !self.ended {
            match reader.next_line()? {
                Some(line) => {
                    if line.excess.is_some() {
                        self.wrong.insert(line.number, Vec::new());
                    }
                    self.lines.push_back(line);
                }
                None => self.ended = true,
            }
        }
        Ok(self.lines.get(place).copied())
    }

    fn take(&mut self, lines: usize) -> Flow {
        self.next += lines as u64;
        if self.worlds.len() == 1 {
            self.certain = self.next;
        }
        if let Some(last) = self.segments.back()
            && self.next - last.line >= SEGMENT
        {
            let (line, worlds) = (self.next, self.worlds.clone());
            self.segments.push_back(Segment { line, worlds, steps: Vec::new(), origins: Vec::new() });
        }
        Flow::Fits
    }

    // --- where no world is left -----------------------------------------------------------------------------------

    /// Finds the line that is wrong where an operation of so many lines fits nowhere, and goes back to before it.
    fn explain(&mut self, reader: &mut Reader, lines: usize) -> Result<(), TraceError> {
        let place = self.next;
        let number = |attribution: &Attribution, line: u64| {
            attribution.lines.get((line - attribution.handed) as usize).map_or(0, |line| line.number)
        };
        let (first, last) = (number(self, place), number(self, place + lines as u64 - 1));
        if self.searches < SEARCHES {
            self.searches += 1;
            let near = self.segments.iter().rposition(|segment| segment.line + NEAR <= place).unwrap_or(0);
            for from in if near > 0 { vec![near, 0] } else { vec![0] } {
                let Some(start) = self.segments.get(from).map(|segment| segment.line) else { continue };
                self.go_back(from);
                let reached = self.seek(reader, last, place + lines as u64 + BEYOND)?;
                let suspects = self.worlds.suspects();
                let far_enough =
                    reached.is_none_or(|reached| from == 0 && reached >= place + lines as u64 + HARDLY_BEYOND);
                if let Some((wrong, others)) = suspects.split_first().filter(|_| far_enough) {
                    self.wrong.insert(*wrong, others.to_vec());
                    let from = self.segments.iter().rposition(|segment| segment.line <= start).unwrap_or(0);
                    self.go_back(from);
                    return Ok(());
                }
                // Back to where it was.
                self.go_back(from);
                while self.next < place {
                    if !matches!(self.operation(reader)?, Flow::Fits) {
                        break;
                    }
                }
            }
        }
        // Then it is one of its own lines, or the operation has no PE.
        let (worlds, certain) = (self.worlds.clone(), self.certain);
        self.search = Some(last);
        self.operation(reader)?;
        self.search = None;
        let own = self.worlds.suspects().last().copied();
        match own {
            Some(line) => drop(self.wrong.insert(line, Vec::new())),
            None => drop(self.lost.insert(first)),
        }
        self.next = place;
        self.worlds = worlds;
        self.certain = certain;
        while let Some(last) = self.segments.back_mut() {
            if last.line > place {
                self.segments.pop_back();
                continue;
            }
            while let Some(step) = last.steps.last()
                && step.line.is_some_and(|line| line >= place)
            {
                last.origins.truncate(step.origins);
                last.steps.pop();
            }
            break;
        }
        Ok(())
    }

    /// Goes on with one line up to this one taken for wrong, until a line is reached or nothing fits; then that place.
    fn seek(&mut self, reader: &mut Reader, last: u64, end: u64) -> Result<Option<u64>, TraceError> {
        self.search = Some(last);
        let mut reached = None;
        while self.next < end {
            match self.operation(reader)? {
                Flow::Fits => {}
                Flow::Ended => break,
                Flow::FitsNowhere(_) => {
                    reached = Some(self.next);
                    break;
                }
            }
        }
        self.search = None;
        Ok(reached)
    }

    /// Goes back to the start of a segment.
    fn go_back(&mut self, segment: usize) {
        self.segments.truncate(segment + 1);
        if let Some(last) = self.segments.back_mut() {
            last.steps.clear();
            last.origins.clear();
            self.worlds = last.worlds.clone();
            self.next = last.line;
            self.certain = self.certain.min(self.next);
        }
    }

    /// Whether a line may be wrong in a world that takes `other` for wrong.
    fn doubt(&self, line: u64, other: u64) -> Doubt {
        if self.wrong.contains_key(&line) {
            Doubt::Certain
        } else if other == 0 && self.search.is_some_and(|last| line <= last) {
            Doubt::Some
        } else {
            Doubt::None
        }
    }

    /// True if no line of an operation may be wrong.
    fn trusts(&self, first: u64, lines: usize) -> bool {
        self.search.is_none()
            && (self.wrong.is_empty() || self.wrong.range(first..first + lines as u64).next().is_none())
    }

    // --- operations -----------------------------------------------------------------------------------------------

    /// One operation, or one line of one. Nothing changes if it fits nowhere.
    fn operation(&mut self, reader: &mut Reader) -> Result<Flow, TraceError> {
        let Some(line) = self.peek(reader, 0)? else { return Ok(Flow::Ended) };
        let action = match line.event {
            Event::IrsCandidate { iaffid, candidate, .. } => {
                let outputs = self.outputs(reader, 1)?;
                return self.offer(reader, line, iaffid.raw_value().into(), candidate, outputs);
            }
            Event::Signals { .. } => return self.lone_signals(reader),
            Event::PpiCandidate { .. } => {
                let after = self.ppis(reader, 0)?;
                if after.candidate.is_none() || after.outputs.is_none() {
                    return Ok(self.take(after.lines.max(1)));
                }
                return Ok(self.step(line.number, Action::WritePpis, &after, after.lines, None));
            }
            Event::SetPriority { interrupt, priority } => {
                if let Some(id) = interrupt.irs_int_id() {
                    self.priorities.insert(IntId::from(id).raw(), priority.number());
                }
                return Ok(self.take(1));
            }
            Event::PpiWire { ppi, high } => Action::Wire { ppi: 1 << (ppi.id() & 63), high },
            Event::Acknowledge { intid, .. } => {
                // What comes next shows better than the number what it was that was acknowledged.
                let after = self.ppis(reader, 1)?;
                if after.candidate.is_some() {
                    return Ok(self.step(line.number, Action::AcknowledgePpi(intid), &after, 1 + after.lines, None));
                }
                // What the IRS does about it says to which PE it had been offered.
                let target = match self.peek(reader, 2)?.map(|line| line.event) {
                    Some(Event::IrsCandidate { iaffid, .. } | Event::IrsNoCandidate { iaffid, .. }) => {
                        Some(usize::from(iaffid.raw_value()))
                    }
                    _ => None,
                };
                return Ok(self.step(line.number, Action::AcknowledgeOffered(intid), &After::NOTHING, 1, target));
            }
            Event::AcknowledgeFail { .. } => {
                return Ok(self.step(line.number, Action::AcknowledgeNothing, &After::NOTHING, 1, None));
            }
            Event::PriorityDrop { .. } => {
                let outputs = self.outputs(reader, 1)?;
                let after = After { candidate: None, outputs, lines: usize::from(outputs.is_some()) };
                return Ok(self.step(line.number, Action::Drop, &after, 1 + after.lines, None));
            }
            Event::DeactivateRequest { intid, .. } => match bit(intid) {
                Some(ppi) => Action::Deactivate(ppi),
                None => return Ok(self.take(1)),
            },
            _ => return Ok(self.take(1)),
        };
        let after = self.ppis(reader, 1)?;
        Ok(self.step(line.number, action, &after, 1 + after.lines, None))
    }

    /// The outputs in the `n`-th line from here.
    fn outputs(&mut self, reader: &mut Reader, n: usize) -> Result<Option<(u64, Outputs)>, TraceError> {
        Ok(match self.peek(reader, n)? {
            Some(Line { number, event: Event::Signals { irq, fiq, nmi }, .. }) => {
                Some((number, Outputs { irq, fiq, nmi }))
            }
            _ => None,
        })
    }

    /// What a PE shows from the `n`-th line on: its PPI candidate and its outputs.
    fn ppis(&mut self, reader: &mut Reader, n: usize) -> Result<After, TraceError> {
        let mut after = After::NOTHING;
        while after.lines < 4
            && let Some(Line { number, event: Event::PpiCandidate { candidate, .. }, .. }) =
                self.peek(reader, n + after.lines)?
        {
            // The Non-secure domain is number 1, and the order is fixed.
            if after.lines == 1 {
                after.candidate = Some((number, candidate));
            }
            after.lines += 1;
        }
        after.outputs = self.outputs(reader, n + after.lines)?;
        after.lines += usize::from(after.outputs.is_some());
        Ok(after)
    }

    /// Tries something on every PE of every world, or on one PE; then what came of it.
    fn step(&mut self, line: u64, action: Action, after: &After, lines: usize, only: Option<usize>) -> Flow {
        self.found.clear();
        if !self.lost.is_empty() && self.lost.contains(&line) {
            for world in 0..self.worlds.len() {
                self.found.push_all(&self.worlds, world, self.worlds.wrong(world), On::Nobody, |_, state| state);
            }
            self.settle(Some(self.next));
            return self.take(lines);
        }
        let trusts = self.trusts(line, lines);
        self.operations += 1;
        let pes = only.map_or(0..self.pes, |pe| pe..pe + 1);
        let worlds = std::mem::replace(&mut self.worlds, Worlds::none(self.pes));
        for world in 0..worlds.len() {
            let wrong = worlds.wrong(world);
            let states = worlds.world(world).iter().enumerate().take(pes.end).skip(pes.start);
            for (pe, &state) in states {
                if trusts {
                    if let Some(changed) = self.becomes(state, action, after) {
                        self.happens(&worlds, world, pe, action, changed, wrong);
                    }
                    continue;
                }
                self.possible(line, action, after, self.states.get(state), wrong);
                for n in 0..self.before.len() {
                    if let Some(&(changed, wrong)) = self.before.get(n) {
                        let changed = self.states.number(changed);
                        self.happens(&worlds, world, pe, action, changed, wrong);
                    }
                }
            }
            if self.found.is_full() {
                break;
            }
        }
        self.worlds = worlds;
        if self.found.worlds.len() == 0 {
            return Flow::FitsNowhere(lines);
        }
        if let Some((_, Candidate { intid, priority })) = after.candidate
            && bit(intid).is_some()
            && let Some(last) = self.ppi_priorities.get_mut((intid & 63) as usize)
        {
            *last = priority;
        }
        self.settle(Some(self.next));
        self.take(lines)
    }

    /// The state that another one becomes. Worlds are equal almost everywhere, so most of this has been asked before.
    #[inline]
    fn becomes(&mut self, state: u32, action: Action, after: &After) -> Option<u32> {
        match self.known.get(state as usize) {
            Some((operation, changed)) if *operation == self.operations => return *changed,
            Some(_) => {}
            None => self.known.resize(state as usize + 1, (0, None)),
        }
        let changed = after.follows(action.on(self.states.get(state)));
        let changed = changed.map(|changed| self.states.number(changed));
        if let Some(known) = self.known.get_mut(state as usize) {
            *known = (self.operations, changed);
        }
        changed
    }

    /// A world in which an action changes one PE so.
    #[inline]
    fn happens(&mut self, worlds: &Worlds, world: usize, pe: usize, action: Action, changed: u32, wrong: u64) {
        let on = On::Pe(pe as u16);
        match action {
            Action::WritePpis => {
                let states = &mut self.states;
                self.found.push_all(worlds, world, wrong, on, |other, old| {
                    // What did not show may have been any PE's.
                    let before = if other == pe { changed } else { old };
                    states.number(states.get(before).perhaps_written())
                });
            }
            _ => self.found.push(worlds, world, pe, changed, wrong, on),
        }
    }

    /// The states of a PE after an operation one line of which may be wrong; they come to stand in `before`.
    fn possible(&mut self, line: u64, action: Action, after: &After, interface: Interface, wrong: u64) {
        self.before.clear();
        self.before.push((interface, wrong));
        self.answer(
            line,
            |state| action.on(state),
            |state, _, add| {
                if let Some(state) = action.answered_otherwise(state) {
                    add(state);
                }
            },
        );
        if let Some((line, shown)) = after.candidate {
            self.answer(
                line,
                |state| state.shows(shown),
                |state, priorities, add| {
                    let others = (0..64_u32).filter(|ppi| state.possible() & 1 << ppi != 0).flat_map(|ppi| {
                        let intid = Ppi::new(ppi).map_or(0, |ppi| IntId::Ppi(ppi).raw());
                        let usual = priorities.get(ppi as usize).copied().unwrap_or(31);
                        [usual, shown.priority].map(|priority| Candidate { intid, priority })
                    });
                    for other in others.chain([Candidate::NONE]) {
                        if other != shown
                            && let Some(state) = state.shows(other)
                        {
                            add(state);
                        }
                    }
                },
            );
        }
        if let Some((line, outputs)) = after.outputs {
            self.answer(line, |state| state.signals(outputs), |state, _, add| add(state));
        }
    }

    /// What is possible after a line that holds an answer, of what was possible before it.
    fn answer(
        &mut self,
        line: u64,
        right: impl Fn(Interface) -> Option<Interface>,
        otherwise: impl Fn(Interface, &[u8; 64], &mut dyn FnMut(Interface)),
    ) {
        let mut after = std::mem::take(&mut self.after);
        after.clear();
        for &(state, wrong) in &self.before {
            let doubt = self.doubt(line, wrong);
            let expected = if doubt == Doubt::Certain { None } else { right(state) };
            after.extend(expected.map(|state| (state, wrong)));
            let suspect = match doubt {
                Doubt::None => continue,
                Doubt::Some => line,
                Doubt::Certain => wrong,
            };
            otherwise(state, &self.ppi_priorities, &mut |state| {
                let known = after.contains(&(state, suspect));
                // To take a line for wrong changes nothing where being right has the same effect.
                if Some(state) != expected && !known {
                    after.push((state, suspect));
                }
            });
        }
        self.after = std::mem::replace(&mut self.before, after);
    }

    /// The worlds found are those after the lines that come next, or after nothing.
    fn settle(&mut self, line: Option<u64>) {
        std::mem::swap(&mut self.worlds, &mut self.found.worlds);
        self.most = self.most.max(self.worlds.len());
        if let Some(segment) = self.segments.back_mut() {
            let origins = segment.origins.len();
            segment.origins.extend_from_slice(&self.found.origins);
            segment.steps.push(Step { line, origins });
        }
    }

    /// The IRS has a new candidate for a PE.
    fn offer(
        &mut self,
        reader: &mut Reader,
        line: Line,
        pe: usize,
        candidate: Candidate,
        outputs: Option<(u64, Outputs)>,
    ) -> Result<Flow, TraceError> {
        let lines = 1 + usize::from(outputs.is_some());
        let trusts = self.trusts(line.number, lines);
        let others = if trusts { Vec::new() } else { self.other_offers(reader, pe, candidate)? };
        self.found.clear();
        for world in 0..self.worlds.len() {
            let wrong = self.worlds.wrong(world);
            let row = self.worlds.world(world);
            let Some(&state) = row.get(pe) else { continue };
            let interface = self.states.get(state);
            let offered = interface.is_offered(candidate);
            if trusts {
                let changed = outputs.map_or(Some(offered), |(_, outputs)| offered.signals(outputs));
                if let Some(changed) = changed {
                    let state = if changed == interface { state } else { self.states.number(changed) };
                    self.found.push(&self.worlds, world, pe, state, wrong, On::Pe(pe as u16));
                }
                continue;
            }
            self.before.clear();
            self.before.push((interface, wrong));
            self.answer(
                line.number,
                |_| Some(offered),
                |state, _, add| {
                    add(state);
                    others.iter().for_each(|other| add(state.is_offered(*other)));
                },
            );
            if let Some((line, outputs)) = outputs {
                self.answer(line, |state| state.signals(outputs), |state, _, add| add(state));
            }
            for n in 0..self.before.len() {
                if let Some(&(changed, wrong)) = self.before.get(n) {
                    let state = self.states.number(changed);
                    self.found.push(&self.worlds, world, pe, state, wrong, On::Pe(pe as u16));
                }
            }
            // Or it is of another PE.
            let doubt = self.doubt(line.number, wrong);
            if doubt == Doubt::None || self.pes > FEW_PES {
                continue;
            }
            for other in (0..self.pes).filter(|other| *other != pe) {
                let Some(&state) = self.worlds.world(world).get(other) else { continue };
                let offered = self.states.get(state).is_offered(candidate);
                if let Some(changed) = outputs.map_or(Some(offered), |(_, outputs)| offered.signals(outputs)) {
                    let wrong = if doubt == Doubt::Certain { wrong } else { line.number };
                    let state = self.states.number(changed);
                    self.found.push(&self.worlds, world, other, state, wrong, On::Pe(pe as u16));
                }
            }
        }
        if self.worlds.world(0).get(pe).is_none() {
            // The engine says that there is no such PE.
            return Ok(self.take(lines));
        }
        if self.found.worlds.len() == 0 {
            return Ok(Flow::FitsNowhere(lines));
        }
        self.settle(Some(self.next));
        Ok(self.take(lines))
    }

    /// What the IRS may have offered instead: nothing; the interrupt that the lines before are about; the one that is
    /// acknowledged next; the same one with the priority that it was given.
    fn other_offers(&mut self, reader: &mut Reader, pe: usize, shown: Candidate) -> Result<Vec<Candidate>, TraceError> {
        let mut intids = vec![shown.intid];
        let place = (self.next - self.handed) as usize;
        let before = self.lines.range(place.saturating_sub(3)..place.min(self.lines.len()));
        intids.extend(before.filter_map(|line| names(&line.event)).map(IntId::raw));
        for n in 1..BEYOND as usize {
            let Some(line) = self.peek(reader, n)? else { break };
            if let Event::Acknowledge { intid, .. } = line.event
                && let Some(Line { event: Event::IrsCandidate { iaffid, .. }, .. }) = self.peek(reader, n + 2)?
                && usize::from(iaffid.raw_value()) == pe
            {
                intids.push(intid);
                break;
            }
        }
        let mut offers = vec![Candidate::NONE];
        for intid in intids {
            let given = self.priorities.get(&intid).copied().unwrap_or(shown.priority);
            offers.extend([given, shown.priority].map(|priority| Candidate { intid, priority }));
        }
        offers.retain(|offer| *offer != shown);
        Ok(offers)
    }

    /// Lines about outputs that follow nothing: IRS_CR0 read while the IRS is off recalls every candidate; otherwise a PE
    /// has written ICC_CR0_EL1 or ICC_PCR_EL1.
    fn lone_signals(&mut self, reader: &mut Reader) -> Result<Flow, TraceError> {
        let mut count = 0;
        while self.outputs(reader, count)?.is_some() {
            count += 1;
        }
        let recall = matches!(self.peek(reader, count)?.map(|line| line.event),
            Some(Event::Read { offset, data, .. }) if offset == u32::from(IrsReg::IRS_CR0.offset()) && data & 1 == 0);
        let Some((line, outputs)) = self.outputs(reader, 0)? else { return Ok(self.take(1)) };
        if recall && count <= self.pes {
            let pe = self.pes - count;
            return self.recall(line, pe, outputs);
        }
        self.found.clear();
        for world in 0..self.worlds.len() {
            let wrong = self.worlds.wrong(world);
            let doubt = self.doubt(line, wrong);
            let fits = doubt != Doubt::Certain
                && self.worlds.world(world).iter().any(|state| {
                    let open = self.states.get(*state).mask_written();
                    open.signals(outputs).is_some()
                });
            let (on, wrong) = match doubt {
                _ if fits => (On::Somebody, wrong),
                Doubt::None => continue,
                Doubt::Some => (On::Nobody, line),
                Doubt::Certain => (On::Nobody, wrong),
            };
            // Whose it was nobody knows, so nobody's is known from here on.
            let states = &mut self.states;
            self.found.push_all(&self.worlds, world, wrong, on, |_, state| {
                let open = states.get(state).mask_written();
                states.number(open)
            });
        }
        if self.found.worlds.len() == 0 {
            return Ok(Flow::FitsNowhere(1));
        }
        self.settle(Some(self.next));
        Ok(self.take(1))
    }

    /// The IRS, which is off, withdraws what it offers a PE.
    fn recall(&mut self, line: u64, pe: usize, outputs: Outputs) -> Result<Flow, TraceError> {
        self.found.clear();
        for world in 0..self.worlds.len() {
            let Some(&state) = self.worlds.world(world).get(pe) else { continue };
            let withdrawn = self.states.get(state).is_offered(Candidate::NONE);
            self.before.clear();
            self.before.push((withdrawn, self.worlds.wrong(world)));
            self.answer(line, |state| state.signals(outputs), |state, _, add| add(state));
            for n in 0..self.before.len() {
                if let Some(&(changed, wrong)) = self.before.get(n) {
                    let state = self.states.number(changed);
                    self.found.push(&self.worlds, world, pe, state, wrong, On::Pe(pe as u16));
                }
            }
        }
        if self.found.worlds.len() == 0 {
            return Ok(Flow::FitsNowhere(1));
        }
        self.settle(Some(self.next));
        Ok(self.take(1))
    }
}
