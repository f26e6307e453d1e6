//! The script of a known difference: what it expects of each machine, and running it.

use gicv5_trace::Event;

use super::Known;
use crate::layout::FRAME_BYTES;
use crate::operation::{Answer, Operation, ParseError, TestMachine, Width, number};

/// Whose answers a script is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// QEMU: the values, candidates and pending states of the script.
    Qemu,
    /// A machine that follows the rules: the values after `rule`.
    Rule,
}

/// Why a script does not hold.
#[derive(Debug, thiserror::Error)]
pub enum CheckError<E: std::error::Error> {
    /// A line of the script is not one.
    #[error("line {line} of the script of {name}")]
    Script {
        /// The entry.
        name: &'static str,
        /// Line in the script, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: ParseError,
    },
    /// The machine failed.
    #[error("running the script of {name}")]
    Machine {
        /// The entry.
        name: &'static str,
        /// How.
        #[source]
        source: E,
    },
    /// The machine answers something else.
    #[error("{name}: {operation}: {what} is {found}, the list says {expected}")]
    Answer {
        /// The entry.
        name: &'static str,
        /// The operation.
        operation: Operation,
        /// What was compared.
        what: &'static str,
        /// What the machine answers.
        found: String,
        /// What the list says.
        expected: String,
    },
}

/// One line of a script.
pub(super) struct ScriptLine {
    pub(super) operation: Operation,
    pub(super) qemu: Option<u64>,
    pub(super) rule: Option<u64>,
    pub(super) candidates: Option<u64>,
    pub(super) pending: Option<u64>,
}

pub(super) fn script_line(line: &str) -> Result<ScriptLine, ParseError> {
    let mut words = line.split_whitespace();
    let operation = Operation::parse(&mut words)?;
    let mut expected = ScriptLine { operation, qemu: None, rule: None, candidates: None, pending: None };
    while let Some(word) = words.next() {
        let slot = match word {
            "qemu" => &mut expected.qemu,
            "rule" => &mut expected.rule,
            "candidates" => &mut expected.candidates,
            "pending" => &mut expected.pending,
            other => return Err(ParseError::Trailing(other.to_owned())),
        };
        *slot = Some(number("an expectation", words.next())?);
    }
    Ok(expected)
}

impl Known {
    /// Runs the script on a machine with four PEs; for [`Side::Qemu`] it must trace.
    pub fn check<F: TestMachine>(&self, machine: &mut F, side: Side) -> Result<(), CheckError<F::Error>> {
        let lines = self
            .script
            .lines()
            .enumerate()
            .map(|(index, line)| {
                script_line(line).map_err(|source| CheckError::Script { name: self.id, line: index + 1, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let operations: Vec<Operation> = lines.iter().map(|line| line.operation).collect();
        let answers = machine.run(&operations).map_err(|source| CheckError::Machine { name: self.id, source })?;
        for (line, answer) in lines.iter().zip(&answers) {
            self.check_line(line, answer, side)?;
        }
        Ok(())
    }

    fn check_line<E: std::error::Error>(
        &self,
        line: &ScriptLine,
        answer: &Answer,
        side: Side,
    ) -> Result<(), CheckError<E>> {
        let expect = |what, expected: Option<u64>, found: Option<u64>| match expected {
            Some(expected) if found != Some(expected) => Err(CheckError::Answer {
                name: self.id,
                operation: line.operation,
                what,
                found: found.map_or("missing".to_owned(), |found| format!("{found:#x}")),
                expected: format!("{expected:#x}"),
            }),
            _ => Ok(()),
        };
        if side == Side::Rule {
            return expect("the value", line.rule, answer.value);
        }
        expect("the value", line.qemu, answer.value)?;
        let candidates = answer
            .events
            .iter()
            .filter(|event| matches!(event, Event::IrsCandidate { .. } | Event::IrsNoCandidate { .. }))
            .count();
        expect("the number of candidates", line.candidates, Some(candidates as u64))?;
        let pending = answer.events.iter().rev().find_map(|event| match event {
            Event::SpiState { pending, .. } => Some(u64::from(*pending)),
            _ => None,
        });
        expect("the pending state", line.pending, pending)
    }
}

/// Checks the state after reset: every aligned 32 bit word of the frame against
/// [`RESET`](crate::layout::RESET). Returns offset, value found and value listed of each that differs.
pub fn check_reset<F: TestMachine>(machine: &mut F) -> Result<Vec<(u64, u64, u64)>, F::Error> {
    let sequence: Vec<Operation> =
        (0..FRAME_BYTES).step_by(4).map(|offset| Operation::Read { offset, width: Width::W32 }).collect();
    let answers = machine.run(&sequence)?;
    let listed = |offset| {
        let found = crate::layout::RESET.iter().find(|(register, _)| u64::from(register.offset()) == offset);
        found.map_or(0, |&(_, value)| u64::from(value))
    };
    Ok((0..FRAME_BYTES)
        .step_by(4)
        .zip(answers)
        .map(|(offset, answer)| (offset, answer.value.unwrap_or(0), listed(offset)))
        .filter(|(_, found, listed)| found != listed)
        .collect())
}
