//! [`Kept`]: why a model is never evicted: the user has pinned it, a publisher is followed that brought it, or it was published
//! on this node, which may be the only one that has it, and a tag still means it.
//!
//! A document for each such model says so. The store evicts no model with such a document.

use std::collections::{BTreeMap, BTreeSet};

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId};

use super::record::ModelRecord;
use crate::store::{DocumentKind, ReadError, Store, WriteError};

/// The document of a model that was published here. A pin of the user names a reference, which has no spaces.
const PUBLISHED: &[u8] = b"published here";
/// The document of a model that a follow keeps.
const FOLLOWED: &[u8] = b"followed here";

/// Why a model is never evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The user has pinned it.
    Pinned,
    /// It was published on this node.
    Published,
    /// The user follows its publisher, and it is one of the versions to keep.
    Followed,
}

/// Returns why the model with this key is never evicted; `None` where it may be.
///
/// # Errors
/// The document cannot be read.
pub fn kept(store: &Store, key: &str) -> Result<Option<Kept>, ReadError> {
    Ok(store.get_document(DocumentKind::Pin, key)?.map(|text| why(&text)))
}

/// Returns the keys of all models that are never evicted, each with the reason.
///
/// # Errors
/// The documents cannot be read.
pub fn all(store: &Store) -> Result<BTreeMap<String, Kept>, ReadError> {
    let documents = store.list_documents(DocumentKind::Pin, "")?.into_iter();
    Ok(documents.map(|(key, text)| (key, why(&text))).collect())
}

fn why(document: &[u8]) -> Kept {
    match document {
        PUBLISHED => Kept::Published,
        FOLLOWED => Kept::Followed,
        _ => Kept::Pinned,
    }
}

/// Keeps a model that was published here, also after the end of a follow that keeps it. A pin of the user stays one.
///
/// # Errors
/// The document cannot be read or written.
pub fn keep_published(store: &Store, key: &str) -> Result<(), WriteError> {
    match kept(store, key)? {
        Some(Kept::Pinned | Kept::Published) => Ok(()),
        Some(Kept::Followed) | None => store.put_document(DocumentKind::Pin, key, PUBLISHED),
    }
}

/// Keeps a model that a follow brought, or no longer. A pin of the user stays, and so does what was published here.
///
/// # Errors
/// The document cannot be read or written.
pub fn keep_followed(store: &Store, key: &str, is_kept: bool) -> Result<(), WriteError> {
    match (kept(store, key)?, is_kept) {
        (None, true) => store.put_document(DocumentKind::Pin, key, FOLLOWED),
        (Some(Kept::Followed), false) => release(store, key),
        _ => Ok(()),
    }
}

/// Lets those versions of a model be evicted that were published here and are no longer among the `meant` ones.
///
/// # Errors
/// A document cannot be read or removed.
pub fn let_go_of_superseded(
    store: &Store,
    publisher: PublisherId,
    model: &ModelName,
    meant: &BTreeSet<Digest>,
) -> Result<(), WriteError> {
    for (key, text) in store.list_documents(DocumentKind::Pin, "")? {
        let manifest: Option<Digest> = key.split(' ').next().and_then(|it| it.parse().ok());
        let is_superseded = |it: &Digest| {
            !meant.contains(it) && text == PUBLISHED && key == ModelRecord::key(it, publisher, model)
        };
        if manifest.as_ref().is_some_and(is_superseded) {
            release(store, &key)?;
        }
    }
    Ok(())
}

/// Pins a model for the user. `reference` is the name that the user gave.
///
/// # Errors
/// The document cannot be written.
pub fn pin(store: &Store, key: &str, reference: &str) -> Result<(), WriteError> {
    store.put_document(DocumentKind::Pin, key, reference.as_bytes())
}

/// Lets a model be evicted again, whatever it was kept for.
///
/// # Errors
/// The document cannot be removed.
pub fn release(store: &Store, key: &str) -> Result<(), WriteError> {
    store.remove_document(DocumentKind::Pin, key)
}
