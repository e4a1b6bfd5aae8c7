//! [`Kept`]: why a model is never evicted: the user has pinned it, a publisher is followed that brought it, it was published
//! on this node, which may be the only one that has it, and a tag still means it, or it is a copy for a private swarm.
//!
//! A document for each such model says so. The store evicts no model with such a document. A model that is kept for others has a
//! document of another kind: it is no part of the cache, and goes first where the owner needs the disk.

use std::collections::{BTreeMap, BTreeSet};

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Tag};

use super::record::ModelRecord;
use crate::store::{DocumentKind, ReadError, Store, WriteError};

/// The document of a model that was published here. A pin of the user names a reference, which has no spaces.
const PUBLISHED: &[u8] = b"published here";
/// The document of a model that a follow keeps.
const FOLLOWED: &[u8] = b"followed here";
/// The document of a copy for a private swarm. After a colon follows the tag by which it was fetched, if it was by one. A
/// version of before takes it for a pin of the user, and keeps the model.
const SPREAD: &str = "kept for the swarm";

/// Why a model is never evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The user has pinned it.
    Pinned,
    /// It was published on this node.
    Published,
    /// The user follows its publisher, and it is one of the versions to keep.
    Followed,
    /// It is kept for others.
    Donated,
    /// It is a copy for a private swarm.
    Spread,
}

/// Returns why the model with this key is never evicted; `None` where it may be.
///
/// # Errors
/// The document cannot be read.
pub fn kept(store: &Store, key: &str) -> Result<Option<Kept>, ReadError> {
    match store.get_document(DocumentKind::Pin, key)? {
        Some(text) => Ok(Some(why(&text))),
        None => Ok(store.is_donated(key).then_some(Kept::Donated)),
    }
}

/// Returns the keys of all models that are never evicted, each with the reason.
///
/// # Errors
/// The documents cannot be read.
pub fn all(store: &Store) -> Result<BTreeMap<String, Kept>, ReadError> {
    let documents = store.list_documents(DocumentKind::Pin, "")?.into_iter();
    let donated = store.donated()?.into_keys().map(|key| (key, Kept::Donated));
    Ok(documents.map(|(key, text)| (key, why(&text))).chain(donated).collect())
}

fn why(document: &[u8]) -> Kept {
    match document {
        PUBLISHED => Kept::Published,
        FOLLOWED => Kept::Followed,
        _ if document.starts_with(SPREAD.as_bytes()) => Kept::Spread,
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
        Some(Kept::Followed | Kept::Donated | Kept::Spread) | None => {
            store.put_document(DocumentKind::Pin, key, PUBLISHED)
        }
    }
}

/// Keeps a model that a follow brought, or no longer. A pin of the user stays, and so does what was published here.
///
/// # Errors
/// The document cannot be read or written.
pub fn keep_followed(store: &Store, key: &str, is_kept: bool) -> Result<(), WriteError> {
    match (kept(store, key)?, is_kept) {
        (None | Some(Kept::Donated | Kept::Spread), true) => {
            store.put_document(DocumentKind::Pin, key, FOLLOWED)
        }
        (Some(Kept::Followed), false) => release(store, key),
        _ => Ok(()),
    }
}

/// Keeps a copy for a private swarm, which was fetched by `tag` if that is known. What is kept already stays as it is.
///
/// # Errors
/// The document cannot be read or written.
pub fn keep_spread(store: &Store, key: &str, tag: Option<&Tag>) -> Result<(), WriteError> {
    match kept(store, key)? {
        Some(_) => Ok(()),
        None => {
            let document = tag.map_or_else(|| SPREAD.to_owned(), |tag| format!("{SPREAD}: {tag}"));
            store.put_document(DocumentKind::Pin, key, document.as_bytes())
        }
    }
}

/// Returns the tag by which a copy for a private swarm was fetched; `None` where it was by none, or is no such copy.
///
/// # Errors
/// The document cannot be read.
pub fn spread_tag(store: &Store, key: &str) -> Result<Option<Tag>, ReadError> {
    let Some(document) = store.get_document(DocumentKind::Pin, key)? else { return Ok(None) };
    let text = std::str::from_utf8(&document).ok().and_then(|it| it.strip_prefix(SPREAD));
    Ok(text.and_then(|it| it.strip_prefix(": ")).and_then(|it| it.parse().ok()))
}

/// Lets a copy for a private swarm be evicted. What is kept for another reason stays. Returns whether it was such a copy.
///
/// # Errors
/// The document cannot be read or removed.
pub fn release_spread(store: &Store, key: &str) -> Result<bool, WriteError> {
    if kept(store, key)? != Some(Kept::Spread) {
        return Ok(false);
    }
    release(store, key).map(|()| true)
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
    store.end_donation(key)?;
    store.remove_document(DocumentKind::Pin, key)
}

/// Makes a model the owner's that was kept for others, because the owner wants it too.
///
/// # Errors
/// The document cannot be removed.
pub fn take_over(store: &Store, manifest: &Digest) -> Result<(), WriteError> {
    let keys = store.document_keys(DocumentKind::Donation, &format!("{manifest} "))?;
    keys.iter().try_for_each(|key| store.end_donation(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CacheLimits;

    #[test]
    fn a_copy_for_the_swarm_is_kept_and_gives_way_to_every_other_reason() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), CacheLimits::default()).expect("a store");
        let tag: Tag = "v1".parse().expect("a tag");
        keep_spread(&store, "a", Some(&tag)).expect("kept");
        keep_spread(&store, "b", None).expect("kept");
        assert_eq!(kept(&store, "a").expect("read"), Some(Kept::Spread));
        assert_eq!(spread_tag(&store, "a").expect("read"), Some(tag));
        assert_eq!(spread_tag(&store, "b").expect("read"), None);
        keep_published(&store, "a").expect("kept");
        assert_eq!(kept(&store, "a").expect("read"), Some(Kept::Published));
        assert!(!release_spread(&store, "a").expect("read"), "its user keeps it");
        keep_followed(&store, "b", true).expect("kept");
        keep_spread(&store, "b", None).expect("kept");
        assert_eq!(kept(&store, "b").expect("read"), Some(Kept::Followed), "what is kept stays as it is");
        pin(&store, "c", "acme/kept for the swarm").expect("pinned");
        assert_eq!(kept(&store, "c").expect("read"), Some(Kept::Pinned));
        keep_spread(&store, "d", None).expect("kept");
        assert!(release_spread(&store, "d").expect("released"));
        assert_eq!(kept(&store, "d").expect("read"), None);
    }
}
