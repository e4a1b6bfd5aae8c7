//! The time of day, read in one place.

use std::time::{Duration, SystemTime};

/// Returns the seconds since 1970-01-01T00:00:00Z; 0 where the clock stands before it.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
