//! What the value of one field means.

use gicv5_facts::{Class, Field, RegisterTable};

use super::register::{Numbering, Subject, address, is_address};
use super::report::Element;
use crate::output::{bytes, count};

/// `PPI 27 (CNTV)`, or `PPI 40` where the architecture gives no name.
pub(crate) fn ppi(table: &RegisterTable, id: u32) -> String {
    match table.ppi(id) {
        Some(ppi) => format!("PPI {id} ({})", ppi.name),
        None => format!("PPI {id}"),
    }
}

/// An interrupt from its TYPE and ID fields, such as `LPI 47` or `PPI 27 (CNTV)`; `None` for a reserved type.
pub(crate) fn interrupt(table: &RegisterTable, int_type: u64, id: u64) -> Option<String> {
    match int_type {
        1 => Some(ppi(table, u32::try_from(id).unwrap_or(u32::MAX))),
        2 => Some(format!("LPI {id}")),
        3 => Some(format!("SPI {id}")),
        _ => None,
    }
}

/// The interrupt that the TYPE and ID fields of a register name.
pub(crate) fn named_interrupt(subject: &Subject<'_>) -> Option<String> {
    interrupt(subject.table, subject.get("TYPE"), subject.get("ID"))
}

/// Which priorities pass a mask (PRI-3).
pub(crate) fn mask(value: u64) -> String {
    match value {
        0 => "only priority 0".to_owned(),
        31.. => "every priority".to_owned(),
        _ => format!("priorities 0 to {value}"),
    }
}

/// What `value` means in `field`.
pub(crate) fn of_field(subject: &Subject<'_>, field: &Field, value: u64) -> String {
    if let Some(text) = specific(subject, field, value) {
        return text;
    }
    if !field.values.is_empty() {
        return field.meaning(value).map_or_else(|| "not a listed value".to_owned(), str::to_owned);
    }
    if is_address(field) {
        return format!("address {:#x}", address(field, value));
    }
    if let Some(text) = coded(subject, field, value) {
        return text;
    }
    let note = field.note.as_deref();
    match (field.width(), note) {
        (1, _) => flag(value, note),
        (_, Some(note)) => format!("{value}; {note}"),
        (_, None) => value.to_string(),
    }
}

fn flag(value: u64, note: Option<&str>) -> String {
    let state = if value == 0 { "no" } else { "yes" };
    note.map_or_else(|| state.to_owned(), |note| format!("{state}; {note}"))
}

