//! What must never happen, provoked to show how it is reported, and a reset in mid-operation.

use core::ops::Range;
use core::sync::atomic::Ordering;

use gicv5_bare_metal::pe;
use gicv5_conformance::Bench;
use gicv5_hal::Pe;
use smccc::psci::system_reset;
use smccc::{Hvc, Smc};

use crate::boot::MAPPED;
use crate::ending::{ALL_PASSED, BROKEN, USE_SMC, end, refuse};
use crate::platform::{Board, Console};
use crate::{board, guest, rehearsal, watchdog};

/// Runs guests as no test does, on every PE, and ends.
pub(crate) fn rehearse(console: &Console, pes: usize, older: Option<board::GicV3>, what: &str) -> ! {
    if !guest::are_available() {
        refuse(console, "guests need EL2, and HCR_EL2.E2H to be 0 there");
    }
    if what == "guest-hang" {
        const NAME: &str = "provoked::guest_hang";
        watchdog::started(NAME);
        console.print(format_args!("{NAME} ... "));
        guest::run(&mut || loop {
            pe::relax();
        });
    }
    match rehearsal::run(pes, older, |line| console.print(format_args!("{line}\n"))) {
        Ok(()) => end(ALL_PASSED),
        Err(error) => {
            console.print(format_args!("{error}\n"));
            end(BROKEN)
        }
    }
}

/// Does what must never happen, to show that it is noticed and how it is said.
pub(crate) fn provoke(board: &Board, what: &str) -> ! {
    match what {
        "hang" => {
            const NAME: &str = "provoked::hang";
            watchdog::started(NAME);
            board.console.print(format_args!("{NAME} ... "));
            loop {
                pe::relax();
            }
        }
        "exception" => pe::undefined(),
        "silence" => {
            // Within work that an exception would come back from, as in a test.
            let _ = board.attempt(&mut || {
                let _ = board.run_on(1, &|_| loop {
                    pe::relax();
                });
            });
        }
        _ => refuse(&board.console, "provoke= wants hang, exception, silence, guest or guest-hang"),
    }
    refuse(&board.console, "what was provoked did not happen: silence needs a second PE")
}

/// Leaves the interrupt controller in disorder and resets the machine. Does nothing when the machine comes back from that,
/// which a word at the end of RAM tells: a reset must not clear it.
pub(crate) fn reset_once(board: &Board, ram: Range<u64>) {
    const MARK: u64 = u64::from_be_bytes(*b"in reset");
    let address = ram.end.min(MAPPED).saturating_sub(8) & !7;
    if address < ram.start + board.hardware.memory.size() + (4 << 10) {
        refuse(&board.console, "too little RAM for a word that outlives a reset");
    }
    let word = address as *mut u64;
    // SAFETY: RAM by the device tree, behind that of the tables, that nothing else uses.
    if unsafe { core::ptr::read_volatile(word) } == MARK {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(word, 0) }
        board.console.print(format_args!("the machine has been reset\n"));
        return;
    }
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(word, MARK) }
    pe::clean(address);
    if let Err(failure) = gicv5_conformance::disorder(board, &Pe::new(&pe::THIS_PE)) {
        board.console.print(format_args!("the disorder before the reset: {failure}\n"));
        end(BROKEN);
    }
    let _ = match USE_SMC.load(Ordering::Relaxed) {
        true => system_reset::<Smc>(),
        false => system_reset::<Hvc>(),
    };
    board.console.print(format_args!("PSCI does not reset the machine\n"));
    end(BROKEN)
}
