//! A short sentence of a scenario, word by word: times, interrupts, vCPUs, PEs, priorities.

use gicv5_arch::{IrsIntId, Lpi, Priority, Spi};
use gicv5_hyp::VcpuIndex;
use gicv5_model::PeIndex;

use super::problem::{Problem, Span, refuse};
use super::{Ns, Relation, VmKind};
use crate::output::quote;
use crate::suggest;

/// One second, the longest a scenario may take, times this.
const LONGEST: Ns = 3_600_000_000_000;

/// Reads a duration or a moment: `10us`.
pub(super) fn time(text: &str, span: &Span) -> Result<Ns, Problem> {
    let wrong = |help: &str| Problem::new(span.clone(), format!("{} is no time", quote(text)), help);
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: Ns = match unit.trim_start() {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "" => return Err(wrong("a time is a number and a unit: ns, us, ms or s, such as 10us")),
        unit if unit.starts_with(['.', ',']) => {
            return Err(wrong("a time has no fraction; write it in a smaller unit, such as 1500ns"));
        }
        "µs" => return Err(wrong("microseconds are written us")),
        unit if unit.starts_with('-') => return Err(wrong("no time is before 0")),
        _ => return Err(wrong("the units are ns, us, ms and s, such as 10us")),
    };
    if number.is_empty() {
        return Err(wrong("a time is a number and a unit, such as 10us"));
    }
    let time = number.parse::<Ns>().ok().and_then(|number| number.checked_mul(scale));
    time.filter(|time| *time <= LONGEST).ok_or_else(|| {
        Problem::new(span.clone(), format!("{} is too long", quote(text)), "nothing may be later than 3600s")
    })
}

/// A piece of a sentence.
#[derive(Clone, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) span: Span,
}

/// A sentence that is being read.
pub(super) struct Sentence<'a> {
    text: &'a str,
    span: Span,
    words: std::vec::IntoIter<Word<'a>>,
}

/// What there is in the VM that a sentence is about.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) spis: u32,
    pub(super) lpis: u32,
    pub(super) vcpus: usize,
}

impl Bounds {
    pub(super) fn of(kind: &VmKind) -> Bounds {
        let lpis = kind.lpi_id_bits.map_or(0, |bits| 1 << bits);
        Bounds { spis: kind.spis, lpis, vcpus: kind.vcpus.len() }
    }

    /// Refuses an interrupt that the VM does not have.
    pub(super) fn check(self, id: IrsIntId, span: &Span) -> Result<IrsIntId, Problem> {
        let (number, count, what, key) = match id {
            IrsIntId::Spi(spi) => (spi.id(), self.spis, "SPI", "spis"),
            IrsIntId::Lpi(lpi) => (lpi.id(), self.lpis, "LPI", "lpi-id-bits"),
        };
        if number < count {
            return Ok(id);
        }
        let (what, help) = match count {
            0 => (format!("the VM has no {what}s"), format!("give it some by `{key}` in [[vm]]")),
            _ => {
                let last = count - 1;
                (format!("the VM has no {id}"), format!("it has {what}s 0 to {last}; `{key}` in [[vm]] says how many"))
            }
        };
        refuse(span.clone(), what, help)
    }
}

