//! What a sequence is made of, what a machine answers, and the machine itself as a trait.
//!
//! A sequence has a text form, one operation a line, so that a shortened one can be read, kept in a file
//! and run again:
//!
//! ```text
//! write64 0x180 0x40100001
//! read32 0x194
//! store64 0x40100000 0x40110000
//! load64 0x40100000
//! line 5 high
//! ```
//!
//! Offsets are relative to the IRS configuration frame, addresses are physical, numbers are decimal or
//! `0x` hexadecimal, and `#` starts a comment.

use std::fmt;
use std::str::FromStr;

use gicv5_trace::Event;

/// The width of one access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// 8 bits.
    W8,
    /// 16 bits.
    W16,
    /// 32 bits.
    W32,
    /// 64 bits.
    W64,
}

impl Width {
    /// All widths, narrowest first.
    pub const ALL: [Self; 4] = [Self::W8, Self::W16, Self::W32, Self::W64];

    /// The width in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::W8 => 1,
            Self::W16 => 2,
            Self::W32 => 4,
            Self::W64 => 8,
        }
    }

    /// The width in bits.
    pub const fn bits(self) -> u64 {
        self.bytes() * 8
    }

    /// `value` cut to this width.
    pub const fn truncate(self, value: u64) -> u64 {
        match self {
            Self::W64 => value,
            _ => value & ((1 << self.bits()) - 1),
        }
    }

    /// The width of `bits` bits.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match bits {
            8 => Some(Self::W8),
            16 => Some(Self::W16),
            32 => Some(Self::W32),
            64 => Some(Self::W64),
            _ => None,
        }
    }
}

/// The level of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WireLevel {
    /// Not asserted.
    Low,
    /// Asserted.
    High,
}

/// One step of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Read the configuration frame at a byte offset.
    Read {
        /// Byte offset in the frame; need not be aligned.
        offset: u64,
        /// Width of the access.
        width: Width,
    },
    /// Write the configuration frame at a byte offset.
    Write {
        /// Byte offset in the frame; need not be aligned.
        offset: u64,
        /// Width of the access.
        width: Width,
        /// Value, cut to the width.
        value: u64,
    },
    /// Read memory, as the software that owns the tables would.
    Load {
        /// Physical address, aligned to the width.
        address: u64,
        /// 32 or 64 bits.
        width: Width,
    },
    /// Write memory, as the software that owns the tables would.
    Store {
        /// Physical address, aligned to the width.
        address: u64,
        /// 32 or 64 bits.
        width: Width,
        /// Value, cut to the width.
        value: u64,
    },
    /// Drive the wire of an SPI.
    Line {
        /// SPI ID, below [`SPIS`](crate::layout::SPIS).
        spi: u32,
        /// New level.
        level: WireLevel,
    },
}

impl Operation {
    /// The width of what the operation reads; `None` if it reads nothing.
    pub fn reads(&self) -> Option<Width> {
        match *self {
            Self::Read { width, .. } | Self::Load { width, .. } => Some(width),
            _ => None,
        }
    }

    /// Simpler forms of an operation, the simplest first: value 0, one bit less, SPI 0, wire low.
    pub fn simpler(self) -> Vec<Self> {
        let values = |width: Width, value: u64| {
            let zero = (value != 0).then_some(0);
            let fewer = (0..width.bits()).rev().map(move |bit| value & !(1_u64 << bit));
            zero.into_iter().chain(fewer.filter(move |&fewer| fewer != value))
        };
        match self {
            Self::Read { .. } | Self::Load { .. } => Vec::new(),
            Self::Write { offset, width, value } => {
                values(width, value).map(|value| Self::Write { offset, width, value }).collect()
            }
            Self::Store { address, width, value } => {
                values(width, value).map(|value| Self::Store { address, width, value }).collect()
            }
            Self::Line { spi, level } => {
                let mut forms = Vec::new();
                if spi != 0 {
                    forms.push(Self::Line { spi: 0, level });
                    forms.push(Self::Line { spi: spi / 2, level });
                }
                if level == WireLevel::High {
                    forms.push(Self::Line { spi, level: WireLevel::Low });
                }
                forms
            }
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Read { offset, width } => write!(f, "read{} {offset:#x}", width.bits()),
            Self::Write { offset, width, value } => {
                write!(f, "write{} {offset:#x} {value:#x}", width.bits())
            }
            Self::Load { address, width } => write!(f, "load{} {address:#x}", width.bits()),
            Self::Store { address, width, value } => {
                write!(f, "store{} {address:#x} {value:#x}", width.bits())
            }
            Self::Line { spi, level: WireLevel::Low } => write!(f, "line {spi} low"),
            Self::Line { spi, level: WireLevel::High } => write!(f, "line {spi} high"),
        }
    }
}

