//! The VM table, VMs in it, and their VPEs.

use gicv5_arch::entry::{L1_VMTE, L2_VMTE, L2_VMTE_VMD, VPETE};
use gicv5_arch::geometry::{TableIndex, VmTableGeometry, VmTableLimits, VpeTableGeometry, VpeTableLimits};
use gicv5_arch::irs::{IRS_VMAP_L2_VMTR, IRS_VMAP_VMR, IRS_VMAP_VPER, IRS_VMT_BASER, IrsReg};
use gicv5_arch::values::MapAction;
use gicv5_arch::{Addr51_12, Addr55_3, VmId, VpeId};

use crate::bench::Bench;
use crate::lab::Lab;
use crate::lab::memory::TableBlock;
use crate::lab::virt::cast::{VM, VPES};
use crate::outcome::{Failure, Outcome, expect};

/// What software asks for that has no geometry here.
pub(super) const SHAPE: Failure = Failure::Exhausted { what: "table of that shape" };

/// A VM table.
#[derive(Clone, Copy, Debug)]
pub struct VmTable {
    /// Its shape.
    pub geometry: VmTableGeometry,
    /// The table, or the level-1 table.
    pub base: TableBlock,
    /// The level-2 tables that there are, by their level-1 entry.
    pub level2: [Option<(u32, TableBlock)>; 2],
}

impl VmTable {
    /// Where the entry of a VM is; `None` if it is behind a level-1 entry that has no level-2 table.
    #[must_use]
    pub fn entry(&self, vm: VmId) -> Option<(TableBlock, u64)> {
        match self.geometry.index(vm).ok()? {
            TableIndex::Linear(slot) => Some((self.base, slot.offset)),
            TableIndex::TwoLevel { level1, level2 } => {
                let (_, table) = self.level2.into_iter().flatten().find(|(index, _)| *index == level1.index)?;
                Some((table, level2.offset))
            }
        }
    }
}

/// A VM that has an entry in the VM table.
#[derive(Clone, Copy, Debug)]
pub struct Vm {
    /// Its number.
    pub id: VmId,
    /// The table with its entry.
    pub table: TableBlock,
    /// Where the entry is in the table.
    pub offset: u64,
    /// Its VPE table.
    pub vpet: TableBlock,
    /// The shape of that.
    pub vpet_geometry: VpeTableGeometry,
}

