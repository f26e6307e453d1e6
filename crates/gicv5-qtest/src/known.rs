//! Where QEMU is known to differ from the rules: a checked list.
//!
//! Every entry carries a script that shows the difference. [`Known::check`] runs it: QEMU must still answer as
//! the entry says, so a repaired defect is noticed, and a machine that follows the rules must answer as the
//! rule says. [`explain`] decides whether a disagreement found by chance is one of these.

use std::collections::{BTreeMap, BTreeSet};

use gicv5_arch::sysreg::SysReg;
use gicv5_trace::Event;

use crate::compare::{Disagreement, frame_writes};
use crate::ist::IstRegisters;
use crate::layout::{FRAME_BYTES, SPIS, offset};
use crate::operation::{Answer, Operation, ParseError, TestMachine, Width, WireLevel, number, pieces};
use crate::qemu::FirstPe;

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
    Known {
        id: "spi-disable-enables",
        script: "GIC CDEN 0x60000005
                 GIC CDDIS 0x60000005
                 GIC CDRCFG 0x60000005
                 mrs ICC_ICSR_EL1 qemu 2 rule 0",
        // Sequences leave it out: what follows from a state that differs cannot be explained one by one.
        explains: |_, _, _| false,
    },
    Known {
        id: "spi-clear-pending-sets",
        script: "GIC CDPEND 0x60000005
                 GIC CDRCFG 0x60000005
                 mrs ICC_ICSR_EL1 qemu 4 rule 0",
        explains: |_, _, _| false,
    },
    Known {
        id: "ppi-deactivate-clears-the-upper-half",
        script: "msr ICC_PPI_SACTIVER0_EL1 0x10000000000
                 GIC CDDI 0x20000008
                 mrs ICC_PPI_SACTIVER0_EL1 qemu 0 rule 0x10000000000
                 msr ICC_PPI_SACTIVER1_EL1 0x8000000100000001
                 GIC CDDI 0x20000060
                 mrs ICC_PPI_SACTIVER1_EL1 qemu 1 rule 0x8000000000000001",
        explains: |_, _, _| false,
    },
    Known {
        id: "ppi-25-without-the-legacy-feature",
        script: "mrs ICC_IDR0_EL1 qemu 0x41 rule 0x41
                 mrs ICC_PPI_HMR0_EL1 qemu 0xfffffffffffffff7 rule 0xfffffffffdfffff7
                 msr ICC_PPI_ENABLER0_EL1 0xffffffffffffffff
                 mrs ICC_PPI_ENABLER0_EL1 qemu 0xffffffffffffffff rule 0xfffffffffdffffff",
        explains: |_, operation, on| {
            matches!(operation, Operation::ReadSysreg { register } if register.name().starts_with("ICC_PPI_"))
                && differs_only_in(on, 1 << 25)
        },
    },
    Known {
        id: "icc-cr0-shows-a-link",
        script: "mrs ICC_CR0_EL1 qemu 6
                 msr ICC_CR0_EL1 0xffffffffffffffff
                 mrs ICC_CR0_EL1 qemu 7",
        explains: |_, operation, on| {
            matches!(operation, Operation::ReadSysreg { register: SysReg::ICC_CR0_EL1 }) && differs_only_in(on, 6)
        },
    },
    Known {
        id: "reserved-bits-of-a-pe-are-stored",
        script: "msr ICC_ICSR_EL1 0xffffffffffffffff
                 mrs ICC_ICSR_EL1 qemu 0xffffffffffffffff
                 msr ICC_PPI_PRIORITYR0_EL1 0xffffffffffffffff
                 mrs ICC_PPI_PRIORITYR0_EL1 qemu 0xffffffffffffffff",
        explains: |_, operation, on| match operation {
            Operation::ReadSysreg { register: SysReg::ICC_ICSR_EL1 } => differs_only_in(on, !0x0000_ffff_0000_f83f),
            Operation::ReadSysreg { register } if register.name().starts_with("ICC_PPI_PRIORITYR") => {
                differs_only_in(on, 0xe0e0_e0e0_e0e0_e0e0)
            }
            _ => false,
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

/// In which way QEMU's idea of an `IRS_MAP_L2_ISTR` write was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WrongMap {
    Beyond,
    Misaligned,
}

/// What an explanation may have to know about the operations before.
#[derive(Debug, Default)]
struct History {
    cr0_unread: bool,
    pe_written: bool,
    pe_selr: u64,
    ist: IstRegisters,
    /// Entries whose VALID bit QEMU may have set, or failed to set, wrongly.
    wrong_maps: BTreeMap<u64, WrongMap>,
    levels: BTreeMap<u32, WireLevel>,
    /// SPIs that were resampled while their wire was high.
    resampled_high: BTreeSet<u32>,
}

impl History {
    fn of(operations: &[Operation]) -> Self {
        let mut history = Self::default();
        for operation in operations {
            match *operation {
                Operation::Line { spi, level } => {
                    history.levels.insert(spi, level);
                }
                Operation::Read { .. } if reads(operation, offset::CR0, 4) => {
                    history.cr0_unread = false;
                }
                _ => {}
            }
            for (at, width, value) in frame_writes(std::slice::from_ref(operation)) {
                history.write(at, width, value);
            }
        }
        history
    }

    /// Follows QEMU, including its defects.
    fn write(&mut self, at: u64, width: Width, value: u64) {
        self.ist.write(at, width, value);
        match (at, width) {
            (offset::CR0, Width::W32) => self.cr0_unread = true,
            (offset::PE_SELR, Width::W32) => (self.pe_written, self.pe_selr) = (true, value),
            (offset::MAP_L2_ISTR, Width::W32) => self.map(value & 0xff_ffff),
            (offset::SPI_RESAMPLER, Width::W32) => {
                let spi = u32::try_from(value & 0xff_ffff).unwrap_or(SPIS);
                if self.levels.get(&spi) == Some(&WireLevel::High) {
                    self.resampled_high.insert(spi);
                }
            }
            _ => {}
        }
    }

    fn map(&mut self, id: u64) {
        let IstRegisters { shape, .. } = self.ist;
        if !self.ist.is_valid() || !shape.two_level() {
            return;
        }
        let index = (id >> shape.l2_index_bits()) * 8;
        let (base, aligned) = (self.ist.base(), self.ist.aligned_base());
        if id >> shape.id_bits() != 0 {
            self.wrong_maps.insert(base + index, WrongMap::Beyond);
        } else if aligned != base {
            self.wrong_maps.insert(base + index, WrongMap::Misaligned);
            self.wrong_maps.insert(aligned + index, WrongMap::Misaligned);
        }
    }

    /// Whether a load differs in nothing but a VALID bit that such a map set or did not set.
    fn wrong_map(&self, operation: &Operation, on: &Disagreement, way: WrongMap) -> bool {
        let Operation::Load { address, .. } = *operation else {
            return false;
        };
        differs_only_in(on, 1) && self.wrong_maps.get(&address) == Some(&way)
    }
}

/// Whose answers a script is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// QEMU: the values, candidates and pending states of the script.
    Qemu,
    /// A machine that follows the rules: the values after `rule`.
    Rule,
}

