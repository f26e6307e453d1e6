//! A VM's VPE table, its descriptors, and how a VPE becomes valid.

use alloc::boxed::Box;

use gicv5_arch::entry::{L2_VMTE, L2_VMTE_VMD, VPETE};
use gicv5_arch::geometry::VpeTableGeometry;
use gicv5_arch::irs::{IRS_VMAP_VPER, IRS_VPE_CR0, IRS_VPE_DBR, IRS_VPE_SELR, IRS_VPE_STATUSR, IrsReg};
use gicv5_arch::{AddressError, Lpi, Priority, VmId, VpeId};
use gicv5_hal::{Block, IrsIndex, TableMemory};

use crate::Hypervisor;
use crate::doorbell::DoorbellSet;
use crate::host::host::Host;
use crate::memory::VmKey;
use crate::probe::Limits;
use gicv5_irs::command::{Command, CommandError, Place};
use gicv5_irs::heap::Heap;
use gicv5_irs::lease::{Structure, TableError, allocate, allocate_many};
use gicv5_irs::port::PortKind;

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

impl<H: Hypervisor> Host<H> {
    /// Makes a VPE of a valid VM valid, and its settings what they must be. There is no other way to make one valid, so
    /// that none is without its settings (VPE-10, VPE-11).
    pub(crate) async fn make_vpe_valid(&self, vm: VmId, vpe: VpeId, lpi: Lpi) -> Result<DoorbellSet, CommandError> {
        let command = Command::MakeVpeValid(vm, vpe);
        let mut port = self.port(PortKind::Vmt, command).await?;
        port.issue(command, IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(vm).with_vpe_id(vpe)).await?;
        drop(port);
        self.configure_vpe(vm, vpe, lpi).await
    }

    /// Selects a VPE, which shows whether it is valid (VPE-12), takes it out of 1-of-N selection and gives it its doorbell,
    /// with no request.
    pub(crate) async fn configure_vpe(&self, vm: VmId, vpe: VpeId, lpi: Lpi) -> Result<DoorbellSet, CommandError> {
        let command = Command::SelectVpe(vm, vpe);
        let mut port = self.port(PortKind::Vpe, command).await?;
        let select = |vpe| IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe);
        // V says that a VPE is selected, not which (GEN-17): if the selection below has no effect, one that was selected before
        // would be taken for this one, and get its doorbell. So nothing is selected first.
        let status = port.issue(command, select(NO_VPE)).await?;
        if IRS_VPE_STATUSR::new_with_raw_value(status as u32).v() {
            return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VPE_STATUSR), status));
        }
        port.issue_valid(command, select(vpe)).await?;

        let command = Command::ConfigureVpe(vm, vpe);
        port.issue_valid(command, IRS_VPE_CR0::ZERO.with_dps(true)).await?;
        // Without 1-of-N the register may read as zero (open question 20).
        if self.limits.one_of_n {
            let found: IRS_VPE_CR0 = port.read();
            if !found.dps() {
                return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VPE_CR0), found.raw_value().into()));
            }
        }

        let command = Command::SetDoorbell(vm, vpe);
        // The mask of a request replaces this one (DB-10). If it counts as well, it is in nobody's way.
        let open = self.doorbells.mask.letting_through(Priority::LEAST_URGENT);
        let settings = IRS_VPE_DBR::ZERO.with_dbv(true).with_dbpm(open).with_intid(lpi);
        port.issue_valid(command, settings).await?;
        // A doorbell that is not set is a vCPU that sleeps for ever, so it is worth another look (DB-6).
        let found: IRS_VPE_DBR = port.read();
        if !found.dbv() || found.intid() != lpi {
            return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VPE_DBR), found.raw_value()));
        }
        Ok(DoorbellSet(()))
    }
}
