//! VMs without a handle: orphans, and what the hardware does not confirm to have let go.

use gicv5_hal::Lock;

use crate::Hypervisor;
use crate::host::books::{Phase, Settling};
use crate::host::change::Change;
use crate::host::host::Host;
use crate::ids::VmKey;
use crate::vm::record::{Parked, Record};
use crate::vm::tear_down::{Held, TearDownCause};
use gicv5_irs::command::{Command, CommandError, CommandErrorKind, Fault};
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

/// Why not all VMs are done with.
pub(crate) struct Unsettled {
    /// How many are left.
    left: u32,
    /// Why, for the first of them.
    pub(crate) first: TearDownCause,
    /// The IRS is idle and does not make one of these VMs invalid: only the VM table helps.
    ignored: bool,
}

impl From<Unsettled> for ReclaimError {
    fn from(unsettled: Unsettled) -> ReclaimError {
        ReclaimError { left: unsettled.left, cause: unsettled.first }
    }
}

/// A VM without a handle.
pub(crate) struct WithoutHandle(pub(crate) VmKey);

/// A record that is out of the host's list for a step, and goes back when this is dropped.
struct Out<'h, H: Hypervisor> {
    host: &'h Host<H>,
    record: Option<Boxed<Record<H>>>,
    noted: Settling,
}

impl<H: Hypervisor> Drop for Out<'_, H> {
    fn drop(&mut self) {
        self.host.books.with(|books| {
            books.settling.subtract(self.noted);
            self.record.take().into_iter().for_each(|record| books.parked.push(record));
        });
    }
}

impl<H: Hypervisor> Held<H> for WithoutHandle {
    fn key(&self) -> VmKey {
        self.0
    }

    fn with<R>(&mut self, host: &Host<H>, step: impl FnOnce(&mut Record<H>) -> R) -> Option<R> {
        let mut out = host.books.with(|books| {
            let record = books.parked.remove(self.0)?;
            let noted = Settling::of(&record);
            books.settling.add(noted);
            Some(Out { host, record: Some(record), noted })
        })?;
        // Memory comes back in a step, and doorbells are waited for: not under the lock.
        out.record.as_deref_mut().map(step)
    }

    fn end(&mut self, host: &Host<H>) {
        let gone = host.books.with(|books| {
            let record = books.parked.remove(self.0)?;
            books.ids.give(self.0.vm().raw_value().into());
            Some(record)
        });
        drop(gone);
    }
}

impl<H: Hypervisor> Host<H> {
    /// Runs the one teardown on records without a handle. What cannot be finished stays in the list.
    pub(crate) async fn settle(
        &self,
        those: impl Fn(&Record<H>) -> bool,
        goes_on: impl Fn() -> Result<(), TearDownCause>,
    ) -> Result<(), Unsettled> {
        let mut unsettled: Option<Unsettled> = None;
        let (mut last, mut port_is_busy) = (None, false);
        while let Some(key) = self.books.with(|books| books.parked.next(last, &those)) {
            last = Some(key);
            let mut held = WithoutHandle(key);
            if let Err(lost) = goes_on() {
                return Err(Unsettled {
                    left: self.books.with(|books| books.parked.len()),
                    first: lost,
                    ignored: false,
                });
            }
            // It is the same for all others that need the port; not for those that have only a doorbell left.
            let failed = match port_is_busy && held.with(self, |record| record.tables.is_lent()) == Some(true) {
                true => None,
                false => match self.tear_down_record(&mut held).await {
                    Ok(()) => continue,
                    Err(cause) => Some(cause),
                },
            };
            let in_use = failed.is_some_and(|cause| cause.may_be_in_use());
            let left =
                held.with(self, |record| record.parked = if in_use { Parked::Quarantine } else { record.parked });
            if left.is_none() {
                // Another caller has gone on with it.
                continue;
            }
            if let Some(cause) = failed {
                let unsettled = unsettled.get_or_insert(Unsettled { left: 0, first: cause, ignored: false });
                port_is_busy |= matches!(cause, TearDownCause::Command(error) if error.nothing_was_written());
                unsettled.ignored |=
                    matches!(cause, TearDownCause::Command(CommandError { kind: CommandErrorKind::NoEffect, .. }));
            }
            unsettled.iter_mut().for_each(|unsettled| unsettled.left += 1);
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
        Ok(self.settle_parked(Parked::Orphan).await?)
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
            Err(Unsettled { ignored: true, .. }) => self.make_table_anew().await,
            outcome => Ok(outcome?),
        }
    }

    /// Runs the one teardown on the records that are parked for this reason.
    async fn settle_parked(&self, why: Parked) -> Result<(), Unsettled> {
        self.settle(|record| record.parked == why, || Ok(())).await
    }

    /// The way out when a VM cannot be made invalid: the table that encloses all of them, with no VM running.
    async fn make_table_anew(&self) -> Result<(), ReclaimError> {
        let begun = self.begin(|books| {
            // Somebody else may have settled it meanwhile.
            if !books.parked.iter().any(|record| record.parked == Parked::Quarantine) {
                return Err(Ok(()));
            }
            if books.phase == Phase::Up && books.with_handle() == 0 {
                Ok(())
            } else {
                Err(Err(TearDownCause::OthersRun))
            }
        });
        let outcome = match begun {
            Ok(change) => self.make_table_anew_as(&change).await,
            Err(outcome) => outcome,
        };
        outcome.map_err(|cause| ReclaimError { left: self.books.with(|books| books.parked.len()), cause })
    }

    async fn make_table_anew_as(&self, change: &Change<'_, H>) -> Result<(), TearDownCause> {
        self.all_can_go()?;
        let port = self.withdraw(change).await?;
        if let Some(mut table) = self.table.part.with(Part::take_draft) {
            table.clear(self.machine.domain.memory(), self.machine.domain.publish_for);
            self.table.part.with(|part| *part = Part::Draft(table));
        }
        drop(port);
        let settled = self.settle(|_| true, || change.goes_on()).await;
        let mut port = self.table_port(change, Command::MakeTableValid).await?;
        self.table.make_valid(&self.machine, &mut port).await?;
        change.leads_to(Phase::Up)?;
        settled.map_err(|unsettled| unsettled.first)
    }
}
