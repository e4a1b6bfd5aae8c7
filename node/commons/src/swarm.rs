//! Spreads the blobs of a private swarm: each is to have N copies in different zones, and no node leads.
//!
//! Each node judges each blob for itself, by [`judge`], from facts that it has: which nodes there are, and which of them
//! hold the blob. Nodes with equal facts come to verdicts that fit together, because all rank the nodes of a blob alike
//! (rendezvous hashing: the highest SHA-256 of node and blob first, the first of each zone before the second of any).
//! Nodes with different facts fetch a copy too many at worst. What holds a blob goes on to hold it: a node that joins
//! moves nothing.
//!
//! | what happens | what follows |
//! |---|---|
//! | fewer copies than N | the highest-ranked nodes without one fetch it |
//! | a holder is away | nothing, for [`Policy::repair_after`]; then its copy counts no more |
//! | more copies than N | nothing, for [`Policy::shrink_after`]; then the lowest-ranked holder gives up, one at a time, and only if N others are there and proven lately |
//! | a node is drained | its copies count no more, so others fetch them; it may leave once each has N copies elsewhere |

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;

use super::time::{DAY, Moment};
use super::zone::Zone;

/// How long a holder may be away before its copies are made anew, unless the configuration says otherwise: longer than
/// a restart or an upgrade, and short beside the time in which a second disk fails.
pub const REPAIR_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long a blob must have had too many copies before one is given up: a node that is repaired within a day keeps them.
pub const SHRINK_AFTER: Duration = DAY;
/// How long ago the N other copies may have been proven for one to be given up.
pub const PROVEN_LATELY: Duration = DAY;
/// Copies that a configuration may ask for. Beyond it, every node of most swarms would hold everything.
pub const COPIES_MAX: u32 = 32;

/// What the user has configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Copies that each blob is to have: 1 to [`COPIES_MAX`]. With fewer nodes, each node holds one.
    pub copies: u32,
    pub repair_after: Duration,
    pub shrink_after: Duration,
}

impl Policy {
    /// Returns the policy of so many copies, within 1 to [`COPIES_MAX`], with the usual times.
    pub fn new(copies: u32) -> Self {
        let copies = copies.clamp(1, COPIES_MAX);
        Self { copies, repair_after: REPAIR_AFTER, shrink_after: SHRINK_AFTER }
    }
}

/// A node of the swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub peer: PeerId,
    pub zone: Zone,
    pub presence: Presence,
    /// Whether its user wants to take it out of the swarm.
    pub is_draining: bool,
    /// Whether it takes further blobs: it has room, and shares.
    pub has_room: bool,
}

/// Whether a node can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Here,
    Away { since: Moment },
}

/// What is known of the copies of a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// The nodes that hold it whole, this one included, and when each was last proven. A node knows of its own copy
    /// that it is whole.
    pub holders: BTreeMap<PeerId, Option<Moment>>,
    /// Nodes that fetch it now, or have it in a cache that may evict it.
    pub fetching: BTreeSet<PeerId>,
    /// Holders that do not give it up, because their users keep it.
    pub kept: BTreeSet<PeerId>,
    /// Since when it has had more than N copies.
    pub above_since: Option<Moment>,
}

/// What this node is to do with a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Fetch it.
    Fetch(FetchReason),
    /// Hold it further.
    Keep(KeepReason),
    /// Remove it: it has enough copies elsewhere.
    GiveUp { others: u32 },
    /// Do nothing: it is not here, and others hold or fetch it.
    Leave,
    /// It is here, and this node may leave the swarm as far as this blob goes.
    HandedOver { others: u32 },
}

/// Why a blob is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchReason {
    /// It has too few copies.
    TooFew { copies: u32, wanted: u32 },
    /// It has enough copies, in fewer zones than there could be.
    OtherZone { zones: u32, wanted: u32 },
}

/// Why a blob is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepReason {
    /// It is needed: it has no more copies than it is to have.
    Needed { copies: u32 },
    /// It has had too many copies for too short a time.
    AboveLately,
    /// Others rank lower, and give up first; or its user keeps it.
    RanksHigher,
    /// Too few of the others are there and were proven lately.
    OthersNotProven { proven: u32, wanted: u32 },
    /// This node is drained, and others do not hold it yet.
    HandingOver { others: u32, wanted: u32 },
}

