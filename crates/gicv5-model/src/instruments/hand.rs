//! Tables made by hand.
//!
//! For tests that write down what a hypervisor's library would do, step by step, and do some of it wrong: a [`Table`] knows its
//! shape and its place, so that an entry that points to it takes one call.

use crate::parts::lpi_books::ModelLpi;
use gicv5_arch::entry::{L2_VMTE_IST, L2_VMTE_VPET, VPETE};
use gicv5_arch::geometry::{DescriptorGeometry, Footprint, IstGeometry, VmTableGeometry, VpeTableGeometry};
use gicv5_arch::irs::{IRS_VMT_BASER, IRS_VPE_DBR, IRS_VPE_SELR};
use gicv5_arch::{AddressError, IrsIntId, PhysAddr, Priority, VmId, VpeId};
use gicv5_hal::{Block, BlockLayout, CurrentPe, HostLpis, IrsExt, IrsIndex, TableMemory};

use crate::instruments::host::{HostError, ModelHost};
use crate::memory::ModelBlock;

/// The shape of a structure that an IRS walks.
pub trait Shape: Copy {
    /// The size and alignment of what has to be allocated for it; of a structure with two levels, for the first.
    fn footprint(self) -> Footprint;
}

/// A level-2 table, which is a size and an alignment and nothing else.
impl Shape for Footprint {
    fn footprint(self) -> Footprint {
        self
    }
}

impl Shape for VmTableGeometry {
    fn footprint(self) -> Footprint {
        self.base()
    }
}

impl Shape for VpeTableGeometry {
    fn footprint(self) -> Footprint {
        VpeTableGeometry::footprint(self)
    }
}

impl Shape for DescriptorGeometry {
    fn footprint(self) -> Footprint {
        DescriptorGeometry::footprint(self)
    }
}

impl Shape for IstGeometry {
    fn footprint(self) -> Footprint {
        self.base()
    }
}

/// A structure in memory, all zero when it is [made](ModelHost::table).
///
/// It is software's, and so is the rest: nothing here knows whether an IRS has taken it. To give its memory back, free
/// [`block`](Self::block).
#[derive(Debug)]
pub struct Table<S> {
    /// Its shape.
    pub shape: S,
    /// Its memory.
    pub block: ModelBlock,
}

impl<S> Table<S> {
    /// Where it is.
    #[must_use]
    pub fn address(&self) -> PhysAddr {
        self.block.address()
    }
}

impl Table<VpeTableGeometry> {
    /// The word of a VM's entry that points to the VPE table.
    ///
    /// # Errors
    ///
    /// [`AddressError`] if the word cannot hold the address.
    pub fn vmte_word(&self) -> Result<L2_VMTE_VPET, AddressError> {
        self.shape.vmte_word(self.address())
    }
}

impl Table<DescriptorGeometry> {
    /// The VPE table entry that points to the descriptor, with VALID=0.
    ///
    /// # Errors
    ///
    /// [`AddressError`] if the entry cannot hold the address.
    pub fn vpete(&self) -> Result<VPETE, AddressError> {
        Ok(VPETE::ZERO.with_vped_addr(self.shape.footprint().place(self.address())?))
    }
}

impl Table<IstGeometry> {
    /// The word of a VM's entry that describes the IST, with IST_VALID=0.
    ///
    /// # Errors
    ///
    /// [`AddressError`] if the word cannot hold the address.
    pub fn vmte_word(&self) -> Result<L2_VMTE_IST, AddressError> {
        self.shape.vmte_word(self.address())
    }
}

/// What software does by hand, with the first IRS.
impl ModelHost {
    /// Allocates a structure, in whole cache lines of its own (COH-6).
    ///
    /// # Errors
    ///
    /// [`HostError`] if there is no memory for it.
    pub fn table<S: Shape>(&self, shape: S) -> Result<Table<S>, HostError> {
        let footprint = shape.footprint();
        let line = self.machine().cache_line();
        let (size, alignment) = (footprint.size().next_multiple_of(line), footprint.alignment().max(line));
        let highest = PhysAddr::highest(footprint.address_bits());
        Ok(Table { shape, block: self.machine().allocate(BlockLayout::new(size, alignment, highest)?)? })
    }

    /// Stores words from an offset in bytes on, and publishes them for the first IRS (COH-1, COH-2, COH-7).
    pub fn store<S>(&self, table: &Table<S>, offset: u64, words: &[u64]) {
        const IRS: IrsIndex = IrsIndex(0);
        let bytes = offset..offset.saturating_add(words.len() as u64 * 8);
        self.machine().prepare(IRS, &table.block, bytes.clone());
        for (word, n) in words.iter().zip(0..) {
            self.machine().store64(&table.block, offset.saturating_add(n * 8), *word);
        }
        self.machine().publish(IRS, &table.block, bytes);
    }

    /// Gives the first IRS the VM table: its shape, then its address with VALID=1 (VMT-1).
    ///
    /// # Errors
    ///
    /// [`HostError`] if the register cannot hold the address, or the command does not complete.
    pub fn give_vm_table(&self, table: &Table<VmTableGeometry>) -> Result<(), HostError> {
        let base = IRS_VMT_BASER::ZERO.with_addr(table.shape.base().place(table.address())?).with_valid(true);
        self.machine().write(IrsIndex(0), table.shape.cfgr());
        self.command(base)?;
        Ok(())
    }

    /// Sets an LPI up as the doorbell of a VPE and asks for it, with no mask (DB-5, DB-6).
    ///
    /// # Errors
    ///
    /// [`HostError::Stuck`] if a command does not complete. Whether there is such a VPE, IRS_VPE_STATUSR.V tells.
    pub fn ask_for_doorbell(&self, vm: VmId, vpe: VpeId, lpi: &ModelLpi) -> Result<(), HostError> {
        self.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe))?;
        let settings = IRS_VPE_DBR::ZERO.with_dbv(true).with_req_db(true).with_dbpm(Priority::LEAST_URGENT);
        self.command(settings.with_intid(self.lpi(lpi)))?;
        Ok(())
    }

    /// Makes an interrupt of a VM pending, from the PE that the thread is on, and waits until it is (INS-15).
    pub fn inject(&self, vm: VmId, interrupt: IrsIntId) {
        self.on_this_pe(|pe| {
            pe.vdpend(vm, interrupt, true);
            pe.gsb_sys();
        });
    }
}
