//! The board, as gicv5-hal and the conformance suite see it.

use core::cell::RefCell;
use core::fmt;
use core::ptr::NonNull;
use core::time::Duration;

use arm_pl011_uart::{Interrupts, PL011Registers, Uart, UniqueMmioPointer};
use gicv5_arch::irs::FRAME_BYTES;
use gicv5_arch::{Ppi, Spi};
use gicv5_conformance::{Bench, BenchPe, Masked, Signals, Stopped};
use gicv5_hal::{Frame, FrameKind, Irs, IrsIndex, Lock, Locks, Pe, Platform, Wait};

use crate::board;
use crate::memory::Pool;
use crate::pe::{self, ThisPe};
use crate::{guard, guest, pes};

/// The frames of the IRS.
pub(crate) struct Frames(board::Irs);

impl Frames {
    /// Takes hold of the frames.
    ///
    /// # Safety
    ///
    /// They are mapped as device memory, they are those of an IRS, and nobody else accesses them. Whoever writes their
    /// registers gives the IRS no address but of memory that is nobody else's.
    pub(crate) unsafe fn new(irs: board::Irs) -> Frames {
        Frames(irs)
    }

    /// The pointer to a register, if the frame exists and the access lies in it.
    fn at<T>(&self, frame: Frame, offset: u16) -> Option<*mut T> {
        let base = match (frame.irs, frame.kind) {
            (IrsIndex(0), FrameKind::Config) => self.0.config,
            (IrsIndex(0), FrameKind::SetLpi) => self.0.set_lpi?,
            _ => return None,
        };
        let bytes = size_of::<T>() as u64;
        let inside = u64::from(offset).is_multiple_of(bytes) && u64::from(offset) + bytes <= FRAME_BYTES;
        inside.then_some((base + u64::from(offset)) as *mut T)
    }
}

// Single loads and stores of one register, which is what an emulator that traps them can decode.
impl Irs for Frames {
    fn read32(&self, frame: Frame, offset: u16) -> u32 {
        // SAFETY: a register of a frame, by the promise made to `new`.
        self.at(frame, offset).map_or(0, |at| u32::from_le(unsafe { core::ptr::read_volatile(at) }))
    }

    fn write32(&self, frame: Frame, offset: u16, value: u32) {
        if let Some(at) = self.at(frame, offset) {
            // SAFETY: as above.
            unsafe { core::ptr::write_volatile(at, value.to_le()) }
        }
    }

    fn read64(&self, frame: Frame, offset: u16) -> u64 {
        // SAFETY: as above.
        self.at(frame, offset).map_or(0, |at| u64::from_le(unsafe { core::ptr::read_volatile(at) }))
    }

    fn write64(&self, frame: Frame, offset: u16, value: u64) {
        if let Some(at) = self.at(frame, offset) {
            // SAFETY: as above.
            unsafe { core::ptr::write_volatile(at, value.to_le()) }
        }
    }
}

/// Time from the architected counter.
pub(crate) struct Counter;

impl Wait for Counter {
    fn relax(&self) {
        pe::relax();
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(pe::nanoseconds())
    }
}

/// Spin locks. Interrupts are masked wherever one is held, and the handler of interrupts takes none.
pub(crate) struct SpinLocks;

/// A value behind a spin lock.
pub(crate) struct SpinLock<T>(spin::Mutex<T>);

impl Locks for SpinLocks {
    type Mutex<T: Send> = SpinLock<T>;
}

impl<T: Send> Lock<T> for SpinLock<T> {
    fn new(value: T) -> SpinLock<T> {
        SpinLock(spin::Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock())
    }
}

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
    pub(crate) frames: Frames,
    pub(crate) pool: Pool,
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
    type Memory = Pool;
    type CurrentPe = ThisPe;
    type Wait = Counter;
    type Locks = SpinLocks;

    fn irs(&self) -> &Frames {
        &self.frames
    }

    fn memory(&self) -> &Pool {
        &self.pool
    }

    fn current_pe(&self) -> &ThisPe {
        &ThisPe
    }

    fn wait(&self) -> &Counter {
        &Counter
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
        guest::run(&mut || work(&Pe::new(&ThisPe)));
    }

    fn virtual_signals(&self, _: &BenchPe<'_, Self>) -> Signals {
        // ISR_EL1 shows them to EL1 alone.
        let mut signals = Signals::default();
        guest::run(&mut || signals = pe::signals());
        signals
    }
}
