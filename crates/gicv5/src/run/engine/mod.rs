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

mod clock;
mod cost;
mod guest;
mod host;
mod life;
mod observe;
mod scheduler;
mod world;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use gicv5_arch::{IntId, IrsIntId, VmId, VpeId};
use gicv5_hal::IrsIndex;
use gicv5_hyp::{Host, Vm};
use gicv5_model::account::Account;
use gicv5_model::rng::Rng;
use gicv5_model::{Machine, ModelPe};
use gicv5_phys::{PeIndex as HostPe, Phys};

use super::judge::Judge;
use super::lab::{Base, Lab};
use super::picture::Picture;
use super::scenario::{Action, Kind, Ns, Scenario};
use super::story::Story;
use super::tally::Tally;

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
}

/// The IRS of the machine.
pub(super) const IRS: IrsIndex = IrsIndex(0);
