//! What must hold of the facts as they are shipped.

use std::collections::BTreeSet;

use gicv5_facts::{Access, Basis, Class, FactsError, Location, RegisterTable, RuleBook, Word, registers, rules};

#[test]
fn every_register_entry_and_instruction_is_read() {
    let table = registers().unwrap();
    assert_eq!(table.registers.len(), gicv5_facts::REGISTERS_TOML.matches("\n[[register]]\n").count());
    let count = |class| table.registers.iter().filter(|register| register.class == class).count();
    assert_eq!(count(Class::IrsConfig), 67);
    assert_eq!(count(Class::CpuifSysreg), 114);
    assert_eq!(count(Class::GicInstruction), 29);
    assert_eq!(count(Class::MemoryEntry), 11);
    assert_eq!(table.registers.iter().map(|register| register.fields.len()).sum::<usize>(), 922);
    assert_eq!((table.limits.len(), table.alignments.len(), table.ppis.len()), (19, 12, 18));
    assert_eq!((table.status_pairs.len(), table.disagreements.len(), table.gaps.len()), (9, 29, 10));
}

#[test]
fn an_indexed_register_knows_its_copies_and_an_unplaced_one_says_so() {
    let table = registers().unwrap();
    let wires = table.named("IWB_WENABLER").next().unwrap();
    assert_eq!(wires.location, Location::Offset(0x2000));
    let indices = wires.indices.unwrap();
    assert_eq!((indices.first, indices.last, indices.stride), (0, 2047, Some(4)));
    let hidden = table.named("ICH_PPI_HVIR0_EL2").next().unwrap();
    assert_eq!(hidden.location, Location::Unknown);
    assert!(!hidden.access_confirmed);
    assert_eq!(table.named("IRS_MPAM_IDR").count(), 2);
}

#[test]
fn instruction_words_agree_with_the_encodings_beside_them() {
    for register in &registers().unwrap().registers {
        let (Some(instruction), Location::Encoding(encoding)) = (register.instruction, register.location) else {
            continue;
        };
        let read = u32::from(instruction.form == gicv5_facts::Form::Sysl);
        let word = 0xd500_0000
            | read << 21
            | u32::from(encoding.op0) << 19
            | u32::from(encoding.op1) << 16
            | u32::from(encoding.crn) << 12
            | u32::from(encoding.crm) << 8
            | u32::from(encoding.op2) << 5;
        match instruction.word {
            Word::X0(given) => assert_eq!(given, word, "{}", register.name),
            Word::Xzr(given) => assert_eq!(given, word | 31, "{}", register.name),
        }
        assert_eq!(instruction.word(31), word | 31);
    }
}

#[test]
fn named_values_are_sorted_by_number() {
    for register in &registers().unwrap().registers {
        for field in &register.fields {
            assert!(field.values.is_sorted_by_key(|named| named.value), "{}.{}", register.name, field.name);
        }
    }
    let devarch = registers().unwrap().named("IRS_DEVARCH").next().unwrap();
    assert_eq!(devarch.field("ARCHITECT").unwrap().meaning(0x23b), Some("Arm"));
}

#[test]
fn a_field_is_cut_out_of_the_word_that_holds_it() {
    let table = registers().unwrap();
    let vmte = table.named("L2_VMTE").next().unwrap();
    let words = [0, 0, 0, 0xf800_0000_0000_0001];
    assert_eq!(vmte.field("SPI_ID_BITS").unwrap().extract(&words), 31);
    assert_eq!(vmte.field("SPI_IST_VALID").unwrap().extract(&words), 1);
    assert_eq!(vmte.field("LPI_ID_BITS").unwrap().extract(&words), 0);
    assert_eq!(vmte.field("SPI_ID_BITS").unwrap().extract(&words[..2]), 0);
    let all = table.named("ICC_PPI_HMR0_EL1").next().unwrap();
    assert_eq!(all.fields[0].extract(&[u64::MAX]), u64::MAX);
}

