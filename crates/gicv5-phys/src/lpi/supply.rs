//! The supply of LPIs.

use gicv5_arch::geometry::{IstGeometry, TableIndex};
use gicv5_arch::irs::{IRS_IST_STATUSR, IRS_MAP_L2_ISTR, IRS_SYNCR, IrsReg};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{Iaffid, Lpi, Priority};
use gicv5_hal::{Cookie, CurrentPe, HostLpis, IrsExt, Lock, LpiError, NotReleased, Pe, PeOps, Platform, Route, Wait};

use gicv5_irs::command::{Command, CommandError, Place};
use gicv5_irs::command_port::PortKind;
use gicv5_irs::domain::BlockOf;
use gicv5_irs::heap::OutOfMemory;
use gicv5_irs::levels::{ReachError, Shared, reach};

use crate::driver::phys::{Phase, Phys};
use crate::interrupts::by_number::read_configuration;
use crate::lpi::gate::{Gate, Owner};
use crate::lpi::ist::Ist;
use crate::machine::Machine;

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

/// An IST grows only while the driver is up: a tear-down that has begun need not be given more to take down.
impl<H: Platform> Shared<H, IstGeometry> for Phys<H> {
    fn with<R>(&self, f: impl FnOnce(Option<&mut Ist<BlockOf<H>>>) -> R) -> R {
        self.core.with(|core| f(if core.phase == Phase::Up { core.ist.content_mut() } else { None }))
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
        let ready = match self.machine.domain.block_on(self.make_reachable(lpi)) {
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
                // IPIs come on top of what the host may have: those of PEs that are still to come up stay free for them.
                let kept = match owner {
                    Owner::Host => self.machine.found.ipis.saturating_sub(core.ipis),
                    Owner::Ipi => 0,
                };
                if core.ids.count() - core.ids.in_use() <= kept {
                    return Err(LpiError::NoneFree);
                }
                let id = core.ids.take().ok_or(LpiError::NoneFree)?;
                let lpi = Lpi::new(id).map_err(|_| LpiError::NoneFree)?;
                match owner {
                    Owner::Host => core.lent += 1,
                    Owner::Ipi => core.ipis += 1,
                }
                Ok(lpi)
            })?;
            match self.gates.get_or_make(&self.machine.domain.heap(), lpi.id()) {
                Ok(gate) if gate.is_quiet() => return Ok((lpi, gate)),
                Ok(_) => self.give_back(owner),
                Err(OutOfMemory) => {
                    self.give_id(lpi, owner);
                    return Err(LpiError::NoMemory);
                }
            }
        }
    }

    fn give_id(&self, lpi: Lpi, owner: Owner) {
        self.core.with(|core| core.ids.give(lpi.id()));
        self.give_back(owner);
    }

    /// The owner has one LPI less.
    fn give_back(&self, owner: Owner) {
        self.core.with(|core| {
            let count = match owner {
                Owner::Host => &mut core.lent,
                Owner::Ipi => &mut core.ipis,
            };
            *count = count.saturating_sub(1);
        });
    }

    fn unreachable(&self, lpi: Lpi) -> LpiError {
        let register = IrsReg::IRS_IST_STATUSR;
        let value = match self.machine.found.irss.first() {
            Some(irs) => u64::from(self.machine.domain.platform.irs().read::<IRS_IST_STATUSR>(irs.index).raw_value()),
            None => 0,
        };
        LpiError::Unreachable { lpi, register, value }
    }

    /// Makes sure that there is an entry for the LPI. In a two-level IST, that may mean another level-2 IST.
    async fn make_reachable(&self, lpi: Lpi) -> Result<(), LpiError> {
        let Machine { domain, found, .. } = &self.machine;
        let (Some(geometry), Some(irs)) = (found.ist, found.irss.first()) else { return Err(LpiError::NoneFree) };
        let slot = match geometry.index(lpi.id()) {
            Ok(TableIndex::Linear(_)) => return Ok(()),
            Ok(TableIndex::TwoLevel { level1, .. }) => level1,
            Err(_) => return Err(LpiError::NoneFree),
        };
        let command = Command::MapLevel2Ist(lpi);
        let map = IRS_MAP_L2_ISTR::ZERO.with_id(lpi);
        let reached = reach(domain, self, slot, command, map, self.machine.port(irs, PortKind::Ist, command)).await;
        reached.map_err(|error| match error {
            ReachError::Table(_) => LpiError::NoMemory,
            ReachError::Gone => LpiError::NoneFree,
            ReachError::Command(CommandError { place: Place::Register(register), value, .. }) => {
                LpiError::Unreachable { lpi, register, value }
            }
            ReachError::Command(_) => self.unreachable(lpi),
        })
    }

    /// Drains the events that the IRSs have accepted, so that their effects show (SYN-8).
    async fn drain_events(&self) -> Result<(), CommandError> {
        for irs in &self.machine.found.irss {
            let mut port = self.machine.port(irs, PortKind::Sync, Command::Sync).await?;
            port.issue(Command::Sync, IRS_SYNCR::ZERO.with_sync(true)).await?;
        }
        Ok(())
    }

    /// Disables an LPI and lets no more handlers in. True once it is neither pending nor active, events under way
    /// included, and the last handler has left.
    pub(crate) fn bring_to_rest(&self, lpi: Lpi, gate: &Gate) -> bool {
        let Phys { machine, .. } = self;
        let id = lpi.into();
        gate.close();
        machine.domain.platform.current_pe().on_this_pe(|pe| {
            pe.cddis(id);
            // Only now is it no PE's candidate any more (SYN-4, INS-10).
            pe.gsb_sys();
        });
        // Its sources are silent by the owner's promise; what they did before must not come out afterwards (DB-25).
        if machine.domain.block_on(self.drain_events()).is_err() {
            return false;
        }
        let deadline = machine.domain.platform.wait().now().saturating_add(machine.domain.timeout);
        loop {
            let late = machine.domain.platform.wait().now() >= deadline;
            let quiet = machine.domain.platform.current_pe().on_this_pe(|pe| {
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
            machine.domain.platform.wait().relax();
        }
    }

    /// Gives up an LPI that cannot be [released](HostLpis::release): it is disabled, its handlers get nothing any more, and
    /// it stays out of circulation until the driver has been torn down.
    ///
    /// Never waits for hardware; takes a lock, so not from an interrupt handler.
    pub fn abandon(&self, lpi: OwnedLpi) {
        let OwnedLpi(lpi) = lpi;
        if let Some(gate) = self.gates.get(lpi.id()) {
            gate.close();
        }
        self.machine.domain.platform.current_pe().on_this_pe(|pe| {
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

/// The physical LPIs of the domain, for the host and for the hypervisor's doorbells.
///
/// [`LpiError::NoneFree`] also says that the driver is not up, or has no LPIs. An LPI is allocated routed to the PE the call
/// was made on, with the configured priority. After a failed release it stays disabled, and its handlers get
/// nothing: there is nothing to do with it but to release it again, or to [abandon](Phys::abandon) it.
impl<H: Platform> HostLpis for Phys<H> {
    type Lpi = OwnedLpi;

    fn allocate(&self, cookie: Cookie) -> Result<OwnedLpi, LpiError> {
        let (host, priority) = (&self.machine.domain.platform, self.settings.priority);
        let lpi =
            self.take_lpi(Owner::Host, cookie, |lpi| host.current_pe().on_this_pe(|pe| configure(pe, lpi, priority)))?;
        Ok(OwnedLpi(lpi))
    }

    fn lpi(&self, lpi: &OwnedLpi) -> Lpi {
        lpi.0
    }

    fn enable(&self, lpi: &OwnedLpi) {
        // One whose release has begun stays disabled.
        if self.gates.get(lpi.0.id()).is_some_and(Gate::is_open) {
            self.machine.domain.platform.current_pe().on_this_pe(|pe| {
                pe.cden(lpi.0.into());
                pe.gsb_sys();
            });
        }
    }

    fn route(&self, lpi: &OwnedLpi, to: Route) {
        self.machine.domain.platform.current_pe().on_this_pe(|pe| {
            let target: Iaffid = match to {
                Route::To(iaffid) => iaffid,
                Route::ThisPe => pe.iaffid(),
            };
            pe.cdaff(lpi.0.into(), target);
            pe.gsb_sys();
        });
    }

    fn release(&self, lpi: OwnedLpi) -> Result<(), NotReleased<OwnedLpi>> {
        if let Some(gate) = self.gates.get(lpi.0.id())
            && !self.bring_to_rest(lpi.0, gate)
        {
            return Err(NotReleased { lpi });
        }
        self.give_id(lpi.0, Owner::Host);
        Ok(())
    }
}
