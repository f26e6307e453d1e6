//! Registers, table entries and instructions, as types.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

use crate::error::FactsError;
use crate::raw::{RawField, RawRegister, RawTable};

/// Everything in `facts/registers.toml`.
#[derive(Debug, Clone)]
pub struct RegisterTable {
    /// The title line of the file.
    pub title: String,
    /// Version of the file's shape.
    pub schema_version: u32,
    /// The classes the file uses, in its order.
    pub classes: Vec<Class>,
    /// Where the facts come from.
    pub sources: Vec<Source>,
    /// Every register, table entry and instruction, in the order of the file.
    pub registers: Vec<Register>,
    /// Smallest and largest legal values.
    pub limits: Vec<Limit>,
    /// Alignment rules of table addresses.
    pub alignments: Vec<Alignment>,
    /// The architected PPIs.
    pub ppis: Vec<Ppi>,
    /// Which status register reports the completion of which writes.
    pub status_pairs: Vec<StatusPair>,
    /// Where sources contradict each other, and what was decided.
    pub disagreements: Vec<Disagreement>,
    /// What no source told.
    pub gaps: Vec<String>,
}

/// A public source of facts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Source {
    /// One letter, used in the source lists.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What was taken from it.
    pub covers: String,
}

/// Where a register lives, or what else an entry describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// IRS configuration frame.
    IrsConfig,
    /// IRS SETLPI frame.
    IrsSetlpi,
    /// ITS configuration frame.
    ItsConfig,
    /// ITS translate frame.
    ItsTranslate,
    /// Interrupt wire bridge frame.
    Iwb,
    /// GIC performance monitor frame.
    GicPmu,
    /// System register of the CPU interface.
    CpuifSysreg,
    /// `GIC`, `GICR` or `GSB` instruction; the fields are those of its operand or result.
    GicInstruction,
    /// Entry of a table in memory.
    MemoryEntry,
}

impl Class {
    /// The name used in the file, such as `irs-config`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IrsConfig => "irs-config",
            Self::IrsSetlpi => "irs-setlpi",
            Self::ItsConfig => "its-config",
            Self::ItsTranslate => "its-translate",
            Self::Iwb => "iwb",
            Self::GicPmu => "gic-pmu",
            Self::CpuifSysreg => "cpuif-sysreg",
            Self::GicInstruction => "gic-instruction",
            Self::MemoryEntry => "memory-entry",
        }
    }

    /// What the class is, in words, such as "IRS configuration frame".
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::IrsConfig => "IRS configuration frame",
            Self::IrsSetlpi => "IRS SETLPI frame",
            Self::ItsConfig => "ITS configuration frame",
            Self::ItsTranslate => "ITS translate frame",
            Self::Iwb => "IWB frame",
            Self::GicPmu => "GIC performance monitor",
            Self::CpuifSysreg => "system register",
            Self::GicInstruction => "instruction",
            Self::MemoryEntry => "table entry in memory",
        }
    }

    /// Whether items of this class are registers in a memory-mapped frame.
    #[must_use]
    pub fn is_mmio(self) -> bool {
        matches!(
            self,
            Self::IrsConfig | Self::IrsSetlpi | Self::ItsConfig | Self::ItsTranslate | Self::Iwb | Self::GicPmu
        )
    }
}

