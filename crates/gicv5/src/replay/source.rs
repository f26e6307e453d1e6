//! The lines of a recording, operation by operation, each with the PE it happened on.

use gicv5_trace::{Event, Line, Recording, RecordingError};

use super::engine::Stop;
use super::threads::Threads;

/// A recording as the engine reads it. An operation's lines all come from one file.
pub(super) struct Source {
    pub(super) recording: Recording,
    pub(super) threads: Threads,
    /// The file of the operation.
    pub(super) file: usize,
}

impl Source {
    pub(super) fn new(recording: Recording) -> Source {
        let threads = Threads::new(recording.names());
        Source { recording, threads, file: 0 }
    }

    /// The first line of all, and its file: that in which the machine is made, if there is one.
    pub(super) fn first(&mut self) -> Result<Option<(usize, Line)>, RecordingError> {
        let Some(earliest) = self.recording.earliest()? else { return Ok(None) };
        self.file = earliest;
        for file in 0..self.threads.owners().len() {
            if matches!(self.recording.peek(file, 0)?, Some(Line { event: Event::Realize { .. }, .. })) {
                self.file = file;
                break;
            }
        }
        Ok(self.peek(0)?.map(|line| (self.file, line)))
    }

    /// Finds the PEs of the files. `asked` are the pairs of `--pe`.
    pub(super) fn assign(&mut self, pes: u16, main: usize, asked: &[(String, u16)]) -> Result<(), Stop> {
        let names: Vec<&str> = self.recording.names().collect();
        let mut pairs = Vec::new();
        for (name, pe) in asked {
            let file = names.iter().position(|file| is_called(file, name));
            let file = file.ok_or_else(|| Stop::Asked(format!("--pe {name}={pe}: the recording has no such file")))?;
            if *pe >= pes || file == main {
                let wrong = if file == main { "the file is the main loop's" } else { "the machine has no such PE" };
                return Err(Stop::Asked(format!("--pe {name}={pe}: {wrong}")));
            }
            pairs.push((file, *pe));
        }
        self.threads.assign(&mut self.recording, pes, main, &pairs)
    }

    /// The first line of the next operation, with the PE of its thread if that is known.
    pub(super) fn begin(&mut self) -> Result<Option<(Line, Option<u16>)>, RecordingError> {
        let Some(file) = self.recording.earliest()? else { return Ok(None) };
        self.file = file;
        Ok(self.peek(0)?.map(|line| (line, self.threads.pe(file))))
    }

    /// The `n`-th line from here in the file of the operation, counted from 0; `None` beyond its end.
    pub(super) fn peek(&mut self, n: usize) -> Result<Option<Line>, RecordingError> {
        self.recording.peek(self.file, n)
    }
}

/// Whether a file is called this: its path, or its name with or without `.zst`.
fn is_called(path: &str, name: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    path == name || file == name || file.strip_suffix(".zst") == Some(name)
}
