//! [`Pace`]: the clock of audits, which may run faster than time.

use std::time::{Duration, SystemTime};

use reg_commons::Moment;

use super::settings::PACE_MAX;

/// How many seconds of audits pass in one second. The moments of audits are seconds since 1970, times the pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace(u32);

impl Pace {
    pub(super) fn new(pace: u32) -> Self {
        Self(pace.clamp(1, PACE_MAX))
    }

    pub(super) const fn get(self) -> u32 {
        self.0
    }

    /// Returns the moment of audits that is now.
    pub(super) fn now(self) -> Moment {
        self.at(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO))
    }

    /// Returns the moment of audits at a time since 1970.
    fn at(self, since_1970: Duration) -> Moment {
        let seconds = since_1970.as_millis() * u128::from(self.0) / 1000;
        Moment::from_seconds(u64::try_from(seconds).unwrap_or(u64::MAX))
    }

    /// Returns when a moment of audits was, in seconds since 1970.
    pub(super) fn seconds(self, moment: Moment) -> u64 {
        moment.seconds() / u64::from(self.0)
    }

    /// Returns how long a time of audits takes.
    pub(super) fn taken(self, time: Duration) -> Duration {
        time / self.0
    }

    /// Returns the time of audits that passes in a time.
    pub(super) fn passing(self, time: Duration) -> Duration {
        time * self.0
    }

    /// Returns the bytes for an hour of audits out of those for an hour.
    pub(super) const fn share(self, bytes_per_hour: u64) -> u64 {
        bytes_per_hour / self.0 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_audits_passes_in_an_hour_divided_by_the_pace() {
        let start = Duration::from_secs(1_700_000_000);
        for pace in [1, 60, PACE_MAX] {
            let pace = Pace::new(pace);
            let hour = Duration::from_secs(3600);
            let later = pace.at(start + pace.taken(hour));
            assert_eq!(later.since(pace.at(start)), hour);
            assert_eq!(pace.seconds(pace.at(start)), start.as_secs());
            assert_eq!(pace.taken(pace.passing(hour)), hour);
        }
        assert_eq!((Pace::new(0).get(), Pace::new(u32::MAX).get()), (1, PACE_MAX));
        assert_eq!(Pace::new(60).share(6000), 100);
    }
}
