//! What all VMs share.

use alloc::boxed::Box;
use alloc::vec::Vec;

use gicv5_arch::geometry::VmTableGeometry;
use gicv5_hal::{CurrentPe, IrsIndex, Lock};

use crate::config::{Config, LiveTable};
use crate::doorbell::Doorbells;
use crate::host::books::{Core, Phase};
use crate::probe::{self, Limits, ProbeError};
use crate::vcpu::ppi::VirtualPpis;
use crate::vm::record::{Parked, Record, Records};
use crate::{Hypervisor, MutexOf};
use gicv5_irs::command::{Command, CommandError};
use gicv5_irs::domain::Domain;
use gicv5_irs::heap::{Boxed, Heap, boxed_slice};
use gicv5_irs::ids::Ids;
use gicv5_irs::lease::Part;
use gicv5_irs::port::{Port, PortKind, Ports};

/// The VMs of one interrupt domain.
///
/// It is shared by all PEs; every method takes `&self`. What may be called from where is in the documentation of each
/// method, and in the [crate's](crate).
///
/// Dropping it touches no hardware. If it is not [down](Phase::Down), the VM table stays in use by the IRS and its blocks are
/// dropped, which frees nothing: the memory is lost, because giving it back would be worse. So call
/// [`shut_down`](Self::shut_down) first and look at the result.
pub struct Host<H: Hypervisor> {
    /// Hypervisor, time-out, and what else is the same from probe to the end.
    pub(crate) domain: Domain<H>,
    /// The words of all doorbells, found by cookie without a lock.
    pub(crate) doorbells: Doorbells<H::Locks>,
    /// The virtual PPIs of the PEs.
    pub(crate) ppis: VirtualPpis,
    /// The IRS that commands go through.
    pub(crate) irs: IrsIndex,
    /// The other IRSs of the domain.
    pub(crate) others: Box<[IrsIndex]>,
    pub(crate) contiguous_bytes: u64,
    pub(crate) live_table: LiveTable,
    pub(crate) limits: Limits,
    pub(crate) geometry: VmTableGeometry,
    pub(crate) ports: Ports<H::Locks>,
    pub(crate) core: MutexOf<H, Core<H>>,
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
        let mut others = config.others.iter();
        let (others_len, highest) = (others.len() as u32, limits.highest);
        let core = Core {
            phase: Phase::Down,
            table: Part::Absent,
            ids: Ids::new(heap, vms)?,
            next_generation: 0,
            parked: Records::EMPTY,
            references: Vec::new(),
        };
        Ok(Host {
            doorbells: Doorbells::new(heap, config.vcpus, config.doorbell_mask)?,
            ppis: hypervisor.current_pe().on_this_pe(VirtualPpis::probe)?,
            irs: config.irs,
            others: boxed_slice(heap, others.len(), || others.next().copied().unwrap_or(config.irs))?,
            contiguous_bytes: config.contiguous_bytes,
            live_table: config.live_table,
            limits,
            geometry,
            ports: Ports::default(),
            core: Lock::new(core),
            domain: Domain::new(hypervisor, others_len + 1, config.timeout, highest, publish_for),
        })
    }

    /// The IRSs of the domain, the one that commands go through last.
    pub(crate) fn irss(&self) -> impl Iterator<Item = IrsIndex> {
        self.others.iter().copied().chain([self.irs])
    }

    /// Takes a port at the IRS that commands go through.
    pub(crate) async fn port(&self, kind: PortKind, command: Command) -> Result<Port<'_, H>, CommandError> {
        self.domain.port(&self.ports, kind, self.irs, command).await
    }

    /// Takes a record without a handle.
    pub(crate) fn park(&self, mut record: Boxed<Record<H>>, why: Parked) {
        record.parked = why;
        self.core.with(|core| core.parked.push(record));
    }

    /// How far the host is. Never waits; takes a lock, so not from an interrupt handler.
    pub fn phase(&self) -> Phase {
        self.core.with(|core| core.phase)
    }

    /// How many VMs there can be at a time: as many as were configured, or as the hardware has IDs for. Never waits.
    pub fn vm_limit(&self) -> u32 {
        self.core.with(|core| core.ids.count())
    }

    /// The VM table that was chosen. Never waits.
    #[must_use]
    pub const fn vm_table(&self) -> VmTableGeometry {
        self.geometry
    }

    /// The hypervisor, as it was given to [`new`](Self::new).
    pub const fn hypervisor(&self) -> &H {
        &self.domain.platform
    }
}
