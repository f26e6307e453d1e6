//! Every trait for `&T` and `Arc<T>` as well, so that a value can be lent or shared without a type of its own around it.
//!
//! Methods with a body of their own are forwarded like all others: an implementation may have replaced them.

use alloc::sync::Arc;
use core::ops::Range;
use core::time::Duration;

use gicv5_arch::Lpi;
use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::SysReg;

use crate::{
    AllocError, BlockLayout, Coherency, Cookie, CurrentPe, Frame, HostLpis, Irs, IrsIndex, LpiError, NotReleased, Pe,
    PeOps, Platform, Route, TableMemory, Wait,
};

macro_rules! forward {
    ($($pointer:ty, $shared:path;)*) => {$(
        impl<T: Irs + $shared + ?Sized> Irs for $pointer {
            fn read32(&self, frame: Frame, offset: u16) -> u32 {
                T::read32(self, frame, offset)
            }

            fn write32(&self, frame: Frame, offset: u16, value: u32) {
                T::write32(self, frame, offset, value);
            }

            fn read64(&self, frame: Frame, offset: u16) -> u64 {
                T::read64(self, frame, offset)
            }

            fn write64(&self, frame: Frame, offset: u16, value: u64) {
                T::write64(self, frame, offset, value);
            }
        }

        #[allow(unsafe_code)]
        // SAFETY: every block and every answer is that of the memory behind the pointer, whose implementor has promised.
        unsafe impl<T: TableMemory + $shared + ?Sized> TableMemory for $pointer {
            type Block = T::Block;

            fn allocate(&self, layout: BlockLayout) -> Result<T::Block, AllocError> {
                T::allocate(self, layout)
            }

            fn free(&self, block: T::Block) {
                T::free(self, block);
            }

            fn load32(&self, block: &T::Block, offset: u64) -> u32 {
                T::load32(self, block, offset)
            }

            fn store32(&self, block: &T::Block, offset: u64, value: u32) {
                T::store32(self, block, offset, value);
            }

            fn load64(&self, block: &T::Block, offset: u64) -> u64 {
                T::load64(self, block, offset)
            }

            fn store64(&self, block: &T::Block, offset: u64, value: u64) {
                T::store64(self, block, offset, value);
            }

            fn coherency(&self, irs: IrsIndex) -> Coherency {
                T::coherency(self, irs)
            }

            fn cache_line(&self) -> u64 {
                T::cache_line(self)
            }

            fn clean_invalidate(&self, block: &T::Block, bytes: Range<u64>) {
                T::clean_invalidate(self, block, bytes);
            }

            fn invalidate(&self, block: &T::Block, bytes: Range<u64>) {
                T::invalidate(self, block, bytes);
            }

            fn barrier(&self) {
                T::barrier(self);
            }

            fn publish(&self, irs: IrsIndex, block: &T::Block, bytes: Range<u64>) {
                T::publish(self, irs, block, bytes);
            }

            fn acquire(&self, irs: IrsIndex, block: &T::Block, bytes: Range<u64>) {
                T::acquire(self, irs, block, bytes);
            }

            fn prepare(&self, irs: IrsIndex, block: &T::Block, bytes: Range<u64>) {
                T::prepare(self, irs, block, bytes);
            }
        }

        impl<T: PeOps + ?Sized> PeOps for $pointer {
            fn read_sysreg(&self, register: SysReg) -> u64 {
                T::read_sysreg(self, register)
            }

            fn write_sysreg(&self, register: SysReg, value: u64) {
                T::write_sysreg(self, register, value);
            }

            fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
                T::gic(self, insn, xt)
            }

            fn isb(&self) {
                T::isb(self);
            }

            fn dsb(&self) {
                T::dsb(self);
            }
        }

        impl<T: CurrentPe + $shared + ?Sized> CurrentPe for $pointer {
            type Ops = T::Ops;

            fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, T::Ops>) -> R) -> R {
                T::on_this_pe(self, f)
            }
        }

        impl<T: Wait + $shared + ?Sized> Wait for $pointer {
            fn relax(&self) {
                T::relax(self);
            }

            fn now(&self) -> Duration {
                T::now(self)
            }
        }

        impl<T: HostLpis + $shared + ?Sized> HostLpis for $pointer {
            type Lpi = T::Lpi;

            fn allocate(&self, cookie: Cookie) -> Result<T::Lpi, LpiError> {
                T::allocate(self, cookie)
            }

            fn lpi(&self, lpi: &T::Lpi) -> Lpi {
                T::lpi(self, lpi)
            }

            fn enable(&self, lpi: &T::Lpi) {
                T::enable(self, lpi);
            }

            fn route(&self, lpi: &T::Lpi, to: Route) {
                T::route(self, lpi, to);
            }

            fn release(&self, lpi: T::Lpi) -> Result<(), NotReleased<T::Lpi>> {
                T::release(self, lpi)
            }
        }

        impl<T: Platform + $shared + ?Sized> Platform for $pointer {
            type Irs = T::Irs;
            type Memory = T::Memory;
            type CurrentPe = T::CurrentPe;
            type Wait = T::Wait;
            type Locks = T::Locks;

            fn irs(&self) -> &T::Irs {
                T::irs(self)
            }

            fn memory(&self) -> &T::Memory {
                T::memory(self)
            }

            fn current_pe(&self) -> &T::CurrentPe {
                T::current_pe(self)
            }

            fn wait(&self) -> &T::Wait {
                T::wait(self)
            }

            fn may_allocate(&self, bytes: usize) -> bool {
                T::may_allocate(self, bytes)
            }
        }
    )*};
}

// An `Arc` can be used by several threads if what it shares can also be dropped by any of them.
forward! {
    &T, Sync;
    Arc<T>, Send;
}
