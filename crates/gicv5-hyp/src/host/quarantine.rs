//! VMs without a handle: orphans, and what the hardware does not confirm to have let go.

use gicv5_hal::Lock;

use crate::Hypervisor;
use crate::host::books::{Books, Phase, Settling};
use crate::host::host::Host;
use crate::vm::make_invalid::TableWithdrawn;
use crate::vm::record::{Parked, Record, Records};
use crate::vm::tear_down::TearDownCause;
use gicv5_irs::command::{Command, CommandError, CommandErrorKind, Fault};
use gicv5_irs::command_port::PortKind;
use gicv5_irs::drive::fused;
use gicv5_irs::heap::Boxed;
use gicv5_irs::lease::Part;

/// Some VMs without a handle could not be torn down yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{left} VMs could not be torn down yet")]
pub struct ReclaimError {
    /// How many are left.
    pub left: u32,
    /// Why, for the first of them that was tried.
    #[source]
    pub cause: TearDownCause,
}

impl ReclaimError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.cause.fault()
    }
}

/// The host is changing; whoever has this does it.
pub(crate) struct Change<'h, H: Hypervisor> {
    host: &'h Host<H>,
    /// How far it is if this is dropped now.
    pub(crate) then: Phase,
}

impl<H: Hypervisor> Drop for Change<'_, H> {
    fn drop(&mut self) {
        self.host.books.with(|books| books.phase = self.then);
    }
}

/// Why not all records of a batch are done with.
pub(crate) struct Unsettled {
    /// Why, for the first of them.
    pub(crate) first: TearDownCause,
    /// The IRS is idle and does not make one of these VMs invalid: only the VM table helps.
    ignored: bool,
}

/// Records taken from the host's list. They go back when this is dropped, wherever in the batch they are.
pub(crate) struct Batch<'h, H: Hypervisor> {
    host: &'h Host<H>,
    /// Those that are still to be tried.
    pub(crate) todo: Records<H>,
    in_hand: Option<Boxed<Record<H>>>,
    /// Those that were tried, and of which something is left.
    left: Records<H>,
    /// What the host's books have for all of them.
    noted: Settling,
}

impl<H: Hypervisor> Drop for Batch<'_, H> {
    fn drop(&mut self) {
        self.host.books.with(|books| {
            books.settling.subtract(self.noted);
            while let Some(record) = self.in_hand.take().or_else(|| self.todo.pop()).or_else(|| self.left.pop()) {
                books.parked.push(record);
            }
        });
    }
}

