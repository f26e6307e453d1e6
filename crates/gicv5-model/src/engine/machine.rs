//! The machine: everything there is, behind one handle.
//!
//! A [`Machine`] is a cheap handle that can be cloned and sent; all clones are the same machine. It implements the hal's
//! [`Irs`](gicv5_hal::Irs), [`TableMemory`](gicv5_hal::TableMemory) and [`Wait`](gicv5_hal::Wait);
//! [`Machine::pe`] gives the handle of one PE, which implements [`PeOps`](gicv5_hal::PeOps). The outside world moves wires
//! ([`Machine::set_spi_wire`], [`Machine::set_ppi_wire`]) and lets time pass ([`Machine::advance`]).
//!
//! What is inside is plain data: [`Machine::save`] copies it, [`Machine::restore`] puts it back, and two copies can be
//! compared.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::insn::{
    AcknowledgeResult, AffinityOperand, DeactivateOperand, Form, GicInsn, HandlingModeOperand, IntIdOperand, MinEl,
    PendingOperand, PriorityOperand, VmPendingOperand,
};
use gicv5_arch::layout::fields_mask;
use gicv5_arch::sysreg::{ICC_ICSR_EL1, ICH_CONTEXTR_EL2, SysReg};
use gicv5_arch::values::{Domain, HandlingMode, RoutingMode, TriggerMode};
use gicv5_arch::{Iaffid, IntId, IrsIntId, IrsIntType, PhysAddr, Ppi, Priority, Spi, VmId, VpeId};
use gicv5_hal::{Frame, IrsIndex, PeOps, Wait};

use crate::cpu::{Acknowledge, Cpu, Register, Side};
use crate::engine::irs::{IrsState, IstRegisters};
use crate::engine::virt::Virtual;
use crate::instruments::account::AccessLog;
use crate::instruments::host::LpiBooks;
use crate::memory::Memory;
use crate::parts::fault_plan::FaultPlan;
use crate::parts::interrupts::{Backing, Change, Interrupts, Preset, Unreachable, WritingBack};
use crate::words::clock::{Clock, Tick};
use crate::words::config::{AnswerForNobody, ConfigError, EdgeResample, Effects, IrsConfig, MachineConfig, SetPending};
use crate::words::cpu::{Fate, Level, Signals};
use crate::words::event::{Barrier, Change as Changed, Event, Signal, Space};
use crate::words::ids::PeIndex;
use crate::words::report::Report;
use crate::words::rules;
use crate::words::violation::{Place, Violation};
use gicv5_random::Rng;

/// What a PE has started and what is not complete yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    /// The effect of a GIC instruction.
    Insn {
        /// Who executed it.
        by: Level,
        /// The domain it acts on.
        on: Acted,
        insn: GicInsn,
        xt: u64,
    },
    /// The outputs of a side follow an acknowledge (SYN-1).
    Signals(Side),
}

/// The domain an instruction acts on (GEN-6), as it was when the instruction was executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Acted {
    /// The physical domain.
    Physical,
    /// The virtual domain: the VPE that was resident, if one was (RES-6, RES-7, INS-17).
    Virtual(Option<(VmId, VpeId)>),
}

impl Acted {
    /// Whose LPIs and SPIs it acts on.
    fn space(self) -> Option<Space> {
        match self {
            Acted::Physical => Some(Space::Physical),
            Acted::Virtual(resident) => resident.map(|(vm, _)| Space::Vm(vm)),
        }
    }

    /// Which interface of the PE it acts on.
    fn side(self) -> Side {
        match self {
            Acted::Physical => Side::Physical,
            Acted::Virtual(_) => Side::Virtual,
        }
    }
}

/// Who asked for the answer in ICC_ICSR_EL1 (INS-14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// The host.
    Host,
    /// The guest of a VPE.
    Vpe(VmId, VpeId),
}

/// A PE as the machine knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PeState {
    pub(crate) cpu: Cpu,
    /// The IRS it is attached to.
    pub(crate) irs: usize,
    /// Effects that no GSB has completed, with the moment at which they come by themselves, in order.
    effects: VecDeque<(Tick, Effect)>,
    /// What is random about what the host does on it comes from here.
    rng: Rng,
    /// An answer that the next ISB makes visible (INS-12), and who asked for it.
    answer: Option<(ICC_ICSR_EL1, Option<Asker>)>,
    /// Who asked for the answer that ICC_ICSR_EL1 holds; `None` if software wrote what is there.
    pub(crate) icsr_of: Option<Asker>,
    /// Who executes.
    level: Level,
    /// The outputs as the world sees them.
    signals: Signals,
    /// The outputs of the virtual side.
    virtual_signals: Signals,
}

/// An SPI's wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wire {
    pub(crate) high: bool,
    pub(crate) trigger: TriggerMode,
    /// The IRS that owns it, if one does (SPI-1).
    pub(crate) irs: Option<u16>,
    /// The VM it is assigned to (SPI-9).
    pub(crate) vm: Option<VmId>,
    /// What it was as a physical interrupt before it was assigned.
    pub(crate) kept: L2_ISTE,
}

impl Wire {
    fn new(config: &MachineConfig, spi: u32) -> Wire {
        let owns = |irs: &IrsConfig| Spi::new(spi).is_ok_and(|spi| irs.owns(spi));
        let irs = config.irses.iter().position(owns).map(|irs| irs as u16);
        Wire { high: false, trigger: TriggerMode::Edge, irs, vm: None, kept: L2_ISTE::ZERO }
    }
}

/// The whole state of a machine, as a value.
#[derive(Clone, PartialEq, Debug)]
pub struct MachineState {
    pub(crate) config: MachineConfig,
    pub(crate) report: Report,
    pub(crate) memory: Memory,
    pub(crate) rng: Rng,
    pub(crate) interrupts: Interrupts,
    pub(crate) ist: IstRegisters,
    pub(crate) virt: Virtual,
    pub(crate) wires: Vec<Wire>,
    pub(crate) irses: Vec<IrsState>,
    pub(crate) pes: Vec<PeState>,
    /// PE by affinity ID.
    by_iaffid: Vec<Option<u16>>,
    pub(crate) faults: FaultPlan,
    pub(crate) lpis: LpiBooks,
    pub(crate) accesses: AccessLog,
    /// When the next effect of any PE comes by itself; a bound, not exact.
    next_effect: Tick,
    /// When the next command completes; a bound, not exact.
    pub(crate) next_command: Tick,
}

impl MachineState {
    /// Whether the interrupt hardware is in the same state, whatever the time is, what software has been told, what the checker
    /// remembers of software (INS-14) and what there is in memory.
    pub(crate) fn is_same_hardware(&self, other: &MachineState) -> bool {
        let is_same_pe = |(one, other): (&PeState, &PeState)| *one == PeState { icsr_of: one.icsr_of, ..other.clone() };
        let pes = self.pes.len() == other.pes.len() && self.pes.iter().zip(&other.pes).all(is_same_pe);
        let irses = self.irses.len() == other.irses.len()
            && self.irses.iter().zip(&other.irses).all(|(one, other)| one.is_same_state(other));
        (&self.interrupts, &self.ist, &self.virt, &self.wires)
            == (&other.interrupts, &other.ist, &other.virt, &other.wires)
            && pes
            && irses
    }