/// Why a script does not hold.
#[derive(Debug, thiserror::Error)]
pub enum CheckError<E: std::error::Error> {
    /// A line of the script is not one.
    #[error("line {line} of the script of {name}")]
    Script {
        /// The entry.
        name: &'static str,
        /// Line in the script, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: ParseError,
    },
    /// The machine failed.
    #[error("running the script of {name}")]
    Machine {
        /// The entry.
        name: &'static str,
        /// How.
        #[source]
        source: E,
    },
    /// The machine answers something else.
    #[error("{name}: {operation}: {what} is {found}, the list says {expected}")]
    Answer {
        /// The entry.
        name: &'static str,
        /// The operation.
        operation: Operation,
        /// What was compared.
        what: &'static str,
        /// What the machine answers.
        found: String,
        /// What the list says.
        expected: String,
    },
}

/// One line of a script.
struct ScriptLine {
    operation: Operation,
    qemu: Option<u64>,
    rule: Option<u64>,
    candidates: Option<u64>,
    pending: Option<u64>,
}

fn script_line(line: &str) -> Result<ScriptLine, ParseError> {
    let mut words = line.split_whitespace();
    let operation = Operation::parse(&mut words)?;
    let mut expected = ScriptLine { operation, qemu: None, rule: None, candidates: None, pending: None };
    while let Some(word) = words.next() {
        let slot = match word {
            "qemu" => &mut expected.qemu,
            "rule" => &mut expected.rule,
            "candidates" => &mut expected.candidates,
            "pending" => &mut expected.pending,
            other => return Err(ParseError::Trailing(other.to_owned())),
        };
        *slot = Some(number("an expectation", words.next())?);
    }
    Ok(expected)
}

