//! Coming up and going down.

use core::error::Error;
use core::fmt;

use gicv5_arch::irs::{IRS_CR0, IRS_VMT_BASER};
use gicv5_hal::{IrsExt, IrsIndex, Lock};

use crate::Hypervisor;
use crate::config::LiveTable;
use crate::host::books::Phase;
use crate::host::change::Change;
use crate::host::holdings::Holdings;
use crate::host::host::Host;
use crate::host::quarantine::WithoutHandle;
use crate::tables::vm_table::VmTable;
use crate::vm::record::Record;
use crate::vm::tear_down::{Held, TearDownCause};
use gicv5_irs::command::{Command, CommandError, Fault};
use gicv5_irs::command_port::{Port, PortKind};
use gicv5_irs::drive::fused;
use gicv5_irs::lease::{Part, Structure, TableError};

/// Why the host could not come up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BringUpCause {
    /// It is up already.
    #[error("the host is up already")]
    AlreadyUp,
    /// Somebody else is bringing it up or shutting it down, or has gone on with that in this caller's place, which was not driven
    /// for long.
    #[error("somebody else is bringing the host up or shutting it down")]
    Contended,
    /// What an earlier attempt left behind is still not settled.
    #[error("what an earlier attempt left behind is not settled")]
    NotSettled(#[source] TearDownCause),
    /// A VM table is in use that is not this library's, and the configuration says to leave it alone.
    #[error("{irs}: IRS_VMT_BASER reads {value:#x}: a VM table of earlier software is in use")]
    LiveTable {
        /// The IRS.
        irs: IrsIndex,
        /// What IRS_VMT_BASER reads.
        value: u64,
    },
    /// An IRS is off: the driver of the physical side is not up, or has gone down. Without its memory attributes (GEN-20) and
    /// its LPIs (LPI-3) no VM can be.
    #[error("{irs}: IRS_CR0 reads {value:#x}: the IRS is off; bring the physical side up first")]
    PhysicalSideDown {
        /// The IRS.
        irs: IrsIndex,
        /// What IRS_CR0 reads.
        value: u64,
    },
    /// There is no memory for the VM table.
    #[error("there is no memory for the VM table")]
    Table(#[from] TableError),
    /// The IRS did not do what it was asked to.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// The host could not come up, and what became of what had been done till then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BringUpError {
    /// Why.
    pub cause: BringUpCause,
    /// Whether everything that this attempt did was undone, so that it has left nothing with an IRS. What the host has from
    /// before it still has: everything, if it is [up already](BringUpCause::AlreadyUp), and VM IDs and doorbells that
    /// could not be given back yet. A VM table of earlier software that was to be [taken over](LiveTable::TakeOver) may be
    /// gone all the same. If not, the host is [partly](Phase::Partial) up; [`Host::shut_down`] and the next
    /// [`Host::bring_up`] try again.
    pub cleanup: Result<(), TearDownCause>,
}

impl BringUpError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match &self.cause {
            BringUpCause::AlreadyUp | BringUpCause::LiveTable { .. } | BringUpCause::PhysicalSideDown { .. } => {
                Fault::Caller
            }
            BringUpCause::Contended => Fault::Busy,
            BringUpCause::Table(error) => error.fault(),
            BringUpCause::NotSettled(cause) => cause.fault(),
            BringUpCause::Command(error) => error.fault(),
        }
    }
}

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host could not come up: {}; ", self.cause)?;
        match (&self.cause, &self.cleanup) {
            (BringUpCause::AlreadyUp | BringUpCause::Contended, _) => f.write_str("nothing has changed"),
            (_, Ok(())) => f.write_str("no IRS has a VM table of this host's"),
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

/// The host could not be shut down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShutDownError {
    /// Some VMs are still initialised. Nothing was done.
    #[error("{vms} VMs are still initialised")]
    VmsLeft {
        /// How many.
        vms: u32,
    },
    /// Somebody else is bringing it up or shutting it down, or tearing down VMs without a handle.
    #[error("somebody else is bringing the host up, shutting it down, or tearing down VMs without a handle")]
    Contended,
    /// A VM without a handle cannot be torn down as it is: a vCPU of it is resident, or something names it. Nothing was done.
    #[error("a VM without a handle cannot be torn down")]
    Vm(#[source] TearDownCause),
    /// The IRS did not withdraw the VM table.
    #[error("the VM table could not be withdrawn; {held}")]
    Command {
        /// Why not.
        #[source]
        cause: CommandError,
        /// What is still held.
        held: Holdings,
    },
    /// The VM table is withdrawn and all table memory given back, but not all else.
    #[error("not everything could be given back; {held}")]
    Left {
        /// Why not, for the first VM of which something is left.
        #[source]
        cause: TearDownCause,
        /// What is still held.
        held: Holdings,
    },
}

impl ShutDownError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            ShutDownError::VmsLeft { .. } => Fault::Caller,
            ShutDownError::Contended => Fault::Busy,
            ShutDownError::Command { cause, .. } => cause.fault(),
            ShutDownError::Vm(cause) | ShutDownError::Left { cause, .. } => cause.fault(),
        }
    }
}

