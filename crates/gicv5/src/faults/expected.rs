//! What the library must say to each fault, at each step, and what must have become of the host or the VM then.
//!
//! The table is written by hand and reviewed; nothing in it comes from what the library does. It is about first faults: what
//! comes after a second depends on both, and is held to what every case is held to. For people it is in docs/faults.md.

use std::fmt;

use gicv5_arch::VpeId;
use gicv5_arch::irs::IrsReg;
use gicv5_model::fault::{FaultPoint, Request};

use super::case::Harm;
use super::complaint::{After, Cause, Phase};
use super::life::Verdict;

/// What was asked for, as far as the table tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Heap,
    Table,
    Lpi,
    LpiRelease,
    Residency,
    Register(IrsReg),
    /// IRS_VMT_BASER, written with VALID=0.
    Withdraw,
    /// IRS_VPE_SELR, written with the VPE that no VM has.
    SelectNothing,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Heap => f.write_str("heap"),
            Target::Table => f.write_str("table memory"),
            Target::Lpi => f.write_str("an LPI"),
            Target::LpiRelease => f.write_str("release of an LPI"),
            Target::Residency => f.write_str("residency"),
            Target::Register(register) => write!(f, "{register}"),
            Target::Withdraw => write!(f, "{IRS_VMT_BASER} with VALID=0"),
            Target::SelectNothing => write!(f, "{IRS_VPE_SELR} of no VPE"),
        }
    }
}

impl From<&Request> for Target {
    fn from(request: &Request) -> Target {
        match request {
            Request::Heap { .. } => Target::Heap,
            Request::Table { .. } => Target::Table,
            Request::Lpi { .. } => Target::Lpi,
            Request::LpiRelease { .. } => Target::LpiRelease,
            Request::Residency { .. } => Target::Residency,
            Request::Command { register: IRS_VMT_BASER, value, .. }
                if !gicv5_arch::irs::IRS_VMT_BASER::new_with_raw_value(*value).valid() =>
            {
                Target::Withdraw
            }
            Request::Command { register: IRS_VPE_SELR, value, .. }
                if gicv5_arch::irs::IRS_VPE_SELR::new_with_raw_value(*value).vpe_id() == VpeId::new(u16::MAX) =>
            {
                Target::SelectNothing
            }
            Request::Command { register, .. } => Target::Register(*register),
        }
    }
}

/// What the library must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Nothing: the fault makes no difference.
    Nothing,
    /// This, and this has become of it.
    This(Cause, After),
    /// One of these: what was there before decides how it shows.
    Either(Cause, Cause, After),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Nothing => f.write_str("nothing"),
            Expected::This(cause, after) => write!(f, "{cause}; {after}"),
            Expected::Either(cause, other, after) => write!(f, "{cause}, or {other}; {after}"),
        }
    }
}

use IrsReg::{
    IRS_VMAP_L2_VMTR, IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMAP_VPER, IRS_VMT_BASER, IRS_VPE_CR0, IRS_VPE_DBR,
    IRS_VPE_SELR,
};

