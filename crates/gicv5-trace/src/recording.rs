//! A recording of several files, one for each thread of QEMU, in the order in which things happened.
//!
//! A file's own order always counts. Between files the time stamps count, and a clock that is set back shows as a time that
//! goes back within a file and stays back: from there on the file's lines come after all that other files have from before.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use crate::error::TraceError;
use crate::reader::{Foreign, Line, TraceReader, open};
use crate::time::Time;

/// A clock is set back by at most this much, in microseconds.
const MOST_BACK: u64 = 1_000_000;

/// So many lines are read at once.
const AT_ONCE: usize = 16;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file or a folder cannot be opened.
    #[error("cannot read {path:?}: {source}")]
    Open {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing to read.
    #[error("{path:?} has no files")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// Something is wrong inside a file.
    #[error("{file}: {source}")]
    Trace {
        /// Its name.
        file: String,
        /// What, with the line.
        source: TraceError,
    },
}

/// One file, and the lines of it that have been read ahead.
struct Thread {
    name: String,
    reader: TraceReader<Box<dyn BufRead>>,
    ahead: VecDeque<Line>,
    /// The latest time read since the clock was set back last.
    latest: Time,
    /// The line read last has an earlier time than this.
    odd: Option<Time>,
}

/// The files of a recording.
pub struct Recording {
    threads: Vec<Thread>,
    /// For each time that the clock was set back: later times are surely after that.
    ends: Vec<u64>,
    /// The file with the earliest line, and up to when its lines are earlier than those of all others.
    current: (usize, Time),
}

impl Recording {
    /// Opens files, and all files of folders. A file whose name ends in `.zst` is decompressed on the way. The files are put
    /// into the order of the numbers at the end of their names, which `-D t.%d` makes those of the threads.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Open`] and [`RecordingError::Empty`]. What is wrong inside a file comes out of the recording.
    pub fn open(paths: &[PathBuf]) -> Result<Recording, RecordingError> {
        let mut files = Vec::new();
        for path in paths {
            let failed = |source| RecordingError::Open { path: path.clone(), source };
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            let before = files.len();
            for entry in path.read_dir().map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.path().is_file() {
                    files.push(entry.path());
                }
            }
            if files.len() == before {
                return Err(RecordingError::Empty { path: path.clone() });
            }
        }
        files.sort_by_cached_key(|path| (thread_number(path), path.clone()));
        let mut readers = Vec::new();
        for path in files {
            let reader = open(&path, Foreign::Refuse);
            let name = path.display().to_string();
            readers.push((name, reader.map_err(|source| RecordingError::Open { path, source })?));
        }
        Ok(Self::new(readers))
    }

    /// A recording of these files, in the order of their threads, with their names.
    pub fn new(files: impl IntoIterator<Item = (String, TraceReader<Box<dyn BufRead>>)>) -> Recording {
        let thread =
            |(name, reader)| Thread { name, reader, ahead: VecDeque::new(), latest: Time::default(), odd: None };
        Recording { threads: files.into_iter().map(thread).collect(), ends: Vec::new(), current: (0, Time::default()) }
    }

    /// The names of the files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.threads.iter().map(|thread| thread.name.as_str())
    }

    /// The `n`-th line of a file that has not been taken, counted from 0; `None` beyond the end.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Trace`].
    #[inline]
    pub fn peek(&mut self, file: usize, n: usize) -> Result<Option<Line>, RecordingError> {
        loop {
            if let Some(line) = self.threads.get(file).and_then(|thread| thread.ahead.get(n)) {
                return Ok(Some(*line));
            }
            if !self.read(file)? {
                return Ok(None);
            }
        }
    }

    /// Takes the first line of a file that [`peek`](Self::peek) has shown.
    #[inline]
    pub fn pop(&mut self, file: usize) -> Option<Line> {
        self.threads.get_mut(file)?.ahead.pop_front()
    }

    /// The file whose first line is the earliest of all; `None` at the end of all.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Trace`].
    pub fn earliest(&mut self) -> Result<Option<usize>, RecordingError> {
        let (current, until) = self.current;
        let first = self.threads.get(current).and_then(|thread| thread.ahead.front());
        if first.is_some_and(|line| line.time < until) {
            return Ok(Some(current));
        }
        let mut best = (Time::MAX, None);
        let mut second = Time::MAX;
        for file in 0..self.threads.len() {
            let Some(line) = self.peek(file, 0)? else { continue };
            let mut time = line.time;
            while self.ends.get(time.set_back() as usize).is_some_and(|end| time.micros() > *end) {
                time = time.after(time.set_back() + 1);
                self.set_back(file, time.set_back());
            }
            if time < best.0 {
                second = best.0;
                best = (time, Some(file));
            } else {
                second = second.min(time);
            }
        }
        if let (_, Some(file)) = best {
            self.current = (file, second);
        }
        Ok(best.1)
    }

    /// What was read of a file ahead is from after the clock was set back.
    fn set_back(&mut self, file: usize, times: u64) {
        let Some(thread) = self.threads.get_mut(file) else { return };
        thread.latest = thread.latest.after(thread.latest.set_back().max(times));
        for line in &mut thread.ahead {
            line.time = line.time.after(line.time.set_back().max(times));
        }
    }

    /// Reads lines of a file ahead: some at once, because that is quicker. False at the end.
    fn read(&mut self, file: usize) -> Result<bool, RecordingError> {
        let alone = self.threads.len() == 1;
        let Some(thread) = self.threads.get_mut(file) else { return Ok(false) };
        let before = thread.ahead.len();
        while thread.ahead.len() < before + AT_ONCE || thread.odd.is_some() {
            let mut line = match thread.reader.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => {
                    thread.odd = None;
                    break;
                }
                Err(source) => return Err(RecordingError::Trace { file: thread.name.clone(), source }),
            };
            line.file = file as u16;
            let (micros, latest) = (line.time.micros(), thread.latest.micros());
            if micros < latest || micros == 0 && !alone || thread.odd.is_some() {
                thread.late(&line, alone, &mut self.ends)?;
            } else {
                thread.latest = line.time.after(thread.latest.set_back());
            }
            line.time = thread.latest;
            thread.ahead.push_back(line);
        }
        Ok(thread.ahead.len() > before)
    }
}

