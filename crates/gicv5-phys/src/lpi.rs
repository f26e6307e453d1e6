//! The supply of LPIs.

use gicv5_arch::geometry::{IstGeometry, Slot, TableIndex};
use gicv5_arch::irs::{IRS_IST_STATUSR, IRS_MAP_L2_ISTR, IRS_SYNCR, IrsReg};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{Addr55_12, Iaffid, Lpi, Priority};
use gicv5_hal::{
    Block, Cookie, CurrentPe, HostLpis, IrsExt, Lock, LpiError, NotReleased, Pe, PeOps, Platform, Route, TableMemory,
    Wait,
};

use crate::BlockOf;
use crate::command::{CommandError, PortKind, Step};
use crate::driver::{Phase, Phys};
use crate::gate::{Gate, OutOfMemory, Owner};
use crate::irq::read_configuration;
use crate::ist::{self, Level2State};

/// An LPI that belongs to whoever has this value.
///
/// Dropping it releases nothing: the LPI stays as it is, and the driver cannot be torn down. Give it to
/// [`HostLpis::release`], or to [`Phys::abandon`] if it cannot be released.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an LPI that is dropped is lost until the end: release it, or abandon it"]
pub struct OwnedLpi(Lpi);

impl OwnedLpi {
    /// Its number.
    #[must_use]
    pub fn lpi(&self) -> Lpi {
        self.0
    }
}

impl From<OutOfMemory> for LpiError {
    fn from(OutOfMemory: OutOfMemory) -> LpiError {
        LpiError::NoMemory
    }
}

impl<H: Platform> Phys<H> {
    /// Takes a free LPI, makes it reachable and has it configured: `configure` tells whether it is at rest now. Then it may
    /// be enabled.
    pub(crate) fn take_lpi(
        &self,
        owner: Owner,
        cookie: Cookie,
        configure: impl FnOnce(Lpi) -> bool,
    ) -> Result<Lpi, LpiError> {
        let (lpi, gate) = self.take_id(owner)?;
        let ready = match self.make_reachable(lpi) {
            Ok(()) if configure(lpi) => Ok(lpi),
            Ok(()) => Err(self.unreachable(lpi)),
            Err(error) => Err(error),
        };
        match ready {
            Ok(_) => gate.open(owner, cookie),
            Err(_) => self.give_id(lpi, owner),
        }
        ready
    }

    /// Takes a free LPI whose handlers have all left. One that still has handlers inside, after a tear-down that did not
    /// wait for them, stays out of circulation.
    fn take_id(&self, owner: Owner) -> Result<(Lpi, &Gate), LpiError> {
        loop {
            let lpi = self.core.with(|core| {
                // A tear-down that has begun looks at the count of LPIs once, under this lock.
                if core.phase != Phase::Up {
                    return Err(LpiError::NoneFree);
                }
                let lpi = core.ids.take().ok_or(LpiError::NoneFree)?;
                core.lent += u32::from(owner == Owner::Host);
                Ok(lpi)
            })?;
            match self.gates.get_or_make(lpi) {
                Ok(gate) if gate.is_quiet() => return Ok((lpi, gate)),
                Ok(_) => self.give_back(owner),
                Err(error) => {
                    self.give_id(lpi, owner);
                    return Err(error.into());
                }
            }
        }
    }

    fn give_id(&self, lpi: Lpi, owner: Owner) {
        self.core.with(|core| core.ids.give(lpi));
        self.give_back(owner);
    }

    /// One LPI less is somebody else's.
    fn give_back(&self, owner: Owner) {
        self.core.with(|core| core.lent = core.lent.saturating_sub(u32::from(owner == Owner::Host)));
    }

    fn unreachable(&self, lpi: Lpi) -> LpiError {
        let register = IrsReg::IRS_IST_STATUSR;
        let value = match self.machine.domain.irss.first() {
            Some(irs) => u64::from(self.machine.host.irs().read::<IRS_IST_STATUSR>(irs.index).raw_value()),
            None => 0,
        };
        LpiError::Unreachable { lpi, register, value }
    }

