//! Registers that act when they are written: what the write asks for.

use super::super::meaning::named_interrupt;
use super::{Findings, Subject};

pub(super) fn remark(subject: &Subject<'_>, findings: &mut Findings) {
    let name = subject.register.name.as_str();
    if name.starts_with("IRS_VMAP_") && subject.is_clear("M") {
        findings.remark("M=0: the write does nothing", &["VM-4"]);
        return;
    }
    let vm = subject.get("VM_ID");
    let vpe = subject.get("VPE_ID");
    match name {
        "IRS_VMAP_L2_VMTR" => findings.remark(
            format!(
                "makes level-1 entry {} valid, which covers VMs {} to {}; acts only on a valid two-level VM table whose entry is not valid yet",
                vm / 128,
                vm / 128 * 128,
                vm / 128 * 128 + 127
            ),
            &["VMT-13", "VMT-14"],
        ),
        "IRS_VMAP_VMR" if subject.is_clear("U") => findings.remark(
            format!("makes VM {vm} valid: its level-2 entry is filled beforehand with VALID=0, the IRS sets VALID"),
            &["VM-1"],
        ),
        "IRS_VMAP_VMR" => findings.remark(
            format!("makes VM {vm} and all its VPEs invalid and writes its state back; take every vCPU off first, free memory only after IDLE=1"),
            &["VM-2", "VM-6", "LIFE-22"],
        ),
        "IRS_VMAP_VISTR" => vistr(subject, findings, vm),
        "IRS_VMAP_L2_VISTR" => {
            if let Some(interrupt) = named_interrupt(subject).filter(|name| !name.starts_with("PPI")) {
                findings.remark(
                    format!("makes the level-1 entry that covers {interrupt} in VM {vm}'s table valid; acts only if it is not valid yet"),
                    &["IST-18", "IST-19"],
                );
            }
        }
        "IRS_VMAP_VPER" => {
            findings.remark(
                format!("makes VPE {vpe} of VM {vm} valid: its entry holds the descriptor's address and VALID=0, the IRS sets VALID"),
                &["VPE-5", "VPE-6"],
            );
            findings.remark(
                "doorbell settings and DPS are lost at this moment; there is no way to make a single VPE invalid",
                &["VPE-9", "VPE-10", "VM-9"],
            );
        }
        "IRS_MAP_L2_ISTR" => findings.remark(
            "makes the level-1 entry that covers this LPI valid; does nothing without a valid two-level table",
            &["LPI-2"],
        ),
        "IRS_VPE_SELR" if subject.is_clear("S") => findings.remark("S=0: the write selects nothing", &["VPE-14"]),
        "IRS_VPE_SELR" => findings.remark(
            format!("selects VPE {vpe} of VM {vm} for IRS_VPE_DBR, IRS_VPE_CR0 and IRS_VPE_HPPIR; V in the status register says whether it is valid"),
            &["VPE-12", "GEN-15"],
        ),
        "IRS_VM_SELR" => {
            findings.remark(format!("selects VM {vm} for IRS_VM_DBR; V in the status register says whether it is valid"), &["VPE-17", "GEN-15"]);
        }
        "IRS_VM_DBR" if subject.is("EN") => findings.remark(
            format!("a 1-of-N interrupt for which no VPE can be chosen rings the doorbell of VPE {vpe}"),
            &["VPE-18"],
        ),
        "IRS_VM_DBR" => findings.remark("EN=0: the selected VM has no 1-of-N doorbell", &["VPE-17", "VPE-18"]),
        "IRS_SAVE_VMR" => save(subject, findings, vm),
        "IRS_SYNCR" if subject.is_clear("SYNC") => findings.remark("SYNC=0: the write starts nothing", &["SYN-8"]),
        "IRS_SYNCR" => findings.remark("drains the events the IRS has accepted; it invalidates nothing", &["SYN-8"]),
        "IRS_VPE_DBR" => doorbell(subject, findings),
        "IRS_VPE_CR0" => findings.remark(
            "DPS is about 1-of-N routing only, not about doorbells; it is lost whenever the VPE becomes valid",
            &["VPE-15", "VPE-10"],
        ),
        "IRS_PE_CR0" => findings.remark("without IRS_IDR0.ONE_N it is RAZ/WI or reads 1", &["RTE-3"]),
        "IRS_VPE_HPPIR" => {
            if subject.is_clear("HPPIV") {
                findings.remark("HPPIV=0: the VPE has no candidate, TYPE and ID are meaningless", &["HPPI-9"]);
            }
            findings.remark("the candidate of the VPE selected by IRS_VPE_SELR; reading it changes nothing", &["VPE-16"]);
        }
        "IRS_SETLPIR" => findings.remark(
            "makes the LPI of the frame's domain pending, as an edge; an LPI that cannot be reached is ignored",
            &["LPI-4"],
        ),
        _ => {}
    }
}

