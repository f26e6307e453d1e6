//! The running path takes no lock, allocates nothing, and takes the same steps whatever there is: with locks that count, an
//! allocator that counts, and a PE that counts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::board::{Board, Watch};
use common::{SHAPES, SPEC, vpes};
use gicv5_arch::insn::GicInsn;
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{ICH_CONTEXTR_EL2, ICH_VMCR_EL2, SysReg};
use gicv5_arch::{IntId, Lpi, Ppi, Priority, Spi, VpeId};
use gicv5_hal::{Cookie, HostLpis, Lock, Locks, LpiError, NotReleased, Pe, PeOps, Route};
use gicv5_hyp::{Host, Idle, Pending, PpiMask, VcpuIndex, Vm, VmSpec, WithLpis};
use gicv5_model::ModelHost;
use gicv5_model::host::ModelLpi;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LOCKS: Cell<u64> = const { Cell::new(0) };
    static STEPS: Cell<u64> = const { Cell::new(0) };
    static COOKIE: Cell<u64> = const { Cell::new(u64::MAX) };
}

fn count(counter: &'static std::thread::LocalKey<Cell<u64>>) {
    counter.set(counter.get() + 1);
}

struct Counting;

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(&ALLOCATIONS);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(&ALLOCATIONS);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Locks that count how often they are taken.
struct CountingLocks;
struct CountingLock<T>(std::sync::Mutex<T>);

impl Locks for CountingLocks {
    type Mutex<T: Send> = CountingLock<T>;
}

impl<T: Send> Lock<T> for CountingLock<T> {
    fn new(value: T) -> CountingLock<T> {
        CountingLock(std::sync::Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        count(&LOCKS);
        f(&mut self.0.lock().unwrap())
    }
}

/// A hypervisor on the model, except for its locks, and for routing, which does nothing.
type Counted = WithLpis<Board<CountsLocks, ModelHost>, Quiet>;

#[derive(Clone)]
struct CountsLocks;

impl Watch for CountsLocks {
    type Locks = CountingLocks;
}

struct Quiet(ModelHost);

impl HostLpis for Quiet {
    type Lpi = ModelLpi;

    fn allocate(&self, cookie: Cookie) -> Result<ModelLpi, LpiError> {
        COOKIE.set(cookie.0);
        self.0.allocate(cookie)
    }

    fn lpi(&self, lpi: &ModelLpi) -> Lpi {
        self.0.lpi(lpi)
    }

    fn enable(&self, lpi: &ModelLpi) {
        self.0.enable(lpi);
    }

    fn route(&self, _lpi: &ModelLpi, _to: Route) {
        count(&STEPS);
    }

    fn release(&self, lpi: ModelLpi) -> Result<(), NotReleased<ModelLpi>> {
        self.0.release(lpi)
    }
}

/// A PE whose guest takes everything and has everything pending.
struct CountedPe {
    contextr: Cell<u64>,
}

impl PeOps for CountedPe {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        count(&STEPS);
        match register {
            ICH_CONTEXTR_EL2::REG => self.contextr.get(),
            ICH_VMCR_EL2::REG => ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(Priority::LEAST_URGENT).raw_value(),
            _ => 0,
        }
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        count(&STEPS);
        if register == ICH_CONTEXTR_EL2::REG {
            self.contextr.set(value);
        }
    }

    fn gic(&self, _insn: GicInsn, _xt: u64) -> u64 {
        count(&STEPS);
        0
    }

    fn isb(&self) {
        count(&STEPS);
    }

    fn dsb(&self) {
        count(&STEPS);
    }
}

