//! The handle of a VM, and how a VM comes to be.

use alloc::vec::Vec;
use core::fmt;

use gicv5_arch::entry::L2_VMTE_VMD;
use gicv5_arch::geometry::GeometryError;
use gicv5_arch::irs::IRS_VMAP_VMR;
use gicv5_arch::values::MapAction;
use gicv5_arch::{IrsIntType, Ppi, VmId, VpeId};
use gicv5_hal::{Lock, LpiError, TableMemory};

use crate::Hypervisor;
use crate::doorbell::DoorbellError;
use crate::error::Fate;
use crate::host::host::{Host, Phase};
use crate::memory::VmKey;
use crate::tables::ist::{IstCause, IstError};
use crate::tables::vpe_table::{NO_VPE, Tables};
use crate::vcpu::ppi::PpiMask;
use crate::vm::record::{Parked, Record, Vcpu, VmState};
use crate::vm::teardown::TearDownError;
use gicv5_irs::command::Fault;
use gicv5_irs::command::{Command, CommandError, Place, TableEntry};
use gicv5_irs::heap::{Boxed, OutOfMemory, reserve};
use gicv5_irs::lease::{Part, TableError};
use gicv5_irs::levels::ReachError;
use gicv5_irs::port::PortKind;

/// A vCPU of a VM, counted from 0 in the order in which init was given their VPE IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuIndex(pub usize);

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

const SOFTWARE_PPI: PpiMask = PpiMask::EMPTY.with(Ppi::SW_PPI);

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}; {fate}")]
pub struct InitError {
    /// Why.
    pub cause: InitCause,
    /// What became of it: [`Fate::Unchanged`], [`Fate::TornDown`] or [`Fate::Quarantined`]. In all of them but
    /// [`InitCause::AlreadyInitialised`], init may be tried again.
    pub fate: Fate,
}

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

/// Why a vCPU could not be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetCause {
    /// The VM is not live, or has no such vCPU.
    #[error("the VM is not live, or has no such vCPU")]
    NotLive,
    /// The vCPU is resident.
    #[error("{vpe} of {vm} is resident")]
    Resident {
        /// The VM.
        vm: VmId,
        /// Its VPE.
        vpe: VpeId,
    },
    /// The IRS did not do what it was asked to.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// A vCPU could not be reset, and what that means for the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}; {fate}")]
pub struct ResetError {
    /// Why.
    pub cause: ResetCause,
    /// What became of the VM: [`Fate::Unchanged`], or [`Fate::Dead`] if the vCPU's settings are not known to be right
    /// (LIFE-21).
    pub fate: Fate,
}

impl ResetError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match &self.cause {
            ResetCause::NotLive | ResetCause::Resident { .. } => Fault::Caller,
            ResetCause::Command(error) => error.fault(),
        }
    }
}

/// The VM is not live: not initialised, or dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the VM is not live")]
pub struct NotLive;

/// Something outside the library that names a VM to the hardware could not be noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The VM is not live.
    #[error("the VM is not live")]
    NotLive,
    /// There is no memory for the note.
    #[error("no memory for the library's records")]
    NoMemory,
}

/// A VM: the only handle of it. It is initialised, used, torn down and may be initialised again.
///
/// What runs vCPUs takes `&self` and may be called from many threads; what makes and unmakes the VM takes `&mut self`, so
/// that no vCPU can be loaded meanwhile.
///
/// Dropping it touches no hardware: the VM goes to the host's orphans, and [`Host::reap`] tears it down. No vCPU of it may be
/// resident then: only the handle can put it, and the orphan, with the host's VM table, would stay for ever.
pub struct Vm<'h, H: Hypervisor> {
    pub(crate) host: &'h Host<H>,
    /// `None` while the VM is not initialised.
    pub(crate) record: Option<Boxed<Record<H>>>,
}

