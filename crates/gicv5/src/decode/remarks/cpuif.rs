//! System registers of the CPU interface.

use gicv5_arch::ActivePriorities;
use gicv5_facts::{Access, Class, Location, Register, RegisterTable};

use super::{Findings, Subject};

pub(super) fn remark(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.register.class != Class::CpuifSysreg {
        return;
    }
    let name = subject.register.name.as_str();
    match name {
        "ICC_ICSR_EL1" => icsr(subject, findings),
        "ICH_VCTLR_EL2" if subject.is("V3") => findings.remark(
            "V3=1: a legacy guest, native instructions and registers are UNDEFINED at EL1",
            &["INS-21", "GEN-5"],
        ),
        "ICH_VMCR_EL2" => vmcr(subject, findings),
        "ICH_HFGITR_EL2" => {
            findings.remark("a clear bit traps; with its bit set a CD instruction runs in the guest", &["INS-20"])
        }
        "ICH_HFGRTR_EL2" if subject.is_clear("RES1") => {
            findings.problem(Some("RES1"), "bit 3 is required to be 1", &[]);
        }
        "ICC_DOMHPPIR_EL3" => findings.remark("each domain has a pending interrupt of its own", &["GEN-4"]),
        _ => {}
    }
    if name.contains("_HPPIR_") {
        hppir(subject, findings);
    }
    if name.contains("_APR_") {
        active_priorities(subject, findings);
    }
    if name.contains("_CR0_EL") && subject.is_clear("EN") {
        findings.remark("EN=0: no interrupt of this domain is signalled at all", &["PRI-8"]);
    }
    if name.contains("_PCR_") {
        findings.remark("the mask is inclusive: an interrupt passes when priority <= PRIORITY", &["PRI-3"]);
    }
    if name.contains("_PPI_") {
        ppi_bank(subject, findings);
    }
    virtual_twin(subject.table, subject.register, findings);
    synchronisation(subject.register, findings);
}

fn icsr(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is("F") {
        findings.remark("F=1: the interrupt could not be reached, every other field is meaningless", &["INS-12"]);
    } else {
        let state = match (subject.is("Pending"), subject.is("Active")) {
            (false, false) => "idle",
            (true, false) => "pending",
            (false, true) => "active",
            (true, true) => "active and pending",
        };
        let enabled = if subject.is("Enabled") { "enabled" } else { "disabled" };
        findings.remark(
            format!("F=0: the interrupt is {state} and {enabled}, at priority {}", subject.get("Priority")),
            &["INS-12", "ISM-1"],
        );
        if subject.is("IRM") && subject.is("IAFFID") {
            findings.remark("IRM=1: routed 1-of-N, IAFFID names no target", &["RTE-2"]);
        }
    }
    findings.remark(
        "read it only after an ISB; one register for host and guest, so a hypervisor saves it",
        &["INS-12", "INS-14"],
    );
}

fn hppir(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_clear("HPPIV") {
        findings.remark("HPPIV=0: nothing of sufficient priority is pending, TYPE and ID are meaningless", &["HPPI-9"]);
    }
}

fn active_priorities(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(running) = ActivePriorities::new_with_raw_value(subject.low()).running() else {
        findings.remark("the running priority is idle: anything the mask lets through is taken", &["PRI-5"]);
        return;
    };
    let above = match running.number() {
        0 => "nothing preempts".to_owned(),
        1 => "only priority 0 preempts".to_owned(),
        number => format!("only priorities 0 to {} preempt", number - 1),
    };
    findings.remark(format!("the running priority is {}: {above}", running.number()), &["PRI-4", "PRI-5"]);
}

fn vmcr(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_clear("EN") {
        findings.remark("EN=0: the guest's interface signals nothing", &["PRI-8", "PRI-9"]);
    }
    findings.remark(
        "the layout holds while ICH_VCTLR_EL2.V3=0; clear V3 and issue an ISB before writing it",
        &["RES-15", "PRI-9"],
    );
}

/// Registers that hold one or more bits for each PPI.
fn ppi_bank(subject: &Subject<'_>, findings: &mut Findings) {
    let name = subject.register.name.as_str();
    if name.contains("_HMR") {
        // PPI 3 is in the lower bank only.
        if name.contains("HMR0") && subject.get("HM") >> 3 & 1 == 1 {
            findings.problem(Some("HM"), "PPI 3 (SW_PPI) is edge", &["PPI-3"]);
        }
        findings.remark("handling modes are fixed; an unimplemented PPI reads 0", &["PPI-3", "PPI-5"]);
    } else if name.contains("_SPENDR") || name.contains("_CPENDR") {
        findings.remark(
            "for level PPIs the pending bits cannot be written, for edge ones they are set and cleared",
            &["PPI-4"],
        );
    } else if name.contains("_DVIR") {
        if subject.is("DVI") {
            findings.remark(
                "for these PPIs the physical pending bit replaces the virtual one; the host disables the physical PPI meanwhile",
                &["PPI-7", "PPI-8", "PPI-11"],
            );
        }
        findings.remark("on at guest entry, off at exit after the state was read", &["PPI-13"]);
    } else if name.contains("_HVIR") {
        findings.remark("a set bit hides the virtual PPI from the guest", &["PPI-27"]);
    } else if name.starts_with("ICH_PPI_PENDR") {
        findings.remark("the bit of a directly injected PPI is ignored", &["PPI-7", "PPI-14"]);
    }
    if name.contains("_PRIORITYR") {
        findings.remark("8 bits for each PPI, 5 of them used; 0 is the most urgent", &["PPI-1", "PRI-1"]);
    }
}

/// The register that a guest sees under the same encoding.
pub(super) fn virtual_twin(table: &RegisterTable, register: &Register, findings: &mut Findings) {
    let Location::Encoding(_) = register.location else { return };
    let twin = table.registers.iter().find(|entry| entry.accessed_via.as_deref() == Some(register.name.as_str()));
    if let Some(twin) = twin {
        let same = twin
            .fields
            .iter()
            .map(|field| (field.msb, field.lsb))
            .eq(register.fields.iter().map(|field| (field.msb, field.lsb)));
        let layout = if same { "the same layout" } else { "fewer fields" };
        findings.remark(format!("in the virtual domain the same encoding is {}, {layout}", twin.name), &["GEN-5"]);
    }
}

/// What a write needs before software may rely on it.
pub(super) fn synchronisation(register: &Register, findings: &mut Findings) {
    let name = register.name.as_str();
    if !matches!(register.access, Some(Access::ReadWrite | Access::WriteOnly)) || name == "ICH_CONTEXTR_EL2" {
        return;
    }
    if name.contains("_PCR_") {
        findings.remark("synchronises itself: no ISB is needed after a write", &["SYN-6"]);
    } else if name.starts_with("ICH_VMCR") || name.starts_with("ICH_APR") || name.starts_with("ICH_PPI_") {
        findings.remark("does not synchronise itself: a write needs an ISB", &["SYN-6"]);
    } else if name.contains("_PPI_") {
        findings.remark("a write needs an ISB: without it there is no promise when it acts", &["SYN-5"]);
    }
}
