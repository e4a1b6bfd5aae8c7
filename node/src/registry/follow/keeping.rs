//! Ranks the versions of a [`Follow`]: which ones are kept, and which ones are older than all that are kept.
//!
//! Pure: the time is an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use reg_proto::digest::Digest;

use super::plan::{Follow, Version};
use crate::registry::limits::{FOLLOW_AGED, FOLLOW_FIRST};

impl Follow {
    /// Returns what orders the versions of a model, the newest last.
    ///
    /// A later version is newer, whatever date it bears, because a thief can choose the date. All that was there when the user
    /// began to follow was heard of in any order, and is ranked by its dates.
    pub(super) fn rank(&self, version: &Version) -> (u64, u64, (u64, u64)) {
        let heard = if self.stood_before(version) { self.since } else { version.heard };
        (heard, version.issued.unwrap_or(0), version.order())
    }

    /// Tells whether a version was there when the user began to follow, by its date or because it was heard of soon after.
    fn stood_before(&self, version: &Version) -> bool {
        version.heard <= self.since.saturating_add(FOLLOW_FIRST.as_secs())
            || version.issued.is_some_and(|it| it <= self.since)
    }

    /// Returns the newest manifests among `versions` of one model, as many as the follow keeps.
    fn newest<'a>(&self, mut versions: Vec<&'a Version>) -> (Vec<Digest>, Vec<&'a Version>) {
        versions.sort_by_key(|it| Reverse(self.rank(it)));
        let keep = usize::try_from(self.settings.keep).unwrap_or(usize::MAX);
        let mut manifests: Vec<Digest> = Vec::new();
        for version in &versions {
            if manifests.len() < keep && !manifests.contains(&version.manifest) {
                manifests.push(version.manifest);
            }
        }
        (manifests, versions)
    }

    /// Returns the versions that are kept, each as the model's name in lower case and its manifest: the newest ones of each
    /// model, and the newest that is here for so long that a fault in it would be known.
    pub(super) fn kept(&self, now: u64) -> BTreeSet<(String, Digest)> {
        let mut kept = BTreeSet::new();
        let here = self.versions.iter().filter(|it| it.here_since().is_some());
        for (model, here) in by_model(here) {
            let (mut manifests, here) = self.newest(here);
            let is_aged = |since: u64| now.saturating_sub(since) >= FOLLOW_AGED.as_secs();
            let aged = here.iter().find(|it| it.here_since().is_some_and(is_aged));
            manifests.extend(aged.map(|it| it.manifest));
            kept.extend(manifests.into_iter().map(|it| (model.clone(), it)));
        }
        kept
    }

    /// Returns the records of versions that are not pulled because they were there when the user began to follow, and as many
    /// newer ones as the follow keeps are here or come.
    pub(super) fn surplus(&self, now: u64) -> BTreeSet<Digest> {
        let tops: Vec<&Version> = self.tops(now).into_iter().filter(|it| it.here_since().is_none()).collect();
        let here = self.versions.iter().filter(|it| it.here_since().is_some());
        let mut surplus = BTreeSet::new();
        for (_, versions) in by_model(here.chain(tops)) {
            let (newest, versions) = self.newest(versions);
            let is_surplus = |it: &&Version| {
                it.here_since().is_none() && self.stood_before(it) && !newest.contains(&it.manifest)
            };
            surplus.extend(versions.into_iter().filter(is_surplus).map(|it| it.payload));
        }
        surplus
    }
}

fn by_model<'a>(versions: impl Iterator<Item = &'a Version>) -> BTreeMap<String, Vec<&'a Version>> {
    let mut models: BTreeMap<String, Vec<&Version>> = BTreeMap::new();
    for version in versions {
        models.entry(version.model.folded()).or_default().push(version);
    }
    models
}

#[cfg(test)]
mod tests;
