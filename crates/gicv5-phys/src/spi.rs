//! SPIs: what only the IRS that owns them can do.

use gicv5_arch::irs::{IRS_SPI_CFGR, IRS_SPI_RESAMPLER, IRS_SPI_SELR, IRS_SPI_VMR};
use gicv5_arch::values::{HandlingMode, TriggerMode};
use gicv5_arch::{IrsIntId, Priority, Spi};
use gicv5_hal::{CurrentPe, Pe, PeOps, Platform};

use crate::driver::phys::Phys;
use crate::interrupts::by_number::read_configuration;
use crate::machine::IrsUnit;
use gicv5_irs::command::{Command, CommandError, Fault};
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

impl SpiError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            SpiError::NotOwned { .. } | SpiError::NotOurs { .. } => Fault::Caller,
            SpiError::OtherSelected { .. } => Fault::Hardware,
            SpiError::Command(error) => error.fault(),
        }
    }
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
        Ok(self.machine.domain.block_on(self.sample(irs, spi))?)
    }

    async fn sample(&self, irs: &IrsUnit<H>, spi: Spi) -> Result<(), CommandError> {
        let mut port = self.machine.port(irs, PortKind::Spi, Command::ResampleSpi).await?;
        port.issue(Command::ResampleSpi, IRS_SPI_RESAMPLER::ZERO.with_spi_id(spi)).await?;
        Ok(())
    }

    /// Gives each SPI of the domain the state that the driver's users start from, whatever earlier software has left: it is
    /// disabled, inactive, the host's and not a VM's, targeted at this PE, and has the configured priority. It is pending only
    /// if its wire is read as a level and is high. How its wire is read stays as it was (SPI-7).
    pub(crate) async fn reset_spis(&self) -> Result<(), CommandError> {
        for irs in &self.machine.found.irss {
            for spi in spis(irs) {
                let found = match self.reset_spi(spi) {
                    None if irs.virt && self.take_back(spi).await? => self.reset_spi(spi),
                    found => found,
                };
                // What has cleared Pending may have lost a level, which only the wire knows (SPI-5, ISM-4).
                if found == Some(HandlingMode::Level) {
                    self.sample(irs, spi).await?;
                }
            }
        }
        Ok(())
    }

    /// Resets what instructions can reset. Returns the handling mode that it had; `None` if the SPI cannot be reached: it is
    /// another domain's, or a VM's (INS-11, SPI-9).
    fn reset_spi(&self, spi: Spi) -> Option<HandlingMode> {
        self.machine.domain.platform.current_pe().on_this_pe(|pe| reset(pe, spi.into(), self.settings.priority))
    }

    /// Takes an SPI back that earlier software has assigned to a VM. False if it is not so assigned.
    async fn take_back(&self, spi: Spi) -> Result<bool, CommandError> {
        let mut port = match self.select(spi).await {
            Ok(port) => port,
            Err(SpiError::Command(error)) => return Err(error),
            // Another domain's (SPI-2).
            Err(_) => return Ok(false),
        };
        if !port.read::<IRS_SPI_VMR>().virt() {
            return Ok(false);
        }
        port.issue_valid(Command::TakeSpiBack, IRS_SPI_VMR::ZERO).await?;
        let found: IRS_SPI_VMR = port.read();
        if found.virt() { Err(port.register_says(Command::TakeSpiBack, found)) } else { Ok(true) }
    }

    /// Disables every SPI of the domain, so that none is left on for the software that comes next.
    pub(crate) fn disable_spis(&self) {
        for irs in &self.machine.found.irss {
            let mut spis = spis(irs).peekable();
            while spis.peek().is_some() {
                // A few at a time: what runs on one PE for certain is short.
                self.machine.domain.platform.current_pe().on_this_pe(|pe| {
                    pe.gsb_sys();
                    for spi in spis.by_ref().take(64) {
                        if read_configuration(pe, spi.into()).is_some_and(|found| found.enabled) {
                            pe.cddis(spi.into());
                        }
                    }
                    // SYN-4.
                    pe.gsb_sys();
                });
            }
        }
    }
}

fn spis<H: Platform>(irs: &IrsUnit<H>) -> impl Iterator<Item = Spi> {
    irs.spis.clone().filter_map(|id| Spi::new(id).ok())
}

/// Looks at an SPI, and writes only what is not as it should be: after a reset that is nothing. QEMU 11.1 takes a disable for an
/// enable and a clear for a set.
fn reset<P: PeOps + ?Sized>(pe: &Pe<'_, P>, id: IrsIntId, priority: Priority) -> Option<HandlingMode> {
    pe.gsb_sys();
    let mut found = read_configuration(pe, id)?;
    if found.enabled {
        pe.cddis(id);
        pe.gsb_sys();
        found = read_configuration(pe, id)?;
    }
    if found.active {
        // The software that made it active is gone, so that no handler would deactivate it (ISM-7).
        pe.cddi(id.into());
    }
    if found.pending {
        pe.cdpend(id, false);
    }
    if found.handling != HandlingMode::Edge {
        pe.cdhm(id, HandlingMode::Edge);
    }
    if found.priority != priority {
        pe.cdpri(id, priority);
    }
    if found.target != pe.iaffid() {
        pe.cdaff(id, pe.iaffid());
    }
    pe.gsb_sys();
    Some(found.handling)
}