    fn new(config: MachineConfig) -> Result<MachineState, ConfigError> {
        config.check()?;
        let rng = Rng::new(config.seed);
        let mut pes = Vec::new();
        let mut by_iaffid = Vec::new();
        for (irs, irs_config) in config.irses.iter().enumerate() {
            for cpu in &irs_config.pes {
                let iaffid = usize::from(cpu.iaffid.raw_value());
                if by_iaffid.len() <= iaffid {
                    by_iaffid.resize(iaffid + 1, None);
                }
                if let Some(place) = by_iaffid.get_mut(iaffid) {
                    *place = Some(pes.len() as u16);
                }
                pes.push(PeState {
                    cpu: Cpu::new(*cpu, &config.switches, config.is_virtual()),
                    irs,
                    effects: VecDeque::new(),
                    rng: rng.fork(1 << 32 | pes.len() as u64),
                    answer: None,
                    icsr_of: None,
                    level: Level::Host,
                    signals: Signals::default(),
                    virtual_signals: Signals::default(),
                });
            }
        }
        let spis = config.irses.first().map_or(0, |irs| irs.idr5.spi_range().value());
        Ok(MachineState {
            report: Report { clock: Clock::new(config.poll_ticks), ..Report::default() },
            memory: Memory::new(config.memory.clone())?,
            rng: rng.fork(1),
            interrupts: Interrupts::new(Backing::Internal { first: 0, count: spis }, &config.switches),
            ist: IstRegisters::default(),
            virt: Virtual::default(),
            wires: (0..spis).map(|spi| Wire::new(&config, spi)).collect(),
            irses: config.irses.iter().map(|_| IrsState::new()).collect(),
            pes,
            by_iaffid,
            faults: FaultPlan::default(),
            lpis: LpiBooks::default(),
            accesses: AccessLog::default(),
            next_effect: Tick::NEVER,
            next_command: Tick::NEVER,
            config,
        })
    }

    /// The IRS that owns an SPI.
    pub(crate) fn owner(&self, spi: Spi) -> Option<usize> {
        self.wires.get(spi.id() as usize)?.irs.map(usize::from)
    }

    /// The PE with an affinity ID.
    pub(crate) fn pe_with(&self, iaffid: Iaffid) -> Option<usize> {
        self.by_iaffid.get(usize::from(iaffid.raw_value())).copied().flatten().map(usize::from)
    }

    // --- interrupts ---------------------------------------------------------------------------------------------

    /// Changes the state of an interrupt and everything that follows from it.
    pub(crate) fn update(
        &mut self,
        id: IrsIntId,
        change: impl FnOnce(L2_ISTE) -> L2_ISTE,
    ) -> Result<L2_ISTE, Unreachable> {
        self.check_physical(id)?;
        let change = self.interrupts.update(id, &mut self.memory, change);
        self.judge_preset();
        let change = change?;
        if change.before != change.after || change.noticed {
            self.changed(id, change);
        }
        Ok(change.after)
    }

    /// What an instruction that asks for an interrupt's state is told.
    pub(crate) fn look_up(&mut self, id: IrsIntId) -> Result<L2_ISTE, Unreachable> {
        self.check_physical(id)?;
        let state = self.interrupts.state(id, &mut self.memory);
        self.judge_preset();
        state
    }

    /// Reports entries that were pending when their IST became valid, and offers those that were noticed (IST-22).
    fn judge_preset(&mut self) {
        while let Some(preset) = self.interrupts.take_preset() {
            self.report_preset(preset);
            self.offer(preset.entry.iaffid());
        }
    }

    /// Reports an entry that was pending when its IST became valid.
    pub(crate) fn report_preset(&mut self, Preset { address, entry }: Preset) {
        let place = match self.memory.claim_on(address) {
            Some(claim) => Place::Structure(address, claim.owner()),
            None => Place::Memory(address),
        };
        self.report.violate(rules::IST_22, place, 0, entry.raw_value().into(), || {
            "an IST became valid with an entry that had Pending or bits for the IRS's own use set".into()
        });
    }

    /// An SPI that belongs to a VM (SPI-9), or to no IRS (SPI-1), is no physical interrupt.
    fn check_physical(&self, id: IrsIntId) -> Result<(), Unreachable> {
        let IrsIntId::Spi(spi) = id else { return Ok(()) };
        match self.wires.get(spi.id() as usize) {
            Some(Wire { irs: Some(_), vm: None, .. }) => Ok(()),
            _ => Err(Unreachable::OutOfRange),
        }
    }

    /// The VM that an SPI is assigned to.
    pub(crate) fn assigned(&self, spi: Spi) -> Option<VmId> {
        self.wires.get(spi.id() as usize)?.vm
    }

    /// Tells what has changed about an interrupt.
    pub(crate) fn tell(&mut self, space: Space, id: IrsIntId, Change { before, after, .. }: Change) {
        let mut tell = |change: Option<Changed>| {
            if let Some(change) = change {
                let interrupt = IntId::from(id);
                self.report.event(|| Event::Interrupt { space, pe: None, interrupt, change });
            }
        };
        tell((before.pending() != after.pending()).then_some(Changed::Pending(after.pending())));
        tell((before.active() != after.active()).then_some(Changed::Active(after.active())));
        tell((before.enable() != after.enable()).then_some(Changed::Enabled(after.enable())));
        tell((before.priority() != after.priority()).then_some(Changed::Priority(after.priority())));
        tell((before.hm() != after.hm()).then_some(Changed::Mode(after.hm())));
        tell((before.iaffid() != after.iaffid()).then_some(Changed::Target(after.iaffid(), after.irm())));
    }

    fn changed(&mut self, id: IrsIntId, change: Change) {
        self.tell(Space::Physical, id, change);
        let Change { before, after, .. } = change;
        self.offer(before.iaffid());
        if after.iaffid() != before.iaffid() {
            self.offer(after.iaffid());
        }
        // The IRS may write a state back whenever it likes (IST-26).
        if id.int_type() == IrsIntType::Lpi && self.rng.chance(1, 64) {
            let mut memory = WritingBack { memory: &mut self.memory, report: &mut self.report };
            self.interrupts.write_back_one(id, &mut memory);
        }
    }