/// Returns what node `me` is to do with a blob. A node that is not among `nodes` leaves everything, and keeps what it has.
pub fn judge(
    policy: &Policy,
    me: &PeerId,
    nodes: &[Node],
    blob: &Digest,
    spread: &Spread,
    now: Moment,
) -> Verdict {
    let facts = Facts::new(policy, nodes, blob, spread, now);
    let is_held = spread.holders.contains_key(me);
    match nodes.iter().find(|it| it.peer == *me) {
        Some(node) if is_held && node.is_draining => facts.hand_over(me),
        Some(_) if is_held => facts.keep_or_give_up(me),
        Some(node) if !node.is_draining => facts.fetch_or_leave(me),
        _ if is_held => Verdict::Keep(KeepReason::Needed { copies: facts.copies() }),
        _ => Verdict::Leave,
    }
}

/// How many copies of a blob count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Holders that are not drained, and not away for too long.
    pub copies: u32,
    /// Zones with such a holder.
    pub zones: u32,
    /// Copies that it is to have: N, or one for each node where there are fewer.
    pub wanted: u32,
}

/// Counts the copies of a blob.
pub fn count_copies(policy: &Policy, nodes: &[Node], blob: &Digest, spread: &Spread, now: Moment) -> Counted {
    let facts = Facts::new(policy, nodes, blob, spread, now);
    Counted { copies: facts.copies(), zones: count(facts.zones().len()), wanted: facts.wanted }
}

/// Returns the nodes that are to fetch a blob; none where it has enough copies.
pub fn chosen(
    policy: &Policy,
    nodes: &[Node],
    blob: &Digest,
    spread: &Spread,
    now: Moment,
) -> BTreeSet<PeerId> {
    let facts = Facts::new(policy, nodes, blob, spread, now);
    let (missing, zones_missing, _) = facts.missing();
    facts.fetchers(missing, zones_missing, &facts.zones()).into_iter().copied().collect()
}

/// Tells whether a drained node may leave: each of its blobs is handed over.
pub fn may_leave(verdicts: impl IntoIterator<Item = Verdict>) -> bool {
    verdicts.into_iter().all(|it| matches!(it, Verdict::HandedOver { .. } | Verdict::Leave))
}

/// Returns nodes in the order in which they should hold a blob: the first of each zone by rendezvous, then the second of
/// each, and so on.
pub fn ranked<'a>(nodes: impl IntoIterator<Item = &'a Node>, blob: &Digest) -> Vec<&'a Node> {
    let mut scored: Vec<(Reverse<[u8; 32]>, &Node)> =
        nodes.into_iter().map(|node| (Reverse(score(&node.peer, blob)), node)).collect();
    scored.sort_by_key(|(score, _)| *score);
    let mut in_zone: BTreeMap<&Zone, u32> = BTreeMap::new();
    let mut placed: Vec<(u32, usize, &Node)> = Vec::with_capacity(scored.len());
    for (place, (_, node)) in scored.into_iter().enumerate() {
        let before = in_zone.entry(&node.zone).or_default();
        placed.push((*before, place, node));
        *before += 1;
    }
    placed.sort_by_key(|(before, place, _)| (*before, *place));
    placed.into_iter().map(|(.., node)| node).collect()
}

fn score(peer: &PeerId, blob: &Digest) -> [u8; 32] {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(peer.public_key());
    bytes[32..].copy_from_slice(blob.as_bytes());
    *Digest::of(&bytes).as_bytes()
}

/// What follows from the facts for one blob, the same for every node.
struct Facts<'a> {
    policy: &'a Policy,
    blob: &'a Digest,
    spread: &'a Spread,
    now: Moment,
    /// Nodes that are here and not drained.
    able: Vec<&'a Node>,
    /// Holders that count: not drained, and not away for too long.
    live: Vec<&'a Node>,
    /// Copies that the blob is to have: N, or one for each node where there are fewer.
    wanted: u32,
}

impl<'a> Facts<'a> {
    fn new(policy: &'a Policy, nodes: &'a [Node], blob: &'a Digest, spread: &'a Spread, now: Moment) -> Self {
        let able: Vec<&Node> =
            nodes.iter().filter(|it| it.presence == Presence::Here && !it.is_draining).collect();
        let is_live = |node: &&Node| match node.presence {
            _ if node.is_draining || !spread.holders.contains_key(&node.peer) => false,
            Presence::Here => true,
            Presence::Away { since } => now.since(since) < policy.repair_after,
        };
        let live: Vec<&Node> = nodes.iter().filter(is_live).collect();
        let away = live.iter().filter(|it| it.presence != Presence::Here).count();
        let wanted = policy.copies.clamp(1, COPIES_MAX).min(count(able.len() + away));
        Self { policy, blob, spread, now, able, live, wanted }
    }

    fn copies(&self) -> u32 {
        count(self.live.len())
    }

