//! What the library needs of the hypervisor that it is a part of.

use alloc::sync::Arc;

use gicv5_hal::{HostLpis, Platform};

/// All that the library needs of the hypervisor that it is a part of.
pub trait Hypervisor: Platform {
    /// The supply of LPIs for doorbells.
    type Lpis: HostLpis;

    /// The supply of LPIs for doorbells.
    fn lpis(&self) -> &Self::Lpis;
}

impl<T: Hypervisor + ?Sized> Hypervisor for &T {
    type Lpis = T::Lpis;

    fn lpis(&self) -> &T::Lpis {
        T::lpis(self)
    }
}

impl<T: Hypervisor + Send + ?Sized> Hypervisor for Arc<T> {
    type Lpis = T::Lpis;

    fn lpis(&self) -> &T::Lpis {
        T::lpis(self)
    }
}

/// A platform, and a supply of LPIs that is not part of it, such as a driver of the physical side.
#[derive(Clone, Debug)]
pub struct WithLpis<P, L> {
    /// The platform.
    pub platform: P,
    /// The supply of LPIs for doorbells.
    pub lpis: L,
}

impl<P: Platform, L: Sync> Platform for WithLpis<P, L> {
    type Irs = P::Irs;
    type Memory = P::Memory;
    type CurrentPe = P::CurrentPe;
    type Wait = P::Wait;
    type Locks = P::Locks;

    fn irs(&self) -> &P::Irs {
        self.platform.irs()
    }

    fn memory(&self) -> &P::Memory {
        self.platform.memory()
    }

    fn current_pe(&self) -> &P::CurrentPe {
        self.platform.current_pe()
    }

    fn wait(&self) -> &P::Wait {
        self.platform.wait()
    }

    fn may_allocate(&self, bytes: usize) -> bool {
        self.platform.may_allocate(bytes)
    }
}

impl<P: Platform, L: HostLpis> Hypervisor for WithLpis<P, L> {
    type Lpis = L;

    fn lpis(&self) -> &L {
        &self.lpis
    }
}

/// An LPI of the hypervisor's.
pub(crate) type LpiOf<H> = <<H as Hypervisor>::Lpis as HostLpis>::Lpi;
