//! One command at a time for each status register.
//!
//! All registers that share a status register form a *port*, and only one write may be under way on it (GEN-18). A port is
//! owned by a [turn](crate::turn) and not by a held lock, because its owner waits for the hardware. The turn also keeps select
//! and program together (GEN-15). What waits is a future, so that the caller can do other work between polls of the status
//! register; interrupts need not be off meanwhile.
//!
//! A write that has not finished in time is *unknown*, not failed (LIFE-10), and so is one whose future was dropped or
//! forgotten. The port remembers it from before the write on, so that nothing depends on what becomes of the future. A port
//! whose owner is not driven any more is taken over once its hardware is idle. The next user of the port waits for it if it
//! has some of its time left, which it has only after a dropped future, and otherwise gets an error at once that names it.
//! When the status register reads idle, the port is as good as new.

use core::sync::atomic::Ordering;
use core::time::Duration;

use gicv5_arch::VmId;
use gicv5_arch::irs::{IrsReg, Status};
use gicv5_arch::register::Register;
use gicv5_hal::{IrsExt, IrsIndex, Lock, Locks, Platform, Wait};

use crate::command::{Command, CommandError, CommandErrorKind, Place};
use crate::domain::{Domain, MutexOf};
use crate::drive::look_again;
use crate::turn::{Acted, MyTurn, Turn};

/// The ports of an IRS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// The IRS as a whole.
    Cr0,
    /// The physical IST.
    Ist,
    /// The VM table and everything that is made valid through it.
    Vmt,
    /// The settings of VPEs.
    Vpe,
    /// The settings of SPIs.
    Spi,
    /// The settings of PEs.
    Pe,
    /// The drain of accepted events.
    Sync,
}

const fn status_of(register: IrsReg) -> Status {
    match register.status() {
        Some(status) => status,
        None => unreachable!(),
    }
}

impl PortKind {
    const ALL: [PortKind; 7] =
        [PortKind::Cr0, PortKind::Ist, PortKind::Vmt, PortKind::Vpe, PortKind::Spi, PortKind::Pe, PortKind::Sync];

    /// The status register of the port (GEN-16).
    const fn status(self) -> Status {
        const CR0: Status = status_of(IrsReg::IRS_CR0);
        const IST: Status = status_of(IrsReg::IRS_IST_BASER);
        const VMT: Status = status_of(IrsReg::IRS_VMT_BASER);
        const VPE: Status = status_of(IrsReg::IRS_VPE_SELR);
        const SPI: Status = status_of(IrsReg::IRS_SPI_SELR);
        const PE: Status = status_of(IrsReg::IRS_PE_SELR);
        const SYNC: Status = status_of(IrsReg::IRS_SYNCR);
        match self {
            PortKind::Cr0 => CR0,
            PortKind::Ist => IST,
            PortKind::Vmt => VMT,
            PortKind::Vpe => VPE,
            PortKind::Spi => SPI,
            PortKind::Pe => PE,
            PortKind::Sync => SYNC,
        }
    }

    /// The most waits of one time-out each that an owner of the port may be in for, and one more for the looks being apart.
    const fn most_waits(self, irss: u32) -> u32 {
        // The one at the beginning, for what is under way.
        let first = 1;
        let sequence = match self {
            PortKind::Cr0 | PortKind::Ist | PortKind::Sync => 1,
            // The VM table is given to each IRS, or taken from it: a wait before the write and one after.
            PortKind::Vmt => 2 * irss,
            // Select nothing, select, configure, set the doorbell.
            PortKind::Vpe => 4,
            // Select nothing, select, configure.
            PortKind::Spi => 3,
            // Select, configure.
            PortKind::Pe => 2,
        };
        first + sequence + 1
    }
}

/// A command that was started, or waits for the IRS to be idle first, and has not been seen to end.
#[derive(Clone, Copy, PartialEq, Eq)]
struct UnderWay {
    command: Command,
    /// The IRS that was given it.
    irs: IrsIndex,
    /// When it has had its time.
    deadline: Duration,
}

struct PortState<K: Locks> {
    turn: Turn,
    unknown: K::Mutex<Option<UnderWay>>,
}

