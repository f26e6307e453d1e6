//! A VM's VPE table and its descriptors.

use alloc::boxed::Box;

use gicv5_arch::entry::{L2_VMTE, L2_VMTE_VMD, VPETE};
use gicv5_arch::geometry::{Footprint, VpeTableGeometry};
use gicv5_arch::{AddressError, PhysAddr, VpeId};
use gicv5_hal::{Block, IrsIndex, TableMemory};

use crate::Hypervisor;
use crate::ids::VmKey;
use crate::machine::Machine;
use crate::probe::Limits;
use gicv5_irs::lease::{Structure, TableError, allocate_many};

/// A VPE that no VM has: selecting it selects nothing (VPE-12).
pub(crate) const NO_VPE: VpeId = VpeId::new(u16::MAX);

/// How many VPE descriptors each of so many blocks has room for.
const fn in_each(vpes: usize, blocks: usize) -> usize {
    vpes.div_ceil(if blocks == 0 { 1 } else { blocks })
}

/// What the IRS needs of memory for a VM, ISTs apart.
pub(crate) struct Tables<B> {
    pub(crate) key: VmKey,
    /// The VM descriptor, if the IRS wants one (VM-10).
    descriptor: Option<B>,
    vpet: B,
    geometry: VpeTableGeometry,
    /// The VPE descriptors side by side, in the order of the VPEs and not by their IDs, which may be sparse (VPE-21): in one
    /// block, or in several alike where the host has none so large.
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
    pub(crate) fn allocate<H: Hypervisor<Memory: TableMemory<Block = B>>>(
        machine: &Machine<H>,
        key: VmKey,
        geometry: VpeTableGeometry,
        vpes: impl ExactSizeIterator<Item = VpeId>,
    ) -> Result<Tables<B>, TableError> {
        let (domain, limits) = (&machine.domain, &machine.limits);
        let memory = domain.memory();
        let descriptor = match limits.vm_table.descriptor() {
            Some(descriptor) => Some(domain.allocate(descriptor.footprint())?),
            None => None,
        };
        let vpet = match domain.allocate(geometry.footprint()) {
            Ok(vpet) => vpet,
            Err(error) => {
                descriptor.into_iter().for_each(|block| memory.free(block));
                return Err(error);
            }
        };
        let piece = limits.vpe_table.descriptor().footprint();
        let most = machine.contiguous_bytes.checked_div(piece.stride()).unwrap_or(0);
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        let blocks = vpes.len().div_ceil(most);
        let array = piece.array(in_each(vpes.len(), blocks) as u64);
        let vpe_descriptors = match allocate_many(&domain.heap(), memory, array, domain.highest, blocks) {
            Ok(blocks) => blocks,
            Err(error) => {
                descriptor.into_iter().chain([vpet]).for_each(|block| memory.free(block));
                return Err(error);
            }
        };
        let tables = Tables { key, descriptor, vpet, geometry, vpe_descriptors };
        match tables.fill(memory, domain.publish_for, piece, vpes) {
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
        piece: Footprint,
        vpes: impl ExactSizeIterator<Item = VpeId>,
    ) -> Result<(), AddressError> {
        let in_each = in_each(vpes.len(), self.vpe_descriptors.len()) as u64;
        let offsets = || (0..in_each).map(|n| n * piece.stride());
        let descriptors =
            self.vpe_descriptors.iter().flat_map(|block| offsets().map(|at| PhysAddr::new(block.address().raw() + at)));
        let (mut first, mut last) = (u64::MAX, 0);
        for (vpe, descriptor) in vpes.zip(descriptors) {
            let entry = VPETE::ZERO.with_vped_addr(piece.place(descriptor?)?);
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
