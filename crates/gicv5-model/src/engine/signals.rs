//! The outputs of the CPU interfaces, as the world sees them.

use crate::engine::state::MachineState;

use gicv5_arch::IntId;

use crate::cpu::{Cpu, Side};
use crate::words::event::{Event, Signal, Space};
use crate::words::ids::PeIndex;

impl MachineState {
    /// Does something to a PE's CPU interfaces that may change its PPIs, and tells what has changed.
    pub(super) fn on_cpu<R>(&mut self, pe: usize, change: impl FnOnce(&mut Cpu) -> R) -> Option<R> {
        let cpu = &mut self.pes.get_mut(pe)?.cpu;
        if !self.report.log.is_observed() {
            return Some(change(cpu));
        }
        let before = [Side::Physical, Side::Virtual].map(|side| cpu.ppis(side));
        let result = change(cpu);
        let after = [Side::Physical, Side::Virtual].map(|side| cpu.ppis(side));
        let pe = PeIndex(pe as u16);
        let changes = |n: usize| match (after.get(n), before.get(n)) {
            (Some(Some(after)), Some(Some(before))) => after.changes_since(before),
            _ => Vec::new(),
        };
        for (ppi, change) in changes(0) {
            let (space, pe, interrupt) = (Space::Physical, Some(pe), IntId::Ppi(ppi));
            self.report.event(|| Event::Interrupt { space, pe, interrupt, change });
        }
        for (ppi, change) in changes(1) {
            self.report.event(|| Event::VirtualPpi { pe, ppi, change });
        }
        Some(result)
    }

    /// Shows the world what a PE's outputs are.
    pub(super) fn show_all_signals(&mut self, pe: usize) {
        self.show_signals(pe, Side::Physical);
        if self.pes.get(pe).is_some_and(|state| state.cpu.el2().is_some()) {
            self.show_signals(pe, Side::Virtual);
        }
    }

    /// Shows the world what the outputs of one side of a PE are.
    pub(super) fn show_signals(&mut self, pe: usize, side: Side) {
        let Some(state) = self.pes.get_mut(pe) else { return };
        let signals = state.cpu.signals(side);
        let (shown, irq, nmi) = match side {
            Side::Physical => (&mut state.signals, Signal::Irq, Signal::Nmi),
            Side::Virtual => (&mut state.virtual_signals, Signal::VirtualIrq, Signal::VirtualNmi),
        };
        let before = std::mem::replace(shown, signals);
        if before == signals {
            return;
        }
        let pe = PeIndex(pe as u16);
        for (signal, was, is) in [(irq, before.irq, signals.irq), (nmi, before.nmi, signals.nmi)] {
            if was != is {
                self.report.event(|| Event::Signal { pe, signal, asserted: is });
            }
        }
    }

    pub(crate) fn set_nmi(&mut self, pe: PeIndex, side: Side, nmi: bool) {
        if let Some(pe) = self.pes.get_mut(usize::from(pe.0)) {
            pe.cpu.set_nmi(side, nmi);
        }
        self.show_signals(usize::from(pe.0), side);
    }
}
