//! Names the available versions by their digests, where the one that was asked for is not available.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;

use reg_api::fault::{Fault, FaultKind};
use reg_api::looked::Had;
use reg_api::request::wanted_tag;
use reg_proto::digest::Digest;
use reg_proto::name::{PublisherId, Reference};
use reg_proto::revocation::Revoked;
use reg_proto::tag::SignedTag;

use super::Puller;
use super::error::PullError;
use crate::registry::limits::VERSIONS_NAMED_MAX;
use crate::registry::model::record::ModelRecord;
use crate::registry::model::whole;
use crate::registry::publishers::{history, keys, tags};
use crate::registry::resolve::ResolveError;

/// Why a reference was not resolved, with the available versions of its model.
#[derive(Debug)]
pub struct WithVersions {
    error: ResolveError,
    had: Vec<Had>,
}

impl fmt::Display for WithVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for WithVersions {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl Fault for WithVersions {
    fn kind(&self) -> FaultKind {
        self.error.kind()
    }

    fn hint(&self) -> Option<String> {
        let had: Vec<String> = self.had.iter().map(ToString::to_string).collect();
        let tags: BTreeSet<&str> =
            self.had.iter().filter_map(|it| it.tag.as_ref()).map(|it| it.as_str()).collect();
        let tags = match Vec::from_iter(tags).join(", ") {
            none if none.is_empty() => none,
            tags => format!("tags of the model that are known: {tags}\n"),
        };
        let named = format!("{tags}these versions can be had with REF@DIGEST: {}", had.join("; "));
        Some(match self.error.hint() {
            Some(hint) => format!("{hint}\n{named}"),
            None => named,
        })
    }
}

impl Puller {
    /// Adds the available versions to the error of a reference that is not available. Reads the store.
    pub(super) fn with_versions(&self, reference: &Reference, error: PullError) -> PullError {
        let PullError::Resolve(error) = error else { return error };
        let is_wrong = matches!(error, ResolveError::Trust { .. } | ResolveError::NotTaken { .. })
            || error.kind() == FaultKind::NoMatch;
        let mut had = if is_wrong { Vec::new() } else { self.versions(reference) };
        // A version that was looked for a moment ago, and not found whole, is not offered in the next line.
        if let ResolveError::Unavailable { tried, .. } = &error {
            had.retain(|it| it.is_here || tried.iter().all(|tried| tried.manifest != it.manifest));
        }
        match had.is_empty() {
            true => PullError::Resolve(error),
            false => PullError::Elsewhere(WithVersions { error, had }),
        }
    }

    /// Returns the versions of a model that the store has, and those that peers have announced to hold: the newest of each tag
    /// first. Withdrawn ones and the one that was asked for are left out.
    fn versions(&self, reference: &Reference) -> Vec<Had> {
        let Ok(publisher) = self.trust.file.resolve(&reference.publisher) else { return Vec::new() };
        let mut had: BTreeMap<Digest, Had> = BTreeMap::new();
        for (manifest, record) in ModelRecord::of_model(&self.store, publisher, &reference.model) {
            if whole::has_part(&self.store, &manifest, &record) {
                had.insert(manifest, Had { manifest, tag: None, seq: None, is_here: true, peers: 0 });
            }
        }
        for head in self.news.heard_of(publisher, Some(&reference.model)) {
            let manifest = head.tag.record().manifest.digest;
            let peers = head.holders.len();
            let new = Had { manifest, tag: None, seq: None, is_here: false, peers };
            had.entry(manifest).or_insert(new).peers = peers;
            note_tag(&mut had, &head.tag);
        }
        for tag in self.records(publisher, reference) {
            note_tag(&mut had, &tag);
        }
        if let Ok(Some(keys)) = keys::keys(&self.store, publisher) {
            had.retain(|manifest, _| keys.revocation(&Revoked::Manifest(*manifest)).is_none());
        }
        had.retain(|manifest, it| reference.digest != Some(*manifest) && (it.is_here || it.peers > 0));
        let mut had: Vec<Had> = had.into_values().collect();
        had.sort_by(|one, two| (&two.tag, two.seq, two.manifest).cmp(&(&one.tag, one.seq, one.manifest)));
        had.truncate(VERSIONS_NAMED_MAX);
        had
    }

    /// Returns the records of the model's tags that the store has, and all that it has seen of the tag that was asked for.
    fn records(&self, publisher: PublisherId, reference: &Reference) -> Vec<SignedTag> {
        let mut all = tags::records(&self.store, publisher, Some(&reference.model)).unwrap_or_default();
        if let (Some(tag), Ok(Some(keys))) = (wanted_tag(reference), keys::keys(&self.store, publisher)) {
            all.extend(history::records(&self.store, &keys, &reference.model, &tag).unwrap_or_default());
        }
        all
    }
}

/// Notes the tag and number of an available version: the newest, where several name it.
fn note_tag(had: &mut BTreeMap<Digest, Had>, tag: &SignedTag) {
    let record = tag.record();
    if let Some(it) = had.get_mut(&record.manifest.digest)
        && it.seq.is_none_or(|seq| seq < record.seq)
    {
        (it.tag, it.seq) = (Some(record.tag.clone()), Some(record.seq));
    }
}