    /// Offers a target its candidate, if that is another than before (HPPI-2, HPPI-6).
    pub(crate) fn offer(&mut self, target: Iaffid) {
        let Some(pe) = self.pe_with(target) else { return };
        let enabled = self.pes.get(pe).and_then(|pe| self.irses.get(pe.irs)).is_some_and(|irs| irs.enabled);
        let candidate = if enabled { self.interrupts.candidate(target) } else { None };
        let Some(state) = self.pes.get_mut(pe) else { return };
        if state.cpu.offered(Side::Physical) == candidate {
            return;
        }
        state.cpu.offer(Side::Physical, candidate);
        self.report.event(|| Event::Candidate {
            domain: Domain::NonSecure,
            space: Space::Physical,
            target,
            candidate: candidate.map(|(id, priority)| (IntId::from(id), priority)),
        });
        self.show_signals(pe, Side::Physical);
    }

    /// Does something to a PE's CPU interfaces that may change its PPIs, and tells what has changed.
    fn on_cpu<R>(&mut self, pe: usize, change: impl FnOnce(&mut Cpu) -> R) -> Option<R> {
        let cpu = &mut self.pes.get_mut(pe)?.cpu;
        if !self.report.log.is_observed() {
            return Some(change(cpu));
        }
        let before = [Side::Physical, Side::Virtual].map(|side| cpu.ppis(side));
        let result = change(cpu);
        let after = [Side::Physical, Side::Virtual].map(|side| cpu.ppis(side));
        let pe = PeIndex(pe as u16);
        let changes = |n: usize| match (after.get(n), before.get(n)) {
            (Some(Some(after)), Some(Some(before))) => after.changes_since(before),
            _ => Vec::new(),
        };
        for (ppi, change) in changes(0) {
            let (space, pe, interrupt) = (Space::Physical, Some(pe), IntId::Ppi(ppi));
            self.report.event(|| Event::Interrupt { space, pe, interrupt, change });
        }
        for (ppi, change) in changes(1) {
            self.report.event(|| Event::VirtualPpi { pe, ppi, change });
        }
        Some(result)
    }

    /// Shows the world what a PE's outputs are.
    fn show_all_signals(&mut self, pe: usize) {
        self.show_signals(pe, Side::Physical);
        if self.pes.get(pe).is_some_and(|state| state.cpu.el2().is_some()) {
            self.show_signals(pe, Side::Virtual);
        }
    }

    /// Shows the world what the outputs of one side of a PE are.
    pub(crate) fn show_signals(&mut self, pe: usize, side: Side) {
        let Some(state) = self.pes.get_mut(pe) else { return };
        let signals = state.cpu.signals(side);
        let (shown, irq, nmi) = match side {
            Side::Physical => (&mut state.signals, Signal::Irq, Signal::Nmi),
            Side::Virtual => (&mut state.virtual_signals, Signal::VirtualIrq, Signal::VirtualNmi),
        };
        let before = std::mem::replace(shown, signals);
        if before == signals {
            return;
        }
        let pe = PeIndex(pe as u16);
        for (signal, was, is) in [(irq, before.irq, signals.irq), (nmi, before.nmi, signals.nmi)] {
            if was != is {
                self.report.event(|| Event::Signal { pe, signal, asserted: is });
            }
        }
    }

    /// An event from outside: Pending rises, and the handling mode follows the kind of event (ISM-2).
    pub(crate) fn set_event(&mut self, id: IrsIntId, mode: HandlingMode) -> Result<L2_ISTE, Unreachable> {
        self.update(id, |entry| entry.with_pending(true).with_hm(mode))
    }

    /// An event of an SPI reaches whoever it belongs to: the physical domain, or a VM (SPI-9). To an invalid VM, or one
    /// without that SPI, it is lost (SPI-10).
    fn spi_event(&mut self, spi: Spi, change: impl FnOnce(L2_ISTE) -> L2_ISTE) {
        let id = IrsIntId::Spi(spi);
        match self.assigned(spi) {
            Some(vm) => self.change_virtual(self.owner(spi).unwrap_or(0), vm, id, change),
            // An SPI that an IRS owns can always be reached (SPI-8).
            None => drop(self.update(id, change)),
        }
    }

    /// Software asks for a look at an SPI's wire (SPI-5).
    pub(crate) fn resample(&mut self, spi: Spi) {
        let wire = self.wires.get(spi.id() as usize).copied();
        match (self.config.switches.edge_resample, wire) {
            (EdgeResample::Pends, Some(Wire { high: true, trigger: TriggerMode::Edge, .. })) => {
                self.spi_event(spi, |entry| entry.with_pending(true).with_hm(HandlingMode::Edge));
            }
            _ => self.sample(spi),
        }
    }

    /// Looks at an SPI's wire again (SPI-3).
    pub(crate) fn sample(&mut self, spi: Spi) {
        let Some(&Wire { high, trigger, .. }) = self.wires.get(spi.id() as usize) else { return };
        match (trigger, high) {
            (TriggerMode::Level, true) => {
                self.spi_event(spi, |entry| entry.with_pending(true).with_hm(HandlingMode::Level));
            }
            (TriggerMode::Level, false) | (TriggerMode::Edge, true) => {
                self.spi_event(spi, |entry| entry.with_pending(false));
            }
            (TriggerMode::Edge, false) => {}
        }
    }

    fn set_spi_wire(&mut self, spi: Spi, high: bool) {
        let (Some(irs), Some(wire)) = (self.owner(spi), self.wires.get_mut(spi.id() as usize)) else { return };
        if wire.high == high {
            return;
        }
        wire.high = high;
        let trigger = wire.trigger;
        self.report.event(|| Event::SpiWire { irs: IrsIndex(irs as u16), spi, high });
        // SPI-4.
        match (trigger, high) {
            (TriggerMode::Edge, true) => {
                self.spi_event(spi, |entry| entry.with_pending(true).with_hm(HandlingMode::Edge));
            }
            (TriggerMode::Level, true) => {
                self.spi_event(spi, |entry| entry.with_pending(true).with_hm(HandlingMode::Level));
            }
            (TriggerMode::Level, false) => self.spi_event(spi, |entry| entry.with_pending(false)),
            (TriggerMode::Edge, false) => {}
        }
    }

    fn set_nmi(&mut self, pe: PeIndex, side: Side, nmi: bool) {
        if let Some(pe) = self.pes.get_mut(usize::from(pe.0)) {
            pe.cpu.set_nmi(side, nmi);
        }
        self.show_signals(usize::from(pe.0), side);
    }

    fn set_ppi_wire(&mut self, pe: PeIndex, ppi: Ppi, high: bool) {
        self.report.event(|| Event::PpiWire { pe, ppi, high });
        self.on_cpu(usize::from(pe.0), |cpu| cpu.ppi_wire(ppi, high));
        self.show_all_signals(usize::from(pe.0));
    }

    // --- instructions -------------------------------------------------------------------------------------------