    fn zones(&self) -> BTreeSet<&'a Zone> {
        self.live.iter().map(|it| &it.zone).collect()
    }

    /// Returns how many copies are missing, how many zones, and how many zones there are to be.
    fn missing(&self) -> (u32, u32, u32) {
        let zones_able: BTreeSet<&Zone> = self.able.iter().chain(&self.live).map(|it| &it.zone).collect();
        let zones_wanted = self.wanted.min(count(zones_able.len()));
        let zones_missing = zones_wanted.saturating_sub(count(self.zones().len()));
        (self.wanted.saturating_sub(self.copies()), zones_missing, zones_wanted)
    }

    fn fetch_or_leave(&self, me: &PeerId) -> Verdict {
        let (copies, zones) = (self.copies(), self.zones());
        let (missing, zones_missing, zones_wanted) = self.missing();
        let reason = match missing {
            0 if zones_missing == 0 => return Verdict::Leave,
            0 => FetchReason::OtherZone { zones: count(zones.len()), wanted: zones_wanted },
            _ => FetchReason::TooFew { copies, wanted: self.wanted },
        };
        match self.fetchers(missing, zones_missing, &zones).contains(&me) {
            true => Verdict::Fetch(reason),
            false => Verdict::Leave,
        }
    }

    /// Returns the nodes that are to fetch the blob: those in zones without a copy, then others, but no others only for
    /// the sake of zones. Of each kind, those that fetch it already come first.
    fn fetchers(&self, missing: u32, zones_missing: u32, zones: &BTreeSet<&Zone>) -> Vec<&'a PeerId> {
        let free =
            self.able.iter().copied().filter(|it| it.has_room && !self.spread.holders.contains_key(&it.peer));
        let mut order = ranked(free, self.blob);
        order.sort_by_key(|it| !self.spread.fetching.contains(&it.peer));
        let mut zones = zones.clone();
        let (new, known): (Vec<&Node>, Vec<&Node>) = order.into_iter().partition(|it| zones.insert(&it.zone));
        let mut chosen: Vec<&Node> = new.into_iter().take(missing.max(zones_missing) as usize).collect();
        let left = (missing as usize).saturating_sub(chosen.len());
        chosen.extend(known.into_iter().take(left));
        chosen.into_iter().map(|it| &it.peer).collect()
    }

    fn keep_or_give_up(&self, me: &PeerId) -> Verdict {
        let keep = |reason| Verdict::Keep(reason);
        if self.copies() <= self.wanted {
            return keep(KeepReason::Needed { copies: self.copies() });
        }
        let is_long =
            self.spread.above_since.is_some_and(|since| self.now.since(since) >= self.policy.shrink_after);
        if !is_long {
            return keep(KeepReason::AboveLately);
        }
        if self.surplus().is_none_or(|lowest| lowest.peer != *me) {
            return keep(KeepReason::RanksHigher);
        }
        // Where there are fewer nodes than copies asked for, N others cannot be; then nothing is given up.
        let (proven, wanted) = (self.proven_others(me), self.policy.copies.clamp(1, COPIES_MAX));
        match proven >= wanted {
            true => Verdict::GiveUp { others: proven },
            false => keep(KeepReason::OthersNotProven { proven, wanted }),
        }
    }

    /// Returns the holder that gives up first: the lowest-ranked one that its user does not keep, and without which no zone that
    /// is wanted has no copy.
    fn surplus(&self) -> Option<&'a Node> {
        let (zones, (.., zones_wanted)) = (self.zones(), self.missing());
        let is_alone = |node: &Node| self.live.iter().filter(|it| it.zone == node.zone).count() == 1;
        let may_go = |node: &&Node| {
            let is_needed = is_alone(node) && count(zones.len()) <= zones_wanted;
            !self.spread.kept.contains(&node.peer) && !is_needed
        };
        let order = ranked(self.live.iter().copied(), self.blob);
        order.into_iter().rfind(may_go)
    }

    fn hand_over(&self, me: &PeerId) -> Verdict {
        let others_able = self.able.iter().filter(|it| it.peer != *me).count();
        let wanted = self.policy.copies.clamp(1, COPIES_MAX).min(count(others_able)).max(1);
        let others = self.proven_others(me);
        match others >= wanted {
            true => Verdict::HandedOver { others },
            false => Verdict::Keep(KeepReason::HandingOver { others, wanted }),
        }
    }

    /// Counts the other holders that are here, stay, and were proven lately.
    fn proven_others(&self, me: &PeerId) -> u32 {
        let is_proven = |node: &&&Node| {
            let proven = self.spread.holders.get(&node.peer).copied().flatten();
            node.peer != *me
                && node.presence == Presence::Here
                && proven.is_some_and(|at| at <= self.now && self.now.since(at) < PROVEN_LATELY)
        };
        count(self.live.iter().filter(is_proven).count())
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
