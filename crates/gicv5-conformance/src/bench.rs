//! What a test needs beyond what a driver needs: several PEs, wires, and a look at the interrupt outputs.

use core::time::Duration;

use gicv5_arch::{Ppi, Spi};
use gicv5_hal::{CurrentPe, Pe, Platform};

/// One PE of a bench, as its closures see it.
pub type BenchPe<'a, B> = Pe<'a, <<B as Platform>::CurrentPe as CurrentPe>::Ops>;

/// What the inputs of a PE show: ISR_EL1.I and ISR_EL1.F.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Signals {
    /// An IRQ is pending at the PE, masked or not.
    pub irq: bool,
    /// An FIQ is pending at the PE, masked or not.
    pub fiq: bool,
}

/// Why work came to no end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stopped {
    /// An exception that nobody expected; the work was given up at that point.
    #[error("unexpected exception: ESR {esr:#x}, ELR {elr:#x}, FAR {far:#x}")]
    Exception {
        /// Exception syndrome register.
        esr: u64,
        /// Address of the instruction.
        elr: u64,
        /// Fault address register.
        far: u64,
    },
    /// An exception of a guest that nobody expected; the guest was given up at that point, and the work around it with it.
    #[error("unexpected exception of a guest: ESR {esr:#x}, ELR {elr:#x}, FAR {far:#x}")]
    Guest {
        /// Exception syndrome register, of the exception level that took the exception.
        esr: u64,
        /// Address of the instruction.
        elr: u64,
        /// Fault address register.
        far: u64,
    },
    /// A physical interrupt is signalled while a guest runs, although the physical CPU interface is off.
    #[error("an interrupt is signalled although the CPU interface is off, and a guest cannot go on")]
    Interrupted,
    /// The PE did not come back in time. It may be lost for the rest of the run.
    #[error("PE {pe} does not answer")]
    NoAnswer {
        /// The PE.
        pe: usize,
    },
    /// There is no such PE.
    #[error("there is no PE {pe}")]
    NoSuchPe {
        /// The PE.
        pe: usize,
    },
}

/// What a PE masks while it waits for an NMI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Masked {
    /// IRQs, by PSTATE.I, which does not hold for NMIs.
    Irqs,
    /// NMIs too, by PSTATE.ALLINT.
    All,
}

/// A machine to run the tests on.
///
/// All PEs keep interrupts masked, except inside [`wait_for_interrupt`](Bench::wait_for_interrupt). PE 0 is the one that
/// the suite is called on.
pub trait Bench: Platform {
    /// How many PEs can run work: at least 1.
    fn pe_count(&self) -> usize;

    /// Runs `work` on a PE other than 0, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if there is no such PE, if the work ran into an exception, or if the PE does not come back.
    fn run_on(&self, pe: usize, work: &(dyn Fn(&BenchPe<'_, Self>) + Sync)) -> Result<(), Stopped>;

    /// Runs `work` on PE 0, and comes back even if it runs into an exception.
    ///
    /// # Errors
    ///
    /// [`Stopped::Exception`]. A bench on which exceptions cannot happen just calls it.
    fn attempt(&self, work: &mut dyn FnMut()) -> Result<(), Stopped> {
        work();
        Ok(())
    }

    /// Unmasks interrupts on the PE it is called on until one has been taken as an exception, but for no longer than
    /// `limit`. The handler does nothing but note it and mask again. Returns whether one came.
    fn wait_for_interrupt(&self, pe: &BenchPe<'_, Self>, limit: Duration) -> bool;

    /// Whether the PEs have NMIs (ID_AA64PFR1_EL1.NMI) and the bench switches them on and off.
    fn has_nmi(&self) -> bool {
        false
    }

    /// Sets SCTLR_ELx.NMI of the PE it is called on: whether interrupts of priority 0 are NMIs (INS-2). They are masked except in
    /// [`wait_for_nmi`](Bench::wait_for_nmi) and [`wait_for_interrupt`](Bench::wait_for_interrupt).
    fn set_nmi(&self, pe: &BenchPe<'_, Self>, enable: bool) {
        let _ = (pe, enable);
    }

    /// Sets SCTLR_EL1.NMI of the guests that run on the PE it is called on.
    fn set_guest_nmi(&self, pe: &BenchPe<'_, Self>, enable: bool) {
        let _ = (pe, enable);
    }

    /// As [`wait_for_interrupt`](Bench::wait_for_interrupt), with these masked.
    fn wait_for_nmi(&self, pe: &BenchPe<'_, Self>, masked: Masked, limit: Duration) -> bool {
        let _ = (pe, masked, limit);
        false
    }

    /// The interrupt inputs of the PE it is called on.
    fn signals(&self, pe: &BenchPe<'_, Self>) -> Signals;

    /// An SPI whose wire the bench can drive, if any. Its wire is low.
    fn wired_spi(&self) -> Option<Spi> {
        None
    }

    /// Drives the wire of [`wired_spi`](Bench::wired_spi).
    fn drive_spi(&self, high: bool) {
        let _ = high;
    }

    /// Whether the bench can drive the timer PPIs of its PEs.
    fn has_timers(&self) -> bool {
        false
    }

    /// Drives the wire of a timer's PPI on the PE it is called on: [`Ppi::CNTV`] or [`Ppi::CNTP`].
    fn drive_timer(&self, pe: &BenchPe<'_, Self>, timer: Ppi, high: bool) {
        let _ = (pe, timer, high);
    }

    /// Whether all PEs run at EL2, so that the tests can be a hypervisor.
    fn has_el2(&self) -> bool {
        false
    }

    /// Whether the bench can run [work as a guest](Bench::as_guest).
    fn has_guests(&self) -> bool {
        false
    }

    /// Runs `work` as a guest on the PE it is called on: at EL1, with HCR_EL2.IMO=1, and with interrupts masked. The PE that
    /// `work` is given reaches the guest's registers. A physical interrupt waits until the guest has ended. A guest that
    /// comes to no end takes the work that it is part of along, with [`Stopped::Guest`].
    fn as_guest(&self, pe: &BenchPe<'_, Self>, work: &mut dyn FnMut(&BenchPe<'_, Self>)) {
        let _ = (pe, work);
    }

    /// Whether the bench can execute something [as the kernel of the host](Bench::as_kernel).
    fn has_kernel(&self) -> bool {
        false
    }

    /// Executes one instruction or access as the kernel of an nVHE host on the PE it is called on: at EL1, with HCR_EL2.IMO=0.
    /// Returns whether it executed: false if it was UNDEFINED or trapped, and then it has done nothing.
    fn as_kernel(&self, pe: &BenchPe<'_, Self>, work: &mut dyn FnMut(&BenchPe<'_, Self>)) -> bool {
        let _ = (pe, work);
        false
    }

    /// The virtual interrupt inputs of the PE it is called on: what a guest sees in ISR_EL1.
    fn virtual_signals(&self, pe: &BenchPe<'_, Self>) -> Signals {
        let _ = pe;
        Signals::default()
    }
}