    fn gic(&mut self, pe: PeIndex, level: Level, insn: GicInsn, xt: u64) -> u64 {
        self.advance_to_now();
        self.enter(pe, level);
        let info = insn.info();
        let xt = if info.form == Form::Operand { xt } else { 0 };
        let result = match self.fate_of_insn(pe, level, insn) {
            Fate::Executes if level == Level::Host && info.min_el == MinEl::EL1 => {
                self.issue(pe, level, Acted::Physical, insn, xt)
            }
            Fate::Executes => {
                let resident = self.resident(usize::from(pe.0));
                self.issue(pe, level, Acted::Virtual(resident), insn, xt)
            }
            fate => {
                self.not_executed(fate, Place::Insn(pe, insn), xt, format_args!("{insn} is"));
                0
            }
        };
        self.report.event(|| Event::Instruction { pe, insn, xt, result });
        result
    }

    #[inline]
    fn fate_of_insn(&self, pe: PeIndex, level: Level, insn: GicInsn) -> Fate {
        self.pes.get(usize::from(pe.0)).map_or(Fate::Undefined, |pe| pe.cpu.fate_of_insn(level, insn))
    }

    /// Reports what its author should have known not to execute.
    #[cold]
    fn not_executed(&mut self, fate: Fate, place: Place, value: u64, what: std::fmt::Arguments<'_>) {
        match fate {
            Fate::Executes => {}
            Fate::Undefined => self.report.violate(rules::CPU_1, place, 0, value, || {
                format!("{what} not defined at this exception level of this machine")
            }),
            Fate::Traps => self.report.violate(rules::CPU_2, place, 0, value, || format!("{what} trapped to EL2")),
        }
    }

    /// Executes an instruction.
    fn issue(&mut self, pe: PeIndex, level: Level, on: Acted, insn: GicInsn, xt: u64) -> u64 {
        let index = usize::from(pe.0);
        match insn {
            GicInsn::GICR_CDIA => return self.acknowledge(pe, on, Acknowledge::Ordinary),
            GicInsn::GICR_CDNMIA => return self.acknowledge(pe, on, Acknowledge::Nmi),
            GicInsn::GIC_CDEOI => self.drop_priority(pe, on),
            GicInsn::GSB_SYS => self.complete_effects(index, |_| true),
            GicInsn::GSB_ACK => self.show_all_signals(index),
            _ => self.start_effect(pe, Effect::Insn { by: level, on, insn, xt }),
        }
        0
    }

    fn drop_priority(&mut self, pe: PeIndex, on: Acted) {
        let index = usize::from(pe.0);
        let Some(state) = self.pes.get_mut(index) else { return };
        match on {
            Acted::Physical => {
                state.cpu.drop_priority(Side::Physical);
            }
            // Without a VPE there is nobody to act for (RES-6). If the PE has not been told, what is its own goes on (RES-23).
            Acted::Virtual(None) => {
                if state.cpu.el2().is_some_and(|virt| virt.resident.is_some()) {
                    state.cpu.drop_priority(Side::Virtual);
                }
            }
            Acted::Virtual(Some((vm, vpe))) => {
                let priority = state.cpu.drop_priority(Side::Virtual);
                self.report.event(|| Event::VirtualDrop { pe, vm, vpe, priority });
            }
        }
        self.show_signals(index, on.side());
    }

    fn acknowledge(&mut self, pe: PeIndex, on: Acted, which: Acknowledge) -> u64 {
        let index = usize::from(pe.0);
        let Some(Some((id, priority))) = self.on_cpu(index, |cpu| cpu.acknowledge(on.side(), which)) else { return 0 };
        if let (Ok(id), Some(space)) = (IrsIntId::try_from(id), on.space()) {
            // Active is set and an edge cleared in one step (INS-3). The interrupt was a candidate a moment ago, so it can be
            // reached.
            self.change_in(index, space, id, |entry| match entry.hm() {
                HandlingMode::Edge => entry.with_active(true).with_pending(false),
                HandlingMode::Level => entry.with_active(true),
            });
            match on {
                Acted::Virtual(Some((vm, vpe))) => self.forward(vm, vpe),
                _ => {
                    if let Some(iaffid) = self.pes.get(index).map(|state| state.cpu.config().iaffid) {
                        self.offer(iaffid);
                    }
                }
            }
        }
        if let Acted::Virtual(Some((vm, vpe))) = on {
            self.report.event(|| Event::VirtualAcknowledge { pe, vm, vpe, interrupt: id, priority });
            // The pending bit of a PPI injected directly is the host's as well (PPI-10).
            self.show_signals(index, Side::Physical);
        }
        self.signals_follow(pe, on.side());
        AcknowledgeResult::reporting(Some(id)).raw_value()
    }

    /// The outputs follow an acknowledge, at the latest at the next GSB (SYN-1).
    fn signals_follow(&mut self, pe: PeIndex, side: Side) {
        self.start_effect(pe, Effect::Signals(side));
    }

    /// Whether what is started now on a PE, for a VM or for the host, acts now. What is done for one VM has no part in what
    /// others see of chance: each VM has its own, and so has the host on each PE. What is done for a VM that there is not has no
    /// chance, and waits.
    fn acts_early(&mut self, pe: usize, whose: Option<VmId>) -> bool {
        match self.config.switches.effects {
            Effects::Early => true,
            Effects::Late => false,
            Effects::Random => {
                let rng = match whose {
                    Some(vm) => self.virt.rng(vm),
                    None => self.pes.get_mut(pe).map(|state| &mut state.rng),
                };
                rng.is_some_and(|rng| rng.chance(1, 2))
            }
        }
    }

    /// The VM that an effect is about; `None` for the host's own.
    fn whose(&self, pe: usize, effect: Effect) -> Option<VmId> {
        match effect {
            Effect::Insn { insn: GicInsn::GIC_VDPEND, xt, .. } => Some(VmPendingOperand::new_with_raw_value(xt).vm()),
            Effect::Insn { on: Acted::Virtual(Some((vm, _))), .. } => Some(vm),
            Effect::Signals(Side::Virtual) => self.resident(pe).map(|(vm, _)| vm),
            Effect::Insn { .. } | Effect::Signals(Side::Physical) => None,
        }
    }

    fn start_effect(&mut self, pe: PeIndex, effect: Effect) {
        let index = usize::from(pe.0);
        match self.config.switches.effects {
            // Nothing ever waits.
            Effects::Early => return self.take_effect(index, effect),
            Effects::Late => {}
            Effects::Random => {
                let whose = self.whose(index, effect);
                if self.acts_early(index, whose) {
                    self.complete_those_of(index, whose);
                    return self.take_effect(index, effect);
                }
            }
        }
        let due = self.report.now().after(self.config.effect_latency);
        if let Some(state) = self.pes.get_mut(index) {
            state.effects.push_back((due, effect));
            self.next_effect = self.next_effect.min(due);
        }
    }

    /// Completes a PE's effects for a VM or for the host, in order. Those for others have no order among them, and wait.
    fn complete_those_of(&mut self, pe: usize, whose: Option<VmId>) {
        self.complete_some(pe, |state, effect| state.whose(pe, effect) == whose);
    }

