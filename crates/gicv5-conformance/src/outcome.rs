//! How a test ends.

use core::fmt;

use gicv5_arch::IntId;

use crate::bench::Stopped;
use crate::features::Need;
use crate::profile::Profile;

/// A value in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A bit, a condition.
    Bool(bool),
    /// The contents of a register, a number.
    Number(u64),
    /// An interrupt, or none.
    Interrupt(Option<IntId>),
    /// In words.
    Text(&'static str),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value:#x}"),
            Value::Interrupt(Some(id)) => write!(f, "{id}"),
            Value::Interrupt(None) => f.write_str("none"),
            Value::Text(text) => f.write_str(text),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Value {
            fn from(value: $number) -> Value {
                Value::Number(value.into())
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64);

impl From<Option<IntId>> for Value {
    fn from(value: Option<IntId>) -> Value {
        Value::Interrupt(value)
    }
}

/// Why a test failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The hardware did another thing than it should have.
    #[error("{what}: expected {expected}, actual {actual}")]
    Unequal {
        /// What was looked at.
        what: &'static str,
        /// What the rules want.
        expected: Value,
        /// What there is.
        actual: Value,
    },
    /// A status register did not become idle in time.
    #[error("{register} stays busy after a write, last value {value:#x}")]
    Busy {
        /// The status register.
        register: &'static str,
        /// Its last value.
        value: u64,
    },
    /// The bench has no memory, or no interrupt, for the test.
    #[error("the bench has no {what} left")]
    Exhausted {
        /// Of what.
        what: &'static str,
    },
    /// The test was cut short.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The test did what it should but the hardware cannot be put back into the state it was in.
    #[error("left behind: {what} was {expected}, is {actual}")]
    LeftBehind {
        /// What is different.
        what: &'static str,
        /// Before.
        expected: Value,
        /// After.
        actual: Value,
    },
}

/// What a test's body returns.
pub type Outcome = Result<(), Failure>;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The hardware does what the rules say.
    Pass,
    /// It does not.
    Fail(Failure),
    /// It does not what a [`Profile`] needs, which it may: the rules leave that open, and the runner was not told to hold the
    /// machine to the profile.
    Open(Profile, Failure),
    /// The ID registers say that it has not what the test needs.
    NotApplicable(Need),
}

impl Verdict {
    /// `pass`, `fail`, `open` or `not-applicable`.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail(_) => "fail",
            Verdict::Open(..) => "open",
            Verdict::NotApplicable(_) => "not-applicable",
        }
    }
}

/// Compares, and says what was compared if it is not the same.
///
/// # Errors
///
/// [`Failure::Unequal`].
pub fn expect<T: Into<Value> + PartialEq>(what: &'static str, expected: T, actual: T) -> Outcome {
    if expected == actual {
        Ok(())
    } else {
        Err(Failure::Unequal { what, expected: expected.into(), actual: actual.into() })
    }
}
