//! Encodings against an assembler that nobody here wrote: the one inside rustc.
//!
//! The facts and the types could share a mistake. LLVM knows GICv5 (`.arch_extension gcie`) from Arm's own description,
//! and it comes with the compiler, so that these tests need nothing but Rust: rustc builds an AArch64 object file of
//! `global_asm!` alone, without `core`, and the instruction words are read back from its `.text` section. A compiler that
//! cannot do it fails the tests.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fmt, fs};

use gicv5_arch::insn::{Form, GicInsn};
use gicv5_arch::register::Access;
use gicv5_arch::sysreg::{SysReg, SysRegEncoding};
use object::{Object as _, ObjectSection as _};

/// Registers whose names the assembler does not know, and why.
const UNKNOWN_NAMES: &[(&str, &str)] = &[
    ("ICH_PPI_HVIR0_EL2", "newer than the assembler; no public source has the encoding either"),
    ("ICH_PPI_HVIR1_EL2", "newer than the assembler; no public source has the encoding either"),
];

/// Registers that are read-only here and that the assembler lets software write, and why they stay read-only.
const WRITABLE_TO_THE_ASSEMBLER: &[(&str, &str)] = &[
    ("ICC_PPI_HMR0_EL1", "handling modes are fixed in hardware (PPI-3); the facts have it read-only"),
    ("ICC_PPI_HMR1_EL1", "handling modes are fixed in hardware (PPI-3); the facts have it read-only"),
    ("ICV_PPI_HMR0_EL1", "the guest's name of a read-only register"),
    ("ICV_PPI_HMR1_EL1", "the guest's name of a read-only register"),
    ("ICV_HPPIR_EL1", "the guest's name of ICC_HPPIR_EL1, which the assembler does not let software write"),
];

/// What went wrong before anything could be compared. Printed as it is: compiler messages have many lines.
struct Failure(String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure(message)
    }
}

/// The assembler's spelling of general-purpose register `t`.
fn x(t: u32) -> String {
    if t == 31 { "xzr".to_owned() } else { format!("x{t}") }
}

/// The compiler that built this test, as far as it can be told: the one cargo was told to use, or its neighbour.
fn rustc() -> OsString {
    env::var_os("RUSTC").unwrap_or_else(|| {
        let neighbour = Path::new(env!("CARGO")).with_file_name(format!("rustc{}", env::consts::EXE_SUFFIX));
        if neighbour.exists() { neighbour.into() } else { "rustc".into() }
    })
}

/// Gives the statements, one a line from line 2 on, to the assembler. The object file is only there if it took them all.
fn run(name: &str, statements: &[String]) -> Result<(Output, PathBuf), String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, object) = (folder.join(format!("{name}.rs")), folder.join(format!("{name}.o")));
    let program = format!(
        "#![feature(no_core, lang_items, rustc_attrs)]\n\
         #![allow(internal_features)]\n\
         #![no_core]\n\
         #![crate_type = \"lib\"]\n\
         #[lang = \"pointee_sized\"] trait PointeeSized {{}}\n\
         #[lang = \"meta_sized\"] trait MetaSized: PointeeSized {{}}\n\
         #[lang = \"sized\"] trait Sized: MetaSized {{}}\n\
         #[rustc_builtin_macro] macro_rules! global_asm {{ () => {{}}; }}\n\
         global_asm!(\".arch_extension gcie\n{}\n\");\n",
        statements.join("\n")
    );
    fs::write(&source, program).map_err(|error| format!("{}: {error}", source.display()))?;
    let output = Command::new(rustc())
        // The names above are the compiler's own; a stable compiler knows them all the same.
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["--edition", "2024", "--target", "aarch64-unknown-none-softfloat", "--emit", "obj", "-o"])
        .args([&object, &source])
        .output()
        .map_err(|error| format!("{} does not run: {error}", rustc().display()))?;
    Ok((output, object))
}

