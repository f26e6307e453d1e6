//! What can be observed.
//!
//! Whatever the machine does it can tell as a sequence of [`Event`]s. They are written to an [`EventLog`], which is part
//! of the machine's state and plain data like the rest of it; whoever owns the machine empties the log, into an
//! [`Observer`] or into a vector. As long as nobody observes, an event costs one branch that is always predicted, and is
//! not even made.
//!
//! Nothing in the machine reads the log: what it does is the same with and without an observer.

mod display;

use core::fmt;
use std::collections::VecDeque;

use gicv5_arch::insn::GicInsn;
use gicv5_arch::irs::IrsReg;
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::values::{Domain, HandlingMode, RoutingMode};
use gicv5_arch::{Iaffid, IntId, Lpi, PhysAddr, Ppi, Priority, Spi, VmId, VpeId};
use gicv5_hal::{Frame, IrsIndex};

use crate::words::clock::Tick;
use crate::words::cpu::Level;
use crate::words::fault::{Fault, FaultPoint};
use crate::words::ids::{BlockId, PeIndex};
use crate::words::owner::Owner;
use crate::words::violation::{Remark, Violation};

/// The width of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 32 bits.
    W32,
    /// 64 bits.
    W64,
}

impl Width {
    /// The width in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Width::W32 => 4,
            Width::W64 => 8,
        }
    }
}

/// Whose interrupt: the same ID means another interrupt in each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// A physical interrupt. A PPI belongs to the PE.
    Physical,
    /// An interrupt of a VM. A PPI belongs to its VPE.
    Vm(VmId),
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Space::Physical => f.write_str("physical"),
            Space::Vm(vm) => fmt::Debug::fmt(vm, f),
        }
    }
}

/// What has changed about an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Pending.
    Pending(bool),
    /// Active.
    Active(bool),
    /// Enable.
    Enabled(bool),
    /// Priority, as it takes effect (PRI-2).
    Priority(Priority),
    /// Handling mode.
    Mode(HandlingMode),
    /// Target and routing mode.
    Target(Iaffid, RoutingMode),
}

/// A signal from a CPU interface to its PE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Physical IRQ.
    Irq,
    /// Physical IRQ with superpriority (NMI).
    Nmi,
    /// Physical FIQ.
    Fiq,
    /// Virtual IRQ.
    VirtualIrq,
    /// Virtual IRQ with superpriority (NMI).
    VirtualNmi,
}

/// A barrier that a PE executes. A GSB is an [instruction](Event::Instruction).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// Context synchronisation.
    Isb,
    /// Full data barrier.
    Dsb,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It did what it is there for.
    Done,
    /// It completed without an effect, because a rule says so.
    Ignored,
    /// It completed without an effect, because the fault plan says so.
    Lost,
}

