//! [`Passes`]: when a peer last proved that it holds pieces of a model.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::{DAY, HOUR, Moment};

/// Random pieces that must have passed before a copy counts. A peer that holds nine tenths of a model passes 8 with a
/// chance of 0.43, one that holds half of it with 0.004.
pub const PASSES_NEEDED: usize = 8;
/// Age at which a pass no longer counts: two weekends, so that machines that are off over a holiday still count.
pub const FRESH_FOR: Duration = Duration::from_secs(14 * 24 * 3600);
/// Time between two pieces of a first proof. The first is asked at once, so the eighth comes after 21 h.
pub const PROOF_SPACING: Duration = Duration::from_secs(3 * 3600);
/// Time between two pieces of a copy that is proven. Eight then span 8.75 days, which is before they lapse soon.
pub const RENEWAL_SPACING: Duration = Duration::from_secs(30 * 3600);
/// Less than this before a proof lapses, its renewal goes before all else. Eight pieces of a peer that is there for half
/// of the time, asked by a node that is, take some four days.
pub const LAPSES_SOON: Duration = Duration::from_secs(5 * 24 * 3600);

const _: () = assert!(PROOF_SPACING.as_secs() * (PASSES_NEEDED as u64 - 1) <= DAY.as_secs());
const _: () = assert!(
    RENEWAL_SPACING.as_secs() * (PASSES_NEEDED as u64 - 1) < FRESH_FOR.as_secs() - LAPSES_SOON.as_secs()
);
const _: () = assert!(PROOF_SPACING.as_secs() >= HOUR.as_secs());

/// A piece that has passed its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    pub at: Moment,
    /// Length of the piece: at most that of a whole one.
    pub bytes: u32,
}

/// The last [`PASSES_NEEDED`] pieces of one copy that have passed, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Pass>", into = "Vec<Pass>")]
pub struct Passes {
    passes: [Option<Pass>; PASSES_NEEDED],
}

/// How urgent the next piece is, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// The copy counts, and soon it will not.
    Lapsing,
    /// A proof has begun.
    Begun,
    /// Nothing is known of the copy.
    Unknown,
    /// The copy counts, and must go on to count.
    Renewal,
}

impl Passes {
    /// Returns an empty list.
    pub const fn new() -> Self {
        Self { passes: [None; PASSES_NEEDED] }
    }

    /// Records that a piece has passed. A clock that was set back makes it as new as the newest.
    pub fn passed(&mut self, at: Moment, bytes: u32) {
        let at = self.newest().map_or(at, |newest| newest.max(at));
        self.passes.rotate_left(1);
        self.passes[PASSES_NEEDED - 1] = Some(Pass { at, bytes });
    }

    /// Returns the passes that still count, the oldest first. What lies in the future was dated by a wrong clock, and
    /// does not count.
    pub fn fresh(&self, now: Moment) -> impl DoubleEndedIterator<Item = Pass> + '_ {
        self.passes.iter().flatten().copied().filter(move |it| it.at <= now && now.since(it.at) < FRESH_FOR)
    }

    /// Tells whether the copy counts.
    pub fn is_proven(&self, now: Moment) -> bool {
        self.fresh(now).count() >= PASSES_NEEDED
    }

    /// Returns when the last piece passed.
    pub fn newest(&self) -> Option<Moment> {
        self.passes.last().copied().flatten().map(|it| it.at)
    }

    /// Returns how urgent the next piece is and since when it is due, or `None` before it is due.
    pub fn due(&self, now: Moment) -> Option<(Urgency, Duration)> {
        let (urgency, at) = self.next(now);
        (at <= now).then(|| (urgency, now.since(at)))
    }

    /// Returns when the next piece will be due, if none passes before.
    pub fn due_at(&self, now: Moment) -> Moment {
        self.next(now).1
    }

    /// Returns how urgent the next piece is, and since when or from when on it is due.
    fn next(&self, now: Moment) -> (Urgency, Moment) {
        let (mut fresh, mut oldest, mut newest) = (0, now, now);
        for Pass { at, .. } in self.fresh(now) {
            if fresh == 0 {
                oldest = at;
            }
            (fresh, newest) = (fresh + 1, at);
        }
        let soon = newest + PROOF_SPACING;
        match fresh {
            0 => (Urgency::Unknown, now),
            1..PASSES_NEEDED => (Urgency::Begun, soon),
            _ => {
                // The first moment at which less than [`LAPSES_SOON`] is left.
                let lapsing = oldest + (FRESH_FOR - LAPSES_SOON) + Duration::from_secs(1);
                let renewal = newest + RENEWAL_SPACING;
                match now >= lapsing {
                    true => (Urgency::Lapsing, soon),
                    false => (Urgency::Renewal, renewal.min(lapsing.max(soon))),
                }
            }
        }
    }
}

