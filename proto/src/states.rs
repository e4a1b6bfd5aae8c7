//! Piece states: the SHA-256 chaining value after every piece of a blob but the last.
//!
//! SHA-256 is a chain (FIPS 180-4, section 6.2): `S(0) = IV`, `S(i+1) = compress*(S(i), piece i)`, and the digest closes
//! it with the padding. A node that has `S(i)` and `S(i+1)` can verify piece `i` alone, in any order and on any core. Once
//! all pieces are verified, so is the whole blob, without a second pass: the chain starts at the IV and ends in the digest.
//! Until then a list of states is only a claim. [`PieceStates::parting`] finds the piece that shows which of two lists is
//! false.

use std::fmt;
use std::sync::Arc;

use reg_sha256x2::{BLOCK_LEN, Block, compress, compress2};
use thiserror::Error;

use crate::digest::Digest;
use crate::piece::{BlobLayout, BlobTooLarge, PIECE_LEN, PieceIndex};

/// Length of one state in bytes: eight big-endian 32-bit words, as in a digest.
pub const STATE_LEN: usize = 32;

/// H(0) of SHA-256, FIPS 180-4 section 5.3.3.
const IV: State = State([
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
]);

#[derive(Clone, Copy, PartialEq, Eq)]
struct State([u32; 8]);

impl State {
    fn to_bytes(self) -> [u8; STATE_LEN] {
        let mut bytes = [0; STATE_LEN];
        for (place, word) in bytes.chunks_exact_mut(4).zip(self.0) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; STATE_LEN]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let mut state = [0; 8];
        for (word, bytes) in state.iter_mut().zip(words) {
            *word = u32::from_be_bytes(*bytes);
        }
        Self(state)
    }

    /// Closes the chain with `rest`, the bytes after the last whole block, the padding, and the blob's length.
    fn close(mut self, rest: &[u8], size: u64) -> Digest {
        let mut padded = [0; 2 * BLOCK_LEN];
        padded[..rest.len()].copy_from_slice(rest);
        padded[rest.len()] = 0x80;
        let end = if rest.len() < BLOCK_LEN - 8 { BLOCK_LEN } else { 2 * BLOCK_LEN };
        padded[end - 8..end].copy_from_slice(&(size * 8).to_be_bytes());
        compress(&mut self.0, padded[..end].as_chunks().0);
        Digest::from_bytes(self.to_bytes())
    }
}

/// The states of one blob: `piece_count - 1` chaining values. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PieceStates {
    layout: BlobLayout,
    states: Arc<[[u8; STATE_LEN]]>,
}

/// A list of states has the wrong length for a blob of that size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("list of states has {length} bytes, a blob of {size} bytes needs {expected}")]
pub struct StatesError {
    pub size: u64,
    pub length: usize,
    pub expected: usize,
}

impl PieceStates {
    /// Returns the length in bytes of the states of a blob with this layout: 32 for each piece but the last.
    pub fn byte_len(layout: BlobLayout) -> usize {
        (layout.piece_count() as usize - 1) * STATE_LEN
    }

    /// Parses the states of a blob with this layout. They are a claim until all pieces are verified.
    ///
    /// # Errors
    /// If the length is not [`Self::byte_len`].
    pub fn parse(layout: BlobLayout, bytes: &[u8]) -> Result<Self, StatesError> {
        let expected = Self::byte_len(layout);
        if bytes.len() != expected {
            return Err(StatesError { size: layout.size(), length: bytes.len(), expected });
        }
        Ok(Self { layout, states: bytes.as_chunks().0.into() })
    }

    /// Returns the states as peers exchange them: 32 big-endian bytes each, in order.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.states.concat()
    }

    /// Returns the digest of [`Self::to_bytes`], which names this list.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// Returns the layout of the blob.
    pub const fn layout(&self) -> BlobLayout {
        self.layout
    }

    /// Returns whether `bytes` are piece `piece` of the blob named `blob`, provided that these are its states.
    pub fn verify(&self, blob: &Digest, piece: PieceIndex, bytes: &[u8]) -> bool {
        let claim = Claim { states: self, blob, piece, bytes };
        let Some((mut state, blocks)) = claim.begin() else { return false };
        compress(&mut state.0, blocks);
        claim.holds(state)
    }

    /// Returns the piece that settles a dispute between two lists for one blob, or `None` if they are equal.
    ///
    /// It is the last piece before which the lists differ. After it they agree, up to the digest, so the true bytes of this
    /// piece pass under at most one of the lists.
    pub fn parting(&self, other: &Self) -> Option<PieceIndex> {
        let last = self.states.iter().zip(other.states.iter()).rposition(|(mine, theirs)| mine != theirs)?;
        self.layout.piece(u32::try_from(last + 1).ok()?)
    }
}

impl fmt::Debug for PieceStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states of a blob of {} bytes", self.states.len(), self.layout.size())
    }
}

