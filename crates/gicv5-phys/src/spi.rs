//! SPIs: what only the IRS that owns them can do.

use gicv5_arch::Spi;
use gicv5_arch::irs::{IRS_SPI_CFGR, IRS_SPI_RESAMPLER, IRS_SPI_SELR};
use gicv5_arch::values::TriggerMode;
use gicv5_hal::Platform;

use crate::driver::phys::Phys;
use gicv5_irs::command::{Command, CommandError};
use gicv5_irs::command_port::{Port, PortKind};

/// The trigger mode of an SPI could not be read or set, or its wire not be sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiError {
    /// No IRS of the domain owns it (SPI-1).
    #[error("no IRS owns {spi}")]
    NotOwned {
        /// The SPI.
        spi: Spi,
    },
    /// The IRS that owns it does not let this domain manage it: it is assigned to another (SPI-2).
    #[error("{spi} is not assigned to this interrupt domain: IRS_SPI_STATUSR reads {value:#x}")]
    NotOurs {
        /// The SPI.
        spi: Spi,
        /// The status register.
        value: u64,
    },
    /// The IRS has finished selecting an SPI that it does not own, and another that it owns is selected still.
    #[error("{spi} cannot be selected: an earlier selection stays, IRS_SPI_STATUSR reads {value:#x}")]
    OtherSelected {
        /// The SPI that was meant.
        spi: Spi,
        /// The status register.
        value: u64,
    },
    /// The IRS did not do it.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// SPIs. These wait for the IRS, so they must not be called from interrupt handlers, nor with a lock held that one takes.
impl<H: Platform> Phys<H> {
    /// Selects an SPI at the IRS that owns it. The port stays the caller's, because the selection is the IRS's, not the
    /// PE's (GEN-15).
    async fn select(&self, spi: Spi) -> Result<Port<'_, H>, SpiError> {
        let irs = self.irs_of(spi).ok_or(SpiError::NotOwned { spi })?;
        let mut port = self.machine.port(irs, PortKind::Spi, Command::SelectSpi).await?;
        // V says that an SPI is selected, not which (GEN-17): if the selection below has no effect, one that was selected
        // before would be taken for this one. So one that the IRS does not own is selected first.
        let (before, behind) = (irs.spis.start.checked_sub(1), irs.spis.end);
        if let Ok(nobodys) = Spi::new(before.unwrap_or(behind)) {
            let value = port.issue(Command::SelectSpi, IRS_SPI_SELR::ZERO.with_id(nobodys)).await?;
            if port.is_valid(value) {
                return Err(SpiError::OtherSelected { spi, value });
            }
        }
        let value = port.issue(Command::SelectSpi, IRS_SPI_SELR::ZERO.with_id(spi)).await?;
        if port.is_valid(value) { Ok(port) } else { Err(SpiError::NotOurs { spi, value }) }
    }

    /// Sets how an SPI's wire is read. Switching to level samples the wire, switching to edge drops what a high wire made
    /// pending (SPI-3), so do it with the SPI disabled.
    ///
    /// # Errors
    ///
    /// [`SpiError`].
    pub fn set_trigger(&self, spi: Spi, mode: TriggerMode) -> Result<(), SpiError> {
        self.machine.domain.block_on(self.configure(spi, mode))
    }

    async fn configure(&self, spi: Spi, mode: TriggerMode) -> Result<(), SpiError> {
        let mut port = self.select(spi).await?;
        let value = port.issue(Command::ConfigureSpi, IRS_SPI_CFGR::ZERO.with_tm(mode)).await?;
        if !port.is_valid(value) {
            return Err(SpiError::NotOurs { spi, value });
        }
        let found: IRS_SPI_CFGR = port.read();
        if found.tm() != mode {
            return Err(port.register_says(Command::ConfigureSpi, found).into());
        }
        Ok(())
    }

    /// Reads how an SPI's wire is read.
    ///
    /// # Errors
    ///
    /// [`SpiError`].
    pub fn trigger(&self, spi: Spi) -> Result<TriggerMode, SpiError> {
        Ok(self.machine.domain.block_on(self.select(spi))?.read::<IRS_SPI_CFGR>().tm())
    }

    /// Has the IRS look at an SPI's wire again (SPI-5).
    ///
    /// # Errors
    ///
    /// [`SpiError`], but not for an SPI of another domain, which the IRS leaves alone without saying so.
    pub fn resample(&self, spi: Spi) -> Result<(), SpiError> {
        let irs = self.irs_of(spi).ok_or(SpiError::NotOwned { spi })?;
        self.machine.domain.block_on(async {
            let mut port = self.machine.port(irs, PortKind::Spi, Command::ResampleSpi).await?;
            port.issue(Command::ResampleSpi, IRS_SPI_RESAMPLER::ZERO.with_spi_id(spi)).await?;
            Ok(())
        })
    }
}