/// Why a line is not an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The first word is none of the known verbs with a width of 8, 16, 32 or 64.
    #[error("{0:?} is not an operation: expected read, write, load or store with a width (read32), or line")]
    Verb(String),
    /// A number is missing or not a number.
    #[error("{word:?} is not a number for {what}: write it in decimal or as 0x and hexadecimal digits")]
    Number {
        /// What the number would have been.
        what: &'static str,
        /// The word found, empty at the end of the line.
        word: String,
    },
    /// The level of a wire is neither `low` nor `high`.
    #[error("{0:?} is not a level: expected low or high")]
    Level(String),
    /// A word is left over.
    #[error("{0:?} is left over at the end of the line")]
    Trailing(String),
}

/// The number in `word`.
pub(crate) fn number(what: &'static str, word: Option<&str>) -> Result<u64, ParseError> {
    let word = word.unwrap_or_default();
    let parsed = match word.strip_prefix("0x") {
        // `from_str_radix` would accept a sign.
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16),
        _ if word.starts_with('+') => "".parse(),
        _ => word.parse(),
    };
    parsed.map_err(|_| ParseError::Number { what, word: word.to_owned() })
}

impl FromStr for Operation {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        let mut words = line.split_whitespace();
        let operation = Self::parse(&mut words)?;
        match words.next() {
            None => Ok(operation),
            Some(word) => Err(ParseError::Trailing(word.to_owned())),
        }
    }
}

impl Operation {
    /// The operation at the front of `words`, which is left at the first word that does not belong to it.
    pub(crate) fn parse<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Self, ParseError> {
        let verb = words.next().unwrap_or_default();
        if verb == "line" {
            let spi = number("an SPI ID", words.next())?;
            let level = match words.next().unwrap_or_default() {
                "low" => WireLevel::Low,
                "high" => WireLevel::High,
                other => return Err(ParseError::Level(other.to_owned())),
            };
            let spi =
                u32::try_from(spi).map_err(|_| ParseError::Number { what: "an SPI ID", word: spi.to_string() })?;
            return Ok(Self::Line { spi, level });
        }
        let unknown = || ParseError::Verb(verb.to_owned());
        let digits = verb.find(|c: char| c.is_ascii_digit()).ok_or_else(unknown)?;
        let (name, bits) = verb.split_at_checked(digits).ok_or_else(unknown)?;
        let width = bits.parse().ok().and_then(Width::from_bits).ok_or_else(unknown)?;
        Ok(match name {
            "read" => Self::Read { offset: number("an offset", words.next())?, width },
            "write" => Self::Write {
                offset: number("an offset", words.next())?,
                width,
                value: width.truncate(number("a value", words.next())?),
            },
            "load" => Self::Load { address: number("an address", words.next())?, width },
            "store" => Self::Store {
                address: number("an address", words.next())?,
                width,
                value: width.truncate(number("a value", words.next())?),
            },
            _ => return Err(unknown()),
        })
    }
}

/// The naturally aligned accesses that a bus makes of one access, in ascending order: offset and width.
///
/// An IRS sees aligned accesses only. QEMU's bus cuts an unaligned one into the largest aligned pieces, going
/// upwards, and joins what they read; a machine behind [`TestMachine`] does the same by means of this function.
///
/// ```
/// use gicv5_qtest::{Width, pieces};
/// let cut: Vec<_> = pieces(3, Width::W64).collect();
/// assert_eq!(cut, [(3, Width::W8), (4, Width::W32), (8, Width::W16), (10, Width::W8)]);
/// ```
pub fn pieces(offset: u64, width: Width) -> impl Iterator<Item = (u64, Width)> {
    let end = offset.saturating_add(width.bytes());
    let mut at = offset;
    std::iter::from_fn(move || {
        let piece = Width::ALL
            .into_iter()
            .rev()
            .find(|piece| at.is_multiple_of(piece.bytes()) && end.saturating_sub(at) >= piece.bytes())?;
        let start = at;
        at += piece.bytes();
        Some((start, piece))
    })
}

/// What a machine answers to one operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The value read, cut to the width; `None` for an operation that reads nothing.
    pub value: Option<u64>,
    /// What the machine's trace says beside, in order: answers only, no inputs. They are partial: no event about
    /// an interrupt is no news. Empty on a machine that does not trace.
    pub events: Vec<Event>,
}

/// Whether a machine agrees with a trace event of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is true here too.
    Agrees,
    /// It is not; the text says what is true here.
    Differs(String),
    /// This machine cannot say, or either answer is right (HPPI-4).
    NotComparable,
}