/// Something that happened.
///
/// Memory events carry addresses; nothing is said of loads, which change nothing. An event prints as one line for people, in
/// the terms of the specification: `IRS_VMAP_VMR of IRS 0, from PE 2, is written 0x8000000000000003 M=1 VM_ID=3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Software read a register of an IRS.
    FrameRead {
        /// On which PE.
        pe: PeIndex,
        /// Which frame.
        frame: Frame,
        /// Where in the frame.
        offset: u16,
        /// How wide.
        width: Width,
        /// The answer.
        value: u64,
    },
    /// Software wrote a register of an IRS.
    FrameWrite {
        /// On which PE.
        pe: PeIndex,
        /// Which frame.
        frame: Frame,
        /// Where in the frame.
        offset: u16,
        /// How wide.
        width: Width,
        /// The value written.
        value: u64,
    },
    /// A PE read a system register.
    SysRegRead {
        /// Which PE.
        pe: PeIndex,
        /// Which register.
        register: SysReg,
        /// The answer.
        value: u64,
    },
    /// A PE wrote a system register; the write may act later (SYN-5).
    SysRegWrite {
        /// Which PE.
        pe: PeIndex,
        /// Which register.
        register: SysReg,
        /// The value written.
        value: u64,
    },
    /// A PE executed a GIC instruction; its effect may come later (SYN-1).
    Instruction {
        /// Which PE.
        pe: PeIndex,
        /// Which instruction.
        insn: GicInsn,
        /// Its operand, 0 if it takes none.
        xt: u64,
        /// Its result, 0 if it has none.
        result: u64,
    },
    /// A PE executed a barrier.
    Barrier {
        /// Which PE.
        pe: PeIndex,
        /// Which barrier.
        barrier: Barrier,
    },
    /// The state of an LPI or SPI changed, or that of a PPI of a PE.
    Interrupt {
        /// Whose interrupt.
        space: Space,
        /// For a PPI the PE it belongs to.
        pe: Option<PeIndex>,
        /// Which interrupt.
        interrupt: IntId,
        /// What changed.
        change: Change,
    },
    /// The state of a virtual PPI of a PE changed. It is that of whichever VPE is resident there. Of a PPI that is injected
    /// directly Pending is the physical one (PPI-7).
    VirtualPpi {
        /// Which PE.
        pe: PeIndex,
        /// Which PPI.
        ppi: Ppi,
        /// What changed.
        change: Change,
    },
    /// The wire of an SPI changed.
    SpiWire {
        /// The IRS it is connected to.
        irs: IrsIndex,
        /// Which SPI.
        spi: Spi,
        /// The new level.
        high: bool,
    },
    /// The wire of a PPI changed.
    PpiWire {
        /// The PE it is connected to.
        pe: PeIndex,
        /// Which PPI.
        ppi: Ppi,
        /// The new level.
        high: bool,
    },
    /// What an IRS offers to a PE or VPE changed (HPPI-1); `None` is a recall.
    Candidate {
        /// The interrupt domain.
        domain: Domain,
        /// Physical, or the VM of the VPE.
        space: Space,
        /// The PE or, in the space of a VM, the VPE.
        target: Iaffid,
        /// The offer.
        candidate: Option<(IntId, Priority)>,
    },
    /// A signal to a PE changed.
    Signal {
        /// Which PE.
        pe: PeIndex,
        /// Which signal.
        signal: Signal,
        /// Whether it is now asserted.
        asserted: bool,
    },
    /// A register write started a command.
    CommandStarted {
        /// The IRS.
        irs: IrsIndex,
        /// The register that was written.
        register: IrsReg,
        /// The value written.
        value: u64,
        /// When it will complete.
        due: Tick,
    },
    /// A command completed: its status register reads IDLE=1 from now on.
    CommandDone {
        /// The IRS.
        irs: IrsIndex,
        /// The register that was written.
        register: IrsReg,
        /// The value written.
        value: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// A PE entered the guest or returned to the host. What it executes from now on is whoever's it entered: the accesses,
    /// instructions and barriers of both are told alike.
    Level {
        /// Which PE.
        pe: PeIndex,
        /// Who executes now.
        level: Level,
    },
    /// A request to make a VPE resident failed: no VPE is resident on the PE (RES-2).
    ResidencyFailed {
        /// Which PE.
        pe: PeIndex,
        /// Whose VPE.
        vm: VmId,
        /// Which VPE.
        vpe: VpeId,
    },
    /// The candidate that an IRS has forwarded to the PE of a resident VPE changed; `None` is a recall (RES-8, RES-10).
    Forwarded {
        /// Which PE.
        pe: PeIndex,
        /// Whose VPE.
        vm: VmId,
        /// Which VPE.
        vpe: VpeId,
        /// The candidate.
        candidate: Option<(IntId, Priority)>,
    },
    /// A guest acknowledged an interrupt.
    VirtualAcknowledge {
        /// Which PE.
        pe: PeIndex,
        /// The VM of the resident VPE.
        vm: VmId,
        /// The resident VPE.
        vpe: VpeId,
        /// The interrupt taken.
        interrupt: IntId,
        /// Its priority, active from now on.
        priority: Priority,
    },
    /// A guest dropped its running priority (PRI-6).
    VirtualDrop {
        /// Which PE.
        pe: PeIndex,
        /// The VM of the resident VPE.
        vm: VmId,
        /// The resident VPE.
        vpe: VpeId,
        /// The priority that is not active any more, if one was.
        priority: Option<Priority>,
    },
    /// An interrupt of a VM was deactivated, by its guest or by the hypervisor.
    VirtualDeactivate {
        /// The PE that executed the instruction.
        pe: PeIndex,
        /// The VM of the VPE that was resident then.
        vm: VmId,
        /// That VPE.
        vpe: VpeId,
        /// The interrupt.
        interrupt: IntId,
    },
    /// A VPE became resident on a PE or left it.
    Residency {
        /// Which PE.
        pe: PeIndex,
        /// Whose VPE.
        vm: VmId,
        /// Which VPE.
        vpe: VpeId,
        /// Whether it is now resident.
        resident: bool,
    },
    /// An IRS rang the doorbell of a VPE.
    Doorbell {
        /// Whose VPE.
        vm: VmId,
        /// Which VPE.
        vpe: VpeId,
        /// The LPI made pending.
        lpi: Lpi,
    },
    /// An IRS recorded a software error (ERR-2).
    SoftwareError {
        /// The IRS.
        irs: IrsIndex,
        /// The error code (ERR-4).
        code: u8,
        /// The address of the structure, if it has to do with one.
        address: Option<PhysAddr>,
    },
    /// Software stored to memory.
    Stored {
        /// Where.
        address: PhysAddr,
        /// How wide.
        width: Width,
        /// The value.
        value: u64,
    },
    /// Software executed a data barrier for memory.
    MemoryBarrier,
    /// Software asked for lines to be cleaned, invalidated or both; done for certain at the next barrier.
    Maintenance {
        /// What was asked for.
        op: Maintenance,
        /// The first byte.
        address: PhysAddr,
        /// The number of bytes.
        size: u64,
    },
    /// A cache wrote a line to memory, because it was told to or because it chose to.
    LineWritten {
        /// The first byte of the line.
        address: PhysAddr,
        /// Whether software had asked for it.
        asked: bool,
    },
    /// The IRS took memory into its ownership.
    Owned {
        /// The first byte.
        address: PhysAddr,
        /// The number of bytes.
        size: u64,
        /// As part of what.
        owner: Owner,
    },
    /// Memory of a live table is, from now on, for software to fill under restrictions.
    Fillable {
        /// The first byte.
        address: PhysAddr,
        /// The number of bytes.
        size: u64,
        /// As part of what.
        owner: Owner,
    },
    /// Memory went back to software.
    Disowned {
        /// The first byte.
        address: PhysAddr,
        /// The number of bytes.
        size: u64,
    },
    /// The state of an interrupt that the IRS had cached went back to its IST in memory (IST-26).
    WriteBack {
        /// Where its entry is.
        address: PhysAddr,
        /// The first 32 bits of the entry.
        value: u32,
    },
    /// A block of table memory was allocated.
    Allocated {
        /// Which.
        block: BlockId,
        /// Its first byte.
        address: PhysAddr,
        /// Its size in bytes.
        size: u64,
    },
    /// An allocation failed.
    AllocationFailed {
        /// The size asked for, in bytes.
        size: u64,
        /// The alignment asked for, in bytes.
        alignment: u64,
    },
    /// A block of table memory was freed.
    Freed {
        /// Which.
        block: BlockId,
        /// Its first byte.
        address: PhysAddr,
        /// Its size in bytes.
        size: u64,
    },
    /// A planned fault struck.
    Fault {
        /// Where.
        point: FaultPoint,
        /// What goes wrong.
        fault: Fault,
    },
    /// A rule was broken.
    Violation(Box<Violation>),
    /// The checker remarks on something.
    Remark(Box<Remark>),
}

