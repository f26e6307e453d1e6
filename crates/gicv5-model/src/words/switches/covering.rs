//! Settings that are worth trying: those in which every two positions meet, and random ones.

use gicv5_random::Rng;

use super::Switches;

impl Switches {
    /// Settings in which every two positions of any two switches meet at least once; the first is the default. The same for
    /// ever as long as the switches are.
    ///
    /// There are about as many of them as the two switches with the most positions have combinations, and some more: it is a
    /// greedy covering array, the best of several random candidates each time.
    #[must_use]
    pub fn pairs() -> Vec<Switches> {
        let sizes: Vec<usize> = Switches::ALL.iter().map(|switch| switch.positions.len()).collect();
        covering(&sizes)
            .into_iter()
            .map(|row| {
                let mut switches = Switches::default();
                for (switch, position) in Switches::ALL.iter().zip(row) {
                    switch.set(&mut switches, position);
                }
                switches
            })
            .collect()
    }

    /// A setting drawn by chance.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Switches {
        let mut switches = Switches::default();
        for switch in Switches::ALL {
            switch.set(&mut switches, rng.below(switch.positions.len() as u64) as usize);
        }
        switches
    }
}

/// Pairs of positions of two switches that have not met yet.
struct Uncovered {
    /// Where the positions of each switch begin when all positions are counted through.
    starts: Vec<usize>,
    /// Whether a pair of positions, so counted, is still to come.
    to_come: Vec<bool>,
    positions: usize,
    left: usize,
}

impl Uncovered {
    fn new(sizes: &[usize]) -> Uncovered {
        let mut starts = Vec::new();
        let mut positions = 0;
        for size in sizes {
            starts.push(positions);
            positions += size;
        }
        let mut uncovered = Uncovered { starts, to_come: vec![false; positions * positions], positions, left: 0 };
        for (i, a) in sizes.iter().enumerate() {
            for (j, b) in sizes.iter().enumerate().skip(i + 1) {
                for pair in (0..*a).flat_map(|p| (0..*b).map(move |q| (p, q))) {
                    let at = uncovered.at((i, pair.0), (j, pair.1));
                    if let Some(to_come) = uncovered.to_come.get_mut(at) {
                        *to_come = true;
                        uncovered.left += 1;
                    }
                }
            }
        }
        uncovered
    }

    /// The index of a pair of (switch, position), whichever comes first.
    fn at(&self, a: (usize, usize), b: (usize, usize)) -> usize {
        let (low, high) = if a.0 < b.0 { (a, b) } else { (b, a) };
        let number = |(switch, position): (usize, usize)| self.starts.get(switch).copied().unwrap_or(0) + position;
        number(low) * self.positions + number(high)
    }

    fn is_to_come(&self, a: (usize, usize), b: (usize, usize)) -> bool {
        self.to_come.get(self.at(a, b)).copied().unwrap_or(false)
    }

    /// Takes the pairs of a row as met. Returns how many were new.
    fn meet(&mut self, row: &[usize]) {
        for (i, p) in row.iter().enumerate() {
            for (j, q) in row.iter().enumerate().skip(i + 1) {
                let at = self.at((i, *p), (j, *q));
                if let Some(to_come) = self.to_come.get_mut(at)
                    && core::mem::replace(to_come, false)
                {
                    self.left -= 1;
                }
            }
        }
    }
}

/// Rows that give each of several switches a position, so that every two positions of any two switches meet. The first row
/// is all zero.
fn covering(sizes: &[usize]) -> Vec<Vec<usize>> {
    const CANDIDATES: u32 = 16;
    let mut rng = Rng::new(0);
    let mut uncovered = Uncovered::new(sizes);
    let mut rows = vec![vec![0; sizes.len()]];
    uncovered.meet(&vec![0; sizes.len()]);
    while uncovered.left != 0 {
        let best = (0..CANDIDATES).map(|_| candidate(sizes, &uncovered, &mut rng)).max_by_key(|(new, _)| *new);
        let Some((_, row)) = best else { break };
        uncovered.meet(&row);
        rows.push(row);
    }
    rows
}

