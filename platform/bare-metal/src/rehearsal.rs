//! Guests that behave as no test's guest does, on every PE: what the image does about each is shown before a test relies on it.
//!
//! This needs EL2 and no GICv5. No emulator that we know has both, so that the switch between EL2 and EL1 is tried beside a
//! GICv3, which is set up here as far as one timer's interrupt needs it.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use gicv5_arch::Ppi;
use gicv5_arch::sysreg::SysReg;
use gicv5_bare_metal::pe;
use gicv5_conformance::Stopped;
use gicv5_hal::Pe;

use crate::board::GicV3;
use crate::{guard, guest, pes, watchdog};

/// How often each PE enters a guest that ends well, before and after those that do not.
const TIMES: u64 = 1_000;

/// An address that no page table maps.
const NOWHERE: u64 = 1 << 37;

/// An `hvc` that means nothing to the image.
const STRAY: u16 = 0x4d;

/// What should have happened.
#[derive(Debug)]
pub(crate) struct Unexpected {
    pe: usize,
    what: &'static str,
    actual: Result<(), Stopped>,
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PE {}: {}: ", self.pe, self.what)?;
        match self.actual {
            Ok(()) => f.write_str("it is otherwise"),
            Err(stopped) => write!(f, "{stopped}"),
        }
    }
}

/// Runs everything on that many PEs, and tells what has been shown.
pub(crate) fn run(pes: usize, older: Option<GicV3>, tell: impl Fn(fmt::Arguments<'_>)) -> Result<(), Unexpected> {
    for pe in 0..pes {
        watchdog::started("the rehearsal of guests");
        go_and_come_back(pe)?;
        tell(format_args!("PE {pe}: {TIMES} guests ran at EL1, each on its own stack, and what they wrote is there"));
        for misdeed in MISDEEDS {
            let syndrome = misdeed.commit(pe)?;
            tell(format_args!("PE {pe}: a guest {}: {syndrome}", misdeed.what));
        }
        virtual_interrupts_are_the_guests(pe)?;
        tell(format_args!("PE {pe}: a virtual interrupt is pending at EL1, and not at EL2"));
        let times = physical_interrupts_wait(pe, older)?;
        tell(format_args!(
            "PE {pe}: {times} guests went on after a physical interrupt, which was pending when they had ended"
        ));
        go_and_come_back(pe)?;
        tell(format_args!("PE {pe}: {TIMES} more guests ran after all that"));
    }
    Ok(())
}

/// Wants something to hold.
fn want(pe: usize, what: &'static str, holds: bool) -> Result<(), Unexpected> {
    if holds { Ok(()) } else { Err(Unexpected { pe, what, actual: Ok(()) }) }
}

fn wrong(pe: usize, what: &'static str) -> impl Fn(Stopped) -> Unexpected {
    move |stopped| Unexpected { pe, what, actual: Err(stopped) }
}

fn go_and_come_back(pe: usize) -> Result<(), Unexpected> {
    let right = AtomicU64::new(0);
    let work = || {
        for n in 1..=TIMES {
            let here = stack_pointer();
            let (mut seen, mut there) = ([0; 3], 0);
            guest::run(&mut || {
                there = stack_pointer();
                seen = [pe::exception_level(), n, n.wrapping_mul(n)];
            });
            // What a caller keeps in registers (n, here) is still there, too.
            let is_right = seen == [1, n, n.wrapping_mul(n)] && pe::exception_level() == 2;
            right.fetch_add((is_right && there.abs_diff(here) > 4096).into(), Ordering::Relaxed);
        }
    };
    pes::on(pe, &work).map_err(wrong(pe, "a guest that does nothing wrong"))?;
    want(pe, "guests run at EL1 and come back", right.into_inner() == TIMES)
}

fn stack_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: a read without an effect.
    unsafe { core::arch::asm!("mov {pointer}, sp", pointer = out(reg) pointer, options(nomem, nostack)) }
    pointer
}

/// Something a guest must not do, and what its exception looks like.
struct Misdeed {
    what: &'static str,
    /// HCR_EL2 bits that EL2 sets before: the virtual interrupts and SErrors that EL2 makes.
    pending: u64,
    work: fn(),
    /// Exception class, ESR_ELx.EC.
    class: u64,
    /// Checks ISS and FAR.
    is_it: fn(u64, u64) -> bool,
}

