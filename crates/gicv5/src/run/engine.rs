//! Simulated time, the world, and a hypervisor that runs VMs on the model by means of the libraries.
//!
//! # Theory of operation
//!
//! Time is in nanoseconds, and what happens is in a queue, ordered by time and then by when it was put there: the run is the
//! same whenever it is repeated. A PE does one thing at a time, one [`step`](Engine::step) after the other: the host takes its
//! interrupts, does what was given to it, switches vCPUs, or lets a guest go on. A step executes at the instant at which it
//! starts, and what it took is charged to its PE alone: a fixed cost for instructions and exceptions, and the model's ticks
//! for waiting, so that a hypervisor that waits for a command waits in simulated time while other PEs go on at their own.
//! Nothing is re-entrant: while a library call runs, nothing else does.
//!
//! The host is the smallest that is one: a queue of vCPUs for each PE, a time slice, IPIs, the handler of doorbells, the
//! thread of a VMM for each VM, on the PE after that of its first vCPU, which moves the wires of its devices. What a guest sees
//! goes through the virtual CPU interface: a guest is a list of steps, and a handler for each interrupt.
//!
//! After the scenario's time no source interrupts any more and programs end where they are; what is under way goes on until
//! no PE has anything to do. Then the judge is told that all is quiet, and everything is torn down.
#![allow(
    clippy::indexing_slicing,
    reason = "the numbers of PEs, VMs and vCPUs come from these lists, and none of them shrinks"
)]

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gicv5_arch::layout::fields_mask;
use gicv5_arch::sysreg::{ICC_CR0_EL1, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, PCR, SysReg};
use gicv5_arch::{Iaffid, IntId, IrsIntId, VmId, VpeId};
use gicv5_hal::{IrsIndex, Pe};
use gicv5_hyp::{Host, Idle, Pending, VcpuIndex, Vm, VmSpec};
use gicv5_model::account::Account;
use gicv5_model::clock::Tick;
use gicv5_model::event::{Event, Signal};
use gicv5_model::rng::Rng;
use gicv5_model::{Machine, ModelPe};
use gicv5_phys::{IpiKind, PeIndex as HostPe, Phys, Source as From};

use super::judge::Judge;
use super::lab::{Base, Lab};
use super::picture::{Picture, VcpuMark};
use super::scenario::{Action, Kind, Ns, Pace, Scenario, Step};
use super::story::{Story, Who};
use super::tally::Tally;
use crate::failure::chain;
use crate::output::count;

/// What things cost, in nanoseconds of simulated time. They are of the right order and measured on nothing;
/// `docs/scenarios.md` lists them.
mod cost {
    use super::Ns;

    /// From guest to host.
    pub(super) const EXIT: Ns = 500;
    /// From host to guest.
    pub(super) const ENTRY: Ns = 500;
    /// To make a vCPU resident, or to take it off.
    pub(super) const SWITCH: Ns = 300;
    /// The host takes an interrupt.
    pub(super) const HOST_INTERRUPT: Ns = 300;
    /// The host injects an interrupt.
    pub(super) const INJECT: Ns = 100;
    /// The guest takes an interrupt: acknowledge, barriers, priority drop.
    pub(super) const ACKNOWLEDGE: Ns = 100;
    /// An instruction of the guest.
    pub(super) const INSTRUCTION: Ns = 20;
}

/// A vCPU: the places of its VM and of itself.
type VcpuPlace = (usize, usize);

/// What will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A PE goes on, unless it has been told otherwise since.
    Step(u16, u64),
    /// There is something to do on a PE.
    Wake(u16),
    /// What guests have started comes by itself (SYN-4).
    Effects,
    /// The time slice of a PE's vCPU is over.
    Slice(u16, u64),
    /// A VM starts.
    Start(usize),
    /// A moment of the scenario.
    Moment(usize),
    /// A source's next event.
    Source(usize, u64),
}

/// What the host has been asked to do on a PE.
#[derive(Clone, Copy, Debug)]
enum Work {
    Act(usize, Action),
    /// A device of a VM had an event at this time.
    Inject(usize, IrsIntId, Ns),
    /// The vCPUs of a new VM may run.
    Launch(usize),
    /// A vCPU leaves this PE, because its VM is to be destroyed.
    PutOff(usize, usize),
}

/// Where a vCPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Its VM is not there.
    Nowhere,
    /// It waits for its PE.
    Queued,
    /// It is resident.
    On(u16),
    /// It waits for an interrupt.
    Asleep,
}

/// An interrupt that a guest handles.
#[derive(Clone, Copy, Debug)]
struct Handling {
    id: IntId,
    /// Its place in the kind's list, if it is there.
    spec: Option<usize>,
    at: usize,
    /// What is left of the computation that it interrupted.
    interrupted: Option<Ns>,
}

/// A guest on a vCPU.
#[derive(Clone, Debug, Default)]
struct Guest {
    booted: bool,
    at: usize,
    /// What is left of a computation.
    left: Option<Ns>,
    handling: Option<Handling>,
}

struct Vcpu {
    vpe: VpeId,
    home: u16,
    place: Place,
    guest: Guest,
    /// When its doorbell rang.
    rang: Option<Ns>,
}

struct Machinery<'h> {
    vm: Vm<'h, Lab>,
    kind: usize,
    id: Option<VmId>,
    vcpus: Vec<Vcpu>,
    /// The SPIs whose wires are high.
    high: BTreeSet<IrsIntId>,
    /// The PE where its VMM's thread is.
    vmm: u16,
    /// By interrupt, its place in the kind's list.
    specs: Arc<HashMap<IrsIntId, usize>>,
}

struct PeRun {
    ops: ModelPe,
    /// How the driver calls it.
    host_pe: Option<HostPe>,
    /// Until when it is busy.
    free: Ns,
    next: Option<Ns>,
    epoch: u64,
    queue: VecDeque<VcpuPlace>,
    work: VecDeque<Work>,
    current: Option<VcpuPlace>,
    /// The guest computes since then, and can be interrupted.
    computes: Option<Ns>,
    in_guest: bool,
    slice_end: Ns,
    slice_epoch: u64,
    slice_over: bool,
}

/// What did not work, and when.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) ns: Ns,
    /// Whom it was about, and what was tried.
    pub(super) what: String,
    /// The error and its causes.
    pub(super) why: String,
}

/// Why the engine could not even begin.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(super) struct Hopeless {
    what: &'static str,
    why: String,
}

/// What is left at the end.
pub(super) struct Ending {
    pub(super) simulated: Ns,
    pub(super) settled: bool,
    pub(super) interrupted: bool,
    pub(super) quarantined: u64,
    /// What could not be given back.
    pub(super) leaks: Vec<String>,
    pub(super) account: Account,
    pub(super) errors: Vec<Failed>,
    pub(super) judge: Judge,
    pub(super) tally: Tally,
    pub(super) story: Story,
    pub(super) picture: Picture,
    /// Faults that were planned and did not strike.
    pub(super) not_struck: usize,
}

