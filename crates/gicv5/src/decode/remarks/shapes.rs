//! Base and configuration registers of the tables: what they make of memory.

use super::super::register::Subject;
use super::super::report::Findings;
use super::super::sizes::Ist;
use crate::output::{bytes, count};

pub(super) fn remark(subject: &Subject<'_>, findings: &mut Findings) {
    match subject.register.name.as_str() {
        "IRS_IST_CFGR" => ist_cfgr(subject, findings),
        "IRS_VMT_CFGR" => vmt_cfgr(subject, findings),
        "IRS_IST_BASER" => {
            base(subject, findings, "LPI interrupt state table", &["LPI-1"]);
            if subject.is("VALID") {
                findings.remark(
                    "its size and alignment follow from IRS_IST_CFGR; 64 bytes is the least",
                    &["IST-12", "IST-13"],
                );
            }
        }
        "IRS_VMT_BASER" => {
            base(subject, findings, "VM table", &["VMT-3", "VMT-4", "VMT-5"]);
            if subject.is("VALID") {
                findings.remark("its size, and with it its alignment, follows from IRS_VMT_CFGR", &["VMT-8", "VMT-10"]);
            }
        }
        "IRS_CR0" | "IRS_CR1" => control(subject, findings),
        _ => {}
    }
}

fn ist_cfgr(subject: &Subject<'_>, findings: &mut Findings) {
    let id_bits = subject.get("LPI_ID_BITS");
    let shape = Ist::new(id_bits, subject.get("ISTSZ"), subject.get("L2SZ"), subject.is("STRUCTURE"));
    if let Some(shape) = shape {
        describe_ist(shape, "", findings);
    }
    findings.remark("read when IRS_IST_BASER.VALID goes from 0 to 1; ignored while it is 1", &["LPI-1"]);
}

/// Size, alignment and oddities of an interrupt state table; `which` begins the sentence.
pub(super) fn describe_ist(shape: Ist, which: &str, findings: &mut Findings) {
    findings.remark(
        format!("{which}{} {}", if which.is_empty() { "" } else { ":" }, shape.describe()).trim_start().to_owned(),
        if shape.two_level { &["IST-13", "IST-14", "IST-17"] } else { &["IST-12"] },
    );
    if shape.two_level && shape.id_bits <= shape.level_2_bits() {
        findings.remark(
            format!("one level-2 table already covers {} ID bits, so two levels gain nothing", shape.level_2_bits()),
            &["IST-16"],
        );
    }
}

fn vmt_cfgr(subject: &Subject<'_>, findings: &mut Findings) {
    let id_bits = subject.get("VM_ID_BITS");
    if subject.is("STRUCTURE") {
        let entries = 1_u64 << id_bits.saturating_sub(7);
        findings.remark(
            format!(
                "two-level: {} of 8 bytes ({}, base aligned to that), each naming a level-2 table of 4 KiB with 128 entries of 32 bytes",
                count(entries, "level-1 entry"),
                bytes(8 * entries)
            ),
            &["VMT-9", "VMT-10"],
        );
        if id_bits <= 7 {
            findings.remark("one level-2 table covers all VM IDs, so two levels gain nothing", &["VMT-9"]);
        }
    } else {
        findings.remark(
            format!(
                "linear: {} entries of 32 bytes ({}), base aligned to that",
                1_u64 << id_bits,
                bytes(32 << id_bits)
            ),
            &["VMT-8", "VMT-10"],
        );
    }
    findings.remark(
        "read when IRS_VMT_BASER.VALID goes from 0 to 1; ignored while it is 1; IRS_IDR3 says which shapes there are",
        &["VMT-4", "VMT-11"],
    );
}

fn base(subject: &Subject<'_>, findings: &mut Findings, what: &str, rules: &'static [&'static str]) {
    if subject.is("VALID") {
        findings.remark(
            format!(
                "VALID=1: the {what} at {:#x} belongs to the IRS, address and configuration are fixed, the only write that acts clears VALID",
                subject.address("ADDR")
            ),
            rules,
        );
    } else {
        findings.remark(
            format!("VALID=0: no {what}; written over VALID=1 it takes the table back, and its memory may be reused once IDLE=1"),
            if what == "VM table" { &["VMT-6", "VMT-7"] } else { &["LPI-1"] },
        );
    }
}

fn control(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.register.name == "IRS_CR1" {
        findings.remark("takes effect from the last write made while no table is valid", &["GEN-20"]);
    } else if subject.is_clear("IRSEN") {
        findings.remark("IRSEN=0: the IRS forwards no interrupt and recalls what it had forwarded", &["GEN-21"]);
    }
}
