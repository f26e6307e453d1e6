//! The generator of random numbers.
//!
//! It is SplitMix64 (Steele, Lea and Flood, 2014): a counter that steps by the golden ratio, and a mixing function over
//! it. It is small, passes the usual test batteries, has no bad seeds, and its state is one number.

/// A seeded generator of random numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator that yields the sequence of this seed. Every seed is good.
    #[must_use]
    pub const fn new(seed: u64) -> Rng {
        Rng { state: seed }
    }

    /// A separate generator for one part of a machine, named by a number.
    ///
    /// It depends on this generator's position and on the number, and this generator does not move: what one part draws
    /// never changes what another part gets.
    #[must_use]
    pub const fn fork(&self, stream: u64) -> Rng {
        Rng { state: mix(self.state ^ mix(stream.wrapping_add(GOLDEN))) }
    }

    /// 64 random bits.
    #[allow(clippy::should_implement_trait)] // Not an iterator: it never ends, and nobody iterates over it.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number below `n`; 0 if `n` is 0. All are equally likely, to within `n` in 2^64.
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.next() as u128 * n as u128) >> 64) as u64
    }

    /// True `num` times in `den`; always if `num` is `den` or more, never if it is 0.
    pub const fn chance(&mut self, num: u64, den: u64) -> bool {
        self.below(den) < num
    }

    /// One of the choices, or `None` if the slice is empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len() as u64) as usize)
    }
}

/// 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_sequence_for_ever() {
        // The published test vector of SplitMix64 for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        let drawn = [(); 5].map(|()| rng.next());
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn a_fork_neither_moves_nor_repeats_its_parent() {
        let mut parent = Rng::new(7);
        let before = parent.clone();
        let (mut a, mut b) = (parent.fork(0), parent.fork(1));
        assert_eq!(parent, before);
        let drawn = [parent.next(), a.next(), b.next()];
        assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
        assert_eq!(before.fork(1).next(), drawn[2]);
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut rng = Rng::new(0);
        let mut count = [0u32; 10];
        for _ in 0..10_000 {
            count[rng.below(10) as usize] += 1;
        }
        assert!(count.iter().all(|&n| (900..1_100).contains(&n)), "{count:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.pick::<u8>(&[]), None);
    }

    #[test]
    fn a_chance_of_none_never_comes_and_a_certainty_always() {
        let mut rng = Rng::new(3);
        assert!((0..1_000).all(|_| !rng.chance(0, 4) && rng.chance(4, 4) && rng.chance(9, 4)));
        let hits = (0..10_000).filter(|_| rng.chance(1, 4)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
    }
}
