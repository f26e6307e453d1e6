//! What the library says when something fails, boiled down to what the table of expected outcomes is about.

use gicv5_hyp::{
    BringUpCause, BringUpError, CommandError, CommandErrorKind, DoorbellError, Fate, InitCause, InitError, IstCause,
    IstError, ProbeError, ReclaimError, ResetCause, ResetError, RunError, ShutDownError, TableError, TearDownCause,
    TearDownError,
};

use crate::failure::chain;
use crate::listed::shown;

shown! {
    /// What the script is doing.
    pub(super) Phase {
        Probe = "probe the IRS",
        BringUp = "bring the host up",
        Init = "initialise the VM",
        CreateIst = "create the LPI IST",
        Load = "load a vCPU",
        Idle = "put a vCPU to sleep",
        Wake = "wake a vCPU by its doorbell",
        WakeLate = "handle a doorbell that comes late",
        Put = "put a vCPU",
        Reset = "reset a vCPU",
        RemoveIst = "remove the LPI IST",
        TearDown = "tear the VM down",
        Reclaim = "reclaim the quarantine",
        Reap = "reap the VM without a handle",
        ShutDown = "shut the host down",
    }
}

shown! {
    /// What an error is about.
    pub(super) Cause {
        /// No heap for the library's records.
        Heap = "no heap",
        /// No table memory.
        Table = "no table memory",
        /// No LPI for a doorbell.
        Lpi = "no LPI",
        /// A doorbell's LPI does not come to rest.
        LpiStays = "the LPI does not come to rest",
        /// A command was written and did not complete in time.
        TimedOut = "timed out",
        /// Nothing was written, because a command that timed out is under way.
        InFlight = "a command is in flight",
        /// A command completed and changed nothing.
        NoEffect = "no effect",
        /// A selection completed and selected nothing.
        NotValid = "not valid",
        /// A VPE could not be made resident.
        Residency = "residency fault",
        /// A command that timed out names what should be given back.
        Named = "a command in flight names it",
        /// The table encloses other VMs.
        OthersRun = "other VMs run",
        /// What no fault of the hardware excuses.
        Other = "something else",
    }
}

shown! {
    /// What became of that which the step was about.
    pub(super) After {
        /// Nothing had been done, or everything has been undone.
        Undone = "undone",
        /// The VM is as it was.
        Unchanged = "unchanged",
        /// The VM can only be torn down.
        Dead = "dead",
        /// What the hardware may still touch is held.
        Held = "held",
    }
}

impl From<Fate> for After {
    fn from(fate: Fate) -> After {
        match fate {
            Fate::Unchanged => After::Unchanged,
            Fate::TornDown => After::Undone,
            Fate::Dead => After::Dead,
            Fate::Quarantined => After::Held,
        }
    }
}

/// An error of the library.
#[derive(Clone, Debug)]
pub(super) struct Complaint {
    pub(super) cause: Cause,
    pub(super) after: After,
    /// All that it says.
    pub(super) text: String,
}

impl Complaint {
    fn new(cause: Cause, after: After, error: &dyn std::error::Error) -> Complaint {
        Complaint { cause, after, text: chain(error) }
    }
}

fn of_command(error: &CommandError) -> Cause {
    match error.kind {
        CommandErrorKind::TimedOut { .. } => Cause::TimedOut,
        CommandErrorKind::InFlight { .. } => Cause::InFlight,
        CommandErrorKind::NoEffect => Cause::NoEffect,
        CommandErrorKind::NotValid => Cause::NotValid,
        _ => Cause::Other,
    }
}

fn of_table(error: &TableError) -> Cause {
    match error {
        TableError::Memory(_) => Cause::Table,
        TableError::Records => Cause::Heap,
        _ => Cause::Other,
    }
}

fn of_ist(cause: &IstCause) -> Cause {
    match cause {
        IstCause::Table(error) => of_table(error),
        IstCause::Command(error) => of_command(error),
        _ => Cause::Other,
    }
}

fn of_tear_down(cause: &TearDownCause) -> Cause {
    match cause {
        TearDownCause::Command(error) => of_command(error),
        TearDownCause::Named { .. } => Cause::Named,
        TearDownCause::Doorbell { .. } => Cause::LpiStays,
        TearDownCause::OthersRun => Cause::OthersRun,
        _ => Cause::Other,
    }
}

impl From<ProbeError> for Complaint {
    fn from(error: ProbeError) -> Complaint {
        let cause = if matches!(error, ProbeError::NoMemory) { Cause::Heap } else { Cause::Other };
        Complaint::new(cause, After::Undone, &error)
    }
}

impl From<BringUpError> for Complaint {
    fn from(error: BringUpError) -> Complaint {
        let cause = match &error.cause {
            BringUpCause::Table(error) => of_table(error),
            BringUpCause::Command(error) => of_command(error),
            BringUpCause::NotSettled(error) => of_tear_down(error),
            _ => Cause::Other,
        };
        let after = if error.cleanup.is_ok() { After::Undone } else { After::Held };
        Complaint::new(cause, after, &error)
    }
}

impl From<InitError> for Complaint {
    fn from(error: InitError) -> Complaint {
        let cause = match &error.cause {
            InitCause::Doorbell { source: DoorbellError::NoMemory, .. } => Cause::Heap,
            InitCause::Doorbell { source: DoorbellError::Lpi(_), .. } => Cause::Lpi,
            InitCause::Table(error) => of_table(error),
            InitCause::Ist(error) => of_ist(error),
            InitCause::Command(error) => of_command(error),
            InitCause::NotSettled(error) => of_tear_down(error),
            _ => Cause::Other,
        };
        // A VM that was not initialised and is not is as if nothing had been done.
        let after = if error.fate == Fate::Unchanged { After::Undone } else { error.fate.into() };
        Complaint::new(cause, after, &error)
    }
}

impl From<IstError> for Complaint {
    fn from(error: IstError) -> Complaint {
        Complaint::new(of_ist(&error.cause), error.fate.into(), &error)
    }
}

impl From<RunError> for Complaint {
    fn from(error: RunError) -> Complaint {
        match error {
            RunError::ResidencyFault { .. } => Complaint::new(Cause::Residency, After::Dead, &error),
            _ => Complaint::new(Cause::Other, After::Unchanged, &error),
        }
    }
}

impl From<ResetError> for Complaint {
    fn from(error: ResetError) -> Complaint {
        let cause = match &error.cause {
            ResetCause::Command(error) => of_command(error),
            ResetCause::NotLive | ResetCause::Resident { .. } => Cause::Other,
        };
        Complaint::new(cause, error.fate.into(), &error)
    }
}

impl From<TearDownError> for Complaint {
    fn from(error: TearDownError) -> Complaint {
        Complaint::new(of_tear_down(&error.cause), error.fate.into(), &error)
    }
}

impl From<ReclaimError> for Complaint {
    fn from(error: ReclaimError) -> Complaint {
        Complaint::new(of_tear_down(&error.cause), After::Held, &error)
    }
}

impl From<ShutDownError> for Complaint {
    fn from(error: ShutDownError) -> Complaint {
        let cause = match &error {
            ShutDownError::Command { cause, .. } => of_command(cause),
            ShutDownError::Left { cause, .. } | ShutDownError::Vm(cause) => of_tear_down(cause),
            _ => Cause::Other,
        };
        Complaint::new(cause, After::Held, &error)
    }
}
