//! The state of a machine, as a value.
//!
//! Only the engine has all of it at hand; each part of it changes by itself and returns what that demands of the others.

use std::collections::VecDeque;

use gicv5_arch::{Iaffid, Spi};
use gicv5_hal::IrsIndex;

use crate::cpu::Cpu;
use crate::engine::pe_state::{PeState, Taking};
use crate::memory::Memory;
use crate::parts::access_log::AccessLog;
use crate::parts::fault_plan::FaultPlan;
use crate::parts::interrupts::{Backing, Interrupts};
use crate::parts::irs_registers::{IrsState, IstRegisters};
use crate::parts::irs_side::IrsSide;
use crate::parts::lpi_books::LpiBooks;
use crate::parts::vms::Vms;
use crate::parts::wires::Wire;
use crate::words::clock::{Clock, Tick};
use crate::words::config::{ConfigError, MachineConfig};
use crate::words::cpu::{Level, Signals};
use crate::words::report::Report;
use gicv5_random::Rng;

/// The whole state of a machine, as a value.
#[derive(Clone, PartialEq, Debug)]
pub struct MachineState {
    pub(crate) config: MachineConfig,
    pub(crate) report: Report,
    pub(crate) memory: Memory,
    pub(crate) rng: Rng,
    pub(crate) interrupts: Interrupts,
    pub(crate) ist: IstRegisters,
    pub(crate) virt: Vms,
    pub(crate) wires: Vec<Wire>,
    pub(crate) irses: Vec<IrsState>,
    pub(crate) pes: Vec<PeState>,
    /// PE by affinity ID.
    pub(crate) by_iaffid: Vec<Option<u16>>,
    pub(crate) faults: FaultPlan,
    pub(crate) lpis: LpiBooks,
    pub(crate) accesses: AccessLog,
    /// When the next effect of any PE comes by itself; a bound, not exact.
    pub(crate) next_effect: Tick,
    /// When the next command completes; a bound, not exact.
    pub(crate) next_command: Tick,
}

impl MachineState {
    /// Whether the interrupt hardware is in the same state, whatever the time is, what software has been told, what the checker
    /// remembers of software (INS-14, SYN-3) and what there is in memory.
    pub(crate) fn is_same_hardware(&self, other: &MachineState) -> bool {
        let is_same_pe = |(one, other): (&PeState, &PeState)| {
            *one == PeState { icsr_of: one.icsr_of, taking: one.taking, ..other.clone() }
        };
        let pes = self.pes.len() == other.pes.len() && self.pes.iter().zip(&other.pes).all(is_same_pe);
        let irses = self.irses.len() == other.irses.len()
            && self.irses.iter().zip(&other.irses).all(|(one, other)| one.is_same_state(other));
        (&self.interrupts, &self.ist, &self.virt, &self.wires)
            == (&other.interrupts, &other.ist, &other.virt, &other.wires)
            && pes
            && irses
    }

    pub(crate) fn new(config: MachineConfig) -> Result<MachineState, ConfigError> {
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
                    taking: [Taking::default(); 2],
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
            virt: Vms::default(),
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

    /// Memory as an IRS sees it.
    pub(crate) fn side(&mut self, irs: IrsIndex) -> IrsSide<'_> {
        IrsSide { irs, memory: &mut self.memory, report: &mut self.report }
    }

    /// The physical interrupts, and memory as the IRS sees it that owns their IST: each IST knows which that is.
    pub(crate) fn physical(&mut self) -> (&mut Interrupts, IrsSide<'_>) {
        let side = IrsSide { irs: IrsIndex(0), memory: &mut self.memory, report: &mut self.report };
        (&mut self.interrupts, side)
    }

    /// The VMs, memory as the IRS sees it that owns what belongs to them, and how the machine is made.
    #[inline]
    pub(crate) fn vms(&mut self) -> (&mut Vms, IrsSide<'_>, &MachineConfig) {
        let side = IrsSide { irs: self.virt.irs(), memory: &mut self.memory, report: &mut self.report };
        (&mut self.virt, side, &self.config)
    }

    /// The IRS that a PE is attached to.
    #[inline]
    pub(super) fn irs_of(&self, pe: usize) -> usize {
        self.pes.get(pe).map_or(0, |pe| pe.irs)
    }

    /// The IRS that owns an SPI.
    pub(crate) fn owner(&self, spi: Spi) -> Option<usize> {
        self.wires.get(spi.id() as usize)?.irs.map(usize::from)
    }

    /// The PE with an affinity ID.
    pub(super) fn pe_with(&self, iaffid: Iaffid) -> Option<usize> {
        self.by_iaffid.get(usize::from(iaffid.raw_value())).copied().flatten().map(usize::from)
    }
}
