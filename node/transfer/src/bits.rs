//! [`Bits`]: a set of small numbers, intersected a word at a time.

/// A set of numbers below a length, which the owner knows. `S` stores its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bits<S = Box<[u64]>>(pub(super) S);

impl Bits {
    /// Returns the empty set of numbers below `len`.
    pub(super) fn new(len: u32) -> Self {
        Self(vec![0; len.div_ceil(64) as usize].into_boxed_slice())
    }
}

impl<S: AsMut<[u64]>> Bits<S> {
    pub(super) fn insert(&mut self, index: u32) {
        if let Some(word) = self.0.as_mut().get_mut((index / 64) as usize) {
            *word |= 1 << (index % 64);
        }
    }

    pub(super) fn remove(&mut self, index: u32) {
        if let Some(word) = self.0.as_mut().get_mut((index / 64) as usize) {
            *word &= !(1 << (index % 64));
        }
    }
}

impl<S: AsRef<[u64]>> Bits<S> {
    pub(super) fn contains(&self, index: u32) -> bool {
        self.0.as_ref().get((index / 64) as usize).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Returns how many numbers are in both sets.
    pub(super) fn count_in_both<T: AsRef<[u64]>>(&self, other: &Bits<T>) -> u32 {
        self.0.as_ref().iter().zip(other.0.as_ref()).map(|(one, two)| (one & two).count_ones()).sum()
    }

    /// Returns the numbers in both sets, in order.
    pub(super) fn in_both<'a, T: AsRef<[u64]>>(
        &'a self,
        other: &'a Bits<T>,
    ) -> impl Iterator<Item = u32> + 'a {
        let words = self.0.as_ref().iter().zip(other.0.as_ref());
        words.zip((0u32..).step_by(64)).flat_map(|((one, two), base)| {
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
