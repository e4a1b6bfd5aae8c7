//! [`TokenBucket`]: limits a rate. The time is an argument.

use std::time::Duration;

use super::time::Instant;

/// How much may go at once after a pause: the bytes of this time, few enough that the line feels an even rate.
const BURST: Duration = Duration::from_millis(250);

/// Lets bytes through at a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    /// Bytes per second.
    rate: u64,
    /// When all bytes that were taken so far have had their time.
    paid_until: Instant,
}

impl TokenBucket {
    /// Returns a bucket that lets `rate` bytes through per second; 0 counts as 1.
    pub fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), paid_until: Instant::default() }
    }

    /// Returns the rate, in bytes per second.
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// Changes the rate of all bytes that are taken from now on.
    pub fn set_rate(&mut self, rate: u64) {
        self.rate = rate.max(1);
    }

    /// Takes `bytes`, and returns how long to wait before sending them. Callers queue fairly: each waits for all bytes
    /// that were taken before.
    pub fn take(&mut self, now: Instant, bytes: u64) -> Duration {
        let cost = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.rate);
        // Unused time is saved, up to the burst.
        let from =
            self.paid_until.max(Instant::after_start(now.since(Instant::default()).saturating_sub(BURST)));
        self.paid_until = from + cost;
        from.since(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::after_start(Duration::from_millis(ms))
    }

    #[test]
    fn what_goes_at_once_is_a_burst_and_then_the_rate_holds() {
        let mut bucket = TokenBucket::new(1_000_000);
        assert_eq!(bucket.take(at(10_000), 250_000), Duration::ZERO, "a quarter of a second's worth");
        assert_eq!(bucket.take(at(10_000), 100_000), Duration::ZERO);
        assert_eq!(
            bucket.take(at(10_000), 100_000),
            Duration::from_millis(100),
            "after what was taken before"
        );
        assert_eq!(bucket.take(at(20_000), 1), Duration::ZERO, "a pause is not saved up for ever");
    }

    proptest! {
        /// For all requests at all times: over any stretch of time, no more goes than the rate, the burst and one
        /// request.
        #[test]
        fn the_rate_is_kept(rate in 1_000u64..10_000_000, asks in prop::collection::vec((0u64..400, 1u64..200_000), 1..60)) {
            let mut bucket = TokenBucket::new(rate);
            let (mut now, mut sent) = (10_000_000u64, Vec::new());
            for (gap, bytes) in asks {
                now += gap * 1000;
                let instant = Instant::after_start(Duration::from_micros(now));
                sent.push((now + bucket.take(instant, bytes).as_micros() as u64, bytes));
            }
            for first in 0..sent.len() {
                let mut sum = 0;
                for (when, bytes) in &sent[first..] {
                    let seconds = (when - sent[first].0) as f64 / 1e6 + BURST.as_secs_f64();
                    prop_assert!(sum as f64 <= seconds * rate as f64 + sent.len() as f64 * 1e-6 * rate as f64 + 1.0);
                    sum += bytes;
                }
            }
        }
    }
}
