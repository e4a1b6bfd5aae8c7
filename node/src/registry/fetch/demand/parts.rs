//! Reports on a download: how far each registration has come, from which sources, and which source has sent which piece.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reg_api::transfer::{PiecesReport, Source};

use super::super::downloader::DownloadError;
use super::super::room::busy;
use super::meter::Measured;
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
        let pieces: u64 = state.opened.values().map(|it| u64::from(it.layout.piece_count())).sum();
        let per_cell = pieces.div_ceil(CELLS_MAX).max(1);
        let mut report = PiecesReport { pieces, pieces_per_cell: per_cell, ..PiecesReport::default() };
        let step = u32::try_from(per_cell).unwrap_or(u32::MAX);
        for opened in state.opened.values() {
            let count = opened.layout.piece_count();
            let stored = opened
                .partial
                .as_ref()
                .map_or_else(|| reg_proto::piece::PieceSet::full(count), Partial::have);
            report.stored += u64::from(stored.count());
            let number = |sources: &mut Vec<Source>, source: &Source| {
                sources.iter().position(|it| it == source).unwrap_or_else(|| {
                    sources.push(source.clone());
                    sources.len() - 1
                })
            };
            let own = opened.origins.sources().iter();
            let numbers: Vec<usize> = own.map(|it| number(&mut report.sources, it)).collect();
            for first in (0..count).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
                let cell = opened.origins.cell(&stored, first, first.saturating_add(step).min(count));
                let source = usize::try_from(cell - 1).ok().and_then(|it| numbers.get(it));
                report.cells.push(source.map_or(cell, |it| i16::try_from(it + 1).unwrap_or(cell)));
            }
        }
        report
    }
}