/// Fields whose name says what they are, whatever the register.
fn specific(subject: &Subject<'_>, field: &Field, value: u64) -> Option<String> {
    let register = subject.register.name.as_str();
    let note = field.note.as_deref();
    let with_note = |text: String| note.map_or_else(|| text.clone(), |note| format!("{text}; {note}"));
    Some(match field.name.as_str() {
        "VALID" | "LPI_IST_VALID" | "SPI_IST_VALID" if field.values.is_empty() => {
            with_note(if value == 0 { "not valid" } else { "valid" }.to_owned())
        }
        "V" if register == "GIC_PMEVTYPER" => return None,
        "VM_ID" | "VM" => format!("VM {value}"),
        "VPE_ID" | "VPE" => format!("VPE {value}"),
        "IAFFID" => match (register, note) {
            ("GIC VDAFF", _) => format!("VPE {value}"),
            ("L2_ISTE", _) => format!("PE affinity {value}; in a virtual table VPE {value}"),
            ("GIC CDAFF", _) => format!("PE affinity {value}; for a guest VPE {value}"),
            _ => format!("PE affinity {value}"),
        },
        "DEVICE_ID" => format!("device {value}"),
        "EVENT_ID" => format!("event {value}"),
        "INTID" | "DBPM" if subject.is_clear("DBV") => format!("{value}; not used, DBV=0"),
        "INTID" | "LPI_ID" => format!("LPI {value}"),
        "SPI_ID" | "SPI_BASE" => format!("SPI {value}"),
        "IWI" => format!("wire {value}"),
        "ID" if subject.register.field("TYPE").is_some() => {
            named_interrupt(subject).unwrap_or_else(|| value.to_string())
        }
        "ID" if register == "IRS_SPI_SELR" => format!("SPI {value}"),
        "ID" => with_note(format!("LPI {value}")),
        "TYPE" if field.meaning(value).is_none() => unlisted_type(subject, value),
        "DBPM" if !subject.is("V") && subject.is_clear("DB") => format!("{value}; not used, DB=0"),
        "DBPM" if register == "ICH_CONTEXTR_EL2" && subject.is("V") => format!("{value}; no effect while V=1"),
        "DB" if subject.is("V") => format!("{}; no effect while V=1", if value == 0 { "no" } else { "yes" }),
        "DBPM" => format!("{} may ring", mask(value)),
        "PRIORITY" if register.contains("_PCR_") => format!("{} can be signalled", mask(value)),
        "VPMR" => format!("{} can be signalled", mask(value)),
        "PRIORITY" | "Priority" => format!("priority {value}"),
        "P" => priorities(value),
        "PE_CNT" => count(value, "PE"),
        "SPI_RANGE" | "SPI_IRS_RANGE" => count(value, "SPI"),
        "IW_RANGE" => count((value + 1) * 32, "wire"),
        "INT_DOMS" => domains(value),
        "IST_L2SZ" | "L2SZ" if field.values.is_empty() => level_2_sizes(value),
        "ISTMD_SZ" if subject.is_clear("ISTMD") => "not used, ISTMD=0".to_owned(),
        "ISTMD_SZ" => format!("16-byte entries from {value} ID bits on, 8-byte ones below"),
        "VMD_SZ" if subject.is_clear("VMD") => "not used, VMD=0".to_owned(),
        "SPAN" => format!("2^{value} = {}", count(1 << value, "usable level-2 entry")),
        "EVENTID_BITS" if register == "ITS_INV_DEVICER" => format!("{value} bits; span of events to drop"),
        "Implementer" if value == 0x43b => "Arm (JEP106)".to_owned(),
        "RES1" => with_note(if value == 0 { "0 where 1 is required" } else { "1 as required" }.to_owned()),
        "EC" => error_code(value).to_owned(),
        "DSWE" => format!("{}; device software error bit, see the remark", if value == 0 { "clear" } else { "set" }),
        _ if register.starts_with("ICH_HFG") => if value == 0 { "traps to EL2" } else { "does not trap" }.to_owned(),
        name if name.starts_with("PRIORITY") => {
            let id = note.and_then(|note| note.strip_prefix("PPI ")).and_then(|id| id.parse().ok())?;
            format!("{}: priority {value}", ppi(subject.table, id))
        }
        _ => return None,
    })
}

/// A TYPE that the field does not list, or that does not count.
fn unlisted_type(subject: &Subject<'_>, value: u64) -> String {
    let gate = ["HPPIV", "VALID", "M"].into_iter().find(|gate| subject.is_clear(gate));
    match (gate, value) {
        (Some(gate), _) => format!("not used, {gate}=0"),
        (None, 1) => "PPI, not allowed here".to_owned(),
        (None, _) => "reserved".to_owned(),
    }
}

/// Numbers that stand for something else: a count, a count minus one, a logarithm.
fn coded(subject: &Subject<'_>, field: &Field, value: u64) -> Option<String> {
    let coding = subject.table.limit(&subject.register.name, &field.name).map(|limit| limit.coding.as_str());
    let raw = field.note.as_deref().is_some_and(|note| note.starts_with("raw count"));
    match coding {
        Some("bits minus one") => Some(count(value + 1, "bit")),
        Some("log2 bytes") => Some(bytes(1_u64.checked_shl(u32::try_from(value).ok()?)?)),
        Some("raw") => Some(count(value, "bit")),
        None if raw => Some(count(value, "bit")),
        _ => None,
    }
}

