//! What the library must say to each fault, at each step, and what must have become of the host or the VM then.
//!
//! The table is written by hand and reviewed; nothing in it comes from what the library does. It is about first faults: what
//! comes after a second depends on both, and is held to what every case is held to. For people it is in docs/faults.md.

use std::fmt;

use gicv5_arch::VpeId;
use gicv5_arch::irs::IrsReg;
use gicv5_model::fault::{FaultPoint, Request};

use super::case::Harm;
use super::complaint::{After, Cause, Step};
use super::life::Verdict;

/// What was asked for, as far as the table tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
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

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Heap => f.write_str("heap"),
            What::Table => f.write_str("table memory"),
            What::Lpi => f.write_str("an LPI"),
            What::LpiRelease => f.write_str("release of an LPI"),
            What::Residency => f.write_str("residency"),
            What::Register(register) => write!(f, "{register}"),
            What::Withdraw => write!(f, "{IRS_VMT_BASER} with VALID=0"),
            What::SelectNothing => write!(f, "{IRS_VPE_SELR} of no VPE"),
        }
    }
}

impl From<&Request> for What {
    fn from(request: &Request) -> What {
        match request {
            Request::Heap { .. } => What::Heap,
            Request::Table { .. } => What::Table,
            Request::Lpi { .. } => What::Lpi,
            Request::LpiRelease { .. } => What::LpiRelease,
            Request::Residency { .. } => What::Residency,
            Request::Command { register: IRS_VMT_BASER, value, .. }
                if !gicv5_arch::irs::IRS_VMT_BASER::new_with_raw_value(*value).valid() =>
            {
                What::Withdraw
            }
            Request::Command { register: IRS_VPE_SELR, value, .. }
                if gicv5_arch::irs::IRS_VPE_SELR::new_with_raw_value(*value).vpe_id() == VpeId::new(u16::MAX) =>
            {
                What::SelectNothing
            }
            Request::Command { register, .. } => What::Register(*register),
        }
    }
}

