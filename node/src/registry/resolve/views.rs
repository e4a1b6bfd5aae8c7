//! [`Views`]: the models that gateways have resolved lately, and which version a tag goes on meaning to their clients.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reg_api::clock;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::SignedTag;

use super::view::{ModelView, Revision};
use crate::registry::limits::{ABSENT_FRESH, PIN_IDLE, PIN_MAX, VIEWS_MAX};

/// The models that were resolved lately.
#[derive(Debug, Default)]
pub struct Views(Mutex<Slots>);

/// The result for each revision, and the number of revocations that were known at that time.
#[derive(Debug, Default)]
struct Slots {
    by_key: BTreeMap<ViewKey, Arc<Slot>>,
    revocations: u64,
}

pub(super) type ViewKey = (PublisherId, String, Revision);

/// The result for one revision, and its time.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Held while the revision is resolved. Requests in the meantime wait for the same result.
    pub(super) view: tokio::sync::Mutex<Option<Kept>>,
    /// When a client asked for it last.
    asked: Mutex<Option<Instant>>,
    /// Whether the revision is being resolved again while requests get the old result.
    pub(super) is_looked_at: AtomicBool,
    /// Whether a revocation has come since the version was judged last.
    is_doubted: AtomicBool,
    /// When no peer in reach had it.
    absent: Mutex<Option<Instant>>,
}

/// A doubt about a version, raised by a revocation. It comes back unless it is settled: the judgement may end early.
#[derive(Debug)]
pub(super) struct Doubt<'a>(Option<&'a AtomicBool>);

/// A result, and its times.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) view: Arc<ModelView>,
    /// When it was resolved, or was looked at last.
    pub(super) since: Instant,
    /// When the revision began to mean this version.
    pub(super) pinned: Instant,
}

impl Kept {
    pub(super) fn new(view: ModelView) -> Self {
        let now = Instant::now();
        Self { view: Arc::new(view), since: now, pinned: now }
    }
}

impl Doubt<'_> {
    /// Ends the doubt, because the version was judged since it was taken.
    pub(super) fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(is_doubted) = self.0 {
            is_doubted.store(true, Ordering::Release);
        }
    }
}

impl Slot {
    /// Takes the doubt about the version, if there is one. The caller holds the lock of the view.
    pub(super) fn take_doubt(&self) -> Option<Doubt<'_>> {
        self.is_doubted.swap(false, Ordering::AcqRel).then(|| Doubt(Some(&self.is_doubted)))
    }

    /// Notes that a client asks. Returns when one asked before.
    pub(super) fn ask(&self) -> Option<Instant> {
        self.asked.lock().expect("no holder of this lock panics").replace(Instant::now())
    }

    pub(super) fn last_asked(&self) -> Option<Instant> {
        *self.asked.lock().expect("no holder of this lock panics")
    }

    /// Tells whether no peer in reach had the revision a moment ago.
    pub(super) fn is_absent(&self) -> bool {
        let absent = self.absent.lock().expect("no holder of this lock panics");
        absent.is_some_and(|since| since.elapsed() < ABSENT_FRESH)
    }

    pub(super) fn note_absent(&self) {
        *self.absent.lock().expect("no holder of this lock panics") = Some(Instant::now());
    }

    fn is_pinned(&self) -> bool {
        let known = self.view.try_lock();
        known.is_ok_and(|known| known.as_ref().is_some_and(|it| is_pinned(it, self.last_asked())))
    }
}

