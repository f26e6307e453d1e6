//! Whose memory is whose.
//!
//! What an IRS may touch is *lent*: there is a [`Lease`] of it, and from a lease nothing comes back but against a proof
//! made by a completed command that made the enclosing structure invalid. A proof names the VM and its generation, and only
//! this module can make one: [`Host::make_vm_invalid`], [`Host::make_ist_invalid`] and [`Host::withdraw_table`] are the three
//! ways. A time-out on the way leaves the lease a lease (LIFE-10).
//!
//! Within a live table ownership is per entry: an entry that is still invalid may be filled, with VALID left 0 (VMT-13,
//! VMT-17, IST-2). Entries of different VMs share cache lines, and so do the words of one entry; nothing is written to a line
//! while the IRS may write to it, because every edit is made by the owner of the port that the commands go through
//! (COH-7, VMT-21).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;

use gicv5_arch::entry::{L2_VMTE, L2_VMTE_IST, L2_VMTE_VMD};
use gicv5_arch::geometry::Footprint;
use gicv5_arch::irs::{IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMT_BASER, IrsReg};
use gicv5_arch::values::MapAction;
use gicv5_arch::{AddressError, IrsIntType, PhysAddr, VmId};
use gicv5_hal::{AllocError, Block, BlockLayout, BlockLayoutError, Lock, TableMemory};

use crate::Hypervisor;
use crate::boxed::{Boxed, Heap, OutOfMemory, reserve};
use crate::command::{Command, CommandError, Place, Port};
use crate::error::Fault;
use crate::host::host::Host;
use crate::tables::ist::Ist;
use crate::tables::vm_table::VmTable;
use crate::tables::vpe_table::Tables;

/// A VM over its life: no other VM has the same, whatever its ID. Its ID in bits 15 to 0, its generation above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VmKey(u64);

impl VmKey {
    pub(crate) const fn new(vm: VmId, generation: u64) -> VmKey {
        VmKey(generation << 16 | vm.raw_value() as u64)
    }

    pub(crate) const fn vm(self) -> VmId {
        VmId::new(self.0 as u16)
    }

    /// VMs are counted from 0. At a million each second it takes 8 years to run out of numbers.
    pub(crate) const fn generation(self) -> u64 {
        self.0 >> 16
    }
}

/// There is no memory for a table, or none that fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The table memory has none.
    #[error(transparent)]
    Memory(#[from] AllocError),
    /// The IRS cannot reach that much memory.
    #[error(transparent)]
    Layout(#[from] BlockLayoutError),
    /// The table memory gave a block that does not lie where it was asked to.
    #[error("the table memory gave an unusable block")]
    Address(#[from] AddressError),
    /// The cache line of the table memory is not a power of two.
    #[error("a cache line of {bytes:#x} bytes is not usable")]
    CacheLine {
        /// Its size.
        bytes: u64,
    },
    /// There is no memory for the library's own records.
    #[error("no memory for the library's records")]
    Records,
}

impl TableError {
    /// Whose fault it is: there is no memory, or what was configured cannot be had of this table memory.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            TableError::Memory(_) | TableError::Records => Fault::Capacity,
            TableError::Layout(_) | TableError::Address(_) | TableError::CacheLine { .. } => Fault::Caller,
        }
    }
}

impl From<OutOfMemory> for TableError {
    fn from(OutOfMemory: OutOfMemory) -> TableError {
        TableError::Records
    }
}

/// Allocates a structure, in cache lines of its own (COH-6, VPE-21). It is zero, also as the IRS sees it, by the contract of
/// [`TableMemory::allocate`]: it needs no publishing before something points to it (COH-5).
pub(crate) fn allocate<M: TableMemory>(
    memory: &M,
    piece: Footprint,
    highest: PhysAddr,
) -> Result<M::Block, TableError> {
    let bytes = memory.cache_line();
    let piece = piece.for_cache_line(bytes).map_err(|_| TableError::CacheLine { bytes })?;
    let block = memory.allocate(BlockLayout::for_footprint(piece, highest)?)?;
    Ok(block)
}

