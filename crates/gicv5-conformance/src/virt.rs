//! VMs, as a hypervisor makes them, for the tests of the virtual half.
//!
//! A [`World`] is the usual beginning: an IRS with a VM table, a VM with two VPEs and both of its ISTs. Nothing of it is
//! taken down by a test: the runner ends every residency and makes the VM table invalid, which makes everything behind it
//! invalid (VMT-6), before it frees the memory.

use core::cell::Cell;

use arbitrary_int::u24;
use gicv5_arch::entry::{L1_ISTE, L1_VMTE, L2_ISTE, L2_VMTE, L2_VMTE_VMD, VPETE};
use gicv5_arch::geometry::{
    IstGeometry, IstLimits, TableIndex, VmTableGeometry, VmTableLimits, VpeTableGeometry, VpeTableLimits,
};
use gicv5_arch::insn::{
    AffinityOperand, DeactivateOperand, GicInsn, HandlingModeOperand, IntIdOperand, PriorityOperand,
};
use gicv5_arch::irs::{
    IRS_SAVE_VM_STATUSR, IRS_SAVE_VMR, IRS_VMAP_L2_VISTR, IRS_VMAP_L2_VMTR, IRS_VMAP_VISTR, IRS_VMAP_VMR,
    IRS_VMAP_VPER, IRS_VMT_BASER, IRS_VPE_DBR, IRS_VPE_HPPIR, IRS_VPE_SELR, IrsReg,
};
use gicv5_arch::layout::fields_mask;
use gicv5_arch::sysreg::{
    HPPIR, ICC_ICSR_EL1, ICH_CONTEXTR_EL2, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, ICH_VCTLR_EL2, ICH_VMCR_EL2,
    PPI_PRIORITYR, SysReg,
};
use gicv5_arch::values::{HandlingMode, L2Size, MapAction};
use gicv5_arch::{
    Addr51_12, Addr55_3, Addr55_12, Iaffid, IntId, IrsIntId, IrsIntType, Lpi, Ppi, PpiBank, Priority, Spi, VmId, VpeId,
};
use gicv5_hal::{Pe, PeOps};

use crate::bench::{Bench, BenchPe};
use crate::lab::{Lab, Table, acknowledge_raw, ask, config, drop_and_deactivate, expect_drop, expect_interrupt, until};
use crate::outcome::{Failure, Outcome, expect};
use crate::{A_WHILE, SOON};

/// The VM of most tests.
pub const VM: VmId = VmId::new(5);
/// Another one; its entry shares a cache line with that of [`VM`] where lines have 64 bytes or more.
pub const OTHER: VmId = VmId::new(4);
/// The VPEs of both.
pub const VPES: [VpeId; 2] = [VpeId::new(0), VpeId::new(3)];
/// The doorbell LPIs of the VPEs of [`VM`].
pub const DOORBELLS: [u32; 2] = [40, 41];
/// Interrupts of each type that a VM has at least, from 0.
pub const INTERRUPTS: u32 = 64;

/// A guest's CPU interface that is enabled, with an open mask.
const OPEN: ICH_VMCR_EL2 = ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(Priority::LEAST_URGENT);

/// What software asks for that has no geometry here.
const SHAPE: Failure = Failure::Exhausted { what: "table of that shape" };

/// A VM table.
#[derive(Clone, Copy, Debug)]
pub struct VmTable {
    /// Its shape.
    pub geometry: VmTableGeometry,
    /// The table, or the level-1 table.
    pub base: Table,
    /// The level-2 tables that there are, by their level-1 entry.
    pub level2: [Option<(u32, Table)>; 2],
}