impl<'h, H: Hypervisor> Vm<'h, H> {
    pub(crate) const fn new(host: &'h Host<H>) -> Vm<'h, H> {
        Vm { host, record: None }
    }

    /// How far it is; `None` if it is not initialised.
    #[must_use]
    pub fn state(&self) -> Option<VmState> {
        self.record.as_ref().map(|record| record.state())
    }

    /// Its ID, which VDPEND and IRS_SPI_VMR name it by; `None` if it is not initialised. Another VM may have it once this one
    /// is torn down.
    #[must_use]
    pub fn id(&self) -> Option<VmId> {
        self.record.as_ref().map(|record| record.vm)
    }

    /// The PPIs that a VMM may drive: the software PPI, if the guest sees it (PPI-20). `None` if the VM is not initialised.
    #[must_use]
    pub fn vmm_ppis(&self) -> Option<PpiMask> {
        self.record.as_ref().map(|record| record.ppis.and(SOFTWARE_PPI))
    }

    /// The record and the vCPU, if the VM is live: for everything that uses a VM.
    pub(crate) fn live(&self, vcpu: VcpuIndex) -> Option<(&Record<H>, &Vcpu<H>)> {
        let record = self.live_record()?;
        Some((record, record.vcpus.get(vcpu.0)?))
    }

    pub(crate) fn live_record(&self) -> Option<&Record<H>> {
        self.record.as_deref().filter(|record| record.state() == VmState::Live)
    }

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
        self.host.domain.block_on(self.start_init(spec))
    }