impl Views {
    /// Returns the slot of one revision. A revocation since then voids all earlier results, but for those that a client reads:
    /// they are judged anew first. A caller that counted before another one voids nothing.
    pub(super) fn slot(&self, key: ViewKey, revocations: u64) -> Arc<Slot> {
        let mut slots = self.0.lock().expect("no holder of this lock panics");
        if slots.revocations < revocations {
            slots.by_key.retain(|_, slot| slot.is_pinned());
            slots.by_key.values().for_each(|slot| slot.is_doubted.store(true, Ordering::Release));
            slots.revocations = revocations;
        }
        let slots = &mut slots.by_key;
        if slots.len() >= VIEWS_MAX && !slots.contains_key(&key) {
            // What a client is reading goes last.
            let unused = slots.iter().filter(|(_, slot)| Arc::strong_count(slot) == 1);
            let oldest = unused.min_by_key(|(_, slot)| (slot.is_pinned(), slot.last_asked()));
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| slots.remove(&key));
        }
        slots.entry(key).or_default().clone()
    }

    /// Forgets what a tag means, and the other results for its model that no client reads, because the store has a new version
    /// or has one no longer.
    pub fn forget(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) {
        let (model, revision) = (model.folded(), Revision::Tag(tag.clone()));
        let mut slots = self.0.lock().expect("no holder of this lock panics");
        slots.by_key.retain(|(of, name, asked), slot| {
            (*of, name.as_str()) != (publisher, model.as_str()) || *asked != revision && slot.is_pinned()
        });
    }

    /// Forgets the results for a publisher's model that no client reads, because peers have told of a new version of it.
    pub(super) fn forget_unread(&self, publisher: PublisherId, model: &ModelName) {
        let model = model.folded();
        let mut slots = self.0.lock().expect("no holder of this lock panics");
        slots.by_key.retain(|(of, name, _), slot| {
            (*of, name.as_str()) != (publisher, model.as_str()) || slot.is_pinned()
        });
    }

    /// Forgets all results, because the user's rules have changed.
    pub fn forget_all(&self) {
        self.0.lock().expect("no holder of this lock panics").by_key.clear();
    }

    /// Returns the manifest that a tag goes on meaning for the clients that asked for it lately.
    pub(super) fn pinned(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> Option<Digest> {
        let key = (publisher, model.folded(), Revision::Tag(tag.clone()));
        let slot = self.0.lock().expect("no holder of this lock panics").by_key.get(&key).cloned()?;
        let known = slot.view.try_lock().ok()?;
        known.as_ref().filter(|it| is_pinned(it, slot.last_asked())).map(|it| it.view.digest())
    }

    /// Returns the manifests that were resolved for a publisher's model.
    pub(super) fn known(&self, publisher: PublisherId, model: &ModelName) -> Vec<Digest> {
        let model = model.folded();
        let slots = self.0.lock().expect("no holder of this lock panics");
        let of = slots
            .by_key
            .iter()
            .filter(|((of, name, _), _)| (*of, name.as_str()) == (publisher, model.as_str()));
        of.filter_map(|(_, slot)| slot.view.try_lock().ok()?.as_ref().map(|it| it.view.digest())).collect()
    }
}

/// Tells whether a tag goes on meaning the version of a result, because a client asked for it lately.
pub(super) fn is_pinned(kept: &Kept, asked: Option<Instant>) -> bool {
    let is_lately = is_lately(asked.map(|it| it.elapsed()), kept.pinned.elapsed());
    let record = kept.view.tag.as_ref().map(SignedTag::record);
    let is_valid = record.is_some_and(|it| it.expires.is_none_or(|expires| clock::now() <= expires));
    is_lately && is_valid && kept.view.behind.is_none()
}

/// Tells whether a version is still being read, that was asked for and pinned so long ago.
fn is_lately(asked: Option<Duration>, pinned: Duration) -> bool {
    asked.is_some_and(|asked| asked < PIN_IDLE) && pinned < PIN_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_until_ten_minutes_after_the_last_request_and_no_longer_than_an_hour() {
        let (soon, late) = (Duration::from_secs(599), Duration::from_secs(601));
        assert!(is_lately(Some(soon), late));
        assert!(!is_lately(Some(late), late) && !is_lately(None, soon));
        assert!(!is_lately(Some(soon), PIN_MAX));
    }

    #[test]
    fn a_doubt_stays_until_a_judgement_has_ended() {
        let slot = Slot::default();
        assert!(slot.take_doubt().is_none());
        slot.is_doubted.store(true, Ordering::Release);
        drop(slot.take_doubt().expect("a doubt"));
        slot.take_doubt().expect("its judgement ended early").settle();
        assert!(slot.take_doubt().is_none());
        slot.is_doubted.store(true, Ordering::Release);
        let doubt = slot.take_doubt().expect("a doubt");
        slot.is_doubted.store(true, Ordering::Release);
        doubt.settle();
        assert!(slot.take_doubt().is_some(), "another revocation has come meanwhile");
    }

    #[test]
    fn only_a_newer_revocation_voids_what_was_resolved() {
        let (views, publisher) = (Views::default(), PublisherId::from_bytes([1; 32]));
        let slot = |revocations| {
            views.slot((publisher, "m".to_owned(), Revision::Prefix("ab".to_owned())), revocations)
        };
        let first = slot(1);
        assert!(Arc::ptr_eq(&first, &slot(1)));
        let second = slot(2);
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &slot(1)), "a caller that counted earlier voids nothing");
    }
}
