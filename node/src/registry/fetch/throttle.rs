//! [`Throttle`]: a rate limit on fetching; [`TransferLimits`]: the rate limits of a node as they are configured.

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

/// A token bucket with a clock, shared by the streams that it limits.
#[derive(Debug)]
pub struct Throttle {
    start: std::time::Instant,
    bucket: Mutex<TokenBucket>,
    rate: u64,
}

impl Throttle {
    /// Returns a limit of `rate` bytes per second.
    pub fn new(rate: u64) -> Arc<Self> {
        let bucket = Mutex::new(TokenBucket::new(rate));
        Arc::new(Self { start: std::time::Instant::now(), bucket, rate })
    }

    /// Takes `bytes` bytes from the limit and returns how long to wait before reading them.
    pub fn pace(&self, bytes: usize) -> Duration {
        let now = Instant::after_start(self.start.elapsed());
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now, bytes as u64)
    }

    /// Returns the limit in bytes per second.
    pub const fn rate(&self) -> u64 {
        self.rate
    }
}
