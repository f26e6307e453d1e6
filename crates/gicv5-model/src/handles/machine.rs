//! The machine: everything there is, behind one handle.
//!
//! A [`Machine`] is a cheap handle that can be cloned and sent; all clones are the same machine. It implements the hal's
//! [`Irs`](gicv5_hal::Irs), [`TableMemory`](gicv5_hal::TableMemory) and [`Wait`](gicv5_hal::Wait);
//! [`Machine::pe`] gives the handle of one PE, which implements [`PeOps`](gicv5_hal::PeOps). What names no PE is done by the PE
//! that the thread is on ([`Machine::on_pe`]). The outside world moves wires
//! ([`Machine::set_spi_wire`], [`Machine::set_ppi_wire`]) and lets time pass ([`Machine::advance`]).
//!
//! What is inside is plain data: [`Machine::save`] copies it, [`Machine::restore`] puts it back, and two copies can be
//! compared.

use crate::engine::state::MachineState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::{IntId, IrsIntId, IrsIntType, PhysAddr, Ppi, Priority, Spi, VmId, VpeId};
use gicv5_hal::{Frame, Wait};

use crate::cpu::Side;
use crate::handles::here::here;
use crate::handles::locked::{Kept, Locked};
use crate::parts::interrupts::Backing;
use crate::parts::irs_registers::IrsState;
use crate::words::clock::Tick;
use crate::words::config::{ConfigError, MachineConfig};
use crate::words::cpu::{Contenders, Signals};
use crate::words::event::Event;
use crate::words::ids::PeIndex;
use crate::words::violation::{Remark, Violation};

/// A machine. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Machine(Arc<Mutex<Kept>>);

impl Machine {
    /// Builds a machine at reset.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the configuration is of no hardware that could exist, or that the model cannot be.
    pub fn new(config: MachineConfig) -> Result<Machine, ConfigError> {
        Ok(Machine(Arc::new(Mutex::new(Kept::new(MachineState::new(config)?)))))
    }

