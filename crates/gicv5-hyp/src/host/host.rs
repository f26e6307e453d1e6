//! What all VMs share: coming up, going down, and what is left of VMs without a handle.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use gicv5_arch::VmId;
use gicv5_arch::geometry::VmTableGeometry;
use gicv5_arch::irs::{IRS_VMT_BASER, IRS_VMT_CFGR, IrsReg};
use gicv5_hal::{CurrentPe, IrsExt, IrsIndex, Lock};

use crate::config::{Config, LiveTable};
use crate::doorbell::Doorbells;
use crate::memory::TableWithdrawn;
use crate::probe::{self, Limits, ProbeError};
use crate::tables::vm_table::{VmTable, registers};
use crate::vcpu::ppi::VirtualPpis;
use crate::vm::handle::Vm;
use crate::vm::record::{Parked, Record, Records};
use crate::vm::teardown::TearDownCause;
use crate::{BlockOf, Hypervisor, MutexOf};
use gicv5_irs::command::Fault;
use gicv5_irs::command::{Command, CommandError, CommandErrorKind, Place};
use gicv5_irs::domain::Domain;
use gicv5_irs::heap::{Boxed, Heap, boxed_slice};
use gicv5_irs::ids::Ids;
use gicv5_irs::lease::{Part, Structure, TableError};
use gicv5_irs::port::{Port, PortKind, Ports};

/// How far the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The IRS has no VM table, or not this library's.
    Down,
    /// Coming up, going down, or making the VM table anew.
    Changing,
    /// Coming up, going down or making the VM table anew could not be finished, or the future that did it was dropped. What
    /// the IRS may still touch is held; coming up and going down may be tried again. No VM can be initialised until
    /// [`Host::bring_up`] has succeeded.
    Partial,
    /// VMs may be initialised.
    Up,
}

/// What one lock protects.
pub(crate) struct Core<H: Hypervisor> {
    pub(crate) phase: Phase,
    pub(crate) table: Part<VmTable<BlockOf<H>>>,
    pub(crate) ids: Ids,
    /// The generation of the next VM.
    pub(crate) next_generation: u64,
    /// VMs without a handle.
    pub(crate) parked: Records<H>,
    /// One for each thing outside the library that names a VM to the hardware.
    pub(crate) references: Vec<VmId>,
}

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
    others: Box<[IrsIndex]>,
    pub(crate) contiguous_bytes: u64,
    live_table: LiveTable,
    pub(crate) limits: Limits,
    pub(crate) geometry: VmTableGeometry,
    pub(crate) ports: Ports<H::Locks>,
    pub(crate) core: MutexOf<H, Core<H>>,
}

/// Why the host could not come up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BringUpCause {
    /// It is up already.
    #[error("the host is up already")]
    AlreadyUp,
    /// Somebody else is bringing it up or shutting it down.
    #[error("somebody else is bringing the host up or shutting it down")]
    Contended,
    /// What an earlier attempt left behind is still not settled.
    #[error("what an earlier attempt left behind is not settled")]
    NotSettled(#[source] TearDownCause),
    /// A VM table is in use that is not this library's, and the configuration says to leave it alone.
    #[error("{irs}: IRS_VMT_BASER reads {value:#x}: a VM table of earlier software is in use")]
    LiveTable {
        /// The IRS.
        irs: IrsIndex,
        /// What IRS_VMT_BASER reads.
        value: u64,
    },
    /// There is no memory for the VM table.
    #[error("there is no memory for the VM table")]
    Table(#[from] TableError),
    /// The IRS did not do what it was asked to.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// The host could not come up, and what became of what had been done till then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host could not come up: {cause}; {}", match (cause, cleanup) {
    (BringUpCause::AlreadyUp | BringUpCause::Contended, _) => "nothing has changed",
    (_, Ok(())) => "no IRS has a VM table of this host's",
    (_, Err(_)) => "what an IRS may still touch is held",
})]
pub struct BringUpError {
    /// Why.
    pub cause: BringUpCause,
    /// Whether everything that this attempt did was undone, so that it has left nothing with an IRS. What the host has from
    /// before it still has: everything, if it is [up already](BringUpCause::AlreadyUp), and VM IDs and doorbells that
    /// could not be given back yet. A VM table of earlier software that was to be [taken over](LiveTable::TakeOver) may be
    /// gone all the same. If not, the host is [partly](Phase::Partial) up; [`Host::shut_down`] and the next
    /// [`Host::bring_up`] try again.
    pub cleanup: Result<(), TearDownCause>,
}