impl Thread {
    /// The time of a line is earlier than that of the line above, or it may show what to make of that.
    #[cold]
    fn late(&mut self, line: &Line, alone: bool, ends: &mut Vec<u64>) -> Result<(), RecordingError> {
        let (number, micros, latest) = (line.number, line.time.micros(), self.latest.micros());
        let source = match micros {
            0 if !alone => Some(TraceError::NoTime { line: number }),
            1.. if latest > micros + MOST_BACK => Some(TraceError::TimeBack { line: number }),
            _ => None,
        };
        if let Some(source) = source {
            return Err(RecordingError::Trace { file: self.name.clone(), source });
        }
        let set_back = self.latest.set_back();
        match self.odd.take() {
            _ if micros >= latest => self.latest = line.time.after(set_back),
            // One time that is earlier than that before it may be a mistake; two are a clock that was set back.
            Some(first) => {
                let end = first.micros() + MOST_BACK;
                match ends.get_mut(set_back as usize) {
                    Some(known) => *known = end.min(*known),
                    None => ends.push(end),
                }
                if let Some(before) = self.ahead.back_mut() {
                    before.time = first.after(set_back + 1);
                }
                self.latest = line.time.max(first).after(set_back + 1);
            }
            None => self.odd = Some(line.time),
        }
        Ok(())
    }
}

/// The number at the end of a file's name, `.zst` apart.
fn thread_number(path: &Path) -> u64 {
    let name = path.file_name().map(OsString::from).unwrap_or_default();
    let name = name.to_string_lossy();
    let name = name.strip_suffix(".zst").unwrap_or(&name);
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    name.get(name.len() - digits..).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
