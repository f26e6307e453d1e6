//! What must hold of decoding, whatever the register and the value.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use gicv5_facts::{Class, Location, Operand, Register, RegisterTable};
use proptest::prelude::*;

use super::report::Report;
use super::{insn, intid, register};

fn table() -> &'static RegisterTable {
    gicv5_facts::registers().unwrap()
}

fn rule_ids() -> &'static BTreeSet<&'static str> {
    static IDS: LazyLock<BTreeSet<&'static str>> =
        LazyLock::new(|| gicv5_facts::rules().unwrap().rules.iter().map(|rule| rule.id.as_str()).collect());
    &IDS
}

/// Words of an entry with the bits of its width that `pick` chooses.
fn words(register: &Register, pick: impl Fn(u16) -> bool) -> Vec<u64> {
    let mut words = vec![0; usize::from(register.width.unwrap_or(0).div_ceil(64))];
    for bit in (0..register.width.unwrap_or(0)).filter(|bit| pick(*bit)) {
        words[usize::from(bit / 64)] |= 1 << (bit % 64);
    }
    words
}

/// Every rule that a report cites has to be there for `gicv5 explain`.
fn check_findings(report: &Report) {
    for finding in report.problems.iter().chain(&report.remarks) {
        assert!(!finding.text.is_empty() && !finding.text.ends_with('.'), "{}", finding.text);
        for rule in finding.rules {
            assert!(rule_ids().contains(rule), "{}: unknown rule {rule}", report.name);
        }
    }
}

/// Decodes and checks what must hold of every report.
fn checked(register: &Register, words: &[u64]) -> Report {
    let report = register::decode(table(), &[register], None, words);
    let mut put_together = vec![0_u64; words.len()];
    for field in &report.fields {
        assert!(!field.meaning.is_empty(), "{}.{} says nothing", register.name, field.name);
        for bit in (field.lsb..=field.msb).filter(|bit| field.value >> (bit - field.lsb) & 1 == 1) {
            put_together[usize::from(bit / 64)] |= 1 << (bit % 64);
        }
    }
    let reserved = words.iter().zip(&put_together).any(|(word, fields)| word != fields);
    for (word, fields) in words.iter().zip(&put_together) {
        assert_eq!(word & fields, *fields, "{}", register.name);
    }
    let reported = report.problems.iter().any(|problem| problem.text.contains("reserved"))
        || report.remarks.iter().any(|remark| remark.text.contains("VALID of the acknowledge result"))
        || register.name == "ID_AA64PFR2_EL1";
    assert!(!reserved || reported, "{} hides reserved bits of {words:x?}", register.name);
    check_findings(&report);
    report
}

#[test]
fn the_fields_of_every_entry_put_together_are_the_value() {
    for register in &table().registers {
        checked(register, &words(register, |_| false));
        checked(register, &words(register, |_| true));
        for bit in 0..register.width.unwrap_or(0) {
            checked(register, &words(register, |chosen| chosen == bit));
            // The complement reaches what a single bit leaves at zero, such as gates like VALID.
            checked(register, &words(register, |chosen| chosen != bit));
        }
    }
}

#[test]
fn a_value_without_reserved_bits_and_codes_has_no_problem() {
    for (name, value) in [
        ("IRS_IDR3", 0x0000_060b),
        ("IRS_VPE_DBR", 0x8000_001f_0000_0040),
        ("ICH_CONTEXTR_EL2", 0x9780_0003_0000_0007),
        ("IRS_IST_CFGR", 0x0001_0030),
        ("IRS_VMAP_VISTR", 0x8000_0007_4000_0000),
        ("GIC VDPEND", 0x8000_0007_4000_2005),
        ("GIC CDDI", 0x0000_0001_2000_001b),
    ] {
        let register = table().named(name).next().unwrap();
        assert_eq!(checked(register, &[value]).problems, [], "{name}");
    }
}

