//! GIC instructions: what the operand asks for, and the barrier that goes with it.

use gicv5_facts::{Class, Register};

use super::super::meaning::named_interrupt;
use super::{Findings, Subject};

pub(super) fn remark(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.register.class != Class::GicInstruction {
        return;
    }
    if let Some(text) = request(subject) {
        findings.remark(text.0, text.1);
    }
    always(subject.register, findings);
}

/// What the operand asks for, or what the result says.
fn request(subject: &Subject<'_>) -> Option<(String, &'static [&'static str])> {
    let name = subject.register.name.as_str();
    if name.starts_with("GICR") {
        return Some(acknowledge(subject));
    }
    let interrupt = named_interrupt(subject)?;
    if interrupt.starts_with("PPI") && !name.ends_with("DDI") {
        return None;
    }
    // The operation is what follows the letters of the domain: CD, VD, LD.
    let operation = name.strip_prefix("GIC ")?.get(2..)?;
    let whose = match name.strip_prefix("GIC ")?.get(..1)? {
        "V" if operation == "PEND" => format!(" of VM {}", subject.get("VM")),
        "V" => " of the resident VM".to_owned(),
        "L" => " of the domain chosen by SCR_EL3".to_owned(),
        _ => " of the current domain".to_owned(),
    };
    Some(match operation {
        "EN" => (format!("enables {interrupt}{whose}"), &["INS-8"]),
        "DIS" => (format!("disables {interrupt}{whose}; complete only after GSB SYS"), &["INS-8", "INS-10", "SYN-4"]),
        "PRI" => {
            (format!("sets the priority of {interrupt}{whose} to {}", subject.get("PRIORITY")), &["INS-8", "PRI-1"])
        }
        "AFF" if subject.is("IRM") => (
            format!(
                "routes {interrupt}{whose} 1-of-N; IAFFID names no target, without 1-of-N support the bit is ignored"
            ),
            &["RTE-2", "RTE-3"],
        ),
        "AFF" => {
            let target = if name.starts_with("GIC VD") { "VPE" } else { "the PE with affinity" };
            (format!("sends {interrupt}{whose} to {target} {}", subject.get("IAFFID")), &["RTE-1", "RTE-5"])
        }
        "PEND" if subject.is("PENDING") => (format!("makes {interrupt}{whose} pending"), &["INS-9"]),
        "PEND" => (format!("clears the pending state of {interrupt}{whose}"), &["INS-9"]),
        "RCFG" => (
            format!("puts the configuration of {interrupt}{whose} into ICC_ICSR_EL1; issue an ISB before reading it"),
            &["INS-12"],
        ),
        "DI" => (format!("deactivates {interrupt}{whose}"), &["INS-5", "INS-7"]),
        "HM" => {
            let mode = if subject.is("HM") { "level" } else { "edge" };
            (format!("sets the handling mode of {interrupt}{whose} to {mode}; pending and active stay"), &["ISM-10"])
        }
        _ => return None,
    })
}

fn acknowledge(subject: &Subject<'_>) -> (String, &'static [&'static str]) {
    if subject.is_clear("VALID") {
        return (
            "VALID=0: nothing of sufficient priority was pending, nothing changed; TYPE and ID are meaningless"
                .to_owned(),
            &["INS-1"],
        );
    }
    match named_interrupt(subject) {
        Some(interrupt) => (format!("{interrupt} is acknowledged: active, its priority running"), &["INS-1", "PRI-6"]),
        None => ("VALID=1 with a reserved type".to_owned(), &["GEN-1"]),
    }
}

/// What holds whatever the operand.
pub(super) fn always(register: &Register, findings: &mut Findings) {
    let name = register.name.as_str();
    match name {
        "GICR CDIA" => {
            findings
                .remark("takes no NMI; then GSB ACK, ISB, GIC CDEOI, the handler, and GIC CDDI", &["INS-2", "SYN-3"]);
        }
        "GICR CDNMIA" => findings.remark("takes only an interrupt of priority 0 while SCTLR.NMI=1", &["INS-2"]),
        "GIC CDEOI" => findings.remark(
            "drops the highest active priority of the current domain, names no interrupt and deactivates none",
            &["INS-4", "INS-6", "PRI-6"],
        ),
        "GSB SYS" => findings.remark("completes the effects of all earlier GIC instructions; DSB does not", &["SYN-1"]),
        "GSB ACK" => {
            findings.remark("completes the effects of earlier acknowledges only; DSB does not", &["SYN-1", "SYN-3"])
        }
        "GIC VDPEND" => findings.remark(
            "works on any valid VM, resident or not, and routes by the target stored in its table; never on PPIs",
            &["INS-15", "INS-16", "INJ-4"],
        ),
        _ if name.starts_with("GIC VD") => findings
            .remark("acts for the VPE resident on this PE; with none resident it does nothing", &["INS-17", "RES-6"]),
        _ => {}
    }
    if name.starts_with("GIC CD") && name != "GIC CDEOI" {
        findings.remark("at EL1 in a guest the current domain is the virtual one", &["GEN-5", "GEN-6"]);
    }
    if matches!(name, "GIC CDDIS" | "GIC VDDIS" | "GIC LDDIS") {
        findings.remark("disabling needs GSB SYS, enabling does not", &["SYN-4"]);
    }
}
