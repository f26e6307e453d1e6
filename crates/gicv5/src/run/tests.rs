//! Runs of whole scenarios.
#![allow(clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use gicv5_arch::insn::{AcknowledgeResult, GicInsn, PendingOperand, VmPendingOperand};
use gicv5_arch::{IntId, VpeId};
use gicv5_model::Level;
use gicv5_model::PeIndex;
use gicv5_model::event::Event;
use prost::Message;

use super::judge::{Heard, Judge};
use super::picture::Trace;
use super::report::{Summary, Verdict};
use super::scenario::{self, Scenario};
use super::story::Telling;
use super::{Impossible, Outcome, perform, place_faults};

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

/// A VM with one vCPU, whose handler of SPI 5 takes 200 microseconds, and what happens to it.
fn restarted(moments: &[(&str, &str)]) -> String {
    let moments = moments.iter().map(|(time, action)| format!("[[at]]\ntime = \"{time}\"\ndo = [\"{action}\"]\n"));
    let vm = "[[vm]]\nname = \"vm0\"\nspis = 8\nprogram = [\"wait\", \"again\"]\n[[vm.interrupt]]\nid = \"SPI 5\"\nhandler = [\"run 200us\"]\n";
    format!(
        "title = \"a guest begins anew\"\nduration = \"1ms\"\n[machine]\npes = 1\n{vm}{}",
        moments.collect::<String>()
    )
}