/// The words of the statements; an error says which ones the assembler refuses.
fn assemble(name: &str, statements: &[String]) -> Result<Vec<u32>, String> {
    let (output, object) = run(name, statements)?;
    if !output.status.success() {
        return Err(format!("{} cannot assemble:\n{}", rustc().display(), String::from_utf8_lossy(&output.stderr)));
    }
    let data = fs::read(&object).map_err(|error| format!("{}: {error}", object.display()))?;
    let file = object::File::parse(&*data).map_err(|error| format!("{}: {error}", object.display()))?;
    let text = file.section_by_name(".text").ok_or_else(|| format!("{} has no .text", object.display()))?;
    let text = text.data().map_err(|error| format!("{}: {error}", object.display()))?;
    let (words, rest) = text.as_chunks::<4>();
    if words.len() != statements.len() || !rest.is_empty() {
        return Err(format!("{} statements made {} bytes", statements.len(), text.len()));
    }
    Ok(words.iter().copied().map(u32::from_le_bytes).collect())
}

/// The statements that the assembler refuses. It reports all of them, so that one does not hide another.
fn refused<'a>(name: &str, statements: &'a [String]) -> Result<BTreeSet<&'a str>, String> {
    let (output, _) = run(name, statements)?;
    let messages = String::from_utf8_lossy(&output.stderr);
    let lines = messages.split("<inline asm>:").skip(1).filter_map(|rest| rest.split(':').next()?.parse().ok());
    let refused: BTreeSet<&str> =
        lines.filter_map(|line: usize| statements.get(line.checked_sub(2)?).map(String::as_str)).collect();
    if refused.is_empty() != output.status.success() {
        return Err(format!("{} fails for a reason of its own:\n{messages}", rustc().display()));
    }
    Ok(refused)
}

/// Assembles the statements and lists those whose word is not the expected one.
fn compare(name: &str, expected: &[(String, u32)]) -> Result<Vec<String>, String> {
    let statements: Vec<_> = expected.iter().map(|(statement, _)| statement.clone()).collect();
    let words = assemble(name, &statements)?;
    let differ = expected.iter().zip(words).filter(|((_, types), assembler)| types != assembler);
    Ok(differ
        .map(|((statement, types), assembler)| {
            format!("{statement}: the assembler makes {assembler:#010x}, the types make {types:#010x}")
        })
        .collect())
}

#[track_caller]
fn nothing_differs(mismatches: &[String]) {
    assert!(mismatches.is_empty(), "{} mismatches:\n{}", mismatches.len(), mismatches.join("\n"));
}

/// Mnemonic and operation as the assembler spells them.
fn spelling(insn: GicInsn) -> (String, String) {
    let name = insn.name().to_lowercase();
    let (mnemonic, operation) = name.split_once(' ').unwrap_or((&name, ""));
    (mnemonic.to_owned(), operation.to_owned())
}

#[test]
fn instructions_are_what_the_assembler_makes_of_their_names() -> Result<(), Failure> {
    let mut expected = Vec::new();
    for &insn in GicInsn::ALL {
        let (mnemonic, operation) = spelling(insn);
        match insn.info().form {
            Form::NoOperand => expected.push((format!("{mnemonic} {operation}"), insn.word(0))),
            Form::Operand => {
                expected.extend((0..32).map(|t| (format!("{mnemonic} {operation}, {}", x(t)), insn.word(t))));
            }
            Form::Result => {
                expected.extend((0..32).map(|t| (format!("{mnemonic} {}, {operation}", x(t)), insn.word(t))));
            }
        }
    }
    nothing_differs(&compare("instructions", &expected)?);
    println!("{} instructions, {} words compared", GicInsn::ALL.len(), expected.len());
    assert_eq!(expected.len(), 26 * 32 + 3);
    Ok(())
}

#[test]
fn system_registers_are_what_the_assembler_makes_of_their_names() -> Result<(), Failure> {
    let mut expected = Vec::new();
    for &register in SysReg::ALL {
        let Some(encoding) = register.encoding() else { continue };
        // The generic name goes through the printed form of the encoding.
        let known = !UNKNOWN_NAMES.iter().any(|(name, _)| *name == register.name());
        for name in [Some(encoding.to_string()), known.then(|| register.name().to_lowercase())].into_iter().flatten() {
            for t in [0, 1, 10, 30, 31] {
                expected.push((format!("mrs {}, {name}", x(t)), encoding.mrs(t)));
                if register.info().access == Access::RW {
                    expected.push((format!("msr {name}, {}", x(t)), encoding.msr(t)));
                }
            }
        }
    }
    nothing_differs(&compare("sysregs", &expected)?);
    println!("{} system registers, {} words compared", SysReg::ALL.len(), expected.len());
    // All but the two without an encoding, read by two names with five registers; and most of them written.
    assert!(expected.len() > 2 * 5 * (SysReg::ALL.len() - 2), "{} words compared", expected.len());
    Ok(())
}