/// HCR_EL2.VI: a virtual IRQ is pending.
const VI: u64 = 1 << 7;
/// HCR_EL2.VSE: a virtual SError is pending.
const VSE: u64 = 1 << 8;

const MISDEEDS: &[Misdeed] = &[
    Misdeed {
        what: "executes an instruction that does not exist",
        pending: 0,
        work: pe::undefined,
        class: 0,
        is_it: |_, _| true,
    },
    Misdeed {
        what: "reads where nothing is",
        pending: 0,
        // SAFETY: the address is not mapped, so that nothing is read.
        work: || unsafe {
            core::ptr::read_volatile(NOWHERE as *const u8);
        },
        class: 0x25,
        is_it: |_, far| far == NOWHERE,
    },
    Misdeed {
        what: "makes a call that nobody offers",
        pending: 0,
        // SAFETY: an exception, which ends the guest.
        work: || unsafe { core::arch::asm!("hvc {number}", number = const STRAY) },
        class: 0x16,
        is_it: |iss, _| iss & 0xffff == STRAY.into(),
    },
    Misdeed {
        what: "takes an SError",
        pending: VSE,
        // SAFETY: what is let in is an exception, which ends the guest.
        work: || unsafe { core::arch::asm!("msr daifclr, #4", "isb") },
        class: 0x2f,
        is_it: |_, _| true,
    },
    Misdeed {
        what: "takes an interrupt that it should mask",
        pending: VI,
        work: || pe::unmask_irqs(true),
        class: 0x16,
        is_it: |iss, _| iss & 0xffff == 2,
    },
];

/// An exception's class, for a reader.
struct Syndrome(u64, u64, u64);

impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ESR {:#x}, ELR {:#x}, FAR {:#x}", self.0, self.1, self.2)
    }
}

impl Misdeed {
    fn commit(&self, pe: usize) -> Result<Syndrome, Unexpected> {
        let ended = pes::on(pe, &|| {
            set_pending(self.pending);
            guest::run(&mut { self.work });
        });
        pes::on(pe, &|| set_pending(0)).map_err(wrong(pe, self.what))?;
        match ended {
            Err(Stopped::Guest { esr, elr, far })
                if esr >> 26 & 0x3f == self.class && (self.is_it)(esr & 0x1ff_ffff, far) =>
            {
                Ok(Syndrome(esr, elr, far))
            }
            actual => Err(Unexpected { pe, what: self.what, actual }),
        }
    }
}

/// Makes virtual interrupts and SErrors pending, or not.
fn set_pending(what: u64) {
    // SAFETY: EL2 does not take them, and EL1 masks them or is given up.
    unsafe {
        core::arch::asm!("mrs {t}, hcr_el2", "bic {t}, {t}, {all}", "orr {t}, {t}, {what}", "msr hcr_el2, {t}", "isb",
            t = out(reg) _, all = in(reg) VI | VSE, what = in(reg) what, options(nostack));
    }
}

fn virtual_interrupts_are_the_guests(pe: usize) -> Result<(), Unexpected> {
    const WHAT: &str = "a virtual interrupt is pending at EL1 when HCR_EL2.VI says so";
    for (pending, wanted) in [(0, 0), (VI, 1), (0, 0)] {
        let (at_el1, at_el2) = (AtomicU64::new(9), AtomicU64::new(9));
        let work = || {
            set_pending(pending);
            guest::run(&mut || at_el1.store(pe::signals().irq.into(), Ordering::Relaxed));
            at_el2.store(pe::signals().irq.into(), Ordering::Relaxed);
            set_pending(0);
        };
        pes::on(pe, &work).map_err(wrong(pe, WHAT))?;
        want(pe, WHAT, at_el1.into_inner() == wanted && at_el2.into_inner() == 0)?;
    }
    Ok(())
}

