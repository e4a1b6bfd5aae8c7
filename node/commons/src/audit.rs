//! [`Auditor`]: decides which peer to ask for which random piece next, so that the count of replicas stays right.
//!
//! What it costs: a copy is asked for [`PASSES_NEEDED`] pieces within 21 h at first, then for one every 30 h. Three
//! replicas of 1,000 models are 3,000 copies, and cost 3,000 / 30 h × 1 MiB = 100 MiB an hour, 29 kB a second, 2.5 GB a
//! day. Below 71 MiB an hour (8 pieces in 14 days) they would lapse. Pieces of small models and last pieces cost less.
//! [`BUDGET_PER_HOUR`] is about twice that, 192 MiB, because a node that is on for half of the day must do it in that
//! half, and for new models.
//!
//! How long until the counts are right: a single model is counted after 21 h. 1,000 new models of three replicas need
//! 24,000 pieces, so 125 h at the default budget; with renewals that fall due meanwhile, 6 days in the test, with the
//! models of the first class first. Until then, and for models beyond the budget, counts are too low. They are too high
//! by what was lost since its last piece passed: a peer that stays and has removed the model is found within 30 h, a
//! peer that is gone lapses after 5 to 14 days.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::{BlobLayout, PIECE_LEN, PieceIndex};

use super::chance::Chance;
#[cfg(doc)]
use super::passes::PASSES_NEEDED;
use super::passes::{PROOF_SPACING, Urgency};
use super::replica::{Audits, Failure};
use super::time::{HOUR, Moment};
use super::zone::Zone;

/// Bytes that audits may fetch in an hour, unless the user says otherwise. The page of this module computes it.
pub const BUDGET_PER_HOUR: u64 = 192 * PIECE_LEN;
/// Pieces that one peer is asked for in an hour: a peer that holds 1,000 models can be kept counted with 33, and it is
/// little beside what a peer serves.
pub const PIECES_PER_PEER_HOUR: u32 = 40;
/// Zones of a model that are audited: the default target and one. Donors compare no more, and what a count costs grows
/// with it.
pub const ZONES_ENOUGH: u32 = 5;
/// Blobs of one model of which pieces are chosen; the largest stay. Models of more files are checkpoints in many shards.
pub const BLOBS_PER_MODEL_MAX: usize = 1024;
/// Pieces that are under way at once.
pub const ASKS_MAX: usize = 8;
/// Pieces that one peer is asked for at once: it serves this node a few streams, and pulls need them.
pub const ASKS_PER_PEER_MAX: usize = 2;
/// How long an answer is waited for, unless the driver says otherwise. Its piece then counts as neither passed nor failed, because the line may be down.
const ASK_LOST_AFTER: Duration = Duration::from_secs(120);
/// How long a peer that was busy, or did not answer, is left alone for a model.
const BUSY_PAUSE: Duration = Duration::from_secs(15 * 60);
/// How long after a piece that came late the peer is asked again. Its disk may have slept, and is awake now. If the next
/// one is late too, the peer is left alone for [`PROOF_SPACING`].
const LATE_PAUSE: Duration = Duration::from_secs(60);
/// Of so many choices, one puts a random class first, so that no class is forgotten where the budget is small.
const RANDOM_CLASS_ONE_OF: u64 = 4;
/// Peers of which the number of pieces in an hour is kept. With more, those with the fewest are forgotten.
const PEERS_MAX: usize = 4096;

/// Why a model is audited, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Followed,
    Pinned,
    Donated,
    Other,
}

impl Class {
    const ALL: [Self; 4] = [Self::Followed, Self::Pinned, Self::Donated, Self::Other];
}

/// What decides between two models, the first in order wins: whether its class is not the one that is first by chance,
/// its class, how urgent its piece is, since when, and a random number.
type Order = ((bool, Class), Urgency, Reverse<Duration>, u64);

/// A piece that a peer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub model: Digest,
    pub peer: PeerId,
    pub blob: Digest,
    pub piece: PieceIndex,
    /// Length of the piece in bytes.
    pub bytes: u32,
}

