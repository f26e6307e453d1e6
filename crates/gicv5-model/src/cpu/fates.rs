//! Who may execute what, and which register a name means.

use gicv5_arch::insn::GicInsn;
use gicv5_arch::register::Access;
use gicv5_arch::sysreg::SysReg;

use super::{Cpu, Register, Undefined};
use crate::words::cpu::{Fate, Level};

impl Cpu {
    /// The register that a read by this name reaches, or what becomes of the read instead.
    #[inline]
    pub(crate) fn readable(&self, level: Level, name: SysReg) -> Result<Register, Fate> {
        match self.register(level, name) {
            Ok(register) if level != Level::Host && self.el2().is_some_and(|virt| virt.traps_read(register)) => {
                Err(Fate::Traps)
            }
            Ok(register) => Ok(register),
            Err(Undefined) => Err(Fate::Undefined),
        }
    }

    /// The register that a write by this name reaches, or what becomes of the write instead.
    #[inline]
    pub(crate) fn writable(&self, level: Level, name: SysReg) -> Result<Register, Fate> {
        match self.register(level, name) {
            // Nobody but the hardware writes these.
            Ok(_) if name.info().access == Access::RO => Err(Fate::Undefined),
            Ok(register) if level != Level::Host && self.el2().is_some_and(|virt| virt.traps_write(register)) => {
                Err(Fate::Traps)
            }
            Ok(register) => Ok(register),
            Err(Undefined) => Err(Fate::Undefined),
        }
    }

    /// What becomes of a read of a register by its name.
    pub(crate) fn fate_of_read(&self, level: Level, name: SysReg) -> Fate {
        self.readable(level, name).err().unwrap_or(Fate::Executes)
    }

    /// What becomes of a write of a register by its name.
    pub(crate) fn fate_of_write(&self, level: Level, name: SysReg) -> Fate {
        self.writable(level, name).err().unwrap_or(Fate::Executes)
    }

    /// What becomes of an instruction.
    #[inline]
    pub(crate) fn fate_of_insn(&self, level: Level, insn: GicInsn) -> Fate {
        use gicv5_arch::insn::MinEl;
        match (level, insn.info().min_el) {
            (Level::Host, MinEl::EL1) => Fate::Executes,
            (_, MinEl::EL3) | (Level::Kernel | Level::Guest, MinEl::EL2) => Fate::Undefined,
            (Level::Host, MinEl::EL2) if self.virt.is_none() => Fate::Undefined,
            (Level::Host, MinEl::EL2) => Fate::Executes,
            (Level::Kernel, MinEl::EL1) => match self.el2() {
                Some(virt) if virt.traps_insn(insn) => Fate::Traps,
                _ => Fate::Executes,
            },
            (Level::Guest, MinEl::EL1) => match self.el2() {
                None => Fate::Undefined,
                // A barrier is neither native nor legacy.
                Some(_) if matches!(insn, GicInsn::GSB_SYS | GicInsn::GSB_ACK) => Fate::Executes,
                Some(virt) if virt.vctlr.v3() => Fate::Undefined,
                Some(virt) if virt.traps_insn(insn) => Fate::Traps,
                Some(_) => Fate::Executes,
            },
        }
    }

    /// The register that a name means, if there is one.
    pub(crate) fn register(&self, level: Level, name: SysReg) -> Result<Register, Undefined> {
        let register = Register::named(level, name).ok_or(Undefined)?;
        let needs_el2 = level == Level::Guest || register.belongs_to_el2();
        // ICC_SRE_EL1 is there with EL2, and not EL2's.
        if level == Level::Kernel && register.belongs_to_el2() && register != Register::Sre1 {
            return Err(Undefined);
        }
        match self.el2() {
            None if needs_el2 => Err(Undefined),
            // A legacy guest has no native register (INS-21). The feature register is no register of the interface, and
            // ICC_SRE_EL1 is one of GICv3's.
            Some(virt) if level == Level::Guest && virt.vctlr.v3() => match register {
                Register::Pfr2 | Register::Sre1 => Ok(register),
                _ => Err(Undefined),
            },
            _ => Ok(register),
        }
    }
}
