//! The state that a machine should be reset from.

use gicv5_arch::sysreg::SysReg;
use gicv5_arch::{Ppi, PpiBank};

use crate::bench::{Bench, BenchPe};
use crate::lab::Lab;
use crate::outcome::Outcome;

/// Leaves a machine as a busy host leaves it that is reset: the IRS and every CPU interface are on, the software PPI of every
/// PE is enabled and pending, an LPI of a valid IST is pending, one SPI is active and pending, and another is signalled at PE
/// 0. What a reset does not undo shows in the tests of group `reset` afterwards, each in a boot of its own.
///
/// To be called instead of [`run`](crate::run), on a machine that nothing else has touched.
///
/// # Errors
///
/// [`Failure`](crate::Failure), if the machine does not come so far.
pub fn disorder<B: Bench>(bench: &B, pe: &BenchPe<'_, B>) -> Outcome {
    let lab = Lab::new(bench, pe);
    let bank = PpiBank::Architected;
    for n in 0..lab.pes() {
        lab.on(n, |pe| {
            pe.write_raw(SysReg::icc_ppi_priorityr(Ppi::SW_PPI.priority_register()), 0x1f1f_1f1f_1f1f_1f1f);
            pe.write_raw(SysReg::icc_ppi_enabler(bank), Ppi::SW_PPI.mask());
            pe.write_raw(SysReg::icc_ppi_spendr(bank), Ppi::SW_PPI.mask());
            pe.isb();
            0
        })?;
        lab.start_pe(n)?;
    }
    lab.irs_enable(true)?;
    let (signalled, active) = (lab.spi()?, lab.spi()?);
    lab.ready(active, 3)?;
    lab.pend(active)?;
    lab.take(active)?;
    lab.pend(active)?;
    if lab.features.linear_ist().is_some() {
        lab.linear_ist()?;
        let lpi = lab.lpi(7)?;
        lab.ready(lpi, 2)?;
        lab.pend(lpi)?;
    }
    lab.ready(signalled, 1)?;
    lab.pend(signalled)?;
    lab.expect_signal(0)
}