/// What each call of a vCPU's round does, in steps of the PE, and that it does nothing else.
fn round(host: &Host<Counted>, vm: &Vm<'_, Counted>, vcpu: VcpuIndex, cookie: Cookie) -> Vec<(&'static str, u64)> {
    let pe = CountedPe { contextr: Cell::new(0) };
    let pe = Pe::new(&pe);
    let mut steps = Vec::with_capacity(16);
    let mut call = |what, f: &mut dyn FnMut()| {
        let before = [&LOCKS, &ALLOCATIONS, &STEPS].map(|counter| counter.get());
        f();
        let after = [&LOCKS, &ALLOCATIONS, &STEPS].map(|counter| counter.get());
        assert_eq!(after[0], before[0], "{what} takes a lock");
        assert_eq!(after[1], before[1], "{what} allocates or frees");
        steps.push((what, after[2] - before[2]));
    };
    call("load", &mut || vm.load(&pe, vcpu).unwrap());
    call("load again", &mut || vm.load(&pe, vcpu).unwrap());
    call("put", &mut || vm.put(&pe, vcpu).unwrap());
    call("put again", &mut || vm.put(&pe, vcpu).unwrap());
    call("load", &mut || vm.load(&pe, vcpu).unwrap());
    call("idle", &mut || assert_eq!(vm.idle(&pe, vcpu), Ok(Idle::Sleep)));
    call("has_pending", &mut || assert_eq!(vm.has_pending(vcpu), Ok(false)));
    call("doorbell", &mut || assert!(host.doorbell(cookie).is_some()));
    call("late doorbell", &mut || assert!(host.doorbell(cookie).is_none()));
    call("has_pending", &mut || assert_eq!(vm.has_pending(vcpu), Ok(true)));
    call("inject", &mut || vm.inject(&pe, IntId::Spi(Spi::new(1).unwrap()), Pending::Set).unwrap());
    call("set_ppi", &mut || assert!(vm.set_ppi(vcpu, Ppi::SW_PPI, Pending::Set).is_ok()));
    call("refused inject", &mut || assert!(vm.inject(&pe, IntId::Ppi(Ppi::SW_PPI), Pending::Set).is_err()));
    steps
}

/// Design: the doorbell path, load and put take no lock, allocate nothing and are O(1).
#[test]
fn load_put_idle_doorbell_and_inject_take_no_lock_and_allocate_nothing() {
    let lab = SHAPES[0].lab();
    let platform = Board { machine: lab.machine, host: lab.host.clone(), watch: CountsLocks };
    let host = Host::new(WithLpis { platform, lpis: Quiet(lab.host) }, &SHAPES[0].host_config()).unwrap();
    host.bring_up().unwrap();
    let locks = LOCKS.get();
    assert!(locks > 0, "the locks count");
    let spec = VmSpec { ppis: PpiMask::EMPTY.with(Ppi::SW_PPI), ..SPEC };
    let mut vm = host.new_vm();
    vm.init(&spec).unwrap();
    assert!(LOCKS.get() > locks && ALLOCATIONS.get() > 0, "init takes locks and allocates");
    // The cookie of the last vCPU.
    let few = round(&host, &vm, VcpuIndex(2), Cookie(COOKIE.get()));
    assert_eq!(few[1], ("load again", 1), "a second load looks where it is, and that is all");

    // A VM with many more vCPUs, on a host with many more VMs.
    let ids: Vec<u16> = (0..300).collect();
    let ids: [VpeId; 300] = vpes(ids.try_into().unwrap());
    let mut big = host.new_vm();
    big.init(&VmSpec { vpes: &ids, ..spec }).unwrap();
    let mut others: Vec<_> = (0..50).map(|_| host.new_vm()).collect();
    for other in &mut others {
        other.init(&VmSpec { vpes: &ids[..1], ..spec }).unwrap();
    }
    let cookie = COOKIE.get();
    let mut last = host.new_vm();
    last.init(&VmSpec { vpes: &ids[..3], ..spec }).unwrap();
    assert_ne!(COOKIE.get(), cookie);
    assert_eq!(round(&host, &last, VcpuIndex(2), Cookie(COOKIE.get())), few, "the same steps, whatever there is");
    for (what, steps) in few {
        println!("{what}: {steps} accesses, instructions and barriers");
    }
}
