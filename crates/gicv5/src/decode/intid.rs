//! `gicv5 decode intid`: an interrupt ID with its type.

use gicv5_arch::values::HandlingMode;
use gicv5_arch::{Ppi, PpiBank, PpiHandling};
use gicv5_facts::RegisterTable;

use super::meaning;
use super::report::{FieldReport, Findings, Report};

pub(crate) fn decode(table: &RegisterTable, value: u32) -> Report {
    let int_type = u64::from(value >> 29);
    let id = u64::from(value & 0x00ff_ffff);
    let reserved = value >> 24 & 0x1f;
    let mut findings = Findings::default();
    let interrupt = meaning::interrupt(table, int_type, id);
    let architected = u32::try_from(id).ok().filter(|_| int_type == 1).and_then(|id| table.ppi(id));
    let summary = match (&interrupt, architected) {
        (_, Some(ppi)) => format!("PPI {id}, {} ({})", ppi.r#use, ppi.name),
        (Some(name), None) => name.clone(),
        (None, None) => "no interrupt: reserved type".to_owned(),
    };
    if interrupt.is_none() {
        findings.problem(
            Some("TYPE"),
            format!(
                "type {int_type} is reserved: instructions that name it are ignored, a read of its configuration fails"
            ),
            &["GEN-1"],
        );
    }
    if reserved != 0 {
        findings.problem(None, format!("reserved bits 28:24 are not zero ({reserved:#x})"), &["GEN-1"]);
    }
    match int_type {
        1 => ppi(value & 0x00ff_ffff, &mut findings),
        2 => findings.remark("LPI numbers are private to an interrupt domain, virtual ones to a VM", &["GEN-3"]),
        3 => findings
            .remark("physical SPI numbers are shared by all domains, virtual ones are private to a VM", &["GEN-3"]),
        _ => {}
    }
    let type_name = match int_type {
        1 => "PPI",
        2 => "LPI",
        3 => "SPI",
        _ => "reserved",
    };
    Report {
        kind: "intid",
        name: "INTID".to_owned(),
        summary: Some(summary),
        words: vec![format!("{value:#010x}")],
        views: Vec::new(),
        fields: vec![
            FieldReport::new("TYPE", 31, 29, int_type, type_name.to_owned()),
            FieldReport::new("ID", 23, 0, id, interrupt.unwrap_or_else(|| id.to_string())),
        ],
        problems: findings.problems,
        remarks: findings.remarks,
    }
}

/// What is to be known of a PPI.
fn ppi(id: u32, findings: &mut Findings) {
    let Ok(ppi) = Ppi::new(id) else {
        findings.problem(Some("ID"), "there are 128 PPIs, so the largest number is 127", &["PPI-1"]);
        return;
    };
    match (ppi.bank(), ppi.architected()) {
        (PpiBank::ImplementationDefined, _) => {
            findings.remark("PPIs 64 to 127 are IMPLEMENTATION DEFINED", &["PPI-1"]);
        }
        (PpiBank::Architected, None) => {
            findings.remark("an architected number to which no source gives a use", &["PPI-1", "PPI-2"]);
        }
        (PpiBank::Architected, Some(_)) => {
            let mode = match ppi.handling() {
                PpiHandling::Architected(HandlingMode::Edge) => "edge",
                PpiHandling::Architected(HandlingMode::Level) => "level",
                PpiHandling::ImplementationDefined => "IMPLEMENTATION DEFINED",
            };
            findings.remark(format!("handling mode {mode}, fixed"), &["PPI-3"]);
        }
    }
    findings.remark("private to its PE; configured by system registers, not by GIC instructions", &["INS-8"]);
}
