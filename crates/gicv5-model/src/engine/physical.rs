//! Physical interrupts: what follows from a change of state, and what a PE is offered.

use crate::engine::state::MachineState;
use crate::parts::wires::Wire;

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::values::{Domain, HandlingMode};
use gicv5_arch::{Iaffid, IntId, IrsIntId, IrsIntType, Spi, VmId};

use crate::cpu::Side;
use crate::parts::interrupts::Change;
use crate::parts::ist::Unreachable;
use crate::words::event::{Change as Changed, Event, Space};

impl MachineState {
    /// Changes the state of an interrupt and everything that follows from it.
    pub(crate) fn update(
        &mut self,
        id: IrsIntId,
        change: impl FnOnce(L2_ISTE) -> L2_ISTE,
    ) -> Result<L2_ISTE, Unreachable> {
        self.check_physical(id)?;
        let change = self.interrupts.update(id, &mut self.memory, change);
        self.offer_preset();
        let change = change?;
        if change.before != change.after || change.noticed {
            self.changed(id, change);
        }
        Ok(change.after)
    }

    /// What an instruction that asks for an interrupt's state is told.
    pub(super) fn look_up(&mut self, id: IrsIntId) -> Result<L2_ISTE, Unreachable> {
        self.check_physical(id)?;
        let state = self.interrupts.state(id, &mut self.memory);
        self.offer_preset();
        state
    }

    /// Offers entries that were pending when their IST became valid and have been noticed (IST-22).
    fn offer_preset(&mut self) {
        while let Some(target) = self.interrupts.take_preset() {
            self.offer(target);
        }
    }

    /// An SPI that belongs to a VM (SPI-9), or to no IRS (SPI-1), is no physical interrupt.
    pub(crate) fn check_physical(&self, id: IrsIntId) -> Result<(), Unreachable> {
        let IrsIntId::Spi(spi) = id else { return Ok(()) };
        match self.wires.get(spi.id() as usize) {
            Some(Wire { irs: Some(_), vm: None, .. }) => Ok(()),
            _ => Err(Unreachable::OutOfRange),
        }
    }

    /// The VM that an SPI is assigned to.
    pub(super) fn assigned(&self, spi: Spi) -> Option<VmId> {
        self.wires.get(spi.id() as usize)?.vm
    }

    /// Tells what has changed about an interrupt.
    #[inline]
    pub(super) fn tell(&mut self, space: Space, id: IrsIntId, change: Change) {
        // This is on the path of every event, and mostly nobody observes.
        if self.report.log.is_observed() {
            self.describe(space, id, change);
        }
    }

    fn describe(&mut self, space: Space, id: IrsIntId, Change { before, after, .. }: Change) {
        let mut tell = |change: Option<Changed>| {
            if let Some(change) = change {
                let interrupt = IntId::from(id);
                self.report.event(|| Event::Interrupt { space, pe: None, interrupt, change });
            }
        };
        tell((before.pending() != after.pending()).then_some(Changed::Pending(after.pending())));
        tell((before.active() != after.active()).then_some(Changed::Active(after.active())));
        tell((before.enable() != after.enable()).then_some(Changed::Enabled(after.enable())));
        tell((before.priority() != after.priority()).then_some(Changed::Priority(after.priority())));
        tell((before.hm() != after.hm()).then_some(Changed::Mode(after.hm())));
        tell((before.iaffid() != after.iaffid()).then_some(Changed::Target(after.iaffid(), after.irm())));
    }

    pub(super) fn changed(&mut self, id: IrsIntId, change: Change) {
        self.tell(Space::Physical, id, change);
        let Change { before, after, .. } = change;
        self.offer(before.iaffid());
        if after.iaffid() != before.iaffid() {
            self.offer(after.iaffid());
        }
        // The IRS may write a state back whenever it likes (IST-26).
        if id.int_type() == IrsIntType::Lpi && self.rng.chance(1, 64) {
            let (interrupts, mut side) = self.physical();
            interrupts.write_back_one(id, &mut side);
        }
    }

    /// Offers a target its candidate, if that is another than before (HPPI-2, HPPI-6).
    pub(crate) fn offer(&mut self, target: Iaffid) {
        let Some(pe) = self.pe_with(target) else { return };
        let enabled = self.pes.get(pe).and_then(|pe| self.irses.get(pe.irs)).is_some_and(|irs| irs.enabled);
        let candidate = if enabled { self.interrupts.candidate(target) } else { None };
        let Some(state) = self.pes.get_mut(pe) else { return };
        if state.cpu.offered(Side::Physical) == candidate {
            return;
        }
        state.cpu.offer(Side::Physical, candidate);
        self.report.event(|| Event::Candidate {
            domain: Domain::NonSecure,
            space: Space::Physical,
            target,
            candidate: candidate.map(|(id, priority)| (IntId::from(id), priority)),
        });
        self.show_signals(pe, Side::Physical);
    }

    /// An event from outside: Pending rises, and the handling mode follows the kind of event (ISM-2).
    pub(super) fn set_event(&mut self, id: IrsIntId, mode: HandlingMode) -> Result<L2_ISTE, Unreachable> {
        self.update(id, |entry| entry.with_pending(true).with_hm(mode))
    }
}