    /// [`init`](Self::init) step by step: each poll goes on until the IRS has to be waited for, and looks once whether it has
    /// finished. A future that is dropped leaves the VM [half-way](VmState::Initialising); teardown and another init go on from
    /// there.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub async fn start_init(&mut self, spec: &VmSpec<'_>) -> Result<(), InitError> {
        let host = self.host;
        if self.state().is_some_and(|state| state != VmState::Initialising) {
            return Err(InitError::unchanged(InitCause::AlreadyInitialised));
        }
        let plan = Plan::new(host, spec).map_err(InitError::unchanged)?;
        // What an earlier init has left half-way goes first.
        let mut fate = Fate::Unchanged;
        if self.record.is_some() {
            if let Err(TearDownError { cause, fate }) = self.start_tear_down().await {
                return Err(InitError { cause: InitCause::NotSettled(cause), fate });
            }
            fate = Fate::TornDown;
        }
        if host.holdings_in_quarantine() {
            // If it fails the hardware still does not answer, and this init will see for itself.
            let _ = host.start_reclaim().await;
        }
        let key = host.take_id().map_err(|cause| InitError { cause, fate })?;
        let record = match Record::new(&host.domain.heap(), key, spec.vpes, spec.ppis.and(host.ppis.implemented)) {
            Ok(record) => self.record.insert(record),
            Err(error) => {
                host.core.with(|core| core.ids.give(key.vm().raw_value().into()));
                return Err(InitError { cause: error.into(), fate });
            }
        };
        match host.build_vm(record, &plan).await {
            Ok(()) => {
                record.life.begin();
                Ok(())
            }
            Err(cause) => match host.tear_down_record(record, None).await {
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

    /// The record goes to the host.
    fn quarantine(&mut self) {
        if let Some(record) = self.record.take() {
            self.host.park(record, Parked::Quarantine);
        }
    }

    /// Tears the VM down, from any state; does nothing if it is not initialised. No vCPU may be resident.
    ///
    /// Waits for the IRS and, to release doorbells, for their handlers; frees memory and allocates none. Not from an interrupt
    /// handler, nor with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`TearDownError`]. If nothing could be begun, the VM is unchanged, and running on. If the hardware does not confirm,
    /// what it may still use is quarantined with the host, and the handle is free.
    pub fn tear_down(&mut self) -> Result<(), TearDownError> {
        self.host.domain.block_on(self.start_tear_down())
    }

    /// [`tear_down`](Self::tear_down) step by step. A future that is dropped leaves the VM as far as it was: teardown may be
    /// called again. Releasing a doorbell waits inside of a poll.
    ///
    /// # Errors
    ///
    /// As [`tear_down`](Self::tear_down).
    pub async fn start_tear_down(&mut self) -> Result<(), TearDownError> {
        let Some(record) = &mut self.record else { return Ok(()) };
        let before = record.state();
        match self.host.tear_down_record(record, None).await {
            Ok(()) => {
                self.record = None;
                Ok(())
            }
            Err(cause) if !cause.may_be_in_use() => Err(TearDownError { cause, fate: Fate::Unchanged }),
            // The port was not to be had, and nothing was done.
            Err(cause) if before == VmState::Live && record.state() == VmState::Live => {
                Err(TearDownError { cause, fate: Fate::Unchanged })
            }
            Err(cause) => {
                self.quarantine();
                Err(TearDownError { cause, fate: Fate::Quarantined })
            }
        }
    }

    /// Gives the VM an LPI IST of `2^id_bits` interrupts, or more if the IRS insists (IST-28): when the guest enables LPIs
    /// (IST-29). All of them are disabled.
    ///
    /// Waits for the IRS and allocates; not from an interrupt handler, nor with a lock held that one takes. vCPUs may run.
    ///
    /// # Errors
    ///
    /// [`IstError`].
    pub fn create_lpi_ist(&self, id_bits: u32) -> Result<(), IstError> {
        self.host.domain.block_on(self.start_create_lpi_ist(id_bits))
    }

    /// [`create_lpi_ist`](Self::create_lpi_ist) step by step.
    ///
    /// # Errors
    ///
    /// As [`create_lpi_ist`](Self::create_lpi_ist).
    pub async fn start_create_lpi_ist(&self, id_bits: u32) -> Result<(), IstError> {
        let not_live = IstError { cause: IstCause::NotLive, fate: Fate::Unchanged };
        let record = self.live_record().ok_or(not_live)?;
        settled(record, self.host.make_ist(record, IrsIntType::Lpi, id_bits).await)
    }

    /// Takes the LPI IST from the VM: when the guest disables LPIs. Its LPIs are forgotten.
    ///
    /// Waits for the IRS and frees; not from an interrupt handler, nor with a lock held that one takes. vCPUs may run.
    ///
    /// # Errors
    ///
    /// [`IstError`].
    pub fn remove_lpi_ist(&self) -> Result<(), IstError> {
        self.host.domain.block_on(self.start_remove_lpi_ist())
    }

    /// [`remove_lpi_ist`](Self::remove_lpi_ist) step by step.
    ///
    /// # Errors
    ///
    /// As [`remove_lpi_ist`](Self::remove_lpi_ist).
    pub async fn start_remove_lpi_ist(&self) -> Result<(), IstError> {
        let not_live = IstError { cause: IstCause::NotLive, fate: Fate::Unchanged };
        let record = self.live_record().ok_or(not_live)?;
        settled(record, self.host.remove_ist(record, IrsIntType::Lpi).await)
    }

    /// Makes the hardware's settings of a vCPU right again, as init made them, and its saved state that of a vCPU that has never
    /// run: for a vCPU that the guest resets (VPE-10). The levels of level-sensitive PPIs stay as [`set_ppi`](Self::set_ppi)
    /// has set them: they are the devices', and what they do is not undone by a reset of the vCPU. The vCPU must not be
    /// resident, nor be loaded meanwhile.
    ///
    /// Waits for the IRS; not from an interrupt handler, nor with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`ResetError`].
    pub fn reset_vcpu(&self, vcpu: VcpuIndex) -> Result<(), ResetError> {
        self.host.domain.block_on(self.start_reset_vcpu(vcpu))
    }

    /// [`reset_vcpu`](Self::reset_vcpu) step by step. A future that is dropped leaves the vCPU's settings as they are at that
    /// time: it is to be reset again. Its doorbell may not come, so that it [has something pending](Self::has_pending).
    ///
    /// # Errors
    ///
    /// As [`reset_vcpu`](Self::reset_vcpu).
    pub async fn start_reset_vcpu(&self, vcpu: VcpuIndex) -> Result<(), ResetError> {
        let unchanged = |cause| ResetError { cause, fate: Fate::Unchanged };
        let (record, Vcpu { vpe, doorbell: Some(doorbell), context }) =
            self.live(vcpu).ok_or(unchanged(ResetCause::NotLive))?
        else {
            return Err(unchanged(ResetCause::NotLive));
        };
        let (host, vm) = (self.host, record.vm);
        if host.doorbells.is_resident(doorbell) {
            return Err(unchanged(ResetCause::Resident { vm, vpe: *vpe }));
        }
        let lpi = host.doorbells.lpi(host.domain.platform.lpis(), doorbell);
        // The commands may end the request for the doorbell (open question 8), also if the future is dropped half-way.
        context.stop_waiting();
        match host.configure_vpe(vm, *vpe, lpi).await {
            Ok(proof) => {
                context.reset(&host.ppis, record.priorities(vcpu));
                host.doorbells.enable(host.domain.platform.lpis(), doorbell, &proof);
                Ok(())
            }
            Err(error) if error.nothing_was_written() => Err(unchanged(error.into())),
            Err(error) => Err(ResetError { cause: error.into(), fate: dead(record) }),
        }
    }

    /// Notes that something outside the library is about to name the VM to the hardware: a physical SPI that is assigned to it
    /// (SPI-9), later an ITS entry. The VM cannot be torn down, nor its ID be given to another, until the note is dropped,
    /// after the hardware has been told otherwise.
    ///
    /// Never waits; allocates, and takes a lock.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`] if the VM is not live, and if there is no memory.
    pub fn refer(&self) -> Result<VmReference<'h, H>, ReferenceError> {
        let vm = self.live_record().ok_or(ReferenceError::NotLive)?.vm;
        let host = self.host;
        // Memory is allocated without the lock, and the old memory goes back without it.
        let mut room = Vec::new();
        loop {
            let noted = host.core.with(|core| {
                let references = &mut core.references;
                if references.len() == references.capacity() && references.len() < room.capacity() {
                    room.append(references);
                    core::mem::swap(references, &mut room);
                }
                match references.len() < references.capacity() {
                    true => {
                        references.push(vm);
                        Ok(())
                    }
                    false => Err(references.len()),
                }
            });
            match noted {
                Ok(()) => return Ok(VmReference { host, vm }),
                Err(full) => {
                    room = Vec::new();
                    reserve(&host.domain.heap(), &mut room, 2 * full + 8).map_err(|_| ReferenceError::NoMemory)?;
                }
            }
        }
    }
}

/// Something outside the library names a VM to the hardware. See [`Vm::refer`].
#[must_use = "dropping it says that the hardware does not name the VM any more"]
pub struct VmReference<'h, H: Hypervisor> {
    host: &'h Host<H>,
    vm: VmId,
}

