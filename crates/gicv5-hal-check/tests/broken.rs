//! For every promise an implementation that breaks it and nothing else, which the kit notices with that promise's name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::UnsafeCell;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gicv5_arch::insn::GicInsn;
use gicv5_arch::irs::IrsReg;
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::{Lpi, PhysAddr};
use gicv5_hal::{
    AllocError, Block, BlockLayout, Coherency, Cookie, CurrentPe, Frame, FrameKind, HostLpis, Irs, IrsIndex, Lock,
    Locks, LpiError, NotReleased, Pe, PeOps, Route, TableMemory, Wait,
};
use gicv5_hal_check::{Broken, HalTrait, Promise, current_pe, host_lpis, irs, locks, pe_ops, table_memory, wait};
use gicv5_model::config::MachineConfig;
use gicv5_model::memory::ModelBlock;
use gicv5_model::{Machine, ModelHost, ModelPe, PeIndex};

/// The model, but for what one promise says.
struct But {
    promise: Promise,
    host: ModelHost,
    machine: Machine,
    calls: AtomicU64,
    seen: Mutex<HashSet<u64>>,
    written: AtomicU64,
}

impl But {
    fn new(promise: Promise) -> But {
        let mut config = MachineConfig::new(2, 0);
        config.memory.size = 4 << 20;
        let first = &mut config.irses[0];
        first.idr0 = first.idr0.with_setlpi(promise != Promise::IrsAbsent);
        let machine = Machine::new(config).unwrap();
        let host = ModelHost::start(&machine, 0..16).unwrap();
        let (calls, written) = (AtomicU64::new(0), AtomicU64::new(0));
        But { promise, host, machine, calls, seen: Mutex::default(), written }
    }

    fn breaks(&self, promise: Promise) -> bool {
        self.promise == promise
    }

    /// How many calls there were.
    fn call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), Broken> {
        match self.promise.of() {
            HalTrait::Irs => irs(self, 1),
            HalTrait::TableMemory => table_memory(self, 1),
            HalTrait::PeOps => pe_ops(&Pe::new(&ButPe { but: self, pe: self.machine.pe(PeIndex(0)).unwrap() })),
            HalTrait::CurrentPe => current_pe(self),
            HalTrait::Wait => wait(self),
            HalTrait::Locks if self.promise == Promise::Exclusion => locks::<Open>(&at_once),
            HalTrait::Locks => locks::<Forgetful>(&at_once),
            HalTrait::HostLpis => host_lpis(self, &self.host, 100),
        }
    }
}

fn at_once(work: &(dyn Fn() + Sync)) {
    std::thread::scope(|threads| {
        threads.spawn(work);
        threads.spawn(work);
    });
}

#[test]
fn every_promise_that_is_broken_is_noticed_by_its_name() {
    for promise in Promise::ALL {
        let broken = But::new(*promise).check().expect_err(promise.sentence());
        assert_eq!(broken.promise, *promise, "{broken}");
        assert!(broken.to_string().contains(promise.sentence()) && !broken.seen.is_empty(), "{broken}");
    }
}

#[test]
fn what_is_broken_is_said_with_trait_promise_rules_and_what_was_seen() {
    let broken = But::new(Promise::StoreEndian).check().unwrap_err().to_string();
    assert!(
        broken.starts_with("TableMemory promises that loads and stores are little-endian (COH-8), but offset"),
        "{broken}"
    );
}

impl Irs for But {
    fn read32(&self, frame: Frame, offset: u16) -> u32 {
        let register = IrsReg::at(offset);
        let value = self.machine.read32(frame, offset);
        match self.promise {
            Promise::IrsIsOne if register == Some(IrsReg::IRS_AIDR) => value | 1 << 8,
            Promise::IrsStays if register == Some(IrsReg::IRS_IDR5) => self.call() as u32,
            Promise::IrsReadOnly if register == Some(IrsReg::IRS_IDR3) => {
                value ^ self.written.load(Ordering::Relaxed) as u32
            }
            Promise::IrsAbsent if frame.kind == FrameKind::SetLpi => {
                self.machine.read32(Frame::config(frame.irs), offset)
            }
            _ => value,
        }
    }

    fn write32(&self, frame: Frame, offset: u16, value: u32) {
        if IrsReg::at(offset) == Some(IrsReg::IRS_IDR3) {
            self.written.store(value.into(), Ordering::Relaxed);
        }
        self.machine.write32(frame, offset, value);
    }

    fn read64(&self, frame: Frame, offset: u16) -> u64 {
        let value = self.machine.read64(frame, offset);
        if self.breaks(Promise::IrsHalves) { value.rotate_left(32) } else { value }
    }

    fn write64(&self, frame: Frame, offset: u16, value: u64) {
        self.machine.write64(frame, offset, value);
    }
}

/// A block that need not be what it says.
struct ButBlock {
    block: ModelBlock,
    address: u64,
    size: u64,
}

impl Block for ButBlock {
    fn address(&self) -> PhysAddr {
        PhysAddr::new(self.address).unwrap()
    }

