//! [`Peer`]: what one peer holds, owes, and how it has behaved.

use std::collections::BTreeMap;

use reg_proto::digest::Digest;
use reg_proto::piece::{PieceIndex, PieceSet};

use super::limits::{PIECES_IN_FLIGHT_PER_PEER, SILENCE, STALL, UNIT_PIECES};
use super::time::Instant;
use super::want::Want;

/// A peer that can be asked for pieces.
#[derive(Debug)]
pub(super) struct Peer {
    /// What it says it holds.
    pub(super) holds: BTreeMap<Digest, PieceSet>,
    /// Pieces it has not delivered although it was asked: not asked for again while others hold them.
    pub(super) refused: BTreeMap<Digest, PieceSet>,
    /// Pieces asked of it and not yet stored.
    pub(super) in_flight: u32,
    /// When it last delivered a piece, or was first asked for one after it owed none.
    pub(super) last_progress: Instant,
    /// Not to be asked before.
    pub(super) busy_until: Instant,
    /// How often it was busy or silent since it last delivered: it is asked after others, and for one piece at a time.
    pub(super) trouble: u32,
}

impl Peer {
    /// Returns a peer that is known to hold nothing yet.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            holds: BTreeMap::new(),
            refused: BTreeMap::new(),
            in_flight: 0,
            last_progress: now,
            busy_until: now,
            trouble: 0,
        }
    }

    /// Returns how many more pieces it may be asked for.
    pub(super) fn room(&self, now: Instant) -> u32 {
        if now < self.busy_until {
            return 0;
        }
        let window = if self.trouble > 0 { 1 } else { PIECES_IN_FLIGHT_PER_PEER };
        window.saturating_sub(self.in_flight)
    }

    /// Tells whether it owes pieces and has been quiet for so long that another holder should be asked.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.in_flight > 0 && now.since(self.last_progress) >= STALL
    }

    /// Tells whether it owes pieces and has been quiet for so long that it is asked anew at best.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.in_flight > 0 && now.since(self.last_progress) >= SILENCE
    }

    /// Takes the next run of open pieces of a wanted blob that this peer holds and has room for.
    pub(super) fn take_run(
        &mut self,
        blob: &Digest,
        want: &mut Want,
        now: Instant,
    ) -> Option<(PieceIndex, Vec<PieceIndex>)> {
        let room = self.room(now).min(UNIT_PIECES);
        if room == 0 {
            return None;
        }
        let holds = self.holds.get(blob)?;
        let (first, count) = want.take_run(holds, self.refused.get(blob), room)?;
        if self.in_flight == 0 {
            self.last_progress = now;
        }
        self.in_flight += count;
        Some((first, (0..count).filter_map(|step| holds.piece(first.get() + step)).collect()))
    }

    /// Notes that one piece it owed is settled.
    pub(super) fn settled(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}
