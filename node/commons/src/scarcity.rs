//! How scarce a model is, and how likely one donor of many acts on it.
//!
//! Donors do not talk to each other. Each knows about how many they are, and that what one of them does is counted by
//! the others only after [`SETTLES_AFTER`]. If each acted at once, all would fetch the same model. So each acts in a
//! round with a probability at which, within that time, about two donors act, or as many as replicas are missing where at
//! most one is known:
//!
//! > p = acting / donors × round / settling time
//!
//! The number that acts is then about Poisson: with the mean 2, in 14 of 100 settling times none acts, and the next one
//! makes up for it.
//!
//! [`Rise`] says when a count has last risen. A proof that lapses and is made again is no rise.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::replica::Replicas;
use super::time::{DAY, Moment};

/// Replicas that a model is to have, unless the user says otherwise. With 30 % of nodes leaving in a year and a repair
/// within a fortnight of the first departure, all four leave before the repair once in 270,000 years of a model; three
/// once in 5,000, two once in 100.
pub const TARGET: u32 = 4;
/// Time after which a new replica is counted elsewhere: that of a first proof, which takes 21 h, if both nodes are on for
/// half of the time.
pub const SETTLES_AFTER: Duration = Duration::from_secs(4 * DAY.as_secs());
/// Donors that are to act within the settling time. Where at most one replica is known, all that are missing are acted for
/// at once: one departure may lose the model.
const ACTING: u32 = 2;
/// A count that was higher within this time does not rise when it comes back to that.
const PEAK_LASTS: Duration = Duration::from_secs(30 * DAY.as_secs());
/// A round is at most so long: a donor that was off for longer acts no more than that in its first round.
const ROUND_MAX: Duration = SETTLES_AFTER;

/// Returns how many replicas a model lacks, with or without one at this node.
pub const fn missing(elsewhere: &Replicas, is_held: bool, target: u32) -> u32 {
    target.saturating_sub(elsewhere.zones.saturating_add(is_held as u32))
}

/// Returns the probability with which one of `donors` donors takes a model in a round.
pub fn take_probability(elsewhere: &Replicas, target: u32, donors: u32, round: Duration) -> f64 {
    let missing = missing(elsewhere, false, target);
    let acting = f64::from(if elsewhere.zones <= 1 { missing } else { missing.min(ACTING) });
    // A lone donor waits for no other one.
    let share = if donors <= 1 { 1.0 } else { part(round) / f64::from(donors) };
    (acting * share).min(1.0)
}

/// Returns the probability with which one of the holders of a model may give its replica back where another model needs
/// the room, so that all of them together keep `enough`, even if all need room in the same settling time.
pub fn give_back_probability(elsewhere: &Replicas, enough: u32) -> f64 {
    let all = elsewhere.zones.saturating_add(1);
    f64::from(all.saturating_sub(enough)) / f64::from(all)
}

/// When the count of a model has last risen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rise {
    peak: u32,
    peak_at: Moment,
    rose: Option<Moment>,
}

impl Rise {
    /// Begins with a first count, which is no rise.
    pub const fn first(replicas: u32, now: Moment) -> Self {
        Self { peak: replicas, peak_at: now, rose: None }
    }

    /// Takes a count.
    pub fn observe(&mut self, replicas: u32, now: Moment) {
        if replicas > self.peak {
            self.rose = Some(now);
        } else if replicas < self.peak && now.since(self.peak_at) < PEAK_LASTS {
            return;
        }
        (self.peak, self.peak_at) = (replicas, now);
    }

    /// Returns when the count has last risen.
    pub const fn at(&self) -> Option<Moment> {
        self.rose
    }
}

fn part(round: Duration) -> f64 {
    round.min(ROUND_MAX).as_secs_f64() / SETTLES_AFTER.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::time::HOUR;

    fn zones(zones: u32) -> Replicas {
        Replicas { zones, copies: zones, ..Replicas::default() }
    }

    #[test]
    fn what_is_missing_is_a_table() {
        for (elsewhere, is_held, expected) in [(0, false, 4), (3, false, 1), (3, true, 0), (9, true, 0)] {
            assert_eq!(missing(&zones(elsewhere), is_held, 4), expected);
        }
    }

    /// A hundred times: 100 donors, 96 rounds of an hour, and what one does is seen by no other.
    #[test]
    fn as_many_donors_act_as_are_needed_soon() {
        let mut chance = Chance::new(1);
        for (elsewhere, expected) in [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0), (4, 0.0)] {
            let p = take_probability(&zones(elsewhere), 4, 100, HOUR);
            let acted = (0..100 * 96 * 100).filter(|_| chance.is_true_with(p)).count() as f64 / 100.0;
            assert!((acted - expected).abs() <= 0.5, "{elsewhere}: {acted}");
        }
        // Of nine holders, five may give back where four are enough.
        let p = give_back_probability(&zones(8), 4);
        let acted = (0..1000 * 9).filter(|_| chance.is_true_with(p)).count() as f64 / 1000.0;
        assert!((acted - 5.0).abs() <= 0.2, "{acted}");
    }

    #[test]
    fn a_rise_is_above_what_was_lately() {
        let at = |day: u32| Moment::from_seconds(1_700_000_000) + DAY * day;
        let mut rise = Rise::first(3, at(0));
        for (day, replicas, expected) in [
            (1, 3, None),
            (2, 2, None),
            (3, 3, None),
            (4, 4, Some(4)),
            (5, 1, Some(4)),
            (33, 2, Some(4)),
            (34, 1, Some(4)),
            (35, 2, Some(35)),
            (36, 5, Some(36)),
        ] {
            rise.observe(replicas, at(day));
            assert_eq!(rise.at(), expected.map(at), "{day}");
        }
    }

    #[test]
    fn a_lone_donor_acts_and_a_long_absence_counts_as_one_settling_time() {
        assert!(take_probability(&zones(0), 4, 0, DAY * 30) >= 1.0);
        assert!(
            take_probability(&zones(3), 4, 1, HOUR) >= 1.0 && take_probability(&zones(4), 4, 1, HOUR) <= 0.0
        );
        assert!(take_probability(&zones(2), 4, 100, DAY * 30) <= 0.02 + 1e-9);
        assert!(give_back_probability(&zones(0), 4) <= 0.0);
    }
}