/// A register, an instruction with its operand, or a table entry.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Register {
    /// Name as in the specification, such as `IRS_IDR0`, `GIC CDPEND`, `L2_VMTE`. An indexed register has no index in
    /// its name (`IWB_WENABLER`, see `indices`).
    pub name: String,
    /// Which of several layouts this is, where the name alone does not say (`mpam1`, `its`).
    pub view: Option<String>,
    /// Where it lives.
    pub class: Class,
    /// What it is for, one sentence.
    pub purpose: String,
    /// Offset or encoding.
    pub location: Location,
    /// `S3_4_C12_C11_6` form of a system register whose encoding is known.
    pub generic_name: Option<String>,
    /// Indices of a register that comes in several copies.
    pub indices: Option<IndexRange>,
    /// Offset in bytes in the page of `VNCR_EL2`, for nested virtualisation.
    pub vncr_offset: Option<u32>,
    /// Name of the register through which this one is reached (`ICV_*` registers use the name of their `ICC_*` twin).
    pub accessed_via: Option<String>,
    /// Width in bits: 32, 64 or 256; `None` for memory whose contents are private to the IRS.
    pub width: Option<u16>,
    /// Who may read and write; `None` for an instruction.
    pub access: Option<Access>,
    /// False if the access type was inferred and not read in a source.
    pub access_confirmed: bool,
    /// Number of independent sources, 1 to 3 (3 meaning three or more), that agree on where it is.
    pub confirmed: u8,
    /// Ids of the sources of the location.
    pub location_sources: Vec<String>,
    /// Ids of the sources of the fields.
    pub field_sources: Vec<String>,
    /// True if the fields are taken over from a sibling and no source shows them.
    pub fields_inferred: bool,
    /// A remark.
    pub note: Option<String>,
    /// The reset value, in words, where known.
    pub reset: Option<String>,
    /// Set if the item is no longer part of the architecture.
    pub status: Option<Status>,
    /// How the instruction is encoded; `None` for everything else.
    pub instruction: Option<Instruction>,
    /// Size of a table entry in bytes.
    pub entry_bytes: Option<u32>,
    /// True if the contents are private to the IRS.
    pub opaque: bool,
    /// Size of an opaque object, in words.
    pub size: Option<String>,
    /// The fields, highest first. Bits without a field are reserved.
    pub fields: Vec<Field>,
}

/// Where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// Byte offset in its frame, of the first copy if the register is indexed.
    Offset(u32),
    /// System register or instruction encoding.
    Encoding(Encoding),
    /// No source gives the offset or the encoding.
    Unknown,
    /// An entry of a table in memory, wherever software put the table.
    Table,
}

/// The five numbers that name a system register or system instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoding {
    /// 1 for system instructions, 3 for the registers listed here.
    pub op0: u8,
    /// 0 to 7.
    pub op1: u8,
    /// 0 to 15.
    #[serde(rename = "CRn")]
    pub crn: u8,
    /// 0 to 15.
    #[serde(rename = "CRm")]
    pub crm: u8,
    /// 0 to 7.
    pub op2: u8,
}

impl fmt::Display for Encoding {
    /// The generic name, such as `S3_4_C12_C11_6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S{}_{}_C{}_C{}_{}", self.op0, self.op1, self.crn, self.crm, self.op2)
    }
}

/// Indices of a register that comes in several copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexRange {
    /// First index.
    pub first: u32,
    /// Last index, inclusive.
    pub last: u32,
    /// Distance of two neighbours in bytes, where the offset is known.
    pub stride: Option<u32>,
}

/// Who may read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum Access {
    /// Read-only.
    #[serde(rename = "RO")]
    ReadOnly,
    /// Read and write.
    #[serde(rename = "RW")]
    ReadWrite,
    /// Write-only.
    #[serde(rename = "WO")]
    WriteOnly,
    /// Ordinary memory shared with the hardware.
    #[serde(rename = "memory")]
    Memory,
}

impl Access {
    /// `RO`, `RW`, `WO` or `memory`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "RO",
            Self::ReadWrite => "RW",
            Self::WriteOnly => "WO",
            Self::Memory => "memory",
        }
    }
}

/// Set on items that are no longer what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Removed from the architecture.
    Removed,
}

/// How an instruction is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instruction {
    /// `SYS` or `SYSL`.
    pub form: Form,
    /// What the general-purpose register is for.
    pub operand: Operand,
    /// Lowest exception level that may execute it.
    pub min_el: ExceptionLevel,
    /// The instruction word with one given register.
    pub word: Word,
}

