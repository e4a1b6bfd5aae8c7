//! [`Health`]: says once when a model falls below its target, and once when it has recovered.

use std::collections::BTreeMap;
use std::time::Duration;

use reg_proto::digest::Digest;
use serde::{Deserialize, Serialize};

use super::passes::FRESH_FOR;
use super::replica::MODELS_MAX;
use super::scarcity::Rise;
use super::time::{DAY, HOUR, Moment};

/// A count says little before so long: a first proof takes 21 h, and its peers must be there.
pub const SETTLING: Duration = Duration::from_secs(2 * DAY.as_secs());
/// A model is endangered once it has been below its target for so long: a failed disk is soon replaced by a checked one.
pub const ENDANGERED_AFTER: Duration = Duration::from_secs(6 * HOUR.as_secs());
/// A model has recovered once it has been at its target for so long: what comes may go again.
pub const RECOVERED_AFTER: Duration = DAY;
/// Models that were not observed for so long are forgotten where others need the room: their passes have lapsed.
const FORGOTTEN_AFTER: Duration = FRESH_FOR;

/// What is new about the health of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It has fewer replicas than its target, and had so for [`ENDANGERED_AFTER`].
    Endangered { replicas: u32, target: u32 },
    /// It was endangered, and has had enough replicas for [`RECOVERED_AFTER`].
    Recovered { replicas: u32, target: u32 },
}

/// What has been observed of one model. A node stores it, so that no event comes twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    pub first: Moment,
    pub last: Moment,
    /// Replicas at the last observation.
    pub replicas: u32,
    /// When that has last risen, once it was [`SETTLING`].
    pub rise: Rise,
    pub is_endangered: bool,
    /// Since when the model is on the other side of its target than `is_endangered` says.
    pub turned: Option<Moment>,
}

/// What has been observed of all models: at most [`MODELS_MAX`].
#[derive(Debug, Clone, Default)]
pub struct Health {
    models: BTreeMap<Digest, Observed>,
}

impl Health {
    /// Takes what a node has stored of a model.
    pub fn restore(&mut self, model: Digest, observed: Observed) {
        if self.make_room(&model, observed.last) {
            self.models.insert(model, observed);
        }
    }

    /// Takes a count, with this node's own replica where it has one, and returns what is new. Observe each model after
    /// each audit, and once an hour.
    pub fn observe(&mut self, model: Digest, replicas: u32, target: u32, now: Moment) -> Option<Event> {
        if !self.make_room(&model, now) {
            return None;
        }
        let rise = Rise::first(replicas, now);
        let new = Observed { first: now, last: now, replicas, rise, is_endangered: false, turned: None };
        let observed = self.models.entry(model).or_insert(new);
        match now.since(observed.first) < SETTLING {
            true => observed.rise = Rise::first(replicas, now),
            false => observed.rise.observe(replicas, now),
        }
        (observed.last, observed.replicas) = (now, replicas);
        observed.turn(target, now)
    }

    /// Returns what has been observed of a model.
    pub fn get(&self, model: &Digest) -> Option<&Observed> {
        self.models.get(model)
    }

    /// Forgets a model.
    pub fn forget(&mut self, model: &Digest) {
        self.models.remove(model);
    }

    /// Tells whether there is room for a model. A full table forgets the model that was not observed for longest, if
    /// that is long enough; else the newcomer is not observed.
    fn make_room(&mut self, model: &Digest, now: Moment) -> bool {
        if self.models.len() < MODELS_MAX || self.models.contains_key(model) {
            return true;
        }
        let oldest = self.models.iter().min_by_key(|(_, it)| it.last);
        let oldest = oldest.filter(|(_, it)| now.since(it.last) >= FORGOTTEN_AFTER).map(|(model, _)| *model);
        oldest.is_some_and(|oldest| self.models.remove(&oldest).is_some())
    }
}

