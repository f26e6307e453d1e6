//! Coming up and going down.

use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use gicv5_arch::irs::{IRS_CR0, IRS_CR1, IRS_IST_BASER, IRS_IST_CFGR, IRS_VMT_BASER, IrsReg};
use gicv5_arch::register::Register;
use gicv5_arch::{Iaffid, Priority, Spi};
use gicv5_hal::{IrsExt, IrsIndex, Lock, Platform};

use crate::command::{CommandError, MyTurn, Port, PortKind, Ports, Step, Turn};
use crate::config::{Config, IstProgramming, LiveTables};
use crate::gate::{Gates, OutOfMemory, boxed_slice};
use crate::ids::LpiIds;
use crate::ist::{self, Draft, Lease, TableError};
use crate::pe::PeRecord;
use crate::probe::{self, Domain, ProbeError};
use crate::{BlockOf, MutexOf};

/// One IRS of the domain.
pub(crate) struct IrsUnit {
    pub(crate) index: IrsIndex,
    pub(crate) ports: Ports,
    /// The SPIs it owns.
    pub(crate) spis: Range<u32>,
    /// Whether it has a VM table.
    pub(crate) virt: bool,
    /// Whether it has 1-of-N routing.
    pub(crate) one_n: bool,
    pub(crate) iaffid_bits: u32,
    pub(crate) attributes: IRS_CR1,
}

/// What stays the same from probe to the end.
pub(crate) struct Machine<H: Platform> {
    pub(crate) host: H,
    pub(crate) domain: Domain,
    pub(crate) timeout: Duration,
}

impl<H: Platform> Machine<H> {
    /// Takes a port of an IRS and waits until nothing is under way on it.
    pub(crate) fn port<'a>(
        &'a self,
        irs: &'a IrsUnit,
        kind: PortKind,
        step: Step,
    ) -> Result<Port<'a, H>, CommandError> {
        irs.ports.take(&self.host, self.timeout, kind, step)
    }

    /// Waits for the turn.
    pub(crate) fn my_turn<'a>(&self, turn: &'a Turn) -> Option<MyTurn<'a>> {
        turn.take(self.host.wait(), self.timeout)
    }
}

/// What the driver has done to the IRSs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing, or it has all been undone.
    Down,
    /// Something: a bring-up or a tear-down is under way, or could not be finished. What the IRSs may still touch is held.
    Partial,
    /// Everything.
    Up,
}

/// What one lock protects.
pub(crate) struct Core<B> {
    pub(crate) phase: Phase,
    pub(crate) lease: Option<Lease<B>>,
    pub(crate) ids: LpiIds,
    /// LPIs that somebody outside the driver has.
    pub(crate) lent: u32,
    pub(crate) pes: Box<[PeRecord]>,
}

/// The physical driver of one interrupt domain.
///
/// It is shared by all PEs; every method takes `&self`. What may be called from where is in the documentation of each
/// method, and in the [crate's](crate).
///
/// Dropping it touches no hardware. If it is not [down](Phase::Down), the IST stays in use by the IRSs and its blocks are
/// dropped, which frees nothing: the memory is lost, because giving it back would be worse. So call
/// [`tear_down`](Self::tear_down) first and look at the result.
pub struct Phys<H: Platform> {
    pub(crate) machine: Machine<H>,
    pub(crate) settings: Settings,
    pub(crate) gates: Gates,
    pub(crate) core: MutexOf<H, Core<BlockOf<H>>>,
    /// One word for each kind of IPI of each PE: the LPI, and [`IPI_UP`](crate::ipi::IPI_UP) while the PE takes IPIs.
    pub(crate) ipis: Box<[AtomicU32]>,
    pub(crate) strays: AtomicU64,
    /// Bring-up and tear-down, of the domain or of a PE, happen one at a time.
    pub(crate) turn: Turn,
}

/// The part of the configuration that is looked at later.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) ipi_kinds: u8,
    pub(crate) priority: Priority,
    pub(crate) ipi_priority: Priority,
    pub(crate) priority_mask: Priority,
    live_tables: LiveTables,
    ist_programming: IstProgramming,
}