#[test]
fn status_registers_and_limits_are_found_by_name() {
    let table = registers().unwrap();
    assert_eq!(table.status_of("IRS_VPE_DBR").unwrap().poll, "IRS_VPE_STATUSR");
    assert_eq!(table.reported_by("IRS_SAVE_VM_STATUSR").unwrap().writes, ["IRS_SAVE_VMR"]);
    assert_eq!(table.limit("IRS_IDR3", "VM_ID_BITS").unwrap().min, Some(8));
    assert_eq!(table.ppi(27).unwrap().name, "CNTV");
    let write_only = table.named("IRS_VMAP_VMR").next().unwrap();
    assert_eq!((write_only.access, write_only.access_confirmed), (Some(Access::WriteOnly), false));
}

#[test]
fn a_key_that_nobody_reads_is_refused() {
    let extended = gicv5_facts::REGISTERS_TOML.replacen("purpose =", "colour = \"red\"\npurpose =", 1);
    let Err(FactsError::Syntax(message)) = RegisterTable::parse(&extended) else {
        panic!("accepted");
    };
    assert!(message.contains("colour"), "{message}");
}

#[test]
fn a_field_that_overlaps_or_does_not_fit_is_refused() {
    for (from, to) in [
        ("{ name = \"IRSID\", msb = 31", "{ name = \"IRSID\", msb = 32"),
        ("{ name = \"MPAM2\", msb = 13", "{ name = \"MPAM2\", msb = 16"),
        ("name = \"IRS_IDR1\"", "name = \"IRS_IDR0\""),
        ("poll = \"IRS_PE_STATUSR\"", "poll = \"IRS_PEE_STATUSR\""),
        ("generic_name = \"S3_1_C12_C0_0\"", "generic_name = \"S3_1_C12_C0_1\""),
    ] {
        let broken = gicv5_facts::REGISTERS_TOML.replacen(from, to, 1);
        assert_ne!(broken, gicv5_facts::REGISTERS_TOML, "{from}");
        let result = RegisterTable::parse(&broken);
        assert!(matches!(result, Err(FactsError::Inconsistent { .. })), "{from}");
    }
}

#[test]
fn facts_that_contradict_themselves_are_refused_with_their_place() {
    for (from, to, expected) in [
        ("location_sources = [\"A\"", "location_sources = [\"Z\"", "cites unknown source Z"),
        ("field_sources = [\"A\"", "field_sources = [\"Z\"", "cites unknown source Z"),
        ("sources = [\"G\", \"K\"]", "sources = [\"Z\", \"K\"]", "IRS_IDR3.VM_ID_BITS: cites unknown source Z"),
        ("field = \"IRS_IDR3.VM_ID_BITS\"", "field = \"IRS_IDR3.VM_BITS\"", "a limit of a field that is not there"),
        ("\"iwb\", \"gic-pmu\"", "\"gic-pmu\"", "of a class that the file does not list"),
        ("accessed_via = \"ICC_APR_EL1\"", "accessed_via = \"ICC_APR\"", "accessed via unknown ICC_APR"),
        ("confirmed = 3", "confirmed = 4", "IRS_IDR0: confirmed is 1 to 3"),
        ("confirmed = 3", "confirmed = 0", "IRS_IDR0: confirmed is 1 to 3"),
        ("offset = 0x0000\nwidth = 32", "offset = 0x0000\nwidth = 16", "a width of 32, 64 or 256 bits"),
        ("offset = 0x0000\n", "", "IRS_IDR0: offset and encoding do not fit the class"),
        ("access = \"RO\"\n", "", "everything but an instruction has an access type"),
        ("stride = 4\n", "", "an indexed register has a stride if and only if its offset is known"),
        ("index_min = 0\n", "", "incomplete index range"),
        ("index_max = 2047", "index_max = -1", "invalid value"),
        ("form = \"SYS\"\n", "", "form, operand, min_el and one word belong to an instruction"),
        ("entry_bytes = 8\n", "entry_bytes = 4\n", "entry size and width differ"),
        ("op1 = 1, CRn = 12", "op1 = 8, CRn = 12", "encoding out of range"),
        ("generic_name = \"S3_1_C12_C0_0\"\n", "", "the generic name does not match the encoding"),
        ("\"INT_DOM\", msb = 1, lsb = 0", "\"INT_DOM\", msb = 0, lsb = 1", "IRS_IDR0.INT_DOM: msb below lsb"),
        ("lsb = 0, element_width = 1,", "lsb = 0, element_width = 5,", "the elements do not fill the field"),
        ("lsb = 0, element_width = 1,", "lsb = 0, element_width = 0,", "the elements do not fill the field"),
        ("{ \"0\" = \"linear\", \"1\"", "{ \"0\" = \"linear\", \"2\"", "a value that does not fit"),
        ("{ \"0\" = \"linear\", \"1\"", "{ \"0\" = \"linear\", \"one\"", "a value that is not a number"),
        ("{ \"0\" = \"linear\", \"1\"", "{ \"0\" = \"linear\", \"+1\"", "a value that is not a number"),
        ("{ \"0\" = \"linear\", \"1\"", "{ \"1\" = \"linear\", \"0x1\"", "a value named twice"),
    ] {
        let broken = gicv5_facts::REGISTERS_TOML.replacen(from, to, 1);
        assert_ne!(broken, gicv5_facts::REGISTERS_TOML, "{from}");
        let error = RegisterTable::parse(&broken).map(|_| "accepted").unwrap_err().to_string();
        assert!(error.contains(expected), "{from}: {error}");
    }
}

