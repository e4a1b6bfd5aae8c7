//! [`Meter`]: how fast a download was in the last seconds, and how busy the threads were that verify and write for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples of the window: with one a second, the mean of the last five seconds.
const SAMPLES_MAX: usize = 6;
/// The time between two samples.
const EVERY: Duration = Duration::from_secs(1);

/// Samples of one download.
#[derive(Debug, Default)]
pub(super) struct Meter(VecDeque<Sample>);

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    bytes: u64,
    verifying: Duration,
    writing: Duration,
}

/// What the samples say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::registry::fetch) struct Measured {
    /// Bytes in a second.
    pub rate: u64,
    /// Percentages of the time. They may exceed 100 where several threads work.
    pub verifying: u64,
    pub writing: u64,
}

impl Meter {
    /// Tells whether the next sample is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.0.back().is_none_or(|it| now.saturating_duration_since(it.at) >= EVERY)
    }

    /// Notes the bytes that have come so far, and how long threads have verified and written.
    pub(super) fn note(&mut self, at: Instant, bytes: u64, (verifying, writing): (Duration, Duration)) {
        while self.0.len() >= SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Sample { at, bytes, verifying, writing });
    }

    pub(super) fn measured(&self) -> Measured {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return Measured::default() };
        let millis = last.at.saturating_duration_since(first.at).as_millis().max(1);
        if first.at == last.at {
            return Measured::default();
        }
        let share = |first: Duration, last: Duration| {
            u64::try_from(last.saturating_sub(first).as_millis() * 100 / millis).unwrap_or(u64::MAX)
        };
        let bytes = u128::from(last.bytes.saturating_sub(first.bytes));
        Measured {
            rate: u64::try_from(bytes * 1000 / millis).unwrap_or(u64::MAX),
            verifying: share(first.verifying, last.verifying),
            writing: share(first.writing, last.writing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_mean_of_the_last_seconds() {
        let (mut meter, start, ms) = (Meter::default(), Instant::now(), Duration::from_millis);
        assert!(meter.is_due(start) && meter.measured() == Measured::default());
        meter.note(start, 0, (ms(0), ms(0)));
        assert!(!meter.is_due(start + ms(900)) && meter.is_due(start + EVERY));
        assert_eq!(meter.measured(), Measured::default(), "one sample says nothing");
        meter.note(start + ms(2000), 5000, (ms(600), ms(1000)));
        assert_eq!(meter.measured(), Measured { rate: 2500, verifying: 30, writing: 50 });
        for second in 3..20 {
            meter.note(start + ms(second * 1000), 5000, (ms(0), ms(0)));
        }
        assert_eq!(meter.measured(), Measured::default(), "what was long ago counts no longer");
        assert_eq!(meter.0.len(), SAMPLES_MAX);
    }
}
