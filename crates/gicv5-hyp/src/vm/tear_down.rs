//! The one teardown.
//!
//! A failed init, an ordinary teardown, an orphan and a VM in quarantine all go through [`Host::tear_down_record`], from
//! any partial state and any number of times: what is done is gone from the record, so that the next run goes on with
//! what is left. It allocates nothing.
//!
//! Between two steps the record is where it belongs, with the handle or in the host's list, so that nothing of it is lost if the
//! future that does it is forgotten, and another goes on from there.
//!
//! The order (LIFE-7): no vCPU resident, and none can become so any more; the VM invalid, seen to be, and its entry zero; VPE
//! entries cleared; ISTs, descriptors and tables given back; doorbells drained and given back; the VM ID last.

use gicv5_arch::{IrsIntType, VmId, VpeId};
use gicv5_hal::Lock;

use crate::error::{Fate, fated};
use crate::host::host::Host;
use crate::ids::VmKey;
use crate::tables::ist::Ist;
use crate::vm::handle::Vm;
use crate::vm::make_invalid::VmInvalid;
use crate::vm::record::Record;
use crate::vm::state::VmState;
use crate::{BlockOf, Hypervisor};
use gicv5_irs::command::{Command, CommandError, Fault};
use gicv5_irs::command_port::PortKind;
use gicv5_irs::drive::fused;
use gicv5_irs::heap::Boxed;
use gicv5_irs::lease::Structure;

/// Why a VM could not be torn down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TearDownCause {
    /// A vCPU is resident (LIFE-22).
    #[error("{vpe} of {vm} is still resident")]
    Resident {
        /// The VM.
        vm: VmId,
        /// Its VPE.
        vpe: VpeId,
    },
    /// Something outside the library names the VM to the hardware ([`VmReference`](crate::VmReference)).
    #[error("{references} resources are still mapped to {vm}")]
    Referenced {
        /// The VM.
        vm: VmId,
        /// How many.
        references: usize,
    },
    /// The IRS did not do what it was asked to.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// All memory has been given back; a command that timed out still names the VM, so that its ID cannot be given to
    /// another yet, nor a doorbell that the command names.
    #[error("an earlier attempt to {command} is still under way")]
    Named {
        /// The command.
        command: Command,
    },
    /// All memory has been given back; the host could not release a doorbell (DB-25).
    #[error("the doorbell of {vpe} of {vm} could not be released")]
    Doorbell {
        /// The VM.
        vm: VmId,
        /// Its VPE.
        vpe: VpeId,
    },
    /// The IRS is idle and yet does not make the VM invalid, and the VM table cannot be made anew while other VMs are
    /// initialised, nor while the host is not up. Or another caller has gone on in this one's place, which was not driven for long.
    #[error("the VM table cannot be made anew while it encloses other VMs or is changing")]
    OthersRun,
}

impl TearDownCause {
    /// True if the hardware may still use something of the VM because it did not answer as it should.
    pub(crate) const fn may_be_in_use(&self) -> bool {
        !matches!(self, TearDownCause::Resident { .. } | TearDownCause::Referenced { .. })
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            TearDownCause::Resident { .. } | TearDownCause::Referenced { .. } => Fault::Caller,
            TearDownCause::Command(error) => error.fault(),
            TearDownCause::Named { .. } | TearDownCause::OthersRun => Fault::Busy,
            TearDownCause::Doorbell { .. } => Fault::Hardware,
        }
    }
}

/// A VM could not be torn down, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TearDownError {
    /// Why.
    pub cause: TearDownCause,
    /// What became of it: [`Fate::Unchanged`] if nothing was done, otherwise [`Fate::Quarantined`].
    pub fate: Fate,
}

fated!(TearDownError);

impl TearDownError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.cause.fault()
    }
}

