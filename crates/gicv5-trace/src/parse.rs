//! One line into one event. Bytes only: no allocation, no UTF-8 decoding, no regular expression.

use core::fmt;

use arbitrary_int::u2;
use gicv5_arch::values::{Domain, HandlingMode, RoutingMode, Structure};
use gicv5_arch::{Iaffid, IntType, Ppi, Priority, Spi};

use crate::event::{
    AccessSize, AcknowledgeFailure, Candidate, Event, Interrupt, NoCandidate, Space, domain_word, type_word,
};

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
const MAX_ID: u64 = 0xff_ffff;
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

/// Splits an event's name (without the prefix) from its text. The text starts with the separating space.
pub(crate) fn split_name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let tail = line.strip_prefix(PREFIX)?;
    let end = memchr::memchr(b' ', tail).unwrap_or(tail.len());
    // QEMU's error messages start with a function name and a colon, and some functions are called like events.
    let (name, text) = tail.split_at_checked(end)?;
    if name.last() == Some(&b':') {
        return None;
    }
    Some((name, text))
}

/// Parses one line without its newline, of which `time` bytes are a time stamp.
pub(crate) fn parse(line: &[u8], time: usize) -> Result<(Event, Option<Excess>), Fault> {
    let (name, text) = line.get(time..).and_then(split_name).ok_or(Fault::NotAnEvent)?;
    let mut c = Cursor { length: line.len(), rest: text, excess: None };
    let event = match name {
        b"irs_recalc_hppi" => irs_candidate(&mut c)?,
        b"update_irq_fiq" => signals(&mut c)?,
        b"recalc_ppi_hppi" => ppi_candidate(&mut c)?,
        b"set_pending" => set_pending(&mut c)?,
        b"gicr_cdia" => acknowledge(&mut c)?,
        b"cdeoi" => priority_drop(&mut c)?,
        b"cddi" => deactivate_request(&mut c)?,
        b"activate" => activate(&mut c)?,
        b"deactivate" => deactivate(&mut c)?,
        b"update_ppi_state" => ppi_wire(&mut c)?,
        b"set_enabled" => set_enabled(&mut c)?,
        b"set_priority" => set_priority(&mut c)?,
        b"set_handling" => set_handling(&mut c)?,
        b"set_target" => set_target(&mut c)?,
        b"request_config" => request_config(&mut c)?,
        b"gicr_cdia_fail" => acknowledge_fail(&mut c)?,
        b"irs_recalc_hppi_fail" => irs_no_candidate(&mut c)?,
        b"spi" => spi_wire(&mut c)?,
        b"spi_state" => spi_state(&mut c)?,
        b"read" => read(&mut c)?,
        b"write" => write(&mut c)?,
        b"badread" => bad_read(&mut c)?,
        b"badwrite" => bad_write(&mut c)?,
        b"ist_valid" => ist_valid(&mut c)?,
        b"ist_invalid" => ist_invalid(&mut c)?,
        b"common_realize" => realize(&mut c)?,
        _ => return Err(Fault::UnknownEvent),
    };
    if c.rest.is_empty() { Ok((event, c.excess)) } else { Err(c.expected("end of line")) }
}

fn irs_candidate(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.irs_domain()?;
    c.text(" IAFFID ")?;
    let iaffid = Iaffid::new(c.answer(Excess::Iaffid)? as u16);
    c.text(": new HPPI ID ")?;
    let intid = c.hex_answer(Excess::Intid)? as u32;
    c.text(" prio ")?;
    let priority = c.answer(Excess::Priority)? as u8;
    Ok(Event::IrsCandidate { domain, iaffid, candidate: Candidate { intid, priority } })
}

fn irs_no_candidate(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.irs_domain()?;
    c.text(" IAFFID ")?;
    let iaffid = Iaffid::new(c.answer(Excess::Iaffid)? as u16);
    c.text(": no HPPI: ")?;
    let reason =
        c.one_of("a reason", [NoCandidate::UnknownIaffid, NoCandidate::IrsDisabled].map(|r| (r.words(), r)))?;
    Ok(Event::IrsNoCandidate { domain, iaffid, reason })
}