impl VmTable {
    /// Where the entry of a VM is; `None` if it is behind a level-1 entry that has no level-2 table.
    #[must_use]
    pub fn entry(&self, vm: VmId) -> Option<(Table, u64)> {
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
    pub table: Table,
    /// Where the entry is in the table.
    pub offset: u64,
    /// Its VPE table.
    pub vpet: Table,
    /// The shape of that.
    pub vpet_geometry: VpeTableGeometry,
}

/// A virtual IST.
#[derive(Clone, Copy, Debug)]
pub struct VirtualIst {
    /// Its shape.
    pub geometry: IstGeometry,
    /// The IST, or its level-1 table.
    pub base: Table,
    /// The first level-2 IST, if there is one.
    pub level2: Option<Table>,
}

impl VirtualIst {
    /// Where the entry of an ID is, if its level-2 IST is there.
    #[must_use]
    pub fn entry(&self, id: u32) -> Option<(Table, u64)> {
        match self.geometry.index(id).ok()? {
            TableIndex::Linear(slot) => Some((self.base, slot.offset)),
            TableIndex::TwoLevel { level1, level2 } => {
                self.level2.filter(|_| level1.index == 0).map(|table| (table, level2.offset))
            }
        }
    }
}

/// What most tests start from: [`VM`] with [`VPES`] and both ISTs, whose interrupts are enabled, have priority 10 and target
/// the first VPE.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// The VM table.
    pub table: VmTable,
    /// The VM.
    pub vm: Vm,
    /// Its LPI IST.
    pub lpis: VirtualIst,
    /// Its SPI IST.
    pub spis: VirtualIst,
}

/// An entry of an IST that is enabled, with a priority and a target.
#[must_use]
pub fn preset(priority: u32, target: VpeId) -> L2_ISTE {
    let priority = Priority::new(priority).unwrap_or(Priority::LEAST_URGENT);
    L2_ISTE::ZERO.with_enable(true).with_priority(priority).with_iaffid(Iaffid::from(target))
}

/// A VM's LPI.
#[must_use]
pub fn vlpi(id: u32) -> IrsIntId {
    IrsIntId::from_parts(IrsIntType::Lpi, u24::new(id & 0xff_ffff))
}

/// A VM's SPI.
#[must_use]
pub fn vspi(id: u32) -> IrsIntId {
    IrsIntId::from_parts(IrsIntType::Spi, u24::new(id & 0xff_ffff))
}

