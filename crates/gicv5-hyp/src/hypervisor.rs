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

/// An LPI of the hypervisor's.
pub(crate) type LpiOf<H> = <<H as Hypervisor>::Lpis as HostLpis>::Lpi;
