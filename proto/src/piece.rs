//! [`BlobLayout`], [`PieceIndex`], [`PieceSet`]: the division of a blob into pieces.

use std::fmt;

use thiserror::Error;

use crate::limits::BLOB_BYTES_MAX;

/// Length of every piece but a blob's last, in bytes. It is fixed, so that all nodes compute the same states.
pub const PIECE_LEN: u64 = 1 << 20;

/// The size of a blob, which determines its pieces. A value of this type proves that the size is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobLayout {
    size: u64,
}

/// A blob is larger than [`BLOB_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("blob of {size} bytes is larger than the limit of {BLOB_BYTES_MAX} bytes")]
pub struct BlobTooLarge {
    pub size: u64,
}

/// The index of a piece in its blob, counted from 0. It comes from a [`BlobLayout`] or a [`PieceSet`], so the piece exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(u32);

impl BlobLayout {
    /// Returns the layout of a blob of `size` bytes.
    ///
    /// # Errors
    /// If `size` is above [`BLOB_BYTES_MAX`].
    pub fn new(size: u64) -> Result<Self, BlobTooLarge> {
        if size > BLOB_BYTES_MAX { Err(BlobTooLarge { size }) } else { Ok(Self { size }) }
    }

    /// Returns the blob's size in bytes.
    pub const fn size(self) -> u64 {
        self.size
    }

    /// Returns the number of pieces, at least 1: the empty blob has one empty piece.
    pub fn piece_count(self) -> u32 {
        u32::try_from(self.size.div_ceil(PIECE_LEN).max(1)).expect("1 TiB has 2^20 pieces")
    }

    /// Returns piece `index`, or `None` if the blob has no such piece.
    pub fn piece(self, index: u32) -> Option<PieceIndex> {
        (index < self.piece_count()).then_some(PieceIndex(index))
    }

    /// Returns the last piece.
    pub fn last(self) -> PieceIndex {
        PieceIndex(self.piece_count() - 1)
    }

    /// Returns the pieces in order.
    pub fn pieces(self) -> impl DoubleEndedIterator<Item = PieceIndex> {
        (0..self.piece_count()).map(PieceIndex)
    }

    /// Returns the offset of `piece`, in bytes from the blob's start.
    pub const fn offset(self, piece: PieceIndex) -> u64 {
        piece.0 as u64 * PIECE_LEN
    }

    /// Returns the length of `piece` in bytes: [`PIECE_LEN`], or less for the last one.
    pub fn piece_len(self, piece: PieceIndex) -> usize {
        let left = self.size.saturating_sub(self.offset(piece));
        usize::try_from(left.min(PIECE_LEN)).expect("a piece is at most 1 MiB")
    }
}

impl PieceIndex {
    /// Returns the index as a number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A set of pieces of one blob, as a bitmap.
#[derive(Clone, PartialEq, Eq)]
pub struct PieceSet {
    len: u32,
    count: u32,
    words: Vec<u64>,
}

/// Why some bytes are not a bitmap of the expected number of pieces.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PieceSetError {
    #[error("bitmap has {length} bytes, expected {expected}")]
    Length { length: usize, expected: usize },
    #[error("bitmap has bits beyond the last piece")]
    BitsBeyondEnd,
}

impl PieceSet {
    /// Returns the empty set for a blob of `len` pieces.
    pub fn new(len: u32) -> Self {
        Self { len, count: 0, words: vec![0; len.div_ceil(64) as usize] }
    }

    /// Returns the set of all pieces of a blob of `len` pieces.
    pub fn full(len: u32) -> Self {
        let mut set = Self { len, count: len, words: vec![u64::MAX; len.div_ceil(64) as usize] };
        if let Some(last) = set.words.last_mut() {
            *last >>= (64 - len % 64) % 64;
        }
        set
    }