impl Known {
    /// The machine that the script needs.
    pub fn first_pe(&self) -> FirstPe {
        let executes = |line: &str| script_line(line).is_ok_and(|line| line.operation.is_instruction());
        if self.script.lines().any(executes) { FirstPe::Executes } else { FirstPe::Stopped }
    }

    /// Runs the script on a machine with four PEs; for [`Side::Qemu`] it must trace.
    pub fn check<F: TestMachine>(&self, machine: &mut F, side: Side) -> Result<(), CheckError<F::Error>> {
        let lines = self
            .script
            .lines()
            .enumerate()
            .map(|(index, line)| {
                script_line(line).map_err(|source| CheckError::Script { name: self.id, line: index + 1, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let operations: Vec<Operation> = lines.iter().map(|line| line.operation).collect();
        let answers = machine.run(&operations).map_err(|source| CheckError::Machine { name: self.id, source })?;
        for (line, answer) in lines.iter().zip(&answers) {
            self.check_line(line, answer, side)?;
        }
        Ok(())
    }

    fn check_line<E: std::error::Error>(
        &self,
        line: &ScriptLine,
        answer: &Answer,
        side: Side,
    ) -> Result<(), CheckError<E>> {
        let expect = |what, expected: Option<u64>, found: Option<u64>| match expected {
            Some(expected) if found != Some(expected) => Err(CheckError::Answer {
                name: self.id,
                operation: line.operation,
                what,
                found: found.map_or("missing".to_owned(), |found| format!("{found:#x}")),
                expected: format!("{expected:#x}"),
            }),
            _ => Ok(()),
        };
        if side == Side::Rule {
            return expect("the value", line.rule, answer.value);
        }
        expect("the value", line.qemu, answer.value)?;
        let candidates = answer
            .events
            .iter()
            .filter(|event| matches!(event, Event::IrsCandidate { .. } | Event::IrsNoCandidate { .. }))
            .count();
        expect("the number of candidates", line.candidates, Some(candidates as u64))?;
        let pending = answer.events.iter().rev().find_map(|event| match event {
            Event::SpiState { pending, .. } => Some(u64::from(*pending)),
            _ => None,
        });
        expect("the pending state", line.pending, pending)
    }
}

/// Checks the state after reset: every aligned 32 bit word of the frame against
/// [`RESET`](crate::layout::RESET). Returns offset, value found and value listed of each that differs.
pub fn check_reset<F: TestMachine>(machine: &mut F) -> Result<Vec<(u64, u64, u64)>, F::Error> {
    let sequence: Vec<Operation> =
        (0..FRAME_BYTES).step_by(4).map(|offset| Operation::Read { offset, width: Width::W32 }).collect();
    let answers = machine.run(&sequence)?;
    let listed = |offset| {
        let found = crate::layout::RESET.iter().find(|(register, _)| u64::from(register.offset()) == offset);
        found.map_or(0, |&(_, value)| u64::from(value))
    };
    Ok((0..FRAME_BYTES)
        .step_by(4)
        .zip(answers)
        .map(|(offset, answer)| (offset, answer.value.unwrap_or(0), listed(offset)))
        .filter(|(_, found, listed)| found != listed)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::from_text;
    use gicv5_facts::QemuKind;

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
                    // Sequences leave out what the others show.
                    && known.first_pe() == FirstPe::Stopped
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