impl<'h, H: Hypervisor> Batch<'h, H> {
    /// A batch of records that come out of the host's list.
    pub(crate) fn new(host: &'h Host<H>, books: &mut Books<H>, todo: Records<H>) -> Batch<'h, H> {
        let mut noted = Settling::default();
        todo.iter().for_each(|record| noted.add(Settling::of(record)));
        books.settling.add(noted);
        Batch { host, todo, in_hand: None, left: Records::EMPTY, noted }
    }

    /// A batch of no records.
    pub(crate) fn empty(host: &'h Host<H>) -> Batch<'h, H> {
        Batch { host, todo: Records::EMPTY, in_hand: None, left: Records::EMPTY, noted: Settling::default() }
    }

    /// What a record adds to the books was `before`.
    fn note(&mut self, before: Settling, now: Settling) {
        self.noted.subtract(before);
        self.noted.add(now);
        self.host.books.with(|books| {
            books.settling.subtract(before);
            books.settling.add(now);
        });
    }
}

impl<H: Hypervisor> Host<H> {
    /// From here on nobody else brings the host up, shuts it down or makes the table anew, and no VM gets an ID. Returns all
    /// VMs without a handle.
    pub(crate) fn begin(&self, books: &mut Books<H>) -> (Change<'_, H>, Batch<'_, H>) {
        let then = core::mem::replace(&mut books.phase, Phase::Changing);
        let todo = books.parked.take(|_| true);
        let batch = Batch::new(self, books, todo);
        (Change { host: self, then }, batch)
    }

    pub(crate) async fn withdraw(&self, change: &mut Change<'_, H>) -> Result<TableWithdrawn, CommandError> {
        let mut port = self.machine.port(PortKind::Vmt, Command::WithdrawTable).await?;
        // Up to here nothing was written, and everything is as it was.
        change.then = Phase::Partial;
        self.table.withdraw(&self.machine, &mut port).await
    }

    /// Runs the one teardown on records without a handle. What cannot be finished stays in the batch.
    pub(crate) async fn settle(
        &self,
        batch: &mut Batch<'_, H>,
        proof: Option<&TableWithdrawn>,
    ) -> Result<(), Unsettled> {
        let mut unsettled: Option<Unsettled> = None;
        let mut port_is_busy = false;
        loop {
            batch.in_hand = batch.todo.pop();
            let Some(record) = &mut batch.in_hand else { break };
            let before = Settling::of(record);
            // It is the same for all others that need the port; not for those that have only a doorbell left.
            let outcome = match port_is_busy && proof.is_none() && record.tables.is_lent() {
                true => None,
                false => Some(self.tear_down_record(record, proof).await),
            };
            let record = batch.in_hand.take();
            match outcome {
                Some(Ok(())) => batch.note(before, Settling::default()),
                None => record.into_iter().for_each(|record| batch.left.push(record)),
                Some(Err(cause)) => {
                    if let Some(mut record) = record {
                        if cause.may_be_in_use() {
                            record.parked = Parked::Quarantine;
                        }
                        batch.note(before, Settling::of(&record));
                        batch.left.push(record);
                    }
                    port_is_busy |= matches!(cause, TearDownCause::Command(error) if error.nothing_was_written());
                    let unsettled = unsettled.get_or_insert(Unsettled { first: cause, ignored: false });
                    unsettled.ignored |=
                        matches!(cause, TearDownCause::Command(CommandError { kind: CommandErrorKind::NoEffect, .. }));
                }
            }
        }
        unsettled.map_or(Ok(()), Err)
    }

    /// Tears down the VMs whose handles were dropped.
    ///
    /// Waits and frees as [`Vm::tear_down`](crate::Vm::tear_down) does; allocates nothing.
    ///
    /// # Errors
    ///
    /// [`ReclaimError`] if some are left: those whose vCPU is still resident, and what the hardware does not confirm, which
    /// goes to quarantine.
    pub fn reap(&self) -> Result<(), ReclaimError> {
        self.machine.domain.block_on(self.start_reap())
    }

    /// [`reap`](Self::reap) step by step.
    ///
    /// # Errors
    ///
    /// As [`reap`](Self::reap).
    pub fn start_reap(&self) -> impl Future<Output = Result<(), ReclaimError>> {
        fused(self.reap_steps())
    }

    async fn reap_steps(&self) -> Result<(), ReclaimError> {
        let (left, outcome) = self.settle_parked(Parked::Orphan).await;
        outcome.map_err(|unsettled| ReclaimError { left, cause: unsettled.first })
    }

    /// Finishes the teardown of the VMs in quarantine, if the hardware has answered by now. A command that timed out is not
    /// waited for: this returns at once if it is still under way. Every init begins with this.
    ///
    /// If the IRS is idle and yet a VM cannot be made invalid, and no VM is initialised, the whole VM table is withdrawn and
    /// made anew: it encloses everything. If that fails half-way, or the future is dropped there, the host is
    /// [partly](Phase::Partial) up, and [`bring_up`](Self::bring_up) goes on.
    ///
    /// Waits and frees as [`Vm::tear_down`](crate::Vm::tear_down) does; allocates nothing.
    ///
    /// # Errors
    ///
    /// [`ReclaimError`] if some are left.
    pub fn reclaim(&self) -> Result<(), ReclaimError> {
        self.machine.domain.block_on(self.start_reclaim())
    }

    /// [`reclaim`](Self::reclaim) step by step.
    ///
    /// # Errors
    ///
    /// As [`reclaim`](Self::reclaim).
    pub fn start_reclaim(&self) -> impl Future<Output = Result<(), ReclaimError>> {
        fused(self.reclaim_steps())
    }

    pub(crate) async fn reclaim_steps(&self) -> Result<(), ReclaimError> {
        match self.settle_parked(Parked::Quarantine).await {
            (_, Err(Unsettled { ignored: true, .. })) => self.make_table_anew().await,
            (left, outcome) => outcome.map_err(|unsettled| ReclaimError { left, cause: unsettled.first }),
        }
    }

    /// Runs the one teardown on the records that are parked for this reason. Returns how many are left, and why.
    async fn settle_parked(&self, why: Parked) -> (u32, Result<(), Unsettled>) {
        let mut batch = self.books.with(|books| {
            let todo = books.parked.take(|record| record.parked == why);
            Batch::new(self, books, todo)
        });
        let outcome = self.settle(&mut batch, None).await;
        (batch.left.len(), outcome)
    }

    /// The way out when a VM cannot be made invalid: the table that encloses all of them, with no VM running.
    async fn make_table_anew(&self) -> Result<(), ReclaimError> {
        let begun = self.books.with(|books| {
            // Somebody else may have settled it meanwhile.
            if !books.parked.iter().any(|record| record.parked == Parked::Quarantine) {
                return Ok(None);
            }
            let alone = books.ids.in_use() == books.parked.len();
            if books.phase == Phase::Up && alone { Ok(Some(self.begin(books))) } else { Err(books.parked.len()) }
        });
        let begun = begun.map_err(|left| ReclaimError { left, cause: TearDownCause::OthersRun })?;
        let Some((mut change, mut batch)) = begun else { return Ok(()) };
        let anew = async {
            if let Some(cause) = batch.todo.iter().find_map(|record| self.cannot_go(record)) {
                return Err(cause);
            }
            let proof = self.withdraw(&mut change).await?;
            let outcome = self.settle(&mut batch, Some(&proof)).await;
            let table = self.table.part.with(|part| part.end(&proof));
            if let Some(mut table) = table {
                table.clear(self.machine.domain.platform.memory(), self.machine.domain.publish_for);
                self.table.part.with(|part| *part = Part::Draft(table));
            }
            self.table.make_valid(&self.machine).await?;
            change.then = Phase::Up;
            outcome.map_err(|unsettled| unsettled.first)
        };
        let outcome = anew.await;
        let left = batch.todo.len() + batch.left.len();
        outcome.map_err(|cause| ReclaimError { left, cause })
    }
}
