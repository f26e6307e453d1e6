//! The VM table: given to the IRSs, its level-2 tables made valid, and given up.
//!
//! A VM, a VPE or an IST becomes valid by a command that names it. The IRS then reads the entry once, sets its valid bit
//! and keeps what it has read: it never looks at the entry again until it is invalid (VMT-19). From then on the memory behind
//! it is the IRS's (VM-5), and it goes back when the structure that encloses it becomes invalid (VM-6, IST-7).

use crate::parts::vm_tables::VmTable;
use crate::parts::vm_tables::VmtRegisters;

use gicv5_arch::entry::{L1_VMTE, L2_VMTE_VMD};
use gicv5_arch::geometry::{TableIndex, VmTableGeometry};
use gicv5_arch::irs::{IRS_VMAP_L2_VMTR, IRS_VMT_BASER, IRS_VMT_CFGR, IrsReg};
use gicv5_arch::values::{Levels, Structure};
use gicv5_arch::{PhysAddr, VmId};
use gicv5_hal::{Frame, IrsIndex};

use crate::engine::state::MachineState;
use crate::words::config::{Level1Valid, LiveRegisters, UnsupportedVmTable, VmTableProgramming};
use crate::words::event::Outcome;
use crate::words::ids::PeIndex;
use crate::words::owner::{Owner, StructureKind};
use crate::words::rules::{self, RuleId};
use crate::words::violation::Place;

impl MachineState {
    /// The IRS that keeps what this one has been told about the VM table.
    pub(crate) fn vmt_home(&self, irs: usize) -> usize {
        match self.config.switches.vm_table.programming {
            VmTableProgramming::AnyIrs => 0,
            VmTableProgramming::EachIrs => irs,
        }
    }

    /// The IRS that owns the VM table and what is behind it: as it sees memory, so do they all.
    pub(crate) fn vm_owner(&self) -> IrsIndex {
        self.virt.table.map_or(IrsIndex(0), |table| table.irs)
    }

    /// What an IRS has been told about the VM table.
    pub(crate) fn vmt_registers(&self, irs: usize) -> VmtRegisters {
        self.irses.get(self.vmt_home(irs)).map_or(VmtRegisters::default(), |irs| irs.vmt)
    }

    pub(crate) fn vmt_registers_mut(&mut self, irs: usize) -> Option<&mut VmtRegisters> {
        let home = self.vmt_home(irs);
        self.irses.get_mut(home).map(|irs| &mut irs.vmt)
    }

    /// Whether an IRS knows the VM table, so that it knows VMs at all (GEN-14).
    pub(crate) fn has_vm_table(&self, irs: usize) -> bool {
        self.vmt_registers(irs).adopted
    }

    /// A write of IRS_VMT_BASER. Returns whether there is a command to complete.
    pub(crate) fn write_vmt_baser(&mut self, irs: usize, new: IRS_VMT_BASER) -> bool {
        let live = self.config.switches.vm_table.live_registers;
        let Some(registers) = self.vmt_registers_mut(irs) else { return false };
        let old = registers.baser;
        match (old.valid(), new.valid()) {
            // A write of 1 over 1 does nothing, and the address stays (VMT-5).
            (true, true) => {
                if live == LiveRegisters::Take {
                    registers.baser = new;
                }
                false
            }
            (true, false) => {
                registers.baser = old.with_valid(false);
                true
            }
            (false, valid) => {
                registers.baser = new;
                valid
            }
        }
    }

    /// A change of validity has had no effect.
    pub(crate) fn keep_vmt_validity(&mut self, irs: usize) {
        if let Some(registers) = self.vmt_registers_mut(irs) {
            registers.baser = registers.baser.with_valid(!registers.baser.valid());
        }
    }

    /// A write of IRS_VMT_CFGR, which is sampled when the table becomes valid (VMT-4).
    pub(crate) fn write_vmt_cfgr(&mut self, irs: usize, new: IRS_VMT_CFGR) {
        let live = self.config.switches.vm_table.live_registers;
        if let Some(registers) = self.vmt_registers_mut(irs)
            && (!registers.baser.valid() || live == LiveRegisters::Take)
        {
            registers.cfgr = new;
        }
    }

