//! [`Units`]: groups the pieces of a blob into runs that are fetched whole from one peer.

use std::ops::Range;

use reg_proto::limits::REQUEST_PIECES_MAX;

use super::limits::UNITS_WANTED;

/// The units of one blob: aligned runs of a power of two pieces, the last one shorter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Units {
    pieces: u32,
    /// Binary logarithm of the pieces of a unit.
    shift: u32,
}

impl Units {
    /// Returns the units of a blob with `pieces` pieces: as large as possible with [`UNITS_WANTED`] of them, and at
    /// most as large as one request.
    pub(super) fn new(pieces: u32) -> Self {
        let per = (pieces / UNITS_WANTED).clamp(1, REQUEST_PIECES_MAX);
        Self { pieces, shift: per.ilog2() }
    }

    /// Returns how many units there are.
    pub(super) const fn count(self) -> u32 {
        self.pieces.div_ceil(1 << self.shift)
    }

    /// Returns how many pieces a unit has.
    pub(super) const fn pieces(self) -> u32 {
        1 << self.shift
    }

    /// Returns the unit of a piece.
    pub(super) const fn of(self, piece: u32) -> u32 {
        piece >> self.shift
    }

    /// Returns the pieces of a unit.
    pub(super) fn range(self, unit: u32) -> Range<u32> {
        let first = unit << self.shift;
        first..self.pieces.min(first + self.pieces())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_as_large_as_leaves_a_thousand() {
        for (pieces, per, count) in
            [(1, 1, 1), (1999, 1, 1999), (2048, 2, 1024), (4700, 4, 1175), (140_000, 16, 8750)]
        {
            let units = Units::new(pieces);
            assert_eq!((units.pieces(), units.count()), (per, count));
            assert_eq!(units.range(units.count() - 1).end, pieces);
            assert_eq!(units.of(pieces - 1), units.count() - 1);
        }
    }
}
