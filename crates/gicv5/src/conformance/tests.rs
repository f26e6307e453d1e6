//! The suite on machines of the model, and the suite itself.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use gicv5_arch::irs::IRS_IDR0;
use gicv5_conformance::Profile;
use gicv5_facts::RuleBook;
use gicv5_hal::Coherency;
use gicv5_model::config::Eagerness;
use gicv5_model::config::Tie;
use gicv5_model::config::{DpsWithoutOneOfN, Effects, MachineConfig, PpisAlone, SetPending, Switch, Switches};

use super::bench::{MachineKind, ModelBench, config};
use super::report::{Report, Status};
use super::{is_chosen, on_machine};

fn run(config: MachineConfig) -> Report {
    let mut report = Report::new("test", 0);
    on_machine(config, None, &[], &AtomicBool::new(false), &mut report).unwrap();
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
        for kind in [MachineKind::Full, MachineKind::Qemu] {
            let passed = all_hold(&format!("{} {pes}", kind.name()), config(kind, pes));
            let expected = match kind {
                MachineKind::Full => 370,
                MachineKind::Qemu => 220,
            };
            assert!(passed >= expected, "{passed} on {} with {pes} PEs", kind.name());
        }
    }
}

#[test]
fn the_suite_accepts_every_choice_that_the_architecture_leaves_open() {
    let (zero, one) = (DpsWithoutOneOfN::Zero, DpsWithoutOneOfN::One);
    for (effects, tie, pe_dps) in
        [(Effects::Late, Tie::Irs, one), (Effects::Early, Tie::Ppi, one), (Effects::Random, Tie::Irs, zero)]
    {
        let mut machine = config(MachineKind::Full, 2);
        machine.switches.effects = effects;
        machine.switches.tie = tie;
        machine.switches.pe_dps = pe_dps;
        all_hold(&format!("{effects:?} {tie:?} {pe_dps:?}"), machine);
    }
}

#[test]
fn ppis_without_a_vpe_fail_a_machine_that_is_held_to_linux_7_1_and_are_open_otherwise() {
    let name = "virtual_ppi::ppis_reach_a_guest_without_a_vpe";
    for (alone, profile, status) in [
        (PpisAlone::Compete, None, Status::Pass),
        (PpisAlone::Compete, Some(Profile::Linux71), Status::Pass),
        (PpisAlone::NotSignalled, None, Status::Open),
        (PpisAlone::NotSignalled, Some(Profile::Linux71), Status::Fail),
    ] {
        let mut machine = config(MachineKind::Full, 2);
        machine.switches.residency.alone = alone;
        let mut report = Report::new("test", 2);
        on_machine(machine, profile, &[name.to_owned()], &AtomicBool::new(false), &mut report).unwrap();
        let ended: Vec<_> = report.tests.iter().map(|test| (test.name, test.status)).collect();
        assert_eq!(ended, [(name, status)], "{alone:?} {profile:?}: {:?}", report.tests[0].message);
    }
}

/// Positions of switches in which a rule that is inferred, or an open question, is answered the other way, and the tests that
/// fail there: they are about that rule. Every other position is accepted by every test.
const SIDES: &[(&str, &str, &[&str])] = &[
    (
        "set_pending",
        "MakesEdge",
        &[
            "instructions::cdpend_pends",
            "handling::level_stays_pending",
            "handling::level_comes_back",
            "lpi::level_lpi_stays_pending",
            "doorbells::doorbell_rings_when_the_interrupt_is_deactivated",
            "guests::level_stays_pending",
            "saving::save_writes_the_states",
        ],
    ),
    ("set_lpi", "KeepsHandlingMode", &["lpi::setlpi_frame_pends"]),
    ("vm.states", "Forgotten", &["vms::invalid_vm_is_written_back"]),
    (
        "doorbell.mask",
        "ByNumber",
        &[
            "doorbells::doorbell_is_not_rung_below_its_mask",
            "doorbells::ends_of_the_mask",
            "doorbells::mask_of_the_request_counts",
            "doorbells::doorbell_rings_when_the_priority_rises",
        ],
    ),
    ("doorbell.request_mask", "OfBoth", &["doorbells::mask_of_the_request_counts"]),
    ("doorbell.with_v", "Counts", &["doorbells::request_with_residency_is_none"]),
    ("doorbell.merged", "Keeps", &["doorbells::doorbell_merges_with_a_pending_one"]),
    ("doorbell.without_dbv", "Keeps", &["doorbells::settings_are_made_invalid"]),
    ("residency.request", "SurvivesResidency", &["doorbells::request_ends_with_the_waiting"]),
];

fn side(switch: &Switch, position: usize) -> Option<&'static [&'static str]> {
    let is_it = |(name, of, _): &&(&str, &str, &[&str])| {
        *name == switch.name && switch.positions.get(position).is_some_and(|position| position.name == *of)
    };
    SIDES.iter().find(is_it).map(|(_, _, tests)| *tests)
}