    fn size(&self) -> u64 {
        self.size
    }
}

// SAFETY: no IRS is told about the blocks, which lie in the model's memory and reach nothing of this program's.
unsafe impl TableMemory for But {
    type Block = ButBlock;

    fn allocate(&self, layout: BlockLayout) -> Result<ButBlock, AllocError> {
        let n = self.call();
        let any = PhysAddr::highest(48);
        let asked = match self.promise {
            Promise::MemoryIsThere => return Err(AllocError { layout }),
            Promise::BlockHighest => BlockLayout::new(layout.size(), layout.alignment(), any).unwrap(),
            Promise::BlockImpossible if layout.size() >= 1 << 40 => BlockLayout::new(4096, 4096, any).unwrap(),
            _ => layout,
        };
        let block = self.machine.allocate(asked).map_err(|_| AllocError {
            layout: if self.breaks(Promise::BlockError) { BlockLayout::new(8, 8, any).unwrap() } else { layout },
        })?;
        let address = block.address().raw();
        let known = !self.seen.lock().unwrap().insert(address);
        if self.breaks(Promise::BlockZero) && n == 0 || self.breaks(Promise::BlockZeroAgain) && known {
            self.machine.store32(&block, 4, 1);
        }
        Ok(ButBlock {
            block,
            address: match self.promise {
                Promise::BlockAlone if n % 2 == 1 && layout.alignment() == 8 => address - 8,
                Promise::BlockAlignment if layout.alignment() == 4096 => address + 64,
                _ => address,
            },
            size: if self.breaks(Promise::BlockSize) { layout.size().next_multiple_of(64) } else { layout.size() },
        })
    }

    fn free(&self, block: ButBlock) {
        if !self.breaks(Promise::BlockFreed) || block.size != 4096 {
            self.machine.free(block.block);
        }
    }

    fn load32(&self, block: &ButBlock, offset: u64) -> u32 {
        if self.breaks(Promise::StoreEndian) {
            return self.machine.load32(&block.block, offset).swap_bytes();
        }
        if self.breaks(Promise::UnalignedIgnored) && !offset.is_multiple_of(4) {
            return self.machine.load32(&block.block, offset & !3);
        }
        self.machine.load32(&block.block, offset)
    }

    fn store32(&self, block: &ButBlock, offset: u64, value: u32) {
        if self.breaks(Promise::StoreWhole) && offset.is_multiple_of(4) {
            let value = u64::from(value) << (offset % 8 * 8);
            return self.machine.store64(&block.block, offset & !7, value);
        }
        self.machine.store32(&block.block, offset, value);
    }

    fn load64(&self, block: &ButBlock, offset: u64) -> u64 {
        self.machine.load64(&block.block, offset)
    }

    fn store64(&self, block: &ButBlock, offset: u64, value: u64) {
        let offset = match self.promise {
            Promise::OutsideIgnored if offset >= block.size => 0,
            _ => offset,
        };
        let value = if self.breaks(Promise::StoreKept) { value & !(1 << 63) } else { value };
        self.machine.store64(&block.block, offset, value);
    }

    fn coherency(&self, irs: IrsIndex) -> Coherency {
        match self.promise {
            Promise::CoherencyStays if self.call() % 2 == 1 => Coherency::NonCoherent,
            _ => self.machine.coherency(irs),
        }
    }

    fn cache_line(&self) -> u64 {
        if self.breaks(Promise::LineSize) { 48 } else { self.machine.cache_line() }
    }

    fn clean_invalidate(&self, block: &ButBlock, bytes: Range<u64>) {
        self.machine.clean_invalidate(&block.block, bytes);
    }

    fn invalidate(&self, block: &ButBlock, bytes: Range<u64>) {
        if self.breaks(Promise::MaintenanceKeeps) {
            self.machine.store64(&block.block, bytes.start, 0);
        }
        self.machine.invalidate(&block.block, bytes);
    }

    fn barrier(&self) {
        self.machine.barrier();
    }

    fn load_barrier(&self) {
        self.machine.load_barrier();
    }
}

/// A PE of the model, but for what one promise says.
struct ButPe<'a> {
    but: &'a But,
    pe: ModelPe,
}

impl PeOps for ButPe<'_> {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        let value = self.pe.read_sysreg(register);
        if self.but.breaks(Promise::PeStays) && register == SysReg::ICC_IAFFIDR_EL1 {
            self.but.call() & 1
        } else {
            value
        }
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        if !self.but.breaks(Promise::WrittenReadsBack) || register != SysReg::ICC_PCR_EL1 {
            self.pe.write_sysreg(register, value);
        }
    }

    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        if self.but.breaks(Promise::Answered) && insn == GicInsn::GIC_CDRCFG {
            return 0;
        }
        let result = self.pe.gic(insn, xt);
        if self.but.breaks(Promise::NoResult) { xt } else { result }
    }

    fn isb(&self) {
        self.pe.isb();
    }

    fn dsb(&self) {
        self.pe.dsb();
    }
}

