//! Every kind of line, and every way a line can be wrong.
// Helpers of tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Read};

use gicv5_arch::values::{Domain, HandlingMode, RoutingMode, Structure};
use gicv5_arch::{Iaffid, IntType, Ppi, Priority, Spi};
use gicv5_trace::{
    AccessSize, AcknowledgeFailure, Candidate, Event, Excess, Foreign, Interrupt, MAX_LINE, NoCandidate, Space,
    TraceError, TraceReader, ZstdReader,
};
use proptest::prelude::*;

fn lpi(id: u32) -> Interrupt {
    Interrupt { domain: Domain::NonSecure, int_type: Some(IntType::Lpi), space: Space::Physical, id }
}

/// A line of each kind and what it says. Those marked as synthetic do not occur in the recordings; they follow the
/// formats in QEMU 11.1.3.
fn golden() -> Vec<(&'static str, Event)> {
    let ns = Domain::NonSecure;
    vec![
        (
            "gicv5_common_realize GICv5 IRS realized: IRS ID 0, 4 CPUs, SPI base 0, SPI IRS range 256, SPI range 256",
            Event::Realize { irs_id: 0, cpus: 4, spi_base: 0, spi_irs_range: 256, spi_range: 256 },
        ),
        (
            "gicv5_read GICv5 IRS NonSecure config frame read: offset 0x4 data 0x4f0004 size 4",
            Event::Read { domain: ns, offset: 4, data: 0x4f_0004, size: AccessSize::Word },
        ),
        (
            "gicv5_write GICv5 IRS NonSecure config frame write: offset 0x180 data 0x42e00001 size 8",
            Event::Write { domain: ns, offset: 0x180, data: 0x42e0_0001, size: AccessSize::Doubleword },
        ),
        (
            "gicv5_badread GICv5 IRS NonSecure config frame read: offset 0x20 size 4: error",
            Event::BadRead { domain: ns, offset: 0x20, size: AccessSize::Word },
        ),
        (
            "gicv5_badwrite GICv5 IRS NonSecure config frame write: offset 0x144 data 0x6bab3e86 size 4: error",
            Event::BadWrite { domain: ns, offset: 0x144, data: 0x6bab_3e86, size: AccessSize::Word },
        ),
        (
            "gicv5_ist_valid GICv5 IRS NonSecure IST now valid: base 0x42e00000 id_bits 24 l2_idx_bits 10 IST entry size 4 2-level 1",
            Event::IstValid {
                domain: ns,
                base: 0x42e0_0000,
                id_bits: 24,
                l2_index_bits: 10,
                entry_size: 4,
                structure: Structure::TwoLevel,
            },
        ),
        ("gicv5_ist_invalid GICv5 IRS NonSecure IST no longer valid", Event::IstInvalid { domain: ns }),
        ("gicv5_spi GICv5 SPI ID 47 asserted at level 1", Event::SpiWire { spi: Spi::new(47).unwrap(), high: true }),
        (
            "gicv5_spi_state GICv5 IRS SPI ID 47 now level 0 pending 0 active 1",
            Event::SpiState { spi: Spi::new(47).unwrap(), high: false, pending: false, active: true },
        ),
        (
            "gicv5_set_priority GICv5 IRS SetPriority NonSecure LPI virtual:0 ID 28 prio 29",
            Event::SetPriority { interrupt: lpi(28), priority: Priority::new(29).unwrap() },
        ),
        (
            "gicv5_set_enabled GICv5 IRS SetEnabled NonSecure LPI virtual:0 ID 0 enabled 1",
            Event::SetEnabled { interrupt: lpi(0), enabled: true },
        ),
        (
            "gicv5_set_pending GICv5 IRS SetPending NonSecure LPI virtual:0 ID 13 pending 0",
            Event::SetPending { interrupt: lpi(13), pending: false },
        ),
        (
            "gicv5_set_handling GICv5 IRS SetHandling NonSecure LPI virtual:0 ID 28 handling 1",
            Event::SetHandling { interrupt: lpi(28), mode: HandlingMode::Level },
        ),
        (
            "gicv5_set_target GICv5 IRS SetTarget NonSecure SPI virtual:0 ID 7 IAFFID 0 routingmode 0",
            Event::SetTarget {
                interrupt: Interrupt { int_type: Some(IntType::Spi), ..lpi(7) },
                iaffid: Iaffid::new(0),
                routing: RoutingMode::Targeted,
            },
        ),
        (
            "gicv5_request_config GICv5 IRS RequestConfig NonSecure LPI virtual:0 ID 22 ICSR 0x8802",
            Event::RequestConfig { interrupt: lpi(22), icsr: 0x8802 },
        ),
        ("gicv5_activate GICv5 IRS Activate NonSecure LPI virtual:0 ID 50", Event::Activate { interrupt: lpi(50) }),
        (
            "gicv5_deactivate GICv5 IRS Deactivate NonSecure LPI virtual:0 ID 50",
            Event::Deactivate { interrupt: lpi(50) },
        ),
        (
            "gicv5_irs_recalc_hppi GICv5 IRS NonSecure IAFFID 2: new HPPI ID 0x40000012 prio 31",
            Event::IrsCandidate {
                domain: ns,
                iaffid: Iaffid::new(2),
                candidate: Candidate { intid: 0x4000_0012, priority: 31 },
            },
        ),
        (
            "gicv5_irs_recalc_hppi GICv5 IRS NonSecure IAFFID 0: new HPPI ID 0x0 prio 255",
            Event::IrsCandidate { domain: ns, iaffid: Iaffid::new(0), candidate: Candidate::NONE },
        ),
        (
            "gicv5_irs_recalc_hppi_fail GICv5 IRS NonSecure IAFFID 0: no HPPI: IRS_CR0.IRSEN is zero",
            Event::IrsNoCandidate { domain: ns, iaffid: Iaffid::new(0), reason: NoCandidate::IrsDisabled },
        ),
        (
            "gicv5_irs_recalc_hppi_fail GICv5 IRS NonSecure IAFFID 1: no HPPI: IAFFID doesn't match any CPU",
            Event::IrsNoCandidate { domain: ns, iaffid: Iaffid::new(1), reason: NoCandidate::UnknownIaffid },
        ),
        (
            "gicv5_recalc_ppi_hppi domain 1 new PPI HPPI id 0x2000001b prio 31",
            Event::PpiCandidate { domain: ns, candidate: Candidate { intid: 0x2000_001b, priority: 31 } },
        ),
        (
            "gicv5_gicr_cdia domain 1 CDIA acknowledge of interrupt 0x2000001b",
            Event::Acknowledge { domain: ns, intid: 0x2000_001b },
        ),
        (
            "gicv5_gicr_cdia_fail domain 1 CDIA attempt failed: no available interrupt to acknowledge",
            Event::AcknowledgeFail { domain: ns, reason: AcknowledgeFailure::NothingAvailable },
        ),
        // synthetic
        (
            "gicv5_gicr_cdia_fail domain 0 CDIA attempt failed: CDNMIA but HPPI is not NMI",
            Event::AcknowledgeFail { domain: Domain::Secure, reason: AcknowledgeFailure::NotAnNmi },
        ),
        // IRS_DEVARCH as QEMU prints it.
        (
            "gicv5_read GICv5 IRS NonSecure config frame read: offset 0xffbc data 0xffffffff80105a19 size 4",
            Event::Read { domain: ns, offset: 0xffbc, data: 0xffff_ffff_8010_5a19, size: AccessSize::Word },
        ),
        // synthetic
        (
            "gicv5_gicr_cdia_fail domain 3 CDIA attempt failed: CDIA but HPPI is NMI",
            Event::AcknowledgeFail { domain: Domain::Realm, reason: AcknowledgeFailure::IsAnNmi },
        ),
        ("gicv5_cdeoi domain 1 CDEOI performing priority drop", Event::PriorityDrop { domain: ns }),
        (
            "gicv5_cddi domain 1 CDDI deactivating interrupt ID 0x40000032",
            Event::DeactivateRequest { domain: ns, intid: 0x4000_0032 },
        ),
        ("gicv5_update_irq_fiq now IRQ 1 FIQ 0 NMI 0", Event::Signals { irq: true, fiq: false, nmi: false }),
        ("gicv5_update_ppi_state PPI 27 source level now 1", Event::PpiWire { ppi: Ppi::new(27).unwrap(), high: true }),
    ]
}

