//! Running one sequence on two machines.

use std::fmt;

use gicv5_trace::Event;

use crate::operation::{Answer, Operation, TestMachine, Verdict, pieces};

/// What two machines disagree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disagreement {
    /// They read different values: the reference's and the subject's.
    Value {
        /// Value the reference read.
        reference: Option<u64>,
        /// Value the subject read.
        subject: Option<u64>,
    },
    /// The reference's trace says what does not hold in the subject.
    Event {
        /// What it says.
        reference: Event,
        /// What holds in the subject, in words.
        subject: String,
    },
}

/// The first place where two machines differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Index of the operation in the sequence.
    pub index: usize,
    /// The operation.
    pub operation: Operation,
    /// What they disagree on.
    pub on: Disagreement,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {} ({}): ", self.index, self.operation)?;
        let value = |value: &Option<u64>| match value {
            Some(value) => format!("{value:#x}"),
            None => "nothing".to_owned(),
        };
        match &self.on {
            Disagreement::Value { reference, subject } => {
                write!(f, "the reference reads {}, the subject {}", value(reference), value(subject))
            }
            Disagreement::Event { reference, subject } => {
                write!(f, "the reference says {reference}; the subject: {subject}")
            }
        }
    }
}

/// Counts of one or many comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Sequences that were compared.
    pub sequences: u64,
    /// Operations that were performed on both machines.
    pub operations: u64,
    /// Values read and trace events that were compared.
    pub checks: u64,
    /// Trace events the subject could not compare.
    pub not_comparable: u64,
    /// Disagreements that the list of known differences explains.
    pub explained: u64,
}