#[test]
fn an_illegal_value_is_a_problem() {
    for (name, value, field, text) in [
        ("IRS_IDR3", 0x0000_0231, "VM_ID_BITS", "17 is above the largest legal value, 16"),
        ("IRS_IDR3", 0x0000_0045, "VM_ID_BITS", "2 is below the smallest legal value, 8"),
        ("IRS_IDR3", 0x0000_0203, "VMD_SZ", "1 (2 bytes) is below the smallest legal value, 3 (8 bytes)"),
        ("IRS_IDR4", 0x0000_000d, "VPED_SZ", "13 (8192 bytes) is above the largest legal value, 12 (4096 bytes)"),
        ("IRS_IDR2", 0x0000_03f0, "MIN_LPI_ID_BITS", "15 is above the largest legal value, 14"),
        ("IRS_IST_CFGR", 0x0000_0190, "ISTSZ", "3 is reserved"),
        ("IRS_IST_CFGR", 0x0001_0070, "L2SZ", "3 is reserved"),
        ("IRS_IST_CFGR", 0x0000_0019, "LPI_ID_BITS", "25 is above the largest legal value, 24"),
        ("IRS_VMT_CFGR", 0x0000_0011, "VM_ID_BITS", "17 is above the largest legal value, 16"),
        ("IRS_VMAP_VISTR", 0x8000_0007_2000_0000, "TYPE", "1 (PPI) is not allowed here"),
        ("GIC CDEN", 0x2000_0003, "TYPE", "1 (PPI) is ignored here"),
        ("GIC CDEN", 0xa000_0003, "TYPE", "5 is reserved"),
        ("IRS_CR1", 0x0000_0001, "SH", "1 is not a listed value"),
    ] {
        let register = table().named(name).next().unwrap();
        let report = checked(register, &[value]);
        let found = report
            .problems
            .iter()
            .any(|problem| problem.field.as_deref() == Some(field) && problem.text.starts_with(text));
        assert!(found, "{name} {value:#x}: {:?}", report.problems);
    }
}

#[test]
fn what_is_just_legal_is_no_problem_and_the_next_value_is() {
    for (name, field, legal, illegal) in [
        ("IRS_IDR5", "SPI_RANGE", 1 << 24, (1 << 24) + 1),
        ("IRS_IDR6", "SPI_IRS_RANGE", 1 << 24, (1 << 24) + 1),
        ("IRS_IDR2", "MIN_LPI_ID_BITS", 14 << 6 | 14, 14 << 6 | 13),
        ("IRS_IDR2", "IST_L2SZ", 1 << 11 | 1 << 10 | 16, 1 << 10 | 16),
        ("IRS_IDR3", "VM_ID_BITS", 8 << 5, 7 << 5),
        ("IRS_IDR4", "VPED_SZ", 3, 2),
        ("ITS_DT_CFGR", "DEVICEID_BITS", 32, 33),
        ("ICC_PPI_HMR0_EL1", "HM", !(1 << 3), 1 << 3),
        ("ICC_PPI_HMR1_EL1", "HM", u64::MAX, u64::MAX),
        ("ICH_HFGRTR_EL2", "RES1", 1 << 3, 0),
        ("IRS_IDR0", "VIRT_ONE_N", 1 << 8 | 1 << 6 | 1, 1 << 8 | 1),
        ("IRS_IDR0", "VIRT", 1 << 6 | 1, 1 << 6 | 2),
    ] {
        let register = table().named(name).next().unwrap();
        let blamed = |value| {
            let report = checked(register, &[value]);
            report.problems.iter().any(|problem| problem.field.as_deref() == Some(field))
        };
        assert!(!blamed(legal), "{name}.{field} {legal:#x}");
        assert_eq!(blamed(illegal), legal != illegal, "{name}.{field} {illegal:#x}");
    }
}

#[test]
fn remarks_count_from_the_right_end() {
    for (name, value, text) in [
        ("IRS_VMAP_L2_VMTR", 1 << 63 | 0x7f, "makes level-1 entry 0 valid, which covers VMs 0 to 127;"),
        ("IRS_VMAP_L2_VMTR", 1 << 63 | 0x80, "makes level-1 entry 1 valid, which covers VMs 128 to 255;"),
        ("IRS_IDR1", 2 << 20, "of the 5 priority bits the 3 kept are the high ones: priorities are multiples of 4"),
        ("ICC_APR_EL1", 0, "the running priority is idle:"),
        ("ICC_APR_EL1", 1 << 0 | 1 << 9, "the running priority is 0: nothing preempts"),
        ("ICC_APR_EL1", 1 << 1 | 1 << 9, "the running priority is 1: only priority 0 preempts"),
        ("ICC_APR_EL1", 1 << 31, "the running priority is 31: only priorities 0 to 30 preempt"),
        ("IRS_VPE_DBR", 1 << 63, "DBPM=0: only an interrupt of priority 0 rings"),
        ("IRS_VPE_DBR", 1 << 63 | 30 << 32, "DBPM=30: rings when priority <= 30"),
        ("IRS_VPE_DBR", 1 << 63 | 31 << 32, "DBPM=31: every interrupt rings"),
        ("ITS_DT_CFGR", 1 << 16 | 10, "two-level: 2 level-1 entries of 8 bytes, each naming a level-2 table of 4 KiB"),
        ("ITS_DT_CFGR", 32, "linear: 4294967296 entries of 8 bytes (32 GiB)"),
    ] {
        let register = table().named(name).next().unwrap();
        let report = checked(register, &[value]);
        let found = report.remarks.iter().any(|remark| remark.text.starts_with(text));
        assert!(found, "{name} {value:#x}: {:?}", report.remarks);
    }
}

