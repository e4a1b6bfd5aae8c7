//! [`Refused`]: the lines of the log about refused requests: a few a minute, and then how many more there were.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reg_api::printable::Printable;

/// Lines of one span of time. A page that is refused asks again and again.
const LINES_MAX: u32 = 10;
/// That span.
const SPAN: Duration = Duration::from_secs(60);
/// Characters of a path that are shown.
const PATH_MAX: usize = 200;

/// Counts what is refused. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Refused(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Refused {
    /// Tells that a request for `path` was refused, unless enough was told of late.
    pub(super) fn tell(&self, path: &str, why: &str) {
        let Some(left_out) = self.admits(Instant::now()) else { return };
        let path: String = path.chars().take(PATH_MAX).collect();
        let path = Printable::line(&path);
        if left_out > 0 {
            tracing::info!(%path, why, left_out, "a request was refused, and more before it");
        } else {
            tracing::info!(%path, why, "a request was refused");
        }
    }

    /// Returns how many lines were left out before this one; `None` where this one is left out.
    fn admits(&self, now: Instant) -> Option<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.since.is_none_or(|it| now.saturating_duration_since(it) >= SPAN) {
            (held.since, held.lines) = (Some(now), 0);
        }
        if held.lines == LINES_MAX {
            held.left_out += 1;
            return None;
        }
        held.lines += 1;
        Some(std::mem::take(&mut held.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_of_refusals_is_a_few_lines_and_a_number() {
        let (refused, now) = (Refused::default(), Instant::now());
        let told: Vec<Option<u64>> = (0..15).map(|_| refused.admits(now)).collect();
        assert_eq!(told.iter().filter(|it| **it == Some(0)).count(), 10);
        assert!(told[10..].iter().all(Option::is_none), "{told:?}");
        assert_eq!(refused.admits(now + SPAN), Some(5));
        assert_eq!(refused.admits(now + SPAN), Some(0));
    }
}
