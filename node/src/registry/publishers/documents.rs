//! The documents of publishers in the store: their names, and how they are read and written.

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::TagRecord;

use super::book::TagDocument;
use super::error::TagsError;
use crate::store::{DocumentKind, Store};

/// Returns the key of a tag: `publisher/model:tag`, with the model in lower case.
pub fn tag_key(publisher: &PublisherId, model: &ModelName, tag: &Tag) -> String {
    format!("{publisher}/{}:{tag}", model.folded())
}

/// Returns the key of the tag that a record is about.
pub fn key_of(record: &TagRecord) -> String {
    tag_key(&record.publisher, &record.model, &record.tag)
}

/// Returns the envelope of the record that this store holds of one tag, else of the newest one, even where its signature no
/// longer counts.
pub fn envelope(
    store: &Store,
    publisher: PublisherId,
    model: &ModelName,
    tag: &Tag,
) -> Result<Option<String>, TagsError> {
    let read = store.get_document(DocumentKind::Tag, &tag_key(&publisher, model, tag));
    let Some(bytes) = read.map_err(|source| TagsError::Read { publisher, source })? else { return Ok(None) };
    let document = TagDocument::read(publisher, &bytes)?;
    let held = document.held().or(document.head.as_ref());
    Ok(held.map(|it| it.envelope.clone()))
}

/// Returns the envelopes of the held records of all tags of a publisher, even where their signatures no longer count.
pub fn envelopes(store: &Store, publisher: PublisherId) -> Result<Vec<String>, TagsError> {
    let documents = store
        .list_documents(DocumentKind::Tag, &format!("{publisher}/"))
        .map_err(|source| TagsError::Read { publisher, source })?;
    let mut envelopes = Vec::new();
    for (_, bytes) in documents {
        envelopes.extend(TagDocument::read(publisher, &bytes)?.held().map(|it| it.envelope.clone()));
    }
    Ok(envelopes)
}

/// Returns the tags of a publisher that have a document, each with its model.
pub fn names(store: &Store, publisher: PublisherId) -> Result<Vec<(ModelName, Tag)>, TagsError> {
    let keys = store
        .document_keys(DocumentKind::Tag, &format!("{publisher}/"))
        .map_err(|source| TagsError::Read { publisher, source })?;
    let name = |key: &String| {
        let (model, tag) = key.split_once('/')?.1.split_once(':')?;
        Some((model.parse().ok()?, tag.parse().ok()?))
    };
    Ok(keys.iter().filter_map(name).collect())
}

/// Returns the key of a publisher's document with this payload.
pub fn key(publisher: PublisherId, payload: &Digest) -> String {
    format!("{publisher}/{}", payload.hex())
}

/// Returns the texts of all documents of one kind of a publisher.
pub fn texts(store: &Store, kind: DocumentKind, publisher: PublisherId) -> Result<Vec<String>, TagsError> {
    let documents = store
        .list_documents(kind, &format!("{publisher}/"))
        .map_err(|source| TagsError::Read { publisher, source })?;
    Ok(documents.into_iter().map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).collect())
}

/// Writes a document of a publisher, fsynced, unless the store has it.
pub fn put(
    store: &Store,
    kind: DocumentKind,
    publisher: PublisherId,
    payload: &[u8],
    envelope: &str,
) -> Result<(), TagsError> {
    let key = key(publisher, &Digest::of(payload));
    let known = store.get_document(kind, &key).map_err(|source| TagsError::Read { publisher, source })?;
    if known.is_some() {
        return Ok(());
    }
    store
        .put_document(kind, &key, envelope.as_bytes())
        .map_err(|source| TagsError::Write { publisher, source })
}