/// Why the driver could not come up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BringUpCause {
    /// It is up already.
    #[error("the driver is up already")]
    AlreadyUp,
    /// Another PE is bringing it up or tearing it down.
    #[error("another PE is bringing the driver up or tearing it down")]
    Contended,
    /// What an earlier attempt left behind is still not settled.
    #[error("what an earlier attempt left behind is not settled")]
    NotSettled(#[source] CommandError),
    /// A table is in use that is not the driver's, and the configuration says to leave it alone.
    #[error("{irs}: {register} reads {value:#x}: a table of earlier software is in use")]
    LiveTable {
        /// The IRS.
        irs: IrsIndex,
        /// IRS_IST_BASER or IRS_VMT_BASER.
        register: IrsReg,
        /// What it reads.
        value: u64,
    },
    /// There is no memory for the IST.
    #[error("there is no memory for the IST")]
    Table(#[from] TableError),
    /// An IRS did not do what it was asked to.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// The driver could not come up, and what became of what had been done till then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the driver could not come up: {cause}; {}", match cleanup {
    Ok(()) => "everything is as before",
    Err(_) => "undoing it failed too, what an IRS may still touch is held",
})]
pub struct BringUpError {
    /// Why.
    pub cause: BringUpCause,
    /// Whether everything was undone. If not, the driver is [partly](Phase::Partial) up; [`Phys::reclaim`],
    /// [`Phys::tear_down`] and the next [`Phys::bring_up`] try again.
    pub cleanup: Result<(), CommandError>,
}

/// Why the driver could not be torn down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TearDownError {
    /// Somebody still has LPIs. Nothing was done.
    #[error("{lent} LPIs are still in use")]
    LpisInUse {
        /// How many.
        lent: u32,
    },
    /// A PE still takes interrupts. Nothing was done.
    #[error("the PE with affinity ID {} is still up", iaffid.raw_value())]
    PeUp {
        /// Its affinity ID.
        iaffid: Iaffid,
    },
    /// Another PE is bringing the driver up or tearing it down.
    #[error("another PE is bringing the driver up or tearing it down")]
    Contended,
    /// An IRS did not do what it was asked to. The driver is [partly](Phase::Partial) up, what the IRSs may still touch is
    /// held, and trying again is allowed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// What the driver holds of the host's, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// How far up it is.
    pub phase: Phase,
    /// Bytes of table memory that an IRS may touch. If the phase is not [`Phase::Up`], they are in quarantine.
    pub table_bytes: u64,
    /// LPIs that somebody outside the driver has.
    pub lpis: u32,
    /// A command that timed out and is still under way, the first if there are several.
    pub unknown: Option<(IrsIndex, Step)>,
}

impl<H: Platform> Phys<H> {
    /// Looks at the hardware, and makes the driver's own records. Reads ID registers of the IRSs and of the current PE;
    /// writes nothing.
    ///
    /// Never waits; allocates. To be called where the host may allocate.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] for hardware that cannot be, for an IST that it cannot have, and if there is no memory. `host` is
    /// dropped then.
    pub fn new(host: H, config: &Config<'_>) -> Result<Phys<H>, ProbeError> {
        let domain = probe::probe(&host, config)?;
        Phys::with_domain(host, domain, config).map_err(|OutOfMemory| ProbeError::NoMemory)
    }

    fn with_domain(host: H, domain: Domain, config: &Config<'_>) -> Result<Phys<H>, OutOfMemory> {
        let pes = boxed_slice(domain.pes as usize, PeRecord::default)?;
        let ipis = boxed_slice(pes.len() * usize::from(config.ipi_kinds), AtomicU32::default)?;
        let ids = LpiIds::new(domain.lpis)?;
        let gates = Gates::new(domain.lpis)?;
        let keep = |priority: Priority| priority.keep_high_bits(domain.priority_bits);
        let settings = Settings {
            ipi_kinds: config.ipi_kinds,
            priority: keep(config.priority),
            ipi_priority: keep(config.ipi_priority),
            priority_mask: config.priority_mask,
            live_tables: config.live_tables,
            ist_programming: config.ist_programming,
        };
        let core = Lock::new(Core { phase: Phase::Down, lease: None, ids, lent: 0, pes });
        let machine = Machine { host, domain, timeout: config.timeout };
        Ok(Phys { machine, settings, gates, core, ipis, strays: AtomicU64::new(0), turn: Turn::default() })
    }

    /// Brings the domain up: memory attributes, IST, IRSs enabled. PEs follow one by one, by
    /// [`bring_up_pe`](Self::bring_up_pe).
    ///
    /// If anything fails, what was done is undone by the same code that tears the driver down, and the call may be
    /// repeated. What an earlier attempt left behind is settled first.
    ///
    /// Waits for the IRSs and allocates; not from an interrupt handler, nor with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`BringUpError`] with the cause, and what became of the rest.
    pub fn bring_up(&self) -> Result<(), BringUpError> {
        let undone = |cause| BringUpError { cause, cleanup: Ok(()) };
        let _turn = self.machine.my_turn(&self.turn).ok_or(undone(BringUpCause::Contended))?;
        match self.phase() {
            Phase::Up => return Err(undone(BringUpCause::AlreadyUp)),
            Phase::Down => {}
            Phase::Partial => {
                if let Err(error) = self.undo() {
                    let cause = BringUpCause::NotSettled(error);
                    return Err(BringUpError { cause, cleanup: Err(error) });
                }
            }
        }
        self.build().map_err(|cause| BringUpError { cause, cleanup: self.undo() })
    }

