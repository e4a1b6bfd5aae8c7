//! [`Follow`]: what the user follows, the versions that were heard of, and the rules which of them are pulled and kept.
//!
//! Pure: the time is an argument. The document of a follow is this type as JSON.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use reg_api::follow::{FollowSettings, VersionState};
use reg_proto::digest::Digest;
use reg_proto::glob::ModelGlob;
use reg_proto::name::{ModelName, PublisherId, Tag};
use serde::{Deserialize, Serialize};

use crate::registry::limits::{
    FOLLOW_AGED, FOLLOW_FIRST, FOLLOW_RETRY, FOLLOW_RETRY_MAX, FOLLOW_VERSIONS_MAX, FOLLOW_WHY_CHARS_MAX,
};

/// The version of the document.
const VERSION: u32 = 1;

/// What the user follows of one publisher, and the versions that were heard of since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Follow {
    version: u32,
    pub(super) publisher: PublisherId,
    pub(super) models: ModelGlob,
    pub(super) settings: FollowSettings,
    pub(super) paused: bool,
    /// Since when the user follows, in seconds since 1970.
    pub(super) since: u64,
    /// In the order in which they were heard of.
    pub(super) versions: Vec<Version>,
}

/// A version of a model: a tag record and its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    pub(super) model: ModelName,
    pub(super) tag: Tag,
    pub(super) key_document: u64,
    pub(super) seq: u64,
    /// The digest of the record's payload.
    pub(super) payload: Digest,
    pub(super) manifest: Digest,
    /// When this node first heard of it, in seconds since 1970.
    pub(super) heard: u64,
    pub(super) state: VersionState,
}

/// A tag record that was heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeardOf {
    pub(super) model: ModelName,
    pub(super) tag: Tag,
    pub(super) key_document: u64,
    pub(super) seq: u64,
    pub(super) payload: Digest,
    pub(super) manifest: Digest,
    /// When the publisher says that it has signed it.
    pub(super) issued: u64,
}

/// A tag of which a version is to be pulled now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) model: ModelName,
    pub(super) tag: Tag,
    /// The digest of the newest record that has waited for the delay.
    pub(super) payload: Digest,
    /// The records of the tag that have waited for the delay.
    pub(super) only: BTreeSet<Digest>,
}

impl Version {
    fn order(&self) -> (u64, u64) {
        (self.key_document, self.seq)
    }

    fn is_of(&self, model: &ModelName, tag: &Tag) -> bool {
        self.tag == *tag && self.model.folded() == model.folded()
    }

    fn here_since(&self) -> Option<u64> {
        match self.state {
            VersionState::Here { since } => Some(since),
            _ => None,
        }
    }

    /// Tells whether the pull is due: the delay has passed, or the time for another try has come.
    fn is_due(&self, now: u64) -> bool {
        match self.state {
            VersionState::Waiting { until } => until <= now,
            VersionState::Failed { next, .. } => next <= now,
            VersionState::Here { .. } | VersionState::Passed => false,
        }
    }

    /// Tells whether the delay has passed.
    fn is_mature(&self, now: u64) -> bool {
        !matches!(self.state, VersionState::Waiting { until } if until > now)
    }
}

impl Follow {
    /// Returns the format of the document where it is another one than this program's.
    pub(super) fn other_format(&self) -> Option<u32> {
        (self.version != VERSION).then_some(self.version)
    }

    /// Returns a follow that begins now.
    pub(super) const fn new(
        publisher: PublisherId,
        models: ModelGlob,
        settings: FollowSettings,
        now: u64,
    ) -> Self {
        Self {
            version: VERSION,
            publisher,
            models,
            settings,
            paused: false,
            since: now,
            versions: Vec::new(),
        }
    }

    /// Takes other settings. Versions that wait do so for the new delay, from the moment at which they were heard of; a pull that
    /// failed is repeated at once, because the user may have consented to what it lacked.
    pub(super) fn change(&mut self, settings: FollowSettings) {
        for version in &mut self.versions {
            match &mut version.state {
                VersionState::Waiting { until } => *until = version.heard.saturating_add(settings.delay),
                VersionState::Failed { next, .. } => *next = 0,
                VersionState::Here { .. } | VersionState::Passed => {}
            }
        }
        self.settings = settings;
    }