/// Allocates several structures alike, all or none.
pub(crate) fn allocate_many<M: TableMemory>(
    heap: Heap<'_>,
    memory: &M,
    piece: Footprint,
    highest: PhysAddr,
    count: usize,
) -> Result<Box<[M::Block]>, TableError> {
    let mut blocks = Vec::new();
    reserve(heap, &mut blocks, count)?;
    for _ in 0..count {
        match allocate(memory, piece, highest) {
            Ok(block) => blocks.push(block),
            Err(error) => {
                for block in blocks {
                    memory.free(block);
                }
                return Err(error);
            }
        }
    }
    Ok(blocks.into_boxed_slice())
}

/// Something made of table memory, which names what it belongs to.
pub(crate) trait Structure<B: Block>: Sized {
    /// Every block of it.
    fn blocks<'a>(&'a self) -> impl Iterator<Item = &'a B>
    where
        B: 'a;

    /// Gives the memory back.
    fn free<M: TableMemory<Block = B>>(self, memory: &M);

    /// Bytes of table memory.
    fn bytes(&self) -> u64 {
        self.blocks().map(Block::size).sum()
    }
}

/// Proof that no IRS touches a structure of this type any more.
pub(crate) trait Proof<T> {
    /// Whether it is about this one.
    fn covers(&self, content: &T) -> bool;
}

/// What an IRS may touch.
pub(crate) struct Lease<T>(T);

/// A structure, and how far it has come.
pub(crate) enum Part<T> {
    /// There is none.
    Absent,
    /// No IRS has heard of it.
    Draft(T),
    /// An IRS may touch it.
    Lent(Lease<T>),
}

impl<T> Part<T> {
    /// From here on an IRS may know of it. Returns the structure; `None` if there is none, or it is lent already.
    pub(crate) fn lend(&mut self) -> Option<&T> {
        *self = Part::Lent(Lease(self.take_draft()?));
        self.content()
    }

    /// What there is, to read addresses from.
    pub(crate) fn content(&self) -> Option<&T> {
        match self {
            Part::Absent => None,
            Part::Draft(content) | Part::Lent(Lease(content)) => Some(content),
        }
    }

    /// What there is. Blocks may be added to what is lent, and must not be taken out of it.
    pub(crate) fn content_mut(&mut self) -> Option<&mut T> {
        match self {
            Part::Absent => None,
            Part::Draft(content) | Part::Lent(Lease(content)) => Some(content),
        }
    }

    /// True if an IRS may touch it.
    pub(crate) fn is_lent(&self) -> bool {
        matches!(self, Part::Lent(_))
    }

