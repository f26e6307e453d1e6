//! What an IRS is asked to do, and why a command failed.

use core::fmt;
use core::time::Duration;

use gicv5_arch::irs::IrsReg;
use gicv5_arch::{IrsIntType, Lpi, VmId, VpeId};
use gicv5_hal::IrsIndex;

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
    /// IRS_CR0.IRSEN is cleared.
    DisableIrs,
    /// IRS_CR0.IRSEN is set.
    EnableIrs,
    /// IRS_IST_BASER.VALID is set.
    MakePhysicalIstValid,
    /// IRS_IST_BASER.VALID is cleared.
    WithdrawIst,
    /// IRS_MAP_L2_ISTR makes the level-2 IST valid that holds this LPI.
    MapLevel2Ist(Lpi),
    /// IRS_SPI_SELR selects an SPI.
    SelectSpi,
    /// IRS_SPI_CFGR sets an SPI's trigger mode.
    ConfigureSpi,
    /// IRS_SPI_VMR takes an SPI from the VM that it is assigned to.
    TakeSpiBack,
    /// IRS_SPI_RESAMPLER looks at an SPI's wire.
    ResampleSpi,
    /// IRS_PE_SELR selects a PE.
    SelectPe,
    /// IRS_PE_CR0 takes a PE out of 1-of-N selection.
    ConfigurePe,
    /// IRS_SYNCR drains the events an IRS has accepted.
    Sync,
}

impl Command {
    /// The VM it names; `None` if it is about something that belongs to no VM.
    #[must_use]
    pub const fn vm(self) -> Option<VmId> {
        match self {
            Command::MakeVmValid(vm)
            | Command::MakeVmInvalid(vm)
            | Command::MakeIstValid(vm, _)
            | Command::MakeIstInvalid(vm, _)
            | Command::MakeVpeValid(vm, _)
            | Command::SelectVpe(vm, _)
            | Command::ConfigureVpe(vm, _)
            | Command::SetDoorbell(vm, _) => Some(vm),
            _ => None,
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
            Command::DisableIrs => f.write_str("disable the IRS"),
            Command::EnableIrs => f.write_str("enable the IRS"),
            Command::MakePhysicalIstValid => f.write_str("make the IST valid"),
            Command::WithdrawIst => f.write_str("withdraw the IST"),
            Command::MapLevel2Ist(lpi) => write!(f, "make the level-2 IST of {lpi} valid"),
            Command::SelectSpi => f.write_str("select an SPI"),
            Command::ConfigureSpi => f.write_str("set an SPI's trigger mode"),
            Command::TakeSpiBack => f.write_str("take an SPI back from a VM"),
            Command::ResampleSpi => f.write_str("resample an SPI"),
            Command::SelectPe => f.write_str("select a PE"),
            Command::ConfigurePe => f.write_str("take a PE out of 1-of-N selection"),
            Command::Sync => f.write_str("drain accepted events"),
        }
    }
}

/// Where it showed that a command had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A register of the IRS.
    Register(IrsReg),
    /// An entry of a table in memory.
    Entry(TableEntry),
}

/// An entry of a table in memory that an IRS reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TableEntry {
    /// L1_VMTE, which names a level-2 VM table.
    L1Vmte,
    /// L2_VMTE, which describes a VM.
    L2Vmte,
    /// L1_ISTE, which names a level-2 IST.
    L1Iste,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Register(register) => register.fmt(f),
            Place::Entry(entry) => entry.fmt(f),
        }
    }
}

impl fmt::Display for TableEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TableEntry::L1Vmte => "L1_VMTE",
            TableEntry::L2Vmte => "L2_VMTE",
            TableEntry::L1Iste => "L1_ISTE",
        })
    }
}

/// A command to an IRS that did not complete: what was attempted, and why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{irs}: {}", self.reason())]
pub struct CommandError {
    /// The IRS.
    pub irs: IrsIndex,
    /// What was to be done.
    pub command: Command,
    /// The status register that was polled, or where a missing effect showed.
    pub place: Place,
    /// What that reads; 0 for [`CommandErrorKind::Contended`], which reads nothing.
    pub value: u64,
    /// Why it failed.
    pub kind: CommandErrorKind,
}

/// Why a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandErrorKind {
    /// The register was written, and the IRS has not said in time that it is done. It may still do it: what the command
    /// names is unknown (LIFE-10) until the status register reads idle.
    TimedOut {
        /// How long it was polled.
        waited: Duration,
    },
    /// Nothing was written: a command that timed out earlier, or whose future was dropped and which has had its time since,
    /// is still under way (GEN-18).
    InFlight {
        /// That command.
        in_flight: Command,
    },
    /// Nothing was written: the IRS is not idle, and not by this library's doing.
    NotIdle {
        /// How long it was polled.
        waited: Duration,
    },
    /// Nothing was written: one other sequence has had the port for longer than a sequence takes that is driven to its end.
    Contended {
        /// How long that sequence was seen to have it.
        waited: Duration,
    },
    /// The sequence that the command is part of was not driven for so long that another has taken its registers over. What
    /// came before it in the sequence may have had its effect, and this command too.
    TakenOver,
    /// The IRS has finished, and what should have changed has not.
    NoEffect,
    /// The IRS has finished, and says that the object is not valid (GEN-17, VPE-12, VPE-13).
    NotValid,
}

impl CommandError {
    /// True if nothing was written for this command, so that its object is as before. The VM table of a domain of several IRSs
    /// is the exception: another IRS may have been given it or have lost it.
    #[must_use]
    pub const fn nothing_was_written(&self) -> bool {
        use CommandErrorKind::{Contended, InFlight, NotIdle};
        matches!(self.kind, InFlight { .. } | NotIdle { .. } | Contended { .. })
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self.kind {
            CommandErrorKind::TakenOver => Fault::Caller,
            _ if self.nothing_was_written() => Fault::Busy,
            _ => Fault::Hardware,
        }
    }

    fn reason(&self) -> impl fmt::Display {
        let CommandError { command, place, value, kind, .. } = *self;
        fmt::from_fn(move |f| match kind {
            CommandErrorKind::TimedOut { waited } => {
                write!(f, "could not {command}: {place} still reads {value:#x} after {waited:?}")
            }
            CommandErrorKind::InFlight { in_flight } => write!(
                f,
                "cannot {command} while an earlier attempt to {in_flight} is under way: {place} reads {value:#x}"
            ),
            CommandErrorKind::NotIdle { waited } => {
                write!(f, "cannot {command}: {place} reads {value:#x} and did not become idle in {waited:?}")
            }
            CommandErrorKind::Contended { waited } => {
                write!(f, "cannot {command}: another sequence keeps the registers of {place}, {waited:?} so far")
            }
            CommandErrorKind::TakenOver => {
                write!(
                    f,
                    "could not {command}: it was not driven in time, and another sequence has the registers of {place}"
                )
            }
            CommandErrorKind::NoEffect => {
                write!(f, "it finished, and yet it did not {command}: {place} reads {value:#x}")
            }
            CommandErrorKind::NotValid => {
                write!(f, "could not {command}: {place} reads {value:#x}, the object is not valid")
            }
        })
    }
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller asked for what cannot be.
    Caller,
    /// Nobody's: something ran out. An ordinary outcome.
    Capacity,
    /// The hardware did not do what the architecture says, or not in time.
    Hardware,
    /// Nobody's: somebody else was at it, or an earlier command has not ended. It may be tried again.
    Busy,
}
