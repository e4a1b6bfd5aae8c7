//! [`Moment`]: the time of day as an input.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Length of an hour.
pub const HOUR: Duration = Duration::from_secs(3600);
/// Length of a day.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Seconds since 1970-01-01T00:00:00Z. What is known of replicas is older than the process that knows it, so this crate
/// counts by the calendar and not from the start of a process. It reads no clock and only compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(u64);

impl Moment {
    /// Returns the moment `seconds` after 1970-01-01T00:00:00Z.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Returns the seconds since 1970-01-01T00:00:00Z.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to `self`; zero if `earlier` is later, as after a clock was set back.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }
}
