//! The VM table, the VMs that are valid, and the doorbells that their VPEs have.

use gicv5_arch::{VmId, VpeId};
use gicv5_hal::IrsIndex;

use crate::parts::doorbells::Doorbells;
use crate::parts::id_map::IdMap;
use crate::parts::vm::{Vm, Vpe};
use crate::parts::vm_table::VmTable;

/// The VM table as it was when it became valid, and what is behind it. It is the same for all IRSs of the domain (GEN-13).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Vms {
    pub(crate) table: Option<VmTable>,
    pub(crate) vms: IdMap<VmId, Vm>,
    pub(crate) doorbells: Doorbells,
}

impl Vms {
    /// The IRS that owns the VM table and what is behind it: as it sees memory, so do they all.
    #[inline]
    pub(crate) fn irs(&self) -> IrsIndex {
        self.table.map_or(IrsIndex(0), VmTable::irs)
    }

    #[inline]
    pub(crate) fn vpe(&self, vm: VmId, vpe: VpeId) -> Option<&Vpe> {
        self.vms.get(&vm)?.vpes.get(&vpe)
    }

    #[inline]
    pub(crate) fn vpe_mut(&mut self, vm: VmId, vpe: VpeId) -> Option<&mut Vpe> {
        self.vms.get_mut(&vm)?.vpes.get_mut(&vpe)
    }
}
