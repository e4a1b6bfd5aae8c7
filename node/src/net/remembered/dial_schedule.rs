//! [`DialSchedule`]: which remembered peers to dial when. Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use reg_proto::peer::PeerId;

use crate::net::limits::{REDIAL_AGAIN, REDIAL_AGAIN_MAX, REDIAL_BELOW, REDIALS_AT_ONCE};

/// When to dial a peer again.
#[derive(Debug)]
struct Again {
    due: Instant,
    wait: Duration,
}

/// The dials of remembered peers.
#[derive(Debug, Default)]
pub(super) struct DialSchedule {
    tried: BTreeMap<PeerId, Again>,
    under_way: BTreeSet<PeerId>,
}

impl DialSchedule {
    /// Returns the peers to dial at `now`, of `best`, the best first. `connected` is the number of peers of this swarm that this
    /// node has dialled and is connected to.
    pub(super) fn due(
        &mut self,
        best: &[PeerId],
        connected: usize,
        is_connected: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> Vec<PeerId> {
        if connected >= REDIAL_BELOW {
            return Vec::new();
        }
        if self.tried.len() > best.len() {
            self.tried.retain(|peer, _| best.contains(peer));
        }
        let is_due = |peer: &&PeerId| {
            !self.under_way.contains(*peer)
                && !is_connected(peer)
                && self.tried.get(*peer).is_none_or(|it| it.due <= now)
        };
        let room = REDIALS_AT_ONCE.saturating_sub(self.under_way.len());
        let due: Vec<PeerId> = best.iter().filter(is_due).take(room).copied().collect();
        for peer in &due {
            let wait = self.tried.get(peer).map_or(REDIAL_AGAIN, |it| (it.wait * 2).min(REDIAL_AGAIN_MAX));
            self.tried.insert(*peer, Again { due: now + wait, wait });
            self.under_way.insert(*peer);
        }
        due
    }

    /// Records that a dial has ended. After a success the next loss begins with the first wait again.
    pub(super) fn ended(&mut self, peer: &PeerId, is_success: bool) {
        self.under_way.remove(peer);
        if is_success && let Some(again) = self.tried.get_mut(peer) {
            again.wait = REDIAL_AGAIN / 2;
        }
    }

    /// Tells whether a peer may still turn up: a dial is under way, or one of `best` was not tried and is to be.
    pub(super) fn are_pending(&self, best: &[PeerId], connected: usize) -> bool {
        connected < REDIAL_BELOW
            && (!self.under_way.is_empty() || best.iter().any(|it| !self.tried.contains_key(it)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(count: u8) -> Vec<PeerId> {
        (0..count).map(|byte| PeerId::from_public_key([byte; 32])).collect()
    }

    #[test]
    fn the_best_are_dialled_sixteen_at_a_time_until_eight_are_connected() {
        let (best, now) = (peers(40), Instant::now());
        let mut schedule = DialSchedule::default();
        let first = schedule.due(&best, 0, |_| false, now);
        assert_eq!(first, best[..REDIALS_AT_ONCE]);
        assert_eq!(schedule.due(&best, 0, |_| false, now), []);
        first[..6].iter().for_each(|it| schedule.ended(it, false));
        assert_eq!(schedule.due(&best, 2, |_| false, now), best[REDIALS_AT_ONCE..REDIALS_AT_ONCE + 6]);
        assert!(schedule.are_pending(&best, 7));
        first[6..].iter().for_each(|it| schedule.ended(it, true));
        assert_eq!(schedule.due(&best, REDIAL_BELOW, |_| false, now), []);
        assert!(!schedule.are_pending(&best, REDIAL_BELOW));
        let more = schedule.due(&best, 7, |it| first.contains(it), now + REDIAL_AGAIN);
        assert!(more.len() == 10 && more.iter().all(|it| !first.contains(it)), "one was lost");
    }

    #[test]
    fn a_peer_that_fails_is_dialled_again_later_and_later() {
        let (best, start) = (peers(1), Instant::now());
        let mut schedule = DialSchedule::default();
        let (mut at, mut dials) = (Duration::ZERO, Vec::new());
        while at < 4 * REDIAL_AGAIN_MAX {
            for peer in schedule.due(&best, 0, |_| false, start + at) {
                dials.push(at);
                schedule.ended(&peer, false);
            }
            at += Duration::from_secs(1);
        }
        assert_eq!(dials[..3], [Duration::ZERO, REDIAL_AGAIN, 3 * REDIAL_AGAIN]);
        assert!(dials.windows(2).all(|two| two[1] - two[0] <= REDIAL_AGAIN_MAX));
        assert!(!schedule.are_pending(&best, 0), "each was tried");
    }
}
