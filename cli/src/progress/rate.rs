//! [`Rate`]: bytes per second over the last seconds, so that it follows the line and stays readable.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time over which a rate is measured.
const WINDOW: Duration = Duration::from_secs(8);
/// Least time between two samples: 32 of them fill the window.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// A rate, from amounts and the times at which they were reached.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<(Instant, u64)>,
    /// When the amount last grew.
    grown: Option<Instant>,
}

impl Rate {
    /// Records that `done` bytes are there at `now`. A smaller amount than before starts a new measurement.
    pub(super) fn add(&mut self, now: Instant, done: u64) {
        match self.samples.back() {
            Some((_, before)) if *before > done => {
                self.samples.clear();
                self.grown = Some(now);
            }
            Some((_, before)) if *before == done => {}
            _ => self.grown = Some(now),
        }
        if self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= SAMPLE_EVERY) {
            self.samples.push_back((now, done));
        }
        while self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Returns the bytes in a second; `None` before there are two samples.
    pub(super) fn per_second(&self) -> Option<u64> {
        let ((from, first), (to, last)) = (self.samples.front()?, self.samples.back()?);
        let micros = u64::try_from(to.duration_since(*from).as_micros()).ok().filter(|it| *it > 0)?;
        Some((u128::from(last - first) * 1_000_000 / u128::from(micros)).try_into().unwrap_or(u64::MAX))
    }

    /// Returns how long no byte has come.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        self.grown.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut rate = Rate::default();
        rate.add(at(0), 5_000_000);
        assert_eq!(rate.per_second(), None, "what was there before is no rate");
        (1..=20).for_each(|second| rate.add(at(second * 1000), 5_000_000 + second * 1000));
        assert_eq!(rate.per_second(), Some(1000));
        (21..=40).for_each(|second| rate.add(at(second * 1000), 5_020_000));
        assert_eq!(rate.per_second(), Some(0));
        assert_eq!(rate.silent_for(at(40_000)), Duration::from_secs(20));
        rate.add(at(41_000), 0);
        assert_eq!(rate.per_second(), None, "another stage begins anew");
    }
}