impl<'a> Sentence<'a> {
    pub(super) fn new((text, span): (&'a str, Span)) -> Sentence<'a> {
        // Places inside are known only if the text stands in the file as it is.
        let exact = span.len() == text.len();
        let mut words = Vec::new();
        for text_of in text.split([' ', ',']).filter(|word| !word.is_empty()) {
            let at = text_of.as_ptr() as usize - text.as_ptr() as usize;
            let span = if exact { span.start + at..span.start + at + text_of.len() } else { span.clone() };
            words.push(Word { text: text_of, span });
        }
        Sentence { text, span, words: words.into_iter() }
    }

    pub(super) fn next(&mut self, wanted: &str) -> Result<Word<'a>, Problem> {
        self.words.next().ok_or_else(|| {
            let what = format!("{} ends too early", quote(self.text));
            Problem::new(self.span.clone(), what, format!("write {wanted} after it"))
        })
    }

    pub(super) fn peek(&self) -> Option<&str> {
        self.words.as_slice().first().map(|word| word.text)
    }

    /// Nothing follows.
    pub(super) fn end(mut self) -> Result<(), Problem> {
        match self.words.next() {
            None => Ok(()),
            Some(word) => {
                let what = format!("{} does not belong here", quote(word.text));
                refuse(word.span, what, format!("{} is complete without it", quote(self.text)))
            }
        }
    }

    pub(super) fn number(&mut self, what: &str, range: std::ops::Range<u64>) -> Result<(u64, Span), Problem> {
        let word = self.next(&format!("a number from {} to {}", range.start, range.end - 1))?;
        let number = word.text.parse().ok().filter(|number| range.contains(number));
        number.map(|number| (number, word.span.clone())).ok_or_else(|| {
            Problem::new(
                word.span,
                format!("{} is no {what}", quote(word.text)),
                format!("write a number from {} to {}", range.start, range.end.saturating_sub(1)),
            )
        })
    }

    pub(super) fn time(&mut self) -> Result<Ns, Problem> {
        let word = self.next("a time such as 10us")?;
        time(word.text, &word.span)
    }

    /// `SPI 5` or `LPI 5`.
    pub(super) fn interrupt(&mut self) -> Result<(IrsIntId, Span), Problem> {
        let word = self.next("an interrupt such as SPI 5 or LPI 5")?;
        let is_spi = match word.text {
            "SPI" => true,
            "LPI" => false,
            "PPI" => {
                let help = "guests have no PPIs yet: use an SPI or an LPI";
                return refuse(word.span, "a PPI cannot be used", help);
            }
            other => {
                let what = format!("{} is no kind of interrupt", quote(other));
                return refuse(word.span, what, "write an interrupt such as SPI 5 or LPI 5");
            }
        };
        let (number, span) = self.number("number of an interrupt", 0..1 << 24)?;
        let span = word.span.start..span.end;
        let id = match is_spi {
            true => Spi::new(number as u32).map(IrsIntId::Spi),
            false => Lpi::new(number as u32).map(IrsIntId::Lpi),
        };
        match id {
            Ok(id) => Ok((id, span)),
            Err(error) => refuse(span, error.to_string(), "write a smaller number"),
        }
    }

    /// An interrupt, and perhaps a last one: `LPI 0 to 63`.
    pub(super) fn interrupts(&mut self) -> Result<(Vec<IrsIntId>, Span), Problem> {
        let (first, span) = self.interrupt()?;
        if self.peek() != Some("to") {
            return Ok((vec![first], span));
        }
        let _ = self.next("to")?;
        let start = u64::from(first.id());
        let (last, end) = self.number("last number of a range", start..(1 << 24))?;
        let span = span.start..end.end;
        if last - start >= 1 << 16 {
            return refuse(span, "more interrupts than can be set up one by one", "at most 65536 at a time");
        }
        let ids = (start..=last).filter_map(|n| {
            let n = n as u32;
            match first {
                IrsIntId::Spi(_) => Spi::new(n).map(IrsIntId::Spi).ok(),
                IrsIntId::Lpi(_) => Lpi::new(n).map(IrsIntId::Lpi).ok(),
            }
        });
        Ok((ids.collect(), span))
    }

    pub(super) fn interrupt_of(&mut self, bounds: Bounds) -> Result<IrsIntId, Problem> {
        let (id, span) = self.interrupt()?;
        bounds.check(id, &span)
    }

    /// `vcpu 1`.
    pub(super) fn vcpu(&mut self, vcpus: usize) -> Result<VcpuIndex, Problem> {
        let word = self.next("vcpu and its number")?;
        if word.text != "vcpu" {
            let what = format!("{} is not understood here", quote(word.text));
            return refuse(word.span, what, "write vcpu and a number, counted from 0");
        }
        Ok(VcpuIndex(self.number("vCPU of the VM", 0..vcpus as u64)?.0 as usize))
    }

    /// `PE 1`.
    pub(super) fn pe(&mut self, pes: u16) -> Result<PeIndex, Problem> {
        for expected in ["to", "PE"] {
            let word = self.next("to PE and its number")?;
            if word.text != expected {
                let what = format!("{} is not understood here", quote(word.text));
                return refuse(word.span, what, "write: to PE 1");
            }
        }
        Ok(PeIndex(self.number("PE of the machine", 0..u64::from(pes))?.0 as u16))
    }

    pub(super) fn priority(&mut self) -> Result<Priority, Problem> {
        let (number, span) = self.number("priority", 0..32)?;
        Priority::new(number as u32).map_err(|error| Problem::new(span, error.to_string(), "write 0 to 31"))
    }

    /// The first word, one of these.
    pub(super) fn verb(&mut self, what: &str, verbs: &[&'static str]) -> Result<(&'static str, Span), Problem> {
        let word = self.next(&format!("one of: {}", verbs.join(", ")))?;
        match verbs.iter().find(|verb| **verb == word.text) {
            Some(verb) => Ok((verb, word.span)),
            None => {
                let nearest = suggest::nearest(word.text, verbs.iter().copied());
                let help = suggest::hint(&nearest, &format!("write one of: {}", verbs.join(", ")));
                refuse(word.span, format!("{} is no {what}", quote(word.text)), help)
            }
        }
    }
}

pub(super) const RELATIONS: [(&str, Relation); 3] =
    [("=", Relation::Equal), ("<=", Relation::AtMost), (">=", Relation::AtLeast)];

impl Sentence<'_> {
    pub(super) fn relation(&mut self) -> Result<Relation, Problem> {
        let word = self.next("=, <= or >= and a value")?;
        RELATIONS.iter().find(|(name, _)| *name == word.text).map(|(_, relation)| *relation).ok_or_else(|| {
            let what = format!("{} is no comparison", quote(word.text));
            Problem::new(word.span, what, "write =, <= or >= with a blank on each side")
        })
    }
}
