//! Virtual ISTs: the state of a VM's SPIs and LPIs.
//!
//! All level-2 ISTs are allocated and named before the IST becomes valid, VALID set by software as it is allowed then
//! (IST-21): the guest chooses which of its LPIs it uses, and nobody asks the hypervisor first.
//!
//! The SPI IST comes with init and stays until the VM is invalid. The LPI IST comes when the guest enables LPIs, and may go
//! again (IST-29).

use gicv5_arch::entry::L2_VMTE_IST;
use gicv5_arch::geometry::{GeometryError, IstGeometry};
use gicv5_arch::irs::IRS_VMAP_VISTR;
use gicv5_arch::values::MapAction;
use gicv5_arch::{IrsIntType, VmId};
use gicv5_hal::{Block, Lock, TableMemory};

use crate::error::Fate;
use crate::host::host::Host;
use crate::memory::VmKey;
use crate::vm::record::Record;
use crate::{BlockOf, Hypervisor};
use gicv5_irs::command::Fault;
use gicv5_irs::command::{Command, CommandError, CommandErrorKind, Place, TableEntry};
use gicv5_irs::heap::Boxed;
use gicv5_irs::lease::Spare;
use gicv5_irs::lease::{Part, Structure, TableError};
use gicv5_irs::levels::Levels;
use gicv5_irs::port::{Port, PortKind};

/// An IST.
pub(crate) struct Ist<B> {
    pub(crate) key: VmKey,
    pub(crate) int_type: IrsIntType,
    /// Every interrupt in it is disabled, inactive and idle at first, which is what zero means (IST-24).
    levels: Levels<B, IstGeometry>,
}

impl<B: Block> Structure<B> for Ist<B> {
    fn blocks<'a>(&'a self) -> impl Iterator<Item = &'a B>
    where
        B: 'a,
    {
        self.levels.blocks()
    }

    fn free<M: TableMemory<Block = B>>(self, memory: &M) {
        self.levels.free(memory);
    }
}

/// The ISTs of a VM. Many VMs have none, so they take room of their own.
pub(crate) struct Ists<B> {
    spi: Part<Boxed<Ist<B>>>,
    lpi: Part<Boxed<Ist<B>>>,
}

impl<B> Ists<B> {
    pub(crate) const NONE: Ists<B> = Ists { spi: Part::Absent, lpi: Part::Absent };

    /// Bytes of table memory.
    pub(crate) fn bytes(&self) -> u64
    where
        B: Block,
    {
        [&self.spi, &self.lpi].into_iter().filter_map(Part::content).map(|ist| ist.bytes()).sum()
    }

    pub(crate) fn part_mut(&mut self, int_type: IrsIntType) -> &mut Part<Boxed<Ist<B>>> {
        match int_type {
            IrsIntType::Lpi => &mut self.lpi,
            IrsIntType::Spi => &mut self.spi,
        }
    }
}

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}; {fate}")]
pub struct IstError {
    /// Why.
    pub cause: IstCause,
    /// What became of the VM: [`Fate::Unchanged`], or [`Fate::Dead`] if it is not known whether the IRS uses the IST (IST-8,
    /// LIFE-11).
    pub fate: Fate,
}

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
        let mut spare = Spare::new(self.domain.memory(), Some(ist));
        let command = Command::MakeIstValid(record.vm, int_type);
        let mut port = self.port(PortKind::Vmt, command).await?;
        let word = record.ists.with(|ists| match (ists.part_mut(int_type), &spare.content) {
            (part @ Part::Absent, Some(ist)) => {
                let word = ist.levels.geometry().vmte_word(ist.levels.base().address()).map_err(TableError::from)?;
                *part = spare.content.take().map_or(Part::Absent, Part::Draft);
                part.lend();
                Ok(word)
            }
            _ => Err(IstCause::Exists),
        })?;
        let Err(error) = self.make_ist_valid(&mut port, record.vm, int_type, word).await else { return Ok(()) };
        if let CommandErrorKind::NoEffect = error.kind {
            // The IRS is idle and has not taken the IST, so that it can be had back.
            let removed = self.take_ist(&mut port, record, int_type).await;
            let fate = if removed.is_ok() { Fate::Unchanged } else { Fate::Dead };
            return Err(IstError { cause: error.into(), fate });
        }
        Err(error.into())
    }

    fn allocate_ist(&self, key: VmKey, int_type: IrsIntType, id_bits: u32) -> Result<Boxed<Ist<BlockOf<H>>>, IstCause> {
        let limits = &self.limits;
        let id_bits = match int_type {
            IrsIntType::Lpi => id_bits.max(limits.ist.min_lpi_id_bits()),
            IrsIntType::Spi => id_bits,
        };
        let geometry = limits.ist.choose(int_type, id_bits, self.contiguous_bytes)?;
        let levels = Levels::allocate_whole(&self.domain, geometry)?;
        Boxed::new(&self.domain.heap(), Ist { key, int_type, levels }).map_err(|(error, ist)| {
            ist.free(self.domain.memory());
            TableError::from(error).into()
        })
    }

    async fn make_ist_valid(
        &self,
        port: &mut Port<'_, H>,
        vm: VmId,
        int_type: IrsIntType,
        word: L2_VMTE_IST,
    ) -> Result<(), CommandError> {
        let command = Command::MakeIstValid(vm, int_type);
        let filled = self.with_ist_word(vm, int_type, |memory, block, bytes| {
            memory.prepare(self.domain.publish_for, block, bytes.clone());
            let found = memory.load64(block, bytes.start);
            if L2_VMTE_IST::new_with_raw_value(found).ist_valid() {
                return Err(found);
            }
            memory.store64(block, bytes.start, word.raw_value());
            memory.publish(self.domain.publish_for, block, bytes);
            Ok(())
        });
        // An entry that is valid before the command cannot be: LIFE-20.
        filled.unwrap_or(Err(0)).map_err(|found| port.no_effect(command, Place::Entry(TableEntry::L2Vmte), found))?;
        let value =
            IRS_VMAP_VISTR::ZERO.with_m(true).with_u(MapAction::MakeValid).with_int_type(int_type).with_vm_id(vm);
        port.issue(command, value).await?;
        let found = self.with_ist_word(vm, int_type, |memory, block, bytes| {
            memory.acquire(self.domain.publish_for, block, bytes.clone());
            memory.load64(block, bytes.start)
        });
        let found = found.unwrap_or(0);
        if !L2_VMTE_IST::new_with_raw_value(found).ist_valid() {
            return Err(port.no_effect(command, Place::Entry(TableEntry::L2Vmte), found));
        }
        Ok(())
    }

    /// Takes an IST from a valid VM. If the IRS does not confirm, the IST stays lent until the VM is invalid (IST-8).
    pub(crate) async fn remove_ist(&self, record: &Record<H>, int_type: IrsIntType) -> Result<(), IstError> {
        let mut port = self.port(PortKind::Vmt, Command::MakeIstInvalid(record.vm, int_type)).await?;
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
        let proof = self.make_ist_invalid(port, record.key(), int_type).await?;
        let ist = record.ists.with(|ists| ists.part_mut(int_type).end(&proof));
        if let Some(ist) = ist {
            ist.into_inner().free(self.domain.platform.memory());
        }
        Ok(())
    }
}

/// The blocks of a record's ISTs that have come back.
pub(crate) fn free_all<H: Hypervisor>(host: &Host<H>, ists: [Option<Boxed<Ist<BlockOf<H>>>>; 2]) {
    for ist in ists.into_iter().flatten() {
        ist.into_inner().free(host.domain.platform.memory());
    }
}
