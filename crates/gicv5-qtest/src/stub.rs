//! The few instructions that QEMU's first PE executes, so that others can be executed there one by one.
//!
//! GIC instructions and system registers belong to a PE; there is no way to them from outside. So the first PE waits for a
//! word in memory to become 1, calls the code that the client has put in memory meanwhile, and says that it is done. The
//! code consists of one piece for each operation: load the operand, execute, tell the result. What is told is written to
//! a reserved offset of the IRS frame, where QEMU traces it and does nothing else. Exceptions end the batch.

use gicv5_arch::insn::Form;

use crate::layout::STUB;
use crate::operation::Operation;

/// Where the PE starts.
pub(crate) const ENTRY: u64 = STUB + 0x800;
/// The word it waits for.
pub(crate) const FLAG: u64 = STUB + 0x1000;
/// The code it calls.
pub(crate) const CODE: u64 = STUB + 0x2000;
/// Operands, 64 bits each.
pub(crate) const OPERANDS: u64 = STUB + 0x1_0000;
/// Operations that one batch can have.
pub(crate) const BATCH: usize = 1_000;

/// Address and word of each instruction. x0 is the flag, x1 the start of the stub, x2 the operand and result, x3 the code,
/// x5 the next operand, x6 the place in the frame to tell results to.
pub(crate) const WORDS: &[(u64, u32)] = &[
    // The vector of a synchronous exception from the current level.
    (STUB + 0x200, 0xd538_5202), // mrs  x2, esr_el1
    (STUB + 0x204, 0xf900_08c2), // str  x2, [x6, #16]
    (STUB + 0x208, 0x1400_0189), // b    finish
    (ENTRY, 0x10ff_c001),        // adr  x1, STUB
    (ENTRY + 0x04, 0xd518_c001), // msr  vbar_el1, x1
    (ENTRY + 0x08, 0x9140_0420), // add  x0, x1, #0x1000
    (ENTRY + 0x0c, 0x9140_0823), // add  x3, x1, #0x2000
    (ENTRY + 0x10, 0xd2a1_0024), // movz x4, #0x0801, lsl #16
    (ENTRY + 0x14, 0x9140_1c86), // add  x6, x4, #0x7000
    // wait:
    (ENTRY + 0x18, 0xb940_0002), // ldr  w2, [x0]
    (ENTRY + 0x1c, 0x34ff_ffe2), // cbz  w2, wait
    (ENTRY + 0x20, 0x9140_4025), // add  x5, x1, #0x10000
    (ENTRY + 0x24, 0xd503_3fdf), // isb
    (ENTRY + 0x28, 0xd63f_0060), // blr  x3
    // finish:
    (ENTRY + 0x2c, 0xb900_001f), // str  wzr, [x0]
    (ENTRY + 0x30, 0xb900_08df), // str  wzr, [x6, #8]
    (ENTRY + 0x34, 0x17ff_fff9), // b    wait
];

/// The code of a batch; `None` if an operation is none of the PE's, or names a register without an encoding.
pub(crate) fn code(operations: &[Operation]) -> Option<Vec<u32>> {
    let mut words = Vec::new();
    for operation in operations {
        words.push(0xf840_84a2); // ldr x2, [x5], #8
        words.push(match operation {
            Operation::Gic { insn, .. } => insn.word(2),
            Operation::ReadSysreg { register } => register.encoding()?.mrs(2),
            Operation::WriteSysreg { register, .. } => register.encoding()?.msr(2),
            _ => return None,
        });
        words.push(0xd503_3fdf); // isb
        words.push(0xf900_00c2); // str x2, [x6]
    }
    words.push(0xd65f_03c0); // ret
    Some(words)
}

/// The operand of an operation.
pub(crate) fn operand(operation: &Operation) -> u64 {
    match *operation {
        Operation::Gic { insn, xt } if insn.info().form == Form::Operand => xt,
        Operation::WriteSysreg { value, .. } => value,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::from_text;

    #[test]
    fn a_batch_loads_each_operand_executes_and_tells_the_result() {
        let batch = from_text("GIC CDEN 0x60000005\nGICR CDIA\nmsr ICC_PCR_EL1 0x1f\nmrs ICC_HPPIR_EL1").unwrap();
        // The words that an assembler makes of each instruction with x2.
        let expected = [0xd508_c122, 0xd528_c302, 0xd519_c042, 0xd538_ca62];
        let words = code(&batch).unwrap();
        let executed: Vec<u32> = words.chunks_exact(4).map(|piece| piece[1]).collect();
        assert_eq!(executed, expected);
        assert_eq!(words.last(), Some(&0xd65f_03c0));
        let operands: Vec<u64> = batch.iter().map(operand).collect();
        assert_eq!(operands, [0x6000_0005, 0, 0x1f, 0]);
        assert_eq!(code(&from_text("read32 0").unwrap()), None);
    }

    #[test]
    fn a_full_batch_fits_between_code_and_operands() {
        let batch = vec![Operation::Gic { insn: gicv5_arch::insn::GicInsn::GICR_CDIA, xt: 0 }; BATCH];
        assert!(CODE + code(&batch).unwrap().len() as u64 * 4 <= OPERANDS);
    }
}
