//! What decoding found, in the shape of the JSON document (`docs/json.md`).

use gicv5_facts::{Form, Location, Operand, Register, Status};
use serde::Serialize;

/// The result of `gicv5 decode`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// `register`, `table-entry`, `instruction`, `intid` or `instruction-word`.
    pub(crate) kind: &'static str,
    /// Name as in the specification, with a concrete index if one was given.
    pub(crate) name: String,
    /// The value in one line, where there is such a line: an assembler line, an interrupt.
    pub(crate) summary: Option<String>,
    /// The value, 32 or 64 bits a word, lowest first, in hexadecimal.
    pub(crate) words: Vec<String>,
    /// What is known of the item; one for each view of it.
    pub(crate) views: Vec<View>,
    /// The fields, highest first, view by view.
    pub(crate) fields: Vec<FieldReport>,
    /// What is illegal about the value.
    pub(crate) problems: Vec<Finding>,
    /// What the value means beyond its fields.
    pub(crate) remarks: Vec<Finding>,
}

/// A register, table entry or instruction, seen in one way.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    /// Name of the view where there are several, such as `mpam1`.
    pub(crate) view: Option<String>,
    /// Class as in the facts, such as `irs-config`.
    pub(crate) class: &'static str,
    /// What the item is for.
    pub(crate) purpose: String,
    /// Width in bits.
    pub(crate) width: Option<u16>,
    /// `RO`, `RW`, `WO` or `memory`.
    pub(crate) access: Option<&'static str>,
    /// False if the access type is inferred.
    pub(crate) access_confirmed: bool,
    /// Byte offset in its frame.
    pub(crate) offset: Option<u32>,
    /// `S3_4_C12_C11_6` form.
    pub(crate) encoding: Option<String>,
    /// Name of the register this one is reached through.
    pub(crate) accessed_via: Option<String>,
    /// Offset in the page of `VNCR_EL2`.
    pub(crate) vncr_offset: Option<u32>,
    /// How the instruction is encoded.
    pub(crate) instruction: Option<InstructionReport>,
    /// Number of independent sources of the place, 3 meaning three or more.
    pub(crate) confirmed: u8,
    /// True if the fields are taken over from a sibling.
    pub(crate) fields_inferred: bool,
    /// Reset value in words.
    pub(crate) reset: Option<String>,
    /// `removed` if no longer in the architecture.
    pub(crate) status: Option<&'static str>,
    /// A remark on the item.
    pub(crate) note: Option<String>,
}

/// How an instruction is encoded.
#[derive(Debug, Serialize)]
pub(crate) struct InstructionReport {
    /// `SYS` or `SYSL`.
    pub(crate) form: &'static str,
    /// `Xt`, `result in Xt` or `none`.
    pub(crate) operand: &'static str,
    /// Lowest exception level.
    pub(crate) min_el: &'static str,
    /// The word with `x0`, or with `xzr` if there is no operand.
    pub(crate) word: String,
}

/// One field of the value.
#[derive(Debug, Serialize)]
pub(crate) struct FieldReport {
    /// The view it belongs to.
    pub(crate) view: Option<String>,
    /// Name as in the specification.
    pub(crate) name: String,
    /// `63:32`, or `0` for one bit.
    pub(crate) bits: String,
    /// Highest bit.
    pub(crate) msb: u16,
    /// Lowest bit.
    pub(crate) lsb: u16,
    /// The value.
    pub(crate) value: u64,
    /// The value in hexadecimal.
    pub(crate) hex: String,
    /// What it means.
    pub(crate) meaning: String,
    /// The elements that are not zero, if the field is an array.
    pub(crate) elements: Vec<Element>,
}

/// One element of an array field.
#[derive(Debug, Serialize)]
pub(crate) struct Element {
    /// PPI or wire number; counted from the register's first element if the register's index is not known.
    pub(crate) index: u32,
    /// The value.
    pub(crate) value: u64,
    /// What the element stands for, such as `PPI 27 (CNTV)`.
    pub(crate) name: String,
}

/// A problem or a remark.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The view it belongs to.
    pub(crate) view: Option<String>,
    /// The field it is about, if it is about one.
    pub(crate) field: Option<String>,
    /// The text, one sentence.
    pub(crate) text: String,
    /// Ids of the rules it rests on.
    pub(crate) rules: &'static [&'static str],
}

/// Problems and remarks as they are found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) view: Option<String>,
    pub(crate) problems: Vec<Finding>,
    pub(crate) remarks: Vec<Finding>,
}

impl FieldReport {
    /// A field of a word that is no register.
    pub(crate) fn new(name: &str, msb: u16, lsb: u16, value: u64, meaning: String) -> FieldReport {
        FieldReport {
            view: None,
            name: name.to_owned(),
            bits: bits(msb, lsb),
            msb,
            lsb,
            value,
            hex: format!("{value:#x}"),
            meaning,
            elements: Vec::new(),
        }
    }
}

impl Findings {
    /// Something is illegal.
    pub(crate) fn problem(&mut self, field: Option<&str>, text: impl Into<String>, rules: &'static [&'static str]) {
        self.problems.push(Finding {
            view: self.view.clone(),
            field: field.map(str::to_owned),
            text: text.into(),
            rules,
        });
    }

    /// Something is worth knowing.
    pub(crate) fn remark(&mut self, text: impl Into<String>, rules: &'static [&'static str]) {
        self.remarks.push(Finding { view: self.view.clone(), field: None, text: text.into(), rules });
    }
}

impl View {
    /// What the facts say of `register`; `index` moves the offset.
    pub(crate) fn new(register: &Register, index: Option<u32>) -> Self {
        let step = register.indices.and_then(|indices| indices.stride).unwrap_or(0);
        let offset = match register.location {
            Location::Offset(offset) => Some(offset.saturating_add(index.unwrap_or(0).saturating_mul(step))),
            _ => None,
        };
        let encoding = match register.location {
            Location::Encoding(encoding) => Some(encoding.to_string()),
            _ => None,
        };
        Self {
            view: register.view.clone(),
            class: register.class.name(),
            purpose: register.purpose.clone(),
            width: register.width,
            access: register.access.map(gicv5_facts::Access::name),
            access_confirmed: register.access_confirmed,
            offset,
            encoding,
            accessed_via: register.accessed_via.clone(),
            vncr_offset: register.vncr_offset,
            instruction: register.instruction.map(|instruction| InstructionReport {
                form: match instruction.form {
                    Form::Sys => "SYS",
                    Form::Sysl => "SYSL",
                },
                operand: match instruction.operand {
                    Operand::Xt => "Xt",
                    Operand::Result => "result in Xt",
                    Operand::None => "none",
                },
                min_el: instruction.min_el.name(),
                word: format!("{:#010x}", instruction.word(if instruction.operand == Operand::None { 31 } else { 0 })),
            }),
            confirmed: register.confirmed,
            fields_inferred: register.fields_inferred,
            reset: register.reset.clone(),
            status: register.status.map(|status| match status {
                Status::Removed => "removed",
            }),
            note: register.note.clone(),
        }
    }
}

/// `63:32`, or `0` for one bit.
pub(crate) fn bits(msb: u16, lsb: u16) -> String {
    if msb == lsb { msb.to_string() } else { format!("{msb}:{lsb}") }
}