impl<B: Bench> Lab<'_, B> {
    // --- tables -------------------------------------------------------------------------------------------------

    /// A linear VM table of 2^8 VMs, which every IRS takes (GEN-10).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`], [`Failure::Busy`].
    pub fn vm_table(&self) -> Result<VmTable, Failure> {
        self.vm_table_of(VmTableGeometry::linear(8).map_err(|_| SHAPE)?)
    }

    /// A VM table of zeros, valid (VMT-1).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`], [`Failure::Busy`].
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
    /// [`Failure::Exhausted`], [`Failure::Busy`].
    pub fn adopt_vm_table(&self, base: Table) -> Outcome {
        let address = Addr55_3::new(base.address).map_err(|_| SHAPE)?;
        let base = IRS_VMT_BASER::ZERO.with_addr(address).with_valid(true);
        self.write(base)?;
        expect("IRS_VMT_BASER", base.raw_value(), self.read_raw(IrsReg::IRS_VMT_BASER))
    }

    /// Makes the VM table invalid, and everything behind it (VMT-6).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn withdraw_vm_table(&self) -> Outcome {
        self.write(IRS_VMT_BASER::ZERO)?;
        expect("IRS_VMT_BASER.VALID", false, self.read::<IRS_VMT_BASER>().valid())
    }

    /// Writes a level-1 entry for a VM, with VALID=0, and does not make it valid (VMT-13).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`].
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
    /// [`Failure::Busy`].
    pub fn map_level2_vm_table(&self, vm: VmId) -> Outcome {
        self.write(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(vm))
    }

    /// Fills the entry of a VM that is not valid: VPE table, VM descriptor, no ISTs (VM-1).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`].
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

    /// Makes a VM valid or invalid (VM-1, VM-2).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn map_vm(&self, vm: VmId, action: MapAction) -> Outcome {
        self.write(IRS_VMAP_VMR::ZERO.with_m(true).with_u(action).with_vm_id(vm))
    }

    /// Fills the VPE table's entry of a VPE that is not valid (VPE-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`].
    pub fn vpe_entry(&self, vm: &Vm, vpe: VpeId) -> Result<Table, Failure> {
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
    /// [`Failure::Busy`].
    pub fn map_vpe(&self, vm: VmId, vpe: VpeId) -> Outcome {
        self.write(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(vm).with_vpe_id(vpe))
    }

    /// The smallest linear IST of a type that holds [`INTERRUPTS`].
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`].
    pub fn virtual_geometry(&self, int_type: IrsIntType) -> Result<IstGeometry, Failure> {
        let limits = IstLimits::from_idr2(self.features.idr2).map_err(|_| SHAPE)?;
        let bits = limits.id_bits_for(int_type, INTERRUPTS).map_err(|_| SHAPE)?;
        IstGeometry::linear(bits, limits.entry_size(bits)).map_err(|_| SHAPE)
    }

    /// A two-level IST of a type.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`].
    pub fn virtual_two_level(&self, size: L2Size) -> Result<IstGeometry, Failure> {
        self.features.two_level_ist(size).ok_or(SHAPE)
    }

    /// Memory for an IST, with the first [`INTERRUPTS`] entries preset (IST-22), described in the VM's entry and not made
    /// valid (IST-2). Of a two-level IST the level-1 table is empty.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`].
    pub fn describe_ist(
        &self,
        vm: &Vm,
        int_type: IrsIntType,
        geometry: IstGeometry,
        preset: L2_ISTE,
    ) -> Result<VirtualIst, Failure> {
        let base = self.memory(geometry.base())?;
        let ist = VirtualIst { geometry, base, level2: None };
        self.fill_ist(&ist, preset);
        let word = geometry.vmte_word(base.address).map_err(|_| SHAPE)?;
        self.store64(vm.table, vm.offset + L2_VMTE::ist_word(int_type) as u64 * 8, word.raw_value());
        Ok(ist)
    }

    /// Writes the first [`INTERRUPTS`] entries of an IST that is not valid, as far as they are there.
    pub fn fill_ist(&self, ist: &VirtualIst, preset: L2_ISTE) {
        for id in 0..INTERRUPTS {
            if let Some((table, offset)) = ist.entry(id) {
                self.store32(table, offset, preset.raw_value());
            }
        }
    }

    /// A level-2 IST for the first IDs, with entries preset, in the level-1 entry with VALID=0 (IST-18).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`].
    pub fn describe_level2(&self, ist: &mut VirtualIst, preset: L2_ISTE) -> Outcome {
        let level2 = self.memory(ist.geometry.level2().ok_or(SHAPE)?)?;
        ist.level2 = Some(level2);
        self.fill_ist(ist, preset);
        let address = Addr55_12::new(level2.address).map_err(|_| SHAPE)?;
        self.store64(ist.base, 0, L1_ISTE::ZERO.with_l2_addr(address).raw_value());
        Ok(())
    }

    /// Makes a virtual IST valid or invalid (IST-2, IST-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn map_ist(&self, vm: VmId, int_type: IrsIntType, action: MapAction) -> Outcome {
        self.write(IRS_VMAP_VISTR::ZERO.with_m(true).with_u(action).with_int_type(int_type).with_vm_id(vm))
    }

    /// Makes a level-2 virtual IST valid (IST-18).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn map_level2_ist(&self, vm: VmId, id: IrsIntId) -> Outcome {
        let command = IRS_VMAP_L2_VISTR::ZERO.with_m(true).with_vm_id(vm);
        self.write(command.with_int_type(id.int_type()).with_id(id.id_field()))
    }

    /// An IST of the usual shape, valid.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`], [`Failure::Busy`].
    pub fn virtual_ist(&self, vm: &Vm, int_type: IrsIntType, preset: L2_ISTE) -> Result<VirtualIst, Failure> {
        let ist = self.describe_ist(vm, int_type, self.virtual_geometry(int_type)?, preset)?;
        self.map_ist(vm.id, int_type, MapAction::MakeValid)?;
        expect("IST_VALID in the VM's entry", true, self.ist_is_valid(vm, int_type))?;
        Ok(ist)
    }

    /// A VM that is valid, with [`VPES`] that are, and without ISTs.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`], [`Failure::Busy`].
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

    /// A VM with both ISTs.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`], [`Failure::Busy`].
    pub fn vm_with_ists(&self, table: &VmTable, id: VmId) -> Result<(Vm, VirtualIst, VirtualIst), Failure> {
        let vm = self.vm(table, id)?;
        let lpis = self.virtual_ist(&vm, IrsIntType::Lpi, preset(10, VPES[0]))?;
        let spis = self.virtual_ist(&vm, IrsIntType::Spi, preset(10, VPES[0]))?;
        Ok((vm, lpis, spis))
    }

    /// The usual VM, with the IRS enabled. The host has an LPI IST, and the doorbells of both VPEs are
    /// set up with a mask that lets everything through; nobody has asked for them.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`], [`Failure::Busy`].
    pub fn world(&self) -> Result<World, Failure> {
        self.linear_ist()?;
        let table = self.vm_table()?;
        let (vm, lpis, spis) = self.vm_with_ists(&table, VM)?;
        for (vpe, doorbell) in VPES.into_iter().zip(DOORBELLS) {
            self.set_doorbell(VM, vpe, self.doorbell(doorbell)?)?;
        }
        for (vpe, doorbell) in VPES.into_iter().zip(DOORBELLS) {
            self.expect_vpe(VM, vpe, true)?;
            self.expect_settings(self.doorbell(doorbell)?)?;
        }
        self.irs_enable(true)?;
        Ok(World { table, vm, lpis, spis })
    }

    // --- what the IRS says --------------------------------------------------------------------------------------

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

    /// The valid bit of one of a VM's ISTs.
    #[must_use]
    pub fn ist_is_valid(&self, vm: &Vm, int_type: IrsIntType) -> bool {
        self.load64(vm.table, vm.offset + L2_VMTE::ist_word(int_type) as u64 * 8) & 1 != 0
    }

    /// Selects a VPE, and says whether it is valid (VPE-12).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn select_vpe(&self, vm: VmId, vpe: VpeId) -> Result<bool, Failure> {
        self.write_selected(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe))
    }

    /// Wants a selection to be valid or not.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Busy`].
    pub fn expect_vpe(&self, vm: VmId, vpe: VpeId, valid: bool) -> Outcome {
        expect("IRS_VPE_STATUSR.V", valid, self.select_vpe(vm, vpe)?)
    }

    /// The candidate of a VPE, as IRS_VPE_HPPIR has it. Selects it.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Busy`].
    pub fn expect_candidate(&self, vm: VmId, vpe: VpeId, candidate: Option<IrsIntId>) -> Outcome {
        self.expect_vpe(vm, vpe, true)?;
        let found = Cell::new(None);
        self.until(|| {
            found.set(self.read::<IRS_VPE_HPPIR>().int_id());
            found.get() == candidate.map(IntId::from)
        });
        expect("IRS_VPE_HPPIR", candidate.map(IntId::from), found.get())
    }

    /// Saves a VM and asks whether it is quiescent (SAVE-1, SAVE-2).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn save(&self, vm: VmId) -> Outcome {
        let command = IRS_SAVE_VMR::ZERO.with_s(true).with_q(true).with_vm_id(vm);
        let status = self.command(IrsReg::IRS_SAVE_VMR, command.raw_value())?.unwrap_or(0);
        expect("IRS_SAVE_VM_STATUSR.Q", true, IRS_SAVE_VM_STATUSR::new_with_raw_value(status as u32).q())
    }

    /// Asks whether a VM is as it was when it was saved, and wants that answer (SAVE-3).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`], [`Failure::Unequal`].
    pub fn expect_quiescent(&self, vm: VmId, quiescent: bool) -> Outcome {
        let command = IRS_SAVE_VMR::ZERO.with_q(true).with_vm_id(vm);
        let status = self.command(IrsReg::IRS_SAVE_VMR, command.raw_value())?.unwrap_or(0);
        expect("IRS_SAVE_VM_STATUSR.Q", quiescent, IRS_SAVE_VM_STATUSR::new_with_raw_value(status as u32).q())
    }

    /// An entry of a virtual IST as the IRS has written it: to be asked after a save, or when the IST is invalid.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`] if its level-2 IST is not there.
    pub fn entry_in_memory(&self, ist: &VirtualIst, id: u32) -> Result<L2_ISTE, Failure> {
        let (table, offset) = ist.entry(id).ok_or(SHAPE)?;
        Ok(L2_ISTE::new_with_raw_value(self.load32(table, offset)))
    }

    // --- doorbells ----------------------------------------------------------------------------------------------

    /// Valid settings with a mask that lets everything through.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`] if the number is none.
    pub fn doorbell(&self, lpi: u32) -> Result<IRS_VPE_DBR, Failure> {
        Ok(IRS_VPE_DBR::ZERO.with_dbv(true).with_dbpm(Priority::LEAST_URGENT).with_intid(self.lpi(lpi)?))
    }

    /// Selects a VPE and writes its doorbell settings (VPE-11).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Busy`].
    pub fn set_doorbell(&self, vm: VmId, vpe: VpeId, settings: IRS_VPE_DBR) -> Outcome {
        self.expect_vpe(vm, vpe, true)?;
        expect("IRS_VPE_STATUSR.V", true, self.write_selected(settings)?)?;
        self.expect_settings(settings)
    }

    /// Wants the settings of the selected VPE to be these (VPE-12).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn expect_settings(&self, settings: IRS_VPE_DBR) -> Outcome {
        let found = self.read::<IRS_VPE_DBR>().with_req_db(false).raw_value();
        expect("IRS_VPE_DBR", settings.with_req_db(false).raw_value(), found)
    }

    /// Wants a doorbell to have rung, and takes its pending bit away.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn expect_ring(&self, lpi: u32) -> Outcome {
        let lpi: Lpi = self.lpi(lpi)?;
        let found = Cell::new(Ok(ICC_ICSR_EL1::ZERO));
        self.until(|| {
            found.set(self.config(lpi));
            found.get().map_or(true, |config| config.pending())
        });
        expect("the doorbell rings", true, found.get()?.pending())?;
        self.pe.cdpend(lpi.into(), false);
        self.sync();
        self.expect_pending(lpi, false)
    }

    /// Wants a doorbell not to ring.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn expect_no_ring(&self, lpi: u32) -> Outcome {
        self.linger();
        expect("the doorbell rings", false, self.config(self.lpi(lpi)?)?.pending())
    }

    // --- residency ----------------------------------------------------------------------------------------------

    /// Writes a context on a PE, as RES-15 orders it, with the guest's CPU interface enabled and its mask open, and returns
    /// what ICH_CONTEXTR_EL2 reads after the ISB.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`].
    pub fn enter_context(&self, pe: usize, context: ICH_CONTEXTR_EL2) -> Result<ICH_CONTEXTR_EL2, Failure> {
        self.enter(pe, context, OPEN, 0)
    }

    /// Makes [`VM`]'s first VPE resident on PE 0 with this mask, enable and active priorities.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`] if it cannot be.
    pub fn load_with(&self, enable: bool, mask: u32, active: u64) -> Outcome {
        let vmcr = ICH_VMCR_EL2::ZERO.with_en(enable).with_vpmr(self.priority(mask));
        let asked = Self::context(VM, VPES[0]);
        let context = self.enter(0, asked, vmcr, active)?;
        expect("ICH_CONTEXTR_EL2", asked.raw_value(), context.raw_value())
    }

    fn enter(
        &self,
        pe: usize,
        context: ICH_CONTEXTR_EL2,
        vmcr: ICH_VMCR_EL2,
        active: u64,
    ) -> Result<ICH_CONTEXTR_EL2, Failure> {
        let read = self.on(pe, |pe| {
            pe.write(ICH_VCTLR_EL2::ZERO.with_en(true));
            pe.isb();
            pe.write(vmcr);
            pe.write_raw(SysReg::ICH_APR_EL2, active);
            pe.write(context);
            pe.isb();
            pe.read_raw(SysReg::ICH_CONTEXTR_EL2)
        })?;
        let what = self.on(pe, |pe| {
            let is_on = pe.read::<ICH_VCTLR_EL2>() == ICH_VCTLR_EL2::ZERO.with_en(true);
            let is_set = pe.read::<ICH_VMCR_EL2>() == vmcr && pe.read_raw(SysReg::ICH_APR_EL2) == active;
            u64::from(is_on && is_set)
        })?;
        expect("ICH_VCTLR_EL2, ICH_VMCR_EL2 and ICH_APR_EL2 are as written", true, what != 0)?;
        Ok(ICH_CONTEXTR_EL2::new_with_raw_value(read))
    }

    /// The context that makes a VPE resident.
    #[must_use]
    pub fn context(vm: VmId, vpe: VpeId) -> ICH_CONTEXTR_EL2 {
        ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(vm).with_vpe(vpe)
    }

    /// Makes a VPE resident on a PE (RES-1).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`] if it cannot be; [`Failure::Stopped`].
    pub fn load(&self, pe: usize, vm: VmId, vpe: VpeId) -> Outcome {
        let asked = Self::context(vm, vpe);
        let context = self.enter_context(pe, asked)?;
        expect("ICH_CONTEXTR_EL2", asked.raw_value(), context.raw_value())
    }

    /// Wants a VPE not to become resident (RES-2), and puts F back.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Stopped`].
    pub fn expect_no_load(&self, pe: usize, vm: VmId, vpe: VpeId) -> Outcome {
        let context = self.enter_context(pe, Self::context(vm, vpe))?;
        expect("ICH_CONTEXTR_EL2.F", true, context.f())?;
        self.put(pe)
    }

    /// Ends the residency on a PE, and asks for no doorbell (RES-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`].
    pub fn put(&self, pe: usize) -> Outcome {
        self.leave(pe, ICH_CONTEXTR_EL2::ZERO)
    }

    /// The same, and asks for a doorbell with a mask (DB-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`].
    pub fn put_asking(&self, pe: usize, mask: u32) -> Outcome {
        self.leave(pe, ICH_CONTEXTR_EL2::ZERO.with_db(true).with_dbpm(self.priority(mask)))
    }

    fn leave(&self, pe: usize, context: ICH_CONTEXTR_EL2) -> Outcome {
        self.on(pe, |pe| {
            pe.write(context);
            pe.isb();
            pe.read_raw(SysReg::ICH_CONTEXTR_EL2)
        })
        .and_then(|read| expect("ICH_CONTEXTR_EL2.V", false, ICH_CONTEXTR_EL2::new_with_raw_value(read).v()))
    }

    // --- virtual interrupts -------------------------------------------------------------------------------------

    /// Makes a VM's interrupt pending or not (INS-15).
    pub fn inject(&self, vm: VmId, id: IrsIntId, pending: bool) {
        self.pe.vdpend(vm, id, pending);
        self.sync();
    }

    /// `GIC VDEN` or `GIC VDDIS` on PE 0.
    pub fn vd_enable(&self, id: IrsIntId, enable: bool) {
        let insn = if enable { GicInsn::GIC_VDEN } else { GicInsn::GIC_VDDIS };
        self.pe.gic(insn, IntIdOperand::naming(id).raw_value());
        self.sync();
    }

    /// `GIC VDPRI` on PE 0, with a look at what became of it.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn vd_priority(&self, id: IrsIntId, priority: u32) -> Outcome {
        let priority = self.priority(priority);
        let before = self.vd_config(id)?;
        self.pe.gic(GicInsn::GIC_VDPRI, PriorityOperand::naming(id).with_priority(priority).raw_value());
        let kept = priority.keep_high_bits(self.features.idr1.pri_bits().map_or(5, |bits| bits.count()));
        expect("ICC_ICSR_EL1", before.with_priority(kept).raw_value(), self.vd_config(id)?.raw_value())
    }

    /// `GIC VDAFF` on PE 0.
    pub fn vd_target(&self, id: IrsIntId, target: VpeId) {
        let operand = AffinityOperand::naming(id).with_iaffid(Iaffid::from(target));
        self.pe.gic(GicInsn::GIC_VDAFF, operand.raw_value());
        self.sync();
    }

    /// `GIC VDHM` on PE 0.
    pub fn vd_handling(&self, id: IrsIntId, mode: HandlingMode) {
        self.pe.gic(GicInsn::GIC_VDHM, HandlingModeOperand::naming(id).with_hm(mode).raw_value());
        self.sync();
    }

    /// `GIC VDDI` on PE 0.
    pub fn vd_deactivate(&self, id: IrsIntId) {
        self.pe.gic(GicInsn::GIC_VDDI, DeactivateOperand::naming(id.into()).raw_value());
        self.sync();
    }

    /// `GIC VDRCFG` on PE 0: the configuration in the VM of the VPE that is resident there (INS-17).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`] if it cannot be reached.
    pub fn vd_config(&self, id: IrsIntId) -> Result<ICC_ICSR_EL1, Failure> {
        let config = self.vd_ask(id, ICC_ICSR_EL1::ZERO.with_f(true));
        expect("ICC_ICSR_EL1.F", false, config.f())?;
        Ok(config)
    }

    /// Wants VDRCFG to find an interrupt or not (INS-11).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn expect_vd_reachable(&self, id: IrsIntId, reachable: bool) -> Outcome {
        // What was there before says the opposite, so that an answer that does not come is none.
        let answer = self.vd_ask(id, ICC_ICSR_EL1::ZERO.with_f(reachable));
        expect("ICC_ICSR_EL1.F", !reachable, answer.f())
    }

    fn vd_ask(&self, id: IrsIntId, before: ICC_ICSR_EL1) -> ICC_ICSR_EL1 {
        ask(self.pe, GicInsn::GIC_VDRCFG, IntIdOperand::naming(id).raw_value(), before)
    }

    /// Wants an interrupt of the resident VPE's VM to be pending or not.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn expect_vd_pending(&self, id: IrsIntId, pending: bool) -> Outcome {
        expect("ICC_ICSR_EL1.Pending", pending, self.vd_config(id)?.pending())
    }

    /// Wants the best virtual interrupt of a PE to be this one, as ICH_HPPIR_EL2 has it, and where the bench can look, the
    /// virtual interrupt to be signalled (HPPI-8).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Stopped`].
    pub fn expect_virtual(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        let id = id.into();
        let bench = self.bench();
        let found = self.on(pe, |pe| {
            let hppi = || pe.read_raw(SysReg::ICH_HPPIR_EL2);
            until(bench.wait(), SOON, || HPPIR::new_with_raw_value(hppi()).int_id() == Some(id));
            hppi()
        })?;
        expect_interrupt("ICH_HPPIR_EL2", Some(id), found)?;
        self.expect_virtual_irq(pe, true)
    }

    /// Wants no virtual interrupt to be good enough on a PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Stopped`].
    pub fn expect_no_virtual(&self, pe: usize) -> Outcome {
        let bench = self.bench();
        let found = self.on(pe, |pe| {
            let hppi = || pe.read_raw(SysReg::ICH_HPPIR_EL2);
            // What has been recalled may take its time to go.
            until(bench.wait(), SOON, || !HPPIR::new_with_raw_value(hppi()).hppiv());
            until(bench.wait(), A_WHILE, || false);
            hppi()
        })?;
        expect_interrupt("ICH_HPPIR_EL2", None, found)?;
        self.expect_virtual_irq(pe, false)
    }

    fn expect_virtual_irq(&self, pe: usize, signalled: bool) -> Outcome {
        if !self.features.guests {
            return Ok(());
        }
        let bench = self.bench();
        let irq = self.on(pe, |pe| {
            let look = || bench.virtual_signals(pe).irq;
            until(bench.wait(), SOON, || look() == signalled);
            look().into()
        })?;
        expect("a virtual IRQ is signalled", signalled, irq != 0)
    }

    // --- guests -------------------------------------------------------------------------------------------------

    /// Runs something on a PE as a guest: at EL1, in the virtual interrupt domain (GEN-5), where nothing traps.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`].
    pub fn as_guest(&self, pe: usize, work: impl Fn(&BenchPe<'_, B>) -> u64 + Sync) -> Result<u64, Failure> {
        let bench = self.bench();
        self.on(pe, |pe| {
            pe.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
            pe.isb();
            0
        })?;
        for (register, fields) in [
            (SysReg::ICH_HFGRTR_EL2, ICH_HFGRTR_EL2::FIELDS),
            (SysReg::ICH_HFGWTR_EL2, ICH_HFGWTR_EL2::FIELDS),
            (SysReg::ICH_HFGITR_EL2, ICH_HFGITR_EL2::FIELDS),
        ] {
            let mask = fields_mask(fields);
            expect("what does not trap", mask, self.on(pe, |pe| pe.read_raw(register))? & mask)?;
        }
        self.on(pe, |pe| {
            let mut answer = 0;
            bench.as_guest(pe, &mut |guest| answer = work(guest));
            answer
        })
    }

    /// Has the guest on a PE acknowledge, and wants it to get this.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Stopped`].
    pub fn expect_guest_takes(&self, pe: usize, id: Option<IntId>) -> Outcome {
        expect_interrupt("GICR CDIA of the guest", id, self.as_guest(pe, acknowledge_raw)?)
    }

    /// Has the guest on a PE drop its priority and deactivate, and wants both to have happened (INS-4, INS-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Stopped`].
    pub fn guest_finishes(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        let id = id.into();
        let priorities = self.as_guest(pe, |guest| {
            let before = guest.read_raw(SysReg::ICC_APR_EL1);
            drop_and_deactivate(guest, id);
            before << 32 | guest.read_raw(SysReg::ICC_APR_EL1)
        })?;
        expect_drop(priorities)?;
        let may_be_active = |config: ICC_ICSR_EL1| u64::from(config.f() || config.active());
        let active = self.as_guest(pe, |guest| match id {
            IntId::Ppi(ppi) => guest.read_raw(SysReg::icc_ppi_sactiver(ppi.bank())) & ppi.mask(),
            IntId::Lpi(lpi) => may_be_active(config(guest, lpi.into())),
            IntId::Spi(spi) => may_be_active(config(guest, spi.into())),
        })?;
        expect("the guest's interrupt is active", false, active != 0)
    }

    /// Gives a virtual PPI of PE 0 a priority and enables it.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn virtual_ppi(&self, ppi: Ppi, priority: u32) -> Outcome {
        let register = SysReg::ich_ppi_priorityr(ppi.priority_register());
        let row = PPI_PRIORITYR::new_with_raw_value(self.sysreg(register));
        let row = row.with_priority(ppi, self.priority(priority)).raw_value();
        self.set_sysreg(register, row);
        expect("ICH_PPI_PRIORITYR<n>_EL2", row, self.sysreg(register))?;
        let enabler = SysReg::ich_ppi_enabler(ppi.bank());
        let enabled = self.sysreg(enabler) | ppi.mask();
        self.set_sysreg(enabler, enabled);
        expect("ICH_PPI_ENABLER<n>_EL2", enabled, self.sysreg(enabler))
    }

    /// Sets the guest's enable and mask on PE 0 (PRI-9).
    pub fn set_virtual_mask(&self, enable: bool, mask: u32) {
        self.pe.write(ICH_VMCR_EL2::ZERO.with_en(enable).with_vpmr(self.priority(mask)));
        self.pe.isb();
    }

    // --- SPIs of VMs --------------------------------------------------------------------------------------------

    /// Gives an SPI to a VM or takes it back (SPI-9, SPI-12).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn assign(&self, spi: Spi, vm: Option<VmId>) -> Outcome {
        use gicv5_arch::irs::IRS_SPI_VMR;
        self.select(spi)?;
        let vm = vm.map_or(IRS_SPI_VMR::ZERO, |vm| IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(vm));
        expect("IRS_SPI_STATUSR.V", true, self.write_selected(vm)?)
    }
}

