//! [`Audits`]: which peer has proven that it holds which model, and so how many replicas a model has.
//!
//! A copy at a peer counts once [`PASSES_NEEDED`] random pieces of it have passed their states within [`FRESH_FOR`], and
//! copies in one zone count as one replica. The count is a lower bound: a copy that was not audited yet does not count,
//! and this node's own copy is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::passes::{FRESH_FOR, PASSES_NEEDED};
use super::passes::{Pass, Passes, Urgency};
use super::time::{DAY, Moment};
use super::zone::Zone;

/// Models of which audits are kept: four times as many as the default budget can keep counted.
pub const MODELS_MAX: usize = 4096;
/// Peers of one model of which audits are kept: eight times the default target. About 600 bytes each.
pub const PEERS_PER_MODEL_MAX: usize = 32;
/// Peers of one model in one zone of which audits are kept. They are one replica, and cannot fill the table.
const PEERS_PER_ZONE_MAX: usize = 4;
/// Peers of one model that keep their place in the table while they are not asked, because they failed. With more, as
/// in an attack by many peers, the others must have room.
const PAUSED_MAX: usize = 8;
/// Time for which a peer that failed is not asked for the same model, after its first failure; each further one in a row
/// doubles it.
const RETRY_AFTER: Duration = DAY;
/// Most doublings of [`RETRY_AFTER`]: 16 days, longer than any pass counts.
const DOUBLINGS_MAX: u32 = 4;

/// Why a piece did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The peer said that it holds the blob, and did not give the piece. Documents of before name a late piece too.
    #[serde(alias = "slow")]
    NotGiven,
    /// The bytes do not match the piece's states.
    Wrong,
}

/// What is known of one copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerCopy {
    pub zone: Zone,
    pub passes: Passes,
    /// The last failure, unless a piece has passed since.
    pub failed: Option<Failed>,
}

/// A failure, and how many there were in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    pub at: Moment,
    pub why: Failure,
    pub times: u32,
}

/// How many replicas a model has elsewhere, with the age of that knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replicas {
    /// Zones with a copy that counts.
    pub zones: u32,
    /// Copies that count. Several may be in one zone.
    pub copies: u32,
    /// When the newest of the pieces that make it count has passed.
    pub newest: Option<Moment>,
    /// When the oldest of them has passed: the count is at most so old.
    pub oldest: Option<Moment>,
    /// Bytes of pieces that have passed, of all copies that count.
    pub proven_bytes: u64,
}

/// What is known of all copies of one model. It is what a node stores: at most [`PEERS_PER_MODEL_MAX`] copies, some 20 KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<PeerId, PeerCopy>", into = "BTreeMap<PeerId, PeerCopy>")]
pub struct Copies {
    copies: BTreeMap<PeerId, PeerCopy>,
}

/// A stored document has more copies of a model than are kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("document has {count} copies of a model, at most {PEERS_PER_MODEL_MAX} are kept")]
pub struct TooManyCopies {
    pub count: usize,
}

impl PeerCopy {
    const fn new(zone: Zone) -> Self {
        Self { zone, passes: Passes::new(), failed: None }
    }

    /// Tells whether the copy counts.
    pub fn is_proven(&self, now: Moment) -> bool {
        self.passes.is_proven(now)
    }

    /// Returns how urgent the next piece is and since when it is due, or `None` before it is due or in the pause after a
    /// failure.
    pub fn due(&self, now: Moment) -> Option<(Urgency, Duration)> {
        match self.is_paused(now) {
            true => None,
            false => self.passes.due(now),
        }
    }

    fn is_paused(&self, now: Moment) -> bool {
        self.failed.as_ref().is_some_and(|it| now.since(it.at) < it.pause())
    }

    /// What is worth more is kept longer: a copy that counts, then one with newer passes.
    fn worth(&self, now: Moment) -> (bool, Option<Moment>) {
        (self.is_proven(now), self.passes.newest())
    }
}

impl Failed {
    /// Returns how long the peer is not asked.
    pub fn pause(&self) -> Duration {
        RETRY_AFTER * (1 << self.times.saturating_sub(1).min(DOUBLINGS_MAX))
    }
}

impl Copies {
    /// Returns how many replicas the model has.
    pub fn count(&self, now: Moment) -> Replicas {
        let mut zones = BTreeSet::new();
        let mut replicas = Replicas::default();
        for copy in self.copies.values().filter(|it| it.is_proven(now)) {
            zones.insert(&copy.zone);
            replicas.copies += 1;
            for Pass { at, bytes } in copy.passes.fresh(now) {
                replicas.proven_bytes += u64::from(bytes);
                replicas.newest = replicas.newest.max(Some(at));
                replicas.oldest = Some(replicas.oldest.map_or(at, |it| it.min(at)));
            }
        }
        replicas.zones = u32::try_from(zones.len()).unwrap_or(u32::MAX);
        replicas
    }

    /// Returns what is known of a peer's copy.
    pub fn get(&self, peer: &PeerId) -> Option<&PeerCopy> {
        self.copies.get(peer)
    }

