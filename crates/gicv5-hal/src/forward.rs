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

            fn load_barrier(&self) {
                T::load_barrier(self);
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

#[cfg(test)]
mod tests {
    extern crate std;

    use std::sync::Mutex;
    use std::vec::Vec;

    use gicv5_arch::PhysAddr;

    use super::*;
    use crate::Block;

    /// Memory that notes what is asked of it, and answers by itself what the trait could answer for it.
    #[derive(Default)]
    struct Noted(Mutex<Vec<&'static str>>);

    impl Noted {
        fn note(&self, what: &'static str) {
            if let Ok(mut noted) = self.0.lock() {
                noted.push(what);
            }
        }
    }

    struct Nowhere;

    impl Block for Nowhere {
        fn address(&self) -> PhysAddr {
            PhysAddr::highest(0)
        }

        fn size(&self) -> u64 {
            8
        }
    }

    #[allow(unsafe_code)]
    // SAFETY: no IRS is given any of these blocks.
    unsafe impl TableMemory for Noted {
        type Block = Nowhere;

        fn allocate(&self, layout: BlockLayout) -> Result<Nowhere, AllocError> {
            Err(AllocError { layout })
        }

        fn free(&self, _: Nowhere) {
            self.note("free");
        }

        fn load32(&self, _: &Nowhere, offset: u64) -> u32 {
            offset as u32
        }

        fn store32(&self, _: &Nowhere, _: u64, _: u32) {
            self.note("store32");
        }

        fn load64(&self, _: &Nowhere, offset: u64) -> u64 {
            offset
        }

        fn store64(&self, _: &Nowhere, _: u64, _: u64) {
            self.note("store64");
        }

        fn coherency(&self, irs: IrsIndex) -> Coherency {
            if irs == IrsIndex(0) { Coherency::Coherent } else { Coherency::NonCoherent }
        }

        fn cache_line(&self) -> u64 {
            64
        }

        fn clean_invalidate(&self, _: &Nowhere, _: Range<u64>) {
            self.note("clean_invalidate");
        }

        fn invalidate(&self, _: &Nowhere, _: Range<u64>) {
            self.note("invalidate");
        }

        fn barrier(&self) {
            self.note("barrier");
        }

        fn load_barrier(&self) {
            self.note("load_barrier");
        }

        fn publish(&self, _: IrsIndex, _: &Nowhere, _: Range<u64>) {
            self.note("publish");
        }

        fn acquire(&self, _: IrsIndex, _: &Nowhere, _: Range<u64>) {
            self.note("acquire");
        }

        fn prepare(&self, _: IrsIndex, _: &Nowhere, _: Range<u64>) {
            self.note("prepare");
        }
    }

    /// Asks everything of memory that is lent or shared.
    fn ask<M: TableMemory<Block = Nowhere>>(memory: M) {
        let (block, irs) = (Nowhere, IrsIndex(1));
        assert_eq!((memory.load32(&block, 4), memory.load64(&block, 8), memory.cache_line()), (4, 8, 64));
        assert_eq!(
            (memory.coherency(IrsIndex(0)), memory.coherency(irs)),
            (Coherency::Coherent, Coherency::NonCoherent)
        );
        memory.store32(&block, 0, 1);
        memory.store64(&block, 0, 1);
        memory.clean_invalidate(&block, 0..8);
        memory.invalidate(&block, 0..8);
        memory.barrier();
        memory.load_barrier();
        memory.publish(irs, &block, 0..8);
        memory.acquire(irs, &block, 0..8);
        memory.prepare(irs, &block, 0..8);
        memory.free(block);
    }

    #[test]
    fn what_is_lent_or_shared_is_asked_itself_even_where_the_trait_could_answer() {
        let noted = Arc::new(Noted::default());
        let expected = [
            "store32",
            "store64",
            "clean_invalidate",
            "invalidate",
            "barrier",
            "load_barrier",
            "publish",
            "acquire",
            "prepare",
            "free",
        ];
        for round in 0..2 {
            if round == 0 {
                ask(&*noted)
            } else {
                ask(noted.clone())
            }
            let told = noted.0.lock().map(|mut told| core::mem::take(&mut *told)).unwrap_or_default();
            assert_eq!(told, expected);
        }
    }
}
