//! What the library costs, for counting instructions.
//!
//! `cost HARDWARE WORKLOAD N COUNT`, where HARDWARE is `nothing` (hardware that does nothing and is always done) or `model`.
//! `cargo xtask bench` counts what is executed in [`measured`], which is the workload COUNT times, without what leads up to
//! it, and in [`held`].
//!
//! | workload | |
//! |---|---|
//! | `life N` | make and unmake a VM with N vCPUs |
//! | `crowd N` | make and unmake a VM with one vCPU while N others are there |
//! | `everybody N` | make N VMs with one vCPU each, and unmake them all |
//! | `load N`, `put N`, `idle N` | of one vCPU of a VM with N |
//! | `doorbell N` | its doorbell rings: whom to wake |
//! | `inject N` | make an LPI of the VM pending |
//! | `complete N` | complete that |
//!
//! Three print what they find: `cost nothing heap N` how many bytes of heap N VMs with one vCPU take, `cost model accesses N`
//! the register accesses that making and unmaking a VM with N vCPUs takes, and `cost HARDWARE locks N`, which does everything that
//! takes a lock with VMs of N vCPUs, how many times one was taken.
#![allow(clippy::print_stdout, reason = "a measurement is for whoever runs it")]

#[path = "../../../gicv5-model/examples/counting/mod.rs"]
mod counting;
mod model;
mod nothing;

use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use gicv5_arch::{IntId, IrsIntId, Lpi, VpeId};
use gicv5_hal::{Cookie, IrsIndex, Lock, Locks, Pe, PeOps};
use gicv5_hyp::{Config, Host, Hypervisor, Idle, Pending, VcpuIndex, Vm, VmSpec};

use counting::LIVE;
use model::Model;
use nothing::Nothing;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// LPIs of the host: a doorbell each for 65 536 VMs with one vCPU, and for one more VM.
const LPIS: u32 = 1 << 17;

/// Bits of the IDs of a VM's LPIs.
const LPI_ID_BITS: u32 = 14;

/// Hardware and hypervisor to measure on, with one PE.
trait Stage: Hypervisor {
    type Ops: PeOps;

    /// The PE.
    fn ops(&self) -> &Self::Ops;

    /// The guest that is resident sets itself up to take an interrupt, on its VPE 0.
    fn boot_guest(&self, id: IrsIntId);

    /// Takes the doorbell of the vCPU that sleeps and has something to be woken for.
    fn take_doorbell(&self) -> Option<Cookie>;

    /// No rule has been broken.
    fn is_clean(&self) -> bool;
}

/// What is counted.
#[inline(never)]
fn measured<R>(f: impl FnOnce() -> R) -> R {
    let result = f();
    // The call above is none that ends this function.
    black_box(&result);
    result
}

/// A lock has been taken.
#[inline(never)]
fn taken() {
    TAKEN.fetch_add(1, Ordering::Relaxed);
}

/// What happens while it is held.
#[inline(never)]
fn held<R>(f: impl FnOnce() -> R) -> R {
    let result = f();
    black_box(&result);
    result
}

static TAKEN: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicBool = AtomicBool::new(false);
/// A lock was taken while another was held, so that the time of neither is known.
static NESTED: AtomicBool = AtomicBool::new(false);

struct WatchedLocks;
struct WatchedLock<T>(Mutex<T>);

impl Locks for WatchedLocks {
    type Mutex<T: Send> = WatchedLock<T>;
}