    /// Makes sure that there is an entry for the LPI. In a two-level IST, that may mean another level-2 IST.
    ///
    /// The port of the IST commands serialises this, and what another PE did meanwhile is looked at again once it is taken
    /// (VMT-23).
    fn make_reachable(&self, lpi: Lpi) -> Result<(), LpiError> {
        let Some(geometry) = self.machine.domain.ist else { return Err(LpiError::NoneFree) };
        let slot = match geometry.index(lpi.id()) {
            Ok(TableIndex::Linear(_)) => return Ok(()),
            Ok(TableIndex::TwoLevel { level1, .. }) => level1,
            Err(_) => return Err(LpiError::NoneFree),
        };
        let state = || self.core.with(|core| core.lease.as_ref().map_or(Level2State::Absent, |ist| ist.level2(slot)));
        // Memory is allocated before the port is taken, so that nobody waits for the allocator.
        let mut table = match state() {
            Level2State::Mapped => return Ok(()),
            Level2State::Named => None,
            Level2State::Absent => Some(self.allocate_level2(geometry)?),
        };
        let result = self.map_level2(lpi, slot, &mut table, state);
        if let Some((block, _)) = table {
            // Not needed: somebody else was faster, or the entry was never written.
            self.machine.host.memory().free(block);
        }
        result
    }

    fn allocate_level2(&self, geometry: IstGeometry) -> Result<(BlockOf<H>, Addr55_12), LpiError> {
        let piece = geometry.level2().ok_or(LpiError::NoneFree)?;
        let block = ist::allocate(self.machine.host.memory(), piece, self.machine.domain.highest)
            .map_err(|_| LpiError::NoMemory)?;
        match piece.place(block.address()) {
            Ok(address) => Ok((block, address)),
            Err(_) => {
                self.machine.host.memory().free(block);
                Err(LpiError::NoMemory)
            }
        }
    }

    fn map_level2(
        &self,
        lpi: Lpi,
        slot: Slot,
        table: &mut Option<(BlockOf<H>, Addr55_12)>,
        state: impl Fn() -> Level2State,
    ) -> Result<(), LpiError> {
        let failed = |error| unmapped(lpi, error);
        let Some(irs) = self.machine.domain.irss.first() else { return Err(LpiError::NoneFree) };
        let memory = self.machine.host.memory();
        let port = self.machine.port(irs, PortKind::Ist, Step::MapLevel2).map_err(failed)?;
        match state() {
            Level2State::Mapped => return Ok(()),
            // An earlier command for it timed out, and is over now.
            Level2State::Named if self.confirm_level2(slot) => return Ok(()),
            Level2State::Named => {}
            Level2State::Absent => {
                let Some((block, address)) = table.take() else { return Err(LpiError::NoneFree) };
                let rejected = self.core.with(|core| match core.lease.as_mut() {
                    // A tear-down that has begun waits for this port; it need not be given more to take down.
                    Some(ist) if core.phase == Phase::Up => {
                        ist.name(memory, self.machine.domain.publish_for, slot, block, address).err()
                    }
                    _ => Some(block),
                });
                if let Some(block) = rejected {
                    *table = Some((block, address));
                    return Err(LpiError::NoneFree);
                }
            }
        }
        port.write(Step::MapLevel2, IRS_MAP_L2_ISTR::ZERO.with_id(lpi)).map_err(failed)?;
        if self.confirm_level2(slot) { Ok(()) } else { Err(self.unreachable(lpi)) }
    }

    /// Looks whether the IRS has made a level-1 entry valid. The caller has the port, and it is idle.
    fn confirm_level2(&self, slot: Slot) -> bool {
        let (memory, publish_for) = (self.machine.host.memory(), self.machine.domain.publish_for);
        self.core.with(|core| core.lease.as_mut().is_some_and(|ist| ist.confirm(memory, publish_for, slot)))
    }

    /// Drains the events that the IRSs have accepted, so that their effects show (SYN-8).
    fn drain_events(&self) -> Result<(), CommandError> {
        for irs in &self.machine.domain.irss {
            let port = self.machine.port(irs, PortKind::Sync, Step::Sync)?;
            port.write(Step::Sync, IRS_SYNCR::ZERO.with_sync(true))?;
        }
        Ok(())
    }