    /// The state, for what no PE does.
    #[inline]
    pub(crate) fn state(&self) -> Locked<'_> {
        let mut locked = self.lock();
        locked.report.actor = None;
        locked
    }

    /// The state, for what a PE does.
    #[inline]
    pub(crate) fn state_on(&self, pe: PeIndex) -> Locked<'_> {
        let mut locked = self.lock();
        locked.report.actor = Some(pe);
        locked
    }

    #[inline]
    fn lock(&self) -> Locked<'_> {
        Locked::new(self)
    }

    /// What the lock protects. Nothing in the model panics while it holds the lock; if an observer did, the state is still whole.
    #[inline]
    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of PEs.
    #[must_use]
    pub fn pe_count(&self) -> u16 {
        self.state().pes.len() as u16
    }

    /// The number of IRSs.
    #[must_use]
    pub fn irs_count(&self) -> u16 {
        self.state().irses.len() as u16
    }

    /// Copies the whole state. Who [listens](Self::listen) is no part of it.
    #[must_use]
    pub fn save(&self) -> MachineState {
        let mut state = self.state().clone();
        state.report.checker.set_listened(false);
        state
    }

    /// Puts a state back, of this machine or of another.
    pub fn restore(&self, state: MachineState) {
        let mut kept = self.kept();
        kept.state = state;
        kept.follow_listener();
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.state().report.now()
    }

    /// Lets time pass.
    pub fn advance(&self, ticks: u64) {
        self.state().advance(ticks);
    }

    /// Moves the wire of an SPI. An SPI that no IRS owns has no wire.
    pub fn set_spi_wire(&self, spi: Spi, high: bool) {
        self.state().set_spi_wire(spi, high);
    }

    /// The level of an SPI's wire; `None` for an SPI that no IRS owns.
    #[must_use]
    pub fn spi_wire(&self, spi: Spi) -> Option<bool> {
        let state = self.state();
        state.owner(spi)?;
        state.wires.get(spi.id() as usize).map(|wire| wire.high)
    }

    /// Moves the wire of a PPI of a PE.
    pub fn set_ppi_wire(&self, pe: PeIndex, ppi: Ppi, high: bool) {
        self.state().set_ppi_wire(pe, ppi, high);
    }

    /// Sets SCTLR.NMI of the host of a PE: whether priority 0 is an NMI (INS-2).
    pub fn set_nmi(&self, pe: PeIndex, nmi: bool) {
        self.state().set_nmi(pe, Side::Physical, nmi);
    }

    /// Sets SCTLR_EL1.NMI of whichever guest runs on a PE (INS-2, HPPI-8).
    pub fn set_guest_nmi(&self, pe: PeIndex, nmi: bool) {
        self.state().set_nmi(pe, Side::Virtual, nmi);
    }

    /// The interrupt outputs of a PE.
    #[must_use]
    pub fn signals(&self, pe: PeIndex) -> Signals {
        self.state().pes.get(usize::from(pe.0)).map_or(Signals::default(), |pe| pe.signals)
    }

    /// The virtual interrupt outputs of a PE, for whichever guest runs on it (HPPI-8).
    #[must_use]
    pub fn virtual_signals(&self, pe: PeIndex) -> Signals {
        self.state().pes.get(usize::from(pe.0)).map_or(Signals::default(), |pe| pe.virtual_signals)
    }

    /// What the IRS offers a PE (HPPI-1).
    #[must_use]
    pub fn candidate(&self, pe: PeIndex) -> Option<(IrsIntId, Priority)> {
        self.state().pes.get(usize::from(pe.0))?.cpu.offered(Side::Physical)
    }

    /// The candidate of the resident VPE that the IRS has forwarded to a PE (RES-8).
    #[must_use]
    pub fn virtual_candidate(&self, pe: PeIndex) -> Option<(IrsIntId, Priority)> {
        self.state().pes.get(usize::from(pe.0))?.cpu.offered(Side::Virtual)
    }

    /// The VPE that is resident on a PE. `None` too when software has taken its VM away (RES-23).
    #[must_use]
    pub fn resident(&self, pe: PeIndex) -> Option<(VmId, VpeId)> {
        self.state().resident(usize::from(pe.0))
    }

    /// Makes the IRS offer this one of several equally urgent candidates of a PE: which one it offers is not fixed
    /// (HPPI-4), and a follower of another machine does as that one does. Returns false, and changes nothing, if the
    /// interrupt is not among the most urgent candidates of its target.
    pub fn prefer(&self, id: IrsIntId) -> bool {
        let state = &mut *self.state();
        let preferred = state.interrupts.prefer(id);
        if let Some(target) = preferred {
            state.offer(target);
        }
        preferred.is_some()
    }

    /// The physical IST: its address and its shape, as the IRS has taken them (IST-12, IST-28); `None` while none is valid.
    #[must_use]
    pub fn ist(&self) -> Option<(PhysAddr, IstGeometry)> {
        match self.state().interrupts.backing(IrsIntType::Lpi) {
            Backing::Ist(ist) => Some((ist.base, ist.geometry)),
            _ => None,
        }
    }

    /// What an acknowledge would take on a PE, NMI or not: the most urgent interrupt of sufficient priority, and its priority
    /// (HPPI-9).
    #[must_use]
    pub fn hppi(&self, pe: PeIndex) -> Option<(IntId, Priority)> {
        self.state().pes.get(usize::from(pe.0))?.cpu.hppi(Side::Physical)
    }

    /// What an acknowledge of the guest would take on a PE, NMI or not (HPPI-7).
    #[must_use]
    pub fn virtual_hppi(&self, pe: PeIndex) -> Option<(IntId, Priority)> {
        self.state().pes.get(usize::from(pe.0))?.cpu.hppi(Side::Virtual)
    }

    /// The state of an LPI or SPI of a VM, in the layout of an IST entry; `None` if it cannot be reached. Looking changes
    /// nothing.
    #[must_use]
    pub fn virtual_interrupt(&self, vm: VmId, id: IrsIntId) -> Option<L2_ISTE> {
        self.state().peek_virtual(vm, id)
    }

    /// The most urgent of a PE's own PPIs that are pending, enabled and not active (HPPI-3).
    #[must_use]
    pub fn ppi_candidate(&self, pe: PeIndex) -> Option<(Ppi, Priority)> {
        self.state().pes.get(usize::from(pe.0))?.cpu.ppi_candidate(Side::Physical)
    }

    /// What would compete at a PE with the wire of one of its PPIs at this level. Looking changes nothing.
    #[must_use]
    pub fn if_ppi_wire(&self, pe: PeIndex, ppi: Ppi, high: bool) -> Contenders {
        self.state().pes.get(usize::from(pe.0)).map_or(Contenders::default(), |pe| pe.cpu.if_ppi_wire(ppi, high))
    }

    /// The state of an LPI or SPI, in the layout of an IST entry; `None` if it cannot be reached. Looking changes nothing.
    #[must_use]
    pub fn interrupt(&self, id: IrsIntId) -> Option<L2_ISTE> {
        let state = &mut *self.state();
        state.check_physical(id).ok()?;
        state.interrupts.peek(id, &mut state.memory).ok()
    }

    /// Puts an LPI or SPI into a state, whatever it was in: for following another machine whose state is known to differ.
    /// Returns false if it cannot be reached.
    pub fn set_interrupt(&self, id: IrsIntId, entry: L2_ISTE) -> bool {
        self.state().update(id, |_| entry).is_ok()
    }

    /// Hands out the violations so far, and starts anew.
    #[must_use]
    pub fn take_violations(&self) -> Vec<Violation> {
        self.state().report.checker.drain()
    }

    /// Hands out the remarks so far, which are no violations, and starts anew.
    #[must_use]
    pub fn take_remarks(&self) -> Vec<Remark> {
        self.state().report.checker.drain_remarks()
    }

    /// Starts observing: keeps the last `capacity` events until they are [taken](Self::take_events).
    pub fn observe(&self, capacity: usize) {
        self.state().report.log.observe(capacity);
    }

    /// Stops observing.
    pub fn ignore(&self) {
        self.state().report.log.ignore();
    }

    /// Hands out the events that have been kept since the last time, oldest first.
    #[must_use]
    pub fn take_events(&self) -> Vec<(Tick, Event)> {
        self.state().report.log.drain().collect()
    }

    /// The number of register commands so far, over all IRSs.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.state().irses.iter().map(IrsState::commands).sum()
    }
}

impl gicv5_hal::Irs for Machine {
    fn read32(&self, frame: Frame, offset: u16) -> u32 {
        self.state_on(here()).read32(here(), frame, offset)
    }

    fn write32(&self, frame: Frame, offset: u16, value: u32) {
        self.state_on(here()).write32(here(), frame, offset, value);
    }

    fn read64(&self, frame: Frame, offset: u16) -> u64 {
        self.state_on(here()).read64(here(), frame, offset)
    }

    fn write64(&self, frame: Frame, offset: u16, value: u64) {
        self.state_on(here()).write64(here(), frame, offset, value);
    }
}

impl Wait for Machine {
    /// One tick passes.
    fn relax(&self) {
        self.advance(1);
    }

    /// A tick is a microsecond.
    fn now(&self) -> Duration {
        Duration::from_micros(self.now().0)
    }
}
