//! IRS_SYNCR, which waits for events and changes nothing.

use gicv5_arch::irs::{IRS_SYNC_STATUSR, IRS_SYNCR};

use super::prelude::*;

group! { "synchronisation";
    /// A synchronisation leaves a pending virtual interrupt where it is, whether its VPE is resident or not.
    fn pending_virtual_interrupt_stays(lab) rules["SYN-8", "RES-8"] needs[Need::Virt] {
        lab.world()?;
        lab.inject(VM, vlpi(1), true);
        lab.write(IRS_SYNCR::ZERO.with_sync(true))?;
        expect("IRS_SYNC_STATUSR.IDLE", true, lab.read::<IRS_SYNC_STATUSR>().idle())?;
        lab.load(0, VM, VPES[0])?;
        lab.expect_virtual(0, vlpi(1))?;
        lab.write(IRS_SYNCR::ZERO.with_sync(true))?;
        lab.expect_virtual(0, vlpi(1))
    }
}
