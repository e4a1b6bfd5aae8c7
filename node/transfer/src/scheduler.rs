//! [`Scheduler`]: decides which piece to ask of which peer.
//!
//! A peer with room is asked for the rarest unit that it holds, whole. Near peers are asked first, and farther ones for
//! pieces that no near peer holds. Blobs with readers go first, in order. The pieces under way are bounded by rate ×
//! delay, for each peer and together. Once no piece is open, slow requests are sent to a second peer as well (`hedge`).

mod ask;
mod hedge;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::{PieceIndex, PieceSet};

use super::bits::Bits;
use super::chance::Chance;
use super::limits::{
    BUSY_DOUBLINGS, BUSY_MAX, BUSY_MIN, HEARD_TRUSTED, LATE_FACTOR, LATE_MIN, SILENCE, STALL, START_PIECES,
};
use super::peer::{Nearness, Peer, quickest};
use super::rate::Rate;
use super::slots::Slots;
use super::time::Instant;
use super::want::Want;

/// The number of a request to a peer, unique within a scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// Something that has happened. `P` is the driver's name for a source of pieces.
#[derive(Debug, Clone)]
pub enum Input<P = PeerId> {
    /// A blob is wanted, of which these pieces are stored. Pieces are asked for from the next input on.
    Want { blob: Digest, stored: PieceSet },
    /// Readers wait for these runs of a wanted blob's pieces, each from its first piece on, in turn; `others` tells whether
    /// its other pieces are wanted as well, after these. Replaces what was said before. Without runs and others, no more
    /// pieces of the blob are asked for.
    Focus { blob: Digest, runs: Vec<Range<u32>>, others: bool },
    /// A blob is no longer wanted.
    Unwant { blob: Digest },
    /// Where a peer is; [`Nearness::Far`] until this input.
    PeerIs { peer: P, nearness: Nearness },
    /// How many pieces a peer sends beside each other, because so many connections carry them; 1 until this input.
    PeerWays { peer: P, ways: u32 },
    /// A peer says which pieces of a blob it holds; this replaces what it has said before.
    PeerHolds { peer: P, blob: Digest, pieces: PieceSet },
    /// A peer says that it holds these pieces as well.
    PeerHas { peer: P, blob: Digest, pieces: Range<u32> },
    /// Bytes of a requested piece have come from a peer, at least [`HEARD_BYTES`](crate::HEARD_BYTES) since the last time.
    PeerHeard { peer: P },
    /// A peer has disconnected, or must not be asked any more.
    PeerLeft { peer: P },
    /// A requested piece has passed verification and is written.
    Stored { request: RequestId, piece: PieceIndex },
    /// A requested piece has failed verification: the peer that sent it is never asked again.
    Failed { request: RequestId, piece: PieceIndex },
    /// A peer refuses a request, or the rest of one; `busy` is how long it asks the puller to wait.
    Rejected { request: RequestId, busy: Option<Duration> },
    /// Time has passed.
    Tick,
}

/// Something for the driver to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<P = PeerId> {
    /// Ask `peer` for `count` pieces from `first` on.
    Request { request: RequestId, peer: P, blob: Digest, first: PieceIndex, count: u32 },
    /// Cancel the rest of a request to `peer`.
    Cancel { request: RequestId, peer: P },
    /// Every piece of a blob is stored.
    Complete { blob: Digest },
}

#[derive(Debug)]
struct Request {
    slot: u32,
    blob: Digest,
    first: u32,
    /// A bit for each piece, from the first on, that is neither stored nor given up; a request has at most 16 pieces.
    owed: u16,
    asked_at: Instant,
    /// Whether the peer owed no other piece when it was asked.
    is_alone: bool,
    /// The second request for the same pieces.
    twin: Option<RequestId>,
}

impl Request {
    fn owed(&self) -> impl Iterator<Item = u32> + use<> {
        let (first, owed) = (self.first, self.owed);
        (0..u16::BITS).filter(move |bit| owed >> bit & 1 == 1).map(move |bit| first + bit)
    }

