//! Where QEMU is known to differ from the rules: a checked list.
//!
//! Every entry carries a script that shows the difference. [`Known::check`] runs it: QEMU must still answer as
//! the entry says, so a repaired defect is noticed, and a machine that follows the rules must answer as the
//! rule says. [`explain`] decides whether a disagreement found by chance is one of these.

mod history;
mod script;

use gicv5_trace::Event;

use crate::compare::Disagreement;
use crate::layout::offset;
use crate::operation::{Operation, Width, pieces};
use history::{History, WrongMap};
pub use script::{CheckError, Side, check_reset};

/// One known difference.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Its id in `facts/qemu.toml`, which says what QEMU does and what the rules say.
    pub id: &'static str,
    /// Operations that show it, in the text form of [`operation`](crate::operation), from reset. After an
    /// operation may stand `qemu VALUE` and `rule VALUE` (the value read), `candidates COUNT` (how many PEs
    /// QEMU re-evaluates, with four of them) and `pending 0` or `pending 1` (of the SPI as QEMU shows it).
    pub script: &'static str,
    explains: fn(&History, &Operation, &Disagreement) -> bool,
}

/// The list.
pub const KNOWN: &[Known] = &[
    Known {
        id: "devarch-architect-shift",
        script: "read32 0xffbc qemu 0x80105a19 rule 0x47705a19",
        explains: |_, operation, _| reads(operation, offset::DEVARCH, 4),
    },
    Known {
        id: "pe-selr-compares-reserved-bits",
        script: "write32 0x140 0x10001
                 read32 0x144 qemu 0x1 rule 0x7",
        explains: |history, operation, _| history.pe_selr >> 16 != 0 && reads(operation, offset::PE_STATUSR, 4),
    },
    Known {
        id: "pe-selected-after-reset",
        script: "read32 0x144 qemu 7
                 read32 0x118 qemu 1",
        explains: |history, operation, _| !history.pe_written && reads(operation, offset::PE_STATUSR, 4),
    },
    Known {
        id: "peripheral-identification",
        script: "read32 0xffe0 qemu 0xff
                 read32 0xffe4 qemu 0xbf
                 read32 0xffe8 qemu 0xb
                 read32 0xffec qemu 0",
        explains: |_, operation, _| reads(operation, offset::PIDR0, 16),
    },
    Known {
        id: "spi-selr-reads-zero",
        script: "write32 0x108 5
                 read32 0x118 qemu 3 rule 3
                 read32 0x108 qemu 0 rule 5",
        explains: |_, operation, _| reads(operation, offset::SPI_SELR, 4),
    },
    Known {
        id: "cr0-acts-when-read",
        script: "write32 0x80 1 candidates 0
                 read32 0x80 qemu 3 rule 3 candidates 4",
        // A late candidate: none where there should be one, or one where there should be none.
        explains: |history, _, on| {
            history.cr0_unread
                && matches!(
                    on,
                    Disagreement::Event { reference: Event::IrsCandidate { .. } | Event::IrsNoCandidate { .. }, .. }
                )
        },
    },
    Known {
        id: "map-l2-beyond-the-ist",
        script: "write32 0x190 0x1000e
                 write64 0x180 0x40100001
                 write32 0x1c0 0x4000
                 write64 0x180 0
                 load64 0x40100080 qemu 1 rule 0",
        explains: |history, operation, on| history.wrong_map(operation, on, WrongMap::Beyond),
    },
    Known {
        id: "ist-base-keeps-alignment-bits",
        script: "store64 0x40100000 0x40120000
                 store64 0x40100040 0x40120000
                 write32 0x190 0x1000e
                 write64 0x180 0x40100041
                 write32 0x1c0 0
                 write64 0x180 0
                 load64 0x40100000 qemu 0x40120000 rule 0x40120001
                 load64 0x40100040 qemu 0x40120001 rule 0x40120000",
        explains: |history, operation, on| {
            history.wrong_map(operation, on, WrongMap::Misaligned)
                || matches!(on, Disagreement::Event { reference: Event::IstValid { base, .. }, .. }
                    if history.ist.aligned_base() != *base)
        },
    },
    Known {
        id: "reserved-bits-are-stored",
        script: "write32 0x84 0xffffffff
                 read32 0x84 qemu 0xffffffff
                 write32 0x140 0xffff0000
                 read32 0x140 qemu 0xffff0000
                 write32 0x190 0xffffffff
                 read32 0x190 qemu 0xffffffff
                 write64 0x180 0xfffffffffffffffe
                 read64 0x180 qemu 0xfffffffffffffffe",
        explains: |_, operation, on| {
            let Disagreement::Value { reference: Some(reference), subject: Some(subject) } = on else {
                return false;
            };
            let differing = reference ^ subject;
            differing & !bits_of(operation, RESERVED) == 0
        },
    },
    Known {
        id: "narrow-accesses-do-nothing",
        script: "read8 0x0 qemu 0
                 read16 0x0 qemu 0
                 write16 0x140 1
                 read32 0x140 qemu 0
                 read64 0x3 qemu 0x4f000400",
        explains: |_, operation, on| {
            let Operation::Read { offset, width } = *operation else {
                return false;
            };
            let narrow: u64 = pieces(offset, width)
                .filter(|(_, piece)| *piece < Width::W32)
                .fold(0, |mask, (at, piece)| mask | piece.truncate(u64::MAX) << ((at - offset) * 8));
            differs_only_in(on, narrow)
        },
    },
    Known {
        id: "wide-accesses-to-narrow-registers-do-nothing",
        script: "read64 0x0 qemu 0
                 write64 0x140 3
                 read32 0x140 qemu 0
                 read64 0x180 qemu 0",
        explains: |_, operation, _| {
            let Operation::Read { offset, width } = *operation else {
                return false;
            };
            pieces(offset, width).any(|(at, piece)| piece == Width::W64 && at != offset::IST_BASER)
        },
    },
    Known {
        id: "resampling-a-high-edge-spi-pends-it",
        script: "line 9 high pending 1
                 write32 0x108 9
                 write32 0x114 1
                 write32 0x114 0
                 write32 0x110 9 pending 1
                 line 9 low pending 1
                 write32 0x110 9 pending 1
                 write32 0x114 1
                 write32 0x110 9 pending 0",
        explains: |history, _, on| {
            matches!(on, Disagreement::Event { reference: Event::SpiState { spi, .. }, .. }
                if history.resampled_high.contains(&spi.id()))
        },
    },
];