/// What software asks the caches of the PEs to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Maintenance {
    /// Write dirty lines back and keep the lines.
    Clean,
    /// Write dirty lines back, then drop the lines.
    CleanInvalidate,
    /// Drop the lines.
    Invalidate,
}

/// Somebody who wants to know what happens.
///
/// Called by the owner of the machine as it empties the log, after the operation that the events belong to.
pub trait Observer {
    /// Something happened at this time. Events come in the order in which they happened.
    fn event(&mut self, tick: Tick, event: &Event);
}

/// Does not want to know.
impl Observer for () {
    fn event(&mut self, _: Tick, _: &Event) {}
}

impl<F: FnMut(Tick, &Event)> Observer for F {
    fn event(&mut self, tick: Tick, event: &Event) {
        self(tick, event);
    }
}

/// Events that have happened and that nobody has fetched yet.
///
/// It is bounded: when it is full the oldest event gives way, and is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventLog {
    observed: bool,
    events: VecDeque<(Tick, Event)>,
    capacity: usize,
    lost: u64,
}

impl EventLog {
    /// Whether somebody observes. At first nobody does.
    #[must_use]
    #[inline]
    pub const fn is_observed(&self) -> bool {
        self.observed
    }

    /// Starts to observe: from now on the last `capacity` events are kept until they are fetched.
    pub fn observe(&mut self, capacity: usize) {
        self.observed = true;
        self.capacity = capacity;
    }

