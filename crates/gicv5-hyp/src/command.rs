//! Register writes that take time.
//!
//! All registers that share a status register form a *port*, and only one write may be under way on it (GEN-18). A port is
//! owned by a token and not by a held lock, because its owner waits for the hardware; the token also keeps select and
//! program together (GEN-15). What waits is a future, so that whoever drives it may do something else between two looks at
//! the status register; interrupts need not be off meanwhile.
//!
//! A write that has not finished in time is *unknown*, not failed (LIFE-10), and so is one whose future was dropped. The port
//! remembers what it was. The next user of the port waits for it if it has some of its time left, which it has only after a
//! dropped future, and otherwise gets an error at once that names it; when the status register says that it is over, the
//! port is as good as new.
//!
//! Whoever finds the port taken waits for it as long as its owner gets on: an owner that keeps it longer than the longest
//! sequence of commands may take is not being driven, and only then does the wait end with an error. How many owners come
//! first is not limited, and they are not served in the order of their coming.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use gicv5_arch::irs::{IrsReg, Status};
use gicv5_arch::register::Register;
use gicv5_arch::{IrsIntType, VmId, VpeId};
use gicv5_hal::{IrsExt, IrsIndex, Lock, Wait};

use crate::host::host::Host;
use crate::{Hypervisor, MutexOf};

/// What an IRS is asked to do, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// IRS_VMT_BASER.VALID is set.
    MakeTableValid,
    /// IRS_VMT_BASER.VALID is cleared.
    WithdrawTable,
    /// IRS_VMAP_L2_VMTR makes the level-2 VM table valid that holds this VM's entry.
    MapLevel2(VmId),
    /// IRS_VMAP_VMR makes a VM valid.
    MakeVmValid(VmId),
    /// IRS_VMAP_VMR makes a VM invalid.
    MakeVmInvalid(VmId),
    /// IRS_VMAP_VISTR makes an IST of a VM valid.
    MakeIstValid(VmId, IrsIntType),
    /// IRS_VMAP_VISTR makes an IST of a VM invalid.
    MakeIstInvalid(VmId, IrsIntType),
    /// IRS_VMAP_VPER makes a VPE valid.
    MakeVpeValid(VmId, VpeId),
    /// IRS_VPE_SELR selects a VPE, after it has selected none: without an effect, an earlier selection would be taken for this
    /// one.
    SelectVpe(VmId, VpeId),
    /// IRS_VPE_CR0 takes the selected VPE out of 1-of-N selection.
    ConfigureVpe(VmId, VpeId),
    /// IRS_VPE_DBR gives the selected VPE its doorbell.
    SetDoorbell(VmId, VpeId),
}

impl Command {
    /// The VM it names; `None` if it is about the VM table, whose parts belong to no VM.
    #[must_use]
    pub const fn vm(self) -> Option<VmId> {
        match self {
            Command::MakeTableValid | Command::WithdrawTable | Command::MapLevel2(_) => None,
            Command::MakeVmValid(vm)
            | Command::MakeVmInvalid(vm)
            | Command::MakeIstValid(vm, _)
            | Command::MakeIstInvalid(vm, _)
            | Command::MakeVpeValid(vm, _)
            | Command::SelectVpe(vm, _)
            | Command::ConfigureVpe(vm, _)
            | Command::SetDoorbell(vm, _) => Some(vm),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Command::MakeTableValid => f.write_str("make the VM table valid"),
            Command::WithdrawTable => f.write_str("withdraw the VM table"),
            Command::MapLevel2(vm) => write!(f, "make the level-2 VM table of {vm} valid"),
            Command::MakeVmValid(vm) => write!(f, "make {vm} valid"),
            Command::MakeVmInvalid(vm) => write!(f, "make {vm} invalid"),
            Command::MakeIstValid(vm, int_type) => write!(f, "make the {} IST of {vm} valid", int_type.meaning()),
            Command::MakeIstInvalid(vm, int_type) => write!(f, "make the {} IST of {vm} invalid", int_type.meaning()),
            Command::MakeVpeValid(vm, vpe) => write!(f, "make {vpe} of {vm} valid"),
            Command::SelectVpe(vm, vpe) => write!(f, "select {vpe} of {vm}"),
            Command::ConfigureVpe(vm, vpe) => write!(f, "take {vpe} of {vm} out of 1-of-N selection"),
            Command::SetDoorbell(vm, vpe) => write!(f, "set the doorbell of {vpe} of {vm}"),
        }
    }
}

/// Where it showed that a command had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A register of the IRS.
    Register(IrsReg),
    /// A word of a table in memory, as the specification names it.
    Entry(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Register(register) => register.fmt(f),
            Place::Entry(name) => f.write_str(name),
        }
    }
}

