//! How the machine ends, and the last words before that.

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gicv5_bare_metal::pe;
use gicv5_conformance::Stopped;
use semihosting::sys::arm_compat::sys_writec;
use smccc::psci::system_off;
use smccc::{Hvc, Smc};

use crate::guard;
use crate::platform::Console;

/// Ends the machine: everything passed.
pub(crate) const ALL_PASSED: u8 = 0;
/// Ends the machine: a test failed.
pub(crate) const SOME_FAILED: u8 = 1;
/// Ends the machine: this is no place for the suite.
pub(crate) const UNSUITABLE: u8 = 2;
/// Ends the machine: something happened that no test accounts for.
pub(crate) const BROKEN: u8 = 3;

/// How to end. What is needed where nothing else is known.
pub(crate) static USE_SMC: AtomicBool = AtomicBool::new(false);
pub(crate) static USE_PSCI: AtomicBool = AtomicBool::new(false);
pub(crate) static UART: AtomicU64 = AtomicU64::new(0);
static ENDING: AtomicBool = AtomicBool::new(false);

/// Says why the suite cannot run here, and ends.
pub(crate) fn refuse(console: &Console, why: &str) -> ! {
    console.print(format_args!("cannot run: {why}\n"));
    end(UNSUITABLE)
}

/// Prints by semihosting.
struct Semihosting;

impl Write for Semihosting {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(sys_writec);
        Ok(())
    }
}

/// Says something where no console is known: by semihosting, if there is any. A guess at the address of a UART could hit
/// anything.
pub(crate) fn say_without_console(text: fmt::Arguments<'_>) {
    // Without semihosting the call is an exception.
    let _ = guard::attempt(&mut || {
        let _ = Semihosting.write_fmt(text);
    });
}

/// Ends the machine with a status, if there is something that takes it.
pub(crate) fn end(status: u8) -> ! {
    // Where semihosting does not exist the call is an exception, which leads back here, and nowhere else: not into the work
    // that was under way, which would go on while another PE may still hold what it lent it.
    guard::disarm();
    if !ENDING.swap(true, Ordering::Relaxed) && !USE_PSCI.load(Ordering::Relaxed) {
        semihosting::process::exit(status.into());
    }
    // At EL3 there is nobody to call: the call would be one more exception that leads back here.
    while pe::exception_level() == 3 {
        pe::relax();
    }
    let _ = match USE_SMC.load(Ordering::Relaxed) {
        true => system_off::<Smc>(),
        false => system_off::<Hvc>(),
    };
    loop {
        pe::relax();
    }
}

/// Prints where nothing is known any more about who else does.
struct LastWords;

impl Write for LastWords {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let base = UART.load(Ordering::Relaxed);
        for byte in text.bytes().filter(|_| base != 0) {
            // SAFETY: the data register of the PL011 that the device tree names; the machine is about to end.
            unsafe { core::ptr::write_volatile(base as *mut u32, byte.into()) }
        }
        Ok(())
    }
}

/// Says what ends the machine: by the UART once, because that may itself be what fails, and then in the other way.
fn say_last_words(text: fmt::Arguments<'_>) {
    static SPOKEN: AtomicBool = AtomicBool::new(false);
    if SPOKEN.swap(true, Ordering::Relaxed) {
        say_without_console(text);
    } else {
        let _ = LastWords.write_fmt(text);
    }
}

/// An exception outside of any test.
pub(crate) fn stop_outside(stopped: Stopped) -> ! {
    if !ENDING.load(Ordering::Relaxed) {
        say_last_words(format_args!("\noutside of any test: {stopped}\n"));
    }
    end(BROKEN)
}

/// A PE has work that lives in a frame of this one's stack, and does not come back.
pub(crate) fn stop_after_silence(pe: usize) -> ! {
    say_last_words(format_args!("\nPE {pe} does not come back from its work\n"));
    end(BROKEN)
}

/// PE 0 does not get on.
pub(crate) fn stop_after_hang(what: &str) -> ! {
    say_last_words(format_args!("\nPE 0 hangs in {what}\n"));
    end(BROKEN)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say_last_words(format_args!("\n{info}\n"));
    end(BROKEN)
}
