//! [`Scheduler`]: the whole public surface of this module, and its present policy.
//!
//! The policy is simple: every peer with room is asked for the first run of open pieces that it holds; blobs that somebody
//! reads have their turns before the others. What a stalled peer owes goes to others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::{PieceIndex, PieceSet};

use super::limits::{BUSY_MAX, BUSY_MIN, SILENCE, STALL};
use super::peer::Peer;
use super::time::Instant;
use super::want::Want;

/// Names a request to a peer, for the life of a scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// Something that has happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A blob is wanted of which these pieces are here.
    Want { blob: Digest, stored: PieceSet },
    /// Only these runs of a wanted blob's pieces are wanted now, each from its first on, in turn. Replaces what was said
    /// before; without any, nothing more of the blob is asked for.
    Focus { blob: Digest, runs: Vec<Range<u32>> },
    /// A blob is no longer wanted.
    Unwant { blob: Digest },
    /// A peer says what it holds of a blob; this replaces what it said before.
    PeerHolds { peer: PeerId, blob: Digest, pieces: PieceSet },
    /// A peer is gone, or is not to be asked any more.
    PeerLeft { peer: PeerId },
    /// A piece that was asked for has passed verification and is written.
    Stored { request: RequestId, piece: PieceIndex },
    /// A piece that was asked for came and is not to be used: it failed verification, or could not be written.
    Failed { request: RequestId, piece: PieceIndex },
    /// A peer does not serve (the rest of) a request.
    Rejected { request: RequestId, busy: Option<Duration> },
    /// Time has passed.
    Tick,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask `peer` for `count` pieces from `first` on.
    Request { request: RequestId, peer: PeerId, blob: Digest, first: PieceIndex, count: u32 },
    /// Tell `peer` that the rest of a request is not needed.
    Cancel { request: RequestId, peer: PeerId },
    /// Every piece of a blob is stored.
    Complete { blob: Digest },
}

#[derive(Debug)]
struct Request {
    peer: PeerId,
    blob: Digest,
    /// Pieces that are neither stored nor given up.
    owed: Vec<PieceIndex>,
}

/// Decides which piece is asked of which peer.
#[derive(Debug, Default)]
pub struct Scheduler {
    wants: BTreeMap<Digest, Want>,
    /// Wanted blobs with pieces that nobody has been asked for; one without any may linger until the next look.
    open: BTreeSet<Digest>,
    peers: BTreeMap<PeerId, Peer>,
    requests: BTreeMap<RequestId, Request>,
    outputs: VecDeque<Output>,
    last_request: u32,
    /// The blob whose reader had the last turn.
    last_read: Option<Digest>,
}

