//! The memory of the physical IST, and who it belongs to.
//!
//! An IST is a [`Draft`] while no IRS has heard of it: it may be freed at will. [`Draft::lend`] turns it into a [`Lease`]
//! *before* the first write that names it, and from a lease nothing comes back but by [`Lease::end`], which wants a
//! [`Withdrawn`]. The only way to get one is [`withdraw`], after every IRS of the domain has said that it is idle and that
//! its IST is not valid (VMT-7 by way of LPI-1). A time-out on the way leaves the lease a lease (LIFE-10).
//!
//! Within a live two-level IST ownership is per level-1 entry. An entry that names no table may be written with VALID 0
//! (IST-18); from then on neither the entry nor the table is touched again until the whole IST has gone (IST-20), even if
//! the command that was to make it valid has timed out: whether the IRS has set VALID is unknown then, and writing the
//! entry again could change a valid one (VMT-15). Giving the command again is harmless, since the IRS ignores it if
//! the entry is valid (LPI-2).

use alloc::boxed::Box;

use gicv5_arch::entry::L1_ISTE;
use gicv5_arch::geometry::{Footprint, IstGeometry, Slot};
use gicv5_arch::irs::{IRS_IST_BASER, IRS_IST_CFGR};
use gicv5_arch::{Addr55_6, Addr55_12, AddressError, PhysAddr};
use gicv5_hal::{AllocError, Block, BlockLayout, BlockLayoutError, IrsIndex, Platform, TableMemory};

use crate::command::{CommandError, PortKind, Step};
use crate::driver::Machine;
use crate::gate::{OutOfMemory, boxed_slice};

