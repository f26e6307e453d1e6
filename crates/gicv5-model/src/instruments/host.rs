//! A host for software that needs one: the physical side up, a supply of LPIs, and somebody who takes the interrupts.
//!
//! # Theory of operation
//!
//! A hypervisor's library expects a host that has made a physical IST valid, has switched IRSs and CPU interfaces on, and
//! hands out LPIs (LPI-3, DB-14). [`ModelHost`] is the smallest such host over a [`Machine`]. It is no driver and nothing to
//! learn from: it has the machine to itself, does not share LPIs with an ITS, and knows its books by heart. A real driver does
//! the same over the same traits, and software that is tested on both has been tested on neither's peculiarities.
//!
//! What it does on a PE, it does with that PE's instructions, so that what takes time takes time: an LPI is enabled some
//! ticks after [`enable`](gicv5_hal::HostLpis::enable) (SYN-4). Which PE a thread is on, [`on_pe`](ModelHost::on_pe) says.
//!
//! # The books
//!
//! The books about LPIs are part of the machine's state. They hold software to what it owes: an LPI belongs to one owner
//! and one VPE (DB-14), nobody uses one that it has given back, and nobody gives one back that a VPE may still ring
//! (DB-25). Released numbers are handed out again at once, the lowest first, so that whoever remembers one too long meets
//! its next owner.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use gicv5_arch::geometry::{GeometryError, IstGeometry, IstLimits};
use gicv5_arch::irs::{IRS_CR0, IRS_IDR0, IRS_IDR2, IRS_IST_BASER, IrsReg};
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{ICC_CR0_EL1, ICC_ICSR_EL1, SysReg};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{AddressError, IntId, IrsIntId, Lpi, Priority};
use gicv5_hal::{
    AllocError, Block, BlockLayout, BlockLayoutError, Cookie, CurrentPe, HostLpis, IrsExt, IrsIndex, Lock, Locks,
    LpiError, NotReleased, Pe, Platform, Route, TableMemory,
};

use crate::engine::state::MachineState;
use crate::handles::machine::Machine;
use crate::handles::pe::ModelPe;
use crate::parts::lpi_books::LpiBooks;
pub use crate::parts::lpi_books::{LpiRecord, ModelLpi};
use crate::words::fault::Request;
use crate::words::ids::PeIndex;
use crate::words::rules::{self, RuleId};
use crate::words::violation::Place;

/// The priority of an LPI that nobody has given another: in the middle.
const PRIORITY: u32 = 16;

/// A host could not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The hardware has no LPIs, or not so many.
    #[error("LPIs up to {last} do not fit an IST of this hardware: IRS_IDR2 reads {idr2:#x}")]
    Lpis {
        /// The highest LPI that was asked for.
        last: u32,
        /// IRS_IDR2.
        idr2: u32,
    },
    /// IRS_IDR2 describes tables that cannot be.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The IST cannot be where the machine's memory is.
    #[error(transparent)]
    Layout(#[from] BlockLayoutError),
    /// The IST is where the IRS cannot reach it.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// There is no memory for the IST.
    #[error(transparent)]
    Memory(#[from] AllocError),
    /// A command did not complete.
    #[error("{irs}: {register} did not complete: its status register reads {status:#x}")]
    Stuck {
        /// The IRS.
        irs: IrsIndex,
        /// The register that was written.
        register: IrsReg,
        /// What its status register reads.
        status: u64,
    },
}

/// An interrupt that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub interrupt: IntId,
    /// For an LPI that was handed out here, what its owner wants to be told.
    pub cookie: Option<Cookie>,
}

/// The IRS to which the host gives commands.
const FIRST: IrsIndex = IrsIndex(0);

thread_local! {
    /// The PE that the thread is on.
    static HERE: Cell<PeIndex> = const { Cell::new(PeIndex(0)) };
}

/// Puts the thread back where it was, also when `f` panics.
struct Back(PeIndex);

impl Drop for Back {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

/// A host over a machine. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct ModelHost {
    machine: Machine,
}

