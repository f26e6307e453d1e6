//! NMIs: interrupts of priority 0 while SCTLR_ELx.NMI is 1.

use gicv5_arch::insn::AcknowledgeResult;
use gicv5_hal::{Pe, PeOps};

use super::prelude::*;
use crate::bench::Masked;
use crate::lab::{A_WHILE, SOON, expect_interrupt};

/// Says whether priority 0 is an NMI on a PE.
fn set_nmi<B: Bench>(lab: &Lab<'_, B>, pe: usize, enable: bool) -> Outcome {
    let bench = lab.bench();
    lab.on(pe, |pe| {
        bench.set_nmi(pe, enable);
        0
    })
    .map(drop)
}

/// Starts with NMIs on, and with an SPI of a priority ready, not pending.
fn ready<B: Bench>(lab: &Lab<'_, B>, priority: u32) -> Result<Spi, Failure> {
    lab.start()?;
    set_nmi(lab, 0, true)?;
    let spi = lab.spi()?;
    lab.ready(spi, priority)?;
    Ok(spi)
}

/// `GICR CDNMIA`, with what must follow (SYN-3).
fn acknowledge_nmi<P: PeOps + ?Sized>(pe: &Pe<'_, P>) -> u64 {
    let taken: AcknowledgeResult = pe.cdnmia();
    pe.gsb_ack();
    pe.isb();
    taken.raw_value()
}

/// Wants the NMI acknowledge of PE 0 to take this.
fn expect_nmi<B: Bench>(lab: &Lab<'_, B>, id: Option<IntId>) -> Outcome {
    expect_interrupt("GICR CDNMIA", id, acknowledge_nmi(lab.pe))
}

/// Wants an interrupt to come as an exception on PE 0 while these are masked, or not.
fn expect_exception<B: Bench>(lab: &Lab<'_, B>, masked: Masked, comes: bool) -> Outcome {
    let limit = if comes { SOON } else { A_WHILE };
    expect("an IRQ exception came", comes, lab.bench().wait_for_nmi(lab.pe, masked, limit))
}

