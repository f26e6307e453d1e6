//! One PE: timers, masks, events, and the interrupt inputs.

use core::arch::asm;

use gicv5_aarch64::now;
pub use gicv5_aarch64::{ThisPe, exception_level, has_gicv5, has_nmi, relax, stream_events, wait_for_event};
use gicv5_arch::Ppi;
use gicv5_arch::sysreg::SysReg;
use gicv5_conformance::Signals;
use gicv5_hal::PeOps;

/// The PE that the code runs on.
// SAFETY: where an image has found a GICv5, or reaches for what the PE does not have, at most an exception follows, which ends what runs.
// Interrupts are masked but where one is waited for, and nothing here moves between PEs.
pub static THIS_PE: ThisPe = unsafe { ThisPe::new() };

/// Time since start, in nanoseconds.
pub fn nanoseconds() -> u64 {
    now().as_nanos() as u64
}

/// What is pending at the interrupt inputs: ISR_EL1, in which the masks play no part.
pub fn signals() -> Signals {
    let isr: u64;
    // SAFETY: a read without an effect.
    unsafe { asm!("mrs {isr}, isr_el1", isr = out(reg) isr, options(nomem, nostack)) }
    Signals { irq: isr & 1 << 7 != 0, fiq: isr & 1 << 6 != 0 }
}

/// Lets IRQs in, or keeps them out.
pub fn unmask_irqs(unmask: bool) {
    // SAFETY: the handler of an IRQ notes it and masks it again, and touches nothing else.
    unsafe {
        if unmask {
            asm!("msr daifclr, #2", "isb", options(nostack));
        } else {
            asm!("msr daifset, #2", "isb", options(nostack));
        }
    }
}

/// PSTATE.ALLINT as SPSR_ELx and the register ALLINT have it.
pub const ALLINT: u64 = 1 << 13;

/// SCTLR_ELx.NMI.
pub const NMI: u64 = 1 << 61;

/// Whether interrupts of priority 0 are NMIs at the exception level that the code runs at.
pub fn is_nmi_on() -> bool {
    let control: u64;
    // SAFETY: reads without an effect.
    unsafe {
        match exception_level() {
            2 => asm!("mrs {control}, sctlr_el2", control = out(reg) control, options(nomem, nostack)),
            _ => asm!("mrs {control}, sctlr_el1", control = out(reg) control, options(nomem, nostack)),
        }
    }
    // Without NMIs the bit is reserved.
    control & NMI != 0 && has_nmi()
}

/// Makes interrupts of priority 0 NMIs, which are masked, or ordinary ones.
pub fn switch_nmi(on: bool) {
    if !has_nmi() {
        return;
    }
    mask_all(true);
    let new = if on { NMI } else { 0 };
    // SAFETY: no other bit of the register changes; what would come is masked.
    unsafe {
        match exception_level() {
            2 => asm!("mrs {t}, sctlr_el2", "bic {t}, {t}, {nmi}", "orr {t}, {t}, {new}", "msr sctlr_el2, {t}", "isb",
                t = out(reg) _, nmi = in(reg) NMI, new = in(reg) new, options(nostack)),
            _ => asm!("mrs {t}, sctlr_el1", "bic {t}, {t}, {nmi}", "orr {t}, {t}, {new}", "msr sctlr_el1, {t}", "isb",
                t = out(reg) _, nmi = in(reg) NMI, new = in(reg) new, options(nostack)),
        }
    }
    if !on {
        mask_all(false);
    }
}

/// Sets or clears PSTATE.ALLINT, which masks NMIs and everything else; to be used on a PE that has NMIs.
pub fn mask_all(mask: bool) {
    let value = if mask { ALLINT } else { 0 };
    // SAFETY: what is let in is an IRQ, whose handler notes it and masks it again. The register ALLINT, by number.
    unsafe { asm!("msr s3_0_c4_c3_0, {value}", "isb", value = in(reg) value, options(nostack)) }
}

/// Makes a timer's condition true or false at once: enabled with a compare value of 0, or off.
pub fn drive_timer(timer: Ppi, high: bool) {
    let control = u64::from(high);
    // SAFETY: nobody else uses these timers; they change no memory.
    unsafe {
        match timer {
            Ppi::CNTV => {
                asm!("msr cntv_cval_el0, xzr", "msr cntv_ctl_el0, {c}", "isb", c = in(reg) control, options(nostack))
            }
            Ppi::CNTP => {
                asm!("msr cntp_cval_el0, xzr", "msr cntp_ctl_el0, {c}", "isb", c = in(reg) control, options(nostack))
            }
            _ => {}
        }
    }
}

/// ESR and FAR of the last exception of the exception level that the image runs at.
pub fn syndrome() -> (u64, u64) {
    let (esr, far): (u64, u64);
    // SAFETY: reads without an effect.
    unsafe {
        match exception_level() {
            2 => asm!("mrs {esr}, esr_el2", "mrs {far}, far_el2", esr = out(reg) esr, far = out(reg) far),
            _ => asm!("mrs {esr}, esr_el1", "mrs {far}, far_el1", esr = out(reg) esr, far = out(reg) far),
        }
    }
    (esr, far)
}

/// Switches the physical CPU interface off, so that no interrupt is signalled, and returns what it was.
///
/// Where the interrupt controller is a GICv3, which no test runs on, that is ICC_IGRPEN1_EL1.
pub fn switch_interface_off() -> u64 {
    let before;
    if has_gicv5() {
        before = THIS_PE.read_sysreg(SysReg::ICC_CR0_EL1);
        THIS_PE.write_sysreg(SysReg::ICC_CR0_EL1, 0);
    } else {
        // SAFETY: the register acts on interrupts, which are masked.
        unsafe { asm!("mrs {before}, s3_0_c12_c12_7", "msr s3_0_c12_c12_7, xzr", before = out(reg) before) }
    }
    THIS_PE.isb();
    // The signal follows the register, and may take a moment.
    let start = nanoseconds();
    while signals().irq && nanoseconds() - start < 1_000_000 {
        relax();
    }
    before
}

/// Makes the physical CPU interface what it was.
pub fn switch_interface_on(before: u64) {
    if has_gicv5() {
        THIS_PE.write_sysreg(SysReg::ICC_CR0_EL1, before);
    } else {
        // SAFETY: the register acts on interrupts, which are masked.
        unsafe { asm!("msr s3_0_c12_c12_7, {before}", before = in(reg) before) }
    }
    THIS_PE.isb();
}

/// Makes the other PEs look, after all stores before it.
pub fn send_event() {
    // SAFETY: a barrier and a hint.
    unsafe { asm!("dsb ish", "sev", options(nostack)) }
}

/// Executes an instruction that does not exist.
pub fn undefined() {
    // SAFETY: it changes nothing but that an exception follows.
    unsafe { asm!("udf #0", options(nostack)) }
}

/// Cleans a line of the cache to memory.
pub fn clean(address: u64) {
    // SAFETY: changes nothing that memory holds.
    unsafe { asm!("dc civac, {address}", "dsb sy", address = in(reg) address, options(nostack)) }
}
