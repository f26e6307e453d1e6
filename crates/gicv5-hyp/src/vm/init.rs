//! How a VM is initialised.

use core::sync::atomic::Ordering;

use gicv5_arch::geometry::GeometryError;
use gicv5_arch::{IrsIntType, VmId, VpeId};
use gicv5_hal::{Lock, LpiError, Wait};

use crate::doorbell::error::DoorbellError;
use crate::error::{Fate, fated};
use crate::host::books::Phase;
use crate::host::host::Host;
use crate::ids::VmKey;
use crate::tables::vpe_table::{NO_VPE, Tables};
use crate::vcpu::ppi::{PpiMask, SOFTWARE_PPI};
use crate::vm::configure::Settings;
use crate::vm::handle::Vm;
use crate::vm::ist::IstCause;
use crate::vm::record::{Parked, Record};
use crate::vm::state::VmState;
use crate::vm::tear_down::TearDownError;
use crate::{BlockOf, Hypervisor};
use gicv5_irs::command::{Command, CommandError, Fault};
use gicv5_irs::command_port::PortKind;
use gicv5_irs::drive::fused;
use gicv5_irs::heap::OutOfMemory;
use gicv5_irs::lease::{Part, TableError};
use gicv5_irs::levels::ReachError;

/// Whether the guest shall run hypervisors of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Nesting {
    /// No.
    #[default]
    No,
    /// Yes. Refused: nested virtualisation is not supported (LIFE-15).
    Requested,
}

/// What a VM shall be.
#[derive(Clone, Copy, Debug)]
pub struct VmSpec<'a> {
    /// The VPE IDs of its vCPUs, ascending, up to 65534. They may be sparse; the guest sees them as its affinities (VPE-19).
    /// There are no more vCPUs than these: none can be added later.
    pub vpes: &'a [VpeId],
    /// The number of virtual SPIs, IDs from 0; 0 for none.
    pub spis: u32,
    /// The PPIs that the guest shall see, as far as the PEs have them: the software PPI and those that the hypervisor drives.
    pub ppis: PpiMask,
    /// Whether the guest shall run hypervisors.
    pub nesting: Nesting,
}

