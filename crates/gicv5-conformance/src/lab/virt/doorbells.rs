//! The doorbells of VPEs.

use core::cell::Cell;

use gicv5_arch::irs::IRS_VPE_DBR;
use gicv5_arch::sysreg::ICC_ICSR_EL1;
use gicv5_arch::{Lpi, Priority, VmId, VpeId};

use crate::bench::Bench;
use crate::lab::Lab;
use crate::outcome::{Failure, Outcome, expect};

impl<B: Bench> Lab<'_, B> {
    /// Valid settings with a mask that lets everything through.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted) if the number is none.
    pub fn doorbell(&self, lpi: u32) -> Result<IRS_VPE_DBR, Failure> {
        Ok(IRS_VPE_DBR::ZERO.with_dbv(true).with_dbpm(Priority::LEAST_URGENT).with_intid(self.lpi(lpi)?))
    }

    /// Selects a VPE and writes its doorbell settings (VPE-11).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Busy`](crate::Failure::Busy).
    pub fn set_doorbell(&self, vm: VmId, vpe: VpeId, settings: IRS_VPE_DBR) -> Outcome {
        self.expect_vpe(vm, vpe, true)?;
        expect("IRS_VPE_STATUSR.V", true, self.write_selected(settings)?)?;
        self.expect_settings(settings)
    }

    /// Wants the settings of the selected VPE to be these (VPE-12).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_settings(&self, settings: IRS_VPE_DBR) -> Outcome {
        let found = self.read::<IRS_VPE_DBR>().with_req_db(false).raw_value();
        expect("IRS_VPE_DBR", settings.with_req_db(false).raw_value(), found)
    }

    /// Wants a doorbell to have rung, and takes its pending bit away.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_ring(&self, lpi: u32) -> Outcome {
        let lpi: Lpi = self.lpi(lpi)?;
        let found = Cell::new(Ok(ICC_ICSR_EL1::ZERO));
        self.until(|| {
            found.set(self.config(lpi));
            found.get().map_or(true, |config| config.pending())
        });
        expect("the doorbell rings", true, found.get()?.pending())?;
        self.pe.cdpend(lpi.into(), false);
        self.sync();
        self.expect_pending(lpi, false)
    }

    /// Wants a doorbell not to ring.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_no_ring(&self, lpi: u32) -> Outcome {
        self.linger();
        expect("the doorbell rings", false, self.config(self.lpi(lpi)?)?.pending())
    }
}
