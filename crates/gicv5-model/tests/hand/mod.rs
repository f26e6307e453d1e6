//! VMs made by hand, as many as one likes, on a host: for the tests of what several VMs have to do with each other, and for
//! measuring.
#![allow(dead_code, reason = "not every user needs all of it")]

use std::error::Error;

use gicv5_arch::entry::{L1_VMTE, L2_ISTE, L2_VMTE, VPETE};
use gicv5_arch::geometry::{
    DescriptorGeometry, Footprint, IstGeometry, TableIndex, VmTableGeometry, VpeTableGeometry, VpeTableLimits,
};
use gicv5_arch::irs::*;
use gicv5_arch::values::{IstSize, MapAction};
use gicv5_arch::{Iaffid, IrsIntId, IrsIntType, Lpi, Priority, VmId, VpeId};
use gicv5_hal::{Block, IrsExt, IrsIndex, TableMemory};
use gicv5_model::PeIndex;
use gicv5_model::hand::Table;
use gicv5_model::memory::ModelBlock;
use gicv5_model::{Machine, ModelHost};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

pub(crate) const IRS: IrsIndex = IrsIndex(0);

/// A VM's LPIs: 64, all enabled, of priority 10, LPI n for VPE n modulo the number of VPEs.
pub(crate) const LPIS: u32 = 64;

/// A host with a two-level VM table and the VMs in it.
pub(crate) struct Farm {
    pub(crate) host: ModelHost,
    pub(crate) machine: Machine,
    table: Table<VmTableGeometry>,
    level2: Vec<Option<Table<Footprint>>>,
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
        let vped = VpeTableLimits::from_idr4(machine.read(IRS))?.descriptor();
        let table = host.table(VmTableGeometry::two_level(16)?)?;
        host.give_vm_table(&table)?;
        let level2 = (0..table.shape.l1_entries()).map(|_| None).collect();
        Ok(Farm { machine: machine.clone(), host, table, level2, vped })
    }

    /// The level-2 table with a VM's entry, and the entry's offset.
    fn entry(&mut self, vm: VmId) -> Outcome<(usize, u64)> {
        let TableIndex::TwoLevel { level1, level2 } = self.table.shape.index(vm)? else {
            return Err("two levels".into());
        };
        let n = (level1.offset / L1_VMTE::BYTES) as usize;
        if self.level2.get(n).is_some_and(Option::is_none) {
            let table = self.host.table(self.table.shape.level2().ok_or("two levels")?)?;
            let word = L1_VMTE::ZERO.with_l2_addr(table.shape.place(table.address())?);
            self.host.store(&self.table, level1.offset, &[word.raw_value()]);
            self.host.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(vm))?;
            if let Some(place) = self.level2.get_mut(n) {
                *place = Some(table);
            }
        }
        Ok((n, level2.offset))
    }

    /// Makes a VM valid with VPEs 0 to `vpes` - 1, and with its LPIs.
    pub(crate) fn make_vm(&mut self, vm: VmId, vpes: u16) -> Outcome<HandMade> {
        let (n, offset) = self.entry(vm)?;
        let vpet = self.host.table(VpeTableGeometry::for_highest(VpeId::new(vpes - 1)))?;
        let ist = self.host.table(IstGeometry::linear(6, IstSize::Bytes4)?)?;
        for id in 0..LPIS {
            let target = Iaffid::new((id % u32::from(vpes)) as u16);
            let entry = L2_ISTE::ZERO.with_enable(true).with_iaffid(target).with_priority(Priority::new(10)?);
            self.machine.store32(&ist.block, u64::from(id) * 4, entry.raw_value());
        }
        self.machine.publish(IRS, &ist.block, 0..ist.block.size());
        let lpis = ist.vmte_word()?.with_ist_valid(true);
        let vmte = L2_VMTE::ZERO.with_vpet(vpet.vmte_word()?).with_ist(IrsIntType::Lpi, lpis);
        if let Some(Some(level2)) = self.level2.get(n) {
            self.host.store(level2, offset, &vmte.raw_value());
        }
        self.map_vm(vm, MapAction::MakeValid)?;
        let mut blocks = vec![ist.block];
        for vpe in 0..vpes {
            let descriptor = self.host.table(self.vped)?;
            self.host.store(&vpet, u64::from(vpe) * VPETE::BYTES, &[descriptor.vpete()?.raw_value()]);
            self.host.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(vm).with_vpe_id(VpeId::new(vpe)))?;
            blocks.push(descriptor.block);
        }
        blocks.push(vpet.block);
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
            self.host.store(level2, offset, &[0; 4]);
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
