//! The end of a blob: once no piece is open, sends slow requests to a second peer as well, within a bound.

use super::super::limits::{DUPLICATES_MIN, DUPLICATES_ONE_IN, HEDGE_FACTOR, STEAL_FACTOR};
use super::super::peer::Peer;
use super::super::time::Instant;
use super::{RequestId, Scheduler};

impl<P: Copy + Ord> Scheduler<P> {
    /// Asks idle peers for pieces that others are slow to deliver: as well within the bound, instead beyond it.
    pub(super) fn hedge(&mut self, now: Instant) {
        let demand = self.in_flight + self.unit;
        while self.in_flight < demand {
            let Some((id, thief, factor)) = self.slowest(now) else { return };
            let Some(request) = self.requests.get(&id) else { return };
            let (slot, blob, first, owed) = (request.slot, request.blob, request.first, request.owed);
            let Some(want) = self.wants.get_mut(&blob) else { return };
            let cap = (want.pieces() / DUPLICATES_ONE_IN).max(DUPLICATES_MIN * want.units().pieces());
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
