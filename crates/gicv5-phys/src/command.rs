//! Register writes that take time.
//!
//! All registers that share a status register form a *port*, and only one write may be under way on it (GEN-18). A port is
//! owned by a token and not by a held lock, because its owner waits for the hardware. The token also covers the registers
//! that select an object and the ones that act on it (GEN-15).
//!
//! A write that has not finished in time is *unknown*, not failed (LIFE-10). The port remembers which one it was. While the
//! status register says that it is still under way, the next user of the port gets an error at once; when the register
//! says that it is over, the port is as good as new.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use core::time::Duration;

use gicv5_arch::irs::{IrsReg, Status};
use gicv5_arch::register::Register;
use gicv5_hal::{IrsExt, IrsIndex, Platform, Wait};

/// Declares the steps with their numbers, which a port keeps in one byte.
macro_rules! steps {
    ($($(#[$meta:meta])* $name:ident $number:literal $text:literal;)*) => {
        /// What the driver asked an IRS to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Step {
            $($(#[$meta])* $name = $number,)*
        }

        impl Step {
            fn from_number(number: u8) -> Option<Step> {
                match number {
                    $($number => Some(Step::$name),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for Step {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Step::$name => $text,)*
                })
            }
        }
    };
}

steps! {
    /// IRS_CR0.IRSEN is cleared.
    DisableIrs 1 "disable the IRS";
    /// IRS_CR0.IRSEN is set.
    EnableIrs 2 "enable the IRS";
    /// IRS_IST_BASER.VALID is set.
    MakeIstValid 3 "make the IST valid";
    /// IRS_IST_BASER.VALID is cleared.
    WithdrawIst 4 "withdraw the IST";
    /// IRS_MAP_L2_ISTR makes a level-2 IST valid.
    MapLevel2 5 "make a level-2 IST valid";
    /// IRS_VMT_BASER.VALID, left set by earlier software, is cleared.
    ClearVmTable 6 "withdraw the VM table of earlier software";
    /// IRS_SPI_SELR selects an SPI.
    SelectSpi 7 "select an SPI";
    /// IRS_SPI_CFGR sets an SPI's trigger mode.
    ConfigureSpi 8 "set an SPI's trigger mode";
    /// IRS_SPI_RESAMPLER looks at an SPI's wire.
    ResampleSpi 9 "resample an SPI";
    /// IRS_PE_SELR selects a PE.
    SelectPe 10 "select a PE";
    /// IRS_PE_CR0 takes a PE out of 1-of-N selection.
    ConfigurePe 11 "take a PE out of 1-of-N selection";
    /// IRS_SYNCR drains the events an IRS has accepted.
    Sync 12 "drain accepted events";
}

/// A step at an IRS did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The register was written, and the IRS has not said in time that it is done. It may still do it: what the command
    /// names is unknown (LIFE-10) until the status register reads idle.
    #[error("{irs}: could not {step}: {register} still reads {value:#x} after {waited:?}")]
    TimedOut {
        /// The IRS.
        irs: IrsIndex,
        /// What was asked for.
        step: Step,
        /// The register that was polled.
        register: IrsReg,
        /// Its last value.
        value: u64,
        /// How long it was polled.
        waited: Duration,
    },
    /// Nothing was written: a command that timed out earlier is still under way (GEN-18).
    #[error("{irs}: cannot {step} while an earlier attempt to {in_flight} is under way: {register} reads {value:#x}")]
    InFlight {
        /// The IRS.
        irs: IrsIndex,
        /// What was to be done.
        step: Step,
        /// What is still under way.
        in_flight: Step,
        /// The register that says so.
        register: IrsReg,
        /// Its value.
        value: u64,
    },
    /// Nothing was written: the IRS is not idle, and not by the driver's doing.
    #[error("{irs}: cannot {step}: {register} reads {value:#x} and did not become idle in {waited:?}")]
    NotIdle {
        /// The IRS.
        irs: IrsIndex,
        /// What was to be done.
        step: Step,
        /// The register that was polled.
        register: IrsReg,
        /// Its last value.
        value: u64,
        /// How long it was polled.
        waited: Duration,
    },
    /// Nothing was written: another PE used the same registers for all that time.
    #[error("{irs}: cannot {step}: another PE has used the registers that {register} belongs to for {waited:?}")]
    Contended {
        /// The IRS.
        irs: IrsIndex,
        /// What was to be done.
        step: Step,
        /// The status register they share.
        register: IrsReg,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The IRS has finished, and the register does not hold what was written.
    #[error("{irs}: {step} had no effect: {register} reads {value:#x}, {written:#x} was written")]
    NoEffect {
        /// The IRS.
        irs: IrsIndex,
        /// What was asked for.
        step: Step,
        /// The register that was written.
        register: IrsReg,
        /// What it reads.
        value: u64,
        /// What was written.
        written: u64,
    },
}

/// The ports of an IRS that the driver uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PortKind {
    Cr0,
    Ist,
    Vmt,
    Spi,
    Pe,
    Sync,
}

const fn status_of(register: IrsReg) -> Status {
    match register.status() {
        Some(status) => status,
        None => unreachable!(),
    }
}

impl PortKind {
    /// In the order of [`Ports::states`].
    const ALL: [PortKind; 6] =
        [PortKind::Cr0, PortKind::Ist, PortKind::Vmt, PortKind::Spi, PortKind::Pe, PortKind::Sync];

    /// The status register of the port (GEN-16).
    const fn status(self) -> Status {
        const CR0: Status = status_of(IrsReg::IRS_CR0);
        const IST: Status = status_of(IrsReg::IRS_IST_BASER);
        const VMT: Status = status_of(IrsReg::IRS_VMT_BASER);
        const SPI: Status = status_of(IrsReg::IRS_SPI_SELR);
        const PE: Status = status_of(IrsReg::IRS_PE_SELR);
        const SYNC: Status = status_of(IrsReg::IRS_SYNCR);
        match self {
            PortKind::Cr0 => CR0,
            PortKind::Ist => IST,
            PortKind::Vmt => VMT,
            PortKind::Spi => SPI,
            PortKind::Pe => PE,
            PortKind::Sync => SYNC,
        }
    }
}

/// Something that one caller at a time may do, waiting included.
#[derive(Default)]
pub(crate) struct Turn {
    taken: AtomicBool,
}

/// Proof of having the turn.
pub(crate) struct MyTurn<'a>(&'a Turn);

impl Turn {
    /// Waits for the turn; `None` if it does not come in time.
    pub(crate) fn take<W: Wait>(&self, wait: &W, timeout: Duration) -> Option<MyTurn<'_>> {
        let deadline = wait.now().saturating_add(timeout);
        loop {
            let late = wait.now() >= deadline;
            if self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Some(MyTurn(self));
            }
            if late {
                return None;
            }
            wait.relax();
        }
    }
}