/// A claim that some bytes are a piece of a blob with these states.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub states: &'a PieceStates,
    pub blob: &'a Digest,
    pub piece: PieceIndex,
    pub bytes: &'a [u8],
}

impl<'a> Claim<'a> {
    /// Verifies two pieces, of one blob or of two, and returns whether each passes.
    ///
    /// One core does this nearly as fast as one piece, because the rounds of the two are interleaved.
    pub fn verify_two(first: Self, second: Self) -> (bool, bool) {
        match (first.begin(), second.begin()) {
            (Some((mut one, blocks)), Some((mut two, others))) => {
                compress2(&mut one.0, blocks, &mut two.0, others);
                (first.holds(one), second.holds(two))
            }
            _ => (first.verify(), second.verify()),
        }
    }

    /// Returns whether the claim holds.
    pub fn verify(self) -> bool {
        self.states.verify(self.blob, self.piece, self.bytes)
    }

    /// Returns the state before the piece, and its whole blocks; `None` if the bytes have the wrong length.
    fn begin(&self) -> Option<(State, &'a [Block])> {
        let layout = self.states.layout;
        if self.piece > layout.last() || self.bytes.len() != layout.piece_len(self.piece) {
            return None;
        }
        let before =
            self.piece.get().checked_sub(1).and_then(|before| self.states.states.get(before as usize));
        Some((before.map_or(IV, State::from_bytes), self.bytes.as_chunks().0))
    }

    /// Returns whether `state`, after all whole blocks, is the state or the digest that the piece must end with.
    fn holds(&self, state: State) -> bool {
        match self.states.states.get(self.piece.get() as usize) {
            Some(after) => state.to_bytes() == *after,
            None => {
                let rest = self.bytes.as_chunks::<BLOCK_LEN>().1;
                state.close(rest, self.states.layout.size()) == *self.blob
            }
        }
    }
}

/// Hashes bytes in order, and collects the piece states.
#[derive(Clone)]
pub struct StateHasher {
    state: State,
    /// The bytes since the last whole block.
    rest: [u8; BLOCK_LEN],
    size: u64,
    states: Vec<[u8; STATE_LEN]>,
}

/// The result of a [`StateHasher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    pub digest: Digest,
    pub states: PieceStates,
}

impl StateHasher {
    /// Returns a hasher of the empty input.
    pub const fn new() -> Self {
        Self { state: IV, rest: [0; BLOCK_LEN], size: 0, states: Vec::new() }
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (blocks, later) = self.take(bytes);
            compress(&mut self.state.0, blocks);
            self.keep();
            bytes = later;
        }
    }

    /// Hashes the next bytes of two blobs. One core does this nearly as fast as one blob, by interleaved rounds.
    pub fn update_two(first: &mut Self, mut bytes: &[u8], second: &mut Self, mut others: &[u8]) {
        while !bytes.is_empty() && !others.is_empty() {
            let ((blocks, later), (other_blocks, others_later)) = (first.take(bytes), second.take(others));
            compress2(&mut first.state.0, blocks, &mut second.state.0, other_blocks);
            first.keep();
            second.keep();
            (bytes, others) = (later, others_later);
        }
        first.update(bytes);
        second.update(others);
    }

    /// Takes bytes up to the end of the piece. Returns their whole blocks, and the bytes that remain.
    ///
    /// The caller compresses the blocks into the state before it takes more.
    fn take<'a>(&mut self, bytes: &'a [u8]) -> (&'a [Block], &'a [u8]) {
        let to_boundary = PIECE_LEN - self.size % PIECE_LEN;
        let now = usize::try_from(to_boundary).map_or(bytes.len(), |length| length.min(bytes.len()));
        let (mut here, later) = bytes.split_at(now);
        let held = self.held();
        self.size += here.len() as u64;
        if held > 0 {
            let (fill, after) = here.split_at(here.len().min(BLOCK_LEN - held));
            self.rest[held..held + fill.len()].copy_from_slice(fill);
            if held + fill.len() < BLOCK_LEN {
                return (&[], later);
            }
            compress(&mut self.state.0, &[self.rest]);
            here = after;
        }
        let (blocks, rest) = here.as_chunks();
        self.rest[..rest.len()].copy_from_slice(rest);
        (blocks, later)
    }

    /// Stores the state if a piece has ended.
    fn keep(&mut self) {
        if self.size.is_multiple_of(PIECE_LEN) {
            self.states.push(self.state.to_bytes());
        }
    }

    fn held(&self) -> usize {
        (self.size % BLOCK_LEN as u64) as usize
    }

    /// Closes the chain; returns the digest and the states.
    ///
    /// # Errors
    /// If the bytes were more than a blob may have.
    pub fn finish(mut self) -> Result<Hashed, BlobTooLarge> {
        let layout = BlobLayout::new(self.size)?;
        let digest = self.state.close(&self.rest[..self.held()], self.size);
        self.states.truncate(layout.piece_count() as usize - 1);
        Ok(Hashed { digest, states: PieceStates { layout, states: self.states.into() } })
    }
}

