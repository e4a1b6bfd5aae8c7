//! The time of day. No other module of this crate reads the clock.

use std::time::{Duration, SystemTime};

/// Returns the seconds since 1970-01-01T00:00:00Z; 0 where the clock stands before that time.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Returns a duration, given in seconds, as text for people: `90 s`, `5 min`, `3 h`, `12 days`.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
