//! A PE's own registers, and context synchronisation.

use crate::engine::pe_state::Effect;
use crate::engine::state::MachineState;

use gicv5_arch::IntId;
use gicv5_arch::insn::{DeactivateOperand, GicInsn};
use gicv5_arch::layout::fields_mask;
use gicv5_arch::sysreg::{ICH_CONTEXTR_EL2, SysReg};

use crate::cpu::Register;
use crate::words::cpu::Level;
use crate::words::event::{Barrier, Event};
use crate::words::ids::PeIndex;
use crate::words::violation::Place;

impl MachineState {
    pub(crate) fn read_sysreg(&mut self, pe: PeIndex, level: Level, register: SysReg) -> u64 {
        self.advance_to_now();
        self.enter(pe, level);
        let Some(state) = self.pes.get(usize::from(pe.0)) else { return 0 };
        let value = match state.cpu.readable(level, register) {
            Ok(found) => {
                let value = state.cpu.read(found);
                self.judge_read(pe, level, register, found);
                value
            }
            Err(fate) => {
                self.not_executed(fate, Place::SysReg(pe, register), 0, format_args!("a read of {register} is"));
                0
            }
        };
        self.report.event(|| Event::SysRegRead { pe, register, value });
        value
    }

    pub(crate) fn write_sysreg(&mut self, pe: PeIndex, level: Level, register: SysReg, value: u64) {
        self.advance_to_now();
        self.enter(pe, level);
        let index = usize::from(pe.0);
        let guest = if level == Level::Guest { self.resident(index).map(|(vm, _)| vm) } else { None };
        let early = self.acts_early(index, guest);
        let Some(state) = self.pes.get(index) else { return };
        let found = state.cpu.writable(level, register);
        self.report.event(|| Event::SysRegWrite { pe, register, value });
        let found = match found {
            Ok(found) => found,
            Err(fate) => {
                let what = format_args!("a write of {register} is");
                return self.not_executed(fate, Place::SysReg(pe, register), value, what);
            }
        };
        self.judge_write(pe, level, register, found, value);
        if let Some(state) = self.pes.get_mut(index) {
            match register.is_self_synchronising() {
                true => state.cpu.apply(found, value),
                false => state.cpu.write(found, value),
            }
        }
        if early {
            self.synchronise(index);
        }
        self.show_all_signals(index);
    }

    /// Lets every write act that has waited for it.
    pub(crate) fn synchronise(&mut self, pe: usize) {
        while let Some(state) = self.pes.get_mut(pe)
            && let Some((register, value)) = state.cpu.next_unsynchronised()
        {
            match register {
                Register::Contextr => {
                    self.change_context(pe, ICH_CONTEXTR_EL2::new_with_raw_value(value & CONTEXTR_FIELDS))
                }
                _ => {
                    self.on_cpu(pe, |cpu| cpu.apply(register, value));
                }
            }
        }
    }

    /// Whoever executes next on a PE is at this level.
    #[inline]
    pub(crate) fn enter(&mut self, pe: PeIndex, level: Level) {
        if self.pes.get(usize::from(pe.0)).is_some_and(|state| state.level != level) {
            self.change_level(pe, level);
        }
    }

    /// Exception entry and return, which synchronise the context.
    #[cold]
    fn change_level(&mut self, pe: PeIndex, level: Level) {
        let index = usize::from(pe.0);
        // A PPI that was deactivated belongs to the PE, so that whoever looks at its state next sees it.
        self.complete_up_to(index, |effect| match effect {
            Effect::Insn { insn: GicInsn::GIC_CDDI | GicInsn::GIC_VDDI, xt, .. } => {
                matches!(DeactivateOperand::new_with_raw_value(*xt).int_id(), Some(IntId::Ppi(_)))
            }
            _ => false,
        });
        self.synchronise_context(index);
        if let Some(state) = self.pes.get_mut(index) {
            state.level = level;
        }
        self.report.event(|| Event::Level { pe, level });
        if level == Level::Guest {
            self.judge_entry(index);
        }
        self.show_all_signals(index);
    }

    /// Context synchronisation: what an ISB does, and exception entry and return do too.
    fn synchronise_context(&mut self, pe: usize) {
        // A read-configuration needs no more than that (INS-12), so everything up to it completes.
        self.complete_up_to(pe, |effect| {
            matches!(effect, Effect::Insn { insn: GicInsn::GIC_CDRCFG | GicInsn::GIC_VDRCFG, .. })
        });
        self.synchronise(pe);
        if let Some(state) = self.pes.get_mut(pe) {
            state.take_answer();
            state.synchronise_taking();
            if let Some(virt) = state.cpu.el2_mut() {
                virt.note_synchronisation();
            }
        }
    }

    pub(crate) fn isb(&mut self, pe: PeIndex, level: Level) {
        self.advance_to_now();
        self.enter(pe, level);
        let index = usize::from(pe.0);
        self.synchronise_context(index);
        self.report.event(|| Event::Barrier { pe, barrier: Barrier::Isb });
        self.show_all_signals(index);
    }
}

pub(crate) const CONTEXTR_FIELDS: u64 = fields_mask(ICH_CONTEXTR_EL2::FIELDS);