impl<B: Bench> Lab<'_, B> {
    /// A linear VM table of 2^8 VMs, which every IRS takes (GEN-10).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn vm_table(&self) -> Result<VmTable, Failure> {
        self.vm_table_of(VmTableGeometry::linear(8).map_err(|_| SHAPE)?)
    }

    /// A VM table of zeros, valid (VMT-1).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn vm_table_of(&self, geometry: VmTableGeometry) -> Result<VmTable, Failure> {
        let base = self.memory(geometry.base())?;
        self.write_attributes()?;
        self.write(geometry.cfgr())?;
        expect("IRS_VMT_CFGR", geometry.cfgr().raw_value(), self.read_raw(IrsReg::IRS_VMT_CFGR) as u32)?;
        self.adopt_vm_table(base)?;
        Ok(VmTable { geometry, base, level2: [None; 2] })
    }

    /// Makes a VM table valid whose shape is in IRS_VMT_CFGR.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn adopt_vm_table(&self, base: TableBlock) -> Outcome {
        let address = Addr55_3::new(base.address).map_err(|_| SHAPE)?;
        let base = IRS_VMT_BASER::ZERO.with_addr(address).with_valid(true);
        self.write(base)?;
        expect("IRS_VMT_BASER", base.raw_value(), self.read_raw(IrsReg::IRS_VMT_BASER))
    }

    /// Makes the VM table invalid, and everything behind it (VMT-6).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn withdraw_vm_table(&self) -> Outcome {
        self.write(IRS_VMT_BASER::ZERO)?;
        expect("IRS_VMT_BASER.VALID", false, self.read::<IRS_VMT_BASER>().valid())
    }

    /// Writes a level-1 entry for a VM, with VALID=0, and does not make it valid (VMT-13).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted).
    pub fn fill_level1(&self, table: &mut VmTable, vm: VmId) -> Outcome {
        let (Ok(TableIndex::TwoLevel { level1, .. }), Some(footprint)) =
            (table.geometry.index(vm), table.geometry.level2())
        else {
            return Err(SHAPE);
        };
        let level2 = self.memory(footprint)?;
        let address = Addr51_12::new(level2.address).map_err(|_| SHAPE)?;
        self.store64(table.base, level1.offset, L1_VMTE::ZERO.with_l2_addr(address).raw_value());
        let place = table.level2.iter_mut().find(|place| place.is_none()).ok_or(SHAPE)?;
        *place = Some((level1.index, level2));
        Ok(())
    }

    /// Makes the level-1 entry of a VM valid (VMT-13).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn map_level2_vm_table(&self, vm: VmId) -> Outcome {
        self.write(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(vm))
    }

    /// Fills the entry of a VM that is not valid: VPE table, VM descriptor, no ISTs (VM-1).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted).
    pub fn vm_entry(&self, table: &VmTable, id: VmId) -> Result<Vm, Failure> {
        let (entry, offset) = table.entry(id).ok_or(SHAPE)?;
        let vpet_geometry = VpeTableGeometry::for_highest(VPES[1]);
        let vpet = self.memory(vpet_geometry.footprint())?;
        let mut vmte = L2_VMTE::ZERO.with_vpet(vpet_geometry.vmte_word(vpet.address).map_err(|_| SHAPE)?);
        let limits = VmTableLimits::from_idr3(self.features.idr3).map_err(|_| SHAPE)?;
        if let Some(descriptor) = limits.descriptor() {
            let block = self.memory(descriptor.footprint())?;
            let address = Addr55_3::new(block.address).map_err(|_| SHAPE)?;
            vmte = vmte.with_vmd(L2_VMTE_VMD::ZERO.with_vmd_addr(address));
        }
        for (n, word) in vmte.raw_value().into_iter().enumerate() {
            self.store64(entry, offset + n as u64 * 8, word);
        }
        Ok(Vm { id, table: entry, offset, vpet, vpet_geometry })
    }

    /// A linear VM table with the entry of [`VM`] filled, which is not valid.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn filled_vm(&self) -> Result<Vm, Failure> {
        self.vm_entry(&self.vm_table()?, VM)
    }

    /// Makes a VM valid or invalid (VM-1, VM-2).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn map_vm(&self, vm: VmId, action: MapAction) -> Outcome {
        self.write(IRS_VMAP_VMR::ZERO.with_m(true).with_u(action).with_vm_id(vm))
    }

    /// Fills the VPE table's entry of a VPE that is not valid (VPE-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted).
    pub fn vpe_entry(&self, vm: &Vm, vpe: VpeId) -> Result<TableBlock, Failure> {
        let limits = VpeTableLimits::from_idr4(self.features.idr4).map_err(|_| SHAPE)?;
        let descriptor = self.memory(limits.descriptor().footprint())?;
        let address = Addr55_3::new(descriptor.address).map_err(|_| SHAPE)?;
        let slot = vm.vpet_geometry.index(vpe).map_err(|_| SHAPE)?;
        self.store64(vm.vpet, slot.offset, VPETE::ZERO.with_vped_addr(address).raw_value());
        Ok(descriptor)
    }

    /// Makes a VPE valid (VPE-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn map_vpe(&self, vm: VmId, vpe: VpeId) -> Outcome {
        self.write(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(vm).with_vpe_id(vpe))
    }

    /// VALID in the first word of a VM's entry.
    #[must_use]
    pub fn vm_is_valid(&self, vm: &Vm) -> bool {
        L2_VMTE_VMD::new_with_raw_value(self.load64(vm.table, vm.offset)).valid()
    }

    /// VALID in a VPE's entry.
    #[must_use]
    pub fn vpe_is_valid(&self, vm: &Vm, vpe: VpeId) -> bool {
        let offset = u64::from(vpe.raw_value()) * VPETE::BYTES;
        VPETE::new_with_raw_value(self.load64(vm.vpet, offset)).valid()
    }

    /// A VM that is valid, with [`VPES`] that are, and without ISTs.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn vm(&self, table: &VmTable, id: VmId) -> Result<Vm, Failure> {
        let vm = self.vm_entry(table, id)?;
        self.map_vm(id, MapAction::MakeValid)?;
        for vpe in VPES {
            self.vpe_entry(&vm, vpe)?;
            self.map_vpe(id, vpe)?;
            expect("VPETE.VALID", true, self.vpe_is_valid(&vm, vpe))?;
        }
        expect("L2_VMTE.VALID", true, self.vm_is_valid(&vm))?;
        Ok(vm)
    }
}
