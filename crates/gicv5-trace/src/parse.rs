//! One line into one event. Bytes only: no allocation, no UTF-8 decoding, no regular expression.

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

/// Parses one line without its newline.
pub(crate) fn parse(line: &[u8]) -> Result<Event, Fault> {
    let (name, text) = split_name(line).ok_or(Fault::NotAnEvent)?;
    let mut c = Cursor { length: line.len(), rest: text };
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
    if c.rest.is_empty() { Ok(event) } else { Err(c.expected("end of line")) }
}

fn irs_candidate(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.irs_domain()?;
    c.text(" IAFFID ")?;
    let iaffid = c.iaffid()?;
    c.text(": new HPPI ID ")?;
    let intid = c.hex32("HPPI ID")?;
    c.text(" prio ")?;
    let priority = c.u8("prio", u8::MAX)?;
    Ok(Event::IrsCandidate { domain, iaffid, candidate: Candidate { intid, priority } })
}

fn irs_no_candidate(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.irs_domain()?;
    c.text(" IAFFID ")?;
    let iaffid = c.iaffid()?;
    c.text(": no HPPI: ")?;
    let reason =
        c.one_of("a reason", [NoCandidate::UnknownIaffid, NoCandidate::IrsDisabled].map(|r| (r.words(), r)))?;
    Ok(Event::IrsNoCandidate { domain, iaffid, reason })
}

fn ppi_candidate(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.cpu_domain()?;
    c.text(" new PPI HPPI id ")?;
    let intid = c.hex32("PPI HPPI id")?;
    c.text(" prio ")?;
    let priority = c.u8("prio", u8::MAX)?;
    Ok(Event::PpiCandidate { domain, candidate: Candidate { intid, priority } })
}

fn signals(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" now IRQ ")?;
    let irq = c.bit("IRQ")?;
    c.text(" FIQ ")?;
    let fiq = c.bit("FIQ")?;
    c.text(" NMI ")?;
    let nmi = c.bit("NMI")?;
    Ok(Event::Signals { irq, fiq, nmi })
}

fn acknowledge(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    let domain = c.cpu_domain()?;
    c.text(" CDIA acknowledge of interrupt ")?;
    let intid = c.hex32("interrupt")?;
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
    let interrupt = c.interrupt()?;
    Ok(Event::Activate { interrupt })
}

fn deactivate(c: &mut Cursor<'_>) -> Result<Event, Fault> {
    c.text(" GICv5 IRS Deactivate ")?;
    let interrupt = c.interrupt()?;
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
    let icsr = c.hex("ICSR", u64::MAX)?;
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
    let spi = c.newtype("SPI ID", MAX_ID, Spi::new)?;
    c.text(" now level ")?;
    let high = c.bit("level")?;
    c.text(" pending ")?;
    let pending = c.bit("pending")?;
    c.text(" active ")?;
    let active = c.bit("active")?;
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
    let base = c.hex("base", u64::MAX)?;
    c.text(" id_bits ")?;
    let id_bits = c.u8("id_bits", u8::MAX)?;
    c.text(" l2_idx_bits ")?;
    let l2_index_bits = c.u8("l2_idx_bits", u8::MAX)?;
    c.text(" IST entry size ")?;
    let entry_size = c.u8("IST entry size", u8::MAX)?;
    c.text(" 2-level ")?;
    let structure = if c.bit("2-level")? { Structure::TwoLevel } else { Structure::Linear };
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
        let domain = self.domain_word()?;
        self.text(" ")?;
        let int_type = self.one_of(
            "an interrupt type",
            [Some(IntType::Lpi), Some(IntType::Spi), Some(IntType::Ppi), None].map(|t| (type_word(t), t)),
        )?;
        self.text(" virtual:")?;
        let space = if self.bit("virtual")? { Space::Virtual } else { Space::Physical };
        self.text(" ID ")?;
        let id = self.u32("ID", MAX_ID)?;
        Ok(Interrupt { domain, int_type, space, id })
    }

    fn offset(&mut self) -> Result<u32, Fault> {
        let offset = self.hex("offset", MAX_OFFSET)?;
        Ok(offset as u32)
    }

    /// Data of a read is an answer and not judged: QEMU 11.1 prints IRS_DEVARCH sign-extended to 64 bits.
    fn read_data_and_size(&mut self) -> Result<(u64, AccessSize), Fault> {
        self.text(" data ")?;
        let data = self.hex("data", u64::MAX)?;
        Ok((data, self.size()?))
    }

    fn written_data_and_size(&mut self) -> Result<(u64, AccessSize), Fault> {
        let column = self.column() + " data 0x".len();
        let (data, size) = self.read_data_and_size()?;
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
