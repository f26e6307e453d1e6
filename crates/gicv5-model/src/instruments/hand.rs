//! Tables made by hand.
//!
//! For tests that write down what a hypervisor's library would do, step by step, and do some of it wrong: a [`Table`] knows its
//! shape and its place, so that an entry that points to it takes one call.

use gicv5_arch::entry::{L1_VMTE, L2_VMTE, L2_VMTE_IST, L2_VMTE_VMD, L2_VMTE_VPET, VPETE};
use gicv5_arch::geometry::{
    DescriptorGeometry, Footprint, IstGeometry, TableIndex, VmTableGeometry, VmTableLimits, VpeTableGeometry,
    VpeTableLimits,
};
use gicv5_arch::irs::{IRS_VMAP_L2_VMTR, IRS_VMAP_VMR, IRS_VMAP_VPER, IRS_VMT_BASER, IRS_VPE_DBR, IRS_VPE_SELR};
use gicv5_arch::values::MapAction;
use gicv5_arch::{AddressError, IrsIntId, PhysAddr, Priority, VmId, VpeId};
use gicv5_hal::{Block, BlockLayout, CurrentPe, HostLpis, IrsExt, IrsIndex, TableMemory};

use crate::handles::machine::Machine;
use crate::instruments::host::{HostError, ModelHost};
use crate::memory::ModelBlock;
use crate::parts::lpi_books::ModelLpi;

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

/// Stores words from an offset in bytes on, and publishes them for the first IRS.
fn store(machine: &Machine, block: &ModelBlock, offset: u64, words: &[u64]) {
    let bytes = offset..offset.saturating_add(words.len() as u64 * 8);
    machine.prepare(IRS, block, bytes.clone());
    for (word, n) in words.iter().zip(0..) {
        machine.store64(block, offset.saturating_add(n * 8), *word);
    }
    machine.publish(IRS, block, bytes);
}

/// The IRS to which tables are given.
const IRS: IrsIndex = IrsIndex(0);

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
        store(self.machine(), &table.block, offset, words);
    }

    /// Gives the first IRS the VM table: its shape, then its address with VALID=1 (VMT-1).
    ///
    /// # Errors
    ///
    /// [`HostError`] if the register cannot hold the address, or the command does not complete.
    pub fn give_vm_table(&self, table: &Table<VmTableGeometry>) -> Result<(), HostError> {
        let base = IRS_VMT_BASER::ZERO.with_addr(table.shape.base().place(table.address())?).with_valid(true);
        self.set_attributes();
        self.machine().write(IRS, table.shape.cfgr());
        self.command(base)?;
        Ok(())
    }

    /// Sets an LPI up as the doorbell of a VPE and asks for it, with no mask (DB-5, DB-6).
    ///
    /// # Errors
    ///
    /// [`HostError::Stuck`] if a command does not complete. Whether there is such a VPE, IRS_VPE_STATUSR.V tells.
    pub fn ask_for_doorbell(&self, vm: VmId, vpe: VpeId, lpi: &ModelLpi) -> Result<(), HostError> {
        let settings = IRS_VPE_DBR::ZERO.with_dbv(true).with_req_db(true).with_dbpm(Priority::LEAST_URGENT);
        self.set_doorbell(vm, vpe, settings.with_intid(self.lpi(lpi)))
    }

    /// Writes the doorbell settings of a VPE.
    ///
    /// # Errors
    ///
    /// As for [`ask_for_doorbell`](Self::ask_for_doorbell).
    pub fn set_doorbell(&self, vm: VmId, vpe: VpeId, settings: IRS_VPE_DBR) -> Result<(), HostError> {
        self.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe))?;
        self.command(settings)?;
        Ok(())
    }

    /// Makes an interrupt of a VM pending, from the PE that the thread is on, and waits until it is (INS-15).
    pub fn inject(&self, vm: VmId, interrupt: IrsIntId) {
        self.pend(vm, interrupt, true);
    }

    /// Sets or clears Pending of an interrupt of a VM, likewise.
    pub fn pend(&self, vm: VmId, interrupt: IrsIntId, pending: bool) {
        self.on_this_pe(|pe| {
            pe.vdpend(vm, interrupt, pending);
            pe.gsb_sys();
        });
    }
}

/// A VM table that the first IRS has been given, and VMs in it.
#[derive(Debug)]
pub struct Vms {
    /// Who makes them.
    pub host: ModelHost,
    /// The VM table: of two levels, the first.
    pub table: Table<VmTableGeometry>,
    /// The level-2 tables that VMs have needed so far.
    pub level2: Vec<Option<Table<Footprint>>>,
    vmd: Option<DescriptorGeometry>,
    vped: DescriptorGeometry,
}

/// A VM made by hand, and what it is made of.
#[derive(Debug)]
pub struct HandMade {
    /// Which.
    pub vm: VmId,
    /// Its descriptor, if the IRS wants one.
    pub descriptor: Option<Table<DescriptorGeometry>>,
    /// Its VPE table.
    pub vpet: Table<VpeTableGeometry>,
    /// The descriptors of its VPEs, in the order in which they were made.
    pub vpes: Vec<Table<DescriptorGeometry>>,
}

impl HandMade {
    /// Its memory.
    pub fn into_blocks(self) -> impl Iterator<Item = ModelBlock> {
        let descriptors = self.vpes.into_iter().chain(self.descriptor).map(|table| table.block);
        descriptors.chain([self.vpet.block])
    }
}

