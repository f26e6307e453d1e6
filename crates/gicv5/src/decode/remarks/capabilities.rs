//! Identification registers: what the numbers amount to.

use gicv5_arch::geometry::{VmTableLimits, VpeTableLimits};
use gicv5_arch::irs::{IRS_IDR3, IRS_IDR4};
use gicv5_arch::values::Levels;

use super::super::meaning::level_2_sizes;
use super::{Findings, Subject};
use crate::output::{bytes, count};

pub(super) fn remark(subject: &Subject<'_>, findings: &mut Findings) {
    match subject.register.name.as_str() {
        "IRS_IDR0" => idr0(subject, findings),
        "IRS_IDR1" => idr1(subject, findings),
        "IRS_IDR2" => idr2(subject, findings),
        "IRS_IDR3" => idr3(subject, findings),
        "IRS_IDR4" => idr4(subject, findings),
        "IRS_IDR5" | "IRS_IDR6" | "IRS_IDR7" => spi_ranges(subject, findings),
        "ITS_IDR0" if subject.is_clear("SWE") => {
            findings.remark("SWE=0: dropped events are not reported", &["ITS-5", "ERR-1"]);
        }
        "ICC_IDR0_EL1" => findings.remark(
            "the IRS may report other widths (IRS_IDR1.PRI_BITS, IRS_IDR2.ID_BITS, coded differently); software uses the smaller",
            &["GEN-11", "GEN-12"],
        ),
        "ID_AA64PFR2_EL1" if subject.is_clear("GCIE") => {
            findings.remark("GCIE=0: the PE has no GICv5 CPU interface, its instructions and registers are UNDEFINED", &[]);
        }
        _ => {}
    }
}

fn idr0(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.get("INT_DOM") == 2 && (subject.is("VIRT") || subject.is("VIRT_ONE_N")) {
        findings.problem(Some("VIRT"), "the EL3 frame reports no virtualisation", &["GEN-7"]);
    }
    if subject.is_clear("VIRT") {
        findings.remark(
            "VIRT=0: IRS_IDR3, IRS_IDR4 and every VM and VPE register read as zero and ignore writes; a hypervisor offers nothing here",
            &["GEN-7", "GEN-8"],
        );
        if subject.is("VIRT_ONE_N") {
            findings.problem(Some("VIRT_ONE_N"), "virtual 1-of-N routing without virtualisation", &["RTE-3", "GEN-7"]);
        }
    }
    if subject.is_clear("ONE_N") {
        findings.remark("ONE_N=0: routing is always targeted, the routing mode bit is reserved", &["RTE-3"]);
    }
    if subject.is_clear("SWE") {
        findings.remark("SWE=0: software errors are silent", &["ERR-1"]);
    }
    if subject.is_clear("SETLPI") {
        findings.remark("SETLPI=0: there is no SETLPI frame", &["LPI-5"]);
    }
}

fn idr1(subject: &Subject<'_>, findings: &mut Findings) {
    findings.remark(
        format!(
            "{}, affinity IDs of {}, priorities of {}; both widths are stored as count minus one",
            count(subject.get("PE_CNT"), "PE"),
            count(subject.get("IAFFID_BITS") + 1, "bit"),
            count(subject.get("PRI_BITS") + 1, "bit")
        ),
        &["GEN-11"],
    );
    let dropped = 4_u64.saturating_sub(subject.get("PRI_BITS"));
    if dropped > 0 {
        findings.remark(
            format!(
                "of the 5 priority bits the {} kept are the high ones: priorities are multiples of {}",
                5 - dropped,
                1 << dropped
            ),
            &["PRI-2"],
        );
    }
}

fn idr2(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_clear("LPI") {
        findings.remark("LPI=0: no physical LPIs, so no doorbells and no VMs", &["LPI-3"]);
    }
    if subject.get("MIN_LPI_ID_BITS") > subject.get("ID_BITS") {
        findings.problem(
            Some("MIN_LPI_ID_BITS"),
            format!("{} is above ID_BITS, {}", subject.get("MIN_LPI_ID_BITS"), subject.get("ID_BITS")),
            &["GEN-10"],
        );
    }
    if subject.is("ISTMD") {
        let threshold = subject.get("ISTMD_SZ");
        findings.remark(
            format!(
                "IST entries take 8 bytes below {threshold} ID bits (ISTSZ 1) and 16 bytes from there on (ISTSZ 2)"
            ),
            &["IST-10"],
        );
    } else {
        findings.remark("IST entries take 4 bytes (ISTSZ 0)", &["IST-10"]);
    }
    match (subject.is("IST_LEVELS"), subject.get("IST_L2SZ")) {
        (true, 0) => findings.problem(Some("IST_L2SZ"), "two-level tables without any level-2 size", &["IST-15"]),
        (true, sizes) => findings.remark(
            format!("interrupt state tables are linear, or two-level with level-2 tables of {}", level_2_sizes(sizes)),
            &["IST-14", "IST-15"],
        ),
        (false, _) => findings.remark("interrupt state tables are linear only", &["IST-15"]),
    }
}

fn idr3(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_zero() {
        findings.remark("all zero: no virtualisation in this domain (IRS_IDR0.VIRT=0)", &["GEN-7"]);
        return;
    }
    // Limits that the architecture does not allow have been reported already.
    let Ok(limits) = VmTableLimits::from_idr3(IRS_IDR3::new_with_raw_value(subject.low())) else { return };
    let levels = match limits.levels() {
        Levels::Linear => "linear",
        Levels::TwoLevel => "linear or two-level",
    };
    let descriptor = match limits.descriptor() {
        None => "no VM descriptors".to_owned(),
        Some(descriptor) => format!("VM descriptors of {}", bytes(descriptor.footprint().size())),
    };
    let id_bits = limits.vm_id_bits();
    findings.remark(
        format!(
            "VM tables {levels}, {} for VM IDs (up to {} VMs), {descriptor}",
            count(id_bits.into(), "bit"),
            1_u64 << id_bits
        ),
        &["VMT-8", "VMT-11", "VM-10"],
    );
}

fn idr4(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_zero() {
        findings.remark("all zero: no virtualisation in this domain (IRS_IDR0.VIRT=0)", &["GEN-7"]);
        return;
    }
    let Ok(limits) = VpeTableLimits::from_idr4(IRS_IDR4::new_with_raw_value(subject.low())) else { return };
    let id_bits = limits.vpe_id_bits();
    findings.remark(
        format!(
            "up to {} for each VM ({} for VPE IDs, stored as count minus one), a descriptor of {} for each VPE",
            count(1 << id_bits, "VPE"),
            count(id_bits.into(), "bit"),
            bytes(limits.descriptor().footprint().size())
        ),
        &["VPE-1", "VPE-4", "VPE-7"],
    );
}

fn spi_ranges(subject: &Subject<'_>, findings: &mut Findings) {
    let field = if subject.register.name == "IRS_IDR5" { "SPI_RANGE" } else { "SPI_IRS_RANGE" };
    if subject.get(field) > 1 << 24 {
        findings.problem(Some(field), "more SPIs than 24-bit IDs", &["GEN-1", "SPI-1"]);
    }
    if subject.register.name == "IRS_IDR5" && subject.is_zero() {
        findings.remark("no SPIs in the system", &["SPI-1"]);
    }
}