fn ppi_candidate(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" domain ")?;
    let domain = Domain::new_with_raw_value(u2::extract_u64(c.answer(Excess::Domain)?, 0));
    c.text(" new PPI HPPI id ")?;
    let intid = c.hex_answer(Excess::Intid)? as u32;
    c.text(" prio ")?;
    let priority = c.answer(Excess::Priority)? as u8;
    Ok(Event::PpiCandidate { domain, candidate: Candidate { intid, priority } })
}

fn signals(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" now IRQ ")?;
    let irq = c.bit_answer(Excess::Output)?;
    c.text(" FIQ ")?;
    let fiq = c.bit_answer(Excess::Output)?;
    c.text(" NMI ")?;
    let nmi = c.bit_answer(Excess::Output)?;
    Ok(Event::Signals { irq, fiq, nmi })
}

fn acknowledge(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.cpu_domain()?;
    c.text(" CDIA acknowledge of interrupt ")?;
    let intid = c.hex_answer(Excess::Intid)? as u32;
    Ok(Event::Acknowledge { domain, intid })
}

fn acknowledge_fail(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.cpu_domain()?;
    c.text(" CDIA attempt failed: ")?;
    let reason = c.one_of(
        "a reason",
        [AcknowledgeFailure::NothingAvailable, AcknowledgeFailure::NotAnNmi, AcknowledgeFailure::IsAnNmi]
            .map(|r| (r.words(), r)),
    )?;
    Ok(Event::AcknowledgeFail { domain, reason })
}

fn priority_drop(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.cpu_domain()?;
    c.text(" CDEOI performing priority drop")?;
    Ok(Event::PriorityDrop { domain })
}

fn deactivate_request(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.cpu_domain()?;
    c.text(" CDDI deactivating interrupt ID ")?;
    let intid = c.hex32("interrupt ID")?;
    Ok(Event::DeactivateRequest { domain, intid })
}

fn ppi_wire(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" PPI ")?;
    let ppi = c.newtype("PPI", 63, Ppi::new)?;
    c.text(" source level now ")?;
    let high = c.bit("level")?;
    Ok(Event::PpiWire { ppi, high })
}

fn activate(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS Activate ")?;
    let interrupt = c.repeated_interrupt()?;
    Ok(Event::Activate { interrupt })
}

fn deactivate(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS Deactivate ")?;
    let interrupt = c.repeated_interrupt()?;
    Ok(Event::Deactivate { interrupt })
}

fn set_pending(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS SetPending ")?;
    let interrupt = c.interrupt()?;
    c.text(" pending ")?;
    let pending = c.bit("pending")?;
    Ok(Event::SetPending { interrupt, pending })
}

fn set_enabled(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS SetEnabled ")?;
    let interrupt = c.interrupt()?;
    c.text(" enabled ")?;
    let enabled = c.bit("enabled")?;
    Ok(Event::SetEnabled { interrupt, enabled })
}

fn set_priority(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS SetPriority ")?;
    let interrupt = c.interrupt()?;
    c.text(" prio ")?;
    let priority = c.newtype("prio", 31, Priority::new)?;
    Ok(Event::SetPriority { interrupt, priority })
}

fn set_handling(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS SetHandling ")?;
    let interrupt = c.interrupt()?;
    c.text(" handling ")?;
    let mode = if c.bit("handling")? { HandlingMode::Level } else { HandlingMode::Edge };
    Ok(Event::SetHandling { interrupt, mode })
}

fn set_target(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS SetTarget ")?;
    let interrupt = c.interrupt()?;
    c.text(" IAFFID ")?;
    let iaffid = c.iaffid()?;
    c.text(" routingmode ")?;
    let routing = if c.bit("routingmode")? { RoutingMode::OneOfN } else { RoutingMode::Targeted };
    Ok(Event::SetTarget { interrupt, iaffid, routing })
}

fn request_config(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS RequestConfig ")?;
    let interrupt = c.interrupt()?;
    c.text(" ICSR ")?;
    let icsr = c.hex_answer(Excess::Register)?;
    Ok(Event::RequestConfig { interrupt, icsr })
}

