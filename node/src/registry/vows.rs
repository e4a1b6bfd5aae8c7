//! What publishers have said beside their tags: what they revoke, and whom they let speak for some of their models.

use reg_proto::delegation::SignedDelegation;
use reg_proto::digest::Digest;
use reg_proto::json;
use reg_proto::key::KeyHistory;
use reg_proto::limits::{DELEGATIONS_MAX, KEY_DOCUMENTS_MAX, KEY_ENVELOPE_BYTES_MAX};
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::revocation::Revocation;

use super::limits::WITNESSES_MAX;
use super::tags::{self, TagsError};
use crate::store::{DocumentKind, ReadError, Store};

/// Bytes of a history that is kept as a witness: envelopes in JSON once more.
const WITNESS_BYTES_MAX: usize = KEY_DOCUMENTS_MAX * 2 * KEY_ENVELOPE_BYTES_MAX;

/// Applies to `keys` what is remembered that their publisher has revoked, also with keys that came later.
pub(super) fn revoke(store: &Store, keys: &mut KeyHistory) -> Result<(), TagsError> {
    let texts = texts(store, DocumentKind::Revocation, keys.publisher())?;
    if texts.is_empty() {
        return Ok(());
    }
    keys.take_revocations(texts.iter().map(String::as_str));
    witnesses(store, keys.publisher())?.iter().for_each(|witness| keys.heed(witness));
    Ok(())
}

/// Remembers what a publisher has revoked, whether its newest keys are followed here or not, and returns whether any of it
/// is news. Keys that are not followed are kept beside it: without them nobody could tell later that it counts.
pub(super) fn remember(store: &Store, keys: &KeyHistory) -> Result<bool, TagsError> {
    let publisher = keys.publisher();
    let before = revocations(store, publisher)?.len();
    if keys.revocations().next().is_none() {
        return Ok(false);
    }
    keep_revocations(store, keys)?;
    let followed = tags::keys(store, publisher)?;
    if followed.is_none_or(|followed| followed.version() < keys.version() && followed.is_prefix_of(keys)) {
        let known = witnesses(store, publisher)?;
        if known.len() < WITNESSES_MAX && !known.iter().any(|it| keys.is_prefix_of(it)) {
            let envelopes = json::to_vec(&keys.envelopes());
            store
                .put_document(DocumentKind::Witness, &key(publisher, &keys.head()), &envelopes)
                .map_err(|source| TagsError::Write { publisher, source })?;
        }
    }
    Ok(revocations(store, publisher)?.len() > before)
}

/// Forgets the witnesses that say nothing which the keys that are followed do not say.
pub(super) fn forget_witnesses(store: &Store, followed: &KeyHistory) -> Result<(), TagsError> {
    let publisher = followed.publisher();
    for witness in witnesses(store, publisher)?.iter().filter(|it| it.is_prefix_of(followed)) {
        store
            .remove_document(DocumentKind::Witness, &key(publisher, &witness.head()))
            .map_err(|source| TagsError::Write { publisher, source })?;
    }
    Ok(())
}

/// Returns what a publisher has revoked, by the keys that are followed, or, where none are, by those that were heard of.
pub(super) fn revocations(store: &Store, publisher: PublisherId) -> Result<Vec<Revocation>, TagsError> {
    let said_by = match tags::keys(store, publisher)? {
        Some(followed) => vec![followed],
        None => witnesses(store, publisher)?,
    };
    let mut found: Vec<Revocation> = Vec::new();
    for (revocation, _) in said_by.iter().flat_map(KeyHistory::revocations) {
        if !found.iter().any(|it| it.subject == revocation.subject) {
            found.push(revocation.clone());
        }
    }
    Ok(found)
}

/// Returns the histories that are kept for what they revoke, with that.
pub(super) fn witnesses(store: &Store, publisher: PublisherId) -> Result<Vec<KeyHistory>, TagsError> {
    let revocations = texts(store, DocumentKind::Revocation, publisher)?;
    let read = |text: String| {
        let envelopes: Vec<String> = json::from_slice(text.as_bytes(), WITNESS_BYTES_MAX).ok()?;
        let mut keys = KeyHistory::verify(publisher, &envelopes).ok()?;
        keys.take_revocations(revocations.iter().map(String::as_str));
        Some(keys)
    };
    Ok(texts(store, DocumentKind::Witness, publisher)?.into_iter().filter_map(read).collect())
}

/// Returns the publishers of which something that they have revoked is kept, in the order of their ids.
pub(super) fn revoking(store: &Store) -> Result<Vec<PublisherId>, ReadError> {
    let documents = store.list_documents(DocumentKind::Revocation, "")?;
    let mut found: Vec<PublisherId> =
        documents.iter().filter_map(|(key, _)| key.split('/').next()?.parse().ok()).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
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

/// Returns the delegation for a model that ended last.
pub(super) fn ended(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
) -> Result<Option<SignedDelegation>, TagsError> {
    let all = delegations(store, keys)?.into_iter().filter(|it| it.delegation().models.covers(model));
    Ok(all.max_by_key(|it| it.delegation().expires))
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