impl Drop for MyTurn<'_> {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}

/// The registers that share a status register.
#[derive(Default)]
struct PortState {
    turn: Turn,
    /// The number of the step that timed out, 0 if none did. Written only by who has the turn.
    unknown: AtomicU8,
}

/// An IRS and the state of its ports.
pub(crate) struct Ports {
    irs: IrsIndex,
    states: [PortState; 6],
}

/// A port that is the caller's alone.
pub(crate) struct Port<'a, H: Platform> {
    host: &'a H,
    irs: IrsIndex,
    status: Status,
    timeout: Duration,
    state: &'a PortState,
    _turn: MyTurn<'a>,
}

impl Ports {
    pub(crate) fn new(irs: IrsIndex) -> Ports {
        Ports { irs, states: Default::default() }
    }

    /// Takes a port and waits for what is under way on it, so that the next thing can be a write (GEN-18).
    pub(crate) fn take<'a, H: Platform>(
        &'a self,
        host: &'a H,
        timeout: Duration,
        kind: PortKind,
        step: Step,
    ) -> Result<Port<'a, H>, CommandError> {
        let [cr0, ist, vmt, spi, pe, sync] = &self.states;
        let state = match kind {
            PortKind::Cr0 => cr0,
            PortKind::Ist => ist,
            PortKind::Vmt => vmt,
            PortKind::Spi => spi,
            PortKind::Pe => pe,
            PortKind::Sync => sync,
        };
        let status = kind.status();
        let contended = CommandError::Contended { irs: self.irs, step, register: status.register, waited: timeout };
        let _turn = state.turn.take(host.wait(), timeout).ok_or(contended)?;
        let port = Port { host, irs: self.irs, status, timeout, state, _turn };
        port.settle(step)?;
        Ok(port)
    }

    /// A command that timed out and is still under way.
    pub(crate) fn unknown<H: Platform>(&self, host: &H) -> Option<Step> {
        let in_flight = |(kind, state): (&PortKind, &PortState)| {
            let step = Step::from_number(state.unknown.load(Ordering::Relaxed))?;
            let (idle, _) = host.irs().is_idle(self.irs, kind.status());
            if idle { None } else { Some(step) }
        };
        PortKind::ALL.iter().zip(&self.states).find_map(in_flight)
    }
}

