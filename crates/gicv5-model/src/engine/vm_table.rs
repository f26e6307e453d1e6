//! The VM table: given to the IRSs, its level-2 tables made valid, and given up.

use gicv5_arch::entry::L2_VMTE_VMD;
use gicv5_arch::irs::{IRS_VMAP_L2_VMTR, IRS_VMT_BASER, IRS_VMT_CFGR};
use gicv5_arch::{PhysAddr, VmId};
use gicv5_hal::IrsIndex;

use crate::engine::state::MachineState;
use crate::parts::vm_table::VmtRegisters;
use crate::words::config::VmTableProgramming;
use crate::words::event::Outcome;
use crate::words::ids::PeIndex;

impl MachineState {
    /// The IRS that keeps what this one has been told about the VM table.
    fn vmt_home(&self, irs: usize) -> usize {
        match self.config.switches.vm_table.programming {
            VmTableProgramming::AnyIrs => 0,
            VmTableProgramming::EachIrs => irs,
        }
    }

    /// What an IRS has been told about the VM table.
    pub(super) fn vmt_registers(&self, irs: usize) -> VmtRegisters {
        self.irses.get(self.vmt_home(irs)).map_or(VmtRegisters::default(), |irs| irs.vmt)
    }

    fn vmt_registers_mut(&mut self, irs: usize) -> Option<&mut VmtRegisters> {
        let home = self.vmt_home(irs);
        self.irses.get_mut(home).map(|irs| &mut irs.vmt)
    }

    /// Whether an IRS knows the VM table, so that it knows VMs at all (GEN-14).
    pub(super) fn has_vm_table(&self, irs: usize) -> bool {
        self.vmt_registers(irs).adopted
    }

    /// A write of IRS_VMT_BASER. Returns whether there is a command to complete.
    pub(super) fn write_vmt_baser(&mut self, irs: usize, new: IRS_VMT_BASER) -> bool {
        let live = self.config.switches.vm_table.live_registers;
        self.vmt_registers_mut(irs).is_some_and(|registers| registers.write_baser(new, live))
    }

    /// A change of validity has had no effect.
    pub(super) fn keep_vmt_validity(&mut self, irs: usize) {
        if let Some(registers) = self.vmt_registers_mut(irs) {
            registers.keep_validity();
        }
    }

    /// A write of IRS_VMT_CFGR.
    pub(super) fn write_vmt_cfgr(&mut self, irs: usize, new: IRS_VMT_CFGR) {
        let live = self.config.switches.vm_table.live_registers;
        if let Some(registers) = self.vmt_registers_mut(irs) {
            registers.write_cfgr(new, live);
        }
    }

    /// The VM table becomes valid (VMT-3).
    pub(super) fn adopt_vm_table(&mut self, irs: usize) {
        let Some(idr3) = self.config.irses.get(irs).map(|irs| irs.idr3) else { return };
        let registers = self.vmt_registers(irs);
        let unsupported = self.config.switches.vm_table.unsupported;
        let mut side = self.side(IrsIndex(irs as u16));
        let Some(table) = registers.table(&mut side, idr3, unsupported) else { return };
        if let Some(first) = self.virt.table {
            // Another IRS has been given it before.
            if first.is_same(table, &mut self.side(IrsIndex(irs as u16))) {
                self.adopted(irs, true);
            }
            return;
        }
        self.virt.table = Some(table);
        self.adopted(irs, true);
        self.judge_attributes("a VM table");
        match table.own(&mut self.side(table.irs())) {
            Some(entries) => self.revalidate(0..entries),
            None => {
                for (n, entry, level1) in table.valid_level1_entries(&self.side(table.irs())) {
                    table.own_level2(&mut self.side(table.irs()), entry, level1);
                    self.revalidate(n * 128..(n + 1) * 128);
                }
            }
        }
    }

    fn adopted(&mut self, irs: usize, adopted: bool) {
        if let Some(registers) = self.vmt_registers_mut(irs) {
            registers.adopted = adopted;
        }
    }

    /// VMs whose entries are valid already become valid with the table that the entries are in (VMT-12).
    fn revalidate(&mut self, ids: std::ops::Range<u32>) {
        for id in ids {
            let Ok(id) = u16::try_from(id) else { break };
            let vm = VmId::new(id);
            let Some(entry) = self.vm_entry(vm) else { continue };
            let word = self.vms().1.load64(entry).map(L2_VMTE_VMD::new_with_raw_value);
            if word.is_some_and(|word| word.valid()) {
                self.adopt_vm(0, vm, entry);
            }
        }
    }

    /// The address of a VM's entry; `None` if there is none that can be used (VMT-20).
    pub(super) fn vm_entry(&self, vm: VmId) -> Option<PhysAddr> {
        self.virt.table?.entry(&self.memory, vm)
    }

    /// The VM table becomes invalid, and everything behind it (VMT-6).
    pub(super) fn withdraw_vm_table(&mut self, irs: usize) {
        self.adopted(irs, false);
        if self.irses.iter().any(|irs| irs.vmt.adopted) {
            self.end_residencies(irs);
            return;
        }
        let Some(table) = self.virt.table else { return };
        for vm in self.virt.vms.keys().collect::<Vec<_>>() {
            self.withdraw_vm(vm);
        }
        self.virt.table = None;
        let validity = self.config.switches.vm_table.level1;
        table.disown(&mut self.side(table.irs()), validity);
    }

    /// Every VPE that is resident on a PE of this IRS leaves it: the IRS does not know it any more (RES-23).
    fn end_residencies(&mut self, irs: usize) {
        for pe in 0..self.pes.len() {
            let Some((vm, vpe)) = self.resident(pe).filter(|_| self.irs_of(pe) == irs) else { continue };
            self.drop_residency(PeIndex(pe as u16), vm, vpe);
            if let Some(state) = self.virt.vpe_mut(vm, vpe) {
                state.resident = None;
            }
        }
    }

    /// IRS_VMAP_L2_VMTR (VMT-13, VMT-14).
    pub(super) fn map_level2_vm_table(&mut self, irs: usize, command: IRS_VMAP_L2_VMTR) -> Outcome {
        let Some(table) = self.virt.table.filter(|_| self.has_vm_table(irs)) else { return Outcome::Ignored };
        let vm = command.vm_id();
        let Some(outcome) = table.publish_level2(&mut self.side(table.irs()), vm) else {
            return self.ignore_vm(irs, vm);
        };
        if outcome == Outcome::Done {
            let first = u32::from(vm.raw_value()) & !127;
            self.revalidate(first..first + 128);
        }
        outcome
    }
}