#[test]
fn a_guest_that_begins_anew_while_an_spi_is_active_never_takes_it_again_and_the_judge_says_so() {
    // ISM-7: nothing deactivates the SPI, whose handler is gone.
    let raise = "raise vm0 SPI 5";
    let cases = [
        (vec![("100us", raise), ("200us", "reset vm0 vcpu 0"), ("400us", raise)], true),
        (vec![("100us", raise), ("400us", "reset vm0 vcpu 0"), ("600us", raise)], false),
        (vec![("100us", raise), ("200us", "reset vm0 vcpu 0")], false),
    ];
    for (moments, expected) in cases {
        let text = restarted(&moments);
        let scenario = scenario::read(&text, None).unwrap_or_else(|problem| panic!("{}", problem.render("", &text)));
        let summary = run("", &scenario);
        let not_held: Vec<_> = not_held(&summary).iter().map(|verdict| verdict.found.clone()).collect();
        let says = "ISM-7: SPI 5 of VM 0 is pending, and active: VPE 0 took it, and has begun anew since";
        match expected {
            true => assert!(not_held.len() == 1 && not_held[0].starts_with(says), "{not_held:#?}"),
            false => assert!(not_held.is_empty(), "{moments:?}: {not_held:#?}"),
        }
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

/// Whether a judge that is told this complains.
fn complains(stream: &[Heard]) -> bool {
    let mut judge = Judge::default();
    for heard in stream {
        match heard {
            Heard::Event(tick, event) => judge.event(*tick, event),
            Heard::Quiet(tick) => judge.quiet(*tick),
        }
    }
    judge.findings().1 > 0
}

/// A guest takes something: on which PE, what, and the result of its acknowledge.
fn taken(heard: &Heard) -> Option<(PeIndex, IntId)> {
    let Heard::Event(_, Event::Instruction { pe, insn: GicInsn::GICR_CDIA, result, .. }) = heard else { return None };
    Some((*pe, AcknowledgeResult::new_with_raw_value(*result).int_id()?))
}

/// What makes this interrupt pending, whichever VM's it is.
fn causes(heard: &Heard, id: IntId) -> bool {
    let Heard::Event(_, Event::Instruction { insn, xt, .. }) = heard else { return false };
    let named = match *insn {
        GicInsn::GIC_VDPEND => VmPendingOperand::new_with_raw_value(*xt).int_id(),
        GicInsn::GIC_CDPEND => PendingOperand::new_with_raw_value(*xt).int_id(),
        _ => None,
    };
    named.map(IntId::from) == Some(id)
}

/// The stream with what is at one place moved before another place.
fn moved(stream: &[Heard], from: usize, to: usize) -> Vec<Heard> {
    let mut stream = stream.to_vec();
    let heard = stream.remove(from);
    stream.insert(if to > from { to - 1 } else { to }, heard);
    stream
}

/// The streams in which an acknowledge is left out, doubled, said to be of another interrupt or PE, comes before what caused it,
/// or after its priority drop.
fn wrong_acknowledges(stream: &[Heard], at: usize) -> Vec<(&'static str, Vec<Heard>)> {
    let Some((pe, id)) = taken(&stream[at]) else { return Vec::new() };
    let mut dropped = stream.to_vec();
    dropped.remove(at);
    let mut doubled = stream.to_vec();
    doubled.insert(at, stream[at].clone());
    let (mut other_id, mut other_pe) = (stream.to_vec(), stream.to_vec());
    if let (Heard::Event(_, Event::Instruction { result, .. }), Heard::Event(_, Event::Instruction { pe, .. })) =
        (&mut other_id[at], &mut other_pe[at])
    {
        *result ^= 1;
        pe.0 ^= 1;
    }
    let mut streams = vec![
        ("left out", dropped),
        ("doubled", doubled),
        ("of another interrupt", other_id),
        ("on another PE", other_pe),
    ];
    let before = stream[..at].iter().rposition(|heard| taken(heard).is_some_and(|(_, other)| other == id));
    let since = before.map_or(0, |before| before + 1);
    if let Some(cause) = stream[since..at].iter().position(|heard| causes(heard, id)) {
        streams.push(("before its cause", moved(stream, at, since + cause)));
    }
    let drops = |heard: &Heard| matches!(heard, Heard::Event(_, Event::Instruction { pe: on, insn: GicInsn::GIC_CDEOI, .. }) if *on == pe);
    if let Some(end) = stream[at..].iter().position(drops) {
        streams.push(("after its priority drop", moved(stream, at, at + end + 1)));
    }
    streams
}

/// The streams in which a doorbell is left out, doubled, said to be of another VPE, or comes when its VPE is resident.
fn wrong_doorbells(stream: &[Heard], at: usize) -> Vec<(&'static str, Vec<Heard>)> {
    let Heard::Event(_, Event::Doorbell { vm, vpe, .. }) = &stream[at] else { return Vec::new() };
    let mut dropped = stream.to_vec();
    dropped.remove(at);
    let mut doubled = stream.to_vec();
    doubled.insert(at, stream[at].clone());
    let mut other = stream.to_vec();
    if let Heard::Event(_, Event::Doorbell { vpe, .. }) = &mut other[at] {
        *vpe = VpeId::new(vpe.raw_value() ^ 1);
    }
    let mut streams = vec![("left out", dropped), ("doubled", doubled), ("of another VPE", other)];
    let loads = |heard: &Heard| matches!(heard, Heard::Event(_, Event::Residency { vm: of, vpe: who, resident: true, .. }) if of == vm && who == vpe);
    if let Some(load) = stream[at..].iter().position(loads) {
        streams.push(("when its VPE is resident", moved(stream, at, at + load + 1)));
    }
    streams
}

#[test]
fn the_judge_notices_every_delivery_that_is_left_out_doubled_misdirected_or_out_of_order() {
    /// Of each kind and scenario.
    const SAMPLE: usize = 12;
    for name in ["first-vm.toml", "wake-up.toml", "two-vms-one-pe.toml", "migration.toml", "priority.toml", "ipi.toml"]
    {
        let scenario = file(name);
        let summary = run(name, &scenario);
        // Nothing else is looked at.
        let matters = |heard: &&Heard| {
            !matches!(heard, Heard::Event(_, event) if matches!(event,
                Event::FrameRead { .. } | Event::SysRegRead { .. } | Event::Stored { .. } | Event::Candidate { .. }
                | Event::Signal { .. } | Event::Interrupt { .. } | Event::Barrier { .. } | Event::Maintenance { .. }))
        };
        let stream: Vec<Heard> = summary.judged().heard.iter().filter(matters).cloned().collect();
        assert!(!complains(&stream), "{name}");
        let acknowledges: Vec<usize> = {
            // Those of guests: those of the host are followed by other instructions than a guest's.
            let mut level = BTreeMap::new();
            let mut places = Vec::new();
            for (at, heard) in stream.iter().enumerate() {
                if let Heard::Event(_, Event::Level { pe, level: now }) = heard {
                    level.insert(pe.0, *now);
                }
                if taken(heard).is_some_and(|(pe, _)| level.get(&pe.0) == Some(&Level::Guest)) {
                    places.push(at);
                }
            }
            places
        };
        let bells = stream.iter().enumerate();
        let bells = bells.filter(|(_, heard)| matches!(heard, Heard::Event(_, Event::Doorbell { .. })));
        let bells: Vec<usize> = bells.map(|(at, _)| at).collect();
        assert!(!acknowledges.is_empty(), "{name}");
        let spread =
            |all: &[usize]| -> Vec<usize> { all.iter().step_by(all.len().div_ceil(SAMPLE).max(1)).copied().collect() };
        for at in spread(&acknowledges) {
            for (how, wrong) in wrong_acknowledges(&stream, at) {
                assert!(complains(&wrong), "{name}: an acknowledge {how} at {at}: {:?}", stream[at]);
            }
        }
        for at in spread(&bells) {
            for (how, wrong) in wrong_doorbells(&stream, at) {
                assert!(complains(&wrong), "{name}: a doorbell {how} at {at}: {:?}", stream[at]);
            }
        }
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

/// A scenario with a fault.
fn faulty(request: &str, more: &str) -> String {
    format!(
        "title = \"t\"\nduration = \"100us\"\n[[vm]]\nname = \"a\"\n[[fault]]\nrequest = \"{request}\"\nfails = \"never\"\n{more}\n"
    )
}

#[test]
fn a_host_that_does_not_come_up_as_planned_is_a_result_and_may_be_expected() {
    for (more, expected) in [("", false), ("[[expect]]\nthat = \"error does not come up\"", true)] {
        let text = faulty("IRS_VMT_BASER", more);
        let scenario = scenario::read(&text, None).unwrap();
        let summary = run("faulty", &scenario);
        let verdict = |name: &str| summary.verdicts().iter().find(|verdict| verdict.name.contains(name)).unwrap().held;
        assert_eq!(verdict("no other error"), expected, "{:?}", summary.verdicts());
        // The hardware never answers, so what it was given is not given back.
        assert!(summary.outcome() == Outcome::NotHeld, "{:?}", summary.verdicts());
    }
}

#[test]
fn a_fault_that_cannot_strike_is_underlined_with_what_could() {
    let cases = [
        (faulty("IRS_VMAP_VMR VM 0 vald", ""), "IRS_VMAP_VMR VM 0 vald", "\"IRS_VMAP_VMR VM 0 valid\""),
        (faulty("IRS_VMAP_VMR VM 0 valid", "which = 7"), "7", "`which` can be 1 to 1"),
        (faulty("table memory", ""), "\"never\"", "`fails` can be \"refused\""),
    ];
    for (text, place, help) in cases {
        let scenario = scenario::read(&text, None).unwrap();
        let Err(Impossible::Here(problem)) = place_faults(&scenario, &AtomicBool::new(false)) else { panic!("{text}") };
        let underlined = text.get(problem.span.clone()).unwrap();
        assert_eq!(underlined.trim_matches('"'), place.trim_matches('"'), "{problem:?}");
        assert!(problem.help.contains(help), "{problem:?}");
    }
}

#[test]
fn the_long_scenario_says_the_same_on_every_run_and_something_else_with_another_seed() {
    // As it is it takes too long here: a sixteenth of its VMs, a thousandth of its interrupts.
    let text = text("slow/million.toml");
    let small = text.replace("count = 1024", "count = 64").replace("count = 250000", "count = 250");
    let small = small.replace("injected = 1000000", "injected = 1000");
    assert_ne!(small, text);
    let mut scenario =
        scenario::read(&small, None).unwrap_or_else(|problem| panic!("{}", problem.render("small", &small)));
    let document = |scenario: &Scenario| {
        let summary = run("small", scenario);
        assert!(summary.outcome() == Outcome::Held, "{:#?}", not_held(&summary));
        serde_json::to_string(&summary.document()).unwrap()
    };
    let first = document(&scenario);
    assert_eq!(first, document(&scenario));
    scenario.seed += 1;
    assert_ne!(first, document(&scenario));
}

#[test]
fn a_run_is_the_same_whenever_it_is_repeated() {
    let scenario = file("first-vm.toml");
    let document = || serde_json::to_string(&run("first-vm.toml", &scenario).document()).unwrap();
    assert_eq!(document(), document());
}
