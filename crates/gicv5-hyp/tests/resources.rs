//! What the library takes of its host: heap, which it asks for first and can do without, and locks, under which it does
//! little. Every allocation of the library, every lock and every call of the host are seen: the model's own are told apart by
//! being made inside of such a call.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::error::Error;
use std::ops::Range;
use std::ptr::null_mut;
use std::thread::LocalKey;
use std::time::Duration;

use common::{SHAPES, SPEC, Shape, VPES, vpes};
use gicv5_arch::{Lpi, VpeId};
use gicv5_hal::{
    AllocError, BlockLayout, Coherency, Cookie, CurrentPe, Frame, HostLpis, Irs, IrsIndex, Lock, Locks, LpiError,
    NotReleased, Pe, Platform, Route, TableMemory, Wait,
};
use gicv5_hyp::{Host, Hypervisor, VcpuIndex, VmSpec};
use gicv5_model::PeIndex;
use gicv5_model::host::ModelLpi;
use gicv5_model::memory::ModelBlock;
use gicv5_model::{Machine, ModelHost};

thread_local! {
    /// The library is at work, and not the host on its behalf.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// The bytes that the library has asked for and has not taken yet.
    static PERMIT: Cell<usize> = const { Cell::new(0) };
    /// Allocations of the library.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Those that it has not asked for, or that are larger than what it asked for.
    static UNASKED: Cell<u64> = const { Cell::new(0) };
    /// How many of them still succeed.
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    /// Bytes that the library has.
    static LIVE: Cell<i64> = const { Cell::new(0) };
    /// Locks that are held.
    static HELD: Cell<u64> = const { Cell::new(0) };
    /// Accesses to table memory, maintenance and barriers since a lock was taken, and the most so far.
    static TOUCHED: Cell<u64> = const { Cell::new(0) };
    static MOST_TOUCHED: Cell<u64> = const { Cell::new(0) };
    /// What must not be under a lock, and was.
    static WRONG: Cell<Option<&'static str>> = const { Cell::new(None) };
}

fn add(counter: &'static LocalKey<Cell<u64>>) {
    counter.set(counter.get() + 1);
}

/// Something that must not be done with a lock held.
fn without_a_lock(what: &'static str) {
    if HELD.get() > 0 && WRONG.get().is_none() {
        WRONG.set(Some(what));
    }
}

/// The host is at work.
fn outside<R>(f: impl FnOnce() -> R) -> R {
    let before = INSIDE.replace(false);
    let result = f();
    INSIDE.set(before);
    result
}

/// The library is at work.
fn inside<R>(f: impl FnOnce() -> R) -> R {
    let before = INSIDE.replace(true);
    let result = f();
    INSIDE.set(before);
    result
}

struct Allocator;

// SAFETY: everything is handed on to the system's allocator, or refused.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if INSIDE.get() {
            without_a_lock("an allocation");
            add(&ALLOCATIONS);
            if PERMIT.replace(0) < layout.size() {
                add(&UNASKED);
            }
            if LEFT.get() == 0 {
                return null_mut();
            }
            LEFT.set(LEFT.get() - 1);
            LIVE.set(LIVE.get() + layout.size() as i64);
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if INSIDE.get() {
            without_a_lock("a deallocation");
            LIVE.set(LIVE.get() - layout.size() as i64);
        }
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

struct SeenLocks;
struct SeenLock<T>(std::sync::Mutex<T>);

impl Locks for SeenLocks {
    type Mutex<T: Send> = SeenLock<T>;
}

impl<T: Send> Lock<T> for SeenLock<T> {
    fn new(value: T) -> SeenLock<T> {
        SeenLock(std::sync::Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.lock().unwrap();
        if HELD.get() == 0 {
            TOUCHED.set(0);
        }
        HELD.set(HELD.get() + 1);
        let result = f(&mut value);
        HELD.set(HELD.get() - 1);
        MOST_TOUCHED.set(MOST_TOUCHED.get().max(TOUCHED.get()));
        result
    }
}

/// The model, as a host that sees what it is asked for.
#[derive(Clone)]
struct Seen {
    machine: Machine,
    host: ModelHost,
}

impl Seen {
    fn new(shape: Shape) -> Seen {
        let machine = Machine::new(shape.config()).unwrap();
        let host = ModelHost::start(&machine, 0..2048).unwrap();
        Seen { machine, host }
    }

    fn memory<R>(f: impl FnOnce() -> R) -> R {
        add(&TOUCHED);
        outside(f)
    }

    fn register<R>(f: impl FnOnce() -> R) -> R {
        without_a_lock("an access to a register of the IRS");
        outside(f)
    }

