//! Chooses the next peer to ask, and what to ask it for.

use std::ops::Bound::{Excluded, Unbounded};

use reg_proto::digest::Digest;
use reg_proto::limits::REQUEST_PIECES_MAX;

use super::super::limits::{DEMAND_UNITS_MIN, START_PIECES, UNIT_PIECES, WEB_AFTER, WEB_SPARED};
use super::super::peer::{Nearness, Peer, under_way};
use super::super::time::Instant;
use super::super::want::{Order, Reach, Want};
use super::{Output, Request, RequestId, Scheduler};

impl<P: Copy + Ord> Scheduler<P> {
    /// Asks peers with room for open pieces that they hold, until enough pieces are under way.
    pub(super) fn ask(&mut self, now: Instant) {
        if self.open.is_empty() && self.read.is_empty() && self.requests.is_empty() {
            return;
        }
        while self.in_flight < self.demand {
            let Some(slot) = self.next_peer(now) else { break };
            self.ask_one(now, slot);
        }
        // Slow peers that owe enough pieces must not keep a web server idle that makes the end come sooner.
        while let Some(slot) = self.idle_web(now) {
            if !self.ask_one(now, slot) {
                break;
            }
        }
        while self.take_back(now) {}
        if self.in_flight < self.demand && self.open.is_empty() && self.read.is_empty() {
            self.hedge(now);
        }
    }

    /// Asks one peer, if it has room and too few pieces are under way.
    pub(super) fn ask_peer(&mut self, now: Instant, slot: u32) {
        while self.in_flight < self.demand
            && self.may_be_asked(slot, now).is_some()
            && self.ask_one(now, slot)
        {}
    }

    /// Sets how many pieces should be under way from all peers together.
    pub(super) fn set_demand(&mut self) {
        let rate = self.quick.map_or(0, |quick| under_way(self.rate.per_second(), quick));
        self.demand = rate.max(DEMAND_UNITS_MIN * self.unit).max(START_PIECES);
    }

    /// Returns a peer if it has room and may hold an open piece that may be taken from its distance.
    fn may_be_asked(&self, slot: u32, now: Instant) -> Option<&Peer<P>> {
        if self.drained.contains(slot) { None } else { self.able(slot, now) }
    }

    /// Returns a peer if it has room, and may be asked at its distance.
    fn able(&self, slot: u32, now: Instant) -> Option<&Peer<P>> {
        let peer = self.peer(slot)?;
        match peer.nearness {
            Nearness::Host | Nearness::Zone => {}
            Nearness::Far if self.may_go_far() => {}
            Nearness::Web if !self.is_quick_without_web(now) => {}
            Nearness::Far | Nearness::Web => return None,
        }
        let room = peer.room(now, self.unit);
        (room >= self.unit || (room > 0 && peer.in_flight == 0)).then_some(peer)
    }

    /// Returns the peers that may hold an open piece.
    fn undrained(&self) -> impl Iterator<Item = &Peer<P>> {
        let slots = (0u32..).zip(&self.peers).filter(|(slot, _)| !self.drained.contains(*slot));
        slots.filter_map(|(_, peer)| peer.as_ref())
    }

    /// Tells whether the peers that hold more bring [`WEB_SPARED`] together, and one of them, with or without room now,
    /// would bring a piece within [`WEB_AFTER`]. A peer that has not delivered yet counts as fast, until it is late.
    fn is_quick_without_web(&self, now: Instant) -> bool {
        let is_able = |it: &&Peer<P>| {
            it.nearness != Nearness::Web && !it.is_late && it.trouble == 0 && it.busy_until <= now
        };
        let able = || self.undrained().filter(is_able);
        able().any(|it| it.wait_for(1) < WEB_AFTER.as_secs_f32())
            && able().map(Peer::rate).sum::<f32>() >= WEB_SPARED
    }