    /// Returns the number of pieces of the blob.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Returns the number of pieces in the set.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Returns whether no piece is in the set.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns whether every piece is in the set.
    pub const fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Returns piece `index` of the blob, in the set or not; `None` if the blob has no such piece.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.len).then_some(PieceIndex(index))
    }

    /// Returns whether `piece` is in the set. A piece beyond the blob's end is not.
    pub fn contains(&self, piece: PieceIndex) -> bool {
        self.words.get((piece.0 / 64) as usize).is_some_and(|word| word >> (piece.0 % 64) & 1 == 1)
    }

    /// Adds `piece`, and returns whether it was absent. Does not add a piece beyond the blob's end.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        let missing = piece.0 < self.len && !self.contains(piece);
        if missing {
            self.words[(piece.0 / 64) as usize] |= 1 << (piece.0 % 64);
            self.count += 1;
        }
        missing
    }

    /// Removes `piece`, and returns whether it was present.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        let there = self.contains(piece);
        if there {
            self.words[(piece.0 / 64) as usize] &= !(1 << (piece.0 % 64));
            self.count -= 1;
        }
        there
    }

    /// Returns the pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        Self::bits(&self.words, self.len, |word| word)
    }

    /// Returns the pieces not in the set, in order.
    pub fn iter_missing(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        Self::bits(&self.words, self.len, |word| !word)
    }

    fn bits(words: &[u64], len: u32, view: fn(u64) -> u64) -> impl Iterator<Item = PieceIndex> + '_ {
        words
            .iter()
            .zip((0u32..).step_by(64))
            .flat_map(move |(word, base)| {
                let mut left = view(*word);
                std::iter::from_fn(move || {
                    let bit = (left != 0).then(|| left.trailing_zeros())?;
                    left &= left - 1;
                    Some(PieceIndex(base + bit))
                })
            })
            .take_while(move |piece| piece.0 < len)
    }

    /// Returns the set as words. Piece 0 is the lowest bit of the first word; bits beyond the last piece are 0.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Returns the set as a bitmap. Piece 0 is the lowest bit of the first byte; bits beyond the last piece are 0.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8) as usize);
        bytes
    }

    /// Parses the bitmap of a blob of `len` pieces.
    ///
    /// # Errors
    /// If `bytes` are not `ceil(len / 8)` bytes, or have a bit beyond the last piece.
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Result<Self, PieceSetError> {
        let expected = len.div_ceil(8) as usize;
        if bytes.len() != expected {
            return Err(PieceSetError::Length { length: bytes.len(), expected });
        }
        if !len.is_multiple_of(8) && bytes.last().is_some_and(|last| last >> (len % 8) != 0) {
            return Err(PieceSetError::BitsBeyondEnd);
        }
        let words: Vec<u64> = bytes
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            })
            .collect();
        let count = words.iter().map(|word| word.count_ones()).sum();
        Ok(Self { len, count, words })
    }
}

impl fmt::Debug for PieceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} pieces", self.count, self.len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_at_the_edges() {
        let cut = |size| BlobLayout::new(size).map(|it| (it.piece_count(), it.piece_len(it.last())));
        assert_eq!(cut(0), Ok((1, 0)));
        assert_eq!(cut(PIECE_LEN), Ok((1, 1 << 20)));
        assert_eq!(cut(PIECE_LEN + 1), Ok((2, 1)));
        assert_eq!(cut(BLOB_BYTES_MAX), Ok((1 << 20, 1 << 20)));
        assert_eq!(cut(BLOB_BYTES_MAX + 1), Err(BlobTooLarge { size: BLOB_BYTES_MAX + 1 }));
    }

    #[test]
    fn a_bitmap_says_nothing_beyond_its_end() {
        assert_eq!(PieceSet::from_bytes(9, &[0xff, 0x01]), Ok(PieceSet::full(9)));
        assert_eq!(PieceSet::from_bytes(9, &[0xff, 0x02]), Err(PieceSetError::BitsBeyondEnd));
        assert_eq!(PieceSet::from_bytes(9, &[0xff]), Err(PieceSetError::Length { length: 1, expected: 2 }));
    }

    proptest! {
        #[test]
        fn a_set_is_a_set(len in 1u32..300, picks in prop::collection::vec(0u32..300, 0..300)) {
            let mut set = PieceSet::new(len);
            let mut model = std::collections::BTreeSet::new();
            for pick in picks {
                let piece = PieceIndex(pick);
                if model.contains(&pick) {
                    prop_assert!(set.remove(piece));
                    model.remove(&pick);
                } else {
                    prop_assert_eq!(set.insert(piece), pick < len);
                    if pick < len { model.insert(pick); }
                }
            }
            prop_assert_eq!(set.count() as usize, model.len());
            prop_assert_eq!(set.iter().map(PieceIndex::get).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.iter_missing().count() as u32, len - set.count());
            prop_assert_eq!(PieceSet::from_bytes(len, &set.to_bytes()), Ok(set));
            prop_assert!(PieceSet::full(len).is_full());
            prop_assert_eq!(PieceSet::full(len).iter().count() as u32, len);
        }
    }
}
