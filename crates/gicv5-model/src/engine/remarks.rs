//! What is legal and almost surely wrong: the checker remarks on it, and no rule is broken.

use gicv5_arch::insn::{GicInsn, IntIdOperand, VmPendingOperand};
use gicv5_arch::{Iaffid, IrsIntId, Lpi, VmId, VpeId};

use crate::engine::pe_state::Effect;
use crate::engine::state::MachineState;
use crate::words::event::Space;
use crate::words::ids::PeIndex;
use crate::words::rules;
use crate::words::violation::Place;

impl MachineState {
    /// Looks at the target that an interrupt gets, or has when it is enabled (RTE-4).
    pub(super) fn judge_target(&mut self, pe: usize, insn: GicInsn, space: Space, id: IrsIntId, target: Iaffid) {
        let missing = match space {
            // A PE that comes up routes to itself before it lets interrupts in.
            Space::Physical if self.pe_with(target) == Some(pe) => return,
            Space::Physical => match self.pe_with(target).and_then(|pe| self.pes.get(pe)) {
                None => format!("the PE with affinity ID {}, which is not there", target.raw_value()),
                Some(pe) if !pe.cpu.is_on() => {
                    format!("the PE with affinity ID {}, whose CPU interface is off", target.raw_value())
                }
                Some(_) => return,
            },
            Space::Vm(vm) => {
                let vpe = VpeId::from(target);
                match self.virt.vms.get(&vm) {
                    Some(state) if !state.vpes.contains_key(&vpe) => format!("{vpe} of {vm}, which is not valid"),
                    _ => return,
                }
            }
        };
        let place = Place::Insn(PeIndex(pe as u16), insn);
        let routed = if matches!(insn, GicInsn::GIC_CDEN | GicInsn::GIC_VDEN) { "enabled with" } else { "routed to" };
        self.report
            .remark(rules::RTE_4, place, 0, 0, || format!("{id} is {routed} a target that is missing: {missing}"));
    }

    /// A VM becomes invalid: what is assigned to it outlives it from now on.
    pub(super) fn leave_spis(&mut self, vm: VmId) {
        self.wires.iter_mut().filter(|wire| wire.vm == Some(vm)).for_each(|wire| wire.left = true);
    }

    /// Looks for an SPI that was assigned to an earlier VM with the ID of a new one (SPI-13).
    pub(super) fn judge_spis(&mut self, vm: VmId) {
        if let Some(spi) = self.wires.iter().position(|wire| wire.vm == Some(vm) && wire.left) {
            self.report.remark(rules::SPI_13, Place::Vm(vm), 0, 0, || {
                format!(
                    "the VM is made valid while SPI {spi}, which was assigned to an earlier one with its ID, still is"
                )
            });
        }
    }

    /// Looks for an instruction under way on any PE that names what is taken away or given anew (LIFE-26).
    pub(super) fn judge_under_way(&mut self, place: Place, what: &str, names: impl Fn(Space, IrsIntId) -> bool) {
        let mut effects = self.pes.iter().zip(0..).flat_map(|(pe, n)| pe.effects.iter().map(move |(_, it)| (n, it)));
        let found = effects.find_map(|(pe, effect)| {
            let (insn, space, id) = named(effect)?;
            names(space, id).then_some((PeIndex(pe), insn, id))
        });
        if let Some((pe, insn, id)) = found {
            self.report
                .remark(rules::LIFE_26, place, 0, 0, || format!("{what} while {insn} of {id} on {pe} is under way"));
        }
    }

    /// The same for an LPI that the host's supply gets back.
    pub(crate) fn judge_released(&mut self, lpi: Lpi) {
        let names = |space, id| (space, id) == (Space::Physical, IrsIntId::from(lpi));
        self.judge_under_way(Place::Lpi(lpi), "the LPI was released", names);
    }
}

/// What an instruction names whose effect is to come, if it changes that.
fn named(effect: &Effect) -> Option<(GicInsn, Space, IrsIntId)> {
    let Effect::Insn { on, insn, xt, .. } = *effect else { return None };
    match insn {
        GicInsn::GIC_CDRCFG | GicInsn::GIC_VDRCFG => None,
        GicInsn::GIC_VDPEND => {
            let operand = VmPendingOperand::new_with_raw_value(xt);
            Some((insn, Space::Vm(operand.vm()), operand.int_id()?))
        }
        // All other operands have the interrupt where this one has it.
        _ => Some((insn, on.space()?, IntIdOperand::new_with_raw_value(xt).int_id()?)),
    }
}
