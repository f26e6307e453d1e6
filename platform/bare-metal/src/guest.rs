//! Guests: work at EL1, below the image at EL2.
//!
//! # Theory of operation
//!
//! A guest is a closure of a test, so it sees the memory that the image sees, at the same addresses: EL1 uses the image's page
//! table, and stage 2 is off. It has a stack of its own. HCR_EL2.IMO makes its interrupts virtual ones (GEN-5): the encodings
//! that reach the physical CPU interface at EL2 reach the virtual one here.
//!
//! [`run`] enters it by `eret`, and it comes back by `hvc`: to the context that [`run`] has saved, which makes the whole thing a
//! function call. What else may happen is this:
//!
//! - **An exception that EL1 takes** goes to a vector table in which every entry is another `hvc`; EL2 then finds ESR_EL1,
//!   ELR_EL1 and FAR_EL1 as they were.
//! - **An exception that EL2 takes** (a trap, a stray `hvc`, an SError) is in ESR_EL2, ELR_EL2 and FAR_EL2. In both cases the
//!   guest and the work around it are given up with [`Stopped::Guest`](gicv5_conformance::Stopped::Guest).
//! - **A physical interrupt** goes to EL2 whatever the guest masks, and would do so for ever, because nobody here
//!   acknowledges it: it is the test's. The CPU interface is switched off until the guest ends, and the guest goes on. Should
//!   it be signalled even then, the guest is given up with [`Stopped::Interrupted`](gicv5_conformance::Stopped::Interrupted).
//!
//! A guest that never ends is the [watchdog](crate::watchdog)'s.

use core::arch::{asm, global_asm, naked_asm};
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};

use aarch64_rt::{DEFAULT_MAIR, DEFAULT_SCTLR, DEFAULT_TCR_EL1, Stack};
use gicv5_bare_metal::pe;
use gicv5_conformance::MAX_PES;

use crate::guard;

/// `hvc` of a guest that has ended.
const ENDED: u16 = 0;
/// `hvc` of EL1's vectors after an exception that has a syndrome.
const EXCEPTION: u16 = 1;
/// `hvc` of EL1's vectors after an interrupt, which a guest that masks them does not take.
const INTERRUPT: u16 = 2;

/// PSTATE of a guest that starts: EL1 with its own stack pointer, everything masked. Where there are NMIs, ALLINT too.
const PSTATE: u64 = 0x3c5;

static mut STACKS: [Stack<16>; MAX_PES] = [const { Stack::new() }; MAX_PES];

/// Whether EL2 is one that this code knows.
static AVAILABLE: AtomicBool = AtomicBool::new(false);

// What EL1 does about exceptions: it says so to EL2, and which kind. The table lies at a multiple of 2 KiB, its entries at
// multiples of 128 bytes: synchronous, IRQ, FIQ and SError, four times.
global_asm!(
    ".section .text.guest_vectors, \"ax\"",
    ".balign 0x800",
    "guest_vectors:",
    ".rept 4",
    ".balign 0x80",
    "hvc {exception}",
    ".balign 0x80",
    "hvc {interrupt}",
    ".balign 0x80",
    "hvc {interrupt}",
    ".balign 0x80",
    "hvc {exception}",
    ".endr",
    ".balign 0x80",
    exception = const EXCEPTION,
    interrupt = const INTERRUPT,
);

unsafe extern "C" {
    static guest_vectors: u8;
}

/// Prepares a PE that has just started: interrupts come to the exception level that the image runs at, and a lower one is
/// ready for guests.
pub(crate) fn prepare() {
    pe::unmask_irqs(false);
    if pe::exception_level() == 2 {
        prepare_el1();
    }
}

/// Prepares EL1 of a PE that runs at EL2, where nothing runs yet.
fn prepare_el1() {
    // EL1 is AArch64 (RW); physical IRQs, FIQs and SErrors come to EL2 (IMO, FMO, AMO). EL1 exists (TGE is 0), with registers of
    // its own names (E2H is 0) and without stage 2 (VM is 0).
    const HCR: u64 = 1 << 31 | 7 << 3;
    const E2H: u64 = 1 << 34;
    let hcr: u64;
    // SAFETY: nothing runs at EL1 or EL0. The image runs at EL2 with a page table that is laid out for E2H=0.
    unsafe { asm!("msr hcr_el2, {new}", "isb", "mrs {hcr}, hcr_el2", new = in(reg) HCR, hcr = out(reg) hcr) }
    if hcr & E2H != 0 {
        // A PE without FEAT_E2H0: there the names of EL1's registers are those of EL2's.
        return;
    }
    let features: u64;
    // SAFETY: a read without an effect.
    unsafe { asm!("mrs {mmfr0}, id_aa64mmfr0_el1", mmfr0 = out(reg) features, options(nomem, nostack)) }
    // TCR_EL1.IPS is what the PE has.
    let tcr = DEFAULT_TCR_EL1 & !(7 << 32) | (features & 7) << 32;
    // SAFETY: these registers act on EL1, where nothing runs yet; what will run there needs what the image needs: its page
    // table, the counters and timers, and no traps (CPTR_EL2 has its RES1 bits and traps no floating point). CNTHCTL_EL2 lets EL1
    // at the physical counter and timer and has nothing else in it; an event stream comes later.
    unsafe {
        asm!(
            "mrs {t}, ttbr0_el2", "msr ttbr0_el1, {t}",
            "msr tcr_el1, {tcr}",
            "msr mair_el1, {mair}",
            "msr vbar_el1, {vectors}",
            "msr cpacr_el1, {cpacr}",
            "msr cptr_el2, {cptr}",
            "msr cnthctl_el2, {cnthctl}",
            "msr cntvoff_el2, xzr",
            "msr hstr_el2, xzr",
            "mrs {t}, midr_el1", "msr vpidr_el2, {t}",
            "mrs {t}, mpidr_el1", "msr vmpidr_el2, {t}",
            "isb",
            "tlbi alle1",
            "dsb nsh",
            "msr sctlr_el1, {sctlr}",
            "isb",
            t = out(reg) _,
            tcr = in(reg) tcr,
            mair = in(reg) DEFAULT_MAIR,
            vectors = in(reg) &raw const guest_vectors,
            cpacr = in(reg) 3_u64 << 20,
            cptr = in(reg) 0x33ff_u64,
            cnthctl = in(reg) 3_u64,
            sctlr = in(reg) DEFAULT_SCTLR,
        );
    }
    let hcx: u64;
    // SAFETY: as above. By number: HCRX_EL2 and the fine-grained traps HFGRTR_EL2, HFGWTR_EL2, HFGITR_EL2, HDFGRTR_EL2 and
    // HDFGWTR_EL2 exist where FEAT_HCX and FEAT_FGT are, and firmware may have left anything there. Those of the GICv5 are the
    // tests'. What is left as it is traps nothing that a guest does here: MDCR_EL2 and HAFGRTR_EL2 (debug, performance and activity
    // monitors) and the second set of fine-grained traps, of FEAT_FGT2.
    unsafe {
        asm!("mrs {mmfr1}, id_aa64mmfr1_el1", mmfr1 = out(reg) hcx, options(nomem, nostack));
        if hcx >> 40 & 0xf != 0 {
            asm!("msr s3_4_c1_c2_2, xzr");
        }
        // FGT. Above it is ECV, which a PE may have without it.
        if features >> 56 & 0xf != 0 {
            asm!("msr s3_4_c1_c1_4, xzr", "msr s3_4_c1_c1_5, xzr", "msr s3_4_c1_c1_6, xzr");
            asm!("msr s3_4_c3_c1_4, xzr", "msr s3_4_c3_c1_5, xzr");
        }
        asm!("isb");
    }
    AVAILABLE.store(true, Ordering::Relaxed);
}

