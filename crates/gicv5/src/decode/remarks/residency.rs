//! `ICH_CONTEXTR_EL2`: residency and the doorbell request on leaving it.

use super::{Findings, Subject};

pub(super) fn remark(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.register.name != "ICH_CONTEXTR_EL2" {
        return;
    }
    if subject.is("V") {
        resident(subject, findings);
    } else {
        leaving(subject, findings);
    }
    findings.remark("not self-synchronising: a write needs an ISB before software relies on it", &["RES-14"]);
}

fn resident(subject: &Subject<'_>, findings: &mut Findings) {
    let (vm, vpe) = (subject.get("VM"), subject.get("VPE"));
    if subject.is("F") {
        findings.remark(
            format!("F=1: making VPE {vpe} of VM {vm} resident failed and no VPE is resident; the VM, the VPE or the VM table is not valid or out of range"),
            &["RES-2", "RES-3"],
        );
    } else {
        findings.remark(
            format!("makes VPE {vpe} of VM {vm} resident on this PE; read back after an ISB, F=0 says it worked"),
            &["RES-1", "RES-2"],
        );
    }
    if subject.is("DB") || subject.is("DBPM") {
        findings.remark(
            "DB and DBPM have no effect while V=1; they matter on the write that makes the VPE non-resident",
            &["DB-11"],
        );
    }
    if subject.is("IRICHPPIDIS") {
        findings.remark(
            "IRICHPPIDIS=1: virtual LPIs and SPIs are not selected, virtual PPIs still are; the guest's own IRS is off",
            &["RES-12", "RES-13"],
        );
    }
}

fn leaving(subject: &Subject<'_>, findings: &mut Findings) {
    findings.remark(
        "V=0: the VPE that was resident on this PE leaves; interrupt state stays as it is",
        &["RES-5", "RES-11"],
    );
    if subject.is("VM") || subject.is("VPE") {
        findings.remark("VM and VPE do not count on a write with V=0", &["RES-5"]);
    }
    if subject.is("DB") {
        let mask = subject.get("DBPM");
        let rings = match mask {
            31 => "every interrupt rings".to_owned(),
            0 => "only priority 0 rings (sources differ, see question-1)".to_owned(),
            _ => format!("rings when priority <= {mask} (sources differ, see question-1)"),
        };
        findings.remark(
            format!(
                "DB=1: asks for a doorbell for it, once, {rings}; an interrupt that is pending already rings at once"
            ),
            &["DB-3", "DB-5", "DB-9", "DB-10"],
        );
    } else {
        findings.remark("DB=0: no doorbell is requested", &["DB-5", "DB-19"]);
        if subject.is("DBPM") {
            findings.remark("DBPM does not count without DB", &["DB-10"]);
        }
    }
}