impl<H: Hypervisor> Vm<'_, H> {
    /// Tears the VM down, from any state; does nothing if it is not initialised. No vCPU may be resident.
    ///
    /// Waits for the IRS and, to release doorbells, for their handlers; frees memory and allocates none. Not from an interrupt
    /// handler, nor with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`TearDownError`]. If nothing could be begun, the VM is unchanged, and running on. If the hardware does not confirm,
    /// what it may still use is quarantined with the host, and the handle is free.
    pub fn tear_down(&mut self) -> Result<(), TearDownError> {
        self.host.machine.domain.block_on(self.start_tear_down())
    }

    /// [`tear_down`](Self::tear_down) step by step. A future that is dropped leaves the VM as far as it was: teardown may be
    /// called again. Releasing a doorbell waits inside of a poll.
    ///
    /// # Errors
    ///
    /// As [`tear_down`](Self::tear_down).
    pub fn start_tear_down(&mut self) -> impl Future<Output = Result<(), TearDownError>> {
        fused(self.tear_down_steps())
    }

    pub(crate) async fn tear_down_steps(&mut self) -> Result<(), TearDownError> {
        let Some(record) = &mut self.record else { return Ok(()) };
        let before = record.state();
        match self.host.tear_down_record(&mut **record).await {
            Ok(()) => {
                self.record = None;
                Ok(())
            }
            Err(cause) if !cause.may_be_in_use() => Err(TearDownError { cause, fate: Fate::Unchanged }),
            // The port was not to be had, and nothing was done.
            Err(cause) if before == VmState::Live && record.state() == VmState::Live => {
                Err(TearDownError { cause, fate: Fate::Unchanged })
            }
            Err(cause) => {
                self.quarantine();
                Err(TearDownError { cause, fate: Fate::Quarantined })
            }
        }
    }
}

impl<H: Hypervisor> Host<H> {
    /// What keeps a VM from being torn down, hardware apart. There may be many vCPUs to look at, so no lock is held meanwhile: a
    /// record that is being torn down, or that is with the host, has no handle with which a vCPU could be loaded.
    pub(crate) fn cannot_go(&self, record: &Record<H>) -> Option<TearDownCause> {
        let vm = record.vm();
        let references = self.books.with(|books| books.references.iter().filter(|other| **other == vm).count());
        if references > 0 {
            return Some(TearDownCause::Referenced { vm, references });
        }
        let resident = record
            .vcpus
            .iter()
            .find(|vcpu| vcpu.doorbell.as_ref().is_some_and(|doorbell| self.doorbells.is_resident(doorbell)))?;
        Some(TearDownCause::Resident { vm: record.vm(), vpe: resident.vpe })
    }

    /// Tears a VM down. With `Ok` the record holds nothing any more, not even the VM ID, or another caller is tearing it down.
    pub(crate) async fn tear_down_record(&self, held: &mut impl Held<H>) -> Result<(), TearDownCause> {
        match self.try_tear_down(held).await {
            Err(Stop::Cause(cause)) => Err(cause),
            Ok(()) | Err(Stop::Elsewhere) => Ok(()),
        }
    }

    async fn try_tear_down(&self, held: &mut impl Held<H>) -> Result<(), Stop> {
        let key = held.key();
        let is_valid = |record: &Record<H>| record.tables.is_lent() && self.table.went_with_table(key).is_none();
        let mut valid = self.step(held, |record| self.cannot_go(record).map_or(Ok(is_valid(record)), Err))?;
        if valid {
            let mut port = self.machine.port(PortKind::Vmt, Command::MakeVmInvalid(key.vm())).await?;
            // Whoever had the port until now may have been here.
            valid = self.step(held, |record| self.end_vcpus(record).map(|()| is_valid(record)))?;
            if valid {
                let invalid = self.table.make_vm_invalid(&self.machine, &mut port, key).await?;
                self.step(held, |record| {
                    self.is_fresh_no_more(record);
                    self.take_back(record, &invalid);
                    Ok(())
                })?;
            }
        }
        if !valid {
            self.step(held, |record| {
                self.end_vcpus(record)?;
                self.is_fresh_no_more(record);
                if let Some(invalid) = self.table.went_with_table(key) {
                    self.take_back(record, &invalid);
                }
                // No IRS has heard of these.
                if let Some(tables) = record.tables.take_draft() {
                    tables.free(self.machine.domain.memory());
                }
                Ok(())
            })?;
        }
        let named = self.machine.domain.unknown_of(&self.machine.ports, PortKind::Vpe, key.vm()).await;
        self.step(held, |record| self.release_doorbells(record, named))?;
        held.end(self);
        Ok(())
    }