    /// Everything that bring-up does. On the way the phase is what the hardware needs to be undone.
    fn build(&self) -> Result<(), BringUpCause> {
        let Machine { host, domain, .. } = &self.machine;
        for irs in &domain.irss {
            self.find_live_tables(irs)?;
        }
        let draft = match domain.ist {
            Some(geometry) => Some(Draft::allocate(host.memory(), geometry, domain.highest)?),
            None => None,
        };

        // From the next write on there is something to undo; the draft counts as lent from here, although it is named
        // only later.
        let registers = draft.map(|draft| {
            let lease = draft.lend();
            let registers = (lease.cfgr(), lease.baser());
            self.core.with(|core| core.lease = Some(lease));
            registers
        });
        self.core.with(|core| core.phase = Phase::Partial);

        for irs in &domain.irss {
            self.set_enabled(irs, false)?;
            self.clear_live_tables(irs)?;
        }
        for irs in &domain.irss {
            // No structure is valid now, so this write counts (GEN-20).
            host.irs().write(irs.index, irs.attributes);
        }
        if let Some((cfgr, baser)) = registers {
            self.make_ist_valid(cfgr, baser)?;
        }
        for irs in &domain.irss {
            self.set_enabled(irs, true)?;
        }
        self.core.with(|core| core.phase = Phase::Up);
        Ok(())
    }

    /// Refuses tables in use that are not the driver's, if so configured, before anything has been touched.
    fn find_live_tables(&self, irs: &IrsUnit) -> Result<(), BringUpCause> {
        if self.settings.live_tables == LiveTables::TakeOver {
            return Ok(());
        }
        let port = self.machine.port(irs, PortKind::Ist, Step::MakeIstValid)?;
        let ist: IRS_IST_BASER = port.read();
        if ist.valid() {
            return Err(live(irs, ist));
        }
        if irs.virt {
            let port = self.machine.port(irs, PortKind::Vmt, Step::ClearVmTable)?;
            let table: IRS_VMT_BASER = port.read();
            if table.valid() {
                return Err(live(irs, table));
            }
        }
        Ok(())
    }

    /// Makes tables in use invalid. Their memory stays whose it was.
    fn clear_live_tables(&self, irs: &IrsUnit) -> Result<(), CommandError> {
        let port = self.machine.port(irs, PortKind::Ist, Step::WithdrawIst)?;
        if port.read::<IRS_IST_BASER>().valid() {
            port.write(Step::WithdrawIst, IRS_IST_BASER::ZERO)?;
            let found: IRS_IST_BASER = port.read();
            if found.valid() {
                return Err(port.no_effect(Step::WithdrawIst, found, IRS_IST_BASER::ZERO));
            }
        }
        if irs.virt {
            let port = self.machine.port(irs, PortKind::Vmt, Step::ClearVmTable)?;
            if port.read::<IRS_VMT_BASER>().valid() {
                port.write(Step::ClearVmTable, IRS_VMT_BASER::ZERO)?;
                let found: IRS_VMT_BASER = port.read();
                if found.valid() {
                    return Err(port.no_effect(Step::ClearVmTable, found, IRS_VMT_BASER::ZERO));
                }
            }
        }
        Ok(())
    }

    /// Gives the IRSs the IST they share.
    fn make_ist_valid(&self, cfgr: IRS_IST_CFGR, baser: IRS_IST_BASER) -> Result<(), CommandError> {
        let Machine { host, domain, .. } = &self.machine;
        let step = Step::MakeIstValid;
        let irss = match self.settings.ist_programming {
            IstProgramming::EveryIrs => domain.irss.len(),
            IstProgramming::FirstIrs => 1,
        };
        for irs in domain.irss.iter().take(irss) {
            let port = self.machine.port(irs, PortKind::Ist, step)?;
            if port.read::<IRS_IST_BASER>() == baser {
                // Programming an IRS before this one took effect here as well.
                continue;
            }
            host.irs().write(irs.index, cfgr);
            let found: IRS_IST_CFGR = port.read();
            if found != cfgr {
                // The IRS would walk a table of another shape than was allocated (IST-28).
                return Err(port.no_effect(step, found, cfgr));
            }
            port.write(step, baser)?;
            let found: IRS_IST_BASER = port.read();
            if found != baser {
                return Err(port.no_effect(step, found, baser));
            }
        }
        Ok(())
    }

