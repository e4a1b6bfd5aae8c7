//! [`Origins`]: which source has sent each piece of a blob, in one byte a piece.

use reg_api::transfer::{EARLIER, MISSING, PART, Source};
use reg_proto::piece::PieceSet;

/// Sources of one blob that are told apart: what fits into a byte beside 0. The pieces of more count as of no source.
const SOURCES_MAX: usize = 255;

/// Which source has sent each piece of a blob.
#[derive(Debug, Default)]
pub(super) struct Origins {
    sources: Vec<Source>,
    /// 0 for a piece that no source of this download has sent; else one more than the number of the source.
    of: Vec<u8>,
}

impl Origins {
    /// Notes that a piece came from a source.
    pub(super) fn note(&mut self, piece: u32, source: &Source) {
        let place = self.sources.iter().position(|it| it == source).or_else(|| {
            (self.sources.len() < SOURCES_MAX).then(|| {
                self.sources.push(source.clone());
                self.sources.len() - 1
            })
        });
        let (Some(place), Ok(piece)) = (place, usize::try_from(piece)) else { return };
        if self.of.len() <= piece {
            self.of.resize(piece + 1, 0);
        }
        self.of[piece] = u8::try_from(place + 1).unwrap_or(0);
    }

    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns the cell for the pieces from `first` to before `end`. A source is named by one more than its number.
    pub(super) fn cell(&self, stored: &PieceSet, first: u32, end: u32) -> i16 {
        let pieces = first..end.max(first + 1);
        let is_here = |piece: &u32| stored.piece(*piece).is_some_and(|it| stored.contains(it));
        let here = pieces.clone().filter(is_here).count();
        if here == 0 {
            return MISSING;
        }
        if here < pieces.len() {
            return PART;
        }
        let mut counts = [0_u32; SOURCES_MAX + 1];
        for piece in pieces {
            let source = usize::try_from(piece).ok().and_then(|it| self.of.get(it)).copied().unwrap_or(0);
            counts[usize::from(source)] += 1;
        }
        let most = (0..counts.len()).rev().max_by_key(|it| counts[*it]).unwrap_or(0);
        i16::try_from(most).unwrap_or(EARLIER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_names_the_source_of_most_of_its_pieces() {
        let [one, two] = ["https://one.example", "https://two.example"].map(|it| Source::Web(it.to_owned()));
        let mut origins = Origins::default();
        for piece in [4, 5, 6] {
            origins.note(piece, &two);
        }
        origins.note(7, &one);
        assert_eq!(origins.sources(), [two, one]);
        let mut stored = PieceSet::new(10);
        for piece in [0, 1, 2, 3, 4, 5, 6, 7] {
            stored.insert(stored.piece(piece).unwrap());
        }
        assert_eq!(origins.cell(&stored, 0, 4), EARLIER);
        assert_eq!(origins.cell(&stored, 4, 8), 1);
        assert_eq!(origins.cell(&stored, 7, 8), 2);
        assert_eq!(origins.cell(&stored, 7, 9), PART);
        assert_eq!(origins.cell(&stored, 8, 10), MISSING);
    }

    #[test]
    fn sources_beyond_the_bound_are_not_told_apart() {
        let mut origins = Origins::default();
        for piece in 0..300 {
            origins.note(piece, &Source::Web(format!("https://{piece}.example")));
        }
        let stored = PieceSet::full(300);
        assert_eq!(origins.cell(&stored, 254, 255), 255);
        assert_eq!(origins.cell(&stored, 299, 300), EARLIER);
    }
}
