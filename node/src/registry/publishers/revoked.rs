//! The revocations of publishers. They apply to keys that are read, are kept for ever, and are proven by witnesses.

use std::collections::BTreeSet;

use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::PublisherId;
use reg_proto::revocation::Revoked;

use super::documents::{key, put, texts};
use super::error::TagsError;
use super::histories;
use crate::registry::limits::REVOCATIONS_STORED_MAX;
use crate::store::{DocumentKind, ReadError, Store};

/// Applies to `keys` those remembered revocations of their publisher that these keys prove.
pub fn revoke(store: &Store, keys: &mut KeyHistory) -> Result<(), TagsError> {
    let texts = texts(store, DocumentKind::Revocation, keys.publisher())?;
    keys.take_revocations(texts.iter().map(String::as_str));
    Ok(())
}

/// Forgets the witnesses that prove no more than the followed keys do.
pub fn forget_witnesses(store: &Store, followed: &KeyHistory) -> Result<(), TagsError> {
    let publisher = followed.publisher();
    for witness in witnesses(store, publisher)?.iter().filter(|it| it.is_prefix_of(followed)) {
        store
            .remove_document(DocumentKind::Witness, &key(publisher, &witness.head()))
            .map_err(|source| TagsError::Write { publisher, source })?;
    }
    Ok(())
}

/// Returns the witnesses of a publisher, with the revocations that they prove.
pub fn witnesses(store: &Store, publisher: PublisherId) -> Result<Vec<KeyHistory>, TagsError> {
    let revocations = texts(store, DocumentKind::Revocation, publisher)?;
    let read = |text: String| {
        let mut keys = histories::read(publisher, text.as_bytes()).ok()?;
        keys.take_revocations(revocations.iter().map(String::as_str));
        Some(keys)
    };
    Ok(texts(store, DocumentKind::Witness, publisher)?.into_iter().filter_map(read).collect())
}

/// Returns why a publisher has withdrawn a manifest; `None` where it has not, or its keys cannot be read.
pub fn withdrawn(store: &Store, publisher: PublisherId, manifest: &Digest) -> Option<String> {
    let keys = super::keys::keys(store, publisher).ok().flatten()?;
    keys.revocations()
        .find(|(it, _)| it.subject == Revoked::Manifest(*manifest))
        .map(|(it, _)| it.reason.as_str().to_owned())
}

/// Returns the publishers of which a revocation is kept, in the order of their ids.
pub fn revoking(store: &Store) -> Result<Vec<PublisherId>, ReadError> {
    let documents = store.list_documents(DocumentKind::Revocation, "")?;
    let mut found: Vec<PublisherId> =
        documents.iter().filter_map(|(key, _)| key.split('/').next()?.parse().ok()).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Keeps the revocations of a publisher. Those that count are never forgotten. Beyond a bound, those are that count no
/// longer, because newer keys have retired the keys that signed them; so a thief of an older key fills no disk.
pub fn keep_revocations(store: &Store, keys: &KeyHistory) -> Result<(), TagsError> {
    let publisher = keys.publisher();
    let mut counting = BTreeSet::new();
    for (revocation, envelope) in keys.revocations() {
        let payload = revocation.to_payload();
        put(store, DocumentKind::Revocation, publisher, &payload, envelope)?;
        counting.insert(key(publisher, &Digest::of(&payload)));
    }
    let stored = store
        .document_keys(DocumentKind::Revocation, &format!("{publisher}/"))
        .map_err(|source| TagsError::Read { publisher, source })?;
    let surplus = stored.len().saturating_sub(REVOCATIONS_STORED_MAX);
    for void in stored.iter().filter(|it| !counting.contains(*it)).take(surplus) {
        store
            .remove_document(DocumentKind::Revocation, void)
            .map_err(|source| TagsError::Write { publisher, source })?;
    }
    Ok(())
}