#[test]
fn a_field_that_another_one_switches_off_is_no_problem() {
    for (name, value) in [
        ("IRS_IDR3", 0x0000_0200),                 // VMD_SZ counts only with VMD=1
        ("IRS_IDR3", 0),                           // no virtualisation
        ("IRS_IDR4", 0),                           // no virtualisation
        ("IRS_IST_CFGR", 0x0000_0070),             // L2SZ counts only with two levels
        ("ICC_HPPIR_EL1", 0),                      // TYPE counts only with HPPIV=1
        ("GICR CDIA", 0),                          // TYPE counts only with VALID=1
        ("IRS_VMAP_VISTR", 0x0000_0007_0000_0000), // nothing counts with M=0
    ] {
        let register = table().named(name).next().unwrap();
        assert_eq!(checked(register, &[value]).problems, [], "{name}");
    }
}

#[test]
fn a_misaligned_table_address_is_a_problem_and_shown_in_full() {
    let vmte = table().named("L2_VMTE").next().unwrap();
    // 16 ID bits, linear, 4-byte entries: 256 KiB, at an address that is only 64-byte aligned.
    let report = checked(vmte, &[0, 0, 0x8000_0000_8300_0040, 0]);
    let problem = report.problems.iter().find(|problem| problem.field.as_deref() == Some("LPI_IST_ADDR")).unwrap();
    assert!(problem.text.starts_with("0x83000040 is not a multiple of 256 KiB"), "{}", problem.text);
    assert!(problem.text.ends_with("hardware may use 0x83000000"), "{}", problem.text);
    // Half the alignment is not enough either.
    let report = checked(vmte, &[0, 0, 0x8000_0000_8302_0000, 0]);
    assert_eq!(report.problems.len(), 1);
    assert_eq!(checked(vmte, &[0, 0, 0x8000_0000_8304_0000, 0]).problems, []);
    // A VPE table of 4 ID bits is 128 bytes.
    let report = checked(vmte, &[0, 0x2000_0000_8200_0008, 0, 0]);
    assert!(report.problems.iter().any(|problem| problem.field.as_deref() == Some("VPET_ADDR")));
}

#[test]
fn a_two_level_ist_is_described_down_to_its_entries() {
    let vmte = table().named("L2_VMTE").next().unwrap();
    // LPI: 16 ID bits, two-level, 8-byte entries, 16 KiB level-2 tables of 2048 entries.
    let word = 16 << 59 | 1 << 58 | 1 << 56 | 0x8300_0000 | 1 << 1 | 1;
    let report = checked(vmte, &[1, 0x0800_0000_8200_0000, word, 0]);
    let expected = "two-level: 32 level-1 entries of 8 bytes (256 bytes), each naming a level-2 table of 16 KiB \
                    with 2048 entries of 8 bytes; base aligned to 256 bytes";
    assert!(report.remarks.iter().any(|remark| remark.text.contains(expected)), "{:#?}", report.remarks);
}

#[test]
fn every_instruction_word_decodes_to_its_own_name() {
    for entry in &table().registers {
        let Some(instruction) = entry.instruction else { continue };
        for rt in 0..32 {
            let report = insn::decode(table(), instruction.word(rt));
            check_findings(&report);
            assert_eq!(report.name, entry.name);
            let line = report.summary.unwrap();
            let register = if rt == 31 { "xzr".to_owned() } else { format!("x{rt}") };
            let bare = instruction.operand == Operand::None && rt == 31;
            assert_eq!(line.contains(&register), !bare, "{line}");
            let mnemonic = entry.name.to_ascii_lowercase().replace(' ', &line[line.find(' ').unwrap()..][..1]);
            if instruction.operand != Operand::Result {
                assert!(line.starts_with(&mnemonic), "{line}");
            }
            assert_eq!(
                instruction.operand == Operand::None && rt != 31,
                report.problems.iter().any(|problem| problem.text.contains("has no operand"))
            );
        }
        // The other direction is another instruction, which GICv5 does not have.
        let other = insn::decode(table(), instruction.word(3) ^ 1 << 21);
        assert_eq!(other.name, "instruction word");
        assert!(other.summary.unwrap().ends_with("not a GICv5 instruction"));
        assert_eq!(other.problems.len(), 1);
    }
}

#[test]
fn moves_of_every_system_register_decode_to_its_name() {
    for entry in &table().registers {
        let (Class::CpuifSysreg, Location::Encoding(encoding), None) =
            (entry.class, entry.location, &entry.accessed_via)
        else {
            continue;
        };
        for (read, mnemonic) in [(0, "MSR"), (1, "MRS")] {
            let word = 0xd500_0000
                | read << 21
                | u32::from(encoding.op0) << 19
                | u32::from(encoding.op1) << 16
                | u32::from(encoding.crn) << 12
                | u32::from(encoding.crm) << 8
                | u32::from(encoding.op2) << 5
                | 7;
            let report = insn::decode(table(), word);
            check_findings(&report);
            assert_eq!(report.name, format!("{mnemonic} {}", entry.name));
        }
    }
}