/// Ends the residency of a PE, and makes its virtual CPU interface and PPIs as at first.
pub(crate) fn quiesce_virtual<P: PeOps + ?Sized>(pe: &Pe<'_, P>) {
    pe.write_raw(SysReg::ICH_CONTEXTR_EL2, 0);
    pe.write_raw(SysReg::ICH_VCTLR_EL2, 0);
    pe.isb();
    pe.write_raw(SysReg::ICH_VMCR_EL2, 0);
    pe.write_raw(SysReg::ICH_APR_EL2, 0);
    for bank in PpiBank::ALL {
        pe.write_raw(SysReg::ich_ppi_dvir(bank), 0);
        pe.write_raw(SysReg::ich_ppi_enabler(bank), 0);
        pe.write_raw(SysReg::ich_ppi_activer(bank), 0);
        pe.isb();
        pe.write_raw(SysReg::ich_ppi_pendr(bank), 0);
    }
    for n in 0..16 {
        pe.write_raw(SysReg::ich_ppi_priorityr(arbitrary_int::u4::new(n)), 0);
    }
    pe.write(ICH_HFGRTR_EL2::ZERO.with_res1(true));
    pe.write_raw(SysReg::ICH_HFGWTR_EL2, 0);
    pe.write_raw(SysReg::ICH_HFGITR_EL2, 0);
    pe.isb();
    pe.gsb_sys();
}
