//! Coming up and going down.

use core::error::Error;
use core::fmt;
use core::sync::atomic::Ordering;

use gicv5_arch::Iaffid;
use gicv5_arch::irs::{IRS_CR0, IRS_IST_BASER, IRS_IST_CFGR, IRS_VMT_BASER, IrsReg};
use gicv5_arch::register::Register;
use gicv5_hal::{IrsExt, IrsIndex, Lock, Platform};

use crate::config::{IstProgramming, LiveTables};
use crate::driver::phys::{Phase, Phys};
use crate::ipi::word::lpi_of;
use crate::lpi::ist::{self, Ist, registers};
use crate::machine::{IrsUnit, Machine};
use crate::pe::record::PeRecord;
use gicv5_irs::command::{Command, CommandError, Fault};
use gicv5_irs::command_port::PortKind;
use gicv5_irs::lease::{Part, Structure, TableError};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BringUpError {
    /// Why.
    pub cause: BringUpCause,
    /// Whether everything was undone. If not, the driver is [partly](Phase::Partial) up; [`Phys::reclaim`],
    /// [`Phys::tear_down`] and the next [`Phys::bring_up`] try again.
    pub cleanup: Result<(), CommandError>,
}

impl BringUpError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match &self.cause {
            BringUpCause::AlreadyUp | BringUpCause::LiveTable { .. } => Fault::Caller,
            BringUpCause::Contended => Fault::Busy,
            BringUpCause::Table(error) => error.fault(),
            BringUpCause::NotSettled(error) | BringUpCause::Command(error) => error.fault(),
        }
    }
}

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the driver could not come up: {}; ", self.cause)?;
        match (&self.cause, &self.cleanup) {
            (_, Ok(())) => f.write_str("everything is as before"),
            // The source says what.
            (BringUpCause::NotSettled(_), Err(_)) => f.write_str("what an IRS may still touch is held"),
            (_, Err(error)) => write!(f, "undoing it failed too ({error}), what an IRS may still touch is held"),
        }
    }
}

/// What is behind the cause, which the message has already.
impl Error for BringUpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
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
    /// A hypervisor's VM table is in use. Nothing was done.
    #[error("{irs}: IRS_VMT_BASER reads {value:#x}: a VM table is in use; shut the hypervisor's host down first")]
    VmTableInUse {
        /// The IRS.
        irs: IrsIndex,
        /// What IRS_VMT_BASER reads.
        value: u64,
    },
    /// Another PE is bringing the driver up or tearing it down.
    #[error("another PE is bringing the driver up or tearing it down")]
    Contended,
    /// An IRS did not do what it was asked to. The driver is [partly](Phase::Partial) up, what the IRSs may still touch is
    /// held, and trying again is allowed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl TearDownError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            TearDownError::LpisInUse { .. } | TearDownError::PeUp { .. } | TearDownError::VmTableInUse { .. } => {
                Fault::Caller
            }
            TearDownError::Contended => Fault::Busy,
            TearDownError::Command(error) => error.fault(),
        }
    }
}

