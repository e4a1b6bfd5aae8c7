//! The keys that this node follows for each publisher: pinned on first use, then only continued.

use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::name::PublisherId;
use reg_proto::naming::chain::Step;
use reg_proto::revocation::Revocation;

use super::error::TagsError;
use super::key_pin::{self, KeyPinError};
use super::{documents, forks, histories, revoked};
use crate::store::{DocumentKind, ReadError, Store};

/// Returns the key history that this node follows for a publisher, with what the publisher has revoked; `None` where it
/// follows none.
pub fn keys(store: &Store, publisher: PublisherId) -> Result<Option<KeyHistory>, TagsError> {
    let read = store.get_document(DocumentKind::Publisher, &publisher.to_string());
    let Some(bytes) = read.map_err(|source| TagsError::Read { publisher, source })? else { return Ok(None) };
    let mut keys = histories::read(publisher, &bytes).map_err(|error| match error {
        KeyError::List(source) => TagsError::Json { publisher, source },
        source => TagsError::Keys { publisher, source },
    })?;
    revoked::revoke(store, &mut keys)?;
    Ok(Some(keys))
}

/// Returns the followed keys of a publisher without the revocations of keys. Manifests and delegations that those keys
/// have revoked stay revoked.
///
/// A publisher decides by it what its next keys take over: what a revoked key has signed counts no longer, and may be the
/// publisher's own all the same.
pub fn keys_unrevoked(store: &Store, publisher: PublisherId) -> Result<Option<KeyHistory>, TagsError> {
    let Some(keys) = keys(store, publisher)? else { return Ok(None) };
    let mut bare = KeyHistory::verify(publisher, &keys.texts())
        .map_err(|source| TagsError::Keys { publisher, source })?;
    let texts = documents::texts(store, DocumentKind::Revocation, publisher)?;
    let is_of_key = |text: &&String| Revocation::read_subject(text).is_ok_and(|it| it.key().is_some());
    bare.take_revocations(texts.iter().filter(|text| !is_of_key(text)).map(String::as_str));
    Ok(Some(bare))
}

/// Pins a publisher's keys and revocations. Later calls accept only keys that continue the pinned ones.
pub fn pin_keys(store: &Store, offered: &KeyHistory) -> Result<(), TagsError> {
    let publisher = offered.publisher();
    // Two callers at once must not each decide by the keys that were there before.
    let _lock = store.lock_document(&publisher.to_string());
    let pinned = keys(store, publisher)?;
    let accepted = forks::accepted(store, publisher)?;
    let step = match key_pin::follow(pinned.as_ref(), offered, accepted.as_ref()) {
        Ok(step) => step,
        Err(error) => {
            if matches!(error, KeyPinError::Forked { .. } | KeyPinError::Dead { .. }) {
                forks::keep(store, offered)?;
            }
            return Err(error.into());
        }
    };
    if let (Step::Accepted, Some(pinned)) = (step, &pinned)
        && !pinned.is_prefix_of(offered)
    {
        forks::keep(store, pinned)?;
    }
    if step != Step::Same {
        store
            .put_document(DocumentKind::Publisher, &publisher.to_string(), offered.to_json().as_bytes())
            .map_err(|source| TagsError::Write { publisher, source })?;
        forks::forget_continued(store, offered)?;
        revoked::forget_witnesses(store, offered)?;
    }
    revoked::keep_revocations(store, offered)
}

/// Returns the publishers that have followed keys in this store.
pub fn publishers(store: &Store) -> Result<Vec<PublisherId>, ReadError> {
    let documents = store.list_documents(DocumentKind::Publisher, "")?;
    Ok(documents.into_iter().filter_map(|(key, _)| key.parse().ok()).collect())
}
