//! [`Rate`]: a moving average of pieces per second that is right from the first piece on.

use std::time::Duration;

/// Pieces older than this count for less than half.
const MEMORY_S: f32 = 2.0;

/// Pieces, and the time of waiting for them; both are forgotten at the same pace.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    pieces: f32,
    seconds: f32,
}

impl Rate {
    /// Counts pieces that arrived after waiting for `waited`.
    pub(super) fn came(&mut self, pieces: u32, waited: Duration) {
        let waited = waited.as_secs_f32();
        let kept = MEMORY_S / (MEMORY_S + waited);
        self.pieces = self.pieces * kept + pieces as f32;
        self.seconds = self.seconds * kept + waited;
    }

    /// Returns pieces per second; `None` until some have arrived and taken time.
    pub(super) fn per_second(&self) -> Option<f32> {
        (self.seconds > 0.0 && self.pieces > 0.0).then(|| self.pieces / self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_fair_from_the_first_piece_and_follows_what_changes() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(), None);
        rate.came(1, Duration::from_millis(100));
        assert!((rate.per_second().unwrap() - 10.0).abs() < 0.1);
        for _piece in 0..400 {
            rate.came(1, Duration::from_millis(25));
        }
        assert!((rate.per_second().unwrap() - 40.0).abs() < 2.0, "{rate:?}");
    }
}
