//! [`Knowledge`]: what one donor has audited, and so knows.
//!
//! It is the [`reg_commons::Auditor`] in few bytes and steps of three hours: the same passes, the same spacing, order and budget, and
//! as many zones. It differs in three ways: each node is a zone of its own, a donor hears at once which nodes that are
//! online hold a model, and no piece is slow.

use std::cmp::Reverse;
use std::time::Duration;

use reg_commons::{Chance, FRESH_FOR, Moment, Passes, Replicas, Urgency, ZONES_ENOUGH};
use reg_proto::piece::PIECE_LEN;

/// Peers that are tried for one model in a round before another model is tried.
const TRIES: usize = 4;
/// Models of which further copies are looked for in a round.
const LOOKED_AT: usize = 128;

/// A copy that is audited.
#[derive(Debug, Clone)]
struct Audited {
    holder: u16,
    passes: Passes,
    /// It is not due before this hour.
    due: u32,
}

/// What is known of one model.
#[derive(Debug, Clone, Default)]
struct Known {
    copies: Vec<Audited>,
    /// When it was first asked for, since when it has been counted without a gap.
    since: Option<Moment>,
}

/// What one donor knows of the models in its scope.
#[derive(Debug)]
pub(super) struct Knowledge {
    known: Vec<Known>,
    /// For each model: the hour before which no copy is due.
    due: Vec<u32>,
    /// The next model of which further copies are audited.
    cursor: usize,
}

/// What an auditor can find out by asking.
pub(super) trait Asked {
    /// Tells whether a node is online.
    fn is_online(&self, node: u16) -> bool;
    /// Tells whether a node holds the model in this place of the scope.
    fn holds(&self, node: u16, place: usize) -> bool;
    /// Returns all nodes that hold it.
    fn holders(&self, place: usize) -> &[u16];
    /// Returns the length of a piece of it.
    fn piece(&self, place: usize) -> u64;
}

impl Knowledge {
    pub(super) fn new(models: usize, chance: &mut Chance) -> Self {
        let cursor = chance.below(models as u64) as usize;
        Self { known: vec![Known::default(); models], due: vec![0; models], cursor }
    }

    /// Returns how many replicas of a model are proven, and since when it is counted.
    pub(super) fn count(&self, place: usize, now: Moment) -> (Replicas, Option<Moment>) {
        let known = &self.known[place];
        let zones = known.copies.iter().filter(|it| it.passes.is_proven(now)).count() as u32;
        (Replicas { zones, copies: zones, ..Replicas::default() }, known.since)
    }

    /// Audits for a round. Returns the bytes that it took.
    pub(super) fn round(
        &mut self,
        me: u16,
        hour: u32,
        pieces: u32,
        asked: &impl Asked,
        chance: &mut Chance,
    ) -> u64 {
        let now = moment(hour);
        let mut bytes = 0;
        let mut left = pieces;
        let (urgent, renewals) = self.due(hour, asked);
        for (_, _, place, holder) in urgent {
            if left == 0 {
                break;
            }
            left -= 1;
            bytes += self.ask(place, holder, now, asked);
        }
        for _model in 0..self.known.len().min(LOOKED_AT) {
            if left == 0 {
                break;
            }
            let place = self.cursor;
            self.cursor = (place + 1) % self.known.len();
            let begun = self.begin(place, me, left, asked, chance);
            for holder in begun {
                left -= 1;
                bytes += self.ask(place, holder, now, asked);
            }
        }
        for (_, _, place, holder) in renewals {
            if left == 0 {
                break;
            }
            left -= 1;
            bytes += self.ask(place, holder, now, asked);
        }
        bytes
    }

    /// Returns the copies that are due and online: those that go before new ones, and those that go after them. Forgets
    /// those of which nothing is known any more.
    fn due(&mut self, hour: u32, asked: &impl Asked) -> (Vec<Due>, Vec<Due>) {
        let now = moment(hour);
        let (mut urgent, mut renewals) = (Vec::new(), Vec::new());
        for (place, next) in self.due.iter_mut().enumerate().filter(|(_, it)| **it <= hour) {
            let known = &mut self.known[place];
            known
                .copies
                .retain(|it| it.due > hour || it.passes.newest().is_some_and(|at| now.since(at) < FRESH_FOR));
            for copy in known.copies.iter().filter(|it| it.due <= hour && asked.is_online(it.holder)) {
                if let Some((urgency, overdue)) = copy.passes.due(now) {
                    let list = if urgency == Urgency::Renewal { &mut renewals } else { &mut urgent };
                    list.push((urgency, Reverse(overdue), place, copy.holder));
                }
            }
            if known.copies.is_empty() {
                // After a long absence, nothing is known, and the count begins anew.
                known.since = None;
            }
            *next = known.copies.iter().map(|it| it.due).min().unwrap_or(u32::MAX);
        }
        urgent.sort_unstable();
        renewals.sort_unstable();
        (urgent, renewals)
    }

    /// Returns holders that are not audited yet, as many as are missing.
    fn begin(
        &mut self,
        place: usize,
        me: u16,
        left: u32,
        asked: &impl Asked,
        chance: &mut Chance,
    ) -> Vec<u16> {
        let known = &mut self.known[place];
        let missing =
            (ZONES_ENOUGH.min(left + known.copies.len() as u32) as usize).saturating_sub(known.copies.len());
        let holders = asked.holders(place);
        let mut begun = Vec::new();
        for _try in 0..if missing == 0 || holders.is_empty() { 0 } else { missing + TRIES } {
            let holder = holders[chance.below(holders.len() as u64) as usize];
            let is_new = holder != me
                && asked.is_online(holder)
                && !begun.contains(&holder)
                && known.copies.iter().all(|it| it.holder != holder);
            if is_new && begun.len() < missing {
                self.due[place] = 0;
                known.copies.push(Audited { holder, passes: Passes::new(), due: 0 });
                begun.push(holder);
            }
        }
        begun
    }

    /// Asks for a piece, and returns its bytes.
    fn ask(&mut self, place: usize, holder: u16, now: Moment, asked: &impl Asked) -> u64 {
        let known = &mut self.known[place];
        let bytes = asked.piece(place).min(PIECE_LEN);
        known.since.get_or_insert(now);
        if asked.holds(holder, place) {
            if let Some(copy) = known.copies.iter_mut().find(|it| it.holder == holder) {
                copy.passes.passed(now, bytes as u32);
                copy.due = hour_of(copy.passes.due_at(now));
            }
            return bytes;
        }
        known.copies.retain(|it| it.holder != holder);
        0
    }
}

type Due = (Urgency, Reverse<Duration>, usize, u16);

/// Returns the time of day at an hour of the simulation.
pub(super) const fn moment(hour: u32) -> Moment {
    Moment::from_seconds(1_800_000_000 + hour as u64 * 3600)
}

/// Returns the first hour of the simulation at or after a moment.
const fn hour_of(moment_at: Moment) -> u32 {
    moment_at.since(moment(0)).as_secs().div_ceil(3600) as u32
}