fn failures(machine: MachineConfig) -> Vec<(&'static str, String)> {
    let report = run(machine);
    let failed = report.tests.iter().filter(|test| test.status == Status::Fail);
    failed.map(|test| (test.name, test.message.clone().unwrap_or_default())).collect()
}

#[test]
fn every_test_accepts_every_open_choice_at_once_but_for_the_sides_that_are_named() {
    for nth in [1, 2] {
        let mut machine = config(MachineKind::Full, 2);
        for switch in Switches::ALL {
            let position = (1..=nth.min(switch.positions.len() - 1)).rev().find(|n| side(switch, *n).is_none());
            switch.set(&mut machine.switches, position.unwrap_or(0));
        }
        assert_eq!(failures(machine), [], "all switches in position {nth}");
    }
}

#[test]
fn the_tests_that_take_a_side_fail_on_the_other_side_and_no_others_do() {
    for switch in Switches::ALL {
        for n in 0..switch.positions.len() {
            let Some(expected) = side(switch, n) else { continue };
            let mut machine = config(MachineKind::Full, 2);
            switch.set(&mut machine.switches, n);
            let failed: Vec<&str> = failures(machine).into_iter().map(|(name, _)| name).collect();
            assert_eq!(failed, expected, "{} in position {n}", switch.name);
        }
    }
}

#[test]
fn the_suite_holds_where_commands_are_slow_and_memory_is_not_coherent() {
    for (coherency, eagerness) in [
        (Coherency::Coherent, Eagerness::Early),
        (Coherency::NonCoherent, Eagerness::Strict),
        (Coherency::NonCoherent, Eagerness::Random),
    ] {
        let mut machine = config(MachineKind::Full, 2);
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
    let mut machine = config(MachineKind::Full, 1);
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
    assert!(names.len() >= 400, "{}", names.len());
}

/// Rules that oblige hardware and that no test of the suite checks, and why not. Rules that oblige software alone need no
/// reason: breaking one shows nothing that a test could rely on, and the model's checker holds the suite to them.
const UNOBSERVED: &[(&str, &str)] = &[
    ("VMT-19", "what the IRS has cached cannot be told from what is in memory without breaking VMT-18"),
    ("VPE-15", "DPS takes a VPE out of 1-of-N selection, and no machine that runs the suite has VIRT_ONE_N"),
    ("VPE-17", "IRS_VM_SELR configures 1-of-N doorbells, and no machine that runs the suite has VIRT_ONE_N"),
    ("VPE-18", "1-of-N doorbells, as VPE-17"),
    ("RES-24", "says what is not promised"),
    ("INJ-5", "the bench has no ITS"),
    ("PPI-9", "needs PPIs that are assigned to another domain, which is EL3's to do"),
    ("PPI-27", "the encoding of ICH_PPI_HVIR is in no public source"),
    ("PPI-28", "nested virtualisation"),
];

#[test]
fn every_rule_of_the_virtual_half_that_obliges_hardware_has_a_test_or_a_reason() {
    let book = RuleBook::parse(include_str!("../../../../docs/rules.md")).unwrap();
    let tested: BTreeSet<&str> =
        gicv5_conformance::tests::<ModelBench>().flat_map(|test| test.rules.iter().copied()).collect();
    for group in ["VMT", "VM", "VPE", "DB", "RES", "IST", "INJ", "PPI", "SAVE"] {
        for rule in book.in_group(group) {
            let obliges_hardware = ["IRS", "CPUIF", "ITS", "all", "model"].iter().any(|who| rule.who.contains(who));
            let reason = UNOBSERVED.iter().find(|(id, _)| *id == rule.id);
            let is_tested = tested.contains(rule.id.as_str());
            assert!(!is_tested || reason.is_none(), "{} has a test and a reason", rule.id);
            assert!(is_tested || reason.is_some() || !obliges_hardware, "{} has neither test nor reason", rule.id);
        }
    }
    for (id, reason) in UNOBSERVED {
        assert!(book.rule(id).is_some() && !reason.is_empty(), "there is no rule {id}");
    }
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
        let mut machine = config(MachineKind::Qemu, 2);
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

#[test]
fn hardly_anything_is_spoiled_that_no_test_notices() {
    let campaign = super::corrupt::campaign(MachineKind::Full, 2, &[], 400, 5, &AtomicBool::new(false)).unwrap();
    let [answers, effects] = [campaign.answers(), campaign.effects()];
    assert!(answers.holds() && effects.holds(), "{answers:?}, {effects:?}");
    assert_eq!([answers.cases, effects.cases], [200, 200]);
}

#[test]
fn the_state_that_a_machine_is_reset_from_is_a_legal_one() {
    for (kind, pes) in [(MachineKind::Full, 1), (MachineKind::Qemu, 4)] {
        let bench = ModelBench::new(config(kind, pes)).unwrap();
        gicv5_conformance::disorder(&bench, &gicv5_hal::Pe::new(&bench.first)).unwrap();
        assert_eq!(bench.violations(), []);
        // Something is signalled, and it is not the only one that is pending.
        let signals = bench.machine.signals(gicv5_model::PeIndex(0));
        assert!(signals.irq, "{signals:?}");
    }
}