impl<'a> VmSpec<'a> {
    /// A VM with these vCPUs, no SPIs, and the software PPI.
    #[must_use]
    pub const fn new(vpes: &'a [VpeId]) -> VmSpec<'a> {
        VmSpec { vpes, spis: 0, ppis: SOFTWARE_PPI, nesting: Nesting::No }
    }
}

/// Why a VM could not be initialised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InitCause {
    /// It is initialised.
    #[error("the VM is initialised already")]
    AlreadyInitialised,
    /// It has no vCPU (LIFE-15).
    #[error("a VM without a vCPU")]
    NoVcpus,
    /// Nested virtualisation is not supported (LIFE-15).
    #[error("nested virtualisation is not supported")]
    Nesting,
    /// The VPE IDs do not ascend, or one is there twice.
    #[error("{vpe} does not come after the VPE before it")]
    NotAscending {
        /// The VPE.
        vpe: VpeId,
    },
    /// The IRS has no such VPE ID.
    #[error("there can be no such VPE")]
    VpeId(#[source] GeometryError),
    /// The library keeps the last VPE ID of all to select nothing with.
    #[error("{vpe} cannot be had: selecting it shall select nothing")]
    ReservedVpe {
        /// The VPE.
        vpe: VpeId,
    },
    /// The IRS has no IST for so many SPIs.
    #[error("there can be no SPI IST for so many SPIs")]
    Spis(#[source] GeometryError),
    /// The host is not up.
    #[error("the host is not up but {0:?}")]
    HostNotUp(Phase),
    /// All VM IDs are in use (LIFE-12).
    #[error("no VM ID is free")]
    NoVmId,
    /// A vCPU cannot have a doorbell.
    #[error("there is no doorbell for {vpe}")]
    Doorbell {
        /// The VPE.
        vpe: VpeId,
        /// Why.
        source: DoorbellError,
    },
    /// There is no memory for a table.
    #[error("there is no memory for the VM")]
    Table(#[from] TableError),
    /// The SPI IST could not be made.
    #[error("the SPI IST could not be made")]
    Ist(#[from] IstCause),
    /// The IRS did not do what it was asked to.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// An earlier init was given up half-way, and what it has left could not be torn down.
    #[error("what an earlier attempt has left could not be torn down")]
    NotSettled(#[source] crate::TearDownCause),
}

impl From<OutOfMemory> for InitCause {
    fn from(error: OutOfMemory) -> InitCause {
        InitCause::Table(error.into())
    }
}

impl From<ReachError> for InitCause {
    fn from(error: ReachError) -> InitCause {
        match error {
            ReachError::Table(error) => InitCause::Table(error),
            ReachError::Command(error) => InitCause::Command(error),
            // Only a host that is not up has no VM table.
            ReachError::Gone => InitCause::HostNotUp(Phase::Changing),
        }
    }
}

/// A VM could not be initialised, and what became of what had been done till then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitError {
    /// Why.
    pub cause: InitCause,
    /// What became of it: [`Fate::Unchanged`], [`Fate::TornDown`] or [`Fate::Quarantined`]. In all of them but
    /// [`InitCause::AlreadyInitialised`], init may be tried again.
    pub fate: Fate,
}

fated!(InitError);

impl InitError {
    const fn unchanged(cause: InitCause) -> InitError {
        InitError { cause, fate: Fate::Unchanged }
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match &self.cause {
            InitCause::HostNotUp(Phase::Changing) => Fault::Busy,
            InitCause::Doorbell { source: DoorbellError::Lpi(LpiError::Unreachable { .. }), .. } => Fault::Hardware,
            InitCause::AlreadyInitialised
            | InitCause::NoVcpus
            | InitCause::Nesting
            | InitCause::NotAscending { .. }
            | InitCause::VpeId(_)
            | InitCause::ReservedVpe { .. }
            | InitCause::Spis(_)
            | InitCause::HostNotUp(_) => Fault::Caller,
            InitCause::NoVmId | InitCause::Doorbell { .. } => Fault::Capacity,
            InitCause::Table(error) => error.fault(),
            InitCause::Ist(cause) => cause.fault(),
            InitCause::Command(error) => error.fault(),
            InitCause::NotSettled(cause) => cause.fault(),
        }
    }
}

impl<H: Hypervisor> Vm<'_, H> {
    /// Sets the VM up: VM ID, doorbells, tables, the VM valid, its VPEs valid and configured, the SPI IST.
    ///
    /// If anything fails, what was done is undone by the one teardown, and init may be tried again; what the hardware does
    /// not confirm to have let go is quarantined with the host, and the handle is free. Each init tries first whether the
    /// quarantine can be emptied by now.
    ///
    /// Waits for the IRS, allocates, and may wait as [`HostLpis::allocate`](gicv5_hal::HostLpis::allocate) does; not from an
    /// interrupt handler, nor with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`InitError`], with the cause and what became of the VM.
    pub fn init(&mut self, spec: &VmSpec<'_>) -> Result<(), InitError> {
        self.host.machine.domain.block_on(self.start_init(spec))
    }

    /// [`init`](Self::init) step by step: each poll goes on until the IRS has to be waited for, and looks once whether it has
    /// finished. A future that is dropped leaves the VM [half-way](VmState::Initialising); teardown and another init go on from
    /// there.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn start_init(&mut self, spec: &VmSpec<'_>) -> impl Future<Output = Result<(), InitError>> {
        fused(self.init_steps(spec))
    }

    async fn init_steps(&mut self, spec: &VmSpec<'_>) -> Result<(), InitError> {
        let host = self.host;
        if self.state().is_some_and(|state| state != VmState::Initialising) {
            return Err(InitError::unchanged(InitCause::AlreadyInitialised));
        }
        let plan = Plan::new(host, spec).map_err(InitError::unchanged)?;
        // What an earlier init has left half-way goes first.
        let mut fate = Fate::Unchanged;
        if self.record.is_some() {
            if let Err(TearDownError { cause, fate }) = self.tear_down_steps().await {
                return Err(InitError { cause: InitCause::NotSettled(cause), fate });
            }
            fate = Fate::TornDown;
        }
        if host.holdings_in_quarantine() {
            // If it fails the hardware still does not answer, and this init will see for itself.
            let _ = host.reclaim_steps().await;
        }
        let key = host.take_id().map_err(|cause| InitError { cause, fate })?;
        let record = match Record::new(
            &host.machine.domain.heap(),
            key,
            spec.vpes,
            spec.spis,
            spec.ppis.and(host.ppis.implemented),
        ) {
            Ok(record) => self.record.insert(record),
            Err(error) => {
                host.books.with(|books| books.ids.give(key.vm().raw_value().into()));
                return Err(InitError { cause: error.into(), fate });
            }
        };
        match host.build_vm(record, &plan).await {
            Ok(()) => {
                host.is_fresh_no_more(record);
                record.life.begin();
                Ok(())
            }
            Err(cause) => match host.tear_down_record(&mut **record).await {
                Ok(()) => {
                    self.record = None;
                    Err(InitError { cause, fate: Fate::TornDown })
                }
                Err(_) => {
                    self.quarantine();
                    Err(InitError { cause, fate: Fate::Quarantined })
                }
            },
        }
    }
}

/// What init has found out before it takes anything.
struct Plan {
    vpe_table: gicv5_arch::geometry::VpeTableGeometry,
    /// ID bits of the SPI IST, if there is one.
    spi_id_bits: Option<u32>,
}

impl Plan {
    fn new<H: Hypervisor>(host: &Host<H>, spec: &VmSpec<'_>) -> Result<Plan, InitCause> {
        if spec.nesting == Nesting::Requested {
            return Err(InitCause::Nesting);
        }
        let highest = *spec.vpes.last().ok_or(InitCause::NoVcpus)?;
        if let Some([_, vpe]) = spec.vpes.array_windows().find(|[before, vpe]| before >= vpe) {
            return Err(InitCause::NotAscending { vpe: *vpe });
        }
        if highest == NO_VPE {
            return Err(InitCause::ReservedVpe { vpe: highest });
        }
        let limits = &host.machine.limits;
        let vpe_table = limits.vpe_table.table_for_highest(highest).map_err(InitCause::VpeId)?;
        let spi_id_bits = match spec.spis {
            0 => None,
            spis => Some(limits.ist.id_bits_for(IrsIntType::Spi, spis).map_err(InitCause::Spis)?),
        };
        Ok(Plan { vpe_table, spi_id_bits })
    }
}

impl<H: Hypervisor> Host<H> {
    fn holdings_in_quarantine(&self) -> bool {
        self.books.with(|books| books.parked.iter().any(|record| record.parked == Parked::Quarantine))
    }

    /// Takes the lowest free VM ID.
    fn take_id(&self) -> Result<VmKey, InitCause> {
        let now = self.machine.domain.platform.wait().now();
        self.books.with(|books| {
            books.end_forgotten_change(now);
            if books.phase != Phase::Up {
                return Err(InitCause::HostNotUp(books.phase));
            }
            let vm = books.ids.take().and_then(|id| id.try_into().ok()).map(VmId::new).ok_or(InitCause::NoVmId)?;
            Ok(self.table.key(vm))
        })
    }

    /// Everything that init does with a record. Whatever it has done when it fails is in the record.
    async fn build_vm(&self, record: &mut Record<H>, plan: &Plan) -> Result<(), InitCause> {
        let vm = record.vm();
        let lpis = self.machine.domain.platform.lpis();
        for vcpu in &mut record.vcpus {
            let vpe = vcpu.vpe;
            let doorbell = self.doorbells.allocate(&self.machine.domain.heap(), lpis, vm, vpe);
            vcpu.doorbell = Some(doorbell.map_err(|source| InitCause::Doorbell { vpe, source })?);
        }
        self.table.make_reachable(&self.machine, vm).await?;
        let vpes = record.vcpus.iter().map(|vcpu| vcpu.vpe);
        let tables = Tables::allocate(&self.machine, record.key(), plan.vpe_table, vpes)?;
        self.begins_fresh(record, tables).await?;
        self.table.make_vm_valid(&self.machine, record).await?;
        for vcpu in &record.vcpus {
            let Some(doorbell) = &vcpu.doorbell else { continue };
            let lpi = self.doorbells.lpi(lpis, doorbell);
            let proof = self.machine.configure_vpe(vm, vcpu.vpe, lpi, self.doorbells.mask, Settings::None).await?;
            self.doorbells.enable(lpis, doorbell, &proof);
        }
        if let Some(id_bits) = plan.spi_id_bits {
            self.make_ist(record, IrsIntType::Spi, id_bits).await.map_err(|error| error.cause)?;
        }
        Ok(())
    }
    /// The VM is about to be valid with VPEs that have no doorbell. Whoever is selecting a VPE just now does not know that, and is
    /// waited for (GEN-17).
    async fn begins_fresh(&self, record: &mut Record<H>, tables: Tables<BlockOf<H>>) -> Result<(), InitCause> {
        record.tables = Part::Draft(tables);
        self.machine.fresh_vms.fetch_add(1, Ordering::Relaxed);
        if !self.machine.domain.is_free(&self.machine.ports, PortKind::Vpe)
            && let Some(first) = record.vcpus.first()
        {
            drop(self.machine.port(PortKind::Vpe, Command::SelectVpe(record.vm(), first.vpe)).await?);
        }
        Ok(())
    }

    /// All its VPEs have their doorbells, or it is invalid and its tables are about to go.
    pub(crate) fn is_fresh_no_more(&self, record: &Record<H>) {
        if record.state() == VmState::Initialising && record.tables.content().is_some() {
            self.machine.fresh_vms.fetch_sub(1, Ordering::Release);
        }
    }
}