pub(super) struct Engine<'h> {
    scenario: &'h Scenario,
    base: Base,
    phys: Arc<Phys<Base>>,
    host: &'h Host<Lab>,
    machine: Machine,
    now: Ns,
    queue: BinaryHeap<Reverse<(Ns, u64, Next)>>,
    queued: u64,
    pes: Vec<PeRun>,
    vms: Vec<Machinery<'h>>,
    by_id: HashMap<VmId, usize>,
    sources: Vec<Rng>,
    random: Rng,
    over: bool,
    /// When the last library call ended.
    latest: Ns,
    /// When the last effect that a guest has started comes by itself, at the latest.
    effects_due: Option<Ns>,
    /// The PEs that have a signal, and since when.
    woken: Vec<(u16, Ns)>,
    judge: Judge,
    tally: Tally,
    story: Story,
    picture: Picture,
    errors: Vec<Failed>,
}

/// Two looks at whether somebody pressed Ctrl-C.
const BETWEEN_LOOKS: u64 = 256;

/// Ticks after which the effect of an instruction comes by itself.
pub(super) const EFFECT_TICKS: u64 = 2;

/// As many events of the machine as one step can have, and more.
pub(super) const OBSERVED: usize = 1 << 22;

impl<'h> Engine<'h> {
    pub(super) fn new(
        scenario: &'h Scenario,
        base: Base,
        phys: Arc<Phys<Base>>,
        host: &'h Host<Lab>,
        story: Story,
        picture: Picture,
    ) -> Engine<'h> {
        let machine = base.machine().clone();
        let rng = Rng::new(scenario.seed);
        let pes = (0..scenario.machine.pes).filter_map(|pe| base.pe(pe)).map(|ops| PeRun {
            ops: ops.clone(),
            host_pe: None,
            free: 0,
            next: None,
            epoch: 0,
            queue: VecDeque::new(),
            work: VecDeque::new(),
            current: None,
            computes: None,
            in_guest: false,
            slice_end: 0,
            slice_epoch: 0,
            slice_over: false,
        });
        let pes: Vec<PeRun> = pes.collect();
        let mut engine = Engine {
            scenario,
            base,
            phys,
            host,
            machine,
            now: 0,
            queue: BinaryHeap::new(),
            queued: 0,
            pes,
            vms: Vec::new(),
            by_id: HashMap::new(),
            sources: (0..scenario.sources.len()).map(|n| rng.fork(n as u64 + 2)).collect(),
            random: rng.fork(1),
            over: false,
            latest: 0,
            effects_due: None,
            woken: Vec::new(),
            judge: Judge::default(),
            tally: Tally::new(scenario.vms.len()),
            story,
            picture,
            errors: Vec::new(),
        };
        engine.describe_vms();
        engine
    }

    fn describe_vms(&mut self) {
        let pes = self.scenario.machine.pes;
        let specs: Vec<Arc<HashMap<IrsIntId, usize>>> = self
            .scenario
            .kinds
            .iter()
            .map(|kind| Arc::new(kind.interrupts.iter().enumerate().map(|(n, spec)| (spec.id, n)).collect()))
            .collect();
        let mut spread: u32 = 0;
        for spec in &self.scenario.vms {
            let kind = &self.scenario.kinds[spec.kind];
            let vcpus: Vec<Vcpu> = kind
                .vcpus
                .iter()
                .map(|vcpu| {
                    let home = vcpu.pe.unwrap_or((spread % u32::from(pes)) as u16);
                    spread += 1;
                    Vcpu { vpe: vcpu.vpe, home, place: Place::Nowhere, guest: Guest::default(), rang: None }
                })
                .collect();
            let vmm = vcpus.first().map_or(0, |vcpu| (vcpu.home + 1) % pes);
            self.vms.push(Machinery {
                vm: self.host.new_vm(),
                kind: spec.kind,
                id: None,
                vcpus,
                high: BTreeSet::new(),
                vmm,
                specs: specs[spec.kind].clone(),
            });
        }
    }

    fn kind(&self, vm: usize) -> &'h Kind {
        &self.scenario.kinds[self.vms[vm].kind]
    }

    fn name(&self, vm: usize) -> &'h str {
        &self.scenario.vms[vm].name
    }

    // --- time -----------------------------------------------------------------------------------------------------

    fn at(&mut self, time: Ns, next: Next) {
        self.queued += 1;
        self.queue.push(Reverse((time, self.queued, next)));
    }

    /// A PE goes on at this time, if not earlier.
    fn schedule(&mut self, pe: u16, time: Ns) {
        let run = &mut self.pes[usize::from(pe)];
        if run.next.is_some_and(|next| next <= time) {
            return;
        }
        run.epoch += 1;
        run.next = Some(time);
        let epoch = run.epoch;
        self.at(time, Next::Step(pe, epoch));
    }

    /// There is something to do on a PE: a computation is interrupted, anything else is finished first.
    fn wake(&mut self, pe: u16) {
        self.stop_computing(pe, self.now);
        let time = self.pes[usize::from(pe)].free.max(self.now);
        self.schedule(pe, time);
    }

    /// The guest on a PE computes no further than this.
    fn stop_computing(&mut self, pe: u16, time: Ns) {
        let run = &mut self.pes[usize::from(pe)];
        let Some(since) = run.computes.take() else { return };
        run.free = run.free.min(time.max(since));
        run.next = None;
        if let Some((vm, vcpu)) = run.current {
            let free = run.free;
            let guest = &mut self.vms[vm].vcpus[vcpu].guest;
            guest.left = guest.left.map(|left| left.saturating_sub(free - since));
        }
    }

    /// The host, or a guest, is about to do something on a PE. Returns the machine's time.
    fn begin(&mut self, pe: u16) -> Tick {
        self.base.go_to(pe);
        let now = Tick(self.now / self.scenario.machine.tick);
        let before = self.machine.now();
        if now > before {
            self.machine.advance(now.since(before));
            self.observe(self.now, self.machine.now());
        }
        self.machine.now()
    }

    /// It has been done: the PE is busy for as long as it took.
    fn end(&mut self, pe: u16, begun: Tick, cost: Ns) {
        let run = &mut self.pes[usize::from(pe)];
        let start = run.free.max(self.now);
        let waited = self.machine.now().since(begun).saturating_mul(self.scenario.machine.tick);
        run.free = start.saturating_add(cost).saturating_add(waited);
        self.latest = run.free;
        self.observe(start, begun);
    }

    /// Looks at what the machine has to tell, which began at this time.
    fn observe(&mut self, start: Ns, begun: Tick) {
        for (tick, event) in self.machine.take_events() {
            let ns = start.saturating_add(tick.since(begun).saturating_mul(self.scenario.machine.tick));
            self.judge.event(tick, &event);
            self.notice(ns, &event);
        }
        for (pe, ns) in std::mem::take(&mut self.woken) {
            match ns > self.now {
                true => self.at(ns, Next::Wake(pe)),
                false => self.wake(pe),
            }
        }
    }

    fn notice(&mut self, ns: Ns, event: &Event) {
        match *event {
            Event::Instruction { .. } | Event::CommandStarted { .. } | Event::SpiWire { .. } => self.tally.events += 1,
            Event::Residency { pe, vm, vpe, resident } => {
                self.tally.events += 1;
                if let Some((vm, vcpu)) = self.find(vm, vpe) {
                    self.tally.resident(vm, resident);
                    if resident && let Some(rang) = self.vms[vm].vcpus[vcpu].rang.take() {
                        self.tally.woken(vm, vcpu, ns.saturating_sub(rang));
                    }
                    self.picture.vcpu(ns, vm, vcpu, if resident { VcpuMark::On(pe.0) } else { VcpuMark::Off });
                    let what = if resident { "becomes resident on" } else { "leaves" };
                    let name = self.name(vm);
                    self.story.tell(ns, Who::Host(pe.0), || format!("{name}/vcpu{vcpu} {what} PE {}", pe.0));
                }
            }
            Event::Doorbell { vm, vpe, lpi } => {
                if let Some((vm, vcpu)) = self.find(vm, vpe) {
                    self.tally.doorbell(vm, vcpu);
                    self.vms[vm].vcpus[vcpu].rang = Some(ns);
                    self.picture.doorbell(ns, vm, vcpu);
                    let name = self.name(vm);
                    self.story.tell(ns, Who::Irs, || {
                        format!("rings the doorbell of {name}/vcpu{vcpu}, which is {lpi} of the host")
                    });
                }
            }
            Event::Signal { pe, signal: Signal::Irq | Signal::VirtualIrq, asserted: true } => {
                self.woken.push((pe.0, ns));
            }
            Event::Allocated { size, .. } => self.tally.allocated(size),
            Event::Freed { size, .. } => self.tally.freed(size),
            Event::Fault { point, fault } => {
                self.story.tell(ns, Who::Irs, || format!("{} {fault}, as planned", point.request));
            }
            Event::Violation(ref violation) => {
                self.story.tell(ns, Who::Checker, || violation.to_string());
            }
            _ => {}
        }
        self.story.detail(ns, event);
    }

    /// The vCPU that the hardware calls so.
    fn find(&self, vm: VmId, vpe: VpeId) -> Option<VcpuPlace> {
        let vm = *self.by_id.get(&vm)?;
        let vcpus = &self.vms[vm].vcpus;
        // The IDs ascend or are as the file has them; there are few.
        let guess = usize::from(vpe.raw_value());
        let vcpu = match vcpus.get(guess) {
            Some(vcpu) if vcpu.vpe == vpe => guess,
            _ => vcpus.iter().position(|vcpu| vcpu.vpe == vpe)?,
        };
        Some((vm, vcpu))
    }

    fn failed(&mut self, what: String, error: &dyn Error) {
        self.failed_because(what, chain(error));
    }

    fn failed_because(&mut self, what: String, why: String) {
        // It was not known before the call had ended.
        let ns = self.latest.max(self.now);
        self.story.tell(ns, Who::Error, || format!("{what}: {why}"));
        self.errors.push(Failed { ns, what, why });
    }

    // --- the whole run ----------------------------------------------------------------------------------------------

    /// Brings the physical side and the host up.
    fn bring_up(&mut self) -> Result<(), Hopeless> {
        let hopeless = |what| move |error: &dyn Error| Hopeless { what, why: chain(error) };
        let begun = self.begin(0);
        self.phys.bring_up().map_err(|error| hopeless("the physical driver does not come up")(&error))?;
        self.end(0, begun, 0);
        for pe in 0..self.scenario.machine.pes {
            let begun = self.begin(pe);
            let ops = self.pes[usize::from(pe)].ops.clone();
            let index = self.phys.bring_up_pe(&Pe::new(&ops));
            let index = index.map_err(|error| hopeless("a PE does not come up")(&error))?;
            self.pes[usize::from(pe)].host_pe = Some(index);
            // Which accesses of guests trap is not the library's affair (INS-20). Here none does.
            let token = Pe::new(&ops);
            token.write_raw(SysReg::ICH_HFGRTR_EL2, fields_mask(ICH_HFGRTR_EL2::FIELDS));
            token.write_raw(SysReg::ICH_HFGWTR_EL2, fields_mask(ICH_HFGWTR_EL2::FIELDS));
            token.write_raw(SysReg::ICH_HFGITR_EL2, fields_mask(ICH_HFGITR_EL2::FIELDS));
            token.isb();
            self.end(pe, begun, 0);
        }
        let begun = self.begin(0);
        self.host.bring_up().map_err(|error| hopeless("the hypervisor's library does not come up")(&error))?;
        self.end(0, begun, 0);
        let machine = &self.scenario.machine;
        let limit = self.host.vm_limit();
        self.story.tell(0, Who::Host(0), || {
            let coherent = if machine.coherent { "sees" } else { "does not see" };
            let pes = count(machine.pes.into(), "PE");
            format!("is up: {pes}, room for {}; the IRS {coherent} the caches", count(limit.into(), "VM"))
        });
        Ok(())
    }

    pub(super) fn run(
        mut self,
        interrupted: &AtomicBool,
        mut look: impl FnMut(Ns, &Tally),
    ) -> Result<Ending, Hopeless> {
        let before = self.machine.snapshot();
        if let Err(hopeless) = self.bring_up() {
            if self.scenario.faults.is_empty() {
                return Err(hopeless);
            }
            // What somebody planned is a result.
            self.failed_because(hopeless.what.to_owned(), hopeless.why);
            return Ok(self.finish(true, false, &before));
        }
        for (n, kind) in self.scenario.kinds.iter().enumerate() {
            if let Some(time) = kind.starts {
                for vm in self.scenario.kinds[n].members.clone() {
                    self.at(time, Next::Start(vm));
                }
            }
        }
        for (n, moment) in self.scenario.moments.iter().enumerate() {
            self.at(moment.time, Next::Moment(n));
        }
        for n in 0..self.sources.len() {
            let first = self.scenario.sources[n].from.saturating_add(self.gap(n));
            self.at(first, Next::Source(n, 1));
        }
        let mut stopped = false;
        let mut settled = true;
        let mut steps: u64 = 0;
        let last = self.scenario.duration.saturating_add(self.scenario.settle);
        while let Some(Reverse((time, _, next))) = self.queue.pop() {
            if self.is_stale(next) {
                continue;
            }
            if time > last {
                settled = false;
                break;
            }
            self.now = time;
            self.over |= time > self.scenario.duration;
            self.happen(next);
            steps += 1;
            if steps.is_multiple_of(BETWEEN_LOOKS) {
                look(self.now, &self.tally);
                if interrupted.load(Ordering::Relaxed) {
                    stopped = true;
                    break;
                }
            }
            if self.queue.iter().all(|Reverse((.., next))| self.is_stale(*next)) {
                self.complete_effects();
            }
        }
        if settled && !stopped {
            self.judge.quiet(self.machine.now());
        }
        Ok(self.finish(settled, stopped, &before))
    }

    /// Nothing is left to happen: every effect that is still under way comes now, and may give somebody something to do.
    fn complete_effects(&mut self) {
        for pe in 0..self.scenario.machine.pes {
            let begun = self.begin(pe);
            Pe::new(&self.pes[usize::from(pe)].ops).gsb_sys();
            self.end(pe, begun, 0);
        }
    }

    /// It was to happen and will not: things have gone another way.
    fn is_stale(&self, next: Next) -> bool {
        match next {
            Next::Step(pe, epoch) => {
                let run = &self.pes[usize::from(pe)];
                run.epoch != epoch || run.next.is_none()
            }
            Next::Slice(pe, epoch) => {
                let run = &self.pes[usize::from(pe)];
                run.slice_epoch != epoch || run.current.is_none() || run.queue.is_empty()
            }
            _ => false,
        }
    }

    fn happen(&mut self, next: Next) {
        match next {
            Next::Step(pe, _) => {
                self.pes[usize::from(pe)].next = None;
                self.step(pe);
            }
            Next::Wake(pe) => self.wake(pe),
            Next::Effects => self.effects_come(),
            Next::Slice(pe, _) => {
                self.tally.events += 1;
                self.pes[usize::from(pe)].slice_over = true;
                self.wake(pe);
            }
            Next::Start(vm) => self.act(vm, Action::Create),
            Next::Moment(n) => {
                let moment = &self.scenario.moments[n];
                if moment.vms.is_empty() {
                    self.give(0, Work::Act(0, moment.action));
                }
                for vm in moment.vms.clone() {
                    self.act(vm, moment.action);
                }
            }
            Next::Source(n, count) => self.source(n, count),
        }
    }

    fn gap(&mut self, source: usize) -> Ns {
        match self.scenario.sources[source].pace {
            Pace::Every(time) => time,
            Pace::About(time) => 1 + self.sources[source].below(time.saturating_mul(2).max(1)),
        }
    }

    fn source(&mut self, n: usize, count: u64) {
        let source = &self.scenario.sources[n];
        if self.now >= source.until {
            return;
        }
        let vms = source.vms.clone();
        let vm = vms.start + self.sources[n].below(vms.len() as u64) as usize;
        self.act(vm, Action::Raise(source.interrupt));
        if count < source.count {
            let time = self.now.saturating_add(self.gap(n));
            self.at(time, Next::Source(n, count + 1));
        }
    }

    /// The world does something; the host on some PE will have to deal with it.
    fn act(&mut self, vm: usize, action: Action) {
        match action {
            Action::Raise(id) => {
                self.tally.events += 1;
                let level = self.is_level(vm, id);
                // A wire that is high already does not rise.
                if level && !self.vms[vm].high.insert(id) {
                    return;
                }
                self.picture.raised(self.now, vm, id);
                let name = self.name(vm);
                self.story.tell(self.now, Who::World, || match id {
                    IrsIntId::Spi(_) if level => format!("raises the wire of {id} of {name}"),
                    IrsIntId::Spi(_) => format!("sends an edge on {id} of {name}"),
                    IrsIntId::Lpi(_) => format!("sends {id} to {name}"),
                });
                return self.give(self.vms[vm].vmm, Work::Inject(vm, id, self.now));
            }
            Action::Lower(id) => {
                self.tally.events += 1;
                if !self.vms[vm].high.remove(&id) {
                    return;
                }
                let name = self.name(vm);
                self.story.tell(self.now, Who::World, || format!("lowers the wire of {id} of {name}"));
            }
            _ => {}
        }
        self.give(self.vms[vm].vmm, Work::Act(vm, action));
    }

    fn is_level(&self, vm: usize, id: IrsIntId) -> bool {
        let spec = self.vms[vm].specs.get(&id).and_then(|n| self.kind(vm).interrupts.get(*n));
        spec.is_some_and(|spec| spec.mode == gicv5_arch::values::HandlingMode::Level)
    }

    fn give(&mut self, pe: u16, work: Work) {
        self.pes[usize::from(pe)].work.push_back(work);
        self.wake(pe);
    }

    // --- a PE -------------------------------------------------------------------------------------------------------

    /// A PE does the next thing.
    fn step(&mut self, pe: u16) {
        self.stop_computing(pe, self.now);
        let free = self.pes[usize::from(pe)].free;
        if free > self.now {
            return self.schedule(pe, free);
        }
        let irq = self.machine.signals(self.pes[usize::from(pe)].ops.index()).irq;
        let run = &self.pes[usize::from(pe)];
        let waiting = !run.queue.is_empty();
        if irq || !run.work.is_empty() || (run.slice_over && waiting && run.current.is_some()) {
            self.leave_guest(pe);
            if irq {
                self.take_interrupts(pe);
            } else if let Some(work) = self.pes[usize::from(pe)].work.pop_front() {
                self.work(pe, work);
            } else if let Some((vm, vcpu)) = self.pes[usize::from(pe)].current {
                self.pes[usize::from(pe)].slice_over = false;
                self.put(pe, vm, vcpu);
                self.enqueue(pe, vm, vcpu);
            }
        } else if let Some((vm, vcpu)) = run.current {
            self.guest(pe, vm, vcpu);
        } else if let Some((vm, vcpu)) = self.pes[usize::from(pe)].queue.pop_front() {
            self.load(pe, vm, vcpu);
        } else {
            // Idle, until a signal or work comes.
            return;
        }
        let free = self.pes[usize::from(pe)].free;
        self.schedule(pe, free);
    }

    fn leave_guest(&mut self, pe: u16) {
        let run = &mut self.pes[usize::from(pe)];
        if std::mem::take(&mut run.in_guest) {
            run.free = run.free.max(self.now) + cost::EXIT;
        }
    }

    fn take_interrupts(&mut self, pe: u16) {
        let ops = self.pes[usize::from(pe)].ops.clone();
        let begun = self.begin(pe);
        let mut wakes = Vec::new();
        let host = self.host;
        let taken = self.phys.take_interrupts(&Pe::new(&ops), |_, active| {
            if let From::Lpi(_, cookie) = active.source() {
                wakes.extend(host.doorbell(cookie));
            }
            Some(active)
        });
        Pe::new(&ops).gsb_sys();
        self.end(pe, begun, cost::HOST_INTERRUPT * taken.max(1));
        for wake in wakes {
            if let Some((vm, vcpu)) = self.find(wake.vm, wake.vpe)
                && self.vms[vm].vcpus[vcpu].place == Place::Asleep
            {
                let name = self.name(vm);
                self.story.tell(self.now, Who::Host(pe), || format!("takes the doorbell and wakes {name}/vcpu{vcpu}"));
                self.enqueue(pe, vm, vcpu);
            }
        }
    }

    /// A vCPU waits for its PE, which is told if it is another.
    fn enqueue(&mut self, from: u16, vm: usize, vcpu: usize) {
        let home = self.vms[vm].vcpus[vcpu].home;
        self.vms[vm].vcpus[vcpu].place = Place::Queued;
        let time = self.pes[usize::from(from)].free.max(self.now);
        self.picture.vcpu(time, vm, vcpu, VcpuMark::Queued);
        let run = &mut self.pes[usize::from(home)];
        run.queue.push_back((vm, vcpu));
        let slice = run.current.map(|_| (run.slice_end.max(self.now), run.slice_epoch));
        if let Some((time, epoch)) = slice {
            self.at(time, Next::Slice(home, epoch));
        }
        if home != from
            && let Some(host_pe) = self.pes[usize::from(home)].host_pe
        {
            let ops = self.pes[usize::from(from)].ops.clone();
            let begun = self.begin(from);
            let sent = self.phys.send_ipi(&Pe::new(&ops), host_pe, IpiKind(0));
            Pe::new(&ops).gsb_sys();
            self.end(from, begun, cost::INJECT);
            if let Err(error) = sent {
                self.failed(format!("an IPI from PE {from} to PE {home}"), &error);
            }
        } else {
            self.wake(home);
        }
    }

    /// Makes a vCPU resident on a PE that has none.
    fn load(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let ops = self.pes[usize::from(pe)].ops.clone();
        let begun = self.begin(pe);
        let loaded = self.vms[vm].vm.load(&Pe::new(&ops), VcpuIndex(vcpu));
        self.end(pe, begun, cost::SWITCH);
        match loaded {
            Ok(()) => {
                self.vms[vm].vcpus[vcpu].place = Place::On(pe);
                let run = &mut self.pes[usize::from(pe)];
                run.current = Some((vm, vcpu));
                run.slice_end = run.free + self.scenario.machine.time_slice;
                run.slice_epoch += 1;
                run.slice_over = false;
                let (end, epoch) = (run.slice_end, run.slice_epoch);
                if !run.queue.is_empty() {
                    self.at(end, Next::Slice(pe, epoch));
                }
            }
            Err(error) => {
                self.failed(format!("{}: vCPU {vcpu} cannot be loaded", self.name(vm)), &error);
                self.drop_vcpus(vm);
            }
        }
    }

    /// Takes a vCPU off its PE.
    fn put(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let ops = self.pes[usize::from(pe)].ops.clone();
        let begun = self.begin(pe);
        let put = self.vms[vm].vm.put(&Pe::new(&ops), VcpuIndex(vcpu));
        self.end(pe, begun, cost::SWITCH);
        self.pes[usize::from(pe)].current = None;
        self.vms[vm].vcpus[vcpu].place = Place::Nowhere;
        if let Err(error) = put {
            self.failed(format!("{}: vCPU {vcpu} cannot be put", self.name(vm)), &error);
        }
    }

    /// The VM is dead or to be destroyed: what of it waits for a PE waits no longer.
    fn drop_vcpus(&mut self, vm: usize) {
        for run in &mut self.pes {
            run.queue.retain(|(of, _)| *of != vm);
        }
        for vcpu in &mut self.vms[vm].vcpus {
            if !matches!(vcpu.place, Place::On(_)) {
                vcpu.place = Place::Nowhere;
            }
        }
    }

    // --- the host's work -----------------------------------------------------------------------------------------------

    fn work(&mut self, pe: u16, work: Work) {
        match work {
            Work::Launch(vm) => self.launch(pe, vm),
            Work::PutOff(vm, vcpu) => {
                if self.vms[vm].vcpus[vcpu].place == Place::On(pe) {
                    self.put(pe, vm, vcpu);
                }
            }
            Work::Inject(vm, id, raised) => self.inject(pe, vm, id, Some(raised)),
            Work::Act(vm, action) => match action {
                Action::Raise(id) => self.inject(pe, vm, id, Some(self.now)),
                Action::Lower(id) => self.inject(pe, vm, id, None),
                Action::Create => self.create(pe, vm),
                Action::Destroy => self.destroy(pe, vm),
                Action::Reset(vcpu) => self.reset(pe, vm, vcpu),
                Action::Migrate(vcpu, to) => self.migrate(pe, vm, vcpu, to),
                Action::Preempt(vcpu) => self.preempt(pe, vm, vcpu),
                Action::Reclaim => self.reclaim(pe),
                Action::Recover => {
                    self.machine.recover();
                    let begun = self.begin(pe);
                    self.end(pe, begun, 0);
                    self.story.tell(self.now, Who::Irs, || "answers again".to_owned());
                }
            },
        }
    }

    /// Makes an interrupt pending whose event happened at `raised`; without one, its wire has fallen.
    fn inject(&mut self, pe: u16, vm: usize, id: IrsIntId, raised: Option<Ns>) {
        if self.vms[vm].vm.id().is_none() {
            // Without a VM there is nobody to hold the interrupt for.
            return;
        }
        let level = self.is_level(vm, id);
        if level && raised.is_some() != self.vms[vm].high.contains(&id) {
            // The wire has changed again since, and the VMM looks at the wire.
            return;
        }
        let name = self.name(vm);
        let (what, pending) = match raised {
            Some(_) => ("injects", Pending::Set),
            None => ("withdraws", Pending::Clear),
        };
        self.story.tell(self.now, Who::Host(pe), || format!("{what} {id} of {name} (VDPEND)"));
        if raised.is_some() {
            self.picture.injected(self.now, pe, vm, id);
        }
        let ops = self.pes[usize::from(pe)].ops.clone();
        let begun = self.begin(pe);
        let token = Pe::new(&ops);
        token.dsb();
        let injected = self.vms[vm].vm.inject(&token, id.into(), pending);
        // The device's register write is over when the level has changed.
        token.gsb_sys();
        self.end(pe, begun, cost::INJECT);
        match (injected, raised) {
            (Ok(()), Some(raised)) => self.tally.injected(vm, id, level, raised),
            (Ok(()), None) => self.tally.withdrawn(vm, id),
            (Err(error), _) => self.failed(format!("{name}: {id} cannot be injected"), &error),
        }
    }

    fn create(&mut self, pe: u16, vm: usize) {
        let kind = self.kind(vm);
        let vpes: Vec<VpeId> = kind.vcpus.iter().map(|vcpu| vcpu.vpe).collect();
        let spec = VmSpec { spis: kind.spis, ..VmSpec::new(&vpes) };
        let (commands, bytes) = (self.host.counters().commands, self.tally.table_bytes);
        let begun = self.begin(pe);
        let made = self.vms[vm].vm.init(&spec);
        self.end(pe, begun, 0);
        self.tally.commands(vm, self.host.counters().commands - commands);
        if let Err(error) = made {
            let why = format!("{}; {}", chain(&error.cause), error.fate);
            return self.failed_because(format!("{} cannot be created", self.name(vm)), why);
        }
        let id = self.vms[vm].vm.id();
        self.vms[vm].id = id;
        if let Some(id) = id {
            self.by_id.insert(id, vm);
        }
        if let Some(bits) = kind.lpi_id_bits {
            let commands = self.host.counters().commands;
            let begun = self.begin(pe);
            let made = self.vms[vm].vm.create_lpi_ist(bits);
            self.end(pe, begun, 0);
            self.tally.commands(vm, self.host.counters().commands - commands);
            if let Err(error) = made {
                self.failed(format!("{} gets no LPIs", self.name(vm)), &error);
                return self.destroy(pe, vm);
            }
        }
        self.tally.tables_of(vm, self.tally.table_bytes.saturating_sub(bytes));
        let name = self.name(vm);
        let number = id.map_or(0, VmId::raw_value);
        let vcpus = count(vpes.len() as u64, "vCPU");
        let time = self.pes[usize::from(pe)].free;
        self.tally.created += 1;
        self.story.tell(time, Who::Host(pe), || {
            let lpis = kind.lpi_id_bits.map_or(String::new(), |bits| format!(", {} LPIs", 1u32 << bits));
            format!("has created {name}: VM ID {number}, {vcpus}, {}{lpis}", count(kind.spis.into(), "SPI"))
        });
        // That took time; only now may they run.
        self.pes[usize::from(pe)].work.push_front(Work::Launch(vm));
    }

    fn launch(&mut self, pe: u16, vm: usize) {
        for vcpu in 0..self.vms[vm].vcpus.len() {
            self.vms[vm].vcpus[vcpu].guest = Guest::default();
            self.enqueue(pe, vm, vcpu);
        }
    }

    fn destroy(&mut self, pe: u16, vm: usize) {
        self.drop_vcpus(vm);
        let mut elsewhere = false;
        for vcpu in 0..self.vms[vm].vcpus.len() {
            match self.vms[vm].vcpus[vcpu].place {
                Place::On(on) if on == pe => self.put(pe, vm, vcpu),
                Place::On(on) => {
                    elsewhere = true;
                    self.give(on, Work::PutOff(vm, vcpu));
                }
                _ => {}
            }
        }
        if elsewhere {
            // The other PEs need a moment.
            self.pes[usize::from(pe)].free = self.pes[usize::from(pe)].free.max(self.now) + cost::EXIT;
            return self.pes[usize::from(pe)].work.push_back(Work::Act(vm, Action::Destroy));
        }
        if self.vms[vm].vm.id().is_none() {
            return;
        }
        let commands = self.host.counters().commands;
        let begun = self.begin(pe);
        let gone = self.vms[vm].vm.tear_down();
        self.end(pe, begun, 0);
        self.tally.commands(vm, self.host.counters().commands - commands);
        let name = self.name(vm);
        match gone {
            Ok(()) => {
                let time = self.pes[usize::from(pe)].free;
                self.story.tell(time, Who::Host(pe), || format!("has torn {name} down"));
                self.tally.destroyed += 1;
            }
            Err(error) => self.failed(format!("{name} cannot be torn down"), &error),
        }
        if self.vms[vm].vm.id().is_none()
            && let Some(id) = self.vms[vm].id.take()
        {
            self.by_id.remove(&id);
        }
        self.vms[vm].high.clear();
        self.tally.forget(vm);
        self.picture.forget(self.pes[usize::from(pe)].free, vm);
    }

    fn reset(&mut self, pe: u16, vm: usize, vcpu: usize) {
        match self.vms[vm].vcpus[vcpu].place {
            Place::Nowhere => return,
            Place::On(on) if on != pe => return self.give(on, Work::Act(vm, Action::Reset(vcpu))),
            Place::On(_) => self.put(pe, vm, vcpu),
            Place::Queued => {
                let home = self.vms[vm].vcpus[vcpu].home;
                self.pes[usize::from(home)].queue.retain(|who| *who != (vm, vcpu));
            }
            Place::Asleep => {}
        }
        let commands = self.host.counters().commands;
        let begun = self.begin(pe);
        let reset = self.vms[vm].vm.reset_vcpu(VcpuIndex(vcpu));
        self.end(pe, begun, 0);
        self.tally.commands(vm, self.host.counters().commands - commands);
        let name = self.name(vm);
        if let Err(error) = reset {
            return self.failed(format!("{name}: vCPU {vcpu} cannot be reset"), &error);
        }
        self.story.tell(self.now, Who::Host(pe), || format!("has reset {name}/vcpu{vcpu}"));
        self.vms[vm].vcpus[vcpu].guest = Guest::default();
        self.enqueue(pe, vm, vcpu);
    }

    fn migrate(&mut self, pe: u16, vm: usize, vcpu: usize, to: u16) {
        let name = self.name(vm);
        let tell = move |story: &mut Story, now| {
            story.tell(now, Who::Host(pe), || format!("moves {name}/vcpu{vcpu} to PE {to}"));
        };
        match self.vms[vm].vcpus[vcpu].place {
            Place::On(on) if on != pe => return self.give(on, Work::Act(vm, Action::Migrate(vcpu, to))),
            Place::On(_) => {
                tell(&mut self.story, self.now);
                self.put(pe, vm, vcpu);
                self.vms[vm].vcpus[vcpu].home = to;
                self.enqueue(pe, vm, vcpu);
            }
            Place::Queued => {
                tell(&mut self.story, self.now);
                let home = self.vms[vm].vcpus[vcpu].home;
                self.pes[usize::from(home)].queue.retain(|who| *who != (vm, vcpu));
                self.vms[vm].vcpus[vcpu].home = to;
                self.enqueue(pe, vm, vcpu);
            }
            Place::Asleep | Place::Nowhere => {
                tell(&mut self.story, self.now);
                self.vms[vm].vcpus[vcpu].home = to;
            }
        }
        self.tally.migrated += 1;
    }

    fn preempt(&mut self, pe: u16, vm: usize, vcpu: usize) {
        match self.vms[vm].vcpus[vcpu].place {
            Place::On(on) if on != pe => self.give(on, Work::Act(vm, Action::Preempt(vcpu))),
            Place::On(_) => {
                self.put(pe, vm, vcpu);
                self.enqueue(pe, vm, vcpu);
            }
            _ => {}
        }
    }

    fn reclaim(&mut self, pe: u16) {
        let begun = self.begin(pe);
        let reclaimed = self.host.reclaim();
        self.end(pe, begun, 0);
        match reclaimed {
            Ok(()) => self.story.tell(self.now, Who::Host(pe), || "has reclaimed what was quarantined".to_owned()),
            Err(error) => self.failed("what is quarantined cannot be reclaimed".to_owned(), &error),
        }
    }

    // --- guests -----------------------------------------------------------------------------------------------------------

    /// A guest goes on for one step.
    fn guest(&mut self, pe: u16, vm: usize, vcpu: usize) {
        {
            let run = &mut self.pes[usize::from(pe)];
            if !std::mem::replace(&mut run.in_guest, true) {
                run.free = run.free.max(self.now) + cost::ENTRY;
            }
        }
        if !self.vms[vm].vcpus[vcpu].guest.booted {
            return self.boot(pe, vm, vcpu);
        }
        if self.vms[vm].vcpus[vcpu].guest.handling.is_none()
            && self.machine.virtual_signals(self.pes[usize::from(pe)].ops.index()).irq
        {
            return self.acknowledge(pe, vm, vcpu);
        }
        let kind = self.kind(vm);
        let guest = &mut self.vms[vm].vcpus[vcpu].guest;
        if let Some(left) = guest.left {
            if left > 0 {
                return self.compute(pe, left);
            }
            guest.left = None;
            self.advance(vm, vcpu);
            return;
        }
        let step = match guest.handling {
            Some(Handling { id, spec, at, .. }) => {
                let step = spec.and_then(|spec| kind.interrupts.get(spec)).and_then(|spec| spec.handler.get(at));
                match step {
                    Some(step) => *step,
                    None => return self.deactivate(pe, vm, vcpu, id),
                }
            }
            None => match kind.vcpus[vcpu].program.get(guest.at) {
                Some(step) if !self.over => *step,
                _ => Step::Wait,
            },
        };
        self.guest_step(pe, vm, vcpu, step);
    }

    /// The step is done; the next one is up.
    fn advance(&mut self, vm: usize, vcpu: usize) {
        let guest = &mut self.vms[vm].vcpus[vcpu].guest;
        match &mut guest.handling {
            Some(handling) => handling.at += 1,
            None => guest.at += 1,
        }
    }

    fn compute(&mut self, pe: u16, time: Ns) {
        let run = &mut self.pes[usize::from(pe)];
        let start = run.free.max(self.now);
        run.computes = Some(start);
        run.free = start.saturating_add(time);
    }

    /// The guest on a PE does something with its CPU interface.
    fn execute(&mut self, pe: u16, cost: Ns, f: impl FnOnce(&Pe<'_, ModelPe>)) {
        let ops = self.pes[usize::from(pe)].ops.guest();
        let begun = self.begin(pe);
        f(&Pe::new(&ops));
        self.end(pe, begun, cost);
        let due = self.pes[usize::from(pe)].free + EFFECT_TICKS * self.scenario.machine.tick;
        if self.effects_due.is_none() {
            self.at(due, Next::Effects);
        }
        self.effects_due = self.effects_due.max(Some(due));
    }

    /// What guests have started, and no barrier has completed, comes by itself.
    fn effects_come(&mut self) {
        let begun = self.begin(0);
        // A library call may have made the machine's clock run ahead.
        self.machine.advance(EFFECT_TICKS);
        self.observe(self.now, begun);
        self.effects_due = match self.effects_due {
            Some(due) if due > self.now => {
                self.at(due, Next::Effects);
                Some(due)
            }
            _ => None,
        };
    }

    /// What a guest does first: it sets up its interrupts and enables its CPU interface.
    fn boot(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let kind = self.kind(vm);
        let mine: Vec<_> = kind.interrupts.iter().filter(|spec| spec.vcpu == vcpu).collect();
        let (mask, vpe) = (kind.vcpus[vcpu].mask, kind.vcpus[vcpu].vpe);
        let cost = cost::INSTRUCTION * (6 + 4 * mine.len() as Ns);
        self.execute(pe, cost, |pe| {
            pe.write_raw(SysReg::ICC_APR_EL1, 0);
            pe.write_raw(SysReg::ICC_PCR_EL1, PCR::ZERO.with_priority(mask).raw_value());
            for spec in &mine {
                pe.cdpri(spec.id, spec.priority);
                pe.cdhm(spec.id, spec.mode);
                pe.cdaff(spec.id, Iaffid::new(vpe.raw_value()));
                if spec.enabled {
                    pe.cden(spec.id);
                }
            }
            pe.gsb_sys();
            pe.write(ICC_CR0_EL1::ZERO.with_en(true));
            pe.isb();
        });
        self.vms[vm].vcpus[vcpu].guest.booted = true;
        let name = self.name(vm);
        self.story.tell(self.now, Who::Guest(name, vcpu), || {
            let what = mine.iter().map(|spec| spec.id.to_string()).take(4).collect::<Vec<_>>().join(", ");
            let more = if mine.len() > 4 { ", ..." } else { "" };
            match mine.is_empty() {
                true => "boots: enables its CPU interface".to_owned(),
                false => format!("boots: sets up {what}{more} and enables its CPU interface"),
            }
        });
    }

    fn acknowledge(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let mut taken = None;
        self.execute(pe, cost::ACKNOWLEDGE, |pe| {
            taken = pe.cdia().int_id();
            if taken.is_some() {
                pe.gsb_ack();
                pe.isb();
                pe.cdeoi();
            }
        });
        let Some(id) = taken else {
            self.tally.spurious(vm);
            return;
        };
        let name = self.name(vm);
        let now = self.pes[usize::from(pe)].free - cost::ACKNOWLEDGE;
        self.story.tell(now, Who::Guest(name, vcpu), || format!("takes {id}"));
        self.picture.handler(now, vm, vcpu, id);
        self.tally.delivered(vm, vcpu, id, now);
        let spec = IrsIntId::try_from(id).ok().and_then(|id| self.vms[vm].specs.get(&id).copied());
        let guest = &mut self.vms[vm].vcpus[vcpu].guest;
        guest.handling = Some(Handling { id, spec, at: 0, interrupted: guest.left.take() });
    }

    fn deactivate(&mut self, pe: u16, vm: usize, vcpu: usize, id: IntId) {
        self.execute(pe, cost::INSTRUCTION, |pe| pe.cddi(id));
        let guest = &mut self.vms[vm].vcpus[vcpu].guest;
        guest.left = guest.handling.take().and_then(|handling| handling.interrupted);
        let now = self.pes[usize::from(pe)].free;
        self.picture.handled(now, vm, vcpu);
        let name = self.name(vm);
        self.story.tell(now, Who::Guest(name, vcpu), || format!("has handled {id}"));
    }

    fn guest_step(&mut self, pe: u16, vm: usize, vcpu: usize, step: Step) {
        match step {
            Step::Run(time) => {
                self.vms[vm].vcpus[vcpu].guest.left = Some(time);
                return self.compute(pe, time);
            }
            Step::Wait => return self.wait(pe, vm, vcpu),
            Step::Again => {
                self.vms[vm].vcpus[vcpu].guest.at = 0;
                return;
            }
            Step::Send(id) => self.send(pe, vm, vcpu, id),
            Step::SendAny => {
                let lpis = self.kind(vm).interrupts.iter().filter(|spec| matches!(spec.id, IrsIntId::Lpi(_)));
                let lpis: Vec<IrsIntId> = lpis.map(|spec| spec.id).collect();
                let n = self.random.below(lpis.len() as u64) as usize;
                if let Some(id) = lpis.get(n) {
                    self.send(pe, vm, vcpu, *id);
                }
            }
            Step::Mask(priority) => self.execute(pe, cost::INSTRUCTION, |pe| {
                pe.write_raw(SysReg::ICC_PCR_EL1, PCR::ZERO.with_priority(priority).raw_value());
            }),
            Step::Enable(id) => self.execute(pe, cost::INSTRUCTION, |pe| pe.cden(id)),
            Step::Disable(id) => self.execute(pe, cost::INSTRUCTION, |pe| {
                pe.cddis(id);
                pe.gsb_sys();
            }),
            Step::SetPriority(id, priority) => self.execute(pe, cost::INSTRUCTION, |pe| pe.cdpri(id, priority)),
            Step::Target(id, to) => {
                self.picture.target(vm, id, to);
                let to = Iaffid::new(self.kind(vm).vcpus[to].vpe.raw_value());
                self.execute(pe, cost::INSTRUCTION, |pe| pe.cdaff(id, to));
            }
            Step::Lower(id) => {
                // The guest's access to its device traps to the VMM, here and now.
                if self.vms[vm].high.remove(&id) {
                    self.leave_guest(pe);
                    self.tally.events += 1;
                    let name = self.name(vm);
                    self.story
                        .tell(self.now, Who::Guest(name, vcpu), || format!("has its device lower the wire of {id}"));
                    self.inject(pe, vm, id, None);
                }
            }
        }
        self.advance(vm, vcpu);
    }

    fn send(&mut self, pe: u16, vm: usize, vcpu: usize, id: IrsIntId) {
        self.tally.injected(vm, id, self.is_level(vm, id), self.now);
        self.picture.raised(self.now, vm, id);
        self.picture.injected(self.now, pe, vm, id);
        let name = self.name(vm);
        self.story.tell(self.now, Who::Guest(name, vcpu), || format!("sends {id} within its VM (CDPEND)"));
        self.execute(pe, cost::INSTRUCTION, |pe| {
            pe.dsb();
            pe.cdpend(id, true);
        });
    }

    /// The guest waits for an interrupt: the vCPU leaves the PE, and its doorbell will wake it.
    fn wait(&mut self, pe: u16, vm: usize, vcpu: usize) {
        let ended = self.over || self.kind(vm).vcpus[vcpu].program.get(self.vms[vm].vcpus[vcpu].guest.at).is_none();
        if !ended {
            self.vms[vm].vcpus[vcpu].guest.at += 1;
        }
        self.leave_guest(pe);
        let ops = self.pes[usize::from(pe)].ops.clone();
        let begun = self.begin(pe);
        let idle = self.vms[vm].vm.idle(&Pe::new(&ops), VcpuIndex(vcpu));
        self.pes[usize::from(pe)].current = None;
        // The thread announces that it sleeps, and looks once more: a doorbell that rang since is not overlooked.
        self.vms[vm].vcpus[vcpu].place = Place::Asleep;
        let pending = self.vms[vm].vm.has_pending(VcpuIndex(vcpu));
        self.end(pe, begun, cost::SWITCH);
        let name = self.name(vm);
        match (idle, pending) {
            (Ok(Idle::Sleep), Ok(false)) => {
                let time = self.pes[usize::from(pe)].free;
                self.picture.vcpu(time, vm, vcpu, VcpuMark::Asleep);
                self.story.tell(self.now, Who::Guest(name, vcpu), || {
                    "waits for an interrupt: its doorbell is armed as it leaves".to_owned()
                });
            }
            (Ok(_), Ok(_)) => {
                self.story
                    .tell(self.now, Who::Guest(name, vcpu), || "waits, but has something to do already".to_owned());
                self.enqueue(pe, vm, vcpu);
            }
            (Err(error), _) | (_, Err(error)) => {
                self.failed(format!("{name}: vCPU {vcpu} cannot sleep"), &error);
                self.drop_vcpus(vm);
            }
        }
    }

    // --- the end ------------------------------------------------------------------------------------------------------------

    /// Tears everything down and looks at what is left.
    fn finish(mut self, settled: bool, interrupted: bool, before: &gicv5_model::account::Snapshot) -> Ending {
        let simulated = self.now.max(if interrupted { 0 } else { self.scenario.duration });
        self.story.tell(self.now, Who::World, || match (interrupted, settled) {
            (true, _) => "is interrupted; now everything is torn down".to_owned(),
            (_, true) => "is over, and nothing happens any more; now everything is torn down".to_owned(),
            (_, false) => "is over, but things go on happening; now everything is torn down".to_owned(),
        });
        for pe in 0..self.scenario.machine.pes {
            self.leave_guest(pe);
            self.pes[usize::from(pe)].computes = None;
            if let Some((vm, vcpu)) = self.pes[usize::from(pe)].current {
                self.put(pe, vm, vcpu);
            }
        }
        let mut leaks = Vec::new();
        for vm in 0..self.vms.len() {
            if self.vms[vm].vm.id().is_some() {
                self.destroy(0, vm);
            }
        }
        if self.host.holdings().quarantined > 0 {
            self.reclaim(0);
        }
        let quarantined = u64::from(self.host.holdings().quarantined);
        let begun = self.begin(0);
        let down = self.host.shut_down();
        self.end(0, begun, 0);
        if let Err(error) = down {
            leaks.push(format!("the hypervisor's library: {}", chain(&error)));
        }
        for vm in 0..self.vms.len() {
            self.tally.forget(vm);
        }
        for pe in 0..self.scenario.machine.pes {
            if self.pes[usize::from(pe)].host_pe.is_none() {
                continue;
            }
            let ops = self.pes[usize::from(pe)].ops.clone();
            let begun = self.begin(pe);
            let down = self.phys.bring_down_pe(&Pe::new(&ops));
            self.end(pe, begun, 0);
            if let Err(error) = down {
                leaks.push(format!("PE {pe}: {}", chain(&error)));
            }
        }
        let begun = self.begin(0);
        let down = self.phys.tear_down();
        self.end(0, begun, 0);
        if let Err(error) = down {
            leaks.push(format!("the physical driver: {}", chain(&error)));
        }
        let account = self.machine.account(before);
        let end = self.now;
        self.picture.finish(end);
        Ending {
            simulated,
            settled,
            interrupted,
            quarantined,
            leaks,
            account,
            errors: self.errors,
            judge: self.judge,
            tally: self.tally,
            story: self.story,
            picture: self.picture,
            not_struck: self.machine.planned_faults().len(),
        }
    }
}

/// The IRS of the machine.
pub(super) const IRS: IrsIndex = IrsIndex(0);
