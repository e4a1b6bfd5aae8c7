//! [`Holders`]: the pieces of a blob that each peer holds. The rows of all peers lie side by side in memory, because
//! news of a piece are the most frequent input, and waiting for memory takes most of their time.

use reg_proto::piece::PieceSet;

use super::bits::Bits;
use super::unit::Units;

/// The pieces of one blob that peers hold, by the peers' slots.
#[derive(Debug)]
pub(super) struct Holders {
    units: Units,
    /// `None` for a peer that has not said what it holds.
    known: Vec<Option<Known>>,
    /// A bit for each piece.
    pieces: Rows,
    /// A bit for each unit that is held whole; empty where a unit is one piece.
    whole: Rows,
}

/// What a peer has said, beside its pieces.
#[derive(Debug, Clone, Copy)]
struct Known {
    is_seed: bool,
    is_near: bool,
}

/// The pieces and units that one peer holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holding<'a> {
    pub(super) pieces: Bits<&'a [u64]>,
    /// Units that it holds whole.
    pub(super) units: Bits<&'a [u64]>,
    /// It held all pieces when it said what it holds, and is not counted unit by unit.
    pub(super) is_seed: bool,
    pub(super) is_near: bool,
}

/// What a peer gains with one more piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gained {
    /// Nothing: it held the piece already, or the peer is unknown.
    Nothing,
    /// The piece.
    Piece,
    /// The piece, and with it the whole unit.
    Unit { is_near: bool },
}

impl Holders {
    /// Returns an empty table for a blob with `pieces` pieces in these units.
    pub(super) fn new(units: Units, pieces: u32) -> Self {
        let whole = if units.pieces() > 1 { units.count() } else { 0 };
        Self { units, known: Vec::new(), pieces: Rows::new(pieces), whole: Rows::new(whole) }
    }

    /// Returns what a peer holds; `None` where it has not said so.
    pub(super) fn get(&self, slot: u32) -> Option<Holding<'_>> {
        let Known { is_seed, is_near } = (*self.known.get(slot as usize)?)?;
        let pieces = self.pieces.row(slot);
        let units = if self.units.pieces() > 1 { self.whole.row(slot) } else { pieces };
        Some(Holding { pieces, units, is_seed, is_near })
    }

    /// Returns what each peer holds that has said so.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Holding<'_>)> {
        (0..self.known.len() as u32).filter_map(|slot| Some((slot, self.get(slot)?)))
    }

    /// Sets what a peer holds. `pieces` has the length of the blob.
    pub(super) fn insert(&mut self, slot: u32, pieces: &PieceSet, is_near: bool) {
        let slots = self.known.len().max(slot as usize + 1);
        self.known.resize(slots, None);
        self.pieces.grow(slots);
        self.whole.grow(slots);
        self.known[slot as usize] = Some(Known { is_seed: pieces.is_full(), is_near });
        self.pieces.row_mut(slot).0.copy_from_slice(pieces.words());
        if self.units.pieces() > 1 {
            self.whole.row_mut(slot).0.fill(0);
            for unit in 0..self.units.count() {
                self.look_at(slot, unit);
            }
        }
    }

    /// Adds a piece that a peer holds.
    pub(super) fn gain(&mut self, slot: u32, piece: u32) -> Gained {
        let Some(Some(Known { is_near, .. })) = self.known.get(slot as usize).copied() else {
            return Gained::Nothing;
        };
        let mut row = self.pieces.row_mut(slot);
        if row.contains(piece) {
            return Gained::Nothing;
        }
        row.insert(piece);
        if self.units.pieces() == 1 || self.look_at(slot, self.units.of(piece)) {
            Gained::Unit { is_near }
        } else {
            Gained::Piece
        }
    }

    /// Removes a piece that a peer does not hold; it is no seed then.
    pub(super) fn lose(&mut self, slot: u32, piece: u32) {
        if let Some(Some(known)) = self.known.get_mut(slot as usize) {
            known.is_seed = false;
            self.pieces.row_mut(slot).remove(piece);
            if self.units.pieces() > 1 {
                self.whole.row_mut(slot).remove(self.units.of(piece));
            }
        }
    }

    /// Removes a peer.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(known) = self.known.get_mut(slot as usize).filter(|it| it.is_some()) {
            *known = None;
            self.pieces.row_mut(slot).0.fill(0);
            self.whole.row_mut(slot).0.fill(0);
        }
    }

    /// Sets whether a peer is near, and tells whether it has said what it holds.
    pub(super) fn set_near(&mut self, slot: u32, is_near: bool) -> bool {
        let known = self.known.get_mut(slot as usize).and_then(Option::as_mut);
        known.map(|known| known.is_near = is_near).is_some()
    }

    /// Finds out whether a peer holds a unit whole, records it, and returns it.
    fn look_at(&mut self, slot: u32, unit: u32) -> bool {
        let pieces = self.pieces.row(slot);
        let is_whole = self.units.range(unit).all(|piece| pieces.contains(piece));
        if is_whole {
            self.whole.row_mut(slot).insert(unit);
        }
        is_whole
    }
}

