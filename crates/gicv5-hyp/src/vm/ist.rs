//! How a VM gets an IST and loses it.

use gicv5_arch::IrsIntType;
use gicv5_arch::geometry::GeometryError;
use gicv5_hal::{Block, Lock};

use crate::error::{Fate, fated};
use crate::host::host::Host;
use crate::ids::{IstKey, VmKey};
use crate::tables::ist::Ist;
use crate::vm::handle::Vm;
use crate::vm::record::Record;
use crate::{BlockOf, Hypervisor};
use gicv5_irs::command::{Command, CommandError, CommandErrorKind, Fault};
use gicv5_irs::command_port::{Port, PortKind};
use gicv5_irs::drive::fused;
use gicv5_irs::heap::Boxed;
use gicv5_irs::lease::{Part, Spare, Structure, TableError};
use gicv5_irs::levels::Levels;

/// Why an IST could not be made, or not be removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IstCause {
    /// The VM is not live.
    #[error("the VM is not live")]
    NotLive,
    /// The VM has this IST.
    #[error("the VM has an IST of this type")]
    Exists,
    /// The VM does not have this IST.
    #[error("the VM has no IST of this type")]
    Absent,
    /// The IRS has no IST of this size.
    #[error("there can be no such IST")]
    Geometry(#[from] GeometryError),
    /// There is no memory for it.
    #[error("there is no memory for the IST")]
    Table(#[from] TableError),
    /// The IRS did not do what it was asked to.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// An IST could not be made, or not be removed, and what that means for the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IstError {
    /// Why.
    pub cause: IstCause,
    /// What became of the VM: [`Fate::Unchanged`], or [`Fate::Dead`] if it is not known whether the IRS uses the IST (IST-8,
    /// LIFE-11).
    pub fate: Fate,
}

fated!(IstError);

impl IstCause {
    pub(crate) const fn fault(&self) -> Fault {
        match self {
            IstCause::NotLive | IstCause::Exists | IstCause::Absent | IstCause::Geometry(_) => Fault::Caller,
            IstCause::Table(error) => error.fault(),
            IstCause::Command(error) => error.fault(),
        }
    }
}

impl IstError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.cause.fault()
    }
}

/// Nothing is at stake if the IRS was told nothing; otherwise nobody knows whether it uses the IST (IST-8).
impl From<IstCause> for IstError {
    fn from(cause: IstCause) -> IstError {
        let fate = match &cause {
            IstCause::Command(error) if !error.nothing_was_written() => Fate::Dead,
            _ => Fate::Unchanged,
        };
        IstError { cause, fate }
    }
}

impl From<CommandError> for IstError {
    fn from(error: CommandError) -> IstError {
        IstCause::from(error).into()
    }
}

impl<H: Hypervisor> Vm<'_, H> {
    /// Gives the VM an LPI IST of `2^id_bits` interrupts, or more if the IRS insists (IST-28): when the guest enables LPIs
    /// (IST-29). All of them are disabled.
    ///
    /// Waits for the IRS and allocates; not from an interrupt handler, nor with a lock held that one takes. vCPUs may run.
    ///
    /// # Errors
    ///
    /// [`IstError`].
    pub fn create_lpi_ist(&self, id_bits: u32) -> Result<(), IstError> {
        self.host.machine.domain.block_on(self.start_create_lpi_ist(id_bits))
    }

    /// [`create_lpi_ist`](Self::create_lpi_ist) step by step.
    ///
    /// # Errors
    ///
    /// As [`create_lpi_ist`](Self::create_lpi_ist).
    pub fn start_create_lpi_ist(&self, id_bits: u32) -> impl Future<Output = Result<(), IstError>> {
        fused(self.create_lpi_ist_steps(id_bits))
    }

    async fn create_lpi_ist_steps(&self, id_bits: u32) -> Result<(), IstError> {
        let not_live = IstError { cause: IstCause::NotLive, fate: Fate::Unchanged };
        let record = self.live_record().ok_or(not_live)?;
        settled(record, self.host.make_ist(record, IrsIntType::Lpi, id_bits).await)
    }

    /// Takes the LPI IST from the VM: when the guest disables LPIs. Its LPIs are forgotten.
    ///
    /// Waits for the IRS and frees; not from an interrupt handler, nor with a lock held that one takes. vCPUs may run.
    ///
    /// # Errors
    ///
    /// [`IstError`].
    pub fn remove_lpi_ist(&self) -> Result<(), IstError> {
        self.host.machine.domain.block_on(self.start_remove_lpi_ist())
    }

    /// [`remove_lpi_ist`](Self::remove_lpi_ist) step by step.
    ///
    /// # Errors
    ///
    /// As [`remove_lpi_ist`](Self::remove_lpi_ist).
    pub fn start_remove_lpi_ist(&self) -> impl Future<Output = Result<(), IstError>> {
        fused(self.remove_lpi_ist_steps())
    }

    async fn remove_lpi_ist_steps(&self) -> Result<(), IstError> {
        let not_live = IstError { cause: IstCause::NotLive, fate: Fate::Unchanged };
        let record = self.live_record().ok_or(not_live)?;
        settled(record, self.host.remove_ist(record, IrsIntType::Lpi).await)
    }
}