    /// Disables an LPI and lets no more handlers in. True once it is neither pending nor active, events under way
    /// included, and the last handler has left.
    pub(crate) fn bring_to_rest(&self, lpi: Lpi, gate: &Gate) -> bool {
        let Phys { machine, .. } = self;
        let id = lpi.into();
        gate.close();
        machine.host.current_pe().on_this_pe(|pe| {
            pe.cddis(id);
            // Only now is it no PE's candidate any more (SYN-4, INS-10).
            pe.gsb_sys();
        });
        // Its sources are silent by the owner's promise; what they did before must not come out afterwards (DB-25).
        if self.drain_events().is_err() {
            return false;
        }
        let deadline = machine.host.wait().now().saturating_add(machine.timeout);
        loop {
            let late = machine.host.wait().now() >= deadline;
            let quiet = machine.host.current_pe().on_this_pe(|pe| {
                pe.cdpend(id, false);
                pe.gsb_sys();
                // An unreachable LPI is nobody's interrupt.
                read_configuration(pe, id).is_none_or(|found| !found.enabled && !found.pending && !found.active)
            });
            // In this order: once the LPI is inactive nobody enters any more (see the module of the gates).
            if quiet && gate.is_quiet() {
                return true;
            }
            if late {
                return false;
            }
            machine.host.wait().relax();
        }
    }

    /// Gives up an LPI that cannot be [released](HostLpis::release): it is disabled, its handlers get nothing any more, and
    /// it stays out of circulation until the driver has been torn down.
    ///
    /// Never waits for hardware; takes a lock, so not from an interrupt handler.
    pub fn abandon(&self, lpi: OwnedLpi) {
        let OwnedLpi(lpi) = lpi;
        if let Some(gate) = self.gates.get(lpi) {
            gate.close();
        }
        self.machine.host.current_pe().on_this_pe(|pe| {
            pe.cddis(lpi.into());
            pe.gsb_sys();
        });
        self.give_back(Owner::Host);
    }
}

/// Gives a new LPI its configuration, routed to this PE. True if it can be reached and is at rest.
pub(crate) fn configure<P: PeOps + ?Sized>(pe: &Pe<'_, P>, lpi: Lpi, priority: Priority) -> bool {
    let id = lpi.into();
    pe.cddis(id);
    pe.cdhm(id, HandlingMode::Edge);
    pe.cdpri(id, priority);
    pe.cdaff(id, pe.iaffid());
    pe.cdpend(id, false);
    pe.gsb_sys();
    read_configuration(pe, id).is_some_and(|found| !found.enabled && !found.pending && !found.active)
}

/// The error for an LPI whose level-2 IST could not be made valid.
fn unmapped(lpi: Lpi, error: CommandError) -> LpiError {
    let (register, value) = error.register();
    LpiError::Unreachable { lpi, register, value }
}

/// The physical LPIs of the domain, for the host and for the hypervisor's doorbells.
///
/// [`LpiError::NoneFree`] also says that the driver is not up, or has no LPIs. An LPI is allocated routed to the PE the call
/// was made on, with the configured priority. After a failed release it stays disabled, and its handlers get
/// nothing: there is nothing to do with it but to release it again, or to [abandon](Phys::abandon) it.
impl<H: Platform> HostLpis for Phys<H> {
    type Lpi = OwnedLpi;

    fn allocate(&self, cookie: Cookie) -> Result<OwnedLpi, LpiError> {
        let (host, priority) = (&self.machine.host, self.settings.priority);
        let lpi =
            self.take_lpi(Owner::Host, cookie, |lpi| host.current_pe().on_this_pe(|pe| configure(pe, lpi, priority)))?;
        Ok(OwnedLpi(lpi))
    }

    fn lpi(&self, lpi: &OwnedLpi) -> Lpi {
        lpi.0
    }

    fn enable(&self, lpi: &OwnedLpi) {
        // One whose release has begun stays disabled.
        if self.gates.get(lpi.0).is_some_and(Gate::is_open) {
            self.machine.host.current_pe().on_this_pe(|pe| pe.cden(lpi.0.into()));
        }
    }

    fn route(&self, lpi: &OwnedLpi, to: Route) {
        self.machine.host.current_pe().on_this_pe(|pe| {
            let target: Iaffid = match to {
                Route::To(iaffid) => iaffid,
                Route::ThisPe => pe.iaffid(),
            };
            pe.cdaff(lpi.0.into(), target);
        });
    }

    fn release(&self, lpi: OwnedLpi) -> Result<(), NotReleased<OwnedLpi>> {
        if let Some(gate) = self.gates.get(lpi.0)
            && !self.bring_to_rest(lpi.0, gate)
        {
            return Err(NotReleased { lpi });
        }
        self.give_id(lpi.0, Owner::Host);
        Ok(())
    }
}