impl Instruction {
    /// The instruction word with register number `rt` (31 is `xzr`); bits above the low five are dropped.
    #[must_use]
    pub fn word(&self, rt: u8) -> u32 {
        let (Word::X0(word) | Word::Xzr(word)) = self.word;
        (word & !0x1f) | u32::from(rt & 0x1f)
    }
}

/// An instruction word, and the register it was written down with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// With `x0`.
    X0(u32),
    /// With `xzr`, for an instruction without operand.
    Xzr(u32),
}

/// Write or read form of a system instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum Form {
    /// `SYS`: the register is an operand.
    #[serde(rename = "SYS")]
    Sys,
    /// `SYSL`: the register takes a result.
    #[serde(rename = "SYSL")]
    Sysl,
}

/// What an instruction does with its register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum Operand {
    /// Reads it.
    #[serde(rename = "Xt")]
    Xt,
    /// Writes its result to it.
    #[serde(rename = "result in Xt")]
    Result,
    /// Does not use it.
    #[serde(rename = "none")]
    None,
}

/// Exception level, for a lower bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum ExceptionLevel {
    /// EL1.
    #[serde(rename = "EL1")]
    El1,
    /// EL2.
    #[serde(rename = "EL2")]
    El2,
    /// EL3.
    #[serde(rename = "EL3")]
    El3,
}

impl ExceptionLevel {
    /// `EL1`, `EL2` or `EL3`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::El1 => "EL1",
            Self::El2 => "EL2",
            Self::El3 => "EL3",
        }
    }
}

/// A field: bits `msb` down to `lsb`, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// Name as in the specification.
    pub name: String,
    /// Highest bit, 0 to 255.
    pub msb: u16,
    /// Lowest bit, 0 to 255.
    pub lsb: u16,
    /// If set, the field is an array of elements of that many bits, element 0 in the lowest bits.
    pub element_width: Option<u16>,
    /// Named values, by number. Of an element where there are elements.
    pub values: Vec<FieldValue>,
    /// A remark.
    pub note: Option<String>,
}

/// One value of a field and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldValue {
    /// The number.
    pub value: u64,
    /// What it means.
    pub meaning: String,
}

impl Field {
    /// Width in bits, 1 to 64.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.msb - self.lsb + 1
    }

    /// The field's value in `words`, 64 bits each, lowest first; absent words read as zero.
    #[must_use]
    pub fn extract(&self, words: &[u64]) -> u64 {
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        let first = usize::from(self.lsb / 64);
        let shift = u32::from(self.lsb % 64);
        let low = word(first) >> shift;
        let high = if shift == 0 { 0 } else { word(first + 1) << (64 - shift) };
        (low | high) & mask(self.width())
    }

    /// What `value` means, if it has a name.
    #[must_use]
    pub fn meaning(&self, value: u64) -> Option<&str> {
        self.values.iter().find(|named| named.value == value).map(|named| named.meaning.as_str())
    }
}

/// The `width` lowest bits set.
fn mask(width: u16) -> u64 {
    u64::MAX.checked_shr(64 - u32::from(width.min(64))).unwrap_or(0)
}

/// Smallest and largest legal value of a field or a size.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Limit {
    /// `REGISTER.FIELD`, or a quantity in words.
    pub field: String,
    /// Smallest legal value.
    pub min: Option<u64>,
    /// Largest legal value.
    pub max: u64,
    /// How the number is to be read: `raw`, `bits minus one`, `log2 bytes`, `code`, `count`, `bytes`.
    pub coding: String,
    /// Ids of the sources.
    pub sources: Vec<String>,
    /// Number of independent sources.
    pub confirmed: u8,
    /// A remark.
    pub note: String,
}

