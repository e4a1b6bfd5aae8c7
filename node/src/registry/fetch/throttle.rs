//! [`Throttle`]: a limit on what is fetched; and the limits of a node, as they are configured.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reg_transfer::{Instant, TokenBucket};

/// How fast a node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpLimit {
    /// As fast as the line takes it without a queue.
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
    /// Bytes per second; `None` for any.
    pub down: Option<u64>,
    /// Whether the limits hold for peers on this machine and in private networks as well.
    pub local: bool,
}

/// A limit with a clock.
#[derive(Debug)]
pub struct Throttle {
    start: std::time::Instant,
    bucket: Mutex<TokenBucket>,
    rate: u64,
}

impl Throttle {
    pub fn new(rate: u64) -> Arc<Self> {
        let bucket = Mutex::new(TokenBucket::new(rate));
        Arc::new(Self { start: std::time::Instant::now(), bucket, rate })
    }

    /// Takes bytes out and returns how long to wait before they are read.
    pub fn pace(&self, bytes: usize) -> Duration {
        let now = Instant::after_start(self.start.elapsed());
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now, bytes as u64)
    }

    pub const fn rate(&self) -> u64 {
        self.rate
    }
}
