//! `gicv5 decode`: a register, table entry, INTID or instruction word, in words.
//!
//! [`name`] finds out what is meant, [`register`], [`intid`] and [`insn`] take the value apart, [`meaning`] says what
//! one field means and [`remarks`] what the fields mean together. All of them fill one [`Report`], which [`text`] prints
//! for people and `serde` as JSON.

mod insn;
mod intid;
mod list;
mod meaning;
mod name;
mod register;
mod remarks;
mod report;
mod text;

use gicv5_facts::{Operand, Register, RegisterTable};

use crate::failure::Failure;
use crate::output::{self, Console};
use name::Target;
use report::Report;

const AFTER_HELP: &str = "\
KIND is one of
  a register             IRS_VPE_DBR, IWB_WENABLER3, ICH_CONTEXTR_EL2, S3_4_C12_C11_6
  a table entry          l2_vmte, vpete, l2_iste, ...; 64-bit words, lowest address first
  an instruction         \"GIC VDPEND\" with its operand, \"GICR CDIA\" with its result, \"GIC CDEOI\" alone
  intid                  an interrupt ID with its type in bits 31:29
  insn                   a 32-bit instruction word
Names are taken in any case. Numbers are decimal, 0x or 0b, with _ between digits.
Reserved bits that are set and illegal values are reported as problems; the exit status is 0 all the same.
[ID] at the end of a line is a rule: see gicv5 explain ID.

Examples:
  $ gicv5 decode IRS_IDR3 0x0000060b
  $ gicv5 decode ICH_CONTEXTR_EL2 0x9780000300000007
  $ gicv5 decode l2_vmte 0x1 0x0800000082000000 0x8000000083000001 0
  $ gicv5 decode intid 0x2000001b
  $ gicv5 decode \"GIC VDPEND\" 0x8000_0007_4000_2005
  $ gicv5 decode insn 0xd508c12c
  $ gicv5 decode --json IRS_VPE_DBR 0x8000001f00000040
  $ gicv5 decode --list";

/// Arguments of `gicv5 decode`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// What the value is; `--list` shows all
    #[arg(required_unless_present = "list", conflicts_with = "list")]
    kind: Option<String>,
    /// The value, lowest word first if there are several
    value: Vec<String>,
    /// Lists everything that can be decoded
    #[arg(long)]
    list: bool,
    /// Prints one JSON document (docs/json.md)
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut Console<'_>) -> Result<(), Failure> {
    let table = gicv5_facts::registers()?;
    let Some(kind) = &args.kind else {
        return list::print(table, args.json, out);
    };
    let report = decode(table, kind, &args.value)?;
    Ok(output::show(out, args.json, || &report, |out| text::print(&report, out))?)
}

/// Takes apart what `kind` and `values` say.
fn decode(table: &RegisterTable, kind: &str, values: &[String]) -> Result<Report, Failure> {
    match name::resolve(table, kind, values.first().map(String::as_str))? {
        Target::IntId => Ok(intid::decode(table, single(kind, 32, values)?)),
        Target::InstructionWord => Ok(insn::decode(table, single(kind, 32, values)?)),
        Target::Entries { entries, index } => {
            let (Some(first), Some(width)) = (entries.first(), entries.first().and_then(|entry| entry.width)) else {
                // Opaque memory: whatever the words are, they mean nothing to software.
                for value in values {
                    number(value, 64)?;
                }
                return Ok(register::opaque(&entries));
            };
            let words = words(first, width, values)?;
            Ok(register::decode(table, &entries, index, &words))
        }
    }
}

fn number(value: &str, width: u32) -> Result<u64, Failure> {
    crate::number::parse(value, width).map_err(|error| Failure::BadInput(error.to_string()))
}

/// The one value of `kind`.
fn single(kind: &str, width: u32, values: &[String]) -> Result<u32, Failure> {
    let [value] = values else {
        return Err(wrong_count(kind, 1, width, values.len()));
    };
    let value = number(value, width).map_err(|error| match error {
        Failure::BadInput(text) if kind.eq_ignore_ascii_case("intid") && text.contains("more digits") => {
            Failure::BadInput(format!("{text}; an acknowledge result with its VALID bit is a \"GICR CDIA\""))
        }
        other => other,
    })?;
    // Parsed with 32 bits at most.
    Ok(u32::try_from(value).unwrap_or(u32::MAX))
}

/// The words of one register, entry or operand.
fn words(register: &Register, width: u16, values: &[String]) -> Result<Vec<u64>, Failure> {
    let unused = register.instruction.is_some_and(|instruction| instruction.operand == Operand::None);
    if unused {
        return match values {
            [] => Ok(Vec::new()),
            _ => Err(Failure::BadInput(format!("{} takes no operand, so it takes no value", register.name))),
        };
    }
    let count = usize::from(width.div_ceil(64));
    let bits = u32::from(width.min(64));
    if values.len() != count {
        return Err(wrong_count(&register.name, count, bits, values.len()));
    }
    values.iter().map(|value| number(value, bits)).collect()
}

fn wrong_count(name: &str, wanted: usize, width: u32, given: usize) -> Failure {
    let unit = if wanted == 1 {
        format!("1 value of {width} bits")
    } else {
        format!("{wanted} words of {width} bits, lowest address first")
    };
    Failure::BadInput(format!("{name} takes {unit}; {given} given"))
}

#[cfg(test)]
mod tests;
