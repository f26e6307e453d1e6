//! Who makes a VM valid, its VPEs and its ISTs.

use gicv5_arch::entry::{L2_VMTE, L2_VMTE_IST};
use gicv5_arch::irs::{IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMAP_VPER};
use gicv5_arch::values::MapAction;
use gicv5_arch::{IrsIntType, VmId};

use crate::Hypervisor;
use crate::machine::Machine;
use crate::tables::vm_table::SharedVmTable;
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
