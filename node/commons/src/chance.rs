//! [`Chance`]: randomness as an input. Equal seeds give equal decisions.

/// A stream of numbers from a seed (SplitMix64). The seed is not public: a peer that foresaw the pieces that it will be
/// asked for could keep only those.
///
/// `reg-transfer` has such a stream for its own ties. Crates of decisions depend on `reg-proto` only, so each has its own.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Returns the stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, 0 where there is none.
    pub const fn below(&mut self, end: u64) -> u64 {
        // The high half of a product is as even as 64 bits allow, and needs no division.
        ((self.next() as u128 * end as u128) >> 64) as u64
    }

    /// Returns a number from 0 to below 1.
    pub const fn share(&mut self) -> f64 {
        // 53 bits are what a double holds exactly.
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns true with a probability; never at 0 or below, always at 1 or above.
    pub const fn is_true_with(&mut self, probability: f64) -> bool {
        self.share() < probability
    }
}
