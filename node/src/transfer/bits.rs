//! [`Bits`]: a set of small numbers that is intersected a word at a time.

use reg_proto::piece::PieceSet;

/// A set of numbers below a length that its owner knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits(Box<[u64]>);

impl Bits {
    /// Returns the empty set of numbers below `len`.
    pub(super) fn new(len: u32) -> Self {
        Self(vec![0; len.div_ceil(64) as usize].into_boxed_slice())
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        self.0.get((index / 64) as usize).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    pub(super) fn insert(&mut self, index: u32) {
        if let Some(word) = self.0.get_mut((index / 64) as usize) {
            *word |= 1 << (index % 64);
        }
    }

    pub(super) fn remove(&mut self, index: u32) {
        if let Some(word) = self.0.get_mut((index / 64) as usize) {
            *word &= !(1 << (index % 64));
        }
    }

    /// Returns how many numbers are in both sets.
    pub(super) fn count_in_both(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(one, two)| (one & two).count_ones()).sum()
    }

    /// Returns the numbers in both sets, in order.
    pub(super) fn in_both<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        self.0.iter().zip(&other.0).zip((0u32..).step_by(64)).flat_map(|((one, two), base)| {
            let mut left = one & two;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(base + bit)
            })
        })
    }

    /// Returns the numbers in the set, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.in_both(self)
    }
}

impl From<&PieceSet> for Bits {
    fn from(set: &PieceSet) -> Self {
        Self(set.words().into())
    }
}
