//! Completion: which status register to poll after a write, and what a status register says.

use gicv5_facts::StatusPair;

use super::{Findings, Subject};

pub(super) fn remark(subject: &Subject<'_>, findings: &mut Findings) {
    let name = subject.register.name.as_str();
    if let Some(pair) = subject.table.status_of(name) {
        if pair.poll == StatusPair::OWN_IDLE {
            let state = if subject.is("IDLE") {
                "IDLE=1: the last write has finished"
            } else {
                "IDLE=0: the last write is in flight"
            };
            findings.remark(format!("{state}; after a write poll IDLE in this register"), &["GEN-16", "GEN-17"]);
        } else {
            findings.remark(
                format!("wait for {}.IDLE=1 before and after writing it", pair.poll),
                &["GEN-16", "GEN-18", "GEN-19"],
            );
        }
    }
    if let Some(pair) = subject.table.reported_by(name) {
        reports(subject, &pair.writes.join(", "), findings);
    }
}

fn reports(subject: &Subject<'_>, writes: &str, findings: &mut Findings) {
    findings.remark(format!("reports the completion of writes to {writes}"), &["GEN-16"]);
    if subject.is_clear("IDLE") {
        findings.remark(
            "IDLE=0: a write is in flight; write none of these registers now; the other bits mean nothing yet",
            &["GEN-17", "GEN-18"],
        );
        return;
    }
    findings.remark("IDLE=1: the last write has finished", &["GEN-17"]);
    if subject.is("V") {
        findings.remark("V=1: what is selected exists and is valid", &["GEN-17"]);
    } else if subject.is_clear("V") {
        let why: &'static [&'static str] = match subject.register.name.as_str() {
            "IRS_VPE_STATUSR" => &["GEN-17", "VPE-12", "VPE-13"],
            "IRS_VM_STATUSR" => &["GEN-17", "VPE-17"],
            "IRS_SPI_STATUSR" => &["GEN-17", "SPI-2"],
            _ => &["GEN-17"],
        };
        findings.remark("V=0: nothing valid is selected, so configuration writes are ignored", why);
    }
    if subject.is("Q") {
        findings.remark("Q=1: the VM's interrupt state has not changed since the save", &["SAVE-2"]);
    } else if subject.is_clear("Q") {
        findings.remark("Q=0: the state changed after the save, or no verdict was asked for", &["SAVE-2", "SAVE-4"]);
    }
}