fn read(text: &[u8], foreign: Foreign) -> (Vec<(u64, Event)>, Option<TraceError>) {
    let mut events = Vec::new();
    for line in TraceReader::new(text, foreign) {
        match line {
            Ok(line) => events.push((line.number, line.event)),
            Err(e) => return (events, Some(e)),
        }
    }
    (events, None)
}

fn error(text: &[u8]) -> TraceError {
    read(text, Foreign::Refuse).1.unwrap_or_else(|| panic!("no error in {:?}", text.escape_ascii().to_string()))
}

fn one(line: &str) -> Result<Event, TraceError> {
    let text = format!("{line}\n");
    TraceReader::new(text.as_bytes(), Foreign::Refuse).next().unwrap().map(|l| l.event)
}

#[test]
fn every_kind_of_line_is_read_and_written_back() {
    for (text, event) in golden() {
        assert_eq!(one(text).unwrap(), event, "{text}");
        assert_eq!(event.to_string(), text);
        assert_eq!(text.split(' ').next().unwrap(), event.name());
    }
}

/// A line to put before the one under test, so that a right line number is not an accident.
const FIRST: &str = "gicv5_cdeoi domain 1 CDEOI performing priority drop\n";

#[test]
fn a_cut_line_is_an_error_or_says_something_else() {
    for (text, event) in golden() {
        for cut in 1..text.len() {
            let cut = &text[..cut];
            let e = error(format!("{FIRST}{cut}").as_bytes());
            assert!(matches!(e, TraceError::CutShort { line: 2 }), "{cut}: {e}");
            match one(cut) {
                // Only digits can be missing then, and the event is honest about it.
                Ok(other) => assert!(other != event && other.to_string() == cut, "{cut}"),
                Err(e) => assert_eq!(e.line(), 1, "{cut}: {e}"),
            }
        }
    }
}