/// Which of the two machines failed.
#[derive(Debug, thiserror::Error)]
pub enum CompareError<R: std::error::Error, S: std::error::Error> {
    /// The reference.
    #[error("the reference machine failed")]
    Reference(#[source] R),
    /// The subject.
    #[error("the subject machine failed")]
    Subject(#[source] S),
    /// The reference did not answer every operation.
    #[error("the reference machine gave {answers} answers to {operations} operations")]
    Short {
        /// Answers received.
        answers: usize,
        /// Operations sent.
        operations: usize,
    },
}

/// Runs `sequence` on both machines and returns the first difference that `explain` does not account for.
///
/// `explain` sees the operations up to and including the one that differs, and the disagreement.
pub fn compare<R: TestMachine, S: TestMachine>(
    reference: &mut R,
    subject: &mut S,
    sequence: &[Operation],
    tally: &mut Tally,
    mut explain: impl FnMut(&[Operation], &Disagreement) -> bool,
) -> Result<Option<Difference>, CompareError<R::Error, S::Error>> {
    let answers = reference.run(sequence).map_err(CompareError::Reference)?;
    if answers.len() != sequence.len() {
        return Err(CompareError::Short { answers: answers.len(), operations: sequence.len() });
    }
    subject.reset().map_err(CompareError::Subject)?;
    tally.sequences += 1;
    for (index, (operation, expected)) in sequence.iter().zip(&answers).enumerate() {
        let answer = subject.perform(operation).map_err(CompareError::Subject)?;
        tally.operations += 1;
        let mut disagreements = Vec::new();
        if expected.value.is_some() || answer.value.is_some() {
            tally.checks += 1;
            if expected.value != answer.value {
                disagreements.push(Disagreement::Value { reference: expected.value, subject: answer.value });
            }
        }
        for event in last_words(expected) {
            match subject.confirm(event).map_err(CompareError::Subject)? {
                Verdict::Agrees => tally.checks += 1,
                Verdict::NotComparable => tally.not_comparable += 1,
                Verdict::Differs(subject) => {
                    tally.checks += 1;
                    disagreements.push(Disagreement::Event { reference: *event, subject });
                }
            }
        }
        let so_far = sequence.get(..=index).unwrap_or_default();
        for on in disagreements {
            if explain(so_far, &on) {
                tally.explained += 1;
            } else {
                return Ok(Some(Difference { index, operation: *operation, on }));
            }
        }
    }
    Ok(None)
}

/// The events of an answer that are still true at its end: the last one about each thing.
fn last_words(answer: &Answer) -> impl Iterator<Item = &Event> {
    let same_thing = |a: &Event, b: &Event| match (a, b) {
        (Event::SpiState { spi: a, .. }, Event::SpiState { spi: b, .. }) => a == b,
        (
            Event::IrsCandidate { iaffid: a, .. } | Event::IrsNoCandidate { iaffid: a, .. },
            Event::IrsCandidate { iaffid: b, .. } | Event::IrsNoCandidate { iaffid: b, .. },
        ) => a == b,
        (Event::IstValid { .. } | Event::IstInvalid { .. }, Event::IstValid { .. } | Event::IstInvalid { .. }) => true,
        _ => false,
    };
    answer.events.iter().enumerate().filter_map(move |(index, event)| {
        let superseded = answer.events.iter().skip(index + 1).any(|later| same_thing(event, later));
        (!superseded).then_some(event)
    })
}

/// The aligned pieces of every frame write in `operations`, in order: offset, width and value.
///
/// What an explanation of a difference looks at, because an unaligned write reaches the IRS as several.
pub fn frame_writes(operations: &[Operation]) -> impl Iterator<Item = (u64, crate::Width, u64)> {
    operations.iter().flat_map(|operation| {
        let cut: Vec<_> = match *operation {
            Operation::Write { offset, width, value } => pieces(offset, width)
                .map(|(at, piece)| (at, piece, piece.truncate(value >> ((at - offset) * 8))))
                .collect(),
            _ => Vec::new(),
        };
        cut
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Width, WireLevel};
    use gicv5_arch::Spi;
    use std::convert::Infallible;

    /// A machine with one register that may stick, and one wire.
    #[derive(Default)]
    struct Toy {
        sticks_at: Option<u64>,
        register: u64,
        wire: Option<(u32, WireLevel)>,
    }

    impl TestMachine for Toy {
        type Error = Infallible;
        fn reset(&mut self) -> Result<(), Infallible> {
            self.register = 0;
            self.wire = None;
            Ok(())
        }
        fn perform(&mut self, operation: &Operation) -> Result<Answer, Infallible> {
            let mut answer = Answer::default();
            match *operation {
                Operation::Read { width, .. } => answer.value = Some(width.truncate(self.register)),
                Operation::Write { value, .. } if self.sticks_at != Some(self.register) => self.register = value,
                Operation::Line { spi, level } => {
                    self.wire = Some((spi, level));
                    let spi = Spi::new(spi).unwrap();
                    let state =
                        |pending| Event::SpiState { spi, high: level == WireLevel::High, pending, active: false };
                    // The first event is overtaken by the second within the same operation.
                    answer.events = vec![state(false), state(true)];
                }
                _ => {}
            }
            Ok(answer)
        }
        fn confirm(&mut self, event: &Event) -> Result<Verdict, Infallible> {
            Ok(match event {
                Event::SpiState { pending: true, .. } => Verdict::Agrees,
                Event::SpiState { .. } => Verdict::Differs("pending".into()),
                _ => Verdict::NotComparable,
            })
        }
    }

    const WRITE: fn(u64) -> Operation = |value| Operation::Write { offset: 0, width: Width::W32, value };
    const READ: Operation = Operation::Read { offset: 0, width: Width::W32 };

    #[test]
    fn equal_machines_have_no_difference_and_every_read_counts() {
        let sequence = [WRITE(1), READ, Operation::Line { spi: 3, level: WireLevel::High }, READ];
        let mut tally = Tally::default();
        let found = compare(&mut Toy::default(), &mut Toy::default(), &sequence, &mut tally, |_, _| false);
        assert_eq!(found.unwrap(), None);
        assert_eq!(tally, Tally { sequences: 1, operations: 4, checks: 3, ..Tally::default() });
    }

    #[test]
    fn the_first_difference_is_found_unless_it_is_explained() {
        let sequence = [WRITE(7), READ, WRITE(9), READ];
        let mut stuck = Toy { sticks_at: Some(7), ..Toy::default() };
        let mut tally = Tally::default();
        let found = compare(&mut stuck, &mut Toy::default(), &sequence, &mut tally, |_, _| false).unwrap();
        let expected = Disagreement::Value { reference: Some(7), subject: Some(9) };
        assert_eq!(found, Some(Difference { index: 3, operation: READ, on: expected.clone() }));
        let explained = compare(&mut stuck, &mut Toy::default(), &sequence, &mut tally, |so_far, on| {
            so_far.len() == 4 && *on == expected
        });
        assert_eq!((explained.unwrap(), tally.explained), (None, 1));
    }

    #[test]
    fn an_unaligned_write_is_seen_in_its_aligned_pieces() {
        let write = Operation::Write { offset: 0x182, width: Width::W64, value: 0x1122_3344_5566_7788 };
        let writes: Vec<_> = frame_writes(&[write]).collect();
        assert_eq!(
            writes,
            [(0x182, Width::W16, 0x7788), (0x184, Width::W32, 0x3344_5566), (0x188, Width::W16, 0x1122)]
        );
    }
}
