//! Two-level tables: the VM table and ISTs alike.
//!
//! With two levels a table starts with its level-1 table alone. Once a level-1 entry names a level-2 table, neither is touched
//! again until the whole table is invalid, even if the command that was to make the entry valid has timed out: whether the IRS
//! has set VALID is unknown then, and writing the entry again could change a valid one (VMT-15). Giving the command again is
//! harmless, since the IRS ignores it if the entry is valid (VMT-14, LPI-2).

use alloc::boxed::Box;

use gicv5_arch::entry::{L1_ISTE, L1_VMTE};
use gicv5_arch::geometry::{Footprint, IstGeometry, Slot, VmTableGeometry};
use gicv5_arch::irs::IrsReg;
use gicv5_arch::register::Register;
use gicv5_arch::{AddressError, PhysAddr};
use gicv5_hal::{Block, IrsIndex, Platform, TableMemory};

use crate::command::{Command, CommandError, Place, TableEntry};
use crate::command_port::Port;
use crate::domain::{BlockOf, Domain};
use crate::heap::boxed_slice;
use crate::lease::{Spare, Structure, TableError};

/// The bytes of a level-1 entry, of either kind.
const ENTRY: u64 = 8;

/// What tells the kinds of tables apart.
pub trait Layout: Copy {
    /// Which entry names a level-2 table.
    const ENTRY: TableEntry;

    /// All of a linear table, or the level-1 table.
    fn base(self) -> Footprint;

    /// One level-2 table; `None` if the table is linear.
    fn level2(self) -> Option<Footprint>;

    /// The number of level-1 entries, 0 if the table is linear.
    fn l1_entries(self) -> u32;

    /// The base address, as a register or an entry is given it.
    ///
    /// # Errors
    ///
    /// [`AddressError`] if a table cannot lie there.
    fn check_base(self, address: PhysAddr) -> Result<(), AddressError>;

    /// The level-1 entry that names a level-2 table.
    ///
    /// # Errors
    ///
    /// [`AddressError`] if a level-2 table cannot lie there.
    fn entry(piece: Footprint, address: PhysAddr, valid: bool) -> Result<u64, AddressError>;

    /// Whether a level-1 entry is valid.
    fn is_valid(entry: u64) -> bool;
}

macro_rules! layout {
    ($geometry:ty, $entry:ident, $name:ident, $base:ty) => {
        impl Layout for $geometry {
            const ENTRY: TableEntry = TableEntry::$name;

            fn base(self) -> Footprint {
                self.base()
            }

            fn level2(self) -> Option<Footprint> {
                self.level2()
            }

            fn l1_entries(self) -> u32 {
                self.l1_entries()
            }

            fn check_base(self, address: PhysAddr) -> Result<(), AddressError> {
                let placed: Result<$base, AddressError> = self.base().place(address);
                placed.map(|_| ())
            }

            fn entry(piece: Footprint, address: PhysAddr, valid: bool) -> Result<u64, AddressError> {
                Ok($entry::ZERO.with_l2_addr(piece.place(address)?).with_valid(valid).raw_value())
            }

            fn is_valid(entry: u64) -> bool {
                $entry::new_with_raw_value(entry).valid()
            }
        }
    };
}

layout!(VmTableGeometry, L1_VMTE, L1Vmte, gicv5_arch::Addr55_3);
layout!(IstGeometry, L1_ISTE, L1Iste, gicv5_arch::Addr55_6);

/// A level-2 table, as the level-1 entry that may name it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level2<B> {
    /// The entry has never been written.
    Absent,
    /// The entry names this table; whether it is valid is not known.
    Named(B),
    /// The IRS has confirmed that the entry is valid.
    Mapped(B),
}

impl<B> Level2<B> {
    /// The table.
    pub fn block(&self) -> Option<&B> {
        match self {
            Level2::Absent => None,
            Level2::Named(block) | Level2::Mapped(block) => Some(block),
        }
    }

    /// How far it is, without the table.
    pub fn stage(&self) -> Level2<()> {
        match self {
            Level2::Absent => Level2::Absent,
            Level2::Named(_) => Level2::Named(()),
            Level2::Mapped(_) => Level2::Mapped(()),
        }
    }
}

/// A table of one level or two.
pub struct Levels<B, G> {
    geometry: G,
    base: B,
    /// By level-1 index; empty if the table is linear.
    level2: Box<[Level2<B>]>,
}

impl<B: Block, G> Structure<B> for Levels<B, G> {
    fn blocks<'a>(&'a self) -> impl Iterator<Item = &'a B>
    where
        B: 'a,
    {
        core::iter::once(&self.base).chain(self.level2.iter().filter_map(Level2::block))
    }

    fn free<M: TableMemory<Block = B>>(mut self, memory: &M) {
        self.free_level2(memory);
        memory.free(self.base);
    }
}