#[test]
fn nothing_may_follow_the_last_field() {
    for (text, _) in golden() {
        for tail in [" ", "\r", "x", " gicv5_cdeoi domain 1 CDEOI performing priority drop"] {
            let e = error(format!("{FIRST}{text}{tail}\n").as_bytes());
            assert_eq!(e.line(), 2, "{text}{tail}: {e}");
        }
    }
}

#[test]
fn a_number_that_does_not_fit_its_field_is_named_with_the_largest_that_does() {
    for (line, number, field, max) in [
        ("gicv5_set_priority GICv5 IRS SetPriority NonSecure LPI virtual:0 ID 28 prio 32", "32", "prio", 31),
        (
            "gicv5_set_target GICv5 IRS SetTarget NonSecure LPI virtual:0 ID 0 IAFFID 65536 routingmode 0",
            "65536",
            "IAFFID",
            0xffff,
        ),
        ("gicv5_read GICv5 IRS NonSecure config frame read: offset 0x10000 data 0x0 size 4", "10000", "offset", 0xffff),
        (
            "gicv5_write GICv5 IRS NonSecure config frame write: offset 0x80 data 0x100000000 size 4",
            "100000000",
            "data",
            0xffff_ffff,
        ),
        (
            "gicv5_write GICv5 IRS NonSecure config frame write: offset 0x180 data 0x10000000000000000 size 8",
            "10000000000000000",
            "data",
            u64::MAX,
        ),
        (
            "gicv5_set_enabled GICv5 IRS SetEnabled NonSecure LPI virtual:0 ID 16777216 enabled 1",
            "16777216",
            "ID",
            0xff_ffff,
        ),
        ("gicv5_cddi domain 1 CDDI deactivating interrupt ID 0x100000000", "100000000", "interrupt ID", 0xffff_ffff),
        ("gicv5_spi GICv5 SPI ID 1 asserted at level 2", "2", "level", 1),
        ("gicv5_update_ppi_state PPI 64 source level now 1", "64", "PPI", 63),
        ("gicv5_cdeoi domain 4 CDEOI performing priority drop", "4", "domain", 3),
    ] {
        match one(line) {
            Err(TraceError::OutOfRange { line: 1, column: c, field: f, max: m, .. }) => {
                let event = line.find(' ').unwrap();
                let column = event + line[event..].find(number).unwrap() + 1;
                assert_eq!((c, f, m), (column, field, max), "{line}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

/// Lines with an answer that cannot be, the word that has it, and the word with the largest that can.
const EXCESSIVE: [(&str, &str, &str, Excess); 12] = [
    (
        "gicv5_irs_recalc_hppi GICv5 IRS NonSecure IAFFID 65536: new HPPI ID 0x0 prio 255",
        "65536:",
        "65535:",
        Excess::Iaffid,
    ),
    ("gicv5_irs_recalc_hppi GICv5 IRS NonSecure IAFFID 0: new HPPI ID 0x0 prio 256", "256", "255", Excess::Priority),
    ("gicv5_recalc_ppi_hppi domain 4 new PPI HPPI id 0x2000001b prio 31", "4", "3", Excess::Domain),
    ("gicv5_recalc_ppi_hppi domain 1 new PPI HPPI id 0x12000001b prio 31", "0x12000001b", "0xffffffff", Excess::Intid),
    ("gicv5_update_irq_fiq now IRQ 2 FIQ 0 NMI 0", "2", "1", Excess::Output),
    ("gicv5_gicr_cdia domain 1 CDIA acknowledge of interrupt 0x100000000", "0x100000000", "0xffffffff", Excess::Intid),
    ("gicv5_activate GICv5 IRS Activate NonSecure LPI virtual:0 ID 1073741824", "1073741824", "16777215", Excess::Id),
    ("gicv5_deactivate GICv5 IRS Deactivate NonSecure LPI virtual:9 ID 5", "virtual:9", "virtual:1", Excess::Virtual),
    ("gicv5_spi_state GICv5 IRS SPI ID 16777216 now level 1 pending 1 active 0", "16777216", "16777215", Excess::Id),
    (
        "gicv5_request_config GICv5 IRS RequestConfig NonSecure LPI virtual:0 ID 22 ICSR 0x10000000000008802",
        "0x10000000000008802",
        "0xffffffffffffffff",
        Excess::Register,
    ),
    (
        "gicv5_read GICv5 IRS NonSecure config frame read: offset 0x4 data 0x99999999999999999 size 4",
        "0x99999999999999999",
        "0xffffffffffffffff",
        Excess::Register,
    ),
    (
        "gicv5_ist_valid GICv5 IRS NonSecure IST now valid: base 0x0 id_bits 99999999999999999999999 l2_idx_bits 10 IST entry size 4 2-level 1",
        "99999999999999999999999",
        "255",
        Excess::TableShape,
    ),
];

#[test]
fn an_answer_that_is_a_larger_number_than_there_can_be_is_read_as_the_largest() {
    for (text, number, largest, excess) in EXCESSIVE {
        let line =
            |text: &str| TraceReader::new(format!("{text}\n").as_bytes(), Foreign::Refuse).next().unwrap().unwrap();
        let clamped = text.replacen(number, largest, 1);
        assert_eq!((line(text).event, line(text).excess), (line(&clamped).event, Some(excess)), "{text}");
        assert_eq!(line(&clamped).excess, None, "{clamped}");
    }
}

#[test]
fn a_wrong_text_is_named_with_the_column_of_the_first_wrong_byte() {
    for (line, message) in [
        (
            "gicv5_cdeoi domain 1 CDEIO performing priority drop",
            "line 1, column 25: gicv5_cdeoi: expected \" CDEOI performing priority drop\"",
        ),
        (
            "gicv5_activate GICv5 IRS Activate NonSecure XPI virtual:0 ID 50",
            "line 1, column 45: gicv5_activate: expected \"an interrupt type\"",
        ),
        (
            "gicv5_set_priority GICv5 IRS SetPriority NonSecure LPI virtual:0 ID 07 prio 1",
            "line 1, column 69: gicv5_set_priority: expected \"ID\"",
        ),
        ("gicv5_spi GICv5 SPI ID -1 asserted at level 1", "line 1, column 24: gicv5_spi: expected \"SPI ID\""),
        (
            "gicv5_cdeoi domain 1 CDEOI performing priority drop!",
            "line 1, column 52: gicv5_cdeoi: expected \"end of line\"",
        ),
        ("gicv5_cdvi domain 1 CDVI", "line 1: unknown event \"gicv5_cdvi\""),
        ("gicv5_\u{1b}[31m\u{fffd} domain", r#"line 1: unknown event "gicv5_\x1b[31m\xef\xbf\xbd""#),
    ] {
        assert_eq!(one(line).unwrap_err().to_string(), message);
    }
}

#[test]
fn what_is_not_an_event_is_refused_unless_skipping_is_asked_for() {
    let text = b"[    0.000000] Booting Linux\n\
                 \n\
                 gicv5_set_priority: tried to set priority of unreachable SPI 300\n\
                 \xff\xfe not UTF-8\n\
                 gicv5_cdeoi domain 1 CDEOI performing priority drop\n";
    assert!(matches!(error(text), TraceError::Foreign { line: 1, .. }));
    let mut reader = TraceReader::new(text.as_slice(), Foreign::Skip);
    assert_eq!(reader.next_line().unwrap().unwrap().number, 5);
    assert!(reader.next_line().unwrap().is_none());
}

#[test]
fn skipping_does_not_cover_a_damaged_event() {
    let text = b"chatter\ngicv5_cdeoi domain 1 CDEOI performing prio\n";
    let (events, e) = read(text, Foreign::Skip);
    assert!(events.is_empty());
    assert!(matches!(e, Some(TraceError::Malformed { line: 2, .. })));
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
    for (length, fits) in [(MAX_LINE, true), (MAX_LINE + 1, false), (1 << 20, false)] {
        let text = format!("{}\n{FIRST}", "x".repeat(length));
        let e = error(text.as_bytes());
        assert_eq!(matches!(e, TraceError::Foreign { .. }), fits, "{length}: {e}");
        assert_eq!(e.line(), 1);
        // Console output may be as long as it likes.
        let (events, e) = read(text.as_bytes(), Foreign::Skip);
        assert!(e.is_none(), "{e:?}");
        assert_eq!(events[0].0, 2);
        let event = format!("gicv5_{text}");
        assert_eq!(read(event.as_bytes(), Foreign::Skip).1.unwrap().line(), 1);
    }
}

#[test]
fn a_line_without_end_is_given_up_at_the_limit_and_not_read_into_memory() {
    let endless = BufReader::new(std::io::repeat(b'x'));
    let e = TraceReader::new(endless, Foreign::Refuse).next().unwrap().unwrap_err();
    assert!(matches!(e, TraceError::TooLong { line: 1 }));
}

#[test]
fn reading_ends_with_the_first_error() {
    let text = format!("rubbish\n{FIRST}");
    let mut reader = TraceReader::new(text.as_bytes(), Foreign::Refuse);
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

/// Hands out a few bytes at a time, so that lines straddle buffers.
struct Dribble<R> {
    inner: R,
    step: usize,
}

impl<R: Read> Read for Dribble<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let end = self.step.min(buffer.len());
        self.inner.read(&mut buffer[..end])
    }
}

fn golden_text() -> String {
    golden().iter().map(|(text, _)| format!("{text}\n")).collect()
}

#[test]
fn a_line_may_straddle_the_buffers_of_its_source() {
    let text = golden_text();
    let whole = read(text.as_bytes(), Foreign::Refuse).0;
    assert_eq!(whole.len(), golden().len());
    for step in 1..200 {
        let dribble = BufReader::new(Dribble { inner: text.as_bytes(), step });
        let parts: Vec<_> =
            TraceReader::new(dribble, Foreign::Refuse).map(|l| l.map(|l| (l.number, l.event)).unwrap()).collect();
        assert_eq!(parts, whole, "{step}");
    }
}

#[test]
fn a_source_that_fails_is_an_error_with_the_line_it_failed_in() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk on fire"))
        }
    }
    let source = BufReader::new(FIRST.as_bytes().chain(&b"gicv5_cd"[..]).chain(Broken));
    let mut reader = TraceReader::new(source, Foreign::Refuse);
    assert!(reader.next_line().is_ok());
    let e = reader.next_line().unwrap_err();
    assert_eq!(e.to_string(), "line 2: cannot read on: disk on fire");
}

fn compress(text: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
}

fn decompress(stream: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    ZstdReader::new(stream).read_to_end(&mut text)?;
    Ok(text)
}

#[test]
fn every_frame_of_a_compressed_stream_is_read() {
    let text = golden_text().repeat(5_000);
    let (a, b) = text.as_bytes().split_at(text.len() / 3);
    let mut stream = compress(a);
    // A skippable frame of three bytes.
    stream.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    stream.extend(compress(b));
    stream.extend(compress(b""));
    assert!(decompress(&stream).unwrap() == text.as_bytes());
    let lines = BufReader::new(ZstdReader::new(stream.as_slice())).lines().count();
    assert_eq!(lines, 5_000 * golden().len());
}

#[test]
fn a_compressed_stream_cut_anywhere_is_an_error_and_never_a_shorter_trace() {
    let text = golden_text();
    let stream = compress(text.as_bytes());
    for cut in 0..stream.len() {
        let e = decompress(&stream[..cut]).unwrap_err();
        assert_eq!(e.kind(), std::io::ErrorKind::InvalidData, "{cut}: {e}");
        let source = BufReader::new(ZstdReader::new(&stream[..cut]));
        let last = TraceReader::new(source, Foreign::Refuse).last().unwrap();
        assert!(matches!(last, Err(TraceError::Read { .. })), "{cut}");
    }
}

#[test]
fn damage_to_compressed_text_does_not_go_unnoticed() {
    let text = golden_text();
    let stream = compress(text.as_bytes());
    let mut noticed = 0;
    for at in 0..stream.len() {
        for bit in 0..8 {
            let mut stream = stream.clone();
            stream[at] ^= 1 << bit;
            match decompress(&stream) {
                Ok(other) => assert!(other == text.as_bytes(), "byte {at} bit {bit}"),
                Err(_) => noticed += 1,
            }
        }
    }
    assert!(noticed > stream.len() * 7, "{noticed} of {}", stream.len() * 8);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        for foreign in [Foreign::Refuse, Foreign::Skip] {
            let _ = read(&bytes, foreign);
        }
        let _ = decompress(&bytes);
    }

    #[test]
    fn a_mutated_line_is_an_error_at_its_line_or_reads_as_what_it_now_says(
        which in 0..golden().len(),
        before in 0..5_usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut line = golden()[which].0.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(line.len());
            let byte = if byte == b'\n' { b' ' } else { byte };
            match kind {
                0 => line[at] = byte,
                1 => line.insert(at, byte),
                _ => {
                    if line.len() > 1 {
                        line.remove(at);
                    }
                }
            }
        }
        let mut text = FIRST.repeat(before).into_bytes();
        text.extend_from_slice(&line);
        text.push(b'\n');
        text.extend_from_slice(FIRST.as_bytes());
        let (events, e) = read(&text, Foreign::Refuse);
        match e {
            Some(e) => {
                prop_assert_eq!(e.line(), before as u64 + 1);
                prop_assert_eq!(events.len(), before);
            }
            None => {
                prop_assert_eq!(events.len(), before + 2);
                let (number, event) = &events[before];
                prop_assert_eq!(*number, before as u64 + 1);
                let excess = TraceReader::new(&text[..], Foreign::Refuse).nth(before).unwrap().unwrap().excess;
                prop_assert_eq!(event.to_string().into_bytes() == line, excess.is_none());
            }
        }
    }
}