#[test]
fn the_assembler_knows_every_register_but_those_listed() -> Result<(), Failure> {
    let statements: Vec<_> =
        SysReg::ALL.iter().map(|register| format!("mrs x0, {}", register.name().to_lowercase())).collect();
    let refused = refused("names", &statements)?;
    let mut mismatches = Vec::new();
    for (register, statement) in SysReg::ALL.iter().zip(&statements) {
        let listed = UNKNOWN_NAMES.iter().find(|(name, _)| *name == register.name());
        match (listed, refused.contains(statement.as_str())) {
            (None, true) => mismatches.push(format!("{register}: the assembler does not know it")),
            (Some((_, why)), false) => mismatches
                .push(format!("{register}: the assembler knows it, the list of unknown names does not ({why})")),
            _ => {}
        }
    }
    for (name, _) in UNKNOWN_NAMES {
        if !SysReg::ALL.iter().any(|register| register.name() == *name) {
            mismatches.push(format!("{name}: in the list of unknown names, but there is no such register"));
        }
    }
    nothing_differs(&mismatches);
    Ok(())
}

#[test]
fn the_assembler_refuses_to_write_what_is_read_only() -> Result<(), Failure> {
    let read_only: Vec<_> =
        SysReg::ALL.iter().filter(|register| register.info().access == Access::RO).copied().collect();
    let statements: Vec<_> =
        read_only.iter().map(|register| format!("msr {}, x0", register.name().to_lowercase())).collect();
    let refused = refused("read-only", &statements)?;
    let mut mismatches = Vec::new();
    for (register, statement) in read_only.iter().zip(&statements) {
        let listed = WRITABLE_TO_THE_ASSEMBLER.iter().find(|(name, _)| *name == register.name());
        match (listed, refused.contains(statement.as_str())) {
            (None, false) => mismatches.push(format!("{register}: read-only here, the assembler writes it")),
            (Some((_, why)), true) => {
                mismatches.push(format!("{register}: the assembler refuses to write it, the exception ({why}) can go"));
            }
            _ => {}
        }
    }
    for (name, _) in WRITABLE_TO_THE_ASSEMBLER {
        if !read_only.iter().any(|register| register.name() == *name) {
            mismatches.push(format!("{name}: an exception for a register that is not read-only here"));
        }
    }
    nothing_differs(&mismatches);
    Ok(())
}

#[test]
fn the_assembler_refuses_every_other_form_of_an_instruction() -> Result<(), Failure> {
    let mut statements = Vec::new();
    for &insn in GicInsn::ALL {
        let (mnemonic, operation) = spelling(insn);
        match insn.info().form {
            Form::NoOperand => statements.push(format!("{mnemonic} {operation}, x0")),
            Form::Operand => {
                statements.push(format!("{mnemonic} {operation}"));
                statements.push(format!("gicr x0, {operation}"));
            }
            Form::Result => {
                statements.push(format!("{mnemonic} {operation}"));
                statements.push(format!("gic {operation}, x0"));
            }
        }
    }
    let refused = refused("forms", &statements)?;
    let accepted = statements.iter().filter(|statement| !refused.contains(statement.as_str()));
    nothing_differs(&accepted.map(|statement| format!("{statement}: the assembler takes it")).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_word_of_mrs_or_msr_tells_its_register() -> Result<(), Failure> {
    let registers: Vec<_> = SysReg::ALL.iter().filter(|register| register.encoding().is_some()).copied().collect();
    let statements: Vec<_> = registers
        .iter()
        .filter_map(|register| register.encoding())
        .map(|encoding| format!("mrs x7, {encoding}"))
        .collect();
    for (register, word) in registers.iter().zip(assemble("decode", &statements)?) {
        assert_eq!(Some(SysRegEncoding::of_word(word)), register.encoding(), "{register}: {word:#010x}");
    }
    Ok(())
}
