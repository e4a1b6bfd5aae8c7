//! Reports on a download: how far each registration has come, from which sources, and which source has sent which piece.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reg_api::transfer::{PiecesReport, Source};
use reg_proto::piece::PieceSet;

use super::super::downloader::DownloadError;
use super::super::room::busy;
use super::meter::Measured;
use super::origins::Origins;
use super::{Demand, DownLimit, Member, Sources, State};
use crate::store::Partial;

/// Cells of one report: a picture of 64 x 32, as wide as a telephone shows them.
const CELLS_MAX: u64 = 2048;

/// What one download does for one registration of a pull or of readers.
#[derive(Debug, Clone, Default)]
pub(in crate::registry::fetch) struct Part {
    pub done: u64,
    pub total: u64,
    pub sources: Sources,
    pub connected: usize,
    pub measured: Measured,
    pub limit: DownLimit,
    /// Whether a connected source holds a wanted piece.
    pub is_held: bool,
    pub behind_nat: usize,
    pub quiet: Duration,
}

impl State {
    /// Takes a sample if one is due.
    pub(super) fn measure(&mut self, now: Instant) {
        if !self.meter.is_due(now) {
            return;
        }
        let partials: Vec<Partial> = self.opened.values().filter_map(|it| it.partial.clone()).collect();
        self.meter.note(now, self.fetched, busy(&partials));
    }
}

impl Demand {
    /// Returns what this download does for each registration, by its number.
    pub(in crate::registry::fetch) fn parts(&self) -> Vec<(u64, Part)> {
        let is_held = self.deserted.lock().expect("no holder of this lock panics").is_none();
        let mut pulls: BTreeMap<u64, DownLimit> = BTreeMap::new();
        let (measured, connected, quiet, behind_nat, sources) = {
            let state = self.state();
            for member in state.members.values() {
                if let Some(pull) = &member.joining.pull {
                    pulls.insert(pull.id(), member.joining.limit);
                }
            }
            let mut sources = Sources::default();
            state.opened.values().for_each(|it| sources.add(it.fetched.clone()));
            let stall = state.stall.as_ref();
            let behind_nat = match stall.map(|it| &it.error) {
                Some(DownloadError::BehindNat { peers, .. }) => *peers,
                _ => 0,
            };
            let quiet = stall.map_or(Duration::ZERO, |it| it.quiet);
            (state.meter.measured(), state.sources, quiet, behind_nat, sources)
        };
        let parts = pulls.into_iter().map(|(id, limit)| {
            let is_of = |member: &Member| member.joining.pull.as_ref().is_some_and(|it| it.id() == id);
            let (done, total) = self.amounts_for(|_, member| is_of(member));
            let sources = sources.clone();
            (id, Part { done, total, sources, connected, measured, limit, is_held, behind_nat, quiet })
        });
        parts.collect()
    }

    /// Returns which pieces of the opened blobs are stored, and which source has sent each.
    pub(in crate::registry::fetch) fn pieces(&self) -> PiecesReport {
        let state = self.state();
        let blobs = state.opened.values().map(|opened| {
            let full = || PieceSet::full(opened.layout.piece_count());
            (opened.partial.as_ref().map_or_else(full, Partial::have), &opened.origins)
        });
        drawn(&blobs.collect::<Vec<_>>())
    }
}

/// Returns which pieces of blobs are stored where no source is known.
///
/// - `blobs`: the stored pieces of each blob, in the order of the files.
pub fn pieces_at_rest(blobs: Vec<PieceSet>) -> PiecesReport {
    let none = Origins::default();
    drawn(&blobs.into_iter().map(|it| (it, &none)).collect::<Vec<_>>())
}

/// Draws the pieces of all blobs in at most [`CELLS_MAX`] cells, and one more for each blob.
fn drawn(blobs: &[(PieceSet, &Origins)]) -> PiecesReport {
    let pieces: u64 = blobs.iter().map(|(stored, _)| u64::from(stored.len())).sum();
    let per_cell = pieces.div_ceil(CELLS_MAX).max(1);
    let mut report = PiecesReport { pieces, pieces_per_cell: per_cell, ..PiecesReport::default() };
    let step = u32::try_from(per_cell).unwrap_or(u32::MAX);
    for (stored, origins) in blobs {
        let count = stored.len();
        report.stored += u64::from(stored.count());
        let number = |sources: &mut Vec<Source>, source: &Source| {
            sources.iter().position(|it| it == source).unwrap_or_else(|| {
                sources.push(source.clone());
                sources.len() - 1
            })
        };
        let own = origins.sources().iter();
        let numbers: Vec<usize> = own.map(|it| number(&mut report.sources, it)).collect();
        for first in (0..count).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let cell = origins.cell(stored, first, first.saturating_add(step).min(count));
            let source = usize::try_from(cell - 1).ok().and_then(|it| numbers.get(it));
            report.cells.push(source.map_or(cell, |it| i16::try_from(it + 1).unwrap_or(cell)));
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use reg_api::transfer::{EARLIER, MISSING, PART};

    use super::*;

    #[test]
    fn blobs_at_rest_are_drawn_one_after_the_other_in_a_bounded_number_of_cells() {
        let mut half = PieceSet::new(4);
        for piece in [0, 1] {
            half.insert(half.piece(piece).expect("a piece"));
        }
        let report = pieces_at_rest(vec![PieceSet::full(2), half]);
        assert_eq!((report.pieces, report.stored, report.pieces_per_cell), (6, 4, 1));
        assert_eq!(report.cells, [EARLIER, EARLIER, EARLIER, EARLIER, MISSING, MISSING]);
        let mut large = PieceSet::new(10_000);
        large.insert(large.piece(9_999).expect("a piece"));
        let report = pieces_at_rest(vec![large]);
        assert!(report.cells.len() <= 2048, "{}", report.cells.len());
        assert_eq!(report.cells.last(), Some(&PART));
        assert!(report.sources.is_empty());
    }
}