#[test]
fn rules_that_cannot_be_counted_on_are_refused() {
    let id = "- **GEN-1** ";
    for (from, to, expected) in [
        ("- **GEN-2** ", id, "a rule id used twice"),
        (id, "- **VMT-99** ", "a rule in the wrong section"),
        (id, "- **GEN-one** ", "an id without a number"),
        (id, "- **GEN-1 ", "an id without an end"),
        (id, "And so on.\n- **GEN-1** ", "text between the rules"),
        ("## VMT - ", "## VMT: ", "an unknown section"),
        (" *Who* ", " *Whose* ", "no *Who*"),
        (" *Else* ", " *Or* ", "no *Else*"),
        (" *Basis* software", " *Basis* hearsay", "an unknown basis"),
        (" *Basis* inferred.", "", "no *Basis*, and *Src* does not decide it"),
        ("*Src* RG; QI.", "*Src* GEN-2.", "no *Basis*, and *Src* does not decide it"),
        ("*Src* RG; QI.", "*Src* RG; QI. *Basis* architecture.", "a *Basis* that *Src* gives already"),
        (" *Assumed* ", " *Guessed* ", "no *Assumed*"),
        (" *Switches* ", " *Switch* ", "no *Switches*"),
        ("\n2. QEMU", "\n3. QEMU", "numbers that do not follow each other"),
        ("\n2. QEMU", "\nQEMU", "not a numbered item"),
    ] {
        let start = gicv5_facts::RULES_MD.find(id).unwrap();
        let (head, tail) = gicv5_facts::RULES_MD.split_at(start);
        let broken = format!("{head}{}", tail.replacen(from, to, 1));
        assert_ne!(broken, gicv5_facts::RULES_MD, "{from}");
        let Err(FactsError::Rule { problem, .. }) = RuleBook::parse(&broken) else { panic!("{to:?} accepted") };
        assert_eq!(problem, expected, "{from}");
    }
}

