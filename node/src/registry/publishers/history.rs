//! Every record of a tag that this node has followed, with the time when it was first seen.

use reg_api::clock;
use reg_proto::json::{self, JsonError};
use reg_proto::key::KeyHistory;
use reg_proto::limits::TAG_ENVELOPE_BYTES_MAX;
use reg_proto::name::{ModelName, Tag};
use reg_proto::tag::SignedTag;
use serde::{Deserialize, Serialize};

use super::documents::tag_key;
use super::error::TagsError;
use crate::registry::limits::HISTORY_MAX;
use crate::store::{DocumentKind, Store};

/// A record and the time when it was first seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Seconds since 1970.
    pub seen: u64,
    pub envelope: String,
}

/// Remembers a record. Beyond `HISTORY_MAX` the oldest record of its tag is forgotten.
pub fn add(store: &Store, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    let publisher = record.publisher;
    let prefix = format!("{}#", tag_key(&publisher, &record.model, &record.tag));
    let key = format!("{prefix}{:06}.{:016}", record.key_document, record.seq);
    let entry = Entry { seen: clock::now(), envelope: tag.envelope().to_owned() };
    let failed = |source| TagsError::Write { publisher, source };
    store.put_document(DocumentKind::History, &key, &json::to_vec(&entry)).map_err(failed)?;
    let all = store
        .list_documents(DocumentKind::History, &prefix)
        .map_err(|source| TagsError::Read { publisher, source })?;
    for (key, _) in all.iter().take(all.len().saturating_sub(HISTORY_MAX)) {
        store.remove_document(DocumentKind::History, key).map_err(failed)?;
    }
    Ok(())
}

/// Returns the records that were seen of a tag, in the order of key documents and numbers.
pub fn entries(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
) -> Result<Vec<Entry>, TagsError> {
    let publisher = keys.publisher();
    let prefix = format!("{}#", tag_key(&publisher, model, tag));
    let documents = store
        .list_documents(DocumentKind::History, &prefix)
        .map_err(|source| TagsError::Read { publisher, source })?;
    let read = documents.into_iter().map(|(_, bytes)| json::from_slice(&bytes, 2 * TAG_ENVELOPE_BYTES_MAX));
    read.collect::<Result<_, JsonError>>().map_err(|source| TagsError::Json { publisher, source })
}

/// Returns those of the seen records that the publisher's keys still stand for.
pub fn records(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
) -> Result<Vec<SignedTag>, TagsError> {
    let entries = entries(store, keys, model, tag)?;
    Ok(entries.iter().filter_map(|it| SignedTag::verify(&it.envelope, keys).ok()).collect())
}
