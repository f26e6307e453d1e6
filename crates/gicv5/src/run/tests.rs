//! Runs of whole scenarios.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use prost::Message;

use super::picture::Trace;
use super::report::{Summary, Verdict};
use super::scenario::{self, Scenario};
use super::story::Telling;
use super::{Outcome, perform};

fn text(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../scenarios/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn file(name: &str) -> Scenario {
    let text = text(name);
    scenario::read(&text, None).unwrap_or_else(|problem| panic!("{}", problem.render(name, &text)))
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
fn the_picture_has_its_tracks_and_balanced_slices_and_flows_that_begin_before_they_end() {
    for name in ["wake-up.toml", "two-vms-one-pe.toml", "migration.toml"] {
        let scenario = file(name);
        let never = AtomicBool::new(false);
        let summary = perform(name, &scenario, Telling::Nothing, true, &never, |_, _| {}).unwrap();
        // As whoever reads the file sees it.
        let mut bytes = Vec::new();
        summary.picture().write(&mut bytes).unwrap();
        let trace = Trace::decode(bytes.as_slice()).unwrap();
        let tracks: Vec<_> = trace.packet.iter().filter_map(|packet| packet.track_descriptor.clone()).collect();
        let named = |name: &str| tracks.iter().filter(|track| track.name.as_deref() == Some(name)).count();
        assert_eq!((named("PE 0"), named("pending")), (1, scenario.vms.len()), "{name}");
        let mut open: BTreeMap<u64, i64> = BTreeMap::new();
        let (mut last, mut flows, mut handlers) = (0, BTreeSet::new(), 0);
        for packet in &trace.packet {
            let Some(event) = &packet.track_event else { continue };
            let (time, track) = (packet.timestamp.unwrap(), event.track_uuid.unwrap());
            assert!(time >= last, "{name}: time runs backwards");
            last = time;
            assert!(tracks.iter().any(|descriptor| descriptor.uuid == Some(track)), "{name}: an event on no track");
            let open = open.entry(track).or_default();
            *open += match event.r#type {
                Some(1) => 1,
                Some(2) => -1,
                _ => 0,
            };
            assert!(*open >= 0, "{name}: a slice ends that has not begun");
            flows.extend(event.flow_ids.iter().copied());
            assert!(event.terminating_flow_ids.iter().all(|flow| flows.contains(flow)), "{name}: a flow from nowhere");
            handlers += u64::from(!event.terminating_flow_ids.is_empty());
        }
        assert!(open.values().all(|open| *open == 0), "{name}: a slice does not end");
        let delivered = summary.delivered();
        assert_eq!(handlers, delivered, "{name}: each event leads to a handler");
    }
}

#[test]
fn a_run_is_the_same_whenever_it_is_repeated() {
    let scenario = file("first-vm.toml");
    let document = || serde_json::to_string(&run("first-vm.toml", &scenario).document()).unwrap();
    assert_eq!(document(), document());
}