impl BringUpError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match &self.cause {
            BringUpCause::AlreadyUp | BringUpCause::LiveTable { .. } => Fault::Caller,
            BringUpCause::Contended => Fault::Busy,
            BringUpCause::Table(error) => error.fault(),
            BringUpCause::NotSettled(cause) => cause.fault(),
            BringUpCause::Command(error) => error.fault(),
        }
    }
}

/// The host could not be shut down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShutDownError {
    /// Some VMs are still initialised. Nothing was done.
    #[error("{vms} VMs are still initialised")]
    VmsLeft {
        /// How many.
        vms: u32,
    },
    /// Somebody else is bringing it up or shutting it down.
    #[error("somebody else is bringing the host up or shutting it down")]
    Contended,
    /// A VM without a handle cannot be torn down as it is: a vCPU of it is resident, or something names it. Nothing was done.
    #[error("a VM without a handle cannot be torn down")]
    Vm(#[source] TearDownCause),
    /// The IRS did not withdraw the VM table.
    #[error("the VM table could not be withdrawn; {held}")]
    Command {
        /// Why not.
        #[source]
        cause: CommandError,
        /// What is still held.
        held: Holdings,
    },
    /// The VM table is withdrawn and all table memory given back, but not all else.
    #[error("not everything could be given back: {cause}; {held}")]
    Left {
        /// Why not, for the first VM of which something is left.
        #[source]
        cause: TearDownCause,
        /// What is still held.
        held: Holdings,
    },
}

impl ShutDownError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            ShutDownError::VmsLeft { .. } => Fault::Caller,
            ShutDownError::Contended => Fault::Busy,
            ShutDownError::Command { cause, .. } => cause.fault(),
            ShutDownError::Vm(cause) | ShutDownError::Left { cause, .. } => cause.fault(),
        }
    }
}

/// Some VMs without a handle could not be torn down yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{left} VMs could not be torn down yet")]
pub struct ReclaimError {
    /// How many are left.
    pub left: u32,
    /// Why, for the first of them that was tried.
    #[source]
    pub cause: TearDownCause,
}

impl ReclaimError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.cause.fault()
    }
}

/// What the host holds of the hypervisor's, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// How far up it is.
    pub phase: Phase,
    /// VMs that have a VM ID, those below included.
    pub vms: u32,
    /// VMs whose handle was dropped, to be torn down by [`Host::reap`].
    pub orphans: u32,
    /// VMs in quarantine, to be torn down by [`Host::reclaim`].
    pub quarantined: u32,
    /// Bytes of table memory in quarantine: what those VMs hold, and level-2 VM tables of which it is not known whether the
    /// IRS has taken them.
    pub quarantined_bytes: u64,
    /// Bytes of the VM table, with its level-2 tables.
    pub table_bytes: u64,
    /// A command that timed out and is still under way.
    pub unknown: Option<Command>,
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holdings { vms, quarantined_bytes, table_bytes, .. } = self;
        write!(f, "held are {table_bytes} bytes of the VM table, {quarantined_bytes} bytes in quarantine, {vms} VM IDs")
    }
}

/// What the host has counted since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Commands given to the IRS.
    pub commands: u64,
    /// Commands that timed out.
    pub timed_out: u64,
    /// The longest wait for a command that did not.
    pub longest_wait: Duration,
    /// Doorbells that woke nobody: not asked for, or too late.
    pub spurious_doorbells: u64,
}

/// The host is changing; whoever has this does it.
struct Change<'h, H: Hypervisor> {
    host: &'h Host<H>,
    /// How far it is if this is dropped now.
    then: Phase,
}

impl<H: Hypervisor> Drop for Change<'_, H> {
    fn drop(&mut self) {
        self.host.core.with(|core| core.phase = self.then);
    }
}

/// Why not all records of a batch are done with.
struct Unsettled {
    /// Why, for the first of them.
    first: TearDownCause,
    /// The IRS is idle and does not make one of these VMs invalid: only the VM table helps.
    ignored: bool,
}

/// Records taken from the host's list. They go back when this is dropped, wherever in the batch they are.
struct Batch<'h, H: Hypervisor> {
    host: &'h Host<H>,
    /// Those that are still to be tried.
    todo: Records<H>,
    in_hand: Option<Boxed<Record<H>>>,
    /// Those that were tried, and of which something is left.
    left: Records<H>,
}