    /// Takes it if no IRS has heard of it.
    pub(crate) fn take_draft(&mut self) -> Option<T> {
        match core::mem::replace(self, Part::Absent) {
            Part::Draft(content) => Some(content),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes it back against a proof. A draft needs none.
    pub(crate) fn end(&mut self, proof: &impl Proof<T>) -> Option<T> {
        match core::mem::replace(self, Part::Absent) {
            Part::Draft(content) => Some(content),
            Part::Lent(Lease(content)) if proof.covers(&content) => Some(content),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// Proof that a VM is invalid: no IRS touches anything of it (VM-6).
pub(crate) struct VmInvalid(VmKey);

impl<B> Proof<Tables<B>> for VmInvalid {
    fn covers(&self, tables: &Tables<B>) -> bool {
        tables.key == self.0
    }
}

impl<B> Proof<Boxed<Ist<B>>> for VmInvalid {
    fn covers(&self, ist: &Boxed<Ist<B>>) -> bool {
        ist.key == self.0
    }
}

/// Proof that an IST of a VM is invalid (IST-7). It holds as long as the port is not given back: then the VM may get
/// another IST, which it would cover as well.
pub(crate) struct IstInvalid<'p>(VmKey, IrsIntType, PhantomData<&'p ()>);

impl<B> Proof<Boxed<Ist<B>>> for IstInvalid<'_> {
    fn covers(&self, ist: &Boxed<Ist<B>>) -> bool {
        (ist.key, ist.int_type) == (self.0, self.1)
    }
}

/// Proof that the VM table is invalid, and everything behind it (VMT-6, VMT-7).
pub(crate) struct TableWithdrawn {
    /// VMs of this generation and later may have become valid since.
    before: u64,
}

impl TableWithdrawn {
    /// What it proves about a VM.
    pub(crate) fn about(&self, key: VmKey) -> Option<VmInvalid> {
        if key.generation() < self.before { Some(VmInvalid(key)) } else { None }
    }
}

impl<B> Proof<VmTable<B>> for TableWithdrawn {
    fn covers(&self, _: &VmTable<B>) -> bool {
        true
    }
}

impl<H: Hypervisor> Host<H> {
    /// Makes a VM invalid, sees that it is, and leaves its entry all zero for the next one of this ID (VM-2, VM-14).
    ///
    /// It is harmless, and not left out, where the VM has not become valid: an earlier command to make it so may have timed
    /// out, and is over now that the port is taken.
    pub(crate) async fn make_vm_invalid(&self, port: &mut Port<'_, H>, key: VmKey) -> Result<VmInvalid, CommandError> {
        let command = Command::MakeVmInvalid(key.vm());
        let value = IRS_VMAP_VMR::ZERO.with_m(true).with_u(MapAction::MakeInvalid).with_vm_id(key.vm());
        port.issue(command, value).await?;
        let cleared = self.with_entry(key.vm(), |memory, block, offset| {
            let bytes = offset..offset + L2_VMTE::BYTES;
            memory.acquire(self.publish_for, block, bytes.clone());
            let word = memory.load64(block, offset);
            if L2_VMTE_VMD::new_with_raw_value(word).valid() {
                return Err(word);
            }
            memory.prepare(self.publish_for, block, bytes.clone());
            for word in (0..L2_VMTE::BYTES).step_by(8) {
                memory.store64(block, offset + word, 0);
            }
            memory.publish(self.publish_for, block, bytes);
            Ok(())
        });
        match cleared {
            Some(Ok(())) => Ok(VmInvalid(key)),
            Some(Err(word)) => Err(port.no_effect(command, Place::Entry("L2_VMTE"), word)),
            None => Err(port.no_effect(command, Place::Entry("L1_VMTE"), 0)),
        }
    }

    /// Makes an IST of a valid VM invalid, sees that it is, and leaves its word of the VM's entry zero (IST-5).
    pub(crate) async fn make_ist_invalid<'p>(
        &self,
        port: &'p mut Port<'_, H>,
        key: VmKey,
        int_type: IrsIntType,
    ) -> Result<IstInvalid<'p>, CommandError> {
        let command = Command::MakeIstInvalid(key.vm(), int_type);
        let value = IRS_VMAP_VISTR::ZERO
            .with_m(true)
            .with_u(MapAction::MakeInvalid)
            .with_int_type(int_type)
            .with_vm_id(key.vm());
        port.issue(command, value).await?;
        let cleared = self.with_ist_word(key.vm(), int_type, |memory, block, bytes| {
            memory.acquire(self.publish_for, block, bytes.clone());
            let word = memory.load64(block, bytes.start);
            if L2_VMTE_IST::new_with_raw_value(word).ist_valid() {
                return Err(word);
            }
            memory.prepare(self.publish_for, block, bytes.clone());
            memory.store64(block, bytes.start, 0);
            memory.publish(self.publish_for, block, bytes);
            Ok(())
        });
        match cleared {
            Some(Ok(())) => Ok(IstInvalid(key, int_type, PhantomData)),
            Some(Err(word)) => Err(port.no_effect(command, Place::Entry("L2_VMTE"), word)),
            None => Err(port.no_effect(command, Place::Entry("L1_VMTE"), 0)),
        }
    }

    /// Makes the VM table invalid, with everything behind it (VMT-6), in every IRS that may have been given it.
    ///
    /// The write is harmless where it is not valid, and not left out there: what a register reads is no better proof than
    /// what the IRS says when it has finished. No VM may become valid meanwhile; the caller has seen to it that none is
    /// being initialised.
    pub(crate) async fn withdraw_table(&self, port: &mut Port<'_, H>) -> Result<TableWithdrawn, CommandError> {
        let command = Command::WithdrawTable;
        for irs in self.irss() {
            port.turn_to(irs, command).await?;
            port.issue(command, IRS_VMT_BASER::ZERO).await?;
            let found: IRS_VMT_BASER = port.read();
            if found.valid() {
                return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VMT_BASER), found.raw_value()));
            }
        }
        Ok(TableWithdrawn { before: self.core.with(|core| core.next_generation) })
    }
}
