//! [`Promised`]: remembers the pieces that this node has promised to pullers a moment ago.
//!
//! A second puller can soon get such a piece from the first one, but cannot know that it is on its way until the first
//! one says that it holds it. So this node refuses the second request, and the puller chooses another piece.

use std::collections::BTreeMap;
use std::time::Duration;

use reg_proto::digest::Digest;

use super::time::Instant;

/// How long a promise counts. A piece waits 0.25 s, takes about 0.7 s where eight pullers share 100 Mbit/s, stays in
/// the system's buffers for about 0.2 s, and is announced every 0.2 s. A puller that stalls keeps it from others no
/// longer.
const COUNTS: Duration = Duration::from_secs(2);
/// Promises that are remembered: where there are more within [`COUNTS`], pieces go so fast that sending one twice costs
/// little.
const PROMISES_MAX: usize = 64;

/// The puller that the first piece of each run was promised to, and when.
#[derive(Debug)]
pub(super) struct Promised<P> {
    runs: BTreeMap<(Digest, u32), (P, Instant)>,
}

impl<P> Default for Promised<P> {
    fn default() -> Self {
        Self { runs: BTreeMap::new() }
    }
}

impl<P: Copy + Eq> Promised<P> {
    /// Tells whether the run that begins with this piece was promised to another peer than `peer`.
    pub(super) fn to_another(&self, now: Instant, peer: P, blob: Digest, first: u32) -> bool {
        let run = self.runs.get(&(blob, first));
        run.is_some_and(|(other, when)| *other != peer && now.since(*when) < COUNTS)
    }

    /// Records that a run is promised to `peer`.
    pub(super) fn note(&mut self, now: Instant, peer: P, blob: Digest, first: u32) {
        self.runs.retain(|_, (_, when)| now.since(*when) < COUNTS);
        if self.runs.len() < PROMISES_MAX {
            self.runs.insert((blob, first), (peer, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::after_start(Duration::from_millis(ms))
    }

    #[test]
    fn a_promise_counts_for_others_and_not_for_long() {
        let (mut promised, blob) = (Promised::default(), Digest::of(b""));
        promised.note(at(0), 1, blob, 7);
        let to_another = |now, peer, first| promised.to_another(at(now), peer, blob, first);
        assert_eq!(
            [(0, 2, 7), (1999, 2, 7)].map(|(now, peer, first)| to_another(now, peer, first)),
            [true; 2]
        );
        assert_eq!(
            [(0, 1, 7), (0, 2, 8), (2000, 2, 7)].map(|(now, peer, first)| to_another(now, peer, first)),
            [false; 3]
        );
    }

    #[test]
    fn promises_are_bounded_and_make_room_once_they_are_old() {
        let (mut promised, blob) = (Promised::default(), Digest::of(b""));
        (0..1000).for_each(|piece| promised.note(at(0), 1, blob, piece));
        assert_eq!(promised.runs.len(), PROMISES_MAX);
        promised.note(at(2000), 1, blob, 5000);
        assert_eq!(promised.runs.len(), 1);
    }
}