    /// Stops observing. What has been kept can still be fetched.
    pub const fn ignore(&mut self) {
        self.observed = false;
    }

    /// Adds an event. [`Report::event`](crate::words::report::Report::event) is the way to do it that costs nothing when nobody
    /// observes.
    #[cold]
    pub fn push(&mut self, tick: Tick, event: Event) {
        self.events.push_back((tick, event));
        while self.events.len() > self.capacity {
            self.events.pop_front();
            self.lost += 1;
        }
    }

    /// How many events gave way to later ones.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// How many events wait to be fetched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// True if no event waits to be fetched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Fetches what has happened since the last time, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = (Tick, Event)> + '_ {
        self.events.drain(..)
    }

    /// Tells an observer what has happened since the last time, oldest first.
    pub fn drain_to(&mut self, observer: &mut dyn Observer) {
        for (tick, event) in self.events.drain(..) {
            observer.event(tick, &event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::report::Report;

    #[test]
    fn an_event_is_not_even_made_when_nobody_observes() {
        let mut report = Report::default();
        report.event(|| panic!("nobody wants to know"));
        report.log.observe(10);
        report.event(|| Event::MemoryBarrier);
        report.log.ignore();
        report.event(|| panic!("nobody wants to know any more"));
        assert_eq!(report.log.len(), 1, "what was kept can still be fetched");
    }

    #[test]
    fn a_log_that_nobody_empties_keeps_the_last_events_and_counts_the_others() {
        let mut report = Report::default();
        report.log.observe(2);
        for tick in 0..5 {
            report.event(|| Event::SpiWire { irs: IrsIndex(0), spi: Spi::new(1).unwrap(), high: tick % 2 == 0 });
            report.clock.advance(1);
        }
        let ticks: Vec<u64> = report.log.drain().map(|(tick, _)| tick.0).collect();
        assert_eq!((ticks, report.log.lost()), (vec![3, 4], 3));
        assert!(report.log.is_empty());
    }

    #[test]
    fn observers_are_told_in_order_and_the_one_that_does_not_care_empties_the_log_too() {
        let mut report = Report::default();
        report.log.observe(10);
        report.event(|| Event::MemoryBarrier);
        report.log.drain_to(&mut ());
        assert!(report.log.is_empty());
        report.clock.advance(1);
        report.event(|| Event::MemoryBarrier);
        report.event(|| Event::Barrier { pe: PeIndex(0), barrier: Barrier::Isb });
        let mut told = Vec::new();
        report.log.drain_to(&mut |tick: Tick, event: &Event| told.push((tick, event.clone())));
        let isb = Event::Barrier { pe: PeIndex(0), barrier: Barrier::Isb };
        assert_eq!(told, [(Tick(1), Event::MemoryBarrier), (Tick(1), isb)]);
    }
}
