//! [`Throttle`]: a rate limit on fetching; [`TransferLimits`]: the rate limits of a node as they are configured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reg_transfer::{Instant, TokenBucket};

/// How fast a node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpLimit {
    /// As fast as the uplink carries without building up a queue.
    #[default]
    Auto,
    None,
    /// Bytes per second.
    Rate(u64),
}

impl UpLimit {
    /// Returns the rate that does not follow the line; `None` where there is no limit, or where it does.
    pub const fn fixed(self) -> Option<u64> {
        match self {
            Self::Rate(rate) => Some(rate),
            Self::Auto | Self::None => None,
        }
    }
}

/// How fast a node sends and fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransferLimits {
    pub up: UpLimit,
    /// Bytes per second; `None` without a limit.
    pub down: Option<u64>,
    /// Whether the limits hold for peers on this machine and in private networks as well.
    pub local: bool,
}

/// A token bucket with a clock, shared by the streams that it limits. Its limit may change, and may be none.
#[derive(Debug)]
pub struct Throttle {
    start: std::time::Instant,
    bucket: Mutex<TokenBucket>,
    /// Bytes per second; 0 without a limit.
    rate: AtomicU64,
}

impl Throttle {
    /// Returns a limit of `rate` bytes per second; `None` is no limit.
    pub fn new(rate: Option<u64>) -> Arc<Self> {
        let throttle = Self {
            start: std::time::Instant::now(),
            bucket: Mutex::new(TokenBucket::new(1)),
            rate: AtomicU64::new(0),
        };
        throttle.set(rate);
        Arc::new(throttle)
    }

    /// Changes the limit for all bytes that are read from now on. What was taken before stays taken: a limit that is set
    /// again allows no second burst.
    pub fn set(&self, rate: Option<u64>) {
        if self.rate() != rate {
            if let Some(rate) = rate {
                self.bucket.lock().unwrap_or_else(PoisonError::into_inner).set_rate(rate);
            }
            self.rate.store(rate.map_or(0, |rate| rate.max(1)), Ordering::Relaxed);
        }
    }

    /// Takes `bytes` bytes from the limit and returns how long to wait before reading them.
    pub fn pace(&self, bytes: usize) -> Duration {
        if self.rate().is_none() {
            return Duration::ZERO;
        }
        let now = Instant::after_start(self.start.elapsed());
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now, bytes as u64)
    }

    /// Returns the limit in bytes per second; `None` without one.
    pub fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_lifted_and_set_again_allows_no_second_burst() {
        let throttle = Throttle::new(Some(1_000_000));
        assert!(throttle.pace(1_000_000).is_zero(), "it waits for what was taken before, and nothing was");
        throttle.set(None);
        assert!(throttle.pace(1_000_000).is_zero(), "no limit");
        throttle.set(Some(2_000_000));
        assert!(throttle.pace(1) > Duration::from_millis(500), "a second of bytes is not paid yet");
    }
}
