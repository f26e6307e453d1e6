//! Scenarios: what a file describes, read and checked before anything is done.
//!
//! [`read()`] turns the text into a [`Scenario`]; [`sentence`] reads the short sentences in it; [`problem`] shows what is wrong
//! as a compiler does. `docs/scenarios.md` is the language's page.

mod events;
mod problem;
mod program;
mod read;
mod sentence;
mod table;
#[cfg(test)]
mod tests;
mod vms;
mod world;

use gicv5_arch::values::HandlingMode;
use gicv5_arch::{IrsIntId, Priority, VpeId};
use gicv5_hyp::VcpuIndex;
use gicv5_model::PeIndex;
use gicv5_model::fault::Fault;

use crate::listed::shown;

pub(crate) use problem::{Problem, Span};
pub(crate) use read::{LONGEST_FILE, read};

/// A moment or a duration, in nanoseconds of simulated time.
pub(crate) type Ns = u64;

/// Everything that a file describes.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// What it is called.
    pub(crate) title: String,
    /// Where everything random comes from.
    pub(crate) seed: u64,
    /// How long the world goes on.
    pub(crate) duration: Ns,
    /// How long it may take after that until nothing happens any more.
    pub(crate) settle: Ns,
    pub(crate) machine: MachineSpec,
    /// The kinds of VM.
    pub(crate) kinds: Vec<VmKind>,
    /// The VMs, one by one.
    pub(crate) vms: Vec<VmSpec>,
    pub(crate) moments: Vec<Moment>,
    pub(crate) sources: Vec<EventSource>,
    pub(crate) faults: Vec<FaultSpec>,
    pub(crate) expectations: Vec<Expectation>,
}

/// How the VM table is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableShape {
    Linear,
    TwoLevel,
}

/// The machine and the host on it.
#[derive(Clone, Debug)]
pub(crate) struct MachineSpec {
    pub(crate) pes: u16,
    /// Their affinity IDs, if a device tree has them; else they are counted.
    pub(crate) iaffids: Vec<u16>,
    /// Whether the IRS sees the caches of the PEs.
    pub(crate) coherent: bool,
    /// Simulated time of one tick of the model.
    pub(crate) tick: Ns,
    /// Ticks of a register command.
    pub(crate) command_latency: u64,
    /// How long the host waits for a command.
    pub(crate) command_timeout: Ns,
    /// Bits of a VM ID that the hardware has.
    pub(crate) vm_id_bits: u32,
    /// VMs that the host wants to have at a time.
    pub(crate) vms: u32,
    /// What the hardware can do.
    pub(crate) vm_table: TableShape,
    /// LPIs for doorbells.
    pub(crate) lpis: u32,
    /// How long a vCPU runs while another waits for its PE.
    pub(crate) time_slice: Ns,
}

/// What is alike in VMs that one `[[vm]]` describes.
#[derive(Clone, Debug)]
pub(crate) struct VmKind {
    pub(crate) name: String,
    pub(crate) vcpus: Vec<VcpuSpec>,
    pub(crate) spis: u32,
    /// `None` if the VM has no LPIs.
    pub(crate) lpi_id_bits: Option<u32>,
    pub(crate) interrupts: Vec<InterruptSpec>,
    /// When it is created; `None` if only a moment creates it.
    pub(crate) starts: Option<Ns>,
    /// The VMs of this kind, by their place in the scenario.
    pub(crate) members: std::ops::Range<usize>,
}

/// A VM.
#[derive(Clone, Debug)]
pub(crate) struct VmSpec {
    pub(crate) name: String,
    /// Which kind it is of.
    pub(crate) kind: usize,
}

/// A vCPU.
#[derive(Clone, Debug)]
pub(crate) struct VcpuSpec {
    pub(crate) vpe: VpeId,
    /// The PE it runs on; `None` to spread vCPUs over the PEs.
    pub(crate) pe: Option<PeIndex>,
    pub(crate) program: Vec<ProgramStep>,
    pub(crate) mask: Priority,
}

