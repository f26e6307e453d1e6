//! The lines of a trace, each with the PE it happened on, and as much of what follows as somebody wants to see.

use std::collections::VecDeque;
use std::io::BufRead;

use gicv5_trace::{Line, TraceError, TraceReader};

use super::attribute::Attribution;

/// What is read: a trace from a file or from standard input.
pub(super) type Reader = TraceReader<Box<dyn BufRead>>;

/// Where a line of the CPU interface happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum On {
    /// On this PE; also what lines have that happen nowhere in particular.
    Pe(u16),
    /// On some PE, which is impossible to tell.
    Somebody,
    /// On no PE: there is none whose state agrees with the line.
    Nobody,
}

/// A line, and where it happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) line: Line,
    pub(super) on: On,
}

/// A trace as the engine reads it.
pub(super) struct Source {
    reader: Reader,
    ahead: VecDeque<Placed>,
    /// What tells PEs apart, where there are several.
    attribution: Option<Attribution>,
}

impl Source {
    pub(super) fn new(reader: Reader) -> Source {
        Source { reader, ahead: VecDeque::new(), attribution: None }
    }

    /// The machine has this many PEs: from here on lines have to be attributed to one.
    pub(super) fn attribute(&mut self, pes: usize) {
        if pes > 1 {
            // Nothing has been read beyond what has been handed out.
            self.attribution = Some(Attribution::new(pes));
        }
    }

    /// The `n`-th line from here, counted from 0; `None` beyond the end.
    pub(super) fn peek(&mut self, n: usize) -> Result<Option<Placed>, TraceError> {
        while self.ahead.len() <= n {
            match &mut self.attribution {
                None => match self.reader.next_line()? {
                    Some(line) => self.ahead.push_back(Placed { line, on: On::Pe(0) }),
                    None => return Ok(None),
                },
                Some(attribution) => {
                    if !attribution.more(&mut self.reader, &mut self.ahead)? {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(self.ahead.get(n).copied())
    }

    /// Takes the line that `peek(0)` has shown.
    pub(super) fn pop(&mut self) -> Option<Placed> {
        self.ahead.pop_front()
    }

    /// The most possible worlds there were at once.
    pub(super) fn most_worlds(&self) -> usize {
        self.attribution.as_ref().map_or(1, Attribution::most_worlds)
    }

    /// If the line cannot be right, whatever the model says: the others that may be the wrong ones instead.
    pub(super) fn contradicted(&self, line: Line) -> Option<&[u64]> {
        match (line.excess, &self.attribution) {
            (Some(_), _) => Some(&[]),
            (None, Some(attribution)) => attribution.suspects(line.number),
            (None, None) => None,
        }
    }
}