impl ModelHost {
    /// Brings the physical side up: a linear IST for LPIs below the end of `lpis`, all IRSs and all CPU interfaces switched
    /// on with no mask. From then on hands out the LPIs of that range.
    ///
    /// The IST is there for good: take a [snapshot](Machine::snapshot) after this and not before.
    ///
    /// # Errors
    ///
    /// [`HostError`]: the hardware has not so many LPIs, there is no memory, or a command does not complete.
    pub fn start(machine: &Machine, lpis: Range<u32>) -> Result<ModelHost, HostError> {
        let idr2: IRS_IDR2 = machine.read(FIRST);
        let limits = IstLimits::from_idr2(idr2)?;
        let last = lpis.end.saturating_sub(1);
        let id_bits = (u32::BITS - last.leading_zeros()).max(limits.min_lpi_id_bits());
        if !limits.has_physical_lpis() || id_bits > limits.id_bits() {
            return Err(HostError::Lpis { last, idr2: idr2.raw_value() });
        }
        let host = ModelHost::on(machine);
        host.make_ist(IstGeometry::linear(id_bits, limits.entry_size(id_bits))?)?;
        host.switch_on()?;
        machine.state().lpis = LpiBooks::new(lpis);
        Ok(host)
    }

    /// A host on a machine as it is, which has no LPIs to hand out.
    #[must_use]
    pub fn on(machine: &Machine) -> ModelHost {
        ModelHost { machine: machine.clone() }
    }

    /// Makes a physical IST of this shape valid, empty (LPI-1).
    ///
    /// # Errors
    ///
    /// [`HostError`]: there is no memory, or the command does not complete.
    pub fn make_ist(&self, ist: IstGeometry) -> Result<(), HostError> {
        let highest = self.machine.read::<IRS_IDR0>(FIRST).pa_range().map_or(56, |range| range.bits());
        let layout = BlockLayout::for_footprint(ist.base(), gicv5_arch::PhysAddr::highest(highest))?;
        let block = self.machine.allocate(layout)?;
        self.machine.write(FIRST, ist.cfgr());
        self.command(IRS_IST_BASER::ZERO.with_addr(ist.base().place(block.address())?).with_valid(true))?;
        Ok(())
    }

    /// Switches all IRSs and all CPU interfaces on, with no mask.
    ///
    /// # Errors
    ///
    /// [`HostError::Stuck`]: a command does not complete.
    pub fn switch_on(&self) -> Result<(), HostError> {
        for irs in 0..self.machine.irs_count() {
            command(&self.machine, IrsIndex(irs), IRS_CR0::ZERO.with_irsen(true))?;
        }
        for cpu in (0..self.machine.pe_count()).filter_map(|pe| self.machine.pe(PeIndex(pe))) {
            let pe = Pe::new(&cpu);
            pe.write(ICC_CR0_EL1::ZERO.with_en(true));
            pe.write_raw(SysReg::ICC_PCR_EL1, 31);
            pe.isb();
        }
        Ok(())
    }

    /// The machine.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Writes a register of the first IRS and waits until the write has finished. Returns what the status register reads
    /// then. It is for tests that make tables by hand.
    ///
    /// # Errors
    ///
    /// [`HostError::Stuck`] if it does not finish in 100 000 polls.
    pub fn command<R: Register<Reg = IrsReg>>(&self, value: R) -> Result<u64, HostError> {
        command(&self.machine, FIRST, value)
    }

