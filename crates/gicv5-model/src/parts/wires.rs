//! An SPI's wire.

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::values::TriggerMode;
use gicv5_arch::{Spi, VmId};

use crate::words::config::{IrsConfig, MachineConfig};

/// An SPI's wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wire {
    pub(crate) high: bool,
    pub(crate) trigger: TriggerMode,
    /// The IRS that owns it, if one does (SPI-1).
    pub(crate) irs: Option<u16>,
    /// The VM it is assigned to (SPI-9).
    pub(crate) vm: Option<VmId>,
    /// Whether that VM has become invalid since, so that the assignment has outlived it (SPI-13).
    pub(crate) left: bool,
    /// What it was as a physical interrupt before it was assigned.
    pub(crate) kept: L2_ISTE,
}

impl Wire {
    pub(crate) fn new(config: &MachineConfig, spi: u32) -> Wire {
        let owns = |irs: &IrsConfig| Spi::new(spi).is_ok_and(|spi| irs.owns(spi));
        let irs = config.irses.iter().position(owns).map(|irs| irs as u16);
        Wire { high: false, trigger: TriggerMode::Edge, irs, vm: None, left: false, kept: L2_ISTE::ZERO }
    }
}
