//! Keeps and returns what publishers declare beside their tags: revocations, and delegations to other publishers.

use reg_proto::delegation::SignedDelegation;
use reg_proto::key::KeyHistory;
use reg_proto::limits::DELEGATIONS_MAX;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::revocation::Revocation;

use super::documents::{key, put, texts};
use super::error::TagsError;
use super::keys;
use super::revoked::{keep_revocations, witnesses};
use crate::registry::limits::WITNESSES_MAX;
use crate::store::{DocumentKind, Store};

/// Takes the keys that a peer sent of a publisher. Where this node follows the publisher, it follows these keys if they
/// continue those, and remembers their revocations. Where it follows none, it keeps the keys beside the revocations as a
/// witness, because they are needed to prove the revocations later. Returns whether any revocation or key document is new.
///
/// # Errors
/// The keys part from the followed ones or go back, or the store fails.
pub fn remember(store: &Store, offered: &KeyHistory) -> Result<bool, TagsError> {
    let publisher = offered.publisher();
    let known = |store: &Store| -> Result<(usize, u64), TagsError> {
        let version = keys::keys(store, publisher)?.map_or(0, |it| it.version());
        Ok((revocations(store, publisher)?.len(), version))
    };
    let before = known(store)?;
    if let Some(mut followed) = keys::keys(store, publisher)? {
        // What the followed keys prove counts also where the offered keys cannot be followed.
        followed.take_revocations(offered.revocations().map(|(_, text)| text));
        keep_revocations(store, &followed)?;
        keys::pin_keys(store, offered)?;
    } else if offered.revocations().next().is_some() {
        keep_revocations(store, offered)?;
        let witnesses = witnesses(store, publisher)?;
        if witnesses.len() < WITNESSES_MAX && !witnesses.iter().any(|it| offered.is_prefix_of(it)) {
            store
                .put_document(
                    DocumentKind::Witness,
                    &key(publisher, &offered.head()),
                    offered.to_json().as_bytes(),
                )
                .map_err(|source| TagsError::Write { publisher, source })?;
        }
    }
    Ok(known(store)? != before)
}

/// Returns what a publisher has revoked, by the keys that this node follows. Where it follows none, the witnesses
/// count.
pub fn revocations(store: &Store, publisher: PublisherId) -> Result<Vec<Revocation>, TagsError> {
    let said_by = match keys::keys(store, publisher)? {
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

/// Remembers those of `offered` that are delegations by the publisher of `keys`. Beyond the bound it forgets those that
/// expire first.
pub fn keep_delegations<'a>(
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

/// Returns the delegations by a publisher that count, with those that have expired.
pub fn delegations(store: &Store, keys: &KeyHistory) -> Result<Vec<SignedDelegation>, TagsError> {
    let texts = texts(store, DocumentKind::Delegation, keys.publisher())?;
    Ok(texts.iter().filter_map(|text| SignedDelegation::verify(text, keys).ok()).collect())
}

/// Returns the delegation for a model that counts now: the one that was made last.
pub fn delegate(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    now: u64,
) -> Result<Option<SignedDelegation>, TagsError> {
    let all = delegations(store, keys)?.into_iter().filter(|it| it.delegation().covers(model, now));
    Ok(all.max_by_key(|it| (it.delegation().key_document, it.delegation().issued, it.payload_digest())))
}

/// Returns the expired delegation for a model that ended last.
pub fn ended(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
) -> Result<Option<SignedDelegation>, TagsError> {
    let all = delegations(store, keys)?.into_iter().filter(|it| it.delegation().models.covers(model));
    Ok(all.max_by_key(|it| it.delegation().expires))
}
