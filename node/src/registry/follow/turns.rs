//! [`Turns`]: the order in which versions that are due are pulled.
//!
//! Each publisher has one pull at a time, and the publisher that waits longest comes first, so that a slow one holds up no other.
//! Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet};

use reg_proto::name::PublisherId;
use tokio::time::Instant;

use super::plan::{Due, Follow};
use super::stored::key_of;
use crate::registry::limits::{FOLLOW_PULLS_MAX, FOLLOW_RETRY, FOLLOW_TURN};

/// A tag of a publisher, and the follow for which it is pulled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    publisher: PublisherId,
    model: String,
    tag: String,
    /// The key of the follow.
    follow: String,
}

impl Place {
    fn of(follow: &Follow, due: &Due) -> Self {
        Self {
            publisher: follow.publisher,
            model: due.model.folded(),
            tag: due.tag.to_string(),
            follow: key_of(follow.publisher, &follow.models),
        }
    }
}

/// A pull that has ended.
#[derive(Debug, Clone, Copy)]
struct Ended {
    at: Instant,
    /// The pull is not begun again before.
    again: Instant,
}

/// The pulls of followed versions, and those that have ended.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// When each pull has begun.
    running: BTreeMap<Place, Instant>,
    /// When the last pull of each publisher has ended.
    served: BTreeMap<PublisherId, Instant>,
    /// Pulls that have ended, where the version is still due.
    ended: BTreeMap<Place, Ended>,
}

/// What is to be done now.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) begin: Vec<(Place, &'a Follow, Due)>,
    /// Pulls that are given up: the user no longer wants them, or others have waited for their turn. What they have fetched is
    /// kept.
    pub(super) stop: BTreeSet<Place>,
}

impl Turns {
    /// Returns what is to be done at `now`, in seconds since 1970, which is the moment `at`. What begins counts as running.
    pub(super) fn next<'a>(&mut self, follows: &'a [Follow], now: u64, at: Instant) -> Step<'a> {
        let wanted: BTreeSet<String> =
            follows.iter().filter(|it| !it.paused).map(|it| key_of(it.publisher, &it.models)).collect();
        let mut stop: BTreeSet<Place> =
            self.running.keys().filter(|it| !wanted.contains(&it.follow)).cloned().collect();
        let all: Vec<(Place, &Follow, Due)> = follows
            .iter()
            .flat_map(|follow| follow.due(now).into_iter().map(move |due| (follow, due)))
            .map(|(follow, due)| (Place::of(follow, &due), follow, due))
            .collect();
        self.served.retain(|publisher, _| follows.iter().any(|it| it.publisher == *publisher));
        let due: BTreeSet<&Place> = all.iter().map(|(place, ..)| place).collect();
        self.ended.retain(|place, _| due.contains(place));
        drop(due);
        let mut waiting = all;
        waiting.retain(|(place, ..)| {
            !self.is_running(place) && self.ended.get(place).is_none_or(|ended| ended.again <= at)
        });
        // A stable sort: of one publisher, the newest version comes first.
        waiting.sort_by_key(|(place, ..)| {
            (self.served.get(&place.publisher).copied(), self.ended.get(place).map(|it| it.at))
        });
        let mut begin = Vec::new();
        for (place, follow, due) in waiting {
            if let Some((other, begun)) = self.in_the_way(&place) {
                if at.duration_since(begun) >= FOLLOW_TURN {
                    stop.insert(other.clone());
                }
            } else {
                self.running.insert(place.clone(), at);
                begin.push((place, follow, due));
            }
        }
        Step { begin, stop }
    }

    /// Takes the end of a pull. Where its result is not `noted`, it is not begun again at once.
    pub(super) fn ended(&mut self, place: Place, noted: bool, at: Instant) {
        self.running.remove(&place);
        self.served.insert(place.publisher, at);
        let again = if noted { at } else { at + FOLLOW_RETRY };
        self.ended.insert(place, Ended { at, again });
    }

    /// Tells whether this tag is being pulled, for this follow or for another one.
    fn is_running(&self, place: &Place) -> bool {
        let is_same =
            |it: &Place| (it.publisher, &it.model, &it.tag) == (place.publisher, &place.model, &place.tag);
        self.running.keys().any(is_same)
    }

    /// Returns the pull that has to end before that of `place` can begin, and when it has begun; `None` where it can begin.
    fn in_the_way(&self, place: &Place) -> Option<(&Place, Instant)> {
        let running = || self.running.iter().map(|(place, begun)| (place, *begun));
        let of_publisher = running().find(|(it, _)| it.publisher == place.publisher);
        let longest = || running().min_by_key(|(_, begun)| *begun);
        of_publisher.or_else(|| if self.running.len() >= FOLLOW_PULLS_MAX { longest() } else { None })
    }
}

#[cfg(test)]
mod tests;