    /// Tells whether peers that are not near may be asked. While near peers deliver and hold more, none is: they may be
    /// busy, and are worth waiting for. While near peers deliver or could, one request at a time goes far. In
    /// simulation (8 zones), that takes 2.1 copies into a zone instead of 4.9.
    fn may_go_far(&self) -> bool {
        if !self.has_near {
            return true;
        }
        let near = |it: &&Peer<P>| it.nearness.is_near() && !it.is_late && !it.is_refusing;
        let holds_more = self.undrained().filter(near).any(|it| it.trouble == 0);
        if holds_more && self.in_flight > self.in_flight_far {
            return false;
        }
        let brings_any = |it: &Peer<P>| it.in_flight > 0;
        self.in_flight_far == 0
            || !(self.undrained().any(|it| near(&it))
                || self.peers.iter().flatten().filter(near).any(brings_any))
    }

    /// Returns the next peer to ask, among those that have room and may hold an open piece. Peers without trouble come
    /// first, then nearer ones, then those that would deliver a unit soonest; chance decides between equals. A web
    /// server that may be asked counts as near as the nearest peer.
    fn next_peer(&mut self, now: Instant) -> Option<u32> {
        let len = self.peers.len();
        let start = self.chance.below(len as u32) as usize;
        let mut best: Option<(u32, Nearness, f32)> = None;
        let web = self.nearest();
        let mut chosen = None;
        for step in 0..len {
            let place = if start + step < len { start + step } else { start + step - len };
            let Some(peer) = self.may_be_asked(place as u32, now) else { continue };
            let nearness = if peer.nearness == Nearness::Web { web } else { peer.nearness };
            let key = (peer.trouble, nearness, peer.wait_for(self.unit));
            if best.is_none_or(|best| key < best) {
                best = Some(key);
                chosen = Some(place as u32);
            }
        }
        chosen
    }

    /// Returns a web server that owes nothing and may be asked.
    fn idle_web(&self, now: Instant) -> Option<u32> {
        (0..self.peers.len() as u32)
            .find(|slot| !self.drained.contains(*slot) && self.is_idle_web(*slot, now))
    }

    /// Tells whether a peer is a web server that owes nothing and may be asked, whatever it holds.
    fn is_idle_web(&self, slot: u32, now: Instant) -> bool {
        self.able(slot, now).is_some_and(|it| it.nearness == Nearness::Web && it.in_flight == 0)
    }

    /// Gives the newest request of a peer to a web server that owes nothing, where no piece is open and the peer owes more than
    /// it brings within [`WEB_AFTER`]: it was quick when it was asked for so much. Returns whether there was such a request.
    fn take_back(&mut self, now: Instant) -> bool {
        if !self.open.is_empty() || !self.read.is_empty() {
            return false;
        }
        let Some(web) = (0..self.peers.len() as u32).find(|slot| self.is_idle_web(*slot, now)) else {
            return false;
        };
        let owes_too_much = |it: &Request| {
            self.peer(it.slot).is_some_and(|peer| {
                let is_last = peer.in_flight <= it.owed.count_ones();
                peer.nearness != Nearness::Web && !is_last && peer.wait_for(0) >= WEB_AFTER.as_secs_f32()
            })
        };
        let may_move = |it: &Request| {
            it.twin.is_none() && self.wants.get(&it.blob).is_some_and(|want| want.is_held_by(web, it.owed()))
        };
        let movable = self.requests.iter().filter(|(_, it)| may_move(it) && owes_too_much(it));
        let newest = movable.max_by_key(|(id, it)| (it.asked_at, **id)).map(|(id, _)| *id);
        let Some(newest) = newest else { return false };
        self.give_up(newest, true);
        self.ask_one(now, web)
    }

    /// Returns how near the nearest peer is that holds more.
    fn nearest(&self) -> Nearness {
        let peers = self.undrained().map(|it| it.nearness);
        peers.min().unwrap_or_default().min(Nearness::Far)
    }

    /// Asks a peer for one run. A peer that holds no open piece is not considered again until something changes.
    fn ask_one(&mut self, now: Instant, slot: u32) -> bool {
        let is_asked = self.ask_for_any(now, slot);
        if !is_asked {
            self.drained.insert(slot);
        }
        is_asked
    }