    /// What was begun for a VPE of a VM that is not valid any more comes now, and so to nothing (VM-12): it must not reach a
    /// later VM of the same ID (INJ-10). A `GIC VDPEND` names whoever has the ID when it takes effect (INS-15), and waits.
    pub(crate) fn end_effects(&mut self, vm: VmId) {
        for pe in 0..self.pes.len() {
            self.complete_some(pe, |_, effect| match effect {
                Effect::Insn { insn: GicInsn::GIC_VDPEND, .. } => false,
                Effect::Insn { on: Acted::Virtual(Some((of, _))), .. } => of == vm,
                _ => false,
            });
        }
    }

    /// Completes some of a PE's effects, in order.
    fn complete_some(&mut self, pe: usize, those: impl Fn(&MachineState, Effect) -> bool) {
        let Some(state) = self.pes.get_mut(pe).filter(|state| !state.effects.is_empty()) else { return };
        let mut waiting = VecDeque::new();
        for (due, effect) in std::mem::take(&mut state.effects) {
            match those(self, effect) {
                true => self.take_effect(pe, effect),
                false => waiting.push_back((due, effect)),
            }
        }
        if let Some(state) = self.pes.get_mut(pe) {
            state.effects = waiting;
        }
    }

    fn take_effect(&mut self, pe: usize, effect: Effect) {
        match effect {
            Effect::Insn { by, on, insn, xt } => self.execute(pe, by, on, insn, xt),
            Effect::Signals(side) => self.show_signals(pe, side),
        }
    }

    /// Completes a PE's effects, in order, as long as the condition holds for the moment at which they are due.
    fn complete_effects(&mut self, pe: usize, condition: impl Fn(Tick) -> bool) {
        while let Some(state) = self.pes.get_mut(pe)
            && let Some(&(due, effect)) = state.effects.front()
            && condition(due)
        {
            state.effects.pop_front();
            self.take_effect(pe, effect);
        }
    }

    /// Changes the state of an interrupt of a domain for an instruction, and everything that follows from it. What cannot be
    /// reached is dropped, and may be reported (INS-11).
    fn change_in(&mut self, pe: usize, space: Space, id: IrsIntId, change: impl FnOnce(L2_ISTE) -> L2_ISTE) {
        let irs = self.pes.get(pe).map_or(0, |pe| pe.irs);
        match space {
            Space::Physical => {
                if let Err(why) = self.update(id, change) {
                    self.unreachable(irs, space, id, why);
                }
            }
            Space::Vm(vm) => self.change_virtual(irs, vm, id, change),
        }
    }

    /// The effect of an instruction. Reserved types are ignored (GEN-1), PPIs too (INS-8).
    fn execute(&mut self, pe: usize, by: Level, on: Acted, insn: GicInsn, xt: u64) {
        match insn {
            GicInsn::GIC_CDRCFG | GicInsn::GIC_VDRCFG => {
                self.read_configuration(pe, by, on, IntIdOperand::new_with_raw_value(xt).int_id());
            }
            // Acts on the VM it names, resident or not (INS-15).
            GicInsn::GIC_VDPEND => {
                let operand = VmPendingOperand::new_with_raw_value(xt);
                if let Some(id) = operand.int_id() {
                    self.set_pending(pe, Space::Vm(operand.vm()), id, operand.pending());
                }
            }
            GicInsn::GIC_CDDI | GicInsn::GIC_VDDI => {
                if let Some(id) = DeactivateOperand::new_with_raw_value(xt).int_id() {
                    self.deactivate(pe, on, id);
                }
            }
            _ => {
                // With no VPE resident there is nobody to act for (RES-6, INS-17).
                if let Some(space) = on.space() {
                    self.execute_on(pe, space, insn, xt);
                }
            }
        }
    }

    /// The effect of an instruction that changes one field of an LPI or SPI.
    fn execute_on(&mut self, pe: usize, space: Space, insn: GicInsn, xt: u64) {
        match insn {
            GicInsn::GIC_CDEN | GicInsn::GIC_VDEN | GicInsn::GIC_CDDIS | GicInsn::GIC_VDDIS => {
                let Some(id) = IntIdOperand::new_with_raw_value(xt).int_id() else { return };
                let enable = matches!(insn, GicInsn::GIC_CDEN | GicInsn::GIC_VDEN);
                self.change_in(pe, space, id, |entry| entry.with_enable(enable));
            }
            GicInsn::GIC_CDPRI | GicInsn::GIC_VDPRI => {
                let operand = PriorityOperand::new_with_raw_value(xt);
                let Some(id) = operand.int_id() else { return };
                let irs = self.pes.get(pe).and_then(|state| self.config.irses.get(state.irs));
                let pri_bits = irs.and_then(|irs| irs.idr1.pri_bits().ok()).map_or(5, |bits| bits.count());
                let priority = operand.priority().keep_high_bits(pri_bits);
                self.change_in(pe, space, id, |entry| entry.with_priority(priority));
            }
            GicInsn::GIC_CDAFF | GicInsn::GIC_VDAFF => {
                let operand = AffinityOperand::new_with_raw_value(xt);
                let Some(id) = operand.int_id() else { return };
                // Without 1-of-N the routing mode is ignored (RTE-3).
                let targeted = |entry: L2_ISTE| entry.with_iaffid(operand.iaffid()).with_irm(RoutingMode::Targeted);
                self.change_in(pe, space, id, targeted);
            }
            GicInsn::GIC_CDPEND => {
                let operand = PendingOperand::new_with_raw_value(xt);
                let Some(id) = operand.int_id() else { return };
                self.set_pending(pe, space, id, operand.pending());
            }
            GicInsn::GIC_CDHM | GicInsn::GIC_VDHM => {
                let operand = HandlingModeOperand::new_with_raw_value(xt);
                let Some(id) = operand.int_id() else { return };
                self.change_in(pe, space, id, |entry| entry.with_hm(operand.hm()));
            }
            _ => {}
        }
    }

    fn set_pending(&mut self, pe: usize, space: Space, id: IrsIntId, pending: bool) {
        let switch = self.config.switches.set_pending;
        self.change_in(pe, space, id, |entry| set_pending(entry, pending, switch));
    }

    /// Deactivates (INS-5).
    fn deactivate(&mut self, pe: usize, on: Acted, interrupt: IntId) {
        let Some(space) = on.space() else { return };
        if let Acted::Virtual(Some((vm, vpe))) = on {
            let pe = PeIndex(pe as u16);
            self.report.event(|| Event::VirtualDeactivate { pe, vm, vpe, interrupt });
        }
        if let Ok(id) = IrsIntId::try_from(interrupt) {
            return self.change_in(pe, space, id, |entry| entry.with_active(false));
        }
        // A PPI belongs to the PE, and only the domain that owns it deactivates it (INS-7).
        if let IntId::Ppi(ppi) = interrupt {
            self.on_cpu(pe, |cpu| cpu.deactivate_ppi(on.side(), ppi));
        }
        self.show_signals(pe, on.side());
    }