impl<T: Send> Lock<T> for WatchedLock<T> {
    fn new(value: T) -> Self {
        WatchedLock(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        NESTED.fetch_or(HELD.swap(true, Ordering::Relaxed), Ordering::Relaxed);
        taken();
        let result = held(|| f(&mut value));
        HELD.store(false, Ordering::Relaxed);
        result
    }
}

fn host<S: Stage>(stage: S) -> Outcome<Host<S>> {
    // Small contiguous blocks, so that a VM table for so many has two levels.
    let host = Host::new(stage, &Config { contiguous_bytes: 4096, ..Config::new(IrsIndex(0), 1 << 16, LPIS) })?;
    host.bring_up()?;
    Ok(host)
}

fn vpes(count: u64) -> Outcome<Vec<VpeId>> {
    (0..count).map(|n| Ok(VpeId::new(u16::try_from(n)?))).collect()
}

fn lives<H: Hypervisor>(vm: &mut Vm<'_, H>, spec: &VmSpec<'_>, count: u64) -> Outcome<()> {
    for _ in 0..count {
        vm.init(spec)?;
        vm.tear_down()?;
    }
    Ok(())
}

fn inits<H: Hypervisor>(vms: &mut [Vm<'_, H>], spec: &VmSpec<'_>) -> Outcome<()> {
    vms.iter_mut().try_for_each(|vm| Ok(vm.init(spec)?))
}

fn make<S: Stage>(host: &Host<S>, workload: &str, n: u64, count: u64) -> Outcome<()> {
    let one = vpes(1)?;
    let one = VmSpec::new(&one);
    let mut vm = host.new_vm();
    match workload {
        "life" => {
            let vpes = vpes(n)?;
            let spec = VmSpec::new(&vpes);
            // The first time makes the level-2 table, and what else stays.
            lives(&mut vm, &spec, 1)?;
            measured(|| lives(&mut vm, &spec, count))
        }
        "crowd" => {
            let mut others: Vec<_> = (0..n).map(|_| host.new_vm()).collect();
            inits(&mut others, &one)?;
            lives(&mut vm, &one, 1)?;
            measured(|| lives(&mut vm, &one, count))?;
            others.iter_mut().try_for_each(|other| Ok(other.tear_down()?))
        }
        _ => {
            let mut everybody: Vec<_> = (0..n).map(|_| host.new_vm()).collect();
            measured(|| {
                for _ in 0..count {
                    inits(&mut everybody, &one)?;
                    everybody.iter_mut().try_for_each(|vm| vm.tear_down())?;
                }
                Ok(())
            })
        }
    }
}

/// Loads the first vCPU, puts it to sleep, and has its doorbell wake it, again and again. What is measured is one of the steps.
fn run<S: Stage>(host: &Host<S>, workload: &str, n: u64, count: u64) -> Outcome<()> {
    let vpes = vpes(n)?;
    let mut vm = host.new_vm();
    vm.init(&VmSpec::new(&vpes))?;
    vm.create_lpi_ist(LPI_ID_BITS)?;
    let pe = Pe::new(host.hypervisor().ops());
    let (vcpu, lpi) = (VcpuIndex(0), Lpi::new(7)?);
    vm.load(&pe, vcpu)?;
    host.hypervisor().boot_guest(lpi.into());
    vm.put(&pe, vcpu)?;
    for _ in 0..count {
        measured_if(workload == "load", || vm.load(&pe, vcpu))?;
        measured_if(workload == "put", || vm.put(&pe, vcpu))?;
        vm.load(&pe, vcpu)?;
        if measured_if(workload == "idle", || vm.idle(&pe, vcpu))? != Idle::Sleep {
            return Err("the vCPU does not sleep".into());
        }
        let mut injecting = vm.injecting(&pe);
        measured_if(workload == "inject", || injecting.inject(IntId::Lpi(lpi), Pending::Set))?;
        measured_if(workload == "complete", || drop(injecting));
        let cookie = host.hypervisor().take_doorbell().ok_or("no doorbell rings")?;
        if measured_if(workload == "doorbell", || host.doorbell(cookie)).is_none() {
            return Err("the doorbell wakes nobody".into());
        }
        vm.inject(&pe, IntId::Lpi(lpi), Pending::Clear)?;
    }
    vm.tear_down()?;
    Ok(())
}

fn measured_if<R>(wanted: bool, f: impl FnOnce() -> R) -> R {
    if wanted { measured(f) } else { f() }
}

/// Bytes of heap that VMs with one vCPU, SPIs and as many LPIs as one table has room for take, handles included. The tables of
/// hardware that does nothing take none.
fn heap(host: &Host<Nothing>, vms: u64) -> Outcome<()> {
    let vpes = vpes(1)?;
    let spec = VmSpec { spis: 64, ..VmSpec::new(&vpes) };
    let before = LIVE.load(Ordering::Relaxed);
    let mut everybody: Vec<_> = (0..vms).map(|_| host.new_vm()).collect();
    inits(&mut everybody, &spec)?;
    everybody.iter_mut().try_for_each(|vm| vm.create_lpi_ist(10))?;
    let bytes = (LIVE.load(Ordering::Relaxed) - before) as u64;
    println!("{}", bytes.div_ceil(vms.max(1)));
    everybody.iter_mut().try_for_each(|vm| Ok(vm.tear_down()?))
}

/// Everything that takes a lock, with VMs of so many vCPUs.
fn locks<S: Stage>(host: &Host<S>, vcpus: u64) -> Outcome<()> {
    let vpes = vpes(vcpus)?;
    let spec = VmSpec { spis: 64, ..VmSpec::new(&vpes) };
    let mut vms = [(); 5].map(|()| host.new_vm());
    for vm in &mut vms {
        vm.init(&spec)?;
        vm.create_lpi_ist(LPI_ID_BITS)?;
    }
    let [mut torn_down, reaped, also_reaped, left, also_left] = vms;
    let pe = Pe::new(host.hypervisor().ops());
    torn_down.load(&pe, VcpuIndex(0))?;
    if torn_down.tear_down().is_ok() {
        return Err("a VM was torn down while it ran".into());
    }
    torn_down.put(&pe, VcpuIndex(0))?;
    torn_down.reset_vcpu(VcpuIndex(0))?;
    drop(torn_down.refer()?);
    torn_down.remove_lpi_ist()?;
    torn_down.tear_down()?;
    drop((reaped, also_reaped));
    black_box((host.holdings(), host.phase(), host.vm_limit()));
    host.reap()?;
    host.reclaim()?;
    drop((left, also_left));
    host.shut_down()?;
    println!("{}", TAKEN.load(Ordering::Relaxed));
    Ok(())
}

fn accesses(host: &Host<Model>, vcpus: u64) -> Outcome<()> {
    let vpes = vpes(vcpus)?;
    let spec = VmSpec::new(&vpes);
    let mut vm = host.new_vm();
    lives(&mut vm, &spec, 1)?;
    let (mut made, mut unmade) = (Ok(()), Ok(()));
    let of_init = host.hypervisor().accesses(|| made = vm.init(&spec));
    let of_teardown = host.hypervisor().accesses(|| unmade = vm.tear_down());
    made?;
    unmade?;
    for (what, accesses) in [("init", of_init), ("teardown", of_teardown)] {
        for (register, reads, writes) in accesses {
            println!("{what} {register} {reads} {writes}");
        }
    }
    Ok(())
}

fn perform<S: Stage>(stage: S, workload: &str, n: u64, count: Option<u64>) -> Outcome<()> {
    let host = host(stage)?;
    match (workload, count) {
        ("life" | "crowd" | "everybody", Some(count)) => make(&host, workload, n, count)?,
        ("load" | "put" | "idle" | "doorbell" | "inject" | "complete", Some(count)) => run(&host, workload, n, count)?,
        ("locks", None) => locks(&host, n)?,
        _ => return Err(USAGE.into()),
    }
    if !host.hypervisor().is_clean() {
        return Err("a rule was broken".into());
    }
    if NESTED.load(Ordering::Relaxed) {
        return Err("a lock was taken while another was held".into());
    }
    Ok(())
}

const USAGE: &str = "usage: cost nothing|model life|crowd|everybody|load|put|idle|doorbell|inject|complete N COUNT | cost \
                     nothing|model locks N | cost nothing heap N | cost model accesses N";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (hardware, workload, n, count) = match arguments[..] {
        [hardware, workload, n] => (hardware, workload, n.parse()?, None),
        [hardware, workload, n, count] => (hardware, workload, n.parse()?, Some(count.parse()?)),
        _ => return Err(USAGE.into()),
    };
    match (hardware, workload) {
        ("model", "accesses") => accesses(&host(Model::new()?)?, n),
        ("model", _) => perform(Model::new()?, workload, n, count),
        ("nothing", "heap") => heap(&host(Nothing::new())?, n),
        ("nothing", _) => perform(Nothing::new(), workload, n, count),
        _ => Err(USAGE.into()),
    }
}
