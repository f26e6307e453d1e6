//! How often software has accessed each register of the IRSs.

use std::collections::BTreeMap;

use gicv5_arch::irs::IrsReg;
use gicv5_hal::Frame;

/// How often software has read and written a register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Accesses {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// The registers of all configuration frames, and how often software has accessed each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessLog(pub(crate) BTreeMap<IrsReg, Accesses>);

impl AccessLog {
    /// The register at a place of a configuration frame, one half of it or all.
    pub(crate) fn at(&mut self, frame: Frame, offset: u16) -> Option<&mut Accesses> {
        let upper = || IrsReg::at(offset.wrapping_sub(4)).filter(|register| register.width() == 64);
        let register = (frame.kind == gicv5_hal::FrameKind::Config).then(|| IrsReg::at(offset).or_else(upper));
        Some(self.0.entry(register.flatten()?).or_default())
    }

    pub(crate) fn read(&mut self, frame: Frame, offset: u16) {
        if let Some(accesses) = self.at(frame, offset) {
            accesses.reads += 1;
        }
    }

    pub(crate) fn write(&mut self, frame: Frame, offset: u16) {
        if let Some(accesses) = self.at(frame, offset) {
            accesses.writes += 1;
        }
    }
}
