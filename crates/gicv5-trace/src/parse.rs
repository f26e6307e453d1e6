//! The words and numbers of a line. Bytes only: no allocation, no UTF-8 decoding, no regular expression.

use core::fmt;

use arbitrary_int::u2;
use gicv5_arch::IntType;
use gicv5_arch::values::Domain;

use crate::event::{AccessSize, Candidate, Event, Interrupt, Space, domain_word, type_word};

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The line does not start like an event of this device.
    NotAnEvent,
    /// It does, but no such event is known.
    UnknownEvent,
    /// The text is not what the event's format says.
    Malformed {
        /// The first byte that does not fit, counted from 1.
        column: usize,
        expected: &'static str,
    },
    /// A number that does not fit its field.
    OutOfRange {
        /// Where the number starts, counted from 1.
        column: usize,
        field: &'static str,
        max: u64,
    },
}

/// The first word every line of this device has.
const PREFIX: &[u8] = b"gicv5_";
/// IDs are 24 bits (GEN-1).
pub(crate) const MAX_ID: u64 = 0xff_ffff;
/// A configuration frame is 64 KiB (GEN-9).
const MAX_OFFSET: u64 = 0xffff;

/// An answer that is a larger number than there can be: the line has its form, and what it says cannot be.
///
/// In the event the number is the largest there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Excess {
    /// `IAFFID`, 16 bits.
    Iaffid,
    /// An INTID with its type, 32 bits.
    Intid,
    /// `prio` of a candidate, 8 bits.
    Priority,
    /// `domain`, 0 to 3.
    Domain,
    /// `IRQ`, `FIQ` or `NMI`, one bit.
    Output,
    /// `level`, `pending` or `active` of an SPI, one bit.
    SpiState,
    /// An interrupt's ID, 24 bits.
    Id,
    /// `virtual`, one bit.
    Virtual,
    /// A number of ID bits or bytes of a table, 8 bits.
    TableShape,
    /// `2-level`, one bit.
    Structure,
    /// 64 bits of a register or an address.
    Register,
}

impl Excess {
    /// What the line calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Iaffid => "IAFFID",
            Self::Intid => "the INTID",
            Self::Priority => "prio",
            Self::Domain => "domain",
            Self::Output => "an output",
            Self::SpiState => "the state of an SPI",
            Self::Id => "ID",
            Self::Virtual => "virtual",
            Self::TableShape => "a table's shape",
            Self::Structure => "2-level",
            Self::Register => "the value",
        }
    }

    /// The largest number there can be.
    #[must_use]
    pub const fn max(self) -> u64 {
        match self {
            Self::Iaffid => u16::MAX as u64,
            Self::Intid => u32::MAX as u64,
            Self::Priority | Self::TableShape => u8::MAX as u64,
            Self::Domain => 3,
            Self::Output | Self::SpiState | Self::Virtual | Self::Structure => 1,
            Self::Id => MAX_ID,
            Self::Register => u64::MAX,
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is more than {}", self.name(), self.max())
    }
}

/// Whether a line starts like an event of this device.
pub(crate) fn is_event(line: &[u8]) -> bool {
    line.strip_prefix(PREFIX).is_some_and(|tail| !is_message(tail))
}

/// Whether this is an error message of QEMU and not an event: a function's name and a colon. Some functions are called like
/// events.
fn is_message(tail: &[u8]) -> bool {
    tail.split(|byte| *byte == b' ').next().is_some_and(|word| word.ends_with(b":"))
}

/// Parses one line without its newline, of which `time` bytes are a time stamp.
pub(crate) fn parse(line: &[u8], time: usize) -> Result<(Event, Option<Excess>), Fault> {
    let rest = line.get(time..).and_then(|line| line.strip_prefix(PREFIX)).ok_or(Fault::NotAnEvent)?;
    let mut c = Cursor { length: line.len(), rest, excess: None, number: 0 };
    let event = Event::read(&mut c)?;
    if c.rest.is_empty() { Ok((event, c.excess)) } else { Err(c.expected("end of line")) }
}