/// A VM of whose IST nobody knows whether the IRS uses it may only be torn down (IST-8).
fn settled<H: Hypervisor>(record: &Record<H>, outcome: Result<(), IstError>) -> Result<(), IstError> {
    outcome.inspect_err(|error| {
        if error.fate == Fate::Dead {
            record.kill();
        }
    })
}

/// Several threads may want to make and remove the LPI IST of a VM at once. Whoever owns the port that the commands go through
/// puts an IST into the record, and takes one out, and nobody else: what is there is what the commands are about.
impl<H: Hypervisor> Host<H> {
    /// Gives a valid VM an IST for `2^id_bits` interrupts, or more if the IRS insists (IST-28).
    ///
    /// The error says what must become of the VM. With [`Fate::Unchanged`] it has no IST by this; otherwise the IST stays
    /// lent until the VM is invalid.
    pub(crate) async fn make_ist(
        &self,
        record: &Record<H>,
        int_type: IrsIntType,
        id_bits: u32,
    ) -> Result<(), IstError> {
        // Memory is allocated before the port is taken, so that nobody waits for the allocator.
        let ist = self.allocate_ist(record.key(), int_type, id_bits)?;
        let lpi_id_bits = (int_type == IrsIntType::Lpi).then(|| ist.levels.geometry().id_bits());
        let mut spare = Spare::new(self.machine.domain.memory(), Some(ist));
        let command = Command::MakeIstValid(record.vm(), int_type);
        let mut port = self.machine.port(PortKind::Vmt, command).await?;
        let word = record.ists.with(|ists| match (ists.part_mut(int_type), &spare.content) {
            (part @ Part::Absent, Some(ist)) => {
                let word = ist.levels.geometry().vmte_word(ist.levels.base().address()).map_err(TableError::from)?;
                *part = spare.content.take().map_or(Part::Absent, Part::Draft);
                part.lend();
                Ok(word)
            }
            _ => Err(IstCause::Exists),
        })?;
        let Err(error) = self.table.make_ist_valid(&self.machine, &mut port, record.vm(), int_type, word).await else {
            if lpi_id_bits.is_some() {
                record.set_lpis(lpi_id_bits);
            }
            return Ok(());
        };
        if let CommandErrorKind::NoEffect = error.kind {
            // The IRS is idle and has not taken the IST, so that it can be had back.
            let removed = self.take_ist(&mut port, record, int_type).await;
            let fate = if removed.is_ok() { Fate::Unchanged } else { Fate::Dead };
            return Err(IstError { cause: error.into(), fate });
        }
        Err(error.into())
    }

    fn allocate_ist(&self, key: VmKey, int_type: IrsIntType, id_bits: u32) -> Result<Boxed<Ist<BlockOf<H>>>, IstCause> {
        let limits = &self.machine.limits;
        let id_bits = match int_type {
            IrsIntType::Lpi => id_bits.max(limits.ist.min_lpi_id_bits()),
            IrsIntType::Spi => id_bits,
        };
        let geometry = limits.ist.choose(int_type, id_bits, self.machine.contiguous_bytes)?;
        let levels = Levels::allocate_whole(&self.machine.domain, geometry)?;
        Boxed::new(&self.machine.domain.heap(), Ist { key: IstKey::new(key, int_type), levels }).map_err(
            |(error, ist)| {
                ist.free(self.machine.domain.memory());
                TableError::from(error).into()
            },
        )
    }

    /// Takes an IST from a valid VM. If the IRS does not confirm, the IST stays lent until the VM is invalid (IST-8).
    pub(crate) async fn remove_ist(&self, record: &Record<H>, int_type: IrsIntType) -> Result<(), IstError> {
        let mut port = self.machine.port(PortKind::Vmt, Command::MakeIstInvalid(record.vm(), int_type)).await?;
        if record.ists.with(|ists| matches!(ists.part_mut(int_type), Part::Absent)) {
            return Err(IstCause::Absent.into());
        }
        Ok(self.take_ist(&mut port, record, int_type).await?)
    }

    async fn take_ist(
        &self,
        port: &mut Port<'_, H>,
        record: &Record<H>,
        int_type: IrsIntType,
    ) -> Result<(), CommandError> {
        if int_type == IrsIntType::Lpi {
            record.set_lpis(None);
        }
        let proof = self.table.make_ist_invalid(&self.machine, port, record.key(), int_type).await?;
        let ist = record.ists.with(|ists| ists.part_mut(int_type).end(&proof));
        if let Some(ist) = ist {
            ist.into_inner().free(self.machine.domain.platform.memory());
        }
        Ok(())
    }
}
