//! A VM's VPE table and its descriptors.

use alloc::boxed::Box;

use gicv5_arch::AddressError;
use gicv5_arch::VpeId;
use gicv5_arch::entry::{L2_VMTE, L2_VMTE_VMD, VPETE};
use gicv5_arch::geometry::VpeTableGeometry;
use gicv5_hal::{Block, IrsIndex, TableMemory};

use crate::ids::VmKey;
use crate::probe::Limits;
use gicv5_irs::heap::Heap;
use gicv5_irs::lease::{Structure, TableError, allocate, allocate_many};

/// A VPE that no VM has: selecting it selects nothing (VPE-12).
pub(crate) const NO_VPE: VpeId = VpeId::new(u16::MAX);

/// What the IRS needs of memory for a VM, ISTs apart.
pub(crate) struct Tables<B> {
    pub(crate) key: VmKey,
    /// The VM descriptor, if the IRS wants one (VM-10).
    descriptor: Option<B>,
    vpet: B,
    geometry: VpeTableGeometry,
    /// The VPE descriptors. Each is a block of its own: they may be large, and their VPE IDs sparse.
    vpe_descriptors: Box<[B]>,
}

impl<B: Block> Structure<B> for Tables<B> {
    fn blocks<'a>(&'a self) -> impl Iterator<Item = &'a B>
    where
        B: 'a,
    {
        self.descriptor.iter().chain(core::iter::once(&self.vpet)).chain(&self.vpe_descriptors)
    }

    fn free<M: TableMemory<Block = B>>(self, memory: &M) {
        for block in self.descriptor.into_iter().chain([self.vpet]).chain(self.vpe_descriptors) {
            memory.free(block);
        }
    }
}

impl<B: Block> Tables<B> {
    /// Allocates everything for these VPEs, and fills the VPE table, VALID left 0 for the IRS to set (VPE-5). Nothing is held
    /// after an error.
    ///
    /// The table is filled before the VM becomes valid, while no IRS looks at it: its entries share cache lines with each
    /// other, and need no care about what the IRS writes there meanwhile (COH-7).
    pub(crate) fn allocate<M: TableMemory<Block = B>>(
        heap: Heap<'_>,
        memory: &M,
        irs: IrsIndex,
        limits: &Limits,
        key: VmKey,
        geometry: VpeTableGeometry,
        vpes: impl ExactSizeIterator<Item = VpeId>,
    ) -> Result<Tables<B>, TableError> {
        let descriptor = match limits.vm_table.descriptor() {
            Some(descriptor) => Some(allocate(memory, descriptor.footprint(), limits.highest)?),
            None => None,
        };
        let vpet = match allocate(memory, geometry.footprint(), limits.highest) {
            Ok(vpet) => vpet,
            Err(error) => {
                descriptor.into_iter().for_each(|block| memory.free(block));
                return Err(error);
            }
        };
        let piece = limits.vpe_table.descriptor().footprint();
        let vpe_descriptors = match allocate_many(heap, memory, piece, limits.highest, vpes.len()) {
            Ok(blocks) => blocks,
            Err(error) => {
                descriptor.into_iter().chain([vpet]).for_each(|block| memory.free(block));
                return Err(error);
            }
        };
        let tables = Tables { key, descriptor, vpet, geometry, vpe_descriptors };
        match tables.fill(memory, irs, limits, vpes) {
            Ok(()) => Ok(tables),
            Err(error) => {
                tables.free(memory);
                Err(error.into())
            }
        }
    }

    fn fill<M: TableMemory<Block = B>>(
        &self,
        memory: &M,
        irs: IrsIndex,
        limits: &Limits,
        vpes: impl Iterator<Item = VpeId>,
    ) -> Result<(), AddressError> {
        let piece = limits.vpe_table.descriptor().footprint();
        let (mut first, mut last) = (u64::MAX, 0);
        for (vpe, descriptor) in vpes.zip(&self.vpe_descriptors) {
            let entry = VPETE::ZERO.with_vped_addr(piece.place(descriptor.address())?);
            // The table was sized by the highest of them.
            let Ok(slot) = self.geometry.index(vpe) else { continue };
            memory.store64(&self.vpet, slot.offset, entry.raw_value());
            first = first.min(slot.offset);
            last = last.max(slot.offset + VPETE::BYTES);
        }
        memory.publish(irs, &self.vpet, first.min(last)..last);
        Ok(())
    }

    /// Clears the entries of these VPEs: nothing names their descriptors any more (VPE-22).
    pub(crate) fn clear<M: TableMemory<Block = B>>(
        &self,
        memory: &M,
        irs: IrsIndex,
        vpes: impl Iterator<Item = VpeId>,
    ) {
        let slots = || vpes.filter_map(|vpe| self.geometry.index(vpe).ok());
        let mut end = 0;
        for slot in slots() {
            memory.store64(&self.vpet, slot.offset, 0);
            end = end.max(slot.offset + VPETE::BYTES);
        }
        memory.publish(irs, &self.vpet, 0..end);
    }

    /// The VM's entry in the VM table, VALID left 0 for the IRS to set (VM-1). It has no ISTs yet.
    pub(crate) fn entry(&self, limits: &Limits) -> Result<L2_VMTE, AddressError> {
        let entry = L2_VMTE::ZERO.with_vpet(self.geometry.vmte_word(self.vpet.address())?);
        match (&self.descriptor, limits.vm_table.descriptor()) {
            (Some(block), Some(descriptor)) => {
                let address = descriptor.footprint().place(block.address())?;
                Ok(entry.with_vmd(L2_VMTE_VMD::ZERO.with_vmd_addr(address)))
            }
            _ => Ok(entry),
        }
    }
}
