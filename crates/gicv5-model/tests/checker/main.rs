//! Every rule that the checker can name, with somebody who breaks it and somebody who comes as close as one may.
//!
//! A rule that blames what is allowed is as useless as one that is never heard of, so both are asked of each. The list of rules
//! says whether one is missing here.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]
#![allow(clippy::indexing_slicing, reason = "the same")]

#[path = "../bench/mod.rs"]
mod bench;
mod hypervisor;
mod memory;
mod remarks;
mod software;
mod tables;

use gicv5_model::rules;
use gicv5_model::violation::Violation;
use std::collections::BTreeSet;

/// A rule, and what two people do about it. Each tells what the checker had to say.
struct Pair {
    rule: &'static str,
    /// What breaks it, in words and deed.
    breaks: (&'static str, fn() -> Vec<Violation>),
    /// What comes close and is no mistake, likewise.
    nearly: (&'static str, fn() -> Vec<Violation>),
}

fn pairs() -> impl Iterator<Item = &'static Pair> {
    [tables::PAIRS, hypervisor::PAIRS, memory::PAIRS, software::PAIRS, remarks::PAIRS].into_iter().flatten()
}

#[test]
fn whoever_breaks_a_rule_is_blamed_for_that_rule_and_for_no_other() {
    for Pair { rule, breaks: (what, deed), .. } in pairs() {
        let found: BTreeSet<_> = deed().iter().map(|violation| violation.rule).collect();
        assert_eq!(found, BTreeSet::from([*rule]), "{rule}: {what}");
    }
}

#[test]
fn whoever_only_comes_close_to_breaking_a_rule_is_not_blamed() {
    for Pair { rule, nearly: (what, deed), .. } in pairs() {
        assert_eq!(deed(), [], "{rule}: {what}");
    }
}

#[test]
fn no_rule_of_the_checker_is_without_somebody_who_breaks_it_and_somebody_who_comes_close() {
    let mut here = BTreeSet::new();
    for pair in pairs() {
        assert!(here.insert(pair.rule), "{} is here twice", pair.rule);
    }
    let remarks = rules::REMARKS.iter().map(|rule| rule.id());
    assert_eq!(here, rules::ALL.iter().map(|rule| rule.id()).chain(remarks).collect());
}
