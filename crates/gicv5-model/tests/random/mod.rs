//! Random operations on the model and on something naive beside it, which have to agree.

pub(crate) mod state;

use std::convert::Infallible;
use std::fmt::Debug;

use gicv5_random::{Rng, shrink};

pub(crate) use state::{Change, State, most_urgent};

/// Operations in a run, which has a seed and a setting of its own.
const OPS_PER_RUN: u64 = 1_000;

/// After how many operations the two differ, and how; `None` if they do not.
pub(crate) type Difference = Option<(usize, String)>;

/// Lets both do random operations, `GICV5_REFERENCE_OPERATIONS` in all from the seed `GICV5_REFERENCE_SEED` on. If they differ, the
/// fewest operations that show it are the error.
pub(crate) fn agree<S: Copy + Debug, Op: Copy + Debug>(
    some_setting: impl Fn(u64, &mut Rng) -> S,
    some_op: impl Fn(&mut Rng) -> Op,
    run: impl Fn(S, u64, &[Op]) -> Difference,
) -> Result<(), String> {
    let runs = from_environment("GICV5_REFERENCE_OPERATIONS", 60_000).div_ceil(OPS_PER_RUN);
    let first = from_environment("GICV5_REFERENCE_SEED", 0);
    for seed in first..first + runs {
        let mut rng = Rng::new(seed);
        let setting = some_setting(seed, &mut rng);
        let mut ops: Vec<Op> = (0..OPS_PER_RUN).map(|_| some_op(&mut rng)).collect();
        if let Some((n, difference)) = run(setting, seed, &ops) {
            ops.truncate(n);
            let mut shortest = difference;
            let shows = |ops: &[Op]| {
                let found = run(setting, seed, ops).map(|(_, difference)| shortest = difference);
                Ok::<_, Infallible>(found.is_some())
            };
            let Ok(ops) = shrink(&ops, usize::MAX, |_| Vec::new(), shows);
            return Err(format!("seed {seed}: {shortest}\nafter {ops:#?}\nunder {setting:#?}"));
        }
    }
    Ok(())
}

/// A number that may be set from outside.
pub(crate) fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.replace('_', "").parse().unwrap())
}

/// One of these.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}
