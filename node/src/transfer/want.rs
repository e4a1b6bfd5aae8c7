//! [`Want`]: one blob that is being fetched, and where each of its pieces stands.

use std::ops::Range;

use reg_proto::limits::REQUEST_PIECES_MAX;
use reg_proto::piece::{PieceIndex, PieceSet};

/// A wanted blob. A piece is stored, or asked for, or neither: never both.
#[derive(Debug)]
pub(super) struct Want {
    stored: PieceSet,
    asked: PieceSet,
    /// No piece before this one is neither stored nor asked for: searches begin here.
    first_open: u32,
    /// The runs that are read now, where only those are wanted.
    focus: Option<Focus>,
}

/// Runs of pieces that somebody reads, served in turn.
#[derive(Debug)]
struct Focus {
    runs: Vec<Run>,
    turn: usize,
}

#[derive(Debug)]
struct Run {
    first: u32,
    end: u32,
    /// No piece of the run before this one is open.
    first_open: u32,
}

impl Want {
    /// Returns a want for the pieces that are not in `stored`.
    pub(super) fn new(stored: PieceSet) -> Self {
        let asked = PieceSet::new(stored.len());
        Self { stored, asked, first_open: 0, focus: None }
    }

    /// Says which runs of pieces are wanted now, each from its first on; no other piece is taken until this changes.
    pub(super) fn focus(&mut self, runs: Vec<Range<u32>>) {
        let runs = runs.into_iter().map(|run| Run {
            first: run.start,
            end: run.end.min(self.stored.len()),
            first_open: run.start,
        });
        let turn = self.focus.as_ref().map_or(0, |focus| focus.turn);
        self.focus = Some(Focus { runs: runs.collect(), turn });
    }

    /// Tells whether only some of its pieces are wanted now.
    pub(super) const fn is_focused(&self) -> bool {
        self.focus.is_some()
    }

    /// Tells whether every piece is stored.
    pub(super) fn is_complete(&self) -> bool {
        self.stored.is_full()
    }

    /// Tells whether every piece that is wanted now is stored or asked for.
    pub(super) fn is_all_asked(&self) -> bool {
        let Some(focus) = &self.focus else {
            return self.stored.count() + self.asked.count() == self.stored.len();
        };
        let is_open = |index| self.index(index).is_some_and(|piece| self.is_open(piece));
        !focus.runs.iter().any(|run| (run.first_open..run.end).any(is_open))
    }

    /// Tells whether `holds` has a piece that is neither stored nor asked for.
    pub(super) fn can_use(&self, holds: &PieceSet) -> bool {
        self.stored.iter_missing().any(|piece| holds.contains(piece) && !self.asked.contains(piece))
    }

    /// Takes the first run of at most `max` open pieces that a peer holds, and marks it as asked for. Where only some
    /// runs are wanted, each has its turn.
    pub(super) fn take_run(
        &mut self,
        holds: &PieceSet,
        refused: Option<&PieceSet>,
        max: u32,
    ) -> Option<(PieceIndex, u32)> {
        let Some(mut focus) = self.focus.take() else {
            self.first_open = self.skip_closed(self.first_open, self.stored.len());
            return self.take_within(self.first_open..self.stored.len(), holds, refused, max);
        };
        let count = focus.runs.len();
        let mut taken = None;
        for step in 0..count {
            let place = (focus.turn + step) % count;
            let run = &mut focus.runs[place];
            run.first_open = self.skip_closed(run.first_open, run.end);
            taken = self.take_within(run.first_open..run.end, holds, refused, max);
            if taken.is_some() {
                focus.turn = place + 1;
                break;
            }
        }
        self.focus = Some(focus);
        taken
    }

    fn take_within(
        &mut self,
        run: Range<u32>,
        holds: &PieceSet,
        refused: Option<&PieceSet>,
        max: u32,
    ) -> Option<(PieceIndex, u32)> {
        let usable = |want: &Self, piece: PieceIndex| {
            want.is_open(piece) && holds.contains(piece) && !refused.is_some_and(|set| set.contains(piece))
        };
        let end = run.end;
        let first = run.filter_map(|index| self.index(index)).find(|piece| usable(self, *piece))?;
        let mut count = 0;
        while count < max.min(REQUEST_PIECES_MAX)
            && first.get() + count < end
            && self.index(first.get() + count).is_some_and(|piece| usable(self, piece))
        {
            self.asked.insert(self.index(first.get() + count)?);
            count += 1;
        }
        Some((first, count))
    }

    fn skip_closed(&self, from: u32, end: u32) -> u32 {
        let mut index = from;
        while index < end && self.index(index).is_some_and(|piece| !self.is_open(piece)) {
            index += 1;
        }
        index
    }

    /// Gives a piece back: it is open again unless it has been stored meanwhile.
    pub(super) fn give_back(&mut self, piece: PieceIndex) {
        self.asked.remove(piece);
        self.first_open = self.first_open.min(piece.get());
        for run in self.focus.iter_mut().flat_map(|focus| &mut focus.runs) {
            if (run.first..run.end).contains(&piece.get()) {
                run.first_open = run.first_open.min(piece.get());
            }
        }
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