    fn bit(&self, piece: u32) -> u16 {
        piece.checked_sub(self.first).filter(|bit| *bit < u16::BITS).map_or(0, |bit| 1 << bit)
    }
}

/// Decides which piece to ask of which peer.
#[derive(Debug)]
pub struct Scheduler<P = PeerId> {
    wants: BTreeMap<Digest, Want>,
    /// Wanted blobs with open pieces; one without any may remain until the next search.
    open: BTreeSet<Digest>,
    /// Those of them that have readers.
    read: BTreeSet<Digest>,
    slots: Slots<P>,
    peers: Vec<Option<Peer<P>>>,
    /// Slots of peers that hold no open piece, as far as the scheduler knows.
    drained: Bits<Vec<u64>>,
    /// Peers that have sent wrong bytes: they are never asked again.
    out: BTreeSet<P>,
    requests: BTreeMap<RequestId, Request>,
    outputs: VecDeque<Output<P>>,
    last_request: u32,
    /// The blob for which a reader had the last turn.
    last_read: Option<Digest>,
    /// Pieces of the largest unit of the wanted blobs.
    unit: u32,
    /// Pieces that should be under way.
    demand: u32,
    /// Pieces under way from peers that are not late.
    in_flight: u32,
    /// Pieces under way from peers that are not near.
    in_flight_far: u32,
    /// Whether a near peer is neither late nor in trouble.
    has_near: bool,
    rate: Rate,
    last_stored: Instant,
    /// How long the quickest requests take.
    quick: Option<Duration>,
    chance: Chance,
}

impl<P: Copy + Ord> Scheduler<P> {
    /// Returns a scheduler that wants no blob and knows no peer. The schedulers of one swarm should have different
    /// seeds, because they choose by chance among equally rare units.
    pub fn new(seed: u64) -> Self {
        Self {
            wants: BTreeMap::new(),
            open: BTreeSet::new(),
            read: BTreeSet::new(),
            slots: Slots::new(),
            peers: Vec::new(),
            drained: Bits(Vec::new()),
            out: BTreeSet::new(),
            requests: BTreeMap::new(),
            outputs: VecDeque::new(),
            last_request: 0,
            last_read: None,
            unit: 1,
            demand: START_PIECES,
            in_flight: 0,
            in_flight_far: 0,
            has_near: false,
            rate: Rate::default(),
            last_stored: Instant::default(),
            quick: None,
            chance: Chance::new(seed),
        }
    }

    /// Handles an input at `now`. The caller drains [`Self::poll_output`] before the next one.
    pub fn handle(&mut self, now: Instant, input: Input<P>) {
        match input {
            // The driver may say next which of its pieces are wanted first.
            Input::Want { blob, stored } => return self.want(blob, stored),
            Input::Focus { blob, runs, others } => self.focus(blob, runs, others),
            Input::Unwant { blob } => self.unwant(&blob),
            Input::PeerIs { peer, nearness } => self.peer_is(now, peer, nearness),
            Input::PeerWays { peer, ways } => self.peer_ways(now, peer, ways),
            Input::PeerHolds { peer, blob, pieces } => self.peer_holds(now, peer, blob, &pieces),
            Input::PeerHas { peer, blob, pieces } => return self.peer_has(now, &peer, &blob, pieces),
            Input::PeerHeard { peer } => self.peer_heard(now, &peer),
            Input::PeerLeft { peer } => self.peer_left(&peer),
            Input::Stored { request, piece } => self.stored(now, request, piece),
            Input::Failed { request, piece } => self.failed(request, piece),
            Input::Rejected { request, busy } => self.rejected(now, request, busy),
            Input::Tick => self.tick(now),
        }
        self.ask(now);
    }

    /// Returns the next output; `None` when there is none.
    pub fn poll_output(&mut self) -> Option<Output<P>> {
        self.outputs.pop_front()
    }

    /// Returns when [`Input::Tick`] is due; `None` while no piece is under way.
    pub fn next_tick(&self) -> Option<Instant> {
        let deadline = |peer: &Peer<P>| (peer.in_flight > 0).then(|| peer.last_progress + LATE_MIN);
        let busy = |peer: &Peer<P>| (peer.busy_until > peer.last_progress).then_some(peer.busy_until);
        self.peers.iter().flatten().flat_map(|peer| [deadline(peer), busy(peer)]).flatten().min()
    }