    /// Takes a record that was heard of at `now`, and tells whether it is news.
    ///
    /// Its delay begins now, whatever date it bears, because a thief can choose the date. What is there when the user begins to
    /// follow counts by its date: the user could as well pull it.
    pub(super) fn hear(&mut self, heard: HeardOf, now: u64) -> bool {
        let HeardOf { model, tag, key_document, seq, payload, manifest, issued } = heard;
        if !self.models.covers(&model) || self.versions.iter().any(|it| it.payload == payload) {
            return false;
        }
        let is_old = issued.saturating_add(self.settings.delay) <= now;
        let is_first = now.saturating_sub(self.since) <= FOLLOW_FIRST.as_secs();
        let until = if is_old && is_first { now } else { now.saturating_add(self.settings.delay) };
        // The same files under another tag are here already.
        let same = self.versions.iter().find(|it| {
            it.manifest == manifest && it.model.folded() == model.folded() && it.here_since().is_some()
        });
        let state = same.map_or(VersionState::Waiting { until }, |it| it.state.clone());
        if self.versions.len() >= FOLLOW_VERSIONS_MAX && !self.make_room(now) {
            return false;
        }
        self.versions.push(Version { model, tag, key_document, seq, payload, manifest, heard: now, state });
        true
    }

    /// Forgets the oldest version that is of no use any more; tells whether there was one.
    fn make_room(&mut self, now: u64) -> bool {
        let kept = self.kept(now);
        let is_useless = |it: &Version| match it.state {
            VersionState::Passed | VersionState::Failed { .. } => true,
            VersionState::Here { .. } => !kept.contains(&(it.model.folded(), it.manifest)),
            VersionState::Waiting { .. } => false,
        };
        let Some(place) = self.versions.iter().position(is_useless) else { return false };
        self.versions.remove(place);
        true
    }

    /// Returns the tags of which a version is to be pulled now.
    pub(super) fn due(&self, now: u64) -> Vec<Due> {
        if self.paused {
            return Vec::new();
        }
        let mut newest: BTreeMap<(String, &Tag), &Version> = BTreeMap::new();
        for version in self.versions.iter().filter(|it| it.is_mature(now) && it.state != VersionState::Passed)
        {
            let newest = newest.entry((version.model.folded(), &version.tag)).or_insert(version);
            if version.order() > newest.order() {
                *newest = version;
            }
        }
        let due = newest.into_values().filter(|it| it.is_due(now)).map(|it| {
            let of_tag = self.versions.iter().filter(|other| other.is_of(&it.model, &it.tag));
            let usable = of_tag.filter(|it| it.is_mature(now) && it.state != VersionState::Passed);
            Due {
                model: it.model.clone(),
                tag: it.tag.clone(),
                payload: it.payload,
                only: usable.map(|it| it.payload).collect(),
            }
        });
        due.collect()
    }

    /// Takes the result of a pull: the manifest that is here now, or why none came.
    pub(super) fn pulled(&mut self, due: &Due, result: Result<Digest, String>, now: u64) {
        let order = self.versions.iter().find(|it| it.payload == due.payload).map(Version::order);
        let used = result.as_ref().ok();
        for version in self.versions.iter_mut().filter(|it| it.is_of(&due.model, &due.tag)) {
            if Some(&version.manifest) == used && version.here_since().is_none() {
                version.state = VersionState::Here { since: now };
            } else if version.payload == due.payload && version.here_since().is_none() {
                let times = match version.state {
                    VersionState::Failed { times, .. } => times.saturating_add(1),
                    _ => 1,
                };
                let wait =
                    FOLLOW_RETRY.saturating_mul(1 << (times - 1).min(16)).min(FOLLOW_RETRY_MAX).as_secs();
                let why = match &result {
                    Ok(_) => "an older version stands in for it".to_owned(),
                    Err(why) => why.chars().take(FOLLOW_WHY_CHARS_MAX).collect(),
                };
                version.state = VersionState::Failed { why, times, next: now.saturating_add(wait) };
            } else if Some(version.order()) < order && version.is_due(now) && used.is_some() {
                version.state = VersionState::Passed;
            }
        }
    }

    /// Returns the versions that are kept, each as the model's name in lower case and its manifest: the newest ones of each
    /// model, and the newest that is here for so long that a fault in it would be known.
    pub(super) fn kept(&self, now: u64) -> BTreeSet<(String, Digest)> {
        let mut by_model: BTreeMap<String, Vec<(u64, &Version)>> = BTreeMap::new();
        for version in &self.versions {
            if let Some(since) = version.here_since() {
                by_model.entry(version.model.folded()).or_default().push((since, version));
            }
        }
        let mut kept = BTreeSet::new();
        for (model, mut here) in by_model {
            here.sort_by_key(|(since, version)| Reverse((*since, version.order())));
            let mut manifests: Vec<Digest> = Vec::new();
            for (_, version) in &here {
                if !manifests.contains(&version.manifest) {
                    manifests.push(version.manifest);
                }
            }
            manifests.truncate(usize::try_from(self.settings.keep).unwrap_or(usize::MAX));
            let aged = here.iter().find(|(since, _)| now.saturating_sub(*since) >= FOLLOW_AGED.as_secs());
            manifests.extend(aged.map(|(_, version)| version.manifest));
            kept.extend(manifests.into_iter().map(|it| (model.clone(), it)));
        }
        kept
    }
}

#[cfg(test)]
mod tests;
