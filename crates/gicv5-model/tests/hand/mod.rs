//! VMs made by hand, as many as one likes, on a host: for the tests of what several VMs have to do with each other, and for
//! measuring.
#![allow(dead_code, reason = "not every user needs all of it")]

use std::error::Error;

use gicv5_arch::entry::{L1_VMTE, L2_ISTE, VPETE};
use gicv5_arch::geometry::{
    DescriptorGeometry, Footprint, IstGeometry, TableIndex, VmTableGeometry, VpeTableGeometry, VpeTableLimits,
};
use gicv5_arch::irs::*;
use gicv5_arch::values::{IstSize, MapAction};
use gicv5_arch::{Iaffid, IrsIntId, Lpi, PhysAddr, Priority, VmId, VpeId};
use gicv5_hal::{Block, BlockLayout, IrsExt, IrsIndex, TableMemory};
use gicv5_model::memory::ModelBlock;
use gicv5_model::violation::PeIndex;
use gicv5_model::{Machine, ModelHost};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

pub(crate) const IRS: IrsIndex = IrsIndex(0);

/// A VM's LPIs: 64, all enabled, of priority 10, LPI n for VPE n modulo the number of VPEs.
pub(crate) const LPIS: u32 = 64;

/// A host with a two-level VM table and the VMs in it.
pub(crate) struct Farm {
    pub(crate) host: ModelHost,
    pub(crate) machine: Machine,
    geometry: VmTableGeometry,
    table: ModelBlock,
    level2: Vec<Option<ModelBlock>>,
    vped: DescriptorGeometry,
}

/// A VM, and what it is made of.
pub(crate) struct HandMade {
    pub(crate) vm: VmId,
    pub(crate) blocks: Vec<ModelBlock>,
}

pub(crate) fn lpi(id: u32) -> IrsIntId {
    Lpi::new(id).map_or(IrsIntId::Lpi(Lpi::new_with_raw_value(arbitrary_int::u24::new(0))), IrsIntId::Lpi)
}

impl Farm {
    pub(crate) fn new(machine: &Machine, lpis: u32) -> Outcome<Farm> {
        let host = ModelHost::start(machine, 0..lpis)?;
        let geometry = VmTableGeometry::two_level(16)?;
        let vped = VpeTableLimits::from_idr4(machine.read(IRS))?.descriptor();
        let table = allocate(machine, geometry.base())?;
        machine.write(IRS, geometry.cfgr());
        host.command(IRS_VMT_BASER::ZERO.with_addr(geometry.base().place(table.address())?).with_valid(true))?;
        let level2 = (0..geometry.l1_entries()).map(|_| None).collect();
        Ok(Farm { machine: machine.clone(), host, geometry, table, level2, vped })
    }

    fn store(&self, block: &ModelBlock, offset: u64, words: &[u64]) {
        let bytes = offset..offset + words.len() as u64 * 8;
        self.machine.prepare(IRS, block, bytes.clone());
        for (word, n) in words.iter().zip(0..) {
            self.machine.store64(block, offset + n * 8, *word);
        }
        self.machine.publish(IRS, block, bytes);
    }

