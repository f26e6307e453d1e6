//! Interrupts that wait.

use core::arch::asm;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU8, Ordering};

/// Runs `f` with IRQs and FIQs masked, and with NMIs masked where the PE has them. Afterwards the masks are what they were, so that
/// one call may lie in another. SErrors and debug exceptions are as before.
pub fn masked<R>(f: impl FnOnce() -> R) -> R {
    let _restored_at_the_end = Masks::set();
    f()
}

/// The masks as they were.
struct Masks {
    daif: u64,
    allint: Option<u64>,
    /// They belong to the PE.
    not_send: PhantomData<*const ()>,
}

impl Masks {
    fn set() -> Masks {
        let daif: u64;
        // SAFETY: interrupts wait; nothing else changes. The compiler moves no access to memory to before it.
        unsafe { asm!("mrs {daif}, daif", "msr daifset, #3", daif = out(reg) daif, options(nostack)) }
        let allint = has_nmi().then(|| {
            let (before, all): (u64, u64);
            // SAFETY: as above. ALLINT by number; the PE has it.
            unsafe {
                asm!("mrs {before}, s3_0_c4_c3_0", "mov {all}, #1 << 13", "msr s3_0_c4_c3_0, {all}",
                    before = out(reg) before, all = out(reg) all, options(nostack));
            }
            let _ = all;
            before
        });
        Masks { daif, allint, not_send: PhantomData }
    }
}

impl Drop for Masks {
    fn drop(&mut self) {
        if let Some(before) = self.allint {
            // SAFETY: what was let in before `set` is let in again. The PE has ALLINT.
            unsafe { asm!("msr s3_0_c4_c3_0, {before}", before = in(reg) before, options(nostack)) }
        }
        // SAFETY: as above. The compiler moves no access to memory to behind it.
        unsafe { asm!("msr daif, {daif}", daif = in(reg) self.daif, options(nostack)) }
    }
}

/// Whether the PE has NMIs (ID_AA64PFR1_EL1.NMI). All PEs are taken to be alike: the first that asks, asks for all, because a hypervisor
/// may trap the register.
#[must_use]
pub fn has_nmi() -> bool {
    const UNASKED: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(UNASKED);
    match KNOWN.load(Ordering::Relaxed) {
        UNASKED => {
            let features: u64;
            // SAFETY: a read without an effect.
            unsafe { asm!("mrs {f}, id_aa64pfr1_el1", f = out(reg) features, options(nomem, nostack)) }
            let has = features >> 36 & 0xf != 0;
            KNOWN.store(if has { YES } else { NO }, Ordering::Relaxed);
            has
        }
        known => known == YES,
    }
}