impl<K: Locks> PortState<K> {
    /// The command under way, if one is, as the word of the turn says.
    fn under_way(&self, is_pending: bool) -> Option<UnderWay> {
        if is_pending { self.unknown.with(|state| *state) } else { None }
    }
}

/// The ports of an IRS, or of several that are used as one.
pub struct Ports<K: Locks>([PortState<K>; PortKind::ALL.len()]);

impl<K: Locks> Default for Ports<K> {
    fn default() -> Ports<K> {
        Ports(PortKind::ALL.map(|_| PortState { turn: Turn::default(), unknown: Lock::new(None) }))
    }
}

impl<K: Locks> Ports<K> {
    const fn state(&self, kind: PortKind) -> &PortState<K> {
        let Ports([cr0, ist, vmt, vpe, spi, pe, sync]) = self;
        match kind {
            PortKind::Cr0 => cr0,
            PortKind::Ist => ist,
            PortKind::Vmt => vmt,
            PortKind::Vpe => vpe,
            PortKind::Spi => spi,
            PortKind::Pe => pe,
            PortKind::Sync => sync,
        }
    }
}

/// A port that is the holder's alone, and on which nothing is under way.
pub struct Port<'d, P: Platform> {
    domain: &'d Domain<P>,
    unknown: &'d MutexOf<P, Option<UnderWay>>,
    status: Status,
    /// The IRS whose registers are used.
    irs: IrsIndex,
    /// Knows whether the command is under way, also when it has been returned.
    turn: MyTurn<'d>,
}

impl<P: Platform> Domain<P> {
    /// Takes a port of an IRS and waits for what is under way on it, so that the next access can be a write (GEN-18). A
    /// command that timed out is not waited for again: it had its time.
    ///
    /// # Errors
    ///
    /// [`CommandError`] for this command; nothing was written.
    pub async fn port<'d>(
        &'d self,
        ports: &'d Ports<P::Locks>,
        kind: PortKind,
        irs: IrsIndex,
        command: Command,
    ) -> Result<Port<'d, P>, CommandError> {
        let status = kind.status();
        let state = ports.state(kind);
        let turn = match state.turn.try_take() {
            Some(turn) => turn,
            None => self.wait_for_turn(state, kind, irs, command).await?,
        };
        let mut port = Port { domain: self, unknown: &state.unknown, status, irs, turn };
        // What an earlier owner has left is remembered until it has ended.
        let left = state.under_way(port.turn.is_pending());
        if let Some(UnderWay { command: in_flight, irs: there, deadline }) = left {
            port.irs = there;
            let idle = port.idle_by(deadline).await;
            idle.map_err(|value| port.error(command, value, CommandErrorKind::InFlight { in_flight }))?;
            port.end(command)?;
            port.turn_to(irs, command).await?;
        } else if !port.look().0 {
            port.await_idle(command).await?;
        }
        Ok(port)
    }

    /// How long an owner of a port may keep it without getting on.
    pub fn patience(&self, kind: PortKind) -> Duration {
        self.timeout.saturating_mul(kind.most_waits(self.irss))
    }

    /// Waits for the turn on a port that another has, and takes it over from an owner that is not driven.
    async fn wait_for_turn<'d>(
        &self,
        state: &'d PortState<P::Locks>,
        kind: PortKind,
        irs: IrsIndex,
        command: Command,
    ) -> Result<MyTurn<'d>, CommandError> {
        let status = kind.status();
        let stalled = match state.turn.take(self.platform.wait(), self.patience(kind)).await {
            Ok(turn) => return Ok(turn),
            Err(stalled) => stalled,
        };
        // Its owner is not driven, and the time of its last command is over.
        let last = state.under_way(stalled.is_pending());
        let (idle, value) = self.platform.irs().is_idle(last.map_or(irs, |last| last.irs), status);
        let (kind, value) = match last {
            Some(UnderWay { command: in_flight, .. }) if !idle => (CommandErrorKind::InFlight { in_flight }, value),
            _ => (CommandErrorKind::Contended { waited: stalled.waited }, 0),
        };
        // An owner between two commands is at the entries of a table, and not in a future that waits: it stays.
        let taken_over = if idle { state.turn.take_over(&stalled) } else { None };
        taken_over.ok_or(CommandError { irs, command, place: Place::Register(status.register), value, kind })
    }

    /// Whether nobody has a port and nothing is under way on it ([`Turn::is_free`]).
    pub fn is_free(&self, ports: &Ports<P::Locks>, kind: PortKind) -> bool {
        ports.state(kind).turn.is_free()
    }

    /// The command on a port that was given up and is still under way.
    pub fn unknown(&self, ports: &Ports<P::Locks>, kind: PortKind) -> Option<Command> {
        self.unknown_now(ports, kind).map(|unknown| unknown.command)
    }

    /// The first such command of all ports.
    pub fn any_unknown(&self, ports: &Ports<P::Locks>) -> Option<Command> {
        PortKind::ALL.into_iter().find_map(|kind| self.unknown(ports, kind))
    }

    fn unknown_now(&self, ports: &Ports<P::Locks>, kind: PortKind) -> Option<UnderWay> {
        let state = ports.state(kind);
        let unknown = || state.under_way(state.turn.is_pending());
        let mut found = unknown()?;
        loop {
            if self.platform.irs().is_idle(found.irs, kind.status()).0 {
                return None;
            }
            // The command may have completed; the IRS may be busy with a later one.
            let again = unknown()?;
            if again == found {
                return Some(found);
            }
            found = again;
        }
    }

    /// The same, if it names this VM. If it has some of its time left it is waited for.
    pub async fn unknown_of(&self, ports: &Ports<P::Locks>, kind: PortKind, vm: VmId) -> Option<Command> {
        loop {
            let now = self.platform.wait().now();
            let unknown = self.unknown_now(ports, kind).filter(|unknown| unknown.command.vm() == Some(vm))?;
            if now >= unknown.deadline {
                return Some(unknown.command);
            }
            look_again().await;
        }
    }
}

