//! Coming up and going down.

use core::error::Error;
use core::fmt;

use gicv5_arch::irs::{IRS_CR0, IRS_VMT_BASER};
use gicv5_hal::{IrsExt, IrsIndex, Lock};

use crate::Hypervisor;
use crate::config::LiveTable;
use crate::host::books::Phase;
use crate::host::holdings::Holdings;
use crate::host::host::Host;
use crate::host::quarantine::{Batch, Change};
use crate::tables::vm_table::VmTable;
use crate::vm::make_invalid::TableWithdrawn;
use crate::vm::tear_down::TearDownCause;
use gicv5_irs::command::{Command, CommandError, Fault};
use gicv5_irs::command_port::PortKind;
use gicv5_irs::drive::fused;
use gicv5_irs::lease::{Part, Structure, TableError};

/// Why the host could not come up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BringUpCause {
    /// It is up already.
    #[error("the host is up already")]
    AlreadyUp,
    /// Somebody else is bringing it up or shutting it down.
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
        let (mut change, mut batch) = self.books.with(|books| match books.phase {
            Phase::Up => Err(undone(BringUpCause::AlreadyUp)),
            Phase::Changing => Err(undone(BringUpCause::Contended)),
            // Somebody is tearing down a VM that an earlier attempt has left.
            _ if books.ids.in_use() != books.parked.len() => Err(undone(BringUpCause::Contended)),
            Phase::Down | Phase::Partial => Ok(self.begin(books)),
        })?;
        // What an earlier attempt has left is behind the old table: nothing is known of it once there is another.
        if let Err(cause) = self.take_down(&mut change, &mut batch).await {
            return Err(BringUpError { cause: BringUpCause::NotSettled(cause), cleanup: Err(cause) });
        }
        drop(batch);
        change.then = self.rest();
        match self.build(&mut change).await {
            Ok(()) => {
                change.then = Phase::Up;
                Ok(())
            }
            Err(cause) => {
                let mut none = Batch::empty(self);
                let cleanup = self.take_down(&mut change, &mut none).await.map(|_| ());
                if cleanup.is_ok() {
                    change.then = self.rest();
                }
                Err(BringUpError { cause, cleanup })
            }
        }
    }

    async fn build(&self, change: &mut Change<'_, H>) -> Result<(), BringUpCause> {
        for irs in self.machine.irss() {
            let found: IRS_CR0 = self.machine.domain.platform.irs().read(irs);
            if !found.irsen() {
                return Err(BringUpCause::PhysicalSideDown { irs, value: found.raw_value().into() });
            }
        }
        let mut port = self.machine.port(PortKind::Vmt, Command::MakeTableValid).await?;
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
        drop(port);
        let table = VmTable::allocate(&self.machine.domain, self.table.geometry)?;
        self.table.part.with(|part| *part = Part::Draft(table));
        change.then = Phase::Partial;
        Ok(self.table.make_valid(&self.machine).await?)
    }

    /// The phase of a host without a VM table: partial if it still holds VM IDs and doorbells.
    fn rest(&self) -> Phase {
        self.books.with(|books| if books.ids.in_use() == 0 { Phase::Down } else { Phase::Partial })
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
        let (mut change, mut batch) = self.books.with(|books| {
            let vms = books.ids.in_use() - books.parked.len();
            match books.phase {
                Phase::Changing => Err(ShutDownError::Contended),
                // Another caller is tearing down VMs without a handle: this caller does not hold them.
                _ if books.settling.vms() > 0 => Err(ShutDownError::Contended),
                _ if vms > 0 => Err(ShutDownError::VmsLeft { vms }),
                Phase::Down | Phase::Partial | Phase::Up => Ok(self.begin(books)),
            }
        })?;
        let outcome = self.take_down(&mut change, &mut batch).await;
        drop(batch);
        if outcome.is_ok() {
            change.then = self.rest();
        }
        drop(change);
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(ShutDownError::Left { cause, held: self.holdings() }),
            Err(TearDownCause::Command(cause)) => Err(ShutDownError::Command { cause, held: self.holdings() }),
            Err(cause) => Err(ShutDownError::Vm(cause)),
        }
    }

    /// Takes the VM table back, if there is one, and by that whatever the VMs of the batch have lent. Returns what is left of
    /// them: VM IDs and doorbells.
    async fn take_down(
        &self,
        change: &mut Change<'_, H>,
        batch: &mut Batch<'_, H>,
    ) -> Result<Result<(), TearDownCause>, TearDownCause> {
        if let Some(cause) = batch.todo.iter().find_map(|record| self.cannot_go(record)) {
            return Err(cause);
        }
        let proof = match self.table.part.with(|part| part.is_lent()) {
            true => Some(self.withdraw(change).await?),
            false => None,
        };
        let settled = self.settle(batch, proof.as_ref()).await;
        self.free_table(proof.as_ref());
        Ok(settled.map_err(|unsettled| unsettled.first))
    }

    fn free_table(&self, proof: Option<&TableWithdrawn>) {
        let table = self.table.part.with(|part| match proof {
            Some(proof) => part.end(proof),
            None => part.take_draft(),
        });
        if let Some(table) = table {
            table.free(self.machine.domain.platform.memory());
        }
    }
}
