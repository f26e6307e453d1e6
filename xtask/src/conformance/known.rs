//! Where QEMU is known to fail a conformance test: a checked list.
//!
//! An entry explains a failure only of the versions that its difference names, and a test that passes on one of these although
//! an entry says that it fails is an error as well: the list says what is so today. `docs/conformance.md` has the sequences.

use gicv5_facts::QemuDifference;

/// A known failure: the test, and the id in `facts/qemu.toml` of the difference that it shows.
type Known = (&'static str, &'static str);

/// How a test is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// As one of all, in their order.
    Suite,
    /// As the only one of a boot.
    Alone,
    /// As the only one of a boot, after a reset out of the middle of things.
    AfterReset,
}

impl Run {
    /// What to add to the name of a test in print; nothing in the ordinary run.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Run::Suite => "",
            Run::Alone => ", alone",
            Run::AfterReset => ", alone after a reset",
        }
    }
}

/// Tests that fail when they are the first, and pass after others. Each test about the state after reset is also run in boots of
/// its own, because what one test reads may repair what another would have found.
const ALONE: &[Known] = &[("reset::disabled_irs_offers_nothing_from_before", "reset-irs-candidate")];

/// The list.
const KNOWN: &[Known] = &[
    ("reset::first_acknowledge_finds_nothing", "reset-hppi"),
    ("reset::enabled_cpu_interface_is_silent", "reset-hppi"),
    ("reset::enabled_irs_is_silent", "reset-hppi"),
    ("identification::device_architecture_names_arm", "devarch-architect-shift"),
    ("registers::spi_selector_reads_back", "spi-selr-reads-zero"),
    ("selection::reserved_bits_of_the_pe_selector_are_ignored", "pe-selr-compares-reserved-bits"),
    ("instructions::cddis_disables", "spi-disable-enables"),
    ("handling::disabling_recalls", "spi-disable-enables"),
    ("instructions::cdpend_clears_pending", "spi-clear-pending-sets"),
    ("instructions::cdpend_clears_what_is_not_pending", "spi-clear-pending-sets"),
    ("handling::clearing_pending_recalls", "spi-clear-pending-sets"),
    ("irs::enabling_needs_no_read", "cr0-acts-when-read"),
    ("irs::disabling_needs_no_read", "cr0-acts-when-read"),
    ("ist::misaligned_base_is_aligned", "ist-base-keeps-alignment-bits"),
    ("ist::misaligned_level1_table_is_aligned", "ist-base-keeps-alignment-bits"),
    ("ist::misaligned_level2_of_16_kib_is_aligned", "level2-alignment"),
    ("ist::misaligned_level2_of_64_kib_is_aligned", "level2-alignment"),
    ("ist::mapping_beyond_the_ist_does_nothing", "map-l2-beyond-the-ist"),
    ("ppi::maintenance_ppi_comes_with_the_legacy_feature", "ppi-25-without-the-legacy-feature"),
    ("ppi::deactivation_names_one_of_the_first_64", "ppi-deactivate-clears-the-upper-half"),
    ("ppi::deactivation_names_one_of_the_second_64", "ppi-deactivate-clears-the-upper-half"),
];

/// What a test that fails on a version is known to show.
pub(super) fn find(test: &str, version: &str, run: Run) -> Option<&'static QemuDifference> {
    let alone = if run == Run::Suite { &[] } else { ALONE };
    let (_, id) = KNOWN.iter().chain(alone).find(|(known, _)| *known == test)?;
    let difference = gicv5_facts::qemu().ok()?.iter().find(|difference| difference.id == *id)?;
    difference.versions.iter().any(|start| version.starts_with(start)).then_some(difference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_entry_is_in_the_report_and_the_other_way_round() {
        let page = include_str!("../../../docs/conformance.md");
        let (_, report) = page.split_once("\n## What was found in QEMU 11.1\n").unwrap();
        let reported: BTreeSet<&str> = report.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let listed: BTreeSet<&str> = KNOWN.iter().chain(ALONE).map(|(_, id)| *id).collect();
        assert_eq!(reported, listed);
        for (test, _) in KNOWN.iter().chain(ALONE) {
            assert!(page.contains(&format!("`{test}`")), "{test} is not in docs/conformance.md");
        }
    }

    #[test]
    fn every_id_that_code_uses_is_in_the_facts_and_every_difference_there_is_used() {
        let register_by_register = gicv5_qtest::known::KNOWN.iter().map(|known| known.id);
        let used: BTreeSet<&str> = KNOWN.iter().chain(ALONE).map(|(_, id)| *id).chain(register_by_register).collect();
        let listed: BTreeSet<&str> =
            gicv5_facts::qemu().unwrap().iter().map(|difference| difference.id.as_str()).collect();
        assert_eq!(used, listed);
    }

    #[test]
    fn no_test_is_listed_twice_and_versions_are_respected() {
        let tests: BTreeSet<&str> = KNOWN.iter().chain(ALONE).map(|(test, _)| *test).collect();
        assert_eq!(tests.len(), KNOWN.len() + ALONE.len());
        assert!(find("irs::enabling_needs_no_read", "11.1.3", Run::Suite).is_some());
        assert!(find("irs::enabling_needs_no_read", "11.2.0", Run::Suite).is_none());
        assert!(find("irs::enabling", "11.1.3", Run::Suite).is_none());
        let alone = "reset::disabled_irs_offers_nothing_from_before";
        assert!(find(alone, "11.1.3", Run::Suite).is_none());
        assert!(find(alone, "11.1.3", Run::Alone).is_some() && find(alone, "11.1.3", Run::AfterReset).is_some());
    }
}
