//! Work that comes back even if it runs into an exception, and what happens on every exception.

use core::arch::{asm, naked_asm};
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aarch64_rt::{ExceptionHandlers, RegisterStateRef, exception_handlers};
use gicv5_conformance::{MAX_PES, Stopped};

use crate::pe;

exception_handlers!(Exceptions);

/// What a PE needs to come back: the registers that a function keeps for its caller, and the stack pointer.
#[repr(C, align(16))]
struct Context([u64; 14]);

/// Each PE's own.
struct Place {
    context: UnsafeCell<Context>,
    /// Whether there is work to come back from.
    armed: AtomicBool,
    /// An IRQ was taken.
    interrupted: AtomicBool,
    esr: AtomicU64,
    elr: AtomicU64,
    far: AtomicU64,
}

// SAFETY: the context is used by the PE it belongs to and by no other.
unsafe impl Sync for Place {}

static PLACES: [Place; MAX_PES] = [const {
    Place {
        context: UnsafeCell::new(Context([0; 14])),
        armed: AtomicBool::new(false),
        interrupted: AtomicBool::new(false),
        esr: AtomicU64::new(0),
        elr: AtomicU64::new(0),
        far: AtomicU64::new(0),
    }
}; MAX_PES];

/// Tells a PE its number, which it keeps in a register that nobody else uses.
pub(crate) fn set_index(pe: usize) {
    // SAFETY: TPIDR_EL1 is for software to use, and the only user is here.
    unsafe { asm!("msr tpidr_el1, {pe}", pe = in(reg) pe, options(nomem, nostack)) }
}

/// The number of this PE.
fn index() -> usize {
    let pe: usize;
    // SAFETY: a read without an effect.
    unsafe { asm!("mrs {pe}, tpidr_el1", pe = out(reg) pe, options(nomem, nostack)) }
    pe
}

/// Saves what a caller wants kept, calls `call(argument)`, and returns 0; or returns 1 if an exception on the way went to
/// [`come_back`].
///
/// # Safety
///
/// `context` is this PE's own, and is not in use.
#[unsafe(naked)]
unsafe extern "C" fn call_guarded(
    call: extern "C" fn(*mut c_void),
    argument: *mut c_void,
    context: *mut Context,
) -> u64 {
    naked_asm!(
        "stp x19, x20, [x2]",
        "stp x21, x22, [x2, #16]",
        "stp x23, x24, [x2, #32]",
        "stp x25, x26, [x2, #48]",
        "stp x27, x28, [x2, #64]",
        "stp x29, x30, [x2, #80]",
        "mov x9, sp",
        "str x9, [x2, #96]",
        "stp x29, x30, [sp, #-16]!",
        "mov x9, x0",
        "mov x0, x1",
        "blr x9",
        "ldp x29, x30, [sp], #16",
        "mov x0, #0",
        "ret",
    )
}

/// Goes back to where `call_guarded` was called, with 1. Never called: an exception returns to it, with the context in x0.
#[unsafe(naked)]
unsafe extern "C" fn come_back() {
    naked_asm!(
        "ldp x19, x20, [x0]",
        "ldp x21, x22, [x0, #16]",
        "ldp x23, x24, [x0, #32]",
        "ldp x25, x26, [x0, #48]",
        "ldp x27, x28, [x0, #64]",
        "ldp x29, x30, [x0, #80]",
        "ldr x9, [x0, #96]",
        "mov sp, x9",
        "mov x0, #1",
        "ret",
    )
}

extern "C" fn trampoline(argument: *mut c_void) {
    // SAFETY: `attempt` passes a pointer to such a reference, which lives until it returns.
    let work = unsafe { &mut *argument.cast::<&mut dyn FnMut()>() };
    work();
}

/// Runs `work` on this PE, and comes back even if it runs into an exception; what it owned is then leaked.
pub(crate) fn attempt(mut work: &mut dyn FnMut()) -> Result<(), Stopped> {
    let Some(place) = PLACES.get(index()) else { return Err(Stopped::NoSuchPe { pe: index() }) };
    place.armed.store(true, Ordering::Relaxed);
    // SAFETY: the context is this PE's own, and work is never nested. Coming back from an exception leaves frames behind
    // that are never returned to.
    let status = unsafe { call_guarded(trampoline, (&raw mut work).cast(), place.context.get()) };
    place.armed.store(false, Ordering::Relaxed);
    if status == 0 {
        return Ok(());
    }
    let load = |register: &AtomicU64| register.load(Ordering::Relaxed);
    Err(Stopped::Exception { esr: load(&place.esr), elr: load(&place.elr), far: load(&place.far) })
}

/// Whether an IRQ was taken on this PE since the last time.
pub(crate) fn take_interrupted() -> bool {
    PLACES.get(index()).is_some_and(|place| place.interrupted.swap(false, Ordering::Relaxed))
}

struct Exceptions;

/// What every exception but an IRQ leads to.
fn give_up(mut state: RegisterStateRef<'_>) {
    let (esr, far): (u64, u64);
    // SAFETY: reads without an effect, of the registers of the exception level that the image runs at.
    unsafe {
        match pe::exception_level() {
            2 => asm!("mrs {esr}, esr_el2", "mrs {far}, far_el2", esr = out(reg) esr, far = out(reg) far),
            _ => asm!("mrs {esr}, esr_el1", "mrs {far}, far_el1", esr = out(reg) esr, far = out(reg) far),
        }
    }
    let elr = state.elr as u64;
    match PLACES.get(index()).filter(|place| place.armed.load(Ordering::Relaxed)) {
        Some(place) => {
            place.esr.store(esr, Ordering::Relaxed);
            place.elr.store(elr, Ordering::Relaxed);
            place.far.store(far, Ordering::Relaxed);
            // SAFETY: the return goes to code that restores every register that matters from a context that was saved on
            // this PE by a call that has not returned.
            let state = unsafe { state.get_mut() };
            if let Some(first) = state.registers.first_mut() {
                *first = place.context.get() as u64;
            }
            state.elr = come_back as *const () as usize;
        }
        None => crate::stop_after_exception(esr, elr, far),
    }
}

impl ExceptionHandlers for Exceptions {
    extern "C" fn sync_current(state: RegisterStateRef) {
        give_up(state);
    }

    extern "C" fn irq_current(mut state: RegisterStateRef) {
        if let Some(place) = PLACES.get(index()) {
            place.interrupted.store(true, Ordering::Relaxed);
        }
        // SAFETY: nothing but PSTATE.I changes: the interrupt is still signalled, and is for the test to acknowledge.
        unsafe { state.get_mut().spsr |= 1 << 7 }
    }

    extern "C" fn fiq_current(state: RegisterStateRef) {
        give_up(state);
    }

    extern "C" fn serror_current(state: RegisterStateRef) {
        give_up(state);
    }
}