#[test]
fn every_word_of_the_facts_is_in_the_list_of_assembler_lines() {
    for (word, line) in [
        (0xd508_c1ff, "gic cdeoi"),
        (0xd528_c300, "gicr x0, cdia"),
        (0xd508_c03f, "gsb ack"),
        (0xd508_c01f, "gsb sys"),
        (0xd508_c12c, "gic cden, x12"),
        (0xd53c_cbc1, "mrs x1, ich_contextr_el2"),
        (0xd51c_cbc1, "msr ich_contextr_el2, x1"),
        (0xd50b_7a20, "sys #3, c7, c10, #1, x0, not a GICv5 instruction"),
        (0xd538_1000, "mrs x0, s3_0_c1_c0_0, not a GICv5 register"),
        (0xd503_201f, "hint, barrier or MSR (immediate), not a GICv5 instruction"),
        (0xd548_7a20, "128-bit system instruction (SYSP, MRRS or MSRR), not a GICv5 instruction"),
        (0x0000_0000, "not a system instruction"),
        (0xffff_ffff, "not a system instruction"),
    ] {
        assert_eq!(insn::decode(table(), word).summary.as_deref(), Some(line), "{word:#x}");
    }
}

#[test]
fn an_intid_says_type_number_and_use() {
    for (value, summary, problems) in [
        (0x2000_001b, "PPI 27, EL1 virtual timer (CNTV)", 0),
        (0x2000_0003, "PPI 3, software PPI, edge (SW_PPI)", 0),
        (0x2000_0028, "PPI 40", 0),
        (0x2000_0080, "PPI 128", 1),
        (0x4000_2005, "LPI 8197", 0),
        (0x6000_002f, "SPI 47", 0),
        (0x0000_002f, "no interrupt: reserved type", 1),
        (0x7f00_002f, "SPI 47", 1),
    ] {
        let report = intid::decode(table(), value);
        assert_eq!(report.summary.as_deref(), Some(summary));
        assert_eq!(report.problems.len(), problems, "{value:#x}");
    }
}

#[test]
fn element_arrays_name_the_elements_that_are_set() {
    let decode = |name: &str, index, value| {
        let views: Vec<_> = table().named(name).collect();
        register::decode(table(), &views, index, &[value]).fields.remove(0).meaning
    };
    assert_eq!(decode("ICC_PPI_ENABLER0_EL1", None, 0x0c00_0008), "PPI 3, 26, 27 (SW_PPI, CNTHP, CNTV)");
    assert_eq!(decode("ICC_PPI_ENABLER1_EL1", None, u64::MAX), "PPI 64-127");
    assert_eq!(decode("IWB_WENABLER", Some(3), 0b111), "wire 96-98");
    assert_eq!(decode("IWB_WENABLER", None, 0b101), "wire 32n + 0, 2");
    assert_eq!(decode("IWB_WTMR", Some(1), 0b1), "level: wire 32; the others edge");
    assert_eq!(decode("IWB_WDOMAINR", Some(1), 0b1101), "Non-secure: wire 16; Realm: wire 17; the others Secure");
    assert_eq!(decode("ICC_PPI_HMR0_EL1", None, 0x0800_0000), "level: PPI 27; the others edge");
    assert_eq!(decode("ICH_PPI_PENDR0_EL2", None, 0), "none");
}

#[test]
fn entries_with_several_views_show_them_all() {
    for name in ["IRS_MPAM_IDR", "GIC_PMEVFILTR", "GIC_PMEVFILT2R"] {
        let views: Vec<_> = table().named(name).collect();
        let report = register::decode(table(), &views, None, &[0x0100_0001]);
        assert_eq!(report.views.len(), 2);
        for view in &report.views {
            assert!(report.fields.iter().any(|field| field.view == view.view), "{name}");
        }
    }
}

proptest! {
    #[test]
    fn no_value_of_any_entry_makes_decoding_fail(index in 0_usize..268, random in prop::collection::vec(any::<u64>(), 4)) {
        let register = &table().registers[index];
        let words: Vec<u64> = words(register, |bit| random[usize::from(bit / 64)] >> (bit % 64) & 1 == 1);
        checked(register, &words);
    }

    #[test]
    fn any_instruction_word_has_a_description(word in any::<u32>()) {
        let report = insn::decode(table(), word);
        prop_assert!(report.summary.as_ref().is_some_and(|line| !line.is_empty()));
    }

    #[test]
    fn any_intid_has_a_description(value in any::<u32>()) {
        let report = intid::decode(table(), value);
        prop_assert!(report.summary.as_ref().is_some_and(|line| !line.is_empty()));
        check_findings(&report);
    }
}
