//! One PE, and being on it.

use alloc::format;
use core::cell::Cell;

use gicv5_arch::insn::{GicInsn, IntIdOperand};
use gicv5_arch::sysreg::{ICC_CR0_EL1, ICC_ICSR_EL1, SysReg};
use gicv5_arch::{IrsIntId, Lpi};
use gicv5_hal::{CurrentPe, Pe, PeOps};

use crate::{Broken, Promise};

/// How often what must not change is looked at.
const LOOKS: usize = 100;

/// Checks that the code that is lent a PE stays on it.
///
/// # Errors
///
/// [`Broken`], at the first promise that is.
pub fn current_pe<C: CurrentPe + ?Sized>(current: &C) -> Result<(), Broken> {
    for _ in 0..LOOKS {
        let ran = Cell::new(false);
        current.on_this_pe(|pe| {
            ran.set(true);
            let first = pe.iaffid();
            (0..LOOKS).try_for_each(|_| {
                let then = pe.iaffid();
                Promise::SamePe.holds(first == then, || format!("it is on the PE {first:?} and then on {then:?}"))
            })
        })?;
        Promise::SamePe.holds(ran.get(), || "the code has not run".into())?;
    }
    Ok(())
}

/// Checks registers and instructions of the PE that the caller is on and stays on, with interrupts off.
///
/// # Errors
///
/// [`Broken`], at the first promise that is.
pub fn pe_ops<P: PeOps + ?Sized>(pe: &Pe<'_, P>) -> Result<(), Broken> {
    let first = pe.iaffid();
    for _ in 0..LOOKS {
        let then = pe.iaffid();
        Promise::PeStays.holds(first == then, || format!("it reads {first:?} and then {then:?}"))?;
    }
    registers(pe)?;
    let kept = pe.read_raw(SysReg::ICC_ICSR_EL1);
    let outcome = answer(pe);
    pe.write_raw(SysReg::ICC_ICSR_EL1, kept);
    pe.isb();
    outcome?;
    for insn in [GicInsn::GSB_SYS, GicInsn::GSB_ACK] {
        let result = pe.gic(insn, 0x55);
        Promise::NoResult.holds(result == 0, || format!("{insn} with the operand 0x55 returns {result:#x}"))?;
    }
    pe.dsb();
    Ok(())
}

/// The priority mask and the enable: registers that keep what is written to them. Nothing is signalled meanwhile (PRI-8).
fn registers<P: PeOps + ?Sized>(pe: &Pe<'_, P>) -> Result<(), Broken> {
    let control: ICC_CR0_EL1 = pe.read();
    let mask = pe.read_raw(SysReg::ICC_PCR_EL1);
    let off = control.with_en(false);
    pe.write(off);
    pe.isb();
    let mut outcome = read_back(SysReg::ICC_CR0_EL1, 0, pe.read_raw(SysReg::ICC_CR0_EL1) & 1);
    for wanted in [0, 16] {
        pe.write_raw(SysReg::ICC_PCR_EL1, wanted);
        pe.isb();
        outcome = outcome.and(read_back(SysReg::ICC_PCR_EL1, wanted, pe.read_raw(SysReg::ICC_PCR_EL1)));
    }
    pe.write_raw(SysReg::ICC_PCR_EL1, mask);
    pe.isb();
    pe.write(control);
    pe.isb();
    outcome
}

fn read_back(register: SysReg, wanted: u64, seen: u64) -> Result<(), Broken> {
    Promise::WrittenReadsBack.holds(seen == wanted, || format!("{register} reads {seen:#x} and not {wanted:#x}"))
}

/// Asks for the configuration of an interrupt that no table has an entry for: the answer is F, where a register that keeps its
/// old value has none.
fn answer<P: PeOps + ?Sized>(pe: &Pe<'_, P>) -> Result<(), Broken> {
    let last = Lpi::MAX;
    let operand = IntIdOperand::naming(IrsIntId::from(last)).raw_value();
    pe.write(ICC_ICSR_EL1::ZERO);
    pe.isb();
    let result = pe.gic(GicInsn::GIC_CDRCFG, operand);
    pe.isb();
    let answer: ICC_ICSR_EL1 = pe.read();
    Promise::Answered.holds(answer.f(), || {
        format!("it reads {:#x} for {last}, which no table has an entry for", answer.raw_value())
    })?;
    Promise::NoResult
        .holds(result == 0, || format!("{} with the operand {operand:#x} returns {result:#x}", GicInsn::GIC_CDRCFG))
}
