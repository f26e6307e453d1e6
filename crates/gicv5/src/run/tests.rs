//! Runs of whole scenarios.

use std::sync::atomic::AtomicBool;

use super::report::{Summary, Verdict};
use super::scenario::{self, Scenario};
use super::story::Telling;
use super::{Outcome, perform};

fn text(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../scenarios/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn file(name: &str) -> Scenario {
    let text = text(name);
    scenario::read(&text).unwrap_or_else(|problem| panic!("{}", problem.render(name, &text)))
}

fn run<'a>(name: &'a str, scenario: &'a Scenario) -> Summary<'a> {
    perform(name, scenario, Telling::Nothing, false, &AtomicBool::new(false), |_, _| {}).unwrap()
}

fn not_held<'a>(summary: &'a Summary<'_>) -> Vec<&'a Verdict> {
    summary.verdicts().iter().filter(|verdict| !verdict.held).collect()
}

/// The names of the scenarios in a folder.
fn names(folder: &str) -> Vec<String> {
    let path = format!("{}/../../{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    names
}

#[test]
fn every_scenario_of_the_project_holds() {
    let names = names("scenarios");
    assert!(!names.is_empty());
    for name in names {
        let scenario = file(&name);
        assert!(!scenario.expectations.is_empty(), "{name} expects nothing");
        let summary = run(&name, &scenario);
        assert!(summary.outcome() == Outcome::Held, "{name}: {:#?}", not_held(&summary));
    }
}

/// What the report of a wrong twin says, as its first line promises.
fn promised(text: &str) -> &str {
    text.lines().next().and_then(|line| line.split('"').nth(1)).unwrap_or_default()
}

#[test]
fn every_scenario_has_a_wrong_twin_that_says_what_happened_instead() {
    assert_eq!(names("scenarios"), names("scenarios/wrong"));
    for name in names("scenarios/wrong") {
        let name = format!("wrong/{name}");
        let (text, scenario) = (text(&name), file(&name));
        let summary = run(&name, &scenario);
        let not_held = not_held(&summary);
        let says = promised(&text);
        let said = !says.is_empty() && not_held.iter().any(|verdict| verdict.found.contains(says));
        assert!(summary.outcome() == Outcome::NotHeld && said, "{name}: {says}: {not_held:#?}");
    }
}

#[test]
fn a_run_is_the_same_whenever_it_is_repeated() {
    let scenario = file("first-vm.toml");
    let document = || serde_json::to_string(&run("first-vm.toml", &scenario).document()).unwrap();
    assert_eq!(document(), document());
}
