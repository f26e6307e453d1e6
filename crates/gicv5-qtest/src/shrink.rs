//! Shortening a sequence that shows a difference.
//!
//! Delta debugging (Zeller and Hildebrandt, 2002): remove ever smaller runs of operations as long as the
//! difference stays, then make each operation that is left simpler. The result is 1-minimal: no operation
//! can be removed, and no simplification below applies, without losing the difference.

use crate::operation::{Level, Operation, Width};

/// Shortens `sequence`, which `differs`, to a sequence that still differs.
///
/// `differs` is asked about candidates, at most `budget` times; when the budget is used up the shortest one
/// found so far is returned. Its first error ends the search and is returned.
pub fn shrink<E>(
    sequence: &[Operation],
    budget: usize,
    mut differs: impl FnMut(&[Operation]) -> Result<bool, E>,
) -> Result<Vec<Operation>, E> {
    let mut best = sequence.to_vec();
    let mut left = budget;
    let mut ask = |candidate: &[Operation]| {
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        differs(candidate)
    };
    loop {
        let before = best.clone();
        remove(&mut best, &mut ask)?;
        simplify(&mut best, &mut ask)?;
        if best == before {
            return Ok(best);
        }
    }
}

/// Removes runs of operations, the longest first, the last one first: what follows a difference goes at once.
fn remove<E>(best: &mut Vec<Operation>, ask: &mut impl FnMut(&[Operation]) -> Result<bool, E>) -> Result<(), E> {
    let mut run = best.len().next_power_of_two();
    while run > 0 {
        let mut end = best.len();
        while end > 0 {
            let start = end.saturating_sub(run);
            let mut candidate = best.clone();
            candidate.drain(start..end);
            if ask(&candidate)? {
                *best = candidate;
            }
            end = start;
        }
        // A removal may have made an earlier failure possible: stay at single operations until none goes.
        run /= 2;
    }
    Ok(())
}

/// Replaces operations by simpler ones.
fn simplify<E>(best: &mut Vec<Operation>, ask: &mut impl FnMut(&[Operation]) -> Result<bool, E>) -> Result<(), E> {
    for index in 0..best.len() {
        // Each simpler form is strictly simpler than the last, so this ends.
        'again: while let Some(&operation) = best.get(index) {
            for simpler in simpler(operation) {
                let mut candidate = best.clone();
                if let Some(slot) = candidate.get_mut(index) {
                    *slot = simpler;
                }
                if ask(&candidate)? {
                    *best = candidate;
                    continue 'again;
                }
            }
            break;
        }
    }
    Ok(())
}

/// Simpler forms of an operation, the simplest first: value 0, one bit less, SPI 0, wire low.
fn simpler(operation: Operation) -> Vec<Operation> {
    let values = |width: Width, value: u64| {
        let zero = (value != 0).then_some(0);
        let fewer = (0..width.bits()).rev().map(move |bit| value & !(1_u64 << bit));
        zero.into_iter().chain(fewer.filter(move |&fewer| fewer != value))
    };
    match operation {
        // An operand with a bit less is another operation, which may differ for another reason.
        Operation::Read { .. }
        | Operation::Load { .. }
        | Operation::Gic { .. }
        | Operation::ReadSysreg { .. }
        | Operation::WriteSysreg { .. } => Vec::new(),
        Operation::Write { offset, width, value } => {
            values(width, value).map(|value| Operation::Write { offset, width, value }).collect()
        }
        Operation::Store { address, width, value } => {
            values(width, value).map(|value| Operation::Store { address, width, value }).collect()
        }
        Operation::Line { spi, level } => {
            let mut forms = Vec::new();
            if spi != 0 {
                forms.push(Operation::Line { spi: 0, level });
                forms.push(Operation::Line { spi: spi / 2, level });
            }
            if level == Level::High {
                forms.push(Operation::Line { spi, level: Level::Low });
            }
            forms
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Generator;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn count_of(sequence: &[Operation], wanted: &[Operation]) -> usize {
        // Length of the longest prefix of `wanted` that occurs in order.
        let mut wanted = wanted.iter().peekable();
        sequence.iter().filter(|operation| wanted.next_if(|next| next == operation).is_some()).count()
    }

    proptest! {
        #[test]
        fn the_operations_that_matter_are_all_that_is_left(seed: u64, picks in prop::collection::btree_set(0_usize..40, 1..5)) {
            let sequence: Vec<Operation> = Generator::new(seed).sequence(40)
                .into_iter().filter(|operation| matches!(operation, Operation::Read { .. })).collect();
            let wanted: Vec<Operation> = picks.iter().filter_map(|&pick| sequence.get(pick).copied()).collect();
            let short = shrink(&sequence, usize::MAX, |candidate| {
                Ok::<_, Infallible>(count_of(candidate, &wanted) == wanted.len())
            }).unwrap();
            prop_assert_eq!(short, wanted);
        }

        #[test]
        fn the_result_is_one_minimal(seed: u64, modulus in 2_u64..6) {
            // A difference that depends on a property of the whole: removing one operation often hides it.
            let differs = |candidate: &[Operation]| {
                let writes = candidate.iter().filter(|o| matches!(o, Operation::Write { .. })).count() as u64;
                writes > 0 && writes.is_multiple_of(modulus)
            };
            let sequence = Generator::new(seed).sequence(60);
            prop_assume!(differs(&sequence));
            let short = shrink(&sequence, usize::MAX, |candidate| Ok::<_, Infallible>(differs(candidate))).unwrap();
            prop_assert!(differs(&short));
            for index in 0..short.len() {
                let mut fewer = short.clone();
                fewer.remove(index);
                prop_assert!(!differs(&fewer));
            }
        }
    }

    #[test]
    fn values_lose_every_bit_that_does_not_matter() {
        let write = |value| Operation::Write { offset: 0x140, width: Width::W32, value };
        let short = shrink(&[write(0xdead_beef)], usize::MAX, |candidate| {
            Ok::<_, Infallible>(matches!(candidate, [Operation::Write { value, .. }] if value & 0x8001 == 0x8001))
        });
        assert_eq!(short, Ok(vec![write(0x8001)]));
    }

    #[test]
    fn the_budget_bounds_the_questions_and_an_error_ends_the_search() {
        let sequence = Generator::new(1).sequence(50);
        let mut asked = 0;
        let short = shrink(&sequence, 7, |_| {
            asked += 1;
            Ok::<_, Infallible>(false)
        });
        assert_eq!((short, asked), (Ok(sequence.clone()), 7));
        assert_eq!(shrink(&sequence, 7, |_| Err("gone")), Err("gone"));
    }
}
