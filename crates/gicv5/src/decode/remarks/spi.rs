//! Registers of the selected SPI and PE, and software error reports.

use super::{Findings, Subject};

pub(super) fn remark(subject: &Subject<'_>, findings: &mut Findings) {
    match subject.register.name.as_str() {
        "IRS_SPI_SELR" => findings.remark(
            "selects for this IRS, whatever the CPU: one lock covers select, wait, program, wait",
            &["GEN-15", "SPI-2"],
        ),
        "IRS_PE_SELR" => findings
            .remark("selects for this IRS, whatever the CPU: one lock covers select, wait, program, wait", &["GEN-15"]),
        "IRS_SPI_VMR" if subject.is("VIRT") => findings.remark(
            format!(
                "the selected SPI belongs to VM {}: its events update the SPI of the same number in the VM's SPI table",
                subject.get("VM_ID")
            ),
            &["SPI-9", "SPI-10", "SPI-11"],
        ),
        "IRS_SPI_VMR" => {
            findings.remark("VIRT=0: the selected SPI is a physical interrupt; VM_ID does not count", &["SPI-12"])
        }
        "IRS_SPI_CFGR" => findings.remark(
            "TM says how the wire is read; the handling mode of the interrupt follows from its events",
            &["SPI-3", "SPI-7"],
        ),
        "IRS_SPI_DOMAINR" => findings.remark("works in the EL3 frame only, elsewhere RAZ/WI", &["SPI-6"]),
        "IRS_SPI_RESAMPLER" => {
            findings.remark("samples the wire of this SPI again; the selected SPI does not matter", &["SPI-5"])
        }
        "IRS_SWERR_STATUSR" => software_error(subject, findings),
        "IRS_SWERR_SYNDROMER0" if subject.is_clear("VIRTUAL") => {
            findings.remark(
                "VIRTUAL=0: VM_ID does not count; holds data only if IRS_SWERR_STATUSR.S0V=1",
                &["ERR-2", "ERR-3"],
            );
        }
        "IRS_SWERR_SYNDROMER0" | "IRS_SWERR_SYNDROMER1" => {
            findings.remark("holds data only if IRS_SWERR_STATUSR.S0V or S1V says so", &["ERR-2", "ERR-3"]);
        }
        _ => {}
    }
}

fn software_error(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_clear("V") {
        findings.remark("V=0: no error is recorded, the other fields do not count", &["ERR-2"]);
        return;
    }
    findings.remark("cleared by writing ones; the first error is kept, a later one only sets OF", &["ERR-5", "ERR-6"]);
    if subject.is("OF") {
        findings.remark("OF=1: at least one more error was lost", &["ERR-5"]);
    }
    findings.remark("the operation that failed was dropped; reporting changes nothing about that", &["ERR-4", "ERR-7"]);
}
