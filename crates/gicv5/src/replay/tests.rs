//! Recordings, recordings with one answer changed, hand-written traces of QEMU's defects, and garbage.

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use gicv5_trace::{Foreign, TraceReader, ZstdReader};

use super::engine::Stop;
use super::report::Summary;
use super::tally::{Defect, Untold};

const LINUX: &str = "linux-7.3-4cpu-virtio.trace.zst";
const RANDOM: &str = "random-lpi-spi-1cpu.trace.zst";
const REGISTERS: &str = "irs-registers-2cpu.trace.zst";

/// The text of a recording.
fn recording(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../traces").join(name);
    let mut text = String::new();
    ZstdReader::new(std::fs::read(path).unwrap().as_slice()).read_to_string(&mut text).unwrap();
    text
}

fn try_replay(text: &str) -> Result<Summary, Stop> {
    let input = std::io::Cursor::new(text.as_bytes().to_vec());
    let never = AtomicBool::new(false);
    super::replay("test", TraceReader::new(Box::new(input), Foreign::Refuse), &never)
}

fn replay(text: &str) -> Summary {
    try_replay(text).unwrap()
}

/// The lines that a replay calls into question, first the one where it saw a divergence.
fn named(summary: &Summary) -> Vec<u64> {
    summary
        .tally()
        .kept
        .iter()
        .flat_map(|found| std::iter::once(found.line.number).chain(found.suspects.clone()))
        .collect()
}