/// A command that has no effect is noticed by looking: at the entry or register that should have changed. What it named is
/// software's again, because the IRS is idle and shows that it has not taken it.
///
/// A command that does not complete in time is unknown, whether it completes later or never (LIFE-10): what it names is held,
/// and so is everything that cannot be withdrawn while it is under way (GEN-18).
const TABLE: &[(Phase, Target, &[Harm], Expected)] = &[
    (Phase::Probe, Target::Heap, &[Harm::Refused], Expected::This(Cause::Heap, After::Undone)),
    // The table is somebody else's: nothing of this host is at stake (VMT-2).
    (Phase::BringUp, Target::Withdraw, UNKNOWN, Expected::This(Cause::TimedOut, After::Undone)),
    (Phase::BringUp, Target::Withdraw, &[Harm::Ignored], Expected::This(Cause::NoEffect, After::Undone)),
    // Nothing has been told to the IRS, so that everything can go back.
    (Phase::BringUp, Target::Heap, &[Harm::Refused], Expected::This(Cause::Heap, After::Undone)),
    (Phase::BringUp, Target::Table, &[Harm::Refused], Expected::This(Cause::Table, After::Undone)),
    (Phase::BringUp, Target::Register(IRS_VMT_BASER), UNKNOWN, Expected::This(Cause::TimedOut, After::Held)),
    (Phase::BringUp, Target::Register(IRS_VMT_BASER), &[Harm::Ignored], Expected::This(Cause::NoEffect, After::Undone)),
    (Phase::Init, Target::Heap, &[Harm::Refused], Expected::This(Cause::Heap, After::Undone)),
    (Phase::Init, Target::Table, &[Harm::Refused], Expected::This(Cause::Table, After::Undone)),
    (Phase::Init, Target::Lpi, &[Harm::Refused], Expected::This(Cause::Lpi, After::Undone)),
    // The level-2 table is held, but it is no VM's: the VM has nothing that the IRS has heard of (VMT-16).
    (Phase::Init, Target::Register(IRS_VMAP_L2_VMTR), UNKNOWN, Expected::This(Cause::TimedOut, After::Undone)),
    (Phase::Init, Target::Register(IRS_VMAP_L2_VMTR), &[Harm::Ignored], Expected::This(Cause::NoEffect, After::Undone)),
    (Phase::Init, Target::Register(IRS_VMAP_VMR), UNKNOWN, Expected::This(Cause::TimedOut, After::Held)),
    (Phase::Init, Target::Register(IRS_VMAP_VMR), &[Harm::Ignored], Expected::This(Cause::NoEffect, After::Undone)),
    (Phase::Init, Target::Register(IRS_VMAP_VPER), UNKNOWN, Expected::This(Cause::TimedOut, After::Held)),
    // That a VPE is not valid shows when it is selected (VPE-12).
    (Phase::Init, Target::Register(IRS_VMAP_VPER), &[Harm::Ignored], Expected::This(Cause::NotValid, After::Undone)),
    // The VM can be made invalid meanwhile, and its memory goes back; its ID and the doorbell stay, because the command names
    // them (GEN-16: another status register).
    (Phase::Init, Target::Register(IRS_VPE_SELR), UNKNOWN, Expected::This(Cause::TimedOut, After::Held)),
    // Nothing is selected then.
    (Phase::Init, Target::Register(IRS_VPE_SELR), &[Harm::Invalid], Expected::This(Cause::NotValid, After::Undone)),
    // What was selected before is selected still: a VPE that has its doorbell (VPE-9), or none.
    (
        Phase::Init,
        Target::Register(IRS_VPE_SELR),
        &[Harm::Ignored],
        Expected::Either(Cause::NoEffect, Cause::NotValid, After::Undone),
    ),
    (Phase::Init, Target::Register(IRS_VPE_CR0), UNKNOWN, Expected::This(Cause::TimedOut, After::Held)),
    // It means nothing without 1-of-N routing, which the model has not.
    (Phase::Init, Target::Register(IRS_VPE_CR0), &[Harm::Ignored], Expected::Nothing),
    (Phase::Init, Target::Register(IRS_VPE_DBR), UNKNOWN, Expected::This(Cause::TimedOut, After::Held)),
    (Phase::Init, Target::Register(IRS_VPE_DBR), &[Harm::Ignored], Expected::This(Cause::NoEffect, After::Undone)),
    (Phase::Init, Target::Register(IRS_VMAP_VISTR), UNKNOWN, Expected::This(Cause::TimedOut, After::Held)),
    (Phase::Init, Target::Register(IRS_VMAP_VISTR), &[Harm::Ignored], Expected::This(Cause::NoEffect, After::Undone)),
    (Phase::CreateIst, Target::Heap, &[Harm::Refused], Expected::This(Cause::Heap, After::Unchanged)),
    (Phase::CreateIst, Target::Table, &[Harm::Refused], Expected::This(Cause::Table, After::Unchanged)),
    // Only the end of the VM gets the IST back (LIFE-11).
    (Phase::CreateIst, Target::Register(IRS_VMAP_VISTR), UNKNOWN, Expected::This(Cause::TimedOut, After::Dead)),
    (
        Phase::CreateIst,
        Target::Register(IRS_VMAP_VISTR),
        &[Harm::Ignored],
        Expected::This(Cause::NoEffect, After::Unchanged),
    ),
    // RES-19.
    (Phase::Load, Target::Residency, &[Harm::Refused], Expected::This(Cause::Residency, After::Dead)),
    // The settings of the VPE are not known to be right (VPE-10, LIFE-21).
    (Phase::Reset, Target::Register(IRS_VPE_SELR), UNKNOWN, Expected::This(Cause::TimedOut, After::Dead)),
    (
        Phase::Reset,
        Target::Register(IRS_VPE_SELR),
        &[Harm::Invalid, Harm::Ignored],
        Expected::This(Cause::NotValid, After::Dead),
    ),
    (Phase::Reset, Target::SelectNothing, UNKNOWN, Expected::This(Cause::TimedOut, After::Dead)),
    (Phase::Reset, Target::SelectNothing, &[Harm::Invalid], Expected::Nothing),
    (Phase::Reset, Target::SelectNothing, &[Harm::Ignored], Expected::This(Cause::NoEffect, After::Dead)),
    (Phase::Reset, Target::Register(IRS_VPE_CR0), UNKNOWN, Expected::This(Cause::TimedOut, After::Dead)),
    (Phase::Reset, Target::Register(IRS_VPE_CR0), &[Harm::Ignored], Expected::Nothing),
    (Phase::Reset, Target::Register(IRS_VPE_DBR), UNKNOWN, Expected::This(Cause::TimedOut, After::Dead)),
    // Init has set it to the same.
    (Phase::Reset, Target::Register(IRS_VPE_DBR), &[Harm::Ignored], Expected::Nothing),
    (Phase::RemoveIst, Target::Register(IRS_VMAP_VISTR), UNKNOWN, Expected::This(Cause::TimedOut, After::Dead)),
    // An IRS that does not let go of an IST has it until the VM is invalid (IST-8).
    (
        Phase::RemoveIst,
        Target::Register(IRS_VMAP_VISTR),
        &[Harm::Ignored],
        Expected::This(Cause::NoEffect, After::Dead),
    ),
    (Phase::TearDown, Target::Register(IRS_VMAP_VMR), UNKNOWN, Expected::This(Cause::TimedOut, After::Held)),
    (Phase::TearDown, Target::Register(IRS_VMAP_VMR), &[Harm::Ignored], Expected::This(Cause::NoEffect, After::Held)),
    (Phase::TearDown, Target::LpiRelease, &[Harm::Refused], Expected::This(Cause::LpiStays, After::Held)),
    (Phase::Reap, Target::Register(IRS_VMAP_VMR), UNKNOWN, Expected::This(Cause::TimedOut, After::Held)),
    (Phase::Reap, Target::Register(IRS_VMAP_VMR), &[Harm::Ignored], Expected::This(Cause::NoEffect, After::Held)),
    (Phase::Reap, Target::LpiRelease, &[Harm::Refused], Expected::This(Cause::LpiStays, After::Held)),
    (Phase::ShutDown, Target::Withdraw, UNKNOWN, Expected::This(Cause::TimedOut, After::Held)),
    (Phase::ShutDown, Target::Withdraw, &[Harm::Ignored], Expected::This(Cause::NoEffect, After::Held)),
];