/// A command to an IRS did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The register was written, and the IRS has not said in time that it is done. It may still do it: what the command
    /// names is unknown (LIFE-10) until the status register reads idle.
    #[error("{irs}: could not {command}: {register} still reads {value:#x} after {waited:?}")]
    TimedOut {
        /// The IRS.
        irs: IrsIndex,
        /// What was asked for.
        command: Command,
        /// The status register.
        register: IrsReg,
        /// Its last value.
        value: u64,
        /// How long it was polled.
        waited: Duration,
    },
    /// Nothing was written: a command that timed out earlier, or was given up by dropping its future and has had its time
    /// since, is still under way (GEN-18).
    #[error(
        "{irs}: cannot {command} while an earlier attempt to {in_flight} is under way: {register} reads {value:#x}"
    )]
    InFlight {
        /// The IRS.
        irs: IrsIndex,
        /// What was to be done.
        command: Command,
        /// What is still under way.
        in_flight: Command,
        /// The status register.
        register: IrsReg,
        /// Its value.
        value: u64,
    },
    /// Nothing was written: the IRS is not idle, and not by this library's doing.
    #[error("{irs}: cannot {command}: {register} reads {value:#x} and did not become idle in {waited:?}")]
    NotIdle {
        /// The IRS.
        irs: IrsIndex,
        /// What was to be done.
        command: Command,
        /// The status register.
        register: IrsReg,
        /// Its last value.
        value: u64,
        /// How long it was polled.
        waited: Duration,
    },
    /// Nothing was written: one other command sequence has had the port for longer than any needs that is driven to its end.
    #[error("{irs}: cannot {command}: another sequence keeps the registers of {register}, {waited:?} so far")]
    Contended {
        /// The IRS.
        irs: IrsIndex,
        /// What was to be done.
        command: Command,
        /// The status register they share.
        register: IrsReg,
        /// How long that sequence was seen to have them.
        waited: Duration,
    },
    /// The IRS has finished, and what should have changed has not.
    #[error("{irs}: it finished, and yet it did not {command}: {place} reads {value:#x}")]
    NoEffect {
        /// The IRS.
        irs: IrsIndex,
        /// What was asked for.
        command: Command,
        /// Where it shows.
        place: Place,
        /// What that reads.
        value: u64,
    },
    /// The IRS has finished, and says that the object is not valid (GEN-17, VPE-12, VPE-13).
    #[error("{irs}: could not {command}: {register} reads {value:#x}, the object is not valid")]
    NotValid {
        /// The IRS.
        irs: IrsIndex,
        /// What was asked for.
        command: Command,
        /// The status register.
        register: IrsReg,
        /// What it reads.
        value: u64,
    },
}

impl CommandError {
    /// What was asked for.
    #[must_use]
    pub const fn command(&self) -> Command {
        match *self {
            CommandError::TimedOut { command, .. }
            | CommandError::InFlight { command, .. }
            | CommandError::NotIdle { command, .. }
            | CommandError::Contended { command, .. }
            | CommandError::NoEffect { command, .. }
            | CommandError::NotValid { command, .. } => command,
        }
    }

    /// True if nothing was written for this command. It is then as it was before, but for the VM table of a domain of several
    /// IRSs, of which another may have been given it or have lost it.
    #[must_use]
    pub const fn nothing_was_written(&self) -> bool {
        matches!(self, CommandError::InFlight { .. } | CommandError::NotIdle { .. } | CommandError::Contended { .. })
    }
}

/// The ports of an IRS that this library uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortKind {
    /// The VM table and everything that is made valid through it.
    Vmt,
    /// The settings of VPEs.
    Vpe,
}

const fn status_of(register: IrsReg) -> Status {
    match register.status() {
        Some(status) => status,
        None => unreachable!(),
    }
}

impl PortKind {
    /// The status register of the port (GEN-16).
    const fn status(self) -> Status {
        const VMT: Status = status_of(IrsReg::IRS_VMT_BASER);
        const VPE: Status = status_of(IrsReg::IRS_VPE_SELR);
        match self {
            PortKind::Vmt => VMT,
            PortKind::Vpe => VPE,
        }
    }

    /// The most waits of one time-out each that an owner of the port may be in for, and one more for the looks being apart.
    const fn most_waits(self, irss: usize) -> u32 {
        // The one at the beginning, for what is under way.
        let first = 1;
        let sequence = match self {
            // The VM table is given to each IRS, or taken from it: a wait before the write and one after.
            PortKind::Vmt => 2 * irss as u32,
            // Select nothing, select, configure, set the doorbell.
            PortKind::Vpe => 4,
        };
        first + sequence + 1
    }
}

/// A command that was started and has not been seen to end.
#[derive(Clone, Copy, PartialEq, Eq)]
struct UnderWay {
    command: Command,
    /// The IRS that was given it.
    irs: IrsIndex,
    /// When it has had its time.
    deadline: Duration,
}

