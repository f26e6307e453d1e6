//! Checks that the facts alone allow: reserved bits, values that are not listed, limits.

use super::super::meaning::is_instruction;
use super::super::register::Subject;
use super::super::report::{Findings, bits};
use gicv5_facts::{Field, Limit, Register, RegisterTable};

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    reserved_bits(subject, findings);
    for field in &subject.register.fields {
        let value = field.extract(subject.words);
        if is_meaningless(subject, field) {
            continue;
        }
        reserved_value(field, value, subject, findings);
        if let Some(limit) = subject.table.limit(&subject.register.name, &field.name) {
            limits(field, value, limit, findings);
        }
    }
    if subject.register.status.is_some() {
        findings.remark("no longer part of the architecture: current hardware has no such register", &[]);
    }
}

/// Where the sources contradict each other about this item, and what is taken to be right.
pub(super) fn disagreements(table: &RegisterTable, register: &Register, findings: &mut Findings) {
    for entry in &table.disagreements {
        // "IRS_IDR1.IAFFID_BITS width" is about IRS_IDR1, "IRS_IDR10" would not be.
        let about = entry.topic.match_indices(&register.name).any(|(at, name)| {
            !entry.topic.get(at + name.len()..).is_some_and(|rest| rest.starts_with(char::is_alphanumeric))
        });
        if about {
            findings.remark(
                format!(
                    "sources differ on {}: {} Taken here: {}",
                    entry.topic,
                    entry.claims,
                    entry.decision.trim_end_matches('.')
                ),
                &[],
            );
        }
    }
}

/// Bits that belong to no field.
fn reserved_bits(subject: &Subject<'_>, findings: &mut Findings) {
    let width = subject.register.width.unwrap_or(0);
    let mut above = width;
    let mut gaps: Vec<(u16, u16)> = Vec::new();
    for field in &subject.register.fields {
        if field.msb + 1 < above {
            gaps.push((above - 1, field.msb + 1));
        }
        above = field.lsb;
    }
    if above > 0 {
        gaps.push((above - 1, 0));
    }
    let name = subject.register.name.as_str();
    let set = |bit: u16| subject.words.get(usize::from(bit / 64)).is_some_and(|word| word >> (bit % 64) & 1 == 1);
    for (msb, lsb) in gaps {
        let wrong: Vec<u16> = (lsb..=msb).filter(|bit| set(*bit)).collect();
        let (Some(low), Some(high)) = (wrong.first(), wrong.last()) else { continue };
        if name == "ID_AA64PFR2_EL1" {
            // A general register of the PE: its other fields are not GICv5's and are not listed.
            continue;
        }
        if name.ends_with("DDI") && wrong == [32] {
            findings.remark(
                "bit 32 is VALID of the acknowledge result; deactivation ignores it, so the result may be passed on",
                &["INS-5"],
            );
            continue;
        }
        let plural = if low == high { "bit" } else { "bits" };
        let verb = if wrong.len() == 1 { "is set but" } else { "have ones but" };
        let range = if msb == lsb { "is reserved".to_owned() } else { format!("{} are reserved", bits(msb, lsb)) };
        let text = format!("{plural} {} {verb} {range}", bits(*high, *low));
        let (hint, rules): (&str, &'static [&'static str]) = match name {
            "IRS_VPE_DBR" if (24..32).contains(high) || (24..32).contains(low) => {
                ("; INTID takes the bare LPI number, without type bits", &["DB-7"])
            }
            "GIC CDPEND" | "GIC LDPEND" if *high == 63 => {
                ("; bit 63 sets pending in GIC VDPEND, here it is bit 32", &["INS-16"])
            }
            _ => ("", &[]),
        };
        findings.problem(None, format!("{text}{hint}"), rules);
    }
}