/// Reserved bits of the registers that QEMU stores whole: byte offset and mask.
const RESERVED: &[(u64, u64)] = &[
    (offset::CR1, 0xffff_0000),
    (offset::PE_SELR, 0xffff_0000),
    (offset::IST_BASER, 0x0000_003e),
    (offset::IST_BASER + 4, 0xff00_0000),
    (offset::IST_CFGR, 0xfffe_fe00),
];

/// The entry that explains a disagreement at the last of `operations`.
pub fn explain(operations: &[Operation], on: &Disagreement) -> Option<&'static Known> {
    let operation = operations.last()?;
    let history = History::of(operations);
    KNOWN.iter().find(|known| (known.explains)(&history, operation, on))
}

/// Whether an operation reads any of the bytes of a register.
fn reads(operation: &Operation, register: u64, bytes: u64) -> bool {
    matches!(*operation, Operation::Read { offset, width }
        if offset < register + bytes && offset + width.bytes() > register)
}

/// The bits of the value that `operation` reads which belong to the given bits of 32 bit registers.
fn bits_of(operation: &Operation, masks: &[(u64, u64)]) -> u64 {
    let Operation::Read { offset, width } = *operation else {
        return 0;
    };
    let mut bits = 0;
    for byte in 0..width.bytes() {
        for &(register, mask) in masks {
            if let Some(at @ 0..4) = (offset + byte).checked_sub(register) {
                bits |= ((mask >> (at * 8)) & 0xff) << (byte * 8);
            }
        }
    }
    bits
}

