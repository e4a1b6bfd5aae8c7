//! [`Rates`]: how many signatures each peer, and all peers together, may make this node verify.
//!
//! What a message costs is known only once it is verified, so it is paid for afterwards. A peer in debt waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reg_proto::peer::PeerId;

use crate::registry::limits::{
    PASSED_ON_BURST, PASSED_ON_PER_SECOND, RATES_MAX, VERIFICATIONS_BURST, VERIFICATIONS_IN_ALL_BURST,
    VERIFICATIONS_IN_ALL_PER_SECOND, VERIFICATIONS_PER_SECOND,
};

/// A budget that fills again over time. It is negative while it is in debt.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
    per_second: u32,
    burst: u32,
}

impl Bucket {
    fn full(per_second: u32, burst: u32, now: Instant) -> Self {
        Self { left: burst.into(), at: now, per_second, burst }
    }

    fn fill(&mut self, now: Instant) {
        let since = now.duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * f64::from(self.per_second)).min(self.burst.into());
        self.at = now;
    }

    fn is_full(&self) -> bool {
        self.left >= f64::from(self.burst)
    }

    /// Returns how long it takes until the debt is paid.
    fn wait(&self) -> Duration {
        if self.left > 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((1.0 - self.left) / f64::from(self.per_second))
    }
}

/// Whether this node asked for what a peer sent. Each has a budget of its own, so that a peer which answers this node is
/// not disconnected for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Asked,
    Unasked,
}

/// The budgets of the peers that cost something lately, and of all peers together.
#[derive(Debug)]
pub(super) struct Rates {
    peers: BTreeMap<(Kind, PeerId), Bucket>,
    all: Bucket,
    /// What this node passes on to its neighbours.
    passed_on: Bucket,
}

impl Rates {
    pub(super) fn new(now: Instant) -> Self {
        let all = Bucket::full(VERIFICATIONS_IN_ALL_PER_SECOND, VERIFICATIONS_IN_ALL_BURST, now);
        let passed_on = Bucket::full(PASSED_ON_PER_SECOND, PASSED_ON_BURST, now);
        Self { peers: BTreeMap::new(), all, passed_on }
    }

    /// Takes the price of what a peer sent, and returns whether the peer is in debt now.
    pub(super) fn pay(&mut self, kind: Kind, peer: PeerId, price: usize, now: Instant) -> bool {
        let bucket = self.of(kind, peer, now);
        bucket.left -= f64::from(u32::try_from(price).unwrap_or(u32::MAX));
        bucket.left < 0.0
    }

    /// Takes the price of what any peer sent unasked.
    pub(super) fn pay_for_all(&mut self, spent: usize, now: Instant) {
        self.all.fill(now);
        self.all.left -= f64::from(u32::try_from(spent).unwrap_or(u32::MAX));
    }

    /// Returns how long a peer must wait until it has paid for what it sent before.
    pub(super) fn wait(&mut self, kind: Kind, peer: PeerId, now: Instant) -> Duration {
        self.of(kind, peer, now).wait()
    }

    /// Returns how long all peers must wait for what they sent unasked.
    pub(super) fn wait_of_all(&mut self, now: Instant) -> Duration {
        self.all.fill(now);
        self.all.wait()
    }

    /// Returns whether an announcement that costs a neighbour so much may be passed on, and if so takes its price.
    pub(super) fn pass_on(&mut self, worth: usize, now: Instant) -> bool {
        self.passed_on.fill(now);
        let left = self.passed_on.left - f64::from(u32::try_from(worth).unwrap_or(u32::MAX));
        let may_pass = left >= 0.0;
        if may_pass {
            self.passed_on.left = left;
        }
        may_pass
    }