/// What came of an [`Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The piece came in time and matches its states.
    Passed,
    /// The piece came and does not match its states.
    Wrong,
    /// The peer said that it does not hold the piece.
    NotGiven,
    /// The peer asked this node to come again later, or ended the stream without an answer, as a peer does that serves as
    /// many streams as it can. That proves neither that it holds the piece nor that it does not.
    Busy,
    /// The connection ended, or was not made.
    Unreachable,
    /// The piece came later than its driver allows, or not at all. That proves neither that the peer holds it nor that it
    /// does not: it may have fetched the piece from elsewhere, or its line may be full.
    Late,
}

/// A model that is audited.
#[derive(Debug, Clone)]
struct Subject {
    class: Class,
    /// Blobs with the number of pieces before them and in them, all together.
    blobs: Vec<(Digest, BlobLayout, u64)>,
    paused: BTreeMap<PeerId, Pause>,
}

/// Why no piece of a copy is due now.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Moment,
    /// Pieces that came late, in a row.
    late: u32,
}

/// What one peer was asked for within an hour.
#[derive(Debug, Clone, Copy)]
struct Asked {
    since: Moment,
    pieces: u32,
}

/// Chooses pieces, and counts what comes of them. It does no I/O: its driver asks the peer, verifies the piece by its
/// states and answers. It keeps the piece for nothing, unless it needs it.
#[derive(Debug, Clone)]
pub struct Auditor {
    audits: Audits,
    subjects: BTreeMap<Digest, Subject>,
    peers: BTreeMap<PeerId, Asked>,
    under_way: Vec<(Ask, Moment)>,
    budget_per_hour: u64,
    /// Bytes that may be spent now: at most an hour's, and the debt of a piece that was larger than what was left.
    left: u64,
    filled: Moment,
    lost_after: Duration,
}

impl Auditor {
    /// Returns an auditor that may fetch so many bytes an hour, with what the node has stored of earlier audits.
    pub const fn new(audits: Audits, budget_per_hour: u64, now: Moment) -> Self {
        Self {
            audits,
            subjects: BTreeMap::new(),
            peers: BTreeMap::new(),
            under_way: Vec::new(),
            budget_per_hour,
            left: PIECE_LEN,
            filled: now,
            lost_after: ASK_LOST_AFTER,
        }
    }

    /// Waits so long for an answer, by the clock of its driver.
    pub const fn with_patience(mut self, lost_after: Duration) -> Self {
        self.lost_after = lost_after;
        self
    }

    /// Returns what is known of replicas.
    pub const fn audits(&self) -> &Audits {
        &self.audits
    }

    /// Audits a model from now on, or changes its class. Blobs of which nothing can be asked, because they are empty,
    /// are left out; a model without others is not audited.
    pub fn watch(&mut self, model: Digest, class: Class, blobs: &[(Digest, BlobLayout)]) {
        let mut sized: Vec<(Digest, BlobLayout)> =
            blobs.iter().copied().filter(|(_, it)| it.size() > 0).collect();
        sized.sort_by_key(|(digest, layout)| (Reverse(layout.size()), *digest));
        sized.dedup();
        sized.truncate(BLOBS_PER_MODEL_MAX);
        let mut pieces = 0;
        let blobs: Vec<(Digest, BlobLayout, u64)> = sized
            .into_iter()
            .map(|(digest, layout)| {
                pieces += u64::from(layout.piece_count());
                (digest, layout, pieces)
            })
            .collect();
        if blobs.is_empty() {
            return self.unwatch(&model);
        }
        let paused = self.subjects.remove(&model).map(|it| it.paused).unwrap_or_default();
        self.subjects.insert(model, Subject { class, blobs, paused });
    }

    /// Audits a model no more, and forgets what is known of it.
    pub fn unwatch(&mut self, model: &Digest) {
        self.subjects.remove(model);
        self.audits.forget(model);
        self.under_way.retain(|(ask, _)| ask.model != *model);
    }