impl<H: Hypervisor> Host<H> {
    /// Gives the IRS its VM table. The physical side is up and stays up until the host is [shut down](Self::shut_down).
    ///
    /// If anything fails, what was done is undone by the same code that shuts the host down, and the call may be repeated.
    /// What an earlier attempt left behind is settled first.
    ///
    /// Waits for the IRS and allocates; not from an interrupt handler, nor with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`BringUpError`] with the cause, and what became of the rest.
    pub fn bring_up(&self) -> Result<(), BringUpError> {
        self.machine.domain.block_on(self.start_bring_up())
    }

    /// [`bring_up`](Self::bring_up) step by step: each poll looks once whether the IRS has finished, and never waits. A future
    /// that is dropped after the first write leaves the host [partly](Phase::Partial) up.
    ///
    /// # Errors
    ///
    /// As [`bring_up`](Self::bring_up).
    pub fn start_bring_up(&self) -> impl Future<Output = Result<(), BringUpError>> {
        fused(self.bring_up_steps())
    }

    async fn bring_up_steps(&self) -> Result<(), BringUpError> {
        let undone = |cause| BringUpError { cause, cleanup: Ok(()) };
        let change = self.begin(|books| match books.phase {
            Phase::Up => Err(undone(BringUpCause::AlreadyUp)),
            Phase::Changing => Err(undone(BringUpCause::Contended)),
            // Somebody is tearing down a VM that an earlier attempt has left.
            _ if books.with_handle() > 0 => Err(undone(BringUpCause::Contended)),
            Phase::Down | Phase::Partial => Ok(()),
        })?;
        // What an earlier attempt has left is behind the old table: nothing is known of it once there is another.
        if let Err(cause) = self.take_down(&change, |_| true).await {
            return Err(BringUpError { cause: BringUpCause::NotSettled(cause), cleanup: Err(cause) });
        }
        let cause = match self.build(&change).await {
            Ok(()) => return Ok(()),
            Err(cause) => cause,
        };
        let cleanup = self.take_down(&change, |_| false).await.map(|_| ());
        Err(BringUpError { cause, cleanup })
    }

    async fn build(&self, change: &Change<'_, H>) -> Result<(), BringUpCause> {
        for irs in self.machine.irss() {
            let found: IRS_CR0 = self.machine.domain.platform.irs().read(irs);
            if !found.irsen() {
                return Err(BringUpCause::PhysicalSideDown { irs, value: found.raw_value().into() });
            }
        }
        let lost = |_| BringUpCause::Contended;
        let mut port = self.machine.port(PortKind::Vmt, Command::MakeTableValid).await?;
        change.goes_on().map_err(lost)?;
        let live = self.machine.irss().find_map(|irs| {
            let found: IRS_VMT_BASER = self.machine.domain.platform.irs().read(irs);
            found.valid().then_some(BringUpCause::LiveTable { irs, value: found.raw_value() })
        });
        match (live, self.machine.live_table) {
            (None, _) => {}
            (Some(cause), LiveTable::Refuse) => return Err(cause),
            (Some(_), LiveTable::TakeOver) => {
                self.table.withdraw(&self.machine, &mut port).await?;
            }
        }
        change.leads_to(Phase::Partial).map_err(lost)?;
        let table = VmTable::allocate(&self.machine.domain, self.table.geometry)?;
        self.table.part.with(|part| *part = Part::Draft(table));
        self.table.make_valid(&self.machine, &mut port).await?;
        change.leads_to(Phase::Up).map_err(lost)
    }