/// Whether guests can be run: at EL2, where its registers and EL1's have names of their own (HCR_EL2.E2H=0).
pub(crate) fn are_available() -> bool {
    AVAILABLE.load(Ordering::Relaxed)
}

/// What [`launch`] needs.
#[repr(C)]
struct Start {
    work: *mut c_void,
    stack: *mut Stack<16>,
    pstate: u64,
}

/// Enters EL1. Never returns: the guest ends by `hvc`, which leads to the context that was saved before.
#[unsafe(naked)]
extern "C" fn launch(start: *mut c_void) {
    naked_asm!(
        "ldr x9, [x0, #16]",
        "msr spsr_el2, x9",
        "ldp x0, x9, [x0]",
        "msr sp_el1, x9",
        "adr x9, 2f",
        "msr elr_el2, x9",
        "mov x29, xzr",
        "mov x30, xzr",
        "eret",
        "2:",
        "bl {work}",
        "hvc {ended}",
        work = sym guard::trampoline,
        ended = const ENDED,
    )
}

/// Runs `work` as a guest on this PE, to its end. If it comes to none, the work around it ends: see [`guard::attempt`].
///
/// Does nothing where guests are not [available](are_available).
pub(crate) fn run(mut work: &mut dyn FnMut()) {
    let index = guard::index();
    if !are_available() || index >= MAX_PES {
        return;
    }
    // SAFETY: within the array; the stack is this PE's, and a PE runs one guest at a time. Only an address is taken.
    let stack = unsafe { (&raw mut STACKS).cast::<Stack<16>>().add(index + 1) };
    let pstate = if pe::has_nmi() { PSTATE | pe::ALLINT } else { PSTATE };
    let mut start = Start { work: (&raw mut work).cast(), stack, pstate };
    guard::enter(launch, (&raw mut start).cast());
}

/// Whether this `hvc`, by ESR_EL2, is a guest's last instruction.
pub(crate) fn has_ended(esr: u64) -> bool {
    hvc_number(esr) == Some(ENDED)
}

/// Whether this `hvc`, by ESR_EL2, is about an exception that EL1 has taken, whose syndrome is in the registers of EL1.
pub(crate) fn has_syndrome(esr: u64) -> bool {
    hvc_number(esr) == Some(EXCEPTION)
}

/// The number of an `hvc`, which is exception class 0x16.
pub(crate) fn hvc_number(esr: u64) -> Option<u16> {
    (esr >> 26 & 0x3f == 0x16).then_some(esr as u16)
}

/// Makes virtual interrupts of priority 0 NMIs of the guests on this PE, or ordinary ones: SCTLR_EL1.NMI.
pub(crate) fn switch_nmi(on: bool) {
    if !are_available() || !pe::has_nmi() {
        return;
    }
    // SAFETY: the register acts on EL1, where nothing runs now.
    unsafe {
        asm!("mrs {t}, sctlr_el1", "bic {t}, {t}, {nmi}", "orr {t}, {t}, {new}", "msr sctlr_el1, {t}", "isb",
            t = out(reg) _, nmi = in(reg) pe::NMI, new = in(reg) if on { pe::NMI } else { 0 }, options(nostack));
    }
}

/// ESR, ELR and FAR of the last exception that EL1 took.
pub(crate) fn syndrome() -> (u64, u64, u64) {
    let (esr, elr, far): (u64, u64, u64);
    // SAFETY: reads without an effect.
    unsafe {
        asm!("mrs {esr}, esr_el1", "mrs {elr}, elr_el1", "mrs {far}, far_el1",
            esr = out(reg) esr, elr = out(reg) elr, far = out(reg) far, options(nomem, nostack));
    }
    (esr, elr, far)
}
