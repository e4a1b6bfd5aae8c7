//! The keys that this node follows for each publisher: pinned on first use, then only continued.

use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::name::PublisherId;
use reg_proto::naming::chain::Step;

use super::error::TagsError;
use super::key_pin::{self, KeyPinError};
use super::{forks, histories, revoked};
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

/// Pins a publisher's keys and revocations. Later calls accept only keys that continue the pinned ones.
pub fn pin_keys(store: &Store, offered: &KeyHistory) -> Result<(), TagsError> {
    let publisher = offered.publisher();
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
