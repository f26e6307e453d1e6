//! Registers and tables of the ITS and the wire bridge.

use super::{Findings, Subject};
use crate::output::{bytes, count};

pub(super) fn remark(subject: &Subject<'_>, findings: &mut Findings) {
    let name = subject.register.name.as_str();
    match name {
        "ITS_DT_BASER" => findings.remark("has no valid bit: the table is live while ITS_CR0.ITSEN=1", &["ITS-8"]),
        "ITS_DT_CFGR" => device_table(subject, findings),
        "ITS_INV_EVENTR" | "ITS_INV_DEVICER" => {
            command(subject, "I", "ITS_STATUSR", &["ITS-2", "ITS-3"], findings);
        }
        "ITS_READ_EVENTR" => command(subject, "R", "ITS_STATUSR", &[], findings),
        "ITS_SYNCR" => command(subject, "SYNC", "ITS_SYNC_STATUSR", &["ITS-4", "ITS-11"], findings),
        "ITS_GEN_EVENTR" => command(subject, "R", "ITS_GEN_EVENT_STATUSR", &["ITS-10"], findings),
        "ITS_STATUSR" | "ITS_SYNC_STATUSR" | "ITS_GEN_EVENT_STATUSR" | "IWB_WENABLE_STATUSR" | "IWB_WDOMAIN_STATUSR" => {
            idle(subject, findings);
        }
        "ITS_TRANSLATER" | "ITS_RL_TRANSLATER" => findings.remark(
            "a write is a SET_EDGE event of the writing device, in the domain of the page",
            &["ITS-7"],
        ),
        "ITS_READ_EVENT_DATAR" => lookup(subject, findings),
        "ITS_SWERR_STATUSR" if subject.is_clear("V") => {
            findings.remark("V=0: no error is recorded, the other fields do not count", &["ERR-2"]);
        }
        "ITS_SWERR_STATUSR" => findings.remark("cleared by writing ones, in the way that loses no concurrent error", &["ERR-6"]),
        "IWB_WENABLER" => findings.remark(
            "after a change poll IWB_WENABLE_STATUSR.IDLE; enabling a level wire samples it, disabling one clears its interrupt",
            &["IWB-2", "IWB-3"],
        ),
        "IWB_WDOMAINR" => findings.remark("firmware assigns wires to domains; poll IWB_WDOMAIN_STATUSR.IDLE", &["IWB-4"]),
        "IWB_CR0" if subject.is_clear("IWBEN") => {
            findings.remark("IWBEN=0: no wire does anything; an OS refuses the bridge, firmware enables it", &["IWB-2", "IWB-4"]);
        }
        "IWB_IDR0" => findings.remark("one DeviceID for the whole bridge, the EventID is the wire's number", &["IWB-1"]),
        "L1_DTE" | "L1_ITTE" => first_level(subject, findings),
        "L2_DTE" => device(subject, findings),
        "L2_ITTE" => translation(subject, findings),
        _ => {}
    }
}

/// A register that acts only if its trigger bit is written as one.
fn command(subject: &Subject<'_>, trigger: &str, poll: &str, rules: &'static [&'static str], findings: &mut Findings) {
    if subject.is_clear(trigger) {
        findings.remark(format!("{trigger}=0: the write does nothing"), rules);
    } else {
        findings.remark(format!("afterwards poll {poll}.IDLE"), rules);
    }
}

fn idle(subject: &Subject<'_>, findings: &mut Findings) {
    let rules: &'static [&'static str] = if subject.register.name.starts_with("IWB") { &["IWB-3"] } else { &["ITS-2"] };
    if subject.is("IDLE") {
        findings.remark("IDLE=1: the last operation has finished", rules);
    } else {
        findings.remark("IDLE=0: an operation is in flight", rules);
    }
}

fn device_table(subject: &Subject<'_>, findings: &mut Findings) {
    let id_bits = subject.get("DEVICEID_BITS");
    let level_2 = subject.get("L2SZ");
    if id_bits > 32 {
        findings.problem(Some("DEVICEID_BITS"), format!("{id_bits} is above 32, the width of a DeviceID"), &["ITS-5"]);
        return;
    }
    if subject.is_clear("STRUCTURE") {
        findings
            .remark(format!("linear: {} entries of 8 bytes ({})", 1_u64 << id_bits, bytes(8 << id_bits)), &["ITS-5"]);
    } else if level_2 < 3 {
        let split = 9 + 2 * level_2;
        findings.remark(
            format!(
                "two-level: {} of 8 bytes, each naming a level-2 table of {} with {} entries",
                count(1 << id_bits.saturating_sub(split), "level-1 entry"),
                bytes(8 << split),
                1_u64 << split
            ),
            &["ITS-9"],
        );
    }
}

fn first_level(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_clear("VALID") {
        findings.remark("VALID=0: the other fields do not count, events behind it are dropped", &["ITS-5"]);
        return;
    }
    findings.remark(
        format!(
            "level-2 table at {:#x}, IDs beyond the first 2^{} are invalid",
            subject.address("L2_ADDR"),
            subject.get("SPAN")
        ),
        &["ITS-9"],
    );
    findings.remark(
        "software owns VALID; after a change the ITS has to be told to drop what it cached",
        &["ITS-1", "ITS-2"],
    );
}

fn device(subject: &Subject<'_>, findings: &mut Findings) {
    findings.remark(
        "DSWE: one source has it turn reports of software errors on, the name in another one turns them off",
        &["ITS-12"],
    );
    if subject.is_clear("VALID") {
        findings.remark("VALID=0: the other fields do not count, events of the device are dropped", &["ITS-5"]);
        return;
    }
    findings.remark(
        format!(
            "translation table at {:#x} for {} of events, software owns VALID",
            subject.address("ITT_ADDR"),
            count(subject.get("EVENT_ID_BITS"), "ID bit")
        ),
        &["ITS-1", "ITS-2", "ITS-5"],
    );
}

fn lookup(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_clear("VALID") {
        findings.remark("VALID=0: the event has no translation, the other fields do not count", &["ITS-5"]);
    } else if subject.is_clear("VIRT") {
        findings.remark("VIRT=0: a physical LPI, VM_ID does not count", &["ITS-6"]);
    }
}

fn translation(subject: &Subject<'_>, findings: &mut Findings) {
    let lpi = subject.get("LPI_ID");
    if subject.is_clear("VALID") {
        findings.remark("VALID=0: the event is dropped, the other fields do not count", &["ITS-5"]);
    } else if subject.is("VIRTUAL") {
        findings.remark(
            format!("the event makes virtual LPI {lpi} of VM {} pending, without software", subject.get("VM_ID")),
            &["ITS-6", "INJ-5"],
        );
    } else {
        findings
            .remark(format!("the event makes physical LPI {lpi} pending; VM_ID does not count"), &["ITS-6", "ITS-7"]);
    }
}
