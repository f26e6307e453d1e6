//! What all VMs share.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32};

use gicv5_arch::geometry::VmTableGeometry;
use gicv5_hal::{CurrentPe, Lock};

use crate::config::Config;
use crate::doorbell::Doorbells;
use crate::host::books::{Books, Changing, Phase, Settling};
use crate::machine::Machine;
use crate::probe::{self, ProbeError};
use crate::tables::vm_table::SharedVmTable;
use crate::vcpu::ppi::VirtualPpis;
use crate::vm::record::{Parked, Record, Records};
use crate::{Hypervisor, MutexOf};
use gicv5_irs::command_port::Ports;
use gicv5_irs::domain::Domain;
use gicv5_irs::heap::{Boxed, Heap, boxed_slice};
use gicv5_irs::ids::Ids;

/// The VMs of one interrupt domain.
///
/// It is shared by all PEs; every method takes `&self`. What may be called from where is in the documentation of each
/// method, and in the [crate's](crate).
///
/// Dropping it touches no hardware. If it is not [down](Phase::Down), the VM table stays in use by the IRS and its blocks are
/// dropped, which frees nothing: the memory is lost, because giving it back would be worse. So call
/// [`shut_down`](Self::shut_down) first and look at the result.
pub struct Host<H: Hypervisor> {
    /// The hypervisor and the IRSs.
    pub(crate) machine: Machine<H>,
    /// The table that the IRSs walk.
    pub(crate) table: SharedVmTable<H>,
    /// The words of all doorbells, found by cookie without a lock.
    pub(crate) doorbells: Doorbells<H::Locks>,
    /// The virtual PPIs of the PEs.
    pub(crate) ppis: VirtualPpis,
    /// Who has which VM ID, and what is left without a handle.
    pub(crate) books: MutexOf<H, Books<H>>,
}

impl<H: Hypervisor> Host<H> {
    /// Looks at the hardware, and makes the library's own records. Reads ID registers of the IRSs, and asks the PE it is called
    /// on which virtual PPIs there are, for which no VPE may be resident there (PPI-25). Everything is left as it was.
    ///
    /// Never waits; allocates. To be called where the hypervisor may allocate.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] for hardware without virtualisation or that cannot be, for IRSs that cannot share tables, for a VM
    /// table that they cannot have, and if there is no memory. `hypervisor` is dropped then.
    pub fn new(hypervisor: H, config: &Config<'_>) -> Result<Host<H>, ProbeError> {
        let probe::Found { limits, geometry, vms, publish_for } = probe::probe(&hypervisor, config)?;
        let heap: Heap<'_> = &|bytes| hypervisor.may_allocate(bytes);
        let ids = Ids::new(heap, vms)?;
        let doorbells = Doorbells::new(heap, config.vcpus, config.doorbell_mask)?;
        let ppis = hypervisor.current_pe().on_this_pe(VirtualPpis::probe)?;
        let mut others = config.others.iter();
        let others = boxed_slice(heap, others.len(), || others.next().copied().unwrap_or(config.irs))?;
        let irss = others.len() as u32 + 1;
        let machine = Machine {
            domain: Domain::new(hypervisor, irss, config.timeout, limits.highest, publish_for),
            irs: config.irs,
            others,
            ports: Ports::default(),
            fresh_vpe_selected: AtomicBool::new(false),
            fresh_vms: AtomicU32::new(0),
            limits,
            contiguous_bytes: config.contiguous_bytes,
            live_table: config.live_table,
        };
        let books = Books {
            phase: Phase::Down,
            changing: Changing::NONE,
            ids,
            parked: Records::EMPTY,
            settling: Settling::default(),
            references: Vec::new(),
        };
        Ok(Host { machine, table: SharedVmTable::new(geometry), doorbells, ppis, books: Lock::new(books) })
    }

    /// Takes a record without a handle.
    pub(crate) fn park(&self, mut record: Boxed<Record<H>>, why: Parked) {
        record.parked = why;
        self.books.with(|books| books.parked.push(record));
    }

    /// How far the host is. Never waits; takes a lock, so not from an interrupt handler.
    pub fn phase(&self) -> Phase {
        self.books.with(|books| books.phase)
    }

    /// How many VMs there can be at a time: as many as were configured, or as the hardware has IDs for. Never waits.
    pub fn vm_limit(&self) -> u32 {
        self.books.with(|books| books.ids.count())
    }

    /// The VM table that was chosen. Never waits.
    #[must_use]
    pub const fn vm_table(&self) -> VmTableGeometry {
        self.table.geometry
    }

    /// The hypervisor, as it was given to [`new`](Self::new).
    pub const fn hypervisor(&self) -> &H {
        &self.machine.domain.platform
    }
}
