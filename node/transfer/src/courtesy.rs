//! [`Courtesy`]: finds how fast to send to public peers where the user has set no limit: as fast as the uplink takes it
//! without a queue.
//!
//! A full home uplink delays all other traffic, because packets queue before it. The round trips of peers show the
//! queue: when even the least delayed peer answers late, the queue is on this node's uplink. Then it sends less, and
//! else more.
//!
//! A lost packet makes an answer late too. A queue delays every answer, and loss delays some. So one late answer only ends
//! the growth, and several in a row count as a queue.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use reg_proto::peer::PeerId;

use super::time::Instant;

/// Longest queue: a longer one disturbs a call or typing over the same line.
const QUEUE_MAX: Duration = Duration::from_millis(100);
/// Looks in a row at which even the quickest answer is late where there is a queue. At 20 % loss each way, one answer of three is
/// late, and three in a row are so in one look of twenty.
const LOOKS_LATE: usize = 3;
/// Growth of the rate in percent, by the number of looks in a row that saw no queue. A rate that was cut without reason, or long
/// ago, is undone within a minute.
const GROWTH: [u64; 4] = [10, 20, 40, 80];
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
    /// The queues that the last looks saw, [`LOOKS_LATE`] at most.
    queues: VecDeque<Duration>,
    /// The bytes per second that were sent before the last looks, as many as [`LOOKS_LATE`].
    sent: VecDeque<u64>,
    /// Bytes per second; `None` until a queue was seen.
    rate: Option<u64>,
    /// The highest rate at which the answers were quick, since the last cut.
    quick_at: Option<u64>,
    /// Looks in a row that let the rate grow.
    grown: usize,
}

impl Courtesy {
    /// Takes the round trips of the public peers that this node serves, and how many bytes per second it has sent to
    /// all of them since the last call. Returns the rate to keep, in bytes per second; `None` for any.
    pub fn look(&mut self, now: Instant, sent: u64, round_trips: &[(PeerId, Duration)]) -> Option<u64> {
        push(&mut self.sent, sent);
        let queues: Vec<Duration> =
            round_trips.iter().filter_map(|(peer, rtt)| self.queue(now, *peer, *rtt)).collect();
        let Some(queue) = queues.into_iter().min() else { return self.rate };
        push(&mut self.queues, queue);
        let stays = self.queues.len() == LOOKS_LATE && self.queues.iter().all(|it| *it > QUEUE_MAX);
        if stays && sent >= COURTESY_MIN {
            self.cut();
        } else if queue < QUEUE_MAX / 2 {
            self.grow(sent);
        } else {
            self.hold();
        }
        self.rate
    }

    /// Sends less. A pull that has just begun or ended fills only a part of the time between two looks, so the most that was sent
    /// lately counts.
    fn cut(&mut self) {
        let most = self.sent.iter().copied().max().unwrap_or_default();
        let from = self.rate.map_or(most, |rate| rate.min(most));
        self.rate = Some((from / 5 * 4).max(COURTESY_MIN));
        (self.quick_at, self.grown) = (None, 0);
    }

    /// Sends more where as much is sent as may be.
    fn grow(&mut self, sent: u64) {
        let Some(rate) = self.rate else { return };
        self.quick_at = Some(rate);
        if sent >= rate / 5 * 4 {
            let percent = GROWTH[self.grown.min(GROWTH.len() - 1)];
            self.rate = Some(rate.saturating_add(rate / 100 * percent));
            self.grown += 1;
        }
    }

    /// Takes the last growth back: an answer is late, and the next ones tell why.
    fn hold(&mut self) {
        self.grown = 0;
        if let (Some(rate), Some(quick_at)) = (&mut self.rate, self.quick_at) {
            *rate = quick_at.min(*rate);
        }
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

/// Adds what the last look saw, and forgets what is older than [`LOOKS_LATE`] looks.
fn push<T>(looks: &mut VecDeque<T>, seen: T) {
    if looks.len() >= LOOKS_LATE {
        looks.pop_front();
    }
    looks.push_back(seen);
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

    /// Returns the rate after each look at a line that loses packets: `late` of 100 answers are late, and TCP carries `capacity`
    /// bytes per second whatever the rate is.
    fn lossy(courtesy: &mut Courtesy, late: u64, capacity: u64, looks: u32) -> Vec<Option<u64>> {
        let (mut chance, mut rate) = (crate::Chance::new(7), courtesy.rate);
        let look = |n: u32| {
            let sent = rate.map_or(capacity, |rate| rate.min(capacity));
            let lost = if u64::from(chance.below(100)) < late { 400 } else { 0 };
            let rtt = Duration::from_millis(100 + lost);
            rate = courtesy.look(Instant::after_start(LOOK * n), sent, &[(peer(1), rtt)]);
            rate
        };
        (0..looks).map(look).collect()
    }

    /// At 20 % loss each way, 36 of 100 answers are late. Before, the rate fell to [`COURTESY_MIN`] and stayed there.
    #[test]
    fn packets_that_are_lost_are_no_queue() {
        for late in [2, 10, 36] {
            let rates = lossy(&mut Courtesy::default(), late, 700_000, 2_000);
            let carried = rates.iter().map(|rate| rate.map_or(700_000, |rate| rate.min(700_000)));
            let mean = carried.sum::<u64>() / rates.len() as u64;
            assert!(mean > 630_000, "{late} % late: {mean} of 700,000 bytes per second");
        }
    }

    #[test]
    fn a_rate_that_was_cut_to_the_least_grows_back_within_minutes() {
        for late in [0, 10, 36] {
            let mut courtesy = Courtesy { rate: Some(COURTESY_MIN), ..Courtesy::default() };
            let rates = lossy(&mut courtesy, late, 700_000, 60);
            let back = rates.iter().position(|rate| rate.is_some_and(|it| it >= 700_000));
            assert!(back.is_some_and(|looks| looks <= 36), "{late} % late: {back:?}");
        }
    }

    #[test]
    fn a_pull_that_ends_early_in_a_look_does_not_lower_what_was_sent() {
        let mut courtesy = Courtesy::default();
        let look = |courtesy: &mut Courtesy, n: u32, sent, ms| {
            courtesy.look(Instant::after_start(LOOK * n), sent, &[(peer(1), Duration::from_millis(ms))])
        };
        assert_eq!(look(&mut courtesy, 0, 1_000_000, 30), None);
        assert_eq!(look(&mut courtesy, 1, 1_000_000, 400), None, "one late answer");
        assert_eq!(look(&mut courtesy, 2, 1_000_000, 400), None, "two");
        assert_eq!(look(&mut courtesy, 3, 100_000, 400), Some(800_000));
    }
}
