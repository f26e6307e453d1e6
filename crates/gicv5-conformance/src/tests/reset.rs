//! The machine as it comes, before anything has been written. Nothing is put back after these tests, and those that write
//! come last.

use gicv5_arch::irs::{IRS_IST_STATUSR, IRS_PE_STATUSR, IRS_SPI_STATUSR, IRS_SYNC_STATUSR};

use super::prelude::*;

group! { "reset";
    /// The IRS is disabled and idle.
    fn irs_is_disabled_and_idle(lab) rules["GEN-17", "GEN-21"] needs[] {
        expect("IRS_CR0", 0b10, lab.read_raw(IrsReg::IRS_CR0))
    }

    /// No IST is valid.
    fn no_ist_is_valid(lab) rules["LPI-1"] needs[] {
        expect("IRS_IST_BASER.VALID", 0, lab.read_raw(IrsReg::IRS_IST_BASER) & 1)
    }

    /// Every status register is idle.
    fn status_registers_are_idle(lab) rules["GEN-16", "GEN-17"] needs[] {
        expect("IRS_SPI_STATUSR.IDLE", true, lab.read::<IRS_SPI_STATUSR>().idle())?;
        expect("IRS_PE_STATUSR.IDLE", true, lab.read::<IRS_PE_STATUSR>().idle())?;
        expect("IRS_IST_STATUSR.IDLE", true, lab.read::<IRS_IST_STATUSR>().idle())?;
        expect("IRS_SYNC_STATUSR.IDLE", true, lab.read::<IRS_SYNC_STATUSR>().idle())
    }

    /// The CPU interface is disabled, with no priority active.
    fn cpu_interface_is_disabled(lab) rules["PRI-5", "PRI-8"] needs[] {
        expect("ICC_CR0_EL1.EN", 0, lab.sysreg(SysReg::ICC_CR0_EL1) & 1)?;
        expect("ICC_APR_EL1", 0, lab.sysreg(SysReg::ICC_APR_EL1))
    }

    /// No PPI is enabled or active, and none that is an edge is pending.
    fn ppis_are_disabled_and_inactive(lab) rules["PPI-4", "ISM-6"] needs[] {
        for bank in PpiBank::ALL {
            expect("ICC_PPI_ENABLER<n>_EL1", 0, lab.sysreg(SysReg::icc_ppi_enabler(bank)))?;
            expect("ICC_PPI_SACTIVER<n>_EL1", 0, lab.sysreg(SysReg::icc_ppi_sactiver(bank)))?;
            let level = lab.sysreg(SysReg::icc_ppi_hmr(bank));
            expect("ICC_PPI_SPENDR<n>_EL1, edges", 0, lab.sysreg(SysReg::icc_ppi_spendr(bank)) & !level)?;
        }
        Ok(())
    }

    /// No interrupt is signalled.
    fn nothing_is_signalled(lab) rules["PRI-8"] needs[] {
        expect("an IRQ is signalled", false, lab.bench().signals(lab.pe).irq)?;
        expect("an FIQ is signalled", false, lab.bench().signals(lab.pe).fiq)
    }

    /// Every SPI is disabled, idle, inactive and targeted.
    fn spis_are_disabled_idle_and_inactive(lab) rules["SPI-8", "INS-13", "RTE-3"] needs[Need::Spis(1)] {
        let base = lab.features.idr7.spi_base().id();
        let count = lab.features.idr6.spi_irs_range().value();
        for id in base..base.saturating_add(count) {
            let spi = Spi::new(id).map_err(|_| Failure::Exhausted { what: "SPI of that number" })?;
            let config = lab.config(spi)?;
            expect("Enabled, Pending, IRM and Active", 0, config.raw_value() >> 1 & 0xf)?;
        }
        Ok(())
    }

    /// An SPI is an edge of priority 0 for PE 0, as an entry of zeros says.
    fn spis_are_as_an_entry_of_zeros_says(lab) rules["IST-24"] needs[Need::Spis(1)] {
        let config = lab.config(lab.features.idr7.spi_base())?;
        expect("ICC_ICSR_EL1.HM is level", false, config.hm() == HandlingMode::Level)?;
        expect("ICC_ICSR_EL1.Priority", Priority::MOST_URGENT.number(), config.priority().number())?;
        expect("ICC_ICSR_EL1.IAFFID", Iaffid::new(0).raw_value(), config.iaffid().raw_value())
    }

    /// The first acknowledge on a CPU interface that has just been enabled, with nothing else written, finds nothing.
    fn first_acknowledge_finds_nothing(lab) rules["INS-1", "HPPI-3"] needs[] {
        lab.start_pe(0)?;
        expect("GICR CDIA", None, acknowledge(lab.pe))
    }

    /// A CPU interface that is enabled before anything else is written signals nothing.
    fn enabled_cpu_interface_is_silent(lab) rules["HPPI-9", "HPPI-3"] needs[] {
        lab.start_pe(0)?;
        lab.expect_silence(0)
    }

    /// An enabled IRS with nothing pending offers nothing.
    fn enabled_irs_is_silent(lab) rules["GEN-21", "HPPI-1"] needs[] {
        lab.start()?;
        lab.expect_idle()
    }

    /// An IRS that has not been enabled since the reset offers nothing to a CPU interface that is.
    fn disabled_irs_offers_nothing_from_before(lab) rules["HPPI-9", "GEN-21"] needs[] {
        lab.pe.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, 0);
        lab.pe.write_raw(SysReg::ICC_PPI_ENABLER1_EL1, 0);
        lab.start_pe(0)?;
        lab.expect_idle()
    }
}
