//! [`Follow`]: what the user follows, the versions that were heard of, and the rules which of them are pulled.
//!
//! Pure: the time is an argument. The document of a follow is this type as JSON.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use reg_api::follow::{FollowSettings, VersionState};
use reg_proto::digest::Digest;
use reg_proto::glob::ModelGlob;
use reg_proto::json::{self, JsonError};
use reg_proto::name::{ModelName, PublisherId, Tag};
use serde::{Deserialize, Serialize};

use crate::registry::limits::{FOLLOW_BYTES_MAX, FOLLOW_RETRY, FOLLOW_RETRY_MAX, FOLLOW_WHY_CHARS_MAX};

/// The version of the document that is written. Version 1 had neither the dates of records nor a count of what is left out.
const VERSION: u32 = 2;

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
    /// Heads of tags that bear no later date are not taken up again: some were forgotten for want of room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) forgotten: Option<u64>,
    /// Heads of tags that are left out for want of room.
    #[serde(default)]
    pub(super) left_out: usize,
}

/// The format of a document, which a later program may have written with other fields.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why a document is not read.
#[derive(Debug)]
pub(super) enum Unread {
    Later { version: u32 },
    Damaged(JsonError),
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
    /// When the publisher says that it has signed it, in seconds since 1970; unknown in documents of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) issued: Option<u64>,
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
    pub(super) fn order(&self) -> (u64, u64) {
        (self.key_document, self.seq)
    }

    fn is_of(&self, model: &ModelName, tag: &Tag) -> bool {
        self.tag == *tag && self.model.folded() == model.folded()
    }

    pub(super) fn here_since(&self) -> Option<u64> {
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

    /// Tells whether it may still be pulled.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, VersionState::Waiting { .. } | VersionState::Failed { .. })
    }

    /// Tells whether the delay has passed.
    pub(super) fn is_mature(&self, now: u64) -> bool {
        !matches!(self.state, VersionState::Waiting { until } if until > now)
    }
}

impl Follow {
    /// Reads a document of this format or of the one before. The format is read first: a later one may have other fields.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unread> {
        let of: Versioned = json::from_slice(bytes, FOLLOW_BYTES_MAX).map_err(Unread::Damaged)?;
        if of.version > VERSION {
            return Err(Unread::Later { version: of.version });
        }
        let follow: Self = json::from_slice(bytes, FOLLOW_BYTES_MAX).map_err(Unread::Damaged)?;
        Ok(Self { version: VERSION, ..follow })
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
            forgotten: None,
            left_out: 0,
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

    /// Returns the tags of which a version is to be pulled now, the newest version first.
    pub(super) fn due(&self, now: u64) -> Vec<Due> {
        if self.paused {
            return Vec::new();
        }
        let surplus = self.surplus(now);
        let tops = self.tops(now);
        let mut due: Vec<&Version> =
            tops.into_iter().filter(|it| it.is_due(now) && !surplus.contains(&it.payload)).collect();
        due.sort_by_key(|it| Reverse(self.rank(it)));
        let with_older = |it: &Version| {
            let of_tag = self.versions.iter().filter(|other| other.is_of(&it.model, &it.tag));
            let usable = of_tag.filter(|it| it.is_mature(now) && it.state != VersionState::Passed);
            Due {
                model: it.model.clone(),
                tag: it.tag.clone(),
                payload: it.payload,
                only: usable.map(|it| it.payload).collect(),
            }
        };
        due.into_iter().map(with_older).collect()
    }

    /// Returns the newest version of each tag that has waited for the delay and was not passed over.
    pub(super) fn tops(&self, now: u64) -> Vec<&Version> {
        let mut newest: BTreeMap<(String, &Tag), &Version> = BTreeMap::new();
        for version in self.versions.iter().filter(|it| it.is_mature(now) && it.state != VersionState::Passed)
        {
            let newest = newest.entry((version.model.folded(), &version.tag)).or_insert(version);
            if version.order() > newest.order() {
                *newest = version;
            }
        }
        newest.into_values().collect()
    }

    /// Passes over those versions that their publisher has withdrawn and that are not here; tells whether there were such.
    pub(super) fn withdraw(&mut self, is_withdrawn: impl Fn(&Digest) -> bool) -> bool {
        let mut is_changed = false;
        for version in self.versions.iter_mut().filter(|it| it.is_open() && is_withdrawn(&it.manifest)) {
            version.state = VersionState::Passed;
            is_changed = true;
        }
        is_changed
    }

    /// Takes the result of a pull: the manifest that is here now, or why none came.
    pub(super) fn pulled(&mut self, due: &Due, result: Result<Digest, String>, now: u64) {
        let order = self.versions.iter().find(|it| it.payload == due.payload).map(Version::order);
        let used = result.as_ref().ok();
        for version in self.versions.iter_mut().filter(|it| it.is_of(&due.model, &due.tag)) {
            if Some(&version.manifest) == used && version.here_since().is_none() {
                version.state = VersionState::Here { since: now };
            } else if version.payload == due.payload && version.is_open() {
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
}

#[cfg(test)]
pub(super) mod tests;