    fn lpi<R>(f: impl FnOnce() -> R) -> R {
        without_a_lock("a call of the supply of LPIs");
        outside(f)
    }
}

// SAFETY: everything is handed on to the model, whose promise this is.
unsafe impl TableMemory for Seen {
    type Block = ModelBlock;

    fn allocate(&self, layout: BlockLayout) -> Result<ModelBlock, AllocError> {
        without_a_lock("an allocation of table memory");
        outside(|| self.machine.allocate(layout))
    }

    fn free(&self, block: ModelBlock) {
        without_a_lock("a return of table memory");
        outside(|| self.machine.free(block));
    }

    fn load32(&self, block: &ModelBlock, offset: u64) -> u32 {
        Seen::memory(|| self.machine.load32(block, offset))
    }

    fn store32(&self, block: &ModelBlock, offset: u64, value: u32) {
        Seen::memory(|| self.machine.store32(block, offset, value));
    }

    fn load64(&self, block: &ModelBlock, offset: u64) -> u64 {
        Seen::memory(|| self.machine.load64(block, offset))
    }

    fn store64(&self, block: &ModelBlock, offset: u64, value: u64) {
        Seen::memory(|| self.machine.store64(block, offset, value));
    }

    fn coherency(&self, irs: IrsIndex) -> Coherency {
        outside(|| self.machine.coherency(irs))
    }

    fn cache_line(&self) -> u64 {
        outside(|| self.machine.cache_line())
    }

    fn clean_invalidate(&self, block: &ModelBlock, bytes: Range<u64>) {
        Seen::memory(|| self.machine.clean_invalidate(block, bytes));
    }

    fn invalidate(&self, block: &ModelBlock, bytes: Range<u64>) {
        Seen::memory(|| self.machine.invalidate(block, bytes));
    }

    fn barrier(&self) {
        Seen::memory(|| self.machine.barrier());
    }
}

impl Irs for Seen {
    fn read32(&self, frame: Frame, offset: u16) -> u32 {
        Seen::register(|| self.machine.read32(frame, offset))
    }

    fn write32(&self, frame: Frame, offset: u16, value: u32) {
        Seen::register(|| self.machine.write32(frame, offset, value));
    }

    fn read64(&self, frame: Frame, offset: u16) -> u64 {
        Seen::register(|| self.machine.read64(frame, offset))
    }

    fn write64(&self, frame: Frame, offset: u16, value: u64) {
        Seen::register(|| self.machine.write64(frame, offset, value));
    }
}

impl Wait for Seen {
    fn relax(&self) {
        without_a_lock("a wait");
        outside(|| Wait::relax(&self.machine));
    }

    fn now(&self) -> Duration {
        without_a_lock("a look at the clock");
        outside(|| Wait::now(&self.machine))
    }
}

impl CurrentPe for Seen {
    type Ops = <ModelHost as CurrentPe>::Ops;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, Self::Ops>) -> R) -> R {
        without_a_lock("something on a PE");
        outside(|| self.host.on_this_pe(f))
    }
}

impl HostLpis for Seen {
    type Lpi = ModelLpi;

    fn allocate(&self, cookie: Cookie) -> Result<ModelLpi, LpiError> {
        Seen::lpi(|| self.host.allocate(cookie))
    }

    fn lpi(&self, lpi: &ModelLpi) -> Lpi {
        outside(|| self.host.lpi(lpi))
    }

    fn enable(&self, lpi: &ModelLpi) {
        Seen::lpi(|| self.host.enable(lpi));
    }

    fn route(&self, lpi: &ModelLpi, to: Route) {
        Seen::lpi(|| self.host.route(lpi, to));
    }

    fn release(&self, lpi: ModelLpi) -> Result<(), NotReleased<ModelLpi>> {
        Seen::lpi(|| self.host.release(lpi))
    }
}

impl Platform for Seen {
    type Irs = Seen;
    type Memory = Seen;
    type CurrentPe = Seen;
    type Wait = Seen;
    type Locks = SeenLocks;

    fn irs(&self) -> &Seen {
        self
    }

    fn memory(&self) -> &Seen {
        self
    }

    fn current_pe(&self) -> &Seen {
        self
    }

    fn wait(&self) -> &Seen {
        self
    }

    fn may_allocate(&self, bytes: usize) -> bool {
        without_a_lock("a question for heap");
        PERMIT.set(bytes);
        true
    }
}

impl Hypervisor for Seen {
    type Lpis = Seen;

    fn lpis(&self) -> &Seen {
        self
    }
}