    /// Asks a peer for one run of any blob; runs that readers wait for come first.
    fn ask_for_any(&mut self, now: Instant, slot: u32) -> bool {
        if !self.read.is_empty() && self.ask_for_reader(now, slot) {
            return true;
        }
        let mut last = Unbounded;
        while let Some(blob) = self.open.range((last, Unbounded)).next().copied() {
            if self.ask_for(now, slot, blob, Order::Rarest) {
                return true;
            }
            self.strike_off(&blob);
            last = Excluded(blob);
        }
        false
    }

    /// Asks a peer for one run that a reader waits for; readers take turns.
    fn ask_for_reader(&mut self, now: Instant, slot: u32) -> bool {
        let after = self.last_read.map_or(Unbounded, Excluded);
        let later = self.read.range((after, Unbounded)).copied();
        let turns: Vec<Digest> = later.chain(self.read.iter().copied()).take(self.read.len()).collect();
        for blob in turns {
            if self.ask_for(now, slot, blob, Order::Reading) {
                self.last_read = Some(blob);
                return true;
            }
            self.strike_off(&blob);
        }
        false
    }

    /// Stops searching a blob without an open piece.
    fn strike_off(&mut self, blob: &Digest) {
        if self.wants.get(blob).is_none_or(Want::is_all_asked) {
            self.open.remove(blob);
            self.read.remove(blob);
        }
    }

    /// Asks a peer for one run of a blob, if it holds one.
    fn ask_for(&mut self, now: Instant, slot: u32, blob: Digest, order: Order) -> bool {
        let (has_near, unit) = (self.has_near, self.unit);
        let Some(peer) = self.peers.get(slot as usize).and_then(Option::as_ref) else { return false };
        let Some(want) = self.wants.get_mut(&blob) else { return false };
        let is_far = peer.nearness == Nearness::Far;
        let reach = if is_far && has_near { Reach::NotNear } else { Reach::All };
        let most = run_max(peer, want, now);
        let most = match order {
            Order::Rarest => most,
            Order::Reading if peer.trouble > 0 => 1,
            Order::Reading => peer.room(now, unit).clamp(1, UNIT_PIECES),
        };
        let Some(run) = want.take(slot, order, reach, most, &mut self.chance) else { return false };
        let count = run.end - run.start;
        let owed = if count >= u16::BITS { u16::MAX } else { (1 << count) - 1 };
        self.send(now, slot, blob, run.start, owed, None);
        true
    }

    /// Sends a request for a run of pieces; `owed` has a bit for each piece of it that the peer owes.
    pub(super) fn send(
        &mut self,
        now: Instant,
        slot: u32,
        blob: Digest,
        first: u32,
        owed: u16,
        twin: Option<RequestId>,
    ) {
        let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let Some(want) = self.wants.get(&blob) else { return };
        let Some(first_piece) = want.piece(first) else { return };
        let (count, id, is_alone) = (owed.count_ones(), peer.id, peer.in_flight == 0);
        peer.asked(now, count);
        peer.asked_of(now, blob);
        if self.in_flight == 0 {
            self.last_stored = now;
        }
        self.in_flight += count;
        if !peer.nearness.is_near() {
            self.in_flight_far += count;
        }
        self.last_request = self.last_request.wrapping_add(1);
        let request = RequestId(self.last_request);
        self.requests.insert(request, Request { slot, blob, first, owed, asked_at: now, is_alone, twin });
        if let Some(other) = twin.and_then(|twin| self.requests.get_mut(&twin)) {
            other.twin = Some(request);
        }
        self.outputs.push_back(Output::Request { request, peer: id, blob, first: first_piece, count });
    }
}

/// Returns how many pieces a run may have: those of a unit; one from a peer in trouble; as many as there is room for
/// from a web server, because it counts requests.
fn run_max<P>(peer: &Peer<P>, want: &Want, now: Instant) -> u32 {
    let unit = want.units().pieces();
    match peer.nearness {
        _ if peer.trouble > 0 => 1,
        Nearness::Web => peer.room(now, unit).clamp(unit, REQUEST_PIECES_MAX),
        _ => unit,
    }
}