impl<B: Block, G> Levels<B, G> {
    fn free_level2<M: TableMemory<Block = B>>(&mut self, memory: &M) {
        for table in &mut self.level2 {
            match core::mem::replace(table, Level2::Absent) {
                Level2::Absent => {}
                Level2::Named(block) | Level2::Mapped(block) => memory.free(block),
            }
        }
    }
}

impl<B: Block, G: Layout> Levels<B, G> {
    /// Allocates the base: all entries of a linear table, or the level-1 table.
    ///
    /// # Errors
    ///
    /// [`TableError`]; nothing is held.
    pub fn allocate<P: Platform>(domain: &Domain<P>, geometry: G) -> Result<Levels<B, G>, TableError>
    where
        P::Memory: TableMemory<Block = B>,
    {
        let level2 = boxed_slice(&domain.heap(), geometry.l1_entries() as usize, || Level2::Absent)?;
        let base = domain.allocate(geometry.base())?;
        let table = Levels { geometry, base, level2 };
        match geometry.check_base(table.base.address()) {
            Ok(()) => Ok(table),
            Err(error) => {
                table.free(domain.memory());
                Err(error.into())
            }
        }
    }

    /// Allocates every level-2 table as well, and names it in its entry with VALID set, as software may while the whole is
    /// not valid (IST-21).
    ///
    /// # Errors
    ///
    /// [`TableError`]; nothing is held.
    pub fn allocate_whole<P: Platform>(domain: &Domain<P>, geometry: G) -> Result<Levels<B, G>, TableError>
    where
        P::Memory: TableMemory<Block = B>,
    {
        let mut table = Levels::allocate(domain, geometry)?;
        let Some(piece) = geometry.level2() else { return Ok(table) };
        match table.fill(domain, piece) {
            Ok(()) => Ok(table),
            Err(error) => {
                table.free(domain.memory());
                Err(error)
            }
        }
    }

    fn fill<P: Platform>(&mut self, domain: &Domain<P>, piece: Footprint) -> Result<(), TableError>
    where
        P::Memory: TableMemory<Block = B>,
    {
        let memory = domain.memory();
        for (n, place) in (0..).zip(&mut self.level2) {
            let table = domain.allocate(piece)?;
            let entry = G::entry(piece, table.address(), true);
            *place = Level2::Mapped(table);
            memory.store64(&self.base, n * ENTRY, entry?);
        }
        memory.publish(domain.publish_for, &self.base, 0..self.level2.len() as u64 * ENTRY);
        Ok(())
    }

    /// Its shape.
    pub fn geometry(&self) -> G {
        self.geometry
    }

    /// All of a linear table, or the level-1 table.
    pub fn base(&self) -> &B {
        &self.base
    }

    /// Bytes of level-2 tables of which it is not known whether they are valid.
    pub fn unconfirmed_bytes(&self) -> u64 {
        let named = |table: &Level2<B>| match table {
            Level2::Named(block) => block.size(),
            Level2::Absent | Level2::Mapped(_) => 0,
        };
        self.level2.iter().map(named).sum()
    }

    /// The level-2 table of a level-1 entry.
    pub fn level2(&self, slot: Slot) -> Option<&Level2<B>> {
        self.level2.get(slot.index as usize)
    }

    /// Writes a level-1 entry that has never been written, VALID left 0 for the IRS to set (VMT-13, IST-18), and publishes it.
    /// The caller owns the port: the entry shares its cache line with entries whose VALID bits the IRS writes (COH-7).
    ///
    /// # Errors
    ///
    /// The table, if it cannot be named.
    pub fn name<M: TableMemory<Block = B>>(
        &mut self,
        memory: &M,
        irs: IrsIndex,
        slot: Slot,
        table: B,
        entry: u64,
    ) -> Result<(), B> {
        let Some(state @ Level2::Absent) = self.level2.get_mut(slot.index as usize) else { return Err(table) };
        let bytes = slot.offset..slot.offset + ENTRY;
        memory.prepare(irs, &self.base, bytes.clone());
        memory.store64(&self.base, slot.offset, entry);
        memory.publish(irs, &self.base, bytes);
        *state = Level2::Named(table);
        Ok(())
    }