impl fmt::Debug for StateHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateHasher").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Default for StateHasher {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(bytes: &[u8]) -> Hashed {
        let mut hasher = StateHasher::new();
        hasher.update(bytes);
        hasher.finish().unwrap()
    }

    fn sample(length: usize, seed: u8) -> Vec<u8> {
        (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 8) as u8) ^ seed).collect()
    }

    fn piece(bytes: &[u8], layout: BlobLayout, piece: PieceIndex) -> &[u8] {
        let start = layout.offset(piece) as usize;
        &bytes[start..start + layout.piece_len(piece)]
    }

    #[test]
    fn verifies_in_reverse_order_and_names_the_changed_piece() {
        let mut bytes = sample(3 * PIECE_LEN as usize + 17, 5);
        let Hashed { digest, states } = hash(&bytes);
        let layout = states.layout();
        assert!(layout.pieces().rev().all(|at| states.verify(&digest, at, piece(&bytes, layout, at))));
        bytes[2 * PIECE_LEN as usize + 99] ^= 1;
        let wrong: Vec<u32> = layout
            .pieces()
            .filter(|at| !states.verify(&digest, *at, piece(&bytes, layout, *at)))
            .map(PieceIndex::get)
            .collect();
        assert_eq!(wrong, [2]);
    }

    #[test]
    fn a_false_list_parts_at_a_piece_that_only_the_true_one_passes() {
        let bytes = sample(4 * PIECE_LEN as usize, 1);
        let Hashed { digest, states } = hash(&bytes);
        let mut forged = states.to_bytes();
        forged[STATE_LEN] ^= 1;
        let forged = PieceStates::parse(states.layout(), &forged).unwrap();
        let at = states.parting(&forged).unwrap();
        assert_eq!(at.get(), 2);
        assert!(states.verify(&digest, at, piece(&bytes, states.layout(), at)));
        assert!(!forged.verify(&digest, at, piece(&bytes, states.layout(), at)));
        assert_eq!(states.parting(&states.clone()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn equals_sha2_however_the_bytes_come(length in 0usize..3_000_000, cut in 1usize..200_000, seed: u8) {
            let bytes = sample(length, seed);
            let mut hasher = StateHasher::new();
            for chunk in bytes.chunks(cut) {
                hasher.update(chunk);
            }
            let Hashed { digest, states } = hasher.finish().unwrap();
            prop_assert_eq!(digest, Digest::of(&bytes));
            prop_assert_eq!(PieceStates::parse(states.layout(), &states.to_bytes()), Ok(states.clone()));
            for at in states.layout().pieces() {
                prop_assert!(states.verify(&digest, at, piece(&bytes, states.layout(), at)));
            }
        }

        #[test]
        fn two_at_once_equal_one_after_the_other(
            lengths in (0usize..3_000_000, 0usize..3_000_000),
            cuts in (1usize..200_000, 1usize..200_000),
            seed: u8,
        ) {
            let (one, two) = (sample(lengths.0, seed), sample(lengths.1, !seed));
            let (mut first, mut second) = (StateHasher::new(), StateHasher::new());
            let (mut here, mut there) = (&one[..], &two[..]);
            while !here.is_empty() || !there.is_empty() {
                let (now, later) = here.split_at(cuts.0.min(here.len()));
                let (other, others) = there.split_at(cuts.1.min(there.len()));
                StateHasher::update_two(&mut first, now, &mut second, other);
                (here, there) = (later, others);
            }
            let (first, second) = (first.finish().unwrap(), second.finish().unwrap());
            prop_assert_eq!(&first, &hash(&one));
            prop_assert_eq!(&second, &hash(&two));
            for (at, other) in first.states.layout().pieces().zip(second.states.layout().pieces()) {
                let bytes = piece(&one, first.states.layout(), at);
                let claim = Claim { states: &first.states, blob: &first.digest, piece: at, bytes };
                let bytes = piece(&two, second.states.layout(), other);
                let right = Claim { states: &second.states, blob: &second.digest, piece: other, bytes };
                let flipped: Vec<u8> = bytes.iter().map(|byte| byte ^ 1).collect();
                let wrong = Claim { bytes: &flipped, ..right };
                prop_assert_eq!(Claim::verify_two(claim, right), (true, true));
                prop_assert_eq!(Claim::verify_two(wrong, claim), (bytes.is_empty(), true));
                prop_assert_eq!(Claim::verify_two(claim, Claim { bytes: &[1], ..right }), (true, bytes == [1]));
            }
        }

        #[test]
        fn equals_sha2_around_block_edges(length in 0usize..400, cut in 1usize..130, seed: u8) {
            let bytes = sample(length, seed);
            let mut hasher = StateHasher::new();
            bytes.chunks(cut).for_each(|chunk| hasher.update(chunk));
            prop_assert_eq!(hasher.finish().unwrap().digest, Digest::of(&bytes));
        }
    }
}
