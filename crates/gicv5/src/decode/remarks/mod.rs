//! What a value means as a whole: illegal values first, then what the rules say about it.
//!
//! The checks of [`generic`] hold for every entry and come from the facts alone. The others know single registers and
//! cite the rules they rest on; a test looks every cited id up.

mod capabilities;
mod commands;
mod cpuif;
mod generic;
mod instructions;
mod its;
mod residency;
mod shapes;
mod spi;
mod status;
mod tables;

use gicv5_facts::{Register, RegisterTable};

use super::register::Subject;
use super::report::Findings;

/// Everything there is to say about a value.
pub(crate) fn all(subject: &Subject<'_>, findings: &mut Findings) {
    generic::check(subject, findings);
    capabilities::remark(subject, findings);
    shapes::remark(subject, findings);
    commands::remark(subject, findings);
    spi::remark(subject, findings);
    tables::remark(subject, findings);
    residency::remark(subject, findings);
    cpuif::remark(subject, findings);
    instructions::remark(subject, findings);
    its::remark(subject, findings);
    status::remark(subject, findings);
    generic::disagreements(subject.table, subject.register, findings);
}

/// What is to be known of an instruction, whatever its operand.
pub(crate) fn of_instruction(table: &RegisterTable, register: &Register, findings: &mut Findings) {
    instructions::always(register, findings);
    generic::disagreements(table, register, findings);
}

/// Where the sources contradict each other.
pub(crate) fn disagreements(table: &RegisterTable, register: &Register, findings: &mut Findings) {
    generic::disagreements(table, register, findings);
}

/// What is to be known when a system register is read or written.
pub(crate) fn of_sysreg_access(table: &RegisterTable, register: &Register, read: bool, findings: &mut Findings) {
    cpuif::virtual_twin(table, register, findings);
    if !read {
        cpuif::synchronisation(register, findings);
    }
}
