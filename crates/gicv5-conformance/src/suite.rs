//! What runs the tests.

use crate::bench::{Bench, BenchPe};
use crate::lab::{Lab, MAX_PES};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::profile::Profile;
use crate::survey::{IrsState, PeState};
use crate::test::Test;

/// Hears of each test.
pub trait Observer<B: Bench> {
    /// A test starts: if it is the last thing heard of, the machine hangs in it.
    fn started(&mut self, test: &Test<B>);

    /// A test has ended.
    fn finished(&mut self, test: &Test<B>, verdict: &Verdict);
}

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tests whose rules held.
    pub passed: usize,
    /// Tests whose rules did not.
    pub failed: usize,
    /// Tests of what a profile needs and the rules leave open, which the machine does otherwise.
    pub open: usize,
    /// Tests for which the machine has not what they need.
    pub not_applicable: usize,
}

/// Every test, in the order in which they run.
pub fn tests<B: Bench + 'static>() -> impl Iterator<Item = &'static Test<B>> {
    crate::tests::groups::<B>().iter().copied().flatten()
}

/// Runs the chosen tests on a machine. To be called on PE 0, with interrupts masked on every PE, before anything else has
/// touched the GIC. With a profile, what it needs has to hold too.
pub fn run<B: Bench + 'static>(
    bench: &B,
    pe: &BenchPe<'_, B>,
    profile: Option<Profile>,
    mut chosen: impl FnMut(&Test<B>) -> bool,
    observer: &mut impl Observer<B>,
) -> Summary {
    let lab = Lab::new(bench, pe);
    let mut summary = Summary::default();
    let mut base = None;
    for test in tests::<B>() {
        if !chosen(test) {
            continue;
        }
        observer.started(test);
        let verdict = match test.needs.iter().find(|need| !need.is_met(&lab.features)) {
            Some(need) => Verdict::NotApplicable(*need),
            None => match run_one(&lab, test, &mut base) {
                Ok(()) => Verdict::Pass,
                Err(failure) => verdict(failure, test.profile, profile),
            },
        };
        match verdict {
            Verdict::Pass => summary.passed += 1,
            Verdict::Fail(_) => summary.failed += 1,
            Verdict::Open(..) => summary.open += 1,
            Verdict::NotApplicable(_) => summary.not_applicable += 1,
        }
        observer.finished(test, &verdict);
    }
    summary
}

/// What a failure is, of a test that may be about what only a profile needs.
fn verdict(failure: Failure, needed_by: Option<Profile>, asked: Option<Profile>) -> Verdict {
    match (needed_by, failure) {
        (Some(profile), Failure::Unequal { .. }) if asked != needed_by => Verdict::Open(profile, failure),
        _ => Verdict::Fail(failure),
    }
}

/// The state that every test starts from.
struct Baseline {
    pes: [Option<PeState>; MAX_PES],
    irs: IrsState,
}

impl Baseline {
    fn look<B: Bench>(lab: &Lab<'_, B>) -> Baseline {
        let mut pes = [None; MAX_PES];
        for (n, place) in pes.iter_mut().enumerate().take(lab.pes()) {
            *place = lab.pe_state(n).ok();
        }
        Baseline { pes, irs: IrsState::read(lab.bench()) }
    }
}

fn run_one<B: Bench>(lab: &Lab<'_, B>, test: &Test<B>, base: &mut Option<Baseline>) -> Outcome {
    // The first test that is not about the state after reset starts from a machine that has been put in order.
    let about_reset = test.name.starts_with("reset::");
    if base.is_none() && !about_reset {
        lab.put_back()?;
        lab.try_ability()?;
        *base = Some(Baseline::look(lab));
    }
    let mut outcome = Ok(());
    let ended = lab.bench().attempt(&mut || outcome = (test.body)(lab));
    if about_reset {
        ended?;
        return outcome;
    }
    // What the test found counts for more than what became of the machine.
    let mut put_back = Ok(());
    let put_back_ended = lab.bench().attempt(&mut || put_back = lab.put_back());
    ended?;
    outcome?;
    put_back_ended?;
    put_back?;
    match base {
        Some(base) => lab.check_put_back(&base.pes, &base.irs),
        None => Ok(()),
    }
}
