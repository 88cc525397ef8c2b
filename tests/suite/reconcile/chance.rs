//! Chance, from a seed.

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use time::Duration;

/// A source of random choices.
#[derive(Clone, Debug)]
pub struct Chance(TestRng);

impl Chance {
    pub fn new(seed: [u8; 32]) -> Self {
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
    }

    /// Chance from a seed that nobody has tried. Prints it, so that a failure can be repeated.
    pub fn unseen() -> Self {
        let seed = *uuid::Uuid::new_v4().as_bytes();
        println!("seed: {seed:?}");
        Self::new([seed, seed].concat().try_into().expect("32 bytes"))
    }

    /// Another source, independent of this one.
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        Self::new(seed)
    }

    /// A number from 0, below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0.next_u32() % limit
    }

    /// True once in `count` times, on average.
    pub fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == 0
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(u32::try_from(choices.len()).expect("few")) as usize]
    }

    /// A whole number of seconds, up to `limit`.
    pub fn up_to(&mut self, limit: Duration) -> Duration {
        let seconds = u32::try_from(limit.whole_seconds()).expect("not negative");
        Duration::seconds(self.below(seconds + 1).into())
    }
}
