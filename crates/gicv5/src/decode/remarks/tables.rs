//! Entries of the VM table, VPE table and interrupt state tables.

use gicv5_arch::entry::{L2_VMTE_IST, L2_VMTE_VPET};
use gicv5_arch::geometry::{IstGeometry, VpeTableGeometry};

use super::shapes::describe_ist;
use super::{Findings, Subject};
use crate::output::{bytes, count};

pub(super) fn remark(subject: &Subject<'_>, findings: &mut Findings) {
    match subject.register.name.as_str() {
        "L1_VMTE" => l1_vmte(subject, findings),
        "L2_VMTE" => l2_vmte(subject, findings),
        "VPETE" => vpete(subject, findings),
        "L1_ISTE" => l1_iste(subject, findings),
        "L2_ISTE" => l2_iste(subject, findings),
        _ => {}
    }
}

fn l1_vmte(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_zero() {
        findings.remark("all zero: no level-2 table, the 128 VMs behind it cannot be named", &["VMT-20"]);
        return;
    }
    findings.remark(
        format!("level-2 VM table of 4 KiB at {:#x}: 128 entries of 32 bytes", subject.address("L2_ADDR")),
        &["VMT-9"],
    );
    if subject.is("VALID") {
        findings.remark(
            "VALID=1: the entry must not change and its page stays the IRS's until the whole VM table is invalid",
            &["VMT-15", "VMT-16"],
        );
    } else {
        findings.remark(
            "VALID=0: in a live table the IRS sets VALID through IRS_VMAP_L2_VMTR, before that software may set it",
            &["VMT-12", "VMT-13", "VMT-15"],
        );
    }
}

fn l2_vmte(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_zero() {
        findings.remark("all zero: no VM, which is how the entry must look before its VM ID is used again", &["VM-14"]);
        return;
    }
    if subject.is("VALID") {
        findings.remark(
            "VALID=1: the VM is valid and its tables belong to the IRS; no field may change but those of an IST that is not valid",
            &["VMT-18", "VM-5", "VM-15", "IST-2"],
        );
    } else {
        findings.remark(
            "VALID=0: software fills the entry; in a live VM table only the IRS sets VALID, through IRS_VMAP_VMR",
            &["VM-1", "VMT-17", "VMT-12"],
        );
    }
    match subject.address("VMD_ADDR") {
        0 => findings.remark("no VM descriptor, which is right only if IRS_IDR3.VMD=0", &["VM-10"]),
        address => findings.remark(
            format!("VM descriptor at {address:#x}, 2^IRS_IDR3.VMD_SZ bytes, zero when the VM becomes valid"),
            &["VM-10", "VM-11"],
        ),
    }
    vpe_table(subject, findings);
    ist(subject, "LPI", findings);
    ist(subject, "SPI", findings);
}

fn vpe_table(subject: &Subject<'_>, findings: &mut Findings) {
    let id_bits = subject.get("VPE_ID_BITS");
    let address = subject.address("VPET_ADDR");
    if address == 0 && id_bits == 0 {
        if subject.is("VALID") {
            findings.problem(Some("VPET_ADDR"), "a valid VM without a VPE table", &["VPE-1", "VPE-3"]);
        }
        return;
    }
    // A number of ID bits that the architecture does not allow has been reported already.
    let word = L2_VMTE_VPET::new_with_raw_value(subject.word(1));
    let Ok(table) = VpeTableGeometry::from_vmte_word(word) else { return };
    let footprint = table.footprint();
    findings.remark(
        format!(
            "VPE table at {address:#x}: {} of 8 bytes ({})",
            count(table.entries().into(), "entry"),
            bytes(footprint.size())
        ),
        &["VPE-1", "VPE-2"],
    );
    misaligned(address, footprint.alignment(), "VPET_ADDR", "the table's size", &["VPE-1"], findings);
}

