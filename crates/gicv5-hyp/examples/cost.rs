//! What the library costs, for counting instructions: it runs on hardware that does nothing and is always done.
//!
//! `cost life VCPUS ROUNDS` makes and unmakes a VM; `cost vms VMS ROUNDS` does it while so many other VMs are there;
//! `cost run ROUNDS` loads and puts a vCPU; `cost sleep ROUNDS` loads it and puts it to sleep, and its doorbell rings;
//! `cost inject ROUNDS` sets an interrupt pending.

use std::error::Error;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use gicv5_arch::insn::GicInsn;
use gicv5_arch::irs::IrsReg;
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::{IntId, Lpi, PhysAddr, VpeId};
use gicv5_hal::{
    AllocError, Block, BlockLayout, Coherency, Cookie, CurrentPe, Frame, HostLpis, Irs, IrsIndex, Lock, Locks,
    LpiError, NotReleased, Pe, PeOps, Platform, Route, TableMemory, Wait,
};
use gicv5_hyp::{Config, Host, Hypervisor, Pending, VcpuIndex, Vm, VmSpec};

/// Hardware that does nothing. It remembers what the library reads back.
#[derive(Default)]
struct Nothing {
    /// The valid bit of the next entry that is read.
    valid: AtomicU64,
    baser: AtomicU64,
    cfgr: AtomicU64,
    dbr: AtomicU64,
    context: AtomicU64,
    vmcr: AtomicU64,
    next_address: AtomicU64,
    next_lpi: AtomicU32,
    last_cookie: AtomicU64,
}

fn get(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

fn put(value: &AtomicU64, new: u64) {
    value.store(new, Ordering::Relaxed);
}

impl Irs for Nothing {
    fn read32(&self, _: Frame, offset: u16) -> u32 {
        match IrsReg::at(offset) {
            // 48 address bits, virtualisation, Non-secure.
            Some(IrsReg::IRS_IDR0) => 5 << 2 | 1 << 6 | 1,
            // 24 ID bits, LPIs, two levels of 4 KiB.
            Some(IrsReg::IRS_IDR2) => 1 << 11 | 1 << 10 | 1 << 5 | 24,
            // 16 VM ID bits, two levels, no VM descriptor.
            Some(IrsReg::IRS_IDR3) => 1 << 10 | 16 << 5,
            // 16 VPE ID bits, descriptors of 128 bytes.
            Some(IrsReg::IRS_IDR4) => 15 << 6 | 7,
            Some(IrsReg::IRS_VMT_CFGR) => get(&self.cfgr) as u32,
            Some(IrsReg::IRS_AIDR) => 0,
            _ => 0b11,
        }
    }

    fn write32(&self, _: Frame, offset: u16, value: u32) {
        if offset == IrsReg::IRS_VMT_CFGR.offset() {
            put(&self.cfgr, value.into());
        }
    }

    fn read64(&self, _: Frame, offset: u16) -> u64 {
        match IrsReg::at(offset) {
            Some(IrsReg::IRS_VMT_BASER) => get(&self.baser),
            Some(IrsReg::IRS_VPE_DBR) => get(&self.dbr),
            _ => 0,
        }
    }

    fn write64(&self, _: Frame, offset: u16, value: u64) {
        match IrsReg::at(offset) {
            Some(IrsReg::IRS_VMT_BASER) => put(&self.baser, value),
            Some(IrsReg::IRS_VPE_DBR) => put(&self.dbr, value),
            Some(IrsReg::IRS_VPE_SELR) => put(&self.dbr, 0),
            Some(IrsReg::IRS_VMAP_VMR | IrsReg::IRS_VMAP_VISTR) => put(&self.valid, !value >> 62 & 1),
            Some(IrsReg::IRS_VMAP_L2_VMTR) => put(&self.valid, 1),
            _ => {}
        }
    }
}

struct Nowhere(PhysAddr, u64);

impl Block for Nowhere {
    fn address(&self) -> PhysAddr {
        self.0
    }

    fn size(&self) -> u64 {
        self.1
    }
}

// SAFETY: no hardware touches the addresses, and no memory is behind them.
unsafe impl TableMemory for Nothing {
    type Block = Nowhere;

    fn allocate(&self, layout: BlockLayout) -> Result<Nowhere, AllocError> {
        let next = get(&self.next_address).next_multiple_of(layout.alignment());
        // They are given again after a while: nobody looks at what is there.
        put(&self.next_address, (next + layout.size()) % (1 << 40));
        PhysAddr::new(next).map(|address| Nowhere(address, layout.size())).map_err(|_| AllocError { layout })
    }

    fn free(&self, _: Nowhere) {}

    fn load32(&self, _: &Nowhere, _: u64) -> u32 {
        0
    }

    fn store32(&self, _: &Nowhere, _: u64, _: u32) {}

    fn load64(&self, _: &Nowhere, _: u64) -> u64 {
        let valid = get(&self.valid);
        put(&self.valid, 0);
        valid
    }

    fn store64(&self, _: &Nowhere, _: u64, _: u64) {}

    fn coherency(&self, _: IrsIndex) -> Coherency {
        Coherency::Coherent
    }

    fn cache_line(&self) -> u64 {
        64
    }

    fn clean_invalidate(&self, _: &Nowhere, _: Range<u64>) {}

    fn invalidate(&self, _: &Nowhere, _: Range<u64>) {}

    fn barrier(&self) {}
}

impl PeOps for Nothing {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        match register {
            SysReg::ICH_CONTEXTR_EL2 => get(&self.context),
            SysReg::ICH_VMCR_EL2 => get(&self.vmcr),
            _ => 0,
        }
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        if register == SysReg::ICH_CONTEXTR_EL2 {
            put(&self.context, value);
        }
    }

    fn gic(&self, _: GicInsn, _: u64) -> u64 {
        0
    }

    fn isb(&self) {}

    fn dsb(&self) {}
}