/// Has the timer interrupt guests, before they start and in their middle.
fn physical_interrupts_wait(pe: usize, older: Option<GicV3>) -> Result<u32, Unexpected> {
    const WHAT: &str = "a physical interrupt waits for the end of the guest";
    const GUESTS: u32 = 20;
    let right = AtomicU32::new(0);
    let work = || {
        let Some(source) = Source::new(older) else { return };
        for n in 0..GUESTS {
            let before = guard::interruptions();
            let mut inside = before;
            let early = n % 2 == 0;
            pe::drive_timer(Ppi::CNTP, early);
            guest::run(&mut || {
                pe::drive_timer(Ppi::CNTP, true);
                let start = pe::nanoseconds();
                // It comes at once, and only once.
                while pe::nanoseconds() - start < 100_000 || guard::interruptions() == before {
                    if pe::nanoseconds() - start > 100_000_000 {
                        break;
                    }
                }
                inside = guard::interruptions();
            });
            let pending = pe::signals().irq;
            pe::drive_timer(Ppi::CNTP, false);
            let is_right = inside == before + 1 && guard::interruptions() == inside && pending;
            right.fetch_add(is_right.into(), Ordering::Relaxed);
        }
        source.end();
    };
    pes::on(pe, &work).map_err(wrong(pe, WHAT))?;
    want(pe, WHAT, right.into_inner() == GUESTS)?;
    Ok(GUESTS)
}

/// The interrupt controller, set up for the timer's interrupt on this PE.
enum Source {
    GicV3,
    GicV5,
}

impl Source {
    fn new(older: Option<GicV3>) -> Option<Source> {
        if pe::has_gicv5() {
            let pe = Pe::new(&pe::THIS_PE);
            pe.write_raw(SysReg::icc_ppi_enabler(Ppi::CNTP.bank()), Ppi::CNTP.mask());
            pe.write_raw(SysReg::ICC_PCR_EL1, 31);
            pe.write_raw(SysReg::ICC_CR0_EL1, 1);
            pe.isb();
            return Some(Source::GicV5);
        }
        let GicV3 { distributor, redistributors } = older?;
        let frame = redistributor(redistributors)?;
        // SAFETY: the registers of a GICv3 by the device tree, which nobody else uses: GICD_CTLR (affinity routing, Group 1),
        // GICR_WAKER, and for the SGIs and PPIs of this PE GICR_IGROUPR0 and GICR_ISENABLER0. It uses no memory. Then
        // ICC_SRE_EL2, ICC_PMR_EL1 and ICC_IGRPEN1_EL1, by number; interrupts are masked.
        unsafe {
            write32(distributor, 0x12);
            write32(frame + 0x14, 0);
            while read32(frame + 0x14) & 1 << 2 != 0 {
                pe::relax();
            }
            write32(frame + 0x1_0080, u32::MAX);
            write32(frame + 0x1_0100, 1 << Ppi::CNTP.id());
            core::arch::asm!(
                "msr s3_4_c12_c9_5, {sre}", "isb", "msr s3_0_c4_c6_0, {open}", "msr s3_0_c12_c12_7, {on}", "isb",
                sre = in(reg) 0xf_u64, open = in(reg) 0xff_u64, on = in(reg) 1_u64,
            );
        }
        Some(Source::GicV3)
    }

    fn end(self) {
        pe::switch_interface_off();
        if let Source::GicV5 = self {
            let pe = Pe::new(&pe::THIS_PE);
            pe.write_raw(SysReg::icc_ppi_enabler(Ppi::CNTP.bank()), 0);
            pe.write_raw(SysReg::ICC_PCR_EL1, 0);
            pe.isb();
        }
    }
}

/// The redistributor of this PE: the one whose GICR_TYPER has its affinity.
fn redistributor(first: u64) -> Option<u64> {
    const BYTES: u64 = 0x2_0000;
    let own = crate::boot::affinity();
    let own = (own >> 32 & 0xff) << 24 | own & 0xff_ffff;
    for frame in (first..).step_by(BYTES as usize).take(gicv5_conformance::MAX_PES) {
        // SAFETY: a register without side effects, of a redistributor: there is one more until the last says so.
        let (low, high) = unsafe { (read32(frame + 8), read32(frame + 12)) };
        if u64::from(high) == own {
            return Some(frame);
        }
        if low & 1 << 4 != 0 {
            return None;
        }
    }
    None
}

/// # Safety
///
/// The address is that of a register of 32 bits whose reading has no effect on memory.
unsafe fn read32(address: u64) -> u32 {
    // SAFETY: by the promise of the caller.
    unsafe { core::ptr::read_volatile(address as *const u32) }
}

/// # Safety
///
/// The address is that of a register of 32 bits whose writing has no effect on memory.
unsafe fn write32(address: u64, value: u32) {
    // SAFETY: by the promise of the caller.
    unsafe { core::ptr::write_volatile(address as *mut u32, value) }
}
