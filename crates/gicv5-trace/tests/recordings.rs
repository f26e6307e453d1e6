//! The recordings that come with the project, read from the first line to the last.
// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use gicv5_trace::{Foreign, ZstdReader, open};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../traces").join(name)
}

/// Reads a recording, compares every event with the text it came from, and counts.
fn counts(name: &str) -> BTreeMap<&'static str, u64> {
    let file = std::fs::read(path(name)).unwrap();
    let text = std::io::read_to_string(ZstdReader::new(file.as_slice())).unwrap();
    let mut counts = BTreeMap::new();
    let mut lines = text.lines();
    for (index, line) in open(&path(name), Foreign::Refuse).unwrap().enumerate() {
        let line = line.unwrap();
        assert_eq!(line.number, index as u64 + 1);
        assert_eq!(line.event.to_string(), lines.next().unwrap());
        *counts.entry(line.event.name()).or_default() += 1;
    }
    assert_eq!(lines.next(), None);
    counts
}

#[test]
fn every_line_of_the_linux_recording_is_read() {
    assert_eq!(
        counts("linux-7.3-4cpu-virtio.trace.zst"),
        BTreeMap::from([
            ("gicv5_activate", 1691),
            ("gicv5_cddi", 4801),
            ("gicv5_cdeoi", 4804),
            ("gicv5_common_realize", 1),
            ("gicv5_deactivate", 1688),
            ("gicv5_gicr_cdia", 4804),
            ("gicv5_irs_recalc_hppi", 5659),
            ("gicv5_ist_valid", 1),
            ("gicv5_read", 30),
            ("gicv5_recalc_ppi_hppi", 50252),
            ("gicv5_request_config", 1),
            ("gicv5_set_enabled", 36),
            ("gicv5_set_handling", 32),
            ("gicv5_set_pending", 1322),
            ("gicv5_set_priority", 37),
            ("gicv5_set_target", 36),
            ("gicv5_spi", 802),
            ("gicv5_spi_state", 802),
            ("gicv5_update_irq_fiq", 23036),
            ("gicv5_update_ppi_state", 6235),
            ("gicv5_write", 23),
        ])
    );
}

#[test]
fn every_line_of_the_random_recording_is_read() {
    assert_eq!(
        counts("random-lpi-spi-1cpu.trace.zst"),
        BTreeMap::from([
            ("gicv5_activate", 1942),
            ("gicv5_cddi", 1925),
            ("gicv5_cdeoi", 1942),
            ("gicv5_common_realize", 1),
            ("gicv5_deactivate", 1925),
            ("gicv5_gicr_cdia", 1942),
            ("gicv5_gicr_cdia_fail", 1375),
            ("gicv5_irs_recalc_hppi", 16202),
            ("gicv5_irs_recalc_hppi_fail", 1313),
            ("gicv5_ist_valid", 1),
            ("gicv5_read", 3),
            ("gicv5_recalc_ppi_hppi", 8),
            ("gicv5_request_config", 423),
            ("gicv5_set_enabled", 2673),
            ("gicv5_set_handling", 565),
            ("gicv5_set_pending", 7706),
            ("gicv5_set_priority", 2078),
            ("gicv5_set_target", 478),
            ("gicv5_spi", 232),
            ("gicv5_spi_state", 232),
            ("gicv5_update_irq_fiq", 18148),
            ("gicv5_write", 456),
        ])
    );
}

#[test]
fn every_line_of_the_register_recording_is_read() {
    assert_eq!(
        counts("irs-registers-2cpu.trace.zst"),
        BTreeMap::from([
            ("gicv5_badread", 28),
            ("gicv5_badwrite", 34),
            ("gicv5_common_realize", 1),
            ("gicv5_irs_recalc_hppi", 354),
            ("gicv5_irs_recalc_hppi_fail", 274),
            ("gicv5_ist_invalid", 39),
            ("gicv5_ist_valid", 39),
            ("gicv5_read", 1050),
            ("gicv5_spi", 153),
            ("gicv5_spi_state", 247),
            ("gicv5_update_irq_fiq", 564),
            ("gicv5_write", 1026),
        ])
    );
}
