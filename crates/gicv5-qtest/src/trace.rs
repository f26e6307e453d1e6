//! QEMU's `gicv5_*` trace lines, as they come out of a running QEMU.
//!
//! With `-d trace:gicv5_*` and no log file the lines go to standard error, mixed with what QEMU says. A qtest
//! command is handled to its end before it is answered, so its lines are written before the answer; but they come
//! on another pipe. The client therefore reads a reserved offset after each operation: QEMU traces that as
//! `gicv5_badread` with the offset, which marks the end of the operation's lines in the same stream. The read itself
//! changes nothing (GEN-9).

use gicv5_trace::{Event, Excess, Foreign, TraceError, TraceReader};

/// The first offset that marks use; reserved in every frame, far from the registers.
pub(crate) const MARKER: u64 = 0x4000;

/// How many markers there are; they repeat after that.
pub(crate) const MARKERS: u64 = 0x1000;

/// What a line of standard error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// An answer of the IRS.
    Answer(Event),
    /// The marker with this number.
    Marker(u64),
    /// An input, which the client gave itself, or an answer of a CPU interface, which no CPU here sets up.
    Other,
    /// Not a trace line: QEMU speaks.
    Words,
}

/// Why a trace line says nothing that can be compared.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// It has an unknown form.
    #[error(transparent)]
    Form(#[from] TraceError),
    /// It has a number that its field cannot hold. The event has the largest that it can, which the model may well
    /// have answered.
    #[error("{excess}: {line}")]
    Excess {
        /// Which number.
        excess: Excess,
        /// The whole line.
        line: String,
    },
}

/// Reads one line of standard error, without its end.
pub(crate) fn parse(line: &str) -> Result<Line, BadLine> {
    // The reader wants whole lines, since a cut one could pass for another.
    let whole = format!("{line}\n");
    let Some(read) = TraceReader::new(whole.as_bytes(), Foreign::Skip).next_line()? else { return Ok(Line::Words) };
    if let Some(excess) = read.excess {
        return Err(BadLine::Excess { excess, line: line.to_owned() });
    }
    Ok(match read.event {
        Event::BadRead { offset, .. } if (MARKER..MARKER + MARKERS * 4).contains(&offset.into()) => {
            Line::Marker((u64::from(offset) - MARKER) / 4)
        }
        Event::SpiState { .. }
        | Event::IrsCandidate { .. }
        | Event::IrsNoCandidate { .. }
        | Event::IstValid { .. }
        | Event::IstInvalid { .. } => Line::Answer(read.event),
        _ => Line::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_markers_and_words_are_told_apart() {
        let state = "gicv5_spi_state GICv5 IRS SPI ID 5 now level 1 pending 1 active 0";
        assert!(matches!(parse(state), Ok(Line::Answer(Event::SpiState { high: true, pending: true, .. }))));
        let bad_read =
            |offset| format!("gicv5_badread GICv5 IRS NonSecure config frame read: offset {offset} size 4: error");
        assert!(matches!(parse(&bad_read("0x4008")), Ok(Line::Marker(2))));
        assert!(matches!(parse(&bad_read("0x8000")), Ok(Line::Other)));
        assert!(matches!(parse("gicv5_update_irq_fiq now IRQ 0 FIQ 0 NMI 0"), Ok(Line::Other)));
        assert!(matches!(parse("qemu-system-aarch64: could not allocate memory"), Ok(Line::Words)));
    }

    #[test]
    fn a_trace_line_in_another_form_is_an_error_and_not_skipped() {
        assert!(parse("gicv5_spi_state GICv5 IRS SPI 5: level 1, pending 1, active 0").is_err());
    }

    #[test]
    fn an_answer_that_no_hardware_can_give_is_an_error_and_not_the_nearest_one_that_it_can() {
        let error = parse("gicv5_spi_state GICv5 IRS SPI ID 5 now level 7 pending 1 active 0").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the state of an SPI is more than 1: gicv5_spi_state GICv5 IRS SPI ID 5 now level 7 pending 1 active 0"
        );
    }
}
