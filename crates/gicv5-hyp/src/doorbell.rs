//! Doorbells: one LPI for each vCPU, which wakes it when it is not resident.

use gicv5_arch::{Lpi, VmId, VpeId};
use gicv5_hal::{HostLpis, LpiError};

use crate::OutOfMemory;

/// Whom a doorbell wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wake {
    /// The VM.
    pub vm: VmId,
    /// The VPE.
    pub vpe: VpeId,
}

/// A doorbell that could not be allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorbellError {
    /// The hypervisor has no LPI for it.
    #[error("no LPI for a doorbell")]
    Lpi(#[from] LpiError),
    /// There is no memory for its word.
    #[error("no memory for a doorbell's word")]
    NoMemory,
}

impl From<OutOfMemory> for DoorbellError {
    fn from(OutOfMemory: OutOfMemory) -> DoorbellError {
        DoorbellError::NoMemory
    }
}

/// The doorbell of one vCPU, owned by its record.
pub(crate) struct Doorbell<L> {
    lpi: L,
}

/// Proof that the hardware has confirmed the doorbell settings of a VPE (DB-6): made by `vpe.rs` alone.
pub(crate) struct DoorbellSet(pub(crate) ());

/// The words of all doorbells.
#[derive(Default)]
pub(crate) struct Doorbells {}

/// A doorbell whose LPI could not be released. It is still there.
pub(crate) struct NotReleased<L>(pub(crate) Doorbell<L>);

impl Doorbells {
    /// An LPI with a cookie and a word of its own, disabled.
    pub(crate) fn allocate<L: HostLpis>(
        &self,
        lpis: &L,
        _vm: VmId,
        _vpe: VpeId,
    ) -> Result<Doorbell<L::Lpi>, DoorbellError> {
        Ok(Doorbell { lpi: lpis.allocate(gicv5_hal::Cookie(0))? })
    }

    /// The LPI that IRS_VPE_DBR is given.
    pub(crate) fn lpi<L: HostLpis>(&self, lpis: &L, doorbell: &Doorbell<L::Lpi>) -> Lpi {
        lpis.lpi(&doorbell.lpi)
    }

    /// Lets the LPI ring, once its settings are confirmed.
    pub(crate) fn enable<L: HostLpis>(&self, lpis: &L, doorbell: &Doorbell<L::Lpi>, _proof: &DoorbellSet) {
        lpis.enable(&doorbell.lpi);
    }

    /// True while the vCPU is resident somewhere.
    pub(crate) fn is_resident<L>(&self, _doorbell: &Doorbell<L>) -> bool {
        false
    }

    /// From here on the vCPU cannot become resident and its doorbell wakes nobody. Any number of times. False, and nothing
    /// changed, while the vCPU is resident.
    pub(crate) fn die<L>(&self, doorbell: &Doorbell<L>) -> bool {
        !self.is_resident(doorbell)
    }

    /// Takes the LPI out of use and gives it back (DB-25). The VPE must be invalid. May wait.
    pub(crate) fn release<L: HostLpis>(&self, lpis: &L, doorbell: Doorbell<L::Lpi>) -> Result<(), NotReleased<L::Lpi>> {
        lpis.release(doorbell.lpi).map_err(|error| NotReleased(Doorbell { lpi: error.lpi }))
    }
}