impl<H: Platform> Port<'_, H> {
    /// Waits until nothing is under way. A command that timed out is not waited for again: it had its time.
    fn settle(&self, step: Step) -> Result<(), CommandError> {
        let (irs, register) = (self.irs, self.status.register);
        let unknown = Step::from_number(self.state.unknown.load(Ordering::Relaxed));
        match unknown {
            Some(in_flight) => match self.host.irs().is_idle(irs, self.status) {
                (true, _) => self.state.unknown.store(0, Ordering::Relaxed),
                (false, value) => return Err(CommandError::InFlight { irs, step, in_flight, register, value }),
            },
            None => {
                self.wait().map_err(|value| {
                    let waited = self.timeout;
                    CommandError::NotIdle { irs, step, register, value, waited }
                })?;
            }
        }
        Ok(())
    }

    /// Polls the status register. Returns its value, as an error if it does not become idle in time.
    fn wait(&self) -> Result<u64, u64> {
        let deadline = self.host.wait().now().saturating_add(self.timeout);
        loop {
            // The clock is read first, so that the last look at the register comes after the deadline: a caller that
            // was off the PE for long gets the answer that is there.
            let late = self.host.wait().now() >= deadline;
            match self.host.irs().is_idle(self.irs, self.status) {
                (true, value) => return Ok(value),
                (false, value) if late => return Err(value),
                (false, _) => self.host.wait().relax(),
            }
        }
    }

    /// Writes a register and waits for the IRS to finish. Returns the status register.
    pub(crate) fn write<R: Register<Reg = IrsReg>>(&self, step: Step, value: R) -> Result<u64, CommandError> {
        self.host.irs().write(self.irs, value);
        self.wait().map_err(|value| {
            self.state.unknown.store(step as u8, Ordering::Relaxed);
            CommandError::TimedOut { irs: self.irs, step, register: self.status.register, value, waited: self.timeout }
        })
    }

    /// Reads a register of the port.
    pub(crate) fn read<R: Register<Reg = IrsReg>>(&self) -> R {
        self.host.irs().read(self.irs)
    }

    /// True if this value of the status register says that the selected object exists (GEN-17).
    pub(crate) fn is_valid(&self, status: u64) -> bool {
        self.status.valid.is_some_and(|valid| status & u64::from(valid) != 0)
    }

    /// The error for a register that does not hold what was written.
    pub(crate) fn no_effect<R: Register<Reg = IrsReg>>(&self, step: Step, found: R, written: R) -> CommandError {
        let (value, written) = (found.to_bits(), written.to_bits());
        CommandError::NoEffect { irs: self.irs, step, register: R::REG, value, written }
    }
}

impl CommandError {
    /// The register that was polled or read back, and its last value. For a contended port, which was not read, the value
    /// is 0.
    #[must_use]
    pub fn register(&self) -> (IrsReg, u64) {
        match *self {
            CommandError::TimedOut { register, value, .. }
            | CommandError::InFlight { register, value, .. }
            | CommandError::NotIdle { register, value, .. }
            | CommandError::NoEffect { register, value, .. } => (register, value),
            CommandError::Contended { register, .. } => (register, 0),
        }
    }
}
