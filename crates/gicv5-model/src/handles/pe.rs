//! The handle of a PE, for the host on it or for its guest.

use crate::handles::machine::Machine;

use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::SysReg;
use gicv5_hal::PeOps;

use crate::words::cpu::{Fate, Level};
use crate::words::event::{Barrier, Event};
use crate::words::ids::PeIndex;

/// Whoever executes on one PE of a machine: the host at EL2 ([`Machine::pe`]), its kernel at EL1 ([`ModelPe::kernel`]), or a guest
/// at EL1 ([`ModelPe::guest`]).
///
/// When another one executes next, that is an exception entry or return: it synchronises the context as an ISB does, and
/// completes no effect of an instruction but that of a deactivated PPI.
#[derive(Clone, Debug)]
pub struct ModelPe {
    machine: Machine,
    pe: PeIndex,
    level: Level,
}

impl Machine {
    /// The handle of a PE, counted from 0 through all IRSs; `None` if there is none.
    #[must_use]
    pub fn pe(&self, pe: PeIndex) -> Option<ModelPe> {
        (usize::from(pe.0) < self.state().pes.len()).then(|| ModelPe { machine: self.clone(), pe, level: Level::Host })
    }
}

impl ModelPe {
    /// A PE of a machine. If there is none, it does nothing.
    pub(crate) fn at(machine: &Machine, pe: PeIndex) -> ModelPe {
        ModelPe { machine: machine.clone(), pe, level: Level::Host }
    }

    /// Which PE it is.
    #[must_use]
    pub const fn index(&self) -> PeIndex {
        self.pe
    }

    /// Who executes.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// The guest on this PE, at EL1 with HCR_EL2.IMO=1: the current domain of its instructions is the virtual one, and it
    /// reaches the `ICV_*` registers by the names of the `ICC_*` registers (GEN-5).
    ///
    /// What traps or is UNDEFINED is not executed: ask what becomes of it ([`fate_of_insn`](Self::fate_of_insn) and its kin),
    /// and do then what the hypervisor or the guest's exception handler does. To execute it nevertheless is reported, as
    /// [`CPU_2`](crate::rules::CPU_2) or [`CPU_1`](crate::rules::CPU_1).
    #[must_use]
    pub fn guest(&self) -> ModelPe {
        ModelPe { level: Level::Guest, ..self.clone() }
    }

    /// The kernel of the host on this PE, at EL1 with HCR_EL2.IMO=0 under a hypervisor that is alone at EL2 (nVHE): it has the
    /// physical interface as the host has it, and nothing of EL2 (GEN-5, GEN-6). What traps or is UNDEFINED is not executed, as
    /// for [`guest`](Self::guest).
    #[must_use]
    pub fn kernel(&self) -> ModelPe {
        ModelPe { level: Level::Kernel, ..self.clone() }
    }

    /// What becomes of a read of a register.
    #[must_use]
    pub fn fate_of_read(&self, register: SysReg) -> Fate {
        let state = self.machine.state();
        state.pes.get(usize::from(self.pe.0)).map_or(Fate::Undefined, |pe| pe.cpu.fate_of_read(self.level, register))
    }

    /// What becomes of a write of a register.
    #[must_use]
    pub fn fate_of_write(&self, register: SysReg) -> Fate {
        let state = self.machine.state();
        state.pes.get(usize::from(self.pe.0)).map_or(Fate::Undefined, |pe| pe.cpu.fate_of_write(self.level, register))
    }

    /// What becomes of an instruction (INS-20).
    #[must_use]
    pub fn fate_of_insn(&self, insn: GicInsn) -> Fate {
        self.machine.state().fate_of_insn(self.pe, self.level, insn)
    }

    /// The machine it belongs to.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }
}

impl PeOps for ModelPe {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        self.machine.state_on(self.pe).read_sysreg(self.pe, self.level, register)
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        self.machine.state_on(self.pe).write_sysreg(self.pe, self.level, register, value);
    }

    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        self.machine.state_on(self.pe).gic(self.pe, self.level, insn, xt)
    }

    fn isb(&self) {
        self.machine.state_on(self.pe).isb(self.pe, self.level);
    }

    fn dsb(&self) {
        let state = &mut *self.machine.state_on(self.pe);
        state.enter(self.pe, self.level);
        state.report.event(|| Event::Barrier { pe: self.pe, barrier: Barrier::Dsb });
        state.memory.barrier(&mut state.report, self.pe);
    }
}

impl gicv5_hal::CurrentPe for ModelPe {
    type Ops = ModelPe;

    fn on_this_pe<R>(&self, f: impl FnOnce(&gicv5_hal::Pe<'_, ModelPe>) -> R) -> R {
        f(&gicv5_hal::Pe::new(self))
    }
}
