//! What publishers have said beside their tags: what they revoke, and whom they let speak for some of their models.

use reg_proto::delegation::SignedDelegation;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::limits::DELEGATIONS_MAX;
use reg_proto::name::{ModelName, PublisherId};

use super::tags::TagsError;
use crate::store::{DocumentKind, Store};

/// Applies to `keys` what is remembered that their publisher has revoked.
pub(super) fn revoke(store: &Store, keys: &mut KeyHistory) -> Result<(), TagsError> {
    let texts = texts(store, DocumentKind::Revocation, keys.publisher())?;
    keys.take_revocations(texts.iter().map(String::as_str));
    Ok(())
}

/// Remembers what a publisher has revoked: it is never forgotten.
pub(super) fn keep_revocations(store: &Store, keys: &KeyHistory) -> Result<(), TagsError> {
    let publisher = keys.publisher();
    for (revocation, envelope) in keys.revocations() {
        put(store, DocumentKind::Revocation, publisher, &revocation.to_payload(), envelope)?;
    }
    Ok(())
}

/// Remembers those of `offered` that are delegations by the publisher of `keys`; beyond the bound those that expire first
/// are forgotten.
pub(super) fn keep_delegations<'a>(
    store: &Store,
    keys: &KeyHistory,
    offered: impl IntoIterator<Item = &'a str>,
) -> Result<(), TagsError> {
    let publisher = keys.publisher();
    for text in offered {
        if let Ok(signed) = SignedDelegation::verify(text, keys) {
            put(store, DocumentKind::Delegation, publisher, &signed.delegation().to_payload(), text)?;
        }
    }
    let mut known = delegations(store, keys)?;
    known.sort_by_key(|it| it.delegation().expires);
    for old in known.iter().take(known.len().saturating_sub(DELEGATIONS_MAX)) {
        let key = key(publisher, &old.payload_digest());
        store
            .remove_document(DocumentKind::Delegation, &key)
            .map_err(|source| TagsError::Write { publisher, source })?;
    }
    Ok(())
}

/// Returns the delegations by a publisher that count, expired ones too.
pub(super) fn delegations(store: &Store, keys: &KeyHistory) -> Result<Vec<SignedDelegation>, TagsError> {
    let texts = texts(store, DocumentKind::Delegation, keys.publisher())?;
    Ok(texts.iter().filter_map(|text| SignedDelegation::verify(text, keys).ok()).collect())
}

/// Returns whom the publisher lets speak for a model now: the delegation that was made last.
pub(super) fn delegate(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    now: u64,
) -> Result<Option<SignedDelegation>, TagsError> {
    let all = delegations(store, keys)?.into_iter().filter(|it| it.delegation().covers(model, now));
    Ok(all.max_by_key(|it| (it.delegation().key_document, it.delegation().issued, it.payload_digest())))
}

fn key(publisher: PublisherId, payload: &Digest) -> String {
    format!("{publisher}/{}", payload.hex())
}

fn texts(store: &Store, kind: DocumentKind, publisher: PublisherId) -> Result<Vec<String>, TagsError> {
    let documents = store
        .list_documents(kind, &format!("{publisher}/"))
        .map_err(|source| TagsError::Read { publisher, source })?;
    Ok(documents.into_iter().map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).collect())
}

fn put(
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
