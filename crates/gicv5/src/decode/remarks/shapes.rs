//! Base and configuration registers of the tables: what they make of memory.

use gicv5_arch::geometry::{IstGeometry, VmTableGeometry};
use gicv5_arch::irs::{IRS_IST_CFGR, IRS_VMT_CFGR};

use super::{Findings, Subject};
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
    // Reserved codes have been reported already.
    if let Ok(ist) = IstGeometry::from_cfgr(IRS_IST_CFGR::new_with_raw_value(subject.low())) {
        describe_ist(ist, None, findings);
    }
    findings.remark("read when IRS_IST_BASER.VALID goes from 0 to 1; ignored while it is 1", &["LPI-1"]);
}

/// Size and alignment of an interrupt state table; `which` begins the sentence.
pub(super) fn describe_ist(ist: IstGeometry, which: Option<&str>, findings: &mut Findings) {
    let which = which.map_or_else(String::new, |which| format!("{which}: "));
    let base = ist.base();
    let entry = ist.entry_size().bytes();
    let aligned = format!("base aligned to {}", bytes(base.alignment()));
    let Some(level_2) = ist.level2() else {
        let entries = count(1 << ist.id_bits(), "entry");
        findings.remark(
            format!("{which}linear: {entries} of {entry} bytes ({}), {aligned}", bytes(base.size())),
            &["IST-12"],
        );
        return;
    };
    let behind = level_2.size() / entry;
    findings.remark(
        format!(
            "{which}two-level: {} of 8 bytes ({}), each naming a level-2 table of {} with {behind} entries of {entry} bytes; {aligned}",
            count(ist.l1_entries().into(), "level-1 entry"),
            bytes(base.size()),
            bytes(level_2.size())
        ),
        &["IST-13", "IST-14", "IST-17"],
    );
    if behind >> ist.id_bits() != 0 {
        findings.remark("one level-2 table is enough for all IDs, so two levels gain nothing", &["IST-16"]);
    }
}

fn vmt_cfgr(subject: &Subject<'_>, findings: &mut Findings) {
    if let Ok(table) = VmTableGeometry::from_cfgr(IRS_VMT_CFGR::new_with_raw_value(subject.low())) {
        describe_vm_table(table, findings);
    }
    findings.remark(
        "read when IRS_VMT_BASER.VALID goes from 0 to 1; ignored while it is 1; IRS_IDR3 says which shapes there are",
        &["VMT-4", "VMT-11"],
    );
}

fn describe_vm_table(table: VmTableGeometry, findings: &mut Findings) {
    let base = table.base();
    let aligned = format!("base aligned to {}", bytes(base.alignment()));
    let Some(level_2) = table.level2() else {
        let entries = count(1 << table.vm_id_bits(), "entry");
        findings
            .remark(format!("linear: {entries} of 32 bytes ({}), {aligned}", bytes(base.size())), &["VMT-8", "VMT-10"]);
        return;
    };
    findings.remark(
        format!(
            "two-level: {} of 8 bytes ({}), each naming a level-2 table of {} with {} entries of 32 bytes; {aligned}",
            count(table.l1_entries().into(), "level-1 entry"),
            bytes(base.size()),
            bytes(level_2.size()),
            level_2.size() / 32
        ),
        &["VMT-9", "VMT-10"],
    );
    if table.l1_entries() == 1 {
        findings.remark("one level-2 table is enough for all VM IDs, so two levels gain nothing", &["VMT-9"]);
    }
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