impl<P: Platform> Port<'_, P> {
    fn error(&self, command: Command, value: u64, kind: CommandErrorKind) -> CommandError {
        CommandError { irs: self.irs, command, place: Place::Register(self.status.register), value, kind }
    }

    /// The command that was under way has ended.
    fn end(&mut self, command: Command) -> Result<(), CommandError> {
        if self.turn.end() { Ok(()) } else { Err(self.error(command, 0, CommandErrorKind::TakenOver)) }
    }

    /// Looks at the status register: whether the IRS is idle, and what it reads.
    #[inline]
    fn look(&self) -> (bool, u64) {
        self.domain.platform.irs().is_idle(self.irs, self.status)
    }

    /// Polls the status register until then. Returns its value, as an error if it has not become idle.
    async fn idle_by(&self, deadline: Duration) -> Result<u64, u64> {
        loop {
            // The clock is read first, so that the last look at the register comes after the deadline: a future that
            // was not driven for long gets the answer that is there.
            let now = self.domain.platform.wait().now();
            match self.look() {
                (true, value) => return Ok(value),
                (false, value) if now >= deadline => return Err(value),
                (false, _) => look_again().await,
            }
        }
    }

    /// Waits for what other software has written, so that the next access can be a write (GEN-18). Until then it counts as the
    /// beginning of this command, so that the port can be taken over if nobody drives the future.
    async fn await_idle(&mut self, command: Command) -> Result<(), CommandError> {
        let (irs, waited) = (self.irs, self.domain.timeout);
        let deadline = self.domain.platform.wait().now().saturating_add(waited);
        let waits = self.turn.act(|| -> Option<()> {
            self.unknown.with(|state| *state = Some(UnderWay { command, irs, deadline }));
            None
        });
        if let Acted::Lost = waits {
            return Err(self.error(command, 0, CommandErrorKind::TakenOver));
        }
        let idle = self.idle_by(deadline).await;
        self.end(command)?;
        idle.map(drop).map_err(|value| self.error(command, value, CommandErrorKind::NotIdle { waited }))
    }

    /// What follows goes to this IRS. Its registers are as good as another's of the domain; the port is the same.
    ///
    /// # Errors
    ///
    /// [`CommandError`] if that IRS is not idle.
    pub async fn turn_to(&mut self, irs: IrsIndex, command: Command) -> Result<(), CommandError> {
        if core::mem::replace(&mut self.irs, irs) == irs { Ok(()) } else { self.await_idle(command).await }
    }

    /// Writes a register and waits for the IRS to finish. Returns the status register.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing more may be issued after it, and the port is to be returned.
    pub fn issue<R: Register<Reg = IrsReg>>(
        &mut self,
        command: Command,
        value: R,
    ) -> impl Future<Output = Result<u64, CommandError>> {
        self.issue_about(command, value, None)
    }

    /// As [`issue`](Self::issue), for writes about an object: the IRS must say that it is valid (GEN-17).
    ///
    /// # Errors
    ///
    /// As [`issue`](Self::issue), and if the object is not valid.
    pub fn issue_valid<R: Register<Reg = IrsReg>>(
        &mut self,
        command: Command,
        value: R,
    ) -> impl Future<Output = Result<u64, CommandError>> {
        let valid = self.status.valid;
        self.issue_about(command, value, valid)
    }

    /// As [`issue`](Self::issue); the status register must have this bit set at the end, if it is given.
    async fn issue_about<R: Register<Reg = IrsReg>>(
        &mut self,
        command: Command,
        value: R,
        valid: Option<u32>,
    ) -> Result<u64, CommandError> {
        let (domain, irs, waited) = (self.domain, self.irs, self.domain.timeout);
        domain.commands.fetch_add(1, Ordering::Relaxed);
        let (mut start, mut deadline) = (Duration::ZERO, Duration::ZERO);
        // The port cannot be taken over between the check of its owner and the write. Most commands are over at the first look:
        // then nothing has to be remembered, and the clock is not worth its price.
        let written = self.turn.act(|| {
            domain.platform.irs().write(irs, value);
            if let (true, value) = domain.platform.irs().is_idle(irs, self.status) {
                return Some(value);
            }
            start = domain.platform.wait().now();
            deadline = start.saturating_add(waited);
            self.unknown.with(|state| *state = Some(UnderWay { command, irs, deadline }));
            None
        });
        let value = match written {
            Acted::Over(value) => value,
            Acted::Begun => {
                look_again().await;
                let ended = self.idle_by(deadline).await;
                domain.waited(domain.platform.wait().now().saturating_sub(start), ended.is_ok());
                let value = ended.map_err(|value| self.error(command, value, CommandErrorKind::TimedOut { waited }))?;
                // If another has the port, this has ended, but so may have what came after it.
                self.end(command)?;
                value
            }
            Acted::Lost => return Err(self.error(command, 0, CommandErrorKind::TakenOver)),
        };
        match valid {
            Some(valid) if value & u64::from(valid) == 0 => Err(self.error(command, value, CommandErrorKind::NotValid)),
            _ => Ok(value),
        }
    }

    /// True if this value of the status register says that the selected object exists (GEN-17).
    #[must_use]
    pub fn is_valid(&self, status: u64) -> bool {
        self.status.valid.is_some_and(|valid| status & u64::from(valid) != 0)
    }

    /// Reads a register of the port.
    pub fn read<R: Register<Reg = IrsReg>>(&self) -> R {
        self.domain.platform.irs().read(self.irs)
    }

    /// Writes a register of the port that takes effect at once.
    pub fn write<R: Register<Reg = IrsReg>>(&self, value: R) {
        self.domain.platform.irs().write(self.irs, value);
    }

    /// The error for a command that has finished without effect.
    #[must_use]
    pub fn no_effect(&self, command: Command, place: Place, value: u64) -> CommandError {
        CommandError { irs: self.irs, command, place, value, kind: CommandErrorKind::NoEffect }
    }

    /// The same, for what a register reads.
    pub fn register_says<R: Register<Reg = IrsReg>>(&self, command: Command, found: R) -> CommandError {
        self.no_effect(command, Place::Register(R::REG), found.to_bits())
    }
}
