//! Random accesses to QEMU's frame, replayed: where this frame answers otherwise, the list says why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{frame_from_ids, read32, write, write32};
use gicv5_arch::Spi;
use gicv5_arch::irs::IrsReg;
use gicv5_guest::{Effect, Width};
use gicv5_trace::{AccessSize, Event, Foreign, open};

/// Why this frame differs from QEMU 11.1, and how often the recording shows it.
const DIFFERENCES: &[(&str, usize)] = &[
    ("GIRS-24: QEMU places the architect of DEVARCH ten bits too high, and answers 64 bits to a 32-bit read", 2),
    ("GIRS-42: a resampled edge SPI with a high line becomes pending in QEMU (SPI-5)", 2),
    ("GIRS-42: and stays so when the line falls", 1),
    ("GIRS-55: QEMU clamps an invalid IST_CFGR when VALID is set; here VALID stays 0 (GIRS-56)", 37),
    ("SPI-6: QEMU's SPI_DOMAINR reads zero, here Non-secure (VIRS-9)", 20),
    ("VIRS-8: QEMU's PE_CR0 reads zero without 1-of-N, here DPS=1 for a vCPU that exists", 21),
];

/// A configuration that the offer allows, which stands in for what QEMU makes of one that it does not.
const LEGAL_CFGR: u32 = 14;

fn width(size: AccessSize) -> Width {
    match size {
        AccessSize::Word => Width::Bits32,
        AccessSize::Doubleword => Width::Bits64,
    }
}

const CFGR: u32 = IrsReg::IRS_IST_CFGR.offset() as u32;
const RESAMPLER: u32 = IrsReg::IRS_SPI_RESAMPLER.offset() as u32;

/// GIRS-2, GIRS-4, GIRS-7, GIRS-20, GIRS-24, GIRS-25, GIRS-31, GIRS-37, GIRS-38, GIRS-42, GIRS-55, GIRS-56, GIRS-68; GDRV-28;
/// VIRS-11, VIRS-15, VIRS-16, SPI-2, SPI-3, SPI-4.
#[test]
fn random_accesses_get_the_answers_of_qemu_but_for_listed_differences() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/irs-registers-2cpu.trace.zst");
    let frame = frame_from_ids(0x1d, 0x4f_0002, 0x3fb8, 0x100, 0xfff0_043b);
    let (mut accesses, mut states) = (0, 0);
    let mut seen: BTreeMap<&str, usize> = DIFFERENCES.iter().map(|&(reason, _)| (reason, 0)).collect();
    let mut differs = |start: &str| {
        let (_, count) = seen.iter_mut().find(|(reason, _)| reason.starts_with(start)).unwrap();
        *count += 1;
    };
    // The guest's IST_CFGR while a legal one stands in for it.
    let mut clamped = None;
    // What QEMU makes of a resampled SPI comes before the write.
    let mut resampled: Option<(Spi, bool)> = None;
    let mut wire = None;
    for line in open(&path, Foreign::Refuse).unwrap() {
        let line = line.unwrap();
        match line.event {
            Event::Read { offset, data, size, .. } => {
                accesses += 1;
                let ours = frame.read(offset, width(size));
                if ours == data {
                    continue;
                }
                match (IrsReg::at(offset as u16), ours, data) {
                    (Some(IrsReg::IRS_DEVARCH), 0x4770_5a19, _) => differs("GIRS-24"),
                    (Some(IrsReg::IRS_SPI_DOMAINR), 1, 0) => differs("SPI-6"),
                    (Some(IrsReg::IRS_PE_CR0), 1, 0) if read32(&frame, 0x140) < 2 => differs("VIRS-8"),
                    (Some(IrsReg::IRS_IST_CFGR), _, theirs) if clamped == Some(theirs as u32) => {}
                    _ => panic!("line {}: read of {offset:#x}: {ours:#x} here, {data:#x} there", line.number),
                }
            }
            Event::BadRead { offset, size, .. } => {
                accesses += 1;
                assert_eq!(frame.read(offset, width(size)), 0, "line {}", line.number);
            }
            Event::Write { offset, data, size, .. } | Event::BadWrite { offset, data, size, .. } => {
                accesses += 1;
                match write(&frame, offset, width(size), data) {
                    Effect::Refused(_) => {
                        differs("GIRS-55");
                        clamped = Some(read32(&frame, CFGR));
                        let _ = write32(&frame, CFGR, LEGAL_CFGR);
                        assert_eq!(write(&frame, offset, width(size), data), Effect::Table);
                    }
                    // Removed: from now on what the guest had written counts again.
                    Effect::Table => {
                        if let Some(cfgr) = clamped.take() {
                            let _ = write32(&frame, CFGR, cfgr);
                        }
                    }
                    effect => assert!(matches!(effect, Effect::Done | Effect::Reload), "{effect:?}"),
                }
                if let (RESAMPLER, Some((spi, pending))) = (offset, resampled.take()) {
                    states += 1;
                    match (frame.backend().is_pending(spi.into()), pending) {
                        (false, true) => differs("GIRS-42: a"),
                        (ours, theirs) => assert_eq!(ours, theirs, "line {}: {spi}", line.number),
                    }
                }
            }
            Event::SpiWire { spi, high } => {
                let _ = frame.set_line(&(), spi, high).unwrap();
                wire = Some(spi);
            }
            Event::SpiState { spi, pending, .. } if wire.take() == Some(spi) => {
                states += 1;
                match (frame.backend().is_pending(spi.into()), pending) {
                    (false, true) => differs("GIRS-42: and"),
                    (ours, theirs) => assert_eq!(ours, theirs, "line {}: {spi}", line.number),
                }
            }
            Event::SpiState { spi, pending, .. } => resampled = Some((spi, pending)),
            _ => {}
        }
    }
    assert_eq!((accesses, states), (2138, 247));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), DIFFERENCES);
}