/// A row that starts with a pair that has not met and goes on greedily in a random order, and how many pairs meet in it for
/// the first time.
fn candidate(sizes: &[usize], uncovered: &Uncovered, rng: &mut Rng) -> (usize, Vec<usize>) {
    let mut row: Vec<Option<usize>> = vec![None; sizes.len()];
    // A random one of the pairs still to come: two switches and their positions.
    let skip = rng.below(uncovered.left as u64) as usize;
    let number = uncovered.to_come.iter().enumerate().filter(|(_, to_come)| **to_come).nth(skip).map_or(0, |(n, _)| n);
    for n in [number / uncovered.positions, number % uncovered.positions] {
        let switch = uncovered.starts.partition_point(|start| *start <= n) - 1;
        if let (Some(place), Some(start)) = (row.get_mut(switch), uncovered.starts.get(switch)) {
            *place = Some(n - start);
        }
    }
    let mut order: Vec<usize> = (0..sizes.len()).filter(|n| row.get(*n) == Some(&None)).collect();
    for n in (1..order.len()).rev() {
        order.swap(n, rng.below(n as u64 + 1) as usize);
    }
    let mut new = 1;
    for switch in order {
        let positions = sizes.get(switch).copied().unwrap_or(1);
        let first = rng.below(positions as u64) as usize;
        let meets = |position: usize| {
            let others = row.iter().enumerate().filter_map(|(n, other)| Some((n, (*other)?)));
            others.filter(|other| uncovered.is_to_come((switch, position), *other)).count()
        };
        let best = (0..positions).map(|n| (n + first) % positions).max_by_key(|position| meets(*position));
        let best = best.unwrap_or(0);
        new += meets(best);
        if let Some(place) = row.get_mut(switch) {
            *place = Some(best);
        }
    }
    (new, row.into_iter().map(|position| position.unwrap_or(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gicv5_random::Rng;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Every pair of (switch, position) that meets in the rows.
    fn met(rows: &[Vec<usize>]) -> BTreeSet<((usize, usize), (usize, usize))> {
        let mut met = BTreeSet::new();
        for row in rows {
            for i in 0..row.len() {
                for j in i + 1..row.len() {
                    met.insert(((i, row[i]), (j, row[j])));
                }
            }
        }
        met
    }

    fn all_pairs(sizes: &[usize]) -> usize {
        (0..sizes.len()).map(|i| (i + 1..sizes.len()).map(|j| sizes[i] * sizes[j]).sum::<usize>()).sum()
    }

    proptest! {
        #[test]
        fn every_two_positions_of_any_two_switches_meet_and_no_position_is_invented(
            sizes in proptest::collection::vec(1usize..5, 1..20)
        ) {
            let rows = covering(&sizes);
            prop_assert!(rows.iter().all(|row| row.len() == sizes.len()));
            prop_assert!(rows.iter().all(|row| row.iter().zip(&sizes).all(|(position, size)| position < size)));
            prop_assert_eq!(met(&rows).len(), all_pairs(&sizes));
            // Few: all combinations of the two largest are needed, and not many times as many.
            let mut sorted = sizes.clone();
            sorted.sort_unstable();
            let needed = sorted.iter().rev().take(2).product::<usize>();
            prop_assert!(rows.len() <= 4 * needed + 8, "{} rows for {sizes:?}", rows.len());
        }
    }

    #[test]
    fn the_settings_to_try_start_with_the_default_and_let_every_pair_meet() {
        let settings = Switches::pairs();
        assert_eq!(settings[0], Switches::default());
        let rows: Vec<Vec<usize>> =
            settings.iter().map(|setting| Switches::ALL.iter().map(|switch| switch.get(setting)).collect()).collect();
        let sizes: Vec<usize> = Switches::ALL.iter().map(|switch| switch.positions.len()).collect();
        assert_eq!(met(&rows).len(), all_pairs(&sizes));
        assert!(settings.len() <= 32, "{} settings", settings.len());
        assert_eq!(settings, Switches::pairs());
    }

    #[test]
    fn each_switch_sets_its_own_field_and_says_what_its_positions_mean() {
        let mut names = BTreeSet::new();
        for (n, switch) in Switches::ALL.iter().enumerate() {
            assert!(names.insert(switch.name), "{} twice", switch.name);
            assert!(switch.positions.len() >= 2 && !switch.rules.is_empty(), "{}", switch.name);
            assert_eq!(switch.get(&Switches::default()), 0, "{}", switch.name);
            for position in 0..switch.positions.len() {
                let mut switches = Switches::default();
                switch.set(&mut switches, position);
                for (m, other) in Switches::ALL.iter().enumerate() {
                    assert_eq!(other.get(&switches), if m == n { position } else { 0 }, "{}", other.name);
                }
                assert!(!switch.positions[position].meaning.is_empty());
            }
            let mut switches = Switches::default();
            switch.set(&mut switches, usize::MAX);
            assert_eq!(switch.get(&switches), switch.positions.len() - 1);
        }
    }

    #[test]
    fn random_settings_reach_every_position() {
        let mut rng = Rng::new(1);
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let setting = Switches::random(&mut rng);
            seen.extend(Switches::ALL.iter().map(|switch| (switch.name, switch.get(&setting))));
        }
        assert_eq!(seen.len(), Switches::ALL.iter().map(|switch| switch.positions.len()).sum::<usize>());
    }
}
