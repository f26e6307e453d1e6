//! What software at EL2 does wrong: the writes, reads and entries of which a rule says so.

use gicv5_arch::sysreg::{ICH_VCTLR_EL2, SysReg};

use crate::cpu::{Register, SinceEntry, VirtualCpu};
use crate::engine::pe_state::Asker;
use crate::engine::state::MachineState;
use crate::words::cpu::Level;
use crate::words::ids::PeIndex;
use crate::words::rules;
use crate::words::violation::Place;

impl MachineState {
    /// Looks at a write before it waits to act.
    pub(super) fn judge_write(&mut self, pe: PeIndex, level: Level, name: SysReg, register: Register, value: u64) {
        let index = usize::from(pe.0);
        if register == Register::Icsr
            && let Some(state) = self.pes.get_mut(index)
        {
            state.icsr_of = None;
        }
        let place = Place::SysReg(pe, name);
        let Some(state) = self.pes.get_mut(index) else { return };
        if level == Level::Guest || state.cpu.el2().is_none() {
            return;
        }
        let vctlr = ICH_VCTLR_EL2::new_with_raw_value(match register {
            Register::Vctlr | Register::Vmcr | Register::Contextr => state.cpu.read(Register::Vctlr),
            _ => 0,
        });
        let out_of_order = state.cpu.el2_mut().and_then(|virt| virt.note_write(register, value, vctlr));
        if let Some(what) = out_of_order {
            self.report.violate(rules::RES_15, place, 0, value, || format!("{name} {what}"));
        }
    }

    /// Looks at a read.
    pub(super) fn judge_read(&mut self, pe: PeIndex, level: Level, name: SysReg, register: Register) {
        let place = Place::SysReg(pe, name);
        let index = usize::from(pe.0);
        match (level, register) {
            (Level::Host, Register::Contextr) => match self.el2(index).and_then(VirtualCpu::context_written) {
                Some(true) => self.report.violate(rules::RES_1, place, 0, 0, || {
                    "F is read before an ISB, and does not tell whether the request has worked".into()
                }),
                Some(false) => self.report.violate(rules::RES_14, place, 0, 0, || {
                    "ICH_CONTEXTR_EL2 is read before an ISB that lets its write act".into()
                }),
                None => {}
            },
            (Level::Guest, Register::Icsr) => {
                let reader = self.el2(index).and_then(VirtualCpu::resident).map(|(vm, vpe)| Asker::Vpe(vm, vpe));
                let asker = self.pes.get(index).and_then(|pe| pe.icsr_of);
                if asker.is_some() && asker != reader {
                    self.report.violate(rules::INS_14, place, 0, 0, || {
                        "a guest reads the answer to a question that it did not ask".into()
                    });
                }
            }
            _ => {}
        }
    }

    /// Looks at the state in which a guest is entered.
    pub(super) fn judge_entry(&mut self, pe: usize) {
        let Some(state) = self.pes.get_mut(pe) else { return };
        let both = [0, 1].map(|n| state.cpu.directly_injected(n) & state.cpu.enabled_ppis(n));
        let Some(virt) = state.cpu.el2_mut() else { return };
        let SinceEntry { failed, stale_dvi } = virt.note_entry();
        let context = virt.context().raw_value();
        let index = PeIndex(pe as u16);
        if failed {
            self.report.violate(rules::RES_19, Place::SysReg(index, SysReg::ICH_CONTEXTR_EL2), context, 0, || {
                "a guest is entered although its VPE could not be made resident".into()
            });
        }
        for bank in gicv5_arch::PpiBank::ALL {
            let place = Place::SysReg(index, SysReg::ich_ppi_dvir(bank));
            let n = bank.index();
            if let Some(&both) = both.get(n)
                && both != 0
            {
                self.report.violate(rules::PPI_11, place, 0, both, || {
                    "a guest is entered with a PPI injected directly that the host has enabled as well".into()
                });
            }
            if stale_dvi.get(n) == Some(&true) {
                self.report.violate(rules::PPI_13, place, 0, 0, || {
                    "a guest is entered with the direct injection of the VPE that ran before it".into()
                });
            }
        }
    }
}