impl<H: Hypervisor> Drop for Batch<'_, H> {
    fn drop(&mut self) {
        self.host.core.with(|core| {
            while let Some(record) = self.in_hand.take().or_else(|| self.todo.pop()).or_else(|| self.left.pop()) {
                core.parked.push(record);
            }
        });
    }
}

impl<'h, H: Hypervisor> Batch<'h, H> {
    const fn new(host: &'h Host<H>, todo: Records<H>) -> Batch<'h, H> {
        Batch { host, todo, in_hand: None, left: Records::EMPTY }
    }
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

    /// Gives the IRS its VM table.
    ///
    /// If anything fails, what was done is undone by the same code that shuts the host down, and the call may be repeated.
    /// What an earlier attempt left behind is settled first.
    ///
    /// Waits for the IRS and allocates; not from an interrupt handler, nor with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`BringUpError`] with the cause, and what became of the rest.
    pub fn bring_up(&self) -> Result<(), BringUpError> {
        self.domain.block_on(self.start_bring_up())
    }

    /// [`bring_up`](Self::bring_up) step by step: each poll looks once whether the IRS has finished, and never waits. A future
    /// that is dropped after the first write leaves the host [partly](Phase::Partial) up.
    ///
    /// # Errors
    ///
    /// As [`bring_up`](Self::bring_up).
    pub async fn start_bring_up(&self) -> Result<(), BringUpError> {
        let undone = |cause| BringUpError { cause, cleanup: Ok(()) };
        let (mut change, mut batch) = self.core.with(|core| match core.phase {
            Phase::Up => Err(undone(BringUpCause::AlreadyUp)),
            Phase::Changing => Err(undone(BringUpCause::Contended)),
            // Somebody is tearing down a VM that an earlier attempt has left.
            _ if core.ids.in_use() != core.parked.len() => Err(undone(BringUpCause::Contended)),
            Phase::Down | Phase::Partial => Ok(self.begin(core)),
        })?;
        // What an earlier attempt has left is behind the old table: nothing is known of it once there is another.
        if let Err(cause) = self.take_down(&mut change, &mut batch).await {
            return Err(BringUpError { cause: BringUpCause::NotSettled(cause), cleanup: Err(cause) });
        }
        drop(batch);
        change.then = self.rest();
        match self.build(&mut change).await {
            Ok(()) => {
                change.then = Phase::Up;
                Ok(())
            }
            Err(cause) => {
                let mut none = Batch::new(self, Records::EMPTY);
                let cleanup = self.take_down(&mut change, &mut none).await.map(|_| ());
                if cleanup.is_ok() {
                    change.then = self.rest();
                }
                Err(BringUpError { cause, cleanup })
            }
        }
    }

    /// From here on nobody else brings the host up, shuts it down or makes the table anew, and no VM gets an ID. Returns all
    /// VMs without a handle.
    fn begin(&self, core: &mut Core<H>) -> (Change<'_, H>, Batch<'_, H>) {
        let then = core::mem::replace(&mut core.phase, Phase::Changing);
        let batch = Batch::new(self, core.parked.take(|_| true));
        (Change { host: self, then }, batch)
    }

    /// The phase of a host without a VM table: partial if it still holds VM IDs and doorbells.
    fn rest(&self) -> Phase {
        self.core.with(|core| if core.ids.in_use() == 0 { Phase::Down } else { Phase::Partial })
    }

    /// The IRSs of the domain, the one that commands go through last.
    pub(crate) fn irss(&self) -> impl Iterator<Item = IrsIndex> {
        self.others.iter().copied().chain([self.irs])
    }

    /// Takes a port at the IRS that commands go through.
    pub(crate) async fn port(&self, kind: PortKind, command: Command) -> Result<Port<'_, H>, CommandError> {
        self.domain.port(&self.ports, kind, self.irs, command).await
    }

