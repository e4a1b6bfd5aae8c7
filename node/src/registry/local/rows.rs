//! [`Row`]: what a list says of a model. It is derived from documents and signatures once, and kept in the index.
//!
//! A row depends on the documents of its publisher, its model and its tags. [`Local::refresh`] derives the rows again on which
//! a changed document bears, and no others. The store finds changes by other binaries and after crashes too. Petnames, pins,
//! rules and denylists are no part of a row: they are looked up for each list.

use std::collections::{BTreeMap, BTreeSet};

use reg_api::behind::Behind;
use reg_api::report::PartSummary;
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::provenance::Provenance;
use reg_proto::referrer::PROVENANCE_ARTIFACT_TYPE;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{CatalogueError, Local};
use crate::registry::catalogue::NamesHere;
use crate::registry::model::record::{self, ModelError, ModelRecord, referrers_here};
use crate::registry::publishers::{TagsError, history, keys, tags};
use crate::registry::resolve::TagHere;
use crate::store::{Changes, DocumentKind};

/// The version of a row. Rows of other versions are derived again.
const VERSION: u32 = 5;

/// A model in the store, as it was when its documents were read last.
///
/// It has 16 fields, because a list shows so many facts and none is worth reading a document for each row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    version: u32,
    pub(super) publisher: PublisherId,
    pub(super) model: ModelName,
    pub(super) manifest: Digest,
    /// The tags that mean it, with how it stands behind the head of each.
    pub(super) tags: BTreeMap<Tag, Option<Behind>>,
    /// The tags of which it was an earlier version, where no tag means it now.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) was: BTreeSet<Tag>,
    pub(super) bytes: u64,
    pub(super) files: usize,
    pub(super) part: Option<PartSummary>,
    pub(super) complete: bool,
    /// Whether every blob is in the store, of a model that may lack files that its own files name.
    pub(super) is_here: bool,
    /// The blobs in the store that peers look for by themselves, because they are large.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) large: BTreeSet<Digest>,
    /// The tag by which a pull has begun that has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pulling: Option<Tag>,
    /// When its provenance was signed, in seconds since 1970; `None` where the publisher's keys stand for none.
    pub(super) issued: Option<u64>,
    /// Whether the row may change without a change of a document: blobs are missing that may be stored at any time.
    pub(super) may_change: bool,
    /// Whether the tags could not be read.
    is_uncertain: bool,
}

/// What the store has of a model. It changes without a change of a document.
#[derive(Debug, PartialEq, Eq)]
struct Holding {
    part: Option<PartSummary>,
    is_here: bool,
    large: BTreeSet<Digest>,
}

/// The versions of one model of a publisher. Their rows are derived together, because tags lead to one of them each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    publisher: PublisherId,
    /// The name in lower case.
    model: String,
}

impl Row {
    /// Parses a row; `None` where another version has derived it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let row: Self = serde_json::from_slice(bytes).ok()?;
        (row.version == VERSION).then_some(row)
    }
}

impl Row {
    /// Adds the model to the names of those that the store has: whole, or all that was chosen of it. One that was whole and has lost
    /// blobs is among them: this node is to repair it. One of which only some documents or files came is not.
    pub(super) fn name_in(&self, here: &mut NamesHere) {
        let was_whole = self.part.is_none() && (self.is_here || self.may_change);
        if was_whole || self.part.is_some_and(|it| it.complete) {
            here.add(self.publisher, &self.model, self.tags.keys(), was_whole);
        }
    }
}

impl Group {
    /// Returns the group of a row.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        Self::of_name(key.split_once(' ')?.0)
    }

    /// Reads `publisher/model`.
    fn of_name(name: &str) -> Option<Self> {
        let (publisher, model) = name.split_once('/')?;
        Some(Self { publisher: publisher.parse().ok()?, model: model.to_owned() })
    }

    fn prefix(&self) -> String {
        format!("{}/{} ", self.publisher, self.model)
    }

    fn key(&self, manifest: &Digest) -> String {
        format!("{}{manifest}", self.prefix())
    }
}

/// The tags that mean each manifest here, with how it stands behind the head of each.
pub(super) type TagsByManifest = BTreeMap<Digest, BTreeMap<Tag, Option<Behind>>>;

/// Rows with their keys. A row without bytes is to be removed.
type DerivedRows = Vec<(String, Option<Vec<u8>>)>;

/// The groups that are derived again, with the manifests that may have no row yet.
type Stale = BTreeMap<Group, BTreeSet<Digest>>;