/// There is no memory for a piece of the IST, or none that fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The table memory has none.
    #[error(transparent)]
    Memory(#[from] AllocError),
    /// The IRSs cannot reach that much memory.
    #[error(transparent)]
    Layout(#[from] BlockLayoutError),
    /// The table memory gave a block that does not lie where it was asked to.
    #[error("the table memory gave an unusable block")]
    Address(#[from] AddressError),
    /// The cache line of the table memory is not a power of two, or wider than 2 GiB.
    #[error("a cache line of {bytes:#x} bytes is not usable")]
    CacheLine {
        /// Its size.
        bytes: u64,
    },
    /// There is no memory for the driver's own records.
    #[error("no memory for the driver's records")]
    Records,
}

impl From<OutOfMemory> for TableError {
    fn from(OutOfMemory: OutOfMemory) -> TableError {
        TableError::Records
    }
}

/// A level-2 IST, as the level-1 entry that may name it stands.
enum Level2<B> {
    /// The entry has never been written.
    Absent,
    /// The entry names this table; whether it is valid is not known.
    Named(B),
    /// The IRS has confirmed that the entry is valid.
    Mapped(B),
}

/// What a caller who needs a level-2 IST has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level2State {
    Absent,
    Named,
    Mapped,
}

/// An IST that no IRS has heard of.
pub(crate) struct Draft<B> {
    base: B,
    address: Addr55_6,
    geometry: IstGeometry,
    level2: Box<[Level2<B>]>,
}

/// An IST that an IRS may read and write.
pub(crate) struct Lease<B>(Draft<B>);

/// Proof that no IRS touches the IST any more.
pub(crate) struct Withdrawn(());

/// Allocates a piece of a table, in cache lines of its own (COH-6). It is zero, also as the IRS sees it, by the contract of
/// [`TableMemory::allocate`]: it needs no publishing before something points to it (COH-5).
pub(crate) fn allocate<M: TableMemory>(
    memory: &M,
    piece: Footprint,
    highest: PhysAddr,
) -> Result<M::Block, TableError> {
    let bytes = memory.cache_line();
    let piece = piece.for_cache_line(bytes).map_err(|_| TableError::CacheLine { bytes })?;
    Ok(memory.allocate(BlockLayout::for_footprint(piece, highest)?)?)
}

impl<B: Block> Draft<B> {
    /// Allocates the base of an IST: all of it if it is linear, the level-1 table if it has two levels.
    pub(crate) fn allocate<M: TableMemory<Block = B>>(
        memory: &M,
        geometry: IstGeometry,
        highest: PhysAddr,
    ) -> Result<Draft<B>, TableError> {
        let level2 = boxed_slice(geometry.l1_entries() as usize, || Level2::Absent)?;
        let base = allocate(memory, geometry.base(), highest)?;
        match geometry.base().place(base.address()) {
            Ok(address) => Ok(Draft { base, address, geometry, level2 }),
            Err(error) => {
                memory.free(base);
                Err(error.into())
            }
        }
    }

    /// Gives all memory back.
    pub(crate) fn free<M: TableMemory<Block = B>>(self, memory: &M) {
        for table in self.level2 {
            match table {
                Level2::Absent => {}
                Level2::Named(block) | Level2::Mapped(block) => memory.free(block),
            }
        }
        memory.free(self.base);
    }

    /// From here on an IRS may know of it.
    pub(crate) fn lend(self) -> Lease<B> {
        Lease(self)
    }
}

impl<B: Block> Lease<B> {
    /// What to write to IRS_IST_CFGR.
    pub(crate) fn cfgr(&self) -> IRS_IST_CFGR {
        self.0.geometry.cfgr()
    }

    /// What to write to IRS_IST_BASER to make it valid.
    pub(crate) fn baser(&self) -> IRS_IST_BASER {
        IRS_IST_BASER::ZERO.with_addr(self.0.address).with_valid(true)
    }

    /// Bytes of table memory.
    pub(crate) fn bytes(&self) -> u64 {
        let level2 = self.0.level2.iter().map(|table| match table {
            Level2::Absent => 0,
            Level2::Named(block) | Level2::Mapped(block) => block.size(),
        });
        self.0.base.size() + level2.sum::<u64>()
    }

    /// The state of a level-1 entry.
    pub(crate) fn level2(&self, slot: Slot) -> Level2State {
        match self.0.level2.get(slot.index as usize) {
            None | Some(Level2::Absent) => Level2State::Absent,
            Some(Level2::Named(_)) => Level2State::Named,
            Some(Level2::Mapped(_)) => Level2State::Mapped,
        }
    }

    /// Writes a level-1 entry that has never been written, VALID left 0 for the IRS to set (IST-18), and publishes it. Gives
    /// the table back if it cannot be named.
    ///
    /// The caller holds the lock and the IST port: the entry shares its cache line with entries whose VALID bits the IRS
    /// writes (COH-7).
    pub(crate) fn name<M: TableMemory<Block = B>>(
        &mut self,
        memory: &M,
        publish_for: IrsIndex,
        slot: Slot,
        table: B,
        address: Addr55_12,
    ) -> Result<(), B> {
        let base = &self.0.base;
        let Some(state @ Level2::Absent) = self.0.level2.get_mut(slot.index as usize) else { return Err(table) };
        let bytes = slot.offset..slot.offset + L1_ISTE::BYTES;
        memory.prepare(publish_for, base, bytes.clone());
        memory.store64(base, slot.offset, L1_ISTE::ZERO.with_l2_addr(address).raw_value());
        memory.publish(publish_for, base, bytes);
        *state = Level2::Named(table);
        Ok(())
    }

    /// Looks whether the IRS has made a level-1 entry valid, and notes it. Only when it is idle (COH-4); nothing but the
    /// valid bit of an entry means anything to software (VMT-22).
    pub(crate) fn confirm<M: TableMemory<Block = B>>(&mut self, memory: &M, publish_for: IrsIndex, slot: Slot) -> bool {
        let base = &self.0.base;
        memory.acquire(publish_for, base, slot.offset..slot.offset + L1_ISTE::BYTES);
        let valid = L1_ISTE::new_with_raw_value(memory.load64(base, slot.offset)).valid();
        if valid && let Some(state) = self.0.level2.get_mut(slot.index as usize) {
            *state = match core::mem::replace(state, Level2::Absent) {
                Level2::Named(table) => Level2::Mapped(table),
                other => other,
            };
        }
        valid
    }

    /// The memory comes back.
    pub(crate) fn end(self, _proof: Withdrawn) -> Draft<B> {
        self.0
    }
}

/// Makes the IST invalid in every IRS of the domain. The write is harmless where it is not valid, and not left out there:
/// what a register reads is no better proof than what the IRS says when it has finished.
///
/// An IRS is asked only once nothing is under way on its IST registers, so that what it answers is final: an earlier
/// command that timed out has been settled by then.
pub(crate) fn withdraw<H: Platform>(machine: &Machine<H>) -> Result<Withdrawn, CommandError> {
    for irs in &machine.domain.irss {
        let port = machine.port(irs, PortKind::Ist, Step::WithdrawIst)?;
        port.write(Step::WithdrawIst, IRS_IST_BASER::ZERO)?;
        let found = port.read::<IRS_IST_BASER>();
        if found.valid() {
            return Err(port.no_effect(Step::WithdrawIst, found, IRS_IST_BASER::ZERO));
        }
    }
    Ok(Withdrawn(()))
}
