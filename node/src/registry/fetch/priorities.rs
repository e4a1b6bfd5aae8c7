//! [`Priorities`]: the pulls that run, and which of them may go on. A pull waits while it is paused, and while a pull of a
//! higher priority receives pieces.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use reg_api::report::Paused;
use reg_api::request::Priority;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Tag};

use crate::registry::limits::PULL_GETS_ON;

/// The model that a pull fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulling {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Option<Tag>,
    pub manifest: Digest,
}

/// Selects pulls by model, and by tag or digest where one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Option<Tag>,
    pub digest: Option<Digest>,
}

impl Meant {
    fn covers(&self, pulling: &Pulling) -> bool {
        self.publisher == pulling.publisher
            && self.model.folded() == pulling.model.folded()
            && self.digest.is_none_or(|digest| digest == pulling.manifest)
            && self.tag.as_ref().is_none_or(|tag| pulling.tag.as_ref() == Some(tag))
    }
}

#[derive(Debug)]
struct Entry {
    what: Pulling,
    priority: Priority,
    is_paused: bool,
    /// Whether a gateway's client reads what it fetches. Such a pull can be paused, but ignores priorities and delays no other.
    is_read: bool,
    /// Whether the owner wants it to end.
    is_cancelled: bool,
    /// When its last piece was stored, or when it began.
    got_on: Instant,
}

/// A registration, for a report.
#[derive(Debug, Clone)]
pub struct Registered {
    pub id: u64,
    pub what: Pulling,
    pub priority: Priority,
    pub is_paused: bool,
    pub is_read: bool,
    /// Whether it waits for a pull of a higher priority.
    pub waits: bool,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<u64, Entry>,
    next: u64,
    /// Whether everything is paused: all pulls, and serving peers.
    all: bool,
}

/// The pulls of a node, and which of them go first. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Priorities(Arc<Mutex<State>>);

/// The registration of a pull that runs. Dropping it ends the registration.
#[derive(Debug)]
pub struct Pull {
    priorities: Priorities,
    id: u64,
}

impl Priorities {
    /// Registers a pull.
    pub fn enter(&self, what: Pulling, priority: Priority) -> Pull {
        self.enter_as(what, priority, false)
    }

    /// Registers a download that a gateway's client reads.
    pub fn enter_reading(&self, what: Pulling) -> Pull {
        self.enter_as(what, Priority::Normal, true)
    }

    fn enter_as(&self, what: Pulling, priority: Priority, is_read: bool) -> Pull {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        let got_on = Instant::now();
        let entry = Entry { what, priority, is_paused: false, is_read, is_cancelled: false, got_on };
        state.entries.insert(id, entry);
        Pull { priorities: self.clone(), id }
    }

    /// Pauses or resumes the pulls that `meant` selects, or everything. Returns how many pulls that concerns.
    pub fn set_paused(&self, meant: Option<&Meant>, is_paused: bool) -> Paused {
        let mut state = self.state();
        let mut pulls = 0;
        for entry in state.entries.values_mut() {
            if meant.is_none_or(|meant| meant.covers(&entry.what)) {
                // Resuming everything also resumes pulls that were paused one by one.
                if meant.is_some() || !is_paused {
                    entry.is_paused = is_paused;
                }
                entry.got_on = Instant::now();
                pulls += 1;
            }
        }
        if meant.is_none() {
            state.all = is_paused;
        }
        Paused { pulls, all: state.all }
    }

    /// Gives the pulls that `meant` selects another priority. Returns how many there are.
    pub fn set_priority(&self, meant: &Meant, priority: Priority) -> usize {
        self.change(meant, |entry| entry.priority = priority)
    }

    /// Ends the pulls that `meant` selects. Returns how many there are.
    pub fn cancel(&self, meant: &Meant) -> usize {
        self.change(meant, |entry| entry.is_cancelled = true)
    }

    /// Changes pulls, and not what clients of gateways read: those neither have a priority nor learn that they are cancelled.
    fn change(&self, meant: &Meant, change: impl Fn(&mut Entry)) -> usize {
        let mut state = self.state();
        let mut changed = 0;
        for entry in state.entries.values_mut().filter(|it| !it.is_read && meant.covers(&it.what)) {
            change(entry);
            changed += 1;
        }
        changed
    }

    /// Returns the registrations, the oldest first.
    pub fn registered(&self) -> Vec<Registered> {
        let (state, now) = (self.state(), Instant::now());
        let each = state.entries.iter().map(|(id, it)| Registered {
            id: *id,
            what: it.what.clone(),
            priority: it.priority,
            is_paused: it.is_paused,
            is_read: it.is_read,
            waits: state.waits(it, now),
        });
        each.collect()
    }

    /// Tells whether a pull of exactly this model is paused, alone or with everything.
    pub fn is_paused(&self, what: &Pulling) -> bool {
        let state = self.state();
        state.all || state.entries.values().any(|it| it.is_paused && it.what == *what)
    }

