//! Why a trace cannot be read.

use std::io;

use crate::parse::Fault;
use crate::reader::MAX_LINE;

/// Why a trace cannot be read. Every variant carries the line, counted from 1.
///
/// Text taken from the trace is escaped, so an error prints safely whatever the file holds.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The source failed: an unreadable file, a corrupt or cut-short compressed stream.
    /// The line is the first one that could not be read.
    #[error("line {line}: cannot read on: {source}")]
    Read {
        /// The line being read.
        line: u64,
        /// What the source said.
        source: io::Error,
    },
    /// The last line does not end in a newline: whatever wrote the trace was interrupted, and a
    /// number at the end of the line may have lost digits.
    #[error("line {line}: the trace is cut short: its last line has no newline")]
    CutShort {
        /// The unfinished line.
        line: u64,
    },
    /// Longer than any event can be.
    #[error("line {line}: longer than {MAX_LINE} bytes, which no trace event is")]
    TooLong {
        /// The line.
        line: u64,
    },
    /// Something other than a GICv5 event, where [`Foreign::Refuse`](crate::Foreign::Refuse) is in force.
    #[error("line {line}: not a GICv5 trace event: \"{start}\"; give the trace a file of its own with -D FILE")]
    Foreign {
        /// The line.
        line: u64,
        /// How the line starts, escaped.
        start: String,
    },
    /// An event of the device that is not known here: of a newer QEMU, or a damaged name.
    #[error("line {line}: unknown event \"{event}\"")]
    UnknownEvent {
        /// The line.
        line: u64,
        /// The name, escaped.
        event: String,
    },
    /// A known event whose text is not what its format says.
    #[error("line {line}, column {column}: {event}: expected \"{expected}\"")]
    Malformed {
        /// The line.
        line: u64,
        /// The first byte that does not fit, counted from 1.
        column: usize,
        /// The event's name.
        event: String,
        /// What should have been there.
        expected: &'static str,
    },
    /// A line of one of several files without the time stamp that puts it in order.
    #[error("line {line}: no time stamp; record a file per thread with -msg timestamp=on")]
    NoTime {
        /// The line.
        line: u64,
    },
    /// The time goes back within a file by more than a clock is ever set back: lines are missing or were moved.
    #[error("line {line}: its time stamp is more than a second before that of the line above")]
    TimeBack {
        /// The line.
        line: u64,
    },
    /// A number too big for its field.
    #[error("line {line}, column {column}: {event}: {field} is more than {max}")]
    OutOfRange {
        /// The line.
        line: u64,
        /// Where the number starts, counted from 1.
        column: usize,
        /// The event's name.
        event: String,
        /// The field.
        field: &'static str,
        /// The largest value it can have.
        max: u64,
    },
}

impl TraceError {
    /// The line the error is about, counted from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        match self {
            Self::Read { line, .. }
            | Self::CutShort { line }
            | Self::TooLong { line }
            | Self::Foreign { line, .. }
            | Self::UnknownEvent { line, .. }
            | Self::NoTime { line }
            | Self::TimeBack { line }
            | Self::Malformed { line, .. }
            | Self::OutOfRange { line, .. } => *line,
        }
    }

    #[cold]
    pub(crate) fn from_fault(fault: Fault, line: u64, text: &[u8]) -> Self {
        let event = || {
            let end = text.iter().position(|&b| b == b' ').unwrap_or(text.len());
            excerpt(text.get(..end).unwrap_or_default())
        };
        match fault {
            Fault::NotAnEvent => Self::Foreign { line, start: excerpt(text) },
            Fault::UnknownEvent => Self::UnknownEvent { line, event: event() },
            Fault::Malformed { column, expected } => Self::Malformed { line, column, event: event(), expected },
            Fault::OutOfRange { column, field, max } => Self::OutOfRange { line, column, event: event(), field, max },
        }
    }
}

/// As much of a line as an error message should show.
fn excerpt(text: &[u8]) -> String {
    const SHOWN: usize = 40;
    let shown = text.get(..SHOWN).unwrap_or(text);
    let dots = if text.len() > SHOWN { "..." } else { "" };
    format!("{}{dots}", shown.escape_ascii())
}