group! { "nmi";
    /// The NMI acknowledge takes an NMI, which becomes active with priority 0.
    fn nmi_has_an_acknowledge_of_its_own(lab) rules["INS-2", "PRI-6", "ISM-3"] needs[Need::Nmi, Need::Spis(1)] {
        let spi = ready(lab, 0)?;
        lab.signal(spi)?;
        expect_nmi(lab, Some(spi.into()))?;
        lab.expect_active(spi, true)?;
        lab.expect_pending(spi, false)?;
        expect("ICC_APR_EL1", 1, lab.sysreg(SysReg::ICC_APR_EL1))?;
        lab.finish(spi)?;
        lab.expect_silence(0)?;
        expect_nmi(lab, None)
    }

    /// The ordinary acknowledge does not take an NMI, and changes nothing.
    fn ordinary_acknowledge_leaves_nmis_alone(lab) rules["INS-2"] needs[Need::Nmi, Need::Spis(1)] {
        let spi = ready(lab, 0)?;
        lab.signal(spi)?;
        lab.expect_nothing_to_take()?;
        lab.expect_active(spi, false)?;
        lab.expect_pending(spi, true)?;
        expect("ICC_APR_EL1", 0, lab.sysreg(SysReg::ICC_APR_EL1))?;
        expect_nmi(lab, Some(spi.into()))
    }

    /// The NMI acknowledge does not take an interrupt of priority 1, and changes nothing.
    fn nmi_acknowledge_leaves_the_others_alone(lab) rules["INS-2"] needs[Need::Nmi, Need::Spis(1)] {
        // The most urgent priority that is none of an NMI.
        let spi = ready(lab, 1 << (5 - lab.features.priority_bits()))?;
        lab.signal(spi)?;
        expect_nmi(lab, None)?;
        lab.expect_active(spi, false)?;
        lab.expect_pending(spi, true)?;
        lab.take(spi)
    }

    /// An acknowledge does not take the next best interrupt in place of an NMI.
    fn nothing_is_taken_in_place_of_an_nmi(lab) rules["INS-2", "INS-1"] needs[Need::Nmi, Need::Spis(2)] {
        let (nmi, other) = (ready(lab, 0)?, lab.spi()?);
        lab.ready(other, 16)?;
        // The NMI first: the other one may find its way to the PE before it, and would be taken (HPPI-5).
        lab.signal(nmi)?;
        lab.pend(other)?;
        lab.expect_nothing_to_take()?;
        expect_nmi(lab, Some(nmi.into()))?;
        lab.finish(nmi)?;
        expect_nmi(lab, None)?;
        lab.take(other)
    }

    /// An LPI can be an NMI.
    fn lpi_can_be_an_nmi(lab) rules["INS-2", "ISM-8"] needs[Need::Nmi, Need::Lpis] {
        lab.linear_ist()?;
        lab.start()?;
        set_nmi(lab, 0, true)?;
        let lpi = lab.lpi(21)?;
        lab.ready(lpi, 0)?;
        lab.signal(lpi)?;
        lab.expect_nothing_to_take()?;
        expect_nmi(lab, Some(lpi.into()))?;
        lab.finish(lpi)
    }

    /// A PPI can be an NMI, which the NMI acknowledge activates.
    fn ppi_can_be_an_nmi(lab) rules["INS-2", "HPPI-3"] needs[Need::Nmi] {
        lab.start()?;
        set_nmi(lab, 0, true)?;
        let mask = Ppi::SW_PPI.mask();
        lab.set_sysreg(SysReg::ICC_PPI_ENABLER0_EL1, mask);
        lab.set_sysreg(SysReg::ICC_PPI_SPENDR0_EL1, mask);
        lab.expect_signal(0)?;
        lab.expect_nothing_to_take()?;
        expect_nmi(lab, Some(Ppi::SW_PPI.into()))?;
        expect("ICC_PPI_SACTIVER0_EL1", mask, lab.sysreg(SysReg::ICC_PPI_SACTIVER0_EL1))?;
        expect("ICC_PPI_SPENDR0_EL1, edges", 0, lab.sysreg(SysReg::ICC_PPI_SPENDR0_EL1) & mask)?;
        lab.finish(Ppi::SW_PPI)
    }

    /// Whether a pending interrupt is an NMI is decided at the acknowledge.
    fn pending_interrupt_becomes_an_nmi_and_back(lab) rules["INS-2"] needs[Need::Nmi, Need::Spis(1)] {
        let spi = ready(lab, 0)?;
        lab.pend(spi)?;
        set_nmi(lab, 0, false)?;
        expect_nmi(lab, None)?;
        set_nmi(lab, 0, true)?;
        lab.expect_nothing_to_take()?;
        lab.set_priority(spi, 16);
        expect_nmi(lab, None)?;
        lab.set_priority(spi, 0);
        lab.expect_nothing_to_take()?;
        set_nmi(lab, 0, false)?;
        lab.take(spi)
    }

    /// An NMI comes as an exception although PSTATE.I masks IRQs.
    fn nmi_comes_through_masked_irqs(lab) rules["HPPI-8", "INS-22"] needs[Need::Nmi, Need::Spis(1)] {
        let spi = ready(lab, 0)?;
        lab.pend(spi)?;
        expect_exception(lab, Masked::Irqs, true)?;
        expect("an FIQ is signalled", false, lab.bench().signals(lab.pe).fiq)?;
        expect_nmi(lab, Some(spi.into()))?;
        expect_exception(lab, Masked::Irqs, false)
    }

    /// PSTATE.ALLINT holds an NMI back, which stays signalled.
    fn nmi_waits_while_everything_is_masked(lab) rules["HPPI-8", "INS-22"] needs[Need::Nmi, Need::Spis(1)] {
        let spi = ready(lab, 0)?;
        lab.pend(spi)?;
        expect_exception(lab, Masked::All, false)?;
        lab.expect_signal(0)?;
        expect_exception(lab, Masked::Irqs, true)?;
        expect_nmi(lab, Some(spi.into()))
    }

    /// An interrupt that is no NMI does not come while PSTATE.I masks IRQs.
    fn ordinary_interrupt_waits_for_irqs(lab) rules["HPPI-8", "INS-22"] needs[Need::Nmi, Need::Spis(1)] {
        let spi = ready(lab, 8)?;
        lab.pend(spi)?;
        expect_exception(lab, Masked::Irqs, false)?;
        let came = lab.bench().wait_for_interrupt(lab.pe, SOON);
        expect("an IRQ exception came", true, came)?;
        lab.take(spi)
    }

    /// While SCTLR_ELx.NMI is 0, priority 0 does not come while PSTATE.I masks IRQs.
    fn priority_zero_alone_waits_for_irqs(lab) rules["HPPI-8", "INS-2"] needs[Need::Nmi, Need::Spis(1)] {
        let spi = ready(lab, 0)?;
        set_nmi(lab, 0, false)?;
        lab.pend(spi)?;
        expect_exception(lab, Masked::Irqs, false)?;
        lab.take(spi)
    }

    /// An NMI preempts whatever is less urgent, and no other NMI.
    fn nmi_preempts_all_but_nmis(lab) rules["PRI-4", "PRI-6", "INS-4"] needs[Need::Nmi, Need::Spis(3)] {
        let (first, second, other) = (ready(lab, 0)?, lab.spi()?, lab.spi()?);
        let least = 1 << (5 - lab.features.priority_bits());
        lab.ready(second, 0)?;
        lab.ready(other, least)?;
        lab.pend_and_take(other)?;
        lab.signal(first)?;
        expect_nmi(lab, Some(first.into()))?;
        expect("ICC_APR_EL1", 1 | 1 << least, lab.sysreg(SysReg::ICC_APR_EL1))?;
        lab.pend(second)?;
        lab.expect_silence(0)?;
        expect_nmi(lab, None)?;
        lab.finish(first)?;
        lab.expect_signal(0)?;
        expect_nmi(lab, Some(second.into()))
    }

    /// NMIs pass the mask as priority 0 does: all masks let it through, and the CPU interface that is off does not.
    fn masks_hold_for_nmis(lab) rules["PRI-3", "PRI-8"] needs[Need::Nmi, Need::Spis(1)] {
        let spi = ready(lab, 0)?;
        lab.mask(0)?;
        lab.signal(spi)?;
        lab.set_sysreg(SysReg::ICC_CR0_EL1, 0);
        lab.expect_silence(0)?;
        expect_nmi(lab, None)?;
        lab.set_sysreg(SysReg::ICC_CR0_EL1, 1);
        lab.expect_signal(0)?;
        expect_nmi(lab, Some(spi.into()))
    }

    /// Each PE says for itself whether it has NMIs.
    fn nmis_belong_to_a_pe(lab) rules["INS-2", "RTE-1"] needs[Need::Nmi, Need::Spis(1), Need::Pes(2)] {
        let spi = ready(lab, 0)?;
        lab.start_pe(1)?;
        lab.pe.cdaff(spi.into(), lab.iaffid(1));
        lab.pend(spi)?;
        lab.expect_signal(1)?;
        expect_interrupt("GICR CDNMIA of PE 1", None, lab.on(1, acknowledge_nmi)?)?;
        lab.take_on(1, spi)?;
        lab.run_on(1, |pe| {
            pe.cdeoi();
            pe.cddi(spi.into());
            pe.gsb_sys();
        })?;
        lab.pe.cdaff(spi.into(), lab.iaffid(0));
        lab.signal(spi)?;
        expect_nmi(lab, Some(spi.into()))
    }

    /// A guest has NMIs of its own, whatever the hypervisor says about its own, and takes them by their acknowledge.
    fn guest_has_its_own_nmis(lab) rules["INS-2", "HPPI-8", "GEN-5"] needs[Need::Nmi, Need::Guests] {
        lab.resident()?;
        lab.vd_priority(vlpi(1), 0)?;
        lab.inject_and_see(vlpi(1))?;
        set_nmi(lab, 0, true)?;
        expect_interrupt("GICR CDNMIA of the guest", None, lab.as_guest(0, acknowledge_nmi)?)?;
        set_nmi(lab, 0, false)?;
        lab.bench().set_guest_nmi(lab.pe, true);
        lab.expect_guest_takes(0, None)?;
        let taken = lab.as_guest(0, acknowledge_nmi)?;
        expect_interrupt("GICR CDNMIA of the guest", Some(vlpi(1).into()), taken)?;
        expect("ICH_APR_EL2", 1, lab.sysreg(SysReg::ICH_APR_EL2))?;
        lab.guest_finishes(0, vlpi(1))
    }
}
