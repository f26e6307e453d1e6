//! The table of switches: every choice that the rules leave open, what it can be set to in the model, and
//! the tests of each position; and every open rule and question without a switch, with the reason.
//!
//! A rule is open if its text says that an outcome is constrained UNPREDICTABLE or inferred. A position has a test if a test
//! function names it, or goes through all positions of its type.

use crate::exceptions;
use crate::rules::{self, SourceFile, Test};
use crate::workspace;
use anyhow::{Result, ensure};
use gicv5_facts::{Rule, RuleBook};
use gicv5_model::config::{Switch, Switches};
use std::collections::{BTreeMap, BTreeSet};

const EXCEPTIONS: &str = "docs/switch-exceptions.toml";

/// The groups whose subject the model has.
const GROUPS: &[&str] = &[
    "GEN", "VMT", "VM", "VPE", "DB", "RES", "IST", "PRI", "HPPI", "RTE", "INS", "INJ", "PPI", "SPI", "LPI", "ERR",
    "COH", "SAVE",
];

/// Print for every open choice its switch, the positions and their tests, or why it has none; fail if one has neither
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not print the table
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let book = RuleBook::parse(&shell.read_file(rules::RULES)?)?;
    let exceptions = Exceptions::parse(EXCEPTIONS, &shell.read_file(EXCEPTIONS)?)?;
    let (lines, findings) = table(&book, &exceptions, Switches::ALL, &rules::sources(&shell)?);
    if !args.check {
        println!("{}", lines.join("\n"));
    }
    ensure!(findings.is_empty(), "faults in the table of switches:\n{}", findings.join("\n"));
    eprintln!("every open rule has a switch or a reason why not, and every position a test");
    Ok(())
}

/// Why open rules and questions have no switch.
type Exceptions = exceptions::Exceptions<exceptions::Uncovered>;

/// Whether a rule leaves something open.
fn is_open(rule: &Rule) -> bool {
    let texts = [&rule.text, &rule.otherwise, &rule.source];
    let says = |what: &str| texts.iter().any(|text| text.contains(what));
    GROUPS.contains(&rule.group.as_str())
        && (says("CU{") || says(" CU") || says("inferred") || rule.otherwise.starts_with("CU"))
}

/// The switches with the tests of their positions and the reasons why there is none, and what is wrong: one line each.
fn table(
    book: &RuleBook,
    exceptions: &Exceptions,
    switches: &[Switch],
    sources: &[SourceFile],
) -> (Vec<String>, Vec<String>) {
    let mut findings = Vec::new();
    let questions: BTreeSet<String> =
        book.open_questions.iter().map(|question| format!("open question {}", question.number)).collect();
    let exists = |id: &str| questions.contains(id) || book.rule(id).is_some_and(|rule| rule.id == id);
    let mut covered = BTreeMap::<&str, Vec<&str>>::new();
    for switch in switches {
        for id in switch.rules {
            if !exists(id) {
                findings.push(format!("{}: there is no {id}", switch.name));
            }
            covered.entry(id).or_default().push(switch.name);
        }
    }
    let wrong = |id: &str| covered.contains_key(id).then(|| "has a switch and a reason".to_owned());
    let reasons = exceptions.reasons(EXCEPTIONS, exists, wrong, &mut findings);
    let open: Vec<String> = book.rules.iter().filter(|rule| is_open(rule)).map(|rule| rule.id.clone()).collect();
    let numbered = book.open_questions.iter().map(|question| format!("open question {}", question.number));
    let all: Vec<String> = open.into_iter().chain(numbered).collect();
    for id in &all {
        if !covered.contains_key(id.as_str()) && !reasons.contains_key(id.as_str()) {
            findings.push(format!("{id} leaves something open and has neither a switch nor a reason in {EXCEPTIONS}"));
        }
    }
    for id in reasons.keys().filter(|id| !all.iter().any(|open| open == *id)) {
        findings.push(format!("{EXCEPTIONS}: {id} leaves nothing open"));
    }

    let functions: Vec<(&str, rules::TestFunction<'_>)> = sources
        .iter()
        .flat_map(|source| rules::test_functions(&source.text).into_iter().map(|test| (source.path.as_str(), test)))
        .collect();
    let mut lines = Vec::new();
    for switch in switches {
        lines.push(format!("{} ({}): {}", switch.name, switch.rules.join(", "), sentence(switch.question)));
        for position in switch.positions {
            let place = format!("{}::{}", switch.type_name, position.name);
            let tests = tests_of(&functions, switch.type_name, &place);
            if tests.is_empty() {
                findings.push(format!("{}: no test names {place}", switch.name));
            }
            lines.push(format!("  {place}: {} {}", sentence(position.meaning), rules::list(&tests)));
        }
    }
    lines.extend(reasons.iter().map(|(id, reason)| format!("{id}: no switch, {reason}")));
    (lines, findings)
}

/// The tests that name a position, or all positions of the type.
fn tests_of<'a>(functions: &[(&'a str, rules::TestFunction<'a>)], type_name: &str, position: &str) -> Vec<Test<'a>> {
    let names = [position.to_owned(), format!("{type_name}::POSITIONS")];
    let named = functions.iter().filter(|(_, function)| names.iter().any(|name| has_word(function.text, name)));
    named.map(|(path, function)| (*path, function.name.clone())).collect()
}

/// Whether a path occurs in a text and is not the beginning or end of a longer one.
fn has_word(text: &str, path: &str) -> bool {
    let part_of_a_word = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(path).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text.get(at + path.len()..).and_then(|tail| tail.chars().next());
        !before.is_some_and(part_of_a_word) && !after.is_some_and(part_of_a_word)
    })
}