#[test]
fn all_rules_are_found_with_unique_ids_and_every_part() {
    let book = rules().unwrap();
    assert_eq!(book.rules.len(), 389);
    let lines = gicv5_facts::RULES_MD.lines().filter(|line| line.starts_with("- **") && line.contains("*Src*"));
    assert_eq!(lines.count(), 389);
    let ids: BTreeSet<&str> = book.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids.len(), 389);
    for rule in &book.rules {
        assert!(!rule.text.is_empty() && !rule.who.is_empty() && !rule.otherwise.is_empty(), "{}", rule.id);
        assert!(!rule.sources.is_empty(), "{}", rule.id);
        assert!(!rule.text.contains("*Who*") && !rule.source.contains("*Src*"), "{}", rule.id);
    }
    for group in &book.groups {
        let numbers: Vec<u32> = book.in_group(&group.id).map(|rule| rule.number).collect();
        assert_eq!(numbers, (1..=u32::try_from(numbers.len()).unwrap()).collect::<Vec<_>>(), "{}", group.id);
    }
    assert_eq!((book.hazards.len(), book.open_questions.len(), book.most_often_wrong.len()), (13, 29, 10));
}

#[test]
fn a_rule_names_its_sources_in_full() {
    let book = rules().unwrap();
    let rule = book.rule("vmt-20").unwrap();
    assert_eq!((rule.group.as_str(), rule.group_title.as_str()), ("VMT", "the VM table"));
    assert_eq!(rule.who, "IRS");
    assert_eq!(rule.otherwise, "ignored, may be SWERR (inferred)");
    assert_eq!(rule.sources.len(), 2);
    assert_eq!(rule.sources[0].names[0].tag, "QM");
    assert_eq!(rule.sources[1].text, "RG");
    assert!(rule.sources[1].names[0].meaning.contains("GICv5 Subsystem Details"));
    // A tag that begins another one is not taken for it.
    let header = book.rule("GEN-23").unwrap();
    assert_eq!(header.sources[0].names.iter().map(|name| name.tag.as_str()).collect::<Vec<_>>(), ["LNX-H"]);
    // A group that shares its section is still a group of its own.
    assert_eq!(book.in_group("hppi").count(), 9);
}

#[test]
fn a_rule_without_a_source_is_refused_with_its_line() {
    let broken = gicv5_facts::RULES_MD.replacen("*Src* RG; QI.", "RG; QI.", 1);
    let Err(FactsError::Rule { line, problem }) = RuleBook::parse(&broken) else { panic!("accepted") };
    assert_eq!(problem, "no *Src*");
    assert!(gicv5_facts::RULES_MD.lines().nth(line - 1).unwrap().starts_with("- **GEN-1**"));
}

#[test]
fn a_rule_rests_on_its_firmest_source_unless_it_says_otherwise() {
    let book = rules().unwrap();
    let basis = |id: &str| book.rule(id).unwrap().basis;
    // RG; QI: one of them restates the architecture.
    assert_eq!(basis("GEN-1"), Basis::Architecture);
    // KVM-TAB alone, and KVM-TAB with a rule of the architecture.
    assert_eq!((basis("VMT-8"), basis("VMT-9")), (Basis::Software, Basis::Architecture));
    // QI alone, and QI with a rule of the architecture.
    assert_eq!((basis("ISM-10"), basis("ISM-2")), (Basis::Software, Basis::Architecture));
    // Stated: RG describes here what Linux does, and VMT-5 is taken over from another register.
    assert_eq!((basis("PPI-17"), basis("VMT-5")), (Basis::Software, Basis::Inferred));
    for each in Basis::ALL {
        assert!(book.rules.iter().any(|rule| rule.basis == each), "{each:?}");
        assert_eq!(Basis::named(each.name()), Some(each));
    }
}

#[test]
fn a_source_name_without_a_basis_is_refused() {
    let row = "| RG | ";
    let line = gicv5_facts::RULES_MD.lines().find(|line| line.starts_with(row)).unwrap();
    for (to, expected) in [("| architecture |", "| rumour |"), ("| architecture |", "|")]
        .map(|(from, to)| line.replace(from, to))
        .into_iter()
        .zip(["an unknown basis", "a source name without a basis"])
    {
        let broken = gicv5_facts::RULES_MD.replace(line, &to);
        let Err(FactsError::Rule { problem, .. }) = RuleBook::parse(&broken) else { panic!("{to:?} accepted") };
        assert_eq!(problem, expected);
    }
}