#[derive(Default)]
struct PortState {
    taken: bool,
    /// How often the port was taken: tells one owner from the next.
    turns: u64,
    unknown: Option<UnderWay>,
}

/// The ports, and what was counted on them.
pub(crate) struct Ports<H: Hypervisor> {
    vmt: MutexOf<H, PortState>,
    vpe: MutexOf<H, PortState>,
    commands: AtomicU64,
    timed_out: AtomicU64,
    longest_wait_ns: AtomicU64,
}

impl<H: Hypervisor> Ports<H> {
    pub(crate) fn new() -> Ports<H> {
        Ports {
            vmt: Lock::new(PortState::default()),
            vpe: Lock::new(PortState::default()),
            commands: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            longest_wait_ns: AtomicU64::new(0),
        }
    }

    fn state(&self, kind: PortKind) -> &MutexOf<H, PortState> {
        match kind {
            PortKind::Vmt => &self.vmt,
            PortKind::Vpe => &self.vpe,
        }
    }

    /// Commands started, commands that timed out, the longest wait for one that did not.
    pub(crate) fn counts(&self) -> (u64, u64, Duration) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.commands), count(&self.timed_out), Duration::from_nanos(count(&self.longest_wait_ns)))
    }
}

/// A port that is the holder's alone, and on which nothing is under way.
pub(crate) struct Port<'h, H: Hypervisor> {
    host: &'h Host<H>,
    kind: PortKind,
    /// The IRS whose registers are used.
    irs: IrsIndex,
    /// What was started and has not been seen to end. Left behind when the port is given back.
    under_way: Option<UnderWay>,
}

impl<H: Hypervisor> Drop for Port<'_, H> {
    fn drop(&mut self) {
        let unknown = self.under_way;
        self.host.ports.state(self.kind).with(|state| {
            state.taken = false;
            if unknown.is_some() {
                state.unknown = unknown;
            }
        });
    }
}

impl<H: Hypervisor> Host<H> {
    /// Takes a port and waits for what is under way on it, so that the next thing can be a write (GEN-18). A command that
    /// timed out is not waited for again: it had its time.
    pub(crate) async fn port(&self, kind: PortKind, command: Command) -> Result<Port<'_, H>, CommandError> {
        let mut port = self.take_port(kind, command).await?;
        let register = kind.status().register;
        if let Some(UnderWay { command: in_flight, irs, deadline }) = self.ports.state(kind).with(|state| state.unknown)
        {
            port.irs = irs;
            let idle = port.idle_by(deadline).await;
            idle.map_err(|value| CommandError::InFlight { irs, command, in_flight, register, value })?;
            self.ports.state(kind).with(|state| state.unknown = None);
            port.turn_to(self.irs, command).await?;
        } else {
            port.await_idle(command).await?;
        }
        Ok(port)
    }

    /// Takes a port, whatever is under way on it.
    async fn take_port(&self, kind: PortKind, command: Command) -> Result<Port<'_, H>, CommandError> {
        let wait = self.hypervisor.wait();
        let patience = self.timeout.saturating_mul(kind.most_waits(self.irss().count()));
        // Who has it, and since when it was seen to.
        let mut owner: Option<(u64, Duration)> = None;
        loop {
            // The clock is read first, so that the last look comes after the deadline.
            let now = wait.now();
            let taken = self.ports.state(kind).with(|state| {
                if state.taken {
                    return Err(state.turns);
                }
                state.taken = true;
                state.turns = state.turns.wrapping_add(1);
                Ok(())
            });
            match (taken, owner) {
                (Ok(()), _) => return Ok(Port { host: self, kind, irs: self.irs, under_way: None }),
                (Err(turn), Some((same, since))) if turn == same => {
                    let waited = now.saturating_sub(since);
                    if waited >= patience {
                        let register = kind.status().register;
                        return Err(CommandError::Contended { irs: self.irs, command, register, waited });
                    }
                }
                (Err(turn), _) => owner = Some((turn, now)),
            }
            look_again().await;
        }
    }

    /// The command on a port that was given up and is still under way.
    pub(crate) fn unknown(&self, kind: PortKind) -> Option<Command> {
        self.unknown_now(kind).map(|unknown| unknown.command)
    }

    fn unknown_now(&self, kind: PortKind) -> Option<UnderWay> {
        let unknown = || self.ports.state(kind).with(|state| state.unknown);
        let mut found = unknown()?;
        loop {
            if self.hypervisor.irs().is_idle(found.irs, kind.status()).0 {
                return None;
            }
            // It may be over, and what the IRS is busy with be somebody else's.
            let again = unknown()?;
            if again == found {
                return Some(found);
            }
            found = again;
        }
    }

    /// The same, if it names this VM. If it has some of its time left it is waited for.
    pub(crate) async fn unknown_of(&self, kind: PortKind, vm: VmId) -> Option<Command> {
        loop {
            let now = self.hypervisor.wait().now();
            let unknown = self.unknown_now(kind).filter(|unknown| unknown.command.vm() == Some(vm))?;
            if now >= unknown.deadline {
                return Some(unknown.command);
            }
            look_again().await;
        }
    }
}