    /// Answers a read-configuration in ICC_ICSR_EL1 (INS-12, INS-13): F=1 if the interrupt cannot be reached, or if there is
    /// no VPE to act for (INS-17).
    fn read_configuration(&mut self, pe: usize, by: Level, on: Acted, id: Option<IrsIntId>) {
        if on.space().is_none() && self.config.switches.residency.nobody == AnswerForNobody::OldAnswer {
            return;
        }
        let irs = self.pes.get(pe).map_or(0, |pe| pe.irs);
        let found = match (id, on.space()) {
            (Some(id), Some(space @ Space::Physical)) => {
                self.look_up(id).map_err(|why| self.unreachable(irs, space, id, why)).ok()
            }
            (Some(id), Some(Space::Vm(vm))) => self.look_up_virtual(irs, vm, id),
            _ => None,
        };
        let answer = match found {
            Some(entry) => ICC_ICSR_EL1::ZERO
                .with_iaffid(entry.iaffid())
                .with_priority(entry.priority())
                .with_hm(entry.hm())
                .with_active(entry.active())
                .with_irm(entry.irm())
                .with_pending(entry.pending())
                .with_enabled(entry.enable()),
            None => ICC_ICSR_EL1::ZERO.with_f(true),
        };
        let asker = match (by, on) {
            (Level::Host, _) => Some(Asker::Host),
            (Level::Guest, Acted::Virtual(Some((vm, vpe)))) => Some(Asker::Vpe(vm, vpe)),
            (Level::Guest, _) => None,
        };
        let early = self.config.switches.effects == Effects::Early;
        if let Some(state) = self.pes.get_mut(pe) {
            state.answer = Some((answer, asker));
            if early {
                state.take_answer();
            }
        }
    }

    // --- time ---------------------------------------------------------------------------------------------------

    fn advance(&mut self, ticks: u64) {
        self.report.clock.advance(ticks);
        self.memory.moment(&mut self.report);
        self.advance_to_now();
    }

    /// Lets everything happen that is due.
    pub(crate) fn advance_to_now(&mut self) {
        let now = self.report.now();
        if now >= self.next_effect {
            self.next_effect = Tick::NEVER;
            for pe in 0..self.pes.len() {
                self.complete_effects(pe, |due| due <= now);
                if let Some((due, _)) = self.pes.get(pe).and_then(|state| state.effects.front()) {
                    self.next_effect = self.next_effect.min(*due);
                }
            }
        }
        self.complete_commands();
    }

    // --- a PE's own registers -----------------------------------------------------------------------------------

    fn read_sysreg(&mut self, pe: PeIndex, level: Level, register: SysReg) -> u64 {
        self.advance_to_now();
        self.enter(pe, level);
        let Some(state) = self.pes.get(usize::from(pe.0)) else { return 0 };
        let value = match (state.cpu.fate_of_read(level, register), state.cpu.register(level, register)) {
            (Fate::Executes, Ok(found)) => {
                let value = state.cpu.read(found);
                self.judge_read(pe, level, register, found);
                value
            }
            (fate, _) => {
                self.not_executed(fate, Place::SysReg(pe, register), 0, format_args!("a read of {register} is"));
                0
            }
        };
        self.report.event(|| Event::SysRegRead { pe, register, value });
        value
    }

    fn write_sysreg(&mut self, pe: PeIndex, level: Level, register: SysReg, value: u64) {
        self.advance_to_now();
        self.enter(pe, level);
        let index = usize::from(pe.0);
        let guest = if level == Level::Guest { self.resident(index).map(|(vm, _)| vm) } else { None };
        let early = self.acts_early(index, guest);
        let Some(state) = self.pes.get(index) else { return };
        let fate = state.cpu.fate_of_write(level, register);
        let found = state.cpu.register(level, register);
        self.report.event(|| Event::SysRegWrite { pe, register, value });
        let (Fate::Executes, Ok(found)) = (fate, found) else {
            return self.not_executed(
                fate,
                Place::SysReg(pe, register),
                value,
                format_args!("a write of {register} is"),
            );
        };
        self.judge_write(pe, level, register, found, value);
        if let Some(state) = self.pes.get_mut(index) {
            match register.is_self_synchronising() {
                true => state.cpu.apply(found, value),
                false => state.cpu.write(found, value),
            }
        }
        if early {
            self.synchronise(index);
        }
        self.show_all_signals(index);
    }

    /// Lets every write act that has waited for it.
    fn synchronise(&mut self, pe: usize) {
        while let Some(state) = self.pes.get_mut(pe)
            && let Some((register, value)) = state.cpu.next_unsynchronised()
        {
            match register {
                Register::Contextr => {
                    self.change_context(pe, ICH_CONTEXTR_EL2::new_with_raw_value(value & CONTEXTR_FIELDS))
                }
                _ => {
                    self.on_cpu(pe, |cpu| cpu.apply(register, value));
                }
            }
        }
    }

    /// Whoever executes next on a PE is at this level.
    #[inline]
    fn enter(&mut self, pe: PeIndex, level: Level) {
        if self.pes.get(usize::from(pe.0)).is_some_and(|state| state.level != level) {
            self.change_level(pe, level);
        }
    }

    /// Exception entry and return, which synchronise the context.
    #[cold]
    fn change_level(&mut self, pe: PeIndex, level: Level) {
        let index = usize::from(pe.0);
        // A PPI that was deactivated belongs to the PE, so that whoever looks at its state next sees it.
        self.complete_up_to(index, |effect| match effect {
            Effect::Insn { insn: GicInsn::GIC_CDDI | GicInsn::GIC_VDDI, xt, .. } => {
                matches!(DeactivateOperand::new_with_raw_value(*xt).int_id(), Some(IntId::Ppi(_)))
            }
            _ => false,
        });
        self.synchronise_context(index);
        if let Some(state) = self.pes.get_mut(index) {
            state.level = level;
        }
        self.report.event(|| Event::Level { pe, level });
        if level == Level::Guest {
            self.judge_entry(index);
        }
        self.show_all_signals(index);
    }

    /// Completes a PE's effects up to the last one of a kind.
    fn complete_up_to(&mut self, pe: usize, last: impl Fn(&Effect) -> bool) {
        let Some(state) = self.pes.get_mut(pe) else { return };
        if let Some(last) = state.effects.iter().rposition(|(_, effect)| last(effect)) {
            let rest = state.effects.split_off(last + 1);
            self.complete_effects(pe, |_| true);
            if let Some(state) = self.pes.get_mut(pe) {
                state.effects = rest;
            }
        }
    }

