//! The effects of GIC instructions.

use crate::engine::pe_state::{Acted, Asker, Effect, Taking};
use crate::engine::state::MachineState;

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::insn::{
    AcknowledgeResult, AffinityOperand, DeactivateOperand, Form, GicInsn, HandlingModeOperand, IntIdOperand, MinEl,
    PendingOperand, PriorityOperand, VmPendingOperand,
};
use gicv5_arch::sysreg::ICC_ICSR_EL1;
use gicv5_arch::values::{HandlingMode, RoutingMode};
use gicv5_arch::{IntId, IrsIntId};

use crate::cpu::{Acknowledge, Side};
use crate::words::config::{AnswerForNobody, Effects, SetPending};
use crate::words::cpu::{Fate, Level};
use crate::words::event::{Event, Space};
use crate::words::ids::PeIndex;
use crate::words::rules;
use crate::words::violation::Place;

impl MachineState {
    pub(crate) fn gic(&mut self, pe: PeIndex, level: Level, insn: GicInsn, xt: u64) -> u64 {
        self.advance_to_now();
        self.enter(pe, level);
        let info = insn.info();
        let xt = if info.form == Form::Operand { xt } else { 0 };
        let result = match self.fate_of_insn(pe, level, insn) {
            Fate::Executes if level != Level::Guest && info.min_el == MinEl::EL1 => {
                self.issue(pe, level, Acted::Physical, insn, xt)
            }
            Fate::Executes => {
                let resident = self.resident(usize::from(pe.0));
                self.issue(pe, level, Acted::Virtual(resident), insn, xt)
            }
            fate => {
                self.not_executed(fate, Place::Insn(pe, insn), xt, format_args!("{insn} is"));
                0
            }
        };
        self.report.event(|| Event::Instruction { pe, insn, xt, result });
        result
    }

    #[inline]
    pub(crate) fn fate_of_insn(&self, pe: PeIndex, level: Level, insn: GicInsn) -> Fate {
        let Some(state) = self.pes.get(usize::from(pe.0)) else { return Fate::Undefined };
        state.cpu.fate_of_insn(level, insn)
    }

    /// Reports what its author should have known not to execute.
    #[cold]
    pub(super) fn not_executed(&mut self, fate: Fate, place: Place, value: u64, what: std::fmt::Arguments<'_>) {
        match fate {
            Fate::Executes => {}
            Fate::Undefined => self.report.violate(rules::CPU_1, place, 0, value, || {
                format!("{what} not defined at this exception level of this machine")
            }),
            Fate::Traps => self.report.violate(rules::CPU_2, place, 0, value, || format!("{what} trapped to EL2")),
        }
    }

    /// Executes an instruction.
    fn issue(&mut self, pe: PeIndex, level: Level, on: Acted, insn: GicInsn, xt: u64) -> u64 {
        let index = usize::from(pe.0);
        match insn {
            GicInsn::GICR_CDIA => return self.acknowledge(pe, on, Acknowledge::Ordinary),
            GicInsn::GICR_CDNMIA => return self.acknowledge(pe, on, Acknowledge::Nmi),
            GicInsn::GIC_CDEOI => {
                self.judge_taking(pe, on, insn);
                self.drop_priority(pe, on);
            }
            GicInsn::GSB_SYS => {
                self.complete_taking(index);
                self.complete_effects(index, |_| true);
            }
            GicInsn::GSB_ACK => {
                self.complete_taking(index);
                self.show_all_signals(index);
            }
            GicInsn::GIC_CDDI => {
                self.judge_taking(pe, on, insn);
                self.start_effect(pe, Effect::Insn { by: level, on, insn, xt });
            }
            _ => self.start_effect(pe, Effect::Insn { by: level, on, insn, xt }),
        }
        0
    }

    fn complete_taking(&mut self, pe: usize) {
        if let Some(state) = self.pes.get_mut(pe) {
            state.complete_taking();
        }
    }

    /// Looks at what has followed an acknowledge when its interrupt is dropped or deactivated (SYN-3).
    fn judge_taking(&mut self, pe: PeIndex, on: Acted, insn: GicInsn) {
        let Some(state) = self.pes.get_mut(usize::from(pe.0)) else { return };
        let missing = match std::mem::take(state.taking_mut(on.side())) {
            Taking::Ordered => return,
            Taking::Acknowledged => "GSB ACK and ISB",
            Taking::Completed => "an ISB after GSB ACK",
        };
        self.report.violate(rules::SYN_3, Place::Insn(pe, insn), 0, 0, || {
            format!("{insn} follows an acknowledge without {missing} between them")
        });
    }

    pub(crate) fn drop_priority(&mut self, pe: PeIndex, on: Acted) {
        let index = usize::from(pe.0);
        let Some(state) = self.pes.get_mut(index) else { return };
        match on {
            Acted::Physical => {
                state.cpu.drop_priority(Side::Physical);
            }
            // What is the PE's own goes on without the IRS (RES-6, RES-23).
            Acted::Virtual(None) => {
                if state.cpu.acts_virtually() {
                    state.cpu.drop_priority(Side::Virtual);
                }
            }
            Acted::Virtual(Some((vm, vpe))) => {
                let priority = state.cpu.drop_priority(Side::Virtual);
                self.report.event(|| Event::VirtualDrop { pe, vm, vpe, priority });
            }
        }
        self.show_signals(index, on.side());
    }