impl Observed {
    fn turn(&mut self, target: u32, now: Moment) -> Option<Event> {
        let replicas = self.replicas;
        let is_below = replicas < target;
        if is_below == self.is_endangered {
            self.turned = None;
            return None;
        }
        let since = *self.turned.get_or_insert(now);
        let (needed, is_settled) = match is_below {
            true => (ENDANGERED_AFTER, now.since(self.first) >= SETTLING),
            false => (RECOVERED_AFTER, true),
        };
        if now.since(since) < needed || !is_settled {
            return None;
        }
        (self.is_endangered, self.turned) = (is_below, None);
        Some(match is_below {
            true => Event::Endangered { replicas, target },
            false => Event::Recovered { replicas, target },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reg_proto::json;

    use super::*;

    fn at(hours: u32) -> Moment {
        Moment::from_seconds(1_700_000_000) + HOUR * hours
    }

    fn model(n: u16) -> Digest {
        Digest::of(&n.to_be_bytes())
    }

    /// Observes a model once an hour, by `(hours, replicas)`. Returns the events with their hours.
    fn observed(counts: &[(u32, u32)]) -> Vec<(u32, Event)> {
        let (mut health, mut hour, mut events) = (Health::default(), 0, Vec::new());
        for (hours, replicas) in counts {
            for _hour in 0..*hours {
                let event = health.observe(model(1), *replicas, 4, at(hour));
                events.extend(event.map(|event| (hour, event)));
                hour += 1;
            }
        }
        events
    }

    #[test]
    fn each_event_comes_once_and_late_enough() {
        let down = |hour, replicas| (hour, Event::Endangered { replicas, target: 4 });
        let up = |hour, replicas| (hour, Event::Recovered { replicas, target: 4 });
        for (counts, events) in [
            (&[(200, 4)][..], vec![]),
            // A new model is counted up: nothing is said.
            (&[(20, 0), (3, 2), (200, 4)], vec![]),
            (&[(300, 1)], vec![down(48, 1)]),
            (&[(100, 4), (200, 3)], vec![down(106, 3)]),
            (&[(100, 4), (5, 3), (100, 4)], vec![]),
            (&[(100, 4), (50, 2), (50, 5)], vec![down(106, 2), up(174, 5)]),
            // It goes up and down: that is one danger, until it stays up for a day.
            (
                &[(100, 4), (10, 3), (20, 4), (10, 3), (20, 4), (10, 3), (25, 4)],
                vec![down(106, 3), up(194, 4)],
            ),
        ] {
            assert_eq!(observed(counts), events, "{counts:?}");
        }
    }

    #[test]
    fn a_rise_is_remembered_and_stored() {
        let mut health = Health::default();
        for (hour, replicas) in [(0, 3), (1, 2), (2, 3), (50, 3), (51, 4), (60, 1), (70, 1)] {
            health.observe(model(1), replicas, 4, at(hour));
        }
        let observed = health.get(&model(1)).unwrap();
        assert_eq!((observed.rise.at(), observed.is_endangered), (Some(at(51)), true));
        let stored = json::to_vec(observed);
        let mut restored = Health::default();
        restored.restore(model(1), json::from_slice(&stored, 4096).unwrap());
        assert_eq!(restored.get(&model(1)), Some(observed));
        assert_eq!(restored.observe(model(1), 1, 4, at(90)), None, "no event comes twice");
        restored.forget(&model(1));
        assert_eq!(restored.get(&model(1)), None);
    }

    #[test]
    fn models_are_bounded() {
        let mut health = Health::default();
        (0..=MODELS_MAX as u16).for_each(|n| assert_eq!(health.observe(model(n), 9, 4, at(0)), None));
        assert_eq!(health.models.len(), MODELS_MAX);
        assert!(health.get(&model(MODELS_MAX as u16)).is_none());
        health.observe(model(MODELS_MAX as u16), 9, 4, at(0) + FORGOTTEN_AFTER);
        assert!(health.get(&model(MODELS_MAX as u16)).is_some());
        assert_eq!(health.models.len(), MODELS_MAX);
    }

    proptest! {
        /// Events take turns, beginning with a danger.
        #[test]
        fn events_alternate(counts in prop::collection::vec((1u32..40, 2u32..6), 0..40)) {
            for (place, (_, event)) in observed(&counts).iter().enumerate() {
                prop_assert_eq!(matches!(event, Event::Endangered { .. }), place % 2 == 0);
            }
        }
    }
}
