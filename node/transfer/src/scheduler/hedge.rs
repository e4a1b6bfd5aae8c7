//! The end of a blob: once no piece is open, sends slow requests to a second peer as well, or to the same one for another of its
//! connections, within a bound.

use super::super::limits::{
    DUPLICATES_MIN, DUPLICATES_OF_WAYS, DUPLICATES_ONE_IN, HEDGE_FACTOR, STEAL_FACTOR,
};
use super::super::peer::Peer;
use super::super::time::Instant;
use super::{Request, RequestId, Scheduler};

impl<P: Copy + Ord> Scheduler<P> {
    /// Asks idle peers for pieces that others are slow to deliver: as well within the bound, instead beyond it.
    pub(super) fn hedge(&mut self, now: Instant) {
        let demand = self.in_flight + self.unit;
        self.peers.iter_mut().flatten().for_each(|peer| peer.look_for_spare(now));
        while self.in_flight < demand {
            let Some((id, thief, factor)) = self.slowest(now).or_else(|| self.on_slow_way(now)) else {
                return;
            };
            let Some(request) = self.requests.get(&id) else { return };
            let (slot, blob, first, owed) = (request.slot, request.blob, request.first, request.owed);
            let Some(want) = self.wants.get_mut(&blob) else { return };
            let unit = want.units().pieces();
            let of_ways = (want.pieces() / 3).min(DUPLICATES_OF_WAYS * unit);
            let least = if thief == slot { of_ways } else { 0 };
            let cap = (want.pieces() / DUPLICATES_ONE_IN).max(DUPLICATES_MIN * unit).max(least);
            let count = owed.count_ones();
            // One request can ask only for pieces that follow each other.
            let is_run = (owed >> owed.trailing_zeros()).trailing_ones() == count;
            if is_run && want.duplicates + count <= cap {
                want.duplicates += count;
                let skipped = owed.trailing_zeros();
                self.send(now, thief, blob, first + skipped, owed >> skipped, Some(id));
            } else if factor >= STEAL_FACTOR && self.peer(thief).is_some_and(Peer::has_brought) {
                // No piece is moved to a peer that has not delivered any yet: the other one may just be slow.
                self.give_up(id, true);
                if let Some(slow) = self.peer_mut(slot) {
                    slow.trouble = slow.trouble.saturating_add(1);
                }
                self.ask(now);
                return;
            } else {
                return;
            }
        }
    }

    /// Returns the oldest request to a peer with a slow way, and that peer: its other ways are idle.
    fn on_slow_way(&self, now: Instant) -> Option<(RequestId, u32, f32)> {
        let is_slow = |request: &Request| {
            let able = |it: &&Peer<P>| it.trouble == 0 && !it.is_late && it.busy_until <= now;
            self.peer(request.slot).filter(able).is_some_and(|it| it.has_slow_way(now, &request.blob))
        };
        let slow = self.requests.iter().filter(|(_, it)| it.twin.is_none() && is_slow(it));
        let (id, request) = slow.min_by_key(|(id, it)| (it.asked_at, **id))?;
        Some((*id, request.slot, HEDGE_FACTOR))
    }

    /// Returns the request that is slowest compared with what an idle peer would need, that peer, and how many times
    /// slower.
    fn slowest(&self, now: Instant) -> Option<(RequestId, u32, f32)> {
        let single = self.requests.iter().filter(|(_, it)| it.twin.is_none());
        let (id, request) = single.min_by_key(|(id, it)| (it.asked_at, **id))?;
        let want = self.wants.get(&request.blob)?;
        let waited = now.since(request.asked_at).as_secs_f32();
        let idle = self.peers.iter().zip(0u32..).filter_map(|(peer, slot)| Some((peer.as_ref()?, slot)));
        let able = idle.filter(|(peer, slot)| {
            *slot != request.slot
                && peer.trouble == 0
                && peer.room(now, self.unit) > 0
                && want.is_held_by(*slot, request.owed())
        });
        let (wait, thief) = able
            .map(|(peer, slot)| (peer.wait_for(request.owed.count_ones()), slot))
            .min_by(|(one, _), (two, _)| one.total_cmp(two))?;
        let usual = self.quick.map_or(0.0, |it| it.as_secs_f32());
        let factor = waited / wait.max(usual).max(f32::MIN_POSITIVE);
        (factor >= HEDGE_FACTOR).then_some((*id, thief, factor))
    }
}
