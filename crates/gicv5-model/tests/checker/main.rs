//! Every rule that the checker can name, with somebody who breaks it and somebody who comes as close as one may.
//!
//! A rule that blames what is allowed is as useless as one that is never heard of, so both are asked of each. That no rule
//! is missing here is asked of the sources: what they name in a string is a rule.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]
#![allow(clippy::indexing_slicing, reason = "the same")]

#[allow(dead_code, reason = "not every user needs all of it")]
#[path = "../physical/bench.rs"]
mod irs;
#[allow(dead_code, reason = "not every user needs all of it")]
#[path = "../residency/bench.rs"]
mod pe;
#[allow(dead_code, reason = "not every user needs all of it")]
#[path = "../virtual_irs/bench.rs"]
mod vm;

mod hypervisor;
mod memory;
mod software;
mod tables;

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
    [tables::PAIRS, hypervisor::PAIRS, memory::PAIRS, software::PAIRS].into_iter().flatten()
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

/// The rule ids in string literals of the model, which are those of the checker; the switches name what they are about.
fn rules_in_the_sources(folder: &std::path::Path, rules: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rules_in_the_sources(&path, rules);
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        if ["naive.rs", "tests.rs"].contains(&name) || path.ends_with("switches/mod.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for literal in line.split('"').skip(1).step_by(2) {
                let is_rule = literal.split_once('-').is_some_and(|(group, number)| {
                    !group.is_empty()
                        && !number.is_empty()
                        && group.bytes().all(|byte| byte.is_ascii_uppercase())
                        && number.bytes().all(|byte| byte.is_ascii_digit())
                });
                if is_rule {
                    rules.insert(literal.to_owned());
                }
            }
        }
    }
}

#[test]
fn no_rule_of_the_checker_is_without_somebody_who_breaks_it_and_somebody_who_comes_close() {
    let mut rules = BTreeSet::new();
    rules_in_the_sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut rules);
    let mut here = BTreeSet::new();
    for pair in pairs() {
        assert!(here.insert(pair.rule.to_owned()), "{} is here twice", pair.rule);
    }
    assert!(rules.len() > 40, "{rules:?}");
    assert_eq!(here, rules);
}
