//! GIC instructions, each with the barriers that make its effect certain.

use gicv5_arch::insn::{AcknowledgeResult, GicInsn, IntIdOperand};
use gicv5_arch::sysreg::ICC_ICSR_EL1;
use gicv5_arch::{IntId, IrsIntId};
use gicv5_hal::{Pe, PeOps};

/// Asks for the configuration of an LPI or SPI, after everything this PE did to it (INS-12).
pub fn config<P: PeOps + ?Sized>(pe: &Pe<'_, P>, id: IrsIntId) -> ICC_ICSR_EL1 {
    // An answer that does not come is not to be taken for the one before it.
    ask(pe, GicInsn::GIC_CDRCFG, IntIdOperand::naming(id).raw_value(), ICC_ICSR_EL1::ZERO.with_f(true))
}

/// Asks by an instruction, after everything this PE did, with something in the register that is no answer to be expected.
pub(crate) fn ask<P: PeOps + ?Sized>(
    pe: &Pe<'_, P>,
    insn: GicInsn,
    operand: u64,
    before: ICC_ICSR_EL1,
) -> ICC_ICSR_EL1 {
    pe.gsb_sys();
    pe.write(before);
    pe.isb();
    let is_ready = pe.read::<ICC_ICSR_EL1>() == before;
    pe.gic(insn, operand);
    pe.isb();
    let answer: ICC_ICSR_EL1 = pe.read();
    // A register that does not take what is written to it gives no answer that counts.
    if is_ready { answer } else { answer.with_f(before.f()) }
}

/// Acknowledges, with what must follow (SYN-3).
pub fn acknowledge<P: PeOps + ?Sized>(pe: &Pe<'_, P>) -> Option<IntId> {
    AcknowledgeResult::new_with_raw_value(acknowledge_raw(pe)).int_id()
}

/// The same, and returns the whole answer.
pub(crate) fn acknowledge_raw<P: PeOps + ?Sized>(pe: &Pe<'_, P>) -> u64 {
    let taken = pe.cdia().raw_value();
    pe.gsb_ack();
    pe.isb();
    taken
}

/// Drops the priority and deactivates.
pub(crate) fn drop_and_deactivate<P: PeOps + ?Sized>(pe: &Pe<'_, P>, id: IntId) {
    pe.cdeoi();
    pe.cddi(id);
    pe.gsb_sys();
    pe.isb();
}
