//! Time: effects of instructions that wait, and everything that is due.

use crate::engine::pe_state::{Acted, Effect};
use crate::engine::state::MachineState;
use std::collections::VecDeque;

use gicv5_arch::VmId;
use gicv5_arch::insn::{GicInsn, VmPendingOperand};

use crate::cpu::Side;
use crate::words::clock::Tick;
use crate::words::config::Effects;
use crate::words::ids::PeIndex;

impl MachineState {
    /// Whether what is started now on a PE, for a VM or for the host, acts now. What is done for one VM has no part in what
    /// others see of chance: each VM has its own, and so has the host on each PE. What is done for a VM that there is not has no
    /// chance, and waits.
    pub(super) fn acts_early(&mut self, pe: usize, whose: Option<VmId>) -> bool {
        match self.config.switches.effects {
            Effects::Early => true,
            Effects::Late => false,
            Effects::Random => {
                let rng = match whose {
                    Some(vm) => self.virt.vms.get_mut(&vm).map(|vm| &mut vm.rng),
                    None => self.pes.get_mut(pe).map(|state| &mut state.rng),
                };
                rng.is_some_and(|rng| rng.chance(1, 2))
            }
        }
    }

    /// The VM that an effect is about; `None` for the host's own.
    pub(super) fn whose(&self, pe: usize, effect: Effect) -> Option<VmId> {
        match effect {
            Effect::Insn { insn: GicInsn::GIC_VDPEND, xt, .. } => Some(VmPendingOperand::new_with_raw_value(xt).vm()),
            Effect::Insn { on: Acted::Virtual(Some((vm, _))), .. } => Some(vm),
            Effect::Signals(Side::Virtual) => self.resident(pe).map(|(vm, _)| vm),
            Effect::Insn { .. } | Effect::Signals(Side::Physical) => None,
        }
    }

    pub(super) fn start_effect(&mut self, pe: PeIndex, effect: Effect) {
        let index = usize::from(pe.0);
        match self.config.switches.effects {
            // Nothing ever waits.
            Effects::Early => return self.take_effect(index, effect),
            Effects::Late => {}
            Effects::Random => {
                let whose = self.whose(index, effect);
                if self.acts_early(index, whose) {
                    self.complete_those_of(index, whose);
                    return self.take_effect(index, effect);
                }
            }
        }
        let due = self.report.now().after(self.config.effect_latency);
        if let Some(state) = self.pes.get_mut(index) {
            state.effects.push_back((due, effect));
            self.next_effect = self.next_effect.min(due);
        }
    }

    /// Completes a PE's effects for a VM or for the host, in order. Those for others have no order among them, and wait.
    fn complete_those_of(&mut self, pe: usize, whose: Option<VmId>) {
        self.complete_some(pe, |state, effect| state.whose(pe, effect) == whose);
    }

    /// What was begun for a VPE of a VM that is not valid any more comes now, and so to nothing (VM-12): it must not reach a
    /// later VM of the same ID (INJ-10). A `GIC VDPEND` names whoever has the ID when it takes effect (INS-15), and waits.
    pub(super) fn end_effects(&mut self, vm: VmId) {
        for pe in 0..self.pes.len() {
            self.complete_some(pe, |_, effect| match effect {
                Effect::Insn { insn: GicInsn::GIC_VDPEND, .. } => false,
                Effect::Insn { on: Acted::Virtual(Some((of, _))), .. } => of == vm,
                _ => false,
            });
        }
    }

    /// Completes some of a PE's effects, in order.
    fn complete_some(&mut self, pe: usize, those: impl Fn(&MachineState, Effect) -> bool) {
        let Some(state) = self.pes.get_mut(pe).filter(|state| !state.effects.is_empty()) else { return };
        let mut waiting = VecDeque::new();
        for (due, effect) in std::mem::take(&mut state.effects) {
            match those(self, effect) {
                true => self.take_effect(pe, effect),
                false => waiting.push_back((due, effect)),
            }
        }
        if let Some(state) = self.pes.get_mut(pe) {
            state.effects = waiting;
        }
    }

    fn take_effect(&mut self, pe: usize, effect: Effect) {
        match effect {
            Effect::Insn { by, on, insn, xt } => self.execute(pe, by, on, insn, xt),
            Effect::Signals(side) => self.show_signals(pe, side),
        }
    }

    /// Completes a PE's effects, in order, as long as the condition holds for the moment at which they are due.
    pub(super) fn complete_effects(&mut self, pe: usize, condition: impl Fn(Tick) -> bool) {
        while let Some(state) = self.pes.get_mut(pe)
            && let Some(&(due, effect)) = state.effects.front()
            && condition(due)
        {
            state.effects.pop_front();
            self.take_effect(pe, effect);
        }
    }

    /// Completes a PE's effects up to the last one of a kind.
    pub(super) fn complete_up_to(&mut self, pe: usize, last: impl Fn(&Effect) -> bool) {
        let Some(state) = self.pes.get_mut(pe) else { return };
        if let Some(last) = state.effects.iter().rposition(|(_, effect)| last(effect)) {
            let rest = state.effects.split_off(last + 1);
            self.complete_effects(pe, |_| true);
            if let Some(state) = self.pes.get_mut(pe) {
                state.effects = rest;
            }
        }
    }

    pub(crate) fn advance(&mut self, ticks: u64) {
        self.report.clock.advance(ticks);
        self.memory.moment(&mut self.report);
        self.advance_to_now();
    }

    /// Lets everything happen that is due.
    #[inline]
    pub(super) fn advance_to_now(&mut self) {
        let now = self.report.now();
        if now >= self.next_effect {
            self.complete_due_effects(now);
        }
        self.complete_commands();
    }

    #[cold]
    fn complete_due_effects(&mut self, now: Tick) {
        let actor = self.report.actor;
        self.next_effect = Tick::NEVER;
        for pe in 0..self.pes.len() {
            self.report.actor = Some(PeIndex(pe as u16));
            self.complete_effects(pe, |due| due <= now);
            if let Some((due, _)) = self.pes.get(pe).and_then(|state| state.effects.front()) {
                self.next_effect = self.next_effect.min(*due);
            }
        }
        self.report.actor = actor;
    }
}