/// The first lines of a recording.
fn head(text: &str, lines: usize) -> String {
    text.lines().take(lines).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn the_recordings_replay_without_a_divergence() {
    for (name, pes, events, explained) in [(LINUX, 4, 106_093, 0), (RANDOM, 1, 61_570, 0), (REGISTERS, 2, 3_809, 2)] {
        let summary = replay(&recording(name));
        let tally = summary.tally();
        assert_eq!((tally.divergences, &tally.kept.len()), (0, &0), "{name}: {:?}", tally.kept);
        assert_eq!(tally.events, events, "{name}");
        assert!(tally.checks() > events / 2, "{name}: {}", tally.checks());
        assert_eq!(Defect::ALL.map(|defect| tally.explained(defect).count).iter().sum::<u64>(), explained, "{name}");
        assert_eq!(tally.taken_over, 0, "{name}");
        assert!(pes > 0);
    }
}

/// A trace of a machine with one PE whose IRS is on and whose interface lets everything through, and more lines.
fn one_pe(lines: &[&str]) -> String {
    let start = [
        "gicv5_common_realize GICv5 IRS realized: IRS ID 0, 1 CPUs, SPI base 0, SPI IRS range 256, SPI range 256",
        "gicv5_write GICv5 IRS NonSecure config frame write: offset 0x80 data 0x1 size 4",
        NONE,
        QUIET,
        "gicv5_read GICv5 IRS NonSecure config frame read: offset 0x80 data 0x3 size 4",
        // Somebody has written ICC_CR0_EL1 or ICC_PCR_EL1.
        QUIET,
    ];
    start.iter().chain(lines).flat_map(|line| [line, "\n"]).collect()
}

const NONE: &str = "gicv5_irs_recalc_hppi GICv5 IRS NonSecure IAFFID 0: new HPPI ID 0x0 prio 255";
const SPI5: &str = "gicv5_irs_recalc_hppi GICv5 IRS NonSecure IAFFID 0: new HPPI ID 0x60000005 prio 16";
const QUIET: &str = "gicv5_update_irq_fiq now IRQ 0 FIQ 0 NMI 0";
const IRQ: &str = "gicv5_update_irq_fiq now IRQ 1 FIQ 0 NMI 0";
const PRIORITY: &str = "gicv5_set_priority GICv5 IRS SetPriority NonSecure SPI virtual:0 ID 5 prio 16";
const ENABLE: &str = "gicv5_set_enabled GICv5 IRS SetEnabled NonSecure SPI virtual:0 ID 5 enabled 1";
const DISABLE: &str = "gicv5_set_enabled GICv5 IRS SetEnabled NonSecure SPI virtual:0 ID 5 enabled 0";
const PEND: &str = "gicv5_set_pending GICv5 IRS SetPending NonSecure SPI virtual:0 ID 5 pending 1";
const CLEAR: &str = "gicv5_set_pending GICv5 IRS SetPending NonSecure SPI virtual:0 ID 5 pending 0";
const TAKEN: &str = "gicv5_gicr_cdia domain 1 CDIA acknowledge of interrupt 0x60000005";
const ACTIVATED: &str = "gicv5_activate GICv5 IRS Activate NonSecure SPI virtual:0 ID 5";
const DROP: &str = "gicv5_cdeoi domain 1 CDEOI performing priority drop";

/// What QEMU's defects explain in a trace, how often, that nothing is left over, and that the state was taken over.
fn explains(defect: Defect, count: u64, taken_over: u64, text: &str) {
    let summary = replay(text);
    let tally = summary.tally();
    assert_eq!((tally.divergences, tally.kept.len()), (0, 0), "{:?}", tally.kept);
    for other in Defect::ALL {
        assert_eq!(tally.explained(other).count, if other == defect { count } else { 0 }, "{other:?}");
    }
    assert_eq!(tally.taken_over, taken_over);
}

#[test]
fn an_spi_that_qemu_does_not_disable_is_explained_and_stays_enabled_for_the_model() {
    let start = [PRIORITY, NONE, QUIET, ENABLE, NONE, QUIET];
    let defect = [DISABLE, NONE, QUIET, PEND, SPI5, IRQ, TAKEN, ACTIVATED, NONE, QUIET, DROP, QUIET];
    explains(Defect::SpiEnable, 1, 1, &one_pe(&[&start[..], &defect].concat()));
}

#[test]
fn an_spi_whose_pending_state_qemu_does_not_clear_is_explained() {
    let start = [PRIORITY, NONE, QUIET, ENABLE, NONE, QUIET, PEND, SPI5, IRQ];
    let defect = [CLEAR, SPI5, IRQ, TAKEN, ACTIVATED, NONE, QUIET, DROP, QUIET];
    explains(Defect::SpiEnable, 1, 1, &one_pe(&[&start[..], &defect].concat()));
    let state = "gicv5_request_config GICv5 IRS RequestConfig NonSecure SPI virtual:0 ID 5 ICSR 0x8006";
    explains(Defect::SpiEnable, 1, 1, &one_pe(&[&start[..], &[CLEAR, SPI5, IRQ, state]].concat()));
}

#[test]
fn an_spi_is_not_excused_by_what_was_done_to_another() {
    let pend = "gicv5_set_pending GICv5 IRS SetPending NonSecure SPI virtual:0 ID 6 pending 1";
    let other = "gicv5_irs_recalc_hppi GICv5 IRS NonSecure IAFFID 0: new HPPI ID 0x60000006 prio 16";
    let summary = replay(&one_pe(&[PRIORITY, NONE, QUIET, DISABLE, NONE, QUIET, pend, other, IRQ]));
    assert_eq!(named(&summary), [14], "SPI 6 was never disabled");
}

#[test]
fn candidates_that_qemu_recalls_only_when_irs_cr0_is_read_are_explained() {
    let off = "gicv5_write GICv5 IRS NonSecure config frame write: offset 0x80 data 0x0 size 4";
    let read = "gicv5_read GICv5 IRS NonSecure config frame read: offset 0x80 data 0x2 size 4";
    let fail = "gicv5_irs_recalc_hppi_fail GICv5 IRS NonSecure IAFFID 0: no HPPI: IRS_CR0.IRSEN is zero";
    let nothing = "gicv5_gicr_cdia_fail domain 1 CDIA attempt failed: no available interrupt to acknowledge";
    let start = [PRIORITY, NONE, QUIET, ENABLE, NONE, QUIET, PEND, SPI5, IRQ];
    // Switched off, the IRS has nothing to offer, but QEMU's CPU interface still takes what it had.
    let stale = [off, TAKEN, ACTIVATED, fail, DROP, IRQ, QUIET, read, nothing];
    explains(Defect::ReadOfCr0, 2, 1, &one_pe(&[&start[..], &stale].concat()));
    // Without the write it is a divergence.
    let summary = replay(&one_pe(&[&start[..], &[off, QUIET, read, TAKEN, ACTIVATED, fail]].concat()));
    assert_eq!(named(&summary), [19]);
}

#[test]
fn a_ppi_above_31_that_qemu_does_not_keep_active_is_explained() {
    let none = |domain: u8| format!("gicv5_recalc_ppi_hppi domain {domain} new PPI HPPI id 0x0 prio 255");
    let timer = "gicv5_recalc_ppi_hppi domain 1 new PPI HPPI id 0x20000028 prio 31";
    let (d0, d1, d2, d3) = (none(0), none(1), none(2), none(3));
    let up = "gicv5_update_ppi_state PPI 40 source level now 1";
    let taken = "gicv5_gicr_cdia domain 1 CDIA acknowledge of interrupt 0x20000028";
    let trace = one_pe(&[
        // Software writes an enable and a priority; then the wire rises.
        &d0, &d1, &d2, &d3, QUIET, up, &d0, timer, &d2, &d3, IRQ,
        // It is active, and a candidate all the same.
        taken, &d0, timer, &d2, &d3, QUIET, DROP, IRQ,
    ]);
    explains(Defect::PpiMask, 1, 1, &trace);
    let low = trace.replace("PPI 40", "PPI 27").replace("0x20000028", "0x2000001b");
    assert_eq!(named(&replay(&low))[0], 20, "PPI 27 fits the mask");
}

#[test]
fn the_architect_of_irs_devarch_is_explained_and_nothing_else_about_it() {
    let read =
        |data: &str| format!("gicv5_read GICv5 IRS NonSecure config frame read: offset 0xffbc data {data} size 4");
    explains(Defect::Devarch, 1, 0, &one_pe(&[&read("0x80105a19")]));
    explains(Defect::Devarch, 0, 0, &one_pe(&[&read("0x47705a19")]));
    assert_eq!(named(&replay(&one_pe(&[&read("0x80105a18")]))), [7]);
}

#[test]
fn a_tie_may_go_either_way_and_the_model_follows() {
    let six = |line: &str| line.replace("ID 5", "ID 6").replace("0x60000005", "0x60000006");
    let (priority, enable, pend, taken, activated, cand) =
        (six(PRIORITY), six(ENABLE), six(PEND), six(TAKEN), six(ACTIVATED), six(SPI5));
    let summary = replay(&one_pe(&[
        PRIORITY, NONE, QUIET, ENABLE, NONE, QUIET, &priority, NONE, QUIET, &enable, NONE, QUIET, PEND, SPI5, IRQ,
        // SPI 6 comes later and is taken first.
        &pend, &cand, IRQ, &taken, &activated, SPI5, QUIET, DROP, IRQ, TAKEN, ACTIVATED, NONE, QUIET,
    ]));
    assert_eq!(summary.tally().divergences, 0, "{:?}", summary.tally().kept);
    assert_eq!(summary.tally().ties, 1);
    assert_eq!(summary.tally().not_told(Untold::CpuRegister).count, 1);
}

#[test]
fn a_trace_that_ends_in_the_middle_of_an_operation_or_line_is_refused_with_the_line() {
    let text = one_pe(&[PRIORITY, NONE, QUIET]);
    for (cut, line) in [(8, 8), (7, 7), (4, 3), (3, 3)] {
        match try_replay(&head(&text, cut)) {
            Err(Stop::Input(why)) => assert!(why.starts_with(&format!("line {line}: the trace ends where ")), "{why}"),
            other => panic!("{cut}: {:?}", other.map(|summary| summary.tally().kept.len())),
        }
    }
    match try_replay(text.trim_end()) {
        Err(Stop::Trace(error)) => assert_eq!(error.line(), 9),
        other => panic!("{:?}", other.map(|summary| summary.tally().kept.len())),
    }
    for start in ["", NONE] {
        let text = if start.is_empty() { String::new() } else { format!("{start}\n") };
        assert!(matches!(try_replay(&text), Err(Stop::Input(why)) if why.starts_with("line 1: ")), "{start}");
    }
}