impl Local {
    /// Derives the rows again on which changed documents bear.
    pub(super) fn refresh(&self) -> Result<(), CatalogueError> {
        let changes = self.store.changes()?;
        if changes.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for (group, manifests) in self.stale(&changes)? {
            rows.extend(self.derive(&group, manifests)?);
        }
        Ok(self.store.put_rows(&rows, &changes)?)
    }

    /// Derives the rows of groups again, whatever has changed.
    pub(super) fn derive_again(&self, groups: &BTreeSet<Group>) -> Result<(), CatalogueError> {
        for group in groups {
            let rows = self.derive(group, BTreeSet::new())?;
            self.store.put_rows(&rows, &Changes::default())?;
        }
        Ok(())
    }

    /// Tells whether the store has other blobs of a group's models than its rows say. It verifies no signature.
    pub(super) fn has_changed(&self, group: &Group) -> Result<bool, CatalogueError> {
        for (_, row) in self.store.rows(&group.prefix(), None, usize::MAX)? {
            let Some(Row { manifest, model, publisher, part, is_here, large, is_uncertain, .. }) =
                Row::parse(&row)
            else {
                return Ok(true);
            };
            let record = ModelRecord::load(&self.store, &manifest, publisher, &model).ok().flatten();
            let holding = record.map(|it| self.holding(&manifest, &it));
            if is_uncertain || holding != Some(Holding { part, is_here, large }) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn stale(&self, changes: &Changes) -> Result<Stale, CatalogueError> {
        let mut stale = Stale::new();
        let mut prefixes = BTreeSet::new();
        prefixes.extend(changes.has_lost_blobs().then(String::new));
        for (kind, key) in changes.documents() {
            match kind {
                DocumentKind::Model => {
                    let Some((manifest, name)) = key.split_once(' ') else { continue };
                    let Ok(manifest) = manifest.parse() else { continue };
                    if let Some(group) = Group::of_name(name) {
                        stale.entry(group).or_default().insert(manifest);
                    }
                    // A tag may mean an older version once another publisher's model with the same files is whole.
                    let same = self.store.document_keys(DocumentKind::Model, &format!("{manifest} "))?;
                    for group in same.iter().filter_map(|it| Group::of_name(it.split_once(' ')?.1)) {
                        stale.entry(group).or_default().insert(manifest);
                    }
                }
                DocumentKind::Tag => {
                    let group = key.rsplit_once(':').and_then(|(name, _)| Group::of_name(name));
                    group.map(|it| stale.entry(it).or_default());
                }
                // Rows say nothing of follows, nor of what catalogues list.
                DocumentKind::Follow | DocumentKind::Tombstone => {}
                _ => drop(prefixes.insert(format!("{}/", key.split('/').next().unwrap_or_default()))),
            }
        }
        for prefix in prefixes {
            for (key, _) in self.store.rows(&prefix, None, usize::MAX)? {
                Group::of_key(&key).map(|group| stale.entry(group).or_default());
            }
        }
        Ok(stale)
    }

    /// Derives the rows of a group: those that it has, and those of `manifests`.
    fn derive(&self, group: &Group, mut manifests: BTreeSet<Digest>) -> Result<DerivedRows, CatalogueError> {
        let known = self.store.rows(&group.prefix(), None, usize::MAX)?;
        manifests.extend(known.iter().filter_map(|(key, _)| key.split_once(' ')?.1.parse::<Digest>().ok()));
        let name: Result<ModelName, _> = group.model.parse();
        let Ok(name) = name else { return Ok(Vec::new()) };
        let (keys, tags, is_certain) = match self.tags_of(group.publisher, &name) {
            Ok((keys, tags)) => (keys, tags, true),
            Err(TagsError::Read { source, .. }) => return Err(source.into()),
            Err(error) => {
                warn!(publisher = %group.publisher, model = group.model, %error, "a model is listed without its tags");
                (None, BTreeMap::new(), false)
            }
        };
        let before = match &keys {
            // All that the store has is what a tag means, in most groups.
            Some(keys) if manifests.iter().any(|it| !tags.contains_key(it)) => {
                self.versions_before(keys, &name, &tags)?
            }
            _ => BTreeMap::new(),
        };
        let mut rows: Vec<(String, Option<Row>)> = Vec::new();
        for manifest in manifests {
            let record = match ModelRecord::load(&self.store, &manifest, group.publisher, &name) {
                // A disk may fail once: the row stays to be derived.
                Err(ModelError::Read { source, .. }) => return Err(source.into()),
                Err(error) => {
                    warn!(%manifest, %error, "record of a model is left out");
                    None
                }
                Ok(record) => record,
            };
            let of = tags.get(&manifest).cloned().unwrap_or_default();
            let was = match of.is_empty() {
                true => before.get(&manifest).cloned().unwrap_or_default(),
                false => BTreeSet::new(),
            };
            let row = record.map(|it| Row { was, ..self.row(manifest, &it, keys.as_ref(), of) });
            rows.push((group.key(&manifest), row));
        }
        // Which version a tag means depends on which ones are whole. So where one row may change, all of them may.
        let may_change =
            !is_certain || rows.iter().any(|(_, row)| row.as_ref().is_some_and(|it| it.may_change));
        let is_uncertain = !is_certain;
        let bytes = |row: Row| serde_json::to_vec(&Row { may_change, is_uncertain, ..row }).ok();
        Ok(rows.into_iter().map(|(key, row)| (key, row.and_then(bytes))).collect())
    }

    pub(super) fn row(
        &self,
        manifest: Digest,
        record: &ModelRecord,
        keys: Option<&KeyHistory>,
        tags: BTreeMap<Tag, Option<Behind>>,
    ) -> Row {
        let Holding { part, is_here, large } = self.holding(&manifest, record);
        let complete = is_here && record.metadata.computed.is_whole();
        Row {
            version: VERSION,
            publisher: record.publisher,
            model: record.model.clone(),
            manifest,
            tags,
            was: BTreeSet::new(),
            bytes: record.bytes,
            files: record.files,
            complete,
            is_here,
            large,
            may_change: !is_here && (record.complete || part.is_some_and(|it| !it.complete)),
            is_uncertain: false,
            pulling: record.pulling.clone(),
            part,
            issued: keys.and_then(|keys| self.issued(&manifest, record, keys)),
        }
    }

    fn holding(&self, manifest: &Digest, record: &ModelRecord) -> Holding {
        Holding {
            part: record.chosen.as_ref().and_then(|_| self.part_summary(manifest, record)),
            is_here: record.complete && record.blobs.iter().all(|blob| self.store.contains(blob)),
            large: record.blobs.iter().filter(|blob| self.is_large(blob)).copied().collect(),
        }
    }

    fn is_large(&self, blob: &Digest) -> bool {
        self.store.blob_size(blob).is_some_and(|size| DhtKey::blob(blob, size).is_some())
    }

    /// Returns when the provenance of a model was signed, if the keys stand for it.
    fn issued(&self, digest: &Digest, record: &ModelRecord, keys: &KeyHistory) -> Option<u64> {
        let manifest = record::manifest(&self.store, digest).ok()?;
        let referrers = referrers_here(&self.store, record);
        referrers.iter().filter(|(_, it)| it.artifact_type == PROVENANCE_ARTIFACT_TYPE).find_map(|(_, it)| {
            let text = record::document(&self.store, &it.document.digest)?;
            let text = String::from_utf8_lossy(&text);
            Some(Provenance::verify(&text, keys, &record.model, digest, &manifest).ok()?.issued)
        })
    }

    /// Returns the tags of a model by the manifests that records name which this node has seen of them.
    fn versions_before(
        &self,
        keys: &KeyHistory,
        model: &ModelName,
        tags: &TagsByManifest,
    ) -> Result<BTreeMap<Digest, BTreeSet<Tag>>, CatalogueError> {
        let mut before: BTreeMap<Digest, BTreeSet<Tag>> = BTreeMap::new();
        for tag in tags.values().flat_map(BTreeMap::keys) {
            let seen = match history::records(&self.store, keys, model, tag) {
                Err(TagsError::Read { source, .. }) => return Err(source.into()),
                // The list itself says what is wrong with the tags.
                Err(_) => continue,
                Ok(seen) => seen,
            };
            for record in seen {
                before.entry(record.record().manifest.digest).or_default().insert(tag.clone());
            }
        }
        Ok(before)
    }

    /// Returns the keys of a publisher, and the tags of a model by the manifest that each means here.
    pub(super) fn tags_of(
        &self,
        publisher: PublisherId,
        model: &ModelName,
    ) -> Result<(Option<KeyHistory>, TagsByManifest), TagsError> {
        let mut found = TagsByManifest::new();
        let Some(keys) = keys::keys(&self.store, publisher)? else { return Ok((None, found)) };
        for tag in tags::records(&self.store, publisher, Some(model))? {
            let record = tag.record();
            let here = self.resolver.tag_here(&keys, &record.model, &record.tag)?;
            let TagHere { tag, behind } = here.unwrap_or(TagHere { tag, behind: None });
            let record = tag.record();
            found.entry(record.manifest.digest).or_default().insert(record.tag.clone(), behind);
        }
        Ok((Some(keys), found))
    }
}