    /// Context synchronisation: what an ISB does, and exception entry and return do too.
    fn synchronise_context(&mut self, pe: usize) {
        // A read-configuration needs no more than that (INS-12), so everything up to it completes.
        self.complete_up_to(pe, |effect| {
            matches!(effect, Effect::Insn { insn: GicInsn::GIC_CDRCFG | GicInsn::GIC_VDRCFG, .. })
        });
        self.synchronise(pe);
        if let Some(state) = self.pes.get_mut(pe) {
            state.take_answer();
            if let Some(virt) = state.cpu.el2_mut() {
                virt.remembered.context_written = None;
                virt.remembered.v3_written = false;
            }
        }
    }

    fn isb(&mut self, pe: PeIndex, level: Level) {
        self.advance_to_now();
        self.enter(pe, level);
        let index = usize::from(pe.0);
        self.synchronise_context(index);
        self.report.event(|| Event::Barrier { pe, barrier: Barrier::Isb });
        self.show_all_signals(index);
    }
}

/// A state after an instruction has set or cleared Pending (INS-9).
fn set_pending(entry: L2_ISTE, pending: bool, switch: SetPending) -> L2_ISTE {
    let entry = entry.with_pending(pending);
    match (switch, pending) {
        (SetPending::MakesEdge, true) => entry.with_hm(HandlingMode::Edge),
        _ => entry,
    }
}

impl PeState {
    /// ICC_ICSR_EL1 shows the answer that has come, if one has.
    fn take_answer(&mut self) {
        if let Some((answer, asker)) = self.answer.take() {
            self.cpu.set_icsr(answer);
            self.icsr_of = asker;
        }
    }
}

const CONTEXTR_FIELDS: u64 = fields_mask(ICH_CONTEXTR_EL2::FIELDS);

/// A machine. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Machine(Arc<Mutex<MachineState>>);

impl Machine {
    /// Builds a machine at reset.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the configuration is of no hardware that could exist, or that the model cannot be.
    pub fn new(config: MachineConfig) -> Result<Machine, ConfigError> {
        Ok(Machine(Arc::new(Mutex::new(MachineState::new(config)?))))
    }

    /// The state. Nothing in the model panics while it holds the lock; if an observer did, the state is still whole.
    pub(crate) fn state(&self) -> MutexGuard<'_, MachineState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of a PE, counted from 0 through all IRSs; `None` if there is none.
    #[must_use]
    pub fn pe(&self, pe: PeIndex) -> Option<ModelPe> {
        (usize::from(pe.0) < self.state().pes.len()).then(|| ModelPe { machine: self.clone(), pe, level: Level::Host })
    }

    /// The number of PEs.
    #[must_use]
    pub fn pe_count(&self) -> u16 {
        self.state().pes.len() as u16
    }

    /// The number of IRSs.
    #[must_use]
    pub fn irs_count(&self) -> u16 {
        self.state().irses.len() as u16
    }

    /// Copies the whole state.
    #[must_use]
    pub fn save(&self) -> MachineState {
        self.state().clone()
    }

    /// Puts a state back, of this machine or of another.
    pub fn restore(&self, state: MachineState) {
        *self.state() = state;
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.state().report.now()
    }

    /// Lets time pass.
    pub fn advance(&self, ticks: u64) {
        self.state().advance(ticks);
    }

    /// Moves the wire of an SPI. An SPI that no IRS owns has no wire.
    pub fn set_spi_wire(&self, spi: Spi, high: bool) {
        self.state().set_spi_wire(spi, high);
    }

    /// The level of an SPI's wire; `None` for an SPI that no IRS owns.
    #[must_use]
    pub fn spi_wire(&self, spi: Spi) -> Option<bool> {
        let state = self.state();
        state.owner(spi)?;
        state.wires.get(spi.id() as usize).map(|wire| wire.high)
    }

    /// Moves the wire of a PPI of a PE.
    pub fn set_ppi_wire(&self, pe: PeIndex, ppi: Ppi, high: bool) {
        self.state().set_ppi_wire(pe, ppi, high);
    }

    /// Sets SCTLR.NMI of the host of a PE: whether priority 0 is an NMI (INS-2).
    pub fn set_nmi(&self, pe: PeIndex, nmi: bool) {
        self.state().set_nmi(pe, Side::Physical, nmi);
    }

    /// Sets SCTLR_EL1.NMI of whichever guest runs on a PE (INS-2, HPPI-8).
    pub fn set_guest_nmi(&self, pe: PeIndex, nmi: bool) {
        self.state().set_nmi(pe, Side::Virtual, nmi);
    }

    /// The interrupt outputs of a PE.
    #[must_use]
    pub fn signals(&self, pe: PeIndex) -> Signals {
        self.state().pes.get(usize::from(pe.0)).map_or(Signals::default(), |pe| pe.signals)
    }

    /// The virtual interrupt outputs of a PE, for whichever guest runs on it (HPPI-8).
    #[must_use]
    pub fn virtual_signals(&self, pe: PeIndex) -> Signals {
        self.state().pes.get(usize::from(pe.0)).map_or(Signals::default(), |pe| pe.virtual_signals)
    }

    /// What the IRS offers a PE (HPPI-1).
    #[must_use]
    pub fn candidate(&self, pe: PeIndex) -> Option<(IrsIntId, Priority)> {
        self.state().pes.get(usize::from(pe.0))?.cpu.offered(Side::Physical)
    }

    /// The candidate of the resident VPE that the IRS has forwarded to a PE (RES-8).
    #[must_use]
    pub fn virtual_candidate(&self, pe: PeIndex) -> Option<(IrsIntId, Priority)> {
        self.state().pes.get(usize::from(pe.0))?.cpu.offered(Side::Virtual)
    }

    /// The VPE that is resident on a PE. `None` too when software has taken its VM away (RES-23).
    #[must_use]
    pub fn resident(&self, pe: PeIndex) -> Option<(VmId, VpeId)> {
        self.state().resident(usize::from(pe.0))
    }

    /// Makes the IRS offer this one of several equally urgent candidates of a PE: which one it offers is not fixed
    /// (HPPI-4), and a follower of another machine does as that one does. Returns false, and changes nothing, if the
    /// interrupt is not among the most urgent candidates of its target.
    pub fn prefer(&self, id: IrsIntId) -> bool {
        let state = &mut *self.state();
        let preferred = state.interrupts.prefer(id);
        if let Some(target) = preferred {
            state.offer(target);
        }
        preferred.is_some()
    }

    /// The physical IST: its address and its shape, as the IRS has taken them (IST-12, IST-28); `None` while none is valid.
    #[must_use]
    pub fn ist(&self) -> Option<(PhysAddr, IstGeometry)> {
        match self.state().interrupts.backing(IrsIntType::Lpi) {
            Backing::Ist(ist) => Some((ist.base, ist.geometry)),
            _ => None,
        }
    }

    /// What an acknowledge would take on a PE, NMI or not: the most urgent interrupt of sufficient priority, and its priority
    /// (HPPI-9).
    #[must_use]
    pub fn hppi(&self, pe: PeIndex) -> Option<(IntId, Priority)> {
        self.state().pes.get(usize::from(pe.0))?.cpu.hppi(Side::Physical)
    }

