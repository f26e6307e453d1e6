//! A register, table entry or operand, field by field.

use gicv5_facts::{Class, Field, Register, RegisterTable};

use super::report::{Element, FieldReport, Findings, Report, View};
use super::{meaning, remarks};

/// A value with everything that is needed to say what it means.
pub(crate) struct Subject<'a> {
    pub(crate) table: &'a RegisterTable,
    pub(crate) register: &'a Register,
    /// The index of an indexed register, if it was given.
    pub(crate) index: Option<u32>,
    /// 64 bits each, lowest first.
    pub(crate) words: &'a [u64],
}

impl Subject<'_> {
    /// The value of a field; zero if there is no such field in this register.
    pub(crate) fn get(&self, field: &str) -> u64 {
        self.register.field(field).map_or(0, |field| field.extract(self.words))
    }

    /// One of the 64-bit words, lowest first; zero beyond the last.
    pub(crate) fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }

    /// The low 32 bits.
    pub(crate) fn low(&self) -> u32 {
        u32::try_from(self.word(0) & 0xffff_ffff).unwrap_or(0)
    }

    /// Whether a field is not zero.
    pub(crate) fn is(&self, field: &str) -> bool {
        self.get(field) != 0
    }

    /// Whether there is a field of this name and it is zero.
    pub(crate) fn is_clear(&self, field: &str) -> bool {
        self.register.field(field).is_some() && !self.is(field)
    }

    /// Whether no bit is set at all.
    pub(crate) fn is_zero(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// An address field as the address that it stands for.
    ///
    /// Address bit n sits at bit n of its own 64-bit word.
    pub(crate) fn address(&self, field: &str) -> u64 {
        self.register.field(field).map_or(0, |field| address(field, field.extract(self.words)))
    }
}

/// The address an address field stands for: its bits, moved to where they are in the address.
pub(crate) fn address(field: &Field, value: u64) -> u64 {
    value.checked_shl(u32::from(field.lsb % 64)).unwrap_or(0)
}

/// Whether the field holds address bits in place.
pub(crate) fn is_address(field: &Field) -> bool {
    field.name.ends_with("ADDR")
}

/// Decodes one value in every view of it. `entries` are the views.
pub(crate) fn decode(table: &RegisterTable, entries: &[&Register], index: Option<u32>, words: &[u64]) -> Report {
    let mut report = Report {
        kind: kind(entries),
        name: entries.first().map_or_else(String::new, |entry| match (index, entry.indices) {
            (Some(index), _) => format!("{}{index}", entry.name),
            (None, Some(_)) => format!("{}<n>", entry.name),
            (None, None) => entry.name.clone(),
        }),
        words: words
            .iter()
            .map(|word| match entries.first().and_then(|entry| entry.width) {
                Some(32) => format!("{word:#010x}"),
                _ => format!("{word:#018x}"),
            })
            .collect(),
        ..Report::default()
    };
    for register in entries {
        let subject = Subject { table, register, index, words };
        let mut findings = Findings { view: register.view.clone(), ..Findings::default() };
        report.views.push(View::new(register, index));
        for field in &register.fields {
            report.fields.push(field_report(&subject, field));
        }
        remarks::all(&subject, &mut findings);
        report.problems.append(&mut findings.problems);
        report.remarks.append(&mut findings.remarks);
    }
    report
}

/// Memory whose contents only the IRS knows.
pub(crate) fn opaque(entries: &[&Register]) -> Report {
    let mut findings = Findings::default();
    for entry in entries {
        let size = entry.size.as_deref().unwrap_or("of unknown size");
        findings.remark(
            format!("the contents are private to the IRS and mean nothing to software; size {size}"),
            if entry.name == "VMD" { &["VM-10", "VM-11", "VM-5"] } else { &["VPE-7", "VPE-8", "VM-5"] },
        );
    }
    Report {
        kind: kind(entries),
        name: entries.first().map_or_else(String::new, |entry| entry.name.clone()),
        views: entries.iter().map(|entry| View::new(entry, None)).collect(),
        problems: findings.problems,
        remarks: findings.remarks,
        ..Report::default()
    }
}

fn kind(entries: &[&Register]) -> &'static str {
    match entries.first().map(|entry| entry.class) {
        Some(Class::GicInstruction) => "instruction",
        Some(Class::MemoryEntry) => "table-entry",
        _ => "register",
    }
}

fn field_report(subject: &Subject<'_>, field: &Field) -> FieldReport {
    let value = field.extract(subject.words);
    let elements = elements(subject, field, value);
    let meaning = match &elements {
        Some(elements) => meaning::of_elements(subject, field, value, elements),
        None => meaning::of_field(subject, field, value),
    };
    FieldReport {
        view: subject.register.view.clone(),
        elements: elements.unwrap_or_default(),
        ..FieldReport::new(&field.name, field.msb, field.lsb, value, meaning)
    }
}

/// The elements of an array field that are not zero.
fn elements(subject: &Subject<'_>, field: &Field, value: u64) -> Option<Vec<Element>> {
    let width = u32::from(field.element_width?);
    let numbering = Numbering::of(field);
    let count = u32::from(field.width()) / width;
    let mask = u64::MAX >> (64 - width);
    let elements = (0..count)
        .map(|at| (at, value.checked_shr(at * width).unwrap_or(0) & mask))
        .filter(|(_, value)| *value != 0)
        .map(|(at, value)| {
            let index = numbering.index(subject.index, at);
            Element { index, value, name: numbering.name(subject, index) }
        })
        .collect();
    Some(elements)
}

/// How the elements of an array are counted: the note of the field says "bit x is PPI 64+x" or "is wire 32n+x".
pub(crate) struct Numbering {
    /// `PPI` or `wire`.
    pub(crate) thing: &'static str,
    first: u32,
    per_index: u32,
}

impl Numbering {
    pub(crate) fn of(field: &Field) -> Self {
        let note = field.note.as_deref().unwrap_or_default();
        let (thing, rest) = match (note.split_once(" is PPI "), note.split_once(" is wire ")) {
            (Some((_, rest)), _) => ("PPI", rest),
            (None, Some((_, rest))) => ("wire", rest),
            (None, None) => ("element", ""),
        };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).and_then(|end| rest.split_at_checked(end));
        match digits {
            Some((digits, rest)) if rest.starts_with("n+x") => {
                Self { thing, first: 0, per_index: digits.parse().unwrap_or(0) }
            }
            Some((digits, _)) => Self { thing, first: digits.parse().unwrap_or(0), per_index: 0 },
            None => Self { thing, first: 0, per_index: 0 },
        }
    }

    fn index(&self, register: Option<u32>, at: u32) -> u32 {
        at.saturating_add(self.first).saturating_add(self.per_index.saturating_mul(register.unwrap_or(0)))
    }

    fn name(&self, subject: &Subject<'_>, index: u32) -> String {
        if self.thing == "PPI" { meaning::ppi(subject.table, index) } else { self.number(subject, index) }
    }

    /// The thing and its number; with the register's index left open where it is not known.
    pub(crate) fn number(&self, subject: &Subject<'_>, index: u32) -> String {
        if self.per_index != 0 && subject.index.is_none() {
            format!("{} {}n+{index}", self.thing, self.per_index)
        } else {
            format!("{} {index}", self.thing)
        }
    }

    /// What stands before the numbers of a list of elements.
    pub(crate) fn prefix(&self, subject: &Subject<'_>) -> String {
        if self.per_index != 0 && subject.index.is_none() {
            format!("{} {}n +", self.thing, self.per_index)
        } else {
            self.thing.to_owned()
        }
    }
}
