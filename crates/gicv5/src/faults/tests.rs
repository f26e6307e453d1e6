//! A slice of the matrix, and that it can fail.

use std::sync::atomic::AtomicBool;

use gicv5_model::config::Switches;

use super::case::{CaseId, Harm, Strike};
use super::geometry::Geometry;
use super::life::{Setting, live};
use super::report::Summary;
use super::{Ground, Shard, expected, jobs, matrix};
use crate::failure::Outcome;

fn ground(geometry: Geometry, number: usize, switches: Switches) -> Ground {
    let name = geometry.to_string();
    Ground { setting: Setting { geometry, seed: 5, switches }, switches: number, name }
}

fn run(grounds: &[Ground], shard: Shard, depth: u8) -> serde_json::Value {
    let (jobs, mut tally) = jobs(grounds, shard, &AtomicBool::new(false)).unwrap();
    tally.add(matrix(grounds, &jobs, depth, &AtomicBool::new(false)));
    let summary = Summary::new(grounds.len(), 1, tally, std::time::Duration::ZERO, false);
    serde_json::to_value(summary.document()).unwrap()
}

/// LIFE-6, LIFE-8, LIFE-9, LIFE-10, GEN-19, VMT-7, IST-8, RES-19.
#[test]
fn whatever_fails_once_or_twice_everything_comes_back() {
    let grounds: Vec<Ground> =
        Geometry::all().into_iter().map(|geometry| ground(geometry, 0, Switches::default())).collect();
    // The rest is for the command itself, which has more time.
    let once = run(&grounds, Shard { number: 3, of: 11 }, 1);
    let twice = run(&grounds, Shard { number: 7, of: 1201 }, 2);
    for document in [&once, &twice] {
        for field in ["leaks", "violations", "panics", "not_reusable", "lost", "unexpected"] {
            assert_eq!(document[field], 0, "{document:#}");
        }
        assert!(document["quarantined"].as_u64() > Some(0), "{document:#}");
    }
    assert!(once["cases"].as_u64() > Some(200) && twice["cases"].as_u64() > Some(200), "{once:#}\n{twice:#}");
}

#[test]
fn it_holds_under_every_setting_of_the_models_switches() {
    let geometry = Geometry::all().into_iter().find(|geometry| geometry.vcpus == 3 && geometry.spis && geometry.lpis);
    let settings = Switches::pairs();
    let grounds: Vec<Ground> = settings
        .into_iter()
        .enumerate()
        .map(|(number, switches)| ground(geometry.unwrap(), number, switches))
        .collect();
    let document = run(&grounds, Shard { number: 2, of: 7 }, 1);
    for field in ["leaks", "violations", "panics", "not_reusable", "lost", "unexpected"] {
        assert_eq!(document[field], 0, "{document:#}");
    }
}

/// A row that no first fault ever meets says nothing, or something about a step that the script has lost.
#[test]
fn every_row_of_the_table_is_met() {
    let grounds: Vec<Ground> =
        Geometry::all().into_iter().map(|geometry| ground(geometry, 0, Switches::default())).collect();
    let (jobs, _) = jobs(&grounds, Shard { number: 1, of: 1 }, &AtomicBool::new(false)).unwrap();
    let met: std::collections::BTreeSet<usize> =
        jobs.iter().filter_map(|job| expected::row(job.step, &job.point.request, job.first.harm)).collect();
    assert_eq!(met, (0..expected::tests::ROWS).collect());
}

#[test]
fn shards_are_the_matrix_in_parts() {
    let grounds = [ground(Geometry::all()[0], 0, Switches::default())];
    let strikes = |shard| {
        jobs(&grounds, shard, &AtomicBool::new(false)).unwrap().0.iter().map(|job| job.first).collect::<Vec<Strike>>()
    };
    let mut parts: Vec<Strike> = (1..=3).flat_map(|number| strikes(Shard { number, of: 3 })).collect();
    parts.sort();
    let mut whole = strikes(Shard { number: 1, of: 1 });
    whole.sort();
    assert_eq!(parts, whole);
    for wrong in ["0/3", "4/3", "1", "a/b", "-1/2"] {
        assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
    }
}

/// What the matrix says must follow from what happened: a fault that nobody planned for, and a life that goes wrong, are
/// problems.
#[test]
fn a_fault_that_does_not_strike_and_a_wrong_answer_are_reported() {
    let geometry = Geometry::all()[0];
    let setting = Setting { geometry, seed: 5, switches: Switches::default() };
    let case: CaseId = format!("{geometry}/100000.never").parse().unwrap();
    let planned: Vec<_> = case.strikes.iter().map(|strike| strike.planned()).collect();
    let verdict = live(&setting, &planned, false).unwrap();
    let mut tally = super::report::Tally::default();
    tally.judge(&case, &verdict);
    assert_eq!(tally.bad(), 1);
    let summary = Summary::new(1, 1, tally, std::time::Duration::ZERO, false);
    assert_eq!(summary.outcome(), Outcome::NotHeld);
    // All that the document says is on the page.
    let (document, page) =
        (serde_json::to_value(summary.document()).unwrap(), include_str!("../../../../docs/json.md"));
    let (_, page) = page.split_once("## faults\n").unwrap();
    for key in document.as_object().unwrap().keys() {
        assert!(page.contains(&format!("| `{key}` |")), "{key}");
    }
    for key in document["problem_list"][0].as_object().unwrap().keys() {
        assert!(page.contains(&format!("| `problem_list[].{key}` |")), "{key}");
    }

    // The library complains about a heap that has nothing left; the table must not accept silence, nor another complaint.
    let verdict = live(&setting, &[(0, Harm::Refused.fault())], false).unwrap();
    let (step, point) = verdict.points[0].unwrap();
    assert!(super::expected::judge(step, &point, Harm::Refused, &verdict).is_ok());
    let silent = live(&setting, &[], false).unwrap();
    assert!(super::expected::judge(step, &point, Harm::Refused, &silent).is_err());
    let other = live(&setting, &[(2, Harm::Refused.fault())], false).unwrap();
    assert!(super::expected::judge(step, &point, Harm::Refused, &other).is_err());
}