fn spi_wire(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 SPI ID ")?;
    let spi = c.newtype("SPI ID", MAX_ID, Spi::new)?;
    c.text(" asserted at level ")?;
    let high = c.bit("level")?;
    Ok(Event::SpiWire { spi, high })
}

fn spi_state(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS SPI ID ")?;
    let (column, id) = (c.column(), c.answer(Excess::Id)?);
    let spi = Spi::new(id as u32).map_err(|_| Fault::OutOfRange { column, field: "SPI ID", max: MAX_ID })?;
    c.text(" now level ")?;
    let high = c.bit_answer(Excess::SpiState)?;
    c.text(" pending ")?;
    let pending = c.bit_answer(Excess::SpiState)?;
    c.text(" active ")?;
    let active = c.bit_answer(Excess::SpiState)?;
    Ok(Event::SpiState { spi, high, pending, active })
}

fn read(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.irs_domain()?;
    c.text(" config frame read: offset ")?;
    let offset = c.offset()?;
    let (data, size) = c.read_data_and_size()?;
    Ok(Event::Read { domain, offset, data, size })
}

fn bad_read(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.irs_domain()?;
    c.text(" config frame read: offset ")?;
    let offset = c.offset()?;
    let size = c.size()?;
    c.text(": error")?;
    Ok(Event::BadRead { domain, offset, size })
}

fn write(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.irs_domain()?;
    c.text(" config frame write: offset ")?;
    let offset = c.offset()?;
    let (data, size) = c.written_data_and_size()?;
    Ok(Event::Write { domain, offset, data, size })
}

fn bad_write(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.irs_domain()?;
    c.text(" config frame write: offset ")?;
    let offset = c.offset()?;
    let (data, size) = c.written_data_and_size()?;
    c.text(": error")?;
    Ok(Event::BadWrite { domain, offset, data, size })
}

fn ist_valid(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.irs_domain()?;
    c.text(" IST now valid: base ")?;
    let base = c.hex_answer(Excess::Register)?;
    c.text(" id_bits ")?;
    let id_bits = c.answer(Excess::TableShape)? as u8;
    c.text(" l2_idx_bits ")?;
    let l2_index_bits = c.answer(Excess::TableShape)? as u8;
    c.text(" IST entry size ")?;
    let entry_size = c.answer(Excess::TableShape)? as u8;
    c.text(" 2-level ")?;
    let structure = if c.bit_answer(Excess::Structure)? { Structure::TwoLevel } else { Structure::Linear };
    Ok(Event::IstValid { domain, base, id_bits, l2_index_bits, entry_size, structure })
}

fn ist_invalid(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.irs_domain()?;
    c.text(" IST no longer valid")?;
    Ok(Event::IstInvalid { domain })
}

fn realize(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS realized: IRS ID ")?;
    let irs_id = c.u16("IRS ID")?;
    c.text(", ")?;
    let cpus = c.u32("CPUs", 0xffff)?;
    c.text(" CPUs, SPI base ")?;
    let spi_base = c.u32("SPI base", MAX_ID)?;
    c.text(", SPI IRS range ")?;
    let spi_irs_range = c.u32("SPI IRS range", MAX_ID + 1)?;
    c.text(", SPI range ")?;
    let spi_range = c.u32("SPI range", MAX_ID + 1)?;
    Ok(Event::Realize { irs_id, cpus, spi_base, spi_irs_range, spi_range })
}

struct Cursor<'a> {
    length: usize,
    rest: &'a [u8],
    /// The first number that is too large for an answer.
    excess: Option<Excess>,
}

impl<'a> Cursor<'a> {
    fn column(&self) -> usize {
        self.length - self.rest.len() + 1
    }

    #[cold]
    fn expected(&self, expected: &'static str) -> Fault {
        Fault::Malformed { column: self.column(), expected }
    }

