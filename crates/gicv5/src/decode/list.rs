//! `gicv5 decode --list`: everything that can be decoded.

use std::io::Write;

use gicv5_facts::{Location, Register, RegisterTable};
use serde::Serialize;

use super::name::spelled;
use crate::failure::Failure;
use crate::output::{self, HEADING, NAME, styled};

#[derive(Serialize)]
struct List<'a> {
    count: usize,
    kind_list: Vec<KindReport<'a>>,
}

#[derive(Serialize)]
struct KindReport<'a> {
    name: String,
    view: Option<&'a str>,
    class: &'static str,
    width: Option<u16>,
    location: String,
    purpose: &'a str,
}

const INTID: &str = "Interrupt ID: type in bits 31:29, number in bits 23:0.";
const INSN: &str = "Instruction word: GIC, GICR, GSB, or MRS and MSR of a GICv5 register.";

pub(crate) fn print(table: &RegisterTable, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let word = |name: &str, purpose| KindReport {
        name: name.to_owned(),
        view: None,
        class: "word",
        width: Some(32),
        location: String::new(),
        purpose,
    };
    let mut kind_list = vec![word("intid", INTID), word("insn", INSN)];
    kind_list.extend(table.registers.iter().map(|register| KindReport {
        name: spelled(register),
        view: register.view.as_deref(),
        class: register.class.name(),
        width: register.width,
        location: location(register),
        purpose: &register.purpose,
    }));
    if json {
        output::json(out, &List { count: kind_list.len(), kind_list })?;
        return Ok(());
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