impl<H: Platform> Phys<H> {
    /// Brings the domain up: memory attributes, IST, IRSs enabled, and SPIs in a known state: disabled, inactive, the
    /// host's, with the configured priority. An SPI's trigger mode is unknown until
    /// [`set_trigger`](Self::set_trigger) has set it. PEs follow one by one, by
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
        self.machine.domain.block_on(self.come_up())
    }

    async fn come_up(&self) -> Result<(), BringUpError> {
        let undone = |cause| BringUpError { cause, cleanup: Ok(()) };
        let _turn = self.machine.my_turn(&self.turn).await.ok_or(undone(BringUpCause::Contended))?;
        match self.phase() {
            Phase::Up => return Err(undone(BringUpCause::AlreadyUp)),
            Phase::Down => {}
            Phase::Partial => {
                if let Err(error) = self.undo().await {
                    let cause = BringUpCause::NotSettled(error);
                    return Err(BringUpError { cause, cleanup: Err(error) });
                }
            }
        }
        match self.build().await {
            Ok(()) => Ok(()),
            Err(cause) => Err(BringUpError { cause, cleanup: self.undo().await }),
        }
    }

    /// Everything that bring-up does. On the way the phase is what the hardware needs to be undone.
    async fn build(&self) -> Result<(), BringUpCause> {
        let Machine { domain, found, .. } = &self.machine;
        for irs in &found.irss {
            self.find_live_tables(irs).await?;
        }
        // From the next write on there is something to undo; the IST counts as lent from here, although it is named only
        // later.
        let mut names = None;
        if let Some(geometry) = found.ist {
            let mut ist = Part::Draft(Ist::allocate(domain, geometry)?);
            names = ist.lend().and_then(registers);
            self.core.with(|core| core.ist = ist);
        }
        self.core.with(|core| core.phase = Phase::Partial);

        for irs in &found.irss {
            self.set_enabled(irs, false).await?;
            self.clear_live_tables(irs).await?;
        }
        for irs in &found.irss {
            // No structure is valid now, so this write counts (GEN-20).
            domain.platform.irs().write(irs.index, irs.attributes);
        }
        if let Some((cfgr, baser)) = names {
            self.make_ist_valid(cfgr, baser).await?;
        }
        for irs in &found.irss {
            self.set_enabled(irs, true).await?;
        }
        self.reset_spis().await?;
        self.core.with(|core| core.phase = Phase::Up);
        Ok(())
    }

    /// Refuses tables in use that are not the driver's, if so configured, before anything has been touched.
    async fn find_live_tables(&self, irs: &IrsUnit<H>) -> Result<(), BringUpCause> {
        if self.settings.live_tables == LiveTables::TakeOver {
            return Ok(());
        }
        let port = self.machine.port(irs, PortKind::Ist, Command::MakePhysicalIstValid).await?;
        let ist: IRS_IST_BASER = port.read();
        if ist.valid() {
            return Err(live(irs, ist));
        }
        if irs.virt {
            let port = self.machine.port(irs, PortKind::Vmt, Command::WithdrawTable).await?;
            let table: IRS_VMT_BASER = port.read();
            if table.valid() {
                return Err(live(irs, table));
            }
        }
        Ok(())
    }

    /// Makes tables in use invalid. Their memory stays whose it was.
    async fn clear_live_tables(&self, irs: &IrsUnit<H>) -> Result<(), CommandError> {
        let mut port = self.machine.port(irs, PortKind::Ist, Command::WithdrawIst).await?;
        if port.read::<IRS_IST_BASER>().valid() {
            port.issue(Command::WithdrawIst, IRS_IST_BASER::ZERO).await?;
            let found: IRS_IST_BASER = port.read();
            if found.valid() {
                return Err(port.register_says(Command::WithdrawIst, found));
            }
        }
        if irs.virt {
            let mut port = self.machine.port(irs, PortKind::Vmt, Command::WithdrawTable).await?;
            if port.read::<IRS_VMT_BASER>().valid() {
                port.issue(Command::WithdrawTable, IRS_VMT_BASER::ZERO).await?;
                let found: IRS_VMT_BASER = port.read();
                if found.valid() {
                    return Err(port.register_says(Command::WithdrawTable, found));
                }
            }
        }
        Ok(())
    }

    /// Gives the IRSs the IST they share.
    async fn make_ist_valid(&self, cfgr: IRS_IST_CFGR, baser: IRS_IST_BASER) -> Result<(), CommandError> {
        let Machine { found, .. } = &self.machine;
        let step = Command::MakePhysicalIstValid;
        let irss = match self.settings.ist_programming {
            IstProgramming::EveryIrs => found.irss.len(),
            IstProgramming::FirstIrs => 1,
        };
        for irs in found.irss.iter().take(irss) {
            let mut port = self.machine.port(irs, PortKind::Ist, step).await?;
            if port.read::<IRS_IST_BASER>() == baser {
                // Programming an IRS before this one took effect here as well.
                continue;
            }
            port.write(cfgr);
            let found: IRS_IST_CFGR = port.read();
            if found != cfgr {
                // The IRS would walk a table of another shape than was allocated (IST-28).
                return Err(port.register_says(step, found));
            }
            port.issue(step, baser).await?;
            let found: IRS_IST_BASER = port.read();
            if found != baser {
                return Err(port.register_says(step, found));
            }
        }
        Ok(())
    }

    /// Enables or disables an IRS, if it is not so already (GEN-21).
    async fn set_enabled(&self, irs: &IrsUnit<H>, enabled: bool) -> Result<(), CommandError> {
        let step = if enabled { Command::EnableIrs } else { Command::DisableIrs };
        let mut port = self.machine.port(irs, PortKind::Cr0, step).await?;
        if port.read::<IRS_CR0>().irsen() == enabled {
            return Ok(());
        }
        let written = IRS_CR0::ZERO.with_irsen(enabled);
        port.issue(step, written).await?;
        let found: IRS_CR0 = port.read();
        if found.irsen() != enabled {
            return Err(port.register_says(step, found));
        }
        Ok(())
    }

    /// Takes the domain down: SPIs and IRSs disabled, IST withdrawn, all table memory given back. Does nothing if it is down.
    ///
    /// All LPIs must have been [released](gicv5_hal::HostLpis::release) or [abandoned](Self::abandon), and all PEs
    /// [taken out](Self::bring_down_pe); no hypervisor may have a VM table. If an IRS does not answer, what it may still touch is held and the call may be
    /// repeated any number of times.
    ///
    /// Waits for the IRSs and frees memory; not from an interrupt handler, nor with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`TearDownError`], with the state unchanged or [partial](Phase::Partial).
    pub fn tear_down(&self) -> Result<(), TearDownError> {
        let domain = &self.machine.domain;
        let _turn = domain.block_on(self.machine.my_turn(&self.turn)).ok_or(TearDownError::Contended)?;
        if self.phase() == Phase::Up {
            self.no_vm_table_in_use()?;
        }
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
        Ok(domain.block_on(self.undo())?)
    }

    /// Bring-up has left no VM table valid, so one that is valid is of a hypervisor above, whose doorbells are LPIs of this
    /// driver, and whose PEs the IRSs serve (LIFE-22).
    fn no_vm_table_in_use(&self) -> Result<(), TearDownError> {
        for irs in self.machine.found.irss.iter().filter(|irs| irs.virt) {
            let found: IRS_VMT_BASER = self.machine.domain.platform.irs().read(irs.index);
            if found.valid() {
                return Err(TearDownError::VmTableInUse { irs: irs.index, value: found.raw_value() });
            }
        }
        Ok(())
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
        let Some(_turn) = self.turn.try_take() else {
            // Whoever has the turn is at it.
            return Ok(self.phase());
        };
        if self.phase() == Phase::Partial {
            self.machine.domain.block_on(self.undo())?;
        }
        Ok(self.phase())
    }

    /// The one teardown, from any state, any number of times.
    async fn undo(&self) -> Result<(), CommandError> {
        if self.phase() == Phase::Down {
            return Ok(());
        }
        self.disable_spis();
        for irs in &self.machine.found.irss {
            self.set_enabled(irs, false).await?;
        }
        let proof = ist::withdraw(&self.machine).await?;
        let ist = self.core.with(|core| {
            for pe in &mut core.pes {
                pe.forget();
            }
            core.ids.clear();
            core.ipis = 0;
            core.phase = Phase::Down;
            core.ist.end(&proof)
        });
        for ipi in &self.ipis {
            if let Some(gate) = lpi_of(ipi.swap(0, Ordering::Relaxed)).and_then(|lpi| self.gates.get(lpi.id())) {
                gate.close();
            }
        }
        if let Some(ist) = ist {
            ist.free(self.machine.domain.memory());
        }
        Ok(())
    }
}

fn live<H: Platform, R: Register<Reg = IrsReg>>(irs: &IrsUnit<H>, register: R) -> BringUpCause {
    BringUpCause::LiveTable { irs: irs.index, register: R::REG, value: register.to_bits() }
}