    pub(crate) fn acknowledge(&mut self, pe: PeIndex, on: Acted, which: Acknowledge) -> u64 {
        let index = usize::from(pe.0);
        let Some(Some((id, priority))) = self.on_cpu(index, |cpu| cpu.acknowledge(on.side(), which)) else { return 0 };
        if let (Ok(id), Some(space)) = (IrsIntId::try_from(id), on.space()) {
            // Active is set and an edge cleared in one step (INS-3). The interrupt was a candidate a moment ago, so it can be
            // reached.
            let mut changed = false;
            self.change_in(index, space, id, |entry| {
                let after = match entry.hm() {
                    HandlingMode::Edge => entry.with_active(true).with_pending(false),
                    HandlingMode::Level => entry.with_active(true),
                };
                changed = after != entry;
                after
            });
            match on {
                Acted::Virtual(Some((vm, vpe))) => self.forward(vm, vpe),
                // The change has offered the next one.
                _ if changed => {}
                _ => {
                    if let Some(iaffid) = self.pes.get(index).map(|state| state.cpu.config().iaffid) {
                        self.offer(iaffid);
                    }
                }
            }
        }
        if let Acted::Virtual(resident) = on {
            if let Some((vm, vpe)) = resident {
                self.report.event(|| Event::VirtualAcknowledge { pe, vm, vpe, interrupt: id, priority });
            }
            // The pending bit of a PPI injected directly is the host's as well (PPI-10).
            self.show_signals(index, Side::Physical);
        }
        self.signals_follow(pe, on.side());
        if let Some(state) = self.pes.get_mut(index) {
            *state.taking_mut(on.side()) = Taking::Acknowledged;
        }
        AcknowledgeResult::reporting(Some(id)).raw_value()
    }

    /// The outputs follow an acknowledge, at the latest at the next GSB (SYN-1).
    fn signals_follow(&mut self, pe: PeIndex, side: Side) {
        self.start_effect(pe, Effect::Signals(side));
    }

    /// Changes the state of an interrupt of a domain for an instruction, and everything that follows from it. What cannot be
    /// reached is dropped, and may be reported (INS-11).
    fn change_in(&mut self, pe: usize, space: Space, id: IrsIntId, change: impl FnOnce(L2_ISTE) -> L2_ISTE) {
        let irs = self.irs_of(pe);
        match space {
            Space::Physical => {
                if let Err(why) = self.update(id, change) {
                    self.unreachable(irs, space, id, why);
                }
            }
            Space::Vm(vm) => self.change_virtual(irs, vm, id, change),
        }
    }

    /// The effect of an instruction. Reserved types are ignored (GEN-1), PPIs too (INS-8).
    pub(super) fn execute(&mut self, pe: usize, by: Level, on: Acted, insn: GicInsn, xt: u64) {
        match insn {
            GicInsn::GIC_CDRCFG | GicInsn::GIC_VDRCFG => {
                self.read_configuration(pe, by, on, IntIdOperand::new_with_raw_value(xt).int_id());
            }
            // Acts on the VM it names, resident or not (INS-15).
            GicInsn::GIC_VDPEND => {
                let operand = VmPendingOperand::new_with_raw_value(xt);
                if let Some(id) = operand.int_id() {
                    self.set_pending(pe, Space::Vm(operand.vm()), id, operand.pending());
                }
            }
            GicInsn::GIC_CDDI | GicInsn::GIC_VDDI => {
                if let Some(id) = DeactivateOperand::new_with_raw_value(xt).int_id() {
                    self.deactivate(pe, by, on, id);
                }
            }
            _ => {
                // With no VPE resident there is nobody to act for (RES-6, INS-17).
                if let Some(space) = on.space() {
                    self.execute_on(pe, space, insn, xt);
                }
            }
        }
    }

