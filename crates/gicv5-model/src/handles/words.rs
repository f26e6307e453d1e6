//! Instructions as words, for software that has no names for them.

use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::{SysReg, SysRegEncoding};
use gicv5_hal::PeOps;

use crate::handles::pe::ModelPe;

/// What a word is, as far as the model has it.
enum Word {
    /// `MRS`.
    Read(SysReg),
    /// `MSR` (register).
    Write(SysReg),
    Gic(GicInsn),
    /// `ISB`.
    Isb,
    /// `DSB`, whatever it is limited to: the model has one.
    Dsb,
}

impl Word {
    fn of(word: u32) -> Option<Word> {
        let register = || SysReg::with_encoding(SysRegEncoding::of_word(word));
        match (word & 0xfff0_0000, word & 0xffff_f0ff, word >> 8 & 15) {
            (0xd530_0000, ..) => register().map(Word::Read),
            (0xd510_0000, ..) => register().map(Word::Write),
            (_, 0xd503_30df, _) => Some(Word::Isb),
            // CRm 0 and 4 are barriers of speculation.
            (_, 0xd503_309f, crm) if crm & 3 != 0 => Some(Word::Dsb),
            _ => GicInsn::of_word(word).map(|(insn, _)| Word::Gic(insn)),
        }
    }
}

impl ModelPe {
    /// Executes an instruction by its word, with what its Xt holds: an access to a register of the CPU interface (`MRS`, `MSR`), a
    /// GIC instruction, `ISB` or `DSB`. Returns what Xt holds then; `None`, and nothing happens, if it is none of these. Which
    /// register Xt is, is the caller's business.
    ///
    /// Software that has the fields of an instruction and not its word, such as the handler of a trap, looks them up
    /// ([`SysReg::with_encoding`], [`GicInsn::with_encoding`]).
    ///
    /// ```
    /// use gicv5_model::{Machine, PeIndex, config::MachineConfig};
    ///
    /// let machine = Machine::new(MachineConfig::new(1, 0))?;
    /// let pe = machine.pe(PeIndex(0)).ok_or("no PE")?;
    /// // msr ICC_CR0_EL1, x0; isb; mrs x1, ICC_CR0_EL1
    /// let [msr, isb, mrs] = [0xd519_c020, 0xd503_3fdf, 0xd539_c021];
    /// assert_eq!((pe.execute(msr, 1), pe.execute(isb, 0)), (Some(1), Some(0)));
    /// assert_eq!(pe.execute(mrs, 0).map(|value| value & 1), Some(1));
    /// // nop
    /// assert_eq!(pe.execute(0xd503_201f, 0), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn execute(&self, word: u32, xt: u64) -> Option<u64> {
        match Word::of(word)? {
            Word::Read(register) => return Some(self.read_sysreg(register)),
            Word::Write(register) => self.write_sysreg(register, xt),
            Word::Gic(insn) if insn.info().form == gicv5_arch::insn::Form::Result => return Some(self.gic(insn, xt)),
            Word::Gic(insn) => _ = self.gic(insn, xt),
            Word::Isb => self.isb(),
            Word::Dsb => self.dsb(),
        }
        Some(xt)
    }
}
