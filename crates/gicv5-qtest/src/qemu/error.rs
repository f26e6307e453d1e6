//! Why QEMU gave no answer.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::layout::{FRAME_BYTES, SPIS};
use crate::operation::Operation;
use crate::trace::BadLine;

/// Why QEMU gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// It could not be started.
    #[error("cannot start QEMU")]
    Start(#[source] io::Error),
    /// The directory or socket for its monitor could not be made.
    #[error("cannot {what} {}", path.display())]
    Socket {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// It ended by itself.
    #[error("QEMU ended ({status}) {after}; its last words:\n{last_words}")]
    Ended {
        /// Exit status.
        status: ExitStatus,
        /// What it was asked last.
        after: String,
        /// The end of its standard error, without trace lines.
        last_words: String,
    },
    /// It did not answer in time.
    #[error("QEMU gave no answer within {seconds} s {after}; its last words:\n{last_words}")]
    Silent {
        /// How long it was given.
        seconds: u64,
        /// What it was asked.
        after: String,
        /// The end of its standard error, without trace lines.
        last_words: String,
    },
    /// It answered something else than `OK`.
    #[error("QEMU answers {reply:?} to {command:?}")]
    Reply {
        /// What it was asked.
        command: String,
        /// What it said.
        reply: String,
    },
    /// Its monitor answered something unexpected.
    #[error("QEMU's monitor answers {reply} to {command}")]
    Monitor {
        /// What it was asked.
        command: String,
        /// What it said.
        reply: String,
    },
    /// A line of its trace has an unknown form, or a number that its field cannot hold.
    #[error("QEMU's trace cannot be read")]
    Trace(#[source] BadLine),
    /// The machine has no device of the type `arm-gicv5`.
    #[error("QEMU's machine has no arm-gicv5 device")]
    NoGic,
    /// The operation names a place that is not there; QEMU would end on it or answer for another device.
    #[error("{operation} is outside the machine: the frame has {FRAME_BYTES:#x} bytes, SPIs go from 0 to {}", SPIS - 1)]
    Outside {
        /// The operation.
        operation: Operation,
    },
}