    fn of(&mut self, kind: Kind, peer: PeerId, now: Instant) -> &mut Bucket {
        if self.peers.len() >= RATES_MAX && !self.peers.contains_key(&(kind, peer)) {
            self.peers.values_mut().for_each(|bucket| bucket.fill(now));
            self.peers.retain(|_, bucket| !bucket.is_full());
            // A peer with the least debt gains the least by being forgotten.
            let least = self.peers.iter().max_by(|(_, one), (_, two)| one.left.total_cmp(&two.left));
            if self.peers.len() >= RATES_MAX
                && let Some(least) = least.map(|(peer, _)| *peer)
            {
                self.peers.remove(&least);
            }
        }
        let new = || Bucket::full(VERIFICATIONS_PER_SECOND, VERIFICATIONS_BURST, now);
        let bucket = self.peers.entry((kind, peer)).or_insert_with(new);
        bucket.fill(now);
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> PeerId {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        PeerId::from_public_key(key)
    }

    #[test]
    fn a_peer_in_debt_waits_until_it_has_paid() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        let burst = VERIFICATIONS_BURST as usize;
        assert!(!rates.pay(Kind::Unasked, peer(1), burst, start));
        assert!(rates.wait(Kind::Unasked, peer(1), start) > Duration::ZERO, "it has used up its burst");
        assert_eq!(rates.wait(Kind::Unasked, peer(2), start), Duration::ZERO, "another peer has not");
        assert_eq!(
            rates.wait(Kind::Asked, peer(1), start),
            Duration::ZERO,
            "its answers have their own budget"
        );
        assert!(
            rates.pay(Kind::Unasked, peer(1), VERIFICATIONS_PER_SECOND as usize, start),
            "now it is in debt"
        );
        let later = start + Duration::from_millis(900);
        assert!(rates.wait(Kind::Unasked, peer(1), later) > Duration::ZERO);
        assert_eq!(rates.wait(Kind::Unasked, peer(1), start + Duration::from_secs(2)), Duration::ZERO);
        let long_after = start + Duration::from_secs(100_000);
        assert!(!rates.pay(Kind::Unasked, peer(1), burst, long_after), "more than a burst is never saved up");
        assert!(rates.pay(Kind::Unasked, peer(1), 1, long_after));
    }

    #[test]
    fn all_together_cost_no_more_than_their_share_however_many_they_are() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        let each = VERIFICATIONS_BURST as usize;
        let mut peers = 0;
        while rates.wait_of_all(start) == Duration::ZERO {
            peers += 1;
            rates.pay(Kind::Unasked, peer(peers), each, start);
            rates.pay_for_all(each, start);
        }
        assert!(peers * each <= VERIFICATIONS_IN_ALL_BURST as usize + each);
        assert_eq!(
            rates.wait(Kind::Unasked, peer(peers + 1), start),
            Duration::ZERO,
            "what this node asked for goes on"
        );
    }

    /// What is passed on is always within what a neighbour allows.
    #[test]
    fn a_node_that_passes_on_what_strangers_send_stays_within_its_own_rate() {
        let start = Instant::now();
        let (mut own, mut neighbour) = (Rates::new(start), Rates::new(start));
        for step in 0..10_000 {
            let now = start + Duration::from_millis(step);
            if own.pass_on(300, now) {
                assert!(!neighbour.pay(Kind::Unasked, peer(1), 300, now), "after {step} ms");
            }
        }
        assert!(!own.pass_on(usize::MAX, start + Duration::from_secs(100)));
        assert!(own.pass_on(2, start + Duration::from_secs(100)));
    }

    #[test]
    fn so_many_peers_are_counted_and_debtors_are_not_forgotten() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        rates.pay(Kind::Unasked, peer(0), 2 * VERIFICATIONS_BURST as usize, start);
        for number in 1..=2 * RATES_MAX {
            rates.pay(Kind::Unasked, peer(number), 1, start);
            assert!(rates.peers.len() <= RATES_MAX);
        }
        assert!(rates.wait(Kind::Unasked, peer(0), start) > Duration::ZERO);
    }
}
