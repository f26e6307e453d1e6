//! Shortening a sequence that fails.
//!
//! Delta debugging (Zeller and Hildebrandt, 2002): remove ever smaller runs of items as long as the failure stays, then
//! make each remaining item simpler. The result is 1-minimal: without any one item, or with any one item simpler, the
//! sequence no longer fails.

use alloc::vec::Vec;

/// Shortens `sequence`, which fails, to a sequence that still fails.
///
/// `fails` is asked about candidates, at most `budget` times; the last candidate for which it said yes is the result.
/// Its first error ends the search and is returned. `simpler` gives the simpler forms of an item, the simplest first; each
/// must be strictly simpler than the item, so that the search ends.
///
/// # Errors
///
/// The first error of `fails`.
pub fn shrink<T: Clone, E>(
    sequence: &[T],
    budget: usize,
    simpler: impl Fn(&T) -> Vec<T>,
    mut fails: impl FnMut(&[T]) -> Result<bool, E>,
) -> Result<Vec<T>, E> {
    let mut best = sequence.to_vec();
    let mut left = budget;
    let mut ask = |candidate: &[T]| {
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        fails(candidate)
    };
    // A simpler item may let another go.
    while remove(&mut best, &mut ask)? | simplify(&mut best, &simpler, &mut ask)? {}
    Ok(best)
}

/// Removes runs of items, the longest first, the last one first: what follows a failure goes at once.
fn remove<T: Clone, E>(best: &mut Vec<T>, ask: &mut impl FnMut(&[T]) -> Result<bool, E>) -> Result<bool, E> {
    let before = best.len();
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
        run /= 2;
    }
    Ok(best.len() != before)
}

/// Replaces items by simpler ones.
fn simplify<T: Clone, E>(
    best: &mut Vec<T>,
    simpler: impl Fn(&T) -> Vec<T>,
    ask: &mut impl FnMut(&[T]) -> Result<bool, E>,
) -> Result<bool, E> {
    let mut changed = false;
    for index in 0..best.len() {
        'again: while let Some(item) = best.get(index) {
            for form in simpler(item) {
                let mut candidate = best.clone();
                if let Some(slot) = candidate.get_mut(index) {
                    *slot = form;
                }
                if ask(&candidate)? {
                    *best = candidate;
                    changed = true;
                    continue 'again;
                }
            }
            break;
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use alloc::vec;
    use core::convert::Infallible;

    fn without_one_bit(item: &u64) -> Vec<u64> {
        let fewer = (0..64).rev().map(|bit| item & !(1 << bit));
        fewer.filter(|form| form != item).collect()
    }

    #[test]
    fn the_items_that_matter_are_all_that_is_left() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let sequence: Vec<u64> = (0..40).collect();
            let wanted: Vec<u64> = sequence.iter().copied().filter(|_| rng.chance(1, 10)).collect();
            let short = shrink(
                &sequence,
                usize::MAX,
                |_| Vec::new(),
                |candidate| Ok::<_, Infallible>(wanted.iter().all(|item| candidate.contains(item))),
            );
            assert_eq!(short, Ok(wanted));
        }
    }

    #[test]
    fn no_item_of_the_result_can_be_removed() {
        // A failure that depends on a property of the whole: removing one item often hides it.
        for modulus in 2_u64..6 {
            let fails = |candidate: &[u64]| !candidate.is_empty() && (candidate.len() as u64).is_multiple_of(modulus);
            let sequence: Vec<u64> = (0..60).collect();
            let short =
                shrink(&sequence, usize::MAX, |_| Vec::new(), |candidate| Ok::<_, Infallible>(fails(candidate)));
            let short = short.unwrap();
            assert!(fails(&short));
            for index in 0..short.len() {
                let mut fewer = short.clone();
                fewer.remove(index);
                assert!(!fails(&fewer));
            }
        }
    }

    #[test]
    fn an_item_loses_every_bit_that_does_not_matter_and_then_lets_others_go() {
        let short = shrink(&[0xdead_beef], usize::MAX, without_one_bit, |candidate| {
            Ok::<_, Infallible>(matches!(candidate, [value] if value & 0x8001 == 0x8001))
        });
        assert_eq!(short, Ok(vec![0x8001]));
        // The second item is needed only while the first has bits beyond the lowest.
        let short = shrink(&[7, 1], usize::MAX, without_one_bit, |candidate| {
            Ok::<_, Infallible>(matches!(candidate, [first, 1] if first & 1 == 1) || candidate == [1])
        });
        assert_eq!(short, Ok(vec![1]));
    }

    #[test]
    fn the_budget_bounds_the_questions_and_an_error_ends_the_search() {
        let sequence: Vec<u64> = (0..50).collect();
        let mut asked = 0;
        let short = shrink(&sequence, 7, without_one_bit, |_| {
            asked += 1;
            Ok::<_, Infallible>(false)
        });
        assert_eq!((short, asked), (Ok(sequence.clone()), 7));
        assert_eq!(shrink(&sequence, 7, without_one_bit, |_| Err("gone")), Err("gone"));
    }
}