pub(crate) struct Cursor<'a> {
    length: usize,
    rest: &'a [u8],
    /// The first number that is too large for an answer.
    excess: Option<Excess>,
    /// Where the last hexadecimal number of an input starts.
    number: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn column(&self) -> usize {
        self.length - self.rest.len() + 1
    }

    /// Whether the event has this name, which is then read.
    #[inline(always)]
    pub(crate) fn name(&mut self, name: &'static str) -> bool {
        match self.rest.strip_prefix(name.as_bytes()) {
            Some(rest @ ([] | [b' ', ..])) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// No event has the name.
    #[cold]
    pub(crate) fn unknown(&self) -> Fault {
        if is_message(self.rest) { Fault::NotAnEvent } else { Fault::UnknownEvent }
    }

    #[cold]
    fn expected(&self, expected: &'static str) -> Fault {
        Fault::Malformed { column: self.column(), expected }
    }

    #[inline(always)]
    pub(crate) fn text(&mut self, text: &'static str) -> Result<(), Fault> {
        match self.rest.strip_prefix(text.as_bytes()) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.mismatch(text)),
        }
    }

    /// Skips what does match, so that the column is that of the first byte that does not.
    #[cold]
    fn mismatch(&mut self, text: &'static str) -> Fault {
        let same = self.rest.iter().zip(text.as_bytes()).take_while(|(a, b)| a == b).count();
        self.rest = self.rest.get(same..).unwrap_or_default();
        self.expected(text)
    }

    #[inline(always)]
    pub(crate) fn one_of<T: Copy, const N: usize>(
        &mut self,
        what: &'static str,
        choices: [(&'static str, T); N],
    ) -> Result<T, Fault> {
        for (text, value) in choices {
            if let Some(rest) = self.rest.strip_prefix(text.as_bytes()) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(self.expected(what))
    }

    #[inline(always)]
    pub(crate) fn domain_word(&mut self) -> Result<Domain, Fault> {
        let domains = [Domain::NonSecure, Domain::Secure, Domain::El3, Domain::Realm];
        self.one_of("a domain", domains.map(|domain| (domain_word(domain), domain)))
    }

    /// `1`: how lines from a CPU interface name a domain.
    #[inline]
    pub(crate) fn domain_number(&mut self) -> Result<Domain, Fault> {
        let number = self.decimal("domain", 3)?;
        Ok(Domain::new_with_raw_value(u2::extract_u64(number, 0)))
    }

    /// A candidate, which is an answer.
    #[inline(always)]
    pub(crate) fn candidate(&mut self) -> Result<Candidate, Fault> {
        let intid = self.hex_answer(Excess::Intid)? as u32;
        self.text(" prio ")?;
        Ok(Candidate { intid, priority: self.answer(Excess::Priority)? as u8 })
    }

    #[inline]
    pub(crate) fn interrupt(&mut self) -> Result<Interrupt, Fault> {
        let (domain, int_type) = self.interrupt_type()?;
        let space = if self.bit("virtual")? { Space::Virtual } else { Space::Physical };
        self.text(" ID ")?;
        let id = self.u32("ID", MAX_ID)?;
        Ok(Interrupt { domain, int_type, space, id })
    }

    /// An interrupt that is an answer.
    #[inline]
    pub(crate) fn repeated_interrupt(&mut self) -> Result<Interrupt, Fault> {
        let (domain, int_type) = self.interrupt_type()?;
        let space = if self.bit_answer(Excess::Virtual)? { Space::Virtual } else { Space::Physical };
        self.text(" ID ")?;
        let id = self.answer(Excess::Id)? as u32;
        Ok(Interrupt { domain, int_type, space, id })
    }

    #[inline]
    fn interrupt_type(&mut self) -> Result<(Domain, Option<IntType>), Fault> {
        let domain = self.domain_word()?;
        self.text(" ")?;
        let int_type = self.one_of(
            "an interrupt type",
            [Some(IntType::Lpi), Some(IntType::Spi), Some(IntType::Ppi), None].map(|t| (type_word(t), t)),
        )?;
        self.text(" virtual:")?;
        Ok((domain, int_type))
    }

    pub(crate) fn offset(&mut self) -> Result<u32, Fault> {
        let offset = self.hex("offset", MAX_OFFSET)?;
        Ok(offset as u32)
    }

    /// The size of a write of this data, which has just been read and must fit.
    pub(crate) fn size_of(&mut self, data: u64) -> Result<AccessSize, Fault> {
        let size = self.size()?;
        let max = u64::from(u32::MAX);
        if size == AccessSize::Word && data > max {
            return Err(Fault::OutOfRange { column: self.number, field: "data", max });
        }
        Ok(size)
    }

    pub(crate) fn size(&mut self) -> Result<AccessSize, Fault> {
        self.one_of("4 or 8", [("4", AccessSize::Word), ("8", AccessSize::Doubleword)])
    }

    /// Almost every field of almost every line: one digit, 0 or 1, and the last of its number.
    #[inline(always)]
    fn short_bit(&mut self) -> Option<bool> {
        match self.rest {
            [digit @ (b'0' | b'1'), rest @ ..] if !matches!(rest, [b'0'..=b'9', ..]) => {
                self.rest = rest;
                Some(*digit == b'1')
            }
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn bit(&mut self, field: &'static str) -> Result<bool, Fault> {
        self.short_bit().map_or_else(|| Ok(self.decimal(field, 1)? == 1), Ok)
    }

    #[inline(always)]
    pub(crate) fn bit_answer(&mut self, excess: Excess) -> Result<bool, Fault> {
        self.short_bit().map_or_else(|| Ok(self.answer(excess)? != 0), Ok)
    }

    #[inline]
    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, Fault> {
        Ok(self.decimal(field, u64::from(u16::MAX))? as u16)
    }

    /// A number that is an answer. One that is too large becomes the largest there can be, and is remembered.
    #[inline(always)]
    pub(crate) fn answer(&mut self, excess: Excess) -> Result<u64, Fault> {
        let value = self.digits(10, excess.name(), excess.max())?;
        Ok(self.limited(value, excess))
    }

    /// `0x` and a hexadecimal number that is an answer.
    #[inline(always)]
    pub(crate) fn hex_answer(&mut self, excess: Excess) -> Result<u64, Fault> {
        self.text("0x")?;
        let value = self.digits(16, excess.name(), excess.max())?;
        Ok(self.limited(value, excess))
    }

    #[inline(always)]
    fn limited(&mut self, value: Option<u64>, excess: Excess) -> u64 {
        value.unwrap_or_else(|| {
            self.excess.get_or_insert(excess);
            excess.max()
        })
    }

    /// A number of a type of its own. `max` is the largest that `new` accepts, for the message.
    #[inline]
    pub(crate) fn newtype<T, E>(
        &mut self,
        field: &'static str,
        max: u64,
        new: fn(u32) -> Result<T, E>,
    ) -> Result<T, Fault> {
        let column = self.column();
        let number = self.u32(field, max)?;
        new(number).map_err(|_| Fault::OutOfRange { column, field, max })
    }

    /// `max` is at most `u32::MAX`.
    #[inline]
    pub(crate) fn u32(&mut self, field: &'static str, max: u64) -> Result<u32, Fault> {
        Ok(self.decimal(field, max)? as u32)
    }

    #[inline]
    pub(crate) fn hex32(&mut self, field: &'static str) -> Result<u32, Fault> {
        Ok(self.hex(field, u64::from(u32::MAX))? as u32)
    }

    /// A decimal number of at most `max`.
    #[inline(always)]
    pub(crate) fn decimal(&mut self, field: &'static str, max: u64) -> Result<u64, Fault> {
        let column = self.column();
        self.digits(10, field, max)?.ok_or(Fault::OutOfRange { column, field, max })
    }

    /// `0x` and a hexadecimal number of at most `max`.
    #[inline]
    pub(crate) fn hex(&mut self, field: &'static str, max: u64) -> Result<u64, Fault> {
        self.text("0x")?;
        let column = self.column();
        self.number = column;
        self.digits(16, field, max)?.ok_or(Fault::OutOfRange { column, field, max })
    }

    /// The digits of a number; `None` if it is more than `max`. Leading zeros are refused: QEMU writes none, so a line that is
    /// read is exactly the line its event is written as.
    #[inline(always)]
    fn digits(&mut self, radix: u64, field: &'static str, max: u64) -> Result<Option<u64>, Fault> {
        let mut value = 0_u64;
        let mut rest = self.rest;
        loop {
            let (digit, tail) = match rest {
                [byte @ b'0'..=b'9', tail @ ..] => (byte - b'0', tail),
                [byte @ b'a'..=b'f', tail @ ..] if radix == 16 => (byte - b'a' + 10, tail),
                _ => break,
            };
            value = value.wrapping_mul(radix).wrapping_add(digit.into());
            rest = tail;
        }
        let count = self.rest.len() - rest.len();
        if count == 0 || (count > 1 && self.rest.first() == Some(&b'0')) {
            return Err(self.expected(field));
        }
        self.rest = rest;
        // So many digits fit 64 bits for sure, and no field holds a decimal number of more.
        let most = if radix == 16 { 16 } else { 19 };
        Ok((count <= most && value <= max).then_some(value))
    }
}