/// Sets of numbers below a length, one for each slot up to the highest that was used. They take a bit for each piece
/// and source: 1 MiB for 64 sources of a blob of 128 GiB.
#[derive(Debug)]
struct Rows {
    words: usize,
    bits: Vec<u64>,
}

impl Rows {
    fn new(len: u32) -> Self {
        Self { words: len.div_ceil(64) as usize, bits: Vec::new() }
    }

    fn grow(&mut self, slots: usize) {
        self.bits.resize(slots * self.words, 0);
    }

    fn row(&self, slot: u32) -> Bits<&[u64]> {
        let start = slot as usize * self.words;
        Bits(&self.bits[start..start + self.words])
    }

    fn row_mut(&mut self, slot: u32) -> Bits<&mut [u64]> {
        let start = slot as usize * self.words;
        Bits(&mut self.bits[start..start + self.words])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// For all inputs in all orders: the table equals one set for each peer.
        #[test]
        fn what_each_peer_holds_is_kept_apart(
            large in any::<bool>(),
            said in prop::collection::vec((0u8..4, 0u32..5, 0u32..4100), 0..60),
        ) {
            // Units of one piece, and of two.
            let pieces = if large { 4100 } else { 130 };
            let units = Units::new(pieces);
            prop_assert_eq!(units.pieces() > 1, large);
            let mut holders = Holders::new(units, pieces);
            let mut model: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            for (kind, slot, piece) in said {
                let piece = piece % pieces;
                match kind {
                    0 => {
                        let mut set = PieceSet::new(pieces);
                        let held: BTreeSet<u32> = (piece..pieces.min(piece + 9)).collect();
                        for piece in &held {
                            let index = set.piece(*piece).expect("the piece is below the length");
                            set.insert(index);
                        }
                        holders.insert(slot, &set, false);
                        model.insert(slot, held);
                    }
                    1 => {
                        let gained = holders.gain(slot, piece);
                        let is_new = model.get_mut(&slot).is_some_and(|held| held.insert(piece));
                        prop_assert_eq!(gained != Gained::Nothing, is_new);
                    }
                    2 => {
                        holders.lose(slot, piece);
                        model.get_mut(&slot).map(|held| held.remove(&piece));
                    }
                    _ => {
                        holders.forget(slot);
                        model.remove(&slot);
                    }
                }
                for slot in 0..5 {
                    let held = holders.get(slot).map(|it| it.pieces.iter().collect::<BTreeSet<_>>());
                    prop_assert_eq!(held.as_ref(), model.get(&slot));
                    let Some(held) = held else { continue };
                    let whole = |unit: &u32| units.range(*unit).all(|piece| held.contains(&piece));
                    let expected: Vec<u32> = (0..units.count()).filter(whole).collect();
                    let found = holders.get(slot).map(|it| it.units.iter().collect::<Vec<_>>());
                    prop_assert_eq!(found, Some(expected));
                }
            }
        }
    }
}