    /// Tells whether everything is paused.
    pub fn is_all_paused(&self) -> bool {
        self.state().all
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pull {
    /// Notes that a piece of this pull has been stored.
    pub fn got_on(&self) {
        if let Some(entry) = self.priorities.state().entries.get_mut(&self.id) {
            entry.got_on = Instant::now();
        }
    }

    /// Tells whether this pull may go on at `now`.
    pub fn may_go_on(&self, now: Instant) -> bool {
        let state = self.priorities.state();
        let Some(own) = state.entries.get(&self.id) else { return true };
        if state.all || own.is_paused {
            return false;
        }
        !state.waits(own, now)
    }

    /// Tells whether the owner of the node wants it to end.
    pub fn is_cancelled(&self) -> bool {
        self.priorities.state().entries.get(&self.id).is_some_and(|it| it.is_cancelled)
    }

    /// Returns the number of the registration.
    pub const fn id(&self) -> u64 {
        self.id
    }
}

impl State {
    /// Tells whether a pull waits for one of a higher priority. A pull that receives no pieces delays no other pull.
    fn waits(&self, own: &Entry, now: Instant) -> bool {
        !own.is_read
            && self.entries.values().any(|other| {
                !other.is_read
                    && other.priority > own.priority
                    && !other.is_paused
                    && now.saturating_duration_since(other.got_on) < PULL_GETS_ON
            })
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.priorities.state().entries.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulling(model: &str, tag: &str) -> Pulling {
        Pulling {
            publisher: PublisherId::from_bytes([1; 32]),
            model: model.parse().unwrap(),
            tag: Some(tag.parse().unwrap()),
            manifest: Digest::of(model.as_bytes()),
        }
    }

    fn meant(model: &str, tag: Option<&str>) -> Meant {
        let Pulling { publisher, model, .. } = pulling(model, "v1");
        Meant { publisher, model, tag: tag.map(|tag| tag.parse().unwrap()), digest: None }
    }

    #[test]
    fn one_is_paused_or_all_are() {
        let pulls = Priorities::default();
        let one = pulls.enter(pulling("one", "v1"), Priority::Normal);
        let two = pulls.enter(pulling("two", "v1"), Priority::Normal);
        let now = Instant::now;
        assert_eq!(pulls.set_paused(Some(&meant("ONE", None)), true), Paused { pulls: 1, all: false });
        assert!(!one.may_go_on(now()) && two.may_go_on(now()), "case does not matter");
        assert_eq!(pulls.set_paused(Some(&meant("two", Some("v2"))), true).pulls, 0, "another tag");
        assert_eq!(pulls.set_paused(None, true), Paused { pulls: 2, all: true });
        assert!(!two.may_go_on(now()) && pulls.is_all_paused());
        let three = pulls.enter(pulling("three", "v1"), Priority::High);
        assert!(!three.may_go_on(now()), "what begins meanwhile waits too");
        assert_eq!(pulls.set_paused(None, false), Paused { pulls: 3, all: false });
        assert!(!one.may_go_on(now()), "three is of higher priority");
        drop(three);
        assert!(one.may_go_on(now()) && two.may_go_on(now()));
    }

    #[test]
    fn the_owner_changes_priorities_and_ends_pulls_and_no_reader() {
        let pulls = Priorities::default();
        let one = pulls.enter(pulling("one", "v1"), Priority::Normal);
        let two = pulls.enter(pulling("two", "v1"), Priority::Normal);
        let read = pulls.enter_reading(pulling("one", "v1"));
        assert_eq!(pulls.set_priority(&meant("one", None), Priority::Low), 1);
        let waits = |pull: &Pull| pulls.registered().iter().any(|it| it.id == pull.id() && it.waits);
        assert!(!one.may_go_on(Instant::now()) && waits(&one) && !waits(&two) && !waits(&read));
        assert_eq!(pulls.cancel(&meant("one", Some("v1"))), 1);
        assert!(one.is_cancelled() && !two.is_cancelled() && !read.is_cancelled());
        assert_eq!(pulls.cancel(&meant("three", None)), 0);
    }

    #[test]
    fn a_higher_priority_goes_first_for_as_long_as_it_gets_on() {
        let pulls = Priorities::default();
        let low = pulls.enter(pulling("low", "v1"), Priority::Low);
        let normal = pulls.enter(pulling("normal", "v1"), Priority::Normal);
        let high = pulls.enter(pulling("high", "v1"), Priority::High);
        let now = Instant::now();
        assert!(high.may_go_on(now) && !normal.may_go_on(now) && !low.may_go_on(now));
        let later = now + PULL_GETS_ON + PULL_GETS_ON;
        assert!(low.may_go_on(later), "no pull of a higher priority receives pieces");
        drop(high);
        assert!(normal.may_go_on(now) && !low.may_go_on(now));
        pulls.set_paused(Some(&meant("normal", None)), true);
        assert!(low.may_go_on(Instant::now()), "a paused pull delays no other");
        let read = pulls.enter_reading(pulling("read", "v1"));
        let _high = pulls.enter(pulling("high", "v1"), Priority::High);
        assert!(read.may_go_on(Instant::now()), "a reader ignores priorities");
        pulls.set_paused(Some(&meant("read", None)), true);
        assert!(!read.may_go_on(Instant::now()) && pulls.is_paused(&pulling("read", "v1")));
        assert!(!pulls.is_paused(&pulling("high", "v1")));
    }
}