impl Vms {
    /// Gives the first IRS an empty VM table of this shape.
    ///
    /// # Errors
    ///
    /// [`HostError`]: there is no memory, the machine has no VMs, or the command does not complete.
    pub fn new(host: &ModelHost, shape: VmTableGeometry) -> Result<Vms, HostError> {
        let vmd = VmTableLimits::from_idr3(host.machine().read(IRS))?.descriptor();
        let vped = VpeTableLimits::from_idr4(host.machine().read(IRS))?.descriptor();
        let table = host.table(shape)?;
        host.give_vm_table(&table)?;
        let level2 = (0..shape.l1_entries()).map(|_| None).collect();
        Ok(Vms { host: host.clone(), table, level2, vmd, vped })
    }

    /// Makes sure that a VM has an entry (VMT-13).
    ///
    /// # Errors
    ///
    /// [`HostError`]: the ID is out of range, there is no memory, or the command does not complete.
    pub fn reach(&mut self, vm: VmId) -> Result<(), HostError> {
        let (TableIndex::TwoLevel { level1, .. }, Some(shape)) =
            (self.table.shape.index(vm)?, self.table.shape.level2())
        else {
            return Ok(());
        };
        if let Some(place @ None) = self.level2.get_mut((level1.offset / L1_VMTE::BYTES) as usize) {
            let table = self.host.table(shape)?;
            let word = L1_VMTE::ZERO.with_l2_addr(shape.place(table.address())?);
            self.host.store(&self.table, level1.offset, &[word.raw_value()]);
            self.host.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(vm))?;
            *place = Some(table);
        }
        Ok(())
    }

    /// The table with a VM's entry, and where in it; `None` if the entry is not [in reach](Self::reach).
    #[must_use]
    pub fn entry(&self, vm: VmId) -> Option<(&ModelBlock, u64)> {
        match self.table.shape.index(vm).ok()? {
            TableIndex::Linear(slot) => Some((&self.table.block, slot.offset)),
            TableIndex::TwoLevel { level1, level2 } => {
                let table = self.level2.get((level1.offset / L1_VMTE::BYTES) as usize)?.as_ref()?;
                Some((&table.block, level2.offset))
            }
        }
    }

    /// Stores words of a VM's entry, if it is in reach, from this one on.
    pub fn store_entry(&self, vm: VmId, first: usize, words: &[u64]) {
        if let Some((block, offset)) = self.entry(vm) {
            store(self.host.machine(), block, offset + first as u64 * 8, words);
        }
    }

    /// Makes a VM valid as `vmte` says, with a VPE table for these VPEs and a descriptor if it needs one (VM-1); then the VPEs.
    ///
    /// # Errors
    ///
    /// [`HostError`]: there is no memory, or a command does not complete.
    pub fn make_vm(
        &mut self,
        vm: VmId,
        vmte: L2_VMTE,
        vpes: impl Iterator<Item = VpeId> + Clone,
    ) -> Result<HandMade, HostError> {
        self.reach(vm)?;
        let highest = vpes.clone().max().unwrap_or(VpeId::new(0));
        let vpet = self.host.table(VpeTableGeometry::for_highest(highest))?;
        let mut vmte = vmte.with_vpet(vpet.vmte_word()?);
        let descriptor = self.vmd.map(|shape| self.host.table(shape)).transpose()?;
        if let Some(descriptor) = &descriptor {
            let address = descriptor.shape.footprint().place(descriptor.address())?;
            vmte = vmte.with_vmd(L2_VMTE_VMD::ZERO.with_vmd_addr(address));
        }
        self.store_entry(vm, 0, &vmte.raw_value());
        self.map_vm(vm, MapAction::MakeValid)?;
        let mut made = HandMade { vm, descriptor, vpet, vpes: Vec::new() };
        for vpe in vpes {
            self.make_vpe(&mut made, vpe)?;
        }
        Ok(made)
    }

    /// Makes a VPE of a VM valid (VPE-5).
    ///
    /// # Errors
    ///
    /// [`HostError`]: there is no memory, or the command does not complete.
    pub fn make_vpe(&self, made: &mut HandMade, vpe: VpeId) -> Result<(), HostError> {
        let descriptor = self.host.table(self.vped)?;
        let offset = u64::from(vpe.raw_value()) * VPETE::BYTES;
        self.host.store(&made.vpet, offset, &[descriptor.vpete()?.raw_value()]);
        self.host.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(made.vm).with_vpe_id(vpe))?;
        made.vpes.push(descriptor);
        Ok(())
    }

    /// Makes a VM valid or invalid as its entry is (IRS_VMAP_VMR).
    ///
    /// # Errors
    ///
    /// [`HostError::Stuck`] if the command does not complete.
    pub fn map_vm(&self, vm: VmId, action: MapAction) -> Result<(), HostError> {
        self.host.command(IRS_VMAP_VMR::ZERO.with_m(true).with_u(action).with_vm_id(vm))?;
        Ok(())
    }

    /// Makes a VM invalid and gives its memory back.
    ///
    /// # Errors
    ///
    /// [`HostError::Stuck`] if the command does not complete.
    pub fn break_vm(&self, made: HandMade) -> Result<(), HostError> {
        self.map_vm(made.vm, MapAction::MakeInvalid)?;
        self.store_entry(made.vm, 0, &[0; 4]);
        made.into_blocks().for_each(|block| self.host.machine().free(block));
        Ok(())
    }
}