    /// Returns the peer and the blob of a request, while it owes pieces.
    pub fn request(&self, request: RequestId) -> Option<(P, Digest)> {
        let request = self.requests.get(&request)?;
        Some((self.peer(request.slot)?.id, request.blob))
    }

    /// Tells whether a request owes `piece`: only then does the driver accept it from the peer.
    pub fn is_owed(&self, request: RequestId, piece: PieceIndex) -> bool {
        self.requests.get(&request).is_some_and(|it| it.owed & it.bit(piece.get()) != 0)
    }

    /// Returns how many pieces a peer owes.
    pub fn in_flight(&self, peer: &P) -> u32 {
        self.slots.get(peer).and_then(|slot| self.peer(slot)).map_or(0, |it| it.in_flight)
    }

    /// Returns the wanted blobs of which some piece is open and held by no known peer.
    pub fn without_holder(&self) -> impl Iterator<Item = Digest> + '_ {
        let lacks = |want: &Want| want.is_wanted && !want.is_all_asked() && !want.has_holder();
        self.wants.iter().filter(move |(_, want)| lacks(want)).map(|(blob, _)| *blob)
    }

    fn peer(&self, slot: u32) -> Option<&Peer<P>> {
        self.peers.get(slot as usize).and_then(Option::as_ref)
    }

    fn peer_mut(&mut self, slot: u32) -> Option<&mut Peer<P>> {
        self.peers.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// Considers all peers again, because pieces may be open that were not.
    fn something_opened(&mut self) {
        self.drained.0.fill(0);
    }

    fn want(&mut self, blob: Digest, stored: PieceSet) {
        if stored.is_full() {
            self.unwant(&blob);
            self.outputs.push_back(Output::Complete { blob });
            return;
        }
        match self.wants.get_mut(&blob) {
            Some(want) => want.want(stored, &mut self.chance),
            None => drop(self.wants.insert(blob, Want::new(stored, true, &mut self.chance))),
        }
        self.unit = self.wants.get(&blob).map_or(1, |want| want.units().pieces()).max(self.unit);
        self.set_demand();
        self.is_open_again(blob);
        self.something_opened();
    }

    /// Considers a blob again, because it may have an open piece.
    fn is_open_again(&mut self, blob: Digest) {
        match self.wants.get(&blob) {
            Some(want) if want.is_wanted => {
                if want.is_focused() {
                    self.read.insert(blob);
                }
                if want.wants_others() {
                    self.open.insert(blob);
                }
            }
            _ => {}
        }
    }

    fn focus(&mut self, blob: Digest, runs: Vec<Range<u32>>, others: bool) {
        if let Some(want) = self.wants.get_mut(&blob).filter(|want| want.is_wanted) {
            want.focus(runs, others);
            self.open.remove(&blob);
            self.read.remove(&blob);
            self.is_open_again(blob);
            self.something_opened();
        }
    }

    fn unwant(&mut self, blob: &Digest) {
        self.wants.remove(blob);
        self.open.remove(blob);
        self.read.remove(blob);
        let of_blob = self.requests.iter().filter(|(_, it)| it.blob == *blob);
        let ids: Vec<RequestId> = of_blob.map(|(id, _)| *id).collect();
        for id in ids {
            self.give_up(id, true);
        }
    }

    /// Returns the slot of a peer, a new one where it has none; `None` where it has sent wrong bytes.
    fn slot(&mut self, now: Instant, peer: P) -> Option<u32> {
        if let Some(slot) = self.slots.get(&peer) {
            return Some(slot);
        }
        if self.out.contains(&peer) {
            return None;
        }
        let place = self.peers.iter().position(Option::is_none).unwrap_or(self.peers.len());
        if place == self.peers.len() {
            self.peers.push(None);
            self.drained.0.resize(self.peers.len().div_ceil(64), 0);
        }
        self.peers[place] = Some(Peer::new(peer, now));
        let slot = place as u32;
        self.drained.remove(slot);
        self.slots.insert(peer, slot);
        Some(slot)
    }

    fn peer_is(&mut self, now: Instant, peer: P, nearness: Nearness) {
        let Some(slot) = self.slot(now, peer) else { return };
        let Some(it) = self.peer_mut(slot) else { return };
        let before = std::mem::replace(&mut it.nearness, nearness);
        let in_flight = it.in_flight;
        if before.is_near() != nearness.is_near() {
            self.in_flight_far = match nearness.is_near() {
                true => self.in_flight_far.saturating_sub(in_flight),
                false => self.in_flight_far + in_flight,
            };
            self.wants.values_mut().for_each(|want| want.set_near(slot, nearness.is_near()));
        }
        self.look_for_near();
        self.something_opened();
    }

    fn peer_ways(&mut self, now: Instant, peer: P, ways: u32) {
        if let Some(peer) = self.slot(now, peer).and_then(|slot| self.peer_mut(slot)) {
            peer.ways = ways.max(1);
        }
    }

    fn look_for_near(&mut self) {
        let fine = |it: &Peer<P>| it.nearness.is_near() && !it.is_late && !it.is_refusing && it.trouble == 0;
        let has_near = self.peers.iter().flatten().any(fine);
        if std::mem::replace(&mut self.has_near, has_near) && !has_near {
            self.something_opened();
        }
    }

    fn peer_holds(&mut self, now: Instant, peer: P, blob: Digest, pieces: &PieceSet) {
        let Some(slot) = self.slot(now, peer) else { return };
        let Some(it) = self.peer(slot) else { return };
        let is_near = it.nearness.is_near();
        self.drained.remove(slot);
        let chance = &mut self.chance;
        let empty = || PieceSet::new(pieces.len());
        let want = self.wants.entry(blob).or_insert_with(|| Want::new(empty(), false, chance));
        want.holds(slot, pieces, is_near, &mut self.chance);
    }

    /// Handles the most frequent input, news of a peer's pieces, and considers only that peer.
    fn peer_has(&mut self, now: Instant, peer: &P, blob: &Digest, pieces: Range<u32>) {
        let Some(slot) = self.slots.get(peer) else { return };
        let Some(want) = self.wants.get_mut(blob) else { return };
        if want.also_holds(slot, pieces, &mut self.chance) {
            self.drained.remove(slot);
            self.ask_peer(now, slot);
        }
    }

    fn peer_left(&mut self, peer: &P) {
        let Some(slot) = self.slots.remove(peer) else { return };
        for id in self.requests_of(slot) {
            self.give_up(id, false);
        }
        for want in self.wants.values_mut() {
            want.forget(slot, &mut self.chance);
        }
        self.peers[slot as usize] = None;
        self.look_for_near();
        self.something_opened();
    }

    fn stored(&mut self, now: Instant, id: RequestId, piece: PieceIndex) {
        let Some(request) = self.requests.get(&id) else { return };
        let (slot, quick) = (request.slot, request.is_alone.then(|| now.since(request.asked_at)));
        let Some((blob, twin)) = self.settle(id, piece.get()) else { return };
        self.delivered(now, slot, quick);
        if let Some(peer) = self.peer_mut(slot) {
            peer.brought_of(now, &blob);
        }
        if let Some(twin) = twin {
            self.settle_twin(twin, piece.get());
        }
        let Some(want) = self.wants.get_mut(&blob) else { return };
        want.store(piece.get(), &mut self.chance);
        if want.is_complete() {
            self.wants.remove(&blob);
            self.open.remove(&blob);
            self.read.remove(&blob);
            self.outputs.push_back(Output::Complete { blob });
        }
    }

    /// Records that a peer has delivered a piece.
    fn delivered(&mut self, now: Instant, slot: u32, quick: Option<Duration>) {
        self.rate.came(1, now.since(self.last_stored));
        self.last_stored = now;
        if let Some(quick) = quick {
            self.quick = Some(quickest(self.quick, quick));
        }
        self.set_demand();
        self.is_well(slot, |peer| peer.delivered(now, quick));
    }

    /// Records that bytes of a piece have come from a peer: it is slow, and not silent.
    fn peer_heard(&mut self, now: Instant, peer: &P) {
        let Some(slot) = self.slots.get(peer) else { return };
        let drips = self.drips();
        match self.peer_mut(slot) {
            Some(peer) if peer.has_dripped(drips) => peer.heard(now, false),
            _ => self.is_well(slot, |peer| peer.heard(now, true)),
        }
    }

    /// Returns how long a peer may be heard without a whole piece before other peers are asked as well.
    fn drips(&self) -> Duration {
        self.quick.map_or(HEARD_TRUSTED, |quick| (quick * LATE_FACTOR).max(STALL))
    }

    /// Records what shows that a peer is not silent; its pieces count as under way again.
    fn is_well(&mut self, slot: u32, record: impl FnOnce(&mut Peer<P>)) {
        let Some(peer) = self.peer_mut(slot) else { return };
        let was_in_trouble = peer.trouble > 0 || peer.is_late || peer.is_refusing;
        record(peer);
        if std::mem::take(&mut peer.is_late) {
            let in_flight = peer.in_flight;
            self.in_flight += in_flight;
        }
        if was_in_trouble {
            self.look_for_near();
        }
    }

    /// Excludes a peer that has sent wrong bytes: one piece proves it.
    fn failed(&mut self, id: RequestId, piece: PieceIndex) {
        let Some(slot) = self.requests.get(&id).map(|it| it.slot) else { return };
        if !self.is_owed(id, piece) {
            return;
        }
        if let Some(peer) = self.peer(slot).map(|it| it.id) {
            self.out.insert(peer);
            self.peer_left(&peer);
        }
    }

    fn rejected(&mut self, now: Instant, id: RequestId, busy: Option<Duration>) {
        let Some(request) = self.requests.get(&id) else { return };
        let (slot, blob, owed) = (request.slot, request.blob, request.owed());
        self.give_up(id, false);
        match busy {
            Some(wait) => {
                if let Some(peer) = self.peer_mut(slot) {
                    let wait = wait
                        .max(BUSY_MIN)
                        .saturating_mul(1 << peer.refusals.min(BUSY_DOUBLINGS))
                        .min(BUSY_MAX);
                    peer.busy_until = now + wait;
                    peer.refusals = peer.refusals.saturating_add(1);
                    peer.refused_since.get_or_insert(now);
                }
            }
            None => {
                let Some(want) = self.wants.get_mut(&blob) else { return };
                owed.for_each(|piece| want.holds_no_more(slot, piece, &mut self.chance));
            }
        }
    }

    /// Opens the pieces again that peers owe which have been quiet for too long.
    fn tick(&mut self, now: Instant) {
        let late = self.quick.map_or(LATE_MIN, |quick| (quick * LATE_FACTOR).max(LATE_MIN));
        let drips = self.drips();
        let mut stalled: Vec<u32> = Vec::new();
        let mut any_late = false;
        for peer in self.peers.iter_mut().flatten() {
            any_late |= peer.look_for_refusing(now);
        }
        for (peer, slot) in self.peers.iter_mut().zip(0u32..) {
            let Some(peer) = peer.as_mut().filter(|it| it.in_flight > 0) else { continue };
            // It keeps its pieces, but counts neither as near, nor as quick, nor as a source of what is under way.
            let is_dripping = peer.has_dripped(drips);
            if is_dripping {
                peer.trouble = peer.trouble.max(1);
            } else if !peer.is_quiet(now, late.min(STALL)) {
                continue;
            }
            if !std::mem::replace(&mut peer.is_late, true) {
                self.in_flight = self.in_flight.saturating_sub(peer.in_flight);
                any_late = true;
            }
            if peer.is_quiet(now, STALL) {
                stalled.push(slot);
            }
        }
        for slot in stalled {
            self.stalled(now, slot);
        }
        if any_late {
            self.look_for_near();
        }
    }

    fn stalled(&mut self, now: Instant, slot: u32) {
        let silent = self.peer(slot).is_some_and(|it| it.is_quiet(now, SILENCE));
        for id in self.requests_of(slot) {
            if silent || self.others_hold(slot, id) {
                self.give_up(id, true);
            }
        }
        let Some(peer) = self.peer_mut(slot) else { return };
        peer.was_silent(now, silent);
        self.look_for_near();
    }

    fn others_hold(&self, slot: u32, id: RequestId) -> bool {
        let Some(request) = self.requests.get(&id) else { return false };
        let Some(want) = self.wants.get(&request.blob) else { return true };
        request.owed().any(|piece| want.is_held_beside(slot, piece))
    }

    /// Removes a piece from those that a request owes, and returns the blob and the request's twin; `None` where the
    /// request does not owe it.
    fn settle(&mut self, id: RequestId, piece: u32) -> Option<(Digest, Option<RequestId>)> {
        let request = self.requests.get_mut(&id)?;
        let bit = request.bit(piece);
        if request.owed & bit == 0 {
            return None;
        }
        request.owed &= !bit;
        let (slot, blob, twin) = (request.slot, request.blob, request.twin);
        if request.owed == 0 {
            self.requests.remove(&id);
        }
        self.owes_less(slot, 1);
        Some((blob, twin))
    }

    /// Removes a piece that another request has brought; cancels this request once it owes no more.
    fn settle_twin(&mut self, id: RequestId, piece: u32) {
        let Some(slot) = self.requests.get(&id).map(|it| it.slot) else { return };
        if self.settle(id, piece).is_some() && !self.requests.contains_key(&id) {
            self.cancel(id, slot);
        }
    }

    fn cancel(&mut self, request: RequestId, slot: u32) {
        if let Some(peer) = self.peer(slot).map(|it| it.id) {
            self.outputs.push_back(Output::Cancel { request, peer });
        }
    }

    fn owes_less(&mut self, slot: u32, pieces: u32) {
        let Some(peer) = self.peer_mut(slot) else { return };
        peer.in_flight = peer.in_flight.saturating_sub(pieces);
        let (is_near, mut is_late) = (peer.nearness.is_near(), peer.is_late);
        if peer.in_flight == 0 {
            is_late = std::mem::take(&mut peer.is_late);
        }
        if !is_late {
            self.in_flight = self.in_flight.saturating_sub(pieces);
        }
        if !is_near {
            self.in_flight_far = self.in_flight_far.saturating_sub(pieces);
        }
    }

    /// Opens all pieces that a request owes, except those that its twin owes too.
    fn give_up(&mut self, id: RequestId, tell: bool) {
        let Some(request) = self.requests.remove(&id) else { return };
        let twins = request.twin.and_then(|twin| self.still_owed(twin, &request)).unwrap_or(0);
        self.owes_less(request.slot, request.owed.count_ones());
        if let Some(want) = self.wants.get_mut(&request.blob) {
            let open: Vec<u32> = request.owed().filter(|piece| request.bit(*piece) & twins == 0).collect();
            for piece in &open {
                want.give_back(*piece, &mut self.chance);
            }
            let holds_any =
                |slot: &u32| open.iter().any(|piece| want.is_held_by(*slot, std::iter::once(*piece)));
            let holders: Vec<u32> = self.drained.iter().filter(holds_any).collect();
            holders.into_iter().for_each(|slot| self.drained.remove(slot));
            self.is_open_again(request.blob);
        }
        if tell {
            self.cancel(id, request.slot);
        }
    }

    /// Returns which pieces of a request its twin owes too, and unlinks the twin.
    fn still_owed(&mut self, twin: RequestId, request: &Request) -> Option<u16> {
        let twin = self.requests.get_mut(&twin)?;
        twin.twin = None;
        Some(twin.owed().map(|piece| request.bit(piece)).fold(0, |all, bit| all | bit))
    }

    fn requests_of(&self, slot: u32) -> Vec<RequestId> {
        self.requests.iter().filter(|(_, it)| it.slot == slot).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests;
