//! The board, as gicv5-hal and the conformance suite see it.

use core::cell::RefCell;
use core::fmt;
use core::ptr::NonNull;
use core::time::Duration;

use arm_pl011_uart::{Interrupts, PL011Registers, Uart, UniqueMmioPointer};
use gicv5_aarch64::{Counter, Frames, Hardware, SpinLocks, TableRam, ThisPe};
use gicv5_arch::{Ppi, Spi};
use gicv5_bare_metal::pe;
use gicv5_conformance::{Bench, BenchPe, Masked, Signals, Stopped};
use gicv5_hal::{Pe, Platform};

use crate::board;
use crate::{guard, guest, pes};

/// The console.
pub(crate) struct Console(Option<RefCell<Uart<'static>>>);

// SAFETY: only PE 0 prints, and only PE 0 moves the UART's wire; the other PEs never reach it.
unsafe impl Sync for Console {}

impl Console {
    /// Takes hold of a PL011.
    ///
    /// # Safety
    ///
    /// The address is that of a PL011, mapped as device memory, and nobody else accesses it.
    pub(crate) unsafe fn new(uart: Option<board::Uart>) -> Console {
        let pointer = uart.and_then(|uart| NonNull::new(uart.base as *mut PL011Registers));
        // SAFETY: by the promise of the caller.
        Console(pointer.map(|pointer| RefCell::new(Uart::new(unsafe { UniqueMmioPointer::new(pointer) }))))
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn print(&self, text: fmt::Arguments<'_>) {
        if let Some(uart) = &self.0
            && let Ok(mut uart) = uart.try_borrow_mut()
        {
            // A UART takes everything.
            let _ = fmt::Write::write_fmt(&mut *uart, text);
        }
    }

    /// Raises or lowers the transmit interrupt, which is due whenever something has been sent.
    fn drive(&self, high: bool) {
        if let Some(uart) = &self.0
            && let Ok(mut uart) = uart.try_borrow_mut()
        {
            uart.set_interrupt_masks(if high { Interrupts::TXI } else { Interrupts::empty() });
        }
    }

    /// Whether the transmit interrupt is due.
    fn can_drive(&self) -> bool {
        let uart = self.0.as_ref().and_then(|uart| uart.try_borrow().ok());
        uart.is_some_and(|uart| uart.raw_interrupt_status().contains(Interrupts::TXI))
    }
}

/// The board.
pub(crate) struct Board {
    pub(crate) hardware: Hardware,
    pub(crate) console: Console,
    pub(crate) wire: Option<Spi>,
    pub(crate) pes: usize,
}

impl Board {
    /// The SPI of the UART, if its wire can be moved.
    pub(crate) fn wire(console: &Console, uart: Option<board::Uart>) -> Option<Spi> {
        uart.and_then(|uart| Spi::new(uart.spi?).ok()).filter(|_| console.can_drive())
    }
}

impl Platform for Board {
    type Irs = Frames;
    type Memory = TableRam;
    type CurrentPe = ThisPe;
    type Wait = Counter;
    type Locks = SpinLocks;

    fn irs(&self) -> &Frames {
        self.hardware.irs()
    }

    fn memory(&self) -> &TableRam {
        self.hardware.memory()
    }

    fn current_pe(&self) -> &ThisPe {
        self.hardware.current_pe()
    }

    fn wait(&self) -> &Counter {
        self.hardware.wait()
    }
}

/// Lets IRQs in, and NMIs if they are switched on, until one has come or the time is over. Then all are masked again.
fn wait_for_exception(irqs: bool, nmis: bool, limit: Duration) -> bool {
    let nmi_on = pe::is_nmi_on();
    guard::take_interrupted();
    pe::unmask_irqs(irqs);
    if nmi_on {
        pe::mask_all(!nmis);
    }
    let start = pe::nanoseconds();
    let mut came = guard::take_interrupted();
    while !came && u128::from(pe::nanoseconds() - start) < limit.as_nanos() {
        came = guard::take_interrupted();
    }
    if nmi_on {
        pe::mask_all(true);
    }
    pe::unmask_irqs(false);
    came
}

impl Bench for Board {
    fn pe_count(&self) -> usize {
        self.pes
    }

    fn run_on(&self, pe: usize, work: &(dyn Fn(&BenchPe<'_, Self>) + Sync)) -> Result<(), Stopped> {
        pes::run_on(pe, work)
    }

    fn attempt(&self, work: &mut dyn FnMut()) -> Result<(), Stopped> {
        guard::attempt(work)
    }

    fn wait_for_interrupt(&self, _: &BenchPe<'_, Self>, limit: Duration) -> bool {
        wait_for_exception(true, true, limit)
    }

    fn has_nmi(&self) -> bool {
        pe::has_nmi()
    }

    fn set_nmi(&self, _: &BenchPe<'_, Self>, enable: bool) {
        pe::switch_nmi(enable);
    }

    fn set_guest_nmi(&self, _: &BenchPe<'_, Self>, enable: bool) {
        guest::switch_nmi(enable);
    }

    fn wait_for_nmi(&self, _: &BenchPe<'_, Self>, masked: Masked, limit: Duration) -> bool {
        wait_for_exception(false, masked == Masked::Irqs, limit)
    }

    fn signals(&self, _: &BenchPe<'_, Self>) -> Signals {
        pe::signals()
    }

    fn wired_spi(&self) -> Option<Spi> {
        self.wire
    }

    fn drive_spi(&self, high: bool) {
        self.console.drive(high);
    }

    fn has_timers(&self) -> bool {
        // Where HCR_EL2.E2H stays 1, the names of EL1's timers are those of EL2's, which have other PPIs.
        pe::exception_level() == 1 || guest::are_available()
    }

    fn drive_timer(&self, _: &BenchPe<'_, Self>, timer: Ppi, high: bool) {
        pe::drive_timer(timer, high);
    }

    fn has_el2(&self) -> bool {
        pe::exception_level() == 2
    }

    fn has_guests(&self) -> bool {
        guest::are_available()
    }

    fn as_guest(&self, _: &BenchPe<'_, Self>, work: &mut dyn FnMut(&BenchPe<'_, Self>)) {
        guest::run(&mut || work(&Pe::new(&pe::THIS_PE)));
    }

    fn virtual_signals(&self, _: &BenchPe<'_, Self>) -> Signals {
        // ISR_EL1 shows them to EL1 alone.
        let mut signals = Signals::default();
        guest::run(&mut || signals = pe::signals());
        signals
    }
}