/// Alignment and size of something a table address points to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Alignment {
    /// The address field or fields.
    pub address: String,
    /// The rule, as a formula in words.
    pub rule: String,
    /// Size of what is there.
    pub size: String,
    /// Ids of the sources.
    pub sources: Vec<String>,
    /// Number of independent sources.
    pub confirmed: u8,
}

/// An architected PPI.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Ppi {
    /// PPI number.
    pub id: u32,
    /// Short name, such as `CNTV`.
    pub name: String,
    /// What raises it.
    pub r#use: String,
}

/// Writes and the register that reports their completion.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StatusPair {
    /// The registers written.
    pub writes: Vec<String>,
    /// The register to poll, or [`StatusPair::OWN_IDLE`].
    pub poll: String,
}

impl StatusPair {
    /// `poll` of a register that holds its own IDLE bit.
    pub const OWN_IDLE: &'static str = "own IDLE bit";
}

/// Sources that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Disagreement {
    /// What it is about.
    pub topic: String,
    /// Who says what.
    pub claims: String,
    /// What is used here.
    pub decision: String,
    /// Why.
    pub reason: String,
}

impl RegisterTable {
    /// Parses text of the shape of `facts/registers.toml`.
    ///
    /// # Errors
    ///
    /// [`FactsError::Syntax`] if it is not TOML of that shape or holds an unknown key, [`FactsError::Inconsistent`] if
    /// an item contradicts itself or names something that is not there.
    pub fn parse(text: &str) -> Result<Self, FactsError> {
        let raw: RawTable = toml::from_str(text).map_err(|error| FactsError::Syntax(error.to_string()))?;
        let registers = raw.register.into_iter().map(Register::from_raw).collect::<Result<Vec<_>, _>>()?;
        let table = Self {
            title: raw.title,
            schema_version: raw.schema_version,
            classes: raw.classes,
            sources: raw.source,
            registers,
            limits: raw.limit,
            alignments: raw.alignment,
            ppis: raw.ppi,
            status_pairs: raw.status_pair,
            disagreements: raw.disagreement,
            gaps: raw.gaps.items,
        };
        table.check_references()?;
        Ok(table)
    }

    /// The entries with exactly this name: one, or one per view.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Register> {
        self.registers.iter().filter(move |register| register.name == name)
    }

    /// The legal range of a field of a register.
    #[must_use]
    pub fn limit(&self, register: &str, field: &str) -> Option<&Limit> {
        self.limits.iter().find(|limit| limit.field.split_once('.') == Some((register, field)))
    }

    /// The architected PPI with this number.
    #[must_use]
    pub fn ppi(&self, id: u32) -> Option<&Ppi> {
        self.ppis.iter().find(|ppi| ppi.id == id)
    }

    /// Which register reports that a write to `register` has completed.
    #[must_use]
    pub fn status_of(&self, register: &str) -> Option<&StatusPair> {
        self.status_pairs.iter().find(|pair| pair.writes.iter().any(|name| name == register))
    }

    /// The writes whose completion `register` reports.
    #[must_use]
    pub fn reported_by(&self, register: &str) -> Option<&StatusPair> {
        self.status_pairs.iter().find(|pair| pair.poll == register)
    }

    fn check_references(&self) -> Result<(), FactsError> {
        let sources: BTreeSet<&str> = self.sources.iter().map(|source| source.id.as_str()).collect();
        let names: BTreeSet<&str> = self.registers.iter().map(|register| register.name.as_str()).collect();
        let mut seen = BTreeSet::new();
        for register in &self.registers {
            if !seen.insert((register.name.as_str(), register.view.as_deref())) {
                return Err(inconsistent(&register.name, "listed twice in the same view"));
            }
            if !self.classes.contains(&register.class) {
                return Err(inconsistent(&register.name, "of a class that the file does not list"));
            }
            if let Some(twin) = &register.accessed_via
                && !names.contains(twin.as_str())
            {
                return Err(inconsistent(&register.name, format!("accessed via unknown {twin}")));
            }
            check_sources(&sources, &register.name, &register.location_sources)?;
            check_sources(&sources, &register.name, &register.field_sources)?;
        }
        for limit in &self.limits {
            check_sources(&sources, &limit.field, &limit.sources)?;
            if let Some((register, field)) = limit.field.split_once('.')
                && !self.named(register).any(|entry| entry.fields.iter().any(|candidate| candidate.name == field))
            {
                return Err(inconsistent(&limit.field, "a limit of a field that is not there"));
            }
        }
        for alignment in &self.alignments {
            check_sources(&sources, &alignment.address, &alignment.sources)?;
        }
        for pair in &self.status_pairs {
            let own = pair.poll == StatusPair::OWN_IDLE;
            for name in pair.writes.iter().chain((!own).then_some(&pair.poll)) {
                if !names.contains(name.as_str()) {
                    return Err(inconsistent(&pair.poll, format!("a status pair with unknown {name}")));
                }
            }
        }
        Ok(())
    }
}