    /// Shuts the host down: the VM table is withdrawn, which makes everything behind it invalid, and everything goes back.
    /// Does nothing if the host is down.
    ///
    /// All VMs must have been torn down or dropped. If the IRS does not answer, what it may still touch is held and the call
    /// may be repeated any number of times.
    ///
    /// Waits for the IRS, and for handlers of doorbells, and frees memory; allocates none. Not from an interrupt handler, nor
    /// with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`ShutDownError`], which says what is left.
    pub fn shut_down(&self) -> Result<(), ShutDownError> {
        self.machine.domain.block_on(self.start_shut_down())
    }

    /// [`shut_down`](Self::shut_down) step by step. A future that is dropped after the first
    /// write leaves the host [partly](Phase::Partial) up.
    ///
    /// # Errors
    ///
    /// As [`shut_down`](Self::shut_down).
    pub fn start_shut_down(&self) -> impl Future<Output = Result<(), ShutDownError>> {
        fused(self.shut_down_steps())
    }

    async fn shut_down_steps(&self) -> Result<(), ShutDownError> {
        // Of a VM with a handle, the host knows the ID alone.
        let change = self.begin(|books| match (books.phase, books.with_handle()) {
            (Phase::Changing, _) => Err(ShutDownError::Contended),
            (Phase::Down | Phase::Partial | Phase::Up, 0) => Ok(()),
            (_, vms) => Err(ShutDownError::VmsLeft { vms }),
        })?;
        let outcome = self.take_down(&change, |_| true).await;
        drop(change);
        match outcome {
            // Another caller is just ending the teardown of a VM.
            Ok(Ok(())) if self.phase() == Phase::Partial => Err(ShutDownError::Contended),
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(ShutDownError::Left { cause, held: self.holdings() }),
            Err(TearDownCause::Command(cause)) => Err(ShutDownError::Command { cause, held: self.holdings() }),
            Err(TearDownCause::OthersRun) => Err(ShutDownError::Contended),
            Err(cause) => Err(ShutDownError::Vm(cause)),
        }
    }

    /// Takes the VM table back, if there is one, and by that whatever VMs without a handle have lent. Returns what is left of
    /// those: VM IDs and doorbells.
    async fn take_down(
        &self,
        change: &Change<'_, H>,
        those: impl Fn(&Record<H>) -> bool,
    ) -> Result<Result<(), TearDownCause>, TearDownCause> {
        self.all_can_go()?;
        let has_table = self.table.part.with(|part| part.content().is_some());
        if has_table || change.with(|books| books.changing.late).unwrap_or(true) {
            let _port = self.withdraw(change).await?;
            if let Some(table) = self.table.part.with(Part::take_draft) {
                table.free(self.machine.domain.memory());
            }
        }
        let settled = self.settle(those, || change.goes_on()).await;
        change.leads_to_rest()?;
        Ok(settled.map_err(|unsettled| unsettled.first))
    }

    /// Whether VMs without a handle can be torn down, hardware apart (LIFE-22). One of which another caller is just doing a step
    /// cannot be looked at.
    pub(crate) fn all_can_go(&self) -> Result<(), TearDownCause> {
        let mut last = None;
        let next = |last| {
            self.books.with(|books| match books.settling.vms() {
                0 => Ok(books.parked.next(last, |_| true)),
                _ => Err(TearDownCause::OthersRun),
            })
        };
        while let Some(key) = next(last)? {
            last = Some(key);
            let cause = WithoutHandle(key).with(self, |record| self.cannot_go(record));
            if let Some(cause) = cause.ok_or(TearDownCause::OthersRun)? {
                return Err(cause);
            }
        }
        Ok(())
    }

    /// Takes the port of the VM table, with which whoever changes the host is alone at it.
    pub(crate) async fn table_port(
        &self,
        change: &Change<'_, H>,
        command: Command,
    ) -> Result<Port<'_, H>, TearDownCause> {
        let port = self.machine.port(PortKind::Vmt, command).await?;
        // Who had it before and came too late has left it.
        change.with(|books| books.changing.late = false).ok_or(TearDownCause::OthersRun)?;
        Ok(port)
    }

    /// Withdraws the VM table, if an IRS has heard of it. Returns the port, with which the table may be freed or given to the IRSs
    /// again.
    pub(crate) async fn withdraw(&self, change: &Change<'_, H>) -> Result<Port<'_, H>, TearDownCause> {
        let mut port = self.table_port(change, Command::WithdrawTable).await?;
        // Up to here nothing was written, and everything is as it was.
        if self.table.part.with(|part| part.is_lent()) {
            change.leads_to(Phase::Partial)?;
            self.table.withdraw(&self.machine, &mut port).await?;
        }
        Ok(port)
    }
}
