//! QEMU's `gicv5_*` trace lines as [`Fact`]s.
//!
//! With `-d trace:gicv5_*` and no log file the lines go to standard error. A qtest command is handled to its end
//! before it is answered, so its lines come before the answer; but they come on another pipe. The client
//! therefore reads a reserved offset after each operation: QEMU reports that as `gicv5_badread` with the
//! offset, which marks the end of the operation's lines in the same stream. The reading itself changes nothing
//! (GEN-9).

use crate::operation::{Fact, Level};

/// The first offset that marks use; reserved in every frame, far from the registers.
pub(crate) const MARKER: u64 = 0x4000;

/// How many markers there are; they repeat after that.
pub(crate) const MARKERS: u64 = 0x1000;

/// What a line of standard error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// A trace line that tells something.
    Fact(Fact),
    /// The marker with this number.
    Marker(u64),
    /// Any other `gicv5_` line.
    Known,
    /// Not a trace line: QEMU speaks.
    Words,
}

/// The number after `label`, decimal or `0x` hexadecimal.
fn after(line: &str, label: &str) -> Option<u64> {
    let (_, rest) = line.split_once(label)?;
    let word = rest.trim_start().split([' ', ':', ',']).next()?;
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

/// Reads one line of standard error.
pub(crate) fn parse(line: &str) -> Line {
    let Some((event, rest)) = line
        .split_once(' ')
        .filter(|(event, _)| event.starts_with("gicv5_"))
    else {
        // Guest errors are logged without an event name; only those of the IRS occur without a guest.
        let guest_error = [
            "config_read:",
            "config_write:",
            "guest tried to",
            "L1 ISTE",
            "L2 ISTE",
        ];
        let known = guest_error.iter().any(|start| line.starts_with(start));
        return if known { Line::Known } else { Line::Words };
    };
    match event {
        "gicv5_badread" => match after(rest, "offset ") {
            Some(at) if (MARKER..MARKER + MARKERS * 4).contains(&at) => {
                Line::Marker((at - MARKER) / 4)
            }
            _ => Line::Known,
        },
        _ => fact(event, rest).map_or(Line::Known, Line::Fact),
    }
}

fn fact(event: &str, rest: &str) -> Option<Fact> {
    let bit = |label| Some(after(rest, label)? != 0);
    let byte = |label| u8::try_from(after(rest, label)?).ok();
    let word = |label| u32::try_from(after(rest, label)?).ok();
    Some(match event {
        "gicv5_spi_state" => Fact::Spi {
            spi: word("SPI ID ")?,
            level: if bit("level ")? {
                Level::High
            } else {
                Level::Low
            },
            pending: bit("pending ")?,
            active: bit("active ")?,
        },
        "gicv5_irs_recalc_hppi" => {
            let priority = byte("prio ")?;
            let id = word("HPPI ID ")?;
            // Priority 255 is above every real one: nothing pending (PRI-1).
            Fact::Candidate {
                iaffid: word("IAFFID ")?,
                hppi: (priority < 32).then_some((id, priority)),
            }
        }
        "gicv5_irs_recalc_hppi_fail" => Fact::Candidate {
            iaffid: word("IAFFID ")?,
            hppi: None,
        },
        "gicv5_ist_valid" => Fact::IstValid {
            base: after(rest, "base ")?,
            id_bits: byte("id_bits ")?,
            l2_index_bits: byte("l2_idx_bits ")?,
            entry_bytes: byte("entry size ")?,
            two_level: bit("2-level ")?,
        },
        "gicv5_ist_invalid" => Fact::IstInvalid,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lines_of_qemu_11_1_3_become_facts() {
        let cases = [
            (
                "gicv5_spi_state GICv5 IRS SPI ID 5 now level 1 pending 1 active 0",
                Line::Fact(Fact::Spi {
                    spi: 5,
                    level: Level::High,
                    pending: true,
                    active: false,
                }),
            ),
            (
                "gicv5_irs_recalc_hppi GICv5 IRS NonSecure IAFFID 2: new HPPI ID 0x0 prio 255",
                Line::Fact(Fact::Candidate {
                    iaffid: 2,
                    hppi: None,
                }),
            ),
            (
                "gicv5_irs_recalc_hppi GICv5 IRS NonSecure IAFFID 1: new HPPI ID 0x40000003 prio 8",
                Line::Fact(Fact::Candidate {
                    iaffid: 1,
                    hppi: Some((0x4000_0003, 8)),
                }),
            ),
            (
                "gicv5_irs_recalc_hppi_fail GICv5 IRS NonSecure IAFFID 0: no HPPI: IRS_CR0.IRSEN is zero",
                Line::Fact(Fact::Candidate {
                    iaffid: 0,
                    hppi: None,
                }),
            ),
            (
                "gicv5_ist_valid GICv5 IRS NonSecure IST now valid: base 0x40100000 id_bits 14 l2_idx_bits 9 IST entry size 8 2-level 1",
                Line::Fact(Fact::IstValid {
                    base: 0x4010_0000,
                    id_bits: 14,
                    l2_index_bits: 9,
                    entry_bytes: 8,
                    two_level: true,
                }),
            ),
            (
                "gicv5_ist_invalid GICv5 IRS NonSecure IST no longer valid",
                Line::Fact(Fact::IstInvalid),
            ),
            (
                "gicv5_badread GICv5 IRS NonSecure config frame read: offset 0x4008 size 4: error",
                Line::Marker(2),
            ),
            (
                "gicv5_badread GICv5 IRS NonSecure config frame read: offset 0x200 size 8: error",
                Line::Known,
            ),
            ("gicv5_update_irq_fiq now IRQ 0 FIQ 0 NMI 0", Line::Known),
            (
                "config_read: invalid guest read for IRS NonSecure config frame at offset 0000000000000200 size 8",
                Line::Known,
            ),
            (
                "qemu-system-aarch64: could not allocate memory",
                Line::Words,
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in "(gicv5_[a-z_]{0,20} )?.*") {
            let _ = parse(&line);
        }
    }
}
