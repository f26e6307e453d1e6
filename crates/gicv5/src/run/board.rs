//! The hypervisor that the engine is: the libraries' view of machine and host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use gicv5_arch::Lpi;
use gicv5_hal::{Cookie, CurrentPe, HostLpis, LpiError, NotReleased, Pe, Platform, Route, Wait};
use gicv5_hyp::WithLpis;
use gicv5_model::PeIndex;
use gicv5_model::fault::Request;
use gicv5_model::host::StdLocks;
use gicv5_model::{Machine, ModelPe};
use gicv5_phys::{OwnedLpi, Phys};

use super::scenario::Ns;

/// The machine, the PE on which the host is at work, and how long a tick is.
#[derive(Clone, Debug)]
pub(super) struct Board {
    machine: Machine,
    pes: BoardPes,
    time: BoardClock,
}

/// The PEs, one of which is the current one.
#[derive(Clone, Debug)]
pub(super) struct BoardPes {
    first: ModelPe,
    pes: Arc<[ModelPe]>,
    here: Arc<AtomicU16>,
}

/// The time as the host's clock shows it.
#[derive(Clone, Debug)]
pub(super) struct BoardClock {
    machine: Machine,
    tick: Ns,
}

impl Board {
    /// The host's view of a machine; `None` if the machine has no PE.
    pub(super) fn new(machine: Machine, tick: Ns) -> Option<Board> {
        let pes: Vec<ModelPe> = (0..machine.pe_count()).filter_map(|pe| machine.pe(PeIndex(pe))).collect();
        let pes = BoardPes { first: pes.first()?.clone(), pes: pes.into(), here: Arc::default() };
        Some(Board { time: BoardClock { machine: machine.clone(), tick }, machine, pes })
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// From now on the host is at work on this PE.
    pub(super) fn go_to(&self, pe: PeIndex) {
        self.pes.here.store(pe.0, Ordering::Relaxed);
    }

    /// A PE.
    pub(super) fn pe(&self, pe: PeIndex) -> Option<&ModelPe> {
        self.pes.pes.get(usize::from(pe.0))
    }
}

impl CurrentPe for BoardPes {
    type Ops = ModelPe;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, ModelPe>) -> R) -> R {
        let here = usize::from(self.here.load(Ordering::Relaxed));
        f(&Pe::new(self.pes.get(here).unwrap_or(&self.first)))
    }
}

impl Wait for BoardClock {
    /// A tick passes.
    fn relax(&self) {
        self.machine.advance(1);
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.machine.now().0.saturating_mul(self.tick))
    }
}

impl Platform for Board {
    type Irs = Machine;
    type Memory = Machine;
    type CurrentPe = BoardPes;
    type Wait = BoardClock;
    type Locks = StdLocks;

    fn irs(&self) -> &Machine {
        &self.machine
    }

    fn memory(&self) -> &Machine {
        &self.machine
    }

    fn current_pe(&self) -> &BoardPes {
        &self.pes
    }

    fn wait(&self) -> &BoardClock {
        &self.time
    }
}

/// What the hypervisor's library gets: the same, with the LPIs of the physical driver.
pub(super) type BoardWithLpis = WithLpis<Board, PhysLpis>;

/// The LPIs of the physical driver. Each request, and each release, is a fault point of the machine.
#[derive(Debug)]
pub(super) struct PhysLpis {
    machine: Machine,
    phys: Arc<Phys<Board>>,
}

impl PhysLpis {
    pub(super) fn new(machine: Machine, phys: Arc<Phys<Board>>) -> PhysLpis {
        PhysLpis { machine, phys }
    }
}

impl HostLpis for PhysLpis {
    type Lpi = OwnedLpi;

    fn allocate(&self, cookie: Cookie) -> Result<OwnedLpi, LpiError> {
        match self.machine.pass_fault_point(Request::Lpi { cookie }) {
            Some(_) => Err(LpiError::NoneFree),
            None => self.phys.allocate(cookie),
        }
    }

    fn lpi(&self, lpi: &OwnedLpi) -> Lpi {
        lpi.lpi()
    }

    fn enable(&self, lpi: &OwnedLpi) {
        self.phys.enable(lpi);
    }

    fn route(&self, lpi: &OwnedLpi, to: Route) {
        self.phys.route(lpi, to);
    }

    fn release(&self, lpi: OwnedLpi) -> Result<(), NotReleased<OwnedLpi>> {
        match self.machine.pass_fault_point(Request::LpiRelease { lpi: lpi.lpi() }) {
            Some(_) => Err(NotReleased { lpi }),
            None => self.phys.release(lpi),
        }
    }
}
