//! Who makes a VM valid, its VPEs and its ISTs.

use core::sync::atomic::Ordering;

use gicv5_arch::entry::{L2_VMTE, L2_VMTE_IST};
use gicv5_arch::irs::{
    IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMAP_VPER, IRS_VPE_CR0, IRS_VPE_DBR, IRS_VPE_SELR, IRS_VPE_STATUSR, IrsReg,
};
use gicv5_arch::values::MapAction;
use gicv5_arch::{IrsIntType, Lpi, Priority, VmId, VpeId};

use crate::Hypervisor;
use crate::doorbell::DoorbellSet;
use crate::doorbell::mask::DoorbellMask;
use crate::machine::Machine;
use crate::tables::vm_table::SharedVmTable;
use crate::tables::vpe_table::NO_VPE;
use crate::vm::init::InitCause;
use crate::vm::record::{Record, Vcpu};
use gicv5_irs::command::{Command, CommandError, Place, TableEntry};
use gicv5_irs::command_port::{Port, PortKind};
use gicv5_irs::lease::TableError;

impl<H: Hypervisor> SharedVmTable<H> {
    /// Fills the VM's entry and has the IRS make it valid (VM-1), and then its VPEs (VPE-5), which have no settings yet.
    pub(crate) async fn make_vm_valid(&self, machine: &Machine<H>, record: &mut Record<H>) -> Result<(), InitCause> {
        let vm = record.vm();
        let command = Command::MakeVmValid(vm);
        let mut port = machine.port(PortKind::Vmt, command).await?;
        let tables = record.tables.lend().ok_or(TableError::Records)?;
        let entry = tables.entry(&machine.limits).map_err(TableError::from)?;
        let no_effect = |port: &Port<'_, H>, found| port.no_effect(command, Place::Entry(TableEntry::L2Vmte), found);
        self.fill(machine, vm, 0, &entry.raw_value()).map_err(|found| no_effect(&port, found))?;
        let value = IRS_VMAP_VMR::ZERO.with_m(true).with_u(MapAction::MakeValid).with_vm_id(vm);
        port.issue(command, value).await?;
        self.confirm(machine, vm, 0).map_err(|found| no_effect(&port, found))?;
        // The port is kept: the idle after each command is the one before the next (GEN-18).
        for Vcpu { vpe, .. } in &record.vcpus {
            let value = IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(vm).with_vpe_id(*vpe);
            port.issue(Command::MakeVpeValid(vm, *vpe), value).await?;
        }
        Ok(())
    }

    /// Names an IST in the entry of a valid VM, and has the IRS make it valid.
    pub(crate) async fn make_ist_valid(
        &self,
        machine: &Machine<H>,
        port: &mut Port<'_, H>,
        vm: VmId,
        int_type: IrsIntType,
        word: L2_VMTE_IST,
    ) -> Result<(), CommandError> {
        let command = Command::MakeIstValid(vm, int_type);
        let at = L2_VMTE::ist_word(int_type);
        let no_effect = |port: &Port<'_, H>, found| port.no_effect(command, Place::Entry(TableEntry::L2Vmte), found);
        self.fill(machine, vm, at, &[word.raw_value()]).map_err(|found| no_effect(port, found))?;
        let value =
            IRS_VMAP_VISTR::ZERO.with_m(true).with_u(MapAction::MakeValid).with_int_type(int_type).with_vm_id(vm);
        port.issue(command, value).await?;
        self.confirm(machine, vm, at).map_err(|found| no_effect(port, found))
    }
}

/// The settings of a VPE before it is configured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settings {
    /// It has become valid just now, and has none (VPE-9).
    None,
    /// They may be anything.
    Unknown,
}

impl<H: Hypervisor> Machine<H> {
    /// Selects a VPE, which shows whether it is valid (VPE-12), takes it out of 1-of-N selection and gives it its doorbell,
    /// with no request. Every VPE needs this after it has become valid (VPE-10, VPE-11).
    pub(crate) async fn configure_vpe(
        &self,
        vm: VmId,
        vpe: VpeId,
        lpi: Lpi,
        mask: DoorbellMask,
        before: Settings,
    ) -> Result<DoorbellSet, CommandError> {
        let command = Command::SelectVpe(vm, vpe);
        let mut port = self.port(PortKind::Vpe, command).await?;
        let select = |vpe| IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe);
        // V says that a VPE is selected, not which (GEN-17). A selection without effect leaves the one before. That VPE has a
        // doorbell, which a fresh one has not; or it is not valid any more, which the next write says (VPE-13). Where neither
        // tells, nothing is selected first.
        if self.fresh_vpe_selected.swap(true, Ordering::Relaxed) || before == Settings::Unknown {
            let status = port.issue(command, select(NO_VPE)).await?;
            if IRS_VPE_STATUSR::new_with_raw_value(status as u32).v() {
                return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VPE_STATUSR), status));
            }
        }
        port.issue_valid(command, select(vpe)).await?;
        if before == Settings::None {
            let found: IRS_VPE_DBR = port.read();
            if found.dbv() {
                return Err(port.register_says(command, found));
            }
        }

        let command = Command::ConfigureVpe(vm, vpe);
        port.issue_valid(command, IRS_VPE_CR0::ZERO.with_dps(true)).await?;
        // Without 1-of-N the register may read as zero (open question 20).
        if self.limits.one_of_n {
            let found: IRS_VPE_CR0 = port.read();
            if !found.dps() {
                return Err(port.register_says(command, found));
            }
        }

        let command = Command::SetDoorbell(vm, vpe);
        // The mask of a request replaces this one (DB-10). If it counts as well, it is in nobody's way.
        let open = mask.letting_through(Priority::LEAST_URGENT);
        let settings = IRS_VPE_DBR::ZERO.with_dbv(true).with_dbpm(open).with_intid(lpi);
        port.issue_valid(command, settings).await?;
        // A doorbell that is not set is a vCPU that sleeps for ever, so it is worth another look (DB-6).
        let found: IRS_VPE_DBR = port.read();
        if !found.dbv() || found.intid() != lpi {
            return Err(port.register_says(command, found));
        }
        self.fresh_vpe_selected.store(false, Ordering::Relaxed);
        Ok(DoorbellSet(()))
    }
}