    /// The effect of an instruction that changes one field of an LPI or SPI.
    fn execute_on(&mut self, pe: usize, space: Space, insn: GicInsn, xt: u64) {
        match insn {
            GicInsn::GIC_CDEN | GicInsn::GIC_VDEN | GicInsn::GIC_CDDIS | GicInsn::GIC_VDDIS => {
                let Some(id) = IntIdOperand::new_with_raw_value(xt).int_id() else { return };
                let enable = matches!(insn, GicInsn::GIC_CDEN | GicInsn::GIC_VDEN);
                let mut target = None;
                self.change_in(pe, space, id, |entry| {
                    target = enable.then_some(entry.iaffid());
                    entry.with_enable(enable)
                });
                if let Some(target) = target {
                    self.judge_target(pe, insn, space, id, target);
                }
            }
            GicInsn::GIC_CDPRI | GicInsn::GIC_VDPRI => {
                let operand = PriorityOperand::new_with_raw_value(xt);
                let Some(id) = operand.int_id() else { return };
                let irs = self.pes.get(pe).and_then(|state| self.config.irses.get(state.irs));
                let pri_bits = irs.and_then(|irs| irs.idr1.pri_bits().ok()).map_or(5, |bits| bits.count());
                let priority = operand.priority().keep_high_bits(pri_bits);
                self.change_in(pe, space, id, |entry| entry.with_priority(priority));
            }
            GicInsn::GIC_CDAFF | GicInsn::GIC_VDAFF => {
                let operand = AffinityOperand::new_with_raw_value(xt);
                let Some(id) = operand.int_id() else { return };
                // Without 1-of-N the routing mode is ignored (RTE-3).
                let mut target = None;
                self.change_in(pe, space, id, |entry| {
                    target = Some(operand.iaffid());
                    entry.with_iaffid(operand.iaffid()).with_irm(RoutingMode::Targeted)
                });
                if let Some(target) = target {
                    self.judge_target(pe, insn, space, id, target);
                }
            }
            GicInsn::GIC_CDPEND => {
                let operand = PendingOperand::new_with_raw_value(xt);
                let Some(id) = operand.int_id() else { return };
                if let (IrsIntId::Lpi(lpi), Space::Physical, true) = (id, space, operand.pending()) {
                    let place = Place::Insn(PeIndex(pe as u16), insn);
                    self.judge_doorbell_use(place, lpi, "software makes a doorbell pending, as it would an IPI");
                }
                self.set_pending(pe, space, id, operand.pending());
            }
            GicInsn::GIC_CDHM | GicInsn::GIC_VDHM => {
                let operand = HandlingModeOperand::new_with_raw_value(xt);
                let Some(id) = operand.int_id() else { return };
                self.change_in(pe, space, id, |entry| entry.with_hm(operand.hm()));
            }
            _ => {}
        }
    }

    fn set_pending(&mut self, pe: usize, space: Space, id: IrsIntId, pending: bool) {
        let switch = self.config.switches.set_pending;
        self.change_in(pe, space, id, |entry| set_pending(entry, pending, switch));
    }

    /// Deactivates (INS-5).
    fn deactivate(&mut self, pe: usize, by: Level, on: Acted, interrupt: IntId) {
        if let Acted::Virtual(Some((vm, vpe))) = on {
            let pe = PeIndex(pe as u16);
            self.report.event(|| Event::VirtualDeactivate { pe, vm, vpe, interrupt });
        }
        match (IrsIntId::try_from(interrupt), interrupt, on.space()) {
            (Ok(id), _, Some(space)) => {
                return self.change_in(pe, space, id, |entry| entry.with_active(false));
            }
            // A PPI belongs to the PE, and only the domain that owns it deactivates it (INS-7). A guest needs no VPE for that
            // (RES-6), a VDDI does (INS-17).
            (_, IntId::Ppi(ppi), space) => {
                self.on_cpu(pe, |cpu| {
                    if space.is_some() || by == Level::Guest && cpu.acts_virtually() {
                        cpu.deactivate_ppi(on.side(), ppi);
                    }
                });
            }
            _ => return,
        }
        self.show_signals(pe, on.side());
    }

    /// Answers a read-configuration in ICC_ICSR_EL1 (INS-12, INS-13): F=1 if the interrupt cannot be reached, or if there is
    /// no VPE to act for (INS-17).
    fn read_configuration(&mut self, pe: usize, by: Level, on: Acted, id: Option<IrsIntId>) {
        if on.space().is_none() && self.config.switches.residency.nobody == AnswerForNobody::OldAnswer {
            return;
        }
        let irs = self.irs_of(pe);
        let found = match (id, on.space()) {
            (Some(id), Some(space @ Space::Physical)) => {
                self.look_up(id).map_err(|why| self.unreachable(irs, space, id, why)).ok()
            }
            (Some(id), Some(Space::Vm(vm))) => self.look_up_virtual(irs, vm, id),
            _ => None,
        };
        let answer = match found {
            Some(entry) => ICC_ICSR_EL1::ZERO
                .with_iaffid(entry.iaffid())
                .with_priority(entry.priority())
                .with_hm(entry.hm())
                .with_active(entry.active())
                .with_irm(entry.irm())
                .with_pending(entry.pending())
                .with_enabled(entry.enable()),
            None => ICC_ICSR_EL1::ZERO.with_f(true),
        };
        let asker = match (by, on) {
            (Level::Host | Level::Kernel, _) => Some(Asker::Host),
            (Level::Guest, Acted::Virtual(Some((vm, vpe)))) => Some(Asker::Vpe(vm, vpe)),
            (Level::Guest, _) => None,
        };
        let early = self.config.switches.effects == Effects::Early;
        if let Some(state) = self.pes.get_mut(pe) {
            state.answer = Some((answer, asker));
            if early {
                state.take_answer();
            }
        }
    }
}

/// A state after an instruction has set or cleared Pending (INS-9).
pub(crate) fn set_pending(entry: L2_ISTE, pending: bool, switch: SetPending) -> L2_ISTE {
    let entry = entry.with_pending(pending);
    match (switch, pending) {
        (SetPending::MakesEdge, true) => entry.with_hm(HandlingMode::Edge),
        _ => entry,
    }
}