/// What the library must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// Nothing: the fault makes no difference.
    Nothing,
    /// This, and this has become of it.
    This(Cause, After),
    /// Nothing or this: what was there before decides whether the fault makes a difference.
    AtMost(Cause, After),
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Says::Nothing => f.write_str("nothing"),
            Says::This(cause, after) => write!(f, "{cause}; {after}"),
            Says::AtMost(cause, after) => write!(f, "nothing, or {cause}; {after}"),
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
const TABLE: &[(Step, What, &[Harm], Says)] = &[
    (Step::Probe, What::Heap, &[Harm::Refused], Says::This(Cause::Heap, After::Undone)),
    // The table is somebody else's: nothing of this host is at stake (VMT-2).
    (Step::BringUp, What::Withdraw, UNKNOWN, Says::This(Cause::TimedOut, After::Undone)),
    (Step::BringUp, What::Withdraw, &[Harm::Ignored], Says::This(Cause::NoEffect, After::Undone)),
    // Nothing has been told to the IRS, so that everything can go back.
    (Step::BringUp, What::Heap, &[Harm::Refused], Says::This(Cause::Heap, After::Undone)),
    (Step::BringUp, What::Table, &[Harm::Refused], Says::This(Cause::Table, After::Undone)),
    (Step::BringUp, What::Register(IRS_VMT_BASER), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    (Step::BringUp, What::Register(IRS_VMT_BASER), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Undone)),
    (Step::Init, What::Heap, &[Harm::Refused], Says::This(Cause::Heap, After::Undone)),
    (Step::Init, What::Table, &[Harm::Refused], Says::This(Cause::Table, After::Undone)),
    (Step::Init, What::Lpi, &[Harm::Refused], Says::This(Cause::Lpi, After::Undone)),
    // The level-2 table is held, but it is no VM's: the VM has nothing that the IRS has heard of (VMT-16).
    (Step::Init, What::Register(IRS_VMAP_L2_VMTR), UNKNOWN, Says::This(Cause::TimedOut, After::Undone)),
    (Step::Init, What::Register(IRS_VMAP_L2_VMTR), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Undone)),
    (Step::Init, What::Register(IRS_VMAP_VMR), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    (Step::Init, What::Register(IRS_VMAP_VMR), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Undone)),
    (Step::Init, What::Register(IRS_VMAP_VPER), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    // That a VPE is not valid shows when it is selected (VPE-12).
    (Step::Init, What::Register(IRS_VMAP_VPER), &[Harm::Ignored], Says::This(Cause::NotValid, After::Undone)),
    // The VM can be made invalid meanwhile, and its memory goes back; its ID and the doorbell stay, because the command names
    // them (GEN-16: another status register).
    (Step::Init, What::Register(IRS_VPE_SELR), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    // Nothing is selected then.
    (
        Step::Init,
        What::Register(IRS_VPE_SELR),
        &[Harm::Invalid, Harm::Ignored],
        Says::This(Cause::NotValid, After::Undone),
    ),
    (Step::Init, What::SelectNothing, UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    (Step::Init, What::SelectNothing, &[Harm::Invalid], Says::Nothing),
    // What was selected before is selected still, if anything was.
    (Step::Init, What::SelectNothing, &[Harm::Ignored], Says::AtMost(Cause::NoEffect, After::Undone)),
    (Step::Init, What::Register(IRS_VPE_CR0), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    // It means nothing without 1-of-N routing, which the model has not.
    (Step::Init, What::Register(IRS_VPE_CR0), &[Harm::Ignored], Says::Nothing),
    (Step::Init, What::Register(IRS_VPE_DBR), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    (Step::Init, What::Register(IRS_VPE_DBR), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Undone)),
    (Step::Init, What::Register(IRS_VMAP_VISTR), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    (Step::Init, What::Register(IRS_VMAP_VISTR), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Undone)),
    (Step::CreateIst, What::Heap, &[Harm::Refused], Says::This(Cause::Heap, After::Unchanged)),
    (Step::CreateIst, What::Table, &[Harm::Refused], Says::This(Cause::Table, After::Unchanged)),
    // Only the end of the VM gets the IST back (LIFE-11).
    (Step::CreateIst, What::Register(IRS_VMAP_VISTR), UNKNOWN, Says::This(Cause::TimedOut, After::Dead)),
    (Step::CreateIst, What::Register(IRS_VMAP_VISTR), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Unchanged)),
    // RES-19.
    (Step::Load, What::Residency, &[Harm::Refused], Says::This(Cause::Residency, After::Dead)),
    // The settings of the VPE are not known to be right (VPE-10, LIFE-21).
    (Step::Reset, What::Register(IRS_VPE_SELR), UNKNOWN, Says::This(Cause::TimedOut, After::Dead)),
    (
        Step::Reset,
        What::Register(IRS_VPE_SELR),
        &[Harm::Invalid, Harm::Ignored],
        Says::This(Cause::NotValid, After::Dead),
    ),
    (Step::Reset, What::SelectNothing, UNKNOWN, Says::This(Cause::TimedOut, After::Dead)),
    (Step::Reset, What::SelectNothing, &[Harm::Invalid], Says::Nothing),
    (Step::Reset, What::SelectNothing, &[Harm::Ignored], Says::This(Cause::NoEffect, After::Dead)),
    (Step::Reset, What::Register(IRS_VPE_CR0), UNKNOWN, Says::This(Cause::TimedOut, After::Dead)),
    (Step::Reset, What::Register(IRS_VPE_CR0), &[Harm::Ignored], Says::Nothing),
    (Step::Reset, What::Register(IRS_VPE_DBR), UNKNOWN, Says::This(Cause::TimedOut, After::Dead)),
    // Init has set it to the same.
    (Step::Reset, What::Register(IRS_VPE_DBR), &[Harm::Ignored], Says::Nothing),
    (Step::RemoveIst, What::Register(IRS_VMAP_VISTR), UNKNOWN, Says::This(Cause::TimedOut, After::Dead)),
    // An IRS that does not let go of an IST has it until the VM is invalid (IST-8).
    (Step::RemoveIst, What::Register(IRS_VMAP_VISTR), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Dead)),
    (Step::TearDown, What::Register(IRS_VMAP_VMR), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    (Step::TearDown, What::Register(IRS_VMAP_VMR), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Held)),
    (Step::TearDown, What::LpiRelease, &[Harm::Refused], Says::This(Cause::LpiStays, After::Held)),
    (Step::Reap, What::Register(IRS_VMAP_VMR), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    (Step::Reap, What::Register(IRS_VMAP_VMR), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Held)),
    (Step::Reap, What::LpiRelease, &[Harm::Refused], Says::This(Cause::LpiStays, After::Held)),
    (Step::ShutDown, What::Withdraw, UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    (Step::ShutDown, What::Withdraw, &[Harm::Ignored], Says::This(Cause::NoEffect, After::Held)),
];

const UNKNOWN: &[Harm] = &[Harm::Never, Harm::TooLate];

/// The row of the table about this.
pub(super) fn row(step: Step, request: &Request, harm: Harm) -> Option<usize> {
    let what = What::from(request);
    TABLE.iter().position(|row| row.0 == step && row.1 == what && row.2.contains(&harm))
}

/// What the table has to say about the first fault of a case. `Err` says what is otherwise.
pub(super) fn judge(step: Step, point: &FaultPoint, harm: Harm, verdict: &Verdict) -> Result<(), String> {
    let says = match harm {
        // In time is in time.
        Harm::Late => Says::Nothing,
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
        (Says::Nothing | Says::AtMost(..), None) => true,
        (Says::This(cause, after) | Says::AtMost(cause, after), Some(found)) => found == (step, cause, after),
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
                let again = |other: &&(Step, What, &[Harm], Says)| {
                    other.0 == row.0 && other.1 == row.1 && other.2.contains(harm)
                };
                assert_eq!(TABLE[n + 1..].iter().find(again), None);
            }
        }
    }

    #[test]
    fn the_page_shows_the_table() {
        let row = |(step, what, harms, says): &(Step, What, &[Harm], Says)| {
            let harms: Vec<&str> = harms.iter().map(|harm| harm.name()).collect();
            format!("| {step} | {what} | {} | {says} |\n", harms.join(", "))
        };
        let rows: String = TABLE.iter().map(row).collect();
        let page = include_str!("../../../../docs/faults.md");
        assert!(page.contains(&rows), "docs/faults.md should have\n{rows}");
    }
}
