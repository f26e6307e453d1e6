//! `gicv5 decode --list`: everything that can be decoded.

use std::io::Write;

use gicv5_facts::{Location, Register, RegisterTable};
use serde_json::{Value, json};

use super::name::spelled;
use crate::failure::Failure;
use crate::output::{self, HEADING, NAME, styled};

const INTID: &str = "Interrupt ID: type in bits 31:29, number in bits 23:0.";
const INSN: &str = "Instruction word: GIC, GICR, GSB, or MRS and MSR of a GICv5 register.";

pub(crate) fn print(table: &RegisterTable, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        return Ok(output::json(out, &document(table))?);
    }
    writeln!(out, "{}", styled(HEADING, "words"))?;
    for (name, purpose) in [("intid", INTID), ("insn", INSN)] {
        writeln!(out, "  {}  {:16}  {purpose}", styled(NAME, format!("{name:24}")), "")?;
    }
    for class in &table.classes {
        writeln!(out, "\n{}", styled(HEADING, class.title()))?;
        for register in table.registers.iter().filter(|register| register.class == *class) {
            let name = match &register.view {
                Some(view) => format!("{} ({view})", spelled(register)),
                None => spelled(register),
            };
            writeln!(out, "  {}  {:16}  {}", styled(NAME, format!("{name:24}")), location(register), register.purpose)?;
        }
    }
    Ok(())
}

fn document(table: &RegisterTable) -> Value {
    let word = |name: &str, purpose| json!({ "name": name, "view": null, "class": "word", "width": 32, "location": "", "purpose": purpose });
    let mut kinds = vec![word("intid", INTID), word("insn", INSN)];
    kinds.extend(table.registers.iter().map(|register| {
        json!({
            "name": spelled(register),
            "view": register.view,
            "class": register.class.name(),
            "width": register.width,
            "location": location(register),
            "purpose": register.purpose,
        })
    }));
    json!({ "count": kinds.len(), "kind_list": kinds })
}

/// Offset or encoding, short.
fn location(register: &Register) -> String {
    match register.location {
        Location::Offset(offset) => match register.indices.and_then(|indices| indices.stride) {
            Some(stride) => format!("{offset:#06x}+{stride}n"),
            None => format!("{offset:#06x}"),
        },
        Location::Encoding(encoding) => encoding.to_string(),
        Location::Unknown => "place unknown".to_owned(),
        Location::Table => register.entry_bytes.map_or_else(String::new, |bytes| format!("{bytes} bytes")),
    }
}
