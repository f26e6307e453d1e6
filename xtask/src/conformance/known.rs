//! Where QEMU is known to fail a conformance test: a checked list.
//!
//! An entry explains a failure only of the versions it names, and a test that passes on one of these although an entry
//! says that it fails is an error as well: the list says what is so today. `docs/conformance.md` has the sequences.

/// One known failure.
pub(super) struct Known {
    /// The test.
    pub(super) test: &'static str,
    /// Who is wrong, and how. The rule is the test's.
    pub(super) why: &'static str,
    /// The defect, as `docs/conformance.md` names it.
    pub(super) defect: &'static str,
    /// Versions of QEMU that fail, by the start of their number.
    pub(super) versions: &'static [&'static str],
}

const V11_1: &[&str] = &["11.1."];

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
pub(super) const ALONE: &[Known] = &[Known {
    test: "reset::disabled_irs_offers_nothing_from_before",
    why: "until IRS_CR0 is read QEMU's IRS offers INTID 0 after power-on, and after a reset what it offered before",
    defect: "reset-irs-candidate",
    versions: V11_1,
}];

/// The list.
pub(super) const KNOWN: &[Known] = &[
    Known {
        test: "reset::first_acknowledge_finds_nothing",
        why: "before the PPIs are evaluated for the first time QEMU's best PPI is INTID 0 with priority 0, and CDIA aborts \
              the emulator on an interrupt without a type",
        defect: "reset-hppi",
        versions: V11_1,
    },
    Known {
        test: "reset::enabled_cpu_interface_is_silent",
        why: "the same INTID 0 is signalled as soon as the CPU interface is enabled",
        defect: "reset-hppi",
        versions: V11_1,
    },
    Known {
        test: "reset::enabled_irs_is_silent",
        why: "the same INTID 0 stays until a PPI register is written, whatever the IRS does",
        defect: "reset-hppi",
        versions: V11_1,
    },
    Known {
        test: "identification::device_architecture_names_arm",
        why: "QEMU shifts the architect field by 31 instead of 21 bits",
        defect: "devarch-architect",
        versions: V11_1,
    },
    Known {
        test: "registers::spi_selector_reads_back",
        why: "QEMU does not implement reads of IRS_SPI_SELR",
        defect: "spi-selr-reads-zero",
        versions: V11_1,
    },
    Known {
        test: "selection::reserved_bits_of_the_pe_selector_are_ignored",
        why: "QEMU compares the whole of IRS_PE_SELR with affinity IDs",
        defect: "pe-selr-reserved-bits",
        versions: V11_1,
    },
    Known {
        test: "instructions::cddis_disables",
        why: "CDDIS sets the enable flag of an SPI, as CDEN does",
        defect: "spi-cannot-be-disabled",
        versions: V11_1,
    },
    Known {
        test: "handling::disabling_recalls",
        why: "CDDIS sets the enable flag of an SPI, as CDEN does",
        defect: "spi-cannot-be-disabled",
        versions: V11_1,
    },
    Known {
        test: "instructions::cdpend_clears_pending",
        why: "CDPEND with 0 makes an SPI pending",
        defect: "spi-pending-cannot-be-cleared",
        versions: V11_1,
    },
    Known {
        test: "instructions::cdpend_clears_what_is_not_pending",
        why: "CDPEND with 0 makes an SPI pending",
        defect: "spi-pending-cannot-be-cleared",
        versions: V11_1,
    },
    Known {
        test: "handling::clearing_pending_recalls",
        why: "CDPEND with 0 makes an SPI pending",
        defect: "spi-pending-cannot-be-cleared",
        versions: V11_1,
    },
    Known {
        test: "irs::enabling_needs_no_read",
        why: "QEMU re-evaluates when IRS_CR0 is read, not when it is written",
        defect: "cr0-acts-when-read",
        versions: V11_1,
    },
    Known {
        test: "irs::disabling_needs_no_read",
        why: "QEMU re-evaluates when IRS_CR0 is read, not when it is written",
        defect: "cr0-acts-when-read",
        versions: V11_1,
    },
    Known {
        test: "ist::misaligned_base_is_aligned",
        why: "QEMU uses the address bits below the alignment of the table",
        defect: "ist-base-alignment",
        versions: V11_1,
    },
    Known {
        test: "ist::misaligned_level1_table_is_aligned",
        why: "QEMU uses the address bits below the alignment of the table",
        defect: "ist-base-alignment",
        versions: V11_1,
    },
    Known {
        test: "ist::misaligned_level2_of_16_kib_is_aligned",
        why: "QEMU takes bits 55:12 of a level-1 entry as the address, whatever the size of the level-2 table",
        defect: "level2-alignment",
        versions: V11_1,
    },
    Known {
        test: "ist::misaligned_level2_of_64_kib_is_aligned",
        why: "QEMU takes bits 55:12 of a level-1 entry as the address, whatever the size of the level-2 table",
        defect: "level2-alignment",
        versions: V11_1,
    },
    Known {
        test: "ist::mapping_beyond_the_ist_does_nothing",
        why: "QEMU does not compare the ID in IRS_MAP_L2_ISTR with the size of the IST, and writes behind the level-1 table",
        defect: "map-l2-beyond-the-ist",
        versions: V11_1,
    },
    Known {
        test: "ppi::maintenance_ppi_comes_with_the_legacy_feature",
        why: "QEMU has PPI 25 although ICC_IDR0_EL1 announces no legacy feature",
        defect: "ppi-25",
        versions: V11_1,
    },
    Known {
        test: "ppi::deactivation_names_one_of_the_first_64",
        why: "CDDI of a PPI below 32 clears Active of all PPIs from 32 to 63, by a mask of 32 bits",
        defect: "ppi-mask-of-32-bits",
        versions: V11_1,
    },
    Known {
        test: "ppi::deactivation_names_one_of_the_second_64",
        why: "CDDI of a PPI from 64 to 95 clears Active of all PPIs from 96 to 127, by a mask of 32 bits",
        defect: "ppi-mask-of-32-bits",
        versions: V11_1,
    },
];

/// The entry for a test on a version.
pub(super) fn find(test: &str, version: &str, run: Run) -> Option<&'static Known> {
    let alone = if run == Run::Suite { &[] } else { ALONE };
    let mut all = KNOWN.iter().chain(alone);
    all.find(|known| known.test == test && known.versions.iter().any(|start| version.starts_with(start)))
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
        let listed: BTreeSet<&str> = KNOWN.iter().chain(ALONE).map(|known| known.defect).collect();
        assert_eq!(reported, listed);
        for known in KNOWN.iter().chain(ALONE) {
            assert!(page.contains(&format!("`{}`", known.test)), "{} is not in docs/conformance.md", known.test);
        }
    }

    #[test]
    fn no_test_is_listed_twice_and_versions_are_respected() {
        let tests: BTreeSet<&str> = KNOWN.iter().chain(ALONE).map(|known| known.test).collect();
        assert_eq!(tests.len(), KNOWN.len() + ALONE.len());
        assert!(find("irs::enabling_needs_no_read", "11.1.3", Run::Suite).is_some());
        assert!(find("irs::enabling_needs_no_read", "11.2.0", Run::Suite).is_none());
        assert!(find("irs::enabling", "11.1.3", Run::Suite).is_none());
        let alone = "reset::disabled_irs_offers_nothing_from_before";
        assert!(find(alone, "11.1.3", Run::Suite).is_none());
        assert!(find(alone, "11.1.3", Run::Alone).is_some() && find(alone, "11.1.3", Run::AfterReset).is_some());
    }
}
