//! Work that comes back even if it runs into an exception, and what happens on every exception, of the image or of a guest.

use core::arch::{asm, naked_asm};
use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use aarch64_rt::{ExceptionHandlers, RegisterStateRef, exception_handlers};
use gicv5_bare_metal::pe;
use gicv5_conformance::{MAX_PES, Stopped};

use crate::guest;

exception_handlers!(Exceptions);

/// What a PE needs to come back: the registers that a function keeps for its caller, and the stack pointer.
#[repr(C, align(16))]
struct Context([u64; 14]);

/// Each PE's own.
struct Place {
    context: UnsafeCell<Context>,
    /// Whether there is work to come back from.
    armed: AtomicBool,
    /// What ended it.
    stopped: Cell<Stopped>,
    /// An IRQ was taken.
    interrupted: AtomicBool,
    /// Where a guest comes back to.
    guest: UnsafeCell<Context>,
    /// What switches the CPU interface on again that an interrupt of a guest's time has switched off.
    interface: Cell<Option<u64>>,
    /// How often that has happened.
    interruptions: AtomicU32,
}

// SAFETY: the contexts and cells are used by the PE they belong to and by no other.
unsafe impl Sync for Place {}

static PLACES: [Place; MAX_PES] = [const {
    Place {
        context: UnsafeCell::new(Context([0; 14])),
        armed: AtomicBool::new(false),
        stopped: Cell::new(Stopped::Interrupted),
        interrupted: AtomicBool::new(false),
        guest: UnsafeCell::new(Context([0; 14])),
        interface: Cell::new(None),
        interruptions: AtomicU32::new(0),
    }
}; MAX_PES];

/// Tells a PE its number, which it keeps in a register that nobody else uses.
pub(crate) fn set_index(pe: usize) {
    // SAFETY: TPIDR_EL1 is for software to use, and the only user is here.
    unsafe { asm!("msr tpidr_el1, {pe}", pe = in(reg) pe, options(nomem, nostack)) }
}

/// The number of this PE.
pub(crate) fn index() -> usize {
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

/// Calls the `&mut dyn FnMut()` that the argument points to.
pub(crate) extern "C" fn trampoline(argument: *mut c_void) {
    // SAFETY: `attempt` and `guest::run` pass a pointer to such a reference, which lives until it returns.
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
    place.switch_on();
    if status == 0 {
        return Ok(());
    }
    Err(place.stopped.get())
}

impl Place {
    /// Undoes what an interrupt of a guest's time has done.
    fn switch_on(&self) {
        if let Some(interface) = self.interface.take() {
            pe::switch_interface_on(interface);
        }
    }
}

/// Enters a guest, and returns when it has ended. If it comes to no end, the work around it does: see [`attempt`].
pub(crate) fn enter(launch: extern "C" fn(*mut c_void), start: *mut c_void) {
    let Some(place) = PLACES.get(index()) else { return };
    // SAFETY: the context is this PE's own, and a PE runs one guest at a time.
    unsafe { call_guarded(launch, start, place.guest.get()) };
    place.switch_on();
}

/// How often a physical interrupt has come in a guest's time, on this PE.
pub(crate) fn interruptions() -> u32 {
    PLACES.get(index()).map_or(0, |place| place.interruptions.load(Ordering::Relaxed))
}

/// Whether an IRQ was taken on this PE since the last time.
pub(crate) fn take_interrupted() -> bool {
    PLACES.get(index()).is_some_and(|place| place.interrupted.swap(false, Ordering::Relaxed))
}

/// Says that no work on this PE is to be come back from: the next exception is one outside of any test.
pub(crate) fn disarm() {
    if let Some(place) = PLACES.get(index()) {
        place.armed.store(false, Ordering::Relaxed);
    }
}

struct Exceptions;

/// Has an exception return to where a context was saved.
fn return_to(state: &mut RegisterStateRef<'_>, context: *mut Context) {
    // SAFETY: the return goes to code that restores every register that matters from a context that was saved on
    // this PE by a call that has not returned, with everything masked, as it was there.
    let state = unsafe { state.get_mut() };
    if let Some(first) = state.registers.first_mut() {
        *first = context as u64;
    }
    state.elr = come_back as *const () as usize;
    state.spsr = 0x3c1 | pe::exception_level() << 2 | if pe::is_nmi_on() { pe::ALLINT } else { 0 };
}

/// Ends the work that is under way on this PE.
fn give_up(mut state: RegisterStateRef<'_>, stopped: Stopped) {
    match PLACES.get(index()).filter(|place| place.armed.load(Ordering::Relaxed)) {
        Some(place) => {
            place.stopped.set(stopped);
            return_to(&mut state, place.context.get());
        }
        None => crate::ending::stop_outside(stopped),
    }
}

/// What every exception of the image but an IRQ leads to.
fn unexpected(state: RegisterStateRef<'_>) {
    let (esr, far) = pe::syndrome();
    let elr = state.elr as u64;
    give_up(state, Stopped::Exception { esr, elr, far });
}

/// What every exception of a guest that EL2 takes leads to, but an IRQ and the end of the guest.
fn unexpected_of_guest(state: RegisterStateRef<'_>) {
    let (esr, far) = pe::syndrome();
    let elr = state.elr as u64;
    let (esr, elr, far) = if guest::has_syndrome(esr) { guest::syndrome() } else { (esr, elr, far) };
    give_up(state, Stopped::Guest { esr, elr, far });
}

impl ExceptionHandlers for Exceptions {
    extern "C" fn sync_current(state: RegisterStateRef) {
        unexpected(state);
    }

    extern "C" fn irq_current(mut state: RegisterStateRef) {
        if let Some(place) = PLACES.get(index()) {
            place.interrupted.store(true, Ordering::Relaxed);
        }
        let masks = if pe::is_nmi_on() { 1 << 7 | pe::ALLINT } else { 1 << 7 };
        // SAFETY: nothing but PSTATE.I and ALLINT changes: the interrupt is still signalled, and is for the test to acknowledge.
        unsafe { state.get_mut().spsr |= masks }
    }

    extern "C" fn fiq_current(state: RegisterStateRef) {
        unexpected(state);
    }

    extern "C" fn serror_current(state: RegisterStateRef) {
        unexpected(state);
    }

    extern "C" fn sync_lower(mut state: RegisterStateRef) {
        match PLACES.get(index()) {
            Some(place) if guest::has_ended(pe::syndrome().0) => return_to(&mut state, place.guest.get()),
            _ => unexpected_of_guest(state),
        }
    }

    extern "C" fn irq_lower(state: RegisterStateRef) {
        let place = PLACES.get(index()).filter(|place| place.interface.get().is_none());
        if let Some(place) = place {
            place.interruptions.fetch_add(1, Ordering::Relaxed);
            place.interface.set(Some(pe::switch_interface_off()));
        }
        if place.is_none() || pe::signals().irq {
            give_up(state, Stopped::Interrupted);
        }
    }

    extern "C" fn fiq_lower(state: RegisterStateRef) {
        unexpected_of_guest(state);
    }

    extern "C" fn serror_lower(state: RegisterStateRef) {
        unexpected_of_guest(state);
    }
}