    /// The level-2 table with a VM's entry, and the entry's offset.
    fn entry(&mut self, vm: VmId) -> Outcome<(usize, u64)> {
        let TableIndex::TwoLevel { level1, level2 } = self.geometry.index(vm)? else { return Err("two levels".into()) };
        let n = (level1.offset / L1_VMTE::BYTES) as usize;
        if self.level2.get(n).is_some_and(Option::is_none) {
            let footprint = self.geometry.level2().ok_or("two levels")?;
            let block = allocate(&self.machine, footprint)?;
            let word = L1_VMTE::ZERO.with_l2_addr(footprint.place(block.address())?);
            self.store(&self.table, level1.offset, &[word.raw_value()]);
            self.host.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(vm))?;
            if let Some(place) = self.level2.get_mut(n) {
                *place = Some(block);
            }
        }
        Ok((n, level2.offset))
    }

    /// Makes a VM valid with VPEs 0 to `vpes` - 1, and with its LPIs.
    pub(crate) fn make_vm(&mut self, vm: VmId, vpes: u16) -> Outcome<HandMade> {
        let (n, offset) = self.entry(vm)?;
        let geometry = VpeTableGeometry::for_highest(VpeId::new(vpes - 1));
        let vpet = allocate(&self.machine, geometry.footprint())?;
        let ist_geometry = IstGeometry::linear(6, IstSize::Bytes4)?;
        let ist = allocate(&self.machine, ist_geometry.base())?;
        for id in 0..LPIS {
            let target = Iaffid::new((id % u32::from(vpes)) as u16);
            let entry = L2_ISTE::ZERO.with_enable(true).with_iaffid(target).with_priority(Priority::new(10)?);
            self.machine.store32(&ist, u64::from(id) * 4, entry.raw_value());
        }
        self.machine.publish(IRS, &ist, 0..ist.size());
        let word = ist_geometry.vmte_word(ist.address())?.with_ist_valid(true).raw_value();
        let words = [0, geometry.vmte_word(vpet.address())?.raw_value(), word, 0];
        if let Some(Some(level2)) = self.level2.get(n) {
            self.store(level2, offset, &words);
        }
        self.map_vm(vm, MapAction::MakeValid)?;
        let mut blocks = vec![ist];
        for vpe in 0..vpes {
            let descriptor = allocate(&self.machine, self.vped.footprint())?;
            let word = VPETE::ZERO.with_vped_addr(self.vped.footprint().place(descriptor.address())?);
            self.store(&vpet, u64::from(vpe) * VPETE::BYTES, &[word.raw_value()]);
            self.host.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(vm).with_vpe_id(VpeId::new(vpe)))?;
            blocks.push(descriptor);
        }
        blocks.push(vpet);
        Ok(HandMade { vm, blocks })
    }

    fn map_vm(&self, vm: VmId, action: MapAction) -> Outcome<()> {
        self.host.command(IRS_VMAP_VMR::ZERO.with_m(true).with_u(action).with_vm_id(vm))?;
        Ok(())
    }

    /// Makes a VM invalid and gives its memory back.
    pub(crate) fn break_vm(&mut self, made: HandMade) -> Outcome<()> {
        self.map_vm(made.vm, MapAction::MakeInvalid)?;
        let (n, offset) = self.entry(made.vm)?;
        if let Some(Some(level2)) = self.level2.get(n) {
            self.store(level2, offset, &[0; 4]);
        }
        for block in made.blocks {
            self.machine.free(block);
        }
        Ok(())
    }

    /// Writes the doorbell settings of a VPE.
    pub(crate) fn set_doorbell(&self, vm: VmId, vpe: u16, settings: IRS_VPE_DBR) -> Outcome<()> {
        self.host.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(VpeId::new(vpe)))?;
        self.host.command(settings)?;
        Ok(())
    }

    /// Sets or clears Pending of a VM's LPI, from PE 0.
    pub(crate) fn pend(&self, vm: VmId, id: u32, pending: bool) {
        self.host.on_pe(PeIndex(0), |pe| {
            pe.vdpend(vm, lpi(id), pending);
            pe.gsb_sys();
        });
    }
}

/// Settings that ask for a doorbell with no mask.
pub(crate) fn doorbell(lpi: Lpi) -> IRS_VPE_DBR {
    let settings = IRS_VPE_DBR::ZERO.with_dbv(true).with_req_db(true).with_intid(lpi);
    Priority::new(31).map_or(settings, |mask| settings.with_dbpm(mask))
}

fn allocate(machine: &Machine, of: Footprint) -> Outcome<ModelBlock> {
    let line = machine.cache_line();
    let (size, alignment) = (of.size().next_multiple_of(line), of.alignment().max(line));
    Ok(machine.allocate(BlockLayout::new(size, alignment, PhysAddr::highest(48))?)?)
}