    /// Looks whether the IRS has made a level-1 entry valid, and notes it. Only when it is idle (COH-4); nothing but the valid
    /// bit of an entry means anything to software (VMT-22).
    ///
    /// # Errors
    ///
    /// The entry, if it is not valid.
    pub fn confirm<M: TableMemory<Block = B>>(&mut self, memory: &M, irs: IrsIndex, slot: Slot) -> Result<(), u64> {
        memory.acquire(irs, &self.base, slot.offset..slot.offset + ENTRY);
        let entry = memory.load64(&self.base, slot.offset);
        if !G::is_valid(entry) {
            return Err(entry);
        }
        if let Some(state) = self.level2.get_mut(slot.index as usize) {
            *state = match core::mem::replace(state, Level2::Absent) {
                Level2::Named(table) => Level2::Mapped(table),
                other => other,
            };
        }
        Ok(())
    }

    /// Makes a table that has been withdrawn as it was at first: no level-2 tables, every entry zero (VMT-12).
    pub fn clear<M: TableMemory<Block = B>>(&mut self, memory: &M, irs: IrsIndex) {
        self.free_level2(memory);
        let bytes = 0..self.base.size();
        for word in bytes.clone().step_by(8) {
            memory.store64(&self.base, word, 0);
        }
        memory.publish(irs, &self.base, bytes);
    }
}

/// One block as a structure.
struct Piece<B>(B);

impl<B: Block> Structure<B> for Piece<B> {
    fn blocks<'a>(&'a self) -> impl Iterator<Item = &'a B>
    where
        B: 'a,
    {
        core::iter::once(&self.0)
    }

    fn free<M: TableMemory<Block = B>>(self, memory: &M) {
        memory.free(self.0);
    }
}

/// Why a level-2 table could not be made valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// There is no memory for it.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The IRS did not do what it was asked to.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The table that it belongs to is not there any more.
    #[error("the table is gone")]
    Gone,
}

/// A two-level table that several callers share.
pub trait Shared<P: Platform, G> {
    /// Uses the table alone, as it is now; `None` if it is not there.
    fn with<R>(&self, f: impl FnOnce(Option<&mut Levels<BlockOf<P>, G>>) -> R) -> R;
}

/// Makes sure that a level-2 table exists and is valid: allocates and names it if need be, and has the IRS map it.
///
/// The port serialises this; what another caller did meanwhile is looked at again once it is taken (VMT-23).
///
/// # Errors
///
/// [`ReachError`].
pub async fn reach<'d, P: Platform, G: Layout, R: Register<Reg = IrsReg>>(
    domain: &'d Domain<P>,
    table: &impl Shared<P, G>,
    slot: Slot,
    command: Command,
    map: R,
    port: impl Future<Output = Result<Port<'d, P>, CommandError>>,
) -> Result<(), ReachError> {
    let (memory, irs) = (domain.memory(), domain.publish_for);
    let allocate = |piece| Ok::<_, TableError>(Piece(domain.allocate(piece)?));
    let stage = || {
        table.with(|table| {
            let table = table.ok_or(ReachError::Gone)?;
            let piece = table.geometry().level2().ok_or(ReachError::Gone)?;
            Ok::<_, ReachError>((table.level2(slot).ok_or(ReachError::Gone)?.stage(), piece))
        })
    };
    // Memory is allocated before the port is taken, so that nothing waits for the allocator.
    let mut spare = Spare::new(memory, None);
    match stage()? {
        (Level2::Mapped(()), _) => return Ok(()),
        (Level2::Named(()), _) => {}
        (Level2::Absent, piece) => spare.content = Some(allocate(piece)?),
    }
    let mut port = port.await?;
    let confirm = || table.with(|table| table.map_or(Err(0), |table| table.confirm(memory, irs, slot)));
    match stage()? {
        (Level2::Mapped(()), _) => return Ok(()),
        // An earlier command for it timed out, and is over now. It may have done its work.
        (Level2::Named(()), _) => {
            if confirm().is_ok() {
                return Ok(());
            }
        }
        (Level2::Absent, piece) => {
            // The whole table may have been withdrawn and made anew since the first look.
            let block = match spare.content.take() {
                Some(block) => block,
                None => allocate(piece)?,
            };
            let entry = G::entry(piece, block.0.address(), false);
            let named = match entry {
                Ok(entry) => table.with(|table| match table {
                    Some(table) => {
                        table.name(memory, irs, slot, block.0, entry).map_err(|block| (block, ReachError::Gone))
                    }
                    None => Err((block.0, ReachError::Gone)),
                }),
                Err(error) => Err((block.0, TableError::from(error).into())),
            };
            if let Err((block, error)) = named {
                memory.free(block);
                return Err(error);
            }
        }
    }
    port.issue(command, map).await?;
    Ok(confirm().map_err(|entry| port.no_effect(command, Place::Entry(G::ENTRY), entry))?)
}