impl Scheduler {
    /// Returns a scheduler that wants nothing and knows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what has happened, at `now`. Drain [`Self::poll_output`] before the next one.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Want { blob, stored } => self.want(blob, stored),
            Input::Focus { blob, runs } => self.focus(blob, runs),
            Input::Unwant { blob } => self.unwant(&blob),
            Input::PeerHolds { peer, blob, pieces } => self.peer_holds(now, peer, blob, pieces),
            Input::PeerLeft { peer } => self.peer_left(&peer),
            Input::Stored { request, piece } => self.stored(now, request, piece),
            Input::Failed { request, piece } => self.failed(now, request, piece),
            Input::Rejected { request, busy } => self.rejected(now, request, busy),
            Input::Tick => self.tick(now),
        }
        self.ask(now);
    }

    /// Returns the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Input::Tick`] is due, `None` while nothing is waited for.
    pub fn next_tick(&self) -> Option<Instant> {
        let deadline = |peer: &Peer| (peer.in_flight > 0).then(|| peer.last_progress + STALL);
        let busy = |peer: &Peer| (peer.busy_until > peer.last_progress).then_some(peer.busy_until);
        self.peers.values().flat_map(|peer| [deadline(peer), busy(peer)]).flatten().min()
    }

    /// Tells which blob and peer a request is for, while it owes pieces.
    pub fn request(&self, request: RequestId) -> Option<(PeerId, Digest)> {
        self.requests.get(&request).map(|it| (it.peer, it.blob))
    }

    /// Tells whether `piece` is owed by a request: whether it may be taken from the peer.
    pub fn is_owed(&self, request: RequestId, piece: PieceIndex) -> bool {
        self.requests.get(&request).is_some_and(|it| it.owed.contains(&piece))
    }

    /// Returns the wanted blobs of which some piece is held by no known peer.
    pub fn without_holder(&self) -> impl Iterator<Item = Digest> + '_ {
        self.wants.iter().filter(|(blob, want)| self.lacks_holder(blob, want)).map(|(blob, _)| *blob)
    }

    fn lacks_holder(&self, blob: &Digest, want: &Want) -> bool {
        let held = self.peers.values().filter_map(|peer| peer.holds.get(blob));
        !want.is_complete() && !want.is_all_asked() && !held.into_iter().any(|holds| want.can_use(holds))
    }

    fn want(&mut self, blob: Digest, stored: PieceSet) {
        let want = Want::new(stored);
        if want.is_complete() {
            self.outputs.push_back(Output::Complete { blob });
        } else {
            self.wants.insert(blob, want);
            self.open.insert(blob);
        }
    }

    fn focus(&mut self, blob: Digest, runs: Vec<Range<u32>>) {
        if let Some(want) = self.wants.get_mut(&blob) {
            want.focus(runs);
            self.open.insert(blob);
        }
    }

    fn unwant(&mut self, blob: &Digest) {
        self.wants.remove(blob);
        let ids: Vec<RequestId> =
            self.requests.iter().filter(|(_, it)| it.blob == *blob).map(|(id, _)| *id).collect();
        for id in ids {
            self.give_up(id, true);
        }
    }

    fn peer_holds(&mut self, now: Instant, peer: PeerId, blob: Digest, pieces: PieceSet) {
        let peer = self.peers.entry(peer).or_insert_with(|| Peer::new(now));
        peer.refused.remove(&blob);
        peer.holds.insert(blob, pieces);
    }

    fn peer_left(&mut self, peer: &PeerId) {
        for id in self.requests_of(peer) {
            self.give_up(id, false);
        }
        self.peers.remove(peer);
    }

    fn stored(&mut self, now: Instant, request: RequestId, piece: PieceIndex) {
        let Some(blob) = self.settle(now, request, piece, true) else { return };
        let Some(want) = self.wants.get_mut(&blob) else { return };
        want.store(piece);
        if want.is_complete() {
            self.wants.remove(&blob);
            self.outputs.push_back(Output::Complete { blob });
        }
    }

    fn failed(&mut self, now: Instant, request: RequestId, piece: PieceIndex) {
        let Some(peer) = self.requests.get(&request).map(|it| it.peer) else { return };
        let Some(blob) = self.settle(now, request, piece, false) else { return };
        self.refuse(&peer, blob, piece);
    }

    fn rejected(&mut self, now: Instant, request: RequestId, busy: Option<Duration>) {
        let Some((peer, blob)) = self.request(request) else { return };
        let owed = self.give_up(request, false);
        match busy {
            Some(wait) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    let wait = wait.max(BUSY_MIN).saturating_mul(1 << peer.trouble.min(8)).min(BUSY_MAX);
                    peer.busy_until = now + wait;
                    peer.trouble = peer.trouble.saturating_add(1);
                }
            }
            None => owed.into_iter().for_each(|piece| self.refuse(&peer, blob, piece)),
        }
    }

    /// Takes the pieces away from peers that have been quiet for too long.
    fn tick(&mut self, now: Instant) {
        let stalled: Vec<PeerId> =
            self.peers.iter().filter(|(_, it)| it.is_stalled(now)).map(|(peer, _)| *peer).collect();
        for peer in stalled {
            let silent = self.peers.get(&peer).is_some_and(|it| it.is_silent(now));
            for id in self.requests_of(&peer) {
                if silent || self.others_hold(&peer, id) {
                    self.give_up(id, true);
                }
            }
            if let Some(it) = self.peers.get_mut(&peer) {
                it.trouble = it.trouble.saturating_add(1);
                it.busy_until = now + if silent { BUSY_MIN } else { SILENCE - STALL };
                it.last_progress = now;
            }
        }
    }

    fn others_hold(&self, peer: &PeerId, request: RequestId) -> bool {
        let Some(Request { blob, owed, .. }) = self.requests.get(&request) else { return false };
        let others = self.peers.iter().filter(|(id, _)| *id != peer);
        let sets: Vec<&PieceSet> = others.filter_map(|(_, other)| other.holds.get(blob)).collect();
        owed.iter().any(|piece| sets.iter().any(|set| set.contains(*piece)))
    }

    /// Asks every peer with room for what it holds and nobody has been asked for, those without trouble first.
    fn ask(&mut self, now: Instant) {
        self.open.retain(|blob| self.wants.get(blob).is_some_and(|want| !want.is_all_asked()));
        let mut peers: Vec<(PeerId, u32)> = self.peers.iter().map(|(id, peer)| (*id, peer.trouble)).collect();
        peers.sort_by_key(|(_, trouble)| *trouble);
        let is_read = |blob: &Digest| self.wants.get(blob).is_some_and(Want::is_focused);
        let (read, plain): (Vec<Digest>, Vec<Digest>) = self.open.iter().copied().partition(is_read);
        for (peer, _) in peers {
            self.ask_for_readers(now, peer, &read);
            for blob in &plain {
                while self.ask_one(now, peer, *blob) {}
            }
        }
    }

    /// Gives every blob that is read one request in turn, for as long as the peer has room.
    fn ask_for_readers(&mut self, now: Instant, peer: PeerId, read: &[Digest]) {
        let after = read.partition_point(|blob| Some(*blob) <= self.last_read);
        let turns: Vec<Digest> = read[after..].iter().chain(&read[..after]).copied().collect();
        let mut any = true;
        while any {
            any = false;
            for blob in &turns {
                if self.ask_one(now, peer, *blob) {
                    self.last_read = Some(*blob);
                    any = true;
                }
            }
        }
    }

    /// Asks a peer for one run of a blob, if it has room and holds one.
    fn ask_one(&mut self, now: Instant, peer: PeerId, blob: Digest) -> bool {
        let (Some(want), Some(it)) = (self.wants.get_mut(&blob), self.peers.get_mut(&peer)) else {
            return false;
        };
        let Some((first, owed)) = it.take_run(&blob, want, now) else { return false };
        self.last_request = self.last_request.wrapping_add(1);
        let (request, count) = (RequestId(self.last_request), owed.len() as u32);
        self.requests.insert(request, Request { peer, blob, owed });
        self.outputs.push_back(Output::Request { request, peer, blob, first, count });
        true
    }

    /// Takes a piece off a request's debt and returns the blob, or `None` where it is not owed.
    fn settle(&mut self, now: Instant, id: RequestId, piece: PieceIndex, good: bool) -> Option<Digest> {
        let request = self.requests.get_mut(&id)?;
        let place = request.owed.iter().position(|owed| *owed == piece)?;
        request.owed.swap_remove(place);
        let (peer, blob) = (request.peer, request.blob);
        if request.owed.is_empty() {
            self.requests.remove(&id);
        }
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.settled();
            if good {
                peer.last_progress = now;
                peer.trouble = 0;
            }
        }
        if !good && let Some(want) = self.wants.get_mut(&blob) {
            want.give_back(piece);
            self.open.insert(blob);
        }
        Some(blob)
    }

    /// Opens all that a request owes for others, and returns it.
    fn give_up(&mut self, id: RequestId, tell: bool) -> Vec<PieceIndex> {
        let Some(Request { peer, blob, owed }) = self.requests.remove(&id) else { return Vec::new() };
        for piece in &owed {
            if let Some(want) = self.wants.get_mut(&blob) {
                want.give_back(*piece);
                self.open.insert(blob);
            }
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.settled();
            }
        }
        if tell {
            self.outputs.push_back(Output::Cancel { request: id, peer });
        }
        owed
    }

    fn refuse(&mut self, peer: &PeerId, blob: Digest, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(peer) else { return };
        let Some(holds) = peer.holds.get(&blob) else { return };
        let len = holds.len();
        peer.refused.entry(blob).or_insert_with(|| PieceSet::new(len)).insert(piece);
    }

    fn requests_of(&self, peer: &PeerId) -> Vec<RequestId> {
        self.requests.iter().filter(|(_, it)| it.peer == *peer).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests;
