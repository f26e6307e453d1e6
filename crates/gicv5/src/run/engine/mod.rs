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

mod actions;
mod clock;
mod cost;
mod guest;
mod life;
mod observe;
mod scheduler;
mod world;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use gicv5_arch::{IntId, IrsIntId, VmId};
use gicv5_hal::IrsIndex;
use gicv5_hyp::{Host, VcpuIndex, Vm};
use gicv5_model::account::Account;
use gicv5_model::{Machine, ModelPe, PeIndex};
use gicv5_phys::Phys;
use gicv5_random::Rng;

use super::board::{Board, BoardWithLpis};
use super::index::{Arena, VcpuAt, VmAt};
use super::judge::Judge;
use super::picture::Picture;
use super::scenario::{Action, Ns, Scenario, VcpuSpec, VmKind};
use super::story::{Story, VcpuName};
use super::tally::Tally;
use super::vcpu_state::VcpuState;

/// What will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A PE goes on, unless it has been told otherwise since.
    Step(PeIndex, u64),
    /// There is something to do on a PE.
    Wake(PeIndex),
    /// What guests have started comes by itself (SYN-4).
    Effects,
    /// The time slice of a PE's vCPU is over.
    Slice(PeIndex, u64),
    /// A VM starts.
    Start(VmAt),
    /// A moment of the scenario.
    Moment(usize),
    /// A source's next event.
    Source(usize, u64),
}

/// What the host has been asked to do on a PE.
#[derive(Clone, Copy, Debug)]
enum Work {
    Act(VmAt, Action),
    /// A device of a VM had an event at this time.
    Inject(VmAt, IrsIntId, Ns),
    /// The vCPUs of a new VM may run.
    Launch(VmAt),
    /// A vCPU leaves this PE, because its VM is to be destroyed.
    PutOff(VcpuAt),
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

struct Vcpu<'h> {
    spec: &'h VcpuSpec,
    home: PeIndex,
    state: VcpuState,
    guest: Guest,
    /// When its doorbell rang.
    rang: Option<Ns>,
}

struct VmRun<'h> {
    vm: Vm<'h, BoardWithLpis>,
    name: &'h str,
    kind: &'h VmKind,
    id: Option<VmId>,
    vcpus: Arena<VcpuIndex, Vcpu<'h>>,
    /// The SPIs whose wires are high.
    high: BTreeSet<IrsIntId>,
    /// The PE where its VMM's thread is.
    vmm: PeIndex,
    /// By interrupt, its place in the kind's list.
    specs: Arc<HashMap<IrsIntId, usize>>,
}

struct PeRun {
    ops: ModelPe,
    /// How the driver calls it.
    host_pe: Option<gicv5_phys::PeIndex>,
    /// Until when it is busy.
    free: Ns,
    next: Option<Ns>,
    epoch: u64,
    queue: VecDeque<VcpuAt>,
    work: VecDeque<Work>,
    current: Option<VcpuAt>,
    /// The guest computes since then, and can be interrupted.
    computes: Option<Ns>,
    in_guest: bool,
    slice_end: Ns,
    slice_epoch: u64,
    slice_over: bool,
}

/// What did not work, and when.
#[derive(Clone, Debug, serde::Serialize)]
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
    base: Board,
    phys: Arc<Phys<Board>>,
    host: &'h Host<BoardWithLpis>,
    machine: Machine,
    now: Ns,
    queue: BinaryHeap<Reverse<(Ns, u64, Next)>>,
    queued: u64,
    pes: Arena<PeIndex, PeRun>,
    vms: Arena<VmAt, VmRun<'h>>,
    by_id: HashMap<VmId, VmAt>,
    sources: Vec<Rng>,
    random: Rng,
    over: bool,
    /// When the last library call ended.
    latest: Ns,
    /// When the last effect that a guest has started comes by itself, at the latest.
    effects_due: Option<Ns>,
    /// The PEs that have a signal, and since when.
    woken: Vec<(PeIndex, Ns)>,
    judge: Judge,
    tally: Tally,
    story: Story,
    picture: Picture,
    errors: Vec<Failed>,
}

/// Ticks after which the effect of an instruction comes by itself.
pub(super) const EFFECT_TICKS: u64 = 2;

/// As many events of the machine as one step can have, and more.
pub(super) const OBSERVED: usize = 1 << 22;

impl<'h> Engine<'h> {
    pub(super) fn new(
        scenario: &'h Scenario,
        base: Board,
        phys: Arc<Phys<Board>>,
        host: &'h Host<BoardWithLpis>,
        story: Story,
        picture: Picture,
    ) -> Engine<'h> {
        let machine = base.machine().clone();
        let rng = Rng::new(scenario.seed);
        let pes = (0..scenario.machine.pes).filter_map(|pe| base.pe(PeIndex(pe)));
        let pes = pes.map(|ops| PeRun {
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
        let pes = pes.collect();
        Engine {
            scenario,
            base,
            phys,
            host,
            machine,
            now: 0,
            queue: BinaryHeap::new(),
            queued: 0,
            pes,
            vms: vms(scenario, host),
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
        }
    }

    /// A VM, as the story calls it.
    fn name(&self, vm: VmAt) -> &'h str {
        self.vms[vm].name
    }

    /// A vCPU, as the story calls it.
    fn vcpu_name(&self, at: VcpuAt) -> VcpuName<'h> {
        VcpuName { vm: self.name(at.vm), vcpu: at.vcpu }
    }
}

/// The VMs of a scenario, none of which has been created.
fn vms<'h>(scenario: &'h Scenario, host: &'h Host<BoardWithLpis>) -> Arena<VmAt, VmRun<'h>> {
    let pes = scenario.machine.pes;
    let places = |kind: &VmKind| kind.interrupts.iter().enumerate().map(|(n, spec)| (spec.id, n)).collect();
    let specs: Vec<Arc<HashMap<IrsIntId, usize>>> = scenario.kinds.iter().map(|kind| Arc::new(places(kind))).collect();
    let mut spread = (0..pes).cycle().map(PeIndex);
    let kinds: Vec<_> = scenario.kinds.iter().zip(specs).collect();
    let vms = scenario.vms.iter().filter_map(|spec| {
        let (kind, specs) = kinds.get(spec.kind)?;
        let vcpus = kind.vcpus.iter().map(|spec| {
            let next = spread.next().unwrap_or(PeIndex(0));
            let home = spec.pe.unwrap_or(next);
            Vcpu { spec, home, state: VcpuState::Absent, guest: Guest::default(), rang: None }
        });
        let vcpus: Arena<VcpuIndex, Vcpu<'_>> = vcpus.collect();
        let vmm = vcpus.iter().next().map_or(PeIndex(0), |vcpu| PeIndex((vcpu.home.0 + 1) % pes));
        let (name, specs) = (spec.name.as_str(), specs.clone());
        Some(VmRun { vm: host.new_vm(), name, kind, id: None, vcpus, high: BTreeSet::new(), vmm, specs })
    });
    vms.collect()
}

impl<'h> Index<VcpuAt> for Arena<VmAt, VmRun<'h>> {
    type Output = Vcpu<'h>;

    fn index(&self, at: VcpuAt) -> &Vcpu<'h> {
        &self[at.vm].vcpus[at.vcpu]
    }
}

impl<'h> IndexMut<VcpuAt> for Arena<VmAt, VmRun<'h>> {
    fn index_mut(&mut self, at: VcpuAt) -> &mut Vcpu<'h> {
        &mut self[at.vm].vcpus[at.vcpu]
    }
}

/// The IRS of the machine.
pub(super) const IRS: IrsIndex = IrsIndex(0);
