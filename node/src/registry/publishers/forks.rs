//! Branches of a publisher's keys: two valid key documents that follow the same one. Then one of them is a thief's, or
//! the publisher has made both.
//!
//! A node that follows one branch keeps it. A node that follows none refuses both, until the user accepts one.

use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::PublisherId;

use super::documents::{key, texts};
use super::error::TagsError;
use super::histories;
use super::keys::{keys, pin_keys};
use crate::registry::limits::{FORKS_OF_STRANGERS_MAX, FORKS_PER_PUBLISHER_MAX};
use crate::store::{DocumentKind, Store};

/// Keeps the history of a branch as evidence, up to a bound for each publisher and for all that are not followed.
pub fn keep(store: &Store, branch: &KeyHistory) -> Result<(), TagsError> {
    let publisher = branch.publisher();
    let known = branches(store, publisher)?;
    let followed = keys(store, publisher)?;
    let is_known = known.iter().chain(&followed).any(|it| branch.is_prefix_of(it));
    if is_known || known.len() >= FORKS_PER_PUBLISHER_MAX || is_full(store, publisher)? {
        return Ok(());
    }
    store
        .put_document(DocumentKind::Fork, &key(publisher, &branch.head()), branch.to_json().as_bytes())
        .map_err(|source| TagsError::Write { publisher, source })?;
    tracing::warn!(%publisher, version = branch.version(), head = %branch.head(), "keys of a publisher part: `reg trust accept` shows the branches");
    Ok(())
}

/// Returns whether the branch of a stranger must be dropped: an attacker can make any number of publishers.
fn is_full(store: &Store, publisher: PublisherId) -> Result<bool, TagsError> {
    let failed = |source| TagsError::Read { publisher, source };
    let followed = store.get_document(DocumentKind::Publisher, &publisher.to_string()).map_err(failed)?;
    if followed.is_some() {
        return Ok(false);
    }
    Ok(store.list_documents(DocumentKind::Fork, "").map_err(failed)?.len() >= FORKS_OF_STRANGERS_MAX)
}

/// Returns the kept branches of a publisher, beside the one that this node follows.
pub fn branches(store: &Store, publisher: PublisherId) -> Result<Vec<KeyHistory>, TagsError> {
    let texts = texts(store, DocumentKind::Fork, publisher)?;
    Ok(texts.iter().filter_map(|text| histories::read(publisher, text.as_bytes()).ok()).collect())
}

/// Returns the key documents of another branch that this node knows of, which travel with the followed keys. None where the
/// user has decided between them, or none is known.
pub fn evidence(store: &Store, keys: &KeyHistory) -> Vec<String> {
    let publisher = keys.publisher();
    if !matches!(accepted(store, publisher), Ok(None)) {
        return Vec::new();
    }
    let branches = branches(store, publisher).unwrap_or_default();
    let parted = branches.iter().find(|it| !it.is_prefix_of(keys) && !keys.is_prefix_of(it));
    parted.map(KeyHistory::short_texts).unwrap_or_default()
}

/// Forgets the kept branches that `followed` continues.
pub fn forget_continued(store: &Store, followed: &KeyHistory) -> Result<(), TagsError> {
    let publisher = followed.publisher();
    for branch in branches(store, publisher)?.iter().filter(|it| it.is_prefix_of(followed)) {
        store
            .remove_document(DocumentKind::Fork, &key(publisher, &branch.head()))
            .map_err(|source| TagsError::Write { publisher, source })?;
    }
    Ok(())
}

/// Returns the digest of the key document that the user has accepted for a publisher.
pub fn accepted(store: &Store, publisher: PublisherId) -> Result<Option<Digest>, TagsError> {
    let read = store.get_document(DocumentKind::Accepted, &publisher.to_string());
    let bytes = read.map_err(|source| TagsError::Read { publisher, source })?;
    Ok(bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse().ok()))
}

/// Follows the branch with the key document `head` from now on, in place of any other. The choice is kept also where no
/// known branch has the document: a thief can fill the places for branches. Then the branch is followed once a peer brings
/// it, and the error says so.
pub fn accept(store: &Store, publisher: PublisherId, head: Digest) -> Result<KeyHistory, TagsError> {
    let known = keys(store, publisher)?.into_iter().chain(branches(store, publisher)?);
    let with_head = known.into_iter().filter(|it| it.chain().contains(&head));
    store
        .put_document(DocumentKind::Accepted, &publisher.to_string(), head.to_string().as_bytes())
        .map_err(|source| TagsError::Write { publisher, source })?;
    let Some(branch) = with_head.max_by_key(KeyHistory::version) else {
        return Err(TagsError::NoBranch { publisher, head });
    };
    pin_keys(store, &branch)?;
    Ok(branch)
}
