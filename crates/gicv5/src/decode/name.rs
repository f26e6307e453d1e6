//! What a KIND argument means.

use gicv5_facts::{Class, Encoding, Location, Register, RegisterTable};

use crate::failure::Failure;
use crate::output::quote;
use crate::suggest;

/// What is to be decoded.
pub(crate) enum Target<'a> {
    /// An interrupt ID.
    IntId,
    /// An instruction word.
    InstructionWord,
    /// A register, table entry or operand: one entry, or one for each view.
    Entries {
        /// The entries; never empty.
        entries: Vec<&'a Register>,
        /// The index given with an indexed register.
        index: Option<u32>,
    },
}

/// Finds what `kind` names, in any case. `next` is the argument behind it, for a better message.
pub(crate) fn resolve<'a>(table: &'a RegisterTable, kind: &str, next: Option<&str>) -> Result<Target<'a>, Failure> {
    let wanted = kind.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_uppercase();
    match wanted.as_str() {
        "" => return Err(Failure::BadInput("an empty KIND; gicv5 decode --list shows all".to_owned())),
        "INTID" => return Ok(Target::IntId),
        "INSN" => return Ok(Target::InstructionWord),
        _ => {}
    }
    let entries = |name: &str| -> Vec<&'a Register> {
        table.registers.iter().filter(|entry| entry.name.eq_ignore_ascii_case(name)).collect()
    };
    let exact = entries(&wanted);
    if !exact.is_empty() {
        return Ok(Target::Entries { entries: exact, index: None });
    }
    if let Some(found) = indexed(&wanted, &entries) {
        return found;
    }
    if let Some(encoding) = generic_name(&wanted) {
        return by_encoding(table, encoding);
    }
    Err(Failure::BadInput(unknown(table, kind, &wanted, next)))
}

/// An indexed register by concrete index (`IWB_WENABLER3`) or by generic name (`IWB_WENABLER<n>`).
fn indexed<'a>(wanted: &str, entries: &dyn Fn(&str) -> Vec<&'a Register>) -> Option<Result<Target<'a>, Failure>> {
    if let Some(stem) = wanted.strip_suffix("<N>") {
        let found: Vec<_> = entries(stem).into_iter().filter(|entry| entry.indices.is_some()).collect();
        return (!found.is_empty()).then_some(Ok(Target::Entries { entries: found, index: None }));
    }
    let stem = wanted.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = wanted.get(stem.len()..).filter(|digits| !digits.is_empty())?;
    let found: Vec<_> = entries(stem).into_iter().filter(|entry| entry.indices.is_some()).collect();
    let indices = found.first().and_then(|entry| entry.indices)?;
    Some(match digits.parse::<u32>() {
        Ok(index) if (indices.first..=indices.last).contains(&index) => {
            Ok(Target::Entries { entries: found, index: Some(index) })
        }
        _ => Err(Failure::BadInput(format!(
            "{} is out of range: {stem}<n> has n from {} to {}",
            quote(wanted),
            indices.first,
            indices.last
        ))),
    })
}

/// `S3_4_C12_C11_6`, already in upper case.
fn generic_name(wanted: &str) -> Option<Encoding> {
    let mut parts = wanted.strip_prefix('S')?.split('_');
    let mut part = |prefix: &str, limit: u8| {
        let digits = parts.next()?.strip_prefix(prefix)?;
        let plain = !digits.is_empty() && digits.len() <= 2 && digits.chars().all(|c| c.is_ascii_digit());
        digits.parse::<u8>().ok().filter(|value| plain && *value < limit)
    };
    let encoding =
        Encoding { op0: part("", 4)?, op1: part("", 8)?, crn: part("C", 16)?, crm: part("C", 16)?, op2: part("", 8)? };
    parts.next().is_none().then_some(encoding)
}

/// The register that has the encoding to itself, or lends it to its virtual twin.
fn by_encoding(table: &RegisterTable, encoding: Encoding) -> Result<Target<'_>, Failure> {
    let entries: Vec<_> = sysregs_at(table, encoding).filter(|entry| entry.accessed_via.is_none()).collect();
    if entries.is_empty() {
        return Err(Failure::BadInput(format!("{encoding} is not a GICv5 system register")));
    }
    Ok(Target::Entries { entries, index: None })
}

/// The system registers with this encoding, virtual twins among them.
pub(crate) fn sysregs_at(table: &RegisterTable, encoding: Encoding) -> impl Iterator<Item = &Register> {
    table
        .registers
        .iter()
        .filter(move |entry| entry.class == Class::CpuifSysreg && entry.location == Location::Encoding(encoding))
}

/// The generic spelling of an indexed register's name.
pub(crate) fn spelled(register: &Register) -> String {
    if register.indices.is_some() { format!("{}<n>", register.name) } else { register.name.clone() }
}

fn unknown(table: &RegisterTable, kind: &str, wanted: &str, next: Option<&str>) -> String {
    if let ("GIC" | "GICR" | "GSB", Some(next)) = (wanted, next) {
        let whole = format!("{wanted} {}", next.to_ascii_uppercase());
        if table.registers.iter().any(|entry| entry.name == whole) {
            return format!("{wanted} is half a name; quote the instruction: \"{whole}\"");
        }
    }
    let mut names: Vec<String> = vec!["intid".to_owned(), "insn".to_owned()];
    names.extend(table.registers.iter().map(spelled));
    // A concrete index is as good as <n>: IWB_WENABLR3 is one letter away from IWB_WENABLER<n>.
    let stem = wanted.trim_end_matches(|c: char| c.is_ascii_digit());
    let nearest = suggest::nearest(wanted, names.iter().map(String::as_str));
    let nearest = if nearest.is_empty() && stem != wanted {
        suggest::nearest(&format!("{stem}<n>"), names.iter().map(String::as_str))
    } else {
        nearest
    };
    let hint = suggest::hint(&nearest, "gicv5 decode --list shows all");
    format!("nothing called {} is known; {hint}", quote(kind))
}