impl CurrentPe for Nothing {
    type Ops = Nothing;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, Nothing>) -> R) -> R {
        f(&Pe::new(self))
    }
}

impl Wait for Nothing {
    fn relax(&self) {}

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostLpis for Nothing {
    type Lpi = Lpi;

    fn allocate(&self, cookie: Cookie) -> Result<Lpi, LpiError> {
        put(&self.last_cookie, cookie.0);
        Lpi::new(self.next_lpi.fetch_add(1, Ordering::Relaxed) & 0xff_ffff).map_err(|_| LpiError::NoneFree)
    }

    fn lpi(&self, lpi: &Lpi) -> Lpi {
        *lpi
    }

    fn enable(&self, _: &Lpi) {}

    fn route(&self, _: &Lpi, _: Route) {}

    fn release(&self, _: Lpi) -> Result<(), NotReleased<Lpi>> {
        Ok(())
    }
}

struct Mutexes;
struct StdMutex<T>(Mutex<T>);

impl Locks for Mutexes {
    type Mutex<T: Send> = StdMutex<T>;
}

impl<T: Send> Lock<T> for StdMutex<T> {
    fn new(value: T) -> Self {
        StdMutex(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Platform for Nothing {
    type Irs = Nothing;
    type Memory = Nothing;
    type CurrentPe = Nothing;
    type Wait = Nothing;
    type Locks = Mutexes;

    fn irs(&self) -> &Nothing {
        self
    }

    fn memory(&self) -> &Nothing {
        self
    }

    fn current_pe(&self) -> &Nothing {
        self
    }

    fn wait(&self) -> &Nothing {
        self
    }
}

impl Hypervisor for Nothing {
    type Lpis = Nothing;

    fn lpis(&self) -> &Nothing {
        self
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |n: usize| -> Result<u64, Box<dyn Error>> { Ok(arguments.get(n).ok_or("a number is missing")?.parse()?) };
    let hypervisor = Nothing::default();
    // The guest's interface is on and masks nothing, so that it may sleep.
    put(&hypervisor.vmcr, gicv5_arch::sysreg::ICH_VMCR_EL2::FIELDS.iter().fold(0, |all, field| all | field.mask()));
    let host = Host::new(hypervisor, &Config { contiguous_bytes: 4096, ..Config::new(IrsIndex(0), 1 << 16, 1 << 17) })?;
    host.bring_up()?;
    let vpes: Vec<VpeId> = (0..512).map(VpeId::new).collect();
    let one = VmSpec::new(vpes.get(..1).ok_or("there are 512")?);
    let mut vm = host.new_vm();
    let pe = Pe::new(host.hypervisor());
    let vcpu = VcpuIndex(0);
    match arguments.first().map(String::as_str) {
        Some("life") => {
            let spec = VmSpec::new(vpes.get(..number(1)? as usize).ok_or("there are 512")?);
            for _ in 0..number(2)? {
                vm.init(&spec)?;
                vm.tear_down()?;
            }
        }
        Some("vms") => {
            let mut others: Vec<Vm<'_, Nothing>> = (0..number(1)?).map(|_| host.new_vm()).collect();
            for other in &mut others {
                other.init(&one)?;
            }
            for _ in 0..number(2)? {
                vm.init(&one)?;
                vm.tear_down()?;
            }
            // What became of the others is not what is measured.
            std::mem::forget(others);
        }
        Some("run") => {
            vm.init(&one)?;
            for _ in 0..number(1)? {
                vm.load(&pe, vcpu)?;
                vm.put(&pe, vcpu)?;
            }
        }
        Some("sleep") => {
            vm.init(&one)?;
            let cookie = Cookie(get(&host.hypervisor().last_cookie));
            for _ in 0..number(1)? {
                vm.load(&pe, vcpu)?;
                if vm.idle(&pe, vcpu)? != gicv5_hyp::Idle::Sleep || host.doorbell(cookie).is_none() {
                    return Err("the vCPU does not sleep, or does not wake".into());
                }
            }
        }
        Some("inject") => {
            vm.init(&one)?;
            let lpi = IntId::Lpi(Lpi::new(7)?);
            for _ in 0..number(1)? {
                vm.inject(&pe, lpi, Pending::Set)?;
            }
        }
        _ => return Err("one of life, vms, run, sleep, inject".into()),
    }
    Ok(())
}
