//! The facts about GICv5 that the project is built on, parsed.
//!
//! Two files hold what is known about the architecture: `facts/registers.toml` lists every register, table entry and
//! instruction with its fields, and `docs/rules.md` numbers the behaviour rules. A third, `facts/qemu.toml`, lists where QEMU
//! differs. They are built into this crate, so a program that uses it needs no file at run time. [`registers()`], [`rules()`]
//! and [`qemu()`] parse them once, at the first call.
//!
//! Parsing is strict: a key that is not known here, a field outside its register or a rule without a source is an
//! error that names the place, because a fact that is silently skipped is a fact nobody checks against.
#![forbid(unsafe_code)]

mod error;
mod qemu;
mod raw;
mod registers;
mod rules;

use std::sync::OnceLock;

pub use error::FactsError;
pub use qemu::{QemuDifference, QemuKind};
pub use registers::{
    Access, Alignment, Class, Disagreement, Encoding, ExceptionLevel, Field, FieldValue, Form, IndexRange, Instruction,
    Limit, Location, Operand, Ppi, Register, RegisterTable, Source, Status, StatusPair, Word,
};
pub use rules::{Basis, Group, Note, Question, Rule, RuleBook, SourceName, SourceRef};

/// The text of `facts/registers.toml`.
pub const REGISTERS_TOML: &str = include_str!("../../../facts/registers.toml");

/// The text of `docs/rules.md`.
pub const RULES_MD: &str = include_str!("../../../docs/rules.md");

/// The register table, parsed at the first call.
///
/// # Errors
///
/// [`FactsError`] if the built-in text is not well formed; every later call gives the same answer.
pub fn registers() -> Result<&'static RegisterTable, FactsError> {
    static TABLE: OnceLock<Result<RegisterTable, FactsError>> = OnceLock::new();
    TABLE.get_or_init(|| RegisterTable::parse(REGISTERS_TOML)).as_ref().map_err(Clone::clone)
}

/// The behaviour rules, parsed at the first call.
///
/// # Errors
///
/// [`FactsError`] if the built-in text is not well formed; every later call gives the same answer.
pub fn rules() -> Result<&'static RuleBook, FactsError> {
    static BOOK: OnceLock<Result<RuleBook, FactsError>> = OnceLock::new();
    BOOK.get_or_init(|| RuleBook::parse(RULES_MD)).as_ref().map_err(Clone::clone)
}

/// Where QEMU differs from the rules, parsed at the first call.
///
/// # Errors
///
/// [`FactsError`] if the built-in text is not well formed; every later call gives the same answer.
pub fn qemu() -> Result<&'static [QemuDifference], FactsError> {
    static DIFFERENCES: OnceLock<Result<Vec<QemuDifference>, FactsError>> = OnceLock::new();
    let parsed = DIFFERENCES.get_or_init(|| qemu::parse(include_str!("../../../facts/qemu.toml")));
    parsed.as_deref().map_err(Clone::clone)
}