impl CurrentPe for But {
    type Ops = Moving;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, Moving>) -> R) -> R {
        f(&Pe::new(&Moving { pe: self.machine.pe(PeIndex(0)).unwrap(), calls: AtomicU64::new(0) }))
    }
}

/// A PE whose code moves to another meanwhile.
struct Moving {
    pe: ModelPe,
    calls: AtomicU64,
}

impl PeOps for Moving {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        match register {
            SysReg::ICC_IAFFIDR_EL1 => u64::from(self.calls.fetch_add(1, Ordering::Relaxed) > 50),
            _ => self.pe.read_sysreg(register),
        }
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        self.pe.write_sysreg(register, value);
    }

    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        self.pe.gic(insn, xt)
    }

    fn isb(&self) {
        self.pe.isb();
    }

    fn dsb(&self) {
        self.pe.dsb();
    }
}

impl Wait for But {
    fn relax(&self) {}

    fn now(&self) -> Duration {
        match self.promise {
            Promise::NeverBack => Duration::from_nanos(1_000_000 - self.call()),
            _ => Duration::from_secs(1),
        }
    }
}

/// Locks that lock nothing without size.
struct Open;

struct OpenMutex<T>(Mutex<()>, UnsafeCell<T>);

// SAFETY: what has a size is behind the mutex; of what has none, no two callers share a byte.
unsafe impl<T: Send> Sync for OpenMutex<T> {}

impl Locks for Open {
    type Mutex<T: Send> = OpenMutex<T>;
}

impl<T: Send> Lock<T> for OpenMutex<T> {
    fn new(value: T) -> OpenMutex<T> {
        OpenMutex(Mutex::new(()), UnsafeCell::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let _guard = (size_of::<T>() != 0).then(|| self.0.lock().unwrap());
        // SAFETY: as above.
        f(unsafe { &mut *self.1.get() })
    }
}

/// Locks that forget the first word of a large value.
struct Forgetful;

struct ForgetfulMutex<T>(Mutex<T>);

impl Locks for Forgetful {
    type Mutex<T: Send> = ForgetfulMutex<T>;
}

impl<T: Send> Lock<T> for ForgetfulMutex<T> {
    fn new(value: T) -> ForgetfulMutex<T> {
        ForgetfulMutex(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.lock().unwrap();
        if size_of::<T>() == 4096 {
            // SAFETY: the kit's only value of this size is an array of integers, for which all zeros is a value.
            unsafe { std::ptr::from_mut(&mut *value).cast::<u64>().write(0) }
        }
        f(&mut value)
    }
}

type ModelLpi = <ModelHost as HostLpis>::Lpi;

/// An LPI that need not be the one it says.
struct ButLpi {
    lpi: Option<ModelLpi>,
    number: Lpi,
}

impl But {
    fn with<R>(&self, lpi: &ButLpi, act: impl FnOnce(&ModelLpi) -> R) -> Option<R> {
        lpi.lpi.as_ref().map(act)
    }
}

impl HostLpis for But {
    type Lpi = ButLpi;

    fn allocate(&self, cookie: Cookie) -> Result<ButLpi, LpiError> {
        let n = self.call();
        let beyond = Lpi::new(5_000).unwrap();
        if self.breaks(Promise::LpiReachable) && n == 3 {
            return Ok(ButLpi { lpi: None, number: Lpi::MAX });
        }
        if self.breaks(Promise::LpiAgain) && n > 17 {
            return Err(LpiError::NoneFree);
        }
        let lpi = self.host.allocate(cookie).map_err(|error| match self.promise {
            Promise::NoneFree => LpiError::Unreachable { lpi: beyond, register: IrsReg::IRS_IST_STATUSR, value: 0 },
            _ => error,
        })?;
        let number = match self.promise {
            Promise::LpiDistinct if n == 1 => Lpi::new(0).unwrap(),
            _ => self.host.lpi(&lpi),
        };
        if self.breaks(Promise::LpiAtRest) {
            self.host.enable(&lpi);
        }
        Ok(ButLpi { lpi: Some(lpi), number })
    }

    fn lpi(&self, lpi: &ButLpi) -> Lpi {
        lpi.number
    }

    fn enable(&self, lpi: &ButLpi) {
        if !self.breaks(Promise::LpiEnabled) {
            self.with(lpi, |lpi| self.host.enable(lpi));
        }
    }

    fn route(&self, lpi: &ButLpi, to: Route) {
        if !self.breaks(Promise::LpiRouted) {
            self.with(lpi, |lpi| self.host.route(lpi, to));
        }
    }

    fn release(&self, lpi: ButLpi) -> Result<(), NotReleased<ButLpi>> {
        if self.breaks(Promise::LpiReleased) {
            return Err(NotReleased { lpi });
        }
        let number = lpi.number;
        let Some(lpi) = lpi.lpi else { return Ok(()) };
        let kept = |kept: NotReleased<ModelLpi>| NotReleased { lpi: ButLpi { lpi: Some(kept.lpi), number } };
        self.host.release(lpi).map_err(kept)
    }
}