    /// Runs `f` on a PE: what the host does meanwhile on this thread, it does there. A thread starts on PE 0. `None` if there
    /// is no such PE.
    pub fn on_pe<R>(&self, pe: PeIndex, f: impl FnOnce(&Pe<'_, ModelPe>) -> R) -> Option<R> {
        let cpu = self.machine.pe(pe)?;
        let _back = Back(HERE.replace(pe));
        Some(f(&Pe::new(&cpu)))
    }

    /// Takes what is pending for a PE, the most urgent first: acknowledges, calls `handler`, drops and deactivates, until
    /// nothing more is pending. Returns how many there were.
    pub fn take_interrupts(&self, pe: PeIndex, mut handler: impl FnMut(Taken)) -> usize {
        let mut taken = 0;
        while let Some(interrupt) = self.take_one(pe, &mut handler) {
            // A level that nobody lowers would be taken for ever.
            taken += 1;
            if matches!(interrupt, IntId::Spi(_) | IntId::Ppi(_)) && taken >= 1_000 {
                break;
            }
        }
        taken
    }

    fn take_one(&self, pe: PeIndex, handler: &mut impl FnMut(Taken)) -> Option<IntId> {
        self.on_pe(pe, |pe| {
            let interrupt = pe.cdia().int_id().or_else(|| pe.cdnmia().int_id())?;
            pe.gsb_ack();
            let record = self.enter(interrupt);
            handler(Taken { interrupt, cookie: record.map(|record| record.cookie) });
            pe.cdeoi();
            pe.cddi(interrupt);
            pe.gsb_sys();
            if let Some(record) = record {
                self.leave(interrupt, record);
            }
            Some(interrupt)
        })
        .flatten()
    }

    /// A handler starts.
    fn enter(&self, interrupt: IntId) -> Option<LpiRecord> {
        let IntId::Lpi(lpi) = interrupt else { return None };
        let mut state = self.machine.state();
        let record = state.lpis.live.get_mut(&lpi)?;
        record.handlers += 1;
        Some(*record)
    }

    /// A handler ends.
    fn leave(&self, interrupt: IntId, entered: LpiRecord) {
        let IntId::Lpi(lpi) = interrupt else { return };
        let mut state = self.machine.state();
        if let Some(record) = state.lpis.live.get_mut(&lpi).filter(|record| record.id == entered.id) {
            record.handlers = record.handlers.saturating_sub(1);
        }
    }

    /// Whether the caller holds an LPI. Reports if it does not.
    fn holds(&self, lpi: &ModelLpi, rule: RuleId, what: &str) -> bool {
        let state = &mut *self.machine.state();
        if state.lpis.held(lpi).is_some() {
            return true;
        }
        let lpi = lpi.lpi;
        state.report.violate(rule, Place::Lpi(lpi), 0, 0, || format!("software that does not hold the LPI {what} it"));
        false
    }

    /// Takes an LPI out of the PEs' reach. True once it is neither pending nor active and no handler runs.
    fn bring_to_rest(&self, lpi: &ModelLpi) -> bool {
        let id = IrsIntId::from(lpi.lpi);
        self.on_this_pe(|pe| {
            pe.cddis(id);
            pe.gsb_sys();
        });
        for n in 0..REST {
            let quiet = self.on_this_pe(|pe| {
                pe.cdpend(id, false);
                pe.gsb_sys();
                pe.cdrcfg(id);
                pe.isb();
                let found: ICC_ICSR_EL1 = pe.read();
                found.f() || !(found.enabled() || found.pending() || found.active())
            });
            if quiet && self.machine.state().lpis.held(lpi).is_none_or(|record| record.handlers == 0) {
                return true;
            }
            self.machine.advance(1);
            // A handler on another thread needs real time.
            match n < 100 {
                true => std::thread::yield_now(),
                false => std::thread::sleep(std::time::Duration::from_micros(100)),
            }
        }
        false
    }
}

/// How many ticks a release waits, the most of which take a tenth of a millisecond.
const REST: u32 = 1_000;

/// How often a command is polled.
const POLLS: u32 = 100_000;

fn command<R: Register<Reg = IrsReg>>(machine: &Machine, irs: IrsIndex, value: R) -> Result<u64, HostError> {
    machine.write(irs, value);
    let Some(register) = R::REG.status() else { return Ok(0) };
    let mut status = 0;
    for _ in 0..POLLS {
        match machine.is_idle(irs, register) {
            (true, value) => return Ok(value),
            (false, value) => status = value,
        }
        machine.advance(1);
    }
    Err(HostError::Stuck { irs, register: R::REG, status })
}

impl CurrentPe for ModelHost {
    type Ops = ModelPe;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, ModelPe>) -> R) -> R {
        f(&Pe::new(&ModelPe::at(&self.machine, HERE.get())))
    }
}