const UNKNOWN: &[Harm] = &[Harm::Never, Harm::TooLate];

/// The row of the table about this.
pub(super) fn row(step: Phase, request: &Request, harm: Harm) -> Option<usize> {
    let what = Target::from(request);
    TABLE.iter().position(|row| row.0 == step && row.1 == what && row.2.contains(&harm))
}

/// What the table has to say about the first fault of a case. `Err` says what is otherwise.
pub(super) fn judge(step: Phase, point: &FaultPoint, harm: Harm, verdict: &Verdict) -> Result<(), String> {
    let says = match harm {
        // In time is in time.
        Harm::Late => Expected::Nothing,
        _ => match row(step, &point.request, harm).and_then(|row| TABLE.get(row)) {
            Some(row) => row.3,
            None => return Err(format!("the table does not say what {} does to \"{step}\"", point.request)),
        },
    };
    let (found, further) = match verdict.complaints.as_slice() {
        [] => (None, &[][..]),
        [(at, complaint), further @ ..] => (Some((*at, complaint.cause, complaint.after)), further),
    };
    let as_said = match (says, found) {
        (Expected::Nothing, None) => true,
        (Expected::This(cause, after), Some(found)) => found == (step, cause, after),
        (Expected::Either(cause, other, after), Some(found)) => {
            found == (step, cause, after) || found == (step, other, after)
        }
        _ => false,
    };
    // Whoever asks again while the hardware is stuck is told so at once (GEN-18), and nothing else is ever said.
    let stuck = found.is_some_and(|(_, cause, _)| cause == Cause::TimedOut);
    let goes_on = further.iter().all(|(_, more)| stuck && [Cause::InFlight, Cause::Named].contains(&more.cause));
    if as_said && goes_on {
        return Ok(());
    }
    let said: Vec<String> = verdict
        .complaints
        .iter()
        .map(|(step, complaint)| {
            format!("could not {step}: {}; {} ({})", complaint.cause, complaint.after, complaint.text)
        })
        .collect();
    let said = if said.is_empty() { "nothing".to_owned() } else { said.join("; then ") };
    Err(format!("at \"{step}\", {}: expected \"{says}\", the library said: {said}", point.request))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// How many rows the table has.
    pub(crate) const ROWS: usize = TABLE.len();

    #[test]
    fn the_table_says_one_thing_about_each_fault() {
        for (n, row) in TABLE.iter().enumerate() {
            for harm in row.2 {
                let again = |other: &&(Phase, Target, &[Harm], Expected)| {
                    other.0 == row.0 && other.1 == row.1 && other.2.contains(harm)
                };
                assert_eq!(TABLE[n + 1..].iter().find(again), None);
            }
        }
    }

    #[test]
    fn the_page_shows_the_table() {
        let row = |(step, what, harms, says): &(Phase, Target, &[Harm], Expected)| {
            let harms: Vec<&str> = harms.iter().map(|harm| harm.words()).collect();
            format!("| {step} | {what} | {} | {says} |\n", harms.join(", "))
        };
        let rows: String = TABLE.iter().map(row).collect();
        let page = include_str!("../../../../docs/faults.md");
        assert!(page.contains(&rows), "docs/faults.md should have\n{rows}");
    }
}