    #[inline]
    fn text(&mut self, text: &'static str) -> Result<(), Fault> {
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

    #[inline]
    fn one_of<T: Copy, const N: usize>(
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

    #[inline]
    fn domain_word(&mut self) -> Result<Domain, Fault> {
        self.one_of(
            "a domain",
            [Domain::NonSecure, Domain::Secure, Domain::El3, Domain::Realm].map(|d| (domain_word(d), d)),
        )
    }

    /// `GICv5 IRS NonSecure`: how lines from the IRS name the domain.
    #[inline]
    fn irs_domain(&mut self) -> Result<Domain, Fault> {
        self.text(" GICv5 IRS ")?;
        self.domain_word()
    }

    /// `domain 1`: how lines from a CPU interface name it.
    #[inline]
    fn cpu_domain(&mut self) -> Result<Domain, Fault> {
        self.text(" domain ")?;
        let number = self.u8("domain", 3)?;
        Ok(Domain::new_with_raw_value(u2::extract_u8(number, 0)))
    }

    #[inline]
    fn interrupt(&mut self) -> Result<Interrupt, Fault> {
        let (domain, int_type) = self.interrupt_type()?;
        let space = if self.bit("virtual")? { Space::Virtual } else { Space::Physical };
        self.text(" ID ")?;
        let id = self.u32("ID", MAX_ID)?;
        Ok(Interrupt { domain, int_type, space, id })
    }

    /// An interrupt that is an answer.
    #[inline]
    fn repeated_interrupt(&mut self) -> Result<Interrupt, Fault> {
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

    fn offset(&mut self) -> Result<u32, Fault> {
        let offset = self.hex("offset", MAX_OFFSET)?;
        Ok(offset as u32)
    }

    /// Data of a read is an answer and not judged: QEMU 11.1 prints IRS_DEVARCH sign-extended to 64 bits.
    fn read_data_and_size(&mut self) -> Result<(u64, AccessSize), Fault> {
        self.text(" data ")?;
        let data = self.hex_answer(Excess::Register)?;
        Ok((data, self.size()?))
    }

    fn written_data_and_size(&mut self) -> Result<(u64, AccessSize), Fault> {
        self.text(" data ")?;
        let column = self.column() + "0x".len();
        let data = self.hex("data", u64::MAX)?;
        let size = self.size()?;
        let max = u64::from(u32::MAX);
        if size == AccessSize::Word && data > max {
            return Err(Fault::OutOfRange { column, field: "data", max });
        }
        Ok((data, size))
    }

    fn size(&mut self) -> Result<AccessSize, Fault> {
        self.text(" size ")?;
        self.one_of("4 or 8", [("4", AccessSize::Word), ("8", AccessSize::Doubleword)])
    }

    #[inline]
    fn bit(&mut self, field: &'static str) -> Result<bool, Fault> {
        match self.rest {
            // Almost every field of almost every line: the last digit of its number.
            [digit @ (b'0' | b'1'), rest @ ..] if !matches!(rest, [b'0'..=b'9', ..]) => {
                self.rest = rest;
                Ok(*digit == b'1')
            }
            _ => Ok(self.decimal(field, 1)? == 1),
        }
    }

    #[inline]
    fn u8(&mut self, field: &'static str, max: u8) -> Result<u8, Fault> {
        Ok(self.decimal(field, u64::from(max))? as u8)
    }

    #[inline]
    fn u16(&mut self, field: &'static str) -> Result<u16, Fault> {
        Ok(self.decimal(field, u64::from(u16::MAX))? as u16)
    }

    /// A number that is an answer. One that is too large becomes the largest there can be, and is remembered.
    #[inline]
    fn answer(&mut self, excess: Excess) -> Result<u64, Fault> {
        let mut value = 0_u64;
        let mut rest = self.rest;
        while let [byte @ b'0'..=b'9', tail @ ..] = rest {
            value = value.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
            rest = tail;
        }
        self.end_number(excess.name(), rest)?;
        if value > excess.max() {
            self.excess.get_or_insert(excess);
        }
        Ok(value.min(excess.max()))
    }

    #[inline]
    fn bit_answer(&mut self, excess: Excess) -> Result<bool, Fault> {
        match self.rest {
            // Almost every field of almost every line: the last digit of its number.
            [digit @ (b'0' | b'1'), rest @ ..] if !matches!(rest, [b'0'..=b'9', ..]) => {
                self.rest = rest;
                Ok(*digit == b'1')
            }
            _ => Ok(self.answer(excess)? != 0),
        }
    }

    /// `0x` and a hexadecimal number that is an answer.
    #[inline]
    fn hex_answer(&mut self, excess: Excess) -> Result<u64, Fault> {
        self.text("0x")?;
        let (mut value, mut more) = (0_u64, false);
        let mut rest = self.rest;
        loop {
            let (digit, tail) = match rest {
                [byte @ b'0'..=b'9', tail @ ..] => (byte - b'0', tail),
                [byte @ b'a'..=b'f', tail @ ..] => (byte - b'a' + 10, tail),
                _ => break,
            };
            more |= value > excess.max() >> 4;
            value = value << 4 | u64::from(digit);
            rest = tail;
        }
        self.end_number(excess.name(), rest)?;
        if more {
            self.excess.get_or_insert(excess);
            return Ok(excess.max());
        }
        Ok(value)
    }

    #[inline]
    fn iaffid(&mut self) -> Result<Iaffid, Fault> {
        self.u16("IAFFID").map(Iaffid::new)
    }

    /// A number of a type of its own. `max` is the largest that `new` accepts, for the message.
    #[inline]
    fn newtype<T, E>(&mut self, field: &'static str, max: u64, new: fn(u32) -> Result<T, E>) -> Result<T, Fault> {
        let column = self.column();
        let number = self.u32(field, max)?;
        new(number).map_err(|_| Fault::OutOfRange { column, field, max })
    }

    /// `max` is at most `u32::MAX`.
    #[inline]
    fn u32(&mut self, field: &'static str, max: u64) -> Result<u32, Fault> {
        Ok(self.decimal(field, max)? as u32)
    }

    #[inline]
    fn hex32(&mut self, field: &'static str) -> Result<u32, Fault> {
        Ok(self.hex(field, u64::from(u32::MAX))? as u32)
    }

    /// A decimal number of at most `max`, which is at most `u32::MAX`: the sum cannot wrap.
    ///
    /// Leading zeros are refused, here and in [`hex`](Self::hex): QEMU writes none, so a line that is read is exactly
    /// the line its event is written as.
    #[inline]
    fn decimal(&mut self, field: &'static str, max: u64) -> Result<u64, Fault> {
        let mut value = 0_u64;
        let mut rest = self.rest;
        while let [byte @ b'0'..=b'9', tail @ ..] = rest {
            value = value * 10 + u64::from(byte - b'0');
            if value > max {
                return Err(Fault::OutOfRange { column: self.column(), field, max });
            }
            rest = tail;
        }
        self.end_number(field, rest)?;
        Ok(value)
    }

    /// `0x` and a hexadecimal number of at most `max`, which has the form 2^n - 1.
    #[inline]
    fn hex(&mut self, field: &'static str, max: u64) -> Result<u64, Fault> {
        self.text("0x")?;
        let mut value = 0_u64;
        let mut rest = self.rest;
        loop {
            let (digit, tail) = match rest {
                [byte @ b'0'..=b'9', tail @ ..] => (byte - b'0', tail),
                [byte @ b'a'..=b'f', tail @ ..] => (byte - b'a' + 10, tail),
                _ => break,
            };
            if value > max >> 4 {
                return Err(Fault::OutOfRange { column: self.column(), field, max });
            }
            value = value << 4 | u64::from(digit);
            rest = tail;
        }
        self.end_number(field, rest)?;
        Ok(value)
    }

    /// Moves on to `rest`, if there were digits before it and no needless zero.
    #[inline]
    fn end_number(&mut self, field: &'static str, rest: &'a [u8]) -> Result<(), Fault> {
        let digits = self.rest.len() - rest.len();
        if digits == 0 || (digits > 1 && self.rest.first() == Some(&b'0')) {
            return Err(self.expected(field));
        }
        self.rest = rest;
        Ok(())
    }
}