    /// The VM table becomes valid (VMT-3).
    pub(crate) fn adopt_vm_table(&mut self, irs: usize) {
        let Some(idr3) = self.config.irses.get(irs).map(|irs| irs.idr3) else { return };
        let VmtRegisters { baser, cfgr, .. } = self.vmt_registers(irs);
        let place = |register: IrsReg| Place::Register(Frame::config(IrsIndex(irs as u16)), register.offset());
        // What is not supported is replaced by what is (VMT-11).
        let supported = u32::from(idr3.vm_id_bits());
        let mut id_bits = u32::from(cfgr.vm_id_bits()).min(supported);
        let asks_for_levels = cfgr.structure() == Structure::TwoLevel;
        let mut two_level = asks_for_levels && idr3.vmt_levels() == Levels::TwoLevel;
        if id_bits != u32::from(cfgr.vm_id_bits()) || two_level != asks_for_levels {
            self.report.violate(
                rules::VMT_11,
                place(IrsReg::IRS_VMT_CFGR),
                cfgr.raw_value().into(),
                idr3.raw_value().into(),
                || "VM_ID_BITS or STRUCTURE is not supported by this IRS".into(),
            );
            if self.config.switches.vm_table.unsupported == UnsupportedVmTable::Whole {
                (id_bits, two_level) = (supported, false);
            }
        }
        let geometry = match two_level {
            true => VmTableGeometry::two_level(id_bits),
            false => VmTableGeometry::linear(id_bits),
        };
        let Ok(geometry) = geometry else { return };
        let address = baser.addr().address();
        let footprint = geometry.base();
        let Some(base) = self.aligned(address, footprint.alignment(), rules::VMT_10, place(IrsReg::IRS_VMT_BASER))
        else {
            return;
        };
        let by = IrsIndex(irs as u16);
        let table = VmTable { irs: by, base, geometry };
        match self.virt.table {
            // Another IRS has been given it before.
            Some(same) if (same.base, same.geometry) == (base, geometry) => {
                self.adopted(irs, true);
                return;
            }
            Some(other) => {
                self.report.violate(rules::GEN_13, place(IrsReg::IRS_VMT_BASER), other.base.raw(), base.raw(), || {
                    "an IRS is given another VM table than the other IRSs of its domain have".into()
                });
                return;
            }
            None => self.virt.table = Some(table),
        }
        self.adopted(irs, true);
        match geometry.level2() {
            None => {
                let _ = self.memory.fill(
                    &mut self.report,
                    by,
                    base,
                    footprint.size(),
                    Owner::domain(StructureKind::LinearVmte),
                );
                self.revalidate(0..1 << id_bits);
            }
            Some(level2) => {
                let _ = self.memory.fill(
                    &mut self.report,
                    by,
                    base,
                    footprint.size(),
                    Owner::domain(StructureKind::L1Vmte),
                );
                for (n, entry, level1) in self.valid_level1_vmtes() {
                    self.own_level2_vm_table(entry, level1, level2.size());
                    self.revalidate(n * 128..(n + 1) * 128);
                }
            }
        }
    }

    pub(crate) fn adopted(&mut self, irs: usize, adopted: bool) {
        if let Some(registers) = self.vmt_registers_mut(irs) {
            registers.adopted = adopted;
        }
    }

    /// The valid entries of the level-1 VM table, by number, and where they are; none of a linear table.
    pub(crate) fn valid_level1_vmtes(&self) -> Vec<(u32, PhysAddr, L1_VMTE)> {
        let Some(VmTable { irs: by, base, geometry }) = self.virt.table else { return Vec::new() };
        let count = if geometry.level2().is_some() { geometry.l1_entries() } else { 0 };
        (0..count)
            .map_while(|n| {
                let entry = base.offset(u64::from(n) * L1_VMTE::BYTES).ok()?;
                Some((n, entry, L1_VMTE::new_with_raw_value(self.memory.irs_load64(by, entry).ok()?)))
            })
            .filter(|(_, _, level1)| level1.valid())
            .collect()
    }

    /// VMs whose entries are valid already become valid with the table (VMT-12).
    pub(crate) fn revalidate(&mut self, ids: std::ops::Range<u32>) {
        let by = self.vm_owner();
        for id in ids {
            let Ok(id) = u16::try_from(id) else { break };
            let vm = VmId::new(id);
            let Some(entry) = self.vm_entry(vm) else { continue };
            if self.memory.irs_load64(by, entry).is_ok_and(|word| L2_VMTE_VMD::new_with_raw_value(word).valid()) {
                self.adopt_vm(0, vm, entry);
            }
        }
    }

    pub(crate) fn own_level2_vm_table(&mut self, entry: PhysAddr, level1: L1_VMTE, size: u64) {
        let by = self.vm_owner();
        let _ = self.memory.own(&mut self.report, by, entry, L1_VMTE::BYTES, Owner::domain(StructureKind::L1Vmte));
        let _ = self.memory.fill(
            &mut self.report,
            by,
            level1.l2_addr().address(),
            size,
            Owner::domain(StructureKind::L2Vmte),
        );
    }