    /// Enables or disables an IRS, if it is not so already (GEN-21).
    fn set_enabled(&self, irs: &IrsUnit, enabled: bool) -> Result<(), CommandError> {
        let step = if enabled { Step::EnableIrs } else { Step::DisableIrs };
        let port = self.machine.port(irs, PortKind::Cr0, step)?;
        if port.read::<IRS_CR0>().irsen() == enabled {
            return Ok(());
        }
        let written = IRS_CR0::ZERO.with_irsen(enabled);
        port.write(step, written)?;
        let found: IRS_CR0 = port.read();
        if found.irsen() != enabled {
            return Err(port.no_effect(step, found, written));
        }
        Ok(())
    }

    /// Takes the domain down: IRSs disabled, IST withdrawn, all table memory given back. Does nothing if it is down.
    ///
    /// All LPIs must have been [released](gicv5_hal::HostLpis::release) or [abandoned](Self::abandon), and all PEs
    /// [taken out](Self::bring_down_pe). If an IRS does not answer, what it may still touch is held and the call may be
    /// repeated any number of times.
    ///
    /// Waits for the IRSs and frees memory; not from an interrupt handler, nor with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`TearDownError`], with the state unchanged or [partial](Phase::Partial).
    pub fn tear_down(&self) -> Result<(), TearDownError> {
        let _turn = self.machine.my_turn(&self.turn).ok_or(TearDownError::Contended)?;
        self.core.with(|core| {
            if core.lent > 0 {
                return Err(TearDownError::LpisInUse { lent: core.lent });
            }
            if let Some(iaffid) = core.pes.iter().find_map(PeRecord::is_up) {
                return Err(TearDownError::PeUp { iaffid });
            }
            if core.phase == Phase::Up {
                // No LPI is handed out any more.
                core.phase = Phase::Partial;
            }
            Ok(())
        })?;
        Ok(self.undo()?)
    }

    /// Finishes what an earlier bring-up or tear-down could not finish, if the IRSs answer by now. Returns the phase; does
    /// nothing unless it was [`Phase::Partial`].
    ///
    /// A command that timed out is not waited for: this returns at once if it is still under way. Otherwise as
    /// [`tear_down`](Self::tear_down).
    ///
    /// # Errors
    ///
    /// [`CommandError`] that says what is still not done.
    pub fn reclaim(&self) -> Result<Phase, CommandError> {
        let Some(_turn) = self.turn.take(self.machine.host.wait(), Duration::ZERO) else {
            // Whoever has the turn is at it.
            return Ok(self.phase());
        };
        if self.phase() == Phase::Partial {
            self.undo()?;
        }
        Ok(self.phase())
    }

    /// The one teardown, from any state, any number of times.
    fn undo(&self) -> Result<(), CommandError> {
        if self.phase() == Phase::Down {
            return Ok(());
        }
        for irs in &self.machine.domain.irss {
            self.set_enabled(irs, false)?;
        }
        let proof = ist::withdraw(&self.machine)?;
        let lease = self.core.with(|core| {
            for pe in &mut core.pes {
                pe.forget();
            }
            core.ids.clear();
            core.phase = Phase::Down;
            core.lease.take()
        });
        for ipi in &self.ipis {
            if let Some(gate) = crate::ipi::lpi_of(ipi.swap(0, Ordering::Relaxed)).and_then(|lpi| self.gates.get(lpi)) {
                gate.close();
            }
        }
        if let Some(lease) = lease {
            lease.end(proof).free(self.machine.host.memory());
        }
        Ok(())
    }

    /// How far up the driver is. Never waits.
    pub fn phase(&self) -> Phase {
        self.core.with(|core| core.phase)
    }

    /// What the driver holds. Never waits; takes a lock, so not from an interrupt handler.
    pub fn holdings(&self) -> Holdings {
        let Machine { host, domain, .. } = &self.machine;
        let unknown = domain.irss.iter().find_map(|irs| irs.ports.unknown(host).map(|step| (irs.index, step)));
        self.core.with(|core| Holdings {
            phase: core.phase,
            table_bytes: core.lease.as_ref().map_or(0, Lease::bytes),
            lpis: core.lent,
            unknown,
        })
    }

    /// The number of priority bits that count in this domain, 1 to 5: the smaller of what the IRSs and the CPU interface
    /// have (GEN-12). Lower bits of a priority are lost (PRI-2).
    pub fn priority_bits(&self) -> u32 {
        self.machine.domain.priority_bits
    }

    /// The IRS that owns an SPI (SPI-1).
    pub(crate) fn irs_of(&self, spi: Spi) -> Option<&IrsUnit> {
        self.machine.domain.irss.iter().find(|irs| irs.spis.contains(&spi.id()))
    }
}

fn live<R: Register<Reg = IrsReg>>(irs: &IrsUnit, register: R) -> BringUpCause {
    BringUpCause::LiveTable { irs: irs.index, register: R::REG, value: register.to_bits() }
}

impl<H: Platform> fmt::Debug for Phys<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phys").field("holdings", &self.holdings()).finish_non_exhaustive()
    }
}
