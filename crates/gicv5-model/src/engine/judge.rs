//! What software at EL2 does wrong: the writes, reads and entries of which a rule says so.

use gicv5_arch::sysreg::ICH_CONTEXTR_EL2;

use crate::cpu::{Register, Side};
use crate::engine::pe_state::Asker;
use crate::engine::state::MachineState;
use crate::words::cpu::Level;
use crate::words::ids::PeIndex;
use crate::words::rules;
use crate::words::violation::Place;
use gicv5_arch::sysreg::SysReg;

impl MachineState {
    /// Looks at a write before it waits to act.
    pub(crate) fn judge_write(&mut self, pe: PeIndex, level: Level, name: SysReg, register: Register, value: u64) {
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
        let vctlr = gicv5_arch::sysreg::ICH_VCTLR_EL2::new_with_raw_value(match register {
            Register::Vctlr | Register::Vmcr | Register::Contextr => state.cpu.read(Register::Vctlr),
            _ => 0,
        });
        let Some(virt) = state.cpu.el2_mut() else { return };
        let remembered = &mut virt.remembered;
        let mut out_of_order = None;
        match register {
            Register::Vctlr if vctlr.v3() && value & 2 == 0 => remembered.v3_written = true,
            Register::Vmcr if remembered.v3_written => {
                out_of_order = Some("is written while V3=0 has no ISB after it, so that it may have the GICv3 layout");
            }
            Register::Vmcr | Register::Apr(Side::Virtual) if remembered.not_entered => {
                out_of_order = Some(
                    "is written after the VPE was made resident, so that its first interrupt may be judged by the old value",
                );
            }
            Register::Contextr => {
                let v = ICH_CONTEXTR_EL2::new_with_raw_value(value).v();
                remembered.context_written = Some(v);
                remembered.not_entered = v;
                if v && vctlr.v3() {
                    out_of_order = Some("makes a VPE resident while V3=1");
                } else if v && remembered.v3_written {
                    out_of_order = Some("makes a VPE resident while V3=0 has no ISB after it");
                }
            }
            Register::Dvir(n) => {
                if let Some(stale) = remembered.stale_dvi.get_mut(n) {
                    *stale = false;
                }
            }
            _ => {}
        }
        if let Some(what) = out_of_order {
            self.report.violate(rules::RES_15, place, 0, value, || format!("{name} {what}"));
        }
    }

    /// Looks at a read.
    pub(crate) fn judge_read(&mut self, pe: PeIndex, level: Level, name: SysReg, register: Register) {
        let place = Place::SysReg(pe, name);
        let index = usize::from(pe.0);
        match (level, register) {
            (Level::Host, Register::Contextr) => match self.el2(index).and_then(|el2| el2.remembered.context_written) {
                Some(true) => self.report.violate(rules::RES_1, place, 0, 0, || {
                    "F is read before an ISB, and does not tell whether the request has worked".into()
                }),
                Some(false) => self.report.violate(rules::RES_14, place, 0, 0, || {
                    "ICH_CONTEXTR_EL2 is read before an ISB that lets its write act".into()
                }),
                None => {}
            },
            (Level::Guest, Register::Icsr) => {
                let reader = self.el2(index).and_then(|el2| el2.resident).map(|(vm, vpe)| Asker::Vpe(vm, vpe));
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
    pub(crate) fn judge_entry(&mut self, pe: usize) {
        let Some(state) = self.pes.get_mut(pe) else { return };
        let both = [0, 1].map(|n| state.cpu.directly_injected(n) & state.cpu.enabled_ppis(n));
        let Some(virt) = state.cpu.el2_mut() else { return };
        let remembered = &mut virt.remembered;
        remembered.not_entered = false;
        let failed = std::mem::take(&mut remembered.failed);
        let stale = std::mem::take(&mut remembered.stale_dvi);
        let context = virt.context.raw_value();
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
            if stale.get(n) == Some(&true) {
                self.report.violate(rules::PPI_13, place, 0, 0, || {
                    "a guest is entered with the direct injection of the VPE that ran before it".into()
                });
            }
        }
    }
}