    /// Records that a peer says that it holds a model, and the zone in which it was reached. Tells whether it is audited.
    pub fn holds(&mut self, now: Moment, model: Digest, peer: PeerId, zone: Zone) -> bool {
        self.subjects.contains_key(&model) && self.audits.add(model, peer, zone, now)
    }

    /// Returns the next piece to ask for, or `None` where nothing is due, the budget is spent, or no peer that is due
    /// can be reached. Its driver asks again after each answer, and once a minute.
    pub fn next(
        &mut self,
        now: Moment,
        chance: &mut Chance,
        is_reached: impl Fn(&PeerId) -> bool,
    ) -> Option<Ask> {
        self.fill(now);
        self.forget_lost(now);
        if self.left < PIECE_LEN || self.under_way.len() >= ASKS_MAX {
            return None;
        }
        let is_random = chance.below(RANDOM_CLASS_ONE_OF) == 0;
        let first = is_random.then(|| Class::ALL[chance.below(Class::ALL.len() as u64) as usize]);
        let mut best: Option<(Order, Digest, PeerId)> = None;
        for (model, subject) in &self.subjects {
            let class = (first != Some(subject.class), subject.class);
            if best.as_ref().is_some_and(|(key, ..)| key.0 < class) {
                continue;
            }
            let Some((urgency, overdue, peer)) = self.due_of(model, subject, now, &is_reached) else {
                continue;
            };
            let key = (class, urgency, Reverse(overdue), chance.next());
            if best.as_ref().is_none_or(|(other, ..)| key < *other) {
                best = Some((key, *model, peer));
            }
        }
        let (_, model, peer) = best?;
        let ask = self.subjects.get(&model)?.random_piece(model, peer, chance);
        self.spend(&ask, now);
        Some(ask)
    }

    /// Returns the copy of a model that is due first.
    fn due_of(
        &self,
        model: &Digest,
        subject: &Subject,
        now: Moment,
        is_reached: &impl Fn(&PeerId) -> bool,
    ) -> Option<(Urgency, Duration, PeerId)> {
        let copies = self.audits.copies(model)?;
        let is_enough = copies.count(now).zones >= ZONES_ENOUGH;
        let due = copies.iter().filter_map(|(peer, copy)| {
            let is_open = subject.paused.get(peer).is_none_or(|it| it.until <= now)
                && self.is_below_limit(peer, now)
                && self.may_be_asked(peer, model)
                && is_reached(peer);
            let (urgency, overdue) = copy.due(now).filter(|_| is_open)?;
            // Beyond enough zones, what counts is kept and nothing new is begun.
            let is_wanted = !is_enough || copy.is_proven(now);
            is_wanted.then_some((urgency, overdue, *peer))
        });
        due.min_by_key(|(urgency, overdue, _)| (*urgency, Reverse(*overdue)))
    }

    /// Records what came of a piece.
    pub fn answered(&mut self, now: Moment, ask: &Ask, answer: Answer) {
        let before = self.under_way.len();
        self.under_way.retain(|(other, _)| other != ask);
        if self.under_way.len() == before {
            return;
        }
        match answer {
            Answer::Passed => {
                self.audits.passed(&ask.model, &ask.peer, ask.bytes, now);
                self.subjects.get_mut(&ask.model).map(|it| it.paused.remove(&ask.peer));
            }
            Answer::Wrong => self.audits.failed(&ask.model, &ask.peer, Failure::Wrong, now),
            Answer::NotGiven => self.audits.failed(&ask.model, &ask.peer, Failure::NotGiven, now),
            Answer::Busy | Answer::Unreachable => {
                self.pause(ask, BUSY_PAUSE, 0, now);
                self.left = self.left.saturating_add(u64::from(ask.bytes)).min(self.left_max());
            }
            Answer::Late => {
                let before = self.subjects.get(&ask.model).and_then(|it| it.paused.get(&ask.peer));
                let is_first = before.is_none_or(|it| it.late == 0);
                self.pause(ask, if is_first { LATE_PAUSE } else { PROOF_SPACING }, 1, now);
            }
        }
    }