impl From<Passes> for Vec<Pass> {
    fn from(passes: Passes) -> Self {
        passes.passes.into_iter().flatten().collect()
    }
}

impl TryFrom<Vec<Pass>> for Passes {
    type Error = PassesError;

    fn try_from(stored: Vec<Pass>) -> Result<Self, PassesError> {
        if stored.len() > PASSES_NEEDED {
            return Err(PassesError::TooMany { count: stored.len() });
        }
        if !stored.is_sorted_by_key(|it| it.at) {
            return Err(PassesError::Order);
        }
        let mut passes = Self::default();
        stored.into_iter().for_each(|it| passes.passed(it.at, it.bytes));
        Ok(passes)
    }
}

/// Why a stored list is not that of the last passes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassesError {
    #[error("list has {count} passes, at most {PASSES_NEEDED} are kept")]
    TooMany { count: usize },
    #[error("passes are not in the order of time")]
    Order,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64) -> Moment {
        Moment::from_seconds(1_700_000_000) + HOUR * u32::try_from(hours).unwrap()
    }

    fn passed(hours: impl IntoIterator<Item = u64>) -> Passes {
        let mut passes = Passes::default();
        hours.into_iter().for_each(|hour| passes.passed(at(hour), 1 << 20));
        passes
    }

    #[test]
    fn a_copy_counts_with_eight_fresh_passes() {
        let fresh = FRESH_FOR.as_secs() / 3600;
        for (passes, now, is_proven) in [
            (passed(0..7), 7, false),
            (passed(0..8), 8, true),
            (passed(0..8), fresh - 1, true),
            (passed(0..8), fresh, false),
            (passed(0..9), fresh, true),
            // Passes from the future count for nothing.
            (passed(100..108), 50, false),
        ] {
            assert_eq!(passes.is_proven(at(now)), is_proven, "{passes:?} at {now}");
        }
    }

    #[test]
    fn what_is_due_is_a_table() {
        let weekly = passed((0..8).map(|it| it * 36));
        for (passes, now, expected) in [
            (passed([]), 0, Some((Urgency::Unknown, 0))),
            (passed([0]), 2, None),
            (passed([0]), 4, Some((Urgency::Begun, 1))),
            (passed([0]), 15 * 24, Some((Urgency::Unknown, 0))),
            (passed(0..8), 30, None),
            (passed(0..8), 53, Some((Urgency::Renewal, 16))),
            (weekly.clone(), 300, Some((Urgency::Lapsing, 45))),
            (weekly, 14 * 24, Some((Urgency::Begun, 81))),
        ] {
            let due = passes.due(at(now)).map(|(urgency, overdue)| (urgency, overdue.as_secs() / 3600));
            assert_eq!(due, expected, "{passes:?} at {now}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_older() {
        let mut passes = passed(100..107);
        passes.passed(at(0), 1);
        assert!(passes.is_proven(at(107)));
        let stored: Vec<Pass> = passes.clone().into();
        assert_eq!(Passes::try_from(stored.clone()), Ok(passes));
        let reversed = stored.into_iter().rev().collect::<Vec<_>>();
        assert_eq!(Passes::try_from(reversed), Err(PassesError::Order));
        assert_eq!(
            Passes::try_from(vec![Pass { at: at(0), bytes: 1 }; 9]),
            Err(PassesError::TooMany { count: 9 })
        );
    }
}