/// The priorities whose bit is set.
fn priorities(value: u64) -> String {
    if value == 0 {
        return "no priority active".to_owned();
    }
    format!("active: {}", ranges((0..64).filter(|bit| value >> bit & 1 == 1)))
}

/// The sizes of a bitmap of level-2 sizes, lowest bit 4 KiB.
pub(crate) fn level_2_sizes(bitmap: u64) -> String {
    names_of_bits(bitmap, &["4 KiB", "16 KiB", "64 KiB"], "no level-2 size")
}

fn domains(value: u64) -> String {
    names_of_bits(value, &DOMAINS, "no domain")
}

/// What the domains are called, by their number.
const DOMAINS: [&str; 4] = ["Secure", "Non-secure", "EL3", "Realm"];

/// The names of the bits that are set, from bit 0 on.
fn names_of_bits(bits: u64, names: &[&str], none: &str) -> String {
    let set: Vec<&str> =
        names.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect();
    if set.is_empty() { none.to_owned() } else { set.join(", ") }
}

/// The known codes of ERR-4.
fn error_code(value: u64) -> &'static str {
    match value {
        0 => "updating a level-1 IST entry failed",
        1 => "reading a level-1 IST entry failed",
        2 => "reading or writing a level-2 IST entry failed",
        _ => "a code no source explains",
    }
}

/// Most elements whose names are worth a line.
const NAMED: usize = 8;

/// What an array field means: which elements are set, or which have which value.
pub(crate) fn of_elements(subject: &Subject<'_>, field: &Field, value: u64, elements: &[Element]) -> String {
    let numbering = Numbering::of(field);
    let prefix = numbering.prefix(subject);
    let list =
        |wanted: u64| ranges(elements.iter().filter(|element| element.value == wanted).map(|element| element.index));
    let width = field.element_width.unwrap_or(1);
    if width == 1 {
        let (set, clear) = match (field.meaning(1), field.meaning(0), field.name.as_str()) {
            (Some(set), Some(clear), _) => (Some(set), Some(clear)),
            (_, _, "HM") => (Some("level"), Some("edge")),
            _ => (None, None),
        };
        return match (value, set, clear) {
            (0, _, Some(clear)) => format!("all {clear}"),
            (0, _, _) => "none".to_owned(),
            (_, Some(set), Some(clear)) => format!("{set}: {prefix} {}; the others {clear}", list(1)),
            _ => format!("{prefix} {}{}", list(1), names(subject, &numbering, elements)),
        };
    }
    // Two bits for each element: a domain. Elements that are zero are the rest.
    let mut parts: Vec<String> = (1..4)
        .zip(DOMAINS.iter().skip(1))
        .filter(|(domain, _)| elements.iter().any(|element| element.value == *domain))
        .map(|(domain, name)| format!("{name}: {prefix} {}", list(domain)))
        .collect();
    if elements.len() < usize::from(field.width() / width) {
        parts.push(if parts.is_empty() { "all Secure".to_owned() } else { "the others Secure".to_owned() });
    }
    parts.join("; ")
}

/// The names of the set PPIs, while they are few.
fn names(subject: &Subject<'_>, numbering: &Numbering, elements: &[Element]) -> String {
    if numbering.thing != "PPI" || elements.len() > NAMED {
        return String::new();
    }
    let names: Vec<&str> =
        elements.iter().filter_map(|element| subject.table.ppi(element.index)).map(|ppi| ppi.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

/// `3, 26, 27` or `0-7, 12`: three and more neighbours become a range.
pub(crate) fn ranges(numbers: impl Iterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let parts: Vec<String> = runs
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    parts.join(", ")
}

/// Whether the item is an instruction's operand or result.
pub(crate) fn is_instruction(subject: &Subject<'_>) -> bool {
    subject.register.class == Class::GicInstruction
}