    #[inline]
    fn step<R>(
        &self,
        held: &mut impl Held<H>,
        step: impl FnOnce(&mut Record<H>) -> Result<R, TearDownCause>,
    ) -> Result<R, Stop> {
        Ok(held.with(self, step).ok_or(Stop::Elsewhere)??)
    }

    /// The VM is invalid: gives back what its record has lent.
    fn take_back(&self, record: &mut Record<H>, invalid: &VmInvalid) {
        let memory = self.machine.domain.memory();
        let vpes = record.vcpus.iter().map(|vcpu| vcpu.vpe);
        if let Some(tables) = record.tables.end(invalid) {
            tables.clear(memory, self.machine.domain.publish_for, vpes);
            tables.free(memory);
        }
        let ists = record
            .ists
            .with(|ists| [IrsIntType::Lpi, IrsIntType::Spi].map(|int_type| ists.part_mut(int_type).end(invalid)));
        free_all(self, ists);
    }

    /// From here on no vCPU can be loaded, and none is resident.
    fn end_vcpus(&self, record: &Record<H>) -> Result<(), TearDownCause> {
        if record.state() == VmState::Live {
            record.kill();
        }
        for vcpu in &record.vcpus {
            if let Some(doorbell) = &vcpu.doorbell
                && !self.doorbells.die(doorbell)
            {
                return Err(TearDownCause::Resident { vm: record.vm(), vpe: vcpu.vpe });
            }
        }
        Ok(())
    }

    /// Gives back what doorbells can be given back. The VM is invalid, so that none rings any more.
    ///
    /// A command on the settings of a VPE that has not ended is not stopped by the VM being invalid now: when it ends, another
    /// VM of this ID would have its doorbell. So the ID stays, and so does the doorbell that the command names.
    fn release_doorbells(&self, record: &mut Record<H>, named: Option<Command>) -> Result<(), TearDownCause> {
        let vm = record.vm();
        let mut outcome = match named {
            Some(command) => Err(TearDownCause::Named { command }),
            None => Ok(()),
        };
        for vcpu in &mut record.vcpus {
            if named == Some(Command::SetDoorbell(vm, vcpu.vpe)) {
                continue;
            }
            let Some(doorbell) = vcpu.doorbell.take() else { continue };
            if let Err(kept) = self.doorbells.release(self.machine.domain.platform.lpis(), doorbell) {
                vcpu.doorbell = Some(kept.0);
                outcome = outcome.and(Err(TearDownCause::Doorbell { vm, vpe: vcpu.vpe }));
            }
        }
        outcome
    }
}

/// Why a teardown goes no further.
enum Stop {
    /// Another caller has the record.
    Elsewhere,
    /// It cannot.
    Cause(TearDownCause),
}

impl<E: Into<TearDownCause>> From<E> for Stop {
    fn from(cause: E) -> Stop {
        Stop::Cause(cause.into())
    }
}

/// A record that is being torn down, by whoever has it.
pub(crate) trait Held<H: Hypervisor> {
    /// What leases and proofs name it by.
    fn key(&self) -> VmKey;

    /// Does a step with it, without waiting for the IRS. `None` if another caller has it just now, or has ended it.
    fn with<R>(&mut self, host: &Host<H>, step: impl FnOnce(&mut Record<H>) -> R) -> Option<R>;

    /// It holds nothing any more but its VM ID, which goes back.
    fn end(&mut self, host: &Host<H>);
}

impl<H: Hypervisor> Held<H> for Record<H> {
    fn key(&self) -> VmKey {
        Record::key(self)
    }

    #[inline]
    fn with<R>(&mut self, _: &Host<H>, step: impl FnOnce(&mut Record<H>) -> R) -> Option<R> {
        Some(step(self))
    }

    fn end(&mut self, host: &Host<H>) {
        host.books.with(|books| books.ids.give(self.vm().raw_value().into()));
    }
}

/// The blocks of a record's ISTs that have come back.
pub(crate) fn free_all<H: Hypervisor>(host: &Host<H>, ists: [Option<Boxed<Ist<BlockOf<H>>>>; 2]) {
    for ist in ists.into_iter().flatten() {
        ist.into_inner().free(host.machine.domain.platform.memory());
    }
}