fn vistr(subject: &Subject<'_>, findings: &mut Findings, vm: u64) {
    let table = match subject.get("TYPE") {
        2 => "LPI",
        3 => "SPI",
        _ => return,
    };
    if subject.is_clear("U") {
        findings.remark(
            format!("makes the {table} table of VM {vm} valid as its VM table entry describes it; the VM has to be valid already"),
            &["IST-2", "IST-4", "IST-22"],
        );
    } else {
        findings.remark(
            format!("makes the {table} table of VM {vm} invalid and writes it back; its memory is software's only after IDLE=1"),
            &["IST-5", "IST-7"],
        );
    }
}

fn save(subject: &Subject<'_>, findings: &mut Findings, vm: u64) {
    let text = match (subject.is("S"), subject.is("Q")) {
        (false, false) => "S=0 and Q=0: the write asks for nothing".to_owned(),
        (true, false) => format!("writes the cached interrupt state of VM {vm} to its tables; the VM stays valid"),
        (true, true) => {
            format!("writes the cached interrupt state of VM {vm} to its tables and asks whether it stays unchanged")
        }
        (false, true) => format!("only asks whether VM {vm} has changed since its last save"),
    };
    findings.remark(text, &["SAVE-1", "SAVE-2", "SAVE-3"]);
}

fn doorbell(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_clear("DBV") {
        findings.remark(
            "DBV=0: the settings are not valid, no doorbell is generated until they are; INTID and DBPM do not count",
            &["DB-8", "DB-6"],
        );
        if subject.is("REQ_DB") {
            findings.remark("REQ_DB=1: a request without valid settings produces nothing", &["DB-6"]);
        }
        return;
    }
    findings.remark(
        format!(
            "the doorbell of the selected VPE is physical LPI {}, which must belong to no other VPE",
            subject.get("INTID")
        ),
        &["DB-6", "DB-7", "DB-14"],
    );
    let mask = subject.get("DBPM");
    let rings = match mask {
        31 => "DBPM=31: every interrupt rings".to_owned(),
        0 => "DBPM=0: only an interrupt of priority 0 rings".to_owned(),
        _ => format!("DBPM={mask}: rings when priority <= {mask}"),
    };
    let rings = if mask == 31 { rings } else { format!("{rings} (sources differ, see question-1)") };
    findings.remark(format!("{rings}; an ICH_CONTEXTR_EL2 request brings its own mask"), &["DB-9", "DB-10"]);
    if subject.is("REQ_DB") {
        findings
            .remark("REQ_DB=1: a doorbell is requested; the first one generated clears the request", &["DB-4", "DB-5"]);
    } else {
        findings.remark("REQ_DB=0: it rings only once a doorbell is requested, here or by ICH_CONTEXTR_EL2", &["DB-5"]);
    }
    findings.remark("the settings are lost whenever the VPE becomes valid", &["VPE-10"]);
}
