//! The registers of the IRS, and its SPIs by their selector.

use gicv5_arch::Spi;
use gicv5_arch::irs::{IRS_CR0, IRS_SPI_CFGR, IRS_SPI_SELR, IrsReg};
use gicv5_arch::register::Register;
use gicv5_arch::values::TriggerMode;
use gicv5_hal::IrsExt;

use crate::bench::Bench;
use crate::features::IRS;
use crate::lab::Lab;
use crate::outcome::{Failure, Outcome, expect};

impl<B: Bench> Lab<'_, B> {
    /// Reads a register of the IRS.
    #[must_use]
    pub fn read<R: Register<Reg = IrsReg>>(&self) -> R {
        self.irs().read(IRS)
    }

    /// Reads a register of the IRS by its name.
    #[must_use]
    pub fn read_raw(&self, register: IrsReg) -> u64 {
        self.irs().read_raw(IRS, register)
    }

    /// Writes a register of the IRS, after and before its status register is idle (GEN-16, GEN-18).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn write<R: Register<Reg = IrsReg>>(&self, value: R) -> Outcome {
        self.write_raw(R::REG, value.to_bits())
    }

    /// The same by name.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn write_raw(&self, register: IrsReg, value: u64) -> Outcome {
        self.command(register, value).map(drop)
    }

    /// The same, and returns what the status register, if there is one, read when it became idle. Whatever was written before
    /// has been waited for (GEN-18): every write here is, and a test that writes by itself does so too.
    pub(crate) fn command(&self, register: IrsReg, value: u64) -> Result<Option<u64>, Failure> {
        self.irs().write_raw(IRS, register, value);
        self.status(register)
    }

    /// Waits until the status register of a register is idle.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn idle(&self, register: IrsReg) -> Outcome {
        self.status(register).map(drop)
    }

    fn status(&self, register: IrsReg) -> Result<Option<u64>, Failure> {
        let Some(status) = register.status() else { return Ok(None) };
        let mut value = 0;
        let is_idle = self.until(|| {
            let (idle, read) = self.irs().is_idle(IRS, status);
            value = read;
            idle
        });
        if is_idle {
            return Ok(Some(value));
        }
        Err(Failure::Busy { register: status.register.name(), value })
    }

    /// Writes a register whose status register says whether the selection is valid, and returns that (GEN-17).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn write_selected<R: Register<Reg = IrsReg>>(&self, value: R) -> Result<bool, Failure> {
        let valid = R::REG.status().and_then(|status| status.valid).map_or(0, u64::from);
        Ok(self.command(R::REG, value.to_bits())?.is_some_and(|status| status & valid != 0))
    }

    /// Selects an SPI that there is (SPI-2).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Busy`](crate::Failure::Busy).
    pub fn select(&self, spi: Spi) -> Outcome {
        self.expect_selectable(spi, true)
    }

    /// Writes a number of an SPI to the selector, and wants it to name one or none (SPI-2).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Busy`](crate::Failure::Busy).
    pub fn expect_selectable(&self, spi: Spi, selectable: bool) -> Outcome {
        let selector = IRS_SPI_SELR::ZERO.with_id(spi);
        expect("IRS_SPI_STATUSR.V", selectable, self.write_selected(selector)?)?;
        // The SPI that was selected before would do as well as far as V goes.
        if self.ability.get().shows_selection {
            expect("IRS_SPI_SELR", selector.raw_value(), self.read::<IRS_SPI_SELR>().raw_value())?;
        }
        Ok(())
    }

    /// Sets the trigger mode of an SPI, which stays selected.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Busy`](crate::Failure::Busy).
    pub fn trigger(&self, spi: Spi, mode: TriggerMode) -> Outcome {
        let config = IRS_SPI_CFGR::ZERO.with_tm(mode);
        self.select(spi)?;
        expect("IRS_SPI_STATUSR.V", true, self.write_selected(config)?)?;
        expect("IRS_SPI_CFGR", config.raw_value(), self.read::<IRS_SPI_CFGR>().raw_value())
    }

    /// Enables or disables the IRS.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn irs_enable(&self, enable: bool) -> Outcome {
        let cr0 = self.command(IrsReg::IRS_CR0, IRS_CR0::ZERO.with_irsen(enable).to_bits())?;
        expect("IRS_CR0.IRSEN", enable, cr0.is_some_and(|cr0| cr0 & 1 != 0))
    }
}
