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

    /// Changes the limit for all bytes that are read from now on.
    pub fn set(&self, rate: Option<u64>) {
        if self.rate() != rate {
            *self.bucket.lock().unwrap_or_else(PoisonError::into_inner) = TokenBucket::new(rate.unwrap_or(1));
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
