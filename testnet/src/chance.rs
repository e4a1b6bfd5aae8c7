//! Random choices from a seed, so that a run can be repeated.

use std::time::Duration;

/// Chance with a seed (xorshift64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Returns the chance of a test, from `REG_SEED` or a new seed. Prints the seed.
    pub fn of_this_run(what: &str) -> Self {
        let seed = std::env::var("REG_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
        println!("{what}: REG_SEED={seed}");
        Self::new(seed)
    }

    /// Returns the chance of a seed.
    pub fn new(seed: u64) -> Self {
        // Zero stays zero for ever, and small seeds begin alike.
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _warm_up in 0..8 {
            chance.next();
        }
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number below `end`, or 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end.max(1)
    }

    /// Returns a time below `max`.
    pub fn time(&mut self, max: Duration) -> Duration {
        max.mul_f64(self.below(10_000) as f64 / 10_000.0)
    }

    /// Returns true in `percent` of 100 cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Returns one of some values.
    ///
    /// # Panics
    /// If there is none.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}
