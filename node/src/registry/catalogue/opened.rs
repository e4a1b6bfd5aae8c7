//! [`Opened`]: the catalogue on the disk, and the tries by which peers compare it with their own.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use reg_catalogue::{Bounds, Catalogue, EntryHead, EntryName, Hit, OpenError};
use reg_proto::catalogue::{ListingKey, ListingValue, Tries};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId};

/// An open catalogue.
pub(super) struct Opened {
    pub(super) catalogue: Catalogue,
    tries: RwLock<Both>,
    /// What the texts of each publisher are in the catalogue, by a digest, so that they are not read for each entry.
    texts: Mutex<HashMap<PublisherId, Digest>>,
}

/// What this node has, and what it gives to peers.
#[derive(Debug, Default)]
pub(super) struct Both {
    pub(super) own: Tries,
    pub(super) given: Tries,
}

impl Opened {
    /// Opens the catalogue in `dir`. `is_given` tells which models are given to peers.
    pub(super) fn open(
        dir: &Path,
        is_given: impl Fn(&PublisherId, &ModelName) -> bool,
    ) -> Result<Self, OpenError> {
        let opened = Catalogue::open(dir, Bounds::default())?;
        let mut tries = Both::default();
        for it in opened.keys {
            tries
                .own
                .of(it.publisher)
                .insert(ListingKey::from_bytes(it.key), ListingValue::from_bytes(it.value));
        }
        let catalogue = opened.catalogue;
        let publishers: Vec<PublisherId> = tries.own.iter().map(|(publisher, _)| *publisher).collect();
        for publisher in publishers {
            for name in catalogue.names(&publisher).into_iter().filter(|it| is_given(&publisher, &it.model)) {
                let key = ListingKey::of(&name.model, &name.tag);
                if let Some(value) = tries.own.get(&publisher).and_then(|trie| trie.get(&key)) {
                    tries.given.of(publisher).insert(key, value);
                }
            }
        }
        Ok(Self { catalogue, tries: RwLock::new(tries), texts: Mutex::default() })
    }

    /// Returns an entry as a result of a search, with the facts that its publisher has signed.
    pub(super) fn hit(&self, head: &EntryHead) -> Option<Hit> {
        let entry = self.catalogue.get(head.publisher, &head.model, &head.tag).ok().flatten()?;
        Some(Hit { head: head.clone(), facts: entry.facts, score: 0.0, also: Vec::new() })
    }

    /// Returns the tries to read.
    pub(super) fn tries(&self) -> RwLockReadGuard<'_, Both> {
        self.tries.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what the tries say of a tag.
    pub(super) fn set(&self, publisher: PublisherId, key: ListingKey, value: ListingValue, is_given: bool) {
        let mut tries = self.change();
        tries.own.of(publisher).insert(key, value);
        if is_given {
            tries.given.of(publisher).insert(key, value);
        }
    }

    /// Removes entries from the tries that have left the catalogue.
    pub(super) fn unset(&self, gone: impl IntoIterator<Item = EntryName>) {
        let mut tries = self.change();
        let Both { own, given } = &mut *tries;
        for name in gone {
            let key = ListingKey::of(&name.model, &name.tag);
            for tries in [&mut *own, &mut *given] {
                let trie = tries.of(name.publisher);
                trie.remove(&key);
                if trie.is_empty() {
                    tries.remove(&name.publisher);
                }
            }
        }
    }

    /// Tells whether a publisher's texts are known to have this digest.
    pub(super) fn knows_texts(&self, publisher: &PublisherId, digest: &Digest) -> bool {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).get(publisher) == Some(digest)
    }

    /// Tells whether a publisher's texts have this digest, and notes that they have from now on.
    pub(super) fn has_texts(&self, publisher: PublisherId, digest: Digest) -> bool {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.insert(publisher, digest) == Some(digest)
    }

    /// Forgets what the texts of a publisher are.
    pub(super) fn forget_texts(&self, publisher: &PublisherId) {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).remove(publisher);
    }

    fn change(&self) -> RwLockWriteGuard<'_, Both> {
        self.tries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}