    /// The VM table becomes invalid, and everything behind it (VMT-6).
    pub(crate) fn withdraw_vm_table(&mut self, irs: usize) {
        self.adopted(irs, false);
        if self.irses.iter().any(|irs| irs.vmt.adopted) {
            self.end_residencies(irs);
            return;
        }
        let Some(VmTable { irs: by, base, geometry }) = self.virt.table else { return };
        let vms: Vec<VmId> = self.virt.vms.keys().collect();
        for vm in vms {
            self.withdraw_vm(vm);
        }
        let cleared = self.config.switches.vm_table.level1 == Level1Valid::Cleared;
        for (_, entry, level1) in self.valid_level1_vmtes() {
            if let Some(level2) = geometry.level2() {
                let _ = self.memory.disown(&mut self.report, by, level1.l2_addr().address(), level2.size());
            }
            if cleared {
                let _ = self.memory.irs_store64(by, entry, level1.with_valid(false).raw_value());
            }
        }
        self.virt.table = None;
        let _ = self.memory.disown(&mut self.report, by, base, geometry.base().size());
    }

    /// Every VPE that is resident on a PE of this IRS leaves it: the IRS does not know it any more (RES-23).
    pub(crate) fn end_residencies(&mut self, irs: usize) {
        for pe in (0..self.pes.len()).filter(|pe| self.pes.get(*pe).is_some_and(|pe| pe.irs == irs)).collect::<Vec<_>>()
        {
            let Some((vm, vpe)) = self.resident(pe) else { continue };
            self.drop_residency(PeIndex(pe as u16), vm, vpe);
            if let Some(state) = self.vpe_mut(vm, vpe) {
                state.resident = None;
            }
        }
    }

    /// The address of a VM's entry; `None` if the VM table is not valid, the ID is out of range, or its level-1 entry is not
    /// valid (VMT-20).
    pub(crate) fn vm_entry(&self, vm: VmId) -> Option<PhysAddr> {
        let VmTable { irs: by, base, geometry } = self.virt.table?;
        match geometry.index(vm).ok()? {
            TableIndex::Linear(slot) => base.offset(slot.offset).ok(),
            TableIndex::TwoLevel { level1, level2 } => {
                let raw = self.memory.irs_load64(by, base.offset(level1.offset).ok()?).ok()?;
                let entry = L1_VMTE::new_with_raw_value(raw);
                if !entry.valid() {
                    return None;
                }
                entry.l2_addr().address().offset(level2.offset).ok()
            }
        }
    }

    /// An address as hardware uses it, with the bits below the alignment zero; reports if that is another address.
    pub(crate) fn aligned(
        &mut self,
        address: PhysAddr,
        alignment: u64,
        rule: RuleId,
        place: Place,
    ) -> Option<PhysAddr> {
        let used = PhysAddr::new(address.raw() & !(alignment - 1)).ok()?;
        if used != address {
            self.report.violate(rule, place, address.raw(), used.raw(), || {
                format!("the address is not aligned to {alignment:#x}, so another address is used")
            });
        }
        Some(used)
    }

    /// IRS_VMAP_L2_VMTR (VMT-13, VMT-14).
    pub(crate) fn map_level2_vm_table(&mut self, irs: usize, command: IRS_VMAP_L2_VMTR) -> Outcome {
        let Some(VmTable { irs: by, base, geometry }) = self.virt.table.filter(|_| self.has_vm_table(irs)) else {
            return Outcome::Ignored;
        };
        let Ok(index) = geometry.index(command.vm_id()) else { return self.ignore_vm(irs, command.vm_id()) };
        let (TableIndex::TwoLevel { level1, .. }, Some(level2)) = (index, geometry.level2()) else {
            return Outcome::Ignored;
        };
        let Ok(entry) = base.offset(level1.offset) else { return Outcome::Ignored };
        let Ok(raw) = self.memory.irs_load64(by, entry) else { return Outcome::Ignored };
        let level1 = L1_VMTE::new_with_raw_value(raw);
        if level1.valid() {
            return Outcome::Ignored;
        }
        let level1 = level1.with_valid(true);
        if self.memory.irs_store64(by, entry, level1.raw_value()).is_err() {
            return Outcome::Ignored;
        }
        self.own_level2_vm_table(entry, level1, level2.size());
        Outcome::Done
    }
}