    /// Leaves a copy alone for a time. `late` pieces are added to those that came late.
    fn pause(&mut self, ask: &Ask, time: Duration, late: u32, now: Moment) {
        let audits = &self.audits;
        if let Some(subject) = self.subjects.get_mut(&ask.model) {
            // Bounded by the table of audits: peers that it has given up go here too.
            let is_known = |peer: &PeerId| audits.copies(&ask.model).is_some_and(|it| it.get(peer).is_some());
            subject.paused.retain(|peer, it| (it.until > now || it.late > 0) && is_known(peer));
            let pause = subject.paused.entry(ask.peer).or_insert(Pause { until: now, late: 0 });
            (pause.until, pause.late) = (now + time, pause.late.saturating_add(late));
        }
    }

    fn spend(&mut self, ask: &Ask, now: Moment) {
        self.left = self.left.saturating_sub(u64::from(ask.bytes));
        self.under_way.push((*ask, now));
        if self.peers.len() >= PEERS_MAX {
            self.peers.retain(|_, it| now.since(it.since) < HOUR);
        }
        if self.peers.len() >= PEERS_MAX {
            let least = self.peers.iter().min_by_key(|(_, it)| it.pieces).map(|(peer, _)| *peer);
            least.and_then(|peer| self.peers.remove(&peer));
        }
        let asked = self.peers.entry(ask.peer).or_insert(Asked { since: now, pieces: 0 });
        if now.since(asked.since) >= HOUR {
            *asked = Asked { since: now, pieces: 0 };
        }
        asked.pieces += 1;
    }

    /// Tells whether few enough pieces of a peer are under way, and none of this copy.
    fn may_be_asked(&self, peer: &PeerId, model: &Digest) -> bool {
        let mut of_peer = self.under_way.iter().map(|(ask, _)| ask).filter(|ask| ask.peer == *peer);
        of_peer.clone().all(|ask| ask.model != *model) && of_peer.nth(ASKS_PER_PEER_MAX - 1).is_none()
    }

    fn is_below_limit(&self, peer: &PeerId, now: Moment) -> bool {
        let asked = self.peers.get(peer).filter(|it| now.since(it.since) < HOUR);
        asked.is_none_or(|it| it.pieces < PIECES_PER_PEER_HOUR)
    }

    /// Adds what the time since the last call is worth. At most an hour's bytes are saved up.
    fn fill(&mut self, now: Moment) {
        let since = now.since(self.filled).min(HOUR);
        let worth = self.budget_per_hour.saturating_mul(since.as_secs()) / HOUR.as_secs();
        // The clock moves on only by what was worth a byte, so that many short calls lose nothing.
        if worth > 0 || now < self.filled {
            self.left = self.left.saturating_add(worth).min(self.left_max());
            self.filled = now;
        }
    }

    const fn left_max(&self) -> u64 {
        if self.budget_per_hour > PIECE_LEN { self.budget_per_hour } else { PIECE_LEN }
    }

    fn forget_lost(&mut self, now: Moment) {
        let lost: Vec<Ask> = self
            .under_way
            .iter()
            .filter(|(_, since)| now.since(*since) >= self.lost_after)
            .map(|(ask, _)| *ask)
            .collect();
        for ask in lost {
            self.answered(now, &ask, Answer::Unreachable);
        }
    }
}

impl Subject {
    /// Returns a random piece. Each piece of the model is as likely as any other, so a blob is chosen by its size.
    fn random_piece(&self, model: Digest, peer: PeerId, chance: &mut Chance) -> Ask {
        let all = self.blobs.last().map_or(0, |(_, _, end)| *end);
        let number = chance.below(all);
        let place = self.blobs.partition_point(|(_, _, end)| *end <= number);
        let (blob, layout, end) = self.blobs[place];
        let first = end - u64::from(layout.piece_count());
        let index = u32::try_from(number - first).unwrap_or(0);
        let piece = layout.piece(index).unwrap_or_else(|| layout.last());
        Ask { model, peer, blob, piece, bytes: layout.piece_len(piece) as u32 }
    }
}

#[cfg(test)]
mod tests;