/// The standard library's mutex as the host's lock.
#[derive(Clone, Copy, Debug)]
pub struct StdLocks;

/// The standard library's mutex. One that was poisoned is taken all the same.
#[derive(Debug)]
pub struct StdMutex<T>(Mutex<T>);

impl Locks for StdLocks {
    type Mutex<T: Send> = StdMutex<T>;
}

impl<T: Send> Lock<T> for StdMutex<T> {
    fn new(value: T) -> StdMutex<T> {
        StdMutex(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Platform for ModelHost {
    type Irs = Machine;
    type Memory = Machine;
    type CurrentPe = ModelHost;
    type Wait = Machine;
    type Locks = StdLocks;

    fn irs(&self) -> &Machine {
        &self.machine
    }

    fn memory(&self) -> &Machine {
        &self.machine
    }

    fn current_pe(&self) -> &ModelHost {
        self
    }

    fn wait(&self) -> &Machine {
        &self.machine
    }

    /// Yes, unless the [fault plan](crate::fault) says no.
    fn may_allocate(&self, bytes: usize) -> bool {
        self.machine.pass_fault_point(Request::Heap { size: bytes as u64 }).is_none()
    }
}

/// Each request for an LPI, and each release, is a [fault point](crate::fault). A release that is refused leaves the LPI
/// disabled.
impl HostLpis for ModelHost {
    type Lpi = ModelLpi;

    fn allocate(&self, cookie: Cookie) -> Result<ModelLpi, LpiError> {
        let owned = {
            let state = &mut *self.machine.state();
            if state.faults.pass(&mut state.report, Request::Lpi { cookie }).is_some() {
                return Err(LpiError::NoneFree);
            }
            state.lpis.take(cookie).ok_or(LpiError::NoneFree)?
        };
        let id = IrsIntId::from(owned.lpi);
        self.on_this_pe(|pe| {
            pe.cddis(id);
            pe.cdhm(id, HandlingMode::Edge);
            if let Ok(priority) = Priority::new(PRIORITY) {
                pe.cdpri(id, priority);
            }
            pe.cdaff(id, pe.iaffid());
            pe.cdpend(id, false);
            pe.gsb_sys();
        });
        Ok(owned)
    }

    fn lpi(&self, lpi: &ModelLpi) -> Lpi {
        lpi.lpi
    }

    fn enable(&self, lpi: &ModelLpi) {
        if self.holds(lpi, rules::POOL_2, "enables") {
            self.on_this_pe(|pe| pe.cden(lpi.lpi.into()));
        }
    }

    fn route(&self, lpi: &ModelLpi, to: Route) {
        if self.holds(lpi, rules::POOL_2, "routes") {
            self.on_this_pe(|pe| {
                let target = match to {
                    Route::To(target) => target,
                    Route::ThisPe => pe.iaffid(),
                };
                pe.cdaff(lpi.lpi.into(), target);
            });
        }
    }

    fn release(&self, lpi: ModelLpi) -> Result<(), NotReleased<ModelLpi>> {
        if !self.holds(&lpi, rules::POOL_1, "releases") {
            return Ok(());
        }
        let refused = self.machine.pass_fault_point(Request::LpiRelease { lpi: lpi.lpi }).is_some();
        if !self.bring_to_rest(&lpi) || refused {
            return Err(NotReleased { lpi });
        }
        let state = &mut *self.machine.state();
        state.judge_release(lpi.lpi);
        state.lpis.give(lpi.lpi);
        Ok(())
    }
}

impl MachineState {
    /// Reports an LPI that is given back while a VPE may still ring it (DB-25).
    fn judge_release(&mut self, lpi: Lpi) {
        if let Some((vm, vpe)) = self.virt.doorbells.rung_by(lpi).next() {
            self.report.violate(rules::DB_25, Place::Lpi(lpi), 0, 0, || {
                format!("the LPI was released while {vm} is valid and {vpe} of it may still ring it")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::config::MachineConfig;
    use crate::words::fault::Fault;
    use gicv5_arch::Iaffid;

    fn host(lpis: Range<u32>) -> ModelHost {
        let machine = Machine::new(MachineConfig::new(2, 0)).unwrap();
        ModelHost::start(&machine, lpis).unwrap()
    }

    /// The same LPI a second time, as only software that is not Rust could have it.
    fn duplicate(lpi: &ModelLpi) -> ModelLpi {
        ModelLpi { ..*lpi }
    }

    fn rules(host: &ModelHost) -> Vec<&'static str> {
        host.machine.take_violations().into_iter().map(|violation| violation.rule).collect()
    }

    fn ring(host: &ModelHost, lpi: &ModelLpi) {
        host.on_this_pe(|pe| {
            pe.cdpend(lpi.lpi.into(), true);
            pe.gsb_sys();
        });
    }

    #[test]
    fn an_lpi_is_taken_on_the_pe_it_is_routed_to_and_gives_its_cookie_back() {
        let host = host(100..102);
        let (one, two) = (host.allocate(Cookie(11)).unwrap(), host.allocate(Cookie(22)).unwrap());
        assert_eq!([host.lpi(&one).id(), host.lpi(&two).id()], [100, 101]);
        assert_eq!(host.allocate(Cookie(33)), Err(LpiError::NoneFree));
        for lpi in [&one, &two] {
            host.enable(lpi);
            ring(&host, lpi);
        }
        host.on_pe(PeIndex(1), |pe| {
            host.route(&two, Route::ThisPe);
            pe.gsb_sys();
        });
        for (pe, cookie, id) in [(0, 11, 100), (1, 22, 101)] {
            let mut taken = Vec::new();
            assert_eq!(host.take_interrupts(PeIndex(pe), |interrupt| taken.push(interrupt)), 1);
            let interrupt = IntId::Lpi(Lpi::new(id).unwrap());
            assert_eq!(taken, [Taken { interrupt, cookie: Some(Cookie(cookie)) }], "RTE-1");
        }
        assert!(host.on_pe(PeIndex(2), |_| ()).is_none());
        host.route(&two, Route::To(Iaffid::new(0)));
        ring(&host, &two);
        assert_eq!((host.take_interrupts(PeIndex(1), |_| ()), host.take_interrupts(PeIndex(0), |_| ())), (0, 1));
        assert_eq!(rules(&host), [""; 0]);
    }

    #[test]
    fn an_lpi_is_disabled_at_first_and_at_rest_when_it_is_released_and_then_somebody_elses() {
        // DB-25.
        let host = host(0..8);
        let lpi = host.allocate(Cookie(1)).unwrap();
        ring(&host, &lpi);
        assert_eq!(host.take_interrupts(PeIndex(0), |_| ()), 0);
        host.enable(&lpi);
        host.machine.advance(100);
        assert!(host.machine.signals(PeIndex(0)).irq, "SYN-4");
        host.release(lpi).unwrap();
        assert!(!host.machine.signals(PeIndex(0)).irq);
        let again = host.allocate(Cookie(2)).unwrap();
        assert_eq!(host.lpi(&again).id(), 0, "a released number is used again at once");
        host.enable(&again);
        host.machine.advance(100);
        assert_eq!(host.take_interrupts(PeIndex(0), |_| ()), 0, "it is not pending");
        assert_eq!(rules(&host), [""; 0]);
    }

    #[test]
    fn a_release_waits_for_the_handler_on_another_pe() {
        let host = host(0..8);
        let lpi = host.allocate(Cookie(1)).unwrap();
        host.enable(&lpi);
        ring(&host, &lpi);
        let (entered, enters) = std::sync::mpsc::channel();
        let (leave, leaves) = std::sync::mpsc::channel::<()>();
        let other = host.clone();
        let thread = std::thread::spawn(move || {
            other.take_interrupts(PeIndex(0), |_| {
                entered.send(()).unwrap();
                leaves.recv().unwrap();
            })
        });
        enters.recv().unwrap();
        let lpi = host.release(lpi).expect_err("a handler runs").lpi;
        leave.send(()).unwrap();
        assert_eq!(thread.join().unwrap(), 1);
        host.release(lpi).expect("no handler runs");
    }

    #[test]
    fn whoever_uses_or_releases_what_is_not_his_is_reported_and_nothing_happens() {
        let host = host(0..8);
        let lpi = host.allocate(Cookie(1)).unwrap();
        let twin = duplicate(&lpi);
        let late = duplicate(&lpi);
        host.release(lpi).unwrap();
        let next = host.allocate(Cookie(2)).unwrap();
        assert_eq!(rules(&host), [""; 0], "a release and a new owner are as it should be");
        host.enable(&twin);
        host.route(&twin, Route::ThisPe);
        host.release(twin).unwrap();
        assert_eq!(rules(&host), ["POOL-2", "POOL-2", "POOL-1"]);
        host.machine.advance(100);
        assert!(!host.machine.interrupt(next.lpi.into()).unwrap().enable());
        // In another machine nobody knows it.
        let elsewhere = super::ModelHost::start(&Machine::new(MachineConfig::new(1, 0)).unwrap(), 0..8).unwrap();
        elsewhere.release(late).unwrap();
        assert_eq!(rules(&elsewhere), ["POOL-1"]);
        host.release(next).unwrap();
        assert_eq!(rules(&host), [""; 0]);
    }

    #[test]
    fn requests_and_releases_are_fault_points() {
        let host = host(0..8);
        host.machine.record_fault_points();
        host.machine.fault_next(Fault::Refused);
        assert_eq!(host.allocate(Cookie(7)), Err(LpiError::NoneFree));
        let lpi = host.allocate(Cookie(7)).unwrap();
        host.enable(&lpi);
        host.machine.fault_next(Fault::Refused);
        let lpi = host.release(lpi).expect_err("it was refused").lpi;
        assert!(!host.machine.interrupt(lpi.lpi.into()).unwrap().enable(), "but it is disabled");
        host.release(lpi).unwrap();
        let names: Vec<_> = host.machine.take_fault_points().iter().map(|point| point.request.to_string()).collect();
        let request = "an LPI with cookie 0x7";
        assert_eq!(names, [request, request, "release of LPI 0", "release of LPI 0"]);
    }

    #[test]
    fn heap_is_refused_when_that_is_planned_and_not_otherwise() {
        let host = host(0..8);
        host.machine.fault_next(Fault::Refused);
        assert_eq!([host.may_allocate(24), host.may_allocate(24)], [false, true]);
        let struck = host.machine.take_struck_faults();
        assert_eq!(struck.iter().map(|(point, _)| point.request).collect::<Vec<_>>(), [Request::Heap { size: 24 }]);
    }

    #[test]
    fn a_host_that_cannot_start_says_why() {
        let machine = |change: &dyn Fn(&mut MachineConfig)| {
            let mut config = MachineConfig::new(1, 0);
            change(&mut config);
            Machine::new(config).unwrap()
        };
        let few =
            machine(&|config| config.irses[0].idr2 = config.irses[0].idr2.with_id_bits(arbitrary_int::u5::new(10)));
        assert!(ModelHost::start(&few, 0..1 << 10).is_ok());
        let error = ModelHost::start(&few, 0..(1 << 10) + 1).unwrap_err();
        assert!(matches!(error, HostError::Lpis { last: 1024, .. }), "{error}");
        let stuck = machine(&|_| ());
        stuck.fault_next(Fault::Never);
        let error = ModelHost::start(&stuck, 0..8).unwrap_err();
        assert!(matches!(error, HostError::Stuck { register: IrsReg::IRS_IST_BASER, status: 0, .. }), "{error}");
        let poor = machine(&|_| ());
        poor.fault_next(Fault::Refused);
        assert!(matches!(ModelHost::start(&poor, 0..8), Err(HostError::Memory(_))));
    }
}
