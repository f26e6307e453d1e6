//! The suite on machines of the model, and the suite itself.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use gicv5_arch::irs::IRS_IDR0;
use gicv5_facts::RuleBook;
use gicv5_hal::Coherency;
use gicv5_model::Tie;
use gicv5_model::config::{DpsWithoutOneOfN, Effects, MachineConfig, SetPending};
use gicv5_model::memory::Eagerness;

use super::bench::{Kind, ModelBench, config};
use super::report::{Report, Status};
use super::{is_chosen, on_machine};

fn run(config: MachineConfig) -> Report {
    let mut report = Report::new("test", 0);
    on_machine(config, &[], &AtomicBool::new(false), &mut report).unwrap();
    report
}

/// Wants every test of a machine to pass or not to apply.
fn all_hold(what: &str, config: MachineConfig) -> usize {
    let report = run(config);
    let failed = |test: &&super::report::TestReport| test.status == Status::Fail;
    for test in report.tests.iter().filter(failed) {
        println!("{what}: {}: {}", test.name, test.message.as_deref().unwrap_or_default());
    }
    assert_eq!(report.tests.iter().filter(failed).count(), 0, "{what}");
    report.tests.iter().filter(|test| test.status == Status::Pass).count()
}

#[test]
fn every_test_that_applies_passes_on_the_model_with_any_number_of_pes() {
    for pes in [1, 2, 8] {
        for kind in [Kind::Full, Kind::Qemu] {
            let passed = all_hold(&format!("{} {pes}", kind.name()), config(kind, pes));
            assert!(passed >= 150, "{passed} on {} with {pes} PEs", kind.name());
        }
    }
}

#[test]
fn the_suite_accepts_every_choice_that_the_architecture_leaves_open() {
    let (zero, one) = (DpsWithoutOneOfN::Zero, DpsWithoutOneOfN::One);
    for (effects, tie, pe_dps) in
        [(Effects::Late, Tie::Irs, one), (Effects::Early, Tie::Ppi, one), (Effects::Random, Tie::Irs, zero)]
    {
        let mut machine = config(Kind::Full, 2);
        machine.switches.effects = effects;
        machine.switches.tie = tie;
        machine.switches.pe_dps = pe_dps;
        all_hold(&format!("{effects:?} {tie:?} {pe_dps:?}"), machine);
    }
}

#[test]
fn the_suite_holds_where_commands_are_slow_and_memory_is_not_coherent() {
    for (coherency, eagerness) in [
        (Coherency::Coherent, Eagerness::Early),
        (Coherency::NonCoherent, Eagerness::Strict),
        (Coherency::NonCoherent, Eagerness::Random),
    ] {
        let mut machine = config(Kind::Full, 2);
        machine.command_latency = 90;
        machine.memory.coherency = coherency;
        machine.memory.eagerness = eagerness;
        all_hold(&format!("{coherency:?} {eagerness:?}"), machine);
    }
}

#[test]
fn a_machine_with_less_passes_what_applies() {
    let mut machine = MachineConfig::new(1, 0);
    for irs in &mut machine.irses {
        irs.idr0 = IRS_IDR0::ZERO.with_int_dom(irs.idr0.int_dom()).with_pa_range(irs.idr0.pa_range().unwrap());
        irs.idr2 = irs.idr2.with_lpi(false);
    }
    let report = run(machine);
    assert_eq!(report.tests.iter().filter(|test| test.status == Status::Fail).count(), 0, "{report:?}");
    assert!(report.tests.iter().any(|test| test.status == Status::NotApplicable));
}

#[test]
fn a_machine_that_takes_the_other_side_of_a_rule_fails_a_test() {
    let mut machine = config(Kind::Full, 1);
    machine.switches.set_pending = SetPending::MakesEdge;
    let report = run(machine);
    let failed: Vec<&str> =
        report.tests.iter().filter(|test| test.status == Status::Fail).map(|test| test.name).collect();
    assert!(failed.contains(&"instructions::cdpend_pends"), "{failed:?}");
    assert!(report.junit().contains("<failure message=\""));
}

#[test]
fn names_are_unique_and_rules_exist() {
    let book = RuleBook::parse(include_str!("../../../../docs/rules.md")).unwrap();
    let mut names = BTreeSet::new();
    for test in gicv5_conformance::tests::<ModelBench>() {
        assert!(names.insert(test.name), "{} is there twice", test.name);
        assert!(test.about.trim().ends_with('.'), "{}: {}", test.name, test.about);
        assert!(!test.rules.is_empty(), "{}", test.name);
        for rule in test.rules {
            assert!(book.rule(rule).is_some(), "{}: there is no rule {rule}", test.name);
        }
    }
    assert!(names.len() >= 150, "{}", names.len());
}

#[test]
fn a_filter_chooses_by_name_and_by_rule() {
    let chosen = |filter: &str| {
        let filter = [filter.to_owned()];
        gicv5_conformance::tests::<ModelBench>().filter(|test| is_chosen(test, &filter)).count()
    };
    assert!(chosen("priority::") >= 15);
    assert!(chosen("PRI-3") >= 5);
    assert_eq!(chosen("PRI-33"), 0);
}

#[test]
fn a_random_program_repeats_itself_and_tells_machines_apart() {
    use gicv5_conformance::random::{Avoid, Program, Programs};
    let digest = |change: &dyn Fn(&mut MachineConfig), seed: u64| {
        let mut machine = config(Kind::Qemu, 2);
        change(&mut machine);
        let bench = ModelBench::new(machine).unwrap();
        let pe = gicv5_hal::Pe::new(&bench.first);
        let program = Program { seed, length: 300, avoid: Avoid::default() };
        let programs = Programs::new(&bench, &pe);
        let first = programs.digest(program).unwrap();
        assert_eq!(programs.digest(program).unwrap(), first, "the machine was put back");
        first
    };
    let same = |_: &mut MachineConfig| {};
    assert_eq!(digest(&same, 1), digest(&|machine| machine.switches.effects = Effects::Early, 1));
    assert_ne!(digest(&same, 1), digest(&same, 2));
    // A handling mode that nobody asks for shows in few programs.
    let other = |machine: &mut MachineConfig| machine.switches.set_pending = SetPending::MakesEdge;
    assert!((0..20).any(|seed| digest(&same, seed) != digest(&other, seed)));
}