impl<H: Hypervisor> VmReference<'_, H> {
    /// The ID that the hardware names the VM by.
    #[must_use]
    pub const fn vm(&self) -> VmId {
        self.vm
    }
}

impl<H: Hypervisor> fmt::Debug for VmReference<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VmReference").field(&self.vm).finish()
    }
}

impl<H: Hypervisor> Drop for VmReference<'_, H> {
    fn drop(&mut self) {
        self.host.core.with(|core| {
            if let Some(n) = core.references.iter().position(|vm| *vm == self.vm) {
                core.references.swap_remove(n);
            }
        });
    }
}

impl<H: Hypervisor> Drop for Vm<'_, H> {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.host.park(record, Parked::Orphan);
        }
    }
}

impl<H: Hypervisor> fmt::Debug for Vm<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm").field("id", &self.id()).field("state", &self.state()).finish_non_exhaustive()
    }
}

fn dead<H: Hypervisor>(record: &Record<H>) -> Fate {
    record.kill();
    Fate::Dead
}

/// A VM of whose IST nobody knows whether the IRS uses it may only be torn down (IST-8).
fn settled<H: Hypervisor>(record: &Record<H>, outcome: Result<(), IstError>) -> Result<(), IstError> {
    outcome.inspect_err(|error| {
        if error.fate == Fate::Dead {
            record.kill();
        }
    })
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
        let limits = &host.limits;
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
        self.core.with(|core| core.parked.iter().any(|record| record.parked == Parked::Quarantine))
    }

    /// Takes the lowest free VM ID.
    fn take_id(&self) -> Result<VmKey, InitCause> {
        self.core.with(|core| {
            if core.phase != Phase::Up {
                return Err(InitCause::HostNotUp(core.phase));
            }
            let vm = core.ids.take().and_then(|id| id.try_into().ok()).map(VmId::new).ok_or(InitCause::NoVmId)?;
            let generation = core.next_generation;
            core.next_generation += 1;
            Ok(VmKey::new(vm, generation))
        })
    }

    /// Everything that init does with a record. Whatever it has done when it fails is in the record.
    async fn build_vm(&self, record: &mut Record<H>, plan: &Plan) -> Result<(), InitCause> {
        let vm = record.vm;
        let lpis = self.domain.platform.lpis();
        for vcpu in &mut record.vcpus {
            let vpe = vcpu.vpe;
            let doorbell = self.doorbells.allocate(&self.domain.heap(), lpis, vm, vpe);
            vcpu.doorbell = Some(doorbell.map_err(|source| InitCause::Doorbell { vpe, source })?);
        }
        self.make_entry_reachable(vm).await?;
        let vpes = record.vcpus.iter().map(|vcpu| vcpu.vpe);
        let memory = self.domain.platform.memory();
        let tables = Tables::allocate(
            &self.domain.heap(),
            memory,
            self.domain.publish_for,
            &self.limits,
            record.key(),
            plan.vpe_table,
            vpes,
        )?;
        record.tables = Part::Draft(tables);
        self.make_vm_valid(record).await?;
        for vcpu in &record.vcpus {
            let Some(doorbell) = &vcpu.doorbell else { continue };
            let lpi = self.doorbells.lpi(lpis, doorbell);
            let proof = self.make_vpe_valid(vm, vcpu.vpe, lpi).await?;
            self.doorbells.enable(lpis, doorbell, &proof);
        }
        if let Some(id_bits) = plan.spi_id_bits {
            self.make_ist(record, IrsIntType::Spi, id_bits).await.map_err(|error| error.cause)?;
        }
        Ok(())
    }

    /// Fills the VM's entry and has the IRS make it valid (VM-1).
    async fn make_vm_valid(&self, record: &mut Record<H>) -> Result<(), InitCause> {
        let vm = record.vm;
        let command = Command::MakeVmValid(vm);
        let mut port = self.port(PortKind::Vmt, command).await?;
        let tables = record.tables.lend().ok_or(TableError::Records)?;
        let entry = tables.entry(&self.limits).map_err(TableError::from)?;
        let filled = self.fill_entry(vm, entry).unwrap_or(Err(0));
        filled.map_err(|found| port.no_effect(command, Place::Entry(TableEntry::L2Vmte), found))?;
        let value = IRS_VMAP_VMR::ZERO.with_m(true).with_u(MapAction::MakeValid).with_vm_id(vm);
        port.issue(command, value).await?;
        let found = self.with_entry(vm, |memory, block, offset| {
            memory.acquire(self.domain.publish_for, block, offset..offset + 8);
            memory.load64(block, offset)
        });
        let found = found.unwrap_or(0);
        if !L2_VMTE_VMD::new_with_raw_value(found).valid() {
            return Err(port.no_effect(command, Place::Entry(TableEntry::L2Vmte), found).into());
        }
        Ok(())
    }
}
