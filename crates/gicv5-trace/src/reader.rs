//! Lines out of a stream, events out of lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::error::TraceError;
use crate::event::Event;
use crate::parse::{Excess, Fault, is_event, parse};
use crate::time::Time;
use crate::zst::ZstdReader;

/// The longest line that is read, in bytes. The longest one QEMU can write is under 200.
pub const MAX_LINE: usize = 1024;

/// How much is read from a file at a time, in bytes.
const BUFFER: usize = 128 * 1024;

/// What to do with a line that is not an event of the device.
///
/// A recording made with `-D FILE` holds events only, and a damaged event must not pass for chatter, so refusing is
/// the default. Skipping is for a trace that shared its file with a guest console or with QEMU's other messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Foreign {
    /// It is an error.
    #[default]
    Refuse,
    /// It is skipped and counted. A line that starts with the name of an event is still read strictly.
    Skip,
}

/// An event and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The number of its file in its [`Recording`](crate::Recording); 0 in a trace of one file.
    pub file: u16,
    /// Line number, counted from 1.
    pub number: u64,
    /// When it was written; 0 without a time stamp.
    pub time: Time,
    /// What the line says.
    pub event: Event,
    /// The first number of an answer that is larger than there can be; in the event it is the largest there can be.
    pub excess: Option<Excess>,
}

/// Reads events from a text trace, one line at a time.
///
/// Memory use does not depend on the input: one line of at most [`MAX_LINE`] bytes is kept, and only when it
/// straddles two of the source's buffers. The iterator ends after the first error.
#[derive(Debug)]
pub struct TraceReader<R> {
    source: R,
    foreign: Foreign,
    /// Number of the line last taken from the source.
    line: u64,
    /// The start of a line whose end was not in the source's buffer.
    partial: Vec<u8>,
    ended: bool,
}

/// Opens a trace file; one whose name ends in `.zst` is decompressed on the way.
///
/// # Errors
///
/// What opening the file said. What is wrong inside the file comes out of the reader.
pub fn open(path: &Path, foreign: Foreign) -> io::Result<TraceReader<Box<dyn BufRead>>> {
    let file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let compressed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zst"));
    let source: Box<dyn BufRead> =
        if compressed { Box::new(BufReader::with_capacity(BUFFER, ZstdReader::new(file))) } else { Box::new(file) };
    Ok(TraceReader::new(source, foreign))
}

impl<R: BufRead> TraceReader<R> {
    /// Reads text from `source`.
    pub fn new(source: R, foreign: Foreign) -> Self {
        Self { source, foreign, line: 0, partial: Vec::new(), ended: false }
    }

    /// The next event, or `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// Every variant of [`TraceError`]; see there.
    pub fn next_line(&mut self) -> Result<Option<Line>, TraceError> {
        loop {
            let buffer = match self.source.fill_buf() {
                Ok(buffer) => buffer,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(TraceError::Read { line: self.line + 1, source });
                }
            };
            if buffer.is_empty() {
                if self.partial.is_empty() {
                    return Ok(None);
                }
                return Err(TraceError::CutShort { line: self.line + 1 });
            }
            let end = memchr::memchr(b'\n', buffer);
            let taken = end.map_or(buffer.len(), |end| end + 1);
            let found = buffer.get(..end.unwrap_or(taken)).unwrap_or_default();
            let number = self.line + 1;

            if end.is_none() || !self.partial.is_empty() {
                // One byte more than a line may have is enough to know that it is too long.
                let room = (MAX_LINE + 1).saturating_sub(self.partial.len());
                let kept = found.get(..room).unwrap_or(found);
                self.partial.extend_from_slice(kept);
            }
            if end.is_none() {
                self.source.consume(taken);
                if self.partial.len() > MAX_LINE && self.foreign == Foreign::Refuse {
                    return Err(TraceError::TooLong { line: number });
                }
                continue;
            }
            let text: &[u8] = if self.partial.is_empty() { found } else { &self.partial };
            let result = if text.len() > MAX_LINE && (self.foreign == Foreign::Refuse || is_event(text)) {
                Err(TraceError::TooLong { line: number })
            } else {
                let (time, length) = Time::split(text);
                match parse(text, length) {
                    Ok((event, excess)) => Ok(Some(Line { file: 0, number, time, event, excess })),
                    Err(Fault::NotAnEvent) if self.foreign == Foreign::Skip => Ok(None),
                    Err(fault) => Err(TraceError::from_fault(fault, number, text)),
                }
            };
            self.partial.clear();
            self.source.consume(taken);
            self.line = number;
            if let Some(line) = result? {
                return Ok(Some(line));
            }
        }
    }
}

impl<R: BufRead> Iterator for TraceReader<R> {
    type Item = Result<Line, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.next_line().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}