/// Whether another field says that this one is not looked at.
fn is_meaningless(subject: &Subject<'_>, field: &Field) -> bool {
    let gated_by = |gate: &str| subject.is_clear(gate);
    match (subject.register.name.as_str(), field.name.as_str()) {
        ("IRS_IDR3", "VMD_SZ") => gated_by("VMD"),
        // All zero is how the registers read where there is no virtualisation (GEN-7).
        ("IRS_IDR3" | "IRS_IDR4", _) if subject.is_zero() => true,
        ("IRS_IST_CFGR", "L2SZ") => gated_by("STRUCTURE"),
        ("ITS_DT_CFGR", "L2SZ") => gated_by("STRUCTURE"),
        ("L2_DTE", "ITT_L2SZ") => gated_by("ITT_STRUCTURE"),
        ("L2_VMTE", "LPI_L2SZ") => gated_by("LPI_STRUCTURE"),
        ("L2_VMTE", "SPI_L2SZ") => gated_by("SPI_STRUCTURE"),
        ("L2_VMTE", "VPE_ID_BITS") => {
            subject.get("VPET_ADDR") == 0 && !subject.is("VPE_ID_BITS") && !subject.is("VALID")
        }
        ("ITS_INV_EVENTR", "ITT_L2SZ") => gated_by("L1") || gated_by("I"),
        ("IRS_SWERR_SYNDROMER0", "TYPE") => subject.is_zero(),
        (_, "TYPE") => gated_by("HPPIV") || gated_by("VALID") || gated_by("M"),
        _ => false,
    }
}

/// A value that the field does not list.
fn reserved_value(field: &Field, value: u64, subject: &Subject<'_>, findings: &mut Findings) {
    if field.values.is_empty() || field.element_width.is_some() {
        return;
    }
    match field.meaning(value) {
        Some(meaning) if meaning.starts_with("reserved") => {
            let rules: &'static [&'static str] = match field.name.as_str() {
                name if name.ends_with("ISTSZ") => &["IST-9"],
                name if name.ends_with("L2SZ") && subject.register.name != "ITS_DT_CFGR" => &["IST-14"],
                _ => &[],
            };
            findings.problem(Some(&field.name), format!("{value} is reserved"), rules);
        }
        Some(_) => {}
        None if field.name == "TYPE" && is_instruction(subject) && value == 1 => findings.problem(
            Some("TYPE"),
            "1 (PPI) is ignored here: PPIs are configured by system registers",
            &["INS-8"],
        ),
        None if field.name == "TYPE" && value == 1 => {
            findings.problem(Some("TYPE"), "1 (PPI) is not allowed here: only LPIs and SPIs have a table", &["IST-1"]);
        }
        None if field.name == "TYPE" => findings.problem(Some("TYPE"), format!("{value} is reserved"), &["GEN-1"]),
        None if is_identification(subject) => findings.remark(
            format!(
                "{}: {value:#x} is a value no source lists; another implementer or a newer architecture",
                field.name
            ),
            &[],
        ),
        None => findings.problem(Some(&field.name), format!("{value} is not a listed value"), &[]),
    }
}

/// Registers that say who built the part: values that are not listed are somebody else's, not wrong.
fn is_identification(subject: &Subject<'_>) -> bool {
    let name = subject.register.name.as_str();
    name.ends_with("_DEVARCH") || name.ends_with("_AIDR")
}

/// A value outside the legal range.
fn limits(field: &Field, value: u64, limit: &Limit, findings: &mut Findings) {
    // Where reserved codes are listed by name they have been reported already.
    if field.meaning(value).is_some_and(|meaning| meaning.starts_with("reserved"))
        || (!field.values.is_empty() && field.meaning(value).is_none())
    {
        return;
    }
    let coded = |number: u64| match limit.coding.as_str() {
        "bits minus one" => format!("{number} ({} bits)", number + 1),
        "log2 bytes" => {
            format!("{number} ({} bytes)", 1_u64.checked_shl(u32::try_from(number).unwrap_or(64)).unwrap_or(0))
        }
        _ => number.to_string(),
    };
    let rules: &'static [&'static str] = match field.name.as_str() {
        "VM_ID_BITS" | "VMD_SZ" | "VPED_SZ" | "MIN_LPI_ID_BITS" => &["GEN-10"],
        "VPE_ID_BITS" => &["VPE-3", "VPE-4"],
        "ISTSZ" => &["IST-9"],
        "LPI_ID_BITS" | "SPI_ID_BITS" | "ID_BITS" => &["GEN-1"],
        "PRI_BITS" => &["PRI-1"],
        _ => &[],
    };
    if value > limit.max {
        findings.problem(
            Some(&field.name),
            format!("{} is above the largest legal value, {}", coded(value), coded(limit.max)),
            rules,
        );
    } else if let Some(min) = limit.min
        && value < min
    {
        findings.problem(
            Some(&field.name),
            format!("{} is below the smallest legal value, {}", coded(value), coded(min)),
            rules,
        );
    }
}
