//! The records of a tag that this node has followed, with the time when each was first seen.

use reg_proto::key::KeyHistory;
use reg_proto::name::{ModelName, Tag};
use reg_proto::tag::SignedTag;

use super::book::TagDocument;
use super::documents::tag_key;
use super::error::TagsError;
use super::known_tags;
use crate::store::{DocumentKind, Store};

pub use super::book::Entry;

/// Returns the records that were seen of a tag, in the order of key documents and numbers.
pub fn entries(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
) -> Result<Vec<Entry>, TagsError> {
    let publisher = keys.publisher();
    let read = store.get_document(DocumentKind::Tag, &tag_key(&publisher, model, tag));
    let Some(bytes) = read.map_err(|source| TagsError::Read { publisher, source })? else {
        return Ok(Vec::new());
    };
    let document = TagDocument::read(publisher, &bytes)?;
    let mut entries: Vec<Entry> = document.entries().cloned().collect();
    entries.reverse();
    Ok(entries)
}

/// Returns those of the seen records that the publisher's keys still stand for.
pub fn records(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
) -> Result<Vec<SignedTag>, TagsError> {
    let entries = entries(store, keys, model, tag)?;
    Ok(entries.iter().filter_map(|it| known_tags::verify(&it.envelope, keys).ok()).collect())
}