/// Everything that a host does, on a host that may have been through it before. What fails is left to be settled.
fn life(host: &Host<Seen>, pe: &gicv5_model::ModelPe, vpes: &[VpeId]) -> Result<(), Box<dyn Error>> {
    let spec = VmSpec { vpes, ..SPEC };
    inside(|| host.bring_up())?;
    let (mut first, mut second) = (host.new_vm(), host.new_vm());
    let outcome = (|| -> Result<(), Box<dyn Error>> {
        inside(|| first.init(&spec))?;
        inside(|| second.init(&VmSpec::new(&VPES[..1])))?;
        inside(|| first.create_lpi_ist(16))?;
        let references: Result<Vec<_>, _> = (0..20).map(|_| inside(|| first.refer())).collect();
        references?.into_iter().for_each(|reference| inside(|| drop(reference)));
        inside(|| first.reset_vcpu(VcpuIndex(0)))?;
        let pe = Pe::new(pe);
        outside(|| first.load(&pe, VcpuIndex(0)))?;
        outside(|| first.put(&pe, VcpuIndex(0)))?;
        inside(|| first.remove_lpi_ist())?;
        inside(|| first.tear_down())?;
        Ok(())
    })();
    inside(|| drop((first, second)));
    inside(|| host.holdings());
    outcome?;
    inside(|| host.reap())?;
    inside(|| host.reclaim())?;
    inside(|| host.shut_down())?;
    Ok(())
}

#[test]
fn every_allocation_is_asked_for_first_and_one_that_fails_anywhere_is_an_error_that_leaves_nothing() {
    for shape in SHAPES {
        // How many there are: of the host itself, and of a life.
        let mut counts = Vec::new();
        for fails_at in 0_u64.. {
            let seen = Seen::new(shape);
            let cpu = seen.machine.pe(PeIndex(0)).unwrap();
            let before = seen.machine.snapshot();
            ALLOCATIONS.set(0);
            UNASKED.set(0);
            LIVE.set(0);
            // The first run counts.
            LEFT.set(fails_at.checked_sub(1).unwrap_or(u64::MAX));
            let host = inside(|| Host::new(seen.clone(), &shape.host_config()));
            let context = format!("{shape:?}, allocation {fails_at} fails");
            match host {
                Err(error) => {
                    LEFT.set(u64::MAX);
                    assert_eq!(error, gicv5_hyp::ProbeError::NoMemory, "{context}");
                }
                Ok(host) => {
                    let outcome = life(&host, &cpu, &VPES);
                    counts.push(ALLOCATIONS.get());
                    LEFT.set(u64::MAX);
                    if fails_at == 0 {
                        outcome.unwrap();
                    } else {
                        let text = format!("{:?}", outcome.expect_err(&context));
                        assert!(text.contains("Records") || text.contains("NoMemory"), "{context}: {text}");
                    }
                    inside(|| host.reap()).unwrap();
                    inside(|| host.reclaim()).unwrap();
                    inside(|| host.shut_down()).unwrap();
                    life(&host, &cpu, &VPES).unwrap_or_else(|error| panic!("{context}: and then {error}"));
                    inside(|| drop(host));
                }
            }
            assert_eq!(UNASKED.get(), 0, "{context}: allocations that the host was not asked for");
            assert_eq!(LIVE.get(), 0, "{context}: bytes are left");
            let account = seen.machine.account(&before);
            assert!(account.is_clean(), "{context}: {account:#?}");
            if fails_at == counts[0] {
                break;
            }
        }
        assert!(counts[0] >= 12, "{shape:?}: {}", counts[0]);
    }
}

/// Register accesses, waits, allocations, LPIs: all of it is done without a lock. Under one, an entry of a table is edited.
#[test]
fn under_a_lock_at_most_one_entry_of_a_table_is_touched() {
    let many: Vec<u16> = (0..200).collect();
    let many: [VpeId; 200] = vpes(many.try_into().unwrap());
    for (shape, most) in SHAPES.into_iter().zip([6, 6, 12, 12]) {
        for vpes in [&VPES[..1], &many[..]] {
            let seen = Seen::new(shape);
            let cpu = seen.machine.pe(PeIndex(0)).unwrap();
            WRONG.set(None);
            MOST_TOUCHED.set(0);
            let host = inside(|| Host::new(seen.clone(), &shape.host_config())).unwrap();
            life(&host, &cpu, vpes).unwrap();
            assert_eq!(WRONG.get(), None, "{shape:?}: under a lock");
            assert_eq!(MOST_TOUCHED.get(), most, "{shape:?}: accesses, maintenance and barriers, {} vCPUs", vpes.len());
        }
    }
}