/// Lines of documentation as one line.
fn sentence(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOK: &str = "### Source names\n\n| X | a source | software |\n\n## VMT - table\n\n\
        - **VMT-11** One. *Who* SW. *Else* CU{a | b}. *Src* X.\n\
        - **VMT-12** Two. *Who* SW. *Else* n/a (inferred). *Src* X. *Basis* inferred.\n\
        - **VMT-13** Three. *Who* SW. *Else* n/a. *Src* X.\n\n\
        ## Source hazards - do not copy\n\n1. Beware.\n\n## Open questions\n\n1. Why? *Assumed* so. *Switches* none.\n";

    fn findings(exceptions: &str, test: &str) -> Vec<String> {
        let source = SourceFile { path: "a.rs".into(), text: test.into() };
        let exceptions = Exceptions::parse(EXCEPTIONS, exceptions).unwrap();
        // Left open by VMT-11.
        let switch = Switches::ALL.iter().find(|switch| switch.type_name == "UnsupportedVmTable").unwrap();
        table(&RuleBook::parse(BOOK).unwrap(), &exceptions, &[*switch], &[source]).1
    }

    const REASON: &str = "[[exception]]\nrules = [\"VMT-12\", \"open question 1\"]\nreason = \"because\"\n";
    const TEST: &str = "#[test]\nfn t() { UnsupportedVmTable::FieldByField; UnsupportedVmTable::Whole }";

    #[test]
    fn an_open_rule_or_question_needs_a_switch_or_a_reason_and_a_position_a_test() {
        assert_eq!(findings(REASON, TEST), Vec::<String>::new());
        assert_eq!(findings(REASON, "#[test]\nfn t() { UnsupportedVmTable::POSITIONS }"), Vec::<String>::new());
        assert_eq!(findings("exception = []", TEST).len(), 2);
        let half =
            findings(REASON, "#[test]\nfn t() { UnsupportedVmTable::WholeTable; UnsupportedVmTable::FieldByField }");
        assert!(half.len() == 1 && half[0].ends_with("no test names UnsupportedVmTable::Whole"), "{half:?}");
        assert_eq!(findings(REASON, "fn no_test() { UnsupportedVmTable::POSITIONS }").len(), 2);
    }

    #[test]
    fn a_reason_is_for_what_is_open_and_has_no_switch() {
        let with = |id: &str| REASON.replace("\"VMT-12\"", &format!("\"VMT-12\", {id:?}"));
        for (id, what) in
            [("VMT-11", "a switch and a reason"), ("VMT-13", "nothing open"), ("VMT-9", "there is no VMT-9")]
        {
            let found = findings(&with(id), TEST);
            assert!(found.iter().any(|finding| finding.contains(what)), "{id}: {found:?}");
        }
    }
}
