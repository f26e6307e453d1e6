//! Hardware that does nothing and is always done, so that what is counted is the library.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use gicv5_arch::insn::GicInsn;
use gicv5_arch::irs::IrsReg;
use gicv5_arch::sysreg::{ICH_VMCR_EL2, SysReg};
use gicv5_arch::{IrsIntId, Lpi, PhysAddr};
use gicv5_hal::{
    AllocError, Block, BlockLayout, Coherency, Cookie, CurrentPe, Frame, HostLpis, Irs, IrsIndex, LpiError,
    NotReleased, Pe, PeOps, Platform, Route, TableMemory, Wait,
};
use gicv5_hyp::Hypervisor;

use crate::{Stage, WatchedLocks};

/// Hardware that does nothing. It remembers what the library reads back.
#[derive(Default)]
pub(crate) struct Nothing {
    /// The valid bit of the next entry that is read.
    valid: AtomicU64,
    baser: AtomicU64,
    cfgr: AtomicU64,
    dbr: AtomicU64,
    /// What IRS_VPE_STATUSR reads.
    vpe_status: AtomicU64,
    context: AtomicU64,
    vmcr: AtomicU64,
    next_address: AtomicU64,
    next_lpi: AtomicU32,
    last_cookie: AtomicU64,
}

impl Nothing {
    pub(crate) fn new() -> Nothing {
        let nothing = Nothing::default();
        put(&nothing.vpe_status, 0b11);
        // The guest's interface is on and masks nothing, so that it may sleep.
        put(&nothing.vmcr, ICH_VMCR_EL2::FIELDS.iter().fold(0, |all, field| all | field.mask()));
        nothing
    }
}

fn get(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

fn put(value: &AtomicU64, new: u64) {
    value.store(new, Ordering::Relaxed);
}

impl Irs for Nothing {
    fn read32(&self, _: Frame, offset: u16) -> u32 {
        let at = |register: IrsReg| register.offset() == offset;
        match () {
            () if at(IrsReg::IRS_VPE_STATUSR) => get(&self.vpe_status) as u32,
            // 48 address bits, virtualisation, Non-secure.
            () if at(IrsReg::IRS_IDR0) => 5 << 2 | 1 << 6 | 1,
            // 24 ID bits, LPIs, two levels of 4 KiB.
            () if at(IrsReg::IRS_IDR2) => 1 << 11 | 1 << 10 | 1 << 5 | 24,
            // 16 VM ID bits, two levels, no VM descriptor.
            () if at(IrsReg::IRS_IDR3) => 1 << 10 | 16 << 5,
            // 16 VPE ID bits, descriptors of 128 bytes.
            () if at(IrsReg::IRS_IDR4) => 15 << 6 | 7,
            () if at(IrsReg::IRS_VMT_CFGR) => get(&self.cfgr) as u32,
            () if at(IrsReg::IRS_AIDR) => 0,
            () => 0b11,
        }
    }

    fn write32(&self, _: Frame, offset: u16, value: u32) {
        if offset == IrsReg::IRS_VMT_CFGR.offset() {
            put(&self.cfgr, value.into());
        }
    }

    fn read64(&self, _: Frame, offset: u16) -> u64 {
        let at = |register: IrsReg| register.offset() == offset;
        match () {
            () if at(IrsReg::IRS_VPE_DBR) => get(&self.dbr),
            () if at(IrsReg::IRS_VMT_BASER) => get(&self.baser),
            () => 0,
        }
    }

    fn write64(&self, _: Frame, offset: u16, value: u64) {
        let at = |register: IrsReg| register.offset() == offset;
        match () {
            () if at(IrsReg::IRS_VPE_DBR) => put(&self.dbr, value),
            () if at(IrsReg::IRS_VPE_SELR) => {
                put(&self.dbr, 0);
                // There is no VPE 65535.
                put(&self.vpe_status, if value >> 32 & 0xffff == 0xffff { 0b01 } else { 0b11 });
            }
            () if at(IrsReg::IRS_VMAP_VMR) || at(IrsReg::IRS_VMAP_VISTR) => put(&self.valid, !value >> 62 & 1),
            () if at(IrsReg::IRS_VMAP_L2_VMTR) => put(&self.valid, 1),
            () if at(IrsReg::IRS_VMT_BASER) => put(&self.baser, value),
            () => {}
        }
    }
}

pub(crate) struct Nowhere(PhysAddr, u64);

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

    fn load_barrier(&self) {}
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

impl Platform for Nothing {
    type Irs = Nothing;
    type Memory = Nothing;
    type CurrentPe = Nothing;
    type Wait = Nothing;
    type Locks = WatchedLocks;

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

impl Stage for Nothing {
    type Ops = Nothing;

    fn ops(&self) -> &Nothing {
        self
    }

    /// Its interface is on and masks nothing already.
    fn boot_guest(&self, _: IrsIntId) {}

    fn take_doorbell(&self) -> Option<Cookie> {
        Some(Cookie(get(&self.last_cookie)))
    }

    fn is_clean(&self) -> bool {
        true
    }
}
