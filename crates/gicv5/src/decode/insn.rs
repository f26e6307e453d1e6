//! `gicv5 decode insn`: an A64 instruction word.
//!
//! GICv5 instructions are encodings of `SYS` and `SYSL`; its system registers are reached with `MRS` and `MSR`. All
//! four share one format: bit 21 is the direction, op0, op1, CRn, CRm and op2 name the target, Rt is the register.

use gicv5_facts::{Access, Class, Encoding, Form, Location, Operand, Register, RegisterTable};

use super::name::sysregs_at;
use super::report::{FieldReport, Findings, Report, View};

/// Bits 31:22 of `SYS`, `SYSL`, `MRS`, `MSR`, hints and barriers.
const SYSTEM: u32 = 0b11_0101_0100;
/// Bits 31:22 of the 128-bit forms `SYSP`, `MRRS` and `MSRR`.
const SYSTEM_128: u32 = 0b11_0101_0101;

pub(crate) fn decode(table: &RegisterTable, word: u32) -> Report {
    let mut findings = Findings::default();
    let parts = Parts::of(word);
    let mut name = "instruction word".to_owned();
    let mut entry = None;
    let summary = match word >> 22 {
        SYSTEM => match parts.encoding.op0 {
            0 => "hint, barrier or MSR (immediate), not a GICv5 instruction".to_owned(),
            1 => match instruction(table, &parts, &mut findings) {
                Some((register, text)) => {
                    name.clone_from(&register.name);
                    entry = Some(register);
                    text
                }
                None => format!("{}, not a GICv5 instruction", parts.sys()),
            },
            _ => match sysreg(table, &parts, &mut findings) {
                Some((register, text)) => {
                    name = format!("{} {}", if parts.read { "MRS" } else { "MSR" }, register.name);
                    entry = Some(register);
                    text
                }
                None => format!("{}, not a GICv5 register", parts.move_of(&parts.encoding.to_string())),
            },
        },
        SYSTEM_128 => "128-bit system instruction (SYSP, MRRS or MSRR), not a GICv5 instruction".to_owned(),
        _ => "not a system instruction".to_owned(),
    };
    Report {
        kind: "instruction-word",
        name,
        summary: Some(summary),
        words: vec![format!("{word:#010x}")],
        views: entry.map(|register| View::new(register, None)).into_iter().collect(),
        fields: if word >> 22 == SYSTEM { parts.fields() } else { Vec::new() },
        problems: findings.problems,
        remarks: findings.remarks,
    }
}

/// The parts of a word of the system format.
struct Parts {
    read: bool,
    encoding: Encoding,
    rt: u8,
}

impl Parts {
    fn of(word: u32) -> Self {
        let cut = |lsb: u32, width: u32| u8::try_from(word >> lsb & ((1 << width) - 1)).unwrap_or(0);
        Self {
            read: cut(21, 1) == 1,
            encoding: Encoding { op0: cut(19, 2), op1: cut(16, 3), crn: cut(12, 4), crm: cut(8, 4), op2: cut(5, 3) },
            rt: cut(0, 5),
        }
    }

    fn rt_name(&self) -> String {
        if self.rt == 31 { "xzr".to_owned() } else { format!("x{}", self.rt) }
    }

    /// `sys #3, c7, c14, #1, x0` or `sysl x0, #3, c7, c14, #1`.
    fn sys(&self) -> String {
        let Encoding { op1, crn, crm, op2, .. } = self.encoding;
        if self.read {
            format!("sysl {}, #{op1}, c{crn}, c{crm}, #{op2}", self.rt_name())
        } else if self.rt == 31 {
            format!("sys #{op1}, c{crn}, c{crm}, #{op2}")
        } else {
            format!("sys #{op1}, c{crn}, c{crm}, #{op2}, {}", self.rt_name())
        }
    }

    fn move_of(&self, register: &str) -> String {
        if self.read {
            format!("mrs {}, {}", self.rt_name(), register.to_ascii_lowercase())
        } else {
            format!("msr {}, {}", register.to_ascii_lowercase(), self.rt_name())
        }
    }