impl<'h, H: Hypervisor> Port<'h, H> {
    /// Polls the status register until then. Returns its value and when it was looked at; as an error if it has not become
    /// idle.
    async fn idle_by(&self, deadline: Duration) -> Result<(u64, Duration), u64> {
        loop {
            // The clock is read first, so that the last look at the register comes after the deadline: a future that
            // was not driven for long gets the answer that is there.
            let now = self.host.hypervisor.wait().now();
            match self.host.hypervisor.irs().is_idle(self.irs, self.kind.status()) {
                (true, value) => return Ok((value, now)),
                (false, value) if now >= deadline => return Err(value),
                (false, _) => look_again().await,
            }
        }
    }

    /// Waits for what somebody else has written, so that the next thing can be a write (GEN-18).
    async fn await_idle(&self, command: Command) -> Result<(), CommandError> {
        let (irs, waited, register) = (self.irs, self.host.timeout, self.kind.status().register);
        let deadline = self.host.hypervisor.wait().now().saturating_add(waited);
        match self.idle_by(deadline).await {
            Ok(_) => Ok(()),
            Err(value) => Err(CommandError::NotIdle { irs, command, register, value, waited }),
        }
    }

    /// What follows goes to this IRS. Its registers are as good as another's of the domain; the port is the same.
    pub(crate) async fn turn_to(&mut self, irs: IrsIndex, command: Command) -> Result<(), CommandError> {
        if core::mem::replace(&mut self.irs, irs) == irs { Ok(()) } else { self.await_idle(command).await }
    }

    /// Writes a register and waits for the IRS to finish. Returns the status register.
    ///
    /// After an error nothing more may be issued: the port is to be given back.
    pub(crate) async fn issue<R: Register<Reg = IrsReg>>(
        &mut self,
        command: Command,
        value: R,
    ) -> Result<u64, CommandError> {
        let (host, irs, waited) = (self.host, self.irs, self.host.timeout);
        let (frames, wait) = (host.hypervisor.irs(), host.hypervisor.wait());
        host.ports.commands.fetch_add(1, Ordering::Relaxed);
        let start = wait.now();
        let deadline = start.saturating_add(waited);
        self.under_way = Some(UnderWay { command, irs, deadline });
        frames.write(irs, value);
        match self.idle_by(deadline).await {
            Ok((value, now)) => {
                self.under_way = None;
                let nanoseconds = now.saturating_sub(start).as_nanos().try_into().unwrap_or(u64::MAX);
                host.ports.longest_wait_ns.fetch_max(nanoseconds, Ordering::Relaxed);
                Ok(value)
            }
            Err(value) => {
                host.ports.timed_out.fetch_add(1, Ordering::Relaxed);
                let register = self.kind.status().register;
                Err(CommandError::TimedOut { irs, command, register, value, waited })
            }
        }
    }

    /// As [`issue`](Self::issue), for writes about an object: the IRS must say that it is valid (GEN-17).
    pub(crate) async fn issue_valid<R: Register<Reg = IrsReg>>(
        &mut self,
        command: Command,
        value: R,
    ) -> Result<(), CommandError> {
        let status = self.kind.status();
        let value = self.issue(command, value).await?;
        match status.valid {
            Some(valid) if value & u64::from(valid) == 0 => {
                Err(CommandError::NotValid { irs: self.irs, command, register: status.register, value })
            }
            _ => Ok(()),
        }
    }

    /// Reads a register of the port.
    pub(crate) fn read<R: Register<Reg = IrsReg>>(&self) -> R {
        self.host.hypervisor.irs().read(self.irs)
    }

    /// Writes a register of the port that takes effect at once.
    pub(crate) fn write<R: Register<Reg = IrsReg>>(&self, value: R) {
        self.host.hypervisor.irs().write(self.irs, value);
    }

    /// The error for a command that has finished without effect.
    pub(crate) fn no_effect(&self, command: Command, place: Place, value: u64) -> CommandError {
        CommandError::NoEffect { irs: self.irs, command, place, value }
    }
}

/// Gives whoever drives the future its turn.
async fn look_again() {
    let mut waited = false;
    poll_fn(|context| {
        if core::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Nothing tells when the IRS is done but looking: an executor shall come back by itself.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Drives a future to its end, pausing as the hypervisor pauses.
pub(crate) fn block_on<W: Wait, T>(wait: &W, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        wait.relax();
    }
}
