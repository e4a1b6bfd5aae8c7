//! [`Want`]: one blob that is being fetched, and where each of its pieces stands.

use reg_proto::limits::REQUEST_PIECES_MAX;
use reg_proto::piece::{PieceIndex, PieceSet};

/// A wanted blob. A piece is stored, or asked for, or neither: never both.
#[derive(Debug)]
pub(super) struct Want {
    stored: PieceSet,
    asked: PieceSet,
    /// No piece before this one is neither stored nor asked for: searches begin here.
    first_open: u32,
}

impl Want {
    /// Returns a want for the pieces that are not in `stored`.
    pub(super) fn new(stored: PieceSet) -> Self {
        let asked = PieceSet::new(stored.len());
        Self { stored, asked, first_open: 0 }
    }

    /// Tells whether every piece is stored.
    pub(super) fn is_complete(&self) -> bool {
        self.stored.is_full()
    }

    /// Tells whether every piece is stored or asked for.
    pub(super) fn is_all_asked(&self) -> bool {
        self.stored.count() + self.asked.count() == self.stored.len()
    }

    /// Tells whether `holds` has a piece that is neither stored nor asked for.
    pub(super) fn can_use(&self, holds: &PieceSet) -> bool {
        self.stored.iter_missing().any(|piece| holds.contains(piece) && !self.asked.contains(piece))
    }

    /// Takes the first run of at most `max` open pieces that a peer holds, and marks it as asked for.
    pub(super) fn take_run(
        &mut self,
        holds: &PieceSet,
        refused: Option<&PieceSet>,
        max: u32,
    ) -> Option<(PieceIndex, u32)> {
        let usable = |want: &Self, piece: PieceIndex| {
            want.is_open(piece) && holds.contains(piece) && !refused.is_some_and(|set| set.contains(piece))
        };
        while self.index(self.first_open).is_some_and(|piece| !self.is_open(piece)) {
            self.first_open += 1;
        }
        let first = (self.first_open..self.stored.len())
            .filter_map(|index| self.index(index))
            .find(|piece| usable(self, *piece))?;
        let mut count = 0;
        while count < max.min(REQUEST_PIECES_MAX)
            && self.index(first.get() + count).is_some_and(|piece| usable(self, piece))
        {
            self.asked.insert(self.index(first.get() + count)?);
            count += 1;
        }
        Some((first, count))
    }

    /// Gives a piece back: it is open again unless it has been stored meanwhile.
    pub(super) fn give_back(&mut self, piece: PieceIndex) {
        self.asked.remove(piece);
        self.first_open = self.first_open.min(piece.get());
    }

    /// Marks a piece as stored, and tells whether it was not before.
    pub(super) fn store(&mut self, piece: PieceIndex) -> bool {
        self.asked.remove(piece);
        self.stored.insert(piece)
    }

    fn is_open(&self, piece: PieceIndex) -> bool {
        !self.stored.contains(piece) && !self.asked.contains(piece)
    }

    fn index(&self, index: u32) -> Option<PieceIndex> {
        self.stored.piece(index)
    }
}
