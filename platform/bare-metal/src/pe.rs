//! One PE: timers, masks, events, and the interrupt inputs.

use core::arch::asm;

pub use gicv5_aarch64::pe::{ThisPe, exception_level, nanoseconds, relax};
use gicv5_arch::Ppi;
use gicv5_arch::sysreg::SysReg;
use gicv5_conformance::Signals;
use gicv5_hal::PeOps;

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

/// Whether the PE has NMIs (ID_AA64PFR1_EL1.NMI).
pub fn has_nmi() -> bool {
    let features: u64;
    // SAFETY: a read without an effect.
    unsafe { asm!("mrs {features}, id_aa64pfr1_el1", features = out(reg) features, options(nomem, nostack)) }
    features >> 36 & 0xf != 0
}

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

/// Whether the PE has a GICv5 CPU interface (ID_AA64PFR2_EL1.GCIE).
pub fn has_gicv5() -> bool {
    ThisPe.read_sysreg(SysReg::ID_AA64PFR2_EL1) >> 12 & 0xf != 0
}

/// Switches the physical CPU interface off, so that no interrupt is signalled, and returns what it was.
///
/// Where the interrupt controller is a GICv3, which no test runs on, that is ICC_IGRPEN1_EL1.
pub fn switch_interface_off() -> u64 {
    let before;
    if has_gicv5() {
        before = ThisPe.read_sysreg(SysReg::ICC_CR0_EL1);
        ThisPe.write_sysreg(SysReg::ICC_CR0_EL1, 0);
    } else {
        // SAFETY: the register acts on interrupts, which are masked.
        unsafe { asm!("mrs {before}, s3_0_c12_c12_7", "msr s3_0_c12_c12_7, xzr", before = out(reg) before) }
    }
    ThisPe.isb();
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
        ThisPe.write_sysreg(SysReg::ICC_CR0_EL1, before);
    } else {
        // SAFETY: the register acts on interrupts, which are masked.
        unsafe { asm!("msr s3_0_c12_c12_7, {before}", before = in(reg) before) }
    }
    ThisPe.isb();
}

/// Waits until another PE has something to say; may return without that.
pub fn wait_for_event() {
    // SAFETY: a hint.
    unsafe { asm!("wfe", options(nostack)) }
}

/// Has the counter wake this PE from [`wait_for_event`] every now and then, so that it can look at the time.
pub fn stream_events() {
    // An event whenever bit 15 of the counter changes: EVNTI is 15, EVNTEN is 1.
    const EVENTS: u64 = 15 << 4 | 1 << 2;
    // SAFETY: events wake a PE from WFE, and nothing else follows from them. At EL2 the register of EL1 would do nothing.
    unsafe {
        match exception_level() {
            2 => asm!("mrs {c}, cnthctl_el2", "orr {c}, {c}, {events}", "msr cnthctl_el2, {c}", "isb",
                c = out(reg) _, events = in(reg) EVENTS, options(nostack)),
            _ => asm!("mrs {c}, cntkctl_el1", "orr {c}, {c}, {events}", "msr cntkctl_el1, {c}", "isb",
                c = out(reg) _, events = in(reg) EVENTS, options(nostack)),
        }
    }
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
