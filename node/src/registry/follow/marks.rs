//! Marks the versions that the follows keep, so that the store evicts none of them, and takes back the marks of all others.

use std::collections::{BTreeMap, BTreeSet};

use reg_proto::name::PublisherId;

use super::FollowError;
use super::plan::{Follow, Version};
use crate::registry::model::kept::{self, Kept};
use crate::registry::model::record::ModelRecord;
use crate::store::Store;

/// What the store has, and what it keeps.
pub(super) struct Held {
    here: BTreeSet<String>,
    kept: BTreeMap<String, Kept>,
}

impl Held {
    pub(super) fn of(store: &Store) -> Result<Self, FollowError> {
        Ok(Self { here: ModelRecord::keys(store)?, kept: kept::all(store)? })
    }

    /// Tells whether the store has a model of this version.
    pub(super) fn has(&self, publisher: PublisherId, version: &Version) -> bool {
        self.here.contains(&key(publisher, version))
    }

    /// Tells whether the store keeps a version from eviction. What is only kept for others gives way.
    pub(super) fn keeps(&self, publisher: PublisherId, version: &Version) -> bool {
        self.has(publisher, version)
            && self.kept.get(&key(publisher, version)).is_some_and(|it| *it != Kept::Donated)
    }
}

fn key(publisher: PublisherId, version: &Version) -> String {
    ModelRecord::key(&version.manifest, publisher, &version.model)
}

/// Keeps those versions in the store from eviction that any of `follows` keeps at `now`, and no others. The marks of the `unread`
/// publishers stay: a follow of theirs cannot be read.
///
/// # Errors
/// The marks cannot be read or written.
pub(super) fn reconcile(
    store: &Store,
    follows: &[Follow],
    unread: &BTreeSet<PublisherId>,
    now: u64,
) -> Result<(), FollowError> {
    let held = Held::of(store)?;
    let mut meant = BTreeSet::new();
    for follow in follows {
        let kept = follow.kept(now);
        let is_kept = |it: &&Version| kept.contains(&(it.model.folded(), it.manifest));
        // What the user has removed is not kept.
        let here = follow.versions.iter().filter(is_kept).filter(|it| held.has(follow.publisher, it));
        meant.extend(here.map(|it| key(follow.publisher, it)));
    }
    for key in meant.iter().filter(|it| held.kept.get(*it) != Some(&Kept::Followed)) {
        kept::keep_followed(store, key, true)?;
    }
    for (key, _) in held.kept.iter().filter(|(key, why)| **why == Kept::Followed && !meant.contains(*key)) {
        let publisher = ModelRecord::of_key(key).map(|(_, publisher, _)| publisher);
        if !publisher.is_some_and(|it| unread.contains(&it)) {
            kept::keep_followed(store, key, false)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