    fn fields(&self) -> Vec<FieldReport> {
        let field = |name, msb, lsb, value: u8, meaning| FieldReport::new(name, msb, lsb, value.into(), meaning);
        let Encoding { op0, op1, crn, crm, op2 } = self.encoding;
        let direction = if self.read { "read: sysl, mrs" } else { "write: sys, msr" };
        vec![
            field("L", 21, 21, u8::from(self.read), direction.to_owned()),
            field("op0", 20, 19, op0, String::new()),
            field("op1", 18, 16, op1, String::new()),
            field("CRn", 15, 12, crn, String::new()),
            field("CRm", 11, 8, crm, String::new()),
            field("op2", 7, 5, op2, String::new()),
            field("Rt", 4, 0, self.rt, self.rt_name()),
        ]
    }
}

/// A `GIC`, `GICR` or `GSB` instruction and its assembler line.
fn instruction<'a>(table: &'a RegisterTable, parts: &Parts, findings: &mut Findings) -> Option<(&'a Register, String)> {
    let register = table.registers.iter().find(|register| {
        register.class == Class::GicInstruction && register.location == Location::Encoding(parts.encoding)
    })?;
    let instruction = register.instruction?;
    if (instruction.form == Form::Sysl) != parts.read {
        let (is, other) = if parts.read { ("SYSL", "SYS") } else { ("SYS", "SYSL") };
        findings.problem(
            None,
            format!(
                "{} has this encoding in its {other} form ({:#010x}); the {is} form is not a GICv5 instruction",
                register.name,
                instruction.word(parts.rt)
            ),
            &[],
        );
        super::remarks::disagreements(table, register, findings);
        return None;
    }
    let (mnemonic, operation) = register.name.split_once(' ').unwrap_or((&register.name, ""));
    let (mnemonic, operation) = (mnemonic.to_ascii_lowercase(), operation.to_ascii_lowercase());
    let rt = parts.rt_name();
    let text = match instruction.operand {
        Operand::Result => format!("{mnemonic} {rt}, {operation}"),
        Operand::Xt => format!("{mnemonic} {operation}, {rt}"),
        Operand::None if parts.rt == 31 => format!("{mnemonic} {operation}"),
        Operand::None => format!("{mnemonic} {operation}, {rt}"),
    };
    match instruction.operand {
        Operand::None if parts.rt != 31 => findings.problem(
            Some("Rt"),
            format!("{} has no operand, so Rt is 31 ({:#010x})", register.name, instruction.word(31)),
            if register.name == "GIC CDEOI" { &["INS-4"] } else { &[] },
        ),
        Operand::Result if parts.rt == 31 => {
            findings.remark(
                "the result is dropped: an acknowledged interrupt is active and nobody knows which",
                &["INS-1"],
            );
        }
        Operand::Xt if parts.rt == 31 => {
            findings.problem(
                Some("Rt"),
                "the operand is zero: it names no interrupt, type 0 is reserved",
                &["GEN-1", "INS-11"],
            );
        }
        _ => {}
    }
    super::remarks::of_instruction(table, register, findings);
    Some((register, text))
}

/// `MRS` or `MSR` of a GICv5 register and its assembler line.
fn sysreg<'a>(table: &'a RegisterTable, parts: &Parts, findings: &mut Findings) -> Option<(&'a Register, String)> {
    let register = sysregs_at(table, parts.encoding).find(|register| register.accessed_via.is_none())?;
    match register.access {
        Some(Access::ReadOnly) if !parts.read => {
            findings.problem(None, format!("{} is read-only", register.name), &[]);
        }
        Some(Access::WriteOnly) if parts.read => {
            findings.problem(None, format!("{} is write-only", register.name), &[]);
        }
        _ => {}
    }
    super::remarks::of_sysreg_access(table, register, parts.read, findings);
    Some((register, parts.move_of(&register.name)))
}
