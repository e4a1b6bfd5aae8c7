//! [`Courtesy`]: finds how fast to send to public peers where the user has set no limit: as fast as the uplink takes it
//! without a queue.
//!
//! A full home uplink delays all other traffic, because packets queue before it. The round trips of peers show the
//! queue: when even the least delayed peer answers late, the queue is on this node's uplink. Then it sends less, and
//! else more.

use std::collections::BTreeMap;
use std::time::Duration;

use reg_proto::peer::PeerId;

use super::time::Instant;

/// Longest queue: a longer one disturbs a call or typing over the same line.
const QUEUE_MAX: Duration = Duration::from_millis(100);
/// Lowest rate, in bytes per second, so that peers can always pull from this node.
pub const COURTESY_MIN: u64 = 64_000;
/// Round trips are compared with the shortest of this time and the one before, so that a change of route is noticed.
const MEMORY: Duration = Duration::from_secs(600);
/// Peers for which round trips are remembered: fewer are served at once.
const PEERS_MAX: usize = 64;

/// The shortest round trip of one peer, in this stretch of time and in the one before.
#[derive(Debug, Clone, Copy)]
struct Least {
    before: Duration,
    now: Duration,
    since: Instant,
}

/// The state of the search for the rate.
#[derive(Debug, Default)]
pub struct Courtesy {
    least: BTreeMap<PeerId, Least>,
    /// Bytes per second; `None` until a queue was seen.
    rate: Option<u64>,
}

impl Courtesy {
    /// Takes the round trips of the public peers that this node serves, and how many bytes per second it has sent to
    /// all of them since the last call. Returns the rate to keep, in bytes per second; `None` for any.
    pub fn look(&mut self, now: Instant, sent: u64, round_trips: &[(PeerId, Duration)]) -> Option<u64> {
        let queues: Vec<Duration> =
            round_trips.iter().filter_map(|(peer, rtt)| self.queue(now, *peer, *rtt)).collect();
        let Some(queue) = queues.into_iter().min() else { return self.rate };
        if queue > QUEUE_MAX && sent >= COURTESY_MIN {
            let from = self.rate.map_or(sent, |rate| rate.min(sent));
            self.rate = Some((from / 5 * 4).max(COURTESY_MIN));
        } else if queue < QUEUE_MAX / 2
            && let Some(rate) = self.rate.filter(|rate| sent >= rate / 5 * 4)
        {
            self.rate = Some(rate.saturating_add(rate / 10));
        }
        self.rate
    }

    /// Returns how much longer a peer's round trip is than its shortest one.
    fn queue(&mut self, now: Instant, peer: PeerId, rtt: Duration) -> Option<Duration> {
        if self.least.len() >= PEERS_MAX && !self.least.contains_key(&peer) {
            self.least.pop_first();
        }
        let least = self.least.entry(peer).or_insert(Least { before: rtt, now: rtt, since: now });
        if now.since(least.since) >= MEMORY / 2 {
            *least = Least { before: least.now, now: rtt, since: now };
        }
        least.now = least.now.min(rtt);
        Some(rtt.saturating_sub(least.before.min(least.now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_secs(5);

    fn peer(n: u8) -> PeerId {
        PeerId::from_public_key([n; 32])
    }

    /// Simulates a line that takes `capacity` bytes per second and queues the rest, while pullers would take `wanted`.
    fn home(capacity: u64, wanted: u64, looks: usize) -> Vec<(u64, Duration)> {
        let (mut courtesy, mut rate, mut queued, mut seen) = (Courtesy::default(), None, 0u64, Vec::new());
        for n in 0..looks {
            let offered = rate.map_or(wanted, |rate: u64| rate.min(wanted));
            // A modem buffers two seconds.
            queued = (queued + offered * LOOK.as_secs())
                .saturating_sub(capacity * LOOK.as_secs())
                .min(2 * capacity);
            let queue = Duration::from_secs_f64(queued as f64 / capacity as f64);
            let round_trips =
                [(peer(1), Duration::from_millis(30) + queue), (peer(2), Duration::from_millis(90) + queue)];
            // The first look is before anything is sent.
            let (sent, round_trips) = if n == 0 {
                queued = 0;
                (0, round_trips.map(|(peer, rtt)| (peer, rtt - queue)))
            } else {
                (offered.min(capacity), round_trips)
            };
            rate = courtesy.look(Instant::after_start(LOOK * n as u32), sent, &round_trips);
            seen.push((sent, queue));
        }
        seen
    }

    #[test]
    fn a_full_home_line_is_left_usable_and_well_used() {
        let seen = home(1_250_000, 50_000_000, 120);
        let late = &seen[30..];
        let queue = late.iter().map(|it| it.1).sum::<Duration>() / late.len() as u32;
        let sent = late.iter().map(|it| it.0).sum::<u64>() / late.len() as u64;
        assert!(queue < Duration::from_millis(250), "{queue:?}");
        assert!(sent > 1_250_000 * 6 / 10, "{sent} of 1,250,000 bytes per second");
    }

    #[test]
    fn where_there_is_no_queue_there_is_no_limit() {
        let mut courtesy = Courtesy::default();
        for n in 0..100 {
            let rtt = Duration::from_millis(20 + n % 7);
            let now = Instant::after_start(LOOK * n as u32);
            assert_eq!(courtesy.look(now, 500_000_000, &[(peer(1), rtt)]), None);
        }
    }

    #[test]
    fn one_peer_that_is_slow_itself_slows_nobody() {
        let mut courtesy = Courtesy::default();
        for n in 0..50u64 {
            let (slow, quick) = (Duration::from_millis(50 + 40 * n), Duration::from_millis(30));
            let now = Instant::after_start(LOOK * n as u32);
            assert_eq!(courtesy.look(now, 5_000_000, &[(peer(1), slow), (peer(2), quick)]), None);
        }
    }

    #[test]
    fn it_never_stops_altogether() {
        let mut courtesy = Courtesy::default();
        courtesy.look(Instant::default(), 0, &[(peer(1), Duration::from_millis(10))]);
        let mut rate = None;
        for n in 1..80u32 {
            rate =
                courtesy.look(Instant::after_start(LOOK * n), 70_000, &[(peer(1), Duration::from_secs(2))]);
        }
        assert_eq!(rate, Some(COURTESY_MIN));
    }
}
