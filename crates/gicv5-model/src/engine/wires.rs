//! Wires of SPIs and PPIs, and what a change of level does (SPI-3, SPI-4).

use crate::engine::state::MachineState;
use crate::parts::wires::Wire;

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::values::{HandlingMode, TriggerMode};
use gicv5_arch::{IrsIntId, Ppi, Spi};
use gicv5_hal::IrsIndex;

use crate::words::config::EdgeResample;
use crate::words::event::Event;
use crate::words::ids::PeIndex;

impl MachineState {
    /// An event of an SPI reaches whoever it belongs to: the physical domain, or a VM (SPI-9). To an invalid VM, or one
    /// without that SPI, it is lost (SPI-10).
    fn spi_event(&mut self, spi: Spi, change: impl FnOnce(L2_ISTE) -> L2_ISTE) {
        let id = IrsIntId::Spi(spi);
        match self.assigned(spi) {
            Some(vm) => self.change_virtual(self.owner(spi).unwrap_or(0), vm, id, change),
            // An SPI that an IRS owns can always be reached (SPI-8).
            None => drop(self.update(id, change)),
        }
    }

    /// Software asks for a look at an SPI's wire (SPI-5).
    pub(super) fn resample(&mut self, spi: Spi) {
        let wire = self.wires.get(spi.id() as usize).copied();
        match (self.config.switches.edge_resample, wire) {
            (EdgeResample::Pends, Some(Wire { high: true, trigger: TriggerMode::Edge, .. })) => {
                self.spi_event(spi, |entry| entry.with_pending(true).with_hm(HandlingMode::Edge));
            }
            _ => self.sample(spi),
        }
    }

    /// Looks at an SPI's wire again (SPI-3).
    pub(crate) fn sample(&mut self, spi: Spi) {
        let Some(&Wire { high, trigger, .. }) = self.wires.get(spi.id() as usize) else { return };
        match (trigger, high) {
            (TriggerMode::Level, true) => {
                self.spi_event(spi, |entry| entry.with_pending(true).with_hm(HandlingMode::Level));
            }
            (TriggerMode::Level, false) | (TriggerMode::Edge, true) => {
                self.spi_event(spi, |entry| entry.with_pending(false));
            }
            (TriggerMode::Edge, false) => {}
        }
    }

    pub(crate) fn set_spi_wire(&mut self, spi: Spi, high: bool) {
        let (Some(irs), Some(wire)) = (self.owner(spi), self.wires.get_mut(spi.id() as usize)) else { return };
        if wire.high == high {
            return;
        }
        wire.high = high;
        let trigger = wire.trigger;
        self.report.event(|| Event::SpiWire { irs: IrsIndex(irs as u16), spi, high });
        // SPI-4.
        match (trigger, high) {
            (TriggerMode::Edge, true) => {
                self.spi_event(spi, |entry| entry.with_pending(true).with_hm(HandlingMode::Edge));
            }
            (TriggerMode::Level, true) => {
                self.spi_event(spi, |entry| entry.with_pending(true).with_hm(HandlingMode::Level));
            }
            (TriggerMode::Level, false) => self.spi_event(spi, |entry| entry.with_pending(false)),
            (TriggerMode::Edge, false) => {}
        }
    }

    pub(crate) fn set_ppi_wire(&mut self, pe: PeIndex, ppi: Ppi, high: bool) {
        self.report.event(|| Event::PpiWire { pe, ppi, high });
        self.on_cpu(usize::from(pe.0), |cpu| cpu.ppi_wire(ppi, high));
        self.show_all_signals(usize::from(pe.0));
    }
}