/// One of the two interrupt state tables of a VM.
fn ist(subject: &Subject<'_>, which: &str, findings: &mut Findings) {
    let word = L2_VMTE_IST::new_with_raw_value(subject.word(if which == "LPI" { 2 } else { 3 }));
    let field = format!("{which}_IST_ADDR");
    let address = subject.address(&field);
    let valid = word.ist_valid();
    if word.raw_value() == 0 {
        findings.remark(format!("no {which} table described"), &["IST-1", "IST-29"]);
        return;
    }
    if let Ok(ist) = IstGeometry::from_vmte_word(word) {
        let what = format!("{which} table at {address:#x}, {}", count(ist.id_bits().into(), "ID bit"));
        describe_ist(ist, Some(&what), findings);
        misaligned(
            address,
            ist.base().alignment(),
            &field,
            "the alignment of its shape",
            &["IST-12", "IST-13"],
            findings,
        );
    }
    if valid {
        findings.remark(
            format!(
                "{which}_IST_VALID=1: {}",
                if subject.is("VALID") {
                    "the table is the IRS's until it, or the VM, is made invalid"
                } else {
                    "the table becomes valid together with the VM"
                }
            ),
            if subject.is("VALID") { &["IST-5", "IST-26"] } else { &["IST-3", "VM-7", "IST-22"] },
        );
    } else {
        findings.remark(
            format!("{which}_IST_VALID=0: described but not valid; on a valid VM only the IRS sets it, through IRS_VMAP_VISTR, before that software may"),
            &["IST-2", "IST-3"],
        );
    }
}

/// An address that does not fit the size it is used with: hardware takes the low bits for zero.
fn misaligned(
    address: u64,
    alignment: u64,
    field: &str,
    what: &str,
    rules: &'static [&'static str],
    findings: &mut Findings,
) {
    let rest = address & (alignment - 1);
    if rest != 0 {
        findings.problem(
            Some(field),
            format!(
                "{address:#x} is not a multiple of {}, {what}; hardware may use {:#x}",
                bytes(alignment),
                address - rest
            ),
            rules,
        );
    }
}

fn vpete(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_zero() {
        findings.remark("all zero: an unused VPE ID", &["VPE-1"]);
        return;
    }
    let address = subject.address("VPED_ADDR");
    findings.remark(
        format!(
            "VPE descriptor at {address:#x}, 2^IRS_IDR4.VPED_SZ bytes, zero when the VPE becomes valid, never shared"
        ),
        &["VPE-7", "VPE-8"],
    );
    if !address.is_multiple_of(32) {
        findings.remark(
            "not a multiple of 32 bytes, which one source asks for; align it to the descriptor's size",
            &["VPE-7"],
        );
    }
    if subject.is("VALID") {
        findings.remark("VALID=1: the VPE is valid whenever its VM is; it leaves only with its VM", &["VM-8", "VM-9"]);
    } else {
        findings.remark("VALID=0: on a valid VM only the IRS sets VALID, through IRS_VMAP_VPER", &["VPE-5"]);
    }
}

fn l1_iste(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_zero() {
        findings.remark("all zero: the IDs behind it are unreachable", &["IST-27"]);
        return;
    }
    findings.remark(
        format!(
            "level-2 table at {:#x}; it is 4, 16 or 64 KiB, as L2SZ says, and aligned to that",
            subject.address("L2_ADDR")
        ),
        &["IST-14"],
    );
    if subject.is("VALID") {
        findings.remark("VALID=1: the level-2 table leaves only with the whole IST", &["IST-20"]);
    } else {
        findings.remark(
            "VALID=0: in a live IST only the IRS sets VALID, through IRS_MAP_L2_ISTR or IRS_VMAP_L2_VISTR",
            &["IST-18", "LPI-2"],
        );
    }
}

fn l2_iste(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_zero() {
        findings.remark("all zero: disabled, inactive, idle, edge, target 0, priority 0", &["IST-24"]);
    }
    if subject.is("PENDING") || subject.is("HWU") {
        findings.remark("PENDING and HWU are zero in every entry of an IST that becomes valid", &["IST-22", "SAVE-8"]);
    }
    if subject.is("IRM") && subject.is("IAFFID") {
        findings.remark("IRM=1: routed 1-of-N, IAFFID names no target", &["RTE-2"]);
    }
    findings.remark(
        "while the table is valid the IRS may hold a newer copy: memory is stale until it is made invalid or saved",
        &["IST-26", "SAVE-1"],
    );
}