    async fn build(&self, change: &mut Change<'_, H>) -> Result<(), BringUpCause> {
        let mut port = self.port(PortKind::Vmt, Command::MakeTableValid).await?;
        let live = self.irss().find_map(|irs| {
            let found: IRS_VMT_BASER = self.domain.platform.irs().read(irs);
            found.valid().then_some(BringUpCause::LiveTable { irs, value: found.raw_value() })
        });
        match (live, self.live_table) {
            (None, _) => {}
            (Some(cause), LiveTable::Refuse) => return Err(cause),
            (Some(_), LiveTable::TakeOver) => {
                self.withdraw_table(&mut port).await?;
            }
        }
        drop(port);
        let table = VmTable::allocate(&self.domain, self.geometry)?;
        self.core.with(|core| core.table = Part::Draft(table));
        change.then = Phase::Partial;
        Ok(self.make_table_valid().await?)
    }

    /// Gives the IRSs the table that has been drafted (VMT-1).
    ///
    /// One IRS is told of it. Whether the others know then is not said for certain (GEN-14, open question 13); their
    /// IRS_VMT_BASER tells. One that does not is given the same table: they share it (GEN-13).
    async fn make_table_valid(&self) -> Result<(), CommandError> {
        let command = Command::MakeTableValid;
        let mut port = self.port(PortKind::Vmt, command).await?;
        let found: IRS_VMT_BASER = port.read();
        let registers = self.core.with(|core| {
            // A table that is valid already would be kept (VMT-5).
            if found.valid() { None } else { core.table.lend().and_then(registers) }
        });
        let Some((cfgr, baser)) = registers else {
            return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VMT_BASER), found.raw_value()));
        };
        self.make_valid_in(&mut port, cfgr, baser).await?;
        for irs in &self.others {
            port.turn_to(*irs, command).await?;
            let found: IRS_VMT_BASER = port.read();
            if found != baser {
                self.make_valid_in(&mut port, cfgr, baser).await?;
            }
        }
        Ok(())
    }

    /// Gives the IRS that the port is turned to its VM table.
    async fn make_valid_in(
        &self,
        port: &mut Port<'_, H>,
        cfgr: IRS_VMT_CFGR,
        baser: IRS_VMT_BASER,
    ) -> Result<(), CommandError> {
        let command = Command::MakeTableValid;
        // The table is zero, also as the IRS sees it; the stores that made an old one so have been published.
        port.write(cfgr);
        let found: IRS_VMT_CFGR = port.read();
        if found != cfgr {
            // The IRS would walk a table of another shape than was allocated (VMT-11).
            return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VMT_CFGR), found.raw_value().into()));
        }
        port.issue(command, baser).await?;
        let found: IRS_VMT_BASER = port.read();
        if found != baser {
            return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VMT_BASER), found.raw_value()));
        }
        Ok(())
    }

    /// Takes the VM table back, if there is one, and by that whatever the VMs of the batch have lent. Returns what is left of
    /// them: VM IDs and doorbells.
    async fn take_down(
        &self,
        change: &mut Change<'_, H>,
        batch: &mut Batch<'_, H>,
    ) -> Result<Result<(), TearDownCause>, TearDownCause> {
        if let Some(cause) = batch.todo.iter().find_map(|record| self.cannot_go(record)) {
            return Err(cause);
        }
        let proof = match self.core.with(|core| core.table.is_lent()) {
            true => Some(self.withdraw(change).await?),
            false => None,
        };
        let settled = self.settle(batch, proof.as_ref()).await;
        self.free_table(proof.as_ref());
        Ok(settled.map_err(|unsettled| unsettled.first))
    }

    async fn withdraw(&self, change: &mut Change<'_, H>) -> Result<TableWithdrawn, CommandError> {
        let mut port = self.port(PortKind::Vmt, Command::WithdrawTable).await?;
        // Up to here nothing was written, and everything is as it was.
        change.then = Phase::Partial;
        self.withdraw_table(&mut port).await
    }

    fn free_table(&self, proof: Option<&TableWithdrawn>) {
        let table = self.core.with(|core| match proof {
            Some(proof) => core.table.end(proof),
            None => core.table.take_draft(),
        });
        if let Some(table) = table {
            table.free(self.domain.platform.memory());
        }
    }

    /// Shuts the host down: the VM table is withdrawn, which makes everything behind it invalid, and everything goes back.
    /// Does nothing if the host is down.
    ///
    /// All VMs must have been torn down or dropped. If the IRS does not answer, what it may still touch is held and the call
    /// may be repeated any number of times.
    ///
    /// Waits for the IRS, and for handlers of doorbells, and frees memory; allocates none. Not from an interrupt handler, nor
    /// with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`ShutDownError`], which says what is left.
    pub fn shut_down(&self) -> Result<(), ShutDownError> {
        self.domain.block_on(self.start_shut_down())
    }

    /// [`shut_down`](Self::shut_down) step by step. A future that is dropped after the first
    /// write leaves the host [partly](Phase::Partial) up.
    ///
    /// # Errors
    ///
    /// As [`shut_down`](Self::shut_down).
    pub async fn start_shut_down(&self) -> Result<(), ShutDownError> {
        // Of a VM with a handle, the host knows the ID alone.
        let (mut change, mut batch) = self.core.with(|core| {
            let vms = core.ids.in_use() - core.parked.len();
            match core.phase {
                Phase::Changing => Err(ShutDownError::Contended),
                _ if vms > 0 => Err(ShutDownError::VmsLeft { vms }),
                Phase::Down | Phase::Partial | Phase::Up => Ok(self.begin(core)),
            }
        })?;
        let outcome = self.take_down(&mut change, &mut batch).await;
        drop(batch);
        if outcome.is_ok() {
            change.then = self.rest();
        }
        drop(change);
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(ShutDownError::Left { cause, held: self.holdings() }),
            Err(TearDownCause::Command(cause)) => Err(ShutDownError::Command { cause, held: self.holdings() }),
            Err(cause) => Err(ShutDownError::Vm(cause)),
        }
    }

    /// Runs the one teardown on records without a handle. What cannot be finished stays in the batch.
    async fn settle(&self, batch: &mut Batch<'_, H>, proof: Option<&TableWithdrawn>) -> Result<(), Unsettled> {
        let mut unsettled: Option<Unsettled> = None;
        let mut port_is_busy = false;
        loop {
            batch.in_hand = batch.todo.pop();
            let Some(record) = &mut batch.in_hand else { break };
            // It is the same for all others that need the port; not for those that have only a doorbell left.
            let outcome = match port_is_busy && proof.is_none() && record.tables.is_lent() {
                true => None,
                false => Some(self.tear_down_record(record, proof).await),
            };
            let record = batch.in_hand.take();
            match outcome {
                Some(Ok(())) => {}
                None => record.into_iter().for_each(|record| batch.left.push(record)),
                Some(Err(cause)) => {
                    if let Some(mut record) = record {
                        if cause.may_be_in_use() {
                            record.parked = Parked::Quarantine;
                        }
                        batch.left.push(record);
                    }
                    port_is_busy |= matches!(cause, TearDownCause::Command(error) if error.nothing_was_written());
                    let unsettled = unsettled.get_or_insert(Unsettled { first: cause, ignored: false });
                    unsettled.ignored |=
                        matches!(cause, TearDownCause::Command(CommandError { kind: CommandErrorKind::NoEffect, .. }));
                }
            }
        }
        unsettled.map_or(Ok(()), Err)
    }

    /// Tears down the VMs whose handles were dropped.
    ///
    /// Waits and frees as [`Vm::tear_down`] does; allocates nothing.
    ///
    /// # Errors
    ///
    /// [`ReclaimError`] if some are left: those whose vCPU is still resident, and what the hardware does not confirm, which
    /// goes to quarantine.
    pub fn reap(&self) -> Result<(), ReclaimError> {
        self.domain.block_on(self.start_reap())
    }

    /// [`reap`](Self::reap) step by step.
    ///
    /// # Errors
    ///
    /// As [`reap`](Self::reap).
    pub async fn start_reap(&self) -> Result<(), ReclaimError> {
        let (left, outcome) = self.settle_parked(Parked::Orphan).await;
        outcome.map_err(|unsettled| ReclaimError { left, cause: unsettled.first })
    }

    /// Finishes the teardown of the VMs in quarantine, if the hardware has answered by now. A command that timed out is not
    /// waited for: this returns at once if it is still under way. Every init begins with this.
    ///
    /// If the IRS is idle and yet a VM cannot be made invalid, and no VM is initialised, the whole VM table is withdrawn and
    /// made anew: it encloses everything. If that fails half-way, or the future is dropped there, the host is
    /// [partly](Phase::Partial) up, and [`bring_up`](Self::bring_up) goes on.
    ///
    /// Waits and frees as [`Vm::tear_down`] does; allocates nothing.
    ///
    /// # Errors
    ///
    /// [`ReclaimError`] if some are left.
    pub fn reclaim(&self) -> Result<(), ReclaimError> {
        self.domain.block_on(self.start_reclaim())
    }

    /// [`reclaim`](Self::reclaim) step by step.
    ///
    /// # Errors
    ///
    /// As [`reclaim`](Self::reclaim).
    pub async fn start_reclaim(&self) -> Result<(), ReclaimError> {
        match self.settle_parked(Parked::Quarantine).await {
            (_, Err(Unsettled { ignored: true, .. })) => self.make_table_anew().await,
            (left, outcome) => outcome.map_err(|unsettled| ReclaimError { left, cause: unsettled.first }),
        }
    }

    /// Runs the one teardown on the records that are parked for this reason. Returns how many are left, and why.
    async fn settle_parked(&self, why: Parked) -> (u32, Result<(), Unsettled>) {
        let todo = self.core.with(|core| core.parked.take(|record| record.parked == why));
        let mut batch = Batch::new(self, todo);
        let outcome = self.settle(&mut batch, None).await;
        (batch.left.len(), outcome)
    }

    /// The way out when a VM cannot be made invalid: the table that encloses all of them, with no VM running.
    async fn make_table_anew(&self) -> Result<(), ReclaimError> {
        let begun = self.core.with(|core| {
            // Somebody else may have settled it meanwhile.
            if !core.parked.iter().any(|record| record.parked == Parked::Quarantine) {
                return Ok(None);
            }
            let alone = core.ids.in_use() == core.parked.len();
            if core.phase == Phase::Up && alone { Ok(Some(self.begin(core))) } else { Err(core.parked.len()) }
        });
        let begun = begun.map_err(|left| ReclaimError { left, cause: TearDownCause::OthersRun })?;
        let Some((mut change, mut batch)) = begun else { return Ok(()) };
        let anew = async {
            if let Some(cause) = batch.todo.iter().find_map(|record| self.cannot_go(record)) {
                return Err(cause);
            }
            let proof = self.withdraw(&mut change).await?;
            let outcome = self.settle(&mut batch, Some(&proof)).await;
            let table = self.core.with(|core| core.table.end(&proof));
            if let Some(mut table) = table {
                table.clear(self.domain.platform.memory(), self.domain.publish_for);
                self.core.with(|core| core.table = Part::Draft(table));
            }
            self.make_table_valid().await?;
            change.then = Phase::Up;
            outcome.map_err(|unsettled| unsettled.first)
        };
        let outcome = anew.await;
        let left = batch.todo.len() + batch.left.len();
        outcome.map_err(|cause| ReclaimError { left, cause })
    }

    /// A handle for a VM, which is not initialised. Never waits, takes no lock, allocates nothing.
    pub const fn new_vm(&self) -> Vm<'_, H> {
        Vm::new(self)
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

    /// What the host holds. Never waits; takes a lock, so not from an interrupt handler. Takes longer the more VMs have no
    /// handle.
    pub fn holdings(&self) -> Holdings {
        let vmt = self.domain.unknown(&self.ports, PortKind::Vmt);
        let unknown = vmt.or_else(|| self.domain.unknown(&self.ports, PortKind::Vpe));
        self.core.with(|core| {
            let is = |why| core.parked.iter().filter(move |record| record.parked == why);
            // Of interest only where a command may have had an effect that nobody has seen.
            let of_table = vmt.and_then(|_| core.table.content()).map_or(0, VmTable::unconfirmed_bytes);
            Holdings {
                phase: core.phase,
                vms: core.ids.in_use(),
                orphans: is(Parked::Orphan).count() as u32,
                quarantined: is(Parked::Quarantine).count() as u32,
                quarantined_bytes: is(Parked::Quarantine).map(Record::bytes).sum::<u64>() + of_table,
                table_bytes: core.table.content().map_or(0, Structure::bytes),
                unknown,
            }
        })
    }

    /// What the host has counted. Never waits, takes no lock.
    pub fn counters(&self) -> Counters {
        let (commands, timed_out, longest_wait) = self.domain.counts();
        Counters { commands, timed_out, longest_wait, spurious_doorbells: self.doorbells.spurious() }
    }

    /// The hypervisor, as it was given to [`new`](Self::new).
    pub const fn hypervisor(&self) -> &H {
        &self.domain.platform
    }
}

impl<H: Hypervisor> fmt::Debug for Host<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("holdings", &self.holdings()).finish_non_exhaustive()
    }
}