    /// What an acknowledge of the guest would take on a PE, NMI or not (HPPI-7).
    #[must_use]
    pub fn virtual_hppi(&self, pe: PeIndex) -> Option<(IntId, Priority)> {
        self.state().pes.get(usize::from(pe.0))?.cpu.hppi(Side::Virtual)
    }

    /// The state of an LPI or SPI of a VM, in the layout of an IST entry; `None` if it cannot be reached. Looking changes
    /// nothing.
    #[must_use]
    pub fn virtual_interrupt(&self, vm: VmId, id: IrsIntId) -> Option<L2_ISTE> {
        self.state().peek_virtual(vm, id)
    }

    /// The most urgent of a PE's own PPIs that are pending, enabled and not active (HPPI-3).
    #[must_use]
    pub fn ppi_candidate(&self, pe: PeIndex) -> Option<(Ppi, Priority)> {
        self.state().pes.get(usize::from(pe.0))?.cpu.ppi_candidate(Side::Physical)
    }

    /// Stores 64 bits anywhere in RAM as software does that owns the memory without having got it from this machine's
    /// allocator. The address is a multiple of 8.
    pub fn store_anywhere(&self, address: PhysAddr, value: u64) {
        let state = &mut *self.state();
        state.memory.store64(&mut state.report, address, value);
    }

    /// The state of an LPI or SPI, in the layout of an IST entry; `None` if it cannot be reached. Looking changes nothing.
    #[must_use]
    pub fn interrupt(&self, id: IrsIntId) -> Option<L2_ISTE> {
        let state = &mut *self.state();
        state.check_physical(id).ok()?;
        state.interrupts.peek(id, &mut state.memory).ok()
    }

    /// Puts an LPI or SPI into a state, whatever it was in: for following another machine whose state is known to differ.
    /// Returns false if it cannot be reached.
    pub fn set_interrupt(&self, id: IrsIntId, entry: L2_ISTE) -> bool {
        self.state().update(id, |_| entry).is_ok()
    }

    /// Hands out the violations so far, and starts anew.
    #[must_use]
    pub fn take_violations(&self) -> Vec<Violation> {
        self.state().report.checker.drain()
    }

    /// Starts observing: keeps the last `capacity` events until they are [taken](Self::take_events).
    pub fn observe(&self, capacity: usize) {
        self.state().report.log.observe(capacity);
    }

    /// Stops observing.
    pub fn ignore(&self) {
        self.state().report.log.ignore();
    }

    /// Hands out the events that have been kept since the last time, oldest first.
    #[must_use]
    pub fn take_events(&self) -> Vec<(Tick, Event)> {
        self.state().report.log.drain().collect()
    }

    /// The number of register commands so far, over all IRSs.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.state().irses.iter().map(IrsState::commands).sum()
    }
}

impl gicv5_hal::Irs for Machine {
    fn read32(&self, frame: Frame, offset: u16) -> u32 {
        self.state().read32(frame, offset)
    }

    fn write32(&self, frame: Frame, offset: u16, value: u32) {
        self.state().write32(frame, offset, value);
    }

    fn read64(&self, frame: Frame, offset: u16) -> u64 {
        self.state().read64(frame, offset)
    }

    fn write64(&self, frame: Frame, offset: u16, value: u64) {
        self.state().write64(frame, offset, value);
    }
}

impl Wait for Machine {
    /// One tick passes.
    fn relax(&self) {
        self.advance(1);
    }

    /// A tick is a microsecond.
    fn now(&self) -> Duration {
        Duration::from_micros(self.now().0)
    }
}

/// Whoever executes on one PE of a machine: the host at EL2 ([`Machine::pe`]), or a guest at EL1 ([`ModelPe::guest`]).
///
/// When the other one executes next, that is an exception entry or return: it synchronises the context as an ISB does, and
/// completes no effect of an instruction but that of a deactivated PPI.
#[derive(Clone, Debug)]
pub struct ModelPe {
    machine: Machine,
    pe: PeIndex,
    level: Level,
}

impl ModelPe {
    /// A PE of a machine. If there is none, it does nothing.
    pub(crate) fn at(machine: &Machine, pe: PeIndex) -> ModelPe {
        ModelPe { machine: machine.clone(), pe, level: Level::Host }
    }

    /// Which PE it is.
    #[must_use]
    pub const fn index(&self) -> PeIndex {
        self.pe
    }

    /// Who executes.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// The guest on this PE, at EL1 with HCR_EL2.IMO=1: the current domain of its instructions is the virtual one, and it
    /// reaches the `ICV_*` registers by the names of the `ICC_*` registers (GEN-5).
    ///
    /// What traps or is UNDEFINED is not executed: ask what becomes of it ([`fate_of_insn`](Self::fate_of_insn) and its kin),
    /// and do then what the hypervisor or the guest's exception handler does. To execute it nevertheless is reported, as
    /// [`CPU_2`] or [`CPU_1`].
    #[must_use]
    pub fn guest(&self) -> ModelPe {
        ModelPe { level: Level::Guest, ..self.clone() }
    }

    /// What becomes of a read of a register.
    #[must_use]
    pub fn fate_of_read(&self, register: SysReg) -> Fate {
        let state = self.machine.state();
        state.pes.get(usize::from(self.pe.0)).map_or(Fate::Undefined, |pe| pe.cpu.fate_of_read(self.level, register))
    }

    /// What becomes of a write of a register.
    #[must_use]
    pub fn fate_of_write(&self, register: SysReg) -> Fate {
        let state = self.machine.state();
        state.pes.get(usize::from(self.pe.0)).map_or(Fate::Undefined, |pe| pe.cpu.fate_of_write(self.level, register))
    }

    /// What becomes of an instruction (INS-20).
    #[must_use]
    pub fn fate_of_insn(&self, insn: GicInsn) -> Fate {
        self.machine.state().fate_of_insn(self.pe, self.level, insn)
    }

    /// The machine it belongs to.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }
}

impl PeOps for ModelPe {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        self.machine.state().read_sysreg(self.pe, self.level, register)
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        self.machine.state().write_sysreg(self.pe, self.level, register, value);
    }

    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        self.machine.state().gic(self.pe, self.level, insn, xt)
    }

    fn isb(&self) {
        self.machine.state().isb(self.pe, self.level);
    }

    fn dsb(&self) {
        let state = &mut *self.machine.state();
        state.enter(self.pe, self.level);
        state.report.event(|| Event::Barrier { pe: self.pe, barrier: Barrier::Dsb });
        state.memory.barrier(&mut state.report);
    }
}

impl gicv5_hal::CurrentPe for ModelPe {
    type Ops = ModelPe;

    fn on_this_pe<R>(&self, f: impl FnOnce(&gicv5_hal::Pe<'_, ModelPe>) -> R) -> R {
        f(&gicv5_hal::Pe::new(self))
    }
}