fn differs_only_in(on: &Disagreement, bits: u64) -> bool {
    matches!(on, Disagreement::Value { reference: Some(reference), subject: Some(subject) }
        if (reference ^ subject) & !bits == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::from_text;
    use gicv5_facts::QemuKind;
    use script::{ScriptLine, script_line};

    fn value(reference: u64, subject: u64) -> Disagreement {
        Disagreement::Value { reference: Some(reference), subject: Some(subject) }
    }

    /// The name of the entry that explains a disagreement at the end of `text`.
    fn explained(text: &str, on: &Disagreement) -> Option<&'static str> {
        explain(&from_text(text).unwrap(), on).map(|known| known.id)
    }

    #[test]
    fn every_script_parses_and_shows_a_difference() {
        for known in KNOWN {
            let lines: Vec<ScriptLine> = known.script.lines().map(|line| script_line(line).unwrap()).collect();
            let kind = gicv5_facts::qemu().unwrap().iter().find(|difference| difference.id == known.id).unwrap().kind;
            let shown = lines.iter().any(|line| match kind {
                QemuKind::Defect => line.qemu != line.rule || line.candidates == Some(0),
                QemuKind::Choice | QemuKind::Unspecified => line.qemu.is_some() || line.pending.is_some(),
            });
            assert!(shown, "{}", known.id);
        }
    }

    #[test]
    fn every_value_that_a_script_shows_is_explained_by_its_own_entry() {
        for known in KNOWN {
            let mut so_far = Vec::new();
            for line in known.script.lines() {
                let expected = script_line(line).unwrap();
                so_far.push(expected.operation);
                if let (Some(qemu), Some(rule)) = (expected.qemu, expected.rule)
                    && qemu != rule
                {
                    let found = explain(&so_far, &value(qemu, rule)).map(|known| known.id);
                    assert_eq!(found, Some(known.id), "{line}");
                }
            }
        }
    }

    #[test]
    fn a_difference_next_to_a_known_one_is_not_explained() {
        // One PE further, one bit further, one entry further.
        assert_eq!(explained("write32 0x140 5\nread32 0x144", &value(1, 7)), None);
        assert_eq!(explained("write32 0x84 0xffffffff\nread32 0x84", &value(0xffff_7fff, 0xffff_ffff)), None);
        assert_eq!(explained("read32 0xffb8", &value(1, 0)), None);
        let beyond = "write32 0x190 0x1000e\nwrite64 0x180 0x40100001\nwrite32 0x1c0 0x4000\n";
        assert_eq!(explained(&format!("{beyond}load64 0x40100080"), &value(1, 0)), Some("map-l2-beyond-the-ist"));
        assert_eq!(explained(&format!("{beyond}load64 0x40100080"), &value(3, 0)), None);
        assert_eq!(explained(&format!("{beyond}load64 0x40100088"), &value(1, 0)), None);
        // The ID fits into 15 bits; the base is aligned for both shapes.
        let inside = beyond.replace("0x1000e", "0x1000f");
        assert_eq!(explained(&format!("{inside}load64 0x40100080"), &value(1, 0)), None);
        assert_eq!(explained("read64 0x180", &value(1, 0)), None);
    }

    #[test]
    fn narrow_and_wide_accesses_are_explained_only_where_they_are_narrow_or_wide() {
        assert_eq!(explained("read16 0x0", &value(0, 0x1d)), Some("narrow-accesses-do-nothing"));
        // Bytes 1 to 4 of this one come from an aligned 32 bit access.
        assert_eq!(explained("read64 0x3", &value(0x100, 0x200)), None);
        assert_eq!(explained("read64 0x3", &value(0, 0x7f)), Some("narrow-accesses-do-nothing"));
        assert_eq!(explained("read64 0x0", &value(0, 0x4f)), Some("wide-accesses-to-narrow-registers-do-nothing"));
    }
}