/// A machine whose IRS can be driven without a guest: QEMU, or a model of the hardware.
pub trait TestMachine {
    /// What can go wrong with the machine itself. An access never fails: GEN-9 allows no abort.
    type Error: std::error::Error;

    /// Puts the machine into its state after power-on: registers, SPI state, all wires low, and zeroes in
    /// [`layout::TABLES`](crate::layout::TABLES).
    fn reset(&mut self) -> Result<(), Self::Error>;

    /// Performs one operation. A load sees all writes that the IRS has completed.
    fn perform(&mut self, operation: &Operation) -> Result<Answer, Self::Error>;

    /// Compares what another machine's trace says, right after the same operation, with the state of this one.
    fn confirm(&mut self, event: &Event) -> Result<Verdict, Self::Error>;

    /// Resets the machine and performs a whole sequence; one answer for each operation.
    ///
    /// A machine behind a pipe overrides this to send the sequence in one go.
    fn run(&mut self, sequence: &[Operation]) -> Result<Vec<Answer>, Self::Error> {
        self.reset()?;
        sequence.iter().map(|operation| self.perform(operation)).collect()
    }
}

/// The text form of a sequence: one operation a line, each line ended.
pub fn to_text(sequence: &[Operation]) -> String {
    sequence.iter().map(|operation| format!("{operation}\n")).collect()
}

/// The sequence in `text`; an error names the line, counted from 1.
pub fn from_text(text: &str) -> Result<Vec<Operation>, (usize, ParseError)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| line.parse().map_err(|error| (number, error)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn width() -> impl Strategy<Value = Width> {
        prop::sample::select(Width::ALL.to_vec())
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            (any::<u64>(), width()).prop_map(|(offset, width)| Operation::Read { offset, width }),
            (any::<u64>(), width(), any::<u64>()).prop_map(|(offset, width, value)| {
                Operation::Write { offset, width, value: width.truncate(value) }
            }),
            (any::<u64>(), width()).prop_map(|(address, width)| Operation::Load { address, width }),
            (any::<u64>(), width(), any::<u64>()).prop_map(|(address, width, value)| {
                Operation::Store { address, width, value: width.truncate(value) }
            }),
            (any::<u32>(), prop::bool::ANY).prop_map(|(spi, high)| Operation::Line {
                spi,
                level: if high { WireLevel::High } else { WireLevel::Low }
            }),
        ]
    }

    #[test]
    fn a_write_loses_every_bit_that_does_not_matter() {
        let write = |value| Operation::Write { offset: 0x140, width: Width::W32, value };
        let short = gicv5_random::shrink(
            &[write(0xdead_beef)],
            usize::MAX,
            |operation| operation.simpler(),
            |candidate| {
                let fails = matches!(candidate, [Operation::Write { value, .. }] if value & 0x8001 == 0x8001);
                Ok::<_, std::convert::Infallible>(fails)
            },
        );
        assert_eq!(short, Ok(vec![write(0x8001)]));
    }

    proptest! {
        #[test]
        fn a_sequence_survives_its_text_form(sequence in prop::collection::vec(operation(), 0..20)) {
            prop_assert_eq!(from_text(&to_text(&sequence)), Ok(sequence));
        }

        #[test]
        fn pieces_are_aligned_and_cover_the_access_once(offset in 0_u64..0x2_0000, width in width()) {
            let mut at = offset;
            for (start, piece) in pieces(offset, width) {
                prop_assert_eq!(start, at);
                prop_assert_eq!(start % piece.bytes(), 0);
                at += piece.bytes();
            }
            prop_assert_eq!(at, offset + width.bytes());
        }

        #[test]
        fn no_line_of_text_makes_the_parser_panic(line in ".*") {
            let _ = line.parse::<Operation>();
        }
    }

    #[test]
    fn comments_and_empty_lines_are_skipped_and_errors_name_their_line() {
        let text = "# two level\n\nwrite32 0x190 0x1000e # shape\nline 5 up\n";
        assert_eq!(from_text(text), Err((4, ParseError::Level("up".into()))));
        assert!(matches!("read24 0x0".parse::<Operation>(), Err(ParseError::Verb(_))));
        assert!(matches!("read32".parse::<Operation>(), Err(ParseError::Number { .. })));
        assert!(matches!("read32 +4".parse::<Operation>(), Err(ParseError::Number { .. })));
        assert!(matches!("read32 0x+4".parse::<Operation>(), Err(ParseError::Number { .. })));
        assert!(matches!("read32 4 4".parse::<Operation>(), Err(ParseError::Trailing(_))));
    }
}