    /// Returns all copies of which something is known.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &PeerCopy)> {
        self.copies.iter()
    }

    /// Adds a peer that is said to hold the model, or says where it is now. Tells whether it is in the table.
    ///
    /// A full table, or one with [`PEERS_PER_ZONE_MAX`] of the zone, gives up the copy that is worth least, but none
    /// that counts. A peer that failed does not start anew: up to [`PAUSED_MAX`] stay in their pause.
    fn add(&mut self, peer: PeerId, zone: Zone, now: Moment) -> bool {
        let others_in_zone =
            self.copies.iter().filter(|(other, it)| **other != peer && it.zone == zone).count();
        if others_in_zone >= PEERS_PER_ZONE_MAX && !self.give_up(now, |it| it.zone == zone, &peer) {
            return false;
        }
        if let Some(copy) = self.copies.get_mut(&peer) {
            copy.zone = zone;
            return true;
        }
        if self.copies.len() >= PEERS_PER_MODEL_MAX && !self.give_up(now, |_| true, &peer) {
            return false;
        }
        self.copies.insert(peer, PeerCopy::new(zone));
        true
    }

    /// Gives up the copy that is worth least, of those that `is_one` names. Tells whether there was one.
    fn give_up(&mut self, now: Moment, is_one: impl Fn(&PeerCopy) -> bool, except: &PeerId) -> bool {
        let may_be_paused = self.copies.values().filter(|it| it.is_paused(now)).count() > PAUSED_MAX;
        let candidates = self.copies.iter().filter(|(peer, it)| {
            *peer != except && is_one(it) && !it.is_proven(now) && (may_be_paused || !it.is_paused(now))
        });
        let least = candidates.min_by_key(|(_, it)| it.worth(now)).map(|(peer, _)| *peer);
        least.is_some_and(|peer| self.copies.remove(&peer).is_some())
    }
}

impl From<Copies> for BTreeMap<PeerId, PeerCopy> {
    fn from(copies: Copies) -> Self {
        copies.copies
    }
}

impl TryFrom<BTreeMap<PeerId, PeerCopy>> for Copies {
    type Error = TooManyCopies;

    fn try_from(copies: BTreeMap<PeerId, PeerCopy>) -> Result<Self, TooManyCopies> {
        match copies.len() {
            0..=PEERS_PER_MODEL_MAX => Ok(Self { copies }),
            count => Err(TooManyCopies { count }),
        }
    }
}

/// What is known of the copies of all models: at most [`MODELS_MAX`] of them.
#[derive(Debug, Clone, Default)]
pub struct Audits {
    models: BTreeMap<Digest, Copies>,
}

impl Audits {
    /// Takes what a node has stored of a model. A table that is full makes room as [`Self::add`] does.
    pub fn restore(&mut self, model: Digest, copies: Copies, now: Moment) {
        self.make_room(&model, now);
        self.models.insert(model, copies);
    }

    /// Adds a peer that is said to hold a model, or says in which zone it is now. Tells whether it is in the table.
    ///
    /// A table with [`MODELS_MAX`] models gives up the one with the fewest copies that count, and of those the one with
    /// the oldest passes: it costs least to prove again.
    pub fn add(&mut self, model: Digest, peer: PeerId, zone: Zone, now: Moment) -> bool {
        self.make_room(&model, now);
        self.models.entry(model).or_default().add(peer, zone, now)
    }

    fn make_room(&mut self, model: &Digest, now: Moment) {
        if self.models.len() < MODELS_MAX || self.models.contains_key(model) {
            return;
        }
        let worth = |copies: &Copies| {
            let newest = copies.copies.values().map(|it| it.passes.newest()).max().flatten();
            (copies.count(now).copies, newest)
        };
        let least = self.models.iter().min_by_key(|(_, it)| worth(it)).map(|(model, _)| *model);
        least.and_then(|least| self.models.remove(&least));
    }

    /// Records that a piece of `bytes` bytes has passed its states. A copy that is not in the table stays unknown.
    pub fn passed(&mut self, model: &Digest, peer: &PeerId, bytes: u32, now: Moment) {
        if let Some(copy) = self.copy_mut(model, peer) {
            copy.passes.passed(now, bytes);
            copy.failed = None;
        }
    }

    /// Records that a piece has failed: the copy counts no more, and its peer is not asked until the pause is over.
    ///
    /// A peer that is busy has not failed, and nothing is recorded of it.
    pub fn failed(&mut self, model: &Digest, peer: &PeerId, why: Failure, now: Moment) {
        if let Some(copy) = self.copy_mut(model, peer) {
            let times = copy.failed.as_ref().map_or(0, |it| it.times).saturating_add(1);
            copy.passes = Passes::new();
            copy.failed = Some(Failed { at: now, why, times });
        }
    }

    /// Forgets a model.
    pub fn forget(&mut self, model: &Digest) {
        self.models.remove(model);
    }

    /// Returns how many replicas a model has, by what this node has audited itself.
    pub fn count(&self, model: &Digest, now: Moment) -> Replicas {
        self.models.get(model).map(|it| it.count(now)).unwrap_or_default()
    }

    /// Returns what is known of the copies of a model, for the store and for `reg health`.
    pub fn copies(&self, model: &Digest) -> Option<&Copies> {
        self.models.get(model)
    }

    /// Returns the models of which something is known.
    pub fn models(&self) -> impl Iterator<Item = &Digest> {
        self.models.keys()
    }

    fn copy_mut(&mut self, model: &Digest, peer: &PeerId) -> Option<&mut PeerCopy> {
        self.models.get_mut(model)?.copies.get_mut(peer)
    }
}

#[cfg(test)]
mod tests;
