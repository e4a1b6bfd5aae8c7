//! The proofs of equivocation in the store. Each freezes its tag until a newer record settles it.

use reg_proto::digest::Digest;
use reg_proto::equivocation::{Equivocation, EquivocationClaim};
use reg_proto::json;
use reg_proto::key::KeyHistory;
use reg_proto::limits::TAG_ENVELOPE_BYTES_MAX;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::TagRecord;

use super::documents::tag_key;
use super::error::TagsError;
use super::history;
use crate::registry::limits::{PROOFS_OF_STRANGERS_MAX, PROOFS_PER_TAG_MAX};
use crate::store::{DocumentKind, ReadError, Store};

/// Keeps a proof, and returns whether it is new to the store.
pub fn keep(store: &Store, proof: &Equivocation) -> Result<bool, TagsError> {
    let record = proof.records()[1].record();
    let publisher = record.publisher;
    let prefix = format!("{}#", tag_key(&publisher, &record.model, &record.tag));
    let heads: Vec<u8> = proof.heads().iter().flat_map(|head| *head.as_bytes()).collect();
    let key =
        format!("{prefix}{:06}.{:016}.{}", record.key_document, record.seq, &Digest::of(&heads).hex()[..16]);
    let failed = |source| TagsError::Read { publisher, source };
    let known = store.list_documents(DocumentKind::Proof, &prefix).map_err(failed)?;
    if known.iter().any(|(it, _)| *it == key) {
        return Ok(false);
    }
    if known.is_empty() && is_full(store, publisher).map_err(failed)? {
        return Ok(false);
    }
    // The oldest proofs were settled first. Each of the others freezes the tag as well.
    for (key, _) in known.iter().take((known.len() + 1).saturating_sub(PROOFS_PER_TAG_MAX)) {
        store
            .remove_document(DocumentKind::Proof, key)
            .map_err(|source| TagsError::Write { publisher, source })?;
    }
    store
        .put_document(DocumentKind::Proof, &key, &json::to_vec(&proof.to_claim()))
        .map_err(|source| TagsError::Write { publisher, source })?;
    tracing::warn!(%publisher, model = %record.model, tag = %record.tag, seq = record.seq, "a tag has two records that contradict each other: it is frozen");
    Ok(true)
}

/// Tells whether a proof of a strange publisher must be dropped. Anyone can make publishers that equivocate, and so
/// could fill a disk; so the proofs of all strangers together are bounded.
fn is_full(store: &Store, publisher: PublisherId) -> Result<bool, ReadError> {
    if store.get_document(DocumentKind::Publisher, &publisher.to_string())?.is_some() {
        return Ok(false);
    }
    Ok(store.list_documents(DocumentKind::Proof, "")?.len() >= PROOFS_OF_STRANGERS_MAX)
}

/// Returns the proofs about a publisher's tags, about one model's, or about one tag, for which its keys still stand.
pub fn all(
    store: &Store,
    keys: &KeyHistory,
    model: Option<&ModelName>,
    tag: Option<&Tag>,
) -> Result<Vec<Equivocation>, TagsError> {
    let publisher = keys.publisher();
    let prefix = match (model, tag) {
        (Some(model), Some(tag)) => format!("{}#", tag_key(&publisher, model, tag)),
        (Some(model), None) => format!("{publisher}/{}:", model.folded()),
        (None, _) => format!("{publisher}/"),
    };
    let documents = store
        .list_documents(DocumentKind::Proof, &prefix)
        .map_err(|source| TagsError::Read { publisher, source })?;
    let claims = documents.iter().filter_map(|(_, bytes)| {
        json::from_slice::<EquivocationClaim>(bytes, 3 * TAG_ENVELOPE_BYTES_MAX).ok()
    });
    Ok(claims.filter_map(|claim| Equivocation::verify(&claim, keys).ok()).collect())
}

/// Returns a proof about a tag that neither `newest` nor any seen record settles.
pub fn freezing(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
    newest: &[&TagRecord],
) -> Result<Option<Equivocation>, TagsError> {
    let proofs = all(store, keys, Some(model), Some(tag))?;
    if proofs.is_empty() {
        return Ok(None);
    }
    let seen = history::records(store, keys, model, tag)?;
    let settled = |proof: &Equivocation| {
        let records = seen.iter().map(|it| it.record()).chain(newest.iter().copied());
        records.into_iter().any(|record| proof.is_settled_by(record))
    };
    Ok(proofs.into_iter().find(|proof| !settled(proof)))
}
