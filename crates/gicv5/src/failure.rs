//! Why a command could not do what it was asked to.

use std::io;

use gicv5_facts::FactsError;
use thiserror::Error;

/// How a command ended that did what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything held.
    Held,
    /// Something did not.
    NotHeld,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

impl Outcome {
    /// How a command ended that may have been interrupted before everything that it looks at held, or did not.
    pub(crate) fn of(interrupted: bool, held: bool) -> Outcome {
        match (interrupted, held) {
            (true, _) => Outcome::Interrupted,
            (false, true) => Outcome::Held,
            (false, false) => Outcome::NotHeld,
        }
    }

    /// The exit status.
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::NotHeld => 1,
            Self::Interrupted => 130,
        }
    }
}

/// A command that failed. The text is one line, without a full stop.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// Arguments that make no sense.
    #[error("{0}")]
    BadInput(String),
    /// A file that makes no sense, shown with its place as a compiler does.
    #[error("{0}")]
    Diagnostic(String),
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The facts built into the program are damaged. A test keeps this from happening.
    #[error(transparent)]
    Facts(#[from] FactsError),
}

impl Failure {
    /// The exit status. A reader that went away (`| head`) has seen what it wanted.
    pub(crate) fn status(&self) -> u8 {
        if self.is_broken_pipe() { 0 } else { 2 }
    }

    /// Whether the reader of the output went away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // An error that shows its cause is not repeated.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