fn check_sources(known: &BTreeSet<&str>, item: &str, used: &[String]) -> Result<(), FactsError> {
    match used.iter().find(|id| !known.contains(id.as_str())) {
        Some(id) => Err(inconsistent(item, format!("cites unknown source {id}"))),
        None => Ok(()),
    }
}

fn inconsistent(item: &str, problem: impl Into<String>) -> FactsError {
    FactsError::Inconsistent { item: item.to_owned(), problem: problem.into() }
}

impl Register {
    /// Name and view, such as `IRS_MPAM_IDR (mpam1)`.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.view {
            Some(view) => format!("{} ({view})", self.name),
            None => self.name.clone(),
        }
    }

    /// The field with this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn from_raw(raw: RawRegister) -> Result<Self, FactsError> {
        let bad = |problem: &str| inconsistent(&raw.name, problem);
        let is_instruction = raw.class == Class::GicInstruction;
        let has_encoding = is_instruction || raw.class == Class::CpuifSysreg;
        let location = match (raw.offset, raw.encoding, raw.offset_unknown, raw.encoding_unknown) {
            (Some(offset), None, false, false) if raw.class.is_mmio() => Location::Offset(offset),
            (None, None, true, false) if raw.class.is_mmio() => Location::Unknown,
            (None, Some(encoding), false, false) if has_encoding => Location::Encoding(encoding),
            (None, None, false, true) if has_encoding => Location::Unknown,
            (None, None, false, false) if raw.class == Class::MemoryEntry => Location::Table,
            _ => return Err(bad("offset and encoding do not fit the class")),
        };
        if let Location::Encoding(encoding) = location {
            let in_range =
                encoding.op0 < 4 && encoding.op1 < 8 && encoding.crn < 16 && encoding.crm < 16 && encoding.op2 < 8;
            if !in_range {
                return Err(bad("encoding out of range"));
            }
            let wanted = (!is_instruction).then(|| encoding.to_string());
            if raw.generic_name != wanted {
                return Err(bad("the generic name does not match the encoding"));
            }
        } else if raw.generic_name.is_some() {
            return Err(bad("a generic name without an encoding"));
        }
        let indices = match (raw.index_min, raw.index_max) {
            (Some(first), Some(last)) if first <= last => {
                if raw.stride.is_some() != matches!(location, Location::Offset(_)) {
                    return Err(bad("an indexed register has a stride if and only if its offset is known"));
                }
                Some(IndexRange { first, last, stride: raw.stride })
            }
            (None, None) if raw.stride.is_none() => None,
            _ => return Err(bad("incomplete index range")),
        };
        if raw.access.is_none() != is_instruction {
            return Err(bad("everything but an instruction has an access type"));
        }
        let instruction = match (raw.form, raw.operand, raw.min_el, raw.word_x0, raw.word_xzr) {
            (Some(form), Some(operand), Some(min_el), Some(word), None) if is_instruction => {
                Some(Instruction { form, operand, min_el, word: Word::X0(word) })
            }
            (Some(form), Some(operand), Some(min_el), None, Some(word)) if is_instruction => {
                Some(Instruction { form, operand, min_el, word: Word::Xzr(word) })
            }
            (None, None, None, None, None) if !is_instruction => None,
            _ => {
                return Err(bad("form, operand, min_el and one word belong to an instruction"));
            }
        };
        match (raw.width, raw.opaque) {
            (Some(32 | 64 | 256), false) => {}
            (None, true) if raw.fields.is_empty() && raw.size.is_some() => {}
            _ => {
                return Err(bad("a width of 32, 64 or 256 bits, or opaque with a size and no fields"));
            }
        }
        if raw.entry_bytes.map(|bytes| bytes.saturating_mul(8)) != raw.width.map(u32::from)
            && raw.class == Class::MemoryEntry
        {
            return Err(bad("entry size and width differ"));
        }
        if !(1..=3).contains(&raw.confirmed) {
            return Err(bad("confirmed is 1 to 3"));
        }
        let width = raw.width.unwrap_or(0);
        let mut fields = Vec::with_capacity(raw.fields.len());
        let mut below = width;
        for field in raw.fields {
            if field.msb >= below {
                return Err(inconsistent(
                    &raw.name,
                    format!("field {} overlaps, is out of order or does not fit", field.name),
                ));
            }
            below = field.lsb;
            fields.push(Field::from_raw(&raw.name, field)?);
        }
        Ok(Self {
            name: raw.name,
            view: raw.view,
            class: raw.class,
            purpose: raw.purpose,
            location,
            generic_name: raw.generic_name,
            indices,
            vncr_offset: raw.vncr_offset,
            accessed_via: raw.accessed_via,
            width: raw.width,
            access: raw.access,
            access_confirmed: raw.access_confirmed.unwrap_or(true),
            confirmed: raw.confirmed,
            location_sources: raw.location_sources,
            field_sources: raw.field_sources,
            fields_inferred: raw.fields_inferred,
            note: raw.note,
            reset: raw.reset,
            status: raw.status,
            instruction,
            entry_bytes: raw.entry_bytes,
            opaque: raw.opaque,
            size: raw.size,
            fields,
        })
    }
}

