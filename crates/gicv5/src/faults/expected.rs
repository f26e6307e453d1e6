//! What the library must say to each fault, at each step, and what must have become of the host or the VM then.
//!
//! The table is written by hand and reviewed; nothing in it comes from what the library does. It is about first faults: what
//! comes after a second depends on both, and is held to what every case is held to.

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
}

impl From<&Request> for What {
    fn from(request: &Request) -> What {
        match request {
            Request::Heap { .. } => What::Heap,
            Request::Table { .. } => What::Table,
            Request::Lpi { .. } => What::Lpi,
            Request::LpiRelease { .. } => What::LpiRelease,
            Request::Residency { .. } => What::Residency,
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
    /// One of two, and this has become of it.
    Either(Cause, Cause, After),
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
    // Nothing has been told to the IRS, so that everything can go back.
    (Step::Probe, What::Heap, &[Harm::Refused], Says::This(Cause::Heap, After::Undone)),
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
    (Step::Init, What::Register(IRS_VPE_SELR), &[Harm::Invalid], Says::This(Cause::NotValid, After::Undone)),
    // What was selected before is selected still: another VPE, or none.
    (
        Step::Init,
        What::Register(IRS_VPE_SELR),
        &[Harm::Ignored],
        Says::Either(Cause::NoEffect, Cause::NotValid, After::Undone),
    ),
    (Step::Init, What::Register(IRS_VPE_CR0), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    // It means nothing without 1-of-N routing.
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
    (Step::RemoveIst, What::Register(IRS_VMAP_VISTR), UNKNOWN, Says::This(Cause::TimedOut, After::Dead)),
    // An IRS that does not let go of an IST has it until the VM is invalid (IST-8).
    (Step::RemoveIst, What::Register(IRS_VMAP_VISTR), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Dead)),
    (Step::TearDown, What::Register(IRS_VMAP_VMR), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    (Step::TearDown, What::Register(IRS_VMAP_VMR), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Held)),
    (Step::TearDown, What::LpiRelease, &[Harm::Refused], Says::This(Cause::LpiStays, After::Held)),
    (Step::ShutDown, What::Register(IRS_VMT_BASER), UNKNOWN, Says::This(Cause::TimedOut, After::Held)),
    (Step::ShutDown, What::Register(IRS_VMT_BASER), &[Harm::Ignored], Says::This(Cause::NoEffect, After::Held)),
];

const UNKNOWN: &[Harm] = &[Harm::Never, Harm::TooLate];

/// What the table has to say about the first fault of a case. `Err` says what is otherwise.
pub(super) fn judge(step: Step, point: &FaultPoint, harm: Harm, verdict: &Verdict) -> Result<(), String> {
    let what = What::from(&point.request);
    let says = match harm {
        // In time is in time.
        Harm::Late => Says::Nothing,
        _ => {
            let mut rows = TABLE.iter().filter(|row| row.0 == step && row.1 == what && row.2.contains(&harm));
            match rows.next() {
                Some(row) => row.3,
                None => return Err(format!("the table does not say what {} does to \"{step}\"", point.request)),
            }
        }
    };
    match (says, verdict.complaints.as_slice()) {
        (Says::Nothing, []) => Ok(()),
        (Says::This(cause, after), [(at, found)]) if (*at, found.cause, found.after) == (step, cause, after) => Ok(()),
        (Says::Either(one, other, after), [(at, found)])
            if *at == step && [one, other].contains(&found.cause) && found.after == after =>
        {
            Ok(())
        }
        (says, complaints) => {
            let said: Vec<String> = complaints
                .iter()
                .map(|(step, complaint)| {
                    format!("{step}: {:?}, {:?} ({})", complaint.cause, complaint.after, complaint.text)
                })
                .collect();
            let said = if said.is_empty() { "nothing".to_owned() } else { said.join("; then ") };
            Err(format!("at \"{step}\", {}: expected {says:?}, the library said {said}", point.request))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