/// An interrupt as the guest sets it up.
#[derive(Clone, Debug)]
pub(crate) struct InterruptSpec {
    pub(crate) id: IrsIntId,
    /// The vCPU that takes it.
    pub(crate) vcpu: VcpuIndex,
    pub(crate) priority: Priority,
    pub(crate) mode: HandlingMode,
    pub(crate) enabled: bool,
    pub(crate) handler: Vec<ProgramStep>,
}

/// What a guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramStep {
    /// It computes.
    Run(Ns),
    /// It waits for an interrupt.
    Wait,
    /// It begins again.
    Again,
    /// It makes an interrupt of its VM pending.
    Send(IrsIntId),
    /// It makes one of the LPIs of its VM pending, by chance.
    SendAny,
    /// It sets the priority mask.
    Mask(Priority),
    Enable(IrsIntId),
    Disable(IrsIntId),
    SetPriority(IrsIntId, Priority),
    /// It routes an interrupt to another vCPU.
    Target(IrsIntId, VcpuIndex),
    /// It tells a device to lower its wire.
    Lower(IrsIntId),
}

/// One VM or all of a kind, by their places in the scenario.
pub(crate) type Vms = std::ops::Range<usize>;

/// What world and host do at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A device raises the wire of an SPI, or sends an LPI.
    Raise(IrsIntId),
    /// A device lowers the wire of an SPI.
    Lower(IrsIntId),
    Create,
    Destroy,
    /// A vCPU starts anew.
    Reset(VcpuIndex),
    /// A vCPU moves to another PE.
    Migrate(VcpuIndex, PeIndex),
    /// A vCPU gives its PE to whoever waits for it.
    Preempt(VcpuIndex),
    /// What is held of dead VMs is tried to be had back.
    Reclaim,
    /// The hardware does again what it should.
    Recover,
}

/// A moment of the world.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) time: Ns,
    /// Whom it concerns; empty if nobody in particular.
    pub(crate) vms: Vms,
    pub(crate) action: Action,
}

/// How far events of a source are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Always this much.
    Every(Ns),
    /// By chance, up to twice as much.
    About(Ns),
}

/// A device that interrupts again and again.
#[derive(Clone, Debug)]
pub(crate) struct EventSource {
    /// The VMs, one of which is chosen each time.
    pub(crate) vms: Vms,
    pub(crate) interrupt: IrsIntId,
    pub(crate) pace: Pace,
    pub(crate) from: Ns,
    /// The first moment that is too late.
    pub(crate) until: Ns,
    /// At most so many.
    pub(crate) count: u64,
}

/// Something that the hardware does wrong.
#[derive(Clone, Debug)]
pub(crate) struct FaultSpec {
    /// How the model calls what is asked for: `IRS_VMAP_VMR VM 1 valid`.
    pub(crate) request: String,
    /// Where that is written.
    pub(crate) span: Span,
    /// Which of those, from 1.
    pub(crate) occurrence: u64,
    /// Where that is written, or the whole `[[fault]]`.
    pub(crate) which: Span,
    pub(crate) fault: Fault,
    /// Where it is written how it fails.
    pub(crate) fails: Span,
}

shown! {
    /// What can be counted, about a VM or about everything.
    pub(crate) Counter {
        Injected = "injected",
        Delivered = "delivered",
        Merged = "merged",
        Spurious = "spurious",
        Doorbells = "doorbells",
        Switches = "switches",
        Leaks = "leaks",
        Violations = "violations",
        Quarantined = "quarantined",
        Undelivered = "undelivered",
        Commands = "commands",
    }
}

/// What a number is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Everything,
    Vms(Vms),
    Interrupt(Vms, IrsIntId),
    Vcpu(Vms, VcpuIndex),
}

/// A point of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantile {
    Half,
    NinetyNine,
    Max,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    AtMost,
    AtLeast,
}

/// What shall turn out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Count(Counter, About, Relation, u64),
    /// From an interrupt's event to its acknowledge.
    Latency(About, Quantile, Relation, Ns),
    /// From a doorbell to residency.
    WakeUp(About, Quantile, Relation, Ns),
    /// These are first delivered in this order.
    Order(Vms, Vec<IrsIntId>),
    /// An error with this text must occur.
    Error(String),
}

/// What shall turn out, and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    pub(crate) name: String,
    pub(crate) claim: Claim,
}