impl Field {
    fn from_raw(register: &str, raw: RawField) -> Result<Self, FactsError> {
        let bad = |problem: &str| inconsistent(&format!("{register}.{}", raw.name), problem);
        if raw.msb < raw.lsb {
            return Err(bad("msb below lsb"));
        }
        let width = raw.msb - raw.lsb + 1;
        if width > 64 {
            return Err(bad("wider than 64 bits"));
        }
        if let Some(element) = raw.element_width
            && (element == 0 || !width.is_multiple_of(element))
        {
            return Err(bad("the elements do not fill the field"));
        }
        let largest = mask(raw.element_width.unwrap_or(width));
        let mut values = Vec::with_capacity(raw.values.len());
        for (number, meaning) in raw.values {
            let (digits, radix) = number.strip_prefix("0x").map_or((number.as_str(), 10), |digits| (digits, 16));
            // A sign is no digit, though the standard library would take a plus.
            let value = (!digits.starts_with('+')).then(|| u64::from_str_radix(digits, radix).ok()).flatten();
            let value = value.ok_or_else(|| bad("a value that is not a number"))?;
            if value > largest {
                return Err(bad("a value that does not fit"));
            }
            values.push(FieldValue { value, meaning });
        }
        values.sort_by_key(|named| named.value);
        if values.windows(2).any(|pair| matches!(pair, [one, next] if one.value == next.value)) {
            return Err(bad("a value named twice"));
        }
        Ok(Self {
            name: raw.name,
            msb: raw.msb,
            lsb: raw.lsb,
            element_width: raw.element_width,
            values,
            note: raw.note,
        })
    }
}
