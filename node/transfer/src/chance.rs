//! [`Chance`]: randomness as an input. Equal seeds give equal decisions.

/// A stream of numbers from a seed (SplitMix64): for ties and shuffles, never for secrets.
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
    pub const fn below(&mut self, end: u32) -> u32 {
        // The high half of a product is as even as 32 bits allow, and needs no division.
        (((self.next() >> 32) * end as u64) >> 32) as u32
    }
}
